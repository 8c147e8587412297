/* links: dispatcher_parts proto expr core */
#include "tests/unit/store_fixture.h"

#include "core/clock.h"
#include "dispatcher/store_parts.h"

static const int64_t HOUR = 3600000, DAY = 24 * 3600000;
static const int64_t epoch = 1800000000000;

static void it_follows_the_host(void **state)
{
    (void)state;
    struct store_clock c = STORE_CLOCK;
    store_clock_start(&c, 0, epoch, 5000);
    assert_int_equal(store_clock_at(&c, epoch, 5000), epoch);
    assert_int_equal(store_clock_at(&c, epoch + 700, 5700), epoch + 700);
    assert_int_equal(store_clock_at(&c, epoch + 5000, 10000), epoch + 5000);
}

static void a_step_back_neither_stalls_nor_reverses(void **state)
{
    (void)state;
    struct store_clock c = STORE_CLOCK;
    store_clock_start(&c, 0, epoch, 0);
    int64_t last = store_clock_at(&c, epoch, 0);
    for (int64_t ms = 100; ms <= HOUR; ms += 100) {
        int64_t now = store_clock_at(&c, epoch - 5 * HOUR + ms, (uint64_t)ms);
        assert_true(now >= last);
        last = now;
    }
    /* slower by a 32nd at most, so that what is ahead is met again */
    assert_in_range(last - epoch, HOUR - HOUR / 32 - 1000, HOUR);
}

static void a_step_ahead_is_taken(void **state)
{
    (void)state;
    struct store_clock c = STORE_CLOCK;
    store_clock_start(&c, 0, epoch, 0);
    assert_int_equal(store_clock_at(&c, epoch + 3 * HOUR, 10), epoch + 3 * HOUR);
    assert_int_equal(store_clock_at(&c, epoch + 20, 20), epoch + 3 * HOUR + 0);
    int64_t now = store_clock_at(&c, epoch + 10000, 10010);
    assert_in_range(now, epoch + 3 * HOUR, epoch + 3 * HOUR + 10010);
}

static void an_offset_is_worked_off(void **state)
{
    (void)state;
    struct store_clock c = STORE_CLOCK;
    store_clock_start(&c, epoch + HOUR, epoch, 0);
    int64_t met = 0;
    for (int64_t ms = 0; ms < 60 * HOUR && !met; ms += 10000)
        if (store_clock_at(&c, epoch + ms, (uint64_t)ms) == epoch + ms)
            met = ms;
    assert_in_range(met, 31 * HOUR, 33 * HOUR);
}

static void twenty_three_hours_are_less_than_a_day(void **state)
{
    (void)state;
    struct store_clock c = STORE_CLOCK;
    store_clock_start(&c, epoch + 30 * DAY, epoch, 0);
    int64_t start = store_clock_at(&c, epoch, 0), ms = 0;
    while (store_clock_at(&c, epoch + ms, (uint64_t)ms) < start + 23 * HOUR)
        ms += 10000;
    assert_true(ms < DAY);
}

static void a_record_counts_the_time_of_the_same_boot(void **state)
{
    (void)state;
    struct store_clock c = STORE_CLOCK;
    char record[128];
    store_clock_start(&c, epoch + 50 * DAY * 365, clock_wall_ms(), clock_boot_ms());
    store_clock_print(&c, record, sizeof record);
    uint64_t boot = clock_boot_ms();
    int64_t at = store_clock_parse(record, boot);
    int64_t later = store_clock_parse(record, boot + 7 * (uint64_t)HOUR);
    assert_true(at >= epoch + 50 * DAY * 365);
    assert_int_equal(later - at, 7 * HOUR);
    assert_int_equal(store_clock_parse("1234 99999999 00000000-0000-0000-0000-000000000000", boot), 1234);
    assert_int_equal(store_clock_parse(NULL, boot), 0);
    assert_int_equal(store_clock_parse("nonsense", boot), 0);
}

static void it_is_kept_across_openings(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    int64_t ahead = store_now_ms(f.store) + 5 * HOUR;
    /* the two clocks are read one after the other and rounded */
    assert_in_range(store_clock_behind_ms(f.store), 0, 100);
    /* as if the host's clock had been five hours ahead and was set right after that */
    store_clock_start(&f.store->clock, ahead, clock_wall_ms(), clock_boot_ms());
    fixture_fill(&f, 1, 1);
    store_close(&f.store);
    fixture_open(&f);
    assert_true(store_now_ms(f.store) >= ahead);
    assert_in_range(store_clock_behind_ms(f.store), 4 * HOUR, 6 * HOUR);
    fixture_end(&f);
}

int main(void)
{
    log_configure(LOG_LOGFMT, LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_follows_the_host),
        cmocka_unit_test(a_step_back_neither_stalls_nor_reverses),
        cmocka_unit_test(a_step_ahead_is_taken),
        cmocka_unit_test(an_offset_is_worked_off),
        cmocka_unit_test(twenty_three_hours_are_less_than_a_day),
        cmocka_unit_test(a_record_counts_the_time_of_the_same_boot),
        cmocka_unit_test(it_is_kept_across_openings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
