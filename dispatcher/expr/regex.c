#include "dispatcher/expr/regex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/text.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define EXPANSION 10u /* bytes that one byte of a pattern may become: a literal as \x{10FFFF} */

struct expr_regex {
    pcre2_code *code;
    pcre2_match_context *limits;
};

/* ---- RE2 to PCRE2 ---------------------------------------------------------------------------- */

struct translation {
    const char *at;
    const char *start;
    const char *end;
    char *out;
    size_t length;
    unsigned depth;
    bool repeatable;  /* something stands before the cursor that a quantifier may repeat */
    unsigned repeats; /* how often what stands before the cursor repeats its innermost part */
    unsigned most[REGEX_DEPTH_LIMIT + 1]; /* the most of that in each open group */
    const char *message;
};

static bool refuse(struct translation *t, const char *message)
{
    t->message = message;
    return false;
}

static int look(const struct translation *t, size_t ahead)
{
    return ahead < (size_t)(t->end - t->at) ? (unsigned char)t->at[ahead] : -1;
}

static void emit(struct translation *t, const char *text, size_t length)
{
    memcpy(t->out + t->length, text, length);
    t->length += length;
}

static void emit_z(struct translation *t, const char *text)
{
    emit(t, text, strlen(text));
}

/* A character that stands for itself, whatever it means elsewhere. */
static void emit_literal(struct translation *t, uint32_t code)
{
    char text[16];
    bool plain = (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') || (code >= '0' && code <= '9');
    if (plain)
        emit(t, (const char[]){(char)code}, 1);
    else if (code > 0x7F)
        emit(t, text, text_encode(code, text));
    else
        emit(t, text, (size_t)snprintf(text, sizeof text, "\\x{%X}", (unsigned)code));
}

/* Something that a quantifier may repeat was translated. */
static void found_item(struct translation *t, unsigned repeats)
{
    t->repeatable = true;
    t->repeats = repeats;
    if (repeats > t->most[t->depth])
        t->most[t->depth] = repeats;
}

static bool is_octal(int c)
{
    return c >= '0' && c <= '7';
}

static int hexadecimal(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* \x7F and \x{10FFFF}; the cursor is behind the x. */
static bool read_hexadecimal(struct translation *t, uint32_t *code)
{
    *code = 0;
    if (look(t, 0) == '{') {
        size_t n = 1;
        for (; hexadecimal(look(t, n)) >= 0 && n <= 8; n++)
            *code = *code * 16 + (unsigned)hexadecimal(look(t, n));
        if (n == 1 || n > 8 || look(t, n) != '}' || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF))
            return refuse(t, "\\x{...} needs the hexadecimal digits of a code point");
        t->at += n + 1;
        return true;
    }
    if (hexadecimal(look(t, 0)) < 0 || hexadecimal(look(t, 1)) < 0)
        return refuse(t, "\\x needs two hexadecimal digits");
    *code = (uint32_t)(hexadecimal(look(t, 0)) * 16 + hexadecimal(look(t, 1)));
    t->at += 2;
    return true;
}

/* \0, \012, \123; a single digit but 0 would be a back-reference. The cursor is at the first digit. */
static bool read_octal(struct translation *t, uint32_t *code)
{
    if (look(t, 0) != '0' && !is_octal(look(t, 1)))
        return refuse(t, "back-references are not supported");
    *code = 0;
    for (int i = 0; i < 3 && is_octal(look(t, 0)); i++)
        *code = *code * 8 + (uint32_t)(*t->at++ - '0');
    return true;
}

/* An escape that stands for one character; the cursor is behind the backslash. */
static bool read_escape(struct translation *t, uint32_t *code)
{
    static const char from[] = "afnrtv";
    static const char to[] = "\a\f\n\r\t\v";
    int c = look(t, 0);
    if (c <= 0)
        return refuse(t, "a backslash at the end of a pattern");
    const char *control = strchr(from, c);
    if (c >= '0' && c <= '7')
        return read_octal(t, code);
    if (c == '8' || c == '9' || c == 'g' || c == 'k')
        return refuse(t, "back-references are not supported");
    t->at++;
    if (c == 'x')
        return read_hexadecimal(t, code);
    if (control != NULL) {
        *code = (unsigned char)to[control - from];
        return true;
    }
    bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (word || c > 0x7F) {
        t->at--;
        return refuse(t, "this escape is not part of RE2's syntax");
    }
    *code = (uint32_t)c;
    return true;
}

/* \pN, \PN, \p{Greek}, \p{^Greek}: copied; PCRE2 knows the names. The cursor is at the p. */
static bool copy_property(struct translation *t)
{
    const char *start = t->at - 1;
    t->at++;
    if (look(t, 0) == '{') {
        while (look(t, 0) >= 0 && look(t, 0) != '}')
            t->at++;
        if (look(t, 0) < 0)
            return refuse(t, "\\p{ without }");
    } else if (look(t, 0) < 'A' || look(t, 0) > 'Z') {
        return refuse(t, "\\p needs the name of a property");
    }
    t->at++;
    emit(t, start, (size_t)(t->at - start));
    return true;
}

/* \d \D \w \W \s \S; RE2's \s has no vertical tab, PCRE2's has. The cursor is at the letter. */
static bool translate_perl_class(struct translation *t, bool inside)
{
    static const char space[] = "\\t\\n\\f\\r ";
    switch (look(t, 0)) {
    case 'd':
    case 'D':
    case 'w':
    case 'W':
        emit(t, t->at - 1, 2);
        break;
    case 's':
        emit_z(t, inside ? "" : "[");
        emit_z(t, space);
        emit_z(t, inside ? "" : "]");
        break;
    case 'S':
        emit_z(t, inside ? "\\S\\x0b" : "[^");
        emit_z(t, inside ? "" : space);
        emit_z(t, inside ? "" : "]");
        break;
    default:
        return false;
    }
    t->at++;
    return true;
}

/* ---- Character classes ----------------------------------------------------------------------- */

/* "[:alpha:]" and "[:^alpha:]" are copied; true if one stood at the cursor. */
static bool copy_posix_class(struct translation *t)
{
    static const char *const names[] = {"alnum", "alpha", "ascii", "blank", "cntrl", "digit",  "graph",
                                        "lower", "print", "punct", "space", "upper", "xdigit", "word"};
    if (look(t, 0) != '[' || look(t, 1) != ':')
        return false;
    const char *name = t->at + 2 + (look(t, 2) == '^');
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t length = strlen(names[i]);
        if ((size_t)(t->end - name) >= length + 2 && memcmp(name, names[i], length) == 0 &&
            name[length] == ':' && name[length + 1] == ']') {
            size_t whole = (size_t)(name - t->at) + length + 2;
            emit(t, t->at, whole);
            t->at += whole;
            return true;
        }
    }
    return false;
}

