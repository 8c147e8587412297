/* links: expr core m */
/* The trace of a condition: its parts, their verdicts, and what they looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/expr/trace.h"

static char told[4096];
static const char verdicts[] = "FT!";

static void tell(void *arg, const struct trace_part *p)
{
    (void)arg;
    size_t len = strlen(told);
    snprintf(told + len, sizeof told - len, "%u%c%c[%.*s]%s%s%s\n", p->level, "&|."[p->kind],
             verdicts[p->verdict], (int)p -> length, p -> text, p -> values, p -> failure ? " -- " : "",
             p->failure ? p->failure : "");
}

/* Evaluates with author 'ala', item null, type 'x'. */
static void check(const char *source, const char *expected)
{
    struct expr_value values[EXPR_EVENT_SLOTS];
    struct expr_error error;
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        values[i] = expr_null();
    values[EXPR_SLOT_AUTHOR] = expr_string("ala", 3);
    values[EXPR_SLOT_TYPE] = expr_string("x", 1);
    values[EXPR_SLOT_RECOVERED] = expr_bool(false);
    const struct expr_activation activation = {.values = values, .value_count = EXPR_EVENT_SLOTS};
    struct expr_arena *arena = expr_arena_new(1 << 20);
    struct expr *expr = expr_compile(source, strlen(source), expr_event_env(), &error);
    if (!expr)
        fail_msg("%s: %s", source, error.message);
    told[0] = '\0';
    expr_trace(expr, expr_event_env(), &activation, arena, tell, NULL);
    if (strcmp(told, expected) != 0)
        fail_msg("%s gave\n%s", source, told);
    expr_free(&expr);
    expr_arena_free(&arena);
}

static void conjuncts_stand_alone(void **state)
{
    (void)state;
    check("type == 'x' && author == 'ola'", "0.T[type == 'x']type is \"x\"\n"
                                            "0.F[author == 'ola']author is \"ala\"\n");
    check("type == 'y'", "0.F[type == 'y']type is \"x\"\n");
    check("true", "0.T[true]\n");
    check("recovered && !recovered", "0.F[recovered]recovered is false\n0.T[!recovered]recovered is false\n");
}

static void groups_are_told_with_their_parts(void **state)
{
    (void)state;
    check("type == 'x' && (author == 'a' || author == 'b')", "0.T[type == 'x']type is \"x\"\n"
                                                             "0|F[author == 'a' || author == 'b']\n"
                                                             "1.F[author == 'a']author is \"ala\"\n"
                                                             "1.F[author == 'b']author is \"ala\"\n");
    check("(type == 'x' && author == 'ala') || recovered",
          "0|T[(type == 'x' && author == 'ala') || recovered]\n"
          "1&T[type == 'x' && author == 'ala']\n"
          "2.T[type == 'x']type is \"x\"\n"
          "2.T[author == 'ala']author is \"ala\"\n"
          "1.F[recovered]recovered is false\n");
}

static void marks_in_texts_do_not_divide(void **state)
{
    (void)state;
    check("author == 'a && b || (c' && type == \"]\"", "0.F[author == 'a && b || (c']author is \"ala\"\n"
                                                       "0.F[type == \"]\"]type is \"x\"\n");
    check(
        "recovered ? type == 'x' && true : author == 'ala'",
        "0.T[recovered ? type == 'x' && true : author == 'ala']recovered is false, type is \"x\", author is "
        "\"ala\"\n");
}

static void failures_say_why(void **state)
{
    (void)state;
    check("data.x == 1 && type == 'x'", "0.![data.x == 1]data.x: no such overload: field 'x' of null_type -- "
                                        "no such overload: field 'x' of null_type\n"
                                        "0.T[type == 'x']type is \"x\"\n");
    check("author.startsWith('o')", "0.F[author.startsWith('o')]author is \"ala\"\n");
    check("[1, 2].exists(n, n == 3)", "0.F[[1, 2].exists(n, n == 3)]\n");
    check("type == 'x' && author", "0.T[type == 'x']type is \"x\"\n"
                                   "0.![author]author is \"ala\" -- not true or false\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(conjuncts_stand_alone),
        cmocka_unit_test(groups_are_told_with_their_parts),
        cmocka_unit_test(marks_in_texts_do_not_divide),
        cmocka_unit_test(failures_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
