/*
 * Reading jobs for people. A long search is cut into chunks with other transactions in between, so that
 * nobody who looks holds up a commit.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/rules_table.h"
#include "dispatcher/store_parts.h"

/* The states that jobs_standing has. */
static const uint32_t indexed = 1u << JOB_QUEUED | 1u << JOB_LEASED | 1u << JOB_HELD | 1u << JOB_EXPIRED |
                                1u << JOB_CANCELLED | 1u << JOB_UNCERTAIN | 1u << JOB_DEAD |
                                1u << JOB_DAMAGED;

enum { ID_PREFIX_MIN = 6 };

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The lowest and the highest identity that begin with PREFIX. */
static bool id_range(const char *prefix, struct hash_id *low, struct hash_id *high)
{
    size_t len = strlen(prefix);
    if (len < ID_PREFIX_MIN || len > 2 * HASH_ID_BYTES)
        return false;
    memset(low, 0, sizeof *low);
    memset(high, 0xff, sizeof *high);
    for (size_t i = 0; i < len; i++) {
        int value = digit(prefix[i]);
        if (value < 0)
            return false;
        int shift = i % 2 ? 0 : 4;
        low->bytes[i / 2] = (unsigned char)(low->bytes[i / 2] | value << shift);
        high->bytes[i / 2] = (unsigned char)((high->bytes[i / 2] & ~(0xf << shift)) | value << shift);
    }
    return true;
}

/* Runs ST (?1: below, ?2: limit) and keeps rows whose state, in the second column if it has one, is in MASK.
 * True if the limit cut it off; LAST is then the lowest row looked at. */
