#include "dispatcher/text/glyphs.h"

#include <utf8proc.h>

#include "dispatcher/expr/text.h"

#define MARKS_START 0x300u /* below there are no combining marks */
#define REPLACEMENT 0xFFFDu

static bool is_mark(uint32_t code)
{
    return code >= MARKS_START && code != TEXT_INVALID &&
           utf8proc_get_property((utf8proc_int32_t)code)->combining_class != 0;
}

/* Whether a lone code point may have a canonical form of its own: the Ohm sign is an Omega. */
static bool has_form(uint32_t code)
{
    return code >= MARKS_START &&
           utf8proc_get_property((utf8proc_int32_t)code)->decomp_seqindex != UINT16_MAX;
}

/* Takes the marks that follow. */
static void take_marks(const struct glyphs *g, struct glyph *glyph)
{
    size_t used = 0;
    for (; glyph->end < g->length && glyph->count <= GLYPH_MARKS; glyph->end += used) {
        uint32_t code = text_decode(g->text + glyph->end, g->length - glyph->end, &used);
        if (!is_mark(code))
            break;
        glyph->codes[glyph->count++] = code;
    }
}

/*
 * Composes the bytes of the glyph, which are valid. The few characters whose canonical form is longer than
 * they are (Indic and Hebrew letters that are kept apart) stay as they are.
 */
static void compose(const struct glyphs *g, struct glyph *glyph)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    utf8proc_int32_t codes[GLYPH_CODES];
    utf8proc_ssize_t count =
        utf8proc_decompose((const utf8proc_uint8_t *)g->text + glyph->start,
                           (utf8proc_ssize_t)(glyph->end - glyph->start), codes, GLYPH_CODES, options);
    if (count > 0 && count <= GLYPH_CODES)
        count = utf8proc_normalize_utf32(codes, count, options);
    if (count <= 0 || (size_t)count > glyph->count)
        return;
    for (utf8proc_ssize_t i = 0; i < count; i++)
        glyph->codes[i] = (uint32_t)codes[i];
    glyph->count = (size_t)count;
}

/* Whether the code point is seen as one with what stands before it. */
static bool continues(struct glyphs *g, uint32_t code)
{
    if (g->at == 0)
        return false;
    if (code < MARKS_START && g->last < MARKS_START) {
        g->state = 0;
        return g->last == '\r' && code == '\n';
    }
    return !utf8proc_grapheme_break_stateful((utf8proc_int32_t)g->last, (utf8proc_int32_t)code, &g->state);
}

bool glyphs_next(struct glyphs *g, struct glyph *glyph)
{
    size_t used = 0;
    if (g->at >= g->length)
        return false;
    uint32_t code = text_decode(g->text + g->at, g->length - g->at, &used);
    glyph->codes[0] = code == TEXT_INVALID ? REPLACEMENT : code;
    glyph->count = 1;
    glyph->start = g->at;
    glyph->end = g->at + used;
    glyph->joined = continues(g, glyph->codes[0]);
    if (code != TEXT_INVALID) {
        take_marks(g, glyph);
        if (glyph->count > 1 || has_form(code))
            compose(g, glyph);
    }
    g->last = glyph->codes[glyph->count - 1];
    g->at = glyph->end;
    return true;
}
