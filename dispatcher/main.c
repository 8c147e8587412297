/*
 * The dispatcher: decides which event rings whom, keeps every job in the store, and gives jobs to senders.
 *
 * Holds the rules, the recipients, the store and the operator's HTTP door; never the Bridge's key nor a
 * provider's token.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "dispatcher/control.h"
#include "dispatcher/control_parts.h"
#include "dispatcher/digests.h"
#include "dispatcher/door.h"
#include "dispatcher/senders.h"
#include "dispatcher/share.h"
#include "dispatcher/tool.h"
#include "proto/role.h"

enum { OPEN_AGAIN_MS = 1000 };

static struct {
    struct control parts;
    struct senders *senders;
    struct digests *digests;
    struct door *door;
    bool has_door;
    struct loop_timer *again; /* there while the disk had no room for opening the store, or has none yet */
    bool intake_drained, queue_drained;
} dispatcher;

static void validate(const struct slice *slice, const char *instance, struct faults *faults)
{
    (void)instance;
    struct rules *rules = rules_new(slice, faults);
    rules_free(&rules);
    uint32_t weights[SHARES];
    share_weights(slice, weights, faults);
    if (slice_count(slice, "provider") == 0)
        faults_add(faults, "", 0, "no provider: add a block provider \"smsapi\" { … }");
    const struct slice_block *b = slice_find(slice, "dispatcher", NULL);
    const struct slice_setting *listen = b ? slice_get(b, "listen") : NULL;
    if (listen && listen->kind == SLICE_TEXT && listen->text && listen->text[0])
        faults_add(faults, b->file, listen->line, "listen: other hosts need keys, which this release lacks");
}

/* ---- the door ---- */

static void door_metrics(void *arg, struct buf *out)
{
    control_metrics(arg, out);
}

static cJSON *door_status(void *arg)
{
    return control_status(arg);
}

static const char *door_not_ready(void *arg)
{
    return control_trouble(arg);
}

static const struct door_ops door_ops = {
    .metrics = door_metrics,
    .status = door_status,
    .not_ready = door_not_ready,
};

/* ---- life ---- */

static void on_health(void *arg)
{
    (void)arg;
    struct store_health h;
    store_health(dispatcher.parts.store, &h);
    if (!h.accepting)
        log_error("the store takes nothing new", log_str("trouble", h.trouble));
    else
        log_info("the store takes new events", log_str("trouble", h.trouble));
    if (!role_leaving())
        role_state(h.accepting ? "running" : "store in trouble");
    queue_kick(dispatcher.parts.queue);
}

static char *endpoint(const struct slice *slice, const char *file)
{
    const struct slice_block *top = slice_find(slice, "bridgebell", NULL);
    return xasprintf("ipc://%s/%s", slice_text(top, "runtime_dir", "/run/bridgebell"), file);
}

static int open_sockets(const struct slice *slice, struct faults *faults)
{
    struct control *p = &dispatcher.parts;
    char *events = endpoint(slice, "events.ipc");
    char *jobs = endpoint(slice, "jobs.ipc");
    const char *failed = NULL;
    p->intake = intake_new(events, slice, p->store, p->rules, p->queue, dispatcher.digests);
    if (!p->intake)
        failed = events;
    if (!failed) {
        dispatcher.senders = senders_new(jobs, p->queue);
        failed = dispatcher.senders ? NULL : jobs;
    }
    if (failed)
        faults_add(faults, "", 0, "socket %s cannot be bound: %s", failed, strerror(errno));
    free(events);
    free(jobs);
    return failed ? -1 : 0;
}

static int begin_work(struct faults *faults)
{
    struct control *p = &dispatcher.parts;
    rules_keep_people(p->rules);
    p->queue = queue_new(p->slice, p->store);
    dispatcher.digests = digests_new(p->store, p->rules, p->queue);
    p->silences = silences_new(p->store);
    rules_silences(p->rules, p->silences);
    if (open_sockets(p->slice, faults))
        return -1;
    intake_set_journal(p->intake, p->journal);
    store_on_health(p->store, on_health, NULL);
    if (dispatcher.has_door)
        dispatcher.door = door_new(ROLE_DOOR_FD, &door_ops, p);
    role_state("running");
    if (!dispatcher.again)
        role_ready();
    return 0;
}

