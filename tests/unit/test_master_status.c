/* links: master_parts */
#include "master/status_view.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "master/alarms.h"

static char *page_of(const char *json)
{
    char *text = NULL;
    size_t size;
    struct status_view view = {0, false, -1};
    cJSON *status = cJSON_Parse(json);
    assert_non_null(status);
    FILE *out = open_memstream(&text, &size);
    status_view_print(status, &view, out);
    fclose(out);
    cJSON_Delete(status);
    return text;
}

static void count_alarm(void *arg, const char *what, const char *do_next)
{
    (void)do_next;
    assert_true(strlen(what) > 0);
    (*(int *)arg)++;
}

static void each_trouble_is_an_alarm_with_advice(void **state)
{
    (void)state;
    static const struct {
        const char *json, *what, *do_next;
    } cases[] = {
        {"{\"processes\":[{\"role\":\"listener\",\"name\":\"main\",\"state\":\"halted\",\"reason\":\"wrong "
         "key\"}]}",
         "listener main has stopped for good: wrong key", "bridgebell reload"},
        {"{\"processes\":[{\"role\":\"dispatcher\",\"name\":\"\",\"state\":\"waiting\",\"next_start_ms\":"
         "1500,"
         "\"reason\":\"ended by signal 9\"}]}",
         "dispatcher: ended by signal 9; it is started again in 1.5s", "log"},
        {"{\"missing\":[\"dispatcher\"],\"missing_reason\":\"no answer\"}", "no answer", "log"},
        {"{\"store\":{\"trouble\":\"the disk is full\"}}", "no events are taken: the disk is full",
         "make room"},
        {"{\"store\":{\"clock_behind_ms\":90000}}", "behind by 90 s", "set the clock"},
        {"{\"lines\":[{\"provider\":\"s\",\"state\":\"held\",\"reason\":\"uid 0\"}]}", "s is paused by uid 0",
         "bridgebell resume"},
        {"{\"lines\":[{\"provider\":\"s\",\"state\":\"stopped\",\"reason\":\"no credits\",\"code\":103}]}",
         "s is stopped: no credits (code 103)", "mend the account"},
        {"{\"lines\":[{\"provider\":\"s\",\"state\":\"stopped\",\"reason\":\"no credits (code "
         "103)\",\"code\":103}]}",
         "s is stopped: no credits (code 103)\n", "mend the account"},
        {"{\"budget_warnings\":[{\"budget\":\"messages a day, in all, "
         "2026-11-27\",\"used\":80,\"limit\":100}]}",
         "80% of a budget is spent: messages a day, in all, 2026-11-27", "the configuration"},
        {"{\"directory\":{\"people\":3,\"trouble\":\"line 5: no number\"}}",
         "the people of before stay: line 5: no number", "bridgebell check"},
        {"{\"waiting\":{\"events\":4,\"oldest_s\":600}}",
         "4 events wait for the members of their containers, the oldest for 10m00s", "listener"},
        {"{\"trouble\":\"no sender is connected\"}", "not ready: no sender is connected", "log"},
        {"{\"bridges\":[{\"name\":\"main\",\"connected\":false,\"state\":\"connecting\"}]}",
         "bridge main is not subscribed: connecting", "log"},
        {"{\"queue\":{\"dead\":2}}", "2 messages refused for good", "queue ls --state dead"},
        {"{\"queue\":{\"uncertain\":1}}", "1 message may or may not", "queue ls --state uncertain"},
        {"{\"queue\":{\"unknown_providers\":[\"old\",7]}}",
         "messages wait for the provider old, which is not configured", "queue cancel --provider"},
        {"{\"rules\":[{\"name\":\"r\",\"errors\":3,\"last_error\":\"no such field\"}]}",
         "rule r failed on 3 events: no such field", "guard"},
        {"{\"config\":{\"reload\":{\"ok\":false,\"error\":\"faults\",\"at\":\"now\"}}}",
         "the last reload (now) failed: faults", "bridgebell check"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *page = page_of(cases[i].json);
        assert_non_null(strstr(page, "ALARMS"));
        assert_non_null(strstr(page, cases[i].what));
        assert_non_null(strstr(page, cases[i].do_next));
        free(page);
        int count = 0;
        cJSON *status = cJSON_Parse(cases[i].json);
        alarms_each(status, count_alarm, &count);
        cJSON_Delete(status);
        assert_int_equal(count, 1);
    }
}

static void what_is_well_raises_none(void **state)
{
    (void)state;
    char *page = page_of(
        "{\"version\":\"1\",\"config\":{\"file\":\"/a\",\"reload\":{\"ok\":true}},"
        "\"processes\":[{\"role\":\"master\",\"name\":\"\",\"pid\":1,\"state\":\"running\"}],"
        "\"bridges\":[{\"name\":\"main\",\"connected\":true,\"state\":\"subscribed\",\"events\":1234}],"
        "\"directory\":{\"people\":3,\"trouble\":null},\"waiting\":{\"events\":4,\"oldest_s\":2},"
        "\"queue\":{\"queued\":5,\"sent\":2,\"dead\":0,\"expired\":0,\"oldest_due_ms\":4200},"
        "\"lines\":[{\"provider\":\"s\",\"state\":\"open\",\"rate\":100,\"rate_per_ms\":1000}]}");
    assert_null(strstr(page, "ALARMS"));
    assert_non_null(strstr(page, "1 234"));
    assert_non_null(strstr(page, "the oldest is due since 4.2s"));
    assert_non_null(strstr(page, "100/s"));
    assert_null(strstr(page, "expired"));
    free(page);
}

static void what_is_held_back_is_shown(void **state)
{
    (void)state;
    char *page =
        page_of("{\"silences\":[{\"id\":\"7\",\"left_ms\":7200000,\"matched\":3,\"comment\":\"import\","
                "\"when\":\"rule == 'x'\"}],"
                "\"currency\":\"PLN\",\"noise\":[{\"rule\":\"lorem\",\"why\":\"rings\",\"messages\":1200,"
                "\"parts\":1300,\"price\":117},"
                "{\"rule\":\"lorem\",\"why\":\"throttle\",\"messages\":4,\"parts\":4,\"price\":0.36}]}");
    assert_non_null(strstr(page, "SILENCES"));
    assert_non_null(strstr(page, "2h00m"));
    assert_non_null(strstr(page, "rule == 'x'"));
    assert_non_null(strstr(page, "price PLN"));
    assert_non_null(strstr(page, "1 200"));
    assert_non_null(strstr(page, "117.00"));
    assert_non_null(strstr(page, "throttle"));
    free(page);
}

static void an_odd_answer_harms_nothing(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{}",
        "{\"processes\":7,\"queue\":[1,2],\"lines\":\"x\",\"bridges\":{\"a\":1},\"rules\":null}",
        "{\"processes\":[null,1,\"x\",{}],\"bridges\":[[]],\"lines\":[{}],\"senders\":[{}],\"rules\":[{}]}",
        "{\"queue\":{\"queued\":\"many\",\"oldest_due_ms\":-1}}",
        "{\"silences\":[{},3],\"noise\":[{},\"x\",[]],\"budget_warnings\":[{},7],\"currency\":5}",
        "{\"bridges\":[{\"name\":\"\\u001b[2J\",\"mark_ms\":1e300}]}",
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        char *page = page_of(odd[i]);
        assert_null(strchr(page, '\033'));
        free(page);
    }
}

int main(void)
{
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_trouble_is_an_alarm_with_advice),
        cmocka_unit_test(what_is_well_raises_none),
        cmocka_unit_test(what_is_held_back_is_shown),
        cmocka_unit_test(an_odd_answer_harms_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
