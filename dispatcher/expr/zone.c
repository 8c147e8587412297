#include "dispatcher/expr/zone.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dispatcher/expr/time.h"

#define ZONE_NAME_LIMIT 64u
#define ZONE_FILE_LIMIT 262144
#define ZONE_DIRECTORY "/usr/share/zoneinfo"
#define HEADER_SIZE 44u
#define S_PER_DAY 86400

/* When summer time begins or ends in the rule for the time after the last entry of the file. */
struct change {
    char kind; /* 'M' month.week.day, 'J' day 1..365 without leap days, '0' day 0..365 */
    int month;
    int week;
    int day;
    int32_t seconds; /* of that day, local time; may be negative or beyond a day */
};

struct rule {
    bool present;
    bool summer; /* there is summer time */
    int32_t standard_offset;
    int32_t summer_offset;
    struct change begin;
    struct change end;
};

struct expr_zone {
    size_t count;
    const int64_t *times;   /* ascending */
    const int32_t *offsets; /* from times[i] on */
    int32_t first_offset;   /* before times[0] */
    struct rule rule;
};

/* ---- Fixed offsets --------------------------------------------------------------------------- */

/* "+hh:mm"; the sign and the first digit of the hour may be missing. */
static bool parse_fixed(const char *name, size_t len, int32_t *offset)
{
    bool negative = len > 0 && name[0] == '-';
    int numbers[2] = {0, 0};
    size_t digits[2] = {0, 0};
    int part = 0;
    for (size_t i = len > 0 && (name[0] == '-' || name[0] == '+'); i < len; i++) {
        if (name[i] == ':' && part == 0) {
            part = 1;
        } else if (name[i] < '0' || name[i] > '9' || ++digits[part] > 2) {
            return false;
        } else {
            numbers[part] = numbers[part] * 10 + (name[i] - '0');
        }
    }
    if (digits[0] == 0 || digits[1] != 2 || numbers[0] > 23 || numbers[1] > 59)
        return false;
    *offset = (numbers[0] * 3600 + numbers[1] * 60) * (negative ? -1 : 1);
    return true;
}

static struct expr_zone *fixed_zone(int32_t offset, struct expr_arena *arena)
{
    struct expr_zone *zone = expr_arena_alloc(arena, sizeof *zone);
    if (zone != NULL) {
        memset(zone, 0, sizeof *zone);
        zone->first_offset = offset;
    }
    return zone;
}

/* ---- The rule at the end of a file: POSIX TZ text -------------------------------------------- */

struct scan {
    const char *at;
    const char *end;
    bool bad;
};

