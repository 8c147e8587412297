/* links: dispatcher_parts proto expr core */
/* Quiet hours and local days: what entries mean, and both compared with the C library's idea of local time,
 * moment by moment through a year, in zones that change their clocks in unusual ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "dispatcher/calendar.h"
#include "dispatcher/quiet.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
enum { STEP = 5, STEPS_A_DAY = 1440 / STEP }; /* minutes; all that happens here happens at multiples of it */

static const char *const zone_names[] = {
    "UTC",
    "Europe/Warsaw",
    "America/New_York",
    "Australia/Lord_Howe", /* half an hour of summer time */
    "America/Havana",      /* midnight comes twice */
    "Africa/Cairo",        /* midnight is left out */
    "Africa/Casablanca",   /* changes around Ramadan */
    "Antarctica/Troll",    /* two hours of summer time */
    "Asia/Kathmandu",
    "America/Nuuk", /* changes on the evening before */
    "Pacific/Kiritimati",
    "Etc/GMT+12",
};
enum { ZONES = sizeof zone_names / sizeof zone_names[0] };

/* ---- blocks ---- */

static struct slice *with_hours(const char *const *entries, size_t count, struct slice_block **block)
{
    struct slice *s = slice_new();
    *block = slice_add_block(s, "rule", "lorem", "test.conf", 3);
    struct slice_setting *v = slice_add_setting(*block, "quiet_hours", SLICE_LIST, 5);
    v->list = xcalloc(count, sizeof *v->list);
    v->lines = xcalloc(count, sizeof *v->lines);
    v->count = count;
    for (size_t i = 0; i < count; i++) {
        v->list[i] = xstrdup(entries[i]);
        v->lines[i] = 100 + (unsigned)i;
    }
    return s;
}

static void add_text(struct slice_block *b, const char *name, const char *text, unsigned line)
{
    slice_add_setting(b, name, SLICE_TEXT, line)->text = xstrdup(text);
}

static struct quiet *make(const char *const *entries, size_t count, const char *zone)
{
    struct slice_block *b;
    struct faults faults = {0};
    struct slice *s = with_hours(entries, count, &b);
    if (zone)
        add_text(b, "quiet_zone", zone, 6);
    struct quiet *q = quiet_new(b, &faults);
    for (size_t i = 0; i < faults.count; i++)
        print_error("%s\n", faults.list[i].text);
    assert_int_equal(faults.count, 0);
    assert_non_null(q);
    slice_free(&s);
    return q;
}

static struct quiet *make_one(const char *entry)
{
    return make(&entry, 1, NULL);
}

/* UTC, from "2026-11-27 22:00". */
static int64_t utc(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d %H:%M", &tm);
    assert_true(end && *end == '\0');
    return (int64_t)timegm(&tm) * 1000;
}

/* ---- what entries mean; by a week of which 2026-11-23 is the Monday, in UTC ---- */

struct meaning {
    const char *entry, *now, *until; /* NULL: not quiet */
};

static const struct meaning meanings[] = {
    {"22:00-07:00", "2026-11-23 21:59", NULL},
    {"22:00-07:00", "2026-11-23 22:00", "2026-11-24 07:00"},
    {"22:00-07:00", "2026-11-24 06:59", "2026-11-24 07:00"},
    {"22:00-07:00", "2026-11-24 07:00", NULL},
    {"7:00-8:30", "2026-11-24 07:30", "2026-11-24 08:30"},
    {" 22:00 - 24:00 ", "2026-11-23 23:00", "2026-11-24 00:00"},
    {"00:00-24:00", "2026-11-23 23:00", "2026-12-01 23:00"},
    {"mon-fri 22:00-07:00", "2026-11-27 23:00", "2026-11-28 07:00"},
    {"mon-fri 22:00-07:00", "2026-11-28 06:00", "2026-11-28 07:00"},
    {"mon-fri 22:00-07:00", "2026-11-28 23:00", NULL},
    {"mon-fri 22:00-07:00", "2026-11-30 06:00", NULL}, /* Sunday's night is not Sunday's */
    {"mon-fri 22:00-07:00", "2026-11-23 06:00", NULL},
    {"sun 22:00-07:00", "2026-11-30 06:00", "2026-11-30 07:00"},
    {"sat-sun", "2026-11-27 23:59", NULL},
    {"sat-sun", "2026-11-28 00:00", "2026-11-30 00:00"},
    {"SAT,Sun 10:00-14:00", "2026-11-29 13:00", "2026-11-29 14:00"},
    {"sat,sun 10:00-14:00", "2026-11-29 14:00", NULL},
    {"mon,wed-fri", "2026-11-24 12:00", NULL},
    {"mon,wed-fri", "2026-11-25 12:00", "2026-11-28 00:00"},
    {"fri-mon", "2026-11-27 12:00", "2026-12-01 00:00"},
    {"fri-mon", "2026-11-24 12:00", NULL},
    {"fri 18:00-mon 07:00", "2026-11-27 17:59", NULL},
    {"fri 18:00-mon 07:00", "2026-11-27 18:00", "2026-11-30 07:00"},
    {"fri 18:00-mon 07:00", "2026-11-23 06:59", "2026-11-23 07:00"},
    {"sun 18:00 - mon 24:00", "2026-11-30 12:00", "2026-12-01 00:00"},
    {"mon 08:00-mon 07:00", "2026-11-30 07:30", NULL},
    {"mon 08:00-mon 07:00", "2026-11-23 08:00", "2026-11-30 07:00"},
    {"mon 08:00-mon 09:00", "2026-11-23 08:00", "2026-11-23 09:00"},
};

