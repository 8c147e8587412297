/* links: dispatcher_parts proto expr core */
/* Attempts to one number: what counts, for how long, and who waits for whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dispatcher/number_limit.h"

enum { LIMIT = 3, PER_MS = 60000, GRAIN_MS = PER_MS / NUMBER_LIMIT_GRAINS + 1, NORMAL = 1, BULK = 2 };

static struct number_limit *l;
static uint64_t now_ms;

static int setup(void **state)
{
    (void)state;
    l = number_limit_new(LIMIT, PER_MS);
    now_ms = 1000000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    number_limit_free(&l);
    return 0;
}

static uint64_t key_of(unsigned n)
{
    char number[20];
    snprintf(number, sizeof number, "+48500%06u", n);
    return number_limit_key("smsapi", number);
}

static int64_t take(unsigned n)
{
    return number_limit_take(l, key_of(n), NORMAL, false, now_ms);
}

static int64_t take_again(unsigned n)
{
    return number_limit_take(l, key_of(n), NORMAL, true, now_ms);
}

static void keys_differ_by_provider_and_number(void **state)
{
    (void)state;
    uint64_t key = number_limit_key("smsapi", "+48500500500");
    assert_true(key == number_limit_key("smsapi", "+48500500500"));
    assert_true(key != number_limit_key("other", "+48500500500"));
    assert_true(key != number_limit_key("smsapi", "+48500500501"));
    assert_true(number_limit_key("a", "bc") != number_limit_key("ab", "c"));
}

static void no_more_than_the_limit(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        assert_int_equal(take(1), 0);
    assert_true(take(1) > 0);
    /* and it is nobody else's trouble */
    assert_int_equal(take(2), 0);
}

static void an_attempt_counts_until_a_window_after_its_end(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        take(1);
    now_ms += 10 * PER_MS;
    assert_true(take_again(1) >= PER_MS); /* they are still under way */
    number_limit_end(l, key_of(1), now_ms);
    int64_t wait_ms = take_again(1);
    assert_in_range(wait_ms, PER_MS, PER_MS + GRAIN_MS);
    now_ms += (uint64_t)PER_MS - 1;
    assert_true(take_again(1) > 0);
    now_ms += 1 + GRAIN_MS;
    assert_int_equal(take_again(1), 0);
    assert_true(take_again(1) > 0);
}

static void what_did_not_happen_does_not_count(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        take(1);
    number_limit_undo(l, key_of(1));
    assert_int_equal(take(1), 0);
    assert_true(take(1) > 0);
}

/* Whatever the delays between taking, arriving and ending: no window sees more than the limit arrive. */
static void no_window_sees_more(void **state)
{
    (void)state;
    enum { COUNT = 2000, SLOTS = 8 };
    static uint64_t arrived[COUNT];
    size_t count = 0, open = 0;
    uint64_t ends[SLOTS];
    srand(4711);
    while (count < COUNT) {
        now_ms += (uint64_t)(rand() % 3000);
        for (size_t i = 0; i < open; i++)
            if (ends[i] <= now_ms) {
                number_limit_end(l, key_of(1), now_ms);
                ends[i--] = ends[--open];
            }
        if (open < SLOTS && number_limit_take(l, key_of(1), rand() % 3, rand() % 2, now_ms) == 0) {
            uint64_t last = count ? arrived[count - 1] : 0;
            uint64_t at = now_ms + (uint64_t)(rand() % 9000);
            ends[open++] = at + (uint64_t)(rand() % 9000);
            arrived[count++] = at > last ? at : last; /* as late as may be */
            if (arrived[count - 1] > ends[open - 1])
                ends[open - 1] = arrived[count - 1];
        }
    }
    for (size_t i = 0; i + LIMIT < COUNT; i++)
        assert_true(arrived[i + LIMIT] - arrived[i] >= PER_MS);
}

/* ---- who waits ---- */

static void many_are_told_different_times(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++) {
        take(1);
        number_limit_end(l, key_of(1), now_ms);
    }
    int64_t last = 0;
    for (int i = 0; i < 10 * LIMIT; i++) {
        int64_t wait_ms = take(1);
        assert_true(wait_ms >= last);
        assert_in_range(wait_ms, PER_MS * (1 + i / LIMIT), PER_MS * (1 + i / LIMIT) + GRAIN_MS);
        last = wait_ms;
    }
}

