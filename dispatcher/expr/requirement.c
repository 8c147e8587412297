/* Requirements against the values of an event: see analysis.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/expr/analysis.h"

/* Below it a number is the same as int, uint and double, and no other is taken for it when one is made the
 * other. */
#define EXACT_LIMIT 9007199254740992 /* 2^53 */

bool expr_requirement_value(const struct expr_requirement *requirement, const struct expr_value *values,
                            size_t value_count, struct expr_value *value)
{
    if (requirement->slot >= value_count)
        return false;
    *value = values[requirement->slot];
    for (size_t i = 0; i < requirement->field_count; i++) {
        struct expr_value inner;
        if (value->type != EXPR_MAP ||
            !expr_map_find(*value, requirement->fields[i], strlen(requirement->fields[i]), &inner))
            return false;
        *value = inner;
    }
    return value->type != EXPR_ERROR;
}

/* ---- Words ----------------------------------------------------------------------------------- */

static bool whole_number(struct expr_value value, int64_t *number)
{
    if (value.type == EXPR_DOUBLE) {
        if (!(fabs(value.as.real) < (double)EXACT_LIMIT) || floor(value.as.real) != value.as.real)
            return false;
        *number = (int64_t)value.as.real;
        return true;
    }
    if (value.type == EXPR_UINT && value.as.uinteger > INT64_MAX)
        return false;
    *number = value.as.integer;
    return *number<EXACT_LIMIT && * number> - EXACT_LIMIT;
}

/* Words of what is no string begin with an octet that no string of an event has. */
bool expr_word(struct expr_value value, char scratch[EXPR_WORD_SIZE], struct expr_literal *word)
{
    int64_t number = 0;
    int length = 0;
    switch (value.type) {
    case EXPR_STRING:
        *word = (struct expr_literal){value.as.string, value.length};
        return true;
    case EXPR_NULL:
        length = snprintf(scratch, EXPR_WORD_SIZE, "\xffnull");
        break;
    case EXPR_BOOL:
        length = snprintf(scratch, EXPR_WORD_SIZE, "\xff%s", value.as.boolean ? "true" : "false");
        break;
    case EXPR_INT:
    case EXPR_UINT:
    case EXPR_DOUBLE:
        if (!whole_number(value, &number))
            return false;
        length = snprintf(scratch, EXPR_WORD_SIZE, "\xff%lld", (long long)number);
        break;
    default:
        return false;
    }
    *word = (struct expr_literal){scratch, (size_t)length};
    return true;
}

/* ---- Holding --------------------------------------------------------------------------------- */

static bool allows(const struct expr_requirement *requirement, struct expr_value value)
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

static bool allows_member(const struct expr_requirement *requirement, struct expr_value value)
{
    for (size_t i = 0; i < value.length; i++)
        if (allows(requirement, expr_member_at(value, i)))
            return true;
    return false;
}

bool expr_requirement_holds(const struct expr_requirement *requirement, const struct expr_value *values,
                            size_t value_count)
{
    struct expr_value value;
    if (!expr_requirement_value(requirement, values, value_count, &value))
        return false;
    if (!requirement->member)
        return allows(requirement, value);
    return (value.type == EXPR_LIST || value.type == EXPR_MAP) && allows_member(requirement, value);
}

static bool all_hold(const struct expr_requirement *items, size_t count, const struct expr_value *values,
                     size_t value_count)
{
    for (size_t i = 0; i < count; i++)
        if (!expr_requirement_holds(&items[i], values, value_count))
            return false;
    return true;
}

static bool clause_holds(const struct expr_clause *clause, const struct expr_value *values,
                         size_t value_count)
{
    for (size_t i = 0; i < clause->count; i++)
        if (all_hold(clause->sides[i].items, clause->sides[i].count, values, value_count))
            return true;
    return false;
}

bool expr_requirements_hold(const struct expr_requirements *requirements, const struct expr_value *values,
                            size_t value_count)
{
    for (size_t i = 0; i < requirements->clause_count; i++)
        if (!clause_holds(&requirements->clauses[i], values, value_count))
            return false;
    return all_hold(requirements->items, requirements->count, values, value_count);
}
