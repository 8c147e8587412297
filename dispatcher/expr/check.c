#include "dispatcher/expr/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/expr/program.h"

#define SET_TEXT_SIZE 160u /* all types in words */
#define LABEL_SIZE 32u

struct check {
    const struct expr_env *env;
    struct expr_error *error;
    bool refused;
    struct check_kind locals[EXPR_LOCALS_LIMIT];
};

typedef struct check_kind inferrer(struct check *c, const struct node *node);
static inferrer *const inferrers[OP_COUNT];

static struct check_kind infer(struct check *c, const struct node *node)
{
    return inferrers[node->op](c, node);
}

/* ---- Kinds ----------------------------------------------------------------------------------- */

static struct check_kind kind_of(expr_types types)
{
    return (struct check_kind){
        .types = types,
        .elements = (types & SET_CONTAINERS) != 0 ? EXPR_ANY : 0,
        .values = (types & SET_MAP) != 0 ? EXPR_ANY : 0,
        .may_be_true = (types & SET_BOOL) != 0,
        .may_be_false = (types & SET_BOOL) != 0,
    };
}

static struct check_kind list_of(expr_types elements)
{
    return (struct check_kind){.types = SET_LIST, .elements = elements};
}

static struct check_kind truth(bool may_be_true, bool may_be_false)
{
    return (struct check_kind){.types = SET_BOOL, .may_be_true = may_be_true, .may_be_false = may_be_false};
}

/* What was declared for a variable or a function. */
static struct check_kind kind_declared(struct expr_kind declared)
{
    struct check_kind kind = kind_of(declared.types == 0 ? EXPR_ANY : declared.types);
    if (declared.elements != 0)
        kind.elements &= declared.elements;
    if (declared.values != 0)
        kind.values &= declared.values;
    return kind;
}

static struct check_kind kind_of_value(struct expr_value value)
{
    struct check_kind kind = {.types = EXPR_SET(value.type)};
    bool map = value.type == EXPR_MAP;
    if (value.type == EXPR_BOOL)
        return truth(value.as.boolean, !value.as.boolean);
    for (uint32_t i = 0; (map || value.type == EXPR_LIST) && i < value.length; i++) {
        struct expr_value element = expr_null();
        struct expr_value key = expr_null();
        if (map)
            expr_map_at(value, i, &key, &element);
        else
            key = expr_list_at(value, i);
        kind.elements |= EXPR_SET(key.type);
        if (map)
            kind.values |= EXPR_SET(element.type);
    }
    return kind;
}

static struct check_kind join(struct check_kind a, struct check_kind b)
{
    return (struct check_kind){
        .types = a.types | b.types,
        .elements = a.elements | b.elements,
        .values = a.values | b.values,
        .may_be_true = a.may_be_true || b.may_be_true,
        .may_be_false = a.may_be_false || b.may_be_false,
    };
}

bool check_fits(const struct check_kind *kind, struct expr_value value)
{
    if (value.type == EXPR_ERROR)
        return true;
    struct check_kind own = kind_of_value(value);
    return (own.types & ~kind->types) == 0 && (own.elements & ~kind->elements & EXPR_ANY) == 0 &&
           (own.values & ~kind->values & EXPR_ANY) == 0 && (!own.may_be_true || kind->may_be_true) &&
           (!own.may_be_false || kind->may_be_false);
}

/* ---- Words ----------------------------------------------------------------------------------- */

/* "a string, an int or null" */
static const char *words_for(expr_types types, char out[SET_TEXT_SIZE])
{
    static const struct {
        expr_types type;
        const char *word;
    } words[] = {
        {SET_BOOL, "a bool"},         {SET_INT, "an int"},      {SET_UINT, "a uint"},
        {SET_DOUBLE, "a double"},     {SET_STRING, "a string"}, {SET_BYTES, "bytes"},
        {SET_LIST, "a list"},         {SET_MAP, "a map"},       {SET_TIMESTAMP, "a timestamp"},
        {SET_DURATION, "a duration"}, {SET_TYPE, "a type"},     {SET_NULL, "null"},
    };
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((types & words[i].type) == 0)
            continue;
        types &= ~words[i].type;
        const char *joint = length == 0 ? "" : types == 0 ? " or " : ", ";
        length += (size_t)snprintf(out + length, SET_TEXT_SIZE - length, "%s%s", joint, words[i].word);
    }
    return out;
}

