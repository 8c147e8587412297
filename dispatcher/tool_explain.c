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
 *     tool explain --slices FD --rules NAME [--numbers 1]
 *
 * The event on standard input, decided with empty counters at its own time.
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
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/explain.h"
#include "dispatcher/journal_files.h"
#include "dispatcher/journal_line.h"
#include "dispatcher/journal_read.h"
#include "dispatcher/store_parts.h"
#include "dispatcher/tool_parts.h"

enum { ID_MIN = 6, INPUT_CHUNK = 65536, JOBS_SHOWN = 20 };

struct words {
    const char *slices, *rules, *bridge, *id, *numbers;
    char **files;
    size_t count;
    struct handovers all;
    const struct slice *slice;
};

/* ---- words ---- */

static int read_words(int argc, char **argv, struct words *w)
{
    const struct tool_option options[] = {
        {"--slices", &w->slices}, {"--rules", &w->rules},     {"--bridge", &w->bridge},
        {"--id", &w->id},         {"--numbers", &w->numbers}, {NULL, NULL},
    };
    if (tool_options(argc, argv, options, &w->files, &w->count) || tool_slices(w->slices, &w->all))
        return TOOL_USAGE;
    w->slice = handover_find(&w->all, w->rules ? w->rules : "");
    if (!w->slice)
        return tool_fail("a configuration that was named was not handed over");
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

static void print_event(const struct event *e)
{
    struct buf line;
    buf_init(&line, 8 * (size_t)EVENT_FRAME_MAX);
    if (journal_line_print(e, &line) == 0) {
        line.data[line.len - 1] = '\0';
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "what", "event");
        cJSON_AddStringToObject(o, "line", line.data);
        tool_print(o);
    }
    buf_free(&line);
}

static bool has_prefix(const struct hash_id *key, const char *prefix)
{
    char hex[2 * HASH_ID_BYTES + 1];
    str_hex(key->bytes, sizeof key->bytes, hex);
    return strncasecmp(hex, prefix, strlen(prefix)) == 0;
}

static int read_all(const char *path, struct buf *out)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    size_t n = 1;
    while (f && n > 0) {
        char *to = buf_reserve(out, INPUT_CHUNK);
        n = to ? fread(to, 1, INPUT_CHUNK, f) : 0;
        out->len += n;
    }
    bool bad = !f || ferror(f);
    if (f && f != stdin)
        fclose(f);
    return bad ? -1 : 0;
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
    int rc = journal_line_parse(at, len, bridge_of(w), &packed, why);
    while (rc && len) {
        const char *end = memchr(at, '\n', len);
        size_t line = end ? (size_t)(end - at) : len;
        const char *other;
        rc = journal_line_parse(at, line, bridge_of(w), &packed, &other);
        at += end ? line + 1 : line;
        len -= end ? line + 1 : line;
    }
    if (rc == 0 && event_unpack(&in, packed.data, packed.len, &e) == 0)
        print_event(&e);
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
    else if (read_all(w->files[0], &text))
        code = tool_fail("%s cannot be read: %s", w->files[0], strerror(errno));
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

/* The first, if an event came several times. */
static int event_of_journal(const struct words *w)
{
    char why[512];
    struct event e;
    int64_t at_ms;
    bool found = false;
    char *dir = journal_directory(w->slice);
    struct journal_reader *r = journal_reader_new(bridge_of(w), INT64_MIN, INT64_MAX);
    int code = TOOL_NOTHING;
    char *id = lower_case(w->id);
    journal_reader_look_for(r, id);
    if (journal_reader_add(r, dir, why, sizeof why) == 0)
        while (!found && journal_reader_next(r, &e, &at_ms))
            found = has_prefix(&e.key, w->id);
    if (found) {
        print_event(&e);
        code = TOOL_FINE;
    }
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
    struct tool_shown shown;
};

static void on_outcome(void *arg, const struct engine_outcome *o)
{
    struct explaining *x = arg;
    explain_add_job(x->explanation, engine_rules(x->engine), o->job, x->shown);
}

static int explain_with(struct explaining *x, const struct event *e)
{
    int64_t at_ms = e->received_ms > 0 ? e->received_ms : e->timestamp_ms;
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
    int code;
    if (!x.engine)
        code = tool_faults(&faults);
    else if (journal_line_parse(text->data ? text->data : "", text->len, bridge_of(w), &packed, &why) ||
             event_unpack(&in, packed.data, packed.len, &e))
        code = tool_fail("that is no event: %s", why);
    else
        code = explain_with(&x, &e);
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
    int code = read_words(argc, argv, &w);
    if (code == TOOL_FINE)
        code =
            read_all("-", &text) ? tool_fail("standard input cannot be read") : explain_event_of(&w, &text);
    free_words(&w);
    buf_free(&text);
    return tool_end(code);
}

