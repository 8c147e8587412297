#include "dispatcher/expr/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/clean.h"
#include "dispatcher/expr/links.h"
#include "dispatcher/expr/program.h"
#include "dispatcher/expr/text.h"

#define ALTERNATIVES_LIMIT 4u /* expressions joined by ?? */

/* A piece of text, or an insertion with its alternatives. */
struct segment {
    size_t start; /* of the text */
    size_t length;
    struct expr *alternatives[ALTERNATIVES_LIMIT];
    size_t alternative_count; /* 0: text */
};

struct expr_template {
    char *source;
    struct segment *segments;
    size_t count;
    size_t capacity;
    size_t insertions;
};

/* ---- Compiling ------------------------------------------------------------------------------- */

struct compiler {
    struct expr_template *tmpl;
    const char *source;
    size_t length;
    const struct expr_env *env;
    struct expr_error *error;
};

static bool refuse(struct compiler *c, size_t offset, const char *message)
{
    c->error->offset = offset;
    snprintf(c->error->message, sizeof c->error->message, "%s", message);
    return false;
}

static struct segment *add_segment(struct expr_template *tmpl)
{
    if (tmpl->count == tmpl->capacity) {
        tmpl->capacity = tmpl->capacity == 0 ? 4 : tmpl->capacity * 2;
        tmpl->segments = xreallocarray(tmpl->segments, tmpl->capacity, sizeof *tmpl->segments);
    }
    struct segment *segment = &tmpl->segments[tmpl->count++];
    memset(segment, 0, sizeof *segment);
    return segment;
}

