/* links: dispatcher_parts proto expr core */
/* The time slots, by simulated time: no window of the limit's length ever sees more than the limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "dispatcher/limiter.h"

enum { SPREAD_MS = 100 };

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

/* Most entries of TIMES within any window of LENGTH_US (both ends included). */
static size_t most_in_window(const uint64_t *times, size_t count, uint64_t length_us)
{
    size_t most = 0, first = 0;
    for (size_t i = 0; i < count; i++) {
        while (times[i] - times[first] > length_us)
            first++;
        if (i - first + 1 > most)
            most = i - first + 1;
    }
    return most;
}

struct pace_case {
    int64_t number, per_ms;
    uint64_t step_us; /* mean distance of the looks at the bucket */
    uint64_t run_ms;
};

static const struct pace_case cases[] = {
    {1, 1000, 500, 30000},     {3, 1000, 4000, 30000},       {100, 1000, 100, 20000},
    {100, 1000, 3000, 20000},  {100, 1000, 50000, 60000},    {1000, 1000, 300, 10000},
    {12000, 1000, 1000, 5000}, {5, 900000, 700000, 7200000}, {60, 3600000, 900000, 14400000},
};

/* Takes whatever is free at irregular moments; a slot may be used up to the spread later. */
static size_t run(const struct pace_case *c, uint64_t seed, uint64_t *times, size_t size)
{
    struct limiter l;
    uint64_t now_us = 1000000;
    uint64_t end_us = now_us + c->run_ms * 1000;
    size_t count = 0;
    limiter_init(&l, c->number, c->per_ms, SPREAD_MS, now_us);
    while (now_us < end_us) {
        now_us += 1 + next_random(&seed) % (2 * c->step_us);
        while (limiter_take(&l, now_us)) {
            assert_true(count < size);
            times[count++] = now_us;
        }
    }
    return count;
}

static void no_window_exceeds_the_limit(void **state)
{
    (void)state;
    enum { TIMES = 200000 };
    uint64_t *times = xcalloc(TIMES, sizeof *times);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            size_t count = run(&cases[i], seed, times, TIMES);
            uint64_t window_us = (uint64_t)(cases[i].per_ms + SPREAD_MS) * 1000;
            assert_true(most_in_window(times, count, window_us) <= (size_t)cases[i].number);
        }
    free(times);
}

static void the_pace_is_near_the_limit(void **state)
{
    (void)state;
    enum { TIMES = 200000 };
    uint64_t *times = xcalloc(TIMES, sizeof *times);
    const struct pace_case fine = {100, 1000, 200, 20000};
    size_t count = run(&fine, 7, times, TIMES);
    assert_true(count > 20 * 85 && count <= 20 * 91);
    free(times);
}

static void it_starts_empty_and_forgets_idle_time(void **state)
{
    (void)state;
    struct limiter l;
    limiter_init(&l, 100, 1000, SPREAD_MS, 0);
    assert_false(limiter_take(&l, 0));
    assert_true(limiter_wait_us(&l, 0) > 0);
    /* An hour of nothing leaves at most the share that one late timer may find. */
    assert_int_equal(limiter_free(&l, UINT64_C(3600000000)), 2);
}

static void the_wait_is_exact(void **state)
{
    (void)state;
    struct limiter l;
    limiter_init(&l, 10, 1000, SPREAD_MS, 0);
    uint64_t wait_us = limiter_wait_us(&l, 0);
    assert_int_equal(limiter_free(&l, wait_us - 1000), 0);
    assert_int_equal(limiter_free(&l, wait_us), 1);
    assert_int_equal(limiter_wait_us(&l, wait_us), 0);
}

static void a_clock_that_stands_still_gives_nothing(void **state)
{
    (void)state;
    struct limiter l;
    limiter_init(&l, 1000000, 1000, SPREAD_MS, 5000);
    assert_false(limiter_take(&l, 5000));
    assert_false(limiter_take(&l, 4000));
    assert_true(limiter_take(&l, 5010));
}

static void off_means_no_limit(void **state)
{
    (void)state;
    struct limiter l;
    limiter_init(&l, -1, 1000, SPREAD_MS, 0);
    for (int i = 0; i < 100000; i++)
        assert_true(limiter_take(&l, 0));
    assert_int_equal(limiter_wait_us(&l, 0), 0);
    assert_true(limiter_free(&l, 0) > 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_window_exceeds_the_limit),
        cmocka_unit_test(the_pace_is_near_the_limit),
        cmocka_unit_test(it_starts_empty_and_forgets_idle_time),
        cmocka_unit_test(the_wait_is_exact),
        cmocka_unit_test(a_clock_that_stands_still_gives_nothing),
        cmocka_unit_test(off_means_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
