/* links: http core */
/* Requests against a scripted server in a thread: what was written, what came back, what is reused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/http/http.h"
#include "core/loop.h"

/* ---- the server: one connection at a time, one behaviour ---- */

enum behaviour { ANSWER, HANG_UP, SILENT, LIMITED, LARGE };

static struct {
    int listener;
    int port;
    pthread_t thread;
    _Atomic int behaviour;
    atomic_int connections, requests;
    atomic_bool over;
} server;

static int read_request(int fd)
{
    char buf[8192];
    size_t len = 0;
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        while (poll(&p, 1, 20) == 0)
            if (server.over)
                return -1;
        ssize_t n = read(fd, buf + len, sizeof buf - 1 - len);
        if (n <= 0)
            return -1;
        len += (size_t)n;
        buf[len] = '\0';
        const char *end = strstr(buf, "\r\n\r\n");
        if (!end)
            continue;
        const char *length = strcasestr(buf, "Content-Length:");
        size_t body = length ? strtoul(length + 15, NULL, 10) : 0;
        if (len >= (size_t)(end + 4 - buf) + body)
            return 0;
    }
}

static int answer(int fd)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Test: yes\r\n\r\nOK";
    static const char limited[] = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    char large[5000] = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n";
    server.requests++;
    switch ((int)server.behaviour) {
    case ANSWER:
        return write(fd, ok, sizeof ok - 1) < 0 ? -1 : 0;
    case LIMITED:
        return write(fd, limited, sizeof limited - 1) < 0 ? -1 : 0;
    case LARGE: {
        size_t head = strlen(large);
        memset(large + head, 'x', 4000);
        return write(fd, large, head + 4000) < 0 ? -1 : 0;
    }
    case SILENT:
        while (!server.over && server.behaviour == SILENT)
            usleep(5000);
        return -1;
    default:
        return -1;
    }
}

static void *serve(void *arg)
{
    (void)arg;
    while (!server.over) {
        struct pollfd p = {server.listener, POLLIN, 0};
        if (poll(&p, 1, 20) <= 0)
            continue;
        int fd = accept(server.listener, NULL, NULL);
        if (fd < 0)
            continue;
        server.connections++;
        while (read_request(fd) == 0 && answer(fd) == 0)
            ;
        close(fd);
    }
    return NULL;
}

static int bound_socket(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &len))
        abort();
    *port = ntohs(a.sin_port);
    return fd;
}

/* ---- the client ---- */

struct result {
    int calls;
    CURLcode error;
    bool written, too_large;
    long status;
    char body[16];
    char header[16];
    int64_t retry_after_ms;
    uint32_t connect_us;
};

static struct http_client *client;
static struct http_headers *headers;
static int questions; /* calls of before_write */
static bool permission;

static bool before_write(void *arg)
{
    (void)arg;
    questions++;
    return permission;
}

static void on_done(void *arg, const struct http_answer *a)
{
    struct result *r = arg;
    r->calls++;
    r->error = a->error;
    r->written = a->written;
    r->too_large = a->too_large;
    r->status = a->status;
    r->retry_after_ms = a->retry_after_ms;
    r->connect_us = a->connect_us;
    snprintf(r->body, sizeof r->body, "%s", a->body);
    const char *header = http_answer_header(a, "x-test");
    snprintf(r->header, sizeof r->header, "%s", header ? header : "");
    loop_stop();
}

static struct http_call call_to(int port)
{
    static char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", port);
    return (struct http_call){.url = url,
                              .headers = headers,
                              .body = "a=b",
                              .body_len = 3,
                              .connect_timeout_ms = 60000,
                              .total_timeout_ms = 60000,
                              .max_answer_bytes = 1000};
}

static struct result ask(const struct http_call *call)
{
    struct result r = {0};
    assert_int_equal(http_begin(client, call, on_done, &r), 0);
    assert_int_equal(r.calls, 0);
    loop_run();
    assert_int_equal(r.calls, 1);
    return r;
}

static void answers_and_reuses_the_connection(void **state)
{
    (void)state;
    struct http_call call = call_to(server.port);
    int before = server.connections;
    struct result r = ask(&call);
    assert_int_equal(r.error, CURLE_OK);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "OK");
    assert_string_equal(r.header, "yes");
    assert_true(r.written);
    assert_int_equal(r.retry_after_ms, -1);
    for (int i = 0; i < 5; i++) {
        r = ask(&call);
        assert_int_equal(r.error, CURLE_OK);
        assert_int_equal(r.connect_us, 0);
    }
    assert_int_equal(server.connections, before + 1);
}

