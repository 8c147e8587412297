/*
 * How long to wait before a process that ended is started again.
 *
 * The delay doubles from BACKOFF_FIRST_MS to BACKOFF_LAST_MS and begins anew after a good life. A process
 * that ended before it ever worked is a sign of a broken setup, so its delay grows three steps at a time.
 */
#ifndef MASTER_BACKOFF_H
#define MASTER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 30000,
    BACKOFF_GOOD_LIFE_MS = 60000,
};

struct backoff {
    unsigned steps; /* doublings so far; zero-initialised */
};

/* The delay in ms after a life of LIVED_MS that got as far as WAS_READY. */
int64_t backoff_next_ms(struct backoff *b, int64_t lived_ms, bool was_ready);

#endif
