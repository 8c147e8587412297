#include "dispatcher/expr/links.h"

#include <libpsl.h>
#include <string.h>
#include <strings.h>

#include "dispatcher/expr/text.h"

#define LABEL_LIMIT 63u

struct scan {
    const char *word;
    size_t length;
    const uint8_t *foreign; /* NULL: all of it */
    uint8_t *edits;         /* NULL: they are counted only */
    size_t count;
};

static void edit(struct scan *s, size_t at, size_t bytes, enum links_edit what)
{
    s->count++;
    if (s->edits == NULL)
        return;
    s->edits[at] = (uint8_t)what;
    for (size_t i = 1; i < bytes; i++)
        s->edits[at + i] = what == LINKS_BRACKET ? LINKS_SKIP : (uint8_t)what;
}

static bool any_foreign(const struct scan *s, size_t start, size_t end)
{
    if (s->foreign == NULL)
        return true;
    for (size_t i = start; i < end && i < s->length; i++)
        if (s->foreign[i] != 0)
            return true;
    return false;
}

/* ---- Characters ------------------------------------------------------------------------------ */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_number(char c)
{
    return c >= '0' && c <= '9';
}

/* Browsers take a backslash for a slash. */
static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

struct range {
    uint32_t first;
    uint32_t last;
};

/* Letters, digits and marks beyond ASCII that a top-level domain may have, or that become such in a plain
 * form; ascending. */
static const struct range letters[] = {
    {0x00AA, 0x00AA}, {0x00B2, 0x00BA},   {0x00C0, 0x00D6},   {0x00D8, 0x00F6},   {0x00F8, 0x1FFF},
    {0x2070, 0x209F}, {0x20D0, 0x20FF},   {0x2100, 0x218F},   {0x2460, 0x24FF},   {0x2C00, 0x2DFF},
    {0x3041, 0x318F}, {0x31A0, 0x33FF},   {0x3400, 0xABFF},   {0xAC00, 0xD7FF},   {0xF900, 0xFDCF},
    {0xFE20, 0xFE2F}, {0xFE70, 0xFEFC},   {0xFF10, 0xFF19},   {0xFF21, 0xFF3A},   {0xFF41, 0xFF5A},
    {0xFF66, 0xFFDC}, {0x10000, 0x1EFFF}, {0x1F100, 0x1F1E5}, {0x20000, 0x3FFFF},
};

static bool has_wide_letter(const char *label, size_t len)
{
    size_t used = 0;
    for (size_t at = 0; at < len; at += used) {
        uint32_t code = text_decode(label + at, len - at, &used);
        for (size_t i = 0; i < sizeof letters / sizeof letters[0] && code >= letters[i].first; i++)
            if (code <= letters[i].last)
                return true;
    }
    return false;
}

static bool is_wide_blank(uint32_t code)
{
    return (code >= 0x2000 && code <= 0x200A) || code == 0x1680 || code == 0x2028 || code == 0x2029 ||
           code == 0x202F || code == 0x205F || code == 0x3000;
}

/* What browsers take for a full stop between labels, and what becomes one in the plain form of a text. */
static size_t dot_length(const char *text, size_t len)
{
    static const uint32_t dots[] = {'.', 0x2024, 0x3002, 0xFE52, 0xFF0E, 0xFF61};
    size_t used = 0;
    if (len == 0)
        return 0;
    uint32_t code = text_decode(text, len, &used);
    for (size_t i = 0; i < sizeof dots / sizeof dots[0]; i++)
        if (dots[i] == code)
            return used;
    return 0;
}

/* One character of a label of a host's name; returns its length or 0. Phones take any that is not ASCII,
 * symbols and emoji among them. */
static size_t label_character(const char *text, size_t len)
{
    size_t used = 0;
    if (len == 0)
        return 0;
    if (is_letter(*text) || is_number(*text) || *text == '-' || *text == '_')
        return 1;
    uint32_t code = text_decode(text, len, &used);
    bool fits = code > 0xA0 && !is_wide_blank(code) && dot_length(text, len) == 0;
    return fits ? used : 0;
}

static size_t label_length(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t used = 1; used > 0; n += used)
        used = label_character(text + n, len - n);
    return n;
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

/* ---- Schemes --------------------------------------------------------------------------------- */

/* Whether others say where the link behind a scheme leads: the last label of its host, port and path left
 * out. */
static bool target_foreign(const struct scan *s, size_t at)
{
    if (s->foreign == NULL)
        return true;
    while (at < s->length && is_slash(s->word[at]))
        at++;
    size_t end = at;
    while (end < s->length && !is_slash(s->word[end]) && s->word[end] != '?' && s->word[end] != '#')
        end++;
    size_t host_end = end;
    while (host_end > at && is_number(s->word[host_end - 1]))
        host_end--;
    if (host_end > at && host_end < end && s->word[host_end - 1] == ':')
        end = host_end - 1;
    size_t label = at;
    for (size_t i = at; i < end; i++)
        if (s->word[i] == '@' || dot_length(s->word + i, end - i) > 0)
            label = i;
    return any_foreign(s, label, end);
}

