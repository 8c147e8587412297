/*
 * `tool event`, `tool explain` and `tool job`: what `bridgebell explain` needs beside the running dispatcher.
 *
 *     tool event --slices FD --rules NAME [--bridge NAME] FILE|-
 *
 * The first event of a file.
 *
 *     tool event --slices FD --rules NAME --id HEX
 *
 * That of the journal whose key begins so.
 *
 *     tool explain --slices FD --rules NAME [--store NAME] [--numbers 1]
 *
 * The event on standard input, decided with empty counters at its own time; with the silences and opt-outs of
 * then, if there is --store.
 *
 *     tool job --slices FD --rules NAME --id HEX [--numbers 1]
 *
 * A job of the store, which is only read.
 *
 * event prints {"what":"event","line":"…"}, explain the explanation, job {"what":"job","job":{…}}; each
 * leaves with TOOL_NOTHING if there is none.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/explain.h"
#include "dispatcher/journal_files.h"
#include "dispatcher/journal_line.h"
#include "dispatcher/journal_read.h"
#include "dispatcher/store_look.h"
#include "dispatcher/tool_parts.h"

enum { ID_MIN = 6, JOBS_LOOKED_FOR = 2 };

struct words {
    const char *slices, *rules, *bridge, *id, *numbers, *store;
    char **files;
    size_t count;
    struct handovers all;
    const struct slice *slice;
};

/* ---- words ---- */

static int read_words(int argc, char **argv, struct words *w)
{
    const struct tool_option options[] = {
        {"--slices", &w->slices},
        {"--rules", &w->rules},
        {"--bridge", &w->bridge},
        {"--id", &w->id},
        {"--numbers", &w->numbers},
        {"--store", &w->store},
        {NULL, NULL},
    };
    if (tool_options(argc, argv, options, &w->files, &w->count) || tool_slices(w->slices, &w->all))
        return TOOL_USAGE;
    w->slice = handover_find(&w->all, w->rules ? w->rules : "");
    if (!w->slice)
        return tool_fail("a configuration that was named was not handed over");
    if (w->bridge && !slice_find(w->slice, "bridge", w->bridge))
        return tool_fail("the configuration has no bridge \"%s\"", w->bridge);
    if (w->id && (strlen(w->id) < ID_MIN || strlen(w->id) > 2 * (size_t)HASH_ID_BYTES ||
                  strspn(w->id, "0123456789abcdefABCDEF") != strlen(w->id)))
        return tool_fail("\"%.40s\" is no id: six to 32 hexadecimal digits", w->id);
    return TOOL_FINE;
}

static void free_words(struct words *w)
{
    handover_free(&w->all);
    free(w->files);
}

static const char *bridge_of(const struct words *w)
{
    const struct slice_block *b = slice_find(w->slice, "bridge", NULL);
    return w->bridge ? w->bridge : b ? b->title : "main";
}

/* ---- event ---- */

/* NULL if it cannot be written as a line. */
static cJSON *event_line(const struct event *e, int64_t at_ms)
{
    struct buf line;
    cJSON *o = NULL;
    buf_init(&line, 8 * (size_t)EVENT_FRAME_MAX);
    if (journal_line_print(e, at_ms, &line) == 0) {
        line.data[line.len - 1] = '\0';
        o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "what", "event");
        cJSON_AddStringToObject(o, "line", line.data);
    }
    buf_free(&line);
    return o;
}

static bool has_prefix(const struct hash_id *key, const char *prefix)
{
    char hex[2 * HASH_ID_BYTES + 1];
    str_hex(key->bytes, sizeof key->bytes, hex);
    return strncasecmp(hex, prefix, strlen(prefix)) == 0;
}

/* Tries all of TEXT as one event, written over several lines or not; then line by line. */
static int first_event(const struct words *w, const struct buf *text, const char **why)
{
    struct buf packed;
    struct msg_in in;
    struct event e;
    buf_init(&packed, 0);
    msg_in_init(&in);
    size_t len = text->len;
    const char *at = text->data ? text->data : "";
    int64_t at_ms = journal_line_time(at, len);
    int rc = journal_line_parse(at, len, bridge_of(w), &packed, why);
    while (rc && len) {
        const char *end = memchr(at, '\n', len);
        size_t line = end ? (size_t)(end - at) : len;
        const char *other;
        at_ms = journal_line_time(at, line);
        rc = journal_line_parse(at, line, bridge_of(w), &packed, &other);
        at += end ? line + 1 : line;
        len -= end ? line + 1 : line;
    }
    bool good = rc == 0 && event_unpack(&in, packed.data, packed.len, &e) == 0;
    cJSON *line = good ? event_line(&e, at_ms) : NULL;
    if (line)
        tool_print(line);
    msg_in_free(&in);
    buf_free(&packed);
    return rc;
}