static bool scan_is(struct scan *scan, char c)
{
    if (scan->at >= scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static int scan_number(struct scan *scan, int limit)
{
    int number = 0;
    const char *start = scan->at;
    for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9' && number <= limit; scan->at++)
        number = number * 10 + (*scan->at - '0');
    if (scan->at == start || number > limit)
        scan->bad = true;
    return number;
}

/* "CET" or "<+0330>", which only have to be there. */
static void scan_name(struct scan *scan)
{
    const char *start = scan->at;
    if (scan_is(scan, '<')) {
        while (scan->at < scan->end && *scan->at != '>')
            scan->at++;
        if (!scan_is(scan, '>'))
            scan->bad = true;
        return;
    }
    while (scan->at < scan->end &&
           ((*scan->at >= 'A' && *scan->at <= 'Z') || (*scan->at >= 'a' && *scan->at <= 'z')))
        scan->at++;
    if (scan->at == start)
        scan->bad = true;
}

/* "[+-]hh[:mm[:ss]]" in seconds. */
static int32_t scan_time(struct scan *scan)
{
    int sign = scan_is(scan, '-') ? -1 : 1;
    if (sign > 0)
        scan_is(scan, '+');
    int32_t seconds = scan_number(scan, 167) * 3600;
    if (scan_is(scan, ':')) {
        seconds += scan_number(scan, 59) * 60;
        if (scan_is(scan, ':'))
            seconds += scan_number(scan, 59);
    }
    return sign * seconds;
}

static struct change scan_change(struct scan *scan)
{
    struct change change = {.kind = '0', .seconds = 7200};
    if (!scan_is(scan, ','))
        scan->bad = true;
    if (scan_is(scan, 'M')) {
        change.kind = 'M';
        change.month = scan_number(scan, 12);
        scan->bad |= !scan_is(scan, '.');
        change.week = scan_number(scan, 5);
        scan->bad |= !scan_is(scan, '.');
        change.day = scan_number(scan, 6);
        scan->bad |= change.month < 1 || change.week < 1;
    } else {
        if (scan_is(scan, 'J'))
            change.kind = 'J';
        change.day = scan_number(scan, 365);
    }
    if (scan_is(scan, '/'))
        change.seconds = scan_time(scan);
    return change;
}

static bool parse_rule(const char *text, size_t len, struct rule *rule)
{
    struct scan scan = {text, text + len, false};
    memset(rule, 0, sizeof *rule);
    scan_name(&scan);
    rule->standard_offset = -scan_time(&scan);
    if (!scan.bad && scan.at < scan.end) {
        rule->summer = true;
        scan_name(&scan);
        rule->summer_offset = rule->standard_offset + 3600;
        if (scan.at < scan.end && *scan.at != ',')
            rule->summer_offset = -scan_time(&scan);
        rule->begin = scan_change(&scan);
        rule->end = scan_change(&scan);
    }
    rule->present = !scan.bad && scan.at == scan.end;
    return rule->present;
}

/* The day of the change, counted from 1970. */
static int64_t change_day(const struct change *change, int64_t year)
{
    int64_t first = time_days(year, 1, 1);
    bool leap = time_days(year + 1, 1, 1) - first == 366;
    if (change->kind == 'J')
        return first + change->day - 1 + (leap && change->day >= 60);
    if (change->kind == '0')
        return first + change->day;
    int64_t month = time_days(year, change->month, 1);
    int64_t next = change->month == 12 ? time_days(year + 1, 1, 1) : time_days(year, change->month + 1, 1);
    int64_t weekday = ((month + 4) % 7 + 7) % 7;
    int64_t day = month + (change->day - weekday + 7) % 7 + 7 * (change->week - 1);
    return day >= next ? day - 7 : day;
}

static int32_t rule_offset(const struct rule *rule, int64_t seconds)
{
    if (!rule->summer)
        return rule->standard_offset;
    int64_t year = time_split(seconds + rule->standard_offset).year;
    int64_t begin = change_day(&rule->begin, year) * S_PER_DAY + rule->begin.seconds - rule->standard_offset;
    int64_t end = change_day(&rule->end, year) * S_PER_DAY + rule->end.seconds - rule->summer_offset;
    bool summer = begin <= end ? seconds >= begin && seconds < end : seconds >= begin || seconds < end;
    return summer ? rule->summer_offset : rule->standard_offset;
}

/* ---- The file -------------------------------------------------------------------------------- */

struct counts {
    uint32_t utc;
    uint32_t standard;
    uint32_t leaps;
    uint32_t times;
    uint32_t types;
    uint32_t letters;
};

static uint32_t read_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool read_header(const unsigned char *p, size_t left, struct counts *counts)
{
    if (left < HEADER_SIZE || memcmp(p, "TZif", 4) != 0)
        return false;
    *counts = (struct counts){read_u32(p + 20), read_u32(p + 24), read_u32(p + 28),
                              read_u32(p + 32), read_u32(p + 36), read_u32(p + 40)};
    return counts->times <= 10000 && counts->types >= 1 && counts->types <= 256 && counts->letters <= 10000 &&
           counts->leaps <= 1000 && counts->utc <= 256 && counts->standard <= 256;
}

static size_t block_size(const struct counts *c, size_t time_size)
{
    return c->times * (time_size + 1) + c->types * 6u + c->letters + c->leaps * (time_size + 4) +
           c->standard + c->utc;
}

static int64_t read_time(const unsigned char *p)
{
    return (int64_t)((uint64_t)read_u32(p) << 32 | read_u32(p + 4));
}

static bool read_block(const unsigned char *p, const struct counts *c, struct expr_zone *zone,
                       struct expr_arena *arena)
{
    int64_t *times = expr_arena_alloc(arena, c->times * sizeof *times);
    int32_t *offsets = expr_arena_alloc(arena, c->times * sizeof *offsets);
    const unsigned char *kinds = p + c->times * 8u;
    const unsigned char *types = kinds + c->times;
    if (times == NULL || offsets == NULL)
        return false;
    for (size_t i = 0; i < c->times; i++) {
        times[i] = read_time(p + i * 8);
        if (kinds[i] >= c->types || (i > 0 && times[i] <= times[i - 1]))
            return false;
        offsets[i] = (int32_t)read_u32(types + kinds[i] * 6u);
        if (offsets[i] < -S_PER_DAY || offsets[i] > S_PER_DAY)
            return false;
    }
    zone->times = times;
    zone->offsets = offsets;
    zone->count = c->times;
    zone->first_offset = (int32_t)read_u32(types);
    return zone->first_offset >= -S_PER_DAY && zone->first_offset <= S_PER_DAY;
}

/* The second, 64-bit half of the file and the rule behind it. */
static bool parse_file(const unsigned char *file, size_t size, struct expr_zone *zone,
                       struct expr_arena *arena)
{
    struct counts counts;
    if (!read_header(file, size, &counts) || file[4] < '2')
        return false;
    size_t skip = HEADER_SIZE + block_size(&counts, 4);
    if (skip > size || !read_header(file + skip, size - skip, &counts))
        return false;
    const unsigned char *block = file + skip + HEADER_SIZE;
    size_t left = size - skip - HEADER_SIZE;
    size_t length = block_size(&counts, 8);
    if (length > left || !read_block(block, &counts, zone, arena))
        return false;
    const char *footer = (const char *)block + length;
    left -= length;
    if (left < 2 || footer[0] != '\n' || footer[left - 1] != '\n')
        return true; /* no rule: the last entry holds for ever */
    return left == 2 || parse_rule(footer + 1, left - 2, &zone->rule);
}

static unsigned char *read_file(const char *path, size_t *size)
{
    unsigned char *content = NULL;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size <= ZONE_FILE_LIMIT) {
        content = malloc((size_t)status.st_size + 1);
        ssize_t got = content == NULL ? -1 : read(fd, content, (size_t)status.st_size);
        if (got < 0) {
            free(content);
            content = NULL;
        } else {
            *size = (size_t)got;
        }
    }
    close(fd);
    return content;
}

static bool name_valid(const char *name, size_t len)
{
    if (len == 0 || len > ZONE_NAME_LIMIT || name[0] == '/' || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '/' && c != '_' && c != '-' && c != '+')
            return false;
    }
    return true;
}

