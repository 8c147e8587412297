/*
 * A new database out of a damaged one.
 *
 * Nothing of the old structure is believed: every page of the file and every page image of the log is read by
 * itself, and rows that match their checksums are taken, of several versions of a job the most advanced.
 * What was queued may have been sent in a transaction that cannot be read any more, so it is pinned: it is
 * asked again under its old idx or not at all. Keys of events are taken only from where SQLite would have
 * read them, and those whose jobs are gone are forgotten, with the mark set back, so that catch-up brings
 * these events again; ids of jobs then tell what is there already.
 *
 * The new file is built beside the old one and takes its name at the end; the old files are kept under
 * another. Interrupted at any point, the next start begins again or finishes the renaming.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/store_parts.h"

enum { BATCH = 500, FRAMES_MAX = 4000, CATCH_UP_MS = 2 * 24 * 3600 * 1000 };

/* Rows of lower quality come in later passes and only where nothing better is. */
enum pass { PASS_SOUND, PASS_STATE_LOST, PASS_CONTENT_LOST, PASSES };

struct salvage {
    struct store_db db;
    enum pass pass;
    bool in_prefix;
    size_t in_batch;
    int64_t jobs, events, state_lost, content_lost, forgotten;
    int64_t clock_ms, expected;
    bool have_identity;
};

/* ---- batches ---- */

