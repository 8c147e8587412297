#include "dispatcher/expr/overload.h"

#include "dispatcher/expr/program.h"

/* clang-format off */
#define OF_NUMBERS {SET_INT, SET_INT, SET_INT}, {SET_UINT, SET_UINT, SET_UINT}, {SET_DOUBLE, SET_DOUBLE, SET_DOUBLE}
#define OF_ORDERED                                   \
    {                                                \
        {SET_NUMBERS,   SET_NUMBERS,   SET_BOOL},    \
        {SET_STRING,    SET_STRING,    SET_BOOL},    \
        {SET_BYTES,     SET_BYTES,     SET_BOOL},    \
        {SET_BOOL,      SET_BOOL,      SET_BOOL},    \
        {SET_TIMESTAMP, SET_TIMESTAMP, SET_BOOL},    \
        {SET_DURATION,  SET_DURATION,  SET_BOOL},    \
    }
/* clang-format on */

static const struct operation operations[OP_COUNT] = {
    [OP_NOT] = {"!", {{SET_BOOL, 0, SET_BOOL}}},
    [OP_NEGATE] = {"-", {{SET_INT, 0, SET_INT}, {SET_DOUBLE, 0, SET_DOUBLE}}},
    [OP_AND] = {"&&", {{SET_BOOL, 0, SET_BOOL}}},
    [OP_OR] = {"||", {{SET_BOOL, 0, SET_BOOL}}},
    [OP_CONDITIONAL] = {"?:", {{SET_BOOL, 0, EXPR_ANY}}},
    [OP_EQUAL] = {"==", {{EXPR_ANY, EXPR_ANY, SET_BOOL}}},
    [OP_DIFFERENT] = {"!=", {{EXPR_ANY, EXPR_ANY, SET_BOOL}}},
    [OP_LESS] = {"<", OF_ORDERED},
    [OP_LESS_EQUAL] = {"<=", OF_ORDERED},
    [OP_GREATER] = {">", OF_ORDERED},
    [OP_GREATER_EQUAL] = {">=", OF_ORDERED},
    [OP_IN] = {"in", {{EXPR_ANY, SET_CONTAINERS, SET_BOOL}}},
    [OP_INDEX] = {"[]", {{SET_LIST, SET_NUMBERS, EXPR_ANY}, {SET_MAP, SET_KEYS | SET_DOUBLE, EXPR_ANY}}},
    [OP_ADD] = {"+",
                {OF_NUMBERS,
                 {SET_STRING, SET_STRING, SET_STRING},
                 {SET_BYTES, SET_BYTES, SET_BYTES},
                 {SET_LIST, SET_LIST, SET_LIST},
                 {SET_TIMESTAMP, SET_DURATION, SET_TIMESTAMP},
                 {SET_DURATION, SET_TIMESTAMP, SET_TIMESTAMP},
                 {SET_DURATION, SET_DURATION, SET_DURATION}}},
    [OP_SUBTRACT] = {"-",
                     {OF_NUMBERS,
                      {SET_TIMESTAMP, SET_DURATION, SET_TIMESTAMP},
                      {SET_TIMESTAMP, SET_TIMESTAMP, SET_DURATION},
                      {SET_DURATION, SET_DURATION, SET_DURATION}}},
    [OP_MULTIPLY] = {"*", {OF_NUMBERS}},
    [OP_DIVIDE] = {"/", {OF_NUMBERS}},
    [OP_MODULO] = {"%", {{SET_INT, SET_INT, SET_INT}, {SET_UINT, SET_UINT, SET_UINT}}},
    [OP_ALL] = {"all", {{SET_CONTAINERS, 0, SET_BOOL}}},
    [OP_EXISTS] = {"exists", {{SET_CONTAINERS, 0, SET_BOOL}}},
    [OP_EXISTS_ONE] = {"exists_one", {{SET_CONTAINERS, 0, SET_BOOL}}},
    [OP_FILTER] = {"filter", {{SET_CONTAINERS, 0, SET_LIST}}},
    [OP_TRANSFORM] = {"map", {{SET_CONTAINERS, 0, SET_LIST}}},
};

const struct operation *operation_of(unsigned op)
{
    return &operations[op];
}

/* Whether the overload has so many operands. */
static bool is_of(const struct overload *overload, size_t arity)
{
    return overload->first != 0 && (overload->second == 0) == (arity == 1);
}

expr_types overload_result(const struct overload *overloads, size_t count, const expr_types *operands,
                           size_t arity)
{
    expr_types result = 0;
    for (size_t i = 0; i < count; i++)
        if (is_of(&overloads[i], arity) && (overloads[i].first & operands[0]) != 0 &&
            (arity == 1 || (overloads[i].second & operands[1]) != 0))
            result |= overloads[i].gives;
    return result;
}

expr_types overload_takes(const struct overload *overloads, size_t count, size_t arity, size_t operand)
{
    expr_types result = 0;
    for (size_t i = 0; i < count; i++)
        if (is_of(&overloads[i], arity))
            result |= operand == 0 ? overloads[i].first : overloads[i].second;
    return result;
}