static void nobody_passes_who_waits_for_the_number(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        take(1);
    assert_true(take(1) > 0);
    number_limit_undo(l, key_of(1)); /* there is room, but it is kept */
    assert_true(take(1) > 0);
    assert_int_equal(take_again(1), 0);
}

static void who_waits_in_bulk_does_not_hold_the_urgent(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        take(1);
    for (int i = 0; i < 10; i++)
        assert_true(number_limit_take(l, key_of(1), BULK, false, now_ms) > 0);
    number_limit_undo(l, key_of(1));
    assert_int_equal(take(1), 0);
}

static void waiting_goes_only_so_far_ahead(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT; i++)
        take(1);
    for (int i = 0; i < 10000; i++)
        assert_in_range(take(1), 1, 17 * PER_MS);
}

/* ---- the provider's own word ---- */

static void a_blocked_number_waits(void **state)
{
    (void)state;
    number_limit_block(l, key_of(1), now_ms + 5000);
    assert_in_range(take(1), 5000, 5001);
    assert_int_equal(take(2), 0);
    assert_int_equal(number_limit_waiting(l, now_ms), 1);
    now_ms += 5001;
    assert_int_equal(take_again(1), 0);
    assert_int_equal(number_limit_waiting(l, now_ms), 0);
}

static void without_a_limit_only_blocks_count(void **state)
{
    (void)state;
    number_limit_free(&l);
    l = number_limit_new(-1, 1);
    assert_false(number_limit_counts(l));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(take(1), 0);
    number_limit_end(l, key_of(1), now_ms);
    number_limit_block(l, key_of(1), now_ms + 5000);
    for (int i = 0; i < 1000; i++)
        assert_in_range(take(1), 5000, 5001);
    assert_int_equal(take(2), 0);
    now_ms += 5001;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(take(1), 0);
}

/* ---- after a restart ---- */

static void what_was_before_counts_for_the_rest_of_its_window(void **state)
{
    (void)state;
    number_limit_restore(l, key_of(1), 50000, now_ms);
    number_limit_restore(l, key_of(1), 10000, now_ms);
    number_limit_restore(l, key_of(1), PER_MS, now_ms);
    number_limit_add(l, key_of(1)); /* a lease that was adopted */
    assert_in_range(take_again(1), PER_MS - 50000, PER_MS - 50000 + GRAIN_MS);
    number_limit_end(l, key_of(1), now_ms);
    assert_in_range(take_again(1), PER_MS - 50000, PER_MS - 50000 + GRAIN_MS);
    now_ms += PER_MS - 50000 + GRAIN_MS;
    assert_int_equal(take_again(1), 0);
    assert_in_range(take_again(1), 1, PER_MS - 10000 + GRAIN_MS);
}

static void numbers_are_forgotten_and_bounded(void **state)
{
    (void)state;
    for (unsigned n = 0; n < NUMBER_LIMIT_MAX; n++)
        assert_int_equal(take(n), 0);
    assert_true(take(NUMBER_LIMIT_MAX) > 0); /* waits: what is not known may be at its limit */
    for (unsigned n = 0; n < NUMBER_LIMIT_MAX; n++)
        number_limit_end(l, key_of(n), now_ms);
    assert_true(take(NUMBER_LIMIT_MAX) > 0);
    now_ms += PER_MS + GRAIN_MS;
    assert_int_equal(take(NUMBER_LIMIT_MAX), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_differ_by_provider_and_number),
        TEST(no_more_than_the_limit),
        TEST(an_attempt_counts_until_a_window_after_its_end),
        TEST(what_did_not_happen_does_not_count),
        TEST(no_window_sees_more),
        TEST(many_are_told_different_times),
        TEST(nobody_passes_who_waits_for_the_number),
        TEST(who_waits_in_bulk_does_not_hold_the_urgent),
        TEST(waiting_goes_only_so_far_ahead),
        TEST(a_blocked_number_waits),
        TEST(without_a_limit_only_blocks_count),
        TEST(what_was_before_counts_for_the_rest_of_its_window),
        TEST(numbers_are_forgotten_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
