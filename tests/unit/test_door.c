/* links: dispatcher_parts */
/* The HTTP door, asked by plain sockets in the same loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/loop.h"
#include "dispatcher/door.h"

enum { ANSWER_MAX = 4096, PASSES_MAX = 2000 };

static char trouble[600];
static struct sockaddr_in address;

static const char *say_trouble(void *arg)
{
    (void)arg;
    return trouble[0] ? trouble : NULL;
}

static struct door *open_door(void)
{
    static const struct door_ops ops = {.not_ready = say_trouble};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof address;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_return_code(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_return_code(listen(fd, 512), 0);
    assert_return_code(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    struct door *d = door_new(fd, &ops, NULL);
    assert_non_null(d);
    return d;
}

static int visit(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_return_code(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void turn(void)
{
    struct timeval tv = {.tv_usec = 5000};
    event_base_loopexit(loop_base(), &tv);
    event_base_dispatch(loop_base());
}

static void ask(int fd, const char *path)
{
    char request[128];
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    assert_int_equal(write(fd, request, (size_t)len), len);
}

/* Reads to the end; returns the body, which is part of OUT. */
static const char *hear(int fd, char *out)
{
    size_t len = 0;
    ssize_t n = -1;
    for (int i = 0; i < PASSES_MAX && n; i++) {
        turn();
        while ((n = read(fd, out + len, ANSWER_MAX - 1 - len)) > 0)
            len += (size_t)n;
    }
    close(fd);
    out[len] = '\0';
    const char *body = strstr(out, "\r\n\r\n");
    assert_non_null(body);
    return body + 4;
}

static void a_reason_is_told_whole_and_no_byte_more(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 254, 255, 256, 257, 399, sizeof trouble - 1};
    struct door *d = open_door();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char answer[ANSWER_MAX];
        char expected[sizeof trouble + 1];
        memset(trouble, 'w', sizes[i]);
        trouble[sizes[i]] = '\0';
        snprintf(expected, sizeof expected, "%s\n", trouble);
        int fd = visit();
        ask(fd, "/readyz");
        assert_string_equal(hear(fd, answer), expected);
        assert_non_null(strstr(answer, " 503 "));
    }
    trouble[0] = '\0';
    door_free(&d);
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void limit_descriptors(rlim_t most)
{
    struct rlimit limit;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void idle_visitors_leave_descriptors_to_others(void **state)
{
    (void)state;
    enum { CROWD = 100, PLACES = 30 };
    static int crowd[CROWD];
    char answer[ANSWER_MAX];
    struct door *d = open_door();
    turn();
    for (size_t i = 0; i < CROWD; i++)
        crowd[i] = visit();
    int last = visit();
    ask(last, "/healthz");
    size_t before = open_descriptors();
    limit_descriptors(before + PLACES + DOOR_SPARE_FDS);
    for (int i = 0; i < 20; i++)
        turn();
    assert_in_range(open_descriptors(), before + PLACES - 5, before + PLACES + 5);
    for (size_t i = 0; i < CROWD; i++)
        close(crowd[i]);
    assert_string_equal(hear(last, answer), "ok\n");
    limit_descriptors(1024);
    door_free(&d);
}

static int count_reading(const struct event_base *base, const struct event *e, void *count)
{
    (void)base;
    *(size_t *)count += (event_get_events(e) & EV_READ) != 0;
    return 0;
}

/* Events of the loop that wait for a descriptor to be readable. */
static size_t reading(void)
{
    size_t count = 0;
    event_base_foreach_event(loop_base(), count_reading, &count);
    return count;
}

static void without_descriptors_the_door_does_not_spin(void **state)
{
    (void)state;
    char answer[ANSWER_MAX];
    struct door *d = open_door();
    turn();
    size_t before = reading();
    int fd = visit();
    ask(fd, "/healthz");
    limit_descriptors((rlim_t)fd + 1);
    event_base_loop(loop_base(), EVLOOP_NONBLOCK);
    assert_int_equal(reading(), before - 1);
    limit_descriptors(1024);
    assert_string_equal(hear(fd, answer), "ok\n");
    door_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reason_is_told_whole_and_no_byte_more),
        cmocka_unit_test(idle_visitors_leave_descriptors_to_others),
        cmocka_unit_test(without_descriptors_the_door_does_not_spin),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free();
    return failed;
}
