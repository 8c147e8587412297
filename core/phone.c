#include "core/phone.h"

#include <string.h>

static const char digits[] = "0123456789";
static const char marks[] = " ()-./";

bool phone_is(const char *text)
{
    size_t count = text[0] == '+' ? strspn(text + 1, digits) : 0;
    return count >= PHONE_DIGITS_MIN && count <= PHONE_DIGITS_MAX && !text[count + 1] && text[1] != '0';
}

static bool is_one_of(const char *set, char c)
{
    return c && strchr(set, c);
}

bool phone_looks(const char *text, size_t len)
{
    bool digit = false;
    for (size_t i = 0; i < len; i++) {
        digit = digit || is_one_of(digits, text[i]);
        if (text[i] != '+' && !is_one_of(digits, text[i]) && !is_one_of(marks, text[i]))
            return false;
    }
    return digit;
}

/* The digits, with the plus in front if there is one there; more than fit are cut, which makes it too long
 * all the same. False at anything else. */
static bool squeeze(const char *text, size_t len, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (is_one_of(marks, text[i]))
            continue;
        bool plus = text[i] == '+' && n == 0;
        if (!plus && !is_one_of(digits, text[i]))
            return false;
        if (n + 1 < size)
            out[n++] = text[i];
    }
    out[n] = '\0';
    return true;
}

/* Whether a number without a plus begins with the code, and what is behind that is long enough for a number.
 * Completed once more it would be somebody else's. */
static bool has_code(const char *number, const char *country)
{
    size_t len = country[0] ? strlen(country + 1) : 0;
    return len && strncmp(number, country + 1, len) == 0 && strlen(number + len) >= PHONE_DIGITS_MIN;
}

const char *phone_normalise(const char *text, size_t len, const char *country, char out[PHONE_SIZE])
{
    char plain[PHONE_SIZE + 8], whole[2 * sizeof plain];
    const char *rest = plain, *code = "";
    if (!squeeze(text, len, plain, sizeof plain))
        return "not a phone number: expected digits, a plus in front, and blanks or ( ) - . / between";
    if (memmem(text, len, "(0)", 3))
        return "leave out the (0): it is not dialled behind the country code";
    if (plain[0] == '0' && plain[1] == '0') {
        code = "+";
        rest = plain + 2;
    } else if (plain[0] != '+') {
        if (!country)
            return "a phone number needs a plus and the country code, as in \"+48500500500\" (or "
                   "`default_country` in the block `numbers`)";
        if (plain[0] == '0')
            return "a phone number with a leading 0 is not completed: write it with a plus and the country "
                   "code";
        if (has_code(plain, country))
            return "it may begin with the country code already: write it with a plus";
        code = country;
    }
    size_t code_len = strlen(code), rest_len = strlen(rest);
    if (code_len + rest_len >= sizeof whole)
        return "a phone number has 8 to 15 digits with the country code";
    memcpy(whole, code, code_len);
    memcpy(whole + code_len, rest, rest_len + 1);
    if (whole[1] == '0')
        return "no country code begins with 0";
    if (!phone_is(whole))
        return "a phone number has 8 to 15 digits with the country code";
    memcpy(out, whole, code_len + rest_len + 1);
    return NULL;
}

bool phone_has_prefix(const char *number, char *const *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(number, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}
