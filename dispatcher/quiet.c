#include "dispatcher/quiet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "dispatcher/calendar.h"
#include "dispatcher/expr/time.h"

enum {
    DAYS = 7,
    MIN_PER_DAY = 24 * 60,
    MIN_PER_WEEK = DAYS * MIN_PER_DAY,
    S_PER_WEEK = MIN_PER_WEEK * 60,
    EVERY_DAY = (1 << DAYS) - 1,
    EPOCH_DAY = 3,   /* 1970-01-01 was a Thursday */
    WEEKS_AHEAD = 3, /* enough for QUIET_LONGEST_MS from the end of a week on */
    ANSWERS_MAX = 64,
    ZONE_SIZE = 65,
    FAR_S = 3 * 86400, /* what has ended so long ago cannot touch now, whatever the zone does */
};
static const int64_t day_ms = 86400000;

/* Minutes from Monday 00:00, local time; begins within the week, lasts a week at most. */
struct span {
    int begin, end;
};

/* What holds for a zone from `from_ms` up to `to_ms`. */
struct answer {
    char zone[ZONE_SIZE];
    int64_t from_ms, to_ms;
    int64_t until_ms; /* 0: it is not quiet */
};

struct answers {
    struct answer *list;
    size_t count, size;
};

struct quiet {
    struct span *spans; /* in order, apart from each other within the week */
    size_t count;
    char *zone; /* NULL: the person's */
    enum quiet_action action;
    int pass; /* the lowest priority that rings; -1: none */
    struct answers *answers;
};

/* ---- reading an entry ---- */

static const char *const day_names[DAYS + 1] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun", NULL};

struct reading {
    const char *at;
    char why[128]; /* "": fine */
};

static void skip_blanks(struct reading *r)
{
    r->at += strspn(r->at, " \t");
}

static bool take(struct reading *r, char c)
{
    skip_blanks(r);
    if (*r->at != c)
        return false;
    r->at++;
    skip_blanks(r);
    return true;
}

static bool at_letter(const struct reading *r)
{
    char c = (char)(*r->at | 0x20);
    return c >= 'a' && c <= 'z';
}

static int wrong_day(struct reading *r, size_t len)
{
    if (len == 0) {
        snprintf(r->why, sizeof r->why, "expected a day (mon … sun) at `%.20s`", r->at);
        return -1;
    }
    const char *near = NULL;
    for (int i = 0; i < DAYS && len >= 2; i++)
        if (strncasecmp(r->at, day_names[i], 2) == 0)
            near = day_names[i];
    if (near)
        snprintf(r->why, sizeof r->why, "no day `%.*s`; did you mean `%s`?", (int)len, r->at, near);
    else
        snprintf(r->why, sizeof r->why, "no day `%.*s`; expected mon, tue, wed, thu, fri, sat or sun",
                 (int)len, r->at);
    return -1;
}

/* 0 Monday … 6 Sunday; -1 with the reason. */
static int read_day(struct reading *r)
{
    size_t len = 0;
    for (struct reading ahead = *r; len < 32 && at_letter(&ahead); ahead.at++)
        len++;
    for (int i = 0; i < DAYS; i++)
        if (len == strlen(day_names[i]) && strncasecmp(r->at, day_names[i], len) == 0) {
            r->at += len;
            return i;
        }
    return wrong_day(r, len);
}

/* "sat", "mon-fri", "mon,wed-fri" as a mask; 0 with the reason. */
static unsigned read_days(struct reading *r)
{
    unsigned days = 0;
    do {
        int first = read_day(r), last = first;
        if (first >= 0 && take(r, '-'))
            last = read_day(r);
        if (first < 0 || last < 0)
            return 0;
        for (int i = first;; i = (i + 1) % DAYS) {
            days |= 1u << i;
            if (i == last)
                break;
        }
    } while (take(r, ','));
    skip_blanks(r);
    return days;
}

static int read_digits(struct reading *r, size_t least)
{
    int number = 0;
    size_t count = 0;
    for (; count < 2 && *r->at >= '0' && *r->at <= '9'; count++)
        number = number * 10 + (*r->at++ - '0');
    return count >= least ? number : -1;
}

/* Minutes of the day, 24:00 too if it is an end; -1 with the reason. */
static int read_time(struct reading *r, bool end)
{
    const char *start = r->at;
    int hour = read_digits(r, 1), minute = -1;
    if (hour >= 0 && *r->at == ':') {
        r->at++;
        minute = read_digits(r, 2);
    }
    bool good = hour >= 0 && minute >= 0 && minute <= 59 && hour * 60 + minute <= MIN_PER_DAY - !end;
    if (good && !(*r->at >= '0' && *r->at <= '9'))
        return hour * 60 + minute;
    snprintf(r->why, sizeof r->why, "expected a time from 00:00 to %s at `%.20s`", end ? "24:00" : "23:59",
             start);
    return -1;
}

/* ---- spans ---- */

