/*
 * Moments as people write them, in the local time of whoever types.
 */
#ifndef MASTER_MOMENT_H
#define MASTER_MOMENT_H

#include <stddef.h>
#include <stdint.h>

/* "2026-11-27 22:00", "2026-11-27T22:00:30", both with "Z" or "+01:00" behind, "2026-11-27" (its first
 * moment), or "22:00": the next one after NOW_MS. 0 with the milliseconds since 1970, or -1 if it is anything
 * else. */
int moment_parse(const char *text, int64_t now_ms, int64_t *ms);
/* The same, but "22:00" is the last one up to NOW_MS. */
int moment_parse_last(const char *text, int64_t now_ms, int64_t *ms);
/* "2026-11-27 22:00", local time. */
const char *moment_format(int64_t ms, char *out, size_t size);

#endif
