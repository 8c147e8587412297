/* links: text expr core */
/*
 * SMS texts: any bytes, fitted in every way. The first byte says how, the rest is the text.
 *
 * Whatever comes out is valid UTF-8, is measured as reported, has no more parts than allowed and no more than
 * went in, and no more words that hold a link; unless the buffer was short, fitting it once more trims
 * nothing and costs the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "core/str.h"
#include "dispatcher/expr/links.h"
#include "dispatcher/text/sms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_LIMIT 8192u

static void demand(bool truth)
{
    if (!truth)
        abort();
}

static void check_size(const char *text, const struct sms_fitted *f, const struct sms_options *options)
{
    struct sms_size size = sms_measure(text, f->length);
    demand(size.encoding == f->size.encoding && size.units == f->size.units);
    demand(size.parts == f->size.parts && size.room == f->size.room);
    demand(size.parts >= 1 && size.room <= (size.encoding == SMS_GSM7 ? 160 : 70));
    demand(options->max_parts == 0 || size.parts <= options->max_parts);
    demand(options->transliterate || !f->transliterated);
    demand(!f->transliterated || size.encoding == SMS_GSM7);
}

/* Words between ASCII blanks that a phone could make tappable. */
static size_t count_links(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t at = 0, start = 0; at <= length; at++) {
        if (at < length && text[at] != ' ' && (text[at] < '\t' || text[at] > '\r'))
            continue;
        count += links_find(text + start, at - start, NULL, NULL) > 0;
        start = at + 1;
    }
    return count;
}

static void fit_again(const char *text, const struct sms_fitted *first, const struct sms_options *options)
{
    static char out[SMS_FITTED_SIZE(SMS_FITTED_SIZE(TEXT_LIMIT))];
    struct sms_fitted again;
    sms_fit(text, first->length, options, out, sizeof out, &again);
    demand(!again.trimmed && again.size.parts <= first->size.parts);
    /* what was trimmed may have lost what kept it from being transliterated */
    demand(first->trimmed || again.size.parts == first->size.parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > TEXT_LIMIT)
        return 0;
    const char *text = (const char *)data + 1;
    size_t length = size - 1;
    struct sms_options options = {data[0] & 1, (data[0] >> 1) & 7};
    size_t room = SMS_FITTED_SIZE(length);
    bool tight = (data[0] & 0x80) != 0;
    if (tight)
        room = 1 + (size_t)(data[0] >> 4 & 7) * 40;
    char *out = malloc(room);
    struct sms_fitted fitted;
    demand(out != NULL);
    sms_fit(text, length, &options, out, room, &fitted);
    demand(fitted.length < room && out[fitted.length] == '\0' && str_utf8_valid(out, fitted.length));
    demand(tight || options.max_parts > 0 || !fitted.trimmed);
    demand(fitted.size.parts <= sms_measure(text, length).parts);
    demand(tight || count_links(out, fitted.length) <= count_links(text, length));
    check_size(out, &fitted, &options);
    if (!tight)
        fit_again(out, &fitted, &options);
    free(out);
    return 0;
}
