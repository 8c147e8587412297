/* links: dispatcher_parts expr proto core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/store_counter.h"

/* Times that were let through; for a look back over any window. */
struct history {
    int64_t list[100000];
    size_t count;
};

static struct history history;

/* Most that any window of PER_MS holds. */
static int64_t densest(const struct history *h, int64_t per_ms)
{
    int64_t most = 0;
    for (size_t from = 0, to = 0; to < h->count; to++) {
        while (h->list[to] - h->list[from] >= per_ms)
            from++;
        int64_t here = (int64_t)(to - from + 1);
        most = here > most ? here : most;
    }
    return most;
}

static void run_rate(int64_t limit, int64_t per_ms, unsigned seed, int64_t step_ms, size_t tries)
{
    struct counters all = {0};
    struct counter c = {.all = &all};
    int64_t now_ms = 1700000000000 + seed;
    srand(seed);
    history.count = 0;
    for (size_t i = 0; i < tries; i++) {
        now_ms += rand() % (2 * step_ms + 1);
        int64_t wait_ms = counter_rate_wait(&c, limit, per_ms, now_ms);
        if (wait_ms > 0) {
            /* It says when there is room, and not earlier than needed by more than its grain. */
            assert_true(wait_ms <= per_ms + per_ms / 16 + 2);
            assert_true(counter_rate_wait(&c, limit, per_ms, now_ms + wait_ms) == 0 ||
                        limit > COUNTER_EXACT_MAX);
            continue;
        }
        counter_rate_take(&c, limit, per_ms, now_ms);
        history.list[history.count++] = now_ms;
        assert_true(counter_rate_used(&c, per_ms, now_ms) <= limit);
    }
    assert_true(densest(&history, per_ms) <= limit);
    assert_true(history.count > 0);
}

