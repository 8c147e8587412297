/* links: text expr core */
/*
 * What templates have beyond the event: plural forms, dates in the recipient's zone, short strings.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <string.h>

#include "dispatcher/expr/template.h"
#include "dispatcher/text/language.h"
#include "dispatcher/text/message_env.h"

/* Renders for somebody; numbers and times come from the template itself. */
static struct expr_template_result render(const char *source, const char *lang, const char *zone, char *out,
                                          size_t size)
{
    struct expr_value values[MESSAGE_SLOTS];
    struct message_context context = {.lang = lang, .zone = zone};
    struct expr_activation activation = {values, MESSAGE_SLOTS, &context, 0};
    struct expr_error error;
    struct expr_arena *arena = expr_arena_new(1u << 20);
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        values[i] = expr_string_z("event");
    values[EXPR_SLOT_TIME] = expr_timestamp_ms(INT64_C(1774746000000)); /* 2026-03-29T01:00:00Z */
    message_values(values, "my rule", &context);
    struct expr_template *tmpl = expr_template_compile(source, strlen(source), message_env(), &error);
    if (tmpl == NULL)
        fail_msg("%s: %s", source, error.message);
    struct expr_template_result result = expr_template_render(tmpl, &activation, arena, 0, out, size);
    expr_template_free(&tmpl);
    expr_arena_free(&arena);
    return result;
}

static void expect(const char *source, const char *lang, const char *zone, const char *want)
{
    char out[1024];
    struct expr_template_result result = render(source, lang, zone, out, sizeof out);
    if (strcmp(out, want) != 0 || result.failures > 0)
        fail_msg("%s (%s, %s): '%s' %s instead of '%s'", source, lang, zone, out, result.failure, want);
}

static void expect_failure(const char *source, const char *lang, const char *zone, const char *want)
{
    char out[1024];
    struct expr_template_result result = render(source, lang, zone, out, sizeof out);
    assert_string_equal(out, "?");
    if (strstr(result.failure, want) == NULL)
        fail_msg("%s: '%s' instead of '%s'", source, result.failure, want);
}

/* ---- plural() -------------------------------------------------------------------------------- */

static void test_polish(void **state)
{
    static const struct {
        int number;
        const char *want;
    } cases[] = {
        {0, "wiadomości (wiele)"},   {1, "wiadomość"},
        {2, "wiadomości"},           {3, "wiadomości"},
        {4, "wiadomości"},           {5, "wiadomości (wiele)"},
        {11, "wiadomości (wiele)"},  {12, "wiadomości (wiele)"},
        {13, "wiadomości (wiele)"},  {14, "wiadomości (wiele)"},
        {21, "wiadomości (wiele)"},  {22, "wiadomości"},
        {24, "wiadomości"},          {25, "wiadomości (wiele)"},
        {31, "wiadomości (wiele)"},  {100, "wiadomości (wiele)"},
        {101, "wiadomości (wiele)"}, {102, "wiadomości"},
        {111, "wiadomości (wiele)"}, {112, "wiadomości (wiele)"},
        {114, "wiadomości (wiele)"}, {122, "wiadomości"},
        {1002, "wiadomości"},        {1012, "wiadomości (wiele)"},
        {-1, "wiadomość"},           {-2, "wiadomości"},
    };
    char source[200];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(source, sizeof source, "{{ plural(%d, 'wiadomość', 'wiadomości', 'wiadomości (wiele)') }}",
                 cases[i].number);
        expect(source, "pl", "UTC", cases[i].want);
        expect(source, "PL_pl.UTF-8", "UTC", cases[i].want);
    }
}

