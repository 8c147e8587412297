#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "dispatcher/queue_private.h"

/* ---- credit ---- */

uint64_t queue_credit(const struct queue_sender *s, uint64_t now_ms)
{
    uint64_t used = s->unseen + s->outgoing_count;
    uint64_t held = s->in_flight + s->outgoing_count;
    if (s->rest_ms > now_ms || s->credit.free <= used || s->window <= held)
        return 0;
    uint64_t credit = s->credit.free - used;
    return credit < s->window - held ? credit : s->window - held;
}

static void take_credit(struct queue_sender *s, const struct wire_credit *credit)
{
    s->credit = *credit;
    s->credit_ms = clock_boot_ms();
    size_t seen = 0;
    while (seen < s->marks_count && s->marks[seen].number <= credit->seen)
        s->unseen -= s->marks[seen++].requests;
    if (seen)
        memmove(s->marks, s->marks + seen, (s->marks_count - seen) * sizeof *s->marks);
    s->marks_count -= seen;
}

static void add_mark(struct queue_sender *s, uint64_t number, uint64_t requests)
{
    if (s->marks_count == s->marks_size) {
        s->marks_size = s->marks_size ? s->marks_size * 2 : 16;
        s->marks = xreallocarray(s->marks, s->marks_size, sizeof *s->marks);
    }
    s->marks[s->marks_count++] = (struct grant_mark){number, requests};
    s->unseen += requests;
}

/* ---- grants ---- */

/* The sender with most free credit among those whose host has a slot; *LIMITER is the host's. */
static struct queue_sender *choose_sender(struct lane *lane, struct queue_now now, struct limiter **limiter)
{
    struct queue_sender *best = NULL, *s;
    uint64_t best_credit = 0;
    for (s = LIST_FIRST(&lane->queue->senders); s; s = LIST_NEXT(s, link)) {
        uint64_t credit = queue_credit(s, now.ms);
        if (credit <= best_credit)
            continue;
        struct limiter *of_host = line_limiter(&lane->line, s->peer->host, now.us);
        if (!of_host || limiter_free(of_host, now.us) == 0)
            continue;
        best = s;
        best_credit = credit;
        *limiter = of_host;
    }
    return best;
}

static bool is_expired(const struct lane *lane, const struct request *r)
{
    int64_t expires_ms = r->first->expires_ms;
    return expires_ms && expires_ms <= store_now_ms(lane->queue->store);
}

static bool trial_is_out(const struct lane *lane)
{
    const struct lease *last = TAILQ_LAST(&lane->granted, lease_list);
    return lane->line.trial && last && last->granted_ms >= lane->line.opened_ms;
}

/* Whether jobs of this priority come soon: from an offer that is being committed, or by a claim. */
static bool is_coming(const struct lane *lane, int priority, struct queue_now now)
{
    const struct lane_class *c = &lane->classes[priority];
    return c->promised ||
           (queue_waits(lane, priority, now.ms) && !lane->line.trial &&
            lane->ready.jobs_of[priority] < QUEUE_READY_MAX && queue_may_lease(lane->queue, now.ms));
}

/* Places that those of PRIORITY will need as soon as they have come. */
static size_t places_awaited(const struct lane *lane, int priority)
{
    size_t claimed = lane->claim ? lane->claim->share[priority] : 0;
    return lane->classes[priority].promised + (claimed ? claimed : 1);
}

/* The priority whose request leaves next; -1 if none is ready, or if the places that are there are kept for
 * a more urgent one whose turn it is and which comes in a moment. What is less urgent and not there is not
 * waited for: it keeps its turn. */
static int next_to_leave(struct lane *lane, struct queue_now now)
{
    bool ready[PRIORITIES], wants[PRIORITIES];
    for (int i = 0; i < PRIORITIES; i++) {
        ready[i] = lane->ready.requests[i] > 0;
        wants[i] = ready[i] || is_coming(lane, i, now);
    }
    int turn = share_turn(&lane->share, wants);
    int who = share_first(&lane->share, ready);
    if (who < 0 || turn == who || turn > who)
        return who;
    return queue_places(lane, now) > places_awaited(lane, turn) ? who : -1;
}

static void flush_sender(struct queue_sender *s, struct queue *q, struct queue_now now);

static void assign(struct lane *lane, struct queue_sender *s, struct request *r, struct queue_now now)
{
    TAILQ_INSERT_TAIL(&s->outgoing, r, link);
    s->outgoing_count++;
    share_take(&lane->share, (int)r->priority);
    lane->classes[r->priority].requests_total++;
    lane->jobs_per_request += ((double)r->count - lane->jobs_per_request) / 16;
    if (s->outgoing_count >= QUEUE_GRANTS_MAX || lane->line.trial)
        flush_sender(s, lane->queue, now);
}

