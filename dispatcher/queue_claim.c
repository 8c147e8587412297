#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "dispatcher/queue_private.h"

/* Requests that the senders of one host can take, within its slots. */
static double host_room(struct lane *lane, struct line_host *h, double ahead, uint64_t horizon_ms,
                        struct queue_now now)
{
    double credit = 0;
    bool any = false;
    for (struct queue_sender *s = LIST_FIRST(&lane->queue->senders); s; s = LIST_NEXT(s, link)) {
        if (strcmp(s->peer->host, h->host) != 0)
            continue;
        any = true;
        credit += (double)queue_credit(s, now.ms);
    }
    if (!any)
        return 0;
    double slots =
        (double)limiter_free(&h->limiter, now.us) + floor(limiter_coming(&h->limiter, horizon_ms * 1000));
    return fmin(credit + ahead, slots);
}

static bool trial_under_way(const struct lane *lane)
{
    const struct lease *last = TAILQ_LAST(&lane->granted, lease_list);
    return lane->promised || lane->ready.jobs || (last && last->granted_ms >= lane->line.opened_ms);
}

static double all_room(struct lane *lane, double ahead, uint64_t horizon_ms, struct queue_now now)
{
    double room = 0;
    for (size_t i = 0; i < lane->line.hosts_count; i++)
        room += host_room(lane, &lane->line.hosts[i], ahead, horizon_ms, now);
    return room;
}

/* While a claim is under way, so much time goes by. */
static uint64_t horizon_ms(const struct lane *lane)
{
    uint64_t ms = 2 * lane->round_ms;
    return ms < QUEUE_HORIZON_MIN_MS   ? QUEUE_HORIZON_MIN_MS
           : ms > QUEUE_HORIZON_MAX_MS ? QUEUE_HORIZON_MAX_MS
                                       : ms;
}

static size_t room_with(struct lane *lane, double ahead, enum job_priority priority, struct queue_now now)
{
    if (lane->ready.jobs >= QUEUE_READY_MAX)
        return 0;
    double room = all_room(lane, floor(ahead), horizon_ms(lane), now);
    double taken = (double)(lane->promised + ready_count(&lane->ready, priority));
    if (room <= taken)
        return 0;
    if (lane->line.trial)
        return trial_under_way(lane) ? 0 : 1;
    return (size_t)fmin(room - taken, QUEUE_CLAIM_MAX);
}

size_t queue_room(struct lane *lane, enum job_priority priority, struct queue_now now)
{
    return room_with(lane, lane->ahead, priority, now);
}

size_t queue_pace_of(const struct lane *lane, uint64_t now_ms)
{
    if (now_ms - lane->pace_ms >= (uint64_t)2 * QUEUE_PACE_MS)
        return 0;
    return lane->pace > lane->pace_before ? lane->pace : lane->pace_before;
}

/* A job that is inserted as leased costs the store half of one that is claimed later. So while senders work
 * off many, as many are leased ahead as they need until the next commit. */
size_t queue_room_for_new(struct lane *lane, enum job_priority priority, struct queue_now now)
{
    double pace = (double)queue_pace_of(lane, now.ms);
    return room_with(lane, fmin(fmax(lane->ahead, pace), QUEUE_AHEAD_MAX), priority, now);
}

double queue_slots(struct lane *lane, struct queue_now now)
{
    double slots = 0;
    for (size_t i = 0; i < lane->line.hosts_count; i++) {
        struct limiter *l = &lane->line.hosts[i].limiter;
        slots += (double)limiter_free(l, now.us) + limiter_coming(l, QUEUE_HORIZON_MIN_MS * 1000);
    }
    return slots;
}

void queue_pace(struct lane *lane, uint64_t now_ms)
{
    uint64_t passed = now_ms - lane->pace_ms;
    if (passed >= QUEUE_PACE_MS) {
        lane->pace_before = passed < 2 * QUEUE_PACE_MS ? lane->pace : 0;
        lane->pace = 0;
        lane->pace_ms = now_ms;
    }
    lane->pace++;
}

void queue_lease(struct lane *lane, struct lease *l, uint64_t now_ms)
{
    l->owner = lane;
    leases_add(lane->queue->leases, l);
    ready_add(&lane->ready, l, now_ms);
}

bool queue_is_hungry(const struct queue *q)
{
    for (size_t i = 0; i < q->lanes_count; i++)
        if (q->lanes[i].hungry && line_is_open(&q->lanes[i].line))
            return true;
    return false;
}

/* ---- claims ---- */

/* Jobs for ROOM requests: jobs of equal text share one, and how many do is known from the last ones. A few
 * more than that are asked for, because only jobs that were fetched can be found alike. */
