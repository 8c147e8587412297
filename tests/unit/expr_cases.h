/*
 * Tables of expressions and what they come to, for the tests of the expression language.
 *
 * The expectation is "type json", as in {"1 + 1", "int 2"}; "error text" wants a failure, at compile time or
 * when it runs, whose message holds the text. Names are unchecked, as CEL's own conformance cases have them.
 * Of each the check of types must not promise another kind of value than comes out.
 */
#ifndef BRIDGEBELL_TESTS_UNIT_EXPR_CASES_H
#define BRIDGEBELL_TESTS_UNIT_EXPR_CASES_H

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <string.h>

#include "dispatcher/expr/check.h"
#include "dispatcher/expr/expr.h"

struct expr_case {
    const char *source;
    const char *want;
};

#define CASES(table) table, sizeof table / sizeof table[0]

/* Writes what the source comes to, in the form of an expectation. */
static void expr_cases_show(const char *source, size_t length, const struct expr_env *env,
                            const struct expr_activation *activation, char *out, size_t size)
{
    struct expr_error error;
    const char *json = "";
    size_t json_length = 0;
    struct expr *expr = expr_compile(source, length, env, &error);
    if (expr == NULL) {
        snprintf(out, size, "error %s", error.message);
        return;
    }
    struct expr_arena *arena = expr_arena_new(4u << 20);
    struct expr_value value = expr_eval(expr, activation, arena);
    struct check_kind kind;
    /* A name without a value stands for a type of that name. */
    bool bound = env == NULL || env->variable_count == 0 || activation->values != NULL;
    if (bound && check_infer(expr, env, &kind, NULL) && !check_fits(&kind, value))
        fail_msg("%s gives another kind than was found", source);
    if (value.type == EXPR_ERROR) {
        snprintf(out, size, "error %.*s", (int)value.length, value.as.string);
    } else {
        assert_int_equal(expr_value_to_json(value, arena, &json, &json_length), 0);
        const char *type = expr_type_name((enum expr_type)value.type);
        const char *last = strrchr(type, '.');
        snprintf(out, size, "%s %.*s", last == NULL ? type : last + 1, (int)json_length, json);
    }
    expr_arena_free(&arena);
    expr_free(&expr);
}

static inline bool expr_cases_fits(const char *got, const char *want)
{
    if (strncmp(want, "error ", 6) == 0)
        return strncmp(got, "error ", 6) == 0 && strstr(got + 6, want + 6) != NULL;
    return strcmp(got, want) == 0;
}

static inline void expr_cases_run(const struct expr_case *cases, size_t count, const struct expr_env *env,
                                  const struct expr_activation *activation)
{
    char got[8192];
    size_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        expr_cases_show(cases[i].source, strlen(cases[i].source), env, activation, got, sizeof got);
        if (!expr_cases_fits(got, cases[i].want)) {
            print_error("%s\n    want: %s\n    got:  %s\n", cases[i].source, cases[i].want, got);
            bad++;
        }
    }
    assert_int_equal(bad, 0);
}

/* Without names, so that `type` is the type. */
static inline void expr_cases_plain(const struct expr_case *cases, size_t count)
{
    struct expr_env env = {.unchecked = true};
    struct expr_activation activation = {0};
    expr_cases_run(cases, count, &env, &activation);
}

#endif
