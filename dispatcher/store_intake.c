/*
 * Intake: events that were decided, with all that they cause. An event whose key is known is skipped whole;
 * deletions cancel what stands and are remembered for what comes later.
 */
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/store_parts.h"

static const char deleted_reason[] = "deleted";

/* What a deletion is remembered by. */
static void item_hash(const char *bridge, const char *item, struct hash_id *out)
{
    const struct hash_part parts[] = {{bridge, strlen(bridge)}, {item, strlen(item)}};
    hash_id(parts, 2, out);
}

static bool was_deleted(struct store_db *db, const char *bridge, const char *item)
{
    if (!db->any_deletions || !item)
        return false;
    struct hash_id hash;
    item_hash(bridge, item, &hash);
    sqlite3_stmt *st = db_stmt(db, SQL_DELETION_FIND);
    db_bind_id(st, 1, &hash);
    bool found = db_row(db, st);
    sqlite3_reset(st);
    return found;
}

/* True if the event is new, and then its key is there. */
static bool remember_event(struct store_db *db, const char *bridge, const struct store_decision *d)
{
    sqlite3_stmt *st = db_stmt(db, SQL_EVENT_ADD);
    db_bind_id(st, 1, &d->key);
    db_bind_text(st, 2, bridge);
    db_bind_text(st, 3, d->type);
    sqlite3_bind_int64(st, 4, d->event_ms);
    sqlite3_bind_int64(st, 5, db->now_ms);
    return db_run(db, st) && sqlite3_changes64(db->sql) > 0;
}

/* ---- deletions ---- */

struct standings {
    struct store_standing *list;
    size_t count, size;
};

/* Collected first and changed then: the change moves rows within the index that is being read. */
static void collect(struct store_db *db, enum store_sql which, const char *item, const char *bridge,
                    struct standings *out)
{
    sqlite3_stmt *st = db_stmt(db, which);
    db_bind_text(st, 1, item);
    db_bind_text(st, 2, bridge);
    while (db_row(db, st)) {
        if (out->count == out->size) {
            out->size = out->size ? out->size * 2 : 16;
            out->list = xreallocarray(out->list, out->size, sizeof *out->list);
        }
        store_row_standing(st, &out->list[out->count++]);
    }
}

static size_t cancel_open(struct store_db *db, enum store_sql which, const char *item, const char *bridge)
{
    struct standings found = {0};
    collect(db, which, item, bridge, &found);
    for (size_t i = 0; i < found.count; i++) {
        if (found.list[i].intact)
            store_row_cancel(db, &found.list[i], deleted_reason);
        else
            store_row_damaged(db, &found.list[i], "standing");
    }
    free(found.list);
    return found.count;
}

static void remember_deletion(struct store_db *db, const struct hash_id *hash)
{
    sqlite3_stmt *st = db_stmt(db, SQL_DELETION_ADD);
    db_bind_id(st, 1, hash);
    sqlite3_bind_int64(st, 2, db->now_ms);
    db_run(db, st);
    db->any_deletions = true;
}

/* The deletions of one unit, so that the leased rows are looked through once. */
struct deletions {
    struct hash_id *list;
    size_t count;
};

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct hash_id));
}

static bool names_deleted(const struct deletions *d, const char *bridge, const char *item)
{
    if (!bridge || !item)
        return false;
    struct hash_id hash;
    item_hash(bridge, item, &hash);
    return bsearch(&hash, d->list, d->count, sizeof *d->list, compare_ids) != NULL;
}

static void want_cancel(struct store_db *db, int64_t row)
{
    sqlite3_stmt *st = db_stmt(db, SQL_STANDING_BY_ROW);
    sqlite3_bind_int64(st, 1, row);
    struct store_standing s;
    if (!db_row(db, st))
        return;
    store_row_standing(st, &s);
    sqlite3_reset(st);
    if (!s.intact)
        return;
    s.cancel_wanted = true;
    store_row_step(db, &s, s.state, deleted_reason, 0);
}

/* A job in flight is left alone, but it is not asked again. */
static void mark_leased(struct store_db *db, struct deletions *d)
{
    if (d->count == 0 || db->counts[JOB_LEASED] + db->delta[JOB_LEASED] == 0)
        return;
    qsort(d->list, d->count, sizeof *d->list, compare_ids);
    int64_t *rows = NULL;
    size_t count = 0, size = 0;
    sqlite3_stmt *st = db_stmt(db, SQL_LEASED_ITEMS);
    while (db_row(db, st)) {
        const char *bridge = (const char *)sqlite3_column_text(st, 1);
        if (!names_deleted(d, bridge, (const char *)sqlite3_column_text(st, 2)) &&
            !names_deleted(d, bridge, (const char *)sqlite3_column_text(st, 3)))
            continue;
        if (count == size) {
            size = size ? size * 2 : 16;
            rows = xreallocarray(rows, size, sizeof *rows);
        }
        rows[count++] = sqlite3_column_int64(st, 0);
    }
    for (size_t i = 0; i < count; i++)
        want_cancel(db, rows[i]);
    free(rows);
}