/* The schemes of the web, wherever they stand: "http:" becomes "hxxp:", "ftp:" "fxp:". Returns what was read.
 */
static size_t find_web_scheme(struct scan *s, size_t at)
{
    static const char *const web[] = {"https", "http", "ftps", "ftp", NULL};
    size_t n = word_before_colon(s->word + at, s->length - at, web);
    bool file = s->word[at] == 'f' || s->word[at] == 'F';
    if (n == 0)
        return 0;
    if (any_foreign(s, at, at + n + 1) || target_foreign(s, at + n + 1))
        edit(s, at + 1, file ? 1 : 2, LINKS_CROSS);
    return n + 1;
}

/* Schemes that act without slashes, where something follows. */
static size_t find_acting_scheme(struct scan *s, size_t at)
{
    static const char *const acting[] = {
        "tel",      "smsto",   "sms",       "mms",           "mmsto",     "mailto",   "javascript",
        "vbscript", "intent",  "market",    "geo",           "maps",      "facetime", "facetime-audio",
        "data",     "file",    "blob",      "about",         "whatsapp",  "tg",       "skype",
        "viber",    "signal",  "sgnl",      "threema",       "callto",    "sips",     "sip",
        "xmpp",     "bitcoin", "ethereum",  "litecoin",      "lightning", "upi",      "magnet",
        "webcal",   "itms",    "itms-apps", "itms-services", "otpauth",   "zoommtg",  "msteams",
        "wtai",     NULL};
    bool starts = at == 0 || !(is_letter(s->word[at - 1]) || is_number(s->word[at - 1]));
    size_t n = starts ? word_before_colon(s->word + at, s->length - at, acting) : 0;
    if (n == 0 || n + 1 == s->length - at)
        return 0;
    if (any_foreign(s, at, at + n + 2))
        edit(s, at + n, 1, LINKS_BRACKET);
    return n + 1;
}

/* What is spoilt already is not spoilt again when the text around it is looked at. */
static bool is_spoilt(const struct scan *s, size_t colon)
{
    static const char *const spoilt[] = {"hxxps", "hxxp", "fxps", "fxp", NULL};
    for (size_t i = 0; s->foreign != NULL && spoilt[i] != NULL; i++) {
        size_t n = strlen(spoilt[i]);
        if (n <= colon && strncasecmp(s->word + colon - n, spoilt[i], n) == 0)
            return true;
    }
    return false;
}

/* "x://" of any scheme. */
static size_t find_other_scheme(struct scan *s, size_t at)
{
    size_t start = at;
    if (s->length - at < 3 || s->word[at] != ':' || !is_slash(s->word[at + 1]) || !is_slash(s->word[at + 2]))
        return 0;
    while (start > 0 && (is_letter(s->word[start - 1]) || is_number(s->word[start - 1])))
        start--;
    if (!is_spoilt(s, at) && (any_foreign(s, start, at + 3) || target_foreign(s, at + 1)))
        edit(s, at, 1, LINKS_BRACKET);
    return 1;
}

static void find_schemes(struct scan *s)
{
    /* few words have one */
    const char *colon = s->length == 0 ? NULL : memrchr(s->word, ':', s->length);
    size_t end = colon == NULL ? 0 : (size_t)(colon - s->word) + 1;
    for (size_t at = 0; at < end;) {
        size_t read = find_web_scheme(s, at);
        read = read > 0 ? read : find_acting_scheme(s, at);
        read = read > 0 ? read : find_other_scheme(s, at);
        at += read > 0 ? read : 1;
    }
}

/* ---- Hosts ----------------------------------------------------------------------------------- */

/* Whether a phone may take the label for a top-level domain. What is not a letter ends the name for a phone
 * ("evil.com-"); a letter that is not ASCII may become one that is. */
static bool is_top_level(const char *label, size_t len)
{
    char name[LABEL_LIMIT + 1];
    size_t n = 0;
    if (is_number(label[0]))
        return false;
    if (has_wide_letter(label, len))
        return true;
    if (len > 4 && strncasecmp(label, "xn--", 4) == 0)
        return true;
    for (; n < len && n < LABEL_LIMIT && is_letter(label[n]); n++)
        name[n] = (char)(label[n] | 0x20);
    name[n] = '\0';
    if (n < len && is_number(label[n]))
        return false;
    const psl_ctx_t *list = psl_builtin();
    return n == 2 ||
           (n > 2 &&
            (list == NULL || psl_is_public_suffix2(list, name, PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) != 0));
}

