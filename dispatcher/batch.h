/*
 * One message of events on its way into the store: the decisions it leads to, and what is needed to try
 * again.
 *
 * Owns the unit, its decisions and their jobs. Used by intake only.
 */
#ifndef DISPATCHER_BATCH_H
#define DISPATCHER_BATCH_H

#include "dispatcher/queue.h"
#include "dispatcher/rules.h"
#include "dispatcher/store.h"

struct intake;
struct session;
struct bridge;

enum batch_state {
    BATCH_WAITING, /* for its turn, after a failed commit */
    BATCH_STORED,  /* with the store */
    BATCH_DONE,    /* committed, or nothing to commit */
};

struct batch {
    struct store_intake intake;
    struct intake *owner;
    struct session *session; /* NULL once the listener is gone */
    struct bridge *bridge;
    struct batch *next;
    enum batch_state state;
    uint64_t seq;
    int64_t mark_ms;         /* that holds once this and all before it are committed; -1: none */
    struct store_job **jobs; /* all that may be leased, set by batch_close */
    size_t jobs_count;
    size_t decisions_size;
    struct queue_ticket *ticket;
};

struct batch *batch_new(struct intake *owner, struct session *session, struct bridge *bridge, uint64_t seq,
                        int64_t mark_ms, const char *bridge_name);
/* Runs the rules on E; adds a decision if it causes anything (jobs, or a deletion to remember). Nothing of E
 * is kept but by batch_keep_event. */
void batch_add_event(struct batch *b, const struct event *e, struct rules *rules,
                     const struct hash_id *store_id, int64_t now_ms);
/* Keeps a copy of the packed event for the parents among the decisions from FIRST on. */
void batch_keep_event(struct batch *b, size_t first, struct msg_str packed);
/* Calls FN for every parent that was committed. */
void batch_each_parent(const struct batch *b,
                       void (*fn)(void *arg, const struct store_decision *d, int64_t row), void *arg);
/* No more events: collects the jobs. */
void batch_close(struct batch *b);
/* After a failed commit: jobs as they were before they were offered. */
void batch_reset(struct batch *b);
void batch_free(struct batch **b);

#endif
