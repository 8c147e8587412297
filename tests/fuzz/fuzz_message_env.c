/* links: text expr core */
/*
 * Templates of messages with their functions: any source, rendered for people of several languages and zones
 * and fitted into an SMS.
 *
 * Beside doing no harm: rendering twice gives the same, and what is cleaned is valid UTF-8.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "dispatcher/expr/template.h"
#include "dispatcher/text/message_env.h"
#include "dispatcher/text/sms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 20000u
#define MEMORY (2u << 20)
#define TEXT_SIZE 4096u

static const char *const people[][2] = {
    {"en", "UTC"}, {"pl", "Europe/Warsaw"}, {"ar", "+05:30"}, {"uk_UA.UTF-8", "Europe/Kyiv"}, {NULL, NULL}};
#define PEOPLE (sizeof people / sizeof people[0])

static void demand(bool truth)
{
    if (!truth)
        abort();
}

static void make_values(struct expr_value *values, const struct message_context *context)
{
    static struct expr_value texts[2];
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        values[i] = expr_string_z("zażółć http://evil.com e\xcc\x81\xcc\xa3");
    values[EXPR_SLOT_TIME] = expr_timestamp(1774746000, 5);
    message_values(values, "rule", context);
    texts[0] = expr_string_z("one");
    texts[1] = expr_string_z("two");
    values[MESSAGE_SLOT_COUNT] = expr_int(22);
    values[MESSAGE_SLOT_SINCE] = expr_timestamp(253402300799, 0);
    values[MESSAGE_SLOT_UNTIL] = expr_timestamp(-62135596800, 0);
    values[MESSAGE_SLOT_TEXTS] = expr_list(texts, 2);
}

static size_t render(const struct expr_template *tmpl, size_t who, char *out)
{
    struct expr_value values[MESSAGE_SLOTS];
    struct message_context context = {.lang = people[who][0], .zone = people[who][1]};
    struct expr_activation activation = {values, MESSAGE_SLOTS, &context, STEPS};
    struct expr_arena *arena = expr_arena_new(MEMORY);
    make_values(values, &context);
    struct expr_template_result result = expr_template_render(tmpl, &activation, arena, 0, out, TEXT_SIZE);
    expr_arena_free(&arena);
    return result.length;
}

static void fit(const char *text, size_t length)
{
    static char out[SMS_FITTED_SIZE(TEXT_SIZE)];
    struct sms_options options = {true, 3};
    struct sms_fitted fitted;
    sms_fit(text, length, &options, out, sizeof out, &fitted);
    demand(fitted.size.parts <= 3 && str_utf8_valid(out, fitted.length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out[2][TEXT_SIZE];
    struct expr_error error;
    const char *source = (const char *)data;
    struct expr_template *tmpl = expr_template_compile(source, size, message_env(), &error);
    if (tmpl == NULL)
        return 0;
    size_t who = size % PEOPLE;
    size_t length = render(tmpl, who, out[0]);
    demand(render(tmpl, who, out[1]) == length && memcmp(out[0], out[1], length) == 0);
    demand(str_utf8_valid(out[0], length) || !str_utf8_valid(source, size));
    fit(out[0], length);
    expr_template_free(&tmpl);
    return 0;
}