void queue_grant(struct lane *lane, struct queue_now now)
{
    int who;
    while (!trial_is_out(lane) && (who = next_to_leave(lane, now)) >= 0) {
        struct request *r = ready_first(&lane->ready, (enum job_priority)who);
        if (is_expired(lane, r)) {
            ready_take(&lane->ready, r);
            queue_give_back(lane, r, "not sent in time");
            continue;
        }
        struct limiter *limiter = NULL;
        struct queue_sender *s = choose_sender(lane, now, &limiter);
        if (!s || !limiter_take(limiter, now.us))
            break;
        ready_take(&lane->ready, r);
        assign(lane, s, r, now);
    }
}

static void put_request(struct msg_out *m, const struct queue_sender *s, const struct request *r,
                        int64_t store_ms, uint64_t now_ms)
{
    struct wire_grant_job jobs[WIRE_GRANT_JOBS_MAX];
    const struct lease *first = r->first;
    const struct lane *lane = first->owner;
    size_t n = 0;
    for (const struct lease *l = first; l && n < WIRE_GRANT_JOBS_MAX; l = l->next)
        jobs[n++] = (struct wire_grant_job){l->job, l->attempt, l->generation, msg_str_of(l->number)};
    struct wire_grant grant = {
        .provider = msg_str_of(lane->line.name),
        .stamp = s->credit.stamp,
        .start_by_ms = now_ms - s->credit_ms + LINE_START_BY_MS,
        .expires_in_s = first->expires_ms ? (first->expires_ms - store_ms) / 1000 : -1,
        .from = msg_str_of(first->from),
        .text = msg_str_of(first->text),
        .jobs = jobs,
        .count = n,
    };
    wire_put_grant(m, &grant);
}

static void grant_left(struct queue_sender *s, struct request *r, struct queue_now now, int64_t store_ms)
{
    struct lane *lane = r->first->owner;
    struct queue *q = lane->queue;
    for (struct lease *l = r->first, *next; l; l = next) {
        next = l->next;
        l->next = NULL;
        lease_drop_text(l);
        l->granted_ms = now.ms;
        l->deadline_ms = now.ms + (uint64_t)lane->line.lease_ms;
        l->queued_ms = store_ms - l->created_ms;
        l->sender = s->id;
        TAILQ_INSERT_TAIL(&lane->granted, l, in_time);
        lane->granted_count++;
        if (l->received_ns && l->attempt == 1 && now.us * 1000 > l->received_ns)
            metrics_observe_us(&q->event_to_grant, now.us - l->received_ns / 1000);
    }
    q->count.attempts += r->count;
    s->in_flight += r->count;
    lane->granted_total++;
    request_free(r);
}

/* What the link did not take waits for another sender; the slots are gone, which only errs on the slow side.
 */
static void grants_refused(struct queue_sender *s)
{
    struct request *r;
    while ((r = TAILQ_LAST(&s->outgoing, request_list))) {
        TAILQ_REMOVE(&s->outgoing, r, link);
        ready_put_back(&((struct lane *)r->first->owner)->ready, r);
    }
    s->outgoing_count = 0;
    s->credit.free = 0;
}

static void flush_sender(struct queue_sender *s, struct queue *q, struct queue_now now)
{
    if (s->outgoing_count == 0)
        return;
    int64_t store_ms = store_now_ms(q->store);
    struct request *r;
    msg_begin(&q->out, WIRE_GRANTS, 2);
    msg_put_uint(&q->out, q->grant_number + 1);
    msg_put_array(&q->out, s->outgoing_count);
    for (r = TAILQ_FIRST(&s->outgoing); r; r = TAILQ_NEXT(r, link))
        put_request(&q->out, s, r, store_ms, now.ms);
    if (link_server_send(s->links, s->peer, &q->out)) {
        grants_refused(s);
        return;
    }
    q->grant_number++;
    add_mark(s, q->grant_number, s->outgoing_count);
    s->outgoing_count = 0;
    while ((r = TAILQ_FIRST(&s->outgoing))) {
        TAILQ_REMOVE(&s->outgoing, r, link);
        grant_left(s, r, now, store_ms);
    }
}

void queue_flush_grants(struct queue *q, struct queue_now now)
{
    for (struct queue_sender *s = LIST_FIRST(&q->senders); s; s = LIST_NEXT(s, link))
        flush_sender(s, q, now);
}

void queue_probe(struct lane *lane, uint64_t now_ms)
{
    struct queue *q = lane->queue;
    struct queue_sender *s = LIST_FIRST(&q->senders);
    if (!s || q->draining || !line_probe_due(&lane->line, now_ms))
        return;
    msg_begin(&q->out, WIRE_PROBE, 1);
    msg_put_cstr(&q->out, lane->line.name);
    link_server_send(s->links, s->peer, &q->out);
}