static bool gather(struct store_db *db, sqlite3_stmt *st, uint32_t mask, int64_t below,
                   struct store_rows *out, int64_t *last)
{
    size_t looked = 0, limit = STORE_LIST_CHUNK - out->count;
    sqlite3_bind_int64(st, 1, below > 0 ? below : INT64_MAX);
    sqlite3_bind_int64(st, 2, (int64_t)limit);
    while (looked < limit && db_row(db, st)) {
        looked++;
        *last = sqlite3_column_int64(st, 0);
        int64_t state = sqlite3_column_count(st) > 1 ? sqlite3_column_int64(st, 1) : -1;
        if (state < 0 || (state < JOB_STATES && mask >> state & 1))
            out->list[out->count++] = *last;
    }
    sqlite3_reset(st);
    return looked == limit;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Each state has its part of the chunk; what lies below the end of a part that was cut off waits. */
static void gather_states(struct store_db *db, uint32_t mask, int64_t below, struct store_rows *out)
{
    static const size_t part = STORE_LIST_CHUNK / 8;
    int64_t floor = 0;
    for (int state = 0; state < JOB_STATES; state++) {
        if (!(mask >> state & 1))
            continue;
        struct store_rows some = {.count = STORE_LIST_CHUNK - part};
        int64_t last = 0;
        sqlite3_stmt *st = db_stmt(db, SQL_LIST_STATE);
        sqlite3_bind_int(st, 3, state);
        if (gather(db, st, mask, below, &some, &last) && last > floor)
            floor = last;
        for (size_t i = STORE_LIST_CHUNK - part; i < some.count; i++)
            out->list[out->count++] = some.list[i];
    }
    qsort(out->list, out->count, sizeof *out->list, newest_first);
    while (out->count && out->list[out->count - 1] < floor)
        out->count--;
    out->next = floor;
}

/* Block by block, newest first. */
static void gather_ids(struct store_db *db, const char *prefix, uint32_t mask, int64_t below,
                       struct store_rows *out)
{
    struct hash_id low, high;
    int64_t first, block, last = 0;
    if (!id_range(prefix, &low, &high) || !store_row_blocks(db, &first, &block))
        return;
    if (below > 0 && (below - 1) >> STORE_BLOCK_SHIFT < block)
        block = (below - 1) >> STORE_BLOCK_SHIFT;
    for (; block >= first; block--) {
        sqlite3_stmt *st = db_stmt(db, SQL_LIST_IDS);
        db_bind_id(st, 3, &low);
        db_bind_id(st, 4, &high);
        sqlite3_bind_int64(st, 5, block);
        if (gather(db, st, mask, below, out, &last)) {
            out->next = last;
            return;
        }
    }
}

void store_rows_find(struct store_db *db, const struct store_filter *filter, uint32_t mask, int64_t below,
                     struct store_rows *out)
{
    out->count = 0;
    out->next = 0;
    int64_t last = 0;
    if (filter->id)
        gather_ids(db, filter->id, mask, below, out);
    else if ((mask & ~indexed) == 0)
        gather_states(db, mask, below, out);
    else if (gather(db, db_stmt(db, SQL_LIST_ROWS), mask, below, out, &last))
        out->next = last;
}

static bool same_word(const char *wanted, const unsigned char *word)
{
    return !wanted || (word && strcmp(wanted, (const char *)word) == 0);
}

static bool other_word(const char *unwanted, const unsigned char *word)
{
    return !unwanted || !same_word(unwanted, word);
}

static bool one_of(const struct rules_table *words, const unsigned char *word)
{
    return !words || (word && rules_table_find(words, word, strlen((const char *)word)) != RULES_TABLE_NONE);
}

bool store_rows_match(struct store_db *db, const struct store_filter *f, int64_t row)
{
    if (!f->rule && !f->provider && !f->not_rule && !f->numbers)
        return true;
    sqlite3_stmt *st = db_stmt(db, SQL_JOB_WORDS);
    sqlite3_bind_int64(st, 1, row);
    bool match = db_row(db, st) && same_word(f->rule, sqlite3_column_text(st, 0)) &&
                 other_word(f->not_rule, sqlite3_column_text(st, 0)) &&
                 same_word(f->provider, sqlite3_column_text(st, 1)) &&
                 one_of(f->numbers, sqlite3_column_text(st, 2));
    sqlite3_reset(st);
    return match;
}

static void list_row(struct store_db *db, struct store_list *list, int64_t row)
{
    if (!store_rows_match(db, &list->filter, row))
        return;
    sqlite3_stmt *st = db_stmt(db, SQL_JOB_BY_ROW);
    sqlite3_bind_int64(st, 1, row);
    if (!db_row(db, st))
        return;
    struct store_jobs jobs = {list->jobs, list->count, list->size};
    struct store_standing standing;
    store_row_job(&db->scratch, st, store_jobs_add(&jobs), &standing);
    sqlite3_reset(st);
    list->jobs = jobs.list;
    list->count = jobs.count;
    list->size = jobs.size;
}

void store_list_run(struct store_db *db, struct store_unit *unit)
{
    struct store_list *list = (struct store_list *)unit;
    if (list->filter.limit == 0 || list->filter.limit > STORE_LIST_MAX)
        list->filter.limit = STORE_LIST_MAX;
    if (list->cursor == 0)
        list->cursor = list->filter.before_row;
    uint32_t mask = list->filter.states ? list->filter.states : (1u << JOB_STATES) - 1;
    struct store_rows rows;
    store_rows_find(db, &list->filter, mask, list->cursor, &rows);
    for (size_t i = 0; i < rows.count && list->count < list->filter.limit && db->rc == SQLITE_OK; i++)
        list_row(db, list, rows.list[i]);
    list->cursor = rows.next;
    unit->again = rows.next > 0 && list->count < list->filter.limit;
}

void store_list_reset(struct store_unit *unit)
{
    struct store_list *list = (struct store_list *)unit;
    for (size_t i = 0; i < list->count; i++)
        store_job_free(&list->jobs[i]);
    free(list->jobs);
    list->jobs = NULL;
    list->count = list->size = 0;
    list->cursor = 0;
}
