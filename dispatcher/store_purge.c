/*
 * What becomes of jobs with time alone: the expiry of those that nobody claims, and the retention. Rows stand
 * in order of insertion, so one walk from the oldest row finds what is old and stops at the first that is
 * not. Ended jobs go by their end, keys of events and deletions by when they were decided; keys stay at least
 * a fortnight, longer than a listener may reach back. Jobs that wait for a person never go.
 */
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/store_parts.h"

enum {
    CHUNK = 200,
    KEYS_DAYS_MIN = 14,
    ROUND_MS_MAX = 10 * 60 * 1000,
    ROUND_MS_MIN = 1000,
    CHUNK_EVERY_MS = 20
};
static const int64_t day_ms = 24 * 3600 * 1000;

static const uint32_t ended = 1u << JOB_SENT | 1u << JOB_DELIVERED | 1u << JOB_UNDELIVERED |
                              1u << JOB_SUPPRESSED | 1u << JOB_MERGED | 1u << JOB_EXPIRED |
                              1u << JOB_CANCELLED | 1u << JOB_DEAD;

struct old_row {
    int64_t row;
    int state;
};

/* Old ended rows behind the cursor, which moves on; -1 at the end of the round. */
static size_t look(struct store_purge *p, struct store_db *db, struct old_row *out)
{
    int64_t limit_ms = db->now_ms - db->options->retention_ms;
    size_t count = 0, looked = 0;
    bool young = false;
    sqlite3_stmt *st = db_stmt(db, SQL_PURGE_LOOK);
    sqlite3_bind_int64(st, 1, p->cursor);
    sqlite3_bind_int64(st, 2, CHUNK);
    while (!young && db_row(db, st)) {
        looked++;
        p->cursor = sqlite3_column_int64(st, 0);
        int64_t state = sqlite3_column_int64(st, 1);
        bool done = state >= 0 && state < JOB_STATES && (ended >> state & 1);
        young = sqlite3_column_int64(st, 3) >= limit_ms;
        if (!young && done && sqlite3_column_int64(st, 2) < limit_ms)
            out[count++] = (struct old_row){p->cursor, (int)state};
    }
    sqlite3_reset(st);
    if (young || looked < CHUNK)
        p->cursor = -1;
    return count;
}

static void purge_jobs(struct store_purge *p, struct store_db *db)
{
    struct old_row old[CHUNK];
    size_t count = look(p, db, old);
    for (size_t i = 0; i < count; i++) {
        sqlite3_stmt *st = db_stmt(db, SQL_PURGE_JOB);
        sqlite3_bind_int64(st, 1, old[i].row);
        if (db_run(db, st))
            db_count(db, old[i].state, -1);
    }
}

/* True if there may be more. */
static bool purge_keys(struct store_db *db, enum store_sql which)
{
    int64_t keep_ms = db->options->retention_ms;
    if (keep_ms < KEYS_DAYS_MIN * day_ms)
        keep_ms = KEYS_DAYS_MIN * day_ms;
    sqlite3_stmt *st = db_stmt(db, which);
    sqlite3_bind_int64(st, 1, CHUNK);
    sqlite3_bind_int64(st, 2, db->now_ms - keep_ms);
    return db_run(db, st) && sqlite3_changes64(db->sql) == CHUNK;
}

/* Counters that are of no use any more, a chunk at a time; a round looks at all, because nobody else ever
 * does. False at its end. */
static bool purge_counters(struct store_purge *p, struct store_db *db)
{
    struct hash_id last;
    sqlite3_stmt *st = db_stmt(db, SQL_PURGE_COUNTERS_NEXT);
    db_bind_id(st, 1, &p->counter);
    sqlite3_bind_int(st, 2, CHUNK);
    bool any = db_row(db, st) && db_id(st, 0, &last);
    sqlite3_reset(st);
    if (!any) {
        memset(&p->counter, 0, sizeof p->counter);
        return false;
    }
    st = db_stmt(db, SQL_PURGE_COUNTERS);
    db_bind_id(st, 1, &p->counter);
    db_bind_id(st, 2, &last);
    sqlite3_bind_int64(st, 3, db->now_ms);
    db_run(db, st);
    p->counter = last;
    return true;
}

