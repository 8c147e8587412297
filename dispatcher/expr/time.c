#include "dispatcher/expr/time.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_S 1000000000LL
#define S_PER_DAY 86400
#define DAYS_PER_ERA 146097 /* 400 years */

#define BAD_TIMESTAMP "not a timestamp: write it as in RFC 3339, like 2009-02-13T23:31:30Z"
#define BAD_DURATION "not a duration: write it like 1h30m, 3.5s or 100ms"
#define DURATION_RANGE "duration out of range: only about 292 years are"

int64_t time_days(int64_t year, int month, int day)
{
    /* Years begin in March here, so that the leap day is the last of its year. */
    int64_t shifted = year - (month <= 2);
    int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    int64_t of_era = shifted - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t floor_divide(int64_t dividend, int64_t divisor, int64_t *rest)
{
    int64_t quotient = dividend / divisor;
    *rest = dividend % divisor;
    if (*rest < 0) {
        *rest += divisor;
        quotient--;
    }
    return quotient;
}

static void split_date(int64_t days, struct time_fields *fields)
{
    int64_t of_era = 0;
    int64_t era = floor_divide(days + 719468, DAYS_PER_ERA, &of_era);
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    fields->day = (int)(of_year - (153 * month + 2) / 5 + 1);
    fields->month = (int)(month < 10 ? month + 3 : month - 9);
    fields->year = year + era * 400 + (fields->month <= 2);
}

struct time_fields time_split(int64_t seconds)
{
    struct time_fields fields = {0};
    int64_t of_day = 0;
    int64_t weekday = 0;
    int64_t days = floor_divide(seconds, S_PER_DAY, &of_day);
    split_date(days, &fields);
    fields.hour = (int)(of_day / 3600);
    fields.minute = (int)(of_day / 60 % 60);
    fields.second = (int)(of_day % 60);
    floor_divide(days + 4, 7, &weekday);
    fields.weekday = (int)weekday;
    fields.yearday = (int)(days - time_days(fields.year, 1, 1));
    return fields;
}

/* ---- Reading --------------------------------------------------------------------------------- */

struct reader {
    const char *at;
    const char *end;
    bool bad;
};

/* Exactly `digits` digits. */
static int read_number(struct reader *reader, int digits)
{
    int number = 0;
    for (int i = 0; i < digits; i++) {
        if (reader->at >= reader->end || *reader->at < '0' || *reader->at > '9') {
            reader->bad = true;
            return 0;
        }
        number = number * 10 + (*reader->at++ - '0');
    }
    return number;
}

static char read_one_of(struct reader *reader, const char *allowed)
{
    if (reader->at >= reader->end || *reader->at == '\0' || strchr(allowed, *reader->at) == NULL) {
        reader->bad = true;
        return '\0';
    }
    return *reader->at++;
}

/* The digits after a point as nanoseconds; those beyond the ninth are dropped. */
static uint32_t read_fraction(struct reader *reader)
{
    uint32_t nanoseconds = 0;
    int digits = 0;
    for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++) {
        if (digits < 9)
            nanoseconds = nanoseconds * 10 + (uint32_t)(*reader->at - '0');
        digits++;
    }
    if (digits == 0)
        reader->bad = true;
    for (; digits < 9; digits++)
        nanoseconds *= 10;
    return nanoseconds;
}

/* "Z" or "+hh:mm" in seconds. */
static int read_offset(struct reader *reader)
{
    char sign = read_one_of(reader, "Zz+-");
    if (sign == 'Z' || sign == 'z' || sign == '\0')
        return 0;
    int hours = read_number(reader, 2);
    read_one_of(reader, ":");
    int minutes = read_number(reader, 2);
    if (hours > 23 || minutes > 59)
        reader->bad = true;
    int offset = hours * 3600 + minutes * 60;
    return sign == '-' ? -offset : offset;
}

static int month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool fields_valid(const struct time_fields *f)
{
    return f->month >= 1 && f->month <= 12 && f->day >= 1 && f->day <= month_days(f->year, f->month) &&
           f->hour <= 23 && f->minute <= 59 && f->second <= 59;
}

