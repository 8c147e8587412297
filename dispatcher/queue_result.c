#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/queue_private.h"

enum { RESULTS_MAX = 10000 /* in one message; a sender packs a tenth of it */ };

/* ---- change sets ---- */

static struct change_set *set_new(struct queue *q, size_t size)
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

/* A change with its verdict; the caller fills both. The set has room for as many as it was made for. */
static struct store_change *set_add(struct change_set *set, struct verdict **verdict)
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

static void set_submit(struct change_set *set)
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

/* Acknowledges what is committed without a gap. */
static void stream_acknowledge(struct stream *t)
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
        stream_acknowledge(set->stream);
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
        set_submit(set);
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

/* ---- from a result to a change ---- */

static double throw_dice(void)
{
    return (double)randombytes_random() / (double)UINT32_MAX;
}

static void decide(const struct lease *l, struct verdict *v, int32_t code, int64_t retry_after_ms,
                   const char *words)
{
    const struct lane *lane = l->owner;
    struct outcome_facts facts = {
        .outcome = v->outcome,
        .class = v->class,
        .code = code,
        .retry_after_ms = retry_after_ms,
        .words = words,
        .pinned = l->pinned,
        .generation = l->generation,
        .failures = l->failures,
        .expired = l->expires_ms && store_now_ms(lane->queue->store) >= l->expires_ms,
        .max_attempts = lane->line.max_attempts,
        .retry_min_ms = lane->line.retry_min_ms,
        .retry_max_ms = lane->line.retry_max_ms,
        .dice = v->outcome == WIRE_ACCEPTED ? 0 : throw_dice(), /* a system call */
    };
    outcome_decide(&facts, &v->decision);
}

/* What the attempt means for its number: one that certainly did not happen is not counted. */
static void end_attempt(struct store_change *c, const struct lease *l, const struct verdict *v)
{
    struct lane *lane = l->owner;
    uint64_t now_ms = clock_boot_ms();
    int64_t blocked_ms = v->decision.number_blocked_ms;
    if (v->outcome == WIRE_UNSENT)
        number_limit_undo(lane->numbers, l->number_key);
    else
        number_limit_end(lane->numbers, l->number_key, now_ms);
    if (blocked_ms > 0)
        number_limit_block(lane->numbers, l->number_key, now_ms + (uint64_t)blocked_ms);
    bool counts = v->outcome != WIRE_UNSENT && number_limit_counts(lane->numbers);
    c->number_key = counts || blocked_ms > 0 ? l->number_key : 0;
    c->number_blocked_ms = blocked_ms;
}

static void fill_change(struct store_change *c, const struct lease *l, const struct verdict *v, int32_t code)
{
    const struct outcome_decision *d = &v->decision;
    c->job = l->job;
    c->row = l->row;
    c->attempt = l->attempt;
    c->step = d->step;
    c->state = d->state;
    c->failures = d->failures;
    c->generation = d->generation;
    c->pinned = d->pinned;
    c->inferred = d->inferred;
    c->due_in_ms = d->due_in_ms;
    end_attempt(c, l, v);
    c->reason = d->reason[0] ? d->reason : NULL;
    c->code = code;
}

/* ---- results ---- */

static void tell_line(struct lane *lane, const struct verdict *v, const struct lease *l,
                      const struct wire_result *r)
{
    uint64_t now_ms = clock_boot_ms();
    const char *reason = v->decision.reason;
    enum line_state before = lane->line.state;
    switch (v->decision.line) {
    case OUTCOME_WORKS:
        line_works(&lane->line, l->granted_ms);
        break;
    case OUTCOME_STOP:
        line_stop(&lane->line, reason, r->code, now_ms);
        break;
    case OUTCOME_THROTTLE:
        line_throttle(&lane->line, r->retry_after_ms, l->granted_ms, reason, now_ms);
        break;
    case OUTCOME_UNREACHABLE:
        line_unreachable(&lane->line, l->granted_ms, reason, now_ms);
        break;
    case OUTCOME_SMALLER:
        line_smaller(&lane->line, lane->ready.batch);
        lane->ready.batch = lane->line.batch;
        break;
    case OUTCOME_KEEP:
    case OUTCOME_LINES:
        break;
    }
    lane->stopped_total += lane->line.state == LINE_STOPPED && before != LINE_STOPPED;
    lane->paused_total += lane->line.state == LINE_PAUSED && before != LINE_PAUSED;
}

/* A sender that gives jobs back cannot take as many within a grant's time as it has credit for (slow answers
 * hold its connections): it gets half of what it HELD, and more again with every answer. If it gives back all
 * it is given, it rests a little longer each time, so that jobs do not run in a circle. */
static void note_return(struct queue_sender *s, size_t held, uint64_t now_ms)
{
    s->queue->count.unsent++;
    if (s->rest_ms > now_ms)
        return;
    uint64_t rest = (uint64_t)QUEUE_REST_MIN_MS << (s->returns < 10 ? s->returns : 10);
    s->returns++;
    s->rest_ms = now_ms + (rest < QUEUE_REST_MAX_MS ? rest : QUEUE_REST_MAX_MS);
    s->window = held > 2 ? held / 2 : 1;
}

static void note_answer(struct queue_sender *s)
{
    s->returns = 0;
    if (s->window < QUEUE_WINDOW_MAX)
        s->window++;
}

