/*
 * Time zones by name, from the system's time zone files (TZif, RFC 8536) and by fixed offset, without
 * touching the process's own zone. A zone is immutable.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_ZONE_H
#define BRIDGEBELL_DISPATCHER_EXPR_ZONE_H

#include "dispatcher/expr/expr.h"

struct expr_zone;

/*
 * "Europe/Warsaw", "UTC", "Z", "+02:00", "-2:30" or "02:00", in the arena's memory; NULL if there is no such
 * zone or its file is damaged. Names are looked up below $TZDIR or /usr/share/zoneinfo and cannot leave it.
 */
const struct expr_zone *expr_zone_load(const char *name, size_t len, struct expr_arena *arena);
/* What local time is ahead of UTC at a moment, in seconds. */
int32_t expr_zone_offset(const struct expr_zone *zone, int64_t seconds);

#endif
