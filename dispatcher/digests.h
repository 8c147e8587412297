/*
 * Closing digests: when one is due it is frozen, gets its words, and is queued as one message.
 *
 * Owns the timer and the units on their way. What digests hold is in the store; after a crash at any point
 * the next dispatcher finds them there, frozen or not.
 */
#ifndef DISPATCHER_DIGESTS_H
#define DISPATCHER_DIGESTS_H

#include "dispatcher/queue.h"
#include "dispatcher/rules.h"

struct digests;

/* Looks for what is due at once. All that is given must outlive it. */
struct digests *digests_new(struct store *store, struct rules *rules, struct queue *queue);
/* After store_finish. */
void digests_free(struct digests **d);
/* Begins nothing new. */
void digests_stop(struct digests *d);
/* Jobs were inserted: looks earlier if one of them opened a digest. */
void digests_note(struct digests *d, const struct store_job *job);

#endif
