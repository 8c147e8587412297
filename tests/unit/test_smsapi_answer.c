/* links: sender_parts proto http core */
/* Answers of the provider and what each recipient's outcome is. Two recipients unless said otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "sender/smsapi_answer.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-1"
#define OK_A                                                                                                 \
    "{\"id\":\"5F1\",\"points\":0.16,\"number\":\"48500500501\",\"submitted_number\":\"48500500501\","       \
    "\"status\":\"QUEUE\",\"error\":null,\"idx\":\"" A "\",\"parts\":2}"
#define OK_B "{\"id\":5678,\"points\":\"0.3000\",\"number\":\"48500500502\",\"idx\":\"" B "\"}"

static const struct request_job jobs[2] = {{.number = "+48500500501", .idx = A},
                                           {.number = "+48500500502", .idx = B}};

struct row {
    const char *what;
    int status;
    const char *body;
    size_t count; /* recipients */
    enum wire_outcome outcome[2];
    enum wire_class class[2];
    int32_t code[2];
};

/* Outcomes and classes in short. */
#define U WIRE_UNKNOWN
#define OK WIRE_ACCEPTED
#define NO WIRE_REFUSED
#define DUP WIRE_DUPLICATE
#define NONE WIRE_CLASS_NONE
#define MSG WIRE_PERMANENT_MESSAGE
#define ACC WIRE_PERMANENT_ACCOUNT
#define NUM WIRE_PER_NUMBER
#define TRN WIRE_TRANSIENT
#define THR WIRE_THROTTLED
#define IDX WIRE_DUPLICATE_IDX
#define CFG WIRE_CONFIG

