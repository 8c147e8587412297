#include "dispatcher/queue.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "dispatcher/adopted.h"
#include "dispatcher/queue_private.h"

struct queue_now queue_clock(void)
{
    return (struct queue_now){.ms = clock_boot_ms(), .us = clock_mono_ns() / 1000};
}

struct lane *queue_lane(struct queue *q, const char *provider)
{
    for (size_t i = 0; provider && i < q->lanes_count; i++)
        if (strcmp(q->lanes[i].line.name, provider) == 0)
            return &q->lanes[i];
    return NULL;
}

bool queue_may_lease(const struct queue *q, uint64_t now_ms)
{
    return !q->draining && now_ms >= q->trouble_ms && TAILQ_EMPTY(&q->to_retry);
}

void queue_wake(struct queue *q)
{
    if (q->pass_wanted)
        return;
    q->pass_wanted = true;
    event_active(q->pass_event, EV_TIMEOUT, 0);
}

void queue_stir(struct lane *lane, uint64_t due_ms, enum job_priority priority)
{
    struct lane_class *c = &lane->classes[priority <= PRIORITY_BULK ? priority : PRIORITY_BULK];
    if (due_ms < c->due_ms)
        c->due_ms = due_ms;
    if (due_ms < c->stirred_ms)
        c->stirred_ms = due_ms;
}

bool queue_waits(const struct lane *lane, int priority, uint64_t now_ms)
{
    return lane->classes[priority].due_ms <= now_ms;
}

size_t queue_promised(const struct lane *lane)
{
    size_t promised = 0;
    for (int i = 0; i < PRIORITIES; i++)
        promised += lane->classes[i].promised;
    return promised;
}

void queue_kick(struct queue *q)
{
    uint64_t now_ms = clock_boot_ms();
    for (size_t i = 0; i < q->lanes_count; i++)
        for (int p = PRIORITY_CRITICAL; p <= PRIORITY_BULK; p++)
            queue_stir(&q->lanes[i], now_ms, (enum job_priority)p);
    queue_wake(q);
}

/* ---- facts ---- */

struct fact_write {
    struct store_fact fact;
    struct lane *lane;
    char *name, *value;
};

static void on_fact_done(struct store_unit *unit, enum store_status status)
{
    struct fact_write *w = unit->arg;
    struct lane *lane = w->lane;
    lane->fact_busy = false;
    if (status != STORE_OK) {
        lane->line.changed = true;
        lane->fact_retry_ms = clock_boot_ms() + QUEUE_TROUBLE_MS;
    }
    free(w->name);
    free(w->value);
    free(w);
    queue_wake(lane->queue);
}

static void write_fact(struct lane *lane, uint64_t now_ms)
{
    if (!lane->line.changed || lane->fact_busy || now_ms < lane->fact_retry_ms)
        return;
    struct fact_write *w = xcalloc(1, sizeof *w);
    w->lane = lane;
    w->name = xasprintf("line:%s", lane->line.name);
    w->value = line_fact(&lane->line, now_ms, store_now_ms(lane->queue->store));
    w->fact.unit = (struct store_unit){.kind = STORE_FACT, .done = on_fact_done, .arg = w};
    w->fact.name = w->name;
    w->fact.value = w->value;
    lane->line.changed = false;
    lane->fact_busy = true;
    store_submit(lane->queue->store, &w->fact.unit);
}

/* ---- the pass ---- */

/* A line that closed, or a sender that went: what was leased ahead goes back, so that no crash pins it. */
static void return_stale(struct lane *lane, uint64_t now_ms)
{
    bool all = lane->queue->draining || !line_is_open(&lane->line);
    struct request *r;
    for (int p = PRIORITY_CRITICAL; p <= PRIORITY_BULK; p++)
        while ((r = ready_first(&lane->ready, (enum job_priority)p)) &&
               (all || now_ms - r->since_ms > QUEUE_READY_WAIT_MS)) {
            ready_take(&lane->ready, r);
            queue_give_back(lane, r, all ? "the line closed before it left" : "no sender was free");
        }
}

