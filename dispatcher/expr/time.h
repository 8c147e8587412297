/*
 * Timestamps and durations: text, calendar fields and arithmetic. A timestamp is seconds since 1970 and
 * nanoseconds within the years 1 to 9999; a duration is nanoseconds in 64 bits, which is what CEL's
 * conformance cases bound it to.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_TIME_H
#define BRIDGEBELL_DISPATCHER_EXPR_TIME_H

#include "dispatcher/expr/expr.h"

#define TIME_TEXT_SIZE 48u

/* A moment in some zone. */
struct time_fields {
    int64_t year;
    int month;   /* 1..12 */
    int day;     /* 1..31 */
    int hour;    /* 0..23 */
    int minute;  /* 0..59 */
    int second;  /* 0..59 */
    int weekday; /* 0 Sunday..6 */
    int yearday; /* 0..365 */
};

/* The days from 1970-01-01 to a date of the Gregorian calendar. */
int64_t time_days(int64_t year, int month, int day);
/* The fields of a moment `seconds` since 1970, already moved by the zone's offset. */
struct time_fields time_split(int64_t seconds);
/* RFC 3339 text into a timestamp; an EXPR_ERROR if it is none or out of range. */
struct expr_value time_parse_timestamp(const char *text, size_t len);
/* "1h30m", "-1.5s", "100ms", with h, m, s, ms, us, µs and ns, into a duration; an EXPR_ERROR otherwise. */
struct expr_value time_parse_duration(const char *text, size_t len);
/* "2009-02-13T23:31:30Z", with as many digits of the second as it needs; the length. */
size_t time_write_timestamp(struct expr_value timestamp, char *out);
/* "3.5s"; the length. */
size_t time_write_duration(struct expr_value duration, char *out);
/* A timestamp moved by nanoseconds; an EXPR_ERROR out of range. */
struct expr_value time_move(struct expr_value timestamp, int64_t nanoseconds, bool back);
/* The time from `right` to `left`; an EXPR_ERROR out of range. */
struct expr_value time_between(struct expr_value left, struct expr_value right);

#endif