static void entries_mean(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        const struct meaning *m = &meanings[i];
        struct quiet *q = make_one(m->entry);
        int64_t expected = m->until ? utc(m->until) : 0;
        int64_t found = quiet_until_ms(q, NULL, utc(m->now));
        if (found != expected)
            print_error("%s at %s: %lld\n", m->entry, m->now, (long long)found);
        assert_int_equal(found, expected);
        quiet_free(&q);
    }
}

static void what_touches_is_one(void **state)
{
    (void)state;
    static const char *const night[] = {"22:00-24:00", "mon-fri 00:00-07:00", "sat-sun", "06:30-07:15"};
    struct quiet *q = make(night, 4, NULL);
    assert_int_equal(quiet_until_ms(q, NULL, utc("2026-11-23 22:30")), utc("2026-11-24 07:15"));
    assert_int_equal(quiet_until_ms(q, NULL, utc("2026-11-27 22:30")), utc("2026-11-30 07:15"));
    assert_int_equal(quiet_until_ms(q, NULL, utc("2026-11-24 07:15")), 0);
    quiet_free(&q);
}

static void what_never_ends_has_a_limit(void **state)
{
    (void)state;
    struct quiet *q = make_one("mon-sun");
    for (int64_t now = utc("2026-11-23 10:00"); now < utc("2026-12-25 10:00"); now += 5 * HOUR)
        assert_int_equal(quiet_until_ms(q, NULL, now), now + QUIET_LONGEST_MS);
    quiet_free(&q);
}

static void answers_are_kept_by_zone(void **state)
{
    (void)state;
    struct quiet *q = make_one("22:00-07:00");
    char zone[16];
    int64_t now = utc("2026-11-23 23:00");
    assert_int_equal(quiet_until_ms(q, "Europe/Warsaw", now), utc("2026-11-24 06:00"));
    assert_int_equal(quiet_until_ms(q, "+03:00", now), utc("2026-11-24 04:00"));
    assert_int_equal(quiet_until_ms(q, "Asia/Tokyo", now), 0);
    for (int i = 0; i < 700; i++) {
        snprintf(zone, sizeof zone, "+%02d:%02d", i / 60, i % 60);
        assert_int_equal(quiet_until_ms(q, zone, now), i < 480 ? utc("2026-11-24 07:00") - i * MINUTE : 0);
    }
    assert_int_equal(quiet_until_ms(q, "Europe/Warsaw", now), utc("2026-11-24 06:00"));
    assert_int_equal(quiet_until_ms(q, "Europe/Nowhere", now), utc("2026-11-24 07:00"));
    /* Back in time, as a replay does. */
    assert_int_equal(quiet_until_ms(q, "Europe/Warsaw", utc("2026-07-01 20:30")), utc("2026-07-02 05:00"));
    assert_int_equal(quiet_until_ms(q, "Europe/Warsaw", utc("2026-07-01 19:30")), 0);
    quiet_free(&q);
    q = make((const char *const[]){"22:00-07:00"}, 1, "Asia/Tokyo");
    assert_int_equal(quiet_until_ms(q, "Europe/Warsaw", utc("2026-11-23 14:00")), utc("2026-11-23 22:00"));
    quiet_free(&q);
    assert_int_equal(quiet_until_ms(NULL, "UTC", now), 0);
}

