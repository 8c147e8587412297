#include "master/when.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/units.h"

const char when_expected[] = "a duration such as 30m, 2h or 1d, or a time such as 2026-03-28T21:50:00Z";

/* "", "Z" or "+01:00"; seconds east of Greenwich. -1 if it is anything else. */
static int read_zone(const char *text, long *offset_s)
{
    *offset_s = 0;
    if (!*text || strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return 0;
    int sign = *text == '+' ? 1 : *text == '-' ? -1 : 0;
    struct tm tm = {0};
    const char *end = sign ? strptime(text + 1, "%H:%M", &tm) : NULL;
    *offset_s = sign * (tm.tm_hour * 3600L + tm.tm_min * 60L);
    return end && !*end ? 0 : -1;
}

static int read_time(const char *text, int64_t *ms)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M",
                                        "%Y-%m-%d %H:%M", "%Y-%m-%d"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm tm = {.tm_isdst = -1};
        long offset_s;
        const char *end = strptime(text, forms[i], &tm);
        if (!end)
            continue;
        if (*end == '.')
            end += 1 + strspn(end + 1, "0123456789");
        if (read_zone(end, &offset_s))
            continue;
        time_t seconds = *end ? timegm(&tm) - offset_s : mktime(&tm);
        *ms = (int64_t)seconds * 1000;
        return 0;
    }
    return -1;
}

int when_parse(const char *text, int64_t now_ms, int64_t *ms)
{
    int64_t back_ms;
    if (units_duration(text, &back_ms) == 0) {
        *ms = now_ms - back_ms;
        return 0;
    }
    return read_time(text, ms);
}
