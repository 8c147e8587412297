/* Moments of the past, as people write them. */
#ifndef MASTER_WHEN_H
#define MASTER_WHEN_H

#include <stdint.h>

/* "2h" or "1d" before NOW_MS, or what moment_parse takes; "22:00" is the last one before NOW_MS. Milliseconds
 * since 1970 into MS. 0, or -1 if the text is anything else. */
int when_parse(const char *text, int64_t now_ms, int64_t *ms);
extern const char when_expected[]; /* for a mistake: what is accepted */

#endif
