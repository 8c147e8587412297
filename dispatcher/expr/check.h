/*
 * The check of types: what a compiled expression can come to, found without evaluating it.
 *
 * Everything is an over-approximation: a value that the expression does give is of the kind told here, so
 * what has no kind at all can only fail. `data` brings values of which nothing is known, and so does dyn(x).
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_CHECK_H
#define BRIDGEBELL_DISPATCHER_EXPR_CHECK_H

#include "dispatcher/expr/expr.h"

/* What the check knows of a value. Unlike in an expr_kind, an empty set is empty: of what is no list there
 * are no elements, and none of []. */
struct check_kind {
    expr_types types;
    expr_types elements; /* of a list's elements and a map's keys */
    expr_types values;   /* of a map's values */
    bool may_be_true;    /* of a bool */
    bool may_be_false;
};

/* As expr_check without a purpose; KIND gets what the expression may come to, if it is not refused. */
bool check_infer(const struct expr *expr, const struct expr_env *env, struct check_kind *kind,
                 struct expr_error *error);
/* Whether a value is of a kind; an EXPR_ERROR is of every kind. */
bool check_fits(const struct check_kind *kind, struct expr_value value);

#endif