/* ---- job ---- */

static void print_job(const struct store_job *j, const struct words *w)
{
    char hex[2 * HASH_ID_BYTES + 1];
    const struct tool_shown shown = {.numbers = w->numbers != NULL, .texts = true};
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "what", "job");
    cJSON *o = cJSON_AddObjectToObject(line, "job");
    str_hex(j->id.bytes, sizeof j->id.bytes, hex);
    cJSON_AddStringToObject(o, "id", hex);
    cJSON_AddStringToObject(o, "state", job_state_names[j->state]);
    cJSON_AddStringToObject(o, "rule", j->rule);
    tool_add_number(o, "to", j->number, shown);
    cJSON_AddStringToObject(o, "provider", j->provider);
    cJSON_AddNumberToObject(o, "attempt", j->attempt);
    if (j->reason)
        cJSON_AddStringToObject(o, "reason", j->reason);
    if (j->code)
        cJSON_AddNumberToObject(o, "code", j->code);
    str_hex(j->event.bytes, sizeof j->event.bytes, hex);
    cJSON_AddStringToObject(o, "event", hex);
    tool_add_time(o, "created", j->created_ms);
    if (j->finished_ms > 0)
        tool_add_time(o, "finished", j->finished_ms);
    if (j->parts >= 0)
        cJSON_AddNumberToObject(o, "parts", j->parts);
    if (j->price_micro >= 0)
        cJSON_AddNumberToObject(o, "price", tool_money(j->price_micro));
    cJSON_AddStringToObject(o, "text", j->text);
    tool_print(line);
}

/* A path as SQLite's URIs want it. */
static char *uri_of(const char *path, const char *options)
{
    struct buf out;
    buf_init(&out, 0);
    buf_adds(&out, "file:");
    for (; *path; path++) {
        if (strchr("%?#", *path))
            buf_addf(&out, "%%%02x", (unsigned char)*path);
        else
            buf_addc(&out, *path);
    }
    buf_addf(&out, "?%s", options);
    char *uri = xstrdup(buf_cstr(&out));
    buf_free(&out);
    return uri;
}

/* Nothing is written beside the store: without a log the file is read as it is. */
static sqlite3 *open_read_only(const char *path)
{
    struct stat st;
    sqlite3 *sql = NULL;
    char *wal = xasprintf("%s-wal", path);
    bool has_log = stat(wal, &st) == 0 && st.st_size > 0;
    char *uri = uri_of(path, has_log ? "mode=ro" : "mode=ro&immutable=1");
    if (sqlite3_open_v2(uri, &sql, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) != SQLITE_OK) {
        sqlite3_close(sql);
        sql = NULL;
    }
    free(uri);
    free(wal);
    return sql;
}

static int print_jobs(sqlite3 *sql, const struct words *w)
{
    sqlite3_stmt *st = NULL;
    struct buf scratch;
    int count = 0;
    char *pattern = xasprintf("%s%%", w->id);
    buf_init(&scratch, 0);
    if (sqlite3_prepare_v2(sql,
                           "SELECT " STORE_JOB_COLUMNS " FROM jobs WHERE hex(id) LIKE ?1 ORDER BY row DESC"
                           " LIMIT ?2",
                           -1, &st, NULL) != SQLITE_OK) {
        free(pattern);
        return tool_fail("the store cannot be read: %s", sqlite3_errmsg(sql));
    }
    sqlite3_bind_text(st, 1, pattern, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 2, JOBS_SHOWN);
    while (sqlite3_step(st) == SQLITE_ROW) {
        struct store_job job = {0};
        struct store_standing standing;
        if (store_row_job(&scratch, st, &job, &standing))
            print_job(&job, w);
        count++;
        store_job_free(&job);
    }
    sqlite3_finalize(st);
    buf_free(&scratch);
    free(pattern);
    return count ? TOOL_FINE : TOOL_NOTHING;
}

int tool_job(int argc, char **argv)
{
    struct words w = {0};
    int code = read_words(argc, argv, &w);
    if (code == TOOL_FINE && !w.id)
        code = tool_fail("which job?");
    if (code == TOOL_FINE) {
        const struct slice_block *b = slice_find(w.slice, "dispatcher", NULL);
        const char *store = b ? slice_text(b, "store", NULL) : NULL;
        const char *path = store && strncmp(store, "sqlite:", 7) == 0 ? store + 7 : "";
        sqlite3 *sql = open_read_only(path);
        code = sql ? print_jobs(sql, &w) : TOOL_NOTHING;
        sqlite3_close(sql);
    }
    free_words(&w);
    return tool_end(code);
}
