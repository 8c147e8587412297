#include "core/loop.h"

#include <stdlib.h>

#include "core/alloc.h"

enum { LAST_ROUNDS = 8 };

struct deferred {
    loop_fn *fn;
    void *arg;
};

static struct {
    struct event_base *base;
    struct event *defer_event;
    struct deferred *queue;
    size_t count, size;
} loop;

static void run_deferred(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    /* Functions may defer more; those wait for the next pass, so that a loop of them cannot starve others. */
    struct deferred *queue = loop.queue;
    size_t count = loop.count;
    loop.queue = NULL;
    loop.count = loop.size = 0;
    for (size_t i = 0; i < count; i++)
        queue[i].fn(queue[i].arg);
    free(queue);
}

struct event_base *loop_base(void)
{
    if (loop.base)
        return loop.base;
    struct event_config *config = event_config_new();
    if (!config)
        panic("libevent does not start");
    /* Timers of a few milliseconds decide when a job may leave; the coarse clock is 4 ms late. */
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    loop.base = event_base_new_with_config(config);
    event_config_free(config);
    if (!loop.base)
        panic("libevent does not start");
    loop.defer_event = event_new(loop.base, -1, 0, run_deferred, NULL);
    if (!loop.defer_event)
        panic("libevent does not start");
    return loop.base;
}

void loop_run(void)
{
    event_base_loop(loop_base(), EVLOOP_NO_EXIT_ON_EMPTY);
    /* What was put off to the end of the last pass is mostly memory to be freed. */
    for (int i = 0; i < LAST_ROUNDS && loop.count; i++)
        run_deferred(-1, 0, NULL);
}

void loop_stop(void)
{
    event_base_loopbreak(loop_base());
}

void loop_free(void)
{
    if (!loop.base)
        return;
    event_free(loop.defer_event);
    event_base_free(loop.base);
    free(loop.queue);
    loop.base = NULL;
    loop.queue = NULL;
    loop.count = loop.size = 0;
}

void loop_defer(loop_fn *fn, void *arg)
{
    loop_base();
    if (loop.count == loop.size) {
        loop.size = loop.size ? loop.size * 2 : 16;
        loop.queue = xreallocarray(loop.queue, loop.size, sizeof *loop.queue);
    }
    loop.queue[loop.count++] = (struct deferred){fn, arg};
    if (loop.count == 1)
        event_active(loop.defer_event, EV_TIMEOUT, 0);
}

struct loop_timer {
    struct event *event;
    loop_fn *fn;
    void *arg;
};

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_timer *t = arg;
    t->fn(t->arg);
}

struct loop_timer *loop_timer_new(loop_fn *fn, void *arg)
{
    struct loop_timer *t = xcalloc(1, sizeof *t);
    t->fn = fn;
    t->arg = arg;
    t->event = event_new(loop_base(), -1, 0, timer_fired, t);
    if (!t->event)
        panic("no event for a timer");
    return t;
}

void loop_timer_start(struct loop_timer *t, int64_t ms)
{
    if (ms < 0)
        ms = 0;
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    if (event_add(t->event, &tv))
        panic("libevent takes no timer");
}

void loop_timer_stop(struct loop_timer *t)
{
    event_del(t->event);
}

int loop_timer_pending(const struct loop_timer *t)
{
    return event_pending(t->event, EV_TIMEOUT, NULL);
}

void loop_timer_free(struct loop_timer **t)
{
    if (!*t)
        return;
    event_free((*t)->event);
    free(*t);
    *t = NULL;
}
