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
