#include "dispatcher/expr/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/expr/text.h"

parsed node_fail(struct parser *p, size_t offset, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->error->message, sizeof p->error->message, format, arguments);
    va_end(arguments);
    p->error->offset = offset;
    return NULL;
}

int node_shown(const struct parser *p, const struct token *token)
{
    return (int)text_valid_prefix(p->source + token->offset, token->length > 40 ? 40 : token->length);
}

parsed node_too_large(struct parser *p)
{
    return node_fail(p, p->at->offset, "the expression is too large");
}

parsed node_fail_late(struct parser *p, size_t offset, const char *format, ...)
{
    char message[sizeof p->error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (p->env == NULL || !p->env->unchecked)
        return node_fail(p, offset, "%s", message);
    struct node *node = node_new(p, OP_UNKNOWN, offset);
    if (node != NULL)
        node->value = expr_failure_f(p->expr->arena, "%s", message);
    return node;
}

static void raise_height(struct node *node, const struct node *child)
{
    if (child != NULL && child->height >= node->height)
        node->height = (uint16_t)(child->height + 1);
}

struct node *node_new(struct parser *p, enum node_op op, size_t offset)
{
    struct node *node = expr_arena_alloc(p->expr->arena, sizeof *node);
    if (node == NULL) {
        node_too_large(p);
        return NULL;
    }
    memset(node, 0, sizeof *node);
    node->op = (uint16_t)op;
    node->height = 1;
    node->offset = (uint32_t)offset;
    return node;
}

parsed node_finish(struct parser *p, struct node *node)
{
    raise_height(node, node->a);
    raise_height(node, node->b);
    raise_height(node, node->c);
    for (uint32_t i = 0; i < node->count; i++)
        raise_height(node, node->children[i]);
    if (node->height > EXPR_DEPTH_LIMIT)
        return node_fail(p, node->offset, "the expression is nested too deeply (at most %u levels)",
                         EXPR_DEPTH_LIMIT);
    return node;
}

parsed node_constant(struct parser *p, struct expr_value value, size_t offset)
{
    struct node *node = node_new(p, OP_CONST, offset);
    if (node != NULL)
        node->value = value;
    return node;
}

parsed node_binary(struct parser *p, enum node_op op, size_t offset, parsed a, parsed b)
{
    struct node *node = node_new(p, op, offset);
    if (node == NULL)
        return NULL;
    node->a = a;
    node->b = b;
    return node_finish(p, node);
}

bool node_add_child(struct parser *p, struct children *children, parsed child)
{
    if (children->count == children->capacity) {
        uint32_t capacity = children->capacity == 0 ? 4 : children->capacity * 2;
        const struct node **items = expr_arena_alloc(p->expr->arena, capacity * sizeof(struct node *));
        if (items == NULL) {
            node_too_large(p);
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

parsed node_with_children(struct parser *p, struct node *node, const struct children *children)
{
    node->children = children->items;
    node->count = children->count;
    return node_finish(p, node);
}

void node_remember(struct parser *p, struct node_list *list, const struct node *node)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        const struct node **items = expr_arena_alloc(p->expr->arena, capacity * sizeof(struct node *));
        if (items == NULL)
            return; /* the arena is full: the next node fails and so does the compilation */
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof(struct node *));
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = node;
}

bool node_all_constant(const struct children *children)
{
    for (uint32_t i = 0; i < children->count; i++)
        if (children->items[i]->op != OP_CONST)
            return false;
    return true;
}

static struct expr_value compute(struct parser *p, parsed node, bool *exhausted)
{
    struct machine m = {.arena = p->expr->arena, .steps = EXPR_STEP_LIMIT};
    struct expr_value value = machine_eval(&m, node);
    *exhausted = m.exhausted;
    return value;
}

parsed node_fold(struct parser *p, parsed node)
{
    bool exhausted = false;
    if (node == NULL)
        return NULL;
    struct expr_value value = compute(p, node, &exhausted);
    return exhausted || value.type == EXPR_ERROR ? node : node_constant(p, value, node->offset);
}

parsed node_compute(struct parser *p, parsed node)
{
    bool exhausted = false;
    struct expr_value value = compute(p, node, &exhausted);
    if (exhausted)
        return node;
    if (value.type == EXPR_ERROR)
        return node_fail_late(p, node->offset, "%.*s", (int)value.length, value.as.string);
    return node_constant(p, value, node->offset);
}
