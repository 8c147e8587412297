/*
 * Parents: held jobs whose event waits until somebody has looked up its recipients. The event stands in a
 * table beside the job, as long as that is held.
 */
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/store_parts.h"

enum { LIST_MAX = 100, EXPIRE_MAX = 200 };

static const char expanded_reason[] = "its recipients were looked up";

static void drop(struct store_db *db, int64_t row)
{
    sqlite3_stmt *st = db_stmt(db, SQL_PARENT_DROP);
    sqlite3_bind_int64(st, 1, row);
    db_run(db, st);
}

/* ---- reading ---- */

void store_parents_clear(struct store_parents *p)
{
    for (size_t i = 0; i < p->count; i++) {
        store_job_free(&p->list[i].job);
        free(p->list[i].packed);
    }
    free(p->list);
    p->list = NULL;
    p->count = 0;
}

void store_parents_reset(struct store_unit *unit)
{
    store_parents_clear((struct store_parents *)unit);
}

/* Rows and events first: dropping orphans changes what is being read. */
static void read_events(struct store_db *db, struct store_parents *p)
{
    size_t limit = p->limit ? p->limit : LIST_MAX;
    sqlite3_stmt *st = db_stmt(db, SQL_PARENT_LIST);
    sqlite3_bind_int64(st, 1, p->after_row);
    sqlite3_bind_int64(st, 2, (int64_t)limit);
    p->list = xcalloc(limit, sizeof *p->list);
    for (; p->count < limit && db_row(db, st); p->count++) {
        struct store_parent *one = &p->list[p->count];
        int bytes = sqlite3_column_bytes(st, 1);
        one->job.row = sqlite3_column_int64(st, 0);
        one->packed_len = bytes > 0 ? (size_t)bytes : 0;
        one->packed = xmalloc(one->packed_len + 1);
        if (one->packed_len)
            memcpy(one->packed, sqlite3_column_blob(st, 1), one->packed_len);
    }
    sqlite3_reset(st);
    p->last_row = p->count ? p->list[p->count - 1].job.row : p->after_row;
    p->more = p->count == limit;
}

void store_parents_run(struct store_db *db, struct store_unit *unit)
{
    struct store_parents *p = (struct store_parents *)unit;
    size_t kept = 0;
    p->count = 0;
    read_events(db, p);
    for (size_t i = 0; i < p->count; i++) {
        int64_t row = p->list[i].job.row;
        memset(&p->list[i].job, 0, sizeof p->list[i].job);
        if (db->rc == SQLITE_OK && store_row_held(db, row, &p->list[i].job, "parent")) {
            p->list[kept++] = p->list[i];
            continue;
        }
        drop(db, row);
        free(p->list[i].packed);
    }
    p->count = kept;
}

/* ---- expanding ---- */

static bool is_waiting(struct store_db *db, const struct store_expand *e, struct store_standing *s)
{
    sqlite3_stmt *st = db_stmt(db, SQL_STANDING_BY_ROW);
    sqlite3_bind_int64(st, 1, e->row);
    if (!db_row(db, st))
        return false;
    store_row_standing(st, s);
    sqlite3_reset(st);
    return memcmp(&s->id, &e->parent, sizeof s->id) == 0 && s->state == JOB_HELD && s->intact;
}

static void add_children(struct store_db *db, struct store_expand *e)
{
    struct store_passed passed = {.count = 0};
    const struct store_cause cause = {.passed = &passed};
    for (size_t i = 0; i < e->jobs_count && db->rc == SQLITE_OK; i++)
        store_intake_add(db, &cause, &e->jobs[i]);
}

void store_expand_run(struct store_db *db, struct store_unit *unit)
{
    struct store_expand *e = (struct store_expand *)unit;
    struct store_standing s;
    e->applied = false;
    for (size_t i = 0; i < e->jobs_count; i++)
        e->jobs[i].row = 0;
    if (!is_waiting(db, e, &s)) {
        drop(db, e->row);
        return;
    }
    add_children(db, e);
    s.state = e->end ? JOB_SUPPRESSED : JOB_MERGED;
    s.finished_ms = db->now_ms;
    store_row_step(db, &s, JOB_HELD, e->reason ? e->reason : expanded_reason, 0);
    drop(db, e->row);
    if (e->end)
        tallies_add(&db->tallies, e->rule, e->why, 1, 0, 0);
    e->applied = true;
}

void store_expand_landed(struct store_unit *unit)
{
    struct store_expand *e = (struct store_expand *)unit;
    for (size_t i = 0; e->applied && i < e->jobs_count; i++)
        store_intake_land(&e->jobs[i]);
}

/* ---- time ---- */

void store_parents_expire(struct store_db *db)
{
    struct store_standing expired[EXPIRE_MAX];
    size_t count = 0;
    sqlite3_stmt *st = db_stmt(db, SQL_PARENT_EXPIRED);
    sqlite3_bind_int64(st, 1, db->now_ms);
    sqlite3_bind_int64(st, 2, EXPIRE_MAX);
    while (count < EXPIRE_MAX && db_row(db, st))
        store_row_standing(st, &expired[count++]);
    sqlite3_reset(st);
    for (size_t i = 0; i < count && db->rc == SQLITE_OK; i++) {
        char id[2 * HASH_ID_BYTES + 1];
        str_hex(expired[i].id.bytes, HASH_ID_BYTES, id);
        expired[i].state = JOB_EXPIRED;
        expired[i].finished_ms = db->now_ms;
        store_row_step(db, &expired[i], JOB_HELD, "expired; its recipients could not be looked up", 0);
        drop(db, expired[i].row);
        log_warn("an event expired before its recipients were looked up", log_str("job", id));
    }
}
