#include "master/shutdown.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/notify.h"
#include "master/supervise.h"
#include "proto/role.h"

enum { LOOK_AGAIN_MS = 20 };

static struct {
    bool under_way;
    enum shutdown_way way;
    int exit_code;
    unsigned stage; /* of a graceful end: index into the order below */
    uint64_t deadline_ms;
    struct loop_timer *tick;
} end;

static const enum process_kind order[] = {PROCESS_LISTENER, PROCESS_SENDER, PROCESS_DISPATCHER};
enum { STAGES = sizeof order / sizeof order[0] };

static bool is_everybody_gone(enum process_kind kind)
{
    struct crew *crew;
    for (size_t i = 0; (crew = supervise_at(i)); i++)
        if (!crew_is_empty(crew, kind))
            return false;
    return true;
}

static void stop_all(void)
{
    struct crew *crew;
    for (size_t i = 0; (crew = supervise_at(i)); i++)
        crew_stop(crew, PROCESS_KINDS);
}

static void kill_all(void)
{
    struct crew *crew;
    for (size_t i = 0; (crew = supervise_at(i)); i++)
        crew_kill(crew, PROCESS_KINDS);
}

static void quit_stage(void)
{
    uint64_t now_ms = clock_mono_ms();
    int64_t left_ms = now_ms < end.deadline_ms ? (int64_t)(end.deadline_ms - now_ms) : 0;
    struct crew *crew;
    for (size_t i = 0; (crew = supervise_at(i)); i++)
        crew_quit(crew, order[end.stage], left_ms);
}

static void harden(enum shutdown_way way)
{
    end.way = way;
    if (way == SHUTDOWN_KILL)
        kill_all();
    else
        stop_all();
}

/* Put off, so that what the last process left to be freed at the end of the pass is freed. */
static void leave(void *arg)
{
    (void)arg;
    loop_stop();
}

static void step(void)
{
    if (end.way == SHUTDOWN_GRACEFUL && clock_mono_ms() >= end.deadline_ms) {
        log_warn("the graceful stop has taken its time; stopping what is left",
                 log_int("limit_ms", ROLE_DRAIN_MS));
        harden(SHUTDOWN_FAST);
    }
    while (end.way == SHUTDOWN_GRACEFUL && end.stage < STAGES && is_everybody_gone(order[end.stage]))
        if (++end.stage < STAGES)
            quit_stage();
    if (is_everybody_gone(PROCESS_KINDS) && process_count() == 0)
        loop_defer(leave, NULL);
}

static void on_tick(void *arg)
{
    (void)arg;
    step();
    loop_timer_start(end.tick, LOOK_AGAIN_MS);
}

static const struct activity stopping = {"stopping", step, NULL};

void shutdown_begin(enum shutdown_way way, int exit_code)
{
    if (end.under_way) {
        enum shutdown_way harder = way > end.way ? way : end.way + 1;
        harden(harder < SHUTDOWN_KILL ? harder : SHUTDOWN_KILL);
        return;
    }
    notify_send("STOPPING=1");
    supervise_begin(&stopping);
    end.under_way = true;
    end.way = way;
    end.exit_code = exit_code;
    end.deadline_ms = clock_mono_ms() + ROLE_DRAIN_MS;
    end.tick = loop_timer_new(on_tick, NULL);
    loop_timer_start(end.tick, LOOK_AGAIN_MS);
    if (way == SHUTDOWN_GRACEFUL)
        quit_stage();
    else
        harden(way);
}

bool shutdown_is_under_way(void)
{
    return end.under_way;
}

int shutdown_exit_code(void)
{
    return end.exit_code;
}

void shutdown_free(void)
{
    loop_timer_free(&end.tick);
}