static void fill_answer(struct store_change *c, struct verdict *v, const struct wire_result *r)
{
    v->outcome = r->outcome;
    v->class = r->class;
    v->http_status = r->http_status;
    v->connect_us = r->connect_us;
    v->answer_us = r->answer_us;
    v->provider_id = msg_str_dup(r->provider_id);
    c->provider_id = v->provider_id;
    c->points_micro = r->points_micro;
    c->parts = r->parts;
}

/* The attempt is not ours any more: only that it was accepted counts. */
static void take_late(struct queue *q, struct change_set *set, const struct wire_result *r,
                      struct lease *lost)
{
    q->count.late++;
    bool known = r->outcome == WIRE_DUPLICATE && lost && lost->pinned;
    if (r->outcome != WIRE_ACCEPTED && !known)
        return;
    struct verdict *v;
    struct store_change *c = set_add(set, &v);
    fill_answer(c, v, r);
    v->late = true;
    if (lost) {
        leases_remove(q->leases, lost);
        v->lease = lost;
    }
    c->job = r->job;
    c->row = lost ? lost->row : 0;
    c->attempt = r->attempt;
    c->step = STEP_ACCEPTED;
    c->state = JOB_SENT;
    c->inferred = known;
    c->code = r->code;
}

static void take_off_granted(struct lease *l)
{
    struct lane *lane = l->owner;
    struct queue_sender *holder = queue_sender_find(lane->queue, l->sender);
    TAILQ_REMOVE(&lane->granted, l, in_time);
    lane->granted_count--;
    if (holder && holder->in_flight)
        holder->in_flight--;
}

static void take_result(struct queue_sender *s, struct change_set *set, const struct wire_result *r,
                        size_t held)
{
    struct queue *q = s->queue;
    if (r->outcome == WIRE_UNSENT)
        note_return(s, held, clock_boot_ms());
    else
        note_answer(s);
    struct lease *l = leases_find(q->leases, &r->job, r->attempt);
    if (!l || l->lost) {
        take_late(q, set, r, l);
        return;
    }
    if (l->granted_ms == 0)
        return; /* a result for what never left: not ours to believe */
    take_off_granted(l);
    leases_remove(q->leases, l);
    if (r->outcome == WIRE_ACCEPTED)
        queue_pace(l->owner, clock_boot_ms());
    struct verdict *v;
    struct store_change *c = set_add(set, &v);
    fill_answer(c, v, r);
    v->lease = l;
    char words[201];
    size_t len = r->words.len < sizeof words - 1 ? r->words.len : sizeof words - 1;
    if (len)
        memcpy(words, r->words.data, len);
    words[len] = '\0';
    decide(l, v, r->code, r->retry_after_ms, words);
    fill_change(c, l, v, r->code);
    q->count.unknown += r->outcome == WIRE_UNKNOWN;
    q->count.collisions += v->decision.collision;
    if (r->http_status)
        metrics_observe_us(&q->answer_time, r->answer_us);
    tell_line(l->owner, v, l, r);
}

void queue_results(struct queue_sender *s, uint64_t seq, struct msg_fields *fields)
{
    struct stream *t = s->stream;
    struct msg_fields list = msg_get_array(fields);
    if (!t || !msg_end(fields) || list.failed || list.left > RESULTS_MAX || seq == 0) {
        log_error("malformed results", log_str("sender", s->peer->name), log_int("seq", (int64_t)seq));
        return;
    }
    if (seq <= t->taken) {
        stream_acknowledge(t);
        return;
    }
    struct change_set *set = set_new(s->queue, list.left);
    size_t held = s->in_flight;
    while (list.left) {
        struct wire_result r;
        wire_get_result(&list, &r);
        if (list.failed)
            break;
        take_result(s, set, &r, held);
    }
    if (list.failed)
        log_error("malformed result; its lease will run out", log_str("sender", s->peer->name));
    t->taken = seq;
    set->stream = t;
    set->seq = seq;
    TAILQ_INSERT_TAIL(&t->pending, set, in_stream);
    if (set->changes.count) {
        set_submit(set);
    } else {
        set->done = true;
        stream_acknowledge(t);
    }
}

/* ---- leases without a result ---- */

void queue_expire_leases(struct lane *lane, uint64_t now_ms)
{
    struct queue *q = lane->queue;
    size_t count = 0;
    for (struct lease *l = TAILQ_FIRST(&lane->granted); l && l->deadline_ms <= now_ms;
         l = TAILQ_NEXT(l, in_time))
        count++;
    if (!count)
        return;
    struct change_set *set = set_new(q, count);
    while (count--) {
        struct lease *l = TAILQ_FIRST(&lane->granted);
        struct verdict *v;
        struct store_change *c = set_add(set, &v);
        v->outcome = WIRE_UNKNOWN;
        v->lease = lease_copy(l);
        decide(l, v, 0, -1, "no answer before the lease ran out");
        fill_change(c, l, v, 0);
        take_off_granted(l);
        leases_lose(q->leases, l);
        q->count.lease_expired++;
        q->count.unknown++;
    }
    set_submit(set);
}

void queue_give_back(struct lane *lane, struct request *r, const char *why)
{
    struct change_set *set = set_new(lane->queue, r->count);
    for (struct lease *l = r->first, *next; l; l = next) {
        next = l->next;
        l->next = NULL;
        struct verdict *v;
        struct store_change *c = set_add(set, &v);
        v->outcome = WIRE_UNSENT;
        v->lease = l;
        leases_remove(lane->queue->leases, l);
        decide(l, v, 0, -1, why);
        fill_change(c, l, v, 0);
    }
    request_free(r);
    set_submit(set);
}