int store_purge_step(struct store_purge *p, struct store_db *db, int64_t mono_ms)
{
    if (mono_ms < p->next_ms)
        return SQLITE_OK;
    if (p->cursor < 0)
        p->cursor = 0;
    db_begin(db);
    purge_jobs(p, db);
    bool more = purge_keys(db, SQL_PURGE_EVENTS);
    more |= purge_keys(db, SQL_PURGE_DELETIONS);
    more |= purge_counters(p, db);
    int rc = db_commit(db);
    if (rc != SQLITE_OK) {
        db_rollback(db);
        p->cursor = -1;
        more = false;
    }
    int64_t round_ms = db->options->retention_ms / 10;
    round_ms = round_ms > ROUND_MS_MAX ? ROUND_MS_MAX : round_ms < ROUND_MS_MIN ? ROUND_MS_MIN : round_ms;
    /* Chunks of a round follow each other with room for others in between. */
    p->next_ms = mono_ms + (p->cursor < 0 && !more ? round_ms : CHUNK_EVERY_MS);
    return rc;
}

/* ---- expiry ---- */

enum { SWEEP_CHUNK = 1000, SWEEP_EVERY_MS = 250, SWEEP_REST_MS = 5000 };

/* Queued jobs behind the cursor that are past their time, which moves on; 0 at the end of the round. */
static size_t find_expired(struct store_sweep *p, struct store_db *db, struct store_standing *out)
{
    size_t count = 0, looked = 0;
    sqlite3_stmt *st = db_stmt(db, SQL_SWEEP);
    sqlite3_bind_int64(st, 1, p->cursor);
    sqlite3_bind_int64(st, 2, SWEEP_CHUNK);
    while (count < CHUNK && db_row(db, st)) {
        struct store_standing *s = &out[count];
        store_row_standing(st, s);
        looked++;
        p->cursor = s->row;
        count += s->intact && s->expires_ms > 0 && s->expires_ms <= db->now_ms;
    }
    sqlite3_reset(st);
    if (looked < SWEEP_CHUNK && count < CHUNK)
        p->cursor = 0;
    return count;
}

static void expire(struct store_db *db, struct store_standing *s)
{
    char id[2 * HASH_ID_BYTES + 1];
    str_hex(s->id.bytes, HASH_ID_BYTES, id);
    s->state = s->pinned ? JOB_UNCERTAIN : JOB_EXPIRED;
    s->finished_ms = db->now_ms;
    store_row_step(db, s, JOB_QUEUED, s->pinned ? STORE_EXPIRED_UNKNOWN : STORE_EXPIRED, 0);
    log_info("job expired in the queue", log_str("job", id), log_str("state", job_state_names[s->state]),
             log_int("attempt", s->attempt));
}

int store_sweep_step(struct store_sweep *p, struct store_db *db, int64_t mono_ms)
{
    if (mono_ms < p->next_ms)
        return SQLITE_OK;
    bool first = p->next_ms == 0;
    p->next_ms = mono_ms + SWEEP_REST_MS;
    if (first || (db->counts[JOB_QUEUED] == 0 && db->counts[JOB_HELD] == 0))
        return SQLITE_OK;
    struct store_standing *expired = xreallocarray(NULL, CHUNK, sizeof *expired);
    db_begin(db);
    size_t count = find_expired(p, db, expired);
    for (size_t i = 0; i < count; i++)
        expire(db, &expired[i]);
    if (db->counts[JOB_HELD] > 0)
        store_parents_expire(db);
    int rc = db_commit(db);
    if (rc != SQLITE_OK)
        db_rollback(db);
    free(expired);
    if (p->cursor > 0)
        p->next_ms = mono_ms + SWEEP_EVERY_MS;
    return rc;
}