static void add_text(struct compiler *c, size_t start, size_t end)
{
    if (start == end)
        return;
    struct segment *segment = add_segment(c->tmpl);
    segment->start = start;
    segment->length = end - start;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Whether the quote at `at` opens a raw string: an r before it, alone or with a b, that is not the end of a
 * name. */
static bool opens_raw(const char *source, size_t start, size_t at)
{
    bool raw = false;
    size_t i = at;
    for (; i > start && at - i < 2 && strchr("rRbB", source[i - 1]) != NULL; i--)
        raw = raw || source[i - 1] == 'r' || source[i - 1] == 'R';
    return raw && (i == start || !is_name(source[i - 1]));
}

/* The offset behind the string that opens at `at`; the end of the source if it does not close. */
static size_t skip_string(const struct compiler *c, size_t start, size_t at)
{
    char quote = c->source[at];
    bool raw = opens_raw(c->source, start, at);
    bool triple = at + 2 < c->length && c->source[at + 1] == quote && c->source[at + 2] == quote;
    for (at += triple ? 3 : 1; at < c->length; at++) {
        if (c->source[at] == '\\' && !raw)
            at++;
        else if (c->source[at] == quote && !triple)
            return at + 1;
        else if (c->source[at] == quote && at + 2 < c->length && c->source[at + 1] == quote &&
                 c->source[at + 2] == quote)
            return at + 3;
    }
    return c->length;
}

/* The offset of `mark` (two equal characters) outside of strings, comments and braces, from `at`; or the
 * length. */
static size_t find_mark(const struct compiler *c, size_t start, size_t end, char mark)
{
    size_t braces = 0;
    for (size_t at = start; at < end;) {
        char here = c->source[at];
        char next = at + 1 < end ? c->source[at + 1] : '\0';
        if (here == mark && next == mark && braces == 0)
            return at;
        if (here == '\'' || here == '"') {
            at = skip_string(c, start, at);
            continue;
        }
        if (here == '/' && next == '/') {
            while (at < end && c->source[at] != '\n')
                at++;
            continue;
        }
        if (here == '{')
            braces++;
        else if (here == '}' && braces > 0)
            braces--;
        at++;
    }
    return c->length;
}

static bool has_inner_unsafe(const struct node *node)
{
    if (node == NULL)
        return false;
    if (node->op == OP_UNSAFE || has_inner_unsafe(node->a) || has_inner_unsafe(node->b) ||
        has_inner_unsafe(node->c))
        return true;
    for (uint32_t i = 0; i < node->count; i++)
        if (has_inner_unsafe(node->children[i]))
            return true;
    return false;
}

static bool add_alternative(struct compiler *c, struct segment *segment, size_t start, size_t end)
{
    if (segment->alternative_count == ALTERNATIVES_LIMIT)
        return refuse(c, start, "more than three ?? in one insertion");
    struct expr *expr =
        expr_compile_flags(c->source + start, end - start, c->env, COMPILE_ALLOW_UNSAFE, c->error);
    if (expr == NULL) {
        c->error->offset += start;
        return false;
    }
    segment->alternatives[segment->alternative_count++] = expr;
    if (!expr_check(expr, c->env, NULL, c->error)) {
        c->error->offset += start;
        return false;
    }
    const struct node *root = expr->root;
    if (has_inner_unsafe(root->op == OP_UNSAFE ? root->a : root))
        return refuse(c, start, "unsafe(...) must be around the whole of what is inserted");
    return true;
}

/* The insertion between the braces, from `start` to `end`. */
static bool add_insertion(struct compiler *c, size_t start, size_t end)
{
    struct segment *segment = add_segment(c->tmpl);
    if (++c->tmpl->insertions > EXPR_TEMPLATE_INSERTIONS)
        return refuse(c, start, "a template has at most 64 insertions");
    for (;;) {
        size_t mark = find_mark(c, start, end, '?');
        size_t stop = mark < end ? mark : end;
        if (!add_alternative(c, segment, start, stop))
            return false;
        if (stop == end)
            return true;
        start = stop + 2;
    }
}

static bool compile_segments(struct compiler *c)
{
    for (size_t at = 0; at < c->length;) {
        const char *open = memmem(c->source + at, c->length - at, "{{", 2);
        size_t start = open == NULL ? c->length : (size_t)(open - c->source);
        add_text(c, at, start);
        if (open == NULL)
            return true;
        size_t end = find_mark(c, start + 2, c->length, '}');
        if (end == c->length)
            return refuse(c, start, "this insertion does not end: }} is missing");
        if (!add_insertion(c, start + 2, end))
            return false;
        at = end + 2;
    }
    return true;
}

struct expr_template *expr_template_compile(const char *source, size_t len, const struct expr_env *env,
                                            struct expr_error *error)
{
    struct expr_error ignored;
    struct expr_error *report = error != NULL ? error : &ignored;
    memset(report, 0, sizeof *report);
    if (len > EXPR_TEMPLATE_LIMIT) {
        snprintf(report->message, sizeof report->message, "the template is longer than %u bytes",
                 EXPR_TEMPLATE_LIMIT);
        expr_error_locate(report, source, 0);
        return NULL;
    }
    struct expr_template *tmpl = xcalloc(1, sizeof *tmpl);
    tmpl->source = xstrndup(source, len);
    struct compiler compiler = {tmpl, tmpl->source, len, env, report};
    if (!compile_segments(&compiler)) {
        expr_error_locate(report, source, len);
        expr_template_free(&tmpl);
    }
    return tmpl;
}

void expr_template_free(struct expr_template **tmpl)
{
    if (*tmpl == NULL)
        return;
    for (size_t i = 0; i < (*tmpl)->count; i++)
        for (size_t j = 0; j < (*tmpl)->segments[i].alternative_count; j++)
            expr_free(&(*tmpl)->segments[i].alternatives[j]);
    free((*tmpl)->segments);
    free((*tmpl)->source);
    free(*tmpl);
    *tmpl = NULL;
}

bool expr_template_uses_slot(const struct expr_template *tmpl, size_t slot)
{
    for (size_t i = 0; i < tmpl->count; i++)
        for (size_t j = 0; j < tmpl->segments[i].alternative_count; j++)
            if (expr_uses_slot(tmpl->segments[i].alternatives[j], slot))
                return true;
    return false;
}

bool expr_template_uses_function(const struct expr_template *tmpl, const char *name)
{
    for (size_t i = 0; i < tmpl->count; i++)
        for (size_t j = 0; j < tmpl->segments[i].alternative_count; j++)
            if (expr_uses_function(tmpl->segments[i].alternatives[j], name))
                return true;
    return false;
}

/* ---- Rendering ------------------------------------------------------------------------------- */

/* Who wrote a byte: the operator, or others by one insertion or the next. */
enum { OPERATOR, FOREIGN_EVEN, FOREIGN_ODD };

struct rendering {
    const struct expr_activation *activation;
    struct expr_arena *arena;
    size_t characters;
    char *buffer;
    uint8_t
        *writers; /* one for each byte of the buffer; NULL if the arena is full: then nothing is inserted */
    size_t size;
    uint8_t turn; /* FOREIGN_EVEN or FOREIGN_ODD */
    struct expr_template_result result;
};

static void put(struct rendering *r, const char *text, size_t len, uint8_t writer)
{
    size_t room = r->size - 1 - r->result.length;
    if (r->result.truncated)
        return;
    if (len > room) {
        r->result.truncated = true;
        len = text_valid_prefix(text, room);
    }
    if (len == 0)
        return;
    memcpy(r->buffer + r->result.length, text, len);
    if (r->writers != NULL)
        memset(r->writers + r->result.length, writer, len);
    r->result.length += len;
}

/* The operator's word for it: as it is, but for invalid UTF-8 and NUL, which no message can carry. */
static void put_unsafe(struct rendering *r, const char *text, size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i += used) {
        uint32_t code = text_decode(text + i, len - i, &used);
        if (code == TEXT_INVALID)
            put(r, "\xEF\xBF\xBD", 3, OPERATOR);
        else if (code != 0)
            put(r, text + i, used, OPERATOR);
    }
}

static bool put_cleaned(struct rendering *r, const char *text, size_t len)
{
    const char *clean = NULL;
    size_t clean_len = 0;
    bool cut = false;
    if (!expr_clean(text, len, r->characters, r->arena, &clean, &clean_len, &cut))
        return false;
    if (clean_len > 0)
        r->turn = r->turn == FOREIGN_EVEN ? FOREIGN_ODD : FOREIGN_EVEN;
    put(r, clean, clean_len, r->turn);
    r->result.shortened += cut;
    return true;
}