/* ---- senders ---- */

struct queue_sender *queue_sender_find(struct queue *q, uint64_t id)
{
    for (struct queue_sender *s = LIST_FIRST(&q->senders); s; s = LIST_NEXT(s, link))
        if (s->id == id)
            return s;
    return NULL;
}

struct queue_sender *queue_sender_up(struct queue *q, struct link_server *links, struct link_peer *peer,
                                     const struct wire_credit *credit, uint64_t incarnation)
{
    struct queue_sender *s = xcalloc(1, sizeof *s);
    s->id = ++q->sender_ids;
    s->links = links;
    s->peer = peer;
    s->window = QUEUE_WINDOW_MAX;
    TAILQ_INIT(&s->outgoing);
    if (credit)
        take_credit(s, credit);
    s->queue = q;
    queue_stream_attach(s, incarnation);
    LIST_INSERT_HEAD(&q->senders, s, link);
    q->senders_count++;
    uint64_t now_us = queue_clock().us;
    for (size_t i = 0; i < q->lanes_count; i++)
        if (!line_limiter(&q->lanes[i].line, peer->host, now_us))
            log_error("too many sending hosts; this one gets nothing", log_str("host", peer->host),
                      log_str("provider", q->lanes[i].line.name));
    log_info("sender connected", log_str("sender", peer->name), log_str("host", peer->host));
    queue_wake(q);
    return s;
}

void queue_sender_gone(struct queue *q, struct queue_sender *s)
{
    log_info("sender gone", log_str("sender", s->peer->name), log_str("host", s->peer->host),
             log_int("in_flight", (int64_t)s->in_flight));
    grants_refused(s);
    queue_stream_detach(s, clock_boot_ms());
    LIST_REMOVE(s, link);
    q->senders_count--;
    free(s->marks);
    free(s);
    queue_wake(q);
}

void queue_senders_free(struct queue *q)
{
    while (!LIST_EMPTY(&q->senders))
        queue_sender_gone(q, LIST_FIRST(&q->senders));
}

static void on_credit(struct queue_sender *s, struct msg_fields *f)
{
    struct wire_credit credit;
    wire_get_credit(f, &credit);
    if (msg_end(f))
        take_credit(s, &credit);
    else
        log_error("malformed credit", log_str("sender", s->peer->name));
}

static void on_results(struct queue_sender *s, struct msg_fields *f)
{
    uint64_t seq = msg_get_uint(f);
    struct wire_credit credit;
    wire_get_credit(f, &credit);
    if (f->failed) {
        log_error("malformed results", log_str("sender", s->peer->name));
        return;
    }
    take_credit(s, &credit);
    queue_results(s, seq, f);
}

static void on_probe_result(struct queue_sender *s, struct msg_fields *f)
{
    char *provider = msg_str_dup(msg_get_str(f));
    bool ok = msg_get_bool(f);
    char *detail = msg_str_dup(msg_get_str(f));
    struct lane *lane = msg_end(f) ? queue_lane(s->queue, provider) : NULL;
    if (lane)
        line_probe_result(&lane->line, ok, detail ? detail : "", clock_boot_ms());
    free(provider);
    free(detail);
}

static void copy_word(char *to, size_t size, struct msg_str word)
{
    size_t len = word.len < size - 1 ? word.len : size - 1;
    if (len)
        memcpy(to, word.data, len);
    to[len] = '\0';
}

static void on_stats(struct queue_sender *s, struct msg_fields *f)
{
    struct msg_fields list = msg_get_array(f);
    s->stats_count = 0;
    while (!list.failed && list.left && s->stats_count < QUEUE_STATS_MAX) {
        struct msg_fields one = msg_get_array(&list);
        struct sender_stat *stat = &s->stats[s->stats_count];
        copy_word(stat->name, sizeof stat->name, msg_get_str(&one));
        copy_word(stat->label, sizeof stat->label, msg_get_str(&one));
        stat->value = msg_get_int(&one);
        if (!msg_end(&one))
            break;
        s->stats_count++;
    }
}

static const struct {
    int type;
    void (*handle)(struct queue_sender *s, struct msg_fields *f);
} handlers[] = {
    {WIRE_RESULTS, on_results},
    {WIRE_CREDIT, on_credit},
    {WIRE_PROBE_RESULT, on_probe_result},
    {WIRE_STATS, on_stats},
};

void queue_sender_message(struct queue *q, struct queue_sender *s, int type, struct msg_fields *fields)
{
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        if (handlers[i].type == type)
            handlers[i].handle(s, fields);
    queue_wake(q);
}
