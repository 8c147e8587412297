/* Moments as people write them. */
#ifndef MASTER_WHEN_H
#define MASTER_WHEN_H

#include <stdint.h>

/* "2h" or "1d" before NOW_MS, or a date with or without a time: "2026-03-28", "2026-03-28 21:50",
 * "2026-03-28T21:50:00Z", "2026-03-28T21:50:00+01:00"; local time if it names no zone. Milliseconds since
 * 1970 into MS. 0, or -1 if the text is anything else. */
int when_parse(const char *text, int64_t now_ms, int64_t *ms);
extern const char when_expected[]; /* for a mistake: what is accepted */

#endif