/* "size()", "+" */
static const char *label_of(const struct node *node, char out[LABEL_SIZE])
{
    const char *called = node->op == OP_CALL   ? node->call.builtin->name
                         : node->op == OP_HOST ? node->name
                         : node->op >= OP_ALL  ? operation_of(node->op)->name
                                               : NULL;
    snprintf(out, LABEL_SIZE, "%s%s", called != NULL ? called : operation_of(node->op)->name,
             called != NULL ? "()" : "");
    return out;
}

struct hint {
    expr_types one;
    expr_types other;
    const char *text;
};

/* What to do about two operands that do not go together. */
static const struct hint pair_hints[] = {
    {SET_STRING, SET_TIMESTAMP, ": a time is written timestamp('2026-01-31T08:00:00Z')"},
    {SET_STRING, SET_DURATION, ": a duration is written duration('90s')"},
    {SET_NUMBERS, SET_TIMESTAMP | SET_DURATION, ": a duration is written duration('90s')"},
    {SET_STRING, SET_TYPE, ": types are written without quotes, as in type(x) == string"},
    {SET_STRING, SET_NUMBERS, ": convert one of them by string(x), int(x) or double(x)"},
    {SET_STRING, SET_BOOL, ": convert one of them by string(x) or bool(x)"},
    {SET_NUMBERS, SET_NUMBERS, ": convert one of them by int(x), uint(x) or double(x)"},
};

/* What to do about one that is of the other type than is wanted. */
static const struct hint single_hints[] = {
    {SET_BOOL, SET_STRING, ": compare it, as in author == 'alice'"},
    {SET_BOOL, SET_NUMBERS, ": compare it, as in x > 0"},
    {SET_BOOL, SET_CONTAINERS, ": compare its size, as in size(x) > 0"},
    {SET_CONTAINERS, SET_STRING, ": a part of a string is found by s.contains(t)"},
    {SET_STRING, SET_NUMBERS | SET_BOOL | SET_TIMESTAMP | SET_DURATION, ": convert it by string(x)"},
};

static const char *hint_for(expr_types wanted, expr_types got)
{
    for (size_t i = 0; i < sizeof single_hints / sizeof single_hints[0]; i++)
        if (single_hints[i].one == wanted && (single_hints[i].other & got) != 0)
            return single_hints[i].text;
    return "";
}

static const char *hint_for_pair(expr_types one, expr_types other)
{
    for (size_t i = 0; i < sizeof pair_hints / sizeof pair_hints[0]; i++) {
        const struct hint *hint = &pair_hints[i];
        if (((hint->one & one) != 0 && (hint->other & other) != 0) ||
            ((hint->one & other) != 0 && (hint->other & one) != 0))
            return hint->text;
    }
    return "";
}

/* ---- Refusing -------------------------------------------------------------------------------- */

