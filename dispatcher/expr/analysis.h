/*
 * What an expression requires of an event before it can be true, found without evaluating it: the ground of
 * the rule index and of the interest that a listener is told.
 *
 * Understood are, anywhere under &&, ||, ! and ?:, conditions on a path (a variable or a chain of selections
 * from one: data.x.y, data['x'].y) and literals (strings, whole numbers below 2^53, bools, null):
 * path == 'a', 'a' == path, !(path != 'a'), path in ['a', 'b'], path and !path alone, 'a' in path, and
 * path.exists(x, x == 'a') and with x in ['a', 'b']. Everything else is simply not reported. Sound: if the
 * expression is true for an event, all its requirements hold, and of each clause all of one side.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_ANALYSIS_H
#define BRIDGEBELL_DISPATCHER_EXPR_ANALYSIS_H

#include "dispatcher/expr/expr.h"

/* A literal as a word: `length` bytes, not NUL-terminated, owned by the list. A string is its own word. */
struct expr_literal {
    const char *string;
    size_t length;
};

struct expr_requirement {
    const char *path;                  /* "channel", "data.threadId"; NUL-terminated */
    size_t slot;                       /* the variable the path starts from */
    const char *const *fields;         /* the fields selected from it, in order, NUL-terminated */
    size_t field_count;                /* 0: the variable itself */
    const struct expr_literal *values; /* the words allowed, without duplicates, at least one */
    size_t value_count;
    bool textual; /* all values are strings; false: some word stands for a number, a bool or null */
    bool member; /* not the value at the path is meant but an element of the list, or key of the map, there */
    bool exact;  /* the conjunct it comes from says this and nothing more */
};

/* Requirements that hold together. */
struct expr_side {
    const struct expr_requirement *items;
    size_t count; /* at least one */
};

/* From an || of conditions on different paths: all requirements of at least one side hold. */
struct expr_clause {
    const struct expr_side *sides;
    size_t count; /* at least two */
};

struct expr_requirements {
    const struct expr_requirement *items; /* in the order of the source; a path may stand more than once */
    size_t count;
    const struct expr_clause *clauses;
    size_t clause_count;
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

/* Room for the word of a value that is no string. */
#define EXPR_WORD_SIZE 32u
/* The word of a value, viewing the value or SCRATCH: equal values have the same word. False for a value that
 * equals no literal of a requirement. */
bool expr_word(struct expr_value value, char scratch[EXPR_WORD_SIZE], struct expr_literal *word);

#endif
