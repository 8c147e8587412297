/*
 * The three clocks, each for one purpose.
 *
 * clock_mono_*  measures intervals inside one process (timers, latencies).
 * clock_boot_ms measures intervals that must also count a suspended machine: leases and start-by times.
 * clock_wall_ms is for people and for comparison with the Bridge's timestamps; it may jump, so no interval
 *               is ever computed from it.
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
uint64_t clock_boot_ms(void);
/* The kernel's name of this boot; "" if it has none, and then a recorded boot time means nothing. */
const char *clock_boot_id(void);
/* Milliseconds since 1970, UTC. */
int64_t clock_wall_ms(void);

/* Writes "2026-11-23T09:38:00.123Z" (24 characters and a NUL) for milliseconds since 1970. */
void clock_format(int64_t wall_ms, char out[25]);

#endif