/* A dotted name: where it ends and what of it decides whether it is a link. */
struct host {
    size_t length;
    size_t labels;
    size_t last_dot;
    bool numeric;  /* every label is a number */
    bool address;  /* four numbers in a row are an IPv4 address: phones link one without a scheme, too */
    size_t octets; /* in a row up to here */
    bool known; /* a label behind the first is a top-level domain: phones end the name there if they must */
    bool www;   /* a label before the last is "www" */
};

/* "www", alone or behind what is not ASCII. */
static bool is_www(const char *label, size_t len)
{
    return len >= 3 && strncasecmp(label + len - 3, "www", 3) == 0 &&
           (len == 3 || (unsigned char)label[len - 4] >= 0x80);
}

static bool is_octet(const char *digits, size_t len)
{
    unsigned value = 0;
    for (size_t i = 0; i < len && len <= 3; i++)
        value = value * 10 + (unsigned)(digits[i] - '0');
    return len >= 1 && len <= 3 && value <= 255;
}

/* Letters, digits and the underline keep a number beside them from being seen as one. */
static bool is_apart(char c)
{
    return !is_letter(c) && !is_number(c) && c != '_';
}

static void note_octets(struct host *host, const char *label, size_t len)
{
    size_t head = 0;
    size_t tail = 0;
    while (head < len && is_number(label[head]))
        head++;
    while (tail < len - head && is_number(label[len - tail - 1]))
        tail++;
    bool begins = is_octet(label, head) && (head == len || is_apart(label[head]));
    bool ends = is_octet(label + len - tail, tail) && is_apart(label[len - tail - 1]);
    size_t row = begins ? host->octets + 1 : 0;
    host->address = host->address || row == 4;
    host->octets = head == len ? row : ends;
}

static struct host read_host(const char *text, size_t len)
{
    struct host host = {.numeric = true};
    bool was_www = false;
    for (size_t at = 0;;) {
        size_t label = label_length(text + at, len - at);
        if (label == 0)
            break;
        host.www = host.www || was_www;
        was_www = is_www(text + at, label);
        if (host.labels++ > 0)
            host.known = host.known || is_top_level(text + at, label);
        for (size_t i = 0; i < label; i++)
            host.numeric = host.numeric && is_number(text[at + i]);
        note_octets(&host, text + at, label);
        host.last_dot = host.labels > 1 ? host.length : 0;
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
static bool is_link(const char *text, const struct host *host, bool addressed, size_t after_length)
{
    const char *after = text + host->length;
    char next = after_length > 0 ? *after : ' ';
    char second = after_length > 1 ? after[1] : ' ';
    bool path = is_slash(next) || ((next == '?' || next == '#') && second != ' ') ||
                (next == ':' && is_number(second));
    if (host->labels < 2)
        return false;
    if (host->address)
        return true;
    if (host->numeric)
        return host->labels == 4 && (path || addressed);
    return path || addressed || host->known || host->www;
}

static void bracket_dots(struct scan *s, size_t start, size_t end)
{
    for (size_t i = start; i < end;) {
        size_t dot = dot_length(s->word + i, end - i);
        if (dot > 0)
            edit(s, i, dot, LINKS_BRACKET);
        i += dot > 0 ? dot : 1;
    }
}

static bool is_addressed(const struct scan *s, size_t at)
{
    if (at > 0 && s->word[at - 1] == '@')
        return true;
    return at > 1 && is_slash(s->word[at - 1]) && is_slash(s->word[at - 2]);
}

static void find_hosts(struct scan *s)
{
    for (size_t at = 0; at < s->length;) {
        const char *text = s->word + at;
        struct host host = read_host(text, s->length - at);
        if (host.length > 0 && is_link(text, &host, is_addressed(s, at), s->length - at - host.length) &&
            any_foreign(s, at + (host.address ? 0 : host.last_dot), at + host.length))
            bracket_dots(s, at, at + host.length);
        at += host.length > 0 ? host.length : 1;
    }
}

/* ---- Words ----------------------------------------------------------------------------------- */

size_t links_find(const char *word, size_t len, const uint8_t *foreign, uint8_t *edits)
{
    struct scan scan = {word, len, foreign, edits, 0};
    if (edits != NULL && len > 0)
        memset(edits, LINKS_KEEP, len);
    find_schemes(&scan);
    find_hosts(&scan);
    return scan.count;
}

size_t links_apply(const char *word, size_t len, const uint8_t *edits, char *out)
{
    size_t length = 0;
    for (size_t i = 0; i < len; i++) {
        if (edits[i] == LINKS_KEEP) {
            out[length++] = word[i];
        } else if (edits[i] == LINKS_CROSS) {
            out[length++] = 'x';
        } else if (edits[i] == LINKS_BRACKET) {
            out[length++] = '[';
            out[length++] = word[i] == ':' ? ':' : '.';
            out[length++] = ']';
        }
    }
    return length;
}
