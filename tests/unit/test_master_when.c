/* links: master_parts */
/* Moments of the past, as people write them. */
#include "master/when.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* 2026-03-29T12:00:00Z */
#define NOW INT64_C(1774785600000)
#define HOUR INT64_C(3600000)

static const struct {
    const char *text;
    int64_t ms; /* -1: refused */
} rows[] = {
    {"2h", NOW - 2 * HOUR},
    {"1d", NOW - 24 * HOUR},
    {"2026-03-29T11:00:00Z", NOW - HOUR},
    {"2026-03-29 11:00Z", NOW - HOUR},
    {"2026-03-29T13:00:00+02:00", NOW - HOUR},
    {"2026-03-29", NOW - 12 * HOUR},
    {"11:30", NOW - HOUR / 2},
    {"22:00", NOW - 14 * HOUR}, /* yesterday's */
    {"yesterday", -1},
    {"", -1},
    {"2026-13-01", -1},
};

static void past_is_meant(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ms = 0;
        int rc = when_parse(rows[i].text, NOW, &ms);
        if (rc != (rows[i].ms < 0 ? -1 : 0) || (rc == 0 && ms != rows[i].ms))
            fail_msg("%s: %d, %lld", rows[i].text, rc, (long long)ms);
    }
}

/* The day had 23 hours: in the night before noon the clocks went forward. */
static void a_day_is_not_always_of_one_length(void **state)
{
    (void)state;
    int64_t ms;
    setenv("TZ", "Europe/Warsaw", 1);
    tzset();
    assert_int_equal(when_parse("22:00", NOW, &ms), 0);
    assert_int_equal(ms, NOW - 15 * HOUR);
    assert_int_equal(when_parse("14:01", NOW, &ms), 0);
    assert_int_equal(ms, NOW - 23 * HOUR + HOUR / 60);
    assert_int_equal(when_parse("14:00", NOW, &ms), 0);
    assert_int_equal(ms, NOW);
    setenv("TZ", "UTC", 1);
    tzset();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(past_is_meant),
                                              cmocka_unit_test(a_day_is_not_always_of_one_length)};
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