static const struct row rows[] = {
    {"both accepted", 200, "{\"count\":2,\"list\":[" OK_A "," OK_B "]}", 2, {OK, OK}, {NONE, NONE}, {0, 0}},
    {"any order", 200, "{\"count\":2,\"list\":[" OK_B "," OK_A "]}", 2, {OK, OK}, {NONE, NONE}, {0, 0}},
    {"one of two", 200, "{\"count\":1,\"list\":[" OK_B "]}", 2, {U, OK}, {TRN, NONE}, {0, 0}},
    {"one, the other named",
     200,
     "{\"count\":1,\"list\":[" OK_B "],\"invalid_numbers\":[{\"submitted_number\":\"48500500501\","
     "\"error_code\":57,\"message\":\"blacklisted\"}]}",
     2,
     {NO, OK},
     {NUM, NONE},
     {57, 0}},
    {"by number without idx",
     200,
     "{\"list\":[{\"id\":\"1\",\"number\":\"+48 500 500 502\",\"idx\":null},{\"id\":\"2\",\"number\":\"1\","
     "\"submitted_number\":48500500501}]}",
     2,
     {OK, OK},
     {NONE, NONE},
     {0, 0}},
    {"details echo a message",
     200,
     "{\"message\":\"x\",\"length\":1,\"parts\":1,\"list\":[" OK_A "]}",
     1,
     {OK},
     {NONE},
     {0}},
    {"error null is none", 200, "{\"error\":null,\"list\":[" OK_A "]}", 1, {OK}, {NONE}, {0}},
    {"an entry with an error", 200, "{\"list\":[{\"idx\":\"" A "\",\"error\":13}]}", 1, {NO}, {NUM}, {13}},
    {"an entry with a strange status",
     200,
     "{\"list\":[{\"idx\":\"" A "\",\"status\":\"LOST\"}]}",
     1,
     {U},
     {TRN},
     {0}},
    {"somebody else's entry",
     200,
     "{\"list\":[{\"id\":\"1\",\"number\":\"48999\",\"idx\":\"zz\"}]}",
     1,
     {U},
     {TRN},
     {0}},
    {"an empty list", 200, "{\"count\":0,\"list\":[]}", 1, {U}, {TRN}, {0}},
    {"no list", 200, "{\"count\":1}", 1, {U}, {TRN}, {0}},
    {"list of another type", 200, "{\"list\":{\"id\":\"1\"}}", 1, {U}, {TRN}, {0}},
    {"empty body", 200, "", 1, {U}, {TRN}, {0}},
    {"text of the old format", 200, "OK:1234:0.16", 1, {U}, {TRN}, {0}},
    {"a page", 200, "<html>hello</html>", 1, {U}, {TRN}, {0}},
    {"truncated", 200, "{\"count\":1,\"list\":[{\"id\":\"5F1\",", 1, {U}, {TRN}, {0}},
    {"rubbish behind", 200, "{\"count\":1,\"list\":[" OK_A "]}x", 1, {U}, {TRN}, {0}},
    {"blanks behind", 200, "{\"count\":1,\"list\":[" OK_A "]} \r\n", 1, {OK}, {NONE}, {0}},
    {"an array", 200, "[1,2]", 1, {U}, {TRN}, {0}},
    /* errors */
    {"token",
     200,
     "{\"error\":101,\"message\":\"Authorization failed\"}",
     2,
     {NO, NO},
     {ACC, ACC},
     {101, 101}},
    {"as text", 200, "{\"error\":\"103\",\"message\":\"no credit\"}", 2, {NO, NO}, {ACC, ACC}, {103, 103}},
    {"without words", 200, "{\"error\":14}", 1, {NO}, {CFG}, {14}},
    {"throttled", 200, "{\"error\":202,\"message\":\"m\"}", 2, {NO, NO}, {THR, THR}, {202, 202}},
    {"text", 200, "{\"error\":11,\"message\":\"m\"}", 2, {NO, NO}, {MSG, MSG}, {11, 11}},
    {"number, single", 200, "{\"error\":13,\"message\":\"m\"}", 1, {NO}, {NUM}, {13}},
    {"number, batch", 200, "{\"error\":13,\"message\":\"m\"}", 2, {U, U}, {TRN, TRN}, {13, 13}},
    {"number, one named",
     200,
     "{\"error\":13,\"message\":\"m\",\"invalid_numbers\":[{\"number\":\"48500500502\",\"message\":\"bad\"}]"
     "}",
     2,
     {U, NO},
     {TRN, NUM},
     {13, 13}},
    {"both named, one to be delayed",
     200,
     "{\"error\":13,\"invalid_numbers\":[{\"number\":\"48500500502\",\"error_code\":52},"
     "{\"submitted_number\":\"48500500501\"}]}",
     2,
     {NO, NO},
     {NUM, NUM},
     {13, 52}},
    {"one named as sent before",
     200,
     "{\"error\":13,\"invalid_numbers\":[{\"number\":\"48500500502\",\"error_code\":53}]}",
     2,
     {U, DUP},
     {TRN, IDX},
     {13, 53}},
    {"idx used, single", 200, "{\"error\":53,\"message\":\"m\"}", 1, {DUP}, {IDX}, {53}},
    {"idx used, batch", 200, "{\"error\":53,\"message\":\"m\"}", 2, {U, U}, {TRN, TRN}, {53, 53}},
    {"too many recipients", 200, "{\"error\":19}", 2, {U, U}, {TRN, TRN}, {19, 19}},
    {"internal", 200, "{\"error\":201,\"message\":\"m\"}", 1, {U}, {TRN}, {201}},
    {"internal, batch", 200, "{\"error\":999,\"message\":\"m\"}", 2, {U, U}, {TRN, TRN}, {999, 999}},
    {"a new code", 200, "{\"error\":7777,\"message\":\"m\"}", 1, {U}, {NONE}, {7777}},
    {"a new word", 200, "{\"error\":\"gone_fishing\",\"message\":\"m\"}", 1, {U}, {TRN}, {0}},
    {"a known word", 200, "{\"error\":\"authorization_failed\",\"message\":\"m\"}", 1, {NO}, {ACC}, {0}},
    {"an error of another type", 200, "{\"error\":{\"code\":101}}", 1, {U}, {TRN}, {0}},
    {"an error beside an acceptance",
     200,
     "{\"error\":101,\"list\":[" OK_A "]}",
     2,
     {OK, U},
     {NONE, TRN},
     {0, 101}},
    /* other statuses */
    {"created", 201, "{\"list\":[" OK_A "]}", 1, {OK}, {NONE}, {0}},
    {"401", 401, "{\"message\":\"m\",\"error\":\"authorization_failed\"}", 2, {NO, NO}, {ACC, ACC}, {0, 0}},
    {"401 with a code", 401, "{\"message\":\"m\",\"error\":105}", 1, {NO}, {ACC}, {105}},
    {"403 page", 403, "<html>", 1, {NO}, {ACC}, {0}},
    {"429 without body", 429, "", 2, {NO, NO}, {THR, THR}, {0, 0}},
    {"400 of the provider",
     400,
     "{\"message\":\"m\",\"error\":\"invalid_request_data\"}",
     1,
     {NO},
     {CFG},
     {0}},
    {"400 with a code", 400, "{\"message\":\"m\",\"error\":53}", 1, {DUP}, {IDX}, {53}},
    {"400 page", 400, "<html>", 1, {U}, {TRN}, {0}},
    {"404 page", 404, "not here", 1, {U}, {CFG}, {0}},
    {"404 JSON, not the provider's", 404, "{\"status\":\"nope\"}", 1, {U}, {CFG}, {0}},
    {"408", 408, "timeout", 1, {U}, {TRN}, {0}},
    {"500", 500, "{\"error\":101}", 1, {U}, {TRN}, {0}},
    {"503", 503, "{\"message\":\"m\",\"service\":\"sms\"}", 2, {U, U}, {TRN, TRN}, {0, 0}},
    {"a redirect", 302, "", 1, {U}, {TRN}, {0}},
    {"no answer", 0, "", 1, {U}, {TRN}, {0}},
};

