/*
 * The sender: takes grants from the dispatcher, sends them to the providers and reports what became of them.
 *
 * Holds the providers' tokens and connections and nothing else; what it knows may be lost at any moment,
 * because a grant whose outcome never comes is asked again by the dispatcher.
 */
#include <stdlib.h>

#include "core/alloc.h"
#include "core/loop.h"
#include "proto/role.h"
#include "sender/grants.h"

enum { READY_WITHOUT_LINK_MS = 5000 };

static struct {
    struct grants *grants;
    struct loop_timer *ready_timer;
    bool ready;
} sender;

static const struct provider_ops *ops_of(const struct slice_block *block, struct faults *faults)
{
    const char *type = slice_text(block, "type", "");
    const struct provider_ops *ops = provider_find(type);
    const struct slice_setting *setting = slice_get(block, "type");
    if (!ops)
        faults_add(faults, block->file, setting && setting->line ? setting->line : block->line,
                   "this sender has no provider of type \"%s\"; it knows smsapi and log", type);
    return ops;
}

static void validate(const struct slice *slice, const char *instance, struct faults *faults)
{
    (void)instance;
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "provider", b));) {
        const struct provider_ops *ops = ops_of(b, faults);
        if (ops)
            ops->validate(b, faults);
    }
}

/* Ready means linked to a dispatcher; but a dispatcher that is long in coming is not the sender's failure. */
static void be_ready(void *arg)
{
    (void)arg;
    if (!sender.ready)
        role_ready();
    sender.ready = true;
}

static void on_link_up(void *arg)
{
    be_ready(arg);
    if (!role_leaving())
        role_state("sending");
}

static void on_link_down(void *arg)
{
    (void)arg;
    if (!role_leaving())
        role_state("no dispatcher");
}

static int start(const struct slice *slice, const char *instance, bool has_door, struct faults *faults)
{
    static const struct grants_events events = {.up = on_link_up, .down = on_link_down};
    (void)has_door;
    const char *dir = slice_text(slice_find(slice, "bridgebell", NULL), "runtime_dir", "/run/bridgebell");
    char *endpoint = xasprintf("ipc://%s/jobs.ipc", dir);
    sender.grants = grants_new(endpoint, instance, &events, NULL);
    free(endpoint);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "provider", b));) {
        const struct provider_ops *ops = ops_of(b, faults);
        struct provider *p = ops ? ops->make(b, faults) : NULL;
        if (!p)
            return -1;
        grants_add_line(sender.grants, p);
    }
    sender.ready_timer = loop_timer_new(be_ready, NULL);
    loop_timer_start(sender.ready_timer, READY_WITHOUT_LINK_MS);
    role_state("no dispatcher");
    return 0;
}

static void drained(void *arg)
{
    (void)arg;
    role_leave();
}

static void quit(int64_t limit_ms)
{
    (void)limit_ms; /* the role's own limit ends the process; what is then unfinished counts as unknown */
    grants_drain(sender.grants, drained, NULL);
}

static void cleanup(void)
{
    grants_free(&sender.grants);
    loop_timer_free(&sender.ready_timer);
}

int main(int argc, char **argv)
{
    static const struct role role = {
        .name = "sender",
        .validate = validate,
        .start = start,
        .quit = quit,
        .cleanup = cleanup,
    };
    return role_main(&role, argc, argv);
}