static void note_failure(struct rendering *r, struct expr_value failure)
{
    if (r->result.failure[0] != '\0' || failure.type != EXPR_ERROR)
        return;
    snprintf(r->result.failure, sizeof r->result.failure, "%.*s", (int)failure.length, failure.as.string);
}

/* Puts one alternative; false if it fails, or is null while there is another. */
static bool put_alternative(struct rendering *r, const struct segment *segment, size_t index,
                            struct expr_value *why)
{
    const char *text = NULL;
    size_t len = 0;
    const struct expr *expr = segment->alternatives[index];
    *why = expr_arena_full();
    if (r->writers == NULL)
        return false;
    struct expr_value value = expr_eval(expr, r->activation, r->arena);
    *why = value;
    if (value.type == EXPR_ERROR || (value.type == EXPR_NULL && index + 1 < segment->alternative_count))
        return false;
    *why = expr_failure("the value cannot be written");
    if (expr_value_to_text(value, r->arena, &text, &len) != 0)
        return false;
    if (expr->root->op == OP_UNSAFE || (index > 0 && expr->root->op == OP_CONST)) {
        put_unsafe(r, text, len);
        return true;
    }
    *why = expr_arena_full();
    return put_cleaned(r, text, len);
}

static void put_insertion(struct rendering *r, const struct segment *segment)
{
    struct expr_value first = expr_null();
    for (size_t i = 0; i < segment->alternative_count; i++) {
        struct expr_value why;
        if (put_alternative(r, segment, i, &why)) {
            r->result.fallbacks += i > 0;
            return;
        }
        if (first.type != EXPR_ERROR)
            first = why;
    }
    r->result.failures++;
    note_failure(r, first);
    put(r, "?", 1, OPERATOR);
}

/* ---- Seams ----------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t word_end(const struct rendering *r, size_t at)
{
    while (at < r->result.length && !is_blank(r->buffer[at]))
        at++;
    return at;
}

/* Whether a word is of several writers, others among them, or lost its end. */
static bool has_seam(const struct rendering *r, size_t start, size_t end)
{
    bool foreign = false;
    bool seam = r->result.truncated && end == r->result.length;
    for (size_t i = start; i < end; i++) {
        foreign = foreign || r->writers[i] != OPERATOR;
        seam = seam || r->writers[i] != r->writers[start];
    }
    return foreign && seam;
}

static bool makes_link(const struct rendering *r, size_t start, size_t end)
{
    return has_seam(r, start, end) &&
           links_find(r->buffer + start, end - start, r->writers + start, NULL) > 0;
}

/* Puts the end of the text, which was written anew, back in place of what stands from `start` on. */
static void put_back(struct rendering *r, size_t start, const char *text, size_t len)
{
    size_t room = r->size - 1 - start;
    if (len > room) {
        r->result.truncated = true;
        len = text_valid_prefix(text, room);
    }
    memcpy(r->buffer + start, text, len);
    r->result.length = start + len;
}

/* Writes the text from `first` on anew, words with a seam without their links. */
static void mend_from(struct rendering *r, size_t first)
{
    size_t left = r->result.length - first;
    uint8_t *edits = expr_arena_alloc(r->arena, left);
    char *out = expr_arena_alloc(r->arena, left * LINKS_GROWTH);
    size_t length = 0;
    if (edits == NULL || out == NULL) {
        r->result.length = first;
        r->result.truncated = true;
        return;
    }
    for (size_t at = first; at < r->result.length;) {
        size_t end = word_end(r, at);
        memset(edits, LINKS_KEEP, end - at);
        if (has_seam(r, at, end))
            links_find(r->buffer + at, end - at, r->writers + at, edits);
        length += links_apply(r->buffer + at, end - at, edits, out + length);
        if (end < r->result.length)
            out[length++] = r->buffer[end];
        at = end + 1;
    }
    put_back(r, first, out, length);
}

/* What is harmless by itself may make a link with its neighbour: "evil" and ".com". */
static void mend_seams(struct rendering *r)
{
    if (r->writers == NULL)
        return;
    for (size_t at = 0; at < r->result.length; at++) {
        size_t end = word_end(r, at);
        if (makes_link(r, at, end)) {
            mend_from(r, at);
            return;
        }
        at = end;
    }
}

struct expr_template_result expr_template_render(const struct expr_template *tmpl,
                                                 const struct expr_activation *activation,
                                                 struct expr_arena *arena, size_t characters, char *buffer,
                                                 size_t size)
{
    struct rendering r = {.activation = activation,
                          .arena = arena,
                          .characters = characters == 0 ? EXPR_INSERTION_CHARACTERS : characters,
                          .buffer = buffer,
                          .writers = expr_arena_alloc(arena, size),
                          .size = size};
    for (size_t i = 0; i < tmpl->count; i++) {
        const struct segment *segment = &tmpl->segments[i];
        if (segment->alternative_count == 0)
            put(&r, tmpl->source + segment->start, segment->length, OPERATOR);
        else
            put_insertion(&r, segment);
    }
    mend_seams(&r);
    buffer[r.result.length] = '\0';
    return r.result;
}
