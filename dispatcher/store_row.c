/*
 * A job as a row: its columns, its two checksums, and the writing of steps.
 *
 * `sum` covers what is fixed when the job is committed, above all number and text; `state_sum` covers it and
 * what decides whether the job is sent again. SQLite notices neither a flipped byte in a page nor an index
 * that points to the wrong row; these do.
 */
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/store_parts.h"

static void sum_text(struct buf *b, const char *s)
{
    uint32_t len = s ? (uint32_t)strlen(s) : UINT32_MAX;
    buf_add(b, &len, sizeof len);
    if (s)
        buf_add(b, s, len);
}

uint64_t store_row_sum(struct buf *scratch, const struct store_job *j)
{
    const int64_t numbers[] = {j->priority, j->keep_on_delete, j->event_ms, j->created_ms};
    buf_reset(scratch);
    buf_add(scratch, j->id.bytes, HASH_ID_BYTES);
    buf_add(scratch, j->event.bytes, HASH_ID_BYTES);
    buf_add(scratch, numbers, sizeof numbers);
    const char *const texts[] = {j->bridge, j->rule, j->provider, j->number,
                                 j->from,   j->text, j->item,     j->container};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        sum_text(scratch, texts[i]);
    return hash_checksum(scratch->data, scratch->len);
}

uint64_t store_row_state_sum(const struct store_standing *s)
{
    const int64_t numbers[STORE_STATE_SUM_ARGS] = {
        (int64_t)s->sum, s->state,         s->attempt,          s->failures, s->generation,
        s->pinned,       s->cancel_wanted, s->first_attempt_ms, s->due_ms,   s->expires_ms};
    return hash_checksum(numbers, sizeof numbers);
}

/* Columns in the order of STORE_STANDING_COLUMNS and STORE_JOB_COLUMNS; parameters are one higher. */
enum column {
    COL_ROW,
    COL_ID,
    COL_STATE,
    COL_ATTEMPT,
    COL_FAILURES,
    COL_GENERATION,
    COL_PINNED,
    COL_CANCEL_WANTED,
    COL_FIRST_ATTEMPT,
    COL_DUE,
    COL_FINISHED,
    COL_EXPIRES,
    COL_SUM,
    COL_STATE_SUM,
    COL_EVENT,
    COL_BRIDGE,
    COL_RULE,
    COL_PROVIDER,
    COL_NUMBER,
    COL_FROM,
    COL_TEXT,
    COL_ITEM,
    COL_CONTAINER,
    COL_PRIORITY,
    COL_KEEP,
    COL_EVENT_MS,
    COL_CREATED,
    COL_REASON,
    COL_CODE,
    COL_PROVIDER_ID,
    COL_POINTS,
    COL_PARTS,
    COL_INFERRED,
    COL_PRICE
};
_Static_assert(COL_PRICE + 1 == STORE_JOB_COLUMNS_COUNT, "columns and their list differ");

static enum job_state state_of(int64_t number)
{
    return number >= 0 && number < JOB_STATES ? (enum job_state)number : JOB_DAMAGED;
}

static void take_columns(sqlite3_stmt *st, struct page_row *row, size_t count)
{
    row->count = count;
    for (size_t i = 0; i < count; i++) {
        struct page_value *v = &row->values[i];
        *v = (struct page_value){.kind = PAGE_NULL};
        switch (sqlite3_column_type(st, (int)i)) {
        case SQLITE_INTEGER:
            v->kind = PAGE_INTEGER;
            v->number = sqlite3_column_int64(st, (int)i);
            break;
        case SQLITE_TEXT:
            v->kind = PAGE_TEXT;
            v->data = sqlite3_column_text(st, (int)i);
            v->len = (size_t)sqlite3_column_bytes(st, (int)i);
            break;
        case SQLITE_BLOB:
            v->kind = PAGE_BLOB;
            v->data = sqlite3_column_blob(st, (int)i);
            v->len = (size_t)sqlite3_column_bytes(st, (int)i);
            break;
        }
    }
    row->rowid = row->values[COL_ROW].number;
}

static bool id_of(const struct page_value *v, struct hash_id *out)
{
    bool good = v->kind == PAGE_BLOB && v->len == HASH_ID_BYTES;
    memset(out, 0, sizeof *out);
    if (good)
        memcpy(out->bytes, v->data, HASH_ID_BYTES);
    return good;
}

