#include "dispatcher/text/sms.h"

#include <string.h>
#include <utf8proc.h>

#include "dispatcher/expr/links.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/text/glyphs.h"
#include "dispatcher/text/gsm.h"
#include "dispatcher/text/plain.h"

#define REPLACEMENT 0xFFFDu
#define ELLIPSIS 0x2026u
/* A cut at a blank may cost this many characters more than one within the word. */
#define WORD_LIMIT 24u

/* ---- Counting -------------------------------------------------------------------------------- */

struct capacity {
    size_t single; /* units of a text of one part */
    size_t joined; /* units of each of several */
};

static const struct capacity capacities[] = {
    [SMS_GSM7] = {160, 153},
    [SMS_UCS2] = {70, 67},
};

const char *sms_encoding_name(enum sms_encoding encoding)
{
    static const char *const names[] = {[SMS_GSM7] = "GSM-7", [SMS_UCS2] = "UCS-2"};
    return names[encoding];
}

/* A text in one encoding. */
struct counter {
    size_t units;
    size_t parts; /* if they are joined */
    size_t used;  /* of the last part, if they are joined */
};

static const struct counter nothing = {0, 1, 0};

static void count_units(struct counter *c, enum sms_encoding encoding, size_t weight)
{
    if (c->used + weight > capacities[encoding].joined) {
        c->parts++;
        c->used = 0;
    }
    c->used += weight;
    c->units += weight;
}

static size_t parts_of(const struct counter *c, enum sms_encoding encoding)
{
    return c->units <= capacities[encoding].single ? 1 : c->parts;
}

static size_t weight_in(enum sms_encoding encoding, uint32_t code)
{
    return encoding == SMS_GSM7 ? gsm_weight(code) : 1 + (code > 0xFFFF);
}

/* A text in both encodings, as long as it has both. */
struct tally {
    bool gsm;
    struct counter counters[2];
};

static const struct tally empty = {true, {{0, 1, 0}, {0, 1, 0}}};

static void tally_add(struct tally *t, uint32_t code)
{
    size_t septets = gsm_weight(code);
    t->gsm = t->gsm && septets > 0;
    if (t->gsm)
        count_units(&t->counters[SMS_GSM7], SMS_GSM7, septets);
    count_units(&t->counters[SMS_UCS2], SMS_UCS2, weight_in(SMS_UCS2, code));
}

static struct sms_size tally_size(const struct tally *t)
{
    enum sms_encoding encoding = t->gsm ? SMS_GSM7 : SMS_UCS2;
    const struct counter *c = &t->counters[encoding];
    struct sms_size size = {encoding, c->units, parts_of(c, encoding), 0};
    size.room =
        size.parts == 1 ? capacities[encoding].single - c->units : capacities[encoding].joined - c->used;
    return size;
}

struct sms_size sms_measure(const char *text, size_t len)
{
    struct tally tally = empty;
    size_t used = 0;
    for (size_t at = 0; at < len; at += used) {
        uint32_t code = text_decode(text + at, len - at, &used);
        tally_add(&tally, code == TEXT_INVALID ? REPLACEMENT : code);
    }
    return tally_size(&tally);
}

/* ---- Forms of a text ------------------------------------------------------------------------- */

/* A text as it is read, composed or plain, glyph by glyph. */
struct form {
    const struct plain_script *plain; /* NULL: composed only */
    struct glyphs glyphs;
    struct glyph glyph;
    struct glyph next;
    bool has_next;
    uint32_t before; /* the last code point of the glyph before */
};

enum { PIECE_CODES = 256 };

/* What a form makes of one glyph. */
struct piece {
    size_t start; /* in the source */
    size_t end;
    bool joined;
    bool impossible; /* there is no plain form */
    uint32_t first;  /* of the glyph, */
    uint32_t last;   /* as it was */
    uint32_t codes[PIECE_CODES];
    size_t count;
};

static void form_open(struct form *f, const char *text, size_t len, const struct plain_script *plain)
{
    f->plain = plain;
    f->glyphs = (struct glyphs){.text = text, .length = len};
    f->before = 0;
    f->has_next = glyphs_next(&f->glyphs, &f->next);
}

