/*
 * What the scheduler's tests stand on: a clock that is moved by hand, a store in memory that commits when it
 * is told to (or refuses), and a link that notes what a sender would have received. These take the places of
 * core/clock.c, dispatcher/store*.c and proto/link.c at link time.
 */
#ifndef TESTS_UNIT_QUEUE_FAKE_H
#define TESTS_UNIT_QUEUE_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/str.h"
#include "dispatcher/queue_private.h"

enum { JOBS_MAX = 4096, ATTEMPTS_MAX = 512, GRANTS_MAX = 8192, HOUR_MS = 3600 * 1000 };

/* ---- the clock ---- */

static uint64_t now_us;

uint64_t clock_mono_ns(void)
{
    return now_us * 1000;
}
uint64_t clock_mono_ms(void)
{
    return now_us / 1000;
}
uint64_t clock_boot_ms(void)
{
    return now_us / 1000;
}
const char *clock_boot_id(void)
{
    return "this-boot";
}
int64_t clock_wall_ms(void)
{
    return (int64_t)(now_us / 1000);
}
void clock_format(int64_t wall_ms, char out[25])
{
    (void)wall_ms;
    snprintf(out, 25, "-");
}

/* ---- the store ---- */

const char *const job_state_names[JOB_STATES + 1] = {
    "queued", "leased",  "held",      "sent",      "delivered", "undelivered", "suppressed",
    "merged", "expired", "cancelled", "uncertain", "dead",      "damaged",     NULL};

static struct {
    struct store_job *jobs; /* size of them, JOBS_MAX unless a test asks for more */
    size_t count, size;
    struct store_attempt attempts[ATTEMPTS_MAX]; /* age_ms: when they were committed */
    size_t attempts_count;
    struct store_unit *first, *last;
    enum store_status status; /* what the next commits come to */
    int64_t behind_ms;
    char fact[512];
    char adopted[512];
    struct store_job *leased; /* for the next queue_new */
    size_t leased_count;
    size_t claims, commits;
    bool no_pinned;
} fake;

void store_job_free(struct store_job *j)
{
    free(j->bridge);
    free(j->rule);
    free(j->provider);
    free(j->number);
    free(j->from);
    free(j->text);
    free(j->item);
    free(j->container);
    free(j->reason);
    free(j->provider_id);
}

