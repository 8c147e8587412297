#include "master/slot.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "proto/role.h"

enum { TEXT_MAX_BYTES = 2000, TRIAL_KILLS_MAX = 5 };

const char *const slot_state_names[SLOT_STATES] = {
    [SLOT_EMPTY] = "gone",      [SLOT_STARTING] = "starting", [SLOT_RUNNING] = "running",
    [SLOT_LEAVING] = "leaving", [SLOT_WAITING] = "waiting",   [SLOT_HALTED] = "halted",
    [SLOT_FAILED] = "failed",
};

static void launch(struct slot *slot);

static void replace_text(char **at, const char *text)
{
    free(*at);
    *at = text ? xstrndup(text, strnlen(text, TEXT_MAX_BYTES)) : NULL;
}

static void set_reason(struct slot *slot, const char *text)
{
    replace_text(&slot->reason, text);
    slot->reason_is_old = false;
}

/* The only place where the state changes. */
static void enter(struct slot *slot, enum slot_state state)
{
    slot->state = state;
    slot->since_ms = clock_mono_ms();
    slot->ops->changed(slot->arg, slot);
}

/* ---- what the process says ---- */

static void on_ready(void *arg)
{
    struct slot *slot = arg;
    slot->was_ready = true;
    if (slot->state != SLOT_STARTING)
        return;
    loop_timer_stop(slot->timer);
    replace_text(&slot->reason, NULL);
    log_info("ready", log_str("role", process_kind_names[slot->kind]),
             log_str("name", slot->name[0] ? slot->name : NULL), log_int("pid", slot->pid),
             log_int("took_ms", (int64_t)(clock_mono_ms() - slot->started_ms)));
    enter(slot, SLOT_RUNNING);
}

static void on_faults(void *arg, const struct faults *faults)
{
    struct slot *slot = arg;
    faults_free(&slot->faults);
    for (size_t i = 0; i < faults->count; i++) {
        const struct fault *f = &faults->list[i];
        faults_add(&slot->faults, f->file, f->line, "%s", f->text);
        log_error("fault in the configuration", log_str("role", process_kind_names[slot->kind]),
                  log_str("name", slot->name[0] ? slot->name : NULL), log_str("file", f->file),
                  log_int("line", f->line), log_str("fault", f->text));
    }
    if (faults->count)
        set_reason(slot, faults->list[0].text);
}

static void on_fatal(void *arg, const char *text)
{
    set_reason(arg, text);
}

static void on_state(void *arg, const char *text)
{
    struct slot *slot = arg;
    replace_text(&slot->detail, text);
    slot->ops->changed(slot->arg, slot);
}

static void on_reply(void *arg, uint64_t id, const char *text, size_t len)
{
    struct slot *slot = arg;
    slot->ops->reply(slot->arg, slot, id, text, len);
}

/* ---- the end of a process ---- */

static void wait_and_restart(struct slot *slot, int64_t lived_ms)
{
    int64_t delay_ms = backoff_next_ms(&slot->backoff, lived_ms, slot->was_ready || slot->was_killed);
    slot->next_start_ms = clock_mono_ms() + (uint64_t)delay_ms;
    loop_timer_start(slot->timer, delay_ms);
    log_warn("will be started again", log_str("role", process_kind_names[slot->kind]),
             log_str("name", slot->name[0] ? slot->name : NULL), log_int("delay_ms", delay_ms));
    enter(slot, SLOT_WAITING);
}

static void halt_or_restart(struct slot *slot, int64_t lived_ms)
{
    if (slot->was_final) {
        log_error("halted: it is not started again before a reload; change what its reason names, then run "
                  "\"bridgebell reload\"",
                  log_str("role", process_kind_names[slot->kind]),
                  log_str("name", slot->name[0] ? slot->name : NULL), log_str("reason", slot->reason));
        enter(slot, SLOT_HALTED);
    } else {
        wait_and_restart(slot, lived_ms);
    }
}

