#include "tests/sim/sms.h"

#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The GSM 03.38 alphabet above ASCII and outside it (CONTRACT.md section 8); below 0x80 see ascii_weight. */
static const uint32_t gsm_basic[] = {
    0xa3,  0xa5,  0xe8,  0xe9,  0xf9,  0xec,  0xf2,  0xc7,  0xd8,  0xf8, 0xc5, 0xe5, 0x394,
    0x3a6, 0x393, 0x39b, 0x3a9, 0x3a0, 0x3a8, 0x3a3, 0x398, 0x39e, 0xc6, 0xe6, 0xdf, 0xc9,
    0xa4,  0xa1,  0xc4,  0xd6,  0xd1,  0xdc,  0xa7,  0xbf,  0xe4,  0xf6, 0xf1, 0xfc, 0xe0,
};

/* Septets of a character: 1, 2 (extension table), or 0 if it is in neither. */
static int gsm_weight(uint32_t c)
{
    if (c < 0x80) {
        if (c == '\n' || c == '\r') {
            return 1;
        }
        if (c == '\f' || (c != 0 && strchr("^{}\\[~]|", (int)c) != NULL)) {
            return 2;
        }
        return c >= 0x20 && c != '`' && c != 0x7f ? 1 : 0;
    }
    if (c == 0x20ac) {
        return 2;
    }
    for (size_t i = 0; i < sizeof(gsm_basic) / sizeof(gsm_basic[0]); i++) {
        if (gsm_basic[i] == c) {
            return 1;
        }
    }
    return 0;
}

/* The next character; *text moves on. False: no UTF-8. */
static bool next_char(const char **text, uint32_t *c)
{
    const unsigned char *p = (const unsigned char *)*text;
    int more = *p < 0x80 ? 0 : *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : 1;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    static const unsigned char mask[] = {0x7f, 0x1f, 0x0f, 0x07};
    if ((*p >= 0x80 && *p < 0xc2) || *p > 0xf4) {
        return false;
    }
    *c = *p++ & mask[more];
    for (int i = 0; i < more; i++, p++) {
        if ((*p & 0xc0) != 0x80) {
            return false;
        }
        *c = *c << 6 | (*p & 0x3f);
    }
    *text = (const char *)p;
    return *c >= least[more] && *c <= 0x10ffff && !(*c >= 0xd800 && *c < 0xe000);
}

/* A character never straddles two parts, so parts are filled one by one. */
static int count_parts(const char *text, bool unicode, int total)
{
    int single = unicode ? 70 : 160;
    int joined = unicode ? 67 : 153;
    if (total <= single) {
        return 1;
    }
    int parts = 1;
    int used = 0;
    uint32_t c;
    while (*text != '\0' && next_char(&text, &c)) {
        int weight = unicode ? (c > 0xffff ? 2 : 1) : gsm_weight(c);
        if (used + weight > joined) {
            parts++;
            used = 0;
        }
        used += weight;
    }
    return parts;
}

bool sms_text_measure(const char *text, struct sms_measure *m)
{
    int septets = 0;
    int units = 0;
    const char *at = text;
    *m = (struct sms_measure){0};
    while (*at != '\0') {
        uint32_t c;
        if (!next_char(&at, &c)) {
            return false;
        }
        int weight = gsm_weight(c);
        m->unicode = m->unicode || weight == 0;
        septets += weight;
        units += c > 0xffff ? 2 : 1;
    }
    m->length = m->unicode ? units : septets;
    m->parts = count_parts(text, m->unicode, m->length);
    return true;
}

char *sms_text_plain(const char *text)
{
    static const struct {
        const char *from;
        const char *to;
    } letters[] = {
        {"ą", "a"}, {"ć", "c"}, {"ę", "e"}, {"ł", "l"}, {"ń", "n"}, {"ó", "o"}, {"ś", "s"}, {"ź", "z"},
        {"ż", "z"}, {"Ą", "A"}, {"Ć", "C"}, {"Ę", "E"}, {"Ł", "L"}, {"Ń", "N"}, {"Ó", "O"}, {"Ś", "S"},
        {"Ź", "Z"}, {"Ż", "Z"}, {"á", "a"}, {"č", "c"}, {"ď", "d"}, {"ě", "e"}, {"í", "i"}, {"ř", "r"},
        {"š", "s"}, {"ť", "t"}, {"ú", "u"}, {"ů", "u"}, {"ý", "y"}, {"ž", "z"}, {"â", "a"}, {"ê", "e"},
        {"î", "i"}, {"ô", "o"}, {"û", "u"}, {"ë", "e"}, {"ï", "i"}, {"ç", "c"}, {"õ", "o"}, {"ã", "a"},
        {"ő", "o"}, {"ű", "u"}, {"ă", "a"}, {"ș", "s"}, {"ț", "t"},
    };
    struct sim_buf b = {0};
    sim_buf_add(&b, "", 0);
    while (*text != '\0') {
        size_t i = 0;
        while (i < sizeof(letters) / sizeof(letters[0]) &&
               strncmp(text, letters[i].from, strlen(letters[i].from)) != 0) {
            i++;
        }
        if (i < sizeof(letters) / sizeof(letters[0])) {
            sim_buf_puts(&b, letters[i].to);
            text += strlen(letters[i].from);
        } else {
            sim_buf_add(&b, text++, 1);
        }
    }
    return b.data;
}

char *sms_text_decode(const char *text, size_t length, const char *charset)
{
    struct sms_measure unused;
    if (strcasecmp(charset, "utf-8") == 0) {
        char *copy = sim_strndup(text, length);
        if (!sms_text_measure(copy, &unused)) {
            free(copy);
            return NULL;
        }
        return copy;
    }
    iconv_t convert = iconv_open("UTF-8", charset);
    if (convert == (iconv_t)-1) {
        return NULL;
    }
    size_t room = 4 * length + 1;
    char *out = sim_alloc(room);
    char *in_at = sim_strndup(text, length);
    char *in = in_at;
    char *out_at = out;
    size_t left = length;
    room--;
    bool good = iconv(convert, &in_at, &left, &out_at, &room) != (size_t)-1;
    iconv_close(convert);
    free(in);
    if (!good) {
        free(out);
        return NULL;
    }
    *out_at = '\0';
    return out;
}
