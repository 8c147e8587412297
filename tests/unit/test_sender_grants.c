/* links: sender_parts proto http core */
/* The sender's side of the conversation with a dispatcher, over a real link: credit, start-by times, outcomes
 * kept until they are acknowledged, leaving. The provider is a stub that answers when it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/log.h"
#include "core/loop.h"
#include "sender/grants.h"

enum { SLOTS = 2, HELD_MAX = 64, RESULTS_MAX = 256, GIVE_UP_MS = 60000 };

/* ---- the provider ---- */

static struct {
    struct provider provider;
    struct request *held[HELD_MAX];
    size_t count, most;
    bool at_once; /* answers from inside send */
} stub;

static struct verdict verdicts[WIRE_GRANT_JOBS_MAX];

static void answer_request(struct request *r)
{
    for (size_t i = 0; i < r->count; i++)
        verdicts[i] = (struct verdict){WIRE_ACCEPTED, WIRE_CLASS_NONE, 0, 1, 160000, -1, "id", ""};
    r->http_status = 200;
    r->answer_us = 1000;
    r->done(r, verdicts);
}

static void stub_send(struct provider *p, struct request *r)
{
    (void)p;
    if (stub.at_once) {
        answer_request(r);
        return;
    }
    assert_true(stub.count < HELD_MAX);
    stub.held[stub.count++] = r;
    if (stub.count > stub.most)
        stub.most = stub.count;
}

static void stub_answer_first(void)
{
    struct request *r = stub.held[0];
    memmove(stub.held, stub.held + 1, --stub.count * sizeof stub.held[0]);
    answer_request(r);
}

static size_t stub_slots(const struct provider *p)
{
    (void)p;
    return SLOTS;
}

static void stub_probe(struct provider *p, void (*answer)(void *arg, bool works, const char *detail),
                       void *arg)
{
    (void)p;
    answer(arg, true, "fine");
}

static void stub_stats(const struct provider *p, struct provider_stats *out)
{
    (void)p;
    memset(out, 0, sizeof *out);
}

static void stub_free(struct provider *p)
{
    (void)p;
    while (stub.count)
        free(stub.held[--stub.count]);
}

static const struct provider_ops stub_ops = {
    .type = "stub",
    .slots = stub_slots,
    .send = stub_send,
    .probe = stub_probe,
    .stats = stub_stats,
    .free = stub_free,
};

/* ---- the dispatcher ---- */

static struct {
    struct link_server *links;
    struct link_peer *peer;
    struct wire_credit credit;
    uint64_t number, seq;
    struct {
        enum wire_outcome outcome;
        uint64_t seq;
        unsigned char job;
    } results[RESULTS_MAX];
    size_t count;
    bool probed, stats, has_credit;
    struct msg_out out;
} d;

static const char *on_hello(void *arg, struct link_peer *peer, const void *extra, size_t len,
                            struct msg_out *welcome)
{
    (void)arg;
    (void)extra;
    (void)len;
    (void)welcome;
    d.peer = peer;
    d.number = 0;
    return NULL;
}

static void on_gone(void *arg, struct link_peer *peer)
{
    (void)arg;
    (void)peer;
    d.peer = NULL;
}

static void on_results(struct msg_fields *f)
{
    d.seq = msg_get_uint(f);
    wire_get_credit(f, &d.credit);
    struct msg_fields list = msg_get_array(f);
    while (list.left && !list.failed) {
        struct wire_result r;
        wire_get_result(&list, &r);
        assert_true(d.count < RESULTS_MAX);
        d.results[d.count].outcome = r.outcome;
        d.results[d.count].seq = d.seq;
        d.results[d.count++].job = r.job.bytes[0];
    }
    assert_true(msg_end(f) && !list.failed);
}

static void on_message(void *arg, struct link_peer *peer, int type, struct msg_fields *f)
{
    (void)arg;
    (void)peer;
    if (type == WIRE_CREDIT) {
        wire_get_credit(f, &d.credit);
        d.has_credit = true;
    } else if (type == WIRE_RESULTS) {
        on_results(f);
    } else if (type == WIRE_PROBE_RESULT) {
        d.probed = true;
    } else if (type == WIRE_STATS) {
        d.stats = true;
    }
}

static void acknowledge(void)
{
    msg_begin(&d.out, WIRE_RESULTS_ACK, 1);
    msg_put_uint(&d.out, d.seq);
    link_server_send(d.links, d.peer, &d.out);
}

