#include "master/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "master/orders.h"
#include "master/process.h"
#include "master/reload.h"
#include "master/shutdown.h"

static void stop_fast(void)
{
    shutdown_begin(SHUTDOWN_FAST, 0);
}

static void stop_gracefully(void)
{
    shutdown_begin(SHUTDOWN_GRACEFUL, 0);
}

static void reload(void)
{
    if (!shutdown_is_under_way())
        reload_request(0);
}

static void scale(int by)
{
    const char *why = orders_scale_by(by);
    if (why)
        log_warn("the number of senders stays as it is", log_str("reason", why));
}

static void one_more(void)
{
    scale(1);
}

static void one_fewer(void)
{
    scale(-1);
}

static const struct {
    int number;
    const char *name;
    const char *does;
    void (*act)(void);
} table[] = {
    {SIGTERM, "TERM", "stop at once", stop_fast},
    {SIGINT, "INT", "stop at once", stop_fast},
    {SIGQUIT, "QUIT", "finish what is in flight, then stop", stop_gracefully},
    {SIGHUP, "HUP", "reload the configuration", reload},
    {SIGUSR1, "USR1", "open the log files again", orders_reopen_logs},
    {SIGTTIN, "TTIN", "one sender more", one_more},
    {SIGTTOU, "TTOU", "one sender fewer", one_fewer},
    {SIGCHLD, "CHLD", NULL, process_reap},
};
enum { ROWS = sizeof table / sizeof table[0] };

static struct {
    int fd;
    struct event *event;
} signals = {.fd = -1};

/* The name of process PID, or "" if it has gone. */
static void name_of(pid_t pid, char *out, size_t size)
{
    char path[64];
    out[0] = '\0';
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t len = read(fd, out, size - 1);
    close(fd);
    out[len > 0 ? len : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static void log_signal(const struct signalfd_siginfo *info, const char *name, const char *does)
{
    char sender[32] = "";
    if (info->ssi_code == SI_KERNEL) {
        log_info("signal", log_str("signal", name), log_str("from", "the terminal"), log_str("will", does));
        return;
    }
    name_of((pid_t)info->ssi_pid, sender, sizeof sender);
    log_info("signal", log_str("signal", name), log_int("from_pid", info->ssi_pid),
             log_str("from", sender[0] ? sender : NULL), log_int("from_uid", info->ssi_uid),
             log_str("will", does));
}

static void handle(const struct signalfd_siginfo *info)
{
    for (size_t i = 0; i < ROWS; i++)
        if (table[i].number == (int)info->ssi_signo) {
            if (table[i].does)
                log_signal(info, table[i].name, table[i].does);
            table[i].act();
            return;
        }
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    (void)arg;
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info)
        handle(&info);
}

static void listen_to(const sigset_t *set)
{
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, set, NULL);
    signals.fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals.fd < 0)
        panic("no signalfd");
    signals.event = event_new(loop_base(), signals.fd, EV_READ | EV_PERSIST, on_signal, NULL);
    if (!signals.event || event_add(signals.event, NULL))
        panic("libevent takes no signalfd");
}

void signals_setup(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ROWS; i++)
        sigaddset(&set, table[i].number);
    listen_to(&set);
}

void signals_setup_children(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    listen_to(&set);
}

void signals_free(void)
{
    if (signals.event)
        event_free(signals.event);
    if (signals.fd >= 0)
        close(signals.fd);
    signals.event = NULL;
    signals.fd = -1;
}
