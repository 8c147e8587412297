/* links: listener_parts proto http core */
/* The listener's small decisions: failures, pauses, the mark, folding, life of tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/log.h"
#include "listener/backoff.h"
#include "listener/catchup.h"
#include "listener/failures.h"
#include "listener/fold.h"
#include "listener/mark.h"
#include "listener/pace.h"
#include "listener/session.h"
#include "proto/event.h"

/* ---- every captured exchange is judged by its form ---- */

static enum failure_step step_of(const char *method, const char *grant)
{
    static const struct {
        const char *method;
        enum failure_step step;
    } steps[] = {{"manager/auth", STEP_LOGIN},
                 {"manager/bindAccessToken", STEP_BIND},
                 {"manager/subscribeToChannel", STEP_SUBSCRIBE},
                 {"manager/unsubscribeFromChannel", STEP_UNSUBSCRIBE}};
    if (strcmp(grant, "refresh_token") == 0)
        return STEP_REFRESH;
    for (size_t i = 0; i < 4; i++)
        if (strcmp(method, steps[i].method) == 0)
            return steps[i].step;
    return STEP_LIST;
}

static const char *text_at(const cJSON *json, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsString(v) ? v->valuestring : "";
}

static const char *decision_for(enum failure_step step, const struct rpc_answer *a)
{
    static const char *const names[] = {"retry", "renew", "wait", "skip", "stop"};
    return names[failure_of_answer(step, a)->decision];
}

/* What PROTOCOL.md sections 2 and 11 ask for. */
static const char *expected(enum failure_step step, const struct rpc_answer *a)
{
    bool list = step == STEP_LIST;
    if (a->form == RPC_LIMITED)
        return "wait";
    switch (a->code) {
    case 24875:
    case 24876:
        return "stop";
    case 24878:
        return list ? "skip" : step == STEP_UNSUBSCRIBE ? "retry" : "stop";
    case 48:
        return list ? "skip" : "stop";
    case 21:
    case 24879:
        return step == STEP_LOGIN ? "retry" : "renew";
    case -32602:
        return list ? "skip" : step == STEP_LOGIN || step == STEP_SUBSCRIBE ? "stop" : "retry";
    case -32601:
    case 24577:
    case 24589:
    case 24854:
        return list ? "skip" : "retry";
    default:
        return "retry";
    }
}

static unsigned judged_good, judged_bad;

static void judge_exchange(const cJSON *exchange)
{
    const char *name = text_at(exchange, "name");
    cJSON *request = cJSON_Parse(text_at(exchange, "request"));
    cJSON *response = cJSON_Parse(text_at(exchange, "response"));
    struct rpc_answer a;
    rpc_judge(response, &a);
    const char *method = text_at(request, "method");
    enum failure_step step =
        step_of(method, text_at(cJSON_GetObjectItemCaseSensitive(request, "params"), "grantType"));
    bool failed = cJSON_HasObjectItem(response, "error") || a.form == RPC_LIMITED;
    if (a.form == RPC_NONE) {
        assert_false(cJSON_HasObjectItem(response, "jsonrpc"));
    } else if (failed) {
        judged_bad++;
        if (strcmp(decision_for(step, &a), expected(step, &a)) != 0)
            fail_msg("%s: decision %s", name, decision_for(step, &a));
    } else {
        judged_good++;
        if (a.form != RPC_OK && a.form != RPC_RESULT)
            fail_msg("%s: a good answer is not taken for one", name);
    }
    cJSON_Delete(request);
    cJSON_Delete(response);
}

static void captured_exchanges(void **state)
{
    (void)state;
    FILE *f = fopen(TEST_SOURCE_DIR "/tests/data/exchanges.jsonl", "r");
    assert_non_null(f);
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, f) > 0) {
        cJSON *exchange = cJSON_Parse(line);
        assert_non_null(exchange);
        judge_exchange(exchange);
        cJSON_Delete(exchange);
    }
    free(line);
    fclose(f);
    assert_true(judged_good > 60 && judged_bad > 60);
}