static int event_of_file(const struct words *w)
{
    struct buf text;
    const char *why = "";
    buf_init(&text, EVENT_FRAME_MAX);
    int code = TOOL_FINE;
    if (w->count != 1)
        code = tool_fail("which event?");
    else if (tool_read(w->files[0], &text, &why))
        code = tool_fail("%s cannot be read: %s", w->files[0], why);
    else if (first_event(w, &text, &why))
        code = tool_fail("%s holds no event: %s", w->files[0], why);
    buf_free(&text);
    return code;
}

static char *lower_case(const char *text)
{
    char *out = xstrdup(text);
    for (char *c = out; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return out;
}

/* The first whose key begins so; another key that does makes it TOOL_FAILED. */
static int find_event(struct journal_reader *r, const char *id, cJSON **line)
{
    struct event e;
    struct hash_id key;
    int64_t at_ms;
    while (journal_reader_next(r, &e, &at_ms)) {
        if (!has_prefix(&e.key, id))
            continue;
        if (!*line) {
            key = e.key;
            *line = event_line(&e, at_ms);
        } else if (memcmp(&key, &e.key, sizeof key) != 0) {
            return tool_fail("several events of the journal begin with \"%s\": give more digits", id);
        }
    }
    return *line ? TOOL_FINE : TOOL_NOTHING;
}

/* A journal that is not there, or has no files yet, holds no event. */
static int no_journal(const struct words *w, const char *dir, const char *why)
{
    bool off = strcmp(journal_mode(w->slice), "off") == 0;
    if (access(dir, R_OK | X_OK) == 0)
        return TOOL_NOTHING;
    bool there = errno != ENOENT;
    tool_fail("the journal %s%s", why, off ? "; the configuration says journal = off" : "");
    return there ? TOOL_FAILED : TOOL_NOTHING;
}

static int event_of_journal(const struct words *w)
{
    char why[512];
    char *dir = journal_directory(w->slice), *id = lower_case(w->id);
    struct journal_reader *r = journal_reader_new(bridge_of(w), INT64_MIN, INT64_MAX);
    cJSON *line = NULL;
    journal_reader_look_for(r, id);
    int code =
        journal_reader_add(r, dir, why, sizeof why) ? no_journal(w, dir, why) : find_event(r, id, &line);
    if (code == TOOL_FINE)
        tool_print(line);
    else
        cJSON_Delete(line);
    journal_reader_free(&r);
    free(id);
    free(dir);
    return code;
}

int tool_event(int argc, char **argv)
{
    struct words w = {0};
    int code = read_words(argc, argv, &w);
    if (code == TOOL_FINE)
        code = w.id ? event_of_journal(&w) : event_of_file(&w);
    free_words(&w);
    return tool_end(code);
}

/* ---- explain ---- */

struct explaining {
    cJSON *explanation;
    struct engine *engine;
    struct tool_recalled recalled;
    struct tool_shown shown;
};

static void on_outcome(void *arg, const struct engine_outcome *o)
{
    struct explaining *x = arg;
    explain_add_job(x->explanation, engine_rules(x->engine), o->job, x->shown);
}

static int explain_with(struct explaining *x, const struct event *e, int64_t at_ms)
{
    if (at_ms <= 0)
        at_ms = e->received_ms > 0 ? e->received_ms : e->timestamp_ms;
    struct rules *r = engine_rules(x->engine);
    struct rule_counts *counts = explain_keep_counts(r);
    x->explanation = explain_rules(r, e);
    int tried = engine_try(x->engine, e, at_ms);
    explain_add_failures(x->explanation, r, counts);
    explain_restore_counts(r, &counts);
    if (tried) {
        cJSON_Delete(x->explanation);
        return tool_fail("%s", engine_trouble(x->engine));
    }
    tool_add_time(x->explanation, "at", at_ms);
    cJSON_AddStringToObject(x->explanation, "state", "empty");
    tool_add_recalled(x->explanation, &x->recalled, x->engine, at_ms, at_ms);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "what", "explanation");
    cJSON_AddItemToObject(o, "explanation", x->explanation);
    tool_print(o);
    return TOOL_FINE;
}

