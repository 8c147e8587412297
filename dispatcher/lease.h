/*
 * Leases: the attempts that are on disk as intent and whose outcome is not recorded yet.
 *
 * Owns the table of leases by job and attempt. A lease is first ready (committed, not yet with a sender),
 * then granted (with a deadline on the boot-time clock), then gone, or lost when its deadline passed. Lost
 * ones are remembered for a while, so that a late answer can be judged. What a lease keeps of its job is what
 * a grant and a result need; text and sender name go when the grant has left.
 */
#ifndef DISPATCHER_LEASE_H
#define DISPATCHER_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "dispatcher/store.h"

enum { LEASE_LOST_MAX = 4096 };

struct lease {
    struct lease *bucket_next;  /* the table's */
    TAILQ_ENTRY(lease) in_time; /* granted or lost: in order of deadline */
    struct lease *next;         /* of the same request */
    void *owner;                /* the scheduler's lane */
    struct hash_id job;
    int64_t row;
    uint32_t attempt, generation, failures;
    bool pinned; /* before this attempt */
    bool lost;
    enum job_priority priority;
    char *rule, *number;
    uint64_t number_key; /* number_limit_key */
    char *from, *text;   /* NULL once granted; FROM may be NULL before */
    int64_t event_ms, created_ms, expires_ms;
    uint64_t received_ns; /* of the event at the listener, monotonic; 0: not known */
    uint64_t granted_ms;  /* boot-time clock */
    uint64_t deadline_ms;
    int64_t queued_ms; /* from creation to grant, store time */
    uint64_t sender;   /* number of the sender; 0: none */
};
TAILQ_HEAD(lease_list, lease);

struct leases;
struct leases *leases_new(void);
void leases_free(struct leases **t); /* frees the leases in it */

/* A lease for a job that is leased with its current attempt; copies what it needs. */
struct lease *lease_new(const struct store_job *job);
/* For a log line: without text, in no table. */
struct lease *lease_copy(const struct lease *l);
void lease_free(struct lease *l);
/* Drops what only the grant needed. */
void lease_drop_text(struct lease *l);

/* A lease for the same job and attempt must not be there. */
void leases_add(struct leases *t, struct lease *l);
/* NULL if none. */
struct lease *leases_find(const struct leases *t, const struct hash_id *job, uint32_t attempt);
void leases_remove(struct leases *t, struct lease *l);
size_t leases_count(const struct leases *t); /* without lost ones */

/* Keeps L as lost; forgets the oldest lost one beyond LEASE_LOST_MAX. */
void leases_lose(struct leases *t, struct lease *l);

#endif