/* A process that somebody killed says nothing of the configuration that is on trial. */
static void try_again(struct slot *slot)
{
    slot->trial_kills++;
    slot->next_start_ms = clock_mono_ms() + BACKOFF_FIRST_MS;
    loop_timer_start(slot->timer, BACKOFF_FIRST_MS);
    log_warn("ended by a signal before it was ready; trying again",
             log_str("role", process_kind_names[slot->kind]),
             log_str("name", slot->name[0] ? slot->name : NULL), log_int("delay_ms", BACKOFF_FIRST_MS));
    enter(slot, SLOT_WAITING);
}

/* By a signal: one that kills it, or TERM, upon which it leaves. */
static bool was_told_by_others(int status)
{
    return WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void after_unwanted_end(struct slot *slot, bool by_signal, int64_t lived_ms)
{
    if (slot->on_trial && !slot->was_ready && by_signal && slot->trial_kills < TRIAL_KILLS_MAX)
        try_again(slot);
    else if (slot->on_trial && !slot->was_ready)
        enter(slot, SLOT_FAILED);
    else
        halt_or_restart(slot, lived_ms);
}

static void log_end(const struct slot *slot, int status, const char *how, int64_t lived_ms)
{
    bool as_wanted = !slot->wanted && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    log_write(as_wanted ? LOG_INFO : LOG_ERROR, as_wanted ? "has left" : "process ended",
              log_str("role", process_kind_names[slot->kind]),
              log_str("name", slot->name[0] ? slot->name : NULL), log_int("pid", slot->pid),
              log_str("by", how), log_int("lived_ms", lived_ms), LOG_END);
}

static void on_gone(void *arg, int status)
{
    struct slot *slot = arg;
    int64_t lived_ms = (int64_t)(clock_mono_ms() - slot->started_ms);
    char how[128];
    process_describe_end(status, how, sizeof how);
    log_end(slot, status, how, lived_ms);
    loop_timer_stop(slot->timer);
    replace_text(&slot->detail, NULL);
    slot->process = NULL;
    slot->pid = 0;
    bool told_to_go = slot->state == SLOT_LEAVING;
    bool unexplained = !slot->reason || slot->reason_is_old;
    if (unexplained && !told_to_go) {
        free(slot->reason);
        slot->reason = xasprintf("ended by %s%s", how, slot->was_ready ? "" : " before it was ready");
    }
    slot->was_killed = unexplained && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    slot->was_final = WIFEXITED(status) && WEXITSTATUS(status) == ROLE_EXIT_CONFIG;
    if (!slot->wanted)
        enter(slot, SLOT_EMPTY);
    else if (told_to_go)
        launch(slot);
    else
        after_unwanted_end(slot, unexplained && was_told_by_others(status), lived_ms);
}

/* ---- timers ---- */

static void ready_limit_over(struct slot *slot)
{
    set_reason(slot, "it was not ready within 30 s");
    log_error("not ready in time; it is killed", log_str("role", process_kind_names[slot->kind]),
              log_str("name", slot->name[0] ? slot->name : NULL), log_int("pid", slot->pid),
              log_int("limit_ms", SLOT_READY_MS));
    process_kill(slot->process);
}

static void kill_limit_over(struct slot *slot)
{
    log_warn("did not leave in time; it is killed", log_str("role", process_kind_names[slot->kind]),
             log_str("name", slot->name[0] ? slot->name : NULL), log_int("pid", slot->pid));
    process_kill(slot->process);
}

static void on_timer(void *arg)
{
    struct slot *slot = arg;
    if (slot->state == SLOT_STARTING)
        ready_limit_over(slot);
    else if (slot->state == SLOT_LEAVING)
        kill_limit_over(slot);
    else if (slot->state == SLOT_WAITING)
        launch(slot);
}

/* ---- orders ---- */

static const struct process_events slot_events = {on_ready, on_faults, on_fatal, on_state, on_reply, on_gone};

static void launch(struct slot *slot)
{
    static uint64_t generations;
    struct slice *slice = slot->ops->slice(slot->arg, slot);
    struct process_order order = {
        .kind = slot->kind,
        .instance = slot->name,
        .slice = slice,
        .door_fd = slot->kind == PROCESS_DISPATCHER ? slot->ops->door_fd(slot->arg) : -1,
        .environment = slot->ops->environment(slot->arg),
    };
    slot->was_ready = false;
    slot->reason_is_old = true;
    slot->started_ms = clock_mono_ms();
    slot->restarts += slot->started_before;
    slot->started_before = true;
    slot->generation = ++generations;
    faults_free(&slot->faults);
    slot->process = process_start(&order, &slot_events, slot);
    slice_free(&slice);
    if (!slot->process) {
        log_error("a process cannot be started", log_str("role", process_kind_names[slot->kind]),
                  log_str("name", slot->name[0] ? slot->name : NULL), log_errno(errno));
        set_reason(slot, errno == EMSGSIZE ? "its part of the configuration is larger than a message may be"
                                           : "the system has no room for another process");
        slot->was_final = slot->was_killed = false;
        after_unwanted_end(slot, false, 0);
        return;
    }
    slot->pid = process_pid(slot->process);
    log_info("started", log_str("role", process_kind_names[slot->kind]),
             log_str("name", slot->name[0] ? slot->name : NULL), log_int("pid", slot->pid),
             log_int("generation", (int64_t)slot->generation));
    loop_timer_start(slot->timer, SLOT_READY_MS);
    enter(slot, SLOT_STARTING);
}

struct slot *slot_new(enum process_kind kind, const char *name, const struct slot_ops *ops, void *arg)
{
    struct slot *slot = xcalloc(1, sizeof *slot);
    slot->kind = kind;
    slot->name = xstrdup(name);
    slot->ops = ops;
    slot->arg = arg;
    slot->since_ms = clock_mono_ms();
    slot->timer = loop_timer_new(on_timer, slot);
    return slot;
}

void slot_free(struct slot **p)
{
    struct slot *slot = *p;
    if (!slot)
        return;
    *p = NULL;
    if (slot->process) {
        process_kill(slot->process);
        process_forget(slot->process);
    }
    loop_timer_free(&slot->timer);
    faults_free(&slot->faults);
    free(slot->name);
    free(slot->detail);
    free(slot->reason);
    free(slot);
}

void slot_start(struct slot *slot, bool on_trial)
{
    slot->wanted = true;
    slot->on_trial = on_trial;
    slot->trial_kills = 0;
    if (slot->process)
        return;
    loop_timer_stop(slot->timer);
    replace_text(&slot->reason, NULL);
    launch(slot);
}

void slot_trust(struct slot *slot)
{
    slot->on_trial = false;
    if (slot->state == SLOT_FAILED)
        halt_or_restart(slot, 0);
}

static void send_away(struct slot *slot, int64_t kill_after_ms)
{
    slot->wanted = false;
    if (!slot->process) {
        loop_timer_stop(slot->timer);
        if (slot->state != SLOT_EMPTY)
            enter(slot, SLOT_EMPTY);
        return;
    }
    loop_timer_start(slot->timer, kill_after_ms);
    if (slot->state != SLOT_LEAVING)
        enter(slot, SLOT_LEAVING);
}

void slot_quit(struct slot *slot, int64_t limit_ms)
{
    if (slot->process)
        process_quit(slot->process, limit_ms);
    send_away(slot, limit_ms + SLOT_GRACE_MS);
}

void slot_stop(struct slot *slot)
{
    if (slot->process)
        process_stop(slot->process);
    send_away(slot, SLOT_STOP_MS);
}

void slot_kill(struct slot *slot)
{
    if (slot->process)
        process_kill(slot->process);
    send_away(slot, SLOT_STOP_MS);
}

bool slot_is_empty(const struct slot *slot)
{
    return slot->state == SLOT_EMPTY;
}