static void add_span(struct quiet *q, int begin, int end)
{
    q->spans = xreallocarray(q->spans, q->count + 1, sizeof *q->spans);
    q->spans[q->count++] = (struct span){begin, end};
}

static void add_days(struct quiet *q, unsigned days, int begin, int end)
{
    for (int i = 0; i < DAYS; i++)
        if (days & 1u << i)
            add_span(q, i * MIN_PER_DAY + begin, i * MIN_PER_DAY + end);
}

static void same_time(struct reading *r)
{
    snprintf(r->why, sizeof r->why, "begins and ends at the same time; a whole day is 00:00-24:00");
}

/* What follows the days: "22:00-07:00", or "18:00-mon 07:00" behind a single one. */
static void read_hours(struct quiet *q, struct reading *r, unsigned days)
{
    int begin = read_time(r, false), end = -1;
    if (begin >= 0 && !take(r, '-'))
        snprintf(r->why, sizeof r->why, "expected `-` and an end at `%.20s`", r->at);
    if (r->why[0])
        return;
    bool single = (days & (days - 1)) == 0;
    int last = single && at_letter(r) ? read_day(r) : -1;
    skip_blanks(r);
    if (!r->why[0])
        end = read_time(r, true);
    if (r->why[0])
        return;
    if (last < 0) {
        if (begin == end)
            same_time(r);
        add_days(q, days, begin, end > begin ? end : end + MIN_PER_DAY);
        return;
    }
    int from = __builtin_ctz(days) * MIN_PER_DAY + begin, to = last * MIN_PER_DAY + end;
    if (from == to)
        same_time(r);
    add_span(q, from, to > from ? to : to + MIN_PER_WEEK);
}

static void read_entry(struct quiet *q, const struct slice_block *block, const struct slice_setting *s,
                       size_t number, struct faults *faults)
{
    const char *text = s->list[number];
    struct reading r = {.at = text};
    skip_blanks(&r);
    unsigned days = at_letter(&r) ? read_days(&r) : EVERY_DAY;
    if (!r.why[0] && *r.at == '\0' && r.at != text)
        add_days(q, days, 0, MIN_PER_DAY);
    else if (!r.why[0])
        read_hours(q, &r, days);
    skip_blanks(&r);
    if (!r.why[0] && *r.at)
        snprintf(r.why, sizeof r.why, "expected nothing more at `%.20s`", r.at);
    if (r.why[0])
        faults_add(faults, block->file, s->lines ? s->lines[number] : s->line, "`quiet_hours`: `%.60s`: %s",
                   text, r.why);
}

static int by_begin(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->begin != y->begin ? x->begin - y->begin : x->end - y->end;
}

static void join_spans(struct quiet *q)
{
    size_t kept = 0;
    if (!q->count)
        return;
    qsort(q->spans, q->count, sizeof *q->spans, by_begin);
    for (size_t i = 1; i < q->count; i++) {
        struct span *last = &q->spans[kept], *next = &q->spans[i];
        if (next->begin > last->end)
            q->spans[++kept] = *next;
        else if (next->end > last->end)
            last->end = next->end;
    }
    q->count = kept + 1;
}

/* ---- the block ---- */

static const char *const action_names[] = {"hold", "drop", "pass", NULL};
static const char *const pass_names[] = {"none", "critical", "normal", "bulk", NULL};

/* The number of the word of a setting, OTHERWISE if it is unset. */
static int word_of(const struct slice_block *block, const char *name, const char *const *words, int otherwise,
                   struct faults *faults)
{
    const struct slice_setting *s = slice_get(block, name);
    char expected[64] = "";
    if (!s || !s->text)
        return otherwise;
    for (int i = 0; words[i]; i++) {
        size_t len = strlen(expected);
        snprintf(expected + len, sizeof expected - len, "%s%s", i ? ", " : "", words[i]);
        if (strcmp(s->text, words[i]) == 0)
            return i;
    }
    faults_add(faults, block->file, s->line, "`%s`: `%s`: expected one of %s", name, s->text, expected);
    return otherwise;
}

struct quiet *quiet_new(const struct slice_block *block, struct faults *faults)
{
    const struct slice_setting *s = slice_get(block, "quiet_hours");
    if (!s || s->count == 0) {
        calendar_check_zone(block, "quiet_zone", faults);
        return NULL;
    }
    size_t before = faults->count;
    struct quiet *q = xcalloc(1, sizeof *q);
    for (size_t i = 0; i < s->count; i++)
        read_entry(q, block, s, i, faults);
    join_spans(q);
    q->action = (enum quiet_action)word_of(block, "quiet_action", action_names, QUIET_HOLD, faults);
    q->pass = word_of(block, "quiet_pass", pass_names, 1 + PRIORITY_CRITICAL, faults) - 1;
    calendar_check_zone(block, "quiet_zone", faults);
    const char *zone = slice_text(block, "quiet_zone", NULL);
    q->zone = zone ? xstrdup(zone) : NULL;
    q->answers = xcalloc(1, sizeof *q->answers);
    if (faults->count > before)
        quiet_free(&q);
    return q;
}

