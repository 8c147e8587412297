#include "dispatcher/expr/clean.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/links.h"
#include "dispatcher/expr/text.h"

#define MARKS_LIMIT 4u     /* combining marks on one letter */
#define MARKS_START 0x300u /* below there are none */
#define BRAILLE_BLANK 0x2800u
#define REPLACEMENT 0xFFFDu

/* ---- Characters ------------------------------------------------------------------------------ */

struct range {
    uint32_t first;
    uint32_t last;
};

/* Control, bidirectional, zero-width, filler, variation, tag and other characters that are not seen;
 * ascending. */
static const struct range invisible[] = {
    {0x0000, 0x001F},   {0x007F, 0x009F},   {0x00AD, 0x00AD},   {0x034F, 0x034F}, {0x061C, 0x061C},
    {0x070F, 0x070F},   {0x115F, 0x1160},   {0x17B4, 0x17B5},   {0x180B, 0x180F}, {0x200B, 0x200F},
    {0x2028, 0x202E},   {0x2060, 0x206F},   {0x3164, 0x3164},   {0xFDD0, 0xFDEF}, {0xFE00, 0xFE0F},
    {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},   {0xFFF0, 0xFFFB},   {0xFFFE, 0xFFFF}, {0x13430, 0x1345F},
    {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

static bool is_invisible(uint32_t code)
{
    for (size_t i = 0; i < sizeof invisible / sizeof invisible[0] && code >= invisible[i].first; i++)
        if (code <= invisible[i].last)
            return true;
    return (code & 0xFFFE) == 0xFFFE;
}

static bool is_break(uint32_t code)
{
    return (code >= '\t' && code <= '\r') || code == 0x85 || code == 0x2028 || code == 0x2029;
}

static bool is_wide_blank(uint32_t code)
{
    return code >= 0xA0 &&
           (code == BRAILLE_BLANK || utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_ZS);
}

static bool is_mark(uint32_t code)
{
    utf8proc_category_t category =
        code < MARKS_START ? UTF8PROC_CATEGORY_CN : utf8proc_category((utf8proc_int32_t)code);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME;
}

/* What goes before decides about what comes. */
struct stripper {
    bool broken;  /* a line break just became a space */
    size_t marks; /* on the letter at hand; at the limit where there is none to carry one */
};

/* What a character becomes; false if it is left out. */
static bool strip_code(struct stripper *s, uint32_t *code)
{
    if (*code == TEXT_INVALID)
        *code = REPLACEMENT;
    bool line = is_break(*code);
    if (!line && is_invisible(*code))
        return false;
    if (is_mark(*code))
        return s->marks++ < MARKS_LIMIT;
    bool repeated = line && s->broken;
    s->broken = line;
    s->marks = 0;
    if (line || is_wide_blank(*code))
        *code = ' ';
    return !repeated;
}

/*
 * Writes visible text with at most `characters` + 1 code points: one more than wanted says that there is
 * more. `out` has room for three bytes for each byte of the text.
 */
static size_t strip(const char *text, size_t len, size_t characters, char *out)
{
    struct stripper stripper = {false, MARKS_LIMIT};
    size_t length = 0;
    size_t count = 0;
    size_t used = 0;
    for (size_t i = 0; i < len && count <= characters; i += used) {
        uint32_t code = text_decode(text + i, len - i, &used);
        if (!strip_code(&stripper, &code))
            continue;
        length += text_encode(code, out + length);
        count++;
    }
    return length;
}

/* ---- Cutting --------------------------------------------------------------------------------- */

/* The bytes of the first `characters` code points of valid text. */
static size_t prefix_bytes(const char *text, size_t len, size_t characters)
{
    size_t used = 0;
    size_t at = 0;
    for (; at < len && characters > 0; at += used, characters--)
        text_decode(text + at, len - at, &used);
    return at;
}

/* Room to work in, and what is left of the characters. */
struct cutter {
    uint8_t *edits;
    size_t room;
    bool cut;
};

/*
 * Spoils the links of a word into what room is left. A word that does not fit is cut before that, never
 * after: a cut may make a link of what was none ("x.community").
 */
static size_t defang_within(struct cutter *c, const char *word, size_t len, char *out)
{
    size_t characters = text_count(word, len);
    if (characters > c->room) {
        c->cut = true;
        characters = c->room;
    }
    for (;;) {
        size_t bytes = prefix_bytes(word, len, characters);
        links_find(word, bytes, NULL, c->edits);
        size_t length = links_apply(word, bytes, c->edits, out);
        size_t count = text_count(out, length);
        if (count <= c->room) {
            c->room -= count;
            return length;
        }
        /* a character becomes three at most, so that this many less are needed at least */
        size_t excess = (count - c->room + 2) / 3;
        characters -= excess < characters ? excess : characters;
        c->cut = true;
    }
}

bool expr_clean(const char *text, size_t len, size_t characters, struct expr_arena *arena, const char **out,
                size_t *out_len, bool *cut)
{
    size_t most = len < 4 * (characters + 64) ? len : 4 * (characters + 64);
    char *visible = expr_arena_alloc(arena, most * 3 + 8);
    char *result = expr_arena_alloc(arena, most * 3 * LINKS_GROWTH + 8);
    struct cutter cutter = {.edits = expr_arena_alloc(arena, most * 3 + 8), .room = characters};
    if (visible == NULL || result == NULL || cutter.edits == NULL)
        return false;
    size_t length = strip(text, len, characters, visible);
    size_t written = 0;
    for (size_t i = 0; i < length && !cutter.cut;) {
        const char *space = memchr(visible + i, ' ', length - i);
        size_t word = space == NULL ? length - i : (size_t)(space - visible) - i;
        written += defang_within(&cutter, visible + i, word, result + written);
        i += word;
        if (cutter.cut || i == length)
            break;
        cutter.cut = cutter.room == 0;
        if (!cutter.cut) {
            result[written++] = ' ';
            cutter.room--;
        }
        i++;
    }
    *out = result;
    *out_len = written;
    if (cut != NULL)
        *cut = cutter.cut;
    return true;
}