static void forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum rpc_form form;
        int64_t id;
    } cases[] = {
        {"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"OK\"}", RPC_OK, 7},
        {"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"ok\"}", RPC_ODD, 7},
        {"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"code\":429}}", RPC_LIMITED, 7},
        {"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"code\":\"x\"}}", RPC_RESULT, 7},
        {"{\"jsonrpc\":\"2.0\",\"id\":7}", RPC_ODD, 7},
        {"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"OK\"}", RPC_OK, -1},
        {"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32700}}", RPC_ERROR, -1},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":\"broken\"}", RPC_ODD, 1},
        {"{\"channel\":\"thread\",\"type\":\"x\",\"data\":{},\"timestamp\":1}", RPC_NONE, -1},
        {"[]", RPC_NONE, -1},
        {"42", RPC_NONE, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *json = cJSON_Parse(cases[i].text);
        struct rpc_answer a;
        rpc_judge(json, &a);
        if (a.form != cases[i].form || a.id != cases[i].id)
            fail_msg("judged wrongly: %s", cases[i].text);
        cJSON_Delete(json);
    }
}

static void transport_failures(void **state)
{
    (void)state;
    static const struct {
        CURLcode error;
        long status;
        const char *name;
    } http[] = {
        {CURLE_COULDNT_RESOLVE_HOST, 0, "name_unknown"},
        {CURLE_COULDNT_CONNECT, 0, "connection_refused"},
        {CURLE_OPERATION_TIMEDOUT, 0, "timed_out"},
        {CURLE_PEER_FAILED_VERIFICATION, 0, "certificate_refused"},
        {CURLE_RECV_ERROR, 0, "hung_up"},
        {CURLE_FTP_WEIRD_PASS_REPLY, 0, "connection_failed"},
        {CURLE_OK, 404, "not_found"},
        {CURLE_OK, 502, "server_error"},
        {CURLE_OK, 302, "redirected"},
        {CURLE_OK, 429, "front_limited"},
        {CURLE_OK, 200, "odd_answer"},
        {CURLE_OK, 299, "odd_status"},
    };
    for (size_t i = 0; i < sizeof http / sizeof http[0]; i++) {
        struct http_answer a = {.error = http[i].error, .status = http[i].status};
        assert_string_equal(failure_of_http(&a)->name, http[i].name);
        assert_int_not_equal(failure_of_http(&a)->decision, FAILURE_STOP);
    }
    for (int how = WS_CONNECT_FAILED; how <= WS_BROKEN; how++) {
        struct ws_fault fault = {.end = (enum ws_end)how, .curl = CURLE_COULDNT_CONNECT, .status = 503};
        assert_int_equal(failure_of_ws(&fault)->decision, FAILURE_RETRY);
        assert_non_null(failure_of_ws(&fault)->text);
    }
}

/* ---- pauses ---- */

static void pauses_grow_and_are_scattered(void **state)
{
    (void)state;
    struct backoff b = {500, 60000, 0};
    int64_t whole = 500, different = 0, last = 0;
    for (int i = 0; i < 100; i++) {
        int64_t pause = backoff_next(&b);
        assert_true(pause >= whole / 2 && pause <= whole);
        different += pause != last;
        last = pause;
        whole = whole * 2 < 60000 ? whole * 2 : 60000;
    }
    assert_true(different > 90);
    backoff_reset(&b);
    assert_true(backoff_next(&b) <= 500);
    struct backoff odd = {0, 0, 0};
    for (int i = 0; i < 50; i++)
        assert_true(backoff_next(&odd) >= 0);
}

/* ---- life of tokens ---- */

static void lives(void **state)
{
    (void)state;
    const int64_t now = 1795414399402;
    assert_int_equal(session_life_ms(now + 900000, now, 0), 900000 - 999);
    /* The clocks of both sides differ by hours; only the server's counts. */
    assert_int_equal(session_life_ms(now + 900000, now, now - 7200000), 900000 - 999);
    assert_int_equal(session_life_ms(now + 900000, -1, now), 900000);
    assert_true(session_life_ms(now, now, now) > 0);
    assert_int_equal(session_life_ms(now - 7200000, -1, now), 60000);
}

