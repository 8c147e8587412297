
#include "core/clock.h"
#include "dispatcher/intake_private.h"

enum {
    TRY_AGAIN_MS = 500,
    /* Decisions and jobs that are with the store at once: as much as one transaction takes, and as much again
     * that waits for the next. More would only stand before the outcomes and leases that keep senders busy.
     */
    WITH_STORE_MAX = 2000,
    WITH_STORE_HUNGRY = 200, /* while senders stand idle */
    /* So long a batch waits until busy senders have room for its jobs: what goes into the store as leased
     * costs it half of what is queued and claimed later. */
    HOLD_MS = 250,
    HOLD_FAST_MS = 1000, /* while they work off hundreds in that time */
    HOLD_LOOK_MS = 1,
};

/* ---- acknowledging ---- */

static void acknowledge(struct session *s, uint64_t seq)
{
    struct intake *in = s->intake;
    s->acked = seq;
    msg_begin(&in->out, WIRE_EVENTS_ACK, 1);
    msg_put_uint(&in->out, seq);
    link_server_send(in->links, s->peer, &in->out);
}

/* Takes finished batches off the front; what is behind an unfinished one waits, so that an acknowledgement
 * covers everything before it. */
static void settle_session(struct session *s)
{
    uint64_t seq = 0;
    while (s->first && s->first->state == BATCH_DONE) {
        struct batch *b = s->first;
        s->first = b->next;
        if (!s->first)
            s->last = &s->first;
        seq = b->seq;
        if (b->mark_ms > s->done_mark_ms)
            s->done_mark_ms = b->mark_ms;
        batch_free(&b);
    }
    if (seq)
        acknowledge(s, seq);
}

/* ---- the store ---- */

static void submit(struct intake *in, struct batch *b);

static size_t weight_of(const struct batch *b)
{
    return b->intake.count + b->jobs_count;
}

static bool is_held(struct intake *in, const struct batch *b)
{
    if (!b->jobs_count)
        return false;
    uint64_t now_ms = clock_mono_ms();
    bool fast = false;
    bool busy = queue_is_busy(in->queue, b->jobs[0], b->jobs_count, &fast);
    if (busy && in->held_since_ms && now_ms - in->held_since_ms >= (fast ? HOLD_FAST_MS : HOLD_MS))
        in->hold_in_vain = true;
    if (!busy)
        in->hold_in_vain = false;
    if (!busy || in->hold_in_vain) {
        in->held_since_ms = 0;
        return false;
    }
    if (!in->held_since_ms)
        in->held_since_ms = now_ms;
    if (!loop_timer_pending(in->hold))
        loop_timer_start(in->hold, HOLD_LOOK_MS);
    return true;
}

static bool has_room(struct intake *in, const struct batch *b)
{
    size_t most = queue_is_hungry(in->queue) ? WITH_STORE_HUNGRY : WITH_STORE_MAX;
    return (in->with_store == 0 || in->weight + weight_of(b) <= most) && !is_held(in, b);
}

/* The first of the session that waits for its turn; NULL if none does. */
static struct batch *next_waiting(const struct session *s)
{
    struct batch *b = s->first;
    while (b && b->state != BATCH_WAITING)
        b = b->next;
    return b;
}

/* Submits what waits, of each session in its order, as far as there is room. What is submitted may have
 * nothing to commit and go at once, with finished batches behind it. */
static void submit_waiting(struct intake *in)
{
    if (in->draining)
        return;
    for (struct session *s = in->sessions; s; s = s->next)
        for (struct batch *b; (b = next_waiting(s)) && has_room(in, b);)
            submit(in, b);
}

static void look_again(void *arg)
{
    struct intake *in = arg;
    if (!loop_timer_pending(in->again))
        submit_waiting(in);
}

static void forget_orphan(struct intake *in, struct batch *b)
{
    for (struct batch **p = &in->orphans; *p; p = &(*p)->next)
        if (*p == b) {
            *p = b->next;
            break;
        }
    batch_free(&b);
}

/* Tells of what noise control made of the jobs. */
void intake_note_job(struct intake *in, const struct store_job *j, int64_t now_ms)
{
    if (!j->noise)
        return;
    rules_note(in->rules, j, now_ms);
    if (in->digests)
        digests_note(in->digests, j);
}

static void note_jobs(struct intake *in, const struct store_decision *d)
{
    int64_t now_ms = store_now_ms(in->store);
    for (size_t i = 0; i < d->jobs_count; i++)
        intake_note_job(in, &d->jobs[i], now_ms);
}

static void note_parent(void *arg, const struct store_decision *d, int64_t row)
{
    struct intake *in = arg;
    parents_add(in->parents, row, d->packed, d->packed_len);
}

