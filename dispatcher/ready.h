/*
 * Leased jobs that wait for a sender and a time slot, grouped into requests.
 *
 * Jobs with equal sender name, text and expiry share a request, up to `batch` of them and never the same
 * number twice, because the provider counts requests (CONTRACT.md section 5). A job that is asked again after
 * an unknown outcome is always alone, so that its answer names nobody else. Requests of a priority leave in
 * order of arrival; whose turn it is among the priorities is the scheduler's to say.
 */
#ifndef DISPATCHER_READY_H
#define DISPATCHER_READY_H

#include <stddef.h>
#include <sys/queue.h>

#include "dispatcher/lease.h"

enum { READY_BUCKETS = 256 };

struct request {
    TAILQ_ENTRY(request) link;
    struct request *open_next; /* requests that may still grow, by hash */
    uint64_t hash;
    enum job_priority priority;
    struct lease *first, *last;
    size_t count;
    uint64_t since_ms;
    bool open;
};
TAILQ_HEAD(request_list, request);

struct ready {
    size_t batch; /* most jobs in a request */
    struct request_list lists[PRIORITIES];
    size_t requests[PRIORITIES]; /* of each priority */
    size_t jobs_of[PRIORITIES];
    size_t jobs;
    struct request *open[READY_BUCKETS];
};

void ready_init(struct ready *r, size_t batch);
/* Takes L over. NOW_MS is the boot-time clock. */
void ready_add(struct ready *r, struct lease *l, uint64_t now_ms);
/* The request of PRIORITY that leaves next; NULL if none waits. */
struct request *ready_first(const struct ready *r, enum job_priority priority);
/* Takes it out: it grows no more and is the caller's (request_free once its leases are elsewhere). */
void ready_take(struct ready *r, struct request *q);
/* Back to the front of its priority, not to grow. */
void ready_put_back(struct ready *r, struct request *q);
void request_free(struct request *q);

/* True if two jobs may share a request as far as text, sender name and expiry go. */
bool ready_alike(const struct store_job *a, const struct store_job *b);

#endif
