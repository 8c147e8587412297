#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/queue_private.h"

enum offered { OFFERED_WAITS, OFFERED_LEASED, OFFERED_PUT_OFF };

struct queue_ticket {
    struct store_job *const *jobs;
    size_t count;
    size_t (*promised)[PRIORITIES]; /* by lane */
    unsigned char *offered;         /* enum offered, by job */
};

struct offer {
    struct lane *lane;
    size_t room;                  /* requests that may still be begun */
    const struct store_job *last; /* head of the request that may still grow */
    size_t size;                  /* its jobs */
};

/* True if JOBS[AT] fits into the request begun by O->last, whose jobs stand right before it. */
static bool joins(const struct offer *o, struct store_job *const *jobs, size_t at)
{
    if (!o->last || o->size >= o->lane->line.batch || !ready_alike(o->last, jobs[at]))
        return false;
    for (size_t i = 0; i < o->size; i++)
        if (strcmp(jobs[at - 1 - i]->number, jobs[at]->number) == 0)
            return false;
    return true;
}

static void lease_now(struct queue *q, struct store_job *job)
{
    job->state = JOB_LEASED;
    job->attempt = 1;
    if (job->generation == 0)
        job->generation = 1;
    job->first_attempt_ms = store_now_ms(q->store);
    q->count.fast++;
}

static void begin_offer(struct offer *o, struct lane *lane, const struct store_job *job, struct queue_now now)
{
    memset(o, 0, sizeof *o);
    o->lane = lane;
    if (!lane || !line_is_open(&lane->line) || !queue_may_lease(lane->queue, now.ms))
        return;
    /* Nobody passes those of the same priority. */
    bool waits = queue_waits(lane, (int)job->priority, now.ms);
    o->room = waits ? 0 : queue_room_for_new(lane, job->priority, now);
}

/* False if the job's number has been tried too often lately; it then is due later. */
static bool number_has_room(struct lane *lane, struct store_job *job, uint64_t now_ms)
{
    uint64_t key = number_limit_key(job->provider, job->number);
    int64_t wait_ms = number_limit_take(lane->numbers, key, (int)job->priority, false, now_ms);
    if (wait_ms <= 0)
        return true;
    job->due_ms = store_now_ms(lane->queue->store) + wait_ms;
    free(job->reason);
    job->reason = xstrdup(STORE_NUMBER_WAITS);
    lane->number_waits_total++;
    return false;
}

bool queue_is_busy(struct queue *q, const struct store_job *first, size_t count, bool *fast)
{
    struct queue_now now = queue_clock();
    struct lane *lane = queue_lane(q, first->provider);
    if (!lane || !q->senders_count || !line_is_open(&lane->line) || lane->line.trial ||
        !queue_may_lease(q, now.ms))
        return false;
    bool backlog = queue_waits(lane, (int)first->priority, now.ms);
    *fast = queue_pace_of(lane, now.ms) >= QUEUE_PACE_FAST;
    bool idle = !queue_promised(lane) && !lane->ready.jobs && !lane->granted_count && !backlog;
    if (count > QUEUE_AHEAD_MAX / 2)
        count = QUEUE_AHEAD_MAX / 2;
    if (idle || queue_slots(lane, now) < (double)count)
        return false;
    return backlog || queue_room_for_new(lane, first->priority, now) < count;
}

/* Begins a request or lets the job join the last one; false if it cannot leave now. */
static bool place(struct queue_ticket *t, struct offer *o, size_t at, struct queue_now now)
{
    struct store_job *job = t->jobs[at];
    struct lane *lane = o->lane;
    bool joining = joins(o, t->jobs, at);
    if (!joining && !o->room)
        return false;
    if (!number_has_room(lane, job, now.ms)) {
        t->offered[at] = OFFERED_PUT_OFF;
        return false;
    }
    if (joining) {
        o->size++;
        return true;
    }
    o->room--;
    o->last = job;
    o->size = 1;
    lane->classes[job->priority].promised++;
    t->promised[lane - lane->queue->lanes][job->priority]++;
    return true;
}

struct queue_ticket *queue_offer(struct queue *q, struct store_job *const *jobs, size_t count)
{
    struct queue_ticket *t = xcalloc(1, sizeof *t);
    t->jobs = jobs;
    t->count = count;
    t->promised = xcalloc(q->lanes_count ? q->lanes_count : 1, sizeof *t->promised);
    t->offered = xcalloc(count ? count : 1, sizeof *t->offered);
    struct queue_now now = queue_clock();
    struct offer o = {0};
    q->count.offered += count;
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = queue_lane(q, jobs[i]->provider);
        bool same = i > 0 && lane == o.lane && jobs[i]->priority == jobs[i - 1]->priority;
        if (!same)
            begin_offer(&o, lane, jobs[i], now);
        if (jobs[i]->state == JOB_QUEUED && lane && (o.room || o.size) && place(t, &o, i, now)) {
            lease_now(q, jobs[i]);
            t->offered[i] = OFFERED_LEASED;
        } else {
            o.last = NULL;
            o.size = 0;
        }
    }
    return t;
}

/* What was decided for a job that did not come on disk is taken back. */
static void withdraw(struct lane *lane, struct store_job *job, enum offered offered)
{
    if (offered == OFFERED_LEASED)
        number_limit_undo(lane->numbers, number_limit_key(job->provider, job->number));
    if (offered == OFFERED_PUT_OFF) {
        job->due_ms = 0;
        free(job->reason);
        job->reason = NULL;
    }
}

static void settle_job(struct queue *q, struct store_job *job, enum offered offered, bool committed,
                       uint64_t now_ms)
{
    struct lane *lane = queue_lane(q, job->provider);
    if (!lane)
        return;
    bool there = committed && job->row != 0;
    if (there && job->state == JOB_LEASED) {
        queue_lease(lane, lease_new(job), now_ms);
        return;
    }
    if (there && job->state == JOB_QUEUED) {
        int64_t in_ms = offered == OFFERED_PUT_OFF ? job->due_ms - store_now_ms(q->store) : 0;
        queue_stir(lane, now_ms + (in_ms > 0 ? (uint64_t)in_ms : 0), job->priority);
        return;
    }
    withdraw(lane, job, offered);
}

void queue_settle(struct queue *q, struct queue_ticket *t, bool committed)
{
    struct queue_now now = queue_clock();
    for (size_t i = 0; i < q->lanes_count; i++)
        for (int p = 0; p < PRIORITIES; p++)
            q->lanes[i].classes[p].promised -= t->promised[i][p];
    for (size_t i = 0; i < t->count; i++)
        settle_job(q, t->jobs[i], (enum offered)t->offered[i], committed, now.ms);
    free(t->promised);
    free(t->offered);
    free(t);
    queue_wake(q);
}
