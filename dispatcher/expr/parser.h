/*
 * The state of one compilation, shared by the grammar (parser.c), the names (resolve.c) and the nodes
 * (node.c).
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_PARSER_H
#define BRIDGEBELL_DISPATCHER_EXPR_PARSER_H

#include "dispatcher/expr/lexer.h"
#include "dispatcher/expr/program.h"

/* The variable of a macro. */
struct local {
    const char *name;
    size_t length;
};

/* Nodes that are looked for later. */
struct node_list {
    const struct node **items;
    size_t count;
    size_t capacity;
};

struct parser {
    const char *source;
    const struct token *tokens;
    const struct token *at; /* the next token */
    const struct expr_env *env;
    struct expr *expr;
    struct expr_error *error;
    unsigned flags;
    unsigned depth;
    struct local locals[EXPR_LOCALS_LIMIT];
    unsigned local_count;
    struct node_list variables;
    struct node_list hosts;
};

typedef const struct node *parsed; /* NULL: failed, and the error says why */

#endif
