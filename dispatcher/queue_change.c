#include <stdlib.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/queue_private.h"

/* ---- change sets ---- */

struct change_set *queue_changes_new(struct queue *q, size_t size)
{
    struct change_set *set = xcalloc(1, sizeof *set);
    set->queue = q;
    set->size = size;
    set->changes.changes = xcalloc(size ? size : 1, sizeof *set->changes.changes);
    set->verdicts = xcalloc(size ? size : 1, sizeof *set->verdicts);
    return set;
}

static void set_free(struct change_set *set)
{
    for (size_t i = 0; i < set->changes.count; i++) {
        lease_free(set->verdicts[i].lease);
        free(set->verdicts[i].provider_id);
    }
    free(set->changes.changes);
    free(set->verdicts);
    free(set);
}

struct store_change *queue_changes_add(struct change_set *set, struct verdict **verdict)
{
    if (set->changes.count == set->size)
        panic("more changes than results");
    size_t i = set->changes.count++;
    *verdict = &set->verdicts[i];
    struct store_change *c = &set->changes.changes[i];
    c->points_micro = -1;
    c->parts = -1;
    return c;
}

static void on_changes_done(struct store_unit *unit, enum store_status status);

void queue_changes_submit(struct change_set *set)
{
    set->changes.attempts_keep_ms = set->queue->attempts_keep_ms;
    set->changes.unit = (struct store_unit){.kind = STORE_CHANGES, .done = on_changes_done, .arg = set};
    set->queue->changes_busy++;
    store_submit(set->queue->store, &set->changes.unit);
}

/* ---- streams: in order to acknowledge ---- */

void queue_stream_attach(struct queue_sender *s, uint64_t incarnation)
{
    struct queue *q = s->queue;
    struct stream *t;
    for (t = LIST_FIRST(&q->streams); t; t = LIST_NEXT(t, link))
        if (t->incarnation == incarnation)
            break;
    if (!t) {
        t = xcalloc(1, sizeof *t);
        t->incarnation = incarnation;
        TAILQ_INIT(&t->pending);
        LIST_INSERT_HEAD(&q->streams, t, link);
    }
    if (t->sender)
        t->sender->stream = NULL;
    t->sender = s;
    s->stream = t;
}

void queue_stream_detach(struct queue_sender *s, uint64_t now_ms)
{
    if (!s->stream)
        return;
    s->stream->sender = NULL;
    s->stream->away_ms = now_ms;
    s->stream = NULL;
}

/* The stream is in no list any more. */
static void stream_free(struct stream *t)
{
    for (struct change_set *set = TAILQ_FIRST(&t->pending), *next; set; set = next) {
        next = TAILQ_NEXT(set, in_stream);
        set_free(set);
    }
    free(t);
}

void queue_streams_tidy(struct queue *q, uint64_t now_ms)
{
    for (struct stream *t = LIST_FIRST(&q->streams), *next; t; t = next) {
        next = LIST_NEXT(t, link);
        if (!t->sender && TAILQ_EMPTY(&t->pending) && now_ms - t->away_ms > QUEUE_STREAM_KEEP_MS) {
            LIST_REMOVE(t, link);
            stream_free(t);
        }
    }
}

void queue_streams_free(struct queue *q)
{
    for (struct change_set *set = TAILQ_FIRST(&q->to_retry), *next; set; set = next) {
        next = TAILQ_NEXT(set, in_retry);
        if (!set->stream) /* the others go with their stream */
            set_free(set);
    }
    TAILQ_INIT(&q->to_retry);
    for (struct stream *t = LIST_FIRST(&q->streams), *next; t; t = next) {
        next = LIST_NEXT(t, link);
        stream_free(t);
    }
    LIST_INIT(&q->streams);
}

void queue_stream_acknowledge(struct stream *t)
{
    struct change_set *set, *next;
    for (set = TAILQ_FIRST(&t->pending); set && set->done; set = next) {
        next = TAILQ_NEXT(set, in_stream);
        TAILQ_REMOVE(&t->pending, set, in_stream);
        set_free(set);
    }
    struct queue_sender *s = t->sender;
    uint64_t committed = set ? set->seq - 1 : t->taken;
    if (!s || committed == 0)
        return;
    struct msg_out *out = &s->queue->out;
    msg_begin(out, WIRE_RESULTS_ACK, 1);
    msg_put_uint(out, committed);
    link_server_send(s->links, s->peer, out); /* if lost, the sender offers its results again */
}

void queue_stream_add(struct stream *t, struct change_set *set, uint64_t seq)
{
    t->taken = seq;
    set->stream = t;
    set->seq = seq;
    TAILQ_INSERT_TAIL(&t->pending, set, in_stream);
    if (set->changes.count) {
        queue_changes_submit(set);
    } else {
        set->done = true;
        queue_stream_acknowledge(t);
    }
}

/* ---- what was committed ---- */