const struct expr_zone *expr_zone_load(const char *name, size_t len, struct expr_arena *arena)
{
    int32_t offset = 0;
    char path[512];
    size_t size = 0;
    if (parse_fixed(name, len, &offset))
        return fixed_zone(offset, arena);
    if ((len == 3 && memcmp(name, "UTC", 3) == 0) || (len == 1 && name[0] == 'Z'))
        return fixed_zone(0, arena);
    if (!name_valid(name, len))
        return NULL;
    const char *directory = getenv("TZDIR");
    int length = snprintf(path, sizeof path, "%s/%.*s", directory != NULL ? directory : ZONE_DIRECTORY,
                          (int)len, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return NULL;
    unsigned char *content = read_file(path, &size);
    struct expr_zone *zone = content == NULL ? NULL : fixed_zone(0, arena);
    bool good = zone != NULL && parse_file(content, size, zone, arena);
    free(content);
    return good ? zone : NULL;
}

int32_t expr_zone_offset(const struct expr_zone *zone, int64_t seconds)
{
    if (zone->rule.present && (zone->count == 0 || seconds >= zone->times[zone->count - 1]))
        return rule_offset(&zone->rule, seconds);
    size_t low = 0;
    size_t high = zone->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->times[middle] <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? zone->first_offset : zone->offsets[low - 1];
}
