#include <sodium.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "dispatcher/queue_private.h"

enum { RESULTS_MAX = 10000 /* in one message; a sender packs a tenth of it */ };

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
    struct store_change *c = queue_changes_add(set, &v);
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
    struct store_change *c = queue_changes_add(set, &v);
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
        queue_stream_acknowledge(t);
        return;
    }
    struct change_set *set = queue_changes_new(s->queue, list.left);
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
    queue_stream_add(t, set, seq);
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
    struct change_set *set = queue_changes_new(q, count);
    while (count--) {
        struct lease *l = TAILQ_FIRST(&lane->granted);
        struct verdict *v;
        struct store_change *c = queue_changes_add(set, &v);
        v->outcome = WIRE_UNKNOWN;
        v->lease = lease_copy(l);
        decide(l, v, 0, -1, "no answer before the lease ran out");
        fill_change(c, l, v, 0);
        take_off_granted(l);
        leases_lose(q->leases, l);
        q->count.lease_expired++;
        q->count.unknown++;
    }
    queue_changes_submit(set);
}

void queue_give_back(struct lane *lane, struct request *r, const char *why)
{
    struct change_set *set = queue_changes_new(lane->queue, r->count);
    for (struct lease *l = r->first, *next; l; l = next) {
        next = l->next;
        l->next = NULL;
        struct verdict *v;
        struct store_change *c = queue_changes_add(set, &v);
        v->outcome = WIRE_UNSENT;
        v->lease = l;
        leases_remove(lane->queue->leases, l);
        decide(l, v, 0, -1, why);
        fill_change(c, l, v, 0);
    }
    request_free(r);
    queue_changes_submit(set);
}
