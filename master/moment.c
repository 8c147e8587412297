#include "master/moment.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

/* "+01:00", "-0530" or "Z" to its end. False if it is anything else. */
static bool read_offset(const char *text, int64_t *seconds)
{
    int digits[4], count = 0;
    *seconds = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    if (*text != '+' && *text != '-')
        return false;
    for (const char *p = text + 1; *p; p++) {
        if (*p == ':' && count == 2)
            continue;
        if (*p < '0' || *p > '9' || count == 4)
            return false;
        digits[count++] = *p - '0';
    }
    if (count != 4)
        return false;
    int64_t hours = digits[0] * 10 + digits[1], minutes = digits[2] * 10 + digits[3];
    *seconds = (hours * 3600 + minutes * 60) * (*text == '-' ? -1 : 1);
    return hours < 24 && minutes < 60;
}

/* The time of day at TEXT into TM; NULL, or what follows it. */
static const char *read_clock(const char *text, struct tm *tm)
{
    const char *rest = strptime(text, "%H:%M:%S", tm);
    return rest ? rest : strptime(text, "%H:%M", tm);
}

/* Local or, with a zone behind it, absolute. */
static int finish(struct tm *tm, const char *rest, int64_t *ms)
{
    int64_t offset_s;
    tm->tm_isdst = -1;
    if (*rest == '\0') {
        time_t t = mktime(tm);
        *ms = (int64_t)t * 1000;
        return t == (time_t)-1 ? -1 : 0;
    }
    if (!read_offset(rest, &offset_s))
        return -1;
    *ms = ((int64_t)timegm(tm) - offset_s) * 1000;
    return 0;
}

/* The next, or the last, such time of day; days are not all of one length. */
static int time_of_day(const char *text, int64_t now_ms, bool last, int64_t *ms)
{
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;
    localtime_r(&now, &tm);
    tm.tm_sec = 0;
    const char *rest = read_clock(text, &tm);
    if (!rest || *rest)
        return -1;
    struct tm other = tm;
    other.tm_mday += last ? -1 : 1;
    if (finish(&tm, "", ms))
        return -1;
    bool is_to_come = *ms > now_ms;
    return is_to_come != last ? 0 : finish(&other, "", ms);
}

static int parse(const char *text, int64_t now_ms, bool last, int64_t *ms)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%d", &tm);
    if (!rest)
        return time_of_day(text, now_ms, last, ms);
    int day = tm.tm_mday, month = tm.tm_mon;
    if (*rest == ' ' || *rest == 'T' || *rest == 't')
        rest = read_clock(rest + 1, &tm);
    else if (*rest)
        return -1;
    /* strptime takes 31 February, which mktime makes another day of. */
    struct tm same = tm;
    if (!rest || (timegm(&same), same.tm_mday != day || same.tm_mon != month))
        return -1;
    return finish(&tm, rest, ms);
}

int moment_parse(const char *text, int64_t now_ms, int64_t *ms)
{
    return parse(text, now_ms, false, ms);
}

int moment_parse_last(const char *text, int64_t now_ms, int64_t *ms)
{
    return parse(text, now_ms, true, ms);
}

const char *moment_format(int64_t ms, char *out, size_t size)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (!localtime_r(&t, &tm) || !strftime(out, size, "%Y-%m-%d %H:%M", &tm))
        out[0] = '\0';
    return out;
}
