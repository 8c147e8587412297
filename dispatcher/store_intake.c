/*
 * Intake: events that were decided, with all that they cause. An event whose key is known is skipped whole;
 * deletions cancel what stands and are remembered for what comes later.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
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

/* Inserts what will not leave: its item was deleted before it came, or noise control holds it back. The
 * submitter's copy says so only once that is on disk. */
static bool add_ended(struct store_db *db, struct store_job *j, enum job_state state, const char *reason)
{
    struct store_job row = *j;
    row.state = state;
    row.reason = (char *)(uintptr_t)reason;
    row.finished_ms = db->now_ms;
    row.attempt = 0;
    row.first_attempt_ms = 0;
    row.row = 0;
    bool added = store_row_add(db, &row);
    j->row = row.row;
    return added;
}

static bool is_merged(const struct store_noise *n)
{
    static const struct hash_id none;
    return memcmp(&n->digest, &none, sizeof none) != 0;
}

static void reason_of(const struct store_noise *n, char *out, size_t size)
{
    char id[2 * HASH_ID_BYTES + 1];
    if (is_merged(n)) {
        str_hex(n->digest.bytes, HASH_ID_BYTES, id);
        snprintf(out, size, "%s: into %s", store_why_names[n->why], id);
    } else if (n->refused_by < n->count)
        snprintf(out, size, "%s: %s", store_why_names[n->why], n->gates[n->refused_by].name);
    else
        snprintf(out, size, "%s", store_why_names[n->why]);
}

/* A job that does not ring: as a row, as long as there are not too many of them. */
static void add_quiet(struct store_db *db, struct store_job *j)
{
    char reason[200];
    struct store_noise *n = j->noise;
    n->counted_only = !store_gates_keep_row(db, j->rule, n->why);
    if (n->counted_only)
        return;
    reason_of(n, reason, sizeof reason);
    bool says_why = j->state == JOB_SUPPRESSED && j->reason;
    add_ended(db, j, is_merged(n) ? JOB_MERGED : JOB_SUPPRESSED, says_why ? j->reason : reason);
}

/* True if it may be queued. What comes suppressed already is counted by the reason that it has. */
static bool passes_noise(struct store_db *db, struct store_job *j, bool open, struct store_passed *passed)
{
    struct store_noise *n = j->noise;
    if (!n)
        return true;
    memset(&n->digest, 0, sizeof n->digest);
    n->counted_only = false;
    if (open)
        store_gates_ask(db, j, passed);
    n->counted = true;
    tallies_add_job(&db->tallies, j);
    if (n->why == WHY_NOTHING)
        return true;
    add_quiet(db, j);
    return false;
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

static void fill_in(const struct store_db *db, const struct store_cause *cause, struct store_job *j)
{
    j->row = 0;
    j->gone = false;
    if (j->noise)
        j->noise->counted = false;
    if (cause->deletes)
        j->keep_on_delete = true;
    if (j->created_ms == 0)
        j->created_ms = db->now_ms;
    if (j->due_ms == 0)
        j->due_ms = db->now_ms;
    if (j->generation == 0)
        j->generation = 1;
}

static bool is_parent(const struct store_job *j)
{
    return j->state == JOB_HELD && !j->number[0];
}

static void add_row(struct store_db *db, const struct store_cause *cause, struct store_job *j)
{
    if (!store_row_add(db, j) || !is_parent(j))
        return;
    sqlite3_stmt *st = db_stmt(db, SQL_PARENT_ADD);
    sqlite3_bind_int64(st, 1, j->row);
    sqlite3_bind_blob(st, 2, cause->packed, (int)cause->packed_len, SQLITE_STATIC);
    db_run(db, st);
}

void store_intake_add(struct store_db *db, const struct store_cause *cause, struct store_job *j)
{
    fill_in(db, cause, j);
    if (is_from_before_damage(db, j)) {
        struct store_standing there;
        if (store_row_find(db, &j->id, &there))
            return;
        pin(db, j);
    }
    bool open = j->state == JOB_QUEUED || j->state == JOB_LEASED || j->state == JOB_HELD;
    if (open && !j->keep_on_delete &&
        (was_deleted(db, j->bridge, j->item) || was_deleted(db, j->bridge, j->container))) {
        j->gone = add_ended(db, j, JOB_CANCELLED, deleted_reason);
        return;
    }
    if (!passes_noise(db, j, open, cause->passed))
        return;
    if (j->state == JOB_LEASED && j->first_attempt_ms == 0)
        j->first_attempt_ms = db->now_ms;
    if (!open && j->finished_ms == 0)
        j->finished_ms = db->now_ms;
    add_row(db, cause, j);
}

static void add_jobs(struct store_db *db, const struct store_decision *d)
{
    struct store_passed passed = {.count = 0};
    const struct store_cause cause = {.packed = d->packed,
                                      .packed_len = d->packed_len,
                                      .deletes = d->deleted_item != NULL,
                                      .passed = &passed};
    for (size_t i = 0; i < d->jobs_count && db->rc == SQLITE_OK; i++)
        store_intake_add(db, &cause, &d->jobs[i]);
}

/* As it would be, of which nothing stays. What other decisions counted is written first, so that forgetting
 * what this one counted takes nothing else away. */
static void try_only(struct store_db *db, struct store_decision *d)
{
    int64_t delta[JOB_STATES];
    memcpy(delta, db->delta, sizeof delta);
    counters_flush(db);
    tallies_save(db);
    db_run(db, db_stmt(db, SQL_SAVE));
    add_jobs(db, d);
    counters_forget(db);
    for (size_t i = 0; i < d->jobs_count; i++)
        tallies_take_job(&db->tallies, &d->jobs[i]);
    db_run(db, db_stmt(db, SQL_SAVE_BACK));
    db_run(db, db_stmt(db, SQL_SAVE_END));
    memcpy(db->delta, delta, sizeof delta);
    for (size_t i = 0; i < d->jobs_count; i++)
        d->jobs[i].row = 0;
}

static void decide(struct store_db *db, struct store_intake *in, struct store_decision *d,
                   struct deletions *deletions)
{
    d->known = STORE_NEW;
    for (size_t i = 0; i < d->jobs_count; i++)
        d->jobs[i].row = 0;
    if (d->try_only) {
        try_only(db, d);
        return;
    }
    bool remember = d->remember || d->jobs_count > 0;
    if (remember && !remember_event(db, in->bridge, d)) {
        d->known = STORE_KNOWN;
        return;
    }
    if (d->deleted_item)
        delete_item(db, in, d->deleted_item, deletions);
    add_jobs(db, d);
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

void store_intake_land(struct store_job *j)
{
    if (j->gone)
        j->state = JOB_CANCELLED;
    else if (j->noise && j->noise->why != WHY_NOTHING)
        j->state = is_merged(j->noise) ? JOB_MERGED : JOB_SUPPRESSED;
}

void store_intake_landed(struct store_unit *unit)
{
    struct store_intake *in = (struct store_intake *)unit;
    for (size_t i = 0; i < in->count; i++)
        for (size_t k = 0; k < in->decisions[i].jobs_count; k++)
            store_intake_land(&in->decisions[i].jobs[k]);
}
