#include "dispatcher/expr/clean.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/text.h"

/* ---- Characters ------------------------------------------------------------------------------ */

struct range {
    uint32_t first;
    uint32_t last;
};

/* Control, bidirectional, zero-width, filler, variation, tag and other characters that are not seen;
 * ascending. */
static const struct range invisible[] = {
    {0x0000, 0x001F},   {0x007F, 0x009F}, {0x00AD, 0x00AD}, {0x034F, 0x034F},   {0x061C, 0x061C},
    {0x115F, 0x1160},   {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x200B, 0x200F},   {0x2028, 0x202E},
    {0x2060, 0x206F},   {0x3164, 0x3164}, {0xFDD0, 0xFDEF}, {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},
    {0xFFA0, 0xFFA0},   {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
    {0xE0000, 0xE0FFF},
};

static bool in_ranges(uint32_t code, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count && code >= ranges[i].first; i++)
        if (code <= ranges[i].last)
            return true;
    return false;
}

static bool is_invisible(uint32_t code)
{
    return (code & 0xFFFE) == 0xFFFE || in_ranges(code, invisible, sizeof invisible / sizeof invisible[0]);
}

static bool is_break(uint32_t code)
{
    return (code >= '\t' && code <= '\r') || code == 0x85 || code == 0x2028 || code == 0x2029;
}

/* What browsers take for a full stop between the labels of a name. */
static bool is_dot(uint32_t code)
{
    return code == '.' || code == 0x3002 || code == 0xFF0E || code == 0xFF61;
}

/*
 * Writes visible text with at most `characters` + 1 code points: one more than wanted says that there is
 * more. `out` has room for three bytes for each byte of the text.
 */
static size_t strip(const char *text, size_t len, size_t characters, char *out)
{
    size_t length = 0;
    size_t count = 0;
    size_t used = 0;
    bool broken = false; /* a line break just became a space */
    for (size_t i = 0; i < len && count <= characters; i += used) {
        uint32_t code = text_decode(text + i, len - i, &used);
        if (code == TEXT_INVALID)
            code = 0xFFFD;
        if (is_break(code)) {
            if (broken)
                continue;
            code = ' ';
            broken = true;
        } else if (is_invisible(code)) {
            continue;
        } else {
            broken = false;
        }
        length += text_encode(code, out + length);
        count++;
    }
    return length;
}

/* ---- Links ----------------------------------------------------------------------------------- */

struct writer {
    char *out;
    size_t length;
};

static void put(struct writer *w, const char *text, size_t len)
{
    memcpy(w->out + w->length, text, len);
    w->length += len;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_number(char c)
{
    return c >= '0' && c <= '9';
}

/* Letters beyond ASCII that names of hosts may have: alphabets and ideographs, no symbols, no emoji;
 * ascending. */
static const struct range letters[] = {
    {0x00C0, 0x00D6},   {0x00D8, 0x00F6},   {0x00F8, 0x1FFF}, {0x2C00, 0x2DFF}, {0x3041, 0x318F},
    {0x31A0, 0x31FF},   {0x3400, 0xABFF},   {0xAC00, 0xD7FF}, {0xF900, 0xFAFF}, {0xFB50, 0xFDCF},
    {0xFE70, 0xFEFC},   {0xFF10, 0xFF19},   {0xFF21, 0xFF3A}, {0xFF41, 0xFF5A}, {0xFF66, 0xFFDC},
    {0x10000, 0x1EFFF}, {0x20000, 0x3FFFF},
};

/* One character of a label of a host's name; returns its length or 0. */
static size_t label_character(const char *text, size_t len)
{
    size_t used = 0;
    if (len == 0)
        return 0;
    if (is_letter(*text) || is_number(*text) || *text == '-' || *text == '_')
        return 1;
    uint32_t code = text_decode(text, len, &used);
    return in_ranges(code, letters, sizeof letters / sizeof letters[0]) ? used : 0;
}

static size_t dot_length(const char *text, size_t len)
{
    size_t used = 0;
    if (len == 0)
        return 0;
    return is_dot(text_decode(text, len, &used)) ? used : 0;
}

static size_t label_length(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t used = 1; used > 0; n += used)
        used = label_character(text + n, len - n);
    return n;
}

