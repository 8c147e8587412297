/* links: dispatcher_parts proto expr core */
/* Silences and opt-outs: what they match, when, and that the store brings them back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/silences.h"
#include "store_fixture.h"

enum { ARENA_BYTES = 1024 * 1024 };

static const char *match(struct silences *s, const char *author, const char *rule, const char *priority,
                         int64_t now_ms)
{
    static char found[32];
    struct expr_arena *arena = expr_arena_new(ARENA_BYTES);
    struct expr_value values[EXPR_EVENT_SLOTS];
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        values[i] = expr_null();
    values[EXPR_SLOT_CHANNEL] = expr_string_z("thread");
    values[EXPR_SLOT_AUTHOR] = expr_string_z(author);
    values[EXPR_SLOT_TIME] = expr_timestamp_ms(now_ms);
    const char *id = silences_match(s, values, rule, priority, now_ms, arena);
    snprintf(found, sizeof found, "%s", id ? id : "");
    expr_arena_free(&arena);
    return id ? found : NULL;
}

static char *silence(const char *when, int64_t from_ms, int64_t until_ms)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "when", when);
    cJSON_AddNumberToObject(o, "from_ms", (double)from_ms);
    cJSON_AddNumberToObject(o, "until_ms", (double)until_ms);
    cJSON_AddStringToObject(o, "by", "uid 0");
    cJSON_AddStringToObject(o, "comment", "a \"comment\"");
    char *printed = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return printed;
}

static void put(struct silences *s, const char *id, const char *when, int64_t from_ms, int64_t until_ms)
{
    char why[SILENCES_WHY_SIZE] = "";
    char *text = silence(when, from_ms, until_ms);
    if (silences_put(s, id, text, why, sizeof why))
        fail_msg("%s", why);
    cJSON_free(text);
}

static void what_matches(void **state)
{
    (void)state;
    struct silences *s = silences_new(NULL);
    assert_null(match(s, "alice", "lorem", "normal", 1500));
    put(s, "10", "rule == 'backup'", 1000, 2000);
    put(s, "2", "author == 'alice' && priority != 'critical'", 1000, 2000);
    put(s, "3", "data.nothing.here == 1", 1000, 2000); /* fails, silences nobody */
    put(s, "4", "dyn('text')", 1000, 2000);
    assert_string_equal(match(s, "alice", "lorem", "normal", 1500), "2");
    assert_string_equal(match(s, "alice", "backup", "normal", 1500), "2");
    assert_string_equal(match(s, "bob", "backup", "normal", 1500), "10");
    assert_null(match(s, "alice", "lorem", "critical", 1500));
    assert_null(match(s, "alice", "lorem", "normal", 999));
    assert_string_equal(match(s, "alice", "lorem", "normal", 1000), "2");
    assert_string_equal(match(s, "alice", "lorem", "normal", 1999), "2");
    assert_null(match(s, "alice", "lorem", "normal", 2000));
    uint64_t failed;
    assert_int_equal(silences_matched(s, "2", &failed), 0);
    silences_count(s, "2");
    silences_count(s, "99");
    assert_int_equal(silences_matched(s, "2", &failed), 1);
    put(s, "2", "author == 'bob'", 1000, 2000);
    assert_null(match(s, "alice", "lorem", "normal", 1500));
    silences_remove(s, "2");
    silences_remove(s, "2");
    assert_null(match(s, "bob", "lorem", "normal", 1500));
    assert_int_equal(silences_new_id(s), 11);
    silences_free(&s);
}

static void what_is_told(void **state)
{
    (void)state;
    struct silences *s = silences_new(NULL);
    put(s, "10", "true", 1000, 2000);
    put(s, "9", "rule == 'later'", 5000, 9000);
    opt_out_put(s, "+48500500500");
    silences_count(s, "10");
    cJSON *status = cJSON_CreateObject();
    silences_status(s, 1500, status);
    const cJSON *list = cJSON_GetObjectItem(status, "silences");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(list->child, "id")), "9");
    const cJSON *second = list->child->next;
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(second, "comment")), "a \"comment\"");
    assert_int_equal(cJSON_GetObjectItem(second, "matched")->valueint, 1);
    assert_int_equal(cJSON_GetObjectItem(second, "left_ms")->valueint, 500);
    assert_int_equal(cJSON_GetObjectItem(status, "opt_outs")->valueint, 1);
    cJSON_Delete(status);
    struct buf out;
    buf_init(&out, 0);
    silences_metrics(s, 1500, &out);
    assert_non_null(strstr(buf_cstr(&out), "bridgebell_silences 1\n"));
    assert_non_null(strstr(buf_cstr(&out), "bridgebell_opt_outs 1\n"));
    buf_free(&out);
    silences_free(&s);
}

