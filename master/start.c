#include "master/start.h"

#include <stdio.h>

#include "core/log.h"
#include "master/print.h"
#include "master/shutdown.h"
#include "master/supervise.h"
#include "master/validate.h"

enum phase { START_CHECKING, START_DISPATCHER, START_SENDERS, START_LISTENERS };

static struct {
    enum phase phase;
    struct crew *crew;
    struct validation *validation;
    void (*ready)(void);
} start;

static void fail(const struct faults *faults, const char *reason)
{
    if (faults)
        print_faults(stderr, faults);
    log_error("the start has failed", log_str("reason", reason),
              log_int("faults", faults ? (int64_t)faults->count : 0));
    shutdown_begin(SHUTDOWN_FAST, 1);
}

static void on_checked(void *arg, const struct faults *faults)
{
    (void)arg;
    start.validation = NULL;
    if (faults->count) {
        fail(faults, "the configuration has faults");
        return;
    }
    start.phase = START_DISPATCHER;
    crew_start(start.crew, PROCESS_DISPATCHER, true);
    supervise_poke();
}

/* True if KIND is up, or as far up as it gets. */
static bool is_up(enum process_kind kind)
{
    if (!crew_is_settled(start.crew, kind))
        return false;
    for (size_t i = 0; i < start.crew->count; i++) {
        const struct slot *slot = start.crew->slots[i];
        bool is_fatal = kind != PROCESS_LISTENER || slot->faults.count > 0;
        if (slot->kind == kind && slot->state == SLOT_FAILED && is_fatal) {
            fail(&slot->faults, slot->reason);
            return false;
        }
    }
    crew_trust(start.crew, kind);
    return true;
}

static void finish(void)
{
    supervise_begin(NULL);
    start.ready();
}

static void step(void)
{
    static const enum process_kind kinds[] = {[START_DISPATCHER] = PROCESS_DISPATCHER,
                                              [START_SENDERS] = PROCESS_SENDER,
                                              [START_LISTENERS] = PROCESS_LISTENER};
    if (start.phase == START_CHECKING || !is_up(kinds[start.phase]))
        return;
    if (start.phase == START_LISTENERS) {
        finish();
        return;
    }
    start.phase++;
    crew_start(start.crew, kinds[start.phase], true);
    supervise_poke();
}

static void give_up(void)
{
    validation_cancel(&start.validation);
}

static const struct activity starting = {"starting", step, give_up};

void start_begin(struct crew *crew, void (*ready)(void))
{
    start.crew = crew;
    start.ready = ready;
    start.phase = START_CHECKING;
    supervise_begin(&starting);
    start.validation = validation_start_to_run(crew->conf, on_checked, NULL);
}