/* ---- clocks that are changed ---- */

static const struct {
    const char *entry, *now, *until;
} changes[] = {
    /* 2026-03-29 02:00 -> 03:00 in Warsaw, at 01:00 UTC. */
    {"22:00-02:30", "2026-03-29 00:59", "2026-03-29 01:00"},
    {"22:00-02:30", "2026-03-29 01:00", NULL},
    {"02:15-02:45", "2026-03-29 00:59", NULL},
    {"02:15-02:45", "2026-03-29 01:00", NULL},
    {"02:30-04:00", "2026-03-29 01:00", "2026-03-29 02:00"},
    {"22:00-07:00", "2026-03-28 22:00", "2026-03-29 05:00"},
    /* 2026-10-25 03:00 -> 02:00, at 01:00 UTC. */
    {"22:00-02:30", "2026-10-24 23:30", "2026-10-25 00:30"},
    {"22:00-02:30", "2026-10-25 00:30", NULL},
    {"22:00-02:30", "2026-10-25 01:15", NULL}, /* 02:15 again */
    {"02:30-03:00", "2026-10-25 00:29", NULL},
    {"02:30-03:00", "2026-10-25 00:30", "2026-10-25 02:00"},
    {"02:30-03:00", "2026-10-25 01:29", "2026-10-25 02:00"},
    {"22:00-07:00", "2026-10-24 22:00", "2026-10-25 06:00"},
};

static void clocks_are_changed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct quiet *q = make_one(changes[i].entry);
        int64_t expected = changes[i].until ? utc(changes[i].until) : 0;
        int64_t found = quiet_until_ms(q, "Europe/Warsaw", utc(changes[i].now));
        if (found != expected)
            print_error("%s at %s: %lld\n", changes[i].entry, changes[i].now, (long long)found);
        assert_int_equal(found, expected);
        quiet_free(&q);
    }
    /* A gap that is left out joins what is around it. */
    static const char *const around[] = {"22:00-02:00", "03:00-07:00"};
    struct quiet *q = make(around, 2, "Europe/Warsaw");
    assert_int_equal(quiet_until_ms(q, NULL, utc("2026-03-28 22:00")), utc("2026-03-29 05:00"));
    assert_int_equal(quiet_until_ms(q, NULL, utc("2026-03-27 22:00")), utc("2026-03-28 01:00"));
    quiet_free(&q);
}

/* Local time as the C library has it, in minutes; the greatest up to each step from START_MS on. Where
 * clocks go back it stands still, which is what this module promises. */
static int64_t *latest_local(const char *zone, int64_t start_ms, size_t steps)
{
    int64_t *latest = xcalloc(steps, sizeof *latest);
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
    for (size_t i = 0; i < steps; i++) {
        time_t t = (time_t)(start_ms / 1000 + (int64_t)i * STEP * 60);
        struct tm tm;
        localtime_r(&t, &tm);
        int64_t local = ((int64_t)t + tm.tm_gmtoff) / 60;
        latest[i] = i > 0 && latest[i - 1] > local ? latest[i - 1] : local;
    }
    return latest;
}

enum { WEEK_MINUTES = 7 * 24 * 60 };

/* The entries of the comparison: mon-fri 22:00-02:30, sat 00:00-24:00, 02:45-03:10, sun 23:15-mon 00:20. */
static bool quiet_by_hand(int64_t local)
{
    int64_t week = (local + INT64_C(3) * 24 * 60) % WEEK_MINUTES;
    int64_t day = week / 1440, minute = week % 1440;
    if (day < 5 && minute >= 22 * 60)
        return true;
    if (day >= 1 && day <= 5 && minute < 150)
        return true;
    if (day == 5 || (minute >= 165 && minute < 190))
        return true;
    return (day == 6 && minute >= 23 * 60 + 15) || (day == 0 && minute < 20);
}

static void compare_quiet(struct quiet *q, const char *zone, int64_t start_ms, size_t steps)
{
    int64_t *latest = latest_local(zone, start_ms, steps);
    size_t end = steps;
    /* From the end on, so that the end of each quiet time is known. */
    for (size_t i = steps; i-- > STEPS_A_DAY;) {
        bool is_quiet = quiet_by_hand(latest[i]);
        int64_t now = start_ms + (int64_t)i * STEP * MINUTE,
                expected = start_ms + (int64_t)end * STEP * MINUTE;
        if (!is_quiet)
            end = i;
        if (end >= steps - STEPS_A_DAY)
            continue;
        int64_t found = quiet_until_ms(q, zone, now);
        if (found != (is_quiet ? expected : 0))
            fail_msg("%s at %lld: %lld, expected %lld", zone, (long long)now, (long long)found,
                     (long long)(is_quiet ? expected : 0));
    }
    free(latest);
}

