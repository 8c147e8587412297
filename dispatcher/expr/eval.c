/*
 * The evaluator: one function for each kind of node, taken from a table. Every node costs a step; what looks
 * at more than a constant number of elements or bytes pays for them too.
 */
#include "dispatcher/expr/program.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/expr/time.h"
#include "dispatcher/expr/value.h"

#define BYTES_PER_STEP 64u
#define OUT_OF_STEPS "out of steps: the expression does more work than its limit allows"

typedef struct expr_value evaluator(struct machine *m, const struct node *node);
static evaluator *const evaluators[OP_COUNT];

static struct expr_value out_of_steps(struct machine *m)
{
    m->exhausted = true;
    m->steps = 0;
    return expr_failure(OUT_OF_STEPS);
}

struct expr_value machine_eval(struct machine *m, const struct node *node)
{
    if (m->steps == 0)
        return out_of_steps(m);
    m->steps--;
    return evaluators[node->op](m, node);
}

bool machine_charge(struct machine *m, size_t cost)
{
    if (expr_steps_take(&m->steps, cost))
        return true;
    m->exhausted = true;
    return false;
}

struct expr_value machine_no_overload(struct machine *m, const char *operation, const struct expr_value *args,
                                      size_t count)
{
    if (count < 2)
        return expr_failure_f(m->arena, "no such overload: %s of %s", operation,
                              expr_type_name((enum expr_type)args[0].type));
    return expr_failure_f(m->arena, "no such overload: %s of %s and %s", operation,
                          expr_type_name((enum expr_type)args[0].type),
                          expr_type_name((enum expr_type)args[1].type));
}

static struct expr_value no_overload(struct machine *m, const struct node *node,
                                     const struct expr_value *args, size_t count)
{
    return machine_no_overload(m, operation_of(node->op)->name, args, count);
}

static bool is_error(struct expr_value value)
{
    return value.type == EXPR_ERROR;
}

/* ---- Leaves ---------------------------------------------------------------------------------- */

static struct expr_value eval_const(struct machine *m, const struct node *node)
{
    (void)m;
    return node->value;
}

static struct expr_value eval_variable(struct machine *m, const struct node *node)
{
    return node->slot < m->value_count ? m->values[node->slot] : node->value;
}

static struct expr_value eval_local(struct machine *m, const struct node *node)
{
    return m->locals[node->slot];
}

/* ---- Fields and elements --------------------------------------------------------------------- */

static struct expr_value no_fields(struct machine *m, const struct node *node, struct expr_value value)
{
    return expr_failure_f(m->arena, "no such overload: field '%.64s' of %s", node->name,
                          expr_type_name((enum expr_type)value.type));
}

static struct expr_value eval_select(struct machine *m, const struct node *node)
{
    struct expr_value value;
    struct expr_value from = machine_eval(m, node->a);
    if (is_error(from))
        return from;
    if (from.type != EXPR_MAP)
        return no_fields(m, node, from);
    if (from.length >= 16 && !machine_charge(m, from.length / 16))
        return out_of_steps(m);
    return expr_map_find(from, node->name, node->name_length, &value) ? value : node->value;
}

static struct expr_value eval_has(struct machine *m, const struct node *node)
{
    struct expr_value value;
    struct expr_value from = machine_eval(m, node->a);
    if (is_error(from))
        return from;
    if (from.type != EXPR_MAP)
        return no_fields(m, node, from);
    if (from.length >= 16 && !machine_charge(m, from.length / 16))
        return out_of_steps(m);
    return expr_bool(expr_map_find(from, node->name, node->name_length, &value));
}

static struct expr_value no_such_key(struct machine *m, struct expr_value key)
{
    if (key.type == EXPR_STRING)
        return expr_failure_f(m->arena, "no such key: '%.*s'",
                              (int)text_valid_prefix(key.as.string, key.length > 64 ? 64 : key.length),
                              key.as.string);
    if (key.type == EXPR_INT)
        return expr_failure_f(m->arena, "no such key: %lld", (long long)key.as.integer);
    return expr_failure("no such key");
}