static const struct {
    const char *text, *why;
} wrong[] = {
    {"nonsense", "it is no JSON object"},
    {"[1]", "it is no JSON object"},
    {"{\"until_ms\":5}", "it has no expression"},
    {"{\"when\":\"true\"}", "it ends before it begins"},
    {"{\"when\":\"true\",\"from_ms\":7,\"until_ms\":7}", "it ends before it begins"},
    {"{\"when\":\"authr == 'x'\",\"until_ms\":7}", "line 1, column 1: "},
    {"{\"when\":\"authr == 'x'\",\"until_ms\":7}", "authr == 'x'\n^"},
    {"{\"when\":\"rule == \",\"until_ms\":7}", "rule == \n        ^"},
    {"{\"when\":\"author\",\"until_ms\":7}",
     "line 1, column 1: a condition must be a bool; this is a string or null"},
    {"{\"when\":\"priority > 3\",\"until_ms\":7}", "priority > 3\n         ^"},
};

static void what_is_wrong(void **state)
{
    (void)state;
    struct silences *s = silences_new(NULL);
    char why[SILENCES_WHY_SIZE];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(silences_check(s, wrong[i].text, why, sizeof why), -1);
        if (!strstr(why, wrong[i].why))
            fail_msg("%s: %s", wrong[i].text, why);
        assert_int_equal(silences_put(s, "1", wrong[i].text, why, sizeof why), -1);
    }
    char *longest = xmalloc(SILENCES_WHEN_MAX + 2);
    memset(longest, ' ', SILENCES_WHEN_MAX + 1);
    longest[SILENCES_WHEN_MAX + 1] = '\0';
    char *text = silence(longest, 0, 9);
    assert_int_equal(silences_check(s, text, why, sizeof why), -1);
    assert_non_null(strstr(why, "longer than 8192"));
    cJSON_free(text);
    free(longest);
    for (int i = 0; i < SILENCES_MAX; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i + 1);
        put(s, id, "false", 0, 9);
    }
    text = silence("true", 0, 9);
    assert_int_equal(silences_check(s, text, why, sizeof why), -1);
    assert_non_null(strstr(why, "200 silences already"));
    cJSON_free(text);
    silences_free(&s);
}

static void opt_outs_come_and_go(void **state)
{
    (void)state;
    struct silences *s = silences_new(NULL);
    assert_false(silences_opted_out(s, "+48500500500", 0));
    opt_out_put(s, "+48500500500");
    opt_out_put(s, "+48500500500");
    assert_true(silences_opted_out(s, "+48500500500", 0));
    assert_false(silences_opted_out(s, "+48500500501", 0));
    assert_int_equal(opt_out_count(s), 1);
    opt_out_remove(s, "+48500500500");
    assert_false(silences_opted_out(s, "+48500500500", 0));
    assert_int_equal(opt_out_count(s), 0);
    silences_free(&s);
}

static void write_fact(struct fixture *f, const char *name, const char *value)
{
    struct store_fact fact = {.unit = {.kind = STORE_FACT}, .name = name, .value = value};
    assert_int_equal(fixture_run(f, &fact.unit), STORE_OK);
}

static void from_the_store(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    int64_t now_ms = store_now_ms(f.store);
    char *holds = silence("author == 'alice'", now_ms - 1000, now_ms + 60000);
    char *ended = silence("true", now_ms - 5000, now_ms - 1000);
    write_fact(&f, "silence:7", holds);
    write_fact(&f, "silence:12", ended);
    write_fact(&f, "silence:8", "{\"when\":\"gone(1)\",\"until_ms\":9000000000000}");
    write_fact(&f, "optout:+48500500500", "{}");
    fixture_reopen(&f);
    struct silences *s = silences_new(f.store);
    assert_string_equal(match(s, "alice", "lorem", "normal", now_ms), "7");
    assert_null(match(s, "bob", "lorem", "normal", now_ms));
    assert_true(silences_opted_out(s, "+48500500500", 0));
    assert_int_equal(silences_new_id(s), 13);
    silences_free(&s);
    cJSON_free(holds);
    cJSON_free(ended);
    fixture_end(&f);
}

/* What has ended is kept for a year, the last id for good. */
static void old_facts_are_forgotten(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    int64_t now_ms = store_now_ms(f.store);
    char *year = silence("true", 1, now_ms - SILENCES_KEPT_MS + 60000);
    char *older = silence("true", 1, now_ms - SILENCES_KEPT_MS - 60000);
    char opt_in[64];
    write_fact(&f, SILENCE_FACT "7", older);
    write_fact(&f, SILENCE_FACT "8", year);
    write_fact(&f, SILENCE_FACT "9", older);
    snprintf(opt_in, sizeof opt_in, "{\"until_ms\":%lld}", (long long)(now_ms - SILENCES_KEPT_MS + 60000));
    write_fact(&f, OPT_IN_FACT "+48500500500", opt_in);
    write_fact(&f, OPT_IN_FACT "+48500500501", "{\"at_ms\":1,\"until_ms\":2}");
    struct silences *s = silences_new(f.store);
    write_fact(&f, "other", "done when the removals are");
    assert_null(store_fact(f.store, SILENCE_FACT "7"));
    assert_non_null(store_fact(f.store, SILENCE_FACT "8"));
    assert_non_null(store_fact(f.store, SILENCE_FACT "9"));
    assert_non_null(store_fact(f.store, OPT_IN_FACT "+48500500500"));
    assert_null(store_fact(f.store, OPT_IN_FACT "+48500500501"));
    silences_free(&s);
    cJSON_free(year);
    cJSON_free(older);
    fixture_end(&f);
}