/* Grants COUNT requests of one job each, numbered from FIRST. */
static void grant(unsigned char first, size_t count, uint64_t start_by_ms, const char *provider,
                  const char *number)
{
    msg_begin(&d.out, WIRE_GRANTS, 2);
    msg_put_uint(&d.out, ++d.number);
    msg_put_array(&d.out, count);
    for (size_t i = 0; i < count; i++) {
        struct wire_grant_job job = {.job = {{(unsigned char)(first + i)}},
                                     .attempt = 1,
                                     .generation = 1,
                                     .number = msg_str_of(number)};
        struct wire_grant g = {
            .provider = msg_str_of(provider),
            .stamp = d.credit.stamp,
            .start_by_ms = start_by_ms,
            .expires_in_s = -1,
            .text = msg_str_of("hello"),
            .jobs = &job,
            .count = 1,
        };
        wire_put_grant(&d.out, &g);
    }
    link_server_send(d.links, d.peer, &d.out);
}

/* ---- both in one loop ---- */

static struct grants *sender;
static char endpoint[64];

static void stop_waiting(void *arg)
{
    *(bool *)arg = true;
    event_base_loopbreak(loop_base());
}

/* Runs the loop until TRUE_NOW or the end of patience. */
static bool wait_for(bool (*true_now)(void))
{
    bool over = false;
    struct loop_timer *limit = loop_timer_new(stop_waiting, &over);
    loop_timer_start(limit, GIVE_UP_MS);
    while (!over && !true_now())
        event_base_loop(loop_base(), EVLOOP_ONCE);
    loop_timer_free(&limit);
    return true_now();
}

static bool has_credit(void)
{
    return d.has_credit;
}

static int setup(void **state)
{
    (void)state;
    static const struct link_server_ops ops = {.hello = on_hello, .gone = on_gone, .message = on_message};
    static const struct grants_events events = {NULL, NULL};
    static int number;
    memset(&stub, 0, sizeof stub);
    memset(&d, 0, sizeof d);
    stub.provider = (struct provider){&stub_ops, "p"};
    msg_out_init(&d.out, 0);
    /* A socket's path has room for 107 bytes only, so not in the build tree. */
    snprintf(endpoint, sizeof endpoint, "ipc:///tmp/bridgebell-grants-%ld-%d.ipc", (long)getpid(), number++);
    d.links = link_server_new(endpoint, &ops, NULL);
    assert_non_null(d.links);
    sender = grants_new(endpoint, "1", &events, NULL);
    grants_add_line(sender, &stub.provider);
    assert_true(wait_for(has_credit));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    grants_free(&sender);
    if (d.links)
        link_server_free(&d.links);
    msg_out_free(&d.out);
    unlink(endpoint + strlen("ipc://"));
    return 0;
}

/* ---- tests ---- */

static bool two_held(void)
{
    return stub.count == 2;
}
static bool one_result(void)
{
    return d.count >= 1;
}
static bool three_results(void)
{
    return d.count >= 3;
}
static bool no_credit(void)
{
    return d.has_credit && d.credit.free == 0;
}
static bool some_credit(void)
{
    return d.credit.free > 0;
}

static void credit_is_what_the_line_can_take(void **state)
{
    (void)state;
    assert_int_equal(d.credit.free, SLOTS);
    grant(1, SLOTS, 60000, "p", "+48500500500");
    assert_true(wait_for(two_held));
    d.has_credit = false;
    assert_true(wait_for(no_credit));
    assert_int_equal(d.credit.seen, 1);
    stub_answer_first();
    assert_true(wait_for(some_credit));
    assert_int_equal(d.count, 1);
    assert_int_equal(d.results[0].outcome, WIRE_ACCEPTED);
    assert_true(wait_for(one_result));
}

static void no_more_at_once_than_slots(void **state)
{
    (void)state;
    grant(1, 5, 60000, "p", "+48500500500");
    assert_true(wait_for(two_held));
    while (stub.count)
        stub_answer_first();
    assert_true(wait_for(three_results));
    assert_int_equal(stub.most, SLOTS);
    assert_int_equal(d.count, 5);
}

/* What waits behind full slots goes back unsent when its time is over, without waiting for a slot. */
static void what_comes_too_late_goes_back_unsent(void **state)
{
    (void)state;
    grant(1, SLOTS, 60000, "p", "+48500500500");
    assert_true(wait_for(two_held));
    grant(3, 1, 50, "p", "+48500500500");
    assert_true(wait_for(one_result));
    assert_int_equal(d.results[0].job, 3);
    assert_int_equal(d.results[0].outcome, WIRE_UNSENT);
    assert_int_equal(stub.count, SLOTS);
}