static void read_row(const struct row *row, struct verdict *verdicts)
{
    struct smsapi_answer answer = {row->status, 7000, row->body, strlen(row->body), false};
    memset(verdicts, 0x5a, 2 * sizeof *verdicts);
    smsapi_answer_read(&answer, jobs, row->count, verdicts);
}

static void answers_give_outcomes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct verdict v[2];
        read_row(&rows[i], v);
        for (size_t n = 0; n < rows[i].count; n++) {
            if (v[n].outcome != rows[i].outcome[n] || v[n].class != rows[i].class[n] ||
                v[n].code != rows[i].code[n])
                fail_msg("%s, recipient %zu: %s %s %d", rows[i].what, n, wire_outcome_names[v[n].outcome],
                         wire_class_names[v[n].class], v[n].code);
            assert_int_equal(v[n].retry_after_ms, 7000);
            assert_true(v[n].outcome == WIRE_ACCEPTED || v[n].words[0]);
        }
    }
}

static void acceptance_carries_id_price_and_parts(void **state)
{
    (void)state;
    struct verdict v[2];
    read_row(&rows[0], v);
    assert_string_equal(v[0].id, "5F1");
    assert_int_equal(v[0].points_micro, 160000);
    assert_int_equal(v[0].parts, 2);
    assert_string_equal(v[1].id, "5678");
    assert_int_equal(v[1].points_micro, 300000);
    assert_int_equal(v[1].parts, -1);
}

static void a_cut_answer_is_unknown(void **state)
{
    (void)state;
    struct verdict v[2];
    struct smsapi_answer answer = {200, -1, rows[0].body, strlen(rows[0].body), true};
    smsapi_answer_read(&answer, jobs, 2, v);
    assert_int_equal(v[0].outcome, WIRE_UNKNOWN);
    /* Every shorter piece of an acceptance is unknown, never refused. */
    for (size_t len = 0; len < strlen(rows[0].body); len++) {
        struct smsapi_answer piece = {200, -1, rows[0].body, len, false};
        smsapi_answer_read(&piece, jobs, 2, v);
        assert_int_equal(v[0].outcome, WIRE_UNKNOWN);
        assert_int_equal(v[1].outcome, WIRE_UNKNOWN);
    }
}

static void deep_nesting_is_unknown(void **state)
{
    (void)state;
    enum { DEEP = 200000 };
    char *body = malloc(DEEP);
    memset(body, '[', DEEP);
    struct verdict v[1];
    struct smsapi_answer answer = {200, -1, body, DEEP, false};
    smsapi_answer_read(&answer, jobs, 1, v);
    assert_int_equal(v[0].outcome, WIRE_UNKNOWN);
    free(body);
}

static void points_are_numbers_or_texts(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int64_t micro;
    } cases[] = {{"0.16", 160000}, {"\"0.3000\"", 300000}, {"0", 0},         {"\"1e3\"", 1000000000},
                 {"-1", -1},       {"\"-1\"", -1},         {"\"0.1x\"", -1}, {"\"\"", -1},
                 {"1e300", -1},    {"\"nan\"", -1},        {"true", -1},     {"{}", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *json = cJSON_Parse(cases[i].json);
        if (smsapi_points_micro(json) != cases[i].micro)
            fail_msg("%s", cases[i].json);
        cJSON_Delete(json);
    }
}

static void words_hide_numbers(void **state)
{
    (void)state;
    char out[PROVIDER_WORDS_MAX];
    smsapi_words("Number 48500500501 is bad,\ncode 13 48500500502", out);
    assert_string_equal(out, "Number ********501 is bad, code 13 ********502");
    char longer[1000];
    for (size_t i = 0; i < sizeof longer - 2; i += 2)
        memcpy(longer + i, "\xc5\xbc", 2);
    longer[0] = 'x';
    longer[1] = 'y';
    longer[2] = 'z'; /* an odd start: the cut falls inside a character */
    longer[3] = '\xc5';
    memmove(longer + 3, longer + 4, sizeof longer - 4);
    longer[sizeof longer - 2] = '\0';
    smsapi_words(longer, out);
    assert_int_equal(strlen(out), 199);
    smsapi_words(NULL, out);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_give_outcomes),
        cmocka_unit_test(acceptance_carries_id_price_and_parts),
        cmocka_unit_test(a_cut_answer_is_unknown),
        cmocka_unit_test(deep_nesting_is_unknown),
        cmocka_unit_test(points_are_numbers_or_texts),
        cmocka_unit_test(words_hide_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
