/*
 * `tool replay`: what events of the past would have led to under a configuration, and under another.
 *
 *     tool replay --slices FD --rules NAME [--against NAME] [--journal NAME] [--store NAME] [--since-ms N]
 *                 [--until-ms N] [--bridge NAME] [--numbers 1] [--texts 1] [--suppressed 1] [--progress 1]
 *                 [FILE …]
 *
 * The configuration of --journal says where the journal is, that of --store whose silences and opt-outs
 * count.
 *
 * Lines: {"what":"progress"}, {"what":"sent"}, {"what":"merged"}, {"what":"suppressed"}; with --against
 * {"what":"added"}, {"what":"vanished"} and {"what":"changed"} instead; at the end {"what":"summary"}.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "dispatcher/journal_files.h"
#include "dispatcher/journal_read.h"
#include "dispatcher/replay.h"
#include "dispatcher/rules_parts.h"
#include "dispatcher/tool_parts.h"

enum { PROGRESS_EVERY_MS = 100, PROGRESS_EVERY_EVENTS = 256 };

struct words {
    const char *slices, *rules, *against, *journal, *store, *since, *until, *bridge;
    const char *numbers, *texts, *suppressed, *progress;
};

struct replaying {
    const struct slice *slice, *other; /* OTHER: what it is compared with; NULL: nothing */
    struct engine *engine, *other_engine;
    struct replay_side side, other_side;
    struct tool_recalled recalled;
    uint64_t strange;     /* events of bridges that the configuration does not have */
    char *strange_bridge; /* the first of them */
    struct journal_reader *reader;
    struct tool_shown shown;
    bool suppressed, progress;
    int64_t since_ms, first_ms, last_ms;
    uint64_t told_ms;
    struct replay_diff diff;
};

/* ---- outcomes ---- */

static void on_outcome(void *arg, const struct engine_outcome *o)
{
    struct replaying *r = arg;
    replay_side_add(&r->side, o, r->other != NULL);
    if (!r->other && (o->fate == ENGINE_SENT || r->suppressed))
        tool_print(tool_outcome(o, r->shown));
}

static void on_other(void *arg, const struct engine_outcome *o)
{
    struct replaying *r = arg;
    replay_side_add(&r->other_side, o, true);
}

static int compare_step(struct replaying *r)
{
    if (r->other)
        replay_compare(&r->other_side, &r->side, r->shown, &r->diff, tool_print);
    return 0;
}

/* ---- running ---- */

static void tell_progress(struct replaying *r, bool end)
{
    const struct journal_counts *c = journal_reader_counts(r->reader);
    uint64_t now_ms = clock_mono_ms();
    if (!r->progress || (!end && now_ms - r->told_ms < PROGRESS_EVERY_MS))
        return;
    r->told_ms = now_ms;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "what", "progress");
    cJSON_AddNumberToObject(o, "done", (double)c->bytes);
    cJSON_AddNumberToObject(o, "of", (double)c->bytes_total);
    cJSON_AddNumberToObject(o, "events", (double)c->events);
    tool_print(o);
    fflush(stdout);
}

static void note_bridge(struct replaying *r, const struct event *e)
{
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)e->bridge.len, e->bridge.data ? e->bridge.data : "");
    if (slice_find(r->slice, "bridge", name))
        return;
    r->strange++;
    if (!r->strange_bridge)
        r->strange_bridge = xstrdup(name);
}

static int feed(struct replaying *r, const struct event *e, int64_t at_ms)
{
    note_bridge(r, e);
    if (r->first_ms < 0)
        r->first_ms = at_ms;
    r->last_ms = at_ms;
    if (engine_feed(r->engine, e, at_ms) || (r->other && engine_feed(r->other_engine, e, at_ms)))
        return -1;
    return compare_step(r);
}

/* Digests that are open at the end close at their times; each may be due on its own. */
static int finish(struct replaying *r)
{
    for (;;) {
        int64_t a = engine_next_due_ms(r->engine);
        int64_t b = r->other ? engine_next_due_ms(r->other_engine) : -1;
        int64_t next = a < 0 ? b : b < 0 ? a : a < b ? a : b;
        if (next < 0)
            return 0;
        if (engine_advance(r->engine, next) || (r->other && engine_advance(r->other_engine, next)))
            return -1;
        compare_step(r);
    }
}

