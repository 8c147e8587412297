/*
 * Time slots: when one more request may leave without passing the provider's limit.
 *
 * A limiter owns one bucket. Slots come at an even pace, at most a hundredth of a period's worth waits, and
 * the bucket starts empty, so nothing is ever caught up: in any window of the limit's length no more than the
 * limit's number of requests begin, counted where they begin. A granted slot may be used up to SPREAD later
 * (the grant's start-by time), which is why the pace is the number per period + spread.
 */
#ifndef DISPATCHER_LIMITER_H
#define DISPATCHER_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

struct limiter {
    bool off;      /* no limit */
    double per_us; /* slots that come in a microsecond */
    double most;   /* slots that may wait */
    double slots;
    uint64_t at_us; /* when `slots` was reckoned */
};

/* NUMBER requests per PER_MS (>= 1); a negative NUMBER means no limit. NOW_US is any clock that only runs
 * forward, always the same one. */
void limiter_init(struct limiter *l, int64_t number, int64_t per_ms, int64_t spread_ms, uint64_t now_us);
/* Whole slots that are free now; a very large number if there is no limit. */
uint64_t limiter_free(struct limiter *l, uint64_t now_us);
/* Takes one slot; false if none is free. */
bool limiter_take(struct limiter *l, uint64_t now_us);
/* Microseconds until a slot is free; 0: now. */
uint64_t limiter_wait_us(struct limiter *l, uint64_t now_us);
/* Slots that come within WITHIN_US, for fetching work ahead. */
double limiter_coming(const struct limiter *l, uint64_t within_us);

#endif
