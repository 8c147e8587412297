/* links: conf proto core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/units.h"

struct sample {
    const char *text;
    int64_t value; /* -1: refused */
};

static const struct sample durations[] = {
    {"250ms", 250},
    {"5s", 5000},
    {"3m", 180000},
    {"3min", 180000},
    {"2h", 7200000},
    {"7d", 604800000},
    {"0", 0},
    {"0s", 0},
    {"007s", 7000},
    {"", -1},
    {"5", -1},
    {"s", -1},
    {"5 s", -1},
    {"5 sec", -1},
    {"1.5s", -1},
    {"-5s", -1},
    {"+5s", -1},
    {"5S", -1},
    {"5s ", -1},
    {" 5s", -1},
    {"5ss", -1},
    {"5w", -1},
    {"off", -1},
    {"106751991168d", -1},
    {"106751991167d", INT64_C(9223372036828800000)},
};

static const struct sample sizes[] = {
    {"512B", 512},
    {"64KiB", 65536},
    {"64MiB", 67108864},
    {"1GiB", INT64_C(1) << 30},
    {"1TiB", INT64_C(1) << 40},
    {"0", 0},
    {"64", -1},
    {"64MB", -1},
    {"64kib", -1},
    {"64 MiB", -1},
    {"-1MiB", -1},
    {"", -1},
    {"9223372036854775808B", -1},
    {"9223372036854775807B", INT64_MAX},
    {"8388608TiB", -1},
};

static const struct sample numbers[] = {
    {"0", 0},   {"42", 42},   {"", -1},    {"4 2", -1},
    {"-1", -1}, {"0x10", -1}, {"1e3", -1}, {"99999999999999999999", -1},
};

static const struct sample switches[] = {
    {"on", 1}, {"yes", 1}, {"true", 1}, {"off", 0}, {"no", 0}, {"false", 0}, {"On", -1}, {"1", -1}, {"", -1},
};

static const struct sample amounts[] = {
    {"20", 20000000}, {"0.09", 90000}, {"20.50", 20500000}, {"0.000001", 1}, {"0.0000001", -1}, {"1.", -1},
    {".5", -1},       {"1,5", -1},     {"-1", -1},          {"", -1},        {"1.5 PLN", -1},
};

static const struct {
    const char *text;
    int64_t count, per_ms; /* count 0: refused */
} rates[] = {
    {"100/s", 100, 1000},
    {"10/60s", 10, 60000},
    {"60/h", 60, 3600000},
    {"5/15min", 5, 900000},
    {"1/min", 1, 60000},
    {"1/m", 1, 60000},
    {"12/d", 12, 86400000},
    {"3/250ms", 3, 250},
    {"100", 0, 0},
    {"0/s", 0, 0},
    {"10/0s", 0, 0},
    {"10/", 0, 0},
    {"/s", 0, 0},
    {"10/s/s", 0, 0},
    {"10 / s", 0, 0},
    {"10/60", 0, 0},
    {"-1/s", 0, 0},
    {"10/sec", 0, 0},
    {"1/99999999999999d", 0, 0},
    {"1/366d", 1, 31622400000},
    {"1/367d", 0, 0},
};

static void check(const struct sample *samples, size_t count, int (*read)(const char *, int64_t *))
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = -1;
        int rc = read(samples[i].text, &value);
        if (rc != (samples[i].value < 0 ? -1 : 0) || (rc == 0 && value != samples[i].value))
            fail_msg("`%s`: %d, %lld", samples[i].text, rc, (long long)value);
    }
}

#define CHECK(samples, read) check(samples, sizeof samples / sizeof samples[0], read)

static void every_unit(void **state)
{
    (void)state;
    CHECK(durations, units_duration);
    CHECK(sizes, units_size);
    CHECK(numbers, units_number);
    CHECK(switches, units_switch);
    CHECK(amounts, units_money);
}

static void every_rate(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        int64_t count = 0, per_ms = 0;
        int rc = units_rate(rates[i].text, &count, &per_ms);
        if (rc != (rates[i].count ? 0 : -1) ||
            (rc == 0 && (count != rates[i].count || per_ms != rates[i].per_ms)))
            fail_msg("`%s`: %d, %lld per %lld", rates[i].text, rc, (long long)count, (long long)per_ms);
    }
}

static void written_again(void **state)
{
    char out[32];
    (void)state;
    assert_string_equal(units_format_duration(500, out, sizeof out), "500ms");
    assert_string_equal(units_format_duration(90000, out, sizeof out), "90s");
    assert_string_equal(units_format_duration(120000, out, sizeof out), "2m");
    assert_string_equal(units_format_duration(0, out, sizeof out), "0");
    assert_string_equal(units_format_duration(2592000000, out, sizeof out), "30d");
    assert_string_equal(units_format_size(4096, out, sizeof out), "4KiB");
    assert_string_equal(units_format_size(4097, out, sizeof out), "4097B");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit),
        cmocka_unit_test(every_rate),
        cmocka_unit_test(written_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
