#include "dispatcher/ready.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

void ready_init(struct ready *r, size_t batch)
{
    memset(r, 0, sizeof *r);
    r->batch = batch;
    for (size_t i = 0; i < PRIORITIES; i++)
        TAILQ_INIT(&r->lists[i]);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool ready_alike(const struct store_job *a, const struct store_job *b)
{
    return !a->pinned && !b->pinned && a->priority == b->priority && a->expires_ms == b->expires_ms &&
           same_text(a->from, b->from) && same_text(a->text, b->text) && same_text(a->provider, b->provider);
}

static bool may_join(const struct request *q, const struct lease *l, uint64_t hash, size_t batch)
{
    const struct lease *f = q->first;
    if (q->hash != hash || q->count >= batch || q->priority != l->priority ||
        f->expires_ms != l->expires_ms || !same_text(f->from, l->from) || !same_text(f->text, l->text))
        return false;
    for (; f; f = f->next)
        if (strcmp(f->number, l->number) == 0)
            return false;
    return true;
}

static uint64_t group_hash(const struct lease *l)
{
    uint64_t from = l->from ? hash_table_key(l->from, strlen(l->from)) : 0;
    return hash_table_key(l->text, strlen(l->text)) ^ from * 3 ^ (uint64_t)l->expires_ms;
}

static struct request *new_request(struct ready *r, struct lease *l, uint64_t now_ms)
{
    struct request *q = xcalloc(1, sizeof *q);
    q->priority = l->priority;
    q->since_ms = now_ms;
    q->first = q->last = l;
    q->count = 1;
    TAILQ_INSERT_TAIL(&r->lists[q->priority], q, link);
    r->requests[q->priority]++;
    return q;
}

void ready_add(struct ready *r, struct lease *l, uint64_t now_ms)
{
    l->next = NULL;
    r->jobs++;
    r->jobs_of[l->priority]++;
    if (l->pinned || r->batch < 2) {
        new_request(r, l, now_ms);
        return;
    }
    uint64_t hash = group_hash(l);
    struct request **bucket = &r->open[hash % READY_BUCKETS];
    for (struct request *q = *bucket; q; q = q->open_next)
        if (may_join(q, l, hash, r->batch)) {
            q->last->next = l;
            q->last = l;
            q->count++;
            return;
        }
    struct request *q = new_request(r, l, now_ms);
    q->hash = hash;
    q->open = true;
    q->open_next = *bucket;
    *bucket = q;
}

struct request *ready_first(const struct ready *r, enum job_priority priority)
{
    return TAILQ_FIRST(&r->lists[priority]);
}

void ready_take(struct ready *r, struct request *q)
{
    TAILQ_REMOVE(&r->lists[q->priority], q, link);
    r->requests[q->priority]--;
    r->jobs -= q->count;
    r->jobs_of[q->priority] -= q->count;
    if (!q->open)
        return;
    struct request **p = &r->open[q->hash % READY_BUCKETS];
    while (*p != q)
        p = &(*p)->open_next;
    *p = q->open_next;
    q->open = false;
}

void ready_put_back(struct ready *r, struct request *q)
{
    TAILQ_INSERT_HEAD(&r->lists[q->priority], q, link);
    r->requests[q->priority]++;
    r->jobs += q->count;
    r->jobs_of[q->priority] += q->count;
}

void request_free(struct request *q)
{
    free(q);
}
