#include "master/when.h"

#include "conf/units.h"
#include "master/moment.h"

const char when_expected[] = "a duration such as 30m, 2h or 1d, or a time such as 2026-03-28T21:50:00Z";

int when_parse(const char *text, int64_t now_ms, int64_t *ms)
{
    int64_t back_ms;
    if (units_duration(text, &back_ms) == 0) {
        *ms = now_ms - back_ms;
        return 0;
    }
    return moment_parse_last(text, now_ms, ms);
}
