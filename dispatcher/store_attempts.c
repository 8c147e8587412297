/*
 * The record of attempts that ended, for the limit of attempts to a number: what a dispatcher must know of
 * the time before it. One row for each commit of outcomes that tell of any, in order of time; what is older
 * than the longest window goes as new rows come.
 *
 * A row's list is a checksum and then pairs of numbers, the key and how long the number is blocked, no more
 * of them than fit into a page. A row that does not match its checksum is left out.
 */
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "dispatcher/store_parts.h"

enum {
    COLUMNS = 5,
    PAIRS_MAX = 200,
    PURGE_MORE = 4, /* than come, so that the old ones get fewer */
    PAIR_BYTES = 2 * sizeof(uint64_t),
    SUM_BYTES = sizeof(uint64_t)
};

/* This boot of the machine. */
static int64_t boot(void)
{
    const char *id = clock_boot_id();
    return (int64_t)hash_checksum(id, strlen(id));
}

static void purge(struct store_db *db, int64_t keep_ms, size_t rows)
{
    sqlite3_stmt *st = db_stmt(db, SQL_ATTEMPTS_PURGE);
    sqlite3_bind_int64(st, 1, (int64_t)rows);
    sqlite3_bind_int64(st, 2, boot());
    sqlite3_bind_int64(st, 3, (int64_t)clock_boot_ms() - keep_ms);
    sqlite3_bind_int64(st, 4, db->now_ms - keep_ms);
    db_run(db, st);
}

static void add_row(struct store_db *db, uint64_t pairs[][2], size_t count)
{
    unsigned char list[SUM_BYTES + PAIRS_MAX * PAIR_BYTES];
    uint64_t sum = hash_checksum(pairs, count * PAIR_BYTES);
    memcpy(list, &sum, SUM_BYTES);
    memcpy(list + SUM_BYTES, pairs, count * PAIR_BYTES);
    sqlite3_stmt *st = db_stmt(db, SQL_ATTEMPTS_ADD);
    sqlite3_bind_int64(st, 1, boot());
    sqlite3_bind_int64(st, 2, (int64_t)clock_boot_ms());
    sqlite3_bind_int64(st, 3, db->now_ms);
    sqlite3_bind_blob64(st, 4, list, SUM_BYTES + count * PAIR_BYTES, SQLITE_STATIC);
    sqlite3_bind_null(st, 5);
    db_run(db, st);
}

void store_attempts_save(struct store_db *db, const struct store_changes *changes)
{
    uint64_t pairs[PAIRS_MAX][2];
    size_t count = 0, rows = 0;
    for (size_t i = 0; i < changes->count; i++) {
        const struct store_change *c = &changes->changes[i];
        if (!c->number_key)
            continue;
        pairs[count][0] = c->number_key;
        pairs[count][1] = (uint64_t)c->number_blocked_ms;
        if (++count == PAIRS_MAX) {
            add_row(db, pairs, count);
            rows++;
            count = 0;
        }
    }
    if (count) {
        add_row(db, pairs, count);
        rows++;
    }
    if (rows)
        purge(db, changes->attempts_keep_ms, rows + PURGE_MORE);
}

void store_attempts_take(struct store_db *db, const struct page_row *row)
{
    const struct page_value *v = row->values;
    sqlite3_stmt *st = db_stmt(db, SQL_ATTEMPTS_ADD);
    for (int i = 1; i < 4; i++)
        sqlite3_bind_int64(st, i, v[i].number);
    sqlite3_bind_blob64(st, 4, v[4].data, v[4].len, SQLITE_STATIC);
    sqlite3_bind_int64(st, 5, row->rowid);
    db_run(db, st);
}

static bool is_sound(const void *list, size_t len)
{
    uint64_t sum;
    if (!list || len < SUM_BYTES + PAIR_BYTES || (len - SUM_BYTES) % PAIR_BYTES != 0)
        return false;
    memcpy(&sum, list, sizeof sum);
    return sum == hash_checksum((const char *)list + SUM_BYTES, len - SUM_BYTES);
}

bool store_attempts_row(const struct page_row *row)
{
    const struct page_value *v = row->values;
    return row->has_rowid && row->count == COLUMNS && v[1].kind == PAGE_INTEGER &&
           v[2].kind == PAGE_INTEGER && v[3].kind == PAGE_INTEGER && v[4].kind == PAGE_BLOB &&
           is_sound(v[4].data, v[4].len);
}

/* How long ago the row was written: what has passed of this boot, else what the store's time says. */
static uint64_t age_of(const struct store_db *db, sqlite3_stmt *st)
{
    bool same = sqlite3_column_int64(st, 0) == boot();
    int64_t age_ms = same ? (int64_t)clock_boot_ms() - sqlite3_column_int64(st, 1)
                          : db->now_ms - sqlite3_column_int64(st, 2);
    return age_ms > 0 ? (uint64_t)age_ms : 0;
}

struct attempts {
    struct store_attempt *list;
    size_t count, size;
};

static void add_pairs(struct attempts *a, const char *data, size_t len, uint64_t age_ms)
{
    for (size_t at = SUM_BYTES; at < len && a->count < STORE_ATTEMPTS_MAX; at += PAIR_BYTES) {
        uint64_t pair[2];
        memcpy(pair, data + at, sizeof pair);
        if (a->count == a->size) {
            a->size = a->size ? a->size * 2 : 64;
            a->list = xreallocarray(a->list, a->size, sizeof *a->list);
        }
        a->list[a->count++] = (struct store_attempt){pair[0], (int64_t)pair[1], age_ms};
    }
}

struct store_attempt *store_attempts_load(struct store_db *db, size_t *count)
{
    struct attempts all = {0};
    sqlite3_stmt *st = db_stmt(db, SQL_ATTEMPTS_ALL);
    while (db_row(db, st)) {
        const char *data = sqlite3_column_blob(st, 3);
        size_t len = (size_t)sqlite3_column_bytes(st, 3);
        if (is_sound(data, len))
            add_pairs(&all, data, len, age_of(db, st));
        if (all.count >= STORE_ATTEMPTS_MAX) {
            log_warn("more attempts are on record than can be looked at; the oldest do not count",
                     log_int("looked_at", (int64_t)all.count));
            break;
        }
    }
    sqlite3_reset(st);
    *count = all.count;
    return all.list;
}