static void make_plain(const struct form *f, struct piece *piece)
{
    const struct glyph *g = &f->glyph;
    uint32_t before = f->before;
    for (size_t i = 0; i < g->count && !piece->impossible; i++) {
        uint32_t after = i + 1 < g->count ? g->codes[i + 1] : f->has_next ? f->next.codes[0] : 0;
        uint32_t codes[PLAIN_CODES];
        size_t count = 0;
        piece->impossible = !plain_form(f->plain, g->codes[i], before, after, codes, &count) ||
                            piece->count + count > PIECE_CODES;
        if (!piece->impossible && count > 0)
            memcpy(piece->codes + piece->count, codes, count * sizeof *codes);
        piece->count += piece->impossible ? 0 : count;
        before = g->codes[i];
    }
}

static bool form_next(struct form *f, struct piece *piece)
{
    if (!f->has_next)
        return false;
    f->glyph = f->next;
    f->has_next = glyphs_next(&f->glyphs, &f->next);
    piece->start = f->glyph.start;
    piece->end = f->glyph.end;
    piece->joined = f->glyph.joined;
    piece->impossible = false;
    piece->first = f->glyph.codes[0];
    piece->last = f->glyph.codes[f->glyph.count - 1];
    piece->count = 0;
    if (f->plain != NULL) {
        make_plain(f, piece);
    } else {
        memcpy(piece->codes, f->glyph.codes, f->glyph.count * sizeof *piece->codes);
        piece->count = f->glyph.count;
    }
    f->before = piece->last;
    return true;
}

/* Measures a form; false if a character has no plain form. */
static bool measure_form(const char *text, size_t len, const struct plain_script *plain,
                         struct sms_size *size)
{
    struct form form;
    struct piece piece;
    struct tally tally = empty;
    form_open(&form, text, len, plain);
    while (form_next(&form, &piece)) {
        if (piece.impossible)
            return false;
        for (size_t i = 0; i < piece.count; i++)
            tally_add(&tally, piece.codes[i]);
    }
    *size = tally_size(&tally);
    return true;
}

/* ---- Cutting --------------------------------------------------------------------------------- */

/* What goes into the message: a form, up to an offset of the source, with dots behind it if it is not all. */
struct choice {
    bool plain;
    struct plain_script script; /* if it is plain */
    size_t end;
    size_t parts; /* about, if it is trimmed */
    enum sms_encoding encoding;
    bool trimmed;
};

/* Looks for the last places where a text may be cut so that it and the dots fit. */
struct cutter {
    enum sms_encoding encoding;
    size_t max_parts;
    struct counter counter;
    size_t characters;       /* glyphs counted so far */
    struct counter solid;    /* behind the last character that may stand before the dots, */
    size_t solid_end;        /* its offset */
    size_t solid_characters; /* and how many there are up to it */
    size_t word_end;
    size_t word_characters;
    size_t word_parts;
    size_t hard_end;
    size_t hard_characters;
    size_t hard_parts;
};

static bool fits_with_dots(const struct cutter *c, struct counter counter)
{
    for (size_t dots = c->encoding == SMS_GSM7 ? 3 : 1; dots > 0; dots--)
        count_units(&counter, c->encoding, 1);
    return parts_of(&counter, c->encoding) <= c->max_parts;
}

static bool is_blank(uint32_t code)
{
    return code == ' ' || (code >= '\t' && code <= '\r');
}

/* What looks odd before dots. */
static bool is_soft(uint32_t code)
{
    return is_blank(code) || code == ELLIPSIS || code == 0x2013 || code == 0x2014 ||
           (code != 0 && code < 0x80 && strchr(",;:.-([{", (int)code) != NULL);
}

/* Blanks that are not ASCII become such in the plain form. */
static bool is_wide_blank(uint32_t code)
{
    return code >= 0xA0 && code != TEXT_INVALID &&
           utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_ZS;
}

/* Emoji and the like stand for words. */
static bool is_symbol(uint32_t code)
{
    return code > 0x2000 && code != REPLACEMENT &&
           utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_SO;
}

/* The cursor stands before the piece. What a place is depends on the source, so that all forms have the same.
 */