static int open_store(struct faults *faults);

static void try_again(void *arg)
{
    (void)arg;
    struct faults faults = {0};
    if (!dispatcher.parts.leaving && open_store(&faults) != 0)
        role_fatal(faults.count ? faults.list[0].text : "the store cannot be opened");
    faults_free(&faults);
}

/* A full disk is a state to report, not a reason to fail: there will be room again. */
static int open_store(struct faults *faults)
{
    bool no_room;
    dispatcher.parts.store = store_open_if_room(dispatcher.parts.slice, &no_room, faults);
    if (dispatcher.parts.store)
        return begin_work(faults);
    if (!no_room)
        return -1;
    faults_free(faults);
    if (!dispatcher.again) {
        log_error("the disk has no room for opening the store; waiting until it has");
        dispatcher.again = loop_timer_new(try_again, NULL);
        role_state("no disk space");
        role_ready();
    }
    loop_timer_start(dispatcher.again, OPEN_AGAIN_MS);
    return 0;
}

static int start(const struct slice *slice, const char *instance, bool has_door, struct faults *faults)
{
    (void)instance;
    struct control *p = &dispatcher.parts;
    p->slice = slice;
    p->rules = rules_new(slice, faults);
    size_t faults_before = faults->count;
    uint32_t weights[SHARES];
    share_weights(slice, weights, faults);
    p->journal = journal_new(slice, faults);
    dispatcher.has_door = has_door;
    return p->rules && faults->count == faults_before ? open_store(faults) : -1;
}

static void leave_if_drained(void)
{
    if (!dispatcher.intake_drained || !dispatcher.queue_drained)
        return;
    role_leave();
}

static void on_queue_drained(void *arg)
{
    (void)arg;
    dispatcher.queue_drained = true;
    leave_if_drained();
}

static void on_intake_drained(void *arg)
{
    (void)arg;
    dispatcher.intake_drained = true;
    leave_if_drained();
}

/* Requests in flight are not waited for: their leases outlive this process. */
static void quit(int64_t limit_ms)
{
    (void)limit_ms;
    dispatcher.parts.leaving = true;
    if (!dispatcher.parts.store) {
        role_leave();
        return;
    }
    digests_stop(dispatcher.digests);
    intake_drain(dispatcher.parts.intake, on_intake_drained, NULL);
    queue_drain(dispatcher.parts.queue, on_queue_drained, NULL);
}

static void control(uint64_t id, const cJSON *request)
{
    if (dispatcher.parts.store)
        control_request(&dispatcher.parts, id, request);
    else
        control_refuse(id, "the store cannot be opened: the disk is full",
                       "make room; the rest goes by itself");
}

/* The sockets' files go while the store is still ours: a successor that waits for the store binds the same
 * names as soon as it has it, and closing ours then would remove them under its feet. */
static void cleanup(void)
{
    struct control *p = &dispatcher.parts;
    loop_timer_free(&dispatcher.again);
    door_free(&dispatcher.door);
    if (p->store)
        store_finish(p->store);
    intake_free(&p->intake);
    journal_free(&p->journal);
    senders_free(&dispatcher.senders);
    zsock_shutdown();
    digests_free(&dispatcher.digests);
    queue_free(&p->queue);
    silences_free(&p->silences);
    store_close(&p->store);
    rules_free(&p->rules);
}

int main(int argc, char **argv)
{
    static const struct role role = {
        .name = "dispatcher",
        .validate = validate,
        .start = start,
        .quit = quit,
        .control = control,
        .cleanup = cleanup,
    };
    if (argc > 1 && strcmp(argv[1], "tool") == 0)
        return tool_main(argc - 2, argv + 2);
    return role_main(&role, argc, argv);
}
