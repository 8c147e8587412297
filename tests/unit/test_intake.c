/* links: dispatcher_parts expr proto core m */
/* Events from a listener, over a real link, through rules into a real store, and what is acknowledged when.
 */
#include "tests/unit/store_fixture.h"

#include <sodium.h>

#include "dispatcher/intake_private.h"

enum { GIVE_UP_MS = 60000 };

static struct fixture f;
static struct queue *queue;
static struct rules *rules;
static struct intake *intake;
static char endpoint[96];

/* ---- the listener ---- */

static struct {
    struct link_client *link;
    unsigned ups;
    uint64_t acked, interest;
    int64_t mark_ms;
    struct msg_out out;
} l;

static void on_up(void *arg, const void *extra, size_t len)
{
    (void)arg;
    struct msg_in in;
    msg_in_init(&in);
    assert_int_equal(msg_parse_object(&in, extra, len), 0);
    struct msg_fields fields = {in.root.via.array.ptr, in.root.via.array.size, false};
    l.mark_ms = msg_get_int(&fields);
    assert_int_equal(msg_get_str(&fields).len, 2 * HASH_ID_BYTES);
    assert_true(msg_end(&fields));
    msg_in_free(&in);
    l.ups++;
}

static void on_down(void *arg)
{
    (void)arg;
}

static void on_message(void *arg, int type, struct msg_fields *fields)
{
    (void)arg;
    if (type == WIRE_EVENTS_ACK) {
        l.acked = msg_get_uint(fields);
    } else if (type == WIRE_INTEREST) {
        struct wire_interest interest;
        l.interest = msg_get_uint(fields);
        assert_int_equal(wire_get_interest(fields, &interest), 0);
        assert_false(interest.everything);
        assert_true(interest.count > 0);
        wire_interest_free(&interest);
    }
}

static void connect_listener(void)
{
    static const struct link_client_ops ops = {.up = on_up, .down = on_down, .message = on_message};
    l.ups = 0;
    l.acked = l.interest = 0;
    l.link = link_client_new(endpoint, "listener", "main", &ops, NULL);
}

#define FRAME(type, data)                                                                                    \
    "{\"channel\":\"thread\",\"type\":\"" type "\",\"timestamp\":1700000000000,\"data\":{" data "}}"
#define MESSAGE(id) FRAME("threadNewMessage", "\"id\":\"" id "\",\"threadId\":\"t1\"")

/* One batch; a NULL frame stands for bytes that are no event. */
static void send_batch(uint64_t seq, int64_t mark_ms, const char *const *frames, size_t count)
{
    struct buf packed = {0};
    const char *why;
    msg_begin(&l.out, WIRE_EVENTS, 3);
    msg_put_uint(&l.out, seq);
    msg_put_int(&l.out, mark_ms);
    msg_put_array(&l.out, count);
    for (size_t i = 0; i < count; i++) {
        buf_reset(&packed);
        if (frames[i])
            assert_int_equal(event_normalise("main", frames[i], strlen(frames[i]), 1, 1, &packed, &why), 0);
        else
            buf_adds(&packed, "rubbish");
        msg_put_bin(&l.out, packed.data, packed.len);
    }
    assert_int_equal(link_client_send(l.link, &l.out), 0);
    buf_free(&packed);
}

/* ---- the loop ---- */

static void give_up(void *arg)
{
    *(bool *)arg = true;
}

static bool wait_for(bool (*holds)(void))
{
    bool over = false;
    struct loop_timer *limit = loop_timer_new(give_up, &over);
    loop_timer_start(limit, GIVE_UP_MS);
    while (!over && !holds())
        event_base_loop(loop_base(), EVLOOP_ONCE);
    loop_timer_free(&limit);
    return holds();
}

static bool is_up(void)
{
    return l.ups > 0 && l.interest > 0;
}
static bool is_up_twice(void)
{
    return l.ups > 1;
}
static uint64_t wanted_ack;
static bool is_acked(void)
{
    return l.acked == wanted_ack;
}
static bool wait_acked(uint64_t seq)
{
    wanted_ack = seq;
    return wait_for(is_acked);
}

static uint64_t jobs_in(enum job_state state)
{
    struct store_health h;
    store_health(f.store, &h);
    return h.jobs[state];
}

static int told(const char *group, const char *name)
{
    cJSON *status = cJSON_CreateObject();
    intake_status(intake, status);
    int value = cJSON_GetObjectItem(cJSON_GetObjectItem(status, group), name)->valueint;
    cJSON_Delete(status);
    return value;
}

/* ---- around each test ---- */