/* A number without a fraction as an index of a list. */
static bool to_index(struct expr_value number, uint64_t *index)
{
    if (number.type == EXPR_UINT || (number.type == EXPR_INT && number.as.integer >= 0)) {
        *index = number.as.uinteger;
        return true;
    }
    if (number.type != EXPR_DOUBLE || !(number.as.real >= 0) || number.as.real > UINT32_MAX ||
        number.as.real != floor(number.as.real))
        return false;
    *index = (uint64_t)number.as.real;
    return true;
}

static struct expr_value index_list(struct machine *m, const struct node *node, struct expr_value list,
                                    struct expr_value position)
{
    uint64_t index = 0;
    struct expr_value pair[2] = {list, position};
    if (position.type != EXPR_INT && position.type != EXPR_UINT && position.type != EXPR_DOUBLE)
        return no_overload(m, node, pair, 2);
    if (!to_index(position, &index))
        return expr_failure("invalid_argument: no index of a list");
    if (index >= list.length)
        return expr_failure("invalid_argument: index out of bounds");
    return expr_list_at(list, (size_t)index);
}

static struct expr_value eval_index(struct machine *m, const struct node *node)
{
    struct expr_value value;
    struct expr_value from = machine_eval(m, node->a);
    if (is_error(from))
        return from;
    struct expr_value key = machine_eval(m, node->b);
    if (is_error(key))
        return key;
    if (from.type == EXPR_LIST)
        return index_list(m, node, from, key);
    if (from.type != EXPR_MAP)
        return no_overload(m, node, (struct expr_value[]){from, key}, 2);
    int found = expr_map_lookup(from, key, &value, &m->steps);
    if (found < 0)
        return out_of_steps(m);
    return found == 1 ? value : no_such_key(m, key);
}

/* ---- Lists and maps -------------------------------------------------------------------------- */

static struct expr_value eval_list(struct machine *m, const struct node *node)
{
    struct expr_value *items = expr_arena_alloc(m->arena, node->count * sizeof *items);
    if (items == NULL)
        return expr_arena_full();
    for (uint32_t i = 0; i < node->count; i++) {
        items[i] = machine_eval(m, node->children[i]);
        if (is_error(items[i]))
            return items[i];
    }
    return expr_list(items, node->count);
}

static struct expr_value eval_map(struct machine *m, const struct node *node)
{
    struct expr_value *items = expr_arena_alloc(m->arena, node->count * sizeof *items);
    if (items == NULL)
        return expr_arena_full();
    for (uint32_t i = 0; i < node->count; i += 2) {
        struct expr_value other;
        for (uint32_t j = i; j < i + 2; j++) {
            items[j] = machine_eval(m, node->children[j]);
            if (is_error(items[j]))
                return items[j];
        }
        if (!expr_value_is_key(items[i]))
            return expr_failure_f(m->arena, "unsupported key type: %s",
                                  expr_type_name((enum expr_type)items[i].type));
        int found = expr_map_lookup(expr_map(items, i / 2), items[i], &other, &m->steps);
        if (found != 0)
            return found < 0 ? out_of_steps(m)
                             : expr_failure("Failed with repeated key: a map has each key once");
    }
    return expr_map(items, node->count / 2);
}

static struct expr_value eval_in(struct machine *m, const struct node *node)
{
    struct expr_value element = machine_eval(m, node->a);
    if (is_error(element))
        return element;
    struct expr_value where = machine_eval(m, node->b);
    if (is_error(where))
        return where;
    if (where.type == EXPR_MAP) {
        struct expr_value value;
        int found = expr_map_lookup(where, element, &value, &m->steps);
        return found < 0 ? out_of_steps(m) : expr_bool(found == 1);
    }
    if (where.type != EXPR_LIST)
        return no_overload(m, node, (struct expr_value[]){element, where}, 2);
    if (!machine_charge(m, where.length / 4))
        return out_of_steps(m);
    for (size_t i = 0; i < where.length; i++) {
        int equal = expr_value_compare_equal(element, expr_list_at(where, i), &m->steps);
        if (equal < 0)
            return out_of_steps(m);
        if (equal == 1)
            return expr_bool(true);
    }
    return expr_bool(false);
}

/* ---- Logic ----------------------------------------------------------------------------------- */

