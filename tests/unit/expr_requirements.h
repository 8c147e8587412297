/* What the requirements of an expression claim, told of the values of an event in the plainest way: the
 * measure for the rule index, which asks the other way round. */
#ifndef TESTS_EXPR_REQUIREMENTS_H
#define TESTS_EXPR_REQUIREMENTS_H

#include <string.h>

#include "dispatcher/expr/analysis.h"

static inline bool allows(const struct expr_requirement *requirement, struct expr_value value)
{
    char scratch[EXPR_WORD_SIZE];
    struct expr_literal word;
    if (!expr_word(value, scratch, &word))
        return false;
    for (size_t i = 0; i < requirement->value_count; i++)
        if (requirement->values[i].length == word.length &&
            memcmp(requirement->values[i].string, word.length == 0 ? "" : word.string, word.length) == 0)
            return true;
    return false;
}

static inline bool allows_member(const struct expr_requirement *requirement, struct expr_value value)
{
    for (size_t i = 0; i < value.length; i++)
        if (allows(requirement, expr_member_at(value, i)))
            return true;
    return false;
}

static inline bool requirement_holds(const struct expr_requirement *requirement,
                                     const struct expr_value *values, size_t value_count)
{
    struct expr_value value;
    if (!expr_requirement_value(requirement, values, value_count, &value))
        return false;
    if (!requirement->member)
        return allows(requirement, value);
    return (value.type == EXPR_LIST || value.type == EXPR_MAP) && allows_member(requirement, value);
}

static inline bool all_hold(const struct expr_requirement *items, size_t count,
                            const struct expr_value *values, size_t value_count)
{
    for (size_t i = 0; i < count; i++)
        if (!requirement_holds(&items[i], values, value_count))
            return false;
    return true;
}

static inline bool clause_holds(const struct expr_clause *clause, const struct expr_value *values,
                                size_t value_count)
{
    for (size_t i = 0; i < clause->count; i++)
        if (all_hold(clause->sides[i].items, clause->sides[i].count, values, value_count))
            return true;
    return false;
}

/* All, and of each clause all of a side. */
static inline bool requirements_hold(const struct expr_requirements *requirements,
                                     const struct expr_value *values, size_t value_count)
{
    for (size_t i = 0; i < requirements->clause_count; i++)
        if (!clause_holds(&requirements->clauses[i], values, value_count))
            return false;
    return all_hold(requirements->items, requirements->count, values, value_count);
}

#endif
