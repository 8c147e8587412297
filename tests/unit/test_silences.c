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
    assert_false(silences_opted_out(s, "+48500500500"));
    opt_out_put(s, "+48500500500");
    opt_out_put(s, "+48500500500");
    assert_true(silences_opted_out(s, "+48500500500"));
    assert_false(silences_opted_out(s, "+48500500501"));
    assert_int_equal(opt_out_count(s), 1);
    opt_out_remove(s, "+48500500500");
    assert_false(silences_opted_out(s, "+48500500500"));
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
    assert_true(silences_opted_out(s, "+48500500500"));
    assert_int_equal(silences_new_id(s), 13);
    silences_free(&s);
    cJSON_free(holds);
    cJSON_free(ended);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches),   cmocka_unit_test(what_is_told),
        cmocka_unit_test(what_is_wrong),  cmocka_unit_test(opt_outs_come_and_go),
        cmocka_unit_test(from_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