static int run(struct replaying *r)
{
    struct event e;
    int64_t at_ms;
    uint64_t n = 0;
    while (journal_reader_next(r->reader, &e, &at_ms)) {
        if (feed(r, &e, at_ms))
            return -1;
        if (++n % PROGRESS_EVERY_EVENTS == 0)
            tell_progress(r, false);
    }
    tell_progress(r, true);
    return finish(r);
}

/* ---- summary ---- */

/* SINCE_MS: from when on events were asked for. */
static void add_reader(cJSON *o, const struct journal_counts *c, int64_t since_ms)
{
    cJSON *read = cJSON_AddObjectToObject(o, "read");
    cJSON_AddNumberToObject(read, "events", (double)c->events);
    cJSON_AddNumberToObject(read, "files", (double)c->files);
    cJSON_AddNumberToObject(read, "outside", (double)c->outside);
    cJSON_AddNumberToObject(read, "damaged", (double)c->damaged);
    cJSON_AddNumberToObject(read, "torn", (double)c->torn);
    cJSON_AddNumberToObject(read, "out_of_order", (double)c->out_of_order);
    if (c->begins_ms > since_ms && since_ms > INT64_MIN)
        tool_add_time(read, "begins", c->begins_ms);
    if (c->first_damage[0])
        cJSON_AddStringToObject(read, "first_damage", c->first_damage);
    cJSON *held = cJSON_AddArrayToObject(read, "journal");
    if (c->wanted)
        cJSON_AddItemToArray(held, cJSON_CreateString("wanted"));
    if (c->all)
        cJSON_AddItemToArray(held, cJSON_CreateString("all"));
    if (c->captured)
        cJSON_AddItemToArray(held, cJSON_CreateString("captured"));
}

static void add_engine(cJSON *o, const struct engine *e)
{
    const struct engine_counts *c = engine_counts(e);
    cJSON_AddNumberToObject(o, "matched", (double)c->matched);
    cJSON_AddNumberToObject(o, "known", (double)c->known);
    cJSON_AddNumberToObject(o, "members_unknown", (double)c->no_members);
}

static void summarise(struct replaying *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "what", "summary");
    add_reader(o, journal_reader_counts(r->reader), r->since_ms);
    cJSON_AddNumberToObject(o, "other_bridges", (double)r->strange);
    if (r->strange_bridge)
        cJSON_AddStringToObject(o, "other_bridge", r->strange_bridge);
    if (r->first_ms >= 0) {
        tool_add_time(o, "from", r->first_ms);
        tool_add_time(o, "to", r->last_ms);
    }
    if (r->first_ms >= 0)
        tool_add_recalled(o, &r->recalled, r->engine, r->first_ms, engine_now_ms(r->engine));
    cJSON_AddStringToObject(o, "currency", tool_currency(r->slice));
    add_engine(o, r->engine);
    cJSON_AddItemToObject(o, "rules", replay_rules(engine_rules(r->engine), &r->side));
    cJSON_AddItemToObject(o, "total", replay_total(&r->side));
    if (r->other) {
        cJSON *was = cJSON_AddObjectToObject(o, "was");
        add_engine(was, r->other_engine);
        cJSON_AddItemToObject(was, "rules", replay_rules(engine_rules(r->other_engine), &r->other_side));
        cJSON_AddItemToObject(was, "total", replay_total(&r->other_side));
        cJSON_AddItemToObject(o, "diff", replay_diff_json(&r->diff));
    }
    tool_print(o);
}

/* ---- setting up ---- */

static int open_engines(struct replaying *r, const struct slice *store)
{
    struct faults faults = {0};
    r->engine = engine_new(r->slice, on_outcome, r, &faults);
    if (r->engine && r->other)
        r->other_engine = engine_new(r->other, on_other, r, &faults);
    if (faults.count)
        return tool_faults(&faults);
    tool_recall(store, r->engine, &r->recalled);
    if (r->other)
        tool_recall(store, r->other_engine, &r->recalled);
    return TOOL_FINE;
}