/* For each language the form of some numbers, one digit for each: what the rules of CLDR say. */
static void test_plural_rules(void **state)
{
    static const unsigned numbers[] = {0,  1,  2,  3,  4,  5,   6,   10,  11, 12,
                                       19, 20, 21, 22, 25, 100, 101, 102, 111};
    static const struct {
        const char *languages;
        size_t forms;
        const char *want;
    } cases[] = {
        {"en de nl sv da nb nn no it es fi et hu tr el bg pt-PT pt_PT xx", 2, "1011111111111111111"},
        {"fr pt pt-BR fa hi hy", 2, "0011111111111111111"},
        {"is mk", 2, "1011111111110111011"},
        {"ja zh zh-Hant ko vi th id", 1, "0000000000000000000"},
        {"pl", 3, "2011122222222122212"},
        {"ru uk be sr hr bs", 3, "2011122222220122012"},
        {"cs sk", 3, "2011122222222222222"},
        {"lt", 3, "2011111222220112012"},
        {"lv", 3, "0122222000001220120"},
        {"ro", 3, "1011111111122222111"},
        {"he iw", 3, "2012222222222222222"},
        {"sl hsb", 4, "3012233333333333013"},
        {"ga", 5, "4012222344444444444"},
        {"gd", 4, "3012222201233333333"},
        {"mt", 5, "2012222233344444443"},
        {"ar", 6, "0123333344444445554"},
        {"cy", 6, "0123554555555555555"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char list[100];
        char *rest = list;
        snprintf(list, sizeof list, "%s", cases[i].languages);
        for (char *lang = strtok_r(list, " ", &rest); lang != NULL; lang = strtok_r(NULL, " ", &rest)) {
            assert_int_equal(language_plural_forms(lang), cases[i].forms);
            for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++)
                if (language_plural(lang, numbers[n]) != (size_t)(cases[i].want[n] - '0'))
                    fail_msg("%s %u: form %zu", lang, numbers[n], language_plural(lang, numbers[n]));
        }
    }
    for (uint64_t n = 0; n < 1000; n++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            assert_true(language_plural(cases[i].languages, n) <= 5);
    assert_int_equal(language_plural_forms(NULL), 2);
    assert_int_equal(language_plural("", UINT64_MAX), 1);
}

static void test_plural(void **state)
{
    (void)state;
    expect("{{ 3 }} {{ plural(3, 'message', 'messages') }}", "en", NULL, "3 messages");
    expect("{{ plural(1u, 'message', 'messages') }}", NULL, NULL, "message");
    expect("{{ plural(size([1, 2]), 1, 2) }}", "en", NULL, "2");
    expect("{{ plural(-9223372036854775808, 'a', 'b', 'c') }}", "pl", NULL, "c");
    /* written for another language: the first for one, the last for the rest */
    expect("{{ plural(1, 'message', 'messages') }}", "ja", NULL, "message");
    expect("{{ plural(2, 'message', 'messages') }}", "ja", NULL, "messages");
    expect("{{ plural(2, 'message', 'messages') }}", "pl", NULL, "messages");
    expect("{{ plural(0, 'message', 'messages') }}", "ar", NULL, "messages");
    expect("{{ plural(2, 'wiadomość', 'wiadomości', 'wiadomości (wiele)') }}", "en", NULL,
           "wiadomości (wiele)");
    expect("{{ plural(7, 'all') }}", "pl", NULL, "all");
    expect_failure("{{ plural(dyn(1.0), 'a', 'b') }}", "en", NULL, "plural() wants a whole number");
    expect_failure("{{ plural(dyn('1'), 'a', 'b') }}", "en", NULL, "plural() wants a whole number");
    expect_failure("{{ plural(dyn(null), 'a', 'b') }}", "en", NULL, "plural() wants a whole number");
    expect("{{ plural(count, 'a', 'b') ?? 'none' }}", "en", NULL, "none");
}

/* ---- date() ---------------------------------------------------------------------------------- */

static void test_date(void **state)
{
    static const struct {
        const char *source;
        const char *lang;
        const char *zone;
        const char *want;
    } cases[] = {
        {"{{ date(time) }}", "en", "UTC", "2026-03-29 01:00"},
        {"{{ date(time) }}", NULL, NULL, "2026-03-29 01:00"},
        {"{{ date(time) }}", "en", "", "2026-03-29 01:00"},
        /* the hour of the change to summer time */
        {"{{ date(time) }}", "en", "Europe/Warsaw", "2026-03-29 03:00"},
        {"{{ date(time - duration('1s')) }}", "en", "Europe/Warsaw", "2026-03-29 01:59"},
        {"{{ date(timestamp('2026-10-25T00:59:59Z'), '%H:%M') }}", "en", "Europe/Warsaw", "02:59"},
        {"{{ date(timestamp('2026-10-25T01:00:00Z'), '%H:%M') }}", "en", "Europe/Warsaw", "02:00"},
        {"{{ date(time) }} {{ date(time, '%d') }}", "en", "America/Los_Angeles", "2026-03-28 18:00 28"},
        {"{{ date(time) }}", "en", "+05:30", "2026-03-29 06:30"},
        {"{{ date(timestamp('2026-01-02T03:04:05Z'), '%Y %m %d %e %H %M %S %j %%') }}", "en", "UTC",
         "2026 01 02 2 03 04 05 002 %"},
        {"{{ date(timestamp('0001-01-01T00:00:00Z'), '%Y') }}", "en", "-01:00", "0000"},
        {"{{ date(timestamp('9999-12-31T23:59:59Z'), '%Y') }}", "en", "+01:00", "10000"},
        {"{{ date(time, '') }}", "en", "UTC", ""},
        {"{{ date(time, 'o’clock ą') }}", "en", "UTC", "o’clock ą"},
        {"{{ date(time, '%a %A %e %b %B') }}", "en", "UTC", "Sun Sunday 29 Mar March"},
        {"{{ date(time, '%a %A %e %b %B') }}", "pl", "UTC", "niedz niedziela 29 mar marca"},
        {"{{ date(time, '%a %A %e. %b %B') }}", "de-AT", "UTC", "So Sonntag 29. März März"},
        {"{{ date(time, '%a %A %e. %b %B') }}", "cs", "UTC", "ne neděle 29. bře března"},
        {"{{ date(time, '%a %A %e %b %B') }}", "fr", "UTC", "dim dimanche 29 mars mars"},
        {"{{ date(time, '%a %A %e %b %B') }}", "es", "UTC", "dom domingo 29 mar marzo"},
        {"{{ date(time, '%a %A %e %b %B') }}", "uk", "UTC", "нд неділя 29 бер березня"},
        {"{{ date(time, '%a %A %e. %b %B') }}", "nb", "UTC", "søn søndag 29. mars mars"},
        {"{{ date(time, '%A') }}", "no", "UTC", "søndag"},
        {"{{ date(time, '%A') }}", "tlh", "UTC", "Sunday"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect(cases[i].source, cases[i].lang, cases[i].zone, cases[i].want);
}

/* Every day and month of every language has its names. */
static void test_names(void **state)
{
    static const char languages[] =
        "en bg cs da de el es et fi fr hr hu it lt lv nb nl pl pt ro ru sk sl sr sv tr uk";
    char out[4 * LANGUAGE_DATE_FACTOR * 4];
    (void)state;
    for (const char *lang = languages; lang < languages + sizeof languages; lang += 3) {
        for (int i = 0; i < 84; i++) {
            struct time_fields fields = {.year = 2026, .month = 1 + i % 12, .day = 1, .weekday = i % 7};
            size_t bad = 0;
            long length = language_date(lang, &fields, "%A %a %B %b", 11, out, &bad);
            assert_true(length > 11 && length < 100);
            assert_null(memmem(out, (size_t)length, "  ", 2));
        }
    }
}

static void test_date_failures(void **state)
{
    char format[500];
    (void)state;
    expect_failure("{{ date(dyn('2026-01-01')) }}", "en", "UTC", "date() wants a timestamp");
    expect_failure("{{ date(dyn(1)) }}", "en", "UTC", "date() wants a timestamp");
    expect_failure("{{ date(time, dyn(1)) }}", "en", "UTC", "date() wants a format");
    expect_failure("{{ date(time, time == time ? '%Q' : '') }}", "en", "UTC", "does not know %Q");
    expect_failure("{{ date(time, time == time ? 'x%' : '') }}", "en", "UTC", "not followed by a letter");
    expect_failure("{{ date(time, time == time ? '%ą' : '') }}", "en", "UTC", "not followed by a letter");
    expect_failure("{{ date(time) }}", "en", "Mars/Olympus", "no time zone 'Mars/Olympus'");
    expect_failure("{{ date(time) }}", "en", "../../etc/passwd", "no time zone");
    expect_failure("{{ date(since) }}", "en", "UTC", "only digests and summaries");
    snprintf(format, sizeof format, "{{ date(time, time == time ? '%0201d' : '') }}", 0);
    expect_failure(format, "en", "UTC", "at most 200 bytes");
}

/* A literal is read with the configuration. */
static void test_date_literals(void **state)
{
    static const struct {
        const char *source, *says;
        unsigned column;
    } cases[] = {
        {"{{ date(time, '%Q') }}", "does not know %Q", 15},
        {"{{ date(since, 'x%') ?? '' }}", "not followed by a letter", 16},
        {"{{ [date(until, '%ą')] }}", "not followed by a letter", 17},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr_error error;
        assert_null(expr_template_compile(cases[i].source, strlen(cases[i].source), message_env(), &error));
        if (!strstr(error.message, cases[i].says) || error.column != cases[i].column)
            fail_msg("%s: column %u: %s", cases[i].source, error.column, error.message);
    }
}

/* ---- short() and the names ------------------------------------------------------------------- */

static void test_short(void **state)
{
    (void)state;
    expect("{{ short('abcdef', 6) }}", "en", NULL, "abcdef");
    expect("{{ short('abcdefg', 6) }}", "en", NULL, "abc...");
    expect("{{ short('zażółć gęślą', 6) }}", "en", NULL, "zaż...");
    expect("{{ short('abcdef', 3) }}", "en", NULL, "abc");
    expect("{{ short('abcdef', 0) }}", "en", NULL, "");
    expect("{{ short('', 0) }}", "en", NULL, "");
    expect("{{ short('abcdef', 1000) }}", "en", NULL, "abcdef");
    /* nothing that is seen as one is split */
    expect("{{ short('abcd\xcc\x81\xcc\xa3\xcc\xa4xyz', 7) }}", "en", NULL, "abc...");
    expect("{{ short('a\U0001F1F5\U0001F1F1xyz', 2) }}", "en", NULL, "a");
    expect("{{ short('http://evil.com/x', 14) }}", "en", NULL, "hxxp://evil...");
    expect_failure("{{ short(dyn(1), 2) }}", "en", NULL, "short() wants a string");
    expect_failure("{{ short('a', -1) }}", "en", NULL, "short() wants a string");
    expect_failure("{{ short('a', 1001) }}", "en", NULL, "0 to 1000");
    expect_failure("{{ short('a', dyn(1u)) }}", "en", NULL, "short() wants a string");
}

static void test_names_of_env(void **state)
{
    const struct expr_env *env = message_env();
    const struct expr_env *event = expr_event_env();
    (void)state;
    assert_int_equal(event->variable_count, EXPR_EVENT_SLOTS);
    assert_int_equal(env->variable_count, MESSAGE_SLOTS);
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        assert_string_equal(env->variables[i], event->variables[i]);
    expect("{{ rule }} {{ lang }} {{ zone }} {{ type }}", "pl", "Europe/Warsaw",
           "my rule pl Europe/Warsaw event");
    expect("{{ rule }}|{{ lang }}|{{ zone }}", NULL, NULL, "my rule||UTC");
    expect_failure("{{ texts }}", "en", NULL, "only digests and summaries have this");
}

/* Without a context the functions speak English and UTC. */
static void test_no_context(void **state)
{
    struct expr_value values[MESSAGE_SLOTS];
    struct expr_activation activation = {.values = values, .value_count = MESSAGE_SLOTS};
    struct expr_arena *arena = expr_arena_new(1u << 16);
    static const char source[] = "date(timestamp(0), '%A %H') + plural(1, 'a', 'b')";
    struct expr *expr = expr_compile(source, strlen(source), message_env(), NULL);
    (void)state;
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        values[i] = expr_null();
    message_values(values, NULL, NULL);
    assert_non_null(expr);
    struct expr_value value = expr_eval(expr, &activation, arena);
    assert_int_equal(value.type, EXPR_STRING);
    assert_memory_equal(value.as.string, "Thursday 00a", value.length);
    expr_free(&expr);
    expr_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_polish),        cmocka_unit_test(test_plural_rules),
        cmocka_unit_test(test_plural),        cmocka_unit_test(test_date),
        cmocka_unit_test(test_names),         cmocka_unit_test(test_date_failures),
        cmocka_unit_test(test_date_literals), cmocka_unit_test(test_short),
        cmocka_unit_test(test_names_of_env),  cmocka_unit_test(test_no_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