static char *text_of(const struct page_value *v)
{
    return v->kind == PAGE_TEXT ? xstrndup((const char *)v->data, v->len) : NULL;
}

/* A text that may not be NULL by the schema; a damaged file may say otherwise. */
static char *text_or_empty(const struct page_value *v)
{
    char *text = text_of(v);
    return text ? text : xstrdup("");
}

static void decode_standing(const struct page_row *row, struct store_standing *out)
{
    const struct page_value *v = row->values;
    out->row = row->rowid;
    bool id_good = id_of(&v[COL_ID], &out->id);
    out->state = state_of(v[COL_STATE].number);
    out->attempt = (uint32_t)v[COL_ATTEMPT].number;
    out->failures = (uint32_t)v[COL_FAILURES].number;
    out->generation = (uint32_t)v[COL_GENERATION].number;
    out->pinned = v[COL_PINNED].number != 0;
    out->cancel_wanted = v[COL_CANCEL_WANTED].number != 0;
    out->first_attempt_ms = v[COL_FIRST_ATTEMPT].number;
    out->due_ms = v[COL_DUE].number;
    out->finished_ms = v[COL_FINISHED].number;
    out->expires_ms = v[COL_EXPIRES].number;
    out->sum = (uint64_t)v[COL_SUM].number;
    out->intact = id_good && v[COL_STATE].kind == PAGE_INTEGER &&
                  v[COL_STATE].number == (int64_t)out->state &&
                  (uint64_t)v[COL_STATE_SUM].number == store_row_state_sum(out);
}

void store_row_standing(sqlite3_stmt *st, struct store_standing *out)
{
    struct page_row row;
    take_columns(st, &row, COL_STATE_SUM + 1);
    decode_standing(&row, out);
}

static void decode_texts(const struct page_value *v, struct store_job *j)
{
    j->bridge = text_or_empty(&v[COL_BRIDGE]);
    j->rule = text_or_empty(&v[COL_RULE]);
    j->provider = text_or_empty(&v[COL_PROVIDER]);
    j->number = text_or_empty(&v[COL_NUMBER]);
    j->from = text_of(&v[COL_FROM]);
    j->text = text_or_empty(&v[COL_TEXT]);
    j->item = text_of(&v[COL_ITEM]);
    j->container = text_of(&v[COL_CONTAINER]);
    j->reason = text_of(&v[COL_REASON]);
    j->provider_id = text_of(&v[COL_PROVIDER_ID]);
}

static void copy_standing(struct store_job *j, const struct store_standing *s)
{
    j->row = s->row;
    j->id = s->id;
    j->state = s->state;
    j->attempt = s->attempt;
    j->failures = s->failures;
    j->generation = s->generation;
    j->pinned = s->pinned;
    j->cancel_wanted = s->cancel_wanted;
    j->first_attempt_ms = s->first_attempt_ms;
    j->due_ms = s->due_ms;
    j->finished_ms = s->finished_ms;
    j->expires_ms = s->expires_ms;
}

bool store_row_decode(struct buf *scratch, const struct page_row *row, struct store_job *j,
                      struct store_standing *s)
{
    const struct page_value *v = row->values;
    memset(j, 0, sizeof *j);
    decode_standing(row, s);
    copy_standing(j, s);
    decode_texts(v, j);
    bool event_good = id_of(&v[COL_EVENT], &j->event);
    int64_t priority = v[COL_PRIORITY].number;
    bool priority_good = priority >= PRIORITY_CRITICAL && priority <= PRIORITY_BULK;
    j->priority = priority_good ? (enum job_priority)priority : PRIORITY_NORMAL;
    j->keep_on_delete = v[COL_KEEP].number != 0;
    j->event_ms = v[COL_EVENT_MS].number;
    j->created_ms = v[COL_CREATED].number;
    j->code = (int32_t)v[COL_CODE].number;
    j->points_micro = v[COL_POINTS].number;
    j->parts = (int32_t)v[COL_PARTS].number;
    j->inferred = v[COL_INFERRED].number != 0;
    bool priced = row->count > COL_PRICE && v[COL_PRICE].kind == PAGE_INTEGER;
    j->price_micro = priced ? v[COL_PRICE].number : -1;
    return event_good && priority_good && store_row_sum(scratch, j) == s->sum;
}