static void ids_of_times(void **state)
{
    (void)state;
    char id[25];
    catchup_id_of_time(1795413728123, id);
    assert_string_equal(id, "6b03d6e00000000000000000");
    catchup_id_of_time(-5, id);
    assert_string_equal(id, "000000000000000000000000");
    catchup_id_of_time(INT64_MAX, id);
    assert_string_equal(id, "ffffffff0000000000000000");
}

/* ---- the mark ---- */

static void the_mark_follows_what_was_heard(void **state)
{
    (void)state;
    struct mark m;
    mark_init(&m);
    assert_int_equal(mark_now(&m, 1000), MARK_NONE);
    mark_date(&m, 1000000, 1000);
    assert_int_equal(mark_now(&m, 1000), 999000);
    assert_int_equal(mark_now(&m, 4000), 1002000);
    /* An event's timestamp is the better clock, as long as it is believable. */
    mark_event(&m, 1003500, 4000);
    assert_int_equal(mark_now(&m, 4000), 1002500);
    mark_event(&m, 9000000000000, 4000);
    mark_event(&m, 5, 4000);
    mark_event(&m, -5, 4000);
    assert_int_equal(mark_now(&m, 4000), 1002500);
    m.hold_ms = 1001000;
    assert_int_equal(mark_now(&m, 4000), 1000999);
    m.hold_ms = MARK_NONE;
}

static void a_gap_stops_the_mark(void **state)
{
    (void)state;
    struct mark m;
    mark_init(&m);
    mark_date(&m, 1000000, 1000);
    mark_open_gap(&m, MARK_NONE);
    assert_int_equal(m.gap_start_ms, MARK_NONE);
    mark_open_gap(&m, 700);
    assert_int_equal(m.gap_start_ms, 700);
    mark_open_gap(&m, 500);
    mark_open_gap(&m, 900);
    assert_int_equal(m.gap_start_ms, 500);
    assert_int_equal(mark_now(&m, 2000), MARK_NONE);
    mark_close_gap(&m);
    int64_t last = mark_now(&m, 2000);
    assert_int_equal(last, 1000000);
    mark_open_gap(&m, MARK_NONE);
    assert_int_equal(m.gap_start_ms, last);
}

