/*
 * What types operators and functions take and give: the tables that the evaluator names its failures by and
 * that the check of types reads. What the evaluator does is in eval.c and functions.c; a test holds the two
 * together.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_OVERLOAD_H
#define BRIDGEBELL_DISPATCHER_EXPR_OVERLOAD_H

#include "dispatcher/expr/expr.h"

#define OVERLOADS_MAX 12u

#define SET_NULL EXPR_SET(EXPR_NULL)
#define SET_BOOL EXPR_SET(EXPR_BOOL)
#define SET_INT EXPR_SET(EXPR_INT)
#define SET_UINT EXPR_SET(EXPR_UINT)
#define SET_DOUBLE EXPR_SET(EXPR_DOUBLE)
#define SET_STRING EXPR_SET(EXPR_STRING)
#define SET_BYTES EXPR_SET(EXPR_BYTES)
#define SET_LIST EXPR_SET(EXPR_LIST)
#define SET_MAP EXPR_SET(EXPR_MAP)
#define SET_TIMESTAMP EXPR_SET(EXPR_TIMESTAMP)
#define SET_DURATION EXPR_SET(EXPR_DURATION)
#define SET_TYPE EXPR_SET(EXPR_TYPE)
#define SET_NUMBERS (SET_INT | SET_UINT | SET_DOUBLE)
#define SET_KEYS (SET_BOOL | SET_INT | SET_UINT | SET_STRING)
#define SET_CONTAINERS (SET_LIST | SET_MAP)

/* Any of the types of `first` and, unless there is only one operand (0), any of `second` go together. */
struct overload {
    expr_types first;
    expr_types second;
    expr_types gives;
};

/* A kind of node that works on values; macros are named after their function. */
struct operation {
    const char *name;                         /* as it is written; NULL: it is none */
    struct overload overloads[OVERLOADS_MAX]; /* up to one without `first`; none: it looks for itself */
};

/* By enum node_op; `op` must be one. */
const struct operation *operation_of(unsigned op);

/* What `arity` operands, 1 or 2, of these types may come to; 0: no types of theirs go together. */
expr_types overload_result(const struct overload *overloads, size_t count, const expr_types *operands,
                           size_t arity);
/* All types that some overload of so many operands takes as its first (0) or second (1). */
expr_types overload_takes(const struct overload *overloads, size_t count, size_t arity, size_t operand);

#endif