/* One character of a class, escaped or not. */
static bool read_class_character(struct translation *t, uint32_t *code)
{
    size_t used = 0;
    if (look(t, 0) == '\\') {
        t->at++;
        return read_escape(t, code);
    }
    *code = text_decode(t->at, (size_t)(t->end - t->at), &used);
    if (*code == TEXT_INVALID)
        return refuse(t, "the pattern is not valid UTF-8");
    t->at += used;
    return true;
}

static bool translate_class_range(struct translation *t)
{
    uint32_t low = 0;
    uint32_t high = 0;
    if (!read_class_character(t, &low))
        return false;
    emit_literal(t, low);
    if (look(t, 0) != '-' || look(t, 1) == ']' || look(t, 1) < 0)
        return true;
    t->at++;
    if (!read_class_character(t, &high))
        return false;
    if (high < low)
        return refuse(t, "a range in a character class runs backwards");
    emit_z(t, "-");
    emit_literal(t, high);
    return true;
}

static bool translate_class(struct translation *t)
{
    const char *start = t->at++;
    emit_z(t, "[");
    if (look(t, 0) == '^') {
        emit_z(t, "^");
        t->at++;
    }
    for (bool first = true; first || look(t, 0) != ']'; first = false) {
        if (look(t, 0) < 0) {
            t->at = start;
            return refuse(t, "a character class does not end: ] is missing");
        }
        if (copy_posix_class(t))
            continue;
        if (look(t, 0) == '[' && look(t, 1) == ':' &&
            memmem(t->at + 2, (size_t)(t->end - t->at) - 2, ":]", 2) != NULL)
            return refuse(t, "unknown class name between [: and :]");
        if (look(t, 0) == '\\') {
            t->at++;
            if (translate_perl_class(t, true))
                continue;
            if (look(t, 0) == 'p' || look(t, 0) == 'P') {
                if (!copy_property(t))
                    return false;
                continue;
            }
            t->at--;
        }
        if (!translate_class_range(t))
            return false;
    }
    t->at++;
    emit_z(t, "]");
    found_item(t, 1);
    return true;
}

