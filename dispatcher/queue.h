/*
 * The scheduler: what is due, whether it may leave, and what becomes of it.
 *
 * Owns the credit of the senders, the time slots of the rate limit, the lines (one per provider: open,
 * paused, stopped), the leases in flight and the table that turns a result into a change of the job. It never
 * renders and never decides what is sent, only when and whether again. A lease is committed before its grant
 * leaves; outcomes name job and attempt; a lease that runs out is an unknown outcome. Everything that must
 * survive is in the store.
 */
#ifndef DISPATCHER_QUEUE_H
#define DISPATCHER_QUEUE_H

#include <cjson/cJSON.h>

#include "dispatcher/store.h"
#include "proto/wire.h"

struct queue;

/* Reads provider blocks and the dispatcher block; adopts the leases of the last dispatcher; starts claiming.
 */
struct queue *queue_new(const struct slice *slice, struct store *store);
/* After store_finish, so that nothing of ours is with the store. */
void queue_free(struct queue **q);

/* Jobs about to be inserted (all JOB_QUEUED): marks as many as may leave at once as JOB_LEASED with attempt
 * 1, holding credit and slots for them. The caller then commits them and calls queue_settle with the same
 * ticket. */
struct queue_ticket;
struct queue_ticket *queue_offer(struct queue *q, struct store_job *const *jobs, size_t count);
/* After the commit: jobs that have a row and are JOB_LEASED leave for a sender; credit held for others (known
 * event, id there already, commit failed) is given back. Frees the ticket. Jobs must still be alive. */
void queue_settle(struct queue *q, struct queue_ticket *ticket, bool committed);

/* True if COUNT jobs like FIRST could not leave at once, only because senders are busy: a moment later they
 * may. False where more than the senders' speed holds them up (the line, its slots). *FAST: a thousand leave
 * in a second. */
bool queue_is_busy(struct queue *q, const struct store_job *first, size_t count, bool *fast);

/* True while senders stand idle and jobs wait in the store: what it has to do for them comes before new
 * events. */
bool queue_is_hungry(const struct queue *q);

/* Something may be due now that the scheduler was not told of: jobs were moved by hand. Makes it look into
 * the store before anything else leaves, so not for what queue_settle tells anyway. */
void queue_kick(struct queue *q);

/* No new leases from now on; done when no change is waiting for its commit. Leases in flight outlive us. */
void queue_drain(struct queue *q, void (*done)(void *arg), void *arg);

/* ---- senders, called by the link ---- */
struct queue_sender;
struct queue_sender *queue_sender_up(struct queue *q, struct link_server *links, struct link_peer *peer,
                                     const struct wire_credit *credit, uint64_t incarnation);
void queue_sender_gone(struct queue *q, struct queue_sender *s);
void queue_sender_message(struct queue *q, struct queue_sender *s, int type, struct msg_fields *fields);

/* Whether a provider of that name is configured. */
bool queue_has_provider(struct queue *q, const char *name);

/* ---- operator ---- */
/* Stops or opens a line by hand; survives restarts. PROVIDER NULL: all. -1 if unknown. */
int queue_pause(struct queue *q, const char *provider, const char *who);
int queue_resume(struct queue *q, const char *provider, const char *who);

/* Adds "senders", "lines", "sending" to STATUS (docs/wire.md lists the members); appends metrics. */
void queue_status(struct queue *q, cJSON *status);
void queue_metrics(struct queue *q, struct buf *out);
/* NULL if every line works or is only throttled; otherwise a phrase for /readyz. */
const char *queue_trouble(struct queue *q);

#endif
