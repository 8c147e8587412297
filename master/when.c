#include "master/when.h"

#include "conf/units.h"
#include "master/moment.h"

const char when_expected[] = "a duration such as 30m, 2h or 1d, or a time such as 2026-03-28T21:50:00Z";

int when_parse(const char *text, int64_t now_ms, int64_t *ms)
{
    const int64_t day_ms = INT64_C(24) * 3600 * 1000;
    int64_t back_ms;
    if (units_duration(text, &back_ms) == 0) {
        *ms = now_ms - back_ms;
        return 0;
    }
    if (moment_parse(text, now_ms, ms))
        return -1;
    /* A time of day is the last one and not the next. */
    if (*ms > now_ms && *ms - now_ms <= day_ms && text[1] && (text[1] == ':' || text[2] == ':'))
        *ms -= day_ms;
    return 0;
}