static void no_window_holds_more_than_the_limit(void **state)
{
    (void)state;
    static const struct {
        int64_t limit, per_ms, step_ms;
    } cases[] = {{1, 1000, 100},   {5, 900000, 30000},    {12, 3600000, 60000}, {60, 3600000, 10000},
                 {64, 60000, 200}, {65, 60000, 200},      {600, 3600000, 1000}, {1000, 1000, 1},
                 {100, 250, 1},    {200, 86400000, 60000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (unsigned seed = 1; seed < 6; seed++)
            run_rate(cases[i].limit, cases[i].per_ms, seed, cases[i].step_ms, 20000);
}

/* What is asked for at full speed gets at least the limit less a grain per window. */
static void the_limit_is_used(void **state)
{
    (void)state;
    run_rate(12, 3600000, 3, 1000, 40000);
    int64_t hours = (history.list[history.count - 1] - history.list[0]) / 3600000;
    assert_true((int64_t)history.count >= 12 * hours);
    run_rate(600, 3600000, 3, 500, 90000);
    hours = (history.list[history.count - 1] - history.list[0]) / 3600000;
    assert_true((int64_t)history.count >= 600 * hours * 95 / 100);
}

static void a_limit_that_changes_keeps_its_count(void **state)
{
    (void)state;
    struct counters all = {0};
    struct counter c = {.all = &all};
    int64_t now_ms = 1700000000000, hour = 3600000;
    for (int i = 0; i < 40; i++)
        counter_rate_take(&c, 60, hour, now_ms + i);
    now_ms += 1000;
    assert_true(counter_rate_wait(&c, 40, hour, now_ms) > 0);
    assert_int_equal(counter_rate_wait(&c, 41, hour, now_ms), 0);
    assert_int_equal(counter_rate_wait(&c, 600, hour, now_ms), 0);
    for (int i = 0; i < 560; i++)
        counter_rate_take(&c, 600, hour, now_ms);
    assert_true(counter_rate_wait(&c, 600, hour, now_ms) > 0);
    assert_true(counter_rate_wait(&c, 60, hour, now_ms) > 0);
    assert_int_equal(counter_rate_wait(&c, 60, hour, now_ms + 2 * hour), 0);
}

static void windows_and_sums(void **state)
{
    (void)state;
    struct counters all = {0};
    struct counter window = {.all = &all}, sum = {.all = &all};
    assert_true(counter_window_open(&window, 1000, 5));
    counter_window_take(&window, 1000, 5);
    assert_false(counter_window_open(&window, 1000, 1004));
    assert_true(counter_window_open(&window, 1000, 1005));
    assert_int_equal(counter_sum(&sum), 0);
    counter_sum_add(&sum, 90000, 10);
    counter_sum_add(&sum, 10000, 10);
    assert_int_equal(counter_sum(&sum), 100000);
    counter_sum_add(&sum, INT64_MAX, 10);
    assert_int_equal(counter_sum(&sum), INT64_MAX / 4);
}

/* Whatever stands in a damaged row is no more than a wrong count. */
static void damaged_counters_do_no_harm(void **state)
{
    (void)state;
    struct counters all = {0};
    srand(7);
    for (int i = 0; i < 20000; i++) {
        struct counter c = {.all = &all};
        static const size_t lengths[] = {0, 4, 16, 272, 276, 280, 520};
        c.len = i % 2 ? lengths[(size_t)rand() % 7] : (size_t)rand() % (sizeof c.data + 1);
        for (size_t k = 0; k < c.len; k++)
            c.data[k] = (unsigned char)rand();
        c.data[0] = (unsigned char)(rand() % 6);
        memset(c.data + 1, 0, 3);
        int64_t wait_ms = counter_rate_wait(&c, 1 + rand() % 100, 60000, 1700000000000);
        assert_true(wait_ms >= 0);
        counter_rate_take(&c, 1 + rand() % 100, 60000, 1700000000000);
        counter_window_open(&c, 1000, 1700000000000);
        counter_sum_add(&c, 1, 0);
    }
}

/* A time that is still to come holds nothing back, and is forgotten with the next one. */
static void times_to_come_count_for_nothing(void **state)
{
    (void)state;
    enum { MINUTE_MS = 60000 };
    int64_t now_ms = 1700000000000, later_ms = now_ms + INT64_C(1000) * 86400 * 1000;
    struct counters all = {0};
    struct counter window = {.all = &all}, times = {.all = &all}, slots = {.all = &all};
    counter_window_take(&window, MINUTE_MS, later_ms);
    assert_true(counter_window_open(&window, MINUTE_MS, now_ms));
    for (int i = 0; i < 100; i++) {
        counter_rate_take(&times, 5, MINUTE_MS, later_ms);
        counter_rate_take(&slots, 100, MINUTE_MS, later_ms);
    }
    assert_int_equal(counter_rate_wait(&times, 5, MINUTE_MS, now_ms), 0);
    assert_int_equal(counter_rate_used(&times, MINUTE_MS, now_ms), 0);
    assert_int_equal(counter_rate_wait(&slots, 100, MINUTE_MS, now_ms), 0);
    for (int i = 0; i < 5; i++)
        counter_rate_take(&times, 5, MINUTE_MS, now_ms);
    for (int i = 0; i < 100; i++)
        counter_rate_take(&slots, 100, MINUTE_MS, now_ms);
    assert_true(counter_rate_wait(&times, 5, MINUTE_MS, now_ms) > 0);
    assert_true(counter_rate_wait(&slots, 100, MINUTE_MS, now_ms) > 0);
    assert_int_equal(counter_rate_used(&times, MINUTE_MS, now_ms), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_window_holds_more_than_the_limit),
        cmocka_unit_test(the_limit_is_used),
        cmocka_unit_test(a_limit_that_changes_keeps_its_count),
        cmocka_unit_test(windows_and_sums),
        cmocka_unit_test(damaged_counters_do_no_harm),
        cmocka_unit_test(times_to_come_count_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