static size_t claim_limit(const struct lane *lane, size_t room)
{
    if (lane->line.trial)
        return 1;
    enum { LOOK_FURTHER = 8 };
    double jobs = ceil((double)room * lane->jobs_per_request * (lane->jobs_per_request > 1 ? 1.25 : 1));
    size_t least = lane->line.batch < LOOK_FURTHER ? lane->line.batch : LOOK_FURTHER;
    size_t limit = jobs < (double)least ? least : (size_t)fmin(jobs, QUEUE_CLAIM_MAX);
    size_t left = QUEUE_READY_MAX - lane->ready.jobs;
    return limit < left ? limit : left;
}

/* Takes one job of a claim's result over. */
static void take_claimed(struct lane *lane, const struct store_job *job, uint64_t now_ms)
{
    if (job->state == JOB_LEASED)
        queue_lease(lane, lease_new(job), now_ms);
    else
        queue_ended(lane->queue, job);
}

/* What the claim says about what is still in the store. */
static void note_due(struct lane *lane, const struct store_claim *claim, size_t leased, uint64_t now_ms)
{
    if (leased == claim->limit) {
        enum job_priority last = claim->jobs[claim->count - 1].priority;
        lane->due_ms = now_ms;
        lane->backlog_top = last < lane->stirred_top ? last : lane->stirred_top;
        return;
    }
    lane->due_ms = UINT64_MAX;
    if (claim->next_due_in_ms > 0)
        lane->due_ms = now_ms + (uint64_t)claim->next_due_in_ms;
    else if (claim->next_due_in_ms == 0)
        lane->due_ms = now_ms + (claim->count ? 0 : QUEUE_IDLE_CLAIM_MS);
    if (lane->stirred_ms < lane->due_ms)
        lane->due_ms = lane->stirred_ms;
    lane->backlog_top = PRIORITY_CRITICAL;
}

/* Senders that stand idle when a claim comes back full could have had more; jobs that still wait for a sender
 * then were leased too early. Leases made ahead of the credit cost a wait if this process is killed, so there
 * are no more of them than pay. */
static void adapt_ahead(struct lane *lane, const struct store_claim *claim, size_t leased,
                        struct queue_now now)
{
    bool full = leased == claim->limit;
    lane->round_ms = now.ms - lane->claim_ms;
    lane->hungry = full && lane->ready.jobs == 0 && all_room(lane, 0, 0, now) > 0;
    if (lane->ready.jobs > 0)
        lane->ahead *= 0.9;
    else if (lane->hungry)
        lane->ahead = fmin(fmax(lane->ahead * 2, QUEUE_AHEAD_MIN), QUEUE_AHEAD_MAX);
    else if (!full)
        lane->ahead /= 2;
}

static void on_claim_done(struct store_unit *unit, enum store_status status)
{
    struct lane *lane = unit->arg;
    struct store_claim *claim = lane->claim;
    struct queue *q = lane->queue;
    struct queue_now now = queue_clock();
    uint64_t now_ms = now.ms;
    lane->claim = NULL;
    if (status == STORE_OK) {
        size_t leased = 0;
        for (size_t i = 0; i < claim->count; i++)
            leased += claim->jobs[i].state == JOB_LEASED;
        if (claim->limit)
            adapt_ahead(lane, claim, leased, now);
        for (size_t i = 0; i < claim->count; i++)
            take_claimed(lane, &claim->jobs[i], now_ms);
        q->count.claimed += leased;
        if (claim->limit)
            note_due(lane, claim, leased, now_ms);
        for (size_t i = 0; i < claim->count; i++)
            store_job_free(&claim->jobs[i]);
        free(claim->jobs);
    } else {
        q->trouble_ms = now_ms + QUEUE_TROUBLE_MS;
    }
    free(claim);
    queue_wake(q);
}

static void submit_claim(struct lane *lane, size_t limit, uint64_t now_ms)
{
    struct store *store = lane->queue->store;
    struct store_claim *claim = xcalloc(1, sizeof *claim);
    claim->unit = (struct store_unit){.kind = STORE_CLAIM, .done = on_claim_done, .arg = lane};
    claim->provider = lane->line.name;
    claim->limit = limit;
    claim->no_pinned = store_clock_behind_ms(store) > QUEUE_CLOCK_BEHIND_MS;
    lane->claim = claim;
    lane->claim_ms = now_ms;
    lane->stirred_ms = UINT64_MAX;
    lane->stirred_top = PRIORITY_BULK;
    lane->ending_ms = now_ms + QUEUE_ENDING_MS;
    lane->queue->count.claims++;
    store_submit(store, &claim->unit);
}

/* The priority of what waits decides whose place in front it may take: what is ready but less urgent does
 * not count. */
void queue_claim(struct lane *lane, struct queue_now now)
{
    if (lane->claim || !queue_may_lease(lane->queue, now.ms))
        return;
    bool due = line_is_open(&lane->line) && lane->due_ms <= now.ms;
    size_t room = due ? queue_room(lane, lane->backlog_top, now) : 0;
    if (room)
        submit_claim(lane, claim_limit(lane, room), now.ms);
    else if (lane->ending_ms <= now.ms)
        submit_claim(lane, 0, now.ms);
}