static char *dup_text(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static struct store_job copy_job(const struct store_job *j)
{
    struct store_job c = *j;
    c.bridge = dup_text(j->bridge);
    c.rule = dup_text(j->rule);
    c.provider = dup_text(j->provider);
    c.number = dup_text(j->number);
    c.from = dup_text(j->from);
    c.text = dup_text(j->text);
    c.item = c.container = NULL;
    c.reason = dup_text(j->reason);
    c.provider_id = dup_text(j->provider_id);
    return c;
}

int64_t store_now_ms(struct store *s)
{
    (void)s;
    return (int64_t)(now_us / 1000);
}
int64_t store_clock_behind_ms(struct store *s)
{
    (void)s;
    return fake.behind_ms;
}
const char *store_fact(struct store *s, const char *name)
{
    (void)s;
    if (strcmp(name, "adopted") == 0)
        return fake.adopted[0] ? fake.adopted : NULL;
    return strcmp(name, "line:smsapi") == 0 && fake.fact[0] ? fake.fact : NULL;
}
struct store_job *store_take_leased(struct store *s, size_t *count)
{
    (void)s;
    struct store_job *jobs = fake.leased;
    *count = fake.leased_count;
    fake.leased = NULL;
    fake.leased_count = 0;
    return jobs;
}
struct store_attempt *store_take_attempts(struct store *s, size_t *count)
{
    (void)s;
    struct store_attempt *list = xcalloc(ATTEMPTS_MAX, sizeof *list);
    *count = fake.attempts_count;
    memcpy(list, fake.attempts, sizeof fake.attempts);
    for (size_t i = 0; i < *count; i++)
        list[i].age_ms = now_us / 1000 - fake.attempts[i].age_ms;
    return list;
}
void store_submit(struct store *s, struct store_unit *unit)
{
    (void)s;
    unit->next = NULL;
    if (fake.last)
        fake.last->next = unit;
    else
        fake.first = unit;
    fake.last = unit;
}

static struct store_job *fake_job(const struct hash_id *id)
{
    for (size_t i = 0; i < fake.count; i++)
        if (memcmp(&fake.jobs[i].id, id, sizeof *id) == 0)
            return &fake.jobs[i];
    return NULL;
}

static void fake_step(struct store_change *c, struct store_job *j)
{
    c->was = j->state;
    bool mine = j->state == JOB_LEASED && j->attempt == c->attempt;
    c->applied = c->step == STEP_ACCEPTED ? j->state != JOB_SENT : mine;
    if (c->applied) {
        j->state = c->step == STEP_ACCEPTED ? JOB_SENT : c->step == STEP_END ? c->state : JOB_QUEUED;
        j->due_ms = store_now_ms(NULL) + c->due_in_ms;
        j->code = c->code;
        free(j->reason);
        j->reason = dup_text(c->reason);
    }
    if (c->applied && c->step == STEP_RETRY) {
        j->generation = c->generation;
        j->failures = c->failures;
        j->pinned = c->pinned;
    }
    if (c->applied && c->step == STEP_ACCEPTED)
        j->inferred = c->inferred;
    c->now = j->state;
}

static void fake_changes(struct store_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct store_change *c = &changes->changes[i];
        if (c->number_key && fake.attempts_count < ATTEMPTS_MAX)
            fake.attempts[fake.attempts_count++] =
                (struct store_attempt){c->number_key, c->number_blocked_ms, now_us / 1000};
        struct store_job *j = fake_job(&changes->changes[i].job);
        assert_non_null(j);
        fake_step(&changes->changes[i], j);
    }
}

static bool fake_is_due(const struct store_claim *claim, const struct store_job *j, int priority)
{
    return j->state == JOB_QUEUED && j->due_ms <= store_now_ms(NULL) && (int)j->priority == priority &&
           strcmp(j->provider, claim->provider) == 0;
}

static void fake_return(struct store_claim *claim, const struct store_job *j)
{
    if ((claim->count & (claim->count - 1)) == 0)
        claim->jobs = xreallocarray(claim->jobs, claim->count ? 2 * claim->count : 1, sizeof *claim->jobs);
    claim->jobs[claim->count++] = copy_job(j);
}

/* True if it was leased. *PASSED: it was left as it is. */
static bool fake_claim_one(struct store_claim *claim, struct store_job *j, bool *passed)
{
    bool over = j->expires_ms && j->expires_ms <= store_now_ms(NULL);
    int64_t wait_ms = 0;
    if (over) {
        j->state = j->pinned ? JOB_UNCERTAIN : JOB_EXPIRED;
        fake_return(claim, j);
        claim->taken[j->priority]++;
        return false;
    }
    *passed = *passed || claim->limit == 0 || (claim->no_pinned && j->pinned);
    if (claim->limit == 0 || (claim->no_pinned && j->pinned))
        return false;
    claim->taken[j->priority]++;
    if (claim->admit)
        wait_ms = claim->admit(claim->admit_arg, j);
    if (wait_ms > 0) {
        j->due_ms = store_now_ms(NULL) + wait_ms;
        free(j->reason);
        j->reason = xstrdup(STORE_NUMBER_WAITS);
        claim->moved++;
        return false;
    }
    j->state = JOB_LEASED;
    j->attempt++;
    fake_return(claim, j);
    return true;
}