static void quiet_like_the_c_library(void **state)
{
    (void)state;
    static const char *const entries[] = {"mon-fri 22:00-02:30", "sat", "02:45-03:10", "sun 23:15-mon 00:20"};
    struct quiet *q = make(entries, 4, NULL);
    for (size_t i = 0; i < ZONES; i++)
        compare_quiet(q, zone_names[i], utc("2026-01-01 00:00"), 366 * STEPS_A_DAY);
    quiet_free(&q);
}

/* ---- days and months ---- */

static void days_like_the_c_library(void **state)
{
    (void)state;
    int64_t start = utc("2025-12-30 00:00");
    size_t steps = 370 * STEPS_A_DAY;
    for (size_t z = 0; z < ZONES; z++) {
        int64_t *latest = latest_local(zone_names[z], start, steps);
        int64_t from = 0, to = 0, before = 0;
        char name[CALENDAR_NAME_SIZE];
        for (size_t i = 2 * STEPS_A_DAY; i < steps; i++) {
            int64_t now = start + (int64_t)i * STEP * MINUTE, day = latest[i] / 1440;
            time_t t = (time_t)(day * 86400);
            struct tm tm;
            char expected[CALENDAR_NAME_SIZE];
            calendar_period(zone_names[z], now, CALENDAR_DAY, &from, &to, name);
            strftime(expected, sizeof expected, "%Y-%m-%d", gmtime_r(&t, &tm));
            assert_string_equal(name, expected);
            assert_true(from <= now && now < to);
            if (day != latest[i - 1] / 1440) {
                assert_int_equal(from, now);
                assert_true(before == 0 || before == now);
            }
            before = to;
        }
        free(latest);
    }
}

static void months_follow_each_other(void **state)
{
    (void)state;
    for (size_t z = 0; z < ZONES; z++) {
        int64_t from, to, before = 0, now = utc("2025-12-15 12:00");
        char name[CALENDAR_NAME_SIZE], expected[CALENDAR_NAME_SIZE];
        for (int i = 0; i < 30; i++) {
            int month = 11 + i;
            calendar_period(zone_names[z], now, CALENDAR_MONTH, &from, &to, name);
            snprintf(expected, sizeof expected, "%d-%02d", 2025 + month / 12, month % 12 + 1);
            assert_string_equal(name, expected);
            assert_true(i == 0 || from == before);
            before = now = to;
        }
    }
    int64_t from, to;
    char name[CALENDAR_NAME_SIZE];
    calendar_period("Europe/Warsaw", utc("2026-10-25 12:00"), CALENDAR_DAY, &from, &to, name);
    assert_int_equal(to - from, 25 * HOUR);
    calendar_period("Europe/Warsaw", utc("2026-03-31 23:30"), CALENDAR_MONTH, &from, &to, name);
    assert_string_equal(name, "2026-04");
    assert_int_equal(from, utc("2026-03-31 22:00"));
    calendar_period("Nowhere/At_All", utc("2026-03-31 23:30"), CALENDAR_MONTH, &from, &to, name);
    assert_string_equal(name, "2026-03");
    calendar_period(NULL, 0, CALENDAR_DAY, &from, &to, name);
    assert_int_equal(from, 0);
    assert_int_equal(to, DAY);
}

/* ---- faults ---- */

static const struct {
    const char *entry, *expected;
} wrong[] = {
    {"", "expected a time from 00:00 to 23:59 at ``"},
    {"22:00", "expected `-` and an end at ``"},
    {"22-07", "expected a time from 00:00 to 23:59 at `22-07`"},
    {"22:0-07:00", "expected a time from 00:00 to 23:59 at `22:0-07:00`"},
    {"24:00-07:00", "expected a time from 00:00 to 23:59 at `24:00-07:00`"},
    {"22:00-24:01", "expected a time from 00:00 to 24:00 at `24:01`"},
    {"22:00-22:00", "begins and ends at the same time"},
    {"mon 07:00-mon 07:00", "begins and ends at the same time"},
    {"22:00-123:00", "expected a time from 00:00 to 24:00 at `123:00`"},
    {"22:00-07:00 Europe/Warsaw", "expected nothing more at `Europe/Warsaw`"},
    {"monday 22:00-07:00", "no day `monday`; did you mean `mon`?"},
    {"xmas", "no day `xmas`; expected mon, tue, wed, thu, fri, sat or sun"},
    {"mon-", "expected a day (mon … sun) at ``"},
    {"mon,,tue", "expected a day (mon … sun) at `,tue`"},
    {"mon,tue 18:00-wed 07:00", "expected a time from 00:00 to 24:00 at `wed 07:00`"},
    {"mon 22:00–07:00", "expected `-` and an end at"},
    {"mon 22:00-", "expected a time from 00:00 to 24:00 at ``"},
};