static void note_places(struct cutter *c, const struct piece *piece)
{
    if (piece->joined)
        return;
    if (fits_with_dots(c, c->counter)) {
        c->hard_end = piece->start;
        c->hard_characters = c->characters;
        c->hard_parts = parts_of(&c->counter, c->encoding);
    }
    if ((is_blank(piece->first) || is_symbol(piece->first)) && c->solid_end > 0 &&
        fits_with_dots(c, c->solid)) {
        c->word_end = c->solid_end;
        c->word_characters = c->solid_characters;
        c->word_parts = parts_of(&c->solid, c->encoding);
    }
}

static bool count_piece(struct cutter *c, const struct piece *piece)
{
    for (size_t i = 0; i < piece->count; i++) {
        size_t weight = weight_in(c->encoding, piece->codes[i]);
        if (weight == 0)
            return false;
        count_units(&c->counter, c->encoding, weight);
    }
    if (!is_soft(piece->last)) {
        c->solid = c->counter;
        c->solid_end = piece->end;
        c->solid_characters = c->characters + 1;
    }
    c->characters++;
    return parts_of(&c->counter, c->encoding) <= c->max_parts;
}

/* The start of the word that ends at `end`. */
static size_t word_start(const char *text, size_t end)
{
    while (end > 0 && !is_blank((unsigned char)text[end - 1]))
        end--;
    return end;
}

static bool is_place(char c)
{
    return strchr(".:@", c) != NULL || ((unsigned char)c & 0xC0) == 0xC0;
}

/*
 * A place within a word for a cut that neither leaves half a link nor makes a link of what was none
 * ("evil.community"): before one of the last points or colons, or before the word.
 */
static size_t place_in_word(const char *text, size_t end)
{
    size_t start = word_start(text, end);
    for (int tries = 8; tries > 0 && links_find(text + start, end - start, NULL, NULL) > 0; tries--) {
        if (tries == 1)
            return start;
        for (end--; end > start && !is_place(text[end]);)
            end--;
    }
    return end;
}

/* The longest start of a form that fits in an encoding. */
static struct choice cut_form(const char *text, size_t len, const struct plain_script *plain,
                              enum sms_encoding encoding, size_t max_parts)
{
    struct cutter c = {.encoding = encoding, .max_parts = max_parts, .counter = nothing, .solid = nothing};
    struct form form;
    struct piece piece;
    form_open(&form, text, len, plain);
    while (form_next(&form, &piece) && !piece.impossible) {
        note_places(&c, &piece);
        if (!count_piece(&c, &piece))
            break;
    }
    bool within = c.hard_characters > c.word_characters + WORD_LIMIT || c.word_end == 0;
    if (within && c.hard_end > 0) {
        c.hard_end = place_in_word(text, c.hard_end);
        within = c.word_end == 0 || c.hard_end > c.word_end + WORD_LIMIT;
    }
    struct choice choice = {.plain = plain != NULL,
                            .end = within ? c.hard_end : c.word_end,
                            .parts = within ? c.hard_parts : c.word_parts,
                            .encoding = encoding,
                            .trimmed = true};
    if (plain != NULL)
        choice.script = *plain;
    return choice;
}

/* ---- Fitting --------------------------------------------------------------------------------- */

static size_t put_code(char *out, size_t size, size_t length, uint32_t code)
{
    char bytes[4];
    size_t count = text_encode(code, bytes);
    if (length + count >= size)
        return 0;
    memcpy(out + length, bytes, count);
    return count;
}

/* Writes what fits of a piece: all of it or nothing. */
static size_t put_piece(char *out, size_t size, size_t length, const struct piece *piece)
{
    size_t written = 0;
    for (size_t i = 0; i < piece->count; i++) {
        size_t count = put_code(out, size, length + written, piece->codes[i]);
        if (count == 0)
            return 0;
        written += count;
    }
    return written;
}

static void put_dots(char *out, size_t size, size_t *length, enum sms_encoding encoding)
{
    static const struct piece dots[] = {
        [SMS_GSM7] = {.codes = {'.', '.', '.'}, .count = 3},
        [SMS_UCS2] = {.codes = {ELLIPSIS}, .count = 1},
    };
    *length += put_piece(out, size, *length, &dots[encoding]);
}