bool store_row_job(struct buf *scratch, sqlite3_stmt *st, struct store_job *j, struct store_standing *s)
{
    struct page_row row;
    take_columns(st, &row, STORE_JOB_COLUMNS_COUNT);
    return store_row_decode(scratch, &row, j, s);
}

static struct store_standing standing_of(const struct store_job *j, uint64_t sum)
{
    return (struct store_standing){
        .id = j->id,
        .state = j->state,
        .attempt = j->attempt,
        .failures = j->failures,
        .generation = j->generation,
        .pinned = j->pinned,
        .cancel_wanted = j->cancel_wanted,
        .first_attempt_ms = j->first_attempt_ms,
        .due_ms = j->due_ms,
        .finished_ms = j->finished_ms,
        .expires_ms = j->expires_ms,
        .sum = sum,
    };
}

static void bind_standing(sqlite3_stmt *st, const struct store_standing *s)
{
    db_bind_id(st, COL_ID + 1, &s->id);
    sqlite3_bind_int64(st, COL_STATE + 1, s->state);
    sqlite3_bind_int64(st, COL_ATTEMPT + 1, s->attempt);
    sqlite3_bind_int64(st, COL_FAILURES + 1, s->failures);
    sqlite3_bind_int64(st, COL_GENERATION + 1, s->generation);
    sqlite3_bind_int(st, COL_PINNED + 1, s->pinned);
    sqlite3_bind_int(st, COL_CANCEL_WANTED + 1, s->cancel_wanted);
    sqlite3_bind_int64(st, COL_FIRST_ATTEMPT + 1, s->first_attempt_ms);
    sqlite3_bind_int64(st, COL_DUE + 1, s->due_ms);
    sqlite3_bind_int64(st, COL_FINISHED + 1, s->finished_ms);
    sqlite3_bind_int64(st, COL_EXPIRES + 1, s->expires_ms);
    sqlite3_bind_int64(st, COL_SUM + 1, (int64_t)s->sum);
    sqlite3_bind_int64(st, COL_STATE_SUM + 1, (int64_t)store_row_state_sum(s));
}

static void bind_rest(sqlite3_stmt *st, const struct store_job *j)
{
    db_bind_id(st, COL_EVENT + 1, &j->event);
    db_bind_text(st, COL_BRIDGE + 1, j->bridge);
    db_bind_text(st, COL_RULE + 1, j->rule);
    db_bind_text(st, COL_PROVIDER + 1, j->provider);
    db_bind_text(st, COL_NUMBER + 1, j->number);
    db_bind_text(st, COL_FROM + 1, j->from);
    db_bind_text(st, COL_TEXT + 1, j->text);
    db_bind_text(st, COL_ITEM + 1, j->item);
    db_bind_text(st, COL_CONTAINER + 1, j->container);
    sqlite3_bind_int64(st, COL_PRIORITY + 1, j->priority);
    sqlite3_bind_int(st, COL_KEEP + 1, j->keep_on_delete);
    sqlite3_bind_int64(st, COL_EVENT_MS + 1, j->event_ms);
    sqlite3_bind_int64(st, COL_CREATED + 1, j->created_ms);
    db_bind_text(st, COL_REASON + 1, j->reason);
    sqlite3_bind_int(st, COL_CODE + 1, j->code);
    db_bind_text(st, COL_PROVIDER_ID + 1, j->provider_id);
    sqlite3_bind_int64(st, COL_POINTS + 1, j->points_micro);
    sqlite3_bind_int(st, COL_PARTS + 1, j->parts);
    sqlite3_bind_int(st, COL_INFERRED + 1, j->inferred);
    sqlite3_bind_int64(st, COL_PRICE + 1, j->price_micro);
}

bool store_row_add(struct store_db *db, struct store_job *j)
{
    struct store_standing s = standing_of(j, store_row_sum(&db->scratch, j));
    sqlite3_stmt *st = db_stmt(db, SQL_JOB_ADD);
    if (j->row > 0)
        sqlite3_bind_int64(st, COL_ROW + 1, j->row);
    else
        sqlite3_bind_null(st, COL_ROW + 1);
    bind_standing(st, &s);
    bind_rest(st, j);
    if (!db_run(db, st) || sqlite3_changes64(db->sql) == 0)
        return false;
    j->row = sqlite3_last_insert_rowid(db->sql);
    db_count(db, -1, (int)j->state);
    return true;
}

