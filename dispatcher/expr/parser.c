/*
 * Source text into a program: a recursive descent over CEL's grammar which resolves every name as it meets
 * it, expands the macros, folds literal lists and maps and prepares literal patterns and time zones. Depth is
 * counted twice: the nesting of the source, which bounds this parser's stack, and the height of the tree,
 * which bounds the evaluator's.
 */
#include "dispatcher/expr/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/lexer.h"
#include "dispatcher/expr/regex.h"
#include "dispatcher/expr/zone.h"

#define PROGRAM_LIMIT (64u << 20)
#define PROGRAM_FIRST_BYTES 2048u
#define SCRATCH_BYTES 8192u
#define NAMES_LIMIT 128u
#define NAME_LIMIT 128u

struct local {
    const char *name;
    size_t length;
};

struct parser {
    const char *source;
    const struct token *at; /* the next token */
    const struct expr_env *env;
    struct expr *expr;
    struct expr_error *error;
    unsigned flags;
    unsigned depth;
    struct local locals[EXPR_LOCALS_LIMIT];
    unsigned local_count;
    const struct node **variables;
    size_t variable_capacity;
    const struct node **hosts;
    size_t host_capacity;
};

typedef const struct node *parsed; /* NULL: failed, and the error says why */

static parsed parse_expression(struct parser *p);

/* ---- Errors ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static parsed fail(struct parser *p, size_t offset, const char *format,
                                                         ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->error->message, sizeof p->error->message, format, arguments);
    va_end(arguments);
    p->error->offset = offset;
    return NULL;
}

/* The text of a token for a message: cut to what fits there. */
static int shown(const struct token *token)
{
    return (int)(token->length > 40 ? 40 : token->length);
}

static parsed unexpected(struct parser *p, const char *wanted)
{
    if (p->at->kind == TOKEN_END)
        return fail(p, p->at->offset, "the expression ends here, %s is missing", wanted);
    return fail(p, p->at->offset, "%s expected before '%.*s'", wanted, shown(p->at),
                p->source + p->at->offset);
}

