/*
 * Source text into a program: a recursive descent over CEL's grammar which resolves every name as it meets
 * it, expands the macros and folds literal lists and maps. Depth is counted twice: the nesting of the source,
 * which bounds this parser's stack, and the height of the tree, which bounds the evaluator's.
 */
#include "dispatcher/expr/parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/node.h"
#include "dispatcher/expr/regex.h"
#include "dispatcher/expr/resolve.h"
#include "dispatcher/expr/text.h"

#define PROGRAM_LIMIT (64u << 20)
#define PROGRAM_BASE_BYTES 512u  /* a typical program fits into its first chunk: so much, */
#define PROGRAM_SOURCE_BYTES 24u /* and so much for each byte of source */

static parsed parse_expression(struct parser *p);

/* What other languages write for an operator, and how it is written here; "" if the word is none of them. */
static const char *operator_hint(const struct parser *p)
{
    static const struct {
        const char *word;
        const char *hint;
    } words[] = {
        {"and", ": and is written &&"},       {"or", ": or is written ||"},
        {"is", ": equality is written =="},   {"eq", ": equality is written =="},
        {"ne", ": inequality is written !="}, {"mod", ": mod is written %"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (lexer_is(p->source, p->at, words[i].word))
            return words[i].hint;
    if (p->at > p->tokens && lexer_is(p->source, p->at - 1, "not"))
        return lexer_is(p->source, p->at, "in") ? "" : ": not is written !";
    return "";
}

static parsed unexpected(struct parser *p, const char *wanted)
{
    const char *text = p->source + p->at->offset;
    if (p->at->kind == TOKEN_END)
        return node_fail(p, p->at->offset, "the expression ends here, %s is missing", wanted);
    if (p->at->kind == TOKEN_LITERAL && p->at->value.type != EXPR_DOUBLE && p->at->value.type != EXPR_UINT)
        return node_fail(p, p->at->offset, "%s expected before %.*s", wanted, node_shown(p, p->at), text);
    return node_fail(p, p->at->offset, "%s expected before '%.*s'%s", wanted, node_shown(p, p->at), text,
                     operator_hint(p));
}

static bool take(struct parser *p, unsigned symbol)
{
    if (!lexer_is_symbol(p->at, symbol))
        return false;
    p->at++;
    return true;
}

static bool expect(struct parser *p, unsigned symbol, const char *wanted)
{
    if (take(p, symbol))
        return true;
    unexpected(p, wanted);
    return false;
}

/* The end of what a bracket began; where the source ends first, the bracket is the fault. */
static bool expect_close(struct parser *p, unsigned symbol, size_t opened, const char *wanted)
{
    if (take(p, symbol))
        return true;
    if (p->at->kind == TOKEN_END)
        node_fail(p, opened, "this '%c' is not closed: '%c' is missing", p->source[opened], (char)symbol);
    else
        unexpected(p, wanted);
    return false;
}

/* Where the token before the cursor stands. */
static size_t behind(const struct parser *p)
{
    return (p->at - 1)->offset;
}

/* ---- Calls and macros ----------------------------------------------------------------------- */

/* a, b, c up to the end; the cursor is behind the bracket. */
static bool parse_arguments(struct parser *p, struct children *children, unsigned end, const char *wanted)
{
    size_t opened = behind(p);
    if (take(p, end))
        return true;
    do {
        if (lexer_is_symbol(p->at, end) && children->count > 0 && end != ')')
            break; /* a trailing comma of a list */
        parsed argument = parse_expression(p);
        if (argument == NULL || !node_add_child(p, children, argument))
            return false;
    } while (take(p, ','));
    return expect_close(p, end, opened, wanted);
}

/* has(e.f): the argument is parsed as usual and its last selection turned into a test. */
static parsed parse_has(struct parser *p, const struct token *name)
{
    size_t opened = behind(p);
    parsed argument = parse_expression(p);
    if (argument == NULL || !expect_close(p, ')', opened, "')'"))
        return NULL;
    if (argument->op == OP_UNKNOWN)
        return argument;
    if (argument->op != OP_SELECT)
        return node_fail(p, name->offset, "has() takes a field: has(data.name)");
    struct node *node = node_new(p, OP_HAS, name->offset);
    if (node == NULL)
        return NULL;
    node->a = argument->a;
    node->name = argument->name;
    node->name_length = argument->name_length;
    return node_finish(p, node);
}

static parsed parse_unsafe(struct parser *p, const struct token *name)
{
    size_t opened = behind(p);
    parsed argument = parse_expression(p);
    if (argument == NULL || !expect_close(p, ')', opened, "')'"))
        return NULL;
    return node_binary(p, OP_UNSAFE, name->offset, argument, NULL);
}

struct macro {
    const char *name;
    enum node_op op;
    unsigned max_args;
};

static const struct macro *find_macro(const struct parser *p, const struct token *name)
{
    static const struct macro macros[] = {
        {"all", OP_ALL, 2},
        {"exists", OP_EXISTS, 2},
        {"exists_one", OP_EXISTS_ONE, 2},
        {"existsOne", OP_EXISTS_ONE, 2},
        {"filter", OP_FILTER, 2},
        {"map", OP_TRANSFORM, 3},
    };
    for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++)
        if (lexer_is(p->source, name, macros[i].name))
            return &macros[i];
    return NULL;
}

/* The name of a macro's variable, which becomes known to what follows. */
static bool bind_local(struct parser *p, const struct macro *macro, uint32_t *slot)
{
    if (p->at->kind != TOKEN_NAME || resolve_is_keyword(p, p->at) || resolve_is_reserved(p, p->at) ||
        !lexer_is_symbol(p->at + 1, ',')) {
        node_fail(p, p->at->offset, "%s() takes the name of a variable first: x.%s(e, ...)", macro->name,
                  macro->name);
        return false;
    }
    if (p->local_count == EXPR_LOCALS_LIMIT) {
        node_fail(p, p->at->offset, "more than %u macros inside each other", EXPR_LOCALS_LIMIT);
        return false;
    }
    *slot = p->local_count;
    p->locals[p->local_count++] = (struct local){p->source + p->at->offset, p->at->length};
    p->at += 2;
    return true;
}

/* range.macro( ... : the cursor is behind the parenthesis. */
static parsed parse_macro(struct parser *p, const struct macro *macro, parsed range, const struct token *name)
{
    size_t opened = behind(p);
    struct node *node = node_new(p, macro->op, name->offset);
    if (node == NULL || !bind_local(p, macro, &node->slot))
        return NULL;
    node->a = range;
    node->b = parse_expression(p);
    if (node->b != NULL && macro->max_args == 3 && take(p, ','))
        node->c = parse_expression(p);
    else if (node->b != NULL && macro->op == OP_TRANSFORM) {
        node->c = node->b;
        node->b = NULL;
    }
    p->local_count--;
    if ((node->b == NULL && node->c == NULL) || (macro->op == OP_TRANSFORM && node->c == NULL))
        return NULL;
    if (lexer_is_symbol(p->at, ','))
        return node_fail(p, p->at->offset, "%s() takes %s arguments", macro->name,
                         macro->max_args == 3 ? "two or three" : "two");
    return expect_close(p, ')', opened, "')'") ? node_finish(p, node) : NULL;
}

/* ---- Primaries ------------------------------------------------------------------------------- */

static parsed parse_list(struct parser *p, size_t offset)
{
    struct children children = {0};
    if (!parse_arguments(p, &children, ']', "',' or ']'"))
        return NULL;
    struct node *node = node_new(p, OP_LIST, offset);
    if (node == NULL)
        return NULL;
    parsed list = node_with_children(p, node, &children);
    return node_all_constant(&children) ? node_fold(p, list) : list;
}

static parsed parse_map(struct parser *p, size_t offset)
{
    struct children children = {0};
    while (!lexer_is_symbol(p->at, '}')) {
        parsed key = parse_expression(p);
        if (key == NULL || !expect(p, ':', "':' and a value") || !node_add_child(p, &children, key))
            return NULL;
        parsed value = parse_expression(p);
        if (value == NULL || !node_add_child(p, &children, value))
            return NULL;
        if (!take(p, ','))
            break;
    }
    if (!expect_close(p, '}', offset, "',' or '}'"))
        return NULL;
    struct node *node = node_new(p, OP_MAP, offset);
    if (node == NULL)
        return NULL;
    parsed map = node_with_children(p, node, &children);
    return node_all_constant(&children) ? node_fold(p, map) : map;
}

/* name( ... : the cursor is behind the parenthesis. */
static parsed parse_call(struct parser *p, const struct token *name)
{
    struct children children = {0};
    if (lexer_is(p->source, name, "has"))
        return parse_has(p, name);
    if ((p->flags & COMPILE_ALLOW_UNSAFE) != 0 && lexer_is(p->source, name, "unsafe"))
        return parse_unsafe(p, name);
    if (!resolve_callable(p, name, false) || !parse_arguments(p, &children, ')', "',' or ')'"))
        return NULL;
    return resolve_call(p, name, false, &children);
}

static parsed parse_name(struct parser *p, bool rooted)
{
    const struct token *token = p->at++;
    if (lexer_is(p->source, token, "true") || lexer_is(p->source, token, "false"))
        return node_constant(p, expr_bool(lexer_is(p->source, token, "true")), token->offset);
    if (lexer_is(p->source, token, "null"))
        return node_constant(p, expr_null(), token->offset);
    if (resolve_is_keyword(p, token) || resolve_is_reserved(p, token))
        return node_fail(p, token->offset, "'%.*s' is a reserved word", node_shown(p, token),
                         p->source + token->offset);
    if (take(p, '('))
        return parse_call(p, token);
    parsed local = rooted ? NULL : resolve_local(p, token);
    return local != NULL ? local : resolve_name(p, token);
}

static parsed parse_integer(struct parser *p, bool negative)
{
    const struct token *token = p->at++;
    uint64_t magnitude = token->value.as.uinteger;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return node_fail(p, token->offset, "this number does not fit into an int: write %.*su for a uint",
                         node_shown(p, token), p->source + token->offset);
    return node_constant(p, expr_int(negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude),
                         token->offset);
}

static parsed parse_primary(struct parser *p)
{
    const struct token *token = p->at;
    if (token->kind == TOKEN_NAME)
        return parse_name(p, false);
    if (token->kind == TOKEN_INTEGER)
        return parse_integer(p, false);
    if (token->kind == TOKEN_LITERAL) {
        p->at++;
        return node_constant(p, token->value, token->offset);
    }
    if (lexer_is_symbol(token, '.') && (token + 1)->kind == TOKEN_NAME) {
        p->at++;
        return parse_name(p, true);
    }
    if (take(p, '(')) {
        parsed inner = parse_expression(p);
        return inner != NULL && expect_close(p, ')', token->offset, "')'") ? inner : NULL;
    }
    if (take(p, '['))
        return parse_list(p, token->offset);
    if (take(p, '{'))
        return parse_map(p, token->offset);
    return unexpected(p, "a value");
}

/* ---- Members --------------------------------------------------------------------------------- */

/* A failure with the field's name, made once so that a missing field costs an event nothing. */
static struct expr_value missing_field(struct parser *p, const char *name, uint32_t length)
{
    return expr_failure_f(p->expr->arena, "no such key: '%.*s'",
                          (int)text_valid_prefix(name, length > 100 ? 100 : length), name);
}

static parsed select_field(struct parser *p, parsed from, const char *name, uint32_t length, size_t offset)
{
    struct node *node = node_new(p, OP_SELECT, offset);
    char *copy = expr_arena_alloc(p->expr->arena, (size_t)length + 1);
    if (node == NULL || copy == NULL)
        return node_too_large(p);
    memcpy(copy, name, length);
    copy[length] = '\0';
    node->a = from;
    node->name = copy;
    node->name_length = length;
    node->value = missing_field(p, copy, length);
    return node_finish(p, node);
}

/* .name or .name(...): the cursor is behind the point. */
static parsed parse_selection(struct parser *p, parsed from)
{
    const struct token *name = p->at;
    if (name->kind == TOKEN_ESCAPED) {
        p->at++;
        return select_field(p, from, name->value.as.string, name->value.length, name->offset);
    }
    if (name->kind != TOKEN_NAME || resolve_is_keyword(p, name))
        return unexpected(p, "the name of a field");
    p->at++;
    if (!take(p, '('))
        return select_field(p, from, p->source + name->offset, name->length, name->offset);
    const struct macro *macro = find_macro(p, name);
    if (macro != NULL)
        return parse_macro(p, macro, from, name);
    struct children children = {0};
    if (!resolve_callable(p, name, true) || !node_add_child(p, &children, from) ||
        !parse_arguments(p, &children, ')', "',' or ')'"))
        return NULL;
    return resolve_call(p, name, true, &children);
}

/* a[b]; a literal string as index is the same as a field. */
static parsed parse_index(struct parser *p, parsed from, size_t offset)
{
    parsed index = parse_expression(p);
    if (index == NULL || !expect_close(p, ']', offset, "']'"))
        return NULL;
    return node_binary(p, OP_INDEX, offset, from, index);
}

static parsed parse_member(struct parser *p)
{
    parsed node = parse_primary(p);
    while (node != NULL) {
        const struct token *token = p->at;
        if (take(p, '.'))
            node = parse_selection(p, node);
        else if (take(p, '['))
            node = parse_index(p, node, token->offset);
        else if (lexer_is_symbol(token, '{'))
            return node_fail(p, token->offset,
                             "messages are not part of this language: '{' has no meaning here");
        else
            break;
    }
    return node;
}

static bool enter(struct parser *p)
{
    if (++p->depth <= EXPR_DEPTH_LIMIT)
        return true;
    node_fail(p, p->at->offset, "the expression is nested too deeply (at most %u levels)", EXPR_DEPTH_LIMIT);
    return false;
}

static parsed parse_unary(struct parser *p);

/* A minus before a number belongs to the number; else it negates. */
static parsed parse_minus(struct parser *p, size_t offset)
{
    if (p->at->kind == TOKEN_INTEGER && !lexer_is_symbol(p->at + 1, '.') && !lexer_is_symbol(p->at + 1, '['))
        return parse_integer(p, true);
    if (p->at->kind == TOKEN_LITERAL && p->at->value.type == EXPR_DOUBLE)
        return node_constant(p, expr_double(-(p->at++)->value.as.real), offset);
    parsed operand = parse_unary(p);
    return operand == NULL ? NULL : node_binary(p, OP_NEGATE, offset, operand, NULL);
}

static parsed parse_unary(struct parser *p)
{
    size_t offset = p->at->offset;
    parsed node = NULL;
    bool negated = take(p, '!');
    if (!negated && !take(p, '-'))
        return parse_member(p);
    if (!enter(p))
        return NULL;
    if (negated) {
        parsed operand = parse_unary(p);
        node = operand == NULL ? NULL : node_binary(p, OP_NOT, offset, operand, NULL);
    } else {
        node = parse_minus(p, offset);
    }
    p->depth--;
    return node;
}

/* ---- Operators ------------------------------------------------------------------------------- */

struct binary_operator {
    unsigned symbol;
    enum node_op op;
    int level; /* 3 binds most */
};

static const struct binary_operator *binary_at(const struct parser *p)
{
    static const struct binary_operator operators[] = {
        {OPERATOR_2('=', '='), OP_EQUAL, 1},
        {OPERATOR_2('!', '='), OP_DIFFERENT, 1},
        {'<', OP_LESS, 1},
        {OPERATOR_2('<', '='), OP_LESS_EQUAL, 1},
        {'>', OP_GREATER, 1},
        {OPERATOR_2('>', '='), OP_GREATER_EQUAL, 1},
        {'+', OP_ADD, 2},
        {'-', OP_SUBTRACT, 2},
        {'*', OP_MULTIPLY, 3},
        {'/', OP_DIVIDE, 3},
        {'%', OP_MODULO, 3},
    };
    static const struct binary_operator in = {0, OP_IN, 1};
    if (lexer_is(p->source, p->at, "in"))
        return &in;
    for (size_t i = 0; p->at->kind == TOKEN_OPERATOR && i < sizeof operators / sizeof operators[0]; i++)
        if (operators[i].symbol == p->at->symbol)
            return &operators[i];
    return NULL;
}

static parsed parse_binary(struct parser *p, int level)
{
    parsed left = level > 3 ? parse_unary(p) : parse_binary(p, level + 1);
    while (left != NULL && level <= 3) {
        const struct binary_operator *symbol = binary_at(p);
        if (symbol == NULL || symbol->level != level)
            break;
        size_t offset = p->at++->offset;
        parsed right = parse_binary(p, level + 1);
        left = right == NULL ? NULL : node_binary(p, symbol->op, offset, left, right);
    }
    return left;
}

/* A chain of && (or ||, whose operands are chains of &&) is one node with many children. */
static parsed parse_logic(struct parser *p, bool or)
{
    unsigned symbol = or ? OPERATOR_2('|', '|') : OPERATOR_2('&', '&');
    struct children children = {0};
    parsed first = or ? parse_logic(p, false) : parse_binary(p, 1);
    if (first == NULL || !lexer_is_symbol(p->at, symbol))
        return first;
    size_t offset = p->at->offset;
    if (!node_add_child(p, &children, first))
        return NULL;
    while (take(p, symbol)) {
        parsed next = or ? parse_logic(p, false) : parse_binary(p, 1);
        if (next == NULL || !node_add_child(p, &children, next))
            return NULL;
    }
    struct node *node = node_new(p, or ? OP_OR : OP_AND, offset);
    return node == NULL ? NULL : node_with_children(p, node, &children);
}

static parsed parse_conditional(struct parser *p)
{
    parsed condition = parse_logic(p, true);
    size_t offset = p->at->offset;
    if (condition == NULL || !take(p, '?'))
        return condition;
    struct node *node = node_new(p, OP_CONDITIONAL, offset);
    if (node == NULL)
        return NULL;
    node->a = condition;
    node->b = parse_logic(p, true);
    if (node->b == NULL || !expect(p, ':', "':' and the other value"))
        return NULL;
    node->c = parse_expression(p);
    return node->c == NULL ? NULL : node_finish(p, node);
}

static parsed parse_expression(struct parser *p)
{
    if (!enter(p))
        return NULL;
    parsed node = parse_conditional(p);
    p->depth--;
    return node;
}

/* ---- Entry ----------------------------------------------------------------------------------- */

/* What stands behind a whole expression. */
static parsed stray(struct parser *p)
{
    if (p->at->kind == TOKEN_OPERATOR && p->at->length == 1 && strchr(")]}", (int)p->at->symbol) != NULL)
        return node_fail(p, p->at->offset, "an operator expected before '%c': nothing is open here",
                         (char)p->at->symbol);
    return unexpected(p, "an operator");
}

static parsed parse_source(struct parser *p, size_t len)
{
    struct expr_arena *scratch = p->expr->arena;
    struct token *tokens = lexer_run(p->source, len, scratch, p->error);
    if (tokens == NULL)
        return NULL;
    p->tokens = tokens;
    p->at = tokens;
    parsed root =
        tokens[0].kind == TOKEN_END ? node_fail(p, 0, "an expression is missing") : parse_expression(p);
    if (root != NULL && p->at->kind != TOKEN_END)
        root = stray(p);
    free(tokens);
    return root;
}

struct expr *expr_compile_flags(const char *source, size_t len, const struct expr_env *env, unsigned flags,
                                struct expr_error *error)
{
    struct expr_error ignored;
    struct expr_error *report = error != NULL ? error : &ignored;
    memset(report, 0, sizeof *report);
    if (len > EXPR_SOURCE_LIMIT) {
        snprintf(report->message, sizeof report->message, "the expression is longer than %u bytes",
                 EXPR_SOURCE_LIMIT);
        expr_error_locate(report, source, 0);
        return NULL;
    }
    struct expr *expr = xcalloc(1, sizeof *expr);
    expr->source = xstrndup(source, len);
    expr->source_length = len;
    expr->arena = expr_arena_sized(PROGRAM_LIMIT, PROGRAM_BASE_BYTES + PROGRAM_SOURCE_BYTES * len);
    struct parser parser = {
        .source = expr->source, .env = env, .expr = expr, .error = report, .flags = flags};
    expr->root = parse_source(&parser, len);
    expr->variables = parser.variables.items;
    expr->variable_count = parser.variables.count;
    expr->hosts = parser.hosts.items;
    expr->host_count = parser.hosts.count;
    if (expr->root == NULL) {
        expr_error_locate(report, source, len);
        expr_free(&expr);
    }
    return expr;
}

struct expr *expr_compile(const char *source, size_t len, const struct expr_env *env,
                          struct expr_error *error)
{
    return expr_compile_flags(source, len, env, 0, error);
}

void expr_free(struct expr **expr)
{
    if (*expr == NULL)
        return;
    for (struct program_regex *entry = (*expr)->regexes; entry != NULL; entry = entry->next)
        expr_regex_free(&entry->regex);
    expr_arena_free(&(*expr)->arena);
    free((*expr)->source);
    free(*expr);
    *expr = NULL;
}

const char *expr_source(const struct expr *expr)
{
    return expr->source;
}

bool expr_uses_slot(const struct expr *expr, size_t slot)
{
    for (size_t i = 0; i < expr->variable_count; i++)
        if (expr->variables[i]->slot == slot)
            return true;
    return false;
}

bool expr_uses_function(const struct expr *expr, const char *name)
{
    for (size_t i = 0; i < expr->host_count; i++)
        if (strcmp(expr->hosts[i]->name, name) == 0)
            return true;
    return false;
}

const struct expr_env *expr_event_env(void)
{
    static const char *const names[EXPR_EVENT_SLOTS] = {
        [EXPR_SLOT_CHANNEL] = "channel",     [EXPR_SLOT_TYPE] = "type",     [EXPR_SLOT_DATA] = "data",
        [EXPR_SLOT_TIME] = "time",           [EXPR_SLOT_BRIDGE] = "bridge", [EXPR_SLOT_CONTEXT] = "context",
        [EXPR_SLOT_CONTAINER] = "container", [EXPR_SLOT_ITEM] = "item",     [EXPR_SLOT_AUTHOR] = "author",
        [EXPR_SLOT_RECOVERED] = "recovered",
    };
    static const struct expr_kind kinds[EXPR_EVENT_SLOTS] = {EXPR_EVENT_KINDS};
    static const struct expr_env env = {
        .variables = names, .variable_count = EXPR_EVENT_SLOTS, .kinds = kinds};
    return &env;
}
