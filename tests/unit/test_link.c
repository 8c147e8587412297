/* links: proto core */
/* ZeroMQ in the loop, and the link on top: nothing sticks, a restarted dispatcher is found again, strangers
 * are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/loop.h"
#include "proto/link.h"

enum { FLOOD = 60000, LIMIT_MS = 60000 };

static char endpoint[128];
static bool timed_out;

static int setup(void **state)
{
    static int n;
    (void)state;
    snprintf(endpoint, sizeof endpoint, "ipc:///tmp/bridgebell-test-%ld-%d.ipc", (long)getpid(), n++);
    log_configure(LOG_LOGFMT, LOG_ERROR);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    zsock_shutdown();
    loop_free();
    unlink(endpoint + strlen("ipc://"));
    return 0;
}

static void give_up(void *arg)
{
    (void)arg;
    timed_out = true;
    loop_stop();
}

static void run_until_stopped(void)
{
    timed_out = false;
    struct loop_timer *limit = loop_timer_new(give_up, NULL);
    loop_timer_start(limit, LIMIT_MS);
    loop_run();
    loop_timer_free(&limit);
    assert_false(timed_out);
}

/* ---- both directions at once, sends from timers and from callbacks: the trap of the edge-triggered
 * descriptor ---- */

struct flood {
    struct zsock *router, *dealer;
    struct loop_timer *pump;
    size_t sent, echoed, back;
};

static void flood_check(struct flood *f)
{
    if (f->back == FLOOD)
        loop_stop();
}

static void flood_at_router(void *arg, const struct zsock_peer *peer, const void *data, size_t len)
{
    struct flood *f = arg;
    f->echoed++;
    assert_int_equal(zsock_send(f->router, peer, data, len), 0);
}

static void flood_at_dealer(void *arg, const struct zsock_peer *peer, const void *data, size_t len)
{
    struct flood *f = arg;
    (void)data;
    assert_null(peer);
    assert_int_equal(len, 300);
    f->back++;
    flood_check(f);
}

static void flood_pump(void *arg)
{
    struct flood *f = arg;
    char bytes[300] = {0};
    /* At most a few thousand under way, below the high-water mark that would drop at the router. */
    while (f->sent < FLOOD && f->sent - f->back < 4000)
        if (zsock_send(f->dealer, NULL, bytes, sizeof bytes) == 0)
            f->sent++;
        else
            break;
    if (f->sent < FLOOD)
        loop_timer_start(f->pump, 1);
}

static void flood_in_both_directions_never_sticks(void **state)
{
    (void)state;
    struct flood f = {0};
    f.router = zsock_new(ZSOCK_ROUTER, flood_at_router, &f);
    f.dealer = zsock_new(ZSOCK_DEALER, flood_at_dealer, &f);
    f.pump = loop_timer_new(flood_pump, &f);
    assert_int_equal(zsock_bind(f.router, endpoint), 0);
    assert_int_equal(zsock_connect(f.dealer, endpoint), 0);
    loop_timer_start(f.pump, 0);
    run_until_stopped();
    assert_int_equal(f.echoed, FLOOD);
    loop_timer_free(&f.pump);
    zsock_free(&f.dealer, 0);
    zsock_free(&f.router, 0);
}

/* ---- the link ---- */

struct side {
    struct link_client *client;
    struct link_server *server;
    int ups, downs, hellos, gones, messages;
    const char *refuse_with;
    int stop_at_ups, stop_at_gones, stop_at_messages;
    struct link_peer *peer;
    char extra[16];
};

static void stop_if(int is, int wanted)
{
    if (is == wanted)
        loop_stop();
}

static void client_hello(void *arg, struct msg_out *extra)
{
    (void)arg;
    msg_put_cstr(extra, "from-client");
}

static void client_up(void *arg, const void *extra, size_t len)
{
    struct side *s = arg;
    s->ups++;
    assert_true(len < sizeof s->extra);
    memcpy(s->extra, extra, len);
    stop_if(s->ups, s->stop_at_ups);
}

