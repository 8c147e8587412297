#include "dispatcher/expr/lexer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/text.h"

#define NUMBER_LIMIT 400u /* characters of a number */

struct lexer {
    const char *source;
    size_t length;
    size_t at;
    struct expr_arena *arena;
    struct expr_error *error;
    struct token *tokens;
    size_t count;
    size_t capacity;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c)
{
    return is_name_start(c) || is_digit(c);
}

/* The value of a hexadecimal digit, or -1. */
static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char peek(const struct lexer *lexer, size_t ahead)
{
    return ahead < lexer->length - lexer->at ? lexer->source[lexer->at + ahead] : '\0';
}

static bool node_fail(struct lexer *lexer, size_t offset, const char *message)
{
    lexer->error->offset = offset;
    snprintf(lexer->error->message, sizeof lexer->error->message, "%s", message);
    return false;
}

static void push(struct lexer *lexer, struct token token, size_t start)
{
    if (lexer->count == lexer->capacity) {
        lexer->capacity = lexer->capacity == 0 ? 64 : lexer->capacity * 2;
        lexer->tokens = xreallocarray(lexer->tokens, lexer->capacity, sizeof *lexer->tokens);
    }
    token.offset = (uint32_t)start;
    token.length = (uint32_t)(lexer->at - start);
    lexer->tokens[lexer->count++] = token;
}

static void skip_blank(struct lexer *lexer)
{
    while (lexer->at < lexer->length) {
        char c = lexer->source[lexer->at];
        if (c == '/' && peek(lexer, 1) == '/') {
            while (lexer->at < lexer->length && lexer->source[lexer->at] != '\n')
                lexer->at++;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
            lexer->at++;
        } else {
            return;
        }
    }
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static bool lex_hexadecimal(struct lexer *lexer, struct token *token)
{
    size_t start = lexer->at;
    uint64_t magnitude = 0;
    lexer->at += 2;
    if (hex_digit(peek(lexer, 0)) < 0)
        return node_fail(lexer, start, "a hexadecimal number needs digits after 0x");
    for (int digit = hex_digit(peek(lexer, 0)); digit >= 0; digit = hex_digit(peek(lexer, 0))) {
        if (magnitude >> 60 != 0)
            return node_fail(lexer, start, "this number does not fit into 64 bits");
        magnitude = magnitude * 16 + (unsigned)digit;
        lexer->at++;
    }
    token->kind = TOKEN_INTEGER;
    token->value = expr_uint(magnitude);
    return true;
}

static bool lex_integer(struct lexer *lexer, struct token *token, const char *text)
{
    errno = 0;
    unsigned long long magnitude = strtoull(text, NULL, 10);
    if (errno == ERANGE)
        return node_fail(lexer, lexer->at, "this number does not fit into 64 bits");
    token->kind = TOKEN_INTEGER;
    token->value = expr_uint(magnitude);
    return true;
}

/* How many characters of the decimal number at the cursor there are; `real` tells whether it has a point or
 * exponent. */
static size_t measure_decimal(const struct lexer *lexer, bool *real)
{
    size_t n = 0;
    while (is_digit(peek(lexer, n)))
        n++;
    *real = false;
    if (peek(lexer, n) == '.' && is_digit(peek(lexer, n + 1))) {
        *real = true;
        for (n++; is_digit(peek(lexer, n));)
            n++;
    }
    if (peek(lexer, n) == 'e' || peek(lexer, n) == 'E') {
        size_t sign = peek(lexer, n + 1) == '+' || peek(lexer, n + 1) == '-' ? 1 : 0;
        if (is_digit(peek(lexer, n + 1 + sign))) {
            *real = true;
            for (n += 1 + sign; is_digit(peek(lexer, n));)
                n++;
        }
    }
    return n;
}

static bool lex_decimal(struct lexer *lexer, struct token *token)
{
    bool real = false;
    char text[NUMBER_LIMIT + 1];
    size_t n = measure_decimal(lexer, &real);
    if (n > NUMBER_LIMIT)
        return node_fail(lexer, lexer->at, "this number has too many digits");
    memcpy(text, lexer->source + lexer->at, n);
    text[n] = '\0';
    if (!real) {
        if (!lex_integer(lexer, token, text))
            return false;
    } else {
        token->kind = TOKEN_LITERAL;
        token->value = expr_double(text_to_double(text));
        if (isinf(token->value.as.real))
            return node_fail(lexer, lexer->at, "this number does not fit into a double");
    }
    lexer->at += n;
    return true;
}

static bool lex_number(struct lexer *lexer)
{
    size_t start = lexer->at;
    struct token token = {0};
    bool hexadecimal = peek(lexer, 0) == '0' && peek(lexer, 1) == 'x';
    if (!(hexadecimal ? lex_hexadecimal(lexer, &token) : lex_decimal(lexer, &token)))
        return false;
    if (token.kind == TOKEN_INTEGER && (peek(lexer, 0) == 'u' || peek(lexer, 0) == 'U')) {
        token.kind = TOKEN_LITERAL;
        lexer->at++;
    }
    if (is_name(peek(lexer, 0)))
        return node_fail(
            lexer, lexer->at,
            "a number ends here and a name begins: an operator is missing, or quotes around a text");
    push(lexer, token, start);
    return true;
}

/* ---- Strings --------------------------------------------------------------------------------- */

struct literal {
    size_t start; /* of the whole token */
    char quote;
    bool raw;
    bool bytes;
    bool triple;
    char *out;
    size_t length;
};

/* The characters an escape stands for itself, and those that stand for a control character. */
static int simple_escape(char c)
{
    static const char from[] = "abfnrtv\\?\"'`";
    static const char to[] = "\a\b\f\n\r\t\v\\?\"'`";
    const char *found = c == '\0' ? NULL : strchr(from, c);
    return found == NULL ? -1 : (unsigned char)to[found - from];
}

/* Reads `digits` hexadecimal digits after the cursor; -1 if they are not there. */
static int64_t read_hexadecimal(const struct lexer *lexer, size_t from, size_t digits)
{
    int64_t number = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = hex_digit(peek(lexer, from + i));
        if (digit < 0)
            return -1;
        number = number * 16 + digit;
    }
    return number;
}

