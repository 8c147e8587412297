/*
 * What an expression requires of an event before it can be true, found without evaluating it: the ground of
 * the rule index and of the interest that a listener is told.
 *
 * Only conjuncts of the form path == 'literal', 'literal' == path and path in ['a', 'b'] are understood,
 * where path is a variable or a chain of selections from one (data.x.y, data['x'].y); and an || whose sides
 * all constrain the same path. Everything else is simply not reported. Sound: if the expression is true for
 * an event, then for each requirement the value at its path is a string equal to one of its values.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_ANALYSIS_H
#define BRIDGEBELL_DISPATCHER_EXPR_ANALYSIS_H

#include "dispatcher/expr/expr.h"

/* One string of a requirement: `length` bytes, not NUL-terminated, owned by the list. */
struct expr_literal {
    const char *string;
    size_t length;
};

struct expr_requirement {
    const char *path;                  /* "channel", "data.threadId"; NUL-terminated */
    size_t slot;                       /* the variable the path starts from */
    const char *const *fields;         /* the fields selected from it, in order, NUL-terminated */
    size_t field_count;                /* 0: the variable itself */
    const struct expr_literal *values; /* the strings allowed, without duplicates, at least one */
    size_t value_count;
    bool exact; /* the conjunct it comes from says this and nothing more */
};

struct expr_requirements {
    const struct expr_requirement *items; /* in the order of the source; a path may stand more than once */
    size_t count;
    bool complete; /* the expression is true exactly if all requirements hold: it need not be evaluated */
    bool never;    /* the expression can never be true */
};

/* The requirements of a compiled expression; free with expr_requirements_free. They do not point into the
 * expression. */
struct expr_requirements *expr_analyse(const struct expr *expr);
void expr_requirements_free(struct expr_requirements **requirements);

/* The value at a requirement's path, of the values by slot that an activation holds; false when there is
 * none. */
bool expr_requirement_value(const struct expr_requirement *requirement, const struct expr_value *values,
                            size_t value_count, struct expr_value *value);

#endif