static void count_result(struct intake *in, struct bridge *bridge, const struct batch *b)
{
    bridge->cancelled += b->intake.cancelled;
    for (size_t i = 0; i < b->intake.count; i++) {
        const struct store_decision *d = &b->intake.decisions[i];
        if (d->known == STORE_KNOWN)
            bridge->duplicates++;
        else if (d->jobs_count) {
            bridge->matched++;
            bridge->jobs += d->jobs_count;
            note_jobs(in, d);
        }
    }
}

static void on_stored(struct store_unit *unit, enum store_status status)
{
    struct batch *b = unit->arg;
    struct intake *in = b->owner;
    struct session *s = b->session;
    in->with_store--;
    in->weight -= weight_of(b);
    if (b->ticket)
        queue_settle(in->queue, b->ticket, status == STORE_OK);
    b->ticket = NULL;
    if (status == STORE_OK) {
        count_result(in, b->bridge, b);
        batch_each_parent(b, note_parent, in);
        b->state = BATCH_DONE;
    } else {
        batch_reset(b);
        b->state = BATCH_WAITING;
        if (!loop_timer_pending(in->again))
            loop_timer_start(in->again, TRY_AGAIN_MS);
    }
    if (!s)
        forget_orphan(in, b);
    else if (status == STORE_OK)
        settle_session(s);
    if (!loop_timer_pending(in->again))
        submit_waiting(in);
    intake_check_drained(in);
}

/* While a bridge has no mark at all, the first events that are kept bring one: from a little before them.
 * Else whoever is killed before the listener's own mark is on disk would start for the first time once more,
 * and not miss what came meanwhile. Only for a batch with nothing before it: the mark of a later one could
 * pass events that are not on disk. */
static int64_t first_mark_ms(const struct intake *in, const struct batch *b)
{
    enum { SAFETY_MS = 1000 };
    int64_t earliest_ms = INT64_MAX;
    if (store_mark_ms(in->store, b->bridge->name) >= 0)
        return -1;
    for (size_t i = 0; i < b->intake.count; i++)
        if (b->intake.decisions[i].event_ms < earliest_ms)
            earliest_ms = b->intake.decisions[i].event_ms;
    return earliest_ms > SAFETY_MS && earliest_ms < INT64_MAX ? earliest_ms - SAFETY_MS : -1;
}

static void submit(struct intake *in, struct batch *b)
{
    struct session *s = b->session;
    /* A mark may be written only when everything before it is; that is so for what settle_session passed, and
     * for a batch with nothing before it, whose events are in the same transaction. */
    int64_t mark = s->first == b ? b->mark_ms : s->done_mark_ms;
    if (mark < 0 && s->first == b)
        mark = first_mark_ms(in, b);
    b->intake.mark_ms = mark > s->written_mark_ms ? mark : -1;
    if (b->intake.count == 0 && b->intake.mark_ms < 0) {
        b->state = BATCH_DONE;
        settle_session(s);
        return;
    }
    if (b->intake.mark_ms >= 0)
        s->written_mark_ms = b->intake.mark_ms;
    b->state = BATCH_STORED;
    b->intake.unit.done = on_stored;
    b->intake.unit.arg = b;
    /* It may have waited for long, and what was swept then were jobs in the store. */
    int64_t now_ms = store_now_ms(in->store);
    for (size_t i = 0; i < b->jobs_count; i++)
        rules_recheck(in->rules, b->jobs[i], now_ms);
    if (b->jobs_count)
        b->ticket = queue_offer(in->queue, b->jobs, b->jobs_count);
    in->with_store++;
    in->weight += weight_of(b);
    store_submit(in->store, &b->intake.unit);
}

/* After a failed commit the same units go in again, in their order, from the first that is not done. */
static void try_again(void *arg)
{
    struct intake *in = arg;
    for (struct session *s = in->sessions; s; s = s->next)
        s->written_mark_ms = -1;
    submit_waiting(in);
}

void intake_commit(struct session *s, struct batch *b)
{
    bool behind = next_waiting(s) != NULL;
    *s->last = b;
    s->last = &b->next;
    /* Behind a batch that waits for the store nothing is submitted, so that the order stays. */
    if (!behind && has_room(s->intake, b))
        submit(s->intake, b);
}

void intake_drop_batches(struct session *s)
{
    for (struct batch *b = s->first, *next; b; b = next) {
        next = b->next;
        b->session = NULL;
        if (b->state == BATCH_STORED) {
            b->next = s->intake->orphans;
            s->intake->orphans = b;
        } else {
            batch_free(&b);
        }
    }
}

void intake_commit_init(struct intake *in)
{
    in->again = loop_timer_new(try_again, in);
    in->hold = loop_timer_new(look_again, in);
}

void intake_commit_clear(struct intake *in)
{
    /* What is still with the store completes there without us (store_close runs its completions first when it
     * is called before this); after a drain there is none. */
    while (in->orphans)
        forget_orphan(in, in->orphans);
    loop_timer_free(&in->again);
    loop_timer_free(&in->hold);
}