/* Captured notifications do not say which bridge they came from. */
static const char *bridge_of(const struct words *w, const struct slice *slice)
{
    const struct slice_block *b = slice_find(slice, "bridge", NULL);
    return w->bridge ? w->bridge : b ? b->title : "main";
}

static int open_reader(struct replaying *r, const struct words *w, const struct slice *journal, char **files,
                       size_t count)
{
    char why[512];
    if (w->bridge && !slice_find(r->slice, "bridge", w->bridge))
        return tool_fail("the configuration has no bridge \"%s\"", w->bridge);
    r->since_ms = tool_number(w->since, INT64_MIN);
    r->reader = journal_reader_new(bridge_of(w, r->slice), r->since_ms, tool_number(w->until, INT64_MAX));
    int rc = 0;
    if (journal) {
        char *dir = journal_directory(journal);
        /* One that has no files yet holds no events. */
        rc = journal_reader_add(r->reader, dir, why, sizeof why) && access(dir, R_OK | X_OK) != 0 ? -1 : 0;
        free(dir);
        if (rc)
            return tool_fail(
                "the journal %s%s", why,
                strcmp(journal_mode(journal), "off") == 0 ? "; the configuration says journal = off" : "");
    }
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = journal_reader_add(r->reader, files[i], why, sizeof why);
    return rc ? tool_fail("%s", why) : TOOL_FINE;
}

static int replay_all(struct replaying *r)
{
    if (run(r)) {
        const char *why = engine_trouble(r->engine);
        return tool_fail("the replay's own store failed: %s", why ? why : engine_trouble(r->other_engine));
    }
    summarise(r);
    uint64_t matched = engine_counts(r->engine)->matched;
    if (r->other)
        matched += engine_counts(r->other_engine)->matched;
    return tool_end(matched ? TOOL_FINE : TOOL_NOTHING);
}

static int with_slices(const struct words *w, const struct handovers *slices, char **files, size_t count)
{
    struct replaying r = {
        .slice = handover_find(slices, w->rules ? w->rules : ""),
        .other = w->against ? handover_find(slices, w->against) : NULL,
        .shown = {.numbers = w->numbers != NULL, .texts = w->texts != NULL},
        .suppressed = w->suppressed != NULL,
        .progress = w->progress != NULL,
        .first_ms = -1,
    };
    const struct slice *journal = w->journal ? handover_find(slices, w->journal) : NULL;
    const struct slice *store = w->store ? handover_find(slices, w->store) : NULL;
    if (!r.slice || (w->against && !r.other) || (w->journal && !journal) || (w->store && !store))
        return tool_fail("a configuration that was named was not handed over");
    int code = open_engines(&r, store);
    if (code == TOOL_FINE)
        code = open_reader(&r, w, journal, files, count);
    if (code == TOOL_FINE)
        code = replay_all(&r);
    engine_free(&r.engine);
    engine_free(&r.other_engine);
    journal_reader_free(&r.reader);
    free(r.strange_bridge);
    replay_side_free(&r.side);
    replay_side_free(&r.other_side);
    replay_diff_free(&r.diff);
    return code;
}

int tool_replay(int argc, char **argv)
{
    struct words w = {0};
    const struct tool_option options[] = {
        {"--slices", &w.slices},
        {"--rules", &w.rules},
        {"--against", &w.against},
        {"--journal", &w.journal},
        {"--store", &w.store},
        {"--since-ms", &w.since},
        {"--until-ms", &w.until},
        {"--bridge", &w.bridge},
        {"--numbers", &w.numbers},
        {"--texts", &w.texts},
        {"--progress", &w.progress},
        {"--suppressed", &w.suppressed},
        {NULL, NULL},
    };
    struct handovers slices = {0};
    char **files;
    size_t count;
    if (tool_options(argc, argv, options, &files, &count))
        return TOOL_USAGE;
    int code = tool_slices(w.slices, &slices) ? TOOL_USAGE : with_slices(&w, &slices, files, count);
    handover_free(&slices);
    free(files);
    return code;
}
