/*
 * The counters of noise control: what was let through when, as rows, with those of late in memory.
 *
 * A counter is a key and a few bytes. The store's thread reads it once, changes it in memory and writes it
 * with the transaction, so that a thousand messages of one rule write its counter once. After a rollback
 * everything in memory is forgotten and read again. Three kinds:
 *
 * - a window: when something was last let through;
 * - a rate: at most LIMIT in any PER_MS. Up to 64 the times themselves are kept, which is exact; beyond that
 *   counts in 64ths of PER_MS, of which one more than fit counts: never more than the limit, at times a 64th
 *   late;
 * - a sum: what was spent in a period.
 */
#ifndef DISPATCHER_STORE_COUNTER_H
#define DISPATCHER_STORE_COUNTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/hash.h"

struct store_db;

enum { COUNTER_EXACT_MAX = 64, COUNTER_SLOTS = 64, COUNTER_BYTES_MAX = 8 + 8 * COUNTER_EXACT_MAX };

struct counters;

struct counter {
    struct hash_id key;
    struct counters *all;
    struct counter *next_dirty;
    bool dirty;
    int64_t ends_ms; /* of no use any more from then on */
    size_t len;      /* 0: there is none yet */
    unsigned char data[COUNTER_BYTES_MAX];
};

struct counters {
    struct counter **slots; /* open addressing by key */
    size_t size, count;
    struct counter *dirty;
};

/* The counter of KEY; never NULL. Valid until counters_trim or counters_forget. Errors are left in db->rc. */
struct counter *counter_get(struct store_db *db, const struct hash_id *key);

/* ---- windows ---- */
bool counter_window_open(const struct counter *c, int64_t per_ms, int64_t now_ms);
void counter_window_take(struct counter *c, int64_t per_ms, int64_t now_ms);
/* ---- rates ---- */
/* How long until one more fits, 0: now. */
int64_t counter_rate_wait(const struct counter *c, int64_t limit, int64_t per_ms, int64_t now_ms);
void counter_rate_take(struct counter *c, int64_t limit, int64_t per_ms, int64_t now_ms);
/* How many count now. */
int64_t counter_rate_used(const struct counter *c, int64_t per_ms, int64_t now_ms);
/* ---- sums ---- */
int64_t counter_sum(const struct counter *c);
void counter_sum_add(struct counter *c, int64_t amount, int64_t ends_ms);

/* Writes what changed; before the commit. */
void counters_flush(struct store_db *db);
/* Forgets all, changed or not: after a rollback. */
void counters_forget(struct store_db *db);
/* Forgets all if they have become many; at the beginning of a transaction. */
void counters_trim(struct store_db *db);
void counters_free(struct store_db *db);

#endif
