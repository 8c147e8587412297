#include "dispatcher/expr/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/expr/lexer.h"
#include "dispatcher/expr/text.h"

enum { LEVELS_MAX = 16, VALUE_SHOWN = 80, VALUES_MAX = 1024, PATHS_MAX = 8 };

struct trace {
    const char *source;
    const struct token *tokens;
    const struct expr_env *env;
    const struct expr_activation *activation;
    struct expr_arena *arena;
    expr_trace_fn *fn;
    void *arg;
};

/* Tokens FROM up to but without TO. */
struct range {
    size_t from, to;
};

/* ---- taking the source apart ---- */

static int nesting(const struct token *t)
{
    if (lexer_is_symbol(t, '(') || lexer_is_symbol(t, '[') || lexer_is_symbol(t, '{'))
        return 1;
    return lexer_is_symbol(t, ')') || lexer_is_symbol(t, ']') || lexer_is_symbol(t, '}') ? -1 : 0;
}

/* The token behind the bracket that closes the one at AT. */
static size_t behind_bracket(const struct trace *t, size_t at, size_t to)
{
    int depth = 0;
    for (; at < to; at++) {
        depth += nesting(&t->tokens[at]);
        if (depth == 0)
            return at + 1;
    }
    return to;
}

static struct range without_brackets(const struct trace *t, struct range r)
{
    while (r.to - r.from > 2 && lexer_is_symbol(&t->tokens[r.from], '(') &&
           behind_bracket(t, r.from, r.to) == r.to)
        r = (struct range){r.from + 1, r.to - 1};
    return r;
}

/* The first token of SYMBOL at the top of the range; r.to if there is none. */
static size_t find_symbol(const struct trace *t, struct range r, unsigned symbol)
{
    for (size_t i = r.from; i < r.to;) {
        if (lexer_is_symbol(&t->tokens[i], symbol))
            return i;
        i = nesting(&t->tokens[i]) > 0 ? behind_bracket(t, i, r.to) : i + 1;
    }
    return r.to;
}

static enum trace_kind kind_of(const struct trace *t, struct range r)
{
    if (find_symbol(t, r, '?') < r.to)
        return TRACE_LEAF;
    if (find_symbol(t, r, OPERATOR_2('|', '|')) < r.to)
        return TRACE_ANY;
    return find_symbol(t, r, OPERATOR_2('&', '&')) < r.to ? TRACE_ALL : TRACE_LEAF;
}

static const char *text_of(const struct trace *t, struct range r, size_t *len)
{
    const struct token *last = &t->tokens[r.to - 1];
    size_t from = t->tokens[r.from].offset;
    *len = last->offset + last->length - from;
    return t->source + from;
}

/* ---- values ---- */

static bool evaluate(const struct trace *t, struct range r, struct expr_value *out)
{
    size_t len;
    const char *text = text_of(t, r, &len);
    struct expr *expr = expr_compile(text, len, t->env, NULL);
    if (!expr)
        return false;
    struct expr_value v = expr_eval(expr, t->activation, t->arena);
    const char *shown;
    size_t shown_len;
    /* What the value views may go with the expression. */
    if (v.type == EXPR_ERROR)
        *out = expr_failure_f(t->arena, "%.*s", (int)v.length, v.as.string);
    else if (v.type == EXPR_BOOL)
        *out = v;
    else if (expr_value_to_json(v, t->arena, &shown, &shown_len) == 0)
        *out = expr_string(shown, shown_len);
    else
        *out = expr_string("…", strlen("…"));
    expr_free(&expr);
    return true;
}

/* The end of the path that begins at AT: names and indexes, but no call. */
static size_t path_end(const struct trace *t, size_t at, size_t to)
{
    size_t end = at + 1;
    while (end < to) {
        const struct token *token = &t->tokens[end];
        bool called = end + 2 < to && lexer_is_symbol(&t->tokens[end + 2], '(');
        if (lexer_is_symbol(token, '.') && end + 1 < to && !called)
            end += 2;
        else if (lexer_is_symbol(token, '['))
            end = behind_bracket(t, end, to);
        else
            break;
    }
    return end;
}

static bool begins_path(const struct trace *t, size_t at, struct range r)
{
    static const char *const words[] = {"true", "false", "null", "in"};
    const struct token *token = &t->tokens[at];
    if (token->kind != TOKEN_NAME || (at + 1 < r.to && lexer_is_symbol(&t->tokens[at + 1], '(')) ||
        (at > r.from && lexer_is_symbol(&t->tokens[at - 1], '.')))
        return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (lexer_is(t->source, token, words[i]))
            return false;
    return true;
}

