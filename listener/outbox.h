/*
 * Events on their way to the dispatcher: batches, kept until they are acknowledged.
 *
 * Events gather in an open batch, which is sealed with the mark at the end of each pass of the loop. Sealed
 * batches are numbered from 1 and sent in order, as far as the window of unacknowledged ones permits; after
 * every welcome all that is unacknowledged goes out again with its old numbers. Memory is bounded: beyond it
 * batches go to the spill file (listener/spill.h), and where that is full or absent the oldest are given up,
 * which is told to the owner, who keeps the mark before them.
 */
#ifndef LISTENER_OUTBOX_H
#define LISTENER_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "listener/spill.h"
#include "proto/msg.h"

struct outbox_ops {
    /* Sends one message; 0, or -1 if that is not possible now. */
    int (*send)(void *arg, const struct msg_out *m);
    /* COUNT events were given up, the oldest with this timestamp (Bridge's time). */
    void (*given_up)(void *arg, uint64_t count, int64_t oldest_ms);
};

struct outbox;
/* SPILL may be NULL; what it holds already goes out first. It stays the caller's. */
struct outbox *outbox_new(size_t limit_bytes, struct spill *spill, const struct outbox_ops *ops, void *arg);
void outbox_free(struct outbox **o);
/* Adds a packed event (proto/event.h) with its timestamp; copies. */
void outbox_add(struct outbox *o, const void *packed, size_t len, int64_t timestamp_ms);
/* Seals what is open with MARK_MS (-1: none holds now), then sends what may be sent. With ALONE a batch
 * without events is made for the mark's sake. */
void outbox_flush(struct outbox *o, int64_t mark_ms, bool alone);
/* Batches that are not sent yet lose their marks: a gap has opened before them. */
void outbox_forget_marks(struct outbox *o);
/* All up to SEQ is committed. */
void outbox_acked(struct outbox *o, uint64_t seq);
/* The link came up (everything unacknowledged goes again) or went down. */
void outbox_up(struct outbox *o);
void outbox_down(struct outbox *o);
/* Moves everything that is not acknowledged into the spill file, before leaving. */
void outbox_park(struct outbox *o);
size_t outbox_bytes(const struct outbox *o);
/* Events not yet acknowledged, those in the spill file included. */
uint64_t outbox_events(const struct outbox *o);
bool outbox_empty(const struct outbox *o);

#endif