static void write_choice(const char *text, size_t len, const struct choice *choice, char *out, size_t size,
                         struct sms_fitted *fitted)
{
    struct form form;
    struct piece piece;
    size_t length = 0;
    form_open(&form, text, len, choice->plain ? &choice->script : NULL);
    fitted->transliterated = choice->plain;
    fitted->trimmed = choice->trimmed;
    while (form_next(&form, &piece) && piece.start < choice->end) {
        size_t written = put_piece(out, size, length, &piece);
        if (written == 0 && piece.count > 0) {
            fitted->trimmed = true;
            break;
        }
        length += written;
    }
    if (choice->trimmed)
        put_dots(out, size, &length, choice->encoding);
    out[length] = '\0';
    fitted->length = length;
    fitted->size = sms_measure(out, length);
}

/* The one that keeps most; of those that keep as much the one of fewer parts, or the first. */
static struct choice best_cut(const char *text, size_t len, const struct plain_script *plain,
                              size_t max_parts)
{
    struct choice best = cut_form(text, len, NULL, SMS_GSM7, max_parts);
    struct choice others[2] = {cut_form(text, len, NULL, SMS_UCS2, max_parts)};
    size_t count = 1;
    if (plain != NULL)
        others[count++] = cut_form(text, len, plain, SMS_GSM7, max_parts);
    for (size_t i = 0; i < count; i++)
        if (others[i].end > best.end || (others[i].end == best.end && others[i].parts < best.parts))
            best = others[i];
    return best;
}

static struct choice choose(const char *text, size_t len, bool transliterate, size_t max_parts)
{
    struct choice choice = {.end = len};
    struct sms_size composed = {SMS_GSM7, 0, 1, 0};
    struct sms_size replaced = {SMS_GSM7, 0, SIZE_MAX, 0};
    measure_form(text, len, NULL, &composed);
    struct plain_script script = {false, PLAIN_RUSSIAN};
    bool plain = transliterate && composed.encoding == SMS_UCS2;
    if (plain) {
        script = plain_script_of(text, len);
        if (!measure_form(text, len, &script, &replaced))
            replaced.parts = SIZE_MAX;
    }
    choice.script = script;
    choice.plain = replaced.parts < composed.parts;
    if (max_parts > 0 && composed.parts > max_parts && replaced.parts > max_parts)
        choice = best_cut(text, len, plain ? &script : NULL, max_parts);
    return choice;
}

/* Counts the words that hold a link, and those of them that have characters which the plain form replaces. */
static size_t count_links(const char *text, size_t len, size_t *fragile)
{
    size_t links = 0;
    size_t used = 0;
    for (size_t at = 0, start = 0; at <= len; at += used) {
        used = 1;
        uint32_t code = at < len ? text_decode(text + at, len - at, &used) : ' ';
        if (!is_blank(code) && !is_wide_blank(code))
            continue;
        if (links_find(text + start, at - start, NULL, NULL) > 0) {
            links++;
            *fragile += sms_measure(text + start, at - start).encoding != SMS_GSM7;
        }
        start = at + used;
    }
    return links;
}

/* Whether the plain form would change where a link leads, or make one of what was none. */
static bool changes_links(const char *text, size_t len, const char *plain, size_t plain_len)
{
    size_t fragile = 0;
    size_t ignored = 0;
    size_t links = count_links(text, len, &fragile);
    return fragile > 0 || count_links(plain, plain_len, &ignored) > links;
}

/* Most texts are all GSM and short: nothing can be made of those but a copy. */
static bool copy_fitting(const char *text, size_t len, size_t max_parts, char *out, size_t size,
                         struct sms_fitted *fitted)
{
    *fitted = (struct sms_fitted){.length = len, .size = sms_measure(text, len)};
    if (len >= size || fitted->size.encoding != SMS_GSM7 || (max_parts > 0 && fitted->size.parts > max_parts))
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

void sms_fit(const char *text, size_t len, const struct sms_options *options, char *out, size_t size,
             struct sms_fitted *fitted)
{
    if (copy_fitting(text, len, options->max_parts, out, size, fitted))
        return;
    struct choice choice = choose(text, len, options->transliterate, options->max_parts);
    write_choice(text, len, &choice, out, size, fitted);
    if (choice.plain && changes_links(text, choice.end, out, fitted->length)) {
        choice = choose(text, len, false, options->max_parts);
        write_choice(text, len, &choice, out, size, fitted);
    }
}
