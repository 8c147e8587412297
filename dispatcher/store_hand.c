/*
 * What an operator does to jobs, and facts.
 */
#include <stdlib.h>

#include "core/alloc.h"
#include "dispatcher/store_parts.h"

enum { DAY_MS = 24 * 3600 * 1000 };

struct target {
    struct store_job job;
    struct store_standing standing;
};

static bool hand_cancel(struct store_db *db, struct target *t, const char *reason)
{
    struct store_standing *s = &t->standing;
    if (s->state != JOB_LEASED) {
        store_row_cancel(db, s, reason);
        return true;
    }
    if (s->cancel_wanted)
        return false;
    s->cancel_wanted = true;
    return store_row_step(db, s, JOB_LEASED, reason, t->job.code);
}

static bool hand_retry(struct store_db *db, struct target *t, const char *reason)
{
    struct store_standing *s = &t->standing;
    enum job_state was = s->state;
    /* A digest that was cancelled before it had a text, or an event whose recipients were never known. */
    if (!t->job.text[0])
        return false;
    if (s->expires_ms > 0 && s->expires_ms <= db->now_ms) {
        int64_t span = s->expires_ms - t->job.created_ms;
        s->expires_ms = db->now_ms + (span > 0 ? span : DAY_MS);
    }
    s->state = JOB_QUEUED;
    s->generation++;
    s->failures = 0;
    s->pinned = s->cancel_wanted = false;
    s->first_attempt_ms = 0;
    s->finished_ms = 0;
    s->due_ms = db->now_ms;
    return store_row_step(db, s, was, reason, t->job.code);
}

static bool hand_end(struct store_db *db, struct target *t, enum job_state state, const char *reason)
{
    t->standing.state = state;
    t->standing.finished_ms = db->now_ms;
    return store_row_step(db, &t->standing, JOB_UNCERTAIN, reason, t->job.code);
}

static bool hand_sent(struct store_db *db, struct target *t, const char *reason)
{
    return hand_end(db, t, JOB_SENT, reason);
}

static bool hand_drop(struct store_db *db, struct target *t, const char *reason)
{
    return hand_end(db, t, JOB_DEAD, reason);
}

static const struct {
    bool (*act)(struct store_db *db, struct target *t, const char *reason);
    uint32_t states; /* it applies to */
    const char *word;
} hands[] = {
    [HAND_CANCEL] = {hand_cancel, 1u << JOB_QUEUED | 1u << JOB_HELD | 1u << JOB_LEASED, "cancelled"},
    [HAND_RETRY] = {hand_retry,
                    1u << JOB_DEAD | 1u << JOB_EXPIRED | 1u << JOB_CANCELLED | 1u << JOB_UNCERTAIN,
                    "retried"},
    [HAND_SENT] = {hand_sent, 1u << JOB_UNCERTAIN, "declared sent"},
    [HAND_DROP] = {hand_drop, 1u << JOB_UNCERTAIN, "dropped"},
};

static void apply(struct store_db *db, struct store_by_hand *by, int64_t row, const char *reason)
{
    if (!store_rows_match(db, &by->filter, row))
        return;
    sqlite3_stmt *st = db_stmt(db, SQL_JOB_BY_ROW);
    sqlite3_bind_int64(st, 1, row);
    if (!db_row(db, st))
        return;
    struct target t;
    bool good = store_row_job(&db->scratch, st, &t.job, &t.standing);
    sqlite3_reset(st);
    if (!good || !t.standing.intact)
        store_row_damaged(db, &t.standing, good ? "standing" : "content");
    else if (hands[by->hand].act(db, &t, reason))
        by->changed++;
    store_job_free(&t.job);
}

void store_by_hand_run(struct store_db *db, struct store_unit *unit)
{
    struct store_by_hand *by = (struct store_by_hand *)unit;
    size_t limit = by->filter.limit && by->filter.limit < STORE_LIST_MAX ? by->filter.limit : STORE_LIST_MAX;
    uint32_t mask = hands[by->hand].states & (by->filter.states ? by->filter.states : UINT32_MAX);
    char *reason = xasprintf("%s%s%s", hands[by->hand].word, by->who ? " " : "", by->who ? by->who : "");
    struct store_rows rows = {.next = by->filter.before_row};
    by->changed = 0;
    do {
        store_rows_find(db, &by->filter, mask, rows.next, &rows);
        for (size_t i = 0; i < rows.count && by->changed < limit && db->rc == SQLITE_OK; i++)
            apply(db, by, rows.list[i], reason);
    } while (rows.next > 0 && by->changed < limit && db->rc == SQLITE_OK);
    free(reason);
}

void store_fact_run(struct store_db *db, struct store_unit *unit)
{
    struct store_fact *fact = (struct store_fact *)unit;
    sqlite3_stmt *st = db_stmt(db, fact->value ? SQL_FACT_SET : SQL_FACT_REMOVE);
    db_bind_text(st, 1, fact->name);
    if (fact->value)
        db_bind_text(st, 2, fact->value);
    db_run(db, st);
}
