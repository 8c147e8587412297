/*
 * How often something happens: a count in all, and per second over the last ten and sixty seconds.
 */
#ifndef DISPATCHER_METER_H
#define DISPATCHER_METER_H

#include <stdint.h>

enum { METER_SECONDS = 64 };

struct meter {
    uint64_t total;
    uint64_t second[METER_SECONDS]; /* the second that a bin counts */
    uint64_t count[METER_SECONDS];
};

/* NOW_MS is a clock of intervals (clock_mono_ms). */
void meter_add(struct meter *m, uint64_t n, uint64_t now_ms);
/* Per second over the SECONDS (1 … 60) whole seconds before the running one. */
double meter_rate(const struct meter *m, unsigned seconds, uint64_t now_ms);

#endif
