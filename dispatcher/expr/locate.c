/*
 * Where in the source an error is, for people: line, column and a caret.
 */
#include "dispatcher/expr/program.h"

#include <stdio.h>
#include <string.h>

#include "dispatcher/expr/text.h"

#define CARET_WIDTH 100u /* code points of a line that are shown */

void expr_error_locate(struct expr_error *error, const char *source, size_t len)
{
    size_t start = 0;
    if (error->offset > len)
        error->offset = len;
    error->line = 1;
    for (size_t i = 0; i < error->offset; i++) {
        if (source[i] == '\n') {
            error->line++;
            start = i + 1;
        }
    }
    error->column = (unsigned)text_count(source + start, error->offset - start) + 1;
}

/* Appends text to `out`, cut to its size. */
static size_t append(char *out, size_t size, size_t at, const char *text, size_t len)
{
    if (at + 1 >= size)
        return at;
    if (len > size - 1 - at)
        len = text_valid_prefix(text, size - 1 - at);
    memcpy(out + at, text, len);
    return at + len;
}

/* Appends code points of a line, anything below a space as a space; returns the new end. */
static size_t append_line(char *out, size_t size, size_t at, const char *line, size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i += used) {
        uint32_t code = text_decode(line + i, len - i, &used);
        if (code == TEXT_INVALID)
            at = append(out, size, at, "\xEF\xBF\xBD", 3);
        else if (code < ' ' || code == 0x7F)
            at = append(out, size, at, " ", 1);
        else
            at = append(out, size, at, line + i, used);
    }
    return at;
}

size_t expr_error_caret(const char *source, size_t len, const struct expr_error *error, char *out,
                        size_t size)
{
    size_t start = error->offset > len ? len : error->offset;
    size_t end = start;
    size_t before = 0;
    size_t at = 0;
    if (size == 0)
        return 0;
    while (start > 0 && source[start - 1] != '\n' && before < CARET_WIDTH / 2) {
        start--;
        before += ((unsigned char)source[start] & 0xC0) != 0x80;
    }
    while (end < len && source[end] != '\n' && end - error->offset < CARET_WIDTH)
        end++;
    at = append_line(out, size, at, source + start, end - start);
    at = append(out, size, at, "\n", 1);
    for (size_t i = 0; i < before; i++)
        at = append(out, size, at, " ", 1);
    at = append(out, size, at, "^\n", 2);
    out[at] = '\0';
    return at;
}