enum { PASS_MAX_US = 1000000, PASS_MIN_US = 200, OVERDUE_US = 50000 };

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the next job of any priority may be due. */
static uint64_t lane_due_ms(const struct lane *lane)
{
    uint64_t due_ms = UINT64_MAX;
    for (int i = 0; i < PRIORITIES; i++)
        due_ms = earlier(due_ms, lane->classes[i].due_ms);
    return due_ms;
}

/* When the next job that is not due yet may be. */
static uint64_t lane_coming_ms(const struct lane *lane, uint64_t now_ms)
{
    uint64_t due_ms = UINT64_MAX;
    for (int i = 0; i < PRIORITIES; i++)
        if (lane->classes[i].due_ms > now_ms)
            due_ms = earlier(due_ms, lane->classes[i].due_ms);
    return due_ms;
}

/* When something may be done for the lane without anything happening before; microseconds from now. */
static uint64_t lane_wait_us(struct lane *lane, uint64_t line_ms, struct queue_now now)
{
    uint64_t at = line_ms;
    struct lease *first = TAILQ_FIRST(&lane->granted);
    if (first)
        at = earlier(at, first->deadline_ms);
    bool open = line_is_open(&lane->line);
    if (open && !lane->claim)
        at = earlier(at, lane_coming_ms(lane, now.ms));
    at = earlier(at, lane->ending_ms);
    /* What is overdue waits for something else than time, such as a sender to probe with. */
    uint64_t wait = at > now.ms ? (at - now.ms) * 1000 : OVERDUE_US;
    bool wants_slot = open && (lane->ready.jobs || (lane_due_ms(lane) <= now.ms && !lane->claim));
    for (size_t i = 0; wants_slot && i < lane->line.hosts_count; i++) {
        uint64_t slot = limiter_wait_us(&lane->line.hosts[i].limiter, now.us);
        /* A slot that is there already waits for credit, which comes as a message. */
        if (slot > 0)
            wait = earlier(wait, slot);
    }
    for (struct queue_sender *s = LIST_FIRST(&lane->queue->senders); s; s = LIST_NEXT(s, link))
        if (wants_slot && s->rest_ms > now.ms)
            wait = earlier(wait, (s->rest_ms - now.ms) * 1000);
    return wait;
}

static uint64_t pass_lane(struct lane *lane, struct queue_now now)
{
    queue_expire_leases(lane, now.ms);
    uint64_t line_ms = line_tick(&lane->line, now.ms);
    return_stale(lane, now.ms);
    if (line_is_open(&lane->line) && !lane->queue->draining)
        queue_grant(lane, now);
    queue_claim(lane, now);
    queue_probe(lane, now.ms);
    write_fact(lane, now.ms);
    return line_ms;
}

/* True once nothing of ours is under way at the store. */
static bool is_drained(const struct queue *q)
{
    if (!q->draining || q->changes_busy || !TAILQ_EMPTY(&q->to_retry))
        return false;
    for (size_t i = 0; i < q->lanes_count; i++)
        if (q->lanes[i].claim || queue_promised(&q->lanes[i]) || q->lanes[i].ready.jobs)
            return false;
    return true;
}

void queue_pass(struct queue *q)
{
    q->pass_wanted = false;
    struct queue_now now = queue_clock();
    queue_retry_changes(q);
    uint64_t wait = PASS_MAX_US;
    for (size_t i = 0; i < q->lanes_count; i++) {
        struct lane *lane = &q->lanes[(q->first_lane + i) % q->lanes_count];
        uint64_t line_ms = pass_lane(lane, now);
        wait = earlier(wait, lane_wait_us(lane, line_ms, now));
    }
    q->first_lane++;
    queue_flush_grants(q, now);
    queue_streams_tidy(q, now.ms);
    if (wait < PASS_MIN_US)
        wait = PASS_MIN_US;
    struct timeval tv = {.tv_sec = (time_t)(wait / 1000000), .tv_usec = (suseconds_t)(wait % 1000000)};
    event_add(q->timer, &tv);
    if (q->drained && is_drained(q)) {
        void (*done)(void *arg) = q->drained;
        q->drained = NULL;
        done(q->drained_arg);
    }
}