static void step(struct salvage *s)
{
    if (++s->in_batch < BATCH)
        return;
    s->in_batch = 0;
    if (db_commit(&s->db) != SQLITE_OK)
        return;
    if (s->db.wal_frames > FRAMES_MAX)
        sqlite3_wal_checkpoint_v2(s->db.sql, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    db_begin(&s->db);
}

static void exec(struct salvage *s, const char *sql)
{
    if (s->db.rc == SQLITE_OK)
        s->db.rc = sqlite3_exec(s->db.sql, sql, NULL, NULL, NULL);
}

/* ---- jobs ---- */

static int rank(enum job_state state)
{
    if (state == JOB_SENT || state == JOB_DELIVERED || state == JOB_UNDELIVERED)
        return 3;
    if (state == JOB_LEASED)
        return 0;
    return state == JOB_QUEUED || state == JOB_HELD ? 1 : 2;
}

/* Within one attempt a job is leased, then queued again or ended; what the provider accepted stays so. */
static bool is_later(const struct store_standing *a, const struct store_standing *b)
{
    int rank_a = rank(a->state), rank_b = rank(b->state);
    if ((rank_a == 3) != (rank_b == 3))
        return rank_a == 3;
    if (a->generation != b->generation)
        return a->generation > b->generation;
    if (a->attempt != b->attempt)
        return a->attempt > b->attempt;
    return rank_a > rank_b;
}

static bool look_up(struct store_db *db, enum store_sql which, const struct store_job *j,
                    struct store_standing *out)
{
    sqlite3_stmt *st = db_stmt(db, which);
    if (which == SQL_STANDING_BY_ROW)
        sqlite3_bind_int64(st, 1, j->row);
    else
        db_bind_id(st, 1, &j->id);
    bool found = db_row(db, st);
    if (found)
        store_row_standing(st, out);
    sqlite3_reset(st);
    return found;
}

static void drop_row(struct store_db *db, const struct store_standing *old)
{
    sqlite3_stmt *st = db_stmt(db, SQL_PURGE_JOB);
    sqlite3_bind_int64(st, 1, old->row);
    if (db_run(db, st))
        db_count(db, (int)old->state, -1);
}

/* Under its old row number if that is free. */
static void add(struct salvage *s, struct store_job *j)
{
    if (!store_row_add(&s->db, j) && s->db.rc == SQLITE_OK) {
        j->row = 0;
        store_row_add(&s->db, j);
    }
    step(s);
}

static void pin(struct store_job *j)
{
    if (j->state != JOB_QUEUED && j->state != JOB_HELD)
        return;
    j->pinned = true;
    if (j->first_attempt_ms == 0)
        j->first_attempt_ms = j->created_ms;
}

static void take_sound(struct salvage *s, struct store_job *j, const struct store_standing *standing)
{
    struct store_standing old;
    bool there = look_up(&s->db, SQL_STANDING_ANYWHERE, j, &old);
    if (there && !is_later(standing, &old))
        return;
    if (there)
        drop_row(&s->db, &old);
    pin(j);
    add(s, j);
}

static void set_reason(struct store_job *j, const char *reason)
{
    free(j->reason);
    j->reason = xstrdup(reason);
}

static void take_state_lost(struct salvage *s, struct store_job *j)
{
    struct store_standing old;
    if (look_up(&s->db, SQL_STANDING_ANYWHERE, j, &old))
        return;
    char id[2 * HASH_ID_BYTES + 1];
    str_hex(j->id.bytes, HASH_ID_BYTES, id);
    log_error("job damaged on disk: its state is lost", log_str("job", id), log_int("row", j->row));
    j->state = JOB_UNCERTAIN;
    j->pinned = true;
    j->finished_ms = s->db.now_ms;
    set_reason(j, "its state was damaged on disk");
    s->state_lost++;
    add(s, j);
}

static void take_content_lost(struct salvage *s, struct store_job *j)
{
    struct store_standing old;
    if (look_up(&s->db, SQL_STANDING_ANYWHERE, j, &old) || look_up(&s->db, SQL_STANDING_BY_ROW, j, &old))
        return;
    log_error("job damaged on disk, set aside", log_int("row", j->row));
    const struct hash_part parts[] = {{"damaged", 7}, {&j->row, sizeof j->row}};
    hash_id(parts, 2, &j->id);
    j->state = JOB_DAMAGED;
    j->finished_ms = s->db.now_ms;
    set_reason(j, "damaged on disk");
    s->content_lost++;
    add(s, j);
}

static void take_job(struct salvage *s, const struct page_row *row)
{
    struct store_job j;
    struct store_standing standing;
    bool good = store_row_decode(&s->db.scratch, row, &j, &standing);
    if (s->pass == PASS_SOUND && good && standing.intact)
        take_sound(s, &j, &standing);
    else if (s->pass == PASS_STATE_LOST && good && !standing.intact)
        take_state_lost(s, &j);
    else if (s->pass == PASS_CONTENT_LOST && !good)
        take_content_lost(s, &j);
    store_job_free(&j);
}

/* ---- keys, deletions, facts ---- */

static void bind_value(sqlite3_stmt *st, int index, const struct page_value *v)
{
    switch (v->kind) {
    case PAGE_INTEGER:
        sqlite3_bind_int64(st, index, v->number);
        break;
    case PAGE_TEXT:
        sqlite3_bind_text(st, index, (const char *)v->data, (int)v->len, SQLITE_STATIC);
        break;
    case PAGE_BLOB:
        sqlite3_bind_blob(st, index, v->data, (int)v->len, SQLITE_STATIC);
        break;
    case PAGE_NULL:
    case PAGE_REAL:
        sqlite3_bind_null(st, index);
        break;
    }
}

static void take_values(struct salvage *s, enum store_sql which, const struct page_value *values, int count)
{
    sqlite3_stmt *st = db_stmt(&s->db, which);
    for (int i = 0; i < count; i++)
        bind_value(st, i + 1, &values[i]);
    db_run(&s->db, st);
    step(s);
}

static void take_meta(struct salvage *s, const char *name, const char *value)
{
    if (strcmp(name, "identity") == 0 && !s->have_identity) {
        s->have_identity = str_unhex(value, s->db.identity.bytes, HASH_ID_BYTES) == 0;
    } else if (strcmp(name, "clock") == 0) {
        int64_t at_ms = store_clock_parse(value, clock_boot_ms());
        if (at_ms > s->clock_ms)
            s->clock_ms = at_ms;
    } else if (strcmp(name, "counts") == 0) {
        char *at = (char *)value;
        s->expected = 0;
        for (int i = 0; i < JOB_STATES; i++)
            s->expected += strtoll(at, &at, 10);
    }
}

/* Facts have a colon in their name ("mark:main"), what the store notes for itself has none. */
static void take_pair(struct salvage *s, const struct page_row *row)
{
    char *name = xstrndup((const char *)row->values[0].data, row->values[0].len);
    char *value = xstrndup((const char *)row->values[1].data, row->values[1].len);
    if (strchr(name, ':'))
        take_values(s, SQL_FACT_SET, row->values, 2);
    else
        take_meta(s, name, value);
    free(name);
    free(value);
}

static bool is_id(const struct page_value *v)
{
    return v->kind == PAGE_BLOB && v->len == HASH_ID_BYTES;
}

/* Tables without checksums of their own, told apart by the shape of their rows. What they hold is only taken
 * from where SQLite would have read it, a later version over an earlier one. */
enum { SHAPE_COLUMNS_MAX = 11 };
static const struct shape {
    bool has_rowid;
    size_t count;
    const char *kinds; /* of the columns: k key, i integer, t text, b bytes, . anything */
    enum store_sql add;
    bool binds_rowid; /* the first parameter is the row number, for the first column is it */
} shapes[] = {
    {true, 6, ".k...i", SQL_EVENT_ADD, false},        {true, 3, ".ki", SQL_DELETION_ADD, false},
    {true, 11, ".kiiiiiiit.", SQL_DIGEST_TAKE, true}, {true, 2, ".b", SQL_PARENT_ADD, true},
    {false, 3, "kib", SQL_COUNTER_SET, false},        {false, 5, "tiiii", SQL_TALLY_SET, false},
};

static bool is_of_kind(const struct page_value *v, char kind)
{
    switch (kind) {
    case 'k':
        return is_id(v);
    case 'i':
        return v->kind == PAGE_INTEGER;
    case 't':
        return v->kind == PAGE_TEXT;
    case 'b':
        return v->kind == PAGE_BLOB;
    default:
        return true;
    }
}

static bool has_shape(const struct page_row *row, const struct shape *shape)
{
    bool same = row->has_rowid == shape->has_rowid && row->count == shape->count;
    for (size_t i = 0; same && i < shape->count; i++)
        same = is_of_kind(&row->values[i], shape->kinds[i]);
    return same;
}

static void take_shape(struct salvage *s, const struct page_row *row, const struct shape *shape)
{
    struct page_value values[SHAPE_COLUMNS_MAX];
    size_t from = shape->has_rowid && !shape->binds_rowid ? 1 : 0;
    memcpy(values, row->values, shape->count * sizeof *values);
    if (shape->binds_rowid)
        values[0] = (struct page_value){.kind = PAGE_INTEGER, .number = row->rowid};
    take_values(s, shape->add, values + from, (int)(shape->count - from));
    s->events += shape->add == SQL_EVENT_ADD;
}

static void take_row(void *arg, const struct page_row *row)
{
    struct salvage *s = arg;
    const struct page_value *v = row->values;
    if (row->has_rowid && (row->count == STORE_JOB_COLUMNS_COUNT || row->count == STORE_JOB_COLUMNS_V1)) {
        take_job(s, row);
        return;
    }
    if (s->pass != PASS_SOUND || !s->in_prefix)
        return;
    if (!row->has_rowid && row->count == 2 && v[0].kind == PAGE_TEXT && v[1].kind == PAGE_TEXT)
        take_pair(s, row);
    if (store_attempts_row(row)) {
        store_attempts_take(&s->db, row);
        step(s);
        return;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (has_shape(row, &shapes[i])) {
            take_shape(s, row, &shapes[i]);
            return;
        }
}

/* ---- reading the old files ---- */

static void take_log_page(void *arg, const unsigned char *page, uint32_t number, bool in_prefix)
{
    struct salvage *s = arg;
    s->in_prefix = in_prefix;
    page_rows(page, WAL_PAGE_BYTES, number == 1, take_row, s);
}

static void take_file(struct salvage *s, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    unsigned char page[WAL_PAGE_BYTES];
    s->in_prefix = true;
    for (bool first = true; fread(page, 1, sizeof page, f) == sizeof page; first = false)
        page_rows(page, sizeof page, first, take_row, s);
    fclose(f);
}

static void take_all(struct salvage *s, const char *path)
{
    char *log = xasprintf("%s-wal", path);
    for (s->pass = PASS_SOUND; s->pass < PASSES && s->db.rc == SQLITE_OK; s->pass++) {
        take_file(s, path);
        store_wal_pages(log, take_log_page, s);
    }
    free(log);
}

/* ---- closing words ---- */

/* Keys that catch-up may still bring and whose jobs are gone: as if they had never been decided. */
static void forget_orphans(struct salvage *s)
{
    char sql[1024];
    exec(s, "CREATE INDEX salvage_event ON jobs(event)");
    snprintf(
        sql, sizeof sql,
        "CREATE TEMP TABLE orphans AS SELECT row, bridge, event_ms FROM events WHERE decided_ms > %" PRId64
        " AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.event = events.key)",
        s->db.now_ms - CATCH_UP_MS);
    exec(s, sql);
    exec(s, "DELETE FROM events WHERE row IN (SELECT row FROM orphans)");
    s->forgotten = s->db.rc == SQLITE_OK ? sqlite3_changes64(s->db.sql) : 0;
    exec(s, "UPDATE facts SET value = CAST(o.at - 1 AS TEXT) FROM"
            " (SELECT 'mark:' || bridge AS name, min(event_ms) AS at FROM orphans GROUP BY bridge) AS o"
            " WHERE facts.name = o.name AND CAST(facts.value AS INTEGER) >= o.at");
    exec(s, "DROP TABLE orphans");
    exec(s, "DROP INDEX salvage_event");
}

static void write_meta(struct salvage *s, const struct hash_id *identity)
{
    char hex[2 * HASH_ID_BYTES + 1], line[64];
    /* The store's time goes on from the latest that is known. */
    if (s->clock_ms > s->db.now_ms)
        store_clock_start(s->db.clock, s->clock_ms, clock_wall_ms(), clock_boot_ms());
    s->db.now_ms = store_clock_now(s->db.clock);
    s->db.clock_saved_ms = 0;
    str_hex(identity ? identity->bytes : s->db.identity.bytes, HASH_ID_BYTES, hex);
    db_meta_set(&s->db, "identity", hex);
    snprintf(line, sizeof line, "%" PRId64, s->db.now_ms);
    db_meta_set(&s->db, "damaged", line);
}

static int build(struct salvage *s, const struct store_options *target, struct store_clock *clock,
                 const char *source, const struct hash_id *identity, struct faults *faults)
{
    if (store_make_file(target->path) != 0) {
        faults_add(faults, target->path, 0, "the damaged store cannot be salvaged: %s", strerror(errno));
        return -1;
    }
    if (store_db_open(&s->db, target, clock, faults) != 0)
        return -1;
    /* Half-built files are thrown away: nothing is flushed before the end. */
    sqlite3_exec(s->db.sql, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    exec(s, "CREATE UNIQUE INDEX salvage_id ON jobs(id)");
    if (s->db.rc == SQLITE_OK)
        db_begin(&s->db);
    take_all(s, source);
    forget_orphans(s);
    store_digest_orphans(&s->db);
    exec(s, "DROP INDEX salvage_id");
    for (int i = 0; i < JOB_STATES; i++)
        s->jobs += s->db.counts[i] + s->db.delta[i];
    write_meta(s, identity);
    int rc = db_commit(&s->db);
    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(s->db.sql, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc != SQLITE_OK)
        faults_add(faults, target->path, 0, "the damaged store cannot be salvaged: %s", sqlite3_errstr(rc));
    return rc == SQLITE_OK ? 0 : -1;
}

/* ---- files ---- */

static void remove_with(const char *path, const char *suffix)
{
    char *name = xasprintf("%s%s", path, suffix);
    unlink(name);
    free(name);
}

static void remove_database(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++)
        remove_with(path, suffixes[i]);
}

static int flush_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd >= 0 && fsync(fd) == 0 ? 0 : -1;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Keeps FROM under its name with ".damaged-TIME"; a missing file is fine. */
static int set_aside(const char *path, const char *suffix, const char *when)
{
    char *from = xasprintf("%s%s", path, suffix);
    char *to = xasprintf("%s.damaged-%s%s", path, when, suffix);
    int rc = rename(from, to) == 0 || errno == ENOENT ? 0 : -1;
    if (access(to, F_OK) == 0)
        log_warn("damaged file kept", log_str("path", to));
    free(from);
    free(to);
    return rc;
}

/* The database last: as long as it is missing and the new one is there, the next start comes here again. */
static int swap_files(const char *path, const char *fresh, struct faults *faults)
{
    char when[25];
    clock_format(clock_wall_ms(), when);
    if (set_aside(path, "", when) == 0 && set_aside(path, "-wal", when) == 0) {
        remove_with(path, "-shm");
        if (rename(fresh, path) == 0 && store_flush_directory(path) == 0)
            return 0;
    }
    faults_add(faults, path, 0, "the damaged store cannot be moved aside: %s", strerror(errno));
    return -1;
}

int store_salvage_finish(const struct store_options *options, struct faults *faults)
{
    char *fresh = xasprintf("%s-salvage", options->path);
    char *log = xasprintf("%s-wal", fresh);
    int rc = 0;
    /* A new database that has no log was closed, so it is complete. */
    if (access(fresh, F_OK) == 0 && access(log, F_OK) != 0 && access(options->path, F_OK) != 0)
        rc = swap_files(options->path, fresh, faults);
    else
        remove_database(fresh);
    free(fresh);
    free(log);
    return rc;
}

static void report(const struct salvage *s)
{
    int64_t missing = s->expected - s->jobs;
    log_error("the store was salvaged", log_int("jobs", s->jobs),
              log_int("jobs_missing", missing > 0 ? missing : 0), log_int("jobs_state_lost", s->state_lost),
              log_int("jobs_damaged", s->content_lost), log_int("events", s->events),
              log_int("events_forgotten", s->forgotten));
}

int store_salvage(const struct store_options *options, const struct hash_id *identity, struct faults *faults)
{
    struct salvage s = {0};
    struct store_clock clock = STORE_CLOCK;
    struct store_options target = *options;
    target.installation = NULL;
    target.path = xasprintf("%s-salvage", options->path);
    remove_database(target.path);
    int rc = build(&s, &target, &clock, options->path, identity, faults);
    store_db_close(&s.db);
    if (rc == 0 && flush_file(target.path) == 0)
        rc = swap_files(options->path, target.path, faults);
    if (rc == 0)
        report(&s);
    free(target.path);
    return rc;
}
