#include "dispatcher/expr/text.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPONENT_MIN (-4)
#define EXPONENT_MAX 21

size_t text_encode(uint32_t code, char *out)
{
    unsigned char *bytes = (unsigned char *)out;
    if (code < 0x80) {
        bytes[0] = (unsigned char)code;
        return 1;
    }
    if (code < 0x800) {
        bytes[0] = (unsigned char)(0xC0 | code >> 6);
        bytes[1] = (unsigned char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        bytes[0] = (unsigned char)(0xE0 | code >> 12);
        bytes[1] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
        bytes[2] = (unsigned char)(0x80 | (code & 0x3F));
        return 3;
    }
    bytes[0] = (unsigned char)(0xF0 | code >> 18);
    bytes[1] = (unsigned char)(0x80 | (code >> 12 & 0x3F));
    bytes[2] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
    bytes[3] = (unsigned char)(0x80 | (code & 0x3F));
    return 4;
}

/* The length of the sequence that a first byte announces (0: none) and the range its second byte must be in.
 */
static size_t sequence(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF) {
        if (first == 0xE0)
            *low = 0xA0;
        if (first == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        if (first == 0xF0)
            *low = 0x90;
        if (first == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

uint32_t text_decode(const char *text, size_t len, size_t *used)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char low;
    unsigned char high;
    *used = 1;
    if (bytes[0] < 0x80)
        return bytes[0];
    size_t length = sequence(bytes[0], &low, &high);
    if (length == 0)
        return TEXT_INVALID;
    uint32_t code = bytes[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (i >= len || bytes[i] < low || bytes[i] > high) {
            *used = i;
            return TEXT_INVALID;
        }
        code = code << 6 | (bytes[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *used = length;
    return code;
}

bool text_hides(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == TEXT_INVALID || code == 0x200e ||
           code == 0x200f || code == 0x061c || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

size_t text_count(const char *text, size_t len)
{
    size_t count = 0;
    size_t used = 0;
    for (size_t i = 0; i < len; i += used) {
        text_decode(text + i, len - i, &used);
        count++;
    }
    return count;
}

size_t text_valid_prefix(const char *text, size_t len)
{
    size_t used = 0;
    size_t i = 0;
    while (i < len && text_decode(text + i, len - i, &used) != TEXT_INVALID)
        i += used;
    return i;
}

/* The "C" locale, made once; a process that changed its locale still reads and writes a decimal point. */
static locale_t plain_locale(void)
{
    static locale_t plain;
    locale_t known = __atomic_load_n(&plain, __ATOMIC_ACQUIRE);
    if (known == (locale_t)0) {
        locale_t none = (locale_t)0;
        known = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (!__atomic_compare_exchange_n(&plain, &none, known, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            freelocale(known);
            known = none;
        }
    }
    return known;
}

double text_to_double(const char *text)
{
    return strtod_l(text, NULL, plain_locale());
}

/* The digits and the decimal exponent of the shortest form, from "d.ddde+xx". */
struct shortest {
    char digits[24];
    int count;
    int exponent;
};

static struct shortest shorten(double number)
{
    struct shortest result = {{0}, 0, 0};
    char text[TEXT_NUMBER_SIZE];
    locale_t before = uselocale(plain_locale());
    for (int precision = 0; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, number);
        if (strtod(text, NULL) == number)
            break;
    }
    uselocale(before);
    const char *p = text;
    for (; *p != 'e'; p++)
        if (*p != '.')
            result.digits[result.count++] = *p;
    result.exponent = (int)strtol(p + 1, NULL, 10);
    while (result.count > 1 && result.digits[result.count - 1] == '0')
        result.count--;
    return result;
}

static size_t write_exponential(const struct shortest *s, char *out)
{
    size_t n = 0;
    out[n++] = s->digits[0];
    if (s->count > 1) {
        out[n++] = '.';
        memcpy(out + n, s->digits + 1, (size_t)s->count - 1);
        n += (size_t)s->count - 1;
    }
    return n + (size_t)snprintf(out + n, 8, "e%+03d", s->exponent);
}

static size_t write_small(const struct shortest *s, char *out)
{
    size_t n = 0;
    out[n++] = '0';
    out[n++] = '.';
    for (int zeros = -s->exponent - 1; zeros > 0; zeros--)
        out[n++] = '0';
    memcpy(out + n, s->digits, (size_t)s->count);
    return n + (size_t)s->count;
}

static size_t write_plain(const struct shortest *s, bool point, char *out)
{
    size_t n = 0;
    if (s->exponent < 0)
        return write_small(s, out);
    for (int i = 0; i < s->count || i <= s->exponent; i++) {
        if (i == s->exponent + 1)
            out[n++] = '.';
        out[n++] = i < s->count ? s->digits[i] : '0';
    }
    if (point && s->count <= s->exponent + 1) {
        out[n++] = '.';
        out[n++] = '0';
    }
    return n;
}

size_t text_from_double(double number, bool point, char *out)
{
    size_t n = 0;
    if (isnan(number))
        return (size_t)snprintf(out, TEXT_NUMBER_SIZE, "NaN");
    if (signbit(number)) {
        out[n++] = '-';
        number = -number;
    }
    if (isinf(number))
        return n + (size_t)snprintf(out + n, TEXT_NUMBER_SIZE - n, "Infinity");
    struct shortest s = shorten(number);
    if (s.exponent < EXPONENT_MIN || s.exponent >= EXPONENT_MAX)
        return n + write_exponential(&s, out + n);
    return n + write_plain(&s, point, out + n);
}
