#include "dispatcher/lease.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/number_limit.h"

enum { BUCKETS_MIN = 256 };

struct leases {
    struct lease **buckets;
    size_t size; /* a power of two */
    size_t count, lost_count;
    struct lease_list lost;
};

struct leases *leases_new(void)
{
    struct leases *t = xcalloc(1, sizeof *t);
    t->size = BUCKETS_MIN;
    t->buckets = xcalloc(t->size, sizeof *t->buckets);
    TAILQ_INIT(&t->lost);
    return t;
}

void leases_free(struct leases **p)
{
    struct leases *t = *p;
    if (!t)
        return;
    *p = NULL;
    for (size_t i = 0; i < t->size; i++)
        for (struct lease *l = t->buckets[i], *next; l; l = next) {
            next = l->bucket_next;
            lease_free(l);
        }
    free(t->buckets);
    free(t);
}

static char *dup_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

struct lease *lease_new(const struct store_job *job)
{
    struct lease *l = xcalloc(1, sizeof *l);
    l->job = job->id;
    l->row = job->row;
    l->attempt = job->attempt;
    l->generation = job->generation;
    l->failures = job->failures;
    l->pinned = job->pinned;
    l->priority = job->priority <= PRIORITY_BULK ? job->priority : PRIORITY_BULK;
    l->rule = xstrdup(job->rule ? job->rule : "");
    l->number = xstrdup(job->number);
    l->number_key = number_limit_key(job->provider, job->number);
    l->from = dup_or_null(job->from);
    l->text = xstrdup(job->text);
    l->event_ms = job->event_ms;
    l->created_ms = job->created_ms;
    l->expires_ms = job->expires_ms;
    l->received_ns = job->received_ns;
    return l;
}

struct lease *lease_copy(const struct lease *from)
{
    struct lease *l = xmalloc(sizeof *l);
    *l = *from;
    l->rule = xstrdup(from->rule);
    l->number = xstrdup(from->number);
    l->from = l->text = NULL;
    l->bucket_next = l->next = NULL;
    return l;
}

void lease_drop_text(struct lease *l)
{
    free(l->from);
    free(l->text);
    l->from = l->text = NULL;
}

void lease_free(struct lease *l)
{
    if (!l)
        return;
    lease_drop_text(l);
    free(l->rule);
    free(l->number);
    free(l);
}

/* Job ids are hashes under a key of the store's own: their bytes spread well and nobody chooses them. */
static size_t bucket_of(const struct leases *t, const struct hash_id *job, uint32_t attempt)
{
    uint64_t key;
    memcpy(&key, job->bytes, sizeof key);
    return (size_t)(key + attempt) & (t->size - 1);
}

static void grow(struct leases *t)
{
    struct lease **old = t->buckets;
    size_t old_size = t->size;
    t->size *= 2;
    t->buckets = xcalloc(t->size, sizeof *t->buckets);
    for (size_t i = 0; i < old_size; i++)
        for (struct lease *l = old[i], *next; l; l = next) {
            next = l->bucket_next;
            size_t b = bucket_of(t, &l->job, l->attempt);
            l->bucket_next = t->buckets[b];
            t->buckets[b] = l;
        }
    free(old);
}

void leases_add(struct leases *t, struct lease *l)
{
    if (t->count + t->lost_count >= t->size)
        grow(t);
    size_t b = bucket_of(t, &l->job, l->attempt);
    l->bucket_next = t->buckets[b];
    t->buckets[b] = l;
    t->count++;
}

struct lease *leases_find(const struct leases *t, const struct hash_id *job, uint32_t attempt)
{
    for (struct lease *l = t->buckets[bucket_of(t, job, attempt)]; l; l = l->bucket_next)
        if (l->attempt == attempt && memcmp(l->job.bytes, job->bytes, sizeof job->bytes) == 0)
            return l;
    return NULL;
}

void leases_remove(struct leases *t, struct lease *l)
{
    struct lease **p = &t->buckets[bucket_of(t, &l->job, l->attempt)];
    while (*p != l)
        p = &(*p)->bucket_next;
    *p = l->bucket_next;
    if (l->lost) {
        TAILQ_REMOVE(&t->lost, l, in_time);
        t->lost_count--;
    } else {
        t->count--;
    }
}

size_t leases_count(const struct leases *t)
{
    return t->count;
}

void leases_lose(struct leases *t, struct lease *l)
{
    l->lost = true;
    t->count--;
    t->lost_count++;
    TAILQ_INSERT_TAIL(&t->lost, l, in_time);
    if (t->lost_count > LEASE_LOST_MAX) {
        struct lease *oldest = TAILQ_FIRST(&t->lost);
        leases_remove(t, oldest);
        lease_free(oldest);
    }
}