static void on_pass(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    queue_pass(arg);
}

/* ---- life ---- */

/* The provider itself blocks a number for no longer than the least of this. */
enum { ATTEMPTS_KEEP_MIN_MS = 120000 };

static void init_numbers(struct queue *q, struct lane *lane, const struct slice_block *provider)
{
    const struct slice_setting *s = slice_get(provider, "attempts_per_number");
    bool is_rate = s && s->kind == SLICE_RATE && s->per_ms > 0;
    lane->numbers = number_limit_new(is_rate ? s->number : -1, is_rate ? s->per_ms : 1);
    if (is_rate && s->number >= 0 && s->per_ms > q->attempts_keep_ms)
        q->attempts_keep_ms = s->per_ms;
}

/* What earlier dispatchers tried lately; keys of other providers are in nobody's way. */
static void restore_attempts(struct queue *q)
{
    size_t count = 0;
    struct store_attempt *list = store_take_attempts(q->store, &count);
    uint64_t now_ms = clock_boot_ms();
    for (size_t i = 0; i < count; i++) {
        const struct store_attempt *a = &list[i];
        for (size_t k = 0; k < q->lanes_count; k++) {
            number_limit_restore(q->lanes[k].numbers, a->number_key, a->age_ms, now_ms);
            if (a->blocked_ms > 0 && (uint64_t)a->blocked_ms > a->age_ms)
                number_limit_block(q->lanes[k].numbers, a->number_key,
                                   now_ms + (uint64_t)a->blocked_ms - a->age_ms);
        }
    }
    free(list);
}

static void init_lane(struct queue *q, struct lane *lane, const struct slice_block *provider)
{
    struct queue_now now = queue_clock();
    lane->queue = q;
    line_init(&lane->line, provider, now.ms);
    ready_init(&lane->ready, lane->line.batch);
    TAILQ_INIT(&lane->granted);
    /* What is due is not known before the first claim. */
    for (int i = 0; i < PRIORITIES; i++)
        lane->classes[i] = (struct lane_class){.due_ms = now.ms, .stirred_ms = UINT64_MAX};
    share_init(&lane->share, q->weights);
    init_numbers(q, lane, provider);
    lane->ending_ms = now.ms + QUEUE_ENDING_MS;
    lane->jobs_per_request = 1;
    char *name = xasprintf("line:%s", lane->line.name);
    line_restore(&lane->line, store_fact(q->store, name), now.ms, store_now_ms(q->store));
    free(name);
}

static uint64_t adopted_deadline_ms(struct adopted *adopted, const struct store_job *job,
                                    const struct lane *lane, uint64_t now_ms)
{
    uint64_t deadline_ms = adopted_since(adopted, &job->id, job->attempt) + (uint64_t)lane->line.lease_ms;
    /* Senders that come back may have the outcome. */
    uint64_t soonest_ms = now_ms + QUEUE_ADOPTED_MIN_MS;
    return deadline_ms > soonest_ms ? deadline_ms : soonest_ms;
}

static void insert_by_deadline(struct lane *lane, struct lease *l)
{
    struct lease *before = TAILQ_LAST(&lane->granted, lease_list);
    while (before && before->deadline_ms > l->deadline_ms)
        before = TAILQ_PREV(before, lease_list, in_time);
    if (before)
        TAILQ_INSERT_AFTER(&lane->granted, before, l, in_time);
    else
        TAILQ_INSERT_HEAD(&lane->granted, l, in_time);
}