static size_t fake_claim_some(struct store_claim *claim, int priority, size_t most)
{
    size_t leased = 0;
    int64_t next_ms = -1;
    bool passed = false;
    claim->next_due_in_ms[priority] = STORE_NOT_LOOKED;
    if (most == 0 && claim->limit)
        return 0;
    for (size_t i = 0; i < fake.count && next_ms != 0; i++) {
        struct store_job *j = &fake.jobs[i];
        bool due = fake_is_due(claim, j, priority);
        if (due && leased == most && claim->limit)
            next_ms = 0;
        else if (due)
            leased += fake_claim_one(claim, j, &passed);
    }
    for (size_t i = 0; i < fake.count && next_ms != 0; i++) {
        const struct store_job *j = &fake.jobs[i];
        int64_t in_ms = j->due_ms - store_now_ms(NULL);
        if (j->state == JOB_QUEUED && (int)j->priority == priority && in_ms > 0 &&
            strcmp(j->provider, claim->provider) == 0 && (next_ms < 0 || in_ms < next_ms))
            next_ms = in_ms;
    }
    claim->next_due_in_ms[priority] = passed ? 0 : next_ms;
    return leased;
}

static void fake_claim(struct store_claim *claim)
{
    size_t leased = 0;
    fake.claims++;
    fake.no_pinned = claim->no_pinned;
    for (int p = PRIORITY_CRITICAL; p <= PRIORITY_BULK; p++)
        leased += fake_claim_some(claim, p, claim->share[p]);
    for (int p = PRIORITY_CRITICAL; p <= PRIORITY_BULK && claim->limit; p++) {
        bool looked = claim->next_due_in_ms[p] != STORE_NOT_LOOKED;
        if (leased < claim->limit && (!looked || claim->next_due_in_ms[p] == 0))
            leased += fake_claim_some(claim, p, claim->limit - leased);
    }
}

static void fake_fact(const struct store_fact *f)
{
    bool adopted = strcmp(f->name, "adopted") == 0;
    snprintf(adopted ? fake.adopted : fake.fact, sizeof fake.fact, "%s", f->value ? f->value : "");
}

/* Commits what was submitted up to now. */
static void commit(void)
{
    struct store_unit *list = fake.first;
    fake.first = fake.last = NULL;
    while (list) {
        struct store_unit *unit = list;
        list = unit->next;
        fake.commits++;
        if (fake.status == STORE_OK && unit->kind == STORE_CHANGES)
            fake_changes((struct store_changes *)unit);
        if (fake.status == STORE_OK && unit->kind == STORE_CLAIM)
            fake_claim((struct store_claim *)unit);
        if (fake.status == STORE_OK && unit->kind == STORE_FACT)
            fake_fact((struct store_fact *)unit);
        unit->done(unit, fake.status);
    }
}

/* ---- the link ---- */

struct seen_grant {
    uint64_t at_us;
    char sender[16], text[64];
    uint64_t stamp, start_by_ms;
    int64_t expires_in_s;
    size_t count;
    struct wire_grant_job jobs[WIRE_GRANT_JOBS_MAX]; /* numbers dangle */
    char numbers[WIRE_GRANT_JOBS_MAX][20];
};

static struct {
    struct seen_grant *grants;
    size_t count;
    uint64_t number; /* of the last message of grants */
    uint64_t acked;  /* last acknowledged */
    size_t acks, probes;
    bool refuses;
    struct msg_in in;
    struct msg_out out;
} seen;

static void see_grants(const struct link_peer *peer, struct msg_fields *f)
{
    seen.number = msg_get_uint(f);
    struct msg_fields list = msg_get_array(f);
    while (list.left) {
        struct seen_grant *g = &seen.grants[seen.count++];
        assert_true(seen.count < GRANTS_MAX);
        struct wire_grant grant;
        assert_int_equal(wire_get_grant(&list, &grant, g->jobs), 0);
        g->at_us = now_us;
        g->stamp = grant.stamp;
        g->start_by_ms = grant.start_by_ms;
        g->expires_in_s = grant.expires_in_s;
        g->count = grant.count;
        snprintf(g->sender, sizeof g->sender, "%s", peer->name);
        snprintf(g->text, sizeof g->text, "%.*s", (int)grant.text.len, grant.text.data);
        for (size_t i = 0; i < grant.count; i++)
            snprintf(g->numbers[i], sizeof g->numbers[i], "%.*s", (int)g->jobs[i].number.len,
                     g->jobs[i].number.data);
    }
    assert_true(msg_end(f));
}