static bool is_repeated(const struct trace *t, const struct range *seen, size_t count, struct range r)
{
    size_t len, other_len;
    const char *text = text_of(t, r, &len);
    for (size_t i = 0; i < count; i++) {
        const char *other = text_of(t, seen[i], &other_len);
        if (len == other_len && memcmp(text, other, len) == 0)
            return true;
    }
    return false;
}

struct values {
    char text[VALUES_MAX];
    size_t len;
    struct range seen[PATHS_MAX];
    size_t count;
    bool failed; /* some path has no value */
    size_t failed_at;
};

static void print(struct values *v, const char *text, size_t len)
{
    size_t room = sizeof v->text - 1 - v->len;
    size_t n = len > room ? text_valid_prefix(text, room) : len;
    memcpy(v->text + v->len, text, n);
    v->len += n;
    v->text[v->len] = '\0';
}

static void add_path(const struct trace *t, struct range path, struct values *v)
{
    struct expr_value value;
    size_t len;
    const char *text = text_of(t, path, &len);
    if (!evaluate(t, path, &value))
        return;
    v->seen[v->count++] = path;
    if (v->len)
        print(v, ", ", 2);
    print(v, text, len);
    if (value.type == EXPR_BOOL) {
        print(v, value.as.boolean ? " is true" : " is false", value.as.boolean ? 8 : 9);
        return;
    }
    if (value.type == EXPR_ERROR && !v->failed) {
        v->failed = true;
        v->failed_at = t->tokens[path.from].offset;
    }
    print(v, value.type == EXPR_ERROR ? ": " : " is ", value.type == EXPR_ERROR ? 2 : 4);
    size_t shown =
        value.length > VALUE_SHOWN ? text_valid_prefix(value.as.string, VALUE_SHOWN) : value.length;
    print(v, value.as.string, shown);
    if (shown < value.length)
        print(v, "…", strlen("…"));
}

static void find_paths(const struct trace *t, struct range r, struct values *v)
{
    for (size_t i = r.from; i < r.to && v->count < PATHS_MAX;) {
        if (!begins_path(t, i, r)) {
            i++;
            continue;
        }
        struct range path = {i, path_end(t, i, r.to)};
        if (!is_repeated(t, v->seen, v->count, path))
            add_path(t, path, v);
        i = path.to;
    }
}

/* ---- parts ---- */

static const char *copy(const struct trace *t, struct expr_value text)
{
    char *out = expr_arena_alloc(t->arena, text.length + 1);
    if (!out)
        return "out of memory";
    memcpy(out, text.as.string, text.length);
    out[text.length] = '\0';
    return out;
}

static void tell(const struct trace *t, struct range r, enum trace_kind kind, unsigned level)
{
    struct values v = {.text = ""};
    struct trace_part part = {.kind = kind, .level = level};
    struct expr_value value = expr_null();
    part.text = text_of(t, r, &part.length);
    part.offset = (size_t)(part.text - t->source);
    bool known = evaluate(t, r, &value);
    part.verdict = EXPR_FAILED;
    if (known && value.type == EXPR_BOOL)
        part.verdict = value.as.boolean ? EXPR_TRUE : EXPR_FALSE;
    else if (known && value.type == EXPR_ERROR)
        part.failure = copy(t, value);
    else
        part.failure = "not true or false";
    if (kind == TRACE_LEAF)
        find_paths(t, r, &v);
    part.values = v.text;
    if (part.failure && v.failed)
        part.failure_at = v.failed_at - part.offset;
    t->fn(t->arg, &part);
}

static void walk(const struct trace *t, struct range r, unsigned level, bool top)
{
    r = without_brackets(t, r);
    enum trace_kind kind = level < LEVELS_MAX ? kind_of(t, r) : TRACE_LEAF;
    /* What && joins at the top stands by itself. */
    bool told = !(top && kind == TRACE_ALL);
    if (told)
        tell(t, r, kind, level);
    if (kind == TRACE_LEAF)
        return;
    unsigned symbol = kind == TRACE_ALL ? OPERATOR_2('&', '&') : OPERATOR_2('|', '|');
    for (struct range rest = r; rest.from < r.to;) {
        size_t end = find_symbol(t, rest, symbol);
        if (end > rest.from)
            walk(t, (struct range){rest.from, end}, level + told, false);
        rest.from = end + 1;
    }
}

void expr_trace(const struct expr *expr, const struct expr_env *env, const struct expr_activation *activation,
                struct expr_arena *arena, expr_trace_fn *fn, void *arg)
{
    const char *source = expr_source(expr);
    struct expr_error error;
    struct token *tokens = lexer_run(source, strlen(source), arena, &error);
    if (!tokens)
        return;
    struct trace t = {source, tokens, env, activation, arena, fn, arg};
    size_t count = 0;
    while (tokens[count].kind != TOKEN_END)
        count++;
    if (count)
        walk(&t, (struct range){0, count}, 0, true);
    free(tokens);
}