void quiet_free(struct quiet **p)
{
    struct quiet *q = *p;
    if (!q)
        return;
    *p = NULL;
    free(q->spans);
    free(q->zone);
    free(q->answers->list);
    free(q->answers);
    free(q);
}

enum quiet_action quiet_action(const struct quiet *q)
{
    return q->action;
}

bool quiet_passes(const struct quiet *q, enum job_priority priority)
{
    return q->action == QUIET_PASS || (int)priority <= q->pass;
}

/* ---- when ---- */

/* Monday 00:00 of the week of a local time, as local time. */
static int64_t week_begin(int64_t local_s)
{
    int64_t since = local_s + (int64_t)EPOCH_DAY * 86400;
    int64_t week = since / S_PER_WEEK - (since % S_PER_WEEK < 0);
    return week * S_PER_WEEK - (int64_t)EPOCH_DAY * 86400;
}

/* Quiet moments that are joined as they come; in order of their begin. */
struct joined {
    int64_t from_ms, until_ms;
};

/* True when what holds at NOW_MS is clear: J covers it, or the next one begins only later, at *NEXT_MS. */
static bool join(struct joined *j, int64_t begin_ms, int64_t end_ms, int64_t now_ms, int64_t *next_ms)
{
    if (end_ms <= begin_ms)
        return false;
    if (begin_ms > j->until_ms) {
        if (j->until_ms > now_ms)
            return true;
        if (begin_ms > now_ms) {
            *next_ms = begin_ms;
            return true;
        }
        j->from_ms = begin_ms;
    }
    if (end_ms > j->until_ms)
        j->until_ms = end_ms;
    return false;
}

/* Walks the spans of the weeks around NOW_MS; true if the walk came to a clear end. */
static bool walk(const struct quiet *q, const struct expr_zone *zone, int64_t now_ms, struct joined *j,
                 int64_t *next_ms)
{
    int64_t now_s = now_ms / 1000, local_s = now_s + expr_zone_offset(zone, now_s);
    int64_t week_s = week_begin(local_s) - S_PER_WEEK;
    for (int week = -1; week < WEEKS_AHEAD; week++, week_s += S_PER_WEEK)
        for (size_t i = 0; i < q->count; i++) {
            int64_t begin_s = week_s + q->spans[i].begin * 60, end_s = week_s + q->spans[i].end * 60;
            if (end_s < local_s - FAR_S)
                continue;
            if (join(j, calendar_moment_ms(zone, begin_s), calendar_moment_ms(zone, end_s), now_ms, next_ms))
                return true;
        }
    return false;
}

static void find_answer(const struct quiet *q, const char *zone_name, int64_t now_ms, struct answer *a)
{
    struct joined j = {INT64_MIN, INT64_MIN};
    int64_t next_ms = 0;
    bool clear = walk(q, calendar_zone(zone_name), now_ms, &j, &next_ms);
    bool is_quiet = j.until_ms > now_ms;
    a->until_ms = is_quiet ? j.until_ms : 0;
    a->from_ms = is_quiet && j.from_ms > INT64_MIN ? j.from_ms : now_ms;
    a->to_ms = is_quiet ? j.until_ms : next_ms;
    /* A quiet time that reaches as far as was looked may be longer; it is looked at again long before. */
    if (!clear)
        a->to_ms = now_ms + day_ms;
}

/* That of the zone, or an empty one. Most rules see few zones, and there may be many rules. */
static struct answer *answer_for(struct answers *kept, const char *zone)
{
    for (size_t i = 0; i < kept->count; i++)
        if (strcmp(kept->list[i].zone, zone) == 0)
            return &kept->list[i];
    if (kept->count == ANSWERS_MAX)
        kept->count = 0;
    if (kept->count == kept->size) {
        kept->size = kept->size ? kept->size * 2 : 1;
        kept->list = xreallocarray(kept->list, kept->size, sizeof *kept->list);
    }
    struct answer *a = &kept->list[kept->count++];
    *a = (struct answer){.from_ms = INT64_MAX};
    memcpy(a->zone, zone, strlen(zone) + 1);
    return a;
}

int64_t quiet_until_ms(const struct quiet *q, const char *person_zone, int64_t now_ms)
{
    if (!q)
        return 0;
    const char *zone = q->zone ? q->zone : person_zone;
    if (!zone || strlen(zone) >= ZONE_SIZE)
        zone = "UTC";
    struct answer *a = answer_for(q->answers, zone);
    if (now_ms < a->from_ms || now_ms >= a->to_ms)
        find_answer(q, zone, now_ms, a);
    int64_t longest_ms = now_ms + QUIET_LONGEST_MS;
    return a->until_ms > longest_ms ? longest_ms : a->until_ms;
}
