/*
 * How long to wait before a process that ended is started again.
 *
 * The delay doubles from BACKOFF_FIRST_MS and begins anew after a good life. It stays short for a process
 * that has worked, because while it is away nobody is rung; one that ended before it ever worked is a sign of
 * a broken setup, so its delay grows three steps at a time and further.
 */
#ifndef MASTER_BACKOFF_H
#define MASTER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_WORKED_LAST_MS = 1600,
    BACKOFF_LAST_MS = 30000,
    BACKOFF_GOOD_LIFE_MS = 10000,
};

struct backoff {
    unsigned steps; /* doublings so far; zero-initialised */
};

/* The delay in ms after a life of LIVED_MS. HAS_WORKED: it was ready, or killed from outside before it could
 * be. */
int64_t backoff_next_ms(struct backoff *b, int64_t lived_ms, bool has_worked);

#endif