static bool is_word(const char *text, size_t len, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strlen(*words) == len && strncasecmp(text, *words, len) == 0)
            return true;
    return false;
}

/* Top-level domains that phones make links of; all of two letters are countries'. */
static bool is_top_level(const char *label, size_t len)
{
    static const char *const names[] = {
        "com",      "net",    "org",    "info",    "biz",     "edu",     "gov",     "mil",      "int",
        "app",      "dev",    "xyz",    "top",     "site",    "online",  "shop",    "store",    "club",
        "live",     "link",   "click",  "cloud",   "icu",     "vip",     "win",     "work",     "world",
        "today",    "news",   "blog",   "life",    "fun",     "space",   "website", "tech",     "pro",
        "name",     "mobi",   "asia",   "tel",     "travel",  "jobs",    "cat",     "aero",     "coop",
        "museum",   "bank",   "money",  "loan",    "loans",   "finance", "pay",     "page",     "zip",
        "mov",      "rest",   "bar",    "group",   "email",   "help",    "support", "services", "network",
        "digital",  "agency", "center", "company", "media",   "video",   "social",  "chat",     "date",
        "download", "stream", "review", "trade",   "party",   "science", "racing",  "men",      "bid",
        "buzz",     "cyou",   "sbs",    "cfd",     "monster", "quest",   "lol",     "rip",      "art",
        "host",     "press",  "plus",   "one",     "zone",    NULL};
    if (len > 4 && strncasecmp(label, "xn--", 4) == 0)
        return true;
    if ((unsigned char)label[0] >= 0x80)
        return true;
    /* What is not a letter ends the name for a phone: "evil.com-", "evil.comą". */
    size_t letter_count = 0;
    while (letter_count < len && is_letter(label[letter_count]))
        letter_count++;
    if (letter_count < len && is_number(label[letter_count]))
        return false;
    return letter_count == 2 || is_word(label, letter_count, names);
}

/* A dotted name: where it ends and what of it decides whether it is a link. */
struct host {
    size_t length;
    size_t labels;
    bool numeric; /* every label is a number */
    bool known;   /* a label behind the first is a top-level domain: phones end the name there if they must */
    const char *first;
    size_t first_length;
};

static struct host read_host(const char *text, size_t len)
{
    struct host host = {.numeric = true, .first = text};
    for (size_t at = 0;;) {
        size_t label = label_length(text + at, len - at);
        if (label == 0)
            break;
        if (host.labels++ == 0)
            host.first_length = label;
        else
            host.known = host.known || is_top_level(text + at, label);
        for (size_t i = 0; i < label; i++)
            host.numeric = host.numeric && is_number(text[at + i]);
        host.length = at + label;
        size_t dot = dot_length(text + host.length, len - host.length);
        if (dot == 0)
            break;
        at = host.length + dot;
    }
    return host;
}

/* Whether a phone could make a link of the name; `addressed`: it stands behind "//" or "@"; `after`: what
 * follows it. */
static bool is_link(const struct host *host, bool addressed, const char *after, size_t after_length)
{
    static const char *const www[] = {"www", NULL};
    char next = after_length > 0 ? *after : ' ';
    bool path =
        next == '/' || next == '?' || next == '#' || (next == ':' && after_length > 1 && is_number(after[1]));
    if (host->labels < 2)
        return false;
    if (host->numeric)
        return host->labels == 4 && (path || addressed);
    return path || addressed || host->known || is_word(host->first, host->first_length, www);
}

static void put_host(struct writer *w, const char *text, const struct host *host, bool link)
{
    for (size_t i = 0; i < host->length;) {
        size_t dot = dot_length(text + i, host->length - i);
        if (dot > 0 && link)
            put(w, "[.]", 3);
        else
            put(w, text + i, dot > 0 ? dot : 1);
        i += dot > 0 ? dot : 1;
    }
}

/* The length of one of the words at the cursor, in any case, if a colon follows it; else 0. */
static size_t word_before_colon(const char *text, size_t len, const char *const *words)
{
    for (; *words != NULL; words++) {
        size_t n = strlen(*words);
        if (n < len && text[n] == ':' && strncasecmp(text, *words, n) == 0)
            return n;
    }
    return 0;
}