/* Leases of the last dispatcher: their requests may still be in flight, and their senders report to us. */
static void adopt_leases(struct queue *q)
{
    size_t count = 0, strangers = 0;
    struct store_job *jobs = store_take_leased(q->store, &count);
    uint64_t now_ms = clock_boot_ms();
    struct adopted *adopted = adopted_new(store_fact(q->store, adopted_fact_name), now_ms);
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = queue_lane(q, jobs[i].provider);
        if (lane) {
            struct lease *l = lease_new(&jobs[i]);
            lease_drop_text(l);
            l->owner = lane;
            l->granted_ms = now_ms;
            l->deadline_ms = adopted_deadline_ms(adopted, &jobs[i], lane, now_ms);
            leases_add(q->leases, l);
            number_limit_add(lane->numbers, l->number_key);
            insert_by_deadline(lane, l);
            lane->granted_count++;
        } else {
            strangers++;
        }
        store_job_free(&jobs[i]);
    }
    free(jobs);
    if (count)
        adopted_write(adopted, q->store);
    adopted_free(&adopted);
    if (count)
        log_info("adopted the leases of the last dispatcher", log_int("jobs", (int64_t)count));
    if (strangers)
        log_error("leased jobs of providers that are not configured stay as they are",
                  log_int("jobs", (int64_t)strangers));
}

struct queue *queue_new(const struct slice *slice, struct store *store)
{
    struct queue *q = xcalloc(1, sizeof *q);
    q->store = store;
    q->leases = leases_new();
    LIST_INIT(&q->senders);
    LIST_INIT(&q->streams);
    TAILQ_INIT(&q->to_retry);
    msg_out_init(&q->out, 0);
    q->lanes_count = slice_count(slice, "provider");
    q->lanes = xcalloc(q->lanes_count ? q->lanes_count : 1, sizeof *q->lanes);
    size_t i = 0;
    q->attempts_keep_ms = ATTEMPTS_KEEP_MIN_MS;
    share_weights(slice, q->weights, NULL);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "provider", b));)
        init_lane(q, &q->lanes[i++], b);
    q->pass_event = event_new(loop_base(), -1, 0, on_pass, q);
    q->timer = event_new(loop_base(), -1, 0, on_pass, q);
    if (!q->pass_event || !q->timer)
        panic("no events for the scheduler");
    adopt_leases(q);
    restore_attempts(q);
    queue_wake(q);
    return q;
}

static void free_lane(struct lane *lane)
{
    struct request *r;
    for (int p = PRIORITY_CRITICAL; p <= PRIORITY_BULK; p++)
        while ((r = ready_first(&lane->ready, (enum job_priority)p))) {
            ready_take(&lane->ready, r);
            request_free(r); /* its leases are in the table */
        }
    number_limit_free(&lane->numbers);
    line_clear(&lane->line);
}

void queue_free(struct queue **p)
{
    struct queue *q = *p;
    if (!q)
        return;
    *p = NULL;
    event_free(q->pass_event);
    event_free(q->timer);
    queue_senders_free(q);
    queue_streams_free(q);
    for (size_t i = 0; i < q->lanes_count; i++)
        free_lane(&q->lanes[i]);
    free(q->lanes);
    leases_free(&q->leases);
    msg_out_free(&q->out);
    free(q);
}

void queue_drain(struct queue *q, void (*done)(void *arg), void *arg)
{
    q->draining = true;
    q->drained = done;
    q->drained_arg = arg;
    queue_wake(q);
}

/* ---- the operator's hand ---- */

static int for_lanes(struct queue *q, const char *provider, const char *who,
                     void (*fn)(struct lane *lane, const char *who))
{
    int found = -1;
    for (size_t i = 0; i < q->lanes_count; i++)
        if (!provider || strcmp(provider, q->lanes[i].line.name) == 0) {
            fn(&q->lanes[i], who);
            found = 0;
        }
    queue_wake(q);
    return found;
}

static void hold_lane(struct lane *lane, const char *who)
{
    line_hold(&lane->line, who);
}

static void release_lane(struct lane *lane, const char *who)
{
    line_release(&lane->line, who, clock_boot_ms());
}

bool queue_has_provider(struct queue *q, const char *name)
{
    return queue_lane(q, name) != NULL;
}

int queue_pause(struct queue *q, const char *provider, const char *who)
{
    return for_lanes(q, provider, who, hold_lane);
}

int queue_resume(struct queue *q, const char *provider, const char *who)
{
    return for_lanes(q, provider, who, release_lane);
}