static void every_fault_is_told(void **state)
{
    (void)state;
    enum { WRONG = sizeof wrong / sizeof wrong[0] };
    const char *entries[WRONG + 1];
    struct slice_block *b;
    struct faults faults = {0};
    for (size_t i = 0; i < WRONG; i++)
        entries[i] = wrong[i].entry;
    entries[WRONG] = "22:00-07:00";
    struct slice *s = with_hours(entries, WRONG + 1, &b);
    add_text(b, "quiet_zone", "Europe/Warsow", 6);
    add_text(b, "quiet_action", "dorp", 7);
    assert_null(quiet_new(b, &faults));
    assert_int_equal(faults.count, WRONG + 2);
    for (size_t i = 0; i < WRONG; i++) {
        assert_string_equal(faults.list[i].file, "test.conf");
        assert_int_equal(faults.list[i].line, 100 + i);
        if (!strstr(faults.list[i].text, wrong[i].expected))
            fail_msg("%s", faults.list[i].text);
    }
    assert_string_equal(faults.list[WRONG].text, "`quiet_action`: `dorp`: expected one of hold, drop, pass");
    assert_string_equal(
        faults.list[WRONG + 1].text,
        "`quiet_zone`: `Europe/Warsow`: no such time zone is installed; did you mean `Europe/Warsaw`?");
    faults_free(&faults);
    slice_free(&s);
}

static void without_hours_there_is_nothing(void **state)
{
    (void)state;
    struct faults faults = {0};
    struct slice *s = slice_new();
    struct slice_block *b = slice_add_block(s, "rule", "lorem", "test.conf", 3);
    add_text(b, "quiet_action", "drop", 0);
    assert_null(quiet_new(b, &faults));
    assert_int_equal(faults.count, 0);
    slice_free(&s);
}

static void who_passes(void **state)
{
    (void)state;
    static const struct {
        const char *action, *pass;
        bool critical, normal, bulk;
    } cases[] = {
        {"hold", NULL, true, false, false},    {"hold", "none", false, false, false},
        {"drop", "normal", true, true, false}, {"drop", "bulk", true, true, true},
        {"pass", "none", true, true, true},
    };
    static const enum quiet_action actions[] = {QUIET_HOLD, QUIET_HOLD, QUIET_DROP, QUIET_DROP, QUIET_PASS};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *entry = "22:00-07:00";
        struct faults faults = {0};
        struct slice_block *b;
        struct slice *s = with_hours(&entry, 1, &b);
        add_text(b, "quiet_action", cases[i].action, 0);
        if (cases[i].pass)
            add_text(b, "quiet_pass", cases[i].pass, 0);
        struct quiet *q = quiet_new(b, &faults);
        assert_non_null(q);
        assert_int_equal(quiet_action(q), actions[i]);
        assert_int_equal(quiet_passes(q, PRIORITY_CRITICAL), cases[i].critical);
        assert_int_equal(quiet_passes(q, PRIORITY_NORMAL), cases[i].normal);
        assert_int_equal(quiet_passes(q, PRIORITY_BULK), cases[i].bulk);
        quiet_free(&q);
        slice_free(&s);
    }
}

static int forget(void **state)
{
    (void)state;
    calendar_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_mean),
        cmocka_unit_test(what_touches_is_one),
        cmocka_unit_test(what_never_ends_has_a_limit),
        cmocka_unit_test(answers_are_kept_by_zone),
        cmocka_unit_test(clocks_are_changed),
        cmocka_unit_test(quiet_like_the_c_library),
        cmocka_unit_test(days_like_the_c_library),
        cmocka_unit_test(months_follow_each_other),
        cmocka_unit_test(every_fault_is_told),
        cmocka_unit_test(without_hours_there_is_nothing),
        cmocka_unit_test(who_passes),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