bool store_row_blocks(struct store_db *db, int64_t *first, int64_t *last)
{
    sqlite3_stmt *st = db_stmt(db, SQL_ROW_BOUNDS);
    bool any = db_row(db, st) && sqlite3_column_type(st, 0) == SQLITE_INTEGER;
    if (any) {
        *first = sqlite3_column_int64(st, 0) >> STORE_BLOCK_SHIFT;
        *last = sqlite3_column_int64(st, 1) >> STORE_BLOCK_SHIFT;
    }
    sqlite3_reset(st);
    return any;
}

bool store_row_find(struct store_db *db, const struct hash_id *id, struct store_standing *out)
{
    int64_t first, last;
    if (!store_row_blocks(db, &first, &last))
        return false;
    for (int64_t block = last; block >= first; block--) {
        sqlite3_stmt *st = db_stmt(db, SQL_STANDING_BY_ID);
        db_bind_id(st, 1, id);
        sqlite3_bind_int64(st, 2, block);
        bool found = db_row(db, st);
        if (found)
            store_row_standing(st, out);
        sqlite3_reset(st);
        if (found)
            return true;
    }
    return false;
}

bool store_row_step(struct store_db *db, struct store_standing *s, enum job_state was, const char *reason,
                    int32_t code)
{
    sqlite3_stmt *st = db_stmt(db, SQL_STEP);
    sqlite3_bind_int64(st, 1, s->row);
    sqlite3_bind_int64(st, 2, s->state);
    sqlite3_bind_int64(st, 3, s->attempt);
    sqlite3_bind_int64(st, 4, s->failures);
    sqlite3_bind_int64(st, 5, s->generation);
    sqlite3_bind_int(st, 6, s->pinned);
    sqlite3_bind_int(st, 7, s->cancel_wanted);
    sqlite3_bind_int64(st, 8, s->first_attempt_ms);
    sqlite3_bind_int64(st, 9, s->due_ms);
    sqlite3_bind_int64(st, 10, s->finished_ms);
    sqlite3_bind_int64(st, 11, s->expires_ms);
    sqlite3_bind_int64(st, 12, (int64_t)store_row_state_sum(s));
    db_bind_text(st, 13, reason);
    sqlite3_bind_int(st, 14, code);
    if (!db_run(db, st))
        return false;
    if (was != s->state)
        db_count(db, (int)was, (int)s->state);
    return true;
}

void store_row_damaged(struct store_db *db, struct store_standing *s, const char *what)
{
    char id[2 * HASH_ID_BYTES + 1];
    str_hex(s->id.bytes, HASH_ID_BYTES, id);
    log_error("job damaged on disk, set aside", log_str("job", id), log_int("row", s->row),
              log_str("damaged", what), log_str("was", job_state_names[s->state]));
    enum job_state was = s->state;
    s->state = JOB_DAMAGED;
    s->finished_ms = db->now_ms;
    store_row_step(db, s, was, what, 0);
}

bool store_row_held(struct store_db *db, int64_t row, struct store_job *job, const char *what)
{
    struct store_standing s;
    sqlite3_stmt *st = db_stmt(db, SQL_JOB_BY_ROW);
    sqlite3_bind_int64(st, 1, row);
    if (!db_row(db, st))
        return false;
    bool good = store_row_job(&db->scratch, st, job, &s) && s.intact;
    sqlite3_reset(st);
    if (!good)
        store_row_damaged(db, &s, what);
    if (good && s.state == JOB_HELD)
        return true;
    store_job_free(job);
    return false;
}

void store_row_cancel(struct store_db *db, struct store_standing *s, const char *why)
{
    enum job_state was = s->state;
    s->state = s->pinned ? JOB_UNCERTAIN : JOB_CANCELLED;
    s->finished_ms = db->now_ms;
    store_row_step(db, s, was, why, 0);
}

struct store_job *store_jobs_add(struct store_jobs *jobs)
{
    if (jobs->count == jobs->size) {
        jobs->size = jobs->size ? jobs->size * 2 : 16;
        jobs->list = xreallocarray(jobs->list, jobs->size, sizeof *jobs->list);
    }
    struct store_job *j = &jobs->list[jobs->count++];
    memset(j, 0, sizeof *j);
    return j;
}
