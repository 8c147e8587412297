/*
 * Steps of jobs: outcomes of attempts. A state moves only forward; what the provider accepted is recorded
 * from wherever the job stands.
 */
#include "dispatcher/store_parts.h"

#include <string.h>

/* By row if that row is this job's, else by id: rows may be used again after a purge. */
static bool find(struct store_db *db, const struct store_change *c, struct store_standing *out)
{
    bool found = false;
    if (c->row > 0) {
        sqlite3_stmt *st = db_stmt(db, SQL_STANDING_BY_ROW);
        sqlite3_bind_int64(st, 1, c->row);
        found = db_row(db, st);
        if (found)
            store_row_standing(st, out);
        sqlite3_reset(st);
    }
    return (found && memcmp(&out->id, &c->job, sizeof c->job) == 0) || store_row_find(db, &c->job, out);
}

static void bind_outcome(const struct store_db *db, sqlite3_stmt *st, int64_t row,
                         const struct store_change *c)
{
    sqlite3_bind_int64(st, 1, row);
    sqlite3_bind_int64(st, 2, db->now_ms);
    db_bind_text(st, 4, c->reason);
    sqlite3_bind_int(st, 5, c->code);
    db_bind_text(st, 6, c->provider_id);
    sqlite3_bind_int64(st, 7, c->points_micro);
    sqlite3_bind_int(st, 8, c->parts);
    sqlite3_bind_int(st, 9, c->inferred);
}

static bool accepted(struct store_db *db, const struct store_change *c, struct store_standing *s)
{
    if (s->state == JOB_SENT || s->state == JOB_DELIVERED || s->state == JOB_UNDELIVERED)
        return false;
    enum job_state was = s->state;
    s->state = JOB_SENT;
    sqlite3_stmt *st = db_stmt(db, SQL_ACCEPT);
    bind_outcome(db, st, s->row, c);
    sqlite3_bind_int64(st, 3, (int64_t)store_row_state_sum(s));
    if (!db_run(db, st))
        return false;
    db_count(db, (int)was, JOB_SENT);
    return true;
}

/* What nearly every change is, in one statement: the acceptance of a job in flight, its row known. */
static bool accept_leased(struct store_db *db, struct store_change *c)
{
    if (c->step != STEP_ACCEPTED || c->row == 0)
        return false;
    sqlite3_stmt *st = db_stmt(db, SQL_ACCEPT_LEASED);
    bind_outcome(db, st, c->row, c);
    db_bind_id(st, 3, &c->job);
    if (!db_run(db, st) || sqlite3_changes64(db->sql) == 0)
        return false;
    db_count(db, JOB_LEASED, JOB_SENT);
    c->applied = true;
    c->was = JOB_LEASED;
    c->now = JOB_SENT;
    return true;
}

static bool retry(struct store_db *db, const struct store_change *c, struct store_standing *s)
{
    if (c->generation != s->generation)
        s->first_attempt_ms = 0;
    s->generation = c->generation;
    s->failures = c->failures;
    s->pinned = c->pinned;
    if (s->cancel_wanted) {
        store_row_cancel(db, s, s->pinned ? "cancelled; its outcome is unknown" : "cancelled in flight");
        return true;
    }
    s->state = JOB_QUEUED;
    s->due_ms = db->now_ms + c->due_in_ms;
    return store_row_step(db, s, JOB_LEASED, c->reason, c->code);
}

/* The attempt did not happen: without an earlier one of unknown outcome the generation is as new. */
static bool give_back(struct store_db *db, const struct store_change *c, struct store_standing *s)
{
    if (!s->pinned)
        s->first_attempt_ms = 0;
    if (s->cancel_wanted) {
        store_row_cancel(db, s, s->pinned ? "cancelled; its outcome is unknown" : "cancelled");
        return true;
    }
    s->state = JOB_QUEUED;
    /* What did not leave keeps its place. */
    if (c->due_in_ms > 0 || s->due_ms > db->now_ms)
        s->due_ms = db->now_ms + c->due_in_ms;
    return store_row_step(db, s, JOB_LEASED, c->reason, c->code);
}

static bool end(struct store_db *db, const struct store_change *c, struct store_standing *s)
{
    s->state = c->state;
    s->failures = c->failures;
    s->pinned = c->pinned;
    s->finished_ms = db->now_ms;
    return store_row_step(db, s, JOB_LEASED, c->reason, c->code);
}

typedef bool step_fn(struct store_db *db, const struct store_change *c, struct store_standing *s);
static step_fn *const steps[] = {
    [STEP_ACCEPTED] = accepted, [STEP_RETRY] = retry, [STEP_RETURN] = give_back, [STEP_END] = end};

static void change(struct store_db *db, struct store_change *c)
{
    struct store_standing s;
    c->applied = false;
    if (accept_leased(db, c))
        return;
    if (!find(db, c, &s)) {
        c->was = c->now = JOB_STATES;
        return;
    }
    c->was = s.state;
    bool mine = s.state == JOB_LEASED && s.attempt == c->attempt;
    if (c->step != STEP_ACCEPTED && mine && !s.intact)
        store_row_damaged(db, &s, "standing");
    else if (c->step == STEP_ACCEPTED || mine)
        c->applied = steps[c->step](db, c, &s);
    c->now = s.state;
}

void store_changes_run(struct store_db *db, struct store_unit *unit)
{
    struct store_changes *changes = (struct store_changes *)unit;
    for (size_t i = 0; i < changes->count && db->rc == SQLITE_OK; i++)
        change(db, &changes->changes[i]);
    store_attempts_save(db, changes);
}