static void log_change(const struct verdict *v, const struct store_change *c)
{
    bool returned = c->step == STEP_RETURN;
    if (v->quiet || !log_wants(returned ? LOG_DEBUG : LOG_INFO))
        return;
    char id[2 * HASH_ID_BYTES + 1];
    str_hex(c->job.bytes, sizeof c->job.bytes, id);
    const struct lease *l = v->lease;
    const struct lane *lane = l ? l->owner : NULL;
    bool again = c->now == JOB_QUEUED;
    log_write(returned ? LOG_DEBUG : LOG_INFO, "job", log_str("job", id),
              log_str("state", job_state_names[c->now]), log_str("outcome", wire_outcome_names[v->outcome]),
              log_str("rule", l ? l->rule : NULL), log_number("to", l ? l->number : ""),
              log_str("provider", lane ? lane->line.name : NULL), log_int("attempt", c->attempt),
              log_int("generation", l ? l->generation : 0), log_int("code", c->code),
              log_int("http", v->http_status), log_int("event_age_ms", l ? l->created_ms - l->event_ms : -1),
              log_int("queued_ms", l ? l->queued_ms : -1), log_int("connect_us", v->connect_us),
              log_int("answer_us", v->answer_us), log_int("next_ms", again ? c->due_in_ms : -1),
              log_str("inferred", c->inferred ? "yes" : NULL), log_str("late", v->late ? "yes" : NULL),
              log_str("reason", c->reason), LOG_END);
}

static void count_end(struct queue *q, enum job_state state, enum wire_class class)
{
    switch (state) {
    case JOB_DEAD:
        q->count.dead[class]++;
        meter_add(&q->failed, 1, clock_mono_ms());
        break;
    case JOB_UNCERTAIN:
        q->count.uncertain++;
        meter_add(&q->failed, 1, clock_mono_ms());
        break;
    case JOB_EXPIRED:
        q->count.expired++;
        break;
    case JOB_CANCELLED:
        q->count.cancelled++;
        break;
    default:
        break;
    }
}

static void count_change(struct queue *q, const struct verdict *v, const struct store_change *c)
{
    if (c->now == JOB_SENT) {
        meter_add(&q->sent, 1, clock_mono_ms());
        q->count.inferred += c->inferred;
        q->count.late_accepted += v->late;
    } else if (c->now == JOB_QUEUED) {
        q->count.retries += c->step == STEP_RETRY;
    } else {
        count_end(q, c->now, v->class);
    }
}

static void commit_one(struct queue *q, const struct verdict *v, const struct store_change *c,
                       uint64_t now_ms)
{
    if (!c->applied)
        return;
    count_change(q, v, c);
    if (v->decision.collision)
        log_error("idx collision: the provider knows the idx of a job that was never sent",
                  log_str("rule", v->lease ? v->lease->rule : NULL));
    log_change(v, c);
    if (c->now == JOB_QUEUED && v->lease)
        queue_stir(v->lease->owner, now_ms + (uint64_t)c->due_in_ms, v->lease->priority);
}

static void on_changes_done(struct store_unit *unit, enum store_status status)
{
    struct change_set *set = unit->arg;
    struct queue *q = set->queue;
    uint64_t now_ms = clock_boot_ms();
    q->changes_busy--;
    queue_wake(q);
    if (status != STORE_OK) {
        /* Bounded by the leases; nothing new is leased until it is on disk. */
        if (!q->trouble_told)
            log_error("outcomes cannot be recorded; they are kept and tried again",
                      log_str("store", status == STORE_FULL ? "full" : "failed"));
        q->trouble_told = true;
        q->trouble_ms = now_ms + QUEUE_TROUBLE_MS;
        TAILQ_INSERT_TAIL(&q->to_retry, set, in_retry);
        return;
    }
    if (q->trouble_told)
        log_info("outcomes are recorded again");
    q->trouble_told = false;
    for (size_t i = 0; i < set->changes.count; i++)
        commit_one(q, &set->verdicts[i], &set->changes.changes[i], now_ms);
    set->done = true;
    if (set->stream)
        queue_stream_acknowledge(set->stream);
    else
        set_free(set);
}

void queue_retry_changes(struct queue *q)
{
    if (TAILQ_EMPTY(&q->to_retry) || clock_boot_ms() < q->trouble_ms)
        return;
    q->trouble_ms = clock_boot_ms() + QUEUE_TROUBLE_MS;
    struct change_set *set;
    while ((set = TAILQ_FIRST(&q->to_retry))) {
        TAILQ_REMOVE(&q->to_retry, set, in_retry);
        queue_changes_submit(set);
    }
}

void queue_ended(struct queue *q, const struct store_job *job)
{
    char id[2 * HASH_ID_BYTES + 1];
    str_hex(job->id.bytes, sizeof job->id.bytes, id);
    count_end(q, job->state, WIRE_CLASS_NONE);
    log_info("job", log_str("job", id), log_str("state", job_state_names[job->state]),
             log_str("rule", job->rule), log_number("to", job->number ? job->number : ""),
             log_str("provider", job->provider), log_int("attempt", job->attempt),
             log_int("generation", job->generation), log_str("reason", job->reason));
}
