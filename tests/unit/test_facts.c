/* links: dispatcher_parts proto expr core */
/* Named texts: set, replaced, removed and listed, compared with a plain array through many random steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/clock.h"
#include "dispatcher/facts.h"
#include "store_fixture.h"

enum { NAMES = 500, STEPS = 20000, MANY = 100000 };

static void like_an_array(void **state)
{
    (void)state;
    static int expected[NAMES]; /* 0: not there */
    struct facts *f = facts_new();
    size_t count = 0;
    uint64_t seed = 20261127;
    char name[32], value[32];
    for (int step = 1; step <= STEPS; step++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        /* Names come in waves, so that most of them are gone at times. */
        int i = (int)(seed >> 33) % NAMES;
        bool removes = (seed >> 20) % 100 < (step / 2000 % 2 ? 90 : 20);
        snprintf(name, sizeof name, "%s:%d", i % 2 ? "odd" : "even", i);
        snprintf(value, sizeof value, "%d", step);
        facts_set(f, name, removes ? NULL : value);
        count = count - (expected[i] != 0) + !removes;
        expected[i] = removes ? 0 : step;
        assert_int_equal(facts_count(f), count);
    }
    size_t cursor = 0, odd = 0, odd_listed = 0;
    const char *at, *text;
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "%s:%d", i % 2 ? "odd" : "even", i);
        snprintf(value, sizeof value, "%d", expected[i]);
        if (expected[i])
            assert_string_equal(facts_get(f, name), value);
        else
            assert_null(facts_get(f, name));
        odd += i % 2 && expected[i];
    }
    while ((at = facts_next(f, "odd:", &cursor, &text))) {
        assert_string_equal(text, facts_get(f, at));
        assert_int_equal(atoi(at + 4) % 2, 1);
        odd_listed++;
    }
    assert_int_equal(odd_listed, odd);
    facts_free(&f);
}

static void the_value_may_be_its_own(void **state)
{
    (void)state;
    struct facts *f = facts_new();
    facts_set(f, "a", "one");
    facts_set(f, "a", facts_get(f, "a"));
    assert_string_equal(facts_get(f, "a"), "one");
    facts_set(f, "b", NULL);
    assert_int_equal(facts_count(f), 1);
    facts_free(&f);
}

/* The store gives what it was told, also after it was opened anew, and looks up fast however many there are.
 */
static void of_a_store(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    char name[32];
    struct store_fact *facts = xcalloc(MANY, sizeof *facts);
    int result = -1;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "optout:+48%09d", i);
        facts[i] = (struct store_fact){.unit = {.kind = STORE_FACT, .done = fixture_done, .arg = &result},
                                       .name = xstrdup(name),
                                       .value = "{}"};
        result = -1;
        store_submit(f.store, &facts[i].unit);
    }
    struct store_fact last = {.unit = {.kind = STORE_FACT}, .name = "silence:1", .value = "x"};
    assert_int_equal(fixture_run(&f, &last.unit), STORE_OK);
    fixture_reopen(&f);
    size_t cursor = 0, count = 0;
    while (store_fact_next(f.store, "optout:", &cursor, NULL))
        count++;
    assert_int_equal(count, MANY);
    uint64_t start_ms = clock_mono_ms();
    for (int i = 0; i < MANY; i++)
        assert_string_equal(store_fact(f.store, facts[i].name), "{}");
    /* One by one through a list it would be minutes. */
    assert_true(clock_mono_ms() - start_ms < 5000);
    assert_string_equal(store_fact(f.store, "silence:1"), "x");
    for (int i = 0; i < MANY; i++)
        free((char *)facts[i].name);
    free(facts);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_an_array),
        cmocka_unit_test(the_value_may_be_its_own),
        cmocka_unit_test(of_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
