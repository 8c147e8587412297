/*
 * Local time: days and months of a time zone as spans of UTC, and the moments of local times.
 *
 * Zones are named as in the configuration ("Europe/Warsaw", "UTC", "+02:00") and read once; a bounded number
 * of them stays in memory. All of it is for the loop's thread alone. Moments are milliseconds since 1970,
 * UTC; a local time is seconds since 1970-01-01 00:00 of the local calendar.
 *
 * Where clocks are changed, a local time stands for the first moment whose local time is at or past it: one
 * that does not exist for the moment of the change, one that exists twice for the earlier of the two. So
 * spans that follow each other in local time follow each other in UTC, without a gap and without overlap.
 */
#ifndef DISPATCHER_CALENDAR_H
#define DISPATCHER_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

#include "dispatcher/expr/zone.h"
#include "proto/slice.h"

enum calendar_unit { CALENDAR_DAY, CALENDAR_MONTH };
enum { CALENDAR_NAME_SIZE = 16 };

/* The local day ("2026-11-27") or month ("2026-11") that holds NOW_MS: START_MS <= NOW_MS < END_MS. ZONE that
 * is NULL or does not exist is UTC. */
void calendar_period(const char *zone, int64_t now_ms, enum calendar_unit unit, int64_t *start_ms,
                     int64_t *end_ms, char name[CALENDAR_NAME_SIZE]);

/* The first moment whose local time in ZONE is at or past LOCAL_S. */
int64_t calendar_moment_ms(const struct expr_zone *zone, int64_t local_s);

/* The zone NAME; UTC if it is NULL or does not exist. Valid until the next call. */
const struct expr_zone *calendar_zone(const char *name);
/* Adds a fault if the setting NAME of BLOCK names no time zone, with the nearest one that exists. True if it
 * is fine or unset. */
bool calendar_check_zone(const struct slice_block *block, const char *name, struct faults *faults);

/* Forgets the zones in memory. */
void calendar_free(void);

#endif
