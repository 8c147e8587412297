/*
 * Building the tree: nodes, their heights, lists of children, folding, and the failures of a compilation.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_NODE_H
#define BRIDGEBELL_DISPATCHER_EXPR_NODE_H

#include "dispatcher/expr/parser.h"

/* Records the failure of the compilation; NULL. */
parsed node_fail(struct parser *p, size_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what names make wrong: where names are unchecked, a node that fails when it is evaluated. */
parsed node_fail_late(struct parser *p, size_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
parsed node_too_large(struct parser *p);
/* The bytes of a token that a message shows: whole letters. */
int node_shown(const struct parser *p, const struct token *token);

/* A node to be filled and finished; NULL when the program is too large. */
struct node *node_new(struct parser *p, enum node_op op, size_t offset);
/* Sets the height from the children; refuses a tree that is too high to be walked. */
parsed node_finish(struct parser *p, struct node *node);
parsed node_constant(struct parser *p, struct expr_value value, size_t offset);
parsed node_binary(struct parser *p, enum node_op op, size_t offset, parsed a, parsed b);

/* A growing list of children. */
struct children {
    const struct node **items;
    uint32_t count;
    uint32_t capacity;
};
bool node_add_child(struct parser *p, struct children *children, parsed child);
/* Gives the node its children and finishes it. */
parsed node_with_children(struct parser *p, struct node *node, const struct children *children);
bool node_all_constant(const struct children *children);
/* Computes a node of constants now, if it can be; what fails is left to fail when (and if) it runs. */
parsed node_fold(struct parser *p, parsed node);
/* The same, but what fails is a failure of the compilation as node_fail_late has it. */
parsed node_compute(struct parser *p, parsed node);
/* Remembers a node for later. */
void node_remember(struct parser *p, struct node_list *list, const struct node *node);

#endif