static void put_code(struct literal *literal, uint32_t code, bool octet)
{
    if (octet)
        literal->out[literal->length++] = (char)(unsigned char)code;
    else
        literal->length += text_encode(code, literal->out + literal->length);
}

/* \uXXXX and \UXXXXXXXX; two \u of a surrogate pair are one code point. */
static bool escape_unicode(struct lexer *lexer, struct literal *literal, size_t digits)
{
    int64_t code = read_hexadecimal(lexer, 2, digits);
    size_t used = 2 + digits;
    if (code < 0)
        return node_fail(lexer, lexer->at,
                         digits == 4 ? "\\u needs four hexadecimal digits"
                                     : "\\U needs eight hexadecimal digits");
    if (literal->bytes)
        return node_fail(lexer, lexer->at, "bytes have no \\u and \\U: write \\x for each byte");
    if (code >= 0xD800 && code <= 0xDBFF && peek(lexer, used) == '\\' && peek(lexer, used + 1) == 'u') {
        int64_t low = read_hexadecimal(lexer, used + 2, 4);
        if (digits == 4 && low >= 0xDC00 && low <= 0xDFFF) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            used += 6;
        }
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return node_fail(lexer, lexer->at, "this is no Unicode code point");
    put_code(literal, (uint32_t)code, false);
    lexer->at += used;
    return true;
}

static bool escape_octal(struct lexer *lexer, struct literal *literal)
{
    unsigned code = 0;
    for (size_t i = 1; i <= 3; i++) {
        char digit = peek(lexer, i);
        if (digit < '0' || digit > '7')
            return node_fail(lexer, lexer->at, "an octal escape needs three digits, 000 to 377");
        code = code * 8 + (unsigned)(digit - '0');
    }
    if (code > 0377)
        return node_fail(lexer, lexer->at, "an octal escape needs three digits, 000 to 377");
    put_code(literal, code, literal->bytes);
    lexer->at += 4;
    return true;
}