static void a_stamp_from_the_future_is_too_late(void **state)
{
    (void)state;
    d.credit.stamp += 1000000;
    grant(1, 1, 1000, "p", "+48500500500");
    assert_true(wait_for(one_result));
    assert_int_equal(d.results[0].outcome, WIRE_UNSENT);
}

static void every_job_of_an_odd_grant_has_an_outcome(void **state)
{
    (void)state;
    grant(1, 1, 60000, "nobody", "+48500500500");
    grant(2, 1, 60000, "p", "48500500500");
    grant(3, 1, 60000, "p", "+4850050050000000000000000");
    assert_true(wait_for(three_results));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(d.results[i].outcome, d.results[i].job == 1 ? WIRE_UNSENT : WIRE_REFUSED);
}

static bool six_results(void)
{
    return d.count == 6;
}

/* Unacknowledged outcomes come again after every welcome, with their numbers; acknowledged ones do not. */
static void outcomes_are_kept_until_acknowledged(void **state)
{
    (void)state;
    static const struct link_server_ops ops = {.hello = on_hello, .gone = on_gone, .message = on_message};
    stub.at_once = true;
    grant(1, 3, 60000, "p", "+48500500500");
    assert_true(wait_for(three_results));
    uint64_t seq = d.seq;
    link_server_free(&d.links);
    d.links = link_server_new(endpoint, &ops, NULL);
    assert_non_null(d.links);
    d.has_credit = false;
    assert_true(wait_for(six_results));
    assert_int_equal(d.seq, seq);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(d.results[i].job, d.results[i + 3].job);
        assert_int_equal(d.results[i].seq, d.results[i + 3].seq);
    }
    acknowledge();
    d.has_credit = false;
    assert_true(wait_for(has_credit));
    link_server_free(&d.links);
    d.links = link_server_new(endpoint, &ops, NULL);
    d.has_credit = false;
    assert_true(wait_for(has_credit));
    assert_int_equal(d.count, 6);
}

static bool four_results(void)
{
    return d.count >= 4;
}

static bool is_drained;

static void on_drained(void *arg)
{
    (void)arg;
    is_drained = true;
}
static bool drained(void)
{
    return is_drained;
}

static void leaving_finishes_what_is_under_way(void **state)
{
    (void)state;
    is_drained = false;
    grant(1, 3, 60000, "p", "+48500500500");
    assert_true(wait_for(two_held));
    grants_drain(sender, on_drained, NULL);
    assert_true(wait_for(one_result));
    assert_int_equal(d.results[0].outcome, WIRE_UNSENT); /* the one that waited */
    assert_true(wait_for(no_credit));
    grant(4, 1, 60000, "p", "+48500500500");
    stub_answer_first();
    stub_answer_first();
    assert_true(wait_for(four_results));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(d.results[i].outcome, d.results[i].job <= 2 ? WIRE_ACCEPTED : WIRE_UNSENT);
    assert_false(is_drained);
    acknowledge();
    assert_true(wait_for(drained));
}

static bool probed(void)
{
    return d.probed && d.stats;
}

static void probes_and_statistics_are_answered(void **state)
{
    (void)state;
    msg_begin(&d.out, WIRE_PROBE, 1);
    msg_put_cstr(&d.out, "p");
    link_server_send(d.links, d.peer, &d.out);
    assert_true(wait_for(probed));
}

static void fast_answers_earn_credit_ahead(void **state)
{
    (void)state;
    assert_int_equal(grants_line_limit(16, 0), 16);
    assert_int_equal(grants_line_limit(16, 100000), 16);
    assert_int_equal(grants_line_limit(16, 5000), 48);
    assert_int_equal(grants_line_limit(16, 1), 512);
    assert_int_equal(grants_line_limit(1000, 1), 1000);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    log_configure(LOG_LOGFMT, LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(credit_is_what_the_line_can_take, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_at_once_than_slots, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_too_late_goes_back_unsent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stamp_from_the_future_is_too_late, setup, teardown),
        cmocka_unit_test_setup_teardown(every_job_of_an_odd_grant_has_an_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(outcomes_are_kept_until_acknowledged, setup, teardown),
        cmocka_unit_test_setup_teardown(leaving_finishes_what_is_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(probes_and_statistics_are_answered, setup, teardown),
        cmocka_unit_test(fast_answers_earn_credit_ahead),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    zsock_shutdown();
    loop_free();
    return failed;
}
