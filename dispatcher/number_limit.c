#include "dispatcher/number_limit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

enum {
    CLASSES = 3, /* one for each enum job_priority */
    BUCKETS_MIN = 64,
    SWEEP_EVERY_MS = 1000, /* while there are too many */
    /* How far ahead jobs are told to wait; what is further back is told to ask again before its turn. So who
     * comes after jobs that were cancelled does not wait for them for long. */
    AHEAD_WINDOWS = 16,
    AHEAD_MIN_MS = 60000,
    AHEAD_MAX_MS = 3600000
};

/* Attempts that stop counting at the same time. */
struct span {
    uint64_t until_ms;
    uint64_t count;
};

/* Jobs that were told to wait: the last of them until then, as one of so many. */
struct turn {
    uint64_t at_ms;
    int64_t count;
};

struct number {
    struct number *next;
    uint64_t key;
    uint64_t under_way;
    struct span *spans; /* in order of time, NUMBER_LIMIT_GRAINS and a few at most */
    size_t count, size;
    uint64_t blocked_ms;
    struct turn turns[CLASSES]; /* of those that came and found no room */
    struct turn again[CLASSES]; /* of those whose turn it was, and there was still none */
};

struct number_limit {
    pthread_mutex_t lock;
    int64_t limit;
    uint64_t per_ms, grain_ms, ahead_ms;
    struct number **buckets;
    size_t size, count; /* size is a power of two */
    uint64_t blocked_until_ms;
    uint64_t swept_ms;
};