static void delete_item(struct store_db *db, struct store_intake *in, const char *item, struct deletions *all)
{
    struct hash_id *hash = &all->list[all->count++];
    item_hash(in->bridge, item, hash);
    remember_deletion(db, hash);
    in->cancelled += cancel_open(db, SQL_OF_ITEM, item, in->bridge);
    in->cancelled += cancel_open(db, SQL_OF_CONTAINER, item, in->bridge);
}

/* ---- jobs ---- */

/* A job whose item was deleted before it came is inserted as cancelled; the submitter's copy says so only
 * once that is on disk. */
static void add_cancelled(struct store_db *db, struct store_job *j)
{
    struct store_job row = *j;
    row.state = JOB_CANCELLED;
    row.reason = (char *)deleted_reason;
    row.finished_ms = db->now_ms;
    row.attempt = 0;
    row.row = 0;
    j->gone = store_row_add(db, &row);
    j->row = row.row;
}

/* An event from before the last damage may have been decided and its job sent in a transaction that cannot be
 * read any more: its job asks as one of unknown outcome. */
static bool is_from_before_damage(const struct store_db *db, const struct store_job *j)
{
    enum { CLOCKS_DIFFER_MS = 60000 };
    return db->damaged_ms > 0 && j->event_ms <= db->damaged_ms + CLOCKS_DIFFER_MS;
}

static void pin(const struct store_db *db, struct store_job *j)
{
    j->pinned = true;
    if (j->first_attempt_ms == 0)
        j->first_attempt_ms = j->event_ms > 0 && j->event_ms < db->now_ms ? j->event_ms : db->now_ms;
}

static void add_job(struct store_db *db, const struct store_decision *d, struct store_job *j)
{
    j->row = 0;
    j->gone = false;
    if (d->deleted_item)
        j->keep_on_delete = true;
    if (j->created_ms == 0)
        j->created_ms = db->now_ms;
    if (j->due_ms == 0)
        j->due_ms = db->now_ms;
    if (j->generation == 0)
        j->generation = 1;
    if (is_from_before_damage(db, j)) {
        struct store_standing there;
        if (store_row_find(db, &j->id, &there))
            return;
        pin(db, j);
    }
    bool open = j->state == JOB_QUEUED || j->state == JOB_LEASED || j->state == JOB_HELD;
    if (open && !j->keep_on_delete &&
        (was_deleted(db, j->bridge, j->item) || was_deleted(db, j->bridge, j->container))) {
        add_cancelled(db, j);
        return;
    }
    if (j->state == JOB_LEASED && j->first_attempt_ms == 0)
        j->first_attempt_ms = db->now_ms;
    if (!open && j->finished_ms == 0)
        j->finished_ms = db->now_ms;
    store_row_add(db, j);
}

static void decide(struct store_db *db, struct store_intake *in, struct store_decision *d,
                   struct deletions *deletions)
{
    d->known = STORE_NEW;
    for (size_t i = 0; i < d->jobs_count; i++)
        d->jobs[i].row = 0;
    bool remember = d->remember || d->jobs_count > 0;
    if (remember && !remember_event(db, in->bridge, d)) {
        d->known = STORE_KNOWN;
        return;
    }
    if (d->deleted_item)
        delete_item(db, in, d->deleted_item, deletions);
    for (size_t i = 0; i < d->jobs_count && db->rc == SQLITE_OK; i++)
        add_job(db, d, &d->jobs[i]);
}

void store_intake_run(struct store_db *db, struct store_unit *unit)
{
    struct store_intake *in = (struct store_intake *)unit;
    struct deletions deletions = {0};
    for (size_t i = 0; i < in->count; i++)
        deletions.count += in->decisions[i].deleted_item != NULL;
    if (deletions.count)
        deletions.list = xreallocarray(NULL, deletions.count, sizeof *deletions.list);
    deletions.count = 0;
    in->cancelled = 0;
    for (size_t i = 0; i < in->count && db->rc == SQLITE_OK; i++)
        decide(db, in, &in->decisions[i], &deletions);
    mark_leased(db, &deletions);
    free(deletions.list);
    if (in->mark_ms >= 0)
        store_marks_move(db, in->bridge, in->mark_ms);
}

void store_intake_landed(struct store_unit *unit)
{
    struct store_intake *in = (struct store_intake *)unit;
    for (size_t i = 0; i < in->count; i++)
        for (size_t k = 0; k < in->decisions[i].jobs_count; k++)
            if (in->decisions[i].jobs[k].gone)
                in->decisions[i].jobs[k].state = JOB_CANCELLED;
}
