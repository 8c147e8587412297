/*
 * Batches of events on disk while the dispatcher is away for longer than memory lasts.
 *
 * A chain of files DIR/BRIDGE.START-PID.N.spill (0600), each a sequence of records with length and checksum,
 * written without flush: it survives our own end, not the host's. Read from the front, written at the back;
 * when the chain reaches its bound the front file is given up as a whole. Each file is locked by the process
 * that uses it; files that nobody holds, left by an earlier process or by the one that a reload replaced, are
 * adopted and read, each up to its first record that is not intact. A file goes only when everything read
 * from it was acknowledged; what is read twice is dropped by the dispatcher, which knows the keys.
 */
#ifndef LISTENER_SPILL_H
#define LISTENER_SPILL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

struct spill_batch {
    uint32_t count;    /* events */
    int64_t oldest_ms; /* timestamp of the first event */
    struct buf events; /* as outbox packs them */
};

struct spill;
/* Never NULL; adopts what was left. A directory that cannot be used is logged once and makes every spill_add
 * fail. */
struct spill *spill_open(const char *dir, const char *bridge, int64_t limit_bytes);
/* Files that hold something stay. */
void spill_close(struct spill **s);
/* Looks for files that nobody holds any more. */
void spill_adopt(struct spill *s);
/* Appends. GIVEN_UP and OLDEST_MS say how many events were given up to make room (0: none). 0, or -1 if it
 * cannot be written. */
int spill_add(struct spill *s, const struct spill_batch *batch, uint64_t *given_up, int64_t *oldest_ms);
/* Reads the oldest batch; its events are appended to BATCH, which the caller initialised. 1; 0 if there is
 * none. LOST_BYTES grows by what could not be read. */
int spill_take(struct spill *s, struct spill_batch *batch, uint64_t *lost_bytes);
/* Everything taken so far was acknowledged. */
void spill_release(struct spill *s);
/* Nothing left to take. */
bool spill_empty(const struct spill *s);
/* Events not taken yet, of those whose number is known (of an adopted file it is known once it was read). */
uint64_t spill_events(const struct spill *s);
int64_t spill_bytes(const struct spill *s);

#endif
