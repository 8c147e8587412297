/* links: master_parts */
/* Moments as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "master/moment.h"

/* 2026-11-27 12:00 in Warsaw. */
#define NOW INT64_C(1795777200000)
#define HOUR INT64_C(3600000)

static const struct {
    const char *text;
    int64_t ms; /* -1: it is none */
} cases[] = {
    {"18:00", NOW + 6 * HOUR},
    {"18:00:30", NOW + 6 * HOUR + 30000},
    {"12:00", NOW + 24 * HOUR}, /* the next one, not this one */
    {"07:30", NOW + 19 * HOUR + HOUR / 2},
    {"2026-11-27 22:00", NOW + 10 * HOUR},
    {"2026-11-27T22:00", NOW + 10 * HOUR},
    {"2026-11-27T22:00:05", NOW + 10 * HOUR + 5000},
    {"2026-11-27T22:00Z", NOW + 11 * HOUR},
    {"2026-11-27T22:00:00+01:00", NOW + 10 * HOUR},
    {"2026-11-27 22:00-0230", NOW + 13 * HOUR + HOUR / 2},
    {"2026-11-28", NOW + 12 * HOUR},
    {"2026-07-01 12:00", INT64_C(1782900000000)}, /* summer time */
    {"", -1},
    {"tomorrow", -1},
    {"25:00", -1},
    {"18:00 CET", -1},
    {"18:61", -1},
    {"2026-02-30 10:00", -1},
    {"2026-13-01", -1},
    {"2026-11-27 ", -1},
    {"2026-11-27x", -1},
    {"2026-11-27 22:00+1", -1},
    {"2026-11-27 22:00+24:00", -1},
    {"1795777200", -1},
};

static void moments(void **state)
{
    (void)state;
    setenv("TZ", "Europe/Warsaw", 1);
    tzset();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ms = -1;
        int rc = moment_parse(cases[i].text, NOW, &ms);
        if (rc != (cases[i].ms < 0 ? -1 : 0) || (rc == 0 && ms != cases[i].ms))
            fail_msg("\"%s\": %d, %lld", cases[i].text, rc, (long long)ms);
    }
    char out[32];
    assert_string_equal(moment_format(NOW, out, sizeof out), "2026-11-27 12:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(moments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
