/*
 * The pace of calls for lists: below what the Bridge allows one address, where its limit is switched on (10 a
 * second behind a burst; PROTOCOL.md section 10). One pace serves all that a listener lists, because the
 * Bridge counts them together.
 */
#ifndef LISTENER_PACE_H
#define LISTENER_PACE_H

#include <stdint.h>

enum { PACE_BURST = 20, PACE_EVERY_MS = 125 };

struct pace {
    double credit;  /* calls that may be made now, at most PACE_BURST */
    uint64_t at_ms; /* of the monotonic clock, when that was so */
};

void pace_init(struct pace *p, uint64_t now_ms);
/* Milliseconds until a call may be made; 0: now. */
int64_t pace_wait_ms(struct pace *p, uint64_t now_ms);
/* A call is made. */
void pace_take(struct pace *p);
/* The Bridge says that there were too many. */
void pace_empty(struct pace *p);

#endif
