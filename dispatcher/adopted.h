/*
 * Since when leases of earlier dispatchers have been waited for.
 *
 * A dispatcher that comes up finds leases that it has not granted and waits a full lease for each, because
 * their requests may still be in flight. What it has found it notes, with the time, as a fact of the store,
 * so that the next one goes on waiting instead of beginning anew: else jobs would never be asked again while
 * dispatchers die faster than leases run out. Nobody grants a lease that was adopted, and attempt numbers are
 * never used twice, so what is noted stays true. Times are of the boot clock and count only within one boot.
 */
#ifndef DISPATCHER_ADOPTED_H
#define DISPATCHER_ADOPTED_H

#include <stdint.h>

#include "core/hash.h"
#include "dispatcher/store.h"

extern const char adopted_fact_name[];

struct adopted;

/* FACT as the last dispatcher wrote it, or NULL; whatever of it makes no sense is left out. */
struct adopted *adopted_new(const char *fact, uint64_t boot_ms);
void adopted_free(struct adopted **a);
/* Boot time from which on the lease is waited for: now, or when an earlier dispatcher found it. */
uint64_t adopted_since(struct adopted *a, const struct hash_id *job, uint32_t attempt);
/* Writes down what adopted_since was asked for. Should that fail, the next dispatcher waits longer. */
void adopted_write(const struct adopted *a, struct store *store);

#endif
