/*
 * Operations on values that the evaluator shares: equality and look-up with their cost counted.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_VALUE_H
#define BRIDGEBELL_DISPATCHER_EXPR_VALUE_H

#include "dispatcher/expr/expr.h"

/* CEL's `==`: 1 equal, 0 different, -1 not decided (nested deeper than EXPR_DEPTH_LIMIT, or `steps`, which it
 * takes its cost from, ran out). */
int expr_value_compare_equal(struct expr_value left, struct expr_value right, uint32_t *steps);
/*
 * CEL's ordering: -1, 0 or 1 in `order`. Returns 1; 0 if the two are unordered (NaN), -1 if their types have
 * no order.
 */
int expr_value_order(struct expr_value left, struct expr_value right, int *order);
/* Whether a value may be a key of a map: bool, int, uint or string. */
bool expr_value_is_key(struct expr_value value);
/*
 * Finds a key in a map, numbers by their value; takes the cost from `steps`. 1 found, 0 not there, -1 steps
 * ran out.
 */
int expr_map_lookup(struct expr_value map, struct expr_value key, struct expr_value *value, uint32_t *steps);
/* Takes `cost` from the steps; false, and none left, when there are not as many. */
bool expr_steps_take(uint32_t *steps, size_t cost);

#endif