int link_server_send(struct link_server *s, struct link_peer *peer, const struct msg_out *m)
{
    (void)s;
    struct msg_fields f;
    if (seen.refuses)
        return -1;
    int type = msg_parse(&seen.in, m->buf.data, m->buf.len, &f);
    if (type == WIRE_GRANTS)
        see_grants(peer, &f);
    if (type == WIRE_RESULTS_ACK) {
        seen.acked = msg_get_uint(&f);
        seen.acks++;
    }
    seen.probes += type == WIRE_PROBE;
    return 0;
}

/* ---- the scene ---- */

static struct slice *slice;
static struct queue *queue;
static struct link_peer peers[4];
static struct queue_sender *senders[4];

static void set_number(const char *name, int64_t value)
{
    slice_add_setting(&slice->blocks[0], name, SLICE_NUMBER, 1)->number = value;
}

static void add_seen(uint64_t seen_number, uint64_t free_requests)
{
    struct wire_credit credit = {free_requests, seen_number, 500};
    wire_put_credit(&seen.out, &credit);
}

static void tell(int sender, int type)
{
    struct msg_in in;
    struct msg_fields f;
    msg_in_init(&in);
    assert_int_equal(msg_parse(&in, seen.out.buf.data, seen.out.buf.len, &f), type);
    queue_sender_message(queue, senders[sender], type, &f);
    msg_in_free(&in);
}

static inline void give_credit(int sender, uint64_t free_requests)
{
    msg_begin(&seen.out, WIRE_CREDIT, 1);
    add_seen(seen.number, free_requests);
    tell(sender, WIRE_CREDIT);
}

static void sender_up(int i, const char *host, uint64_t free_requests, uint64_t incarnation)
{
    static char *names[] = {"1", "2", "3", "4"};
    struct wire_credit credit = {free_requests, 0, 500};
    free(peers[i].host);
    peers[i].name = names[i];
    peers[i].host = xstrdup(host);
    senders[i] = queue_sender_up(queue, NULL, &peers[i], &credit, incarnation);
}

static void sender_down(int i)
{
    queue_sender_gone(queue, senders[i]);
    senders[i] = NULL;
}

/* Passes and commits until nothing moves any more. */
static void settle(void)
{
    for (int i = 0; i < 8; i++) {
        queue_pass(queue);
        commit();
    }
    queue_pass(queue);
}

static void advance(uint64_t us)
{
    now_us += us;
    settle();
}

static inline void restart_queue(void)
{
    for (int i = 0; i < 4; i++)
        if (senders[i])
            sender_down(i);
    commit();
    queue_free(&queue);
    queue = queue_new(slice, NULL);
    settle();
}

static int setup(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.size = JOBS_MAX;
    fake.jobs = xcalloc(fake.size, sizeof *fake.jobs);
    seen.grants = xcalloc(GRANTS_MAX, sizeof *seen.grants);
    msg_in_init(&seen.in);
    msg_out_init(&seen.out, 0);
    now_us = UINT64_C(1000000000);
    slice = slice_new();
    slice_add_block(slice, "provider", "smsapi", "test.conf", 1);
    set_number("requests_per_second", -1);
    set_number("connect_timeout", 5000);
    set_number("request_timeout", 15000);
    log_configure(LOG_LOGFMT, LOG_ERROR);
    queue = queue_new(slice, NULL);
    settle();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        if (senders[i])
            sender_down(i);
    while (fake.first)
        commit();
    queue_free(&queue);
    slice_free(&slice);
    for (size_t i = 0; i < fake.count; i++)
        store_job_free(&fake.jobs[i]);
    free(fake.jobs);
    for (int i = 0; i < 4; i++) {
        free(peers[i].host);
        peers[i].host = NULL;
    }
    free(seen.grants);
    msg_in_free(&seen.in);
    msg_out_free(&seen.out);
    memset(&seen, 0, sizeof seen);
    return 0;
}

