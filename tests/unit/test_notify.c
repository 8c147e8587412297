/* links: core */
/* What systemd is told: a state waits for room in its queue, a sign of life does not. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/notify.h"

static int service_manager;
static char directory[64];

static int setup(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(directory, sizeof directory, "/tmp/bridgebell-notify-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", directory);
    service_manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(service_manager, (struct sockaddr *)&address, sizeof address) ||
           setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

static int teardown(void **state)
{
    (void)state;
    unlink(getenv("NOTIFY_SOCKET"));
    close(service_manager);
    return rmdir(directory);
}

/* Takes what waits; the number of messages that were STATE. */
static int count(const char *state)
{
    char text[256];
    ssize_t n;
    int found = 0;
    while ((n = recv(service_manager, text, sizeof text - 1, MSG_DONTWAIT)) >= 0) {
        text[n] = '\0';
        found += strcmp(text, state) == 0;
    }
    assert_int_equal(errno, EAGAIN);
    return found;
}

static void fill(void)
{
    for (int i = 0; i < 5000; i++)
        notify_alive();
}

static void a_state_waits_while_the_queue_is_full(void **state)
{
    (void)state;
    fill();
    uint64_t from_ms = clock_mono_ms();
    notify_send("STOPPING=1");
    assert_true(clock_mono_ms() - from_ms >= NOTIFY_WAIT_MS / 2);
    assert_int_equal(count("STOPPING=1"), 0);
    notify_send("STOPPING=1");
    assert_int_equal(count("STOPPING=1"), 1);
}

static void *read_until_ready(void *arg)
{
    char text[256] = "";
    while (strcmp(text, "READY=1") != 0) {
        ssize_t n = recv(service_manager, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
    }
    return arg;
}

static void a_state_arrives_when_there_is_room(void **state)
{
    (void)state;
    pthread_t reader;
    fill();
    assert_int_equal(pthread_create(&reader, NULL, read_until_ready, NULL), 0);
    notify_send("READY=1");
    pthread_join(reader, NULL);
}

static void without_a_service_manager_nothing_happens(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    notify_send("READY=1");
    notify_alive();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_state_waits_while_the_queue_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(a_state_arrives_when_there_is_room, setup, teardown),
        cmocka_unit_test(without_a_service_manager_nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
