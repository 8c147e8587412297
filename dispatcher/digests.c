#include "dispatcher/digests.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/str.h"

enum {
    AGAIN_MS = 1000,
    LONGEST_MS = 60000, /* between two looks into the store */
    STEP_MS = 1000,     /* the store's time may leap, as when the host's clock is set, or the host slept */
};

struct digests {
    struct store *store;
    struct rules *rules;
    struct queue *queue;
    struct loop_timer *timer;
    int64_t next_ms; /* store time of the next look; 0: none is wanted */
    struct store_digests due;
    bool looked;    /* once, since the start */
    bool looking;   /* the unit is with the store */
    size_t closing; /* units with the store */
    bool again;     /* look again soon */
    bool stopped;
};

struct closing {
    struct store_close close;
    struct store_job job;
    struct digests *owner;
    int64_t count;
};

/* ---- when ---- */

static void start_timer(struct digests *d, int64_t now_ms)
{
    int64_t in_ms = d->next_ms - now_ms;
    loop_timer_start(d->timer, in_ms < 0 ? 0 : in_ms < STEP_MS ? in_ms : STEP_MS);
}

/* Not before what is under way has ended; that calls again. */
static void look_in(struct digests *d, int64_t in_ms)
{
    int64_t now_ms = store_now_ms(d->store);
    int64_t at_ms = now_ms + (in_ms < 0 || in_ms > LONGEST_MS ? LONGEST_MS : in_ms);
    bool earlier = !d->next_ms || at_ms < d->next_ms;
    if (earlier)
        d->next_ms = at_ms;
    if (d->stopped || d->looking || d->closing || (!earlier && loop_timer_pending(d->timer)))
        return;
    start_timer(d, now_ms);
}

void digests_note(struct digests *d, const struct store_job *job)
{
    const struct store_noise *n = job->noise;
    if (!n || !n->opened)
        return;
    int64_t in_ms = n->digest_due_ms - store_now_ms(d->store);
    look_in(d, in_ms > 0 ? in_ms : 0);
}

/* ---- closing one ---- */

static void look_after_closing(struct digests *d)
{
    if (--d->closing > 0)
        return;
    look_in(d, d->again ? AGAIN_MS : d->due.next_due_in_ms);
    queue_kick(d->queue);
}

static void tell(const struct closing *c)
{
    char id[2 * HASH_ID_BYTES + 1], number[32];
    const struct store_job *j = &c->job;
    str_hex(j->id.bytes, HASH_ID_BYTES, id);
    log_info("digest closed", log_str("job", id), log_str("rule", j->rule),
             log_str("to", str_mask_number(j->number, number, sizeof number)), log_int("messages", c->count),
             log_str("why", j->noise ? store_why_names[j->noise->why] : NULL), log_int("parts", j->parts));
}

static void on_closed(struct store_unit *unit, enum store_status status)
{
    struct closing *c = unit->arg;
    struct digests *d = c->owner;
    /* When one that was put off is due the next look will tell. */
    if (status != STORE_OK || c->close.postponed)
        d->again = true;
    if (status == STORE_OK && c->close.applied) {
        tell(c);
        rules_note(d->rules, &c->job, store_now_ms(d->store));
    }
    store_job_free(&c->job);
    free(c);
    look_after_closing(d);
}

static void close_one(struct digests *d, struct store_digest *digest)
{
    struct closing *c = xcalloc(1, sizeof *c);
    c->owner = d;
    c->count = digest->count;
    c->job = digest->job;
    c->close.why = digest->why;
    c->close.count = digest->count;
    c->close.shadow = digest->shadow;
    c->close.job = &c->job;
    c->close.unit = (struct store_unit){.kind = STORE_CLOSE, .done = on_closed, .arg = c};
    rules_close_digest(d->rules, digest, store_now_ms(d->store), &c->close.postpone_until_ms, &c->job);
    memset(&digest->job, 0, sizeof digest->job);
    d->closing++;
    store_submit(d->store, &c->close.unit);
}

/* ---- what is due ---- */

static void on_due(struct store_unit *unit, enum store_status status)
{
    struct digests *d = unit->arg;
    d->looking = false;
    d->looked = d->looked || status == STORE_OK;
    d->again = status != STORE_OK;
    if (d->again || d->due.count == 0 || d->stopped) {
        store_digests_clear(&d->due);
        look_in(d, d->again ? AGAIN_MS : d->due.next_due_in_ms);
        return;
    }
    for (size_t i = 0; i < d->due.count; i++)
        close_one(d, &d->due.list[i]);
    store_digests_clear(&d->due);
}

static void look(void *arg)
{
    struct digests *d = arg;
    int64_t now_ms = store_now_ms(d->store);
    if (d->looking || d->closing || d->stopped)
        return;
    if (now_ms < d->next_ms) {
        start_timer(d, now_ms);
        return;
    }
    d->next_ms = 0;
    d->looking = true;
    memset(&d->due, 0, sizeof d->due);
    d->due.unit = (struct store_unit){.kind = STORE_DIGESTS, .done = on_due, .arg = d};
    d->due.doubt_quiet = !d->looked;
    store_submit(d->store, &d->due.unit);
}

/* ---- life ---- */

struct digests *digests_new(struct store *store, struct rules *rules, struct queue *queue)
{
    struct digests *d = xcalloc(1, sizeof *d);
    d->store = store;
    d->rules = rules;
    d->queue = queue;
    d->timer = loop_timer_new(look, d);
    look_in(d, 0);
    return d;
}

void digests_stop(struct digests *d)
{
    d->stopped = true;
    loop_timer_stop(d->timer);
}

void digests_free(struct digests **p)
{
    struct digests *d = *p;
    if (!d)
        return;
    *p = NULL;
    loop_timer_free(&d->timer);
    free(d);
}
