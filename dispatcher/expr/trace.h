/*
 * Why a condition holds or does not: its parts, as they are joined by && and ||, each with its own verdict
 * and the values that it looked at. For people; evaluation itself does not go this way.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_TRACE_H
#define BRIDGEBELL_DISPATCHER_EXPR_TRACE_H

#include "dispatcher/expr/expr.h"

enum trace_kind {
    TRACE_ALL,  /* joined by &&; its parts follow, one level deeper */
    TRACE_ANY,  /* joined by || */
    TRACE_LEAF, /* anything else */
};

struct trace_part {
    enum trace_kind kind;
    unsigned level;   /* 0: joined by && at the top, or the whole condition */
    const char *text; /* of the source */
    size_t length;
    size_t offset; /* in the source */
    enum expr_verdict verdict;
    const char *values;  /* "data.threadId is \"xyz\", author is null"; "" if it looks at nothing */
    const char *failure; /* EXPR_FAILED: why; else NULL */
    size_t failure_at;   /* bytes from the start of TEXT to what failed */
};
/* PART and its texts are valid during the call. */
typedef void expr_trace_fn(void *arg, const struct trace_part *part);

/* Calls FN for each part of EXPR in the order of the source. ENV is what EXPR was compiled with. What the
 * arena cannot hold any more is left out. */
void expr_trace(const struct expr *expr, const struct expr_env *env, const struct expr_activation *activation,
                struct expr_arena *arena, expr_trace_fn *fn, void *arg);

#endif
