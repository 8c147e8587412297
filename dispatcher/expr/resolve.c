#include "dispatcher/expr/resolve.h"

#include <stdio.h>
#include <string.h>

#include "core/str.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/node.h"
#include "dispatcher/expr/regex.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/expr/zone.h"

#define NAMES_LIMIT 128u
#define NAME_LIMIT 128u

static bool is_word_of(const struct parser *p, const struct token *token, const char *const *words)
{
    for (; *words != NULL; words++)
        if (lexer_is(p->source, token, *words))
            return true;
    return false;
}

bool resolve_is_keyword(const struct parser *p, const struct token *token)
{
    static const char *const keywords[] = {"true", "false", "null", "in", NULL};
    return is_word_of(p, token, keywords);
}

bool resolve_is_reserved(const struct parser *p, const struct token *token)
{
    static const char *const reserved[] = {"as",        "break",  "const",  "continue", "else",  "for",
                                           "function",  "if",     "import", "let",      "loop",  "package",
                                           "namespace", "return", "var",    "void",     "while", NULL};
    return is_word_of(p, token, reserved);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static bool same_name(const char *name, const char *text, size_t length)
{
    return length > 0 && name[0] == text[0] && strlen(name) == length && memcmp(name, text, length) == 0;
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
    static const char *const literals[] = {"true", "false", "null"};
    size_t count = 0;
    for (unsigned i = 0; i < p->local_count && count < EXPR_LOCALS_LIMIT; i++) {
        snprintf(scratch + i * NAME_LIMIT, NAME_LIMIT, "%.*s", (int)p->locals[i].length, p->locals[i].name);
        names[count++] = scratch + i * NAME_LIMIT;
    }
    for (size_t i = 0; p->env != NULL && i < p->env->variable_count && count < NAMES_LIMIT - 4; i++)
        names[count++] = p->env->variables[i];
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++)
        names[count++] = literals[i];
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

/* Whether a field's name with a minus in it was taken for a subtraction: data.thread-id. */
static bool looks_like_field(const struct parser *p, const struct token *token)
{
    if (token - p->tokens < 3 || !lexer_is_symbol(token - 1, '-') || !lexer_is_symbol(token - 3, '.'))
        return false;
    return (token - 2)->kind == TOKEN_NAME && (token - 1)->offset + 1 == token->offset &&
           (token - 2)->offset + (token - 2)->length == (token - 1)->offset;
}

static parsed unknown_name(struct parser *p, const struct token *token)
{
    char word[NAME_LIMIT];
    char scratch[EXPR_LOCALS_LIMIT * NAME_LIMIT];
    snprintf(word, sizeof word, "%.*s", (int)(token->length < NAME_LIMIT ? token->length : NAME_LIMIT - 1),
             p->source + token->offset);
    const char *near = nearest_variable(p, word, scratch);
    if (find_function(p, word, strlen(word)) != NULL || builtin_find(word, strlen(word)) != NULL)
        return node_fail_late(p, token->offset, "'%s' is a function: it is called as %s(...)", word, word);
    if (looks_like_field(p, token))
        return node_fail_late(p, token->offset, "unknown name '%s': is it a field, .`%.*s-%s`?", word,
                              node_shown(p, token - 2), p->source + (token - 2)->offset, word);
    if (strcmp(word, "not") == 0)
        return node_fail_late(p, token->offset, "unknown name 'not': not is written !");
    if (near != NULL)
        return node_fail_late(p, token->offset, "unknown name '%s': did you mean '%s'?", word, near);
    return node_fail_late(p, token->offset, "unknown name '%s'", word);
}

static parsed variable(struct parser *p, uint32_t slot, const struct token *token)
{
    struct node *node = node_new(p, OP_VARIABLE, token->offset);
    if (node == NULL)
        return NULL;
    const char *name = p->env->variables[slot];
    node->slot = slot;
    node->name = expr_arena_copy(p->expr->arena, name, strlen(name) + 1);
    if (node->name == NULL)
        return node_too_large(p);
    if (!type_named(name, strlen(name), &node->value))
        node->value = expr_failure_f(p->expr->arena, "'%.100s' has no value here", name);
    node_remember(p, &p->variables, node);
    return node;
}

parsed resolve_name(struct parser *p, const struct token *first)
{
    char chain[256];
    size_t length = 0;
    const struct token *last = NULL;
    uint32_t slot = 0;
    bool is_variable = false;
    struct expr_value type = expr_null();
    for (const struct token *t = first; t->kind == TOKEN_NAME && length + t->length + 1 < sizeof chain;
         t += 2) {
        if (t != first && (resolve_is_keyword(p, t) || lexer_is_symbol(t + 1, '(')))
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
        if (!lexer_is_symbol(t + 1, '.'))
            break;
    }
    if (last == NULL)
        return unknown_name(p, first);
    p->at = last + 1;
    return is_variable ? variable(p, slot, first) : node_constant(p, type, first->offset);
}

parsed resolve_local(struct parser *p, const struct token *token)
{
    for (unsigned i = p->local_count; i-- > 0;) {
        if (p->locals[i].length == token->length &&
            memcmp(p->locals[i].name, p->source + token->offset, token->length) == 0) {
            struct node *node = node_new(p, OP_LOCAL, token->offset);
            if (node != NULL)
                node->slot = i;
            return node;
        }
    }
    return NULL;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

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
        return node_fail_late(p, node->children[1]->offset, "matches(): %s (at byte %zu of the pattern)",
                              message, offset);
    struct program_regex *entry = expr_arena_alloc(p->expr->arena, sizeof *entry);
    if (entry == NULL) {
        expr_regex_free(&regex);
        return node_too_large(p);
    }
    *entry = (struct program_regex){p->expr->regexes, regex};
    p->expr->regexes = entry;
    node->regex = regex;
    return node_finish(p, node);
}

/* Loads the zone of get...() when it is a literal. */
static parsed prepare_zone(struct parser *p, struct node *node)
{
    struct expr_value name = node->children[1]->value;
    node->zone = expr_zone_load(name.as.string, name.length, p->expr->arena);
    if (node->zone == NULL)
        return node_fail_late(p, node->children[1]->offset, "unknown time zone '%.*s'",
                              (int)text_valid_prefix(name.as.string, name.length > 64 ? 64 : name.length),
                              name.as.string);
    return node_finish(p, node);
}

static parsed call_builtin(struct parser *p, const struct token *name, const struct builtin *builtin,
                           const struct children *children)
{
    struct node *node = node_new(p, OP_CALL, name->offset);
    if (node == NULL)
        return NULL;
    node->call.builtin = builtin;
    parsed done = node_with_children(p, node, children);
    if (done == NULL)
        return NULL;
    bool literal = children->count == 2 && is_constant_string(children->items[1]);
    if (literal && same_name(builtin->name, "matches", 7))
        return prepare_regex(p, node);
    if (literal && strncmp(builtin->name, "get", 3) == 0)
        return prepare_zone(p, node);
    return (builtin->styles & BUILTIN_FOLDS) != 0 && node_all_constant(children) ? node_compute(p, node)
                                                                                 : done;
}

static parsed wrong_count(struct parser *p, const struct token *name, unsigned min, unsigned max)
{
    if (min == max)
        return node_fail_late(p, name->offset, "%.*s() takes %u argument%s", node_shown(p, name),
                              p->source + name->offset, min, min == 1 ? "" : "s");
    return node_fail_late(p, name->offset, "%.*s() takes %u to %u arguments", node_shown(p, name),
                          p->source + name->offset, min, max);
}

/* The literals of a call of the host's, if it looks at them; false: NODE says what is wrong. */
static bool check_literals(struct parser *p, const struct expr_function *function,
                           const struct children *children, parsed *node)
{
    for (size_t i = 0; function->check && i < children->count; i++) {
        const struct node *child = children->items[i];
        if (!is_constant_string(child))
            continue;
        struct expr_value why = function->check(i, child->value, p->expr->arena);
        if (why.type != EXPR_ERROR)
            continue;
        *node = node_fail_late(p, child->offset, "%.*s", (int)why.length, why.as.string);
        return false;
    }
    return true;
}

static parsed call_host(struct parser *p, const struct token *name, const struct expr_function *function,
                        const struct children *children)
{
    parsed faulty;
    if (children->count < function->min_args || children->count > function->max_args)
        return wrong_count(p, name, function->min_args, function->max_args);
    if (!check_literals(p, function, children, &faulty))
        return faulty;
    struct node *node = node_new(p, OP_HOST, name->offset);
    if (node == NULL)
        return NULL;
    node->call.function = function;
    node->name = function->name;
    node_remember(p, &p->hosts, node);
    return node_with_children(p, node, children);
}

static parsed unknown_function(struct parser *p, const struct token *name, bool method)
{
    char word[NAME_LIMIT];
    snprintf(word, sizeof word, "%.*s", (int)(name->length < NAME_LIMIT ? name->length : NAME_LIMIT - 1),
             p->source + name->offset);
    const struct builtin *builtin = builtin_find(word, strlen(word));
    if (builtin != NULL)
        return node_fail_late(p, name->offset,
                              method ? "%s() is called as %s(x), not as x.%s()"
                                     : "%s() is called as x.%s(...), not as %s(x, ...)",
                              word, word, word);
    const char *near = nearest_function(p, word);
    if (near != NULL)
        return node_fail_late(p, name->offset, "unknown function '%s()': did you mean '%s()'?", word, near);
    return node_fail_late(p, name->offset, "unknown function '%s()'", word);
}

bool resolve_callable(struct parser *p, const struct token *name, bool method)
{
    const char *text = p->source + name->offset;
    if (builtin_find(text, name->length) != NULL || (!method && find_function(p, text, name->length) != NULL))
        return true;
    if (p->env != NULL && p->env->unchecked)
        return true;
    unknown_function(p, name, method);
    return false;
}

parsed resolve_call(struct parser *p, const struct token *name, bool method, const struct children *children)
{
    const char *text = p->source + name->offset;
    const struct builtin *builtin = builtin_find(text, name->length);
    const struct expr_function *function = method ? NULL : find_function(p, text, name->length);
    unsigned style = method ? BUILTIN_METHOD : BUILTIN_GLOBAL;
    if (children->count > EXPR_ARGUMENTS_LIMIT)
        return node_fail(p, name->offset, "a call takes at most %u arguments", EXPR_ARGUMENTS_LIMIT);
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
