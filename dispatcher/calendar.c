#include "dispatcher/calendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/time.h"
#include "dispatcher/rules_table.h"

enum {
    ZONES_MAX = 256,
    ZONE_BYTES = 512 * 1024,
    ZONE_FIRST_BYTES = 256,
    S_PER_DAY = 86400,
    REACH_S = 26 * 3600, /* local time is never further from UTC */
    STEP_S = 3 * 3600,   /* clocks are not changed twice in such a time */
    NAMES_MAX = 1000,
};
static const char names_file[] = "/usr/share/zoneinfo/tzdata.zi";

/* ---- zones in memory ---- */

struct period {
    int64_t start_ms, end_ms;
    char name[CALENDAR_NAME_SIZE];
};

struct zone_entry {
    struct expr_arena *arena;
    const struct expr_zone *zone; /* NULL: there is none of this name */
    struct period periods[CALENDAR_MONTH + 1];
};

static struct {
    struct rules_table *names;
    struct zone_entry list[ZONES_MAX];
} zones;

void calendar_free(void)
{
    size_t count = zones.names ? rules_table_count(zones.names) : 0;
    for (size_t i = 0; i < count; i++)
        expr_arena_free(&zones.list[i].arena);
    rules_table_free(&zones.names);
}

static struct zone_entry *find_entry(const char *name)
{
    size_t len = strlen(name);
    int64_t at = zones.names ? rules_table_find(zones.names, name, len) : RULES_TABLE_NONE;
    if (at != RULES_TABLE_NONE)
        return &zones.list[at];
    if (zones.names && rules_table_count(zones.names) == ZONES_MAX)
        calendar_free();
    if (!zones.names)
        zones.names = rules_table_new();
    struct zone_entry *e = &zones.list[rules_table_add(zones.names, name, len)];
    *e = (struct zone_entry){.arena = expr_arena_sized(ZONE_BYTES, ZONE_FIRST_BYTES)};
    e->zone = expr_zone_load(name, len, e->arena);
    return e;
}

/* One with a zone. */
static struct zone_entry *entry_or_utc(const char *name)
{
    struct zone_entry *e = name ? find_entry(name) : NULL;
    return e && e->zone ? e : find_entry("UTC");
}

const struct expr_zone *calendar_zone(const char *name)
{
    return entry_or_utc(name)->zone;
}

static bool zone_exists(const char *name)
{
    return find_entry(name)->zone != NULL;
}

/* ---- local times ---- */

/* The first moment in (FROM, TO] whose offset differs from that of FROM; one is known to be there. */
static int64_t find_change(const struct expr_zone *zone, int64_t from, int64_t to)
{
    int32_t before = expr_zone_offset(zone, from);
    while (to - from > 1) {
        int64_t middle = from + (to - from) / 2;
        if (expr_zone_offset(zone, middle) == before)
            from = middle;
        else
            to = middle;
    }
    return to;
}

int64_t calendar_moment_ms(const struct expr_zone *zone, int64_t local_s)
{
    int64_t at = local_s - REACH_S, end = local_s + REACH_S;
    while (at < end) {
        int32_t offset = expr_zone_offset(zone, at);
        int64_t next = at + STEP_S;
        if (expr_zone_offset(zone, next) != offset)
            next = find_change(zone, at, next);
        int64_t moment = local_s - offset > at ? local_s - offset : at;
        if (moment < next)
            return moment * 1000;
        at = next;
    }
    return end * 1000;
}

/* ---- days and months ---- */

static int64_t floor_s(int64_t ms)
{
    return ms / 1000 - (ms % 1000 < 0);
}