struct number_limit *number_limit_new(int64_t limit, int64_t per_ms)
{
    struct number_limit *l = xcalloc(1, sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    l->limit = limit;
    l->per_ms = per_ms > 0 ? (uint64_t)per_ms : 1;
    l->grain_ms = l->per_ms / NUMBER_LIMIT_GRAINS;
    if (l->grain_ms == 0)
        l->grain_ms = 1;
    l->ahead_ms = AHEAD_WINDOWS * l->per_ms;
    if (l->ahead_ms < AHEAD_MIN_MS)
        l->ahead_ms = AHEAD_MIN_MS;
    if (l->ahead_ms > AHEAD_MAX_MS)
        l->ahead_ms = l->per_ms > AHEAD_MAX_MS ? l->per_ms : AHEAD_MAX_MS;
    l->size = BUCKETS_MIN;
    l->buckets = xcalloc(l->size, sizeof *l->buckets);
    return l;
}

static void number_free(struct number *n)
{
    free(n->spans);
    free(n);
}

void number_limit_free(struct number_limit **p)
{
    struct number_limit *l = *p;
    if (!l)
        return;
    *p = NULL;
    for (size_t i = 0; i < l->size; i++)
        for (struct number *n = l->buckets[i], *next; n; n = next) {
            next = n->next;
            number_free(n);
        }
    free(l->buckets);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

uint64_t number_limit_key(const char *provider, const char *number)
{
    char text[256];
    size_t len = 0;
    for (const char *s = provider; *s && len < sizeof text / 2; s++)
        text[len++] = *s;
    text[len++] = '\0';
    for (const char *s = number; *s && len < sizeof text; s++)
        text[len++] = *s;
    uint64_t key = hash_checksum(text, len);
    return key ? key : 1;
}

/* ---- the table ---- */

static struct number *find(const struct number_limit *l, uint64_t key)
{
    for (struct number *n = l->buckets[key & (l->size - 1)]; n; n = n->next)
        if (n->key == key)
            return n;
    return NULL;
}

static void drop_spans(struct number *n, uint64_t now_ms)
{
    size_t over = 0;
    while (over < n->count && n->spans[over].until_ms <= now_ms)
        over++;
    if (over)
        memmove(n->spans, n->spans + over, (n->count - over) * sizeof *n->spans);
    n->count -= over;
}

static bool is_waited_for(const struct number *n, uint64_t now_ms)
{
    for (int i = 0; i < CLASSES; i++)
        if (n->turns[i].at_ms > now_ms || n->again[i].at_ms > now_ms)
            return true;
    return n->blocked_ms > now_ms;
}

/* Forgets the numbers about which there is nothing to know any more. */
static void sweep(struct number_limit *l, uint64_t now_ms)
{
    for (size_t i = 0; i < l->size; i++)
        for (struct number **p = &l->buckets[i]; *p;) {
            struct number *n = *p;
            drop_spans(n, now_ms);
            if (n->under_way || n->count || is_waited_for(n, now_ms)) {
                p = &n->next;
                continue;
            }
            *p = n->next;
            number_free(n);
            l->count--;
        }
}

static void grow(struct number_limit *l)
{
    size_t old_size = l->size;
    struct number **old = l->buckets;
    l->size *= 2;
    l->buckets = xcalloc(l->size, sizeof *l->buckets);
    for (size_t i = 0; i < old_size; i++)
        for (struct number *n = old[i], *next; n; n = next) {
            next = n->next;
            struct number **p = &l->buckets[n->key & (l->size - 1)];
            n->next = *p;
            *p = n;
        }
    free(old);
}

static struct number *add(struct number_limit *l, uint64_t key)
{
    struct number *n = xcalloc(1, sizeof *n);
    n->key = key;
    struct number **p = &l->buckets[key & (l->size - 1)];
    n->next = *p;
    *p = n;
    l->count++;
    return n;
}

/* Finds or makes it. What is told about attempts that were made must be kept, so this knows no bound but for
 * the room it makes first; number_limit_take does. */
static struct number *need(struct number_limit *l, uint64_t key, uint64_t now_ms)
{
    struct number *n = find(l, key);
    if (n)
        return n;
    if (l->count >= l->size) {
        sweep(l, now_ms);
        if (l->count > l->size / 2)
            grow(l);
    }
    return add(l, key);
}

/* ---- room ---- */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* When one attempt more is allowed; not later than NOW_MS: at once. */
static uint64_t room_at(const struct number_limit *l, struct number *n, uint64_t now_ms)
{
    drop_spans(n, now_ms);
    uint64_t at_ms = n->blocked_ms, live = n->under_way;
    if (l->limit < 0)
        return at_ms;
    for (size_t i = 0; i < n->count; i++)
        live += n->spans[i].count;
    for (size_t i = 0; i < n->count && live >= (uint64_t)l->limit; i++) {
        live -= n->spans[i].count;
        at_ms = later(at_ms, n->spans[i].until_ms);
    }
    /* All of them are under way: none stops counting before a window from now. */
    return live >= (uint64_t)l->limit ? later(at_ms, now_ms + l->per_ms) : at_ms;
}

/* The next time to wait for: as many each window as the limit lets through, and where several priorities wait
 * for the number each has its part of the windows. */
static uint64_t next_turn(const struct number_limit *l, const struct number *n, struct turn *t,
                          uint64_t room_ms, uint64_t now_ms)
{
    uint64_t waiting = 0;
    for (int i = 0; i < CLASSES; i++)
        waiting += n->turns[i].at_ms > now_ms;
    bool full = l->limit >= 0 && t->count >= l->limit;
    uint64_t next_ms = t->at_ms + (full ? l->per_ms * (waiting ? waiting : 1) : 0);
    if (t->at_ms <= now_ms || t->at_ms < room_ms || next_ms > now_ms + l->ahead_ms)
        *t = (struct turn){.at_ms = later(room_ms, now_ms + 1)};
    else if (full)
        *t = (struct turn){.at_ms = next_ms};
    t->count++;
    return t->at_ms;
}

static int64_t take(struct number_limit *l, uint64_t key, int priority, bool waited, uint64_t now_ms)
{
    struct number *n = find(l, key);
    if (!n && l->count >= NUMBER_LIMIT_MAX) {
        if (now_ms - l->swept_ms >= SWEEP_EVERY_MS) {
            sweep(l, now_ms);
            l->swept_ms = now_ms;
        }
        if (l->count >= NUMBER_LIMIT_MAX)
            return (int64_t)l->per_ms;
    }
    if (!n && l->limit < 0)
        return 0;
    if (!n)
        n = need(l, key, now_ms);
    uint64_t room_ms = room_at(l, n, now_ms);
    bool others_first = !waited && n->turns[priority].at_ms > now_ms;
    if (room_ms <= now_ms && !others_first) {
        n->under_way += l->limit >= 0;
        return 0;
    }
    struct turn *t = waited ? &n->again[priority] : &n->turns[priority];
    return (int64_t)(next_turn(l, n, t, room_ms, now_ms) - now_ms);
}

int64_t number_limit_take(struct number_limit *l, uint64_t key, int priority, bool waited, uint64_t now_ms)
{
    if (priority < 0 || priority >= CLASSES)
        priority = CLASSES - 1;
    pthread_mutex_lock(&l->lock);
    bool idle = l->limit < 0 && l->blocked_until_ms <= now_ms;
    int64_t wait_ms = idle ? 0 : take(l, key, priority, waited, now_ms);
    pthread_mutex_unlock(&l->lock);
    return wait_ms;
}

/* ---- what became of attempts ---- */

void number_limit_add(struct number_limit *l, uint64_t key)
{
    if (l->limit < 0)
        return;
    pthread_mutex_lock(&l->lock);
    need(l, key, 0)->under_way++;
    pthread_mutex_unlock(&l->lock);
}

void number_limit_undo(struct number_limit *l, uint64_t key)
{
    if (l->limit < 0)
        return;
    pthread_mutex_lock(&l->lock);
    struct number *n = find(l, key);
    if (n && n->under_way)
        n->under_way--;
    pthread_mutex_unlock(&l->lock);
}

/* Times are rounded up to whole grains, so that there are few of them. */
static void count_until(const struct number_limit *l, struct number *n, uint64_t until_ms)
{
    until_ms = (until_ms + l->grain_ms - 1) / l->grain_ms * l->grain_ms;
    size_t at = n->count;
    while (at > 0 && n->spans[at - 1].until_ms > until_ms)
        at--;
    if (at > 0 && n->spans[at - 1].until_ms == until_ms) {
        n->spans[at - 1].count++;
        return;
    }
    if (n->count == n->size) {
        n->size = n->size ? n->size * 2 : 2;
        n->spans = xreallocarray(n->spans, n->size, sizeof *n->spans);
    }
    memmove(n->spans + at + 1, n->spans + at, (n->count - at) * sizeof *n->spans);
    n->spans[at] = (struct span){until_ms, 1};
    n->count++;
}

void number_limit_end(struct number_limit *l, uint64_t key, uint64_t at_ms)
{
    if (l->limit < 0)
        return;
    pthread_mutex_lock(&l->lock);
    struct number *n = need(l, key, at_ms);
    drop_spans(n, at_ms);
    if (n->under_way)
        n->under_way--;
    count_until(l, n, at_ms + l->per_ms);
    pthread_mutex_unlock(&l->lock);
}

void number_limit_restore(struct number_limit *l, uint64_t key, uint64_t age_ms, uint64_t now_ms)
{
    if (l->limit < 0 || age_ms >= l->per_ms)
        return;
    pthread_mutex_lock(&l->lock);
    count_until(l, need(l, key, now_ms), now_ms + l->per_ms - age_ms);
    pthread_mutex_unlock(&l->lock);
}

void number_limit_block(struct number_limit *l, uint64_t key, uint64_t until_ms)
{
    pthread_mutex_lock(&l->lock);
    struct number *n = need(l, key, 0);
    n->blocked_ms = later(n->blocked_ms, until_ms);
    l->blocked_until_ms = later(l->blocked_until_ms, until_ms);
    pthread_mutex_unlock(&l->lock);
}

/* ---- looking ---- */

bool number_limit_counts(const struct number_limit *l)
{
    return l->limit >= 0;
}

size_t number_limit_waiting(struct number_limit *l, uint64_t now_ms)
{
    size_t waiting = 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->size; i++)
        for (const struct number *n = l->buckets[i]; n; n = n->next)
            waiting += is_waited_for(n, now_ms);
    pthread_mutex_unlock(&l->lock);
    return waiting;
}