/* ---- Groups, quantifiers, escapes ------------------------------------------------------------ */

/* "(?P<name>" and "(?<name>": PCRE2 knows no names that begin with a digit, so all get a _. The cursor is at
 * the "<". */
static bool translate_named_group(struct translation *t)
{
    size_t n = 1;
    if (look(t, 1) == '=' || look(t, 1) == '!')
        return refuse(t, "look-around is not supported");
    for (int c = look(t, n);
         (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';)
        c = look(t, ++n);
    if (n == 1 || n > 32 || look(t, n) != '>')
        return refuse(t, "a group's name is of at most 31 letters, digits and _");
    emit_z(t, "(?P<_");
    emit(t, t->at + 1, n);
    t->at += n + 1;
    t->repeatable = false;
    return true;
}

/* "(?i)", "(?i-s:": flags i, m, s and U. The cursor is behind the "?". */
static bool translate_flags(struct translation *t)
{
    size_t n = 0;
    bool negated = false;
    bool some = false;
    for (; look(t, n) > 0 && strchr("imsU-", look(t, n)) != NULL; n++) {
        if (look(t, n) == '-') {
            if (negated)
                return refuse(t, "a group's flags have one minus at most");
            negated = true;
            some = false;
        } else {
            some = true;
        }
    }
    if (look(t, n) != ')' && look(t, n) != ':')
        return refuse(t, "look-around, atomic groups, recursion, conditions and comments are not supported");
    if ((negated || look(t, n) == ')') && !some)
        return refuse(t, "a flag is missing");
    bool group = look(t, n) == ':';
    emit_z(t, "(?");
    emit(t, t->at, n + 1);
    t->at += n + 1;
    t->depth += group ? 1 : 0;
    t->repeatable = false;
    return true;
}

static bool translate_open(struct translation *t)
{
    if (t->depth >= REGEX_DEPTH_LIMIT)
        return refuse(t, "groups are nested too deeply");
    t->at++;
    t->repeatable = false;
    if (look(t, 0) == '*')
        return refuse(t, "nothing to repeat");
    if (look(t, 0) != '?') {
        emit_z(t, "(");
        t->depth++;
        return true;
    }
    t->at++;
    if (look(t, 0) == 'P' && look(t, 1) == '<')
        t->at++;
    else if (look(t, 0) == 'P')
        return refuse(t, "back-references and recursion are not supported");
    if (look(t, 0) == '<') {
        t->depth++;
        return translate_named_group(t);
    }
    return translate_flags(t);
}

static bool translate_close(struct translation *t)
{
    if (t->depth == 0)
        return refuse(t, "unexpected )");
    unsigned inside = t->most[t->depth];
    t->most[t->depth--] = 0;
    t->at++;
    emit_z(t, ")");
    found_item(t, inside);
    return true;
}

/* Repeats inside repeats count as one, as in RE2: (a{100}){100} is a repeat of 10000. */
static bool count_repeats(struct translation *t, unsigned count)
{
    unsigned before = t->repeats > 1 ? t->repeats : 1;
    if (count > 1 && before * count > REGEX_REPEAT_LIMIT)
        return refuse(t, "repeats inside each other make more than 1000");
    found_item(t, count > 1 ? before * count : before);
    return true;
}

/* Whether "{n}", "{n,}" or "{n,m}" stands at the cursor, and its length. */
static size_t measure_repeat(const struct translation *t, unsigned *low, unsigned *high)
{
    size_t n = 1;
    unsigned numbers[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        size_t digits = 0;
        for (; look(t, n) >= '0' && look(t, n) <= '9'; n++, digits++)
            if (numbers[i] <= REGEX_REPEAT_LIMIT)
                numbers[i] = numbers[i] * 10 + (unsigned)(look(t, n) - '0');
        if (i == 0 && digits == 0)
            return 0;
        if (i == 0 && look(t, n) != ',') {
            numbers[1] = numbers[0];
            break;
        }
        if (i == 0)
            n++;
        else if (digits == 0)
            numbers[1] = numbers[0];
    }
    *low = numbers[0];
    *high = numbers[1];
    return look(t, n) == '}' ? n + 1 : 0;
}

static bool translate_quantifier(struct translation *t)
{
    unsigned low = 0;
    unsigned high = 0;
    size_t length = 1;
    if (*t->at == '{') {
        length = measure_repeat(t, &low, &high);
        if (low > REGEX_REPEAT_LIMIT || high > REGEX_REPEAT_LIMIT || low > high)
            return refuse(t, "a repeat count is at most 1000, the smaller one first");
    }
    if (length == 0) { /* a brace that is no repeat stands for itself */
        emit_z(t, "\\{");
        t->at++;
        found_item(t, 1);
        return true;
    }
    if (!t->repeatable)
        return refuse(t, "nothing to repeat, or a repeat of a repeat");
    if (!count_repeats(t, high))
        return false;
    emit(t, t->at, length);
    t->at += length;
    if (look(t, 0) == '?') {
        emit_z(t, "?");
        t->at++;
    }
    t->repeatable = false;
    return true;
}

/* \Q...\E: the text between stands for itself. */
static bool translate_quoted(struct translation *t)
{
    t->at++;
    while (look(t, 0) >= 0 && !(look(t, 0) == '\\' && look(t, 1) == 'E')) {
        size_t used = 0;
        uint32_t code = text_decode(t->at, (size_t)(t->end - t->at), &used);
        if (code == TEXT_INVALID)
            return refuse(t, "the pattern is not valid UTF-8");
        emit_literal(t, code);
        t->at += used;
        found_item(t, 1);
    }
    if (look(t, 0) >= 0)
        t->at += 2;
    return true;
}

static bool translate_escape(struct translation *t)
{
    uint32_t code = 0;
    t->at++;
    int c = look(t, 0);
    if (c == 'Q')
        return translate_quoted(t);
    if (c == 'A' || c == 'b' || c == 'B' || c == 'z') {
        /* PCRE2 may not repeat an assertion, RE2 may: the group makes it an item. */
        emit_z(t, "(?:");
        emit(t, t->at - 1, 2);
        emit_z(t, ")");
        t->at++;
    } else if (c == 'p' || c == 'P') {
        if (!copy_property(t))
            return false;
    } else if (!translate_perl_class(t, false)) {
        if (!read_escape(t, &code))
            return false;
        emit_literal(t, code);
    }
    found_item(t, 1);
    return true;
}

static bool translate_plain(struct translation *t)
{
    size_t used = 0;
    uint32_t code = text_decode(t->at, (size_t)(t->end - t->at), &used);
    if (code == TEXT_INVALID)
        return refuse(t, "the pattern is not valid UTF-8");
    found_item(t, 1);
    switch (code) {
    case '|':
        t->repeatable = false;
        emit_z(t, "|");
        break;
    case '^':
    case '$':
        emit_z(t, code == '^' ? "(?:^)" : "(?:$)");
        break;
    case '.':
        emit_z(t, ".");
        break;
    default:
        emit_literal(t, code);
    }
    t->at += used;
    return true;
}

static bool translate_item(struct translation *t)
{
    switch (*t->at) {
    case '(':
        return translate_open(t);
    case ')':
        return translate_close(t);
    case '[':
        return translate_class(t);
    case '\\':
        return translate_escape(t);
    case '*':
    case '+':
    case '?':
    case '{':
        return translate_quantifier(t);
    default:
        return translate_plain(t);
    }
}

static bool translate(struct translation *t)
{
    while (t->at < t->end)
        if (!translate_item(t))
            return false;
    return t->depth == 0 || refuse(t, "a group does not end: ) is missing");
}

/* ---- Compiling and matching ------------------------------------------------------------------ */

static void *take_from_arena(PCRE2_SIZE size, void *arena)
{
    return expr_arena_alloc(arena, size);
}

static void leave_to_arena(void *memory, void *arena)
{
    (void)memory;
    (void)arena;
}

/* A general context on the arena; NULL arena: NULL, which is the heap. */
static bool memory_of(struct expr_arena *arena, pcre2_general_context **memory)
{
    *memory = NULL;
    if (arena != NULL)
        *memory = pcre2_general_context_create(take_from_arena, leave_to_arena, arena);
    return arena == NULL || *memory != NULL;
}

static const char *compile_message(int number)
{
    switch (number) {
    case PCRE2_ERROR_HEAP_FAILED:
    case PCRE2_ERROR_PATTERN_TOO_LARGE:
        return "the pattern is too large";
    case PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY:
    case PCRE2_ERROR_MALFORMED_UNICODE_PROPERTY:
        return "unknown property in \\p";
    case PCRE2_ERROR_DUPLICATE_SUBPATTERN_NAME:
        return "two groups have the same name";
    default:
        return "the pattern is not a regular expression";
    }
}

static pcre2_code *compile_code(const char *pattern, size_t length, pcre2_general_context *memory,
                                const char **message, size_t *offset)
{
    int number = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *code = NULL;
    pcre2_compile_context *context = pcre2_compile_context_create(memory);
    if (context != NULL) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        pcre2_set_parens_nest_limit(context, REGEX_DEPTH_LIMIT * 2 + 10);
        uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY |
                           PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C | PCRE2_ALT_CIRCUMFLEX;
        code = pcre2_compile((PCRE2_SPTR)pattern, length, options, &number, &at, context);
        pcre2_compile_context_free(context);
    }
    if (code == NULL) {
        *message = compile_message(number);
        *offset = 0;
    }
    return code;
}

static struct expr_regex *regex_finish(pcre2_code *code, pcre2_general_context *memory,
                                       struct expr_arena *arena)
{
    pcre2_match_context *limits = pcre2_match_context_create(memory);
    struct expr_regex *regex = arena != NULL ? expr_arena_alloc(arena, sizeof *regex) : malloc(sizeof *regex);
    if (limits == NULL || regex == NULL) {
        if (arena == NULL)
            free(regex);
        pcre2_match_context_free(limits);
        pcre2_code_free(code);
        return NULL;
    }
    pcre2_set_match_limit(limits, REGEX_MATCH_LIMIT);
    pcre2_set_depth_limit(limits, REGEX_MATCH_LIMIT);
    pcre2_set_heap_limit(limits, REGEX_HEAP_LIMIT_KIB);
    *regex = (struct expr_regex){code, limits};
    return regex;
}

struct expr_regex *expr_regex_compile(const char *pattern, size_t len, struct expr_arena *arena,
                                      const char **message, size_t *offset)
{
    struct expr_regex *regex = NULL;
    pcre2_general_context *memory = NULL;
    *offset = 0;
    *message = "the pattern is longer than 4096 bytes";
    if (len > REGEX_PATTERN_LIMIT)
        return NULL;
    *message = "out of memory: the evaluation needs more than its limit";
    char *translated =
        arena != NULL ? expr_arena_alloc(arena, len * EXPANSION + 1) : malloc(len * EXPANSION + 1);
    if (translated == NULL || !memory_of(arena, &memory))
        return NULL;
    struct translation t = {.at = pattern, .start = pattern, .end = pattern + len, .out = translated};
    if (translate(&t)) {
        pcre2_code *code = compile_code(translated, t.length, memory, message, offset);
        if (code != NULL)
            regex = regex_finish(code, memory, arena);
    } else {
        *message = t.message;
        *offset = (size_t)(t.at - t.start);
    }
    if (arena == NULL)
        free(translated);
    return regex;
}

void expr_regex_free(struct expr_regex **regex)
{
    if (*regex == NULL)
        return;
    pcre2_match_context_free((*regex)->limits);
    pcre2_code_free((*regex)->code);
    free(*regex);
    *regex = NULL;
}

int expr_regex_match(const struct expr_regex *regex, const char *text, size_t len, struct expr_arena *arena,
                     const char **message)
{
    pcre2_general_context *memory = NULL;
    *message = "out of memory: the evaluation needs more than its limit";
    struct arena_mark mark = expr_arena_mark(arena);
    pcre2_match_data *data = memory_of(arena, &memory) ? pcre2_match_data_create(1, memory) : NULL;
    if (data == NULL)
        return -1;
    int result = pcre2_match(regex->code, (PCRE2_SPTR)(len == 0 ? "" : text), len, 0, 0, data, regex->limits);
    pcre2_match_data_free(data);
    expr_arena_rewind(arena, mark);
    if (result >= 0)
        return 1;
    if (result == PCRE2_ERROR_NOMATCH)
        return 0;
    if (result == PCRE2_ERROR_MATCHLIMIT || result == PCRE2_ERROR_DEPTHLIMIT ||
        result == PCRE2_ERROR_HEAPLIMIT)
        *message = "matches() gave up: the pattern takes too many steps on this text";
    else if (result != PCRE2_ERROR_NOMEMORY)
        *message = "matches() failed on this text";
    return -1;
}