/* Schemes of the web wherever they stand: "http:" becomes "hxxp:", "ftp:" "fxp:". Returns how much was read.
 */
static size_t put_web_scheme(struct writer *w, const char *text, size_t len)
{
    static const char *const web[] = {"https", "http", "ftps", "ftp", NULL};
    size_t n = word_before_colon(text, len, web);
    if (n == 0)
        return 0;
    bool file = text[0] == 'f' || text[0] == 'F';
    size_t replaced = file ? 2 : 3;
    put(w, text, 1);
    put(w, file ? "x" : "xx", replaced - 1);
    put(w, text + replaced, n + 1 - replaced);
    return n + 1;
}

/*
 * The schemes of a word: those of the web are spoilt, the colon of "x://" and of what acts without slashes
 * ("tel:") goes into brackets. `out` has room for twice the word.
 */
static size_t defang_schemes(const char *word, size_t len, char *out)
{
    static const char *const bare[] = {"tel",      "smsto",  "sms",     "mms",      "mailto", "javascript",
                                       "intent",   "market", "geo",     "facetime", "data",   "file",
                                       "whatsapp", "tg",     "skype",   "viber",    "callto", "sips",
                                       "sip",      "xmpp",   "bitcoin", NULL};
    struct writer w = {out, 0};
    for (size_t i = 0; i < len;) {
        size_t read = put_web_scheme(&w, word + i, len - i);
        bool starts = i == 0 || !(is_letter(word[i - 1]) || is_number(word[i - 1]));
        size_t acts = read == 0 && starts ? word_before_colon(word + i, len - i, bare) : 0;
        if (acts > 0 && acts + 1 < len - i) {
            put(&w, word + i, acts);
            put(&w, "[:]", 3);
            read = acts + 1;
        } else if (read == 0 && len - i >= 3 && memcmp(word + i, "://", 3) == 0) {
            put(&w, "[:]", 3);
            read = 1;
        } else if (read == 0) {
            put(&w, word + i, 1);
            read = 1;
        }
        i += read;
    }
    return w.length;
}

/* The dotted names of a word that could be links. `out` has room for three times the word. */
static size_t defang_hosts(const char *word, size_t len, char *out)
{
    struct writer w = {out, 0};
    for (size_t i = 0; i < len;) {
        struct host host = read_host(word + i, len - i);
        if (host.length == 0) {
            put(&w, word + i, 1);
            i++;
            continue;
        }
        size_t end = i + host.length;
        bool addressed = i > 0 && (word[i - 1] == '@' || (i > 1 && word[i - 1] == '/' && word[i - 2] == '/'));
        put_host(&w, word + i, &host, is_link(&host, addressed, word + end, len - end));
        i = end;
    }
    return w.length;
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
    char *scratch;
    size_t room;
    bool cut;
};

/*
 * Defangs a word into what room is left. A word that does not fit is cut before it is defanged, never after:
 * a cut may make a link of what was none ("x.community").
 */
static size_t defang_within(struct cutter *c, const char *word, size_t len, char *out)
{
    size_t characters = text_count(word, len);
    if (characters > c->room) {
        c->cut = true;
        characters = c->room;
    }
    for (;;) {
        size_t bytes = defang_schemes(word, prefix_bytes(word, len, characters), c->scratch);
        size_t length = defang_hosts(c->scratch, bytes, out);
        size_t count = text_count(out, length);
        if (count <= c->room) {
            c->room -= count;
            return length;
        }
        /* a character becomes four at most, so that this many less are needed at least */
        size_t excess = (count - c->room + 3) / 4;
        characters -= excess < characters ? excess : characters;
        c->cut = true;
    }
}

bool expr_clean(const char *text, size_t len, size_t characters, struct expr_arena *arena, const char **out,
                size_t *out_len, bool *cut)
{
    size_t most = len < 4 * (characters + 64) ? len : 4 * (characters + 64);
    char *visible = expr_arena_alloc(arena, most * 3 + 8);
    char *result = expr_arena_alloc(arena, most * 18 + 8);
    struct cutter cutter = {.scratch = expr_arena_alloc(arena, most * 6 + 8), .room = characters};
    if (visible == NULL || result == NULL || cutter.scratch == NULL)
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