static void add_text(struct slice_block *b, const char *name, const char *text)
{
    slice_add_setting(b, name, SLICE_TEXT, 1)->text = xstrdup(text);
}

static int setup(void **state)
{
    (void)state;
    static int number;
    fixture_init(&f);
    slice_add_block(f.slice, "bridge", "main", "test.conf", 1);
    slice_add_block(f.slice, "provider", "p", "test.conf", 2);
    struct slice_block *rule = slice_add_block(f.slice, "rule", "r", "test.conf", 3);
    add_text(rule, "when", "data.threadId == 't1' && type == 'threadNewMessage'");
    add_text(rule, "message", "x");
    struct slice_setting *to = slice_add_setting(rule, "to", SLICE_LIST, 1);
    to->list = xcalloc(1, sizeof *to->list);
    to->list[to->count++] = xstrdup("+48500500500");
    fixture_open(&f);
    struct faults faults = {0};
    rules = rules_new(f.slice, &faults);
    assert_non_null(rules);
    queue = queue_new(f.slice, f.store);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/events%d.ipc", f.dir, number++);
    intake = intake_new(endpoint, f.slice, f.store, rules, queue, NULL);
    assert_non_null(intake);
    memset(&l, 0, sizeof l);
    msg_out_init(&l.out, 0);
    connect_listener();
    return wait_for(is_up) ? 0 : -1;
}

static bool drained;
static void on_drained(void *arg)
{
    (void)arg;
    drained = true;
}
static bool is_drained(void)
{
    return drained;
}

static int teardown(void **state)
{
    (void)state;
    link_client_free(&l.link);
    msg_out_free(&l.out);
    drained = false;
    intake_drain(intake, on_drained, NULL);
    assert_true(wait_for(is_drained));
    store_close(&f.store);
    intake_free(&intake);
    queue_free(&queue);
    rules_free(&rules);
    fixture_end(&f);
    return 0;
}

/* ---- tests ---- */

static void an_event_is_acknowledged_with_its_job_on_disk(void **state)
{
    (void)state;
    const char *frames[] = {MESSAGE("m1"), FRAME("threadNewMessage", "\"id\":\"m2\",\"threadId\":\"t2\"")};
    send_batch(1, -1, frames, 2);
    assert_true(wait_acked(1));
    assert_int_equal(jobs_in(JOB_QUEUED), 1);
    assert_int_equal(told("events", "received"), 2);
    assert_int_equal(told("events", "matched"), 1);
}

static void an_event_that_comes_again_makes_no_second_job(void **state)
{
    (void)state;
    const char *frames[] = {MESSAGE("m1")};
    send_batch(1, -1, frames, 1);
    assert_true(wait_acked(1));
    link_client_free(&l.link);
    connect_listener();
    assert_true(wait_for(is_up));
    send_batch(1, -1, frames, 1);
    assert_true(wait_acked(1));
    assert_int_equal(jobs_in(JOB_QUEUED), 1);
    assert_int_equal(told("events", "duplicates"), 1);
}

static void rubbish_is_skipped_and_counted(void **state)
{
    (void)state;
    const char *frames[] = {NULL, MESSAGE("m1"), NULL};
    send_batch(1, -1, frames, 3);
    assert_true(wait_acked(1));
    assert_int_equal(jobs_in(JOB_QUEUED), 1);
    assert_int_equal(told("events", "malformed"), 2);
}

/* An acknowledgement covers everything before it, so what is behind a gap may not be taken. */
static void a_missing_batch_is_asked_for(void **state)
{
    (void)state;
    const char *first[] = {MESSAGE("m1")}, *second[] = {MESSAGE("m2")}, *third[] = {MESSAGE("m3")};
    send_batch(1, -1, first, 1);
    assert_true(wait_acked(1));
    send_batch(3, -1, third, 1);
    assert_true(wait_for(is_up_twice));
    assert_int_equal(l.acked, 1);
    assert_int_equal(jobs_in(JOB_QUEUED), 1);
    send_batch(2, -1, second, 1);
    send_batch(3, -1, third, 1);
    assert_true(wait_acked(3));
    assert_int_equal(jobs_in(JOB_QUEUED), 3);
}

static void a_deletion_cancels_before_and_after(void **state)
{
    (void)state;
    const char *frames[] = {
        MESSAGE("m1"),
        FRAME("threadDeletedMessage", "\"messageId\":\"m1\",\"threadId\":\"t1\""),
        FRAME("threadDeletedMessage", "\"messageId\":\"m2\",\"threadId\":\"t1\""),
        MESSAGE("m2"),
        MESSAGE("m3"),
    };
    send_batch(1, -1, frames, 5);
    assert_true(wait_acked(1));
    assert_int_equal(jobs_in(JOB_QUEUED), 1);
    assert_int_equal(jobs_in(JOB_CANCELLED), 2);
}