static void of_very_many_the_latest_are_kept(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    int64_t now_ms = store_now_ms(f.store);
    for (int i = 0; i < SILENCES_ENDED_MAX + 2; i++) {
        char name[32];
        char *ended = silence("true", 1, now_ms - 1000000 + i);
        snprintf(name, sizeof name, SILENCE_FACT "%d", i + 1);
        write_fact(&f, name, ended);
        cJSON_free(ended);
    }
    struct silences *s = silences_new(f.store);
    write_fact(&f, "other", "done when the removals are");
    assert_null(store_fact(f.store, SILENCE_FACT "1"));
    assert_null(store_fact(f.store, SILENCE_FACT "2"));
    assert_non_null(store_fact(f.store, SILENCE_FACT "3"));
    silences_free(&s);
    fixture_end(&f);
}

/* ---- the past ---- */

static void what_held_then(void **state)
{
    (void)state;
    struct silences *s = silences_new(NULL);
    char *ended = silence("author == 'alice'", 1000, 2000), *never = silence("true", 5000, 4000);
    assert_true(silences_recall(s, SILENCE_FACT "3", ended));
    assert_true(silences_recall(s, SILENCE_FACT "4", never));
    assert_false(silences_recall(s, SILENCE_FACT "5", "{\"when\":\"gone(1)\",\"until_ms\":9}"));
    assert_false(silences_recall(s, "mark:main", "7"));
    assert_null(match(s, "alice", "lorem", "normal", 999));
    assert_string_equal(match(s, "alice", "lorem", "normal", 1999), "3");
    assert_null(match(s, "alice", "lorem", "normal", 2000));
    assert_null(match(s, "bob", "lorem", "normal", 4500));
    assert_true(silences_recall(s, OPT_OUT_FACT "+48500500500", "{\"at_ms\":3000}"));
    assert_true(silences_recall(s, OPT_IN_FACT "+48500500500", "{\"at_ms\":1000,\"until_ms\":2000}"));
    assert_true(silences_recall(s, OPT_OUT_FACT "+48500500501", "{}"));
    assert_false(silences_recall(s, OPT_OUT_FACT "+48500500502", "nonsense"));
    static const struct {
        int64_t at_ms;
        bool is;
    } times[] = {{999, false}, {1000, true}, {1999, true}, {2000, false}, {2999, false}, {3000, true}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        assert_int_equal(silences_opted_out(s, "+48500500500", times[i].at_ms), times[i].is);
        assert_true(silences_opted_out(s, "+48500500501", times[i].at_ms));
        assert_false(silences_opted_out(s, "+48500500502", times[i].at_ms));
    }
    static const struct {
        int64_t from_ms, to_ms;
        size_t silences, opt_outs;
    } spans[] = {{0, 999, 0, 1}, {0, 1000, 1, 2}, {2000, 2999, 0, 1}, {1999, 3000, 1, 2}, {5000, 6000, 0, 2}};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        size_t held, out;
        silences_held(s, spans[i].from_ms, spans[i].to_ms, &held, &out);
        assert_int_equal(held, spans[i].silences);
        assert_int_equal(out, spans[i].opt_outs);
    }
    cJSON_free(ended);
    cJSON_free(never);
    silences_free(&s);
}

/* Of so many that more may have been forgotten, only the time since the first of them is known. */
static void how_far_back_is_known(void **state)
{
    (void)state;
    int64_t now_ms = 3 * SILENCES_KEPT_MS;
    struct silences *s = silences_new(NULL);
    for (int i = 0; i < SILENCES_ENDED_MAX; i++) {
        char name[32];
        char *ended = silence("true", 1, now_ms - 5000 + i);
        snprintf(name, sizeof name, SILENCE_FACT "%d", i + 1);
        assert_int_equal(silences_known_since(s, now_ms), now_ms - SILENCES_KEPT_MS);
        assert_true(silences_recall(s, name, ended));
        cJSON_free(ended);
    }
    assert_int_equal(silences_known_since(s, now_ms), now_ms - 5000);
    silences_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches),
        cmocka_unit_test(what_is_told),
        cmocka_unit_test(what_is_wrong),
        cmocka_unit_test(opt_outs_come_and_go),
        cmocka_unit_test(from_the_store),
        cmocka_unit_test(what_held_then),
        cmocka_unit_test(old_facts_are_forgotten),
        cmocka_unit_test(of_very_many_the_latest_are_kept),
        cmocka_unit_test(how_far_back_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