/* A year of five digits or more is a moment out of range rather than no timestamp at all. */
static bool year_too_long(const char *text, size_t len)
{
    size_t digits = 0;
    while (digits < len && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    return digits > 4 && digits < len && text[digits] == '-';
}

struct expr_value time_parse_timestamp(const char *text, size_t len)
{
    struct reader reader = {text, text + len, false};
    struct time_fields fields = {0};
    uint32_t nanoseconds = 0;
    if (year_too_long(text, len))
        return expr_timestamp(INT64_MAX, 0);
    fields.year = read_number(&reader, 4);
    read_one_of(&reader, "-");
    fields.month = read_number(&reader, 2);
    read_one_of(&reader, "-");
    fields.day = read_number(&reader, 2);
    read_one_of(&reader, "Tt");
    fields.hour = read_number(&reader, 2);
    read_one_of(&reader, ":");
    fields.minute = read_number(&reader, 2);
    read_one_of(&reader, ":");
    fields.second = read_number(&reader, 2);
    if (reader.at < reader.end && *reader.at == '.') {
        reader.at++;
        nanoseconds = read_fraction(&reader);
    }
    int offset = read_offset(&reader);
    if (reader.bad || reader.at != reader.end || !fields_valid(&fields))
        return expr_failure(BAD_TIMESTAMP);
    int64_t seconds = time_days(fields.year, fields.month, fields.day) * S_PER_DAY + fields.hour * 3600 +
                      fields.minute * 60 + fields.second - offset;
    return expr_timestamp(seconds, nanoseconds);
}

struct unit {
    const char *name;
    int64_t nanoseconds;
};

static const struct unit *read_unit(struct reader *reader)
{
    /* Longer names first: "ms" is not "m". */
    static const struct unit units[] = {
        {"ns", 1},         {"us", 1000},    {"\xC2\xB5s", 1000},  {"\xCE\xBCs", 1000},
        {"ms", 1000000LL}, {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
    };
    size_t left = (size_t)(reader->end - reader->at);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t length = strlen(units[i].name);
        if (length <= left && memcmp(reader->at, units[i].name, length) == 0) {
            reader->at += length;
            return &units[i];
        }
    }
    reader->bad = true;
    return NULL;
}

enum { DURATION_OK, DURATION_BAD, DURATION_BEYOND };

/* A number and its unit, added to `total`, which counts below zero so that the smallest duration fits. */
static int read_part(struct reader *reader, int64_t *total)
{
    int64_t whole = 0;
    uint32_t fraction = 0;
    bool beyond = false;
    const char *start = reader->at;
    for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++)
        beyond |= __builtin_mul_overflow(whole, 10, &whole) ||
                  __builtin_add_overflow(whole, *reader->at - '0', &whole);
    bool digits = reader->at > start;
    if (reader->at < reader->end && *reader->at == '.') {
        reader->at++;
        if (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
            fraction = read_fraction(reader);
        else if (!digits)
            return DURATION_BAD;
        digits = true;
    }
    const struct unit *unit = digits ? read_unit(reader) : NULL;
    if (unit == NULL)
        return DURATION_BAD;
    int64_t part = 0;
    beyond |= __builtin_mul_overflow(whole, unit->nanoseconds, &part);
    /* in thousandths of the unit, so that the product stays within 64 bits */
    int64_t rest = unit->nanoseconds < 1000 ? 0 : (int64_t)fraction * (unit->nanoseconds / 1000) / 1000000;
    beyond |= __builtin_sub_overflow(*total, part, total) || __builtin_sub_overflow(*total, rest, total);
    return beyond ? DURATION_BEYOND : DURATION_OK;
}

struct expr_value time_parse_duration(const char *text, size_t len)
{
    struct reader reader = {text, text + len, false};
    int64_t total = 0;
    bool beyond = false;
    bool negative = len > 0 && text[0] == '-';
    if (len > 0 && (text[0] == '-' || text[0] == '+'))
        reader.at++;
    if (reader.end - reader.at == 1 && *reader.at == '0')
        return expr_duration_ns(0);
    if (reader.at == reader.end)
        return expr_failure(BAD_DURATION);
    while (reader.at < reader.end) {
        int part = read_part(&reader, &total);
        if (part == DURATION_BAD)
            return expr_failure(BAD_DURATION);
        beyond |= part == DURATION_BEYOND;
    }
    if (beyond || (!negative && __builtin_sub_overflow(0, total, &total)))
        return expr_failure(DURATION_RANGE);
    return expr_duration_ns(total);
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* ".5" for 500000000, nothing for 0. */
static size_t write_fraction(uint32_t nanoseconds, char *out, size_t size)
{
    if (nanoseconds == 0)
        return 0;
    int n = snprintf(out, size, ".%09u", nanoseconds);
    while (out[n - 1] == '0')
        n--;
    return (size_t)n;
}

size_t time_write_timestamp(struct expr_value timestamp, char *out)
{
    struct time_fields f = time_split(timestamp.as.integer);
    size_t n = (size_t)snprintf(out, TIME_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", (int)f.year, f.month,
                                f.day, f.hour, f.minute, f.second);
    n += write_fraction(timestamp.length, out + n, TIME_TEXT_SIZE - n);
    out[n++] = 'Z';
    return n;
}

size_t time_write_duration(struct expr_value duration, char *out)
{
    bool negative = duration.as.integer < 0;
    uint64_t magnitude = negative ? -(uint64_t)duration.as.integer : (uint64_t)duration.as.integer;
    size_t n = (size_t)snprintf(out, TIME_TEXT_SIZE, "%s%llu", negative ? "-" : "",
                                (unsigned long long)(magnitude / (uint64_t)NS_PER_S));
    n += write_fraction((uint32_t)(magnitude % (uint64_t)NS_PER_S), out + n, TIME_TEXT_SIZE - n);
    out[n++] = 's';
    return n;
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */

struct expr_value time_move(struct expr_value timestamp, int64_t nanoseconds, bool back)
{
    int64_t rest = 0;
    int64_t seconds = floor_divide(nanoseconds, NS_PER_S, &rest);
    int64_t sum = 0;
    int64_t carry = floor_divide((int64_t)timestamp.length + (back ? -rest : rest), NS_PER_S, &sum);
    return expr_timestamp(timestamp.as.integer + (back ? -seconds : seconds) + carry, (uint32_t)sum);
}

struct expr_value time_between(struct expr_value left, struct expr_value right)
{
    int64_t nanoseconds = 0;
    int64_t seconds = left.as.integer - right.as.integer;
    if (__builtin_mul_overflow(seconds, NS_PER_S, &nanoseconds) ||
        __builtin_add_overflow(nanoseconds, (int64_t)left.length - (int64_t)right.length, &nanoseconds))
        return expr_failure(DURATION_RANGE);
    return expr_duration_ns(nanoseconds);
}
