#include "dispatcher/expr/clean.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/text.h"

#define SCHEME_LIMIT 32u /* letters of a scheme */

/* ---- Characters
 * ------------------------------------------------------------------------------------------------ */

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

static bool is_invisible(uint32_t code)
{
    if ((code & 0xFFFE) == 0xFFFE)
        return true;
    for (size_t i = 0; i < sizeof invisible / sizeof invisible[0] && code >= invisible[i].first; i++)
        if (code <= invisible[i].last)
            return true;
    return false;
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

/* ---- Links
 * ----------------------------------------------------------------------------------------------------- */

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

/* One character of a label of a host's name; returns its length or 0. Letters beyond ASCII belong to labels.
 */
static size_t label_character(const char *text, size_t len)
{
    size_t used = 0;
    if (len == 0)
        return 0;
    if (is_letter(*text) || is_number(*text) || *text == '-' || *text == '_')
        return 1;
    uint32_t code = text_decode(text, len, &used);
    return code >= 0xA1 && code != TEXT_INVALID && code != 0xFFFD && !is_dot(code) &&
                   (code < 0x2000 || code > 0x206F) && (code < 0x3000 || code > 0x301F)
               ? used
               : 0;
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

/* A dotted name: where it ends and what of it decides whether it is a link. */
struct host {
    size_t length;
    size_t labels;
    bool numeric; /* every label is a number */
    const char *first;
    size_t first_length;
    const char *last;
    size_t last_length;
};

static struct host read_host(const char *text, size_t len)
{
    struct host host = {.numeric = true, .first = text};
    for (size_t at = 0;;) {
        size_t label = label_length(text + at, len - at);
        if (label == 0)
            break;
        host.last = text + at;
        host.last_length = label;
        if (host.labels++ == 0)
            host.first_length = label;
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
    if (len == 2)
        return is_letter(label[0]) && is_letter(label[1]);
    if (len > 4 && strncasecmp(label, "xn--", 4) == 0)
        return true;
    return (unsigned char)label[0] >= 0x80 || is_word(label, len, names);
}

/* Whether a phone could make a link of the name; `before` and `after` are its neighbours. */
static bool is_link(const struct host *host, char before, const char *after, size_t after_length)
{
    static const char *const www[] = {"www", NULL};
    char next = after_length > 0 ? *after : ' ';
    bool path =
        next == '/' || next == '?' || next == '#' || (next == ':' && after_length > 1 && is_number(after[1]));
    if (host->labels < 2)
        return false;
    if (host->numeric)
        return host->labels == 4 && (path || before == '/' || before == '@');
    return path || before == '/' || before == '@' || is_word(host->first, host->first_length, www) ||
           is_top_level(host->last, host->last_length);
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

/*
 * A scheme at the cursor: "http:" and "https:" become "hxxp:" and "hxxps:", "ftp:" "fxp:"; any other before
 * "//", and those that act without it, get "[:]". Returns how much was read.
 */
static size_t put_scheme(struct writer *w, const char *text, size_t len)
{
    static const char *const web[] = {"http", "https", "ftp", "ftps", NULL};
    static const char *const bare[] = {"tel",      "sms",    "smsto",   "mms",      "mailto", "javascript",
                                       "intent",   "market", "geo",     "facetime", "data",   "file",
                                       "whatsapp", "tg",     "skype",   "viber",    "callto", "sip",
                                       "sips",     "xmpp",   "bitcoin", NULL};
    size_t n = 0;
    while (n < len && n < SCHEME_LIMIT &&
           (is_letter(text[n]) || (n > 0 && (is_number(text[n]) || text[n] == '+'))))
        n++;
    if (n == 0 || n + 1 >= len || text[n] != ':')
        return 0;
    if (is_word(text, n, web)) {
        bool file = text[0] == 'f' || text[0] == 'F';
        put(w, text, 1);
        put(w, file ? "x" : "xx", file ? 1 : 2);
        put(w, text + (file ? 2 : 3), n - (file ? 2 : 3) + 1);
        return n + 1;
    }
    bool slashes = n + 2 < len && text[n + 1] == '/' && text[n + 2] == '/';
    if (!slashes && !is_word(text, n, bare))
        return 0;
    put(w, text, n);
    put(w, "[:]", 3);
    return n + 1;
}

/* One word without spaces. `out` has room for five bytes for each of the word's. */
static size_t defang(const char *word, size_t len, char *out)
{
    struct writer w = {out, 0};
    for (size_t i = 0; i < len;) {
        size_t scheme = put_scheme(&w, word + i, len - i);
        if (scheme > 0) {
            i += scheme;
            continue;
        }
        struct host host = read_host(word + i, len - i);
        if (host.length == 0) {
            put(&w, word + i, 1);
            i++;
            continue;
        }
        size_t end = i + host.length;
        put_host(&w, word + i, &host, is_link(&host, i > 0 ? word[i - 1] : ' ', word + end, len - end));
        i = end;
    }
    return w.length;
}

/* ---- Cutting
 * --------------------------------------------------------------------------------------------------- */

/* The bytes of the first `characters` code points of valid text. */
static size_t prefix_bytes(const char *text, size_t len, size_t characters)
{
    size_t used = 0;
    size_t at = 0;
    for (; at < len && characters > 0; at += used, characters--)
        text_decode(text + at, len - at, &used);
    return at;
}

/*
 * Defangs a word into at most `room` code points. A word that does not fit is cut before it is defanged,
 * never after: a cut may make a link of what was none ("x.community").
 */
static size_t defang_within(const char *word, size_t len, size_t room, char *out, bool *cut)
{
    size_t characters = text_count(word, len);
    if (characters > room) {
        *cut = true;
        characters = room;
    }
    for (;; characters--) {
        size_t bytes = prefix_bytes(word, len, characters);
        size_t length = defang(word, bytes, out);
        if (text_count(out, length) <= room)
            return length;
        *cut = true;
    }
}

bool expr_clean(const char *text, size_t len, size_t characters, struct expr_arena *arena, const char **out,
                size_t *out_len, bool *cut)
{
    size_t most = len < 4 * (characters + 64) ? len : 4 * (characters + 64);
    bool ignored = false;
    bool *shortened = cut != NULL ? cut : &ignored;
    *shortened = false;
    char *visible = expr_arena_alloc(arena, most * 3 + 8);
    char *result = expr_arena_alloc(arena, most * 15 + 8);
    if (visible == NULL || result == NULL)
        return false;
    size_t length = strip(text, len, characters, visible);
    size_t written = 0;
    size_t left = characters;
    for (size_t i = 0; i < length && !*shortened;) {
        const char *space = memchr(visible + i, ' ', length - i);
        size_t word = space == NULL ? length - i : (size_t)(space - visible) - i;
        size_t added = defang_within(visible + i, word, left, result + written, shortened);
        left -= text_count(result + written, added);
        written += added;
        i += word;
        if (*shortened || i == length)
            break;
        if (left == 0) {
            *shortened = true;
            break;
        }
        result[written++] = ' ';
        left--;
        i++;
    }
    *out = result;
    *out_len = written;
    return true;
}