static void a_refused_connection_wrote_nothing(void **state)
{
    (void)state;
    int port;
    int fd = bound_socket(&port); /* bound, not listening */
    struct http_call call = call_to(port);
    struct result r = ask(&call);
    assert_int_equal(r.error, CURLE_COULDNT_CONNECT);
    assert_false(r.written);
    assert_int_equal(r.status, 0);
    close(fd);
}

static void a_request_is_never_written_twice(void **state)
{
    (void)state;
    struct http_call call = call_to(server.port);
    struct result r = ask(&call);
    assert_int_equal(r.error, CURLE_OK);
    /* The connection stands and the server takes the next request, but hangs up instead of answering: libcurl
     * would ask again on a fresh one. */
    server.behaviour = HANG_UP;
    int before = server.requests;
    r = ask(&call);
    assert_int_not_equal(r.error, CURLE_OK);
    assert_true(r.written);
    assert_int_equal(server.requests, before + 1);
}

static void before_write_decides_on_a_standing_connection(void **state)
{
    (void)state;
    struct http_call call = call_to(server.port);
    call.before_write = before_write;
    questions = 0;
    permission = false;
    int before = server.requests;
    struct result r = ask(&call);
    assert_int_equal(r.error, CURLE_ABORTED_BY_CALLBACK);
    assert_false(r.written);
    assert_int_equal(questions, 1);
    assert_int_equal(server.requests, before);
    permission = true;
    r = ask(&call);
    assert_int_equal(r.error, CURLE_OK);
    assert_int_equal(questions, 2);
}

static void a_silent_server_times_out_as_written(void **state)
{
    (void)state;
    server.behaviour = SILENT;
    struct http_call call = call_to(server.port);
    call.total_timeout_ms = 1000;
    struct result r = ask(&call);
    assert_int_equal(r.error, CURLE_OPERATION_TIMEDOUT);
    assert_true(r.written);
    assert_int_equal(r.status, 0);
}

static void retry_after_is_read(void **state)
{
    (void)state;
    server.behaviour = LIMITED;
    struct http_call call = call_to(server.port);
    struct result r = ask(&call);
    assert_int_equal(r.status, 429);
    assert_int_equal(r.retry_after_ms, 7000);
}

static void a_large_answer_is_refused(void **state)
{
    (void)state;
    server.behaviour = LARGE;
    struct http_call call = call_to(server.port);
    struct result r = ask(&call);
    assert_int_equal(r.error, CURLE_WRITE_ERROR);
    assert_true(r.too_large);
    call.max_answer_bytes = 4000;
    r = ask(&call);
    assert_int_equal(r.error, CURLE_OK);
}

static void slots_are_bounded_and_come_back(void **state)
{
    (void)state;
    server.behaviour = SILENT;
    struct http_call call = call_to(server.port);
    struct result r = {0}, others = {0};
    assert_int_equal(http_begin(client, &call, on_done, &others), 0);
    assert_int_equal(http_begin(client, &call, on_done, &others), 0);
    assert_int_equal(http_begin(client, &call, on_done, &r), -1);
    server.behaviour = HANG_UP;
    while (others.calls < 2)
        event_base_loop(loop_base(), EVLOOP_ONCE);
    server.behaviour = ANSWER;
    r = ask(&call);
    assert_int_equal(r.calls, 1);
    assert_int_equal(r.error, CURLE_OK);
}

static int setup(void **state)
{
    (void)state;
    server.behaviour = ANSWER;
    static const char *const lines[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    headers = http_headers_new(lines);
    client = http_client_new(&(struct http_options){.connections = 2});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server.behaviour = ANSWER;
    http_client_free(&client);
    http_headers_free(&headers);
    return 0;
}

int main(void)
{
    static const char *const proxies[] = {"http_proxy", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof proxies[0]; i++)
        unsetenv(proxies[i]);
    signal(SIGPIPE, SIG_IGN);
    server.listener = bound_socket(&server.port);
    if (listen(server.listener, 8) || pthread_create(&server.thread, NULL, serve, NULL))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_and_reuses_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_connection_wrote_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_is_never_written_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(before_write_decides_on_a_standing_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(a_silent_server_times_out_as_written, setup, teardown),
        cmocka_unit_test_setup_teardown(retry_after_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_answer_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(slots_are_bounded_and_come_back, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    server.over = true;
    pthread_join(server.thread, NULL);
    close(server.listener);
    loop_free();
    return failed;
}