/* The first refusal counts; what comes of a refused part is not looked at. */
static void refuse(struct check *c, const struct node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void refuse(struct check *c, const struct node *node, const char *format, ...)
{
    va_list arguments;
    if (c->refused)
        return;
    c->refused = true;
    c->error->offset = node->offset;
    va_start(arguments, format);
    vsnprintf(c->error->message, sizeof c->error->message, format, arguments);
    va_end(arguments);
}

/* DEMAND says what is wanted: "size() takes a list". */
static void refuse_type(struct check *c, const struct node *node, const char *demand, expr_types wanted,
                        expr_types got)
{
    char text[SET_TEXT_SIZE];
    refuse(c, node, "%s; this is %s%s", demand, words_for(got, text), hint_for(wanted, got));
}

/* Of what takes operands of the types WANTED one has only others. */
static void refuse_operand(struct check *c, const struct node *node, const struct node *operand,
                           expr_types wanted, expr_types got)
{
    char label[LABEL_SIZE], text[SET_TEXT_SIZE], demand[LABEL_SIZE + SET_TEXT_SIZE + 8];
    snprintf(demand, sizeof demand, "%s takes %s", label_of(node, label), words_for(wanted, text));
    refuse_type(c, operand, demand, wanted, got);
}

static void refuse_pair(struct check *c, const struct node *node, const expr_types *types)
{
    char label[LABEL_SIZE], one[SET_TEXT_SIZE], other[SET_TEXT_SIZE];
    refuse(c, node, "no such overload: %s of %s and %s%s", label_of(node, label), words_for(types[0], one),
           words_for(types[1], other), hint_for_pair(types[0], types[1]));
}

/* ---- Overloads ------------------------------------------------------------------------------- */

/* The types that come of ARITY operands; what no overload takes is refused. */
static expr_types apply(struct check *c, const struct node *node, const struct overload *overloads,
                        size_t count, const struct node *const *operands, const expr_types *types,
                        size_t arity)
{
    expr_types result = overload_result(overloads, count, types, arity);
    if (result != 0)
        return result;
    for (size_t i = 0; i < arity; i++) {
        expr_types wanted = overload_takes(overloads, count, arity, i);
        if ((wanted & types[i]) == 0) {
            refuse_operand(c, node, operands[i], wanted, types[i]);
            return EXPR_ANY;
        }
    }
    refuse_pair(c, node, types);
    return EXPR_ANY;
}

static expr_types apply_operator(struct check *c, const struct node *node, const expr_types *types)
{
    const struct node *const operands[] = {node->a, node->b};
    return apply(c, node, operation_of(node->op)->overloads, OVERLOADS_MAX, operands, types,
                 node->b == NULL || node->op >= OP_ALL ? 1 : 2);
}

/* Refuses what can be none of the types. */
static void demand(struct check *c, const struct node *operand, expr_types wanted, expr_types got,
                   const char *words)
{
    if ((got & wanted) == 0)
        refuse_type(c, operand, words, wanted, got);
}

/* ---- Leaves ---------------------------------------------------------------------------------- */

static struct check_kind infer_const(struct check *c, const struct node *node)
{
    (void)c;
    return kind_of_value(node->value);
}

static struct check_kind infer_variable(struct check *c, const struct node *node)
{
    if (c->env == NULL || c->env->kinds == NULL || node->slot >= c->env->variable_count)
        return kind_of(EXPR_ANY);
    return kind_declared(c->env->kinds[node->slot]);
}

static struct check_kind infer_local(struct check *c, const struct node *node)
{
    return c->locals[node->slot];
}

static struct check_kind infer_unknown(struct check *c, const struct node *node)
{
    (void)c;
    (void)node;
    return kind_of(EXPR_ANY);
}

/* ---- Fields and elements --------------------------------------------------------------------- */

static void demand_fields(struct check *c, const struct node *node, expr_types types)
{
    char text[SET_TEXT_SIZE];
    const struct builtin *method = builtin_find(node->name, node->name_length);
    bool callable = method != NULL && (method->styles & BUILTIN_METHOD) != 0;
    if ((types & SET_MAP) == 0)
        refuse(c, node, "only a map has fields; this is %s%s%s%s", words_for(types, text),
               callable ? ": did you mean ." : "", callable ? method->name : "", callable ? "()?" : "");
}

static struct check_kind infer_select(struct check *c, const struct node *node)
{
    struct check_kind from = infer(c, node->a);
    demand_fields(c, node, from.types);
    return kind_of(from.values == 0 ? EXPR_ANY : from.values);
}

static struct check_kind infer_has(struct check *c, const struct node *node)
{
    demand_fields(c, node, infer(c, node->a).types);
    return kind_of(SET_BOOL);
}

/* Types whose values may be equal: numbers are by their value. */
static expr_types equals_of(expr_types types)
{
    return (types & SET_NUMBERS) != 0 ? types | SET_NUMBERS : types;
}

/* Whether values of these types never equal. To ask whether something is null is never wrong, and nothing
 * is known of the elements of []. */
static bool never_equal(expr_types one, expr_types other)
{
    return one != 0 && other != 0 && one != SET_NULL && other != SET_NULL && (equals_of(one) & other) == 0;
}

/* As never_equal, for elements or keys: those of several types were mixed by intention, and may be anything.
 */
static bool never_among(expr_types one, expr_types elements)
{
    expr_types named = elements & ~SET_NULL;
    return (named & (named - 1)) == 0 && never_equal(one, elements);
}

static struct check_kind infer_index(struct check *c, const struct node *node)
{
    char text[2][SET_TEXT_SIZE];
    struct check_kind from = infer(c, node->a);
    struct check_kind key = infer(c, node->b);
    expr_types types[] = {from.types, key.types};
    expr_types gives = 0;
    apply_operator(c, node, types);
    if ((from.types & SET_LIST) != 0 && (key.types & SET_NUMBERS) != 0)
        gives |= from.elements;
    if ((from.types & SET_MAP) != 0)
        gives |= from.values;
    if (from.types == SET_MAP && never_among(key.types, from.elements))
        refuse(c, node->b, "each key of this map is %s; this is %s", words_for(from.elements, text[0]),
               words_for(key.types, text[1]));
    return kind_of(gives == 0 ? EXPR_ANY : gives);
}

/* ---- Lists and maps -------------------------------------------------------------------------- */

static struct check_kind infer_list(struct check *c, const struct node *node)
{
    struct check_kind list = list_of(0);
    for (uint32_t i = 0; i < node->count; i++)
        list.elements |= infer(c, node->children[i]).types;
    return list;
}

static struct check_kind infer_map(struct check *c, const struct node *node)
{
    struct check_kind map = {.types = SET_MAP};
    for (uint32_t i = 0; i + 1 < node->count; i += 2) {
        struct check_kind key = infer(c, node->children[i]);
        demand(c, node->children[i], SET_KEYS, key.types, "a key is a bool, an int, a uint or a string");
        map.elements |= key.types;
        map.values |= infer(c, node->children[i + 1]).types;
    }
    return map;
}

static struct check_kind infer_in(struct check *c, const struct node *node)
{
    char text[2][SET_TEXT_SIZE];
    struct check_kind element = infer(c, node->a);
    struct check_kind where = infer(c, node->b);
    apply_operator(c, node, (expr_types[]){element.types, where.types});
    if ((where.types & SET_CONTAINERS) != 0 && never_among(element.types, where.elements))
        refuse(c, node, "in finds nothing: each element is %s; this is %s%s",
               words_for(where.elements, text[0]), words_for(element.types, text[1]),
               hint_for_pair(element.types, where.elements));
    return kind_of(SET_BOOL);
}

/* ---- Logic ----------------------------------------------------------------------------------- */

/* What an operand of the node may come to that must be a bool. */
static struct check_kind infer_bool(struct check *c, const struct node *node, const struct node *operand)
{
    struct check_kind value = infer(c, operand);
    if ((value.types & SET_BOOL) != 0)
        return value;
    refuse_operand(c, node, operand, SET_BOOL, value.types);
    return kind_of(SET_BOOL);
}

static struct check_kind infer_not(struct check *c, const struct node *node)
{
    struct check_kind value = infer_bool(c, node, node->a);
    return truth(value.may_be_false, value.may_be_true);
}

/* An operand that can only be what decides makes the others worthless: what is wrong there is forgiven. */
static struct check_kind infer_logic(struct check *c, const struct node *node)
{
    bool any = node->op == OP_OR;
    bool refused_before = c->refused;
    struct check_kind result = truth(!any, any);
    for (uint32_t i = 0; i < node->count; i++) {
        struct check_kind value = infer_bool(c, node, node->children[i]);
        bool decides = value.types == SET_BOOL && !(any ? value.may_be_false : value.may_be_true);
        if (decides) {
            c->refused = refused_before;
            return value;
        }
        result.may_be_true =
            any ? result.may_be_true || value.may_be_true : result.may_be_true && value.may_be_true;
        result.may_be_false =
            any ? result.may_be_false && value.may_be_false : result.may_be_false || value.may_be_false;
    }
    return result;
}

static struct check_kind infer_conditional(struct check *c, const struct node *node)
{
    struct check_kind condition = infer_bool(c, node, node->a);
    if (!condition.may_be_true || !condition.may_be_false)
        return infer(c, condition.may_be_true ? node->b : node->c);
    struct check_kind one = infer(c, node->b);
    return join(one, infer(c, node->c));
}

/* ---- Operators ------------------------------------------------------------------------------- */

static struct check_kind infer_equal(struct check *c, const struct node *node)
{
    char text[2][SET_TEXT_SIZE];
    expr_types one = infer(c, node->a).types;
    expr_types other = infer(c, node->b).types;
    if (never_equal(one, other))
        refuse(c, node, "%s and %s are never equal%s", words_for(one, text[0]), words_for(other, text[1]),
               hint_for_pair(one, other));
    return kind_of(SET_BOOL);
}

static struct check_kind infer_operator(struct check *c, const struct node *node)
{
    struct check_kind one = infer(c, node->a);
    struct check_kind other = node->b == NULL ? one : infer(c, node->b);
    struct check_kind result = kind_of(apply_operator(c, node, (expr_types[]){one.types, other.types}));
    result.elements &= one.elements | other.elements;
    return result;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static struct check_kind infer_call(struct check *c, const struct node *node)
{
    expr_types types[2] = {0, 0};
    for (uint32_t i = 0; i < node->count && i < 2; i++)
        types[i] = infer(c, node->children[i]).types;
    return kind_of(
        apply(c, node, node->call.builtin->overloads, BUILTIN_OVERLOADS, node->children, types, node->count));
}

static struct check_kind infer_host(struct check *c, const struct node *node)
{
    const struct expr_function *function = node->call.function;
    for (uint32_t i = 0; i < node->count; i++) {
        expr_types wanted = function->takes[i > 0];
        struct check_kind value = infer(c, node->children[i]);
        if (wanted != 0 && (value.types & wanted) == 0)
            refuse_operand(c, node, node->children[i], wanted, value.types);
    }
    return kind_declared(function->gives);
}

static struct check_kind infer_unsafe(struct check *c, const struct node *node)
{
    return infer(c, node->a);
}

/* ---- Macros ---------------------------------------------------------------------------------- */

/* What the macro collects of a range that has elements. */
static struct check_kind infer_body(struct check *c, const struct node *node, expr_types elements)
{
    c->locals[node->slot] = kind_of(elements);
    if (node->b != NULL)
        demand(c, node->b, SET_BOOL, infer(c, node->b).types, "the condition of a macro must be a bool");
    return node->c == NULL ? kind_of(elements) : infer(c, node->c);
}

static struct check_kind infer_macro(struct check *c, const struct node *node)
{
    struct check_kind range = infer(c, node->a);
    struct check_kind result = kind_of(apply_operator(c, node, &range.types));
    if ((range.types & SET_CONTAINERS) == 0)
        range.elements = EXPR_ANY;
    expr_types elements = range.elements == 0 ? 0 : infer_body(c, node, range.elements).types;
    return node->op == OP_FILTER || node->op == OP_TRANSFORM ? list_of(elements) : result;
}

/* ---- Entry ----------------------------------------------------------------------------------- */

static inferrer *const inferrers[OP_COUNT] = {
    [OP_CONST] = infer_const,
    [OP_VARIABLE] = infer_variable,
    [OP_LOCAL] = infer_local,
    [OP_UNKNOWN] = infer_unknown,
    [OP_SELECT] = infer_select,
    [OP_HAS] = infer_has,
    [OP_INDEX] = infer_index,
    [OP_LIST] = infer_list,
    [OP_MAP] = infer_map,
    [OP_NOT] = infer_not,
    [OP_NEGATE] = infer_operator,
    [OP_AND] = infer_logic,
    [OP_OR] = infer_logic,
    [OP_CONDITIONAL] = infer_conditional,
    [OP_EQUAL] = infer_equal,
    [OP_DIFFERENT] = infer_equal,
    [OP_LESS] = infer_operator,
    [OP_LESS_EQUAL] = infer_operator,
    [OP_GREATER] = infer_operator,
    [OP_GREATER_EQUAL] = infer_operator,
    [OP_IN] = infer_in,
    [OP_ADD] = infer_operator,
    [OP_SUBTRACT] = infer_operator,
    [OP_MULTIPLY] = infer_operator,
    [OP_DIVIDE] = infer_operator,
    [OP_MODULO] = infer_operator,
    [OP_CALL] = infer_call,
    [OP_HOST] = infer_host,
    [OP_ALL] = infer_macro,
    [OP_EXISTS] = infer_macro,
    [OP_EXISTS_ONE] = infer_macro,
    [OP_FILTER] = infer_macro,
    [OP_TRANSFORM] = infer_macro,
    [OP_UNSAFE] = infer_unsafe,
};

bool check_infer(const struct expr *expr, const struct expr_env *env, struct check_kind *kind,
                 struct expr_error *error)
{
    struct expr_error ignored;
    struct check c = {.env = env, .error = error != NULL ? error : &ignored};
    *kind = infer(&c, expr->root);
    if (c.refused)
        expr_error_locate(c.error, expr->source, expr->source_length);
    return !c.refused;
}

const struct expr_purpose expr_condition = {.wanted = {.types = SET_BOOL},
                                            .demand = "a condition must be a bool"};

/* Whether the value may be what is wanted; a list may always be empty, unless all its elements are known to
 * be of other types. */
static bool serves(const struct check_kind *kind, struct expr_kind wanted)
{
    if ((kind->types & wanted.types) == 0)
        return false;
    return kind->types != SET_LIST || wanted.elements == 0 || kind->elements == 0 ||
           (kind->elements & wanted.elements) != 0;
}

bool expr_check(const struct expr *expr, const struct expr_env *env, const struct expr_purpose *purpose,
                struct expr_error *error)
{
    char text[SET_TEXT_SIZE];
    struct check_kind kind;
    struct expr_error ignored;
    struct check c = {.error = error != NULL ? error : &ignored};
    if (!check_infer(expr, env, &kind, error))
        return false;
    if (purpose == NULL || serves(&kind, purpose->wanted))
        return true;
    if ((kind.types & purpose->wanted.types) == 0)
        refuse_type(&c, expr->root, purpose->demand, purpose->wanted.types, kind.types);
    else
        refuse(&c, expr->root, "%s; this is a list, but each element is %s", purpose->demand,
               words_for(kind.elements, text));
    expr_error_locate(c.error, expr->source, expr->source_length);
    return false;
}

struct expr *expr_compile_for(const char *source, size_t len, const struct expr_env *env,
                              const struct expr_purpose *purpose, struct expr_error *error)
{
    struct expr *expr = expr_compile(source, len, env, error);
    if (expr != NULL && !expr_check(expr, env, purpose, error))
        expr_free(&expr);
    return expr;
}