/* Time goes by in steps, as the scheduler's timer would have it. */
static inline void advance_ms(uint64_t ms, uint64_t step_us)
{
    uint64_t end_us = now_us + ms * 1000;
    while (now_us < end_us) {
        now_us += step_us;
        queue_pass(queue);
        commit();
        queue_pass(queue);
    }
}

/* ---- results ---- */

static inline struct wire_result result_of(const struct hash_id *job, uint32_t attempt,
                                           enum wire_outcome outcome, enum wire_class class, int32_t code)
{
    return (struct wire_result){.job = *job,
                                .attempt = attempt,
                                .outcome = outcome,
                                .class = class,
                                .code = code,
                                .http_status = 200,
                                .retry_after_ms = -1,
                                .points_micro = -1,
                                .parts = -1,
                                .answer_us = 1000,
                                .words = {"words", 5}};
}

static inline void send_results(int sender, uint64_t seq, const struct wire_result *results, size_t count,
                                uint64_t free_requests)
{
    msg_begin(&seen.out, WIRE_RESULTS, 3);
    msg_put_uint(&seen.out, seq);
    add_seen(seen.number, free_requests);
    msg_put_array(&seen.out, count);
    for (size_t i = 0; i < count; i++)
        wire_put_result(&seen.out, &results[i]);
    tell(sender, WIRE_RESULTS);
}

/* One result for the job's present attempt, from sender 0 with plenty of credit. */
static inline void answer_at(int sender, uint64_t seq, const struct store_job *j, enum wire_outcome outcome,
                             enum wire_class class, int32_t code)
{
    struct wire_result r = result_of(&j->id, j->attempt, outcome, class, code);
    send_results(sender, seq, &r, 1, 100);
}

static inline void answer(uint64_t seq, const struct store_job *j, enum wire_outcome outcome,
                          enum wire_class class, int32_t code)
{
    answer_at(0, seq, j, outcome, class, code);
}

/* ---- jobs ---- */

static struct store_job make_job(unsigned n, const char *number, const char *text)
{
    struct store_job j = {.event_ms = store_now_ms(NULL),
                          .created_ms = store_now_ms(NULL),
                          .due_ms = store_now_ms(NULL),
                          .expires_ms = store_now_ms(NULL) + HOUR_MS,
                          .priority = PRIORITY_NORMAL,
                          .generation = 1,
                          .points_micro = -1,
                          .parts = -1};
    memset(&j.id, 0, sizeof j.id);
    memcpy(&j.id, &n, sizeof n);
    j.rule = xstrdup("rule");
    j.bridge = xstrdup("main");
    j.provider = xstrdup("smsapi");
    j.number = xstrdup(number);
    j.text = xstrdup(text);
    return j;
}

/* Puts a job into the store behind the scheduler's back, and tells it. */
static inline struct store_job *put_job(struct store_job j)
{
    assert_true(fake.count < fake.size);
    j.row = (int64_t)fake.count + 1;
    fake.jobs[fake.count] = j;
    queue_kick(queue);
    return &fake.jobs[fake.count++];
}

static inline struct store_job *put_plain(unsigned n)
{
    char number[20], text[32];
    snprintf(number, sizeof number, "+48500%06u", n);
    snprintf(text, sizeof text, "text %u", n);
    return put_job(make_job(n, number, text));
}

/* Offers COUNT jobs and inserts them, as the intake does. Returns how many were leased at once. */
static inline size_t insert(struct store_job *jobs, size_t count)
{
    struct store_job *pointers[128];
    size_t leased = 0;
    assert_true(count <= 128);
    for (size_t i = 0; i < count; i++)
        pointers[i] = &jobs[i];
    struct queue_ticket *t = queue_offer(queue, pointers, count);
    for (size_t i = 0; i < count; i++) {
        jobs[i].row = (int64_t)fake.count + 1;
        leased += jobs[i].state == JOB_LEASED;
        fake.jobs[fake.count++] = copy_job(&jobs[i]);
    }
    queue_settle(queue, t, true);
    for (size_t i = 0; i < count; i++)
        store_job_free(&jobs[i]);
    return leased;
}

#endif
