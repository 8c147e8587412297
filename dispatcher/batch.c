#include "dispatcher/batch.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

struct batch *batch_new(struct intake *owner, struct session *session, struct bridge *bridge, uint64_t seq,
                        int64_t mark_ms, const char *bridge_name)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->owner = owner;
    b->session = session;
    b->bridge = bridge;
    b->seq = seq;
    b->mark_ms = mark_ms;
    b->state = BATCH_WAITING;
    b->intake.unit.kind = STORE_INTAKE;
    b->intake.bridge = bridge_name;
    b->intake.mark_ms = -1;
    return b;
}

static struct store_decision *add_decision(struct batch *b)
{
    if (b->intake.count == b->decisions_size) {
        b->decisions_size = b->decisions_size ? 2 * b->decisions_size : 8;
        b->intake.decisions =
            xreallocarray(b->intake.decisions, b->decisions_size, sizeof *b->intake.decisions);
    }
    struct store_decision *d = &b->intake.decisions[b->intake.count++];
    memset(d, 0, sizeof *d);
    return d;
}

void batch_add_event(struct batch *b, const struct event *e, struct rules *rules,
                     const struct hash_id *store_id, int64_t now_ms)
{
    const char *deleted = rules_deleted_item(rules, e);
    struct rules_jobs jobs = {0};
    rules_match(rules, e, store_id, now_ms, &jobs);
    if (!deleted && jobs.count == 0) {
        free(jobs.list);
        return;
    }
    for (size_t i = 0; i < jobs.count; i++)
        jobs.list[i].received_ns = e->received_mono_ns;
    struct store_decision *d = add_decision(b);
    d->key = e->key;
    d->remember = true;
    d->deleted_item = deleted ? xstrdup(deleted) : NULL;
    d->type = msg_str_dup(e->type);
    d->event_ms = e->timestamp_ms;
    d->jobs = jobs.list;
    d->jobs_count = jobs.count;
}

static bool is_parent(const struct store_job *j)
{
    return j->state == JOB_HELD && !j->number[0];
}

void batch_keep_event(struct batch *b, size_t first, struct msg_str packed)
{
    for (size_t i = first; i < b->intake.count; i++) {
        struct store_decision *d = &b->intake.decisions[i];
        for (size_t j = 0; j < d->jobs_count && !d->packed; j++)
            if (is_parent(&d->jobs[j])) {
                d->packed = memcpy(xmalloc(packed.len), packed.data, packed.len);
                d->packed_len = packed.len;
            }
    }
}

void batch_each_parent(const struct batch *b,
                       void (*fn)(void *arg, const struct store_decision *d, int64_t row), void *arg)
{
    for (size_t i = 0; i < b->intake.count; i++) {
        const struct store_decision *d = &b->intake.decisions[i];
        for (size_t j = 0; d->packed && d->known == STORE_NEW && j < d->jobs_count; j++)
            if (is_parent(&d->jobs[j]) && d->jobs[j].row && !d->jobs[j].gone)
                fn(arg, d, d->jobs[j].row);
    }
}

/* One that is sure to join a digest, or that is only tried, never leaves: no place is kept for it. */
static bool may_leave(const struct store_job *j)
{
    return j->state == JOB_QUEUED && !(j->noise && (j->noise->shadow || j->noise->merge.why != WHY_NOTHING));
}

void batch_close(struct batch *b)
{
    size_t total = 0;
    for (size_t i = 0; i < b->intake.count; i++)
        total += b->intake.decisions[i].jobs_count;
    b->jobs = xcalloc(total, sizeof *b->jobs);
    for (size_t i = 0; i < b->intake.count; i++) {
        struct store_decision *d = &b->intake.decisions[i];
        for (size_t j = 0; j < d->jobs_count; j++)
            if (may_leave(&d->jobs[j]))
                b->jobs[b->jobs_count++] = &d->jobs[j];
    }
}

void batch_reset(struct batch *b)
{
    for (size_t i = 0; i < b->jobs_count; i++) {
        struct store_job *j = b->jobs[i];
        j->row = 0;
        j->state = JOB_QUEUED;
        j->attempt = 0;
        j->first_attempt_ms = 0;
    }
}

void batch_free(struct batch **p)
{
    struct batch *b = *p;
    if (!b)
        return;
    *p = NULL;
    for (size_t i = 0; i < b->intake.count; i++) {
        struct store_decision *d = &b->intake.decisions[i];
        for (size_t j = 0; j < d->jobs_count; j++)
            store_job_free(&d->jobs[j]);
        free(d->jobs);
        free((void *)(uintptr_t)d->deleted_item);
        free((void *)(uintptr_t)d->type);
        free((void *)(uintptr_t)d->packed);
    }
    free(b->intake.decisions);
    free(b->jobs);
    free(b);
}
