/*
 * Outcomes on their way to the dispatcher: kept, in order, until their commit is acknowledged.
 *
 * Owns the numbered batches of results. What is added during a pass of the loop leaves as one batch at its
 * end; after every welcome all batches not acknowledged leave again with their old numbers (proto/wire.h).
 * Their number is bounded by the credit that is given out: see outcomes_room.
 */
#ifndef SENDER_OUTCOMES_H
#define SENDER_OUTCOMES_H

#include "proto/wire.h"

struct outcomes;
/* SEND packs nothing: it is called with a batch's number and its packed array of results, adds the credit and
 * sends. 0, or -1 when the link is down or full; the batch is then offered again. */
typedef int outcomes_send_fn(void *arg, uint64_t seq, const void *results, size_t len);

struct outcomes *outcomes_new(outcomes_send_fn *send, void *arg);
void outcomes_free(struct outcomes **o);

/* Takes a copy. */
void outcomes_add(struct outcomes *o, const struct wire_result *r);
/* All batches up to SEQ are committed. */
void outcomes_acked(struct outcomes *o, uint64_t seq);
/* The dispatcher welcomed us: everything unacknowledged leaves again. */
void outcomes_resend(struct outcomes *o);
/* Tries again what the link could not take. */
void outcomes_push(struct outcomes *o);

/* Results not yet acknowledged. */
size_t outcomes_count(const struct outcomes *o);
/* Results that may still come before the bound; 0: no credit may be given. */
size_t outcomes_room(const struct outcomes *o);

#endif