static bool lex_escape(struct lexer *lexer, struct literal *literal)
{
    char c = peek(lexer, 1);
    if (c == 'u' || c == 'U')
        return escape_unicode(lexer, literal, c == 'u' ? 4 : 8);
    if (is_digit(c))
        return escape_octal(lexer, literal);
    if (c == 'x' || c == 'X') {
        int64_t code = read_hexadecimal(lexer, 2, 2);
        if (code < 0)
            return node_fail(lexer, lexer->at, "\\x needs two hexadecimal digits");
        put_code(literal, (uint32_t)code, literal->bytes);
        lexer->at += 4;
        return true;
    }
    int simple = simple_escape(c);
    if (simple < 0)
        return node_fail(lexer, lexer->at,
                         "unknown escape: write \\\\ for a backslash, or r'...' for a raw string");
    put_code(literal, (uint32_t)simple, false);
    lexer->at += 2;
    return true;
}

/* Whether the closing quotes stand at the cursor. */
static bool at_close(const struct lexer *lexer, const struct literal *literal)
{
    if (peek(lexer, 0) != literal->quote)
        return false;
    return !literal->triple || (peek(lexer, 1) == literal->quote && peek(lexer, 2) == literal->quote);
}

static bool lex_body(struct lexer *lexer, struct literal *literal)
{
    while (lexer->at < lexer->length) {
        char c = lexer->source[lexer->at];
        if (at_close(lexer, literal)) {
            lexer->at += literal->triple ? 3 : 1;
            return true;
        }
        if (!literal->triple && (c == '\n' || c == '\r'))
            break;
        if (c == '\\' && !literal->raw) {
            if (!lex_escape(lexer, literal))
                return false;
            continue;
        }
        literal->out[literal->length++] = c;
        lexer->at++;
    }
    return node_fail(lexer, literal->start, "this string does not end: its closing quote is missing");
}

/* How many of the characters at the cursor are a string's prefix (r, b, br and, to be refused, rb, in any
 * case) before a quote, or -1. */
static int string_prefix(const struct lexer *lexer, struct literal *literal)
{
    size_t n = 0;
    for (; n < 2; n++) {
        char c = peek(lexer, n);
        if ((c == 'r' || c == 'R') && !literal->raw)
            literal->raw = true;
        else if ((c == 'b' || c == 'B') && !literal->bytes)
            literal->bytes = true;
        else
            break;
    }
    literal->quote = peek(lexer, n);
    return literal->quote == '\'' || literal->quote == '"' ? (int)n : -1;
}

/* The longest a literal can decode to is the rest of the source: no escape is shorter than what it stands
 * for. */
static size_t literal_bound(const struct lexer *lexer, const struct literal *literal)
{
    size_t n = 0;
    const char *found = memchr(lexer->source + lexer->at, literal->quote, lexer->length - lexer->at);
    if (!literal->triple && literal->raw && found != NULL)
        n = (size_t)(found - lexer->source) - lexer->at;
    else
        for (; n < lexer->length - lexer->at; n++) {
            const char *here = lexer->source + lexer->at + n;
            if (!literal->raw && *here == '\\')
                n++;
            else if (*here == literal->quote &&
                     (!literal->triple || (peek(lexer, n + 1) == *here && peek(lexer, n + 2) == *here)))
                break;
        }
    return n + 4;
}

static bool lex_string(struct lexer *lexer, struct literal *literal, size_t prefix)
{
    struct token token = {.kind = TOKEN_LITERAL};
    literal->start = lexer->at;
    lexer->at += prefix;
    literal->triple = peek(lexer, 1) == literal->quote && peek(lexer, 2) == literal->quote;
    lexer->at += literal->triple ? 3 : 1;
    literal->out = expr_arena_alloc(lexer->arena, literal_bound(lexer, literal));
    if (literal->out == NULL)
        return node_fail(lexer, literal->start, "the expression is too large");
    if (!lex_body(lexer, literal))
        return false;
    token.value = literal->bytes ? expr_bytes(literal->out, literal->length)
                                 : expr_string(literal->out, literal->length);
    push(lexer, token, literal->start);
    return true;
}

/* ---- Names and operators --------------------------------------------------------------------- */

static void lex_name(struct lexer *lexer)
{
    size_t start = lexer->at;
    while (lexer->at < lexer->length && is_name(lexer->source[lexer->at]))
        lexer->at++;
    push(lexer, (struct token){.kind = TOKEN_NAME}, start);
}