static struct expr_value eval_not(struct machine *m, const struct node *node)
{
    struct expr_value value = machine_eval(m, node->a);
    if (value.type == EXPR_BOOL)
        return expr_bool(!value.as.boolean);
    return is_error(value) ? value : no_overload(m, node, &value, 1);
}

/*
 * `&&` and `||`: an operand that decides the result does so wherever it stands, and absorbs the failures of
 * the others. `decides` is false for && and true for ||.
 */
static struct expr_value eval_logic(struct machine *m, const struct node *node, bool decides)
{
    struct expr_value failure = expr_null();
    for (uint32_t i = 0; i < node->count; i++) {
        struct expr_value value = machine_eval(m, node->children[i]);
        if (value.type == EXPR_BOOL) {
            if (value.as.boolean == decides)
                return value;
        } else if (!is_error(failure)) {
            failure = is_error(value) ? value : no_overload(m, node, &value, 1);
        }
    }
    return is_error(failure) ? failure : expr_bool(!decides);
}

static struct expr_value eval_and(struct machine *m, const struct node *node)
{
    return eval_logic(m, node, false);
}

static struct expr_value eval_or(struct machine *m, const struct node *node)
{
    return eval_logic(m, node, true);
}

static struct expr_value eval_conditional(struct machine *m, const struct node *node)
{
    struct expr_value condition = machine_eval(m, node->a);
    if (condition.type == EXPR_BOOL)
        return machine_eval(m, condition.as.boolean ? node->b : node->c);
    return is_error(condition) ? condition : no_overload(m, node, &condition, 1);
}

/* ---- Comparison ------------------------------------------------------------------------------ */

static struct expr_value eval_equal(struct machine *m, const struct node *node)
{
    struct expr_value left = machine_eval(m, node->a);
    if (is_error(left))
        return left;
    struct expr_value right = machine_eval(m, node->b);
    if (is_error(right))
        return right;
    int equal = expr_value_compare_equal(left, right, &m->steps);
    if (equal < 0)
        return m->steps == 0 ? out_of_steps(m)
                             : expr_failure("these values are nested too deeply to be compared");
    return expr_bool((equal == 1) == (node->op == OP_EQUAL));
}