static void client_down(void *arg)
{
    ((struct side *)arg)->downs++;
}

static void client_message(void *arg, int type, struct msg_fields *fields)
{
    struct side *s = arg;
    assert_int_equal(type, 40);
    assert_int_equal(msg_get_uint(fields), 7);
    s->messages++;
    stop_if(s->messages, s->stop_at_messages);
}

static const char *server_hello(void *arg, struct link_peer *peer, const void *extra, size_t len,
                                struct msg_out *welcome)
{
    struct side *s = arg;
    s->hellos++;
    if (s->refuse_with) {
        loop_stop();
        return s->refuse_with;
    }
    assert_string_equal(peer->role, "listener");
    assert_string_equal(peer->name, "main");
    assert_true(len > 0 && extra);
    s->peer = peer;
    msg_put_uint(welcome, 5);
    return NULL;
}

static void server_gone(void *arg, struct link_peer *peer)
{
    struct side *s = arg;
    (void)peer;
    s->gones++;
    stop_if(s->gones, s->stop_at_gones);
}

static void server_message(void *arg, struct link_peer *peer, int type, struct msg_fields *fields)
{
    struct side *s = arg;
    struct msg_out out;
    (void)fields;
    msg_out_init(&out, 0);
    msg_begin(&out, (unsigned)type, 1);
    msg_put_uint(&out, 7);
    assert_int_equal(link_server_send(s->server, peer, &out), 0);
    msg_out_free(&out);
}

static const struct link_client_ops client_ops = {client_hello, client_up, client_down, client_message};
static const struct link_server_ops server_ops = {server_hello, server_gone, server_message};

static void send_from_client(struct side *s)
{
    struct msg_out out;
    msg_out_init(&out, 0);
    msg_begin(&out, 40, 0);
    assert_int_equal(link_client_send(s->client, &out), 0);
    msg_out_free(&out);
}

static void welcome_message_and_goodbye(void **state)
{
    (void)state;
    struct side s = {.stop_at_ups = 1};
    s.server = link_server_new(endpoint, &server_ops, &s);
    assert_non_null(s.server);
    s.client = link_client_new(endpoint, "listener", "main", &client_ops, &s);
    run_until_stopped();
    assert_int_equal(s.extra[0], 5); /* what the server put into its welcome */
    send_from_client(&s);
    s.stop_at_messages = 1;
    run_until_stopped();
    s.stop_at_gones = 1;
    link_client_free(&s.client);
    run_until_stopped();
    assert_int_equal(s.gones, 1);
    link_server_free(&s.server);
}

static void restarted_dispatcher_is_greeted_again(void **state)
{
    (void)state;
    struct side s = {.stop_at_ups = 1};
    s.server = link_server_new(endpoint, &server_ops, &s);
    s.client = link_client_new(endpoint, "listener", "main", &client_ops, &s);
    run_until_stopped();
    link_server_free(&s.server);
    s.stop_at_ups = 2;
    s.server = link_server_new(endpoint, &server_ops, &s);
    assert_non_null(s.server);
    run_until_stopped();
    assert_int_equal(s.downs, 1);
    assert_int_equal(s.hellos, 2);
    link_client_free(&s.client);
    link_server_free(&s.server);
}

static void refused_client_stays_down(void **state)
{
    (void)state;
    struct side s = {.refuse_with = "no room"};
    s.server = link_server_new(endpoint, &server_ops, &s);
    s.client = link_client_new(endpoint, "listener", "main", &client_ops, &s);
    run_until_stopped();
    assert_false(link_client_is_up(s.client));
    assert_int_equal(s.ups, 0);
    assert_int_equal(s.gones, 0);
    link_client_free(&s.client);
    link_server_free(&s.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(flood_in_both_directions_never_sticks, setup, teardown),
        cmocka_unit_test_setup_teardown(welcome_message_and_goodbye, setup, teardown),
        cmocka_unit_test_setup_teardown(restarted_dispatcher_is_greeted_again, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_client_stays_down, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