static int explain_event_of(const struct words *w, const struct buf *text)
{
    struct faults faults = {0};
    struct buf packed;
    struct msg_in in;
    struct event e;
    const char *why = "malformed";
    struct explaining x = {.shown = {.numbers = w->numbers != NULL, .texts = true}};
    buf_init(&packed, 0);
    msg_in_init(&in);
    x.engine = engine_new(w->slice, on_outcome, &x, &faults);
    if (x.engine)
        tool_recall(w->store ? handover_find(&w->all, w->store) : NULL, x.engine, &x.recalled);
    int code;
    if (!x.engine)
        code = tool_faults(&faults);
    else if (journal_line_parse(text->data ? text->data : "", text->len, bridge_of(w), &packed, &why) ||
             event_unpack(&in, packed.data, packed.len, &e))
        code = tool_fail("that is no event: %s", why);
    else
        code = explain_with(&x, &e, journal_line_time(text->data, text->len));
    engine_free(&x.engine);
    msg_in_free(&in);
    buf_free(&packed);
    return code;
}

int tool_explain(int argc, char **argv)
{
    struct words w = {0};
    struct buf text;
    buf_init(&text, 8 * (size_t)EVENT_FRAME_MAX);
    const char *why;
    int code = read_words(argc, argv, &w);
    if (code == TOOL_FINE)
        code = tool_read("-", &text, &why) ? tool_fail("standard input cannot be read: %s", why)
                                           : explain_event_of(&w, &text);
    free_words(&w);
    buf_free(&text);
    return tool_end(code);
}

/* ---- job ---- */

static cJSON *job_line(const struct store_job *j, bool good, const struct words *w)
{
    char hex[2 * HASH_ID_BYTES + 1];
    const struct tool_shown shown = {.numbers = w->numbers != NULL, .texts = true};
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "what", "job");
    cJSON *o = cJSON_AddObjectToObject(line, "job");
    str_hex(j->id.bytes, sizeof j->id.bytes, hex);
    cJSON_AddStringToObject(o, "id", hex);
    cJSON_AddStringToObject(o, "state", job_state_names[good ? j->state : JOB_DAMAGED]);
    cJSON_AddStringToObject(o, "rule", j->rule);
    tool_add_number(o, "to", j->number, shown);
    cJSON_AddStringToObject(o, "provider", j->provider);
    if (j->from)
        cJSON_AddStringToObject(o, "from", j->from);
    cJSON_AddNumberToObject(o, "attempt", j->attempt);
    if (j->reason)
        cJSON_AddStringToObject(o, "reason", j->reason);
    if (j->code)
        cJSON_AddNumberToObject(o, "code", j->code);
    str_hex(j->event.bytes, sizeof j->event.bytes, hex);
    cJSON_AddStringToObject(o, "event", hex);
    tool_add_time(o, "created", j->created_ms);
    if (j->due_ms > 0 && (j->state == JOB_QUEUED || j->state == JOB_HELD))
        tool_add_time(o, "due", j->due_ms);
    if (j->finished_ms > 0)
        tool_add_time(o, "finished", j->finished_ms);
    if (j->expires_ms > 0)
        tool_add_time(o, "expires", j->expires_ms);
    if (j->provider_id)
        cJSON_AddStringToObject(o, "provider_id", j->provider_id);
    if (j->parts >= 0)
        cJSON_AddNumberToObject(o, "parts", j->parts);
    if (j->price_micro >= 0)
        cJSON_AddNumberToObject(o, "price", tool_money(j->price_micro));
    cJSON_AddStringToObject(o, "text", j->text);
    return line;
}

/* The line of the job, until it is known that it is the only one. */
struct finding {
    const struct words *words;
    cJSON *line;
};

static void take_job(void *arg, const struct store_job *job, bool good)
{
    struct finding *f = arg;
    if (!f->line)
        f->line = job_line(job, good, f->words);
}

/* No store yet is no job. */
static int find_job(const struct words *w)
{
    char why[STORE_LOOK_WHY_SIZE];
    struct finding f = {.words = w};
    struct store_look *look;
    enum store_look_status status = store_look_open(w->slice, &look, why);
    if (status != STORE_LOOK_FINE)
        return status == STORE_LOOK_NONE ? TOOL_NOTHING : tool_fail("%s", why);
    int found = store_look_jobs(look, w->id, JOBS_LOOKED_FOR, take_job, &f, why);
    store_look_close(&look);
    if (found == 1) {
        tool_print(f.line);
        return TOOL_FINE;
    }
    cJSON_Delete(f.line);
    if (found > 1)
        return tool_fail("several jobs begin with \"%s\": give more digits", w->id);
    return found < 0 ? tool_fail("%s", why) : TOOL_NOTHING;
}

int tool_job(int argc, char **argv)
{
    struct words w = {0};
    int code = read_words(argc, argv, &w);
    if (code == TOOL_FINE && !w.id)
        code = tool_fail("which job?");
    if (code == TOOL_FINE)
        code = find_job(&w);
    free_words(&w);
    return tool_end(code);
}
