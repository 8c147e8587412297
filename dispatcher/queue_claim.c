#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
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
    return queue_promised(lane) || lane->ready.jobs || (last && last->granted_ms >= lane->line.opened_ms);
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

size_t queue_places(struct lane *lane, struct queue_now now)
{
    double room = all_room(lane, 0, 0, now);
    return room > 0 ? (size_t)fmin(room, QUEUE_CLAIM_MAX) : 0;
}

/* What is ready or promised, and for those in OPEN no end of it. */
struct demand {
    size_t held[PRIORITIES], wants[PRIORITIES];
    size_t held_in_all;
    int open_count, last_open;
};

static struct demand demand_of(const struct lane *lane, const bool open[PRIORITIES])
{
    struct demand d = {.last_open = -1};
    for (int i = 0; i < PRIORITIES; i++) {
        d.held[i] = lane->ready.requests[i] + lane->classes[i].promised;
        d.wants[i] = open[i] ? SIZE_MAX : d.held[i];
        d.held_in_all += d.held[i];
        if (open[i]) {
            d.open_count++;
            d.last_open = i;
        }
    }
    return d;
}

/* How many requests of each priority in OPEN may be leased beyond those that are: what its turns among the
 * places that are there or coming allow. */
static void plan_room(struct lane *lane, double ahead, const bool open[PRIORITIES], struct queue_now now,
                      size_t room[PRIORITIES])
{
    struct demand d = demand_of(lane, open);
    size_t turns[PRIORITIES] = {0};
    memset(room, 0, PRIORITIES * sizeof *room);
    if (!d.open_count || (lane->line.trial && trial_under_way(lane)))
        return;
    double all = all_room(lane, floor(ahead), horizon_ms(lane), now);
    size_t places = all <= 0           ? 0
                    : lane->line.trial ? 1
                                       : (size_t)fmin(all, (double)(d.held_in_all + QUEUE_CLAIM_MAX));
    if (d.open_count == 1 && d.held[d.last_open] == d.held_in_all)
        turns[d.last_open] = places;
    else
        share_plan(&lane->share, d.wants, places, turns);
    for (int i = 0; i < PRIORITIES; i++)
        if (open[i] && turns[i] > d.held[i] && lane->ready.jobs_of[i] < QUEUE_READY_MAX)
            room[i] = turns[i] - d.held[i];
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
    bool open[PRIORITIES];
    size_t room[PRIORITIES];
    for (int i = 0; i < PRIORITIES; i++)
        open[i] = i == (int)priority || queue_waits(lane, i, now.ms);
    plan_room(lane, fmin(fmax(lane->ahead, pace), QUEUE_AHEAD_MAX), open, now, room);
    return room[priority];
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

/* Jobs for ROOM of IN_ALL requests: jobs of equal text share one, and how many do is known from the last
 * ones. A few more than that are asked for, because only jobs that were fetched can be found alike. */
static size_t claim_limit(const struct lane *lane, int priority, size_t room, size_t in_all)
{
    if (lane->line.trial)
        return 1;
    enum { LOOK_FURTHER = 8 };
    double jobs = ceil((double)room * lane->jobs_per_request * (lane->jobs_per_request > 1 ? 1.25 : 1));
    double most = ceil(QUEUE_CLAIM_MAX * (double)room / (double)in_all);
    size_t least = lane->line.batch < LOOK_FURTHER ? lane->line.batch : LOOK_FURTHER;
    size_t limit = jobs < (double)least ? least : (size_t)fmin(jobs, fmax(most, (double)least));
    size_t left = QUEUE_READY_MAX - lane->ready.jobs_of[priority];
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
static void note_due(struct lane *lane, const struct store_claim *claim, uint64_t now_ms)
{
    for (int i = 0; i < PRIORITIES; i++) {
        struct lane_class *c = &lane->classes[i];
        int64_t next_ms = claim->next_due_in_ms[i];
        if (next_ms == STORE_NOT_LOOKED)
            continue;
        c->due_ms = UINT64_MAX;
        if (next_ms > 0)
            c->due_ms = now_ms + (uint64_t)next_ms;
        else if (next_ms == 0)
            c->due_ms = now_ms + (claim->taken[i] ? 0 : QUEUE_IDLE_CLAIM_MS);
        if (c->stirred_ms < c->due_ms)
            c->due_ms = c->stirred_ms;
    }
}

/* Senders that stand idle when a claim comes back full could have had more; jobs that still wait for a busy
 * sender then were leased too early. Leases made ahead of the credit cost a wait if this process is killed,
 * so there are no more of them than pay. */
static void adapt_ahead(struct lane *lane, const struct store_claim *claim, size_t leased,
                        struct queue_now now)
{
    bool full = leased == claim->limit;
    lane->round_ms = now.ms - lane->claim_ms;
    size_t ready = 0;
    for (int i = 0; i < PRIORITIES; i++)
        ready += lane->ready.requests[i];
    bool idle = queue_places(lane, now) > ready;
    lane->hungry = full && idle;
    if (lane->ready.jobs > 0 && !idle)
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
        lane->number_waits_total += claim->moved;
        if (claim->limit)
            note_due(lane, claim, now_ms);
        for (size_t i = 0; i < claim->count; i++)
            store_job_free(&claim->jobs[i]);
        free(claim->jobs);
    } else {
        q->trouble_ms = now_ms + QUEUE_TROUBLE_MS;
    }
    free(claim);
    queue_wake(q);
}

/* In the store's thread. Whoever waited before, or was tried before, need not stand behind others. */
static int64_t admit(void *arg, const struct store_job *job)
{
    struct lane *lane = arg;
    bool waited = job->attempt > 0 || (job->reason && strcmp(job->reason, STORE_NUMBER_WAITS) == 0);
    return number_limit_take(lane->numbers, number_limit_key(job->provider, job->number), (int)job->priority,
                             waited, clock_boot_ms());
}

static void dismiss(void *arg, const struct store_job *job)
{
    struct lane *lane = arg;
    number_limit_undo(lane->numbers, number_limit_key(job->provider, job->number));
}

static void submit_claim(struct lane *lane, const size_t share[PRIORITIES], uint64_t now_ms)
{
    struct store *store = lane->queue->store;
    struct store_claim *claim = xcalloc(1, sizeof *claim);
    claim->unit = (struct store_unit){.kind = STORE_CLAIM, .done = on_claim_done, .arg = lane};
    claim->provider = lane->line.name;
    for (int i = 0; i < PRIORITIES; i++) {
        claim->share[i] = share[i];
        claim->limit += share[i];
        lane->classes[i].stirred_ms = UINT64_MAX;
    }
    claim->no_pinned = store_clock_behind_ms(store) > QUEUE_CLOCK_BEHIND_MS;
    claim->admit = admit;
    claim->dismiss = dismiss;
    claim->admit_arg = lane;
    lane->claim = claim;
    lane->claim_ms = now_ms;
    lane->ending_ms = now_ms + QUEUE_ENDING_MS;
    lane->queue->count.claims++;
    store_submit(store, &claim->unit);
}

void queue_claim(struct lane *lane, struct queue_now now)
{
    if (lane->claim || !queue_may_lease(lane->queue, now.ms))
        return;
    bool open[PRIORITIES];
    size_t room[PRIORITIES], share[PRIORITIES] = {0}, in_all = 0;
    for (int i = 0; i < PRIORITIES; i++)
        open[i] = line_is_open(&lane->line) && queue_waits(lane, i, now.ms);
    plan_room(lane, lane->ahead, open, now, room);
    for (int i = 0; i < PRIORITIES; i++)
        in_all += room[i];
    for (int i = 0; i < PRIORITIES; i++)
        share[i] = room[i] ? claim_limit(lane, i, room[i], in_all) : 0;
    if (in_all || lane->ending_ms <= now.ms)
        submit_claim(lane, share, now.ms);
}