static struct expr_value eval_order(struct machine *m, const struct node *node)
{
    int order = 0;
    struct expr_value pair[2];
    pair[0] = machine_eval(m, node->a);
    if (is_error(pair[0]))
        return pair[0];
    pair[1] = machine_eval(m, node->b);
    if (is_error(pair[1]))
        return pair[1];
    int ordered = expr_value_order(pair[0], pair[1], &order);
    if (ordered < 0)
        return no_overload(m, node, pair, 2);
    if (ordered == 0)
        return expr_bool(false);
    switch (node->op) {
    case OP_LESS:
        return expr_bool(order < 0);
    case OP_LESS_EQUAL:
        return expr_bool(order <= 0);
    case OP_GREATER:
        return expr_bool(order > 0);
    default:
        return expr_bool(order >= 0);
    }
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */

static struct expr_value overflow(void)
{
    return expr_failure("overflow: the result does not fit into 64 bits");
}

static struct expr_value int_arithmetic(unsigned op, int64_t a, int64_t b)
{
    int64_t result = 0;
    switch (op) {
    case OP_ADD:
        return __builtin_add_overflow(a, b, &result) ? overflow() : expr_int(result);
    case OP_SUBTRACT:
        return __builtin_sub_overflow(a, b, &result) ? overflow() : expr_int(result);
    case OP_MULTIPLY:
        return __builtin_mul_overflow(a, b, &result) ? overflow() : expr_int(result);
    default:
        break;
    }
    if (b == 0)
        return expr_failure(op == OP_DIVIDE ? "divide by zero" : "modulus by zero");
    if (a == INT64_MIN && b == -1)
        return overflow();
    return expr_int(op == OP_DIVIDE ? a / b : a % b);
}

static struct expr_value uint_arithmetic(unsigned op, uint64_t a, uint64_t b)
{
    uint64_t result = 0;
    switch (op) {
    case OP_ADD:
        return __builtin_add_overflow(a, b, &result) ? overflow() : expr_uint(result);
    case OP_SUBTRACT:
        return __builtin_sub_overflow(a, b, &result) ? overflow() : expr_uint(result);
    case OP_MULTIPLY:
        return __builtin_mul_overflow(a, b, &result) ? overflow() : expr_uint(result);
    default:
        break;
    }
    if (b == 0)
        return expr_failure(op == OP_DIVIDE ? "divide by zero" : "modulus by zero");
    return expr_uint(op == OP_DIVIDE ? a / b : a % b);
}

/* False for %, which doubles do not have. */
static bool double_arithmetic(unsigned op, double a, double b, struct expr_value *result)
{
    switch (op) {
    case OP_ADD:
        *result = expr_double(a + b);
        return true;
    case OP_SUBTRACT:
        *result = expr_double(a - b);
        return true;
    case OP_MULTIPLY:
        *result = expr_double(a * b);
        return true;
    case OP_DIVIDE:
        *result = expr_double(a / b);
        return true;
    default:
        return false;
    }
}

static struct expr_value join_bytes(struct machine *m, struct expr_value a, struct expr_value b)
{
    size_t length = (size_t)a.length + b.length;
    if (!machine_charge(m, length / BYTES_PER_STEP))
        return out_of_steps(m);
    char *joined = length > INT32_MAX ? NULL : expr_arena_alloc(m->arena, length);
    if (joined == NULL)
        return expr_arena_full();
    if (a.length > 0)
        memcpy(joined, a.as.string, a.length);
    if (b.length > 0)
        memcpy(joined + a.length, b.as.string, b.length);
    return a.type == EXPR_STRING ? expr_string(joined, length) : expr_bytes(joined, length);
}

static struct expr_value join_lists(struct machine *m, struct expr_value a, struct expr_value b)
{
    size_t length = (size_t)a.length + b.length;
    if (!machine_charge(m, length / 4))
        return out_of_steps(m);
    struct expr_value *items = expr_arena_alloc(m->arena, length * sizeof *items);
    if (items == NULL)
        return expr_arena_full();
    for (size_t i = 0; i < a.length; i++)
        items[i] = expr_list_at(a, i);
    for (size_t i = 0; i < b.length; i++)
        items[a.length + i] = expr_list_at(b, i);
    return expr_list(items, length);
}

/* Sums and differences of timestamps and durations; false when these types have none. */
static bool time_arithmetic(unsigned op, struct expr_value a, struct expr_value b, struct expr_value *result)
{
    bool back = op == OP_SUBTRACT;
    int64_t nanoseconds = 0;
    if (op != OP_ADD && op != OP_SUBTRACT)
        return false;
    if (a.type == EXPR_TIMESTAMP && b.type == EXPR_DURATION)
        *result = time_move(a, b.as.integer, back);
    else if (a.type == EXPR_DURATION && b.type == EXPR_TIMESTAMP && !back)
        *result = time_move(b, a.as.integer, false);
    else if (a.type == EXPR_TIMESTAMP && b.type == EXPR_TIMESTAMP && back)
        *result = time_between(a, b);
    else if (a.type != EXPR_DURATION || b.type != EXPR_DURATION)
        return false;
    else if (back ? __builtin_sub_overflow(a.as.integer, b.as.integer, &nanoseconds)
                  : __builtin_add_overflow(a.as.integer, b.as.integer, &nanoseconds))
        *result = expr_failure("duration out of range: only about 292 years are");
    else
        *result = expr_duration_ns(nanoseconds);
    return true;
}

static struct expr_value arithmetic(struct machine *m, const struct node *node, const struct expr_value *pair)
{
    unsigned op = node->op;
    struct expr_value result;
    struct expr_value a = pair[0];
    struct expr_value b = pair[1];
    if (a.type == EXPR_INT && b.type == EXPR_INT)
        return int_arithmetic(op, a.as.integer, b.as.integer);
    if (a.type == EXPR_UINT && b.type == EXPR_UINT)
        return uint_arithmetic(op, a.as.uinteger, b.as.uinteger);
    if (a.type == EXPR_DOUBLE && b.type == EXPR_DOUBLE &&
        double_arithmetic(op, a.as.real, b.as.real, &result))
        return result;
    if (op == OP_ADD && a.type == b.type && (a.type == EXPR_STRING || a.type == EXPR_BYTES))
        return join_bytes(m, a, b);
    if (op == OP_ADD && a.type == EXPR_LIST && b.type == EXPR_LIST)
        return join_lists(m, a, b);
    if (time_arithmetic(op, a, b, &result))
        return result;
    return no_overload(m, node, pair, 2);
}

static struct expr_value eval_arithmetic(struct machine *m, const struct node *node)
{
    struct expr_value pair[2];
    pair[0] = machine_eval(m, node->a);
    if (is_error(pair[0]))
        return pair[0];
    pair[1] = machine_eval(m, node->b);
    if (is_error(pair[1]))
        return pair[1];
    return arithmetic(m, node, pair);
}

static struct expr_value eval_negate(struct machine *m, const struct node *node)
{
    struct expr_value value = machine_eval(m, node->a);
    if (value.type == EXPR_INT)
        return value.as.integer == INT64_MIN ? overflow() : expr_int(-value.as.integer);
    if (value.type == EXPR_DOUBLE)
        return expr_double(-value.as.real);
    return is_error(value) ? value : no_overload(m, node, &value, 1);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static struct expr_value eval_call(struct machine *m, const struct node *node)
{
    struct expr_value args[2];
    for (uint32_t i = 0; i < node->count; i++) {
        args[i] = machine_eval(m, node->children[i]);
        if (is_error(args[i]))
            return args[i];
    }
    struct expr_value result = node->call.builtin->call(m, node, args);
    return m->exhausted ? out_of_steps(m) : result;
}

static struct expr_value eval_host(struct machine *m, const struct node *node)
{
    struct expr_value *args = expr_arena_alloc(m->arena, (node->count + 1) * sizeof *args);
    if (args == NULL)
        return expr_arena_full();
    for (uint32_t i = 0; i < node->count; i++) {
        args[i] = machine_eval(m, node->children[i]);
        if (is_error(args[i]))
            return args[i];
    }
    return node->call.function->call(m->context, args, node->count, m->arena);
}

static struct expr_value eval_unsafe(struct machine *m, const struct node *node)
{
    return machine_eval(m, node->a);
}

/* ---- Macros ---------------------------------------------------------------------------------- */

/* Evaluates the range: a list, or a map, whose keys are taken. */
static struct expr_value macro_range(struct machine *m, const struct node *node)
{
    struct expr_value range = machine_eval(m, node->a);
    if (range.type == EXPR_LIST || range.type == EXPR_MAP || is_error(range))
        return range;
    return no_overload(m, node, &range, 1);
}

static struct expr_value range_at(struct expr_value range, size_t index)
{
    struct expr_value key;
    struct expr_value value;
    if (range.type == EXPR_LIST)
        return expr_list_at(range, index);
    expr_map_at(range, index, &key, &value);
    return key;
}

/* Binds the element and evaluates the predicate to a bool or an error. */
static struct expr_value macro_test(struct machine *m, const struct node *node, struct expr_value element)
{
    m->locals[node->slot] = element;
    if (is_error(element))
        return element;
    struct expr_value value = machine_eval(m, node->b);
    if (value.type == EXPR_BOOL || is_error(value))
        return value;
    return machine_no_overload(m, "the condition of a macro", &value, 1);
}

/* all() joins by &&, exists() by ||: the deciding value wins over failures. */
static struct expr_value eval_quantifier(struct machine *m, const struct node *node)
{
    bool decides = node->op == OP_EXISTS;
    struct expr_value failure = expr_null();
    struct expr_value range = macro_range(m, node);
    if (is_error(range))
        return range;
    for (size_t i = 0; i < range.length && !m->exhausted; i++) {
        struct expr_value value = macro_test(m, node, range_at(range, i));
        if (is_error(value))
            failure = value;
        else if (value.as.boolean == decides)
            return value;
    }
    return is_error(failure) ? failure : expr_bool(!decides);
}

static struct expr_value eval_exists_one(struct machine *m, const struct node *node)
{
    size_t count = 0;
    struct expr_value range = macro_range(m, node);
    if (is_error(range))
        return range;
    for (size_t i = 0; i < range.length; i++) {
        struct expr_value value = macro_test(m, node, range_at(range, i));
        if (is_error(value))
            return value;
        count += value.as.boolean;
    }
    return expr_bool(count == 1);
}

/* filter() keeps the element, map() what the transform makes of it, both only where the predicate (if any)
 * holds. */
static struct expr_value eval_collect(struct machine *m, const struct node *node)
{
    size_t count = 0;
    struct expr_value range = macro_range(m, node);
    if (is_error(range))
        return range;
    struct expr_value *items = expr_arena_alloc(m->arena, range.length * sizeof *items);
    if (items == NULL)
        return expr_arena_full();
    for (size_t i = 0; i < range.length; i++) {
        struct expr_value element = range_at(range, i);
        struct expr_value keep = expr_bool(true);
        m->locals[node->slot] = element;
        if (node->b != NULL)
            keep = macro_test(m, node, element);
        if (is_error(keep))
            return keep;
        if (!keep.as.boolean)
            continue;
        items[count] = node->c == NULL ? element : machine_eval(m, node->c);
        if (is_error(items[count]))
            return items[count];
        count++;
    }
    return expr_list(items, count);
}

/* ---- Entry ----------------------------------------------------------------------------------- */

static evaluator *const evaluators[OP_COUNT] = {
    [OP_CONST] = eval_const,
    [OP_VARIABLE] = eval_variable,
    [OP_LOCAL] = eval_local,
    [OP_UNKNOWN] = eval_const,
    [OP_SELECT] = eval_select,
    [OP_HAS] = eval_has,
    [OP_INDEX] = eval_index,
    [OP_LIST] = eval_list,
    [OP_MAP] = eval_map,
    [OP_NOT] = eval_not,
    [OP_NEGATE] = eval_negate,
    [OP_AND] = eval_and,
    [OP_OR] = eval_or,
    [OP_CONDITIONAL] = eval_conditional,
    [OP_EQUAL] = eval_equal,
    [OP_DIFFERENT] = eval_equal,
    [OP_LESS] = eval_order,
    [OP_LESS_EQUAL] = eval_order,
    [OP_GREATER] = eval_order,
    [OP_GREATER_EQUAL] = eval_order,
    [OP_IN] = eval_in,
    [OP_ADD] = eval_arithmetic,
    [OP_SUBTRACT] = eval_arithmetic,
    [OP_MULTIPLY] = eval_arithmetic,
    [OP_DIVIDE] = eval_arithmetic,
    [OP_MODULO] = eval_arithmetic,
    [OP_CALL] = eval_call,
    [OP_HOST] = eval_host,
    [OP_ALL] = eval_quantifier,
    [OP_EXISTS] = eval_quantifier,
    [OP_EXISTS_ONE] = eval_exists_one,
    [OP_FILTER] = eval_collect,
    [OP_TRANSFORM] = eval_collect,
    [OP_UNSAFE] = eval_unsafe,
};

struct expr_value expr_eval(const struct expr *expr, const struct expr_activation *activation,
                            struct expr_arena *arena)
{
    struct machine m;
    m.values = activation->values;
    m.value_count = activation->values == NULL ? 0 : activation->value_count;
    m.arena = arena;
    m.context = activation->context;
    m.steps = activation->step_limit == 0 ? EXPR_STEP_LIMIT : activation->step_limit;
    m.exhausted = false;
    struct expr_value result = machine_eval(&m, expr->root);
    return m.exhausted ? expr_failure(OUT_OF_STEPS) : result;
}

enum expr_verdict expr_test(const struct expr *expr, const struct expr_activation *activation,
                            struct expr_arena *arena, struct expr_value *failure)
{
    struct expr_value result = expr_eval(expr, activation, arena);
    if (result.type == EXPR_BOOL)
        return result.as.boolean ? EXPR_TRUE : EXPR_FALSE;
    if (failure != NULL)
        *failure = is_error(result) ? result
                                    : expr_failure_f(arena, "a condition must be a bool, this is a %s",
                                                     expr_type_name((enum expr_type)result.type));
    return EXPR_FAILED;
}