static bool lex_escaped(struct lexer *lexer)
{
    size_t start = lexer->at++;
    while (is_name(peek(lexer, 0)) || (peek(lexer, 0) != '\0' && strchr("./- ", peek(lexer, 0)) != NULL))
        lexer->at++;
    if (peek(lexer, 0) != '`' || lexer->at == start + 1)
        return node_fail(lexer, start,
                         "between backticks stands a field's name of letters, digits, _ . - / and spaces");
    struct token token = {.kind = TOKEN_ESCAPED,
                          .value = expr_string(lexer->source + start + 1, lexer->at - start - 1)};
    lexer->at++;
    push(lexer, token, start);
    return true;
}

/* Whether one of the quotes U+2018 to U+201F stands at the cursor. */
static bool typographic_quote(const struct lexer *lexer)
{
    unsigned char last = (unsigned char)peek(lexer, 2);
    return peek(lexer, 0) == '\xe2' && peek(lexer, 1) == '\x80' && last >= 0x98 && last <= 0x9f;
}

static bool lex_operator(struct lexer *lexer)
{
    static const char *const pairs[] = {"&&", "||", "==", "!=", "<=", ">="};
    size_t start = lexer->at;
    char c = peek(lexer, 0);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (c == pairs[i][0] && peek(lexer, 1) == pairs[i][1]) {
            lexer->at += 2;
            push(lexer, (struct token){.kind = TOKEN_OPERATOR, .symbol = OPERATOR_2(c, pairs[i][1])}, start);
            return true;
        }
    }
    if (c == '=')
        return node_fail(lexer, start,
                         peek(lexer, 1) == '~' ? "a regular expression is tested by x.matches(r'...')"
                                               : "equality is written ==");
    if (c == '<' && peek(lexer, 1) == '>')
        return node_fail(lexer, start, "inequality is written !=");
    if (typographic_quote(lexer))
        return node_fail(lexer, start, "a text stands between straight quotes, ' or \"");
    if (c == '&' || c == '|')
        return node_fail(lexer, start, c == '&' ? "and is written &&" : "or is written ||");
    if (c == '\0' || strchr("()[]{}.,:?!<>+-*/%", c) == NULL)
        return node_fail(lexer, start, "this character has no meaning here");
    lexer->at++;
    push(lexer, (struct token){.kind = TOKEN_OPERATOR, .symbol = (unsigned char)c}, start);
    return true;
}

static bool lex_token(struct lexer *lexer)
{
    char c = lexer->source[lexer->at];
    struct literal literal = {0};
    int prefix = string_prefix(lexer, &literal);
    if (prefix == 2 && (c == 'r' || c == 'R'))
        return node_fail(lexer, lexer->at, "raw bytes are written br'...'");
    if (prefix >= 0)
        return lex_string(lexer, &literal, (size_t)prefix);
    if (is_name_start(c)) {
        lex_name(lexer);
        return true;
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1))))
        return lex_number(lexer);
    return c == '`' ? lex_escaped(lexer) : lex_operator(lexer);
}

struct token *lexer_run(const char *source, size_t len, struct expr_arena *arena, struct expr_error *error)
{
    struct lexer lexer = {.source = source, .length = len, .arena = arena, .error = error};
    if (!str_utf8_valid(source, len)) {
        node_fail(&lexer, text_valid_prefix(source, len), "the expression is not valid UTF-8");
        return NULL;
    }
    for (skip_blank(&lexer); lexer.at < len; skip_blank(&lexer)) {
        if (!lex_token(&lexer)) {
            free(lexer.tokens);
            return NULL;
        }
    }
    push(&lexer, (struct token){.kind = TOKEN_END}, len);
    return lexer.tokens;
}

bool lexer_is_symbol(const struct token *token, unsigned symbol)
{
    return token->kind == TOKEN_OPERATOR && token->symbol == symbol;
}

bool lexer_is(const char *source, const struct token *token, const char *name)
{
    if (token->kind != TOKEN_NAME || source[token->offset] != name[0])
        return false;
    size_t length = strlen(name);
    return token->length == length && memcmp(source + token->offset, name, length) == 0;
}
