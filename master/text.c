#include "master/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "core/alloc.h"

/* The next character of S into C; its bytes, or 0 if they are malformed. */
static size_t decode(const char *s, wchar_t *c)
{
    mbstate_t state;
    memset(&state, 0, sizeof state);
    size_t n = mbrtowc(c, s, strlen(s), &state);
    return n == (size_t)-1 || n == (size_t)-2 ? 0 : n;
}

/* Those that change what a terminal shows elsewhere: controls, and the marks that turn the writing direction.
 */
static bool is_unsafe(wchar_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || wcwidth(c) < 0;
}

char *text_clean(const char *s, enum text_lines lines)
{
    char *out = xmalloc(strlen(s) + 1);
    size_t len = 0;
    while (*s) {
        wchar_t c;
        size_t n = decode(s, &c);
        if (*s == '\n') {
            out[len++] = lines == TEXT_LINES ? '\n' : ' ';
        } else if (n == 0 || is_unsafe(c)) {
            out[len++] = '?';
        } else {
            memcpy(out + len, s, n);
            len += n;
        }
        s += n ? n : 1;
    }
    out[len] = '\0';
    return out;
}

/* Bytes of S that fit into LIMIT columns; WIDTH is what they take. */
static size_t measure(const char *s, size_t limit, size_t *width)
{
    size_t at = 0;
    *width = 0;
    while (s[at]) {
        wchar_t c;
        size_t n = decode(s + at, &c);
        int columns = n ? wcwidth(c) : 1;
        size_t add = columns > 0 ? (size_t)columns : 0;
        if (*width + add > limit)
            break;
        *width += add;
        at += n ? n : 1;
    }
    return at;
}

size_t text_width(const char *s)
{
    size_t width;
    measure(s, SIZE_MAX - 16, &width);
    return width;
}

size_t text_fit(const char *s, size_t width)
{
    size_t used;
    return measure(s, width, &used);
}

bool text_wants_colour(FILE *out)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return !(no && *no) && isatty(fileno(out)) && !(term && strcmp(term, "dumb") == 0);
}

const char *text_colour_on(enum text_colour colour, bool is_wanted)
{
    static const char *const codes[] = {
        [TEXT_PLAIN] = "",          [TEXT_RED] = "\033[1;31m", [TEXT_GREEN] = "\033[32m",
        [TEXT_YELLOW] = "\033[33m", [TEXT_BOLD] = "\033[1m",   [TEXT_DIM] = "\033[2m",
    };
    return is_wanted ? codes[colour] : "";
}

const char *text_colour_off(enum text_colour colour, bool is_wanted)
{
    return is_wanted && colour != TEXT_PLAIN ? "\033[0m" : "";
}

size_t text_terminal_width(FILE *out)
{
    struct winsize size;
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

const char *text_number(double n, char *out, size_t size)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, (int64_t)n);
    size_t len = strlen(digits), at = 0;
    size_t sign = digits[0] == '-';
    for (size_t i = 0; i < len && at + 1 < size; i++) {
        if (i > sign && (len - i) % 3 == 0 && at + 2 < size)
            out[at++] = ' ';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}