static void timestamps_at_the_end_of_frames(void **state)
{
    (void)state;
    static const struct {
        const char *tail;
        int64_t value;
    } cases[] = {
        {"\"x\":{}},\"timestamp\":1795414399402}", 1795414399402},
        {"\"timestamp\":5}", 5},
        {"\"timestamp\":}", MARK_NONE},
        {"\"timestamp\":-5}", MARK_NONE},
        {"\"timestamp\":1e3}", MARK_NONE},
        {"\"timestamp\":99999999999999999999}", MARK_NONE},
        {"\"timestamp\":5} ", MARK_NONE},
        {"imestamp\":5}", MARK_NONE},
        {"5}", MARK_NONE},
        {"}", MARK_NONE},
        {"", MARK_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(mark_tail_timestamp(cases[i].tail, strlen(cases[i].tail)), cases[i].value);
}

/* ---- folding ---- */

static cJSON *message(const char *id, const char *author, const char *key)
{
    char *text = xasprintf("{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"%s\","
                           "\"contextId\":\"C\",\"threadId\":\"T\",\"author\":\"%s\",\"keyId\":\"%s\","
                           "\"publicMeta\":null},\"timestamp\":1000}",
                           id, author, key);
    cJSON *json = cJSON_Parse(text);
    free(text);
    return json;
}

static cJSON *file(const char *id, const char *creator, const char *key, int timestamp)
{
    char *text =
        xasprintf("{\"channel\":\"store\",\"type\":\"storeFileCreated\",\"data\":{\"id\":\"%s\","
                  "\"storeId\":\"S\",\"creator\":\"%s\",\"keyId\":\"%s\",\"size\":3},\"timestamp\":%d}",
                  id, creator, key, timestamp);
    cJSON *json = cJSON_Parse(text);
    free(text);
    return json;
}

static void parts_are_known_by_author_and_key(void **state)
{
    (void)state;
    const struct {
        cJSON *frame;
        enum fold_part part;
    } cases[] = {
        {message("M", "<anonymous>", "<inbox-I>"), FOLD_MESSAGE},
        {message("M", "alice", "<inbox-I>"), FOLD_NONE},
        {message("M", "<anonymous>", "<inbox-I"), FOLD_NONE},
        {message("M", "<anonymous>", "<inbox->"), FOLD_NONE},
        {message("M", "<anonymous>", "<inbox-I>x"), FOLD_NONE},
        {message("M", "<anonymous>", "key"), FOLD_NONE},
        {message("", "<anonymous>", "<inbox-I>"), FOLD_NONE},
        {file("F", "<anonymous>", "<inboxmsg-I-T-M>", 1), FOLD_FILE},
        {file("F", "bob", "<inboxmsg-I-T-M>", 1), FOLD_NONE},
        {file("F", "<anonymous>", "<inboxmsg-I-T>", 1), FOLD_NONE},
        {file("F", "<anonymous>", "<inboxmsg-I-T-M-X>", 1), FOLD_FILE},
        {file("F", "<anonymous>", "<inbox-I>", 1), FOLD_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fold_ids ids;
        assert_int_equal(fold_classify(cases[i].frame, &ids), cases[i].part);
        cJSON_Delete(cases[i].frame);
    }
}

static void hold(struct fold *f, const char *id, const char *key, int timestamp, uint64_t now_ms,
                 bool recovered)
{
    struct fold_ids ids;
    cJSON *frame = file(id, "<anonymous>", key, timestamp);
    assert_int_equal(fold_classify(frame, &ids), FOLD_FILE);
    fold_file(f, frame, &ids, recovered, now_ms);
    cJSON_Delete(frame);
}

static cJSON *submit(struct fold *f, const char *id)
{
    struct fold_ids ids;
    cJSON *frame = message(id, "<anonymous>", "<inbox-I>");
    assert_int_equal(fold_classify(frame, &ids), FOLD_MESSAGE);
    cJSON *entry = fold_message(f, frame, &ids);
    cJSON_Delete(frame);
    return entry;
}

static void an_entry_has_its_files(void **state)
{
    (void)state;
    struct fold *f = fold_new();
    hold(f, "F1", "<inboxmsg-I-T-M1>", 900, 10, false);
    hold(f, "F2", "<inboxmsg-I-T-M2>", 901, 11, false);
    hold(f, "F3", "<inboxmsg-I-T-M1>", 902, 12, false);
    hold(f, "F3", "<inboxmsg-I-T-M1>", 902, 12, true);
    assert_int_equal(fold_oldest_ms(f), 900);
    cJSON *entry = submit(f, "M1");
    const cJSON *data = cJSON_GetObjectItem(entry, "data");
    assert_string_equal(text_at(entry, "channel"), "inbox");
    assert_string_equal(text_at(entry, "type"), "inboxEntry");
    assert_string_equal(text_at(data, "id"), "M1");
    assert_string_equal(text_at(data, "inboxId"), "I");
    const cJSON *files = cJSON_GetObjectItem(data, "files");
    assert_int_equal(cJSON_GetArraySize(files), 2);
    assert_string_equal(text_at(cJSON_GetArrayItem(files, 0), "id"), "F1");
    assert_string_equal(text_at(cJSON_GetArrayItem(files, 1), "id"), "F3");
    cJSON_Delete(entry);
    assert_int_equal(fold_held(f), 1);
    assert_int_equal(fold_oldest_ms(f), 901);
    fold_tick(f, 11 + FOLD_HOLD_MS - 1);
    assert_int_equal(fold_held(f), 1);
    fold_tick(f, 11 + FOLD_HOLD_MS);
    assert_int_equal(fold_held(f), 0);
    assert_int_equal(fold_strays(f), 1);
    assert_int_equal(fold_oldest_ms(f), -1);
    fold_free(&f);
}

static void an_entry_has_one_key_whatever_its_files(void **state)
{
    (void)state;
    struct hash_id keys[2];
    for (int i = 0; i < 2; i++) {
        struct fold *f = fold_new();
        if (i)
            hold(f, "F1", "<inboxmsg-I-T-M1>", 900, 10, false);
        cJSON *entry = submit(f, "M1");
        struct buf packed;
        struct msg_in m;
        struct event e;
        const char *why;
        buf_init(&packed, 0);
        msg_in_init(&m);
        assert_int_equal(event_from_json("b", entry, "", 0, 0, 0, i, &packed, &why), 0);
        assert_int_equal(event_unpack(&m, packed.data, packed.len, &e), 0);
        assert_true(msg_str_is(e.item, "M1") && msg_str_is(e.container, "I") && msg_str_is(e.context, "C"));
        keys[i] = e.key;
        msg_in_free(&m);
        buf_free(&packed);
        cJSON_Delete(entry);
        fold_free(&f);
    }
    assert_memory_equal(&keys[0], &keys[1], sizeof keys[0]);
}

static void holding_is_bounded(void **state)
{
    (void)state;
    struct fold *f = fold_new();
    for (int i = 0; i < FOLD_HELD_MAX + 50; i++)
        hold(f, "F", "<inboxmsg-I-T-M>", i + 1, 1, i % 2);
    assert_int_equal(fold_held(f), FOLD_HELD_MAX);
    fold_flush(f);
    assert_int_equal(fold_held(f), FOLD_HELD_MAX / 2);
    fold_free(&f);
}

/* Whoever lists takes from the same credit: the Bridge counts an address's calls together. */
static void calls_are_paced(void **state)
{
    (void)state;
    enum { SECONDS = 60 };
    struct pace p;
    size_t calls = 0;
    uint64_t now_ms = 1000;
    pace_init(&p, now_ms);
    for (; pace_wait_ms(&p, now_ms) == 0; calls++)
        pace_take(&p);
    assert_int_equal(calls, PACE_BURST);
    for (calls = 0; now_ms < 1000 + SECONDS * 1000; now_ms++)
        for (; pace_wait_ms(&p, now_ms) == 0; calls++)
            pace_take(&p);
    assert_in_range(calls, SECONDS * 1000 / PACE_EVERY_MS - 1, SECONDS * 1000 / PACE_EVERY_MS + 1);
    pace_empty(&p);
    now_ms += (uint64_t)pace_wait_ms(&p, now_ms);
    assert_int_equal(pace_wait_ms(&p, now_ms), 0);
    now_ms += 1000 * 1000;
    for (calls = 0; pace_wait_ms(&p, now_ms) == 0; calls++)
        pace_take(&p);
    assert_int_equal(calls, PACE_BURST);
}

int main(void)
{
    log_configure(LOG_LOGFMT, LOG_LEVELS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_exchanges),
        cmocka_unit_test(forms),
        cmocka_unit_test(transport_failures),
        cmocka_unit_test(pauses_grow_and_are_scattered),
        cmocka_unit_test(lives),
        cmocka_unit_test(ids_of_times),
        cmocka_unit_test(the_mark_follows_what_was_heard),
        cmocka_unit_test(a_gap_stops_the_mark),
        cmocka_unit_test(timestamps_at_the_end_of_frames),
        cmocka_unit_test(calls_are_paced),
        cmocka_unit_test(parts_are_known_by_author_and_key),
        cmocka_unit_test(an_entry_has_its_files),
        cmocka_unit_test(an_entry_has_one_key_whatever_its_files),
        cmocka_unit_test(holding_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