/* The date on which a unit begins, as days since 1970, and what it is called. */
static int64_t unit_begin(const struct time_fields *date, enum calendar_unit unit,
                          char name[CALENDAR_NAME_SIZE])
{
    bool month = unit == CALENDAR_MONTH;
    /* Years are of moments in milliseconds, which may be far away: the text is cut, not the stack. */
    int year = (int)(date->year > 9999 ? 9999 : date->year < 0 ? 0 : date->year);
    if (month)
        snprintf(name, CALENDAR_NAME_SIZE, "%04d-%02d", year, date->month % 100);
    else
        snprintf(name, CALENDAR_NAME_SIZE, "%04d-%02d-%02d", year, date->month % 100, date->day % 100);
    return time_days(date->year, date->month, month ? 1 : date->day);
}

static int64_t unit_end(const struct time_fields *date, enum calendar_unit unit)
{
    if (unit == CALENDAR_DAY)
        return time_days(date->year, date->month, date->day) + 1;
    return date->month == 12 ? time_days(date->year + 1, 1, 1) : time_days(date->year, date->month + 1, 1);
}

static struct period find_period(const struct expr_zone *zone, int64_t now_ms, enum calendar_unit unit)
{
    struct period p;
    int64_t now_s = floor_s(now_ms);
    int64_t local_s = now_s + expr_zone_offset(zone, now_s);
    for (;;) {
        struct time_fields date = time_split(local_s);
        int64_t end_s = unit_end(&date, unit) * S_PER_DAY;
        p.start_ms = calendar_moment_ms(zone, unit_begin(&date, unit, p.name) * S_PER_DAY);
        p.end_ms = calendar_moment_ms(zone, end_s);
        if (now_ms < p.end_ms)
            return p;
        /* Clocks went back over midnight: what comes again of the old day belongs to the new one. */
        local_s = end_s;
    }
}

void calendar_period(const char *zone, int64_t now_ms, enum calendar_unit unit, int64_t *start_ms,
                     int64_t *end_ms, char name[CALENDAR_NAME_SIZE])
{
    struct zone_entry *e = entry_or_utc(zone);
    struct period *p = &e->periods[unit];
    if (now_ms < p->start_ms || now_ms >= p->end_ms)
        *p = find_period(e->zone, now_ms, unit);
    *start_ms = p->start_ms;
    *end_ms = p->end_ms;
    memcpy(name, p->name, sizeof p->name);
}

/* ---- names ---- */

/* Of "Z Europe/Warsaw …" and "L Europe/Warsaw Poland" the name in LINE, NUL-terminated; NULL: another line.
 */
static char *name_in(char *line)
{
    char *rest = NULL, *kind = strtok_r(line, " \n", &rest), *first = strtok_r(NULL, " \n", &rest);
    if (kind && first && strcmp(kind, "Z") == 0)
        return first;
    return kind && first && strcmp(kind, "L") == 0 ? strtok_r(NULL, " \n", &rest) : NULL;
}

/* The name of an existing zone; the caller's. NULL: none is near. */
static char *nearest_zone(const char *name)
{
    char line[256], *near = NULL, **names = xcalloc(NAMES_MAX + 1, sizeof *names);
    size_t count = 0;
    FILE *in = fopen(names_file, "re");
    while (in && count < NAMES_MAX && fgets(line, sizeof line, in)) {
        const char *word = name_in(line);
        if (word)
            names[count++] = xstrdup(word);
    }
    if (in)
        fclose(in);
    const char *found = str_nearest(name, (const char *const *)names);
    near = found ? xstrdup(found) : NULL;
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return near;
}

bool calendar_check_zone(const struct slice_block *block, const char *name, struct faults *faults)
{
    const struct slice_setting *s = slice_get(block, name);
    if (!s || !s->text || zone_exists(s->text))
        return true;
    char *near = nearest_zone(s->text);
    if (near)
        faults_add(faults, block->file, s->line,
                   "`%s`: `%s`: no such time zone is installed; did you mean `%s`?", name, s->text, near);
    else
        faults_add(
            faults, block->file, s->line,
            "`%s`: `%s`: no such time zone is installed; expected one such as Europe/Warsaw, UTC or +02:00",
            name, s->text);
    free(near);
    return false;
}
