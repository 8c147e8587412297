#include "dispatcher/intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/loop.h"
#include "dispatcher/intake_private.h"

enum {
    CONTAINERS_MAX = 10000, /* whose members are known at a time */
    WAITING_MAX = 1000000,  /* what waits for members, in memory: see parents.h */
    REFRESH_MS = 2000,      /* between two looks at the directory's file */
};

struct bridge *intake_bridge(struct intake *in, const char *name)
{
    for (size_t i = 0; i < in->bridges_count; i++)
        if (strcmp(in->bridges[i].name, name) == 0)
            return &in->bridges[i];
    return NULL;
}

/* ---- members ---- */

/* To the listener that hears the Bridge, if there is one. */
static bool ask_members(void *arg, const char *bridge, const struct wire_members_ask *ask)
{
    struct intake *in = arg;
    struct bridge *b = intake_bridge(in, bridge);
    const struct session *s = b ? intake_session_of(in, b) : NULL;
    if (!s)
        return false;
    wire_put_members_ask(&in->out, ask);
    return link_server_send(in->links, s->peer, &in->out) == 0;
}

bool intake_look_up(struct intake *in, const struct event *e)
{
    return parents_wonder(in->parents, e);
}

static void on_inserted(void *arg, const struct store_job *jobs, size_t count)
{
    struct intake *in = arg;
    int64_t now_ms = store_now_ms(in->store);
    bool queued = false;
    for (size_t i = 0; i < count; i++) {
        intake_note_job(in, &jobs[i], now_ms);
        queued = queued || jobs[i].state == JOB_QUEUED;
    }
    if (queued)
        queue_kick(in->queue);
}

/* ---- life ---- */

static void on_refresh(void *arg)
{
    struct intake *in = arg;
    rules_refresh(in->rules);
    loop_timer_start(in->refresh, REFRESH_MS);
}

static void read_bridges(struct intake *in, const struct slice *slice)
{
    in->bridges_count = slice_count(slice, "bridge");
    in->bridges = xcalloc(in->bridges_count, sizeof *in->bridges);
    size_t n = 0;
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "bridge", b));)
        in->bridges[n++].name = xstrdup(b->title);
}

struct intake *intake_new(const char *endpoint, const struct slice *slice, struct store *store,
                          struct rules *rules, struct queue *queue, struct digests *digests)
{
    static const struct parents_ops parents_ops = {ask_members, on_inserted};
    struct intake *in = xcalloc(1, sizeof *in);
    in->store = store;
    in->rules = rules;
    in->queue = queue;
    in->digests = digests;
    in->interest_number = (uint64_t)clock_wall_ms();
    read_bridges(in, slice);
    msg_out_init(&in->out, 0);
    msg_in_init(&in->event_in);
    intake_commit_init(in);
    in->members = members_new(CONTAINERS_MAX);
    rules_use_members(rules, in->members);
    in->parents = parents_new(store, rules, in->members, WAITING_MAX, &parents_ops, in);
    in->refresh = loop_timer_new(on_refresh, in);
    loop_timer_start(in->refresh, REFRESH_MS);
    in->links = link_server_new(endpoint, &intake_link_ops, in);
    if (in->links)
        return in;
    int error = errno;
    intake_free(&in);
    errno = error;
    return NULL;
}

void intake_free(struct intake **p)
{
    struct intake *in = *p;
    if (!in)
        return;
    *p = NULL;
    link_server_free(&in->links);
    intake_commit_clear(in);
    loop_timer_free(&in->refresh);
    parents_free(&in->parents);
    rules_use_members(in->rules, NULL);
    members_free(&in->members);
    msg_out_free(&in->out);
    msg_in_free(&in->event_in);
    for (size_t i = 0; i < in->bridges_count; i++)
        free(in->bridges[i].name);
    free(in->bridges);
    free(in);
}

void intake_set_journal(struct intake *in, struct journal *journal)
{
    in->journal = journal;
}

void intake_check_drained(struct intake *in)
{
    if (in->draining && in->parents_idle && in->with_store == 0 && in->drained) {
        loop_defer(in->drained, in->drained_arg);
        in->drained = NULL;
    }
}

static void on_parents_idle(void *arg)
{
    struct intake *in = arg;
    in->parents_idle = true;
    intake_check_drained(in);
}

void intake_drain(struct intake *in, void (*done)(void *arg), void *arg)
{
    in->draining = true;
    in->drained = done;
    in->drained_arg = arg;
    parents_stop(in->parents, on_parents_idle, in);
    intake_check_drained(in);
}

size_t intake_resync(struct intake *in, const char *bridge, int64_t since_ms)
{
    size_t asked = 0;
    for (struct session *s = in->sessions; s; s = s->next) {
        if (bridge && strcmp(bridge, s->bridge->name) != 0)
            continue;
        msg_begin(&in->out, WIRE_RESYNC, 1);
        msg_put_int(&in->out, since_ms);
        asked += link_server_send(in->links, s->peer, &in->out) == 0;
    }
    return asked;
}

bool intake_interest_confirmed(const struct intake *in)
{
    for (const struct session *s = in->sessions; s; s = s->next)
        if (s->confirmed != in->interest_number)
            return false;
    return true;
}