static parsed too_large(struct parser *p)
{
    return fail(p, p->at->offset, "the expression is too large");
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

static void raise_height(struct node *node, const struct node *child)
{
    if (child != NULL && child->height >= node->height)
        node->height = (uint16_t)(child->height + 1);
}

static struct node *new_node(struct parser *p, enum node_op op, size_t offset)
{
    struct node *node = expr_arena_alloc(p->expr->arena, sizeof *node);
    if (node == NULL) {
        too_large(p);
        return NULL;
    }
    memset(node, 0, sizeof *node);
    node->op = (uint16_t)op;
    node->height = 1;
    node->offset = (uint32_t)offset;
    return node;
}

/* Sets the height from the children; refuses a tree that is too high to be walked. */
static parsed finish(struct parser *p, struct node *node)
{
    raise_height(node, node->a);
    raise_height(node, node->b);
    raise_height(node, node->c);
    for (uint32_t i = 0; i < node->count; i++)
        raise_height(node, node->children[i]);
    if (node->height > EXPR_DEPTH_LIMIT)
        return fail(p, node->offset, "the expression is nested too deeply (at most %u levels)",
                    EXPR_DEPTH_LIMIT);
    return node;
}

static parsed constant(struct parser *p, struct expr_value value, size_t offset)
{
    struct node *node = new_node(p, OP_CONST, offset);
    if (node != NULL)
        node->value = value;
    return node;
}

static parsed binary(struct parser *p, enum node_op op, size_t offset, parsed a, parsed b)
{
    struct node *node = new_node(p, op, offset);
    if (node == NULL)
        return NULL;
    node->a = a;
    node->b = b;
    return finish(p, node);
}

/* A growing list of children. */
struct children {
    const struct node **items;
    uint32_t count;
    uint32_t capacity;
};

static bool add_child(struct parser *p, struct children *children, parsed child)
{
    if (children->count == children->capacity) {
        uint32_t capacity = children->capacity == 0 ? 4 : children->capacity * 2;
        const struct node **items = expr_arena_alloc(p->expr->arena, capacity * sizeof(struct node *));
        if (items == NULL) {
            too_large(p);
            return false;
        }
        if (children->count > 0)
            memcpy(items, children->items, children->count * sizeof(struct node *));
        children->items = items;
        children->capacity = capacity;
    }
    children->items[children->count++] = child;
    return true;
}

static parsed with_children(struct parser *p, struct node *node, const struct children *children)
{
    node->children = children->items;
    node->count = children->count;
    return finish(p, node);
}

/* Remembers a node in one of the program's two indexes. */
static void remember(struct expr_arena *arena, const struct node ***list, size_t *count, size_t *capacity,
                     const struct node *node)
{
    if (*count == *capacity) {
        size_t larger = *capacity == 0 ? 4 : *capacity * 2;
        const struct node **items = expr_arena_alloc(arena, larger * sizeof(struct node *));
        if (items == NULL)
            return; /* the arena is full: the next node fails and so does the compilation */
        if (*count > 0)
            memcpy(items, *list, *count * sizeof(struct node *));
        *list = items;
        *capacity = larger;
    }
    (*list)[(*count)++] = node;
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static bool is_operator(const struct token *token, unsigned operator)
{
    return token->kind == TOKEN_OPERATOR && token->operator== operator;
}

static bool take(struct parser *p, unsigned operator)
{
    if (!is_operator(p->at, operator))
        return false;
    p->at++;
    return true;
}

static bool expect(struct parser *p, unsigned operator, const char * wanted)
{
    if (take(p, operator))
        return true;
    unexpected(p, wanted);
    return false;
}

static bool is_word_of(const struct parser *p, const struct token *token, const char *const *words)
{
    for (; *words != NULL; words++)
        if (lexer_is(p->source, token, *words))
            return true;
    return false;
}

static bool is_keyword(const struct parser *p, const struct token *token)
{
    static const char *const keywords[] = {"true", "false", "null", "in", NULL};
    return is_word_of(p, token, keywords);
}

static bool is_reserved(const struct parser *p, const struct token *token)
{
    static const char *const reserved[] = {"as",        "break",  "const",  "continue", "else",  "for",
                                           "function",  "if",     "import", "let",      "loop",  "package",
                                           "namespace", "return", "var",    "void",     "while", NULL};
    return is_word_of(p, token, reserved);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static bool same_name(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && memcmp(name, text, length) == 0;
}

static bool type_named(const char *text, size_t length, struct expr_value *value)
{
    for (int type = 0; type < EXPR_TYPES; type++) {
        if (type != EXPR_ERROR && same_name(expr_type_name((enum expr_type)type), text, length)) {
            *value = (struct expr_value){.type = EXPR_TYPE, .as.named = (enum expr_type)type};
            return true;
        }
    }
    return false;
}

static bool find_variable(const struct parser *p, const char *text, size_t length, uint32_t *slot)
{
    for (size_t i = 0; p->env != NULL && i < p->env->variable_count; i++) {
        if (same_name(p->env->variables[i], text, length)) {
            *slot = (uint32_t)i;
            return true;
        }
    }
    return false;
}

static const struct expr_function *find_function(const struct parser *p, const char *text, size_t length)
{
    for (size_t i = 0; p->env != NULL && i < p->env->function_count; i++)
        if (same_name(p->env->functions[i].name, text, length))
            return &p->env->functions[i];
    return NULL;
}

/* The known name nearest to an unknown one, or NULL. */
static const char *nearest_variable(const struct parser *p, const char *word, char *scratch)
{
    const char *names[NAMES_LIMIT];
    size_t count = 0;
    for (unsigned i = 0; i < p->local_count && count < EXPR_LOCALS_LIMIT; i++) {
        snprintf(scratch + i * NAME_LIMIT, NAME_LIMIT, "%.*s", (int)p->locals[i].length, p->locals[i].name);
        names[count++] = scratch + i * NAME_LIMIT;
    }
    for (size_t i = 0; p->env != NULL && i < p->env->variable_count && count < NAMES_LIMIT - 1; i++)
        names[count++] = p->env->variables[i];
    names[count] = NULL;
    return str_nearest(word, names);
}

static const char *nearest_function(const struct parser *p, const char *word)
{
    const char *names[NAMES_LIMIT];
    size_t count = 0;
    for (const char *const *name = builtin_names(); *name != NULL; name++)
        names[count++] = *name;
    for (size_t i = 0; p->env != NULL && i < p->env->function_count && count < NAMES_LIMIT - 1; i++)
        names[count++] = p->env->functions[i].name;
    names[count] = NULL;
    return str_nearest(word, names);
}

/* What is wrong with a call or a name that is only found when the expression runs, if names are unchecked. */
__attribute__((format(printf, 3, 4))) static parsed late(struct parser *p, size_t offset, const char *format,
                                                         ...)
{
    char message[sizeof p->error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (p->env == NULL || !p->env->unchecked)
        return fail(p, offset, "%s", message);
    struct node *node = new_node(p, OP_UNKNOWN, offset);
    if (node != NULL)
        node->value = expr_failure_f(p->expr->arena, "%s", message);
    return node;
}

static parsed unknown_name(struct parser *p, const struct token *token)
{
    char word[NAME_LIMIT];
    char scratch[EXPR_LOCALS_LIMIT * NAME_LIMIT];
    snprintf(word, sizeof word, "%.*s", (int)(token->length < NAME_LIMIT ? token->length : NAME_LIMIT - 1),
             p->source + token->offset);
    const char *near = nearest_variable(p, word, scratch);
    if (find_function(p, word, strlen(word)) != NULL || builtin_find(word, strlen(word)) != NULL)
        return late(p, token->offset, "'%s' is a function: it is called as %s(...)", word, word);
    if (near != NULL)
        return late(p, token->offset, "unknown name '%s': did you mean '%s'?", word, near);
    return late(p, token->offset, "unknown name '%s'", word);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static bool parse_arguments(struct parser *p, struct children *children, unsigned end, const char *wanted)
{
    if (take(p, end))
        return true;
    do {
        if (is_operator(p->at, end) && children->count > 0 && end != ')')
            break; /* a trailing comma of a list */
        parsed argument = parse_expression(p);
        if (argument == NULL || !add_child(p, children, argument))
            return false;
    } while (take(p, ','));
    return expect(p, end, wanted);
}

static bool all_constant(const struct children *children)
{
    for (uint32_t i = 0; i < children->count; i++)
        if (children->items[i]->op != OP_CONST)
            return false;
    return true;
}

/* Computes a node of constants now, if it can be; what fails is left to fail when (and if) it runs. */
static parsed fold(struct parser *p, parsed node)
{
    struct machine m = {.arena = p->expr->arena, .steps = EXPR_STEP_LIMIT};
    if (node == NULL)
        return NULL;
    struct expr_value value = machine_eval(&m, node);
    return m.exhausted || value.type == EXPR_ERROR ? node : constant(p, value, node->offset);
}

static bool is_constant_string(const struct node *node)
{
    return node->op == OP_CONST && node->value.type == EXPR_STRING;
}

/* Prepares the pattern of matches() when it is a literal. */
static parsed prepare_regex(struct parser *p, struct node *node)
{
    const char *message = NULL;
    size_t offset = 0;
    struct expr_value pattern = node->children[1]->value;
    struct expr_regex *regex = expr_regex_compile(pattern.as.string, pattern.length, NULL, &message, &offset);
    if (regex == NULL)
        return late(p, node->children[1]->offset, "matches(): %s (at byte %zu of the pattern)", message,
                    offset);
    struct program_regex *entry = expr_arena_alloc(p->expr->arena, sizeof *entry);
    if (entry == NULL) {
        expr_regex_free(&regex);
        return too_large(p);
    }
    *entry = (struct program_regex){p->expr->regexes, regex};
    p->expr->regexes = entry;
    node->regex = regex;
    return finish(p, node);
}

/* Loads the zone of get...() when it is a literal. */
static parsed prepare_zone(struct parser *p, struct node *node)
{
    struct expr_value name = node->children[1]->value;
    node->zone = expr_zone_load(name.as.string, name.length, p->expr->arena);
    if (node->zone == NULL)
        return late(p, node->children[1]->offset, "unknown time zone '%.*s'",
                    (int)(name.length > 64 ? 64 : name.length), name.as.string);
    return finish(p, node);
}

static parsed call_builtin(struct parser *p, const struct token *name, const struct builtin *builtin,
                           const struct children *children)
{
    struct node *node = new_node(p, OP_CALL, name->offset);
    if (node == NULL)
        return NULL;
    node->call.builtin = builtin;
    parsed done = with_children(p, node, children);
    if (done == NULL)
        return NULL;
    bool literal = children->count == 2 && is_constant_string(children->items[1]);
    if (literal && same_name(builtin->name, "matches", 7))
        return prepare_regex(p, node);
    if (literal && strncmp(builtin->name, "get", 3) == 0)
        return prepare_zone(p, node);
    return (builtin->styles & BUILTIN_FOLDS) != 0 && all_constant(children) ? fold(p, node) : done;
}

static parsed wrong_count(struct parser *p, const struct token *name, unsigned min, unsigned max)
{
    if (min == max)
        return late(p, name->offset, "%.*s() takes %u argument%s", shown(name), p->source + name->offset, min,
                    min == 1 ? "" : "s");
    return late(p, name->offset, "%.*s() takes %u to %u arguments", shown(name), p->source + name->offset,
                min, max);
}

static parsed call_host(struct parser *p, const struct token *name, const struct expr_function *function,
                        const struct children *children)
{
    if (children->count < function->min_args || children->count > function->max_args)
        return wrong_count(p, name, function->min_args, function->max_args);
    struct node *node = new_node(p, OP_HOST, name->offset);
    if (node == NULL)
        return NULL;
    node->call.function = function;
    node->name = function->name;
    remember(p->expr->arena, &p->hosts, &p->expr->host_count, &p->host_capacity, node);
    return with_children(p, node, children);
}

static parsed unknown_function(struct parser *p, const struct token *name, bool method)
{
    char word[NAME_LIMIT];
    snprintf(word, sizeof word, "%.*s", (int)(name->length < NAME_LIMIT ? name->length : NAME_LIMIT - 1),
             p->source + name->offset);
    const struct builtin *builtin = builtin_find(word, strlen(word));
    if (builtin != NULL)
        return late(p, name->offset,
                    method ? "%s() is called as %s(x), not as x.%s()"
                           : "%s() is called as x.%s(...), not as %s(x, ...)",
                    word, word, word);
    const char *near = nearest_function(p, word);
    if (near != NULL)
        return late(p, name->offset, "unknown function '%s()': did you mean '%s()'?", word, near);
    return late(p, name->offset, "unknown function '%s()'", word);
}

/* An unknown name is reported before its arguments, which may be unknown because of it: "exist(x, ...)" binds
 * no x. */
static bool name_is_callable(struct parser *p, const struct token *name, bool method)
{
    const char *text = p->source + name->offset;
    if (builtin_find(text, name->length) != NULL || (!method && find_function(p, text, name->length) != NULL))
        return true;
    if (p->env != NULL && p->env->unchecked)
        return true;
    unknown_function(p, name, method);
    return false;
}

/* A call whose arguments are parsed; the receiver, if there is one, is the first child. */
static parsed resolve_call(struct parser *p, const struct token *name, bool method,
                           const struct children *children)
{
    const char *text = p->source + name->offset;
    const struct builtin *builtin = builtin_find(text, name->length);
    const struct expr_function *function = method ? NULL : find_function(p, text, name->length);
    unsigned style = method ? BUILTIN_METHOD : BUILTIN_GLOBAL;
    if (children->count > EXPR_ARGUMENTS_LIMIT)
        return fail(p, name->offset, "a call takes at most %u arguments", EXPR_ARGUMENTS_LIMIT);
    if (builtin != NULL && (builtin->styles & style) != 0) {
        unsigned receiver = method ? 1 : 0;
        if (children->count < builtin->min_args || children->count > builtin->max_args)
            return wrong_count(p, name, builtin->min_args - receiver, builtin->max_args - receiver);
        return call_builtin(p, name, builtin, children);
    }
    if (function != NULL)
        return call_host(p, name, function, children);
    return unknown_function(p, name, method);
}

/* ---- Macros ---------------------------------------------------------------------------------- */

/* has(e.f): the argument is parsed as usual and its last selection turned into a test. */
static parsed parse_has(struct parser *p, const struct token *name)
{
    parsed argument = parse_expression(p);
    if (argument == NULL || !expect(p, ')', "')'"))
        return NULL;
    if (argument->op == OP_UNKNOWN)
        return argument;
    if (argument->op != OP_SELECT)
        return fail(p, name->offset, "has() takes a field: has(data.name)");
    struct node *node = new_node(p, OP_HAS, name->offset);
    if (node == NULL)
        return NULL;
    node->a = argument->a;
    node->name = argument->name;
    node->name_length = argument->name_length;
    return finish(p, node);
}

static parsed parse_unsafe(struct parser *p, const struct token *name)
{
    parsed argument = parse_expression(p);
    if (argument == NULL || !expect(p, ')', "')'"))
        return NULL;
    return binary(p, OP_UNSAFE, name->offset, argument, NULL);
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
    if (p->at->kind != TOKEN_NAME || is_keyword(p, p->at) || is_reserved(p, p->at) ||
        !is_operator(p->at + 1, ',')) {
        fail(p, p->at->offset, "%s() takes the name of a variable first: x.%s(e, ...)", macro->name,
             macro->name);
        return false;
    }
    if (p->local_count == EXPR_LOCALS_LIMIT) {
        fail(p, p->at->offset, "more than %u macros inside each other", EXPR_LOCALS_LIMIT);
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
    struct node *node = new_node(p, macro->op, name->offset);
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
    if (is_operator(p->at, ','))
        return fail(p, p->at->offset, "%s() takes %s arguments", macro->name,
                    macro->max_args == 3 ? "two or three" : "two");
    return expect(p, ')', "')'") ? finish(p, node) : NULL;
}

/* ---- Primaries ------------------------------------------------------------------------------- */

static parsed parse_list(struct parser *p, size_t offset)
{
    struct children children = {0};
    if (!parse_arguments(p, &children, ']', "']'"))
        return NULL;
    struct node *node = new_node(p, OP_LIST, offset);
    if (node == NULL)
        return NULL;
    parsed list = with_children(p, node, &children);
    return all_constant(&children) ? fold(p, list) : list;
}

static parsed parse_map(struct parser *p, size_t offset)
{
    struct children children = {0};
    while (!is_operator(p->at, '}')) {
        parsed key = parse_expression(p);
        if (key == NULL || !expect(p, ':', "':' and a value") || !add_child(p, &children, key))
            return NULL;
        parsed value = parse_expression(p);
        if (value == NULL || !add_child(p, &children, value))
            return NULL;
        if (!take(p, ','))
            break;
    }
    if (!expect(p, '}', "'}'"))
        return NULL;
    struct node *node = new_node(p, OP_MAP, offset);
    if (node == NULL)
        return NULL;
    parsed map = with_children(p, node, &children);
    return all_constant(&children) ? fold(p, map) : map;
}

static parsed variable(struct parser *p, uint32_t slot, const struct token *token)
{
    struct node *node = new_node(p, OP_VARIABLE, token->offset);
    if (node == NULL)
        return NULL;
    const char *name = p->env->variables[slot];
    node->slot = slot;
    node->name = expr_arena_copy(p->expr->arena, name, strlen(name) + 1);
    if (node->name == NULL)
        return too_large(p);
    if (!type_named(name, strlen(name), &node->value))
        node->value = expr_failure_f(p->expr->arena, "'%.100s' has no value here", name);
    remember(p->expr->arena, &p->variables, &p->expr->variable_count, &p->variable_capacity, node);
    return node;
}

/*
 * A name that is no call: the longest chain a.b.c that is a variable or a type is taken, then the rest are
 * selections. Writes the chain without blanks, token by token, and remembers where the last hit was.
 */
static parsed resolve_name(struct parser *p, const struct token *first)
{
    char chain[256];
    size_t length = 0;
    const struct token *last = NULL;
    uint32_t slot = 0;
    bool is_variable = false;
    struct expr_value type = expr_null();
    for (const struct token *t = first; t->kind == TOKEN_NAME && length + t->length + 1 < sizeof chain;
         t += 2) {
        if (t != first && (is_keyword(p, t) || is_operator(t + 1, '(')))
            break;
        if (t != first)
            chain[length++] = '.';
        memcpy(chain + length, p->source + t->offset, t->length);
        length += t->length;
        if (find_variable(p, chain, length, &slot)) {
            last = t;
            is_variable = true;
        } else if (type_named(chain, length, &type)) {
            last = t;
            is_variable = false;
        }
        if (!is_operator(t + 1, '.'))
            break;
    }
    if (last == NULL)
        return unknown_name(p, first);
    p->at = last + 1;
    return is_variable ? variable(p, slot, first) : constant(p, type, first->offset);
}

static parsed resolve_local(struct parser *p, const struct token *token)
{
    for (unsigned i = p->local_count; i-- > 0;) {
        if (p->locals[i].length == token->length &&
            memcmp(p->locals[i].name, p->source + token->offset, token->length) == 0) {
            struct node *node = new_node(p, OP_LOCAL, token->offset);
            if (node != NULL)
                node->slot = i;
            return node;
        }
    }
    return NULL;
}

/* name( ... : the cursor is behind the parenthesis. */
static parsed parse_call(struct parser *p, const struct token *name)
{
    struct children children = {0};
    if (lexer_is(p->source, name, "has"))
        return parse_has(p, name);
    if ((p->flags & COMPILE_ALLOW_UNSAFE) != 0 && lexer_is(p->source, name, "unsafe"))
        return parse_unsafe(p, name);
    if (!name_is_callable(p, name, false) || !parse_arguments(p, &children, ')', "')'"))
        return NULL;
    return resolve_call(p, name, false, &children);
}

static parsed parse_name(struct parser *p, bool rooted)
{
    const struct token *token = p->at++;
    if (lexer_is(p->source, token, "true") || lexer_is(p->source, token, "false"))
        return constant(p, expr_bool(lexer_is(p->source, token, "true")), token->offset);
    if (lexer_is(p->source, token, "null"))
        return constant(p, expr_null(), token->offset);
    if (is_keyword(p, token) || is_reserved(p, token))
        return fail(p, token->offset, "'%.*s' is a reserved word", shown(token), p->source + token->offset);
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
        return fail(p, token->offset, "this number does not fit into an int: write %.*su for a uint",
                    shown(token), p->source + token->offset);
    return constant(p, expr_int(negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude), token->offset);
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
        return constant(p, token->value, token->offset);
    }
    if (is_operator(token, '.') && (token + 1)->kind == TOKEN_NAME) {
        p->at++;
        return parse_name(p, true);
    }
    if (take(p, '(')) {
        parsed inner = parse_expression(p);
        return inner != NULL && expect(p, ')', "')'") ? inner : NULL;
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
    return expr_failure_f(p->expr->arena, "no such key: '%.*s'", (int)(length > 100 ? 100 : length), name);
}

static parsed select_field(struct parser *p, parsed from, const char *name, uint32_t length, size_t offset)
{
    struct node *node = new_node(p, OP_SELECT, offset);
    char *copy = expr_arena_alloc(p->expr->arena, (size_t)length + 1);
    if (node == NULL || copy == NULL)
        return too_large(p);
    memcpy(copy, name, length);
    copy[length] = '\0';
    node->a = from;
    node->name = copy;
    node->name_length = length;
    node->value = missing_field(p, copy, length);
    return finish(p, node);
}

/* .name or .name(...): the cursor is behind the point. */
static parsed parse_selection(struct parser *p, parsed from)
{
    const struct token *name = p->at;
    if (name->kind == TOKEN_ESCAPED) {
        p->at++;
        return select_field(p, from, name->value.as.string, name->value.length, name->offset);
    }
    if (name->kind != TOKEN_NAME || is_keyword(p, name))
        return unexpected(p, "the name of a field");
    p->at++;
    if (!take(p, '('))
        return select_field(p, from, p->source + name->offset, name->length, name->offset);
    const struct macro *macro = find_macro(p, name);
    if (macro != NULL)
        return parse_macro(p, macro, from, name);
    struct children children = {0};
    if (!name_is_callable(p, name, true) || !add_child(p, &children, from) ||
        !parse_arguments(p, &children, ')', "')'"))
        return NULL;
    return resolve_call(p, name, true, &children);
}

/* a[b]; a literal string as index is the same as a field. */
static parsed parse_index(struct parser *p, parsed from, size_t offset)
{
    parsed index = parse_expression(p);
    if (index == NULL || !expect(p, ']', "']'"))
        return NULL;
    return binary(p, OP_INDEX, offset, from, index);
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
        else if (is_operator(token, '{'))
            return fail(p, token->offset, "messages are not part of this language: '{' has no meaning here");
        else
            break;
    }
    return node;
}

static bool enter(struct parser *p)
{
    if (++p->depth <= EXPR_DEPTH_LIMIT)
        return true;
    fail(p, p->at->offset, "the expression is nested too deeply (at most %u levels)", EXPR_DEPTH_LIMIT);
    return false;
}

static parsed parse_unary(struct parser *p);

/* A minus before a number belongs to the number; else it negates. */
static parsed parse_minus(struct parser *p, size_t offset)
{
    if (p->at->kind == TOKEN_INTEGER && !is_operator(p->at + 1, '.') && !is_operator(p->at + 1, '['))
        return parse_integer(p, true);
    if (p->at->kind == TOKEN_LITERAL && p->at->value.type == EXPR_DOUBLE)
        return constant(p, expr_double(-(p->at++)->value.as.real), offset);
    parsed operand = parse_unary(p);
    return operand == NULL ? NULL : binary(p, OP_NEGATE, offset, operand, NULL);
}

static parsed parse_unary(struct parser *p)
{
    size_t offset = p->at->offset;
    parsed node = NULL;
    if (!enter(p))
        return NULL;
    if (take(p, '!')) {
        parsed operand = parse_unary(p);
        node = operand == NULL ? NULL : binary(p, OP_NOT, offset, operand, NULL);
    } else if (take(p, '-')) {
        node = parse_minus(p, offset);
    } else {
        node = parse_member(p);
    }
    p->depth--;
    return node;
}

/* ---- Operators ------------------------------------------------------------------------------- */

struct binary_operator {
    unsigned operator;
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
        if (operators[i].operator== p->at->operator)
            return &operators[i];
    return NULL;
}

static parsed parse_binary(struct parser *p, int level)
{
    parsed left = level > 3 ? parse_unary(p) : parse_binary(p, level + 1);
    while (left != NULL && level <= 3) {
        const struct binary_operator *operator= binary_at(p);
        if (operator== NULL || operator->level != level)
            break;
        size_t offset = p->at++->offset;
        parsed right = parse_binary(p, level + 1);
        left = right == NULL ? NULL : binary(p, operator->op, offset, left, right);
    }
    return left;
}

/* A chain of && (or ||, whose operands are chains of &&) is one node with many children. */
static parsed parse_logic(struct parser *p, bool or)
{
    unsigned operator= or ? OPERATOR_2('|', '|') : OPERATOR_2('&', '&');
    struct children children = {0};
    size_t offset = p->at->offset;
    parsed first = or ? parse_logic(p, false) : parse_binary(p, 1);
    if (first == NULL || !is_operator(p->at, operator))
        return first;
    offset = p->at->offset;
    if (!add_child(p, &children, first))
        return NULL;
    while (take(p, operator)) {
        parsed next = or ? parse_logic(p, false) : parse_binary(p, 1);
        if (next == NULL || !add_child(p, &children, next))
            return NULL;
    }
    struct node *node = new_node(p, or ? OP_OR : OP_AND, offset);
    return node == NULL ? NULL : with_children(p, node, &children);
}

static parsed parse_conditional(struct parser *p)
{
    parsed condition = parse_logic(p, true);
    size_t offset = p->at->offset;
    if (condition == NULL || !take(p, '?'))
        return condition;
    struct node *node = new_node(p, OP_CONDITIONAL, offset);
    if (node == NULL)
        return NULL;
    node->a = condition;
    node->b = parse_logic(p, true);
    if (node->b == NULL || !expect(p, ':', "':' and the other value"))
        return NULL;
    node->c = parse_expression(p);
    return node->c == NULL ? NULL : finish(p, node);
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

static parsed parse_source(struct parser *p, size_t len)
{
    struct expr_arena *scratch = p->expr->arena;
    struct token *tokens = lexer_run(p->source, len, scratch, p->error);
    if (tokens == NULL)
        return NULL;
    p->at = tokens;
    parsed root = tokens[0].kind == TOKEN_END ? fail(p, 0, "an expression is missing") : parse_expression(p);
    if (root != NULL && p->at->kind != TOKEN_END)
        root = unexpected(p, "an operator");
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
    expr->arena = expr_arena_sized(PROGRAM_LIMIT, PROGRAM_FIRST_BYTES);
    struct parser parser = {
        .source = expr->source, .env = env, .expr = expr, .error = report, .flags = flags};
    expr->root = parse_source(&parser, len);
    expr->variables = parser.variables;
    expr->hosts = parser.hosts;
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
    static const struct expr_env env = {.variables = names, .variable_count = EXPR_EVENT_SLOTS};
    return &env;
}
