#include "core/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NEAREST_WORD_MAX = 64, NEAREST_DISTANCE_MAX = 3 };

const char *str_mask_number(const char *number, char *out, size_t size)
{
    size_t len = strlen(number);
    if (!size)
        return out;
    if (len > size - 1) {
        number += len - (size - 1);
        len = size - 1;
    }
    for (size_t i = 0; i < len; i++) {
        bool shown = (len > 3 && i >= len - 3) || (i == 0 && number[0] == '+');
        out[i] = shown ? number[i] : '*';
    }
    out[len] = '\0';
    return out;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Insertions, deletions, changes, and swaps of neighbours, which are the commonest slip. */
static unsigned edit_distance(const char *a, size_t alen, const char *b, size_t blen)
{
    unsigned rows[3][NEAREST_WORD_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= blen; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= alen; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= blen; j++) {
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        unsigned *unused = before;
        before = last;
        last = row;
        row = unused;
    }
    return last[blen];
}

const char *str_nearest(const char *word, const char *const *words)
{
    size_t len = strlen(word);
    if (len == 0 || len > NEAREST_WORD_MAX)
        return NULL;
    unsigned limit = (unsigned)(len / 3);
    if (limit < 1)
        limit = 1;
    if (limit > NEAREST_DISTANCE_MAX)
        limit = NEAREST_DISTANCE_MAX;
    const char *best = NULL;
    unsigned best_distance = limit + 1;
    for (; *words; words++) {
        size_t wlen = strlen(*words);
        if (wlen > NEAREST_WORD_MAX)
            continue;
        unsigned d = edit_distance(word, len, *words, wlen);
        if (d < best_distance) {
            best_distance = d;
            best = *words;
        }
    }
    return best;
}

/* Length of the well-formed sequence at S, or 0. The table of the Unicode Standard, 3.9, table 3-7. */
static size_t utf8_sequence(const unsigned char *s, size_t len)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high, length;
    } rows[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        if (s[0] < rows[r].first_low || s[0] > rows[r].first_high)
            continue;
        size_t n = rows[r].length;
        if (n > len)
            return 0;
        if (n > 1 && (s[1] < rows[r].second_low || s[1] > rows[r].second_high))
            return 0;
        for (size_t i = 2; i < n; i++)
            if ((s[i] & 0xc0) != 0x80)
                return 0;
        return n;
    }
    return 0;
}

bool str_utf8_valid(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    while (len) {
        if (*s < 0x80) {
            s++;
            len--;
            continue;
        }
        size_t n = utf8_sequence(s, len);
        if (!n)
            return false;
        s += n;
        len -= n;
    }
    return true;
}

const char *str_duration(int64_t ms, char *out, size_t size)
{
    if (ms < 0)
        snprintf(out, size, "-");
    else if (ms < 1000)
        snprintf(out, size, "%" PRId64 "ms", ms);
    else if (ms < 60000)
        snprintf(out, size, "%" PRId64 ".%" PRId64 "s", ms / 1000, ms % 1000 / 100);
    else if (ms < 3600000)
        snprintf(out, size, "%" PRId64 "m%02" PRId64 "s", ms / 60000, ms / 1000 % 60);
    else if (ms < 86400000)
        snprintf(out, size, "%" PRId64 "h%02" PRId64 "m", ms / 3600000, ms / 60000 % 60);
    else
        snprintf(out, size, "%" PRId64 "d%02" PRId64 "h", ms / 86400000, ms / 3600000 % 24);
    return out;
}

void str_hex(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int str_unhex(const char *text, void *out, size_t len)
{
    unsigned char *p = out;
    if (strlen(text) != 2 * len)
        return -1;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        p[i] = (unsigned char)(high << 4 | low);
    }
    return 0;
}