static void the_mark_is_given_back_at_the_next_hello(void **state)
{
    (void)state;
    const char *frames[] = {MESSAGE("m1")};
    assert_int_equal(l.mark_ms, -1);
    send_batch(1, 1700000000000, frames, 1);
    send_batch(2, 1700000005000, NULL, 0);
    assert_true(wait_acked(2));
    send_batch(3, 1700000006000, NULL, 0);
    assert_true(wait_acked(3));
    link_client_free(&l.link);
    connect_listener();
    assert_true(wait_for(is_up));
    assert_int_equal(l.mark_ms, 1700000006000);
}

/* Whoever is killed right after his first message must know from where to catch up. */
static void the_first_batch_brings_its_own_mark(void **state)
{
    (void)state;
    const char *frames[] = {MESSAGE("m1")};
    send_batch(1, 1700000000000, frames, 1);
    assert_true(wait_acked(1));
    assert_int_equal(store_mark_ms(f.store, "main"), 1700000000000);
}

static void the_first_events_bring_a_mark_if_nobody_has_one(void **state)
{
    (void)state;
    const char *first[] = {MESSAGE("m1")}, *second[] = {MESSAGE("m2")};
    send_batch(1, -1, first, 1);
    assert_true(wait_acked(1));
    int64_t mark_ms = store_mark_ms(f.store, "main");
    assert_true(mark_ms > 0);
    send_batch(2, mark_ms + 5000, second, 1);
    assert_true(wait_acked(2));
    assert_int_equal(store_mark_ms(f.store, "main"), mark_ms + 5000);
}

/* What is on its way behind the first events says nothing of these: its time would pass them if they failed.
 */
static void later_events_bring_no_first_mark(void **state)
{
    (void)state;
    const char *first[] = {MESSAGE("m1")};
    const char *later[] = {
        "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1700000060000,"
        "\"data\":{\"id\":\"m2\",\"threadId\":\"t1\"}}"};
    send_batch(1, -1, first, 1);
    send_batch(2, -1, later, 1);
    assert_true(wait_acked(2));
    assert_int_equal(jobs_in(JOB_QUEUED), 2);
    assert_true(store_mark_ms(f.store, "main") < 1700000000000);
}

/* A batch without events took a mark with it and failed; the one behind it did not. When its turn comes again
 * there is nothing to commit, so that it goes at once, and the other with it. */
static void nothing_to_commit_goes_with_what_is_done_behind_it(void **state)
{
    (void)state;
    struct session *s = intake->sessions;
    for (uint64_t seq = 1; seq <= 2; seq++) {
        struct batch *b = batch_new(intake, s, s->bridge, seq, -1, "main");
        batch_close(b);
        b->state = seq == 1 ? BATCH_WAITING : BATCH_DONE;
        *s->last = b;
        s->last = &b->next;
    }
    loop_timer_start(intake->again, 0);
    assert_true(wait_acked(2));
    assert_null(s->first);
    const char *frames[] = {MESSAGE("m1")};
    send_batch(3, -1, frames, 1);
    assert_true(wait_acked(3));
}

static bool is_confirmed(void)
{
    return intake_interest_confirmed(intake);
}

static void interest_is_confirmed_by_its_number(void **state)
{
    (void)state;
    assert_false(intake_interest_confirmed(intake));
    msg_begin(&l.out, WIRE_INTEREST_OK, 1);
    msg_put_uint(&l.out, l.interest);
    link_client_send(l.link, &l.out);
    assert_true(wait_for(is_confirmed));
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    log_configure(LOG_LOGFMT, LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_event_is_acknowledged_with_its_job_on_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(an_event_that_comes_again_makes_no_second_job, setup, teardown),
        cmocka_unit_test_setup_teardown(rubbish_is_skipped_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_batch_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deletion_cancels_before_and_after, setup, teardown),
        cmocka_unit_test_setup_teardown(the_mark_is_given_back_at_the_next_hello, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_batch_brings_its_own_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_events_bring_a_mark_if_nobody_has_one, setup, teardown),
        cmocka_unit_test_setup_teardown(later_events_bring_no_first_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_to_commit_goes_with_what_is_done_behind_it, setup, teardown),
        cmocka_unit_test_setup_teardown(interest_is_confirmed_by_its_number, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    zsock_shutdown();
    return failed;
}
