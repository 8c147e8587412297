/* links: master_parts */
#include "master/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void doubles_up_to_a_bound(void **state)
{
    (void)state;
    static const int64_t expected[] = {100, 200, 400, 800, 1600, 1600, 1600};
    struct backoff b = {0};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(backoff_next_ms(&b, 1000, true), expected[i]);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(backoff_next_ms(&b, 1000, true), BACKOFF_WORKED_LAST_MS);
}

static void a_good_life_begins_anew(void **state)
{
    (void)state;
    struct backoff b = {0};
    for (int i = 0; i < 3; i++)
        backoff_next_ms(&b, 0, true);
    assert_int_equal(backoff_next_ms(&b, BACKOFF_GOOD_LIFE_MS - 1, true), 800);
    assert_int_equal(backoff_next_ms(&b, BACKOFF_GOOD_LIFE_MS, true), BACKOFF_FIRST_MS);
    assert_int_equal(backoff_next_ms(&b, 0, true), 2 * BACKOFF_FIRST_MS);
}

static void what_never_worked_waits_longer(void **state)
{
    (void)state;
    struct backoff b = {0};
    assert_int_equal(backoff_next_ms(&b, 5, false), 800);
    assert_int_equal(backoff_next_ms(&b, 5, false), 6400);
    assert_int_equal(backoff_next_ms(&b, 5, false), BACKOFF_LAST_MS);
    /* A long life without having worked (a start that hangs) is no good life. */
    assert_int_equal(backoff_next_ms(&b, BACKOFF_GOOD_LIFE_MS, false), BACKOFF_LAST_MS);
    assert_int_equal(backoff_next_ms(&b, 5, true), BACKOFF_WORKED_LAST_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_up_to_a_bound),
        cmocka_unit_test(a_good_life_begins_anew),
        cmocka_unit_test(what_never_worked_waits_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
