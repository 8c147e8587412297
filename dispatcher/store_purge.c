/*
 * The retention. Rows stand in order of insertion, so one walk from the oldest row finds what is old and
 * stops at the first that is not. Ended jobs go by their end, keys of events and deletions by when they were
 * decided; keys stay at least a fortnight, longer than a listener may reach back. Jobs that wait for a person
 * never go.
 */
#include "dispatcher/store_parts.h"

#include "core/clock.h"
#include "core/log.h"

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
    int rc = db_commit(db);
    if (rc != SQLITE_OK) {
        db_rollback(db);
        p->cursor = -1;
    }
    int64_t round_ms = db->options->retention_ms / 10;
    round_ms = round_ms > ROUND_MS_MAX ? ROUND_MS_MAX : round_ms < ROUND_MS_MIN ? ROUND_MS_MIN : round_ms;
    /* Chunks of a round follow each other with room for others in between. */
    p->next_ms = mono_ms + (p->cursor < 0 && !more ? round_ms : CHUNK_EVERY_MS);
    return rc;
}
