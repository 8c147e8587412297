/* The directory as an SQLite file: the table or view `people`, opened for reading only. */
#include <sqlite3.h>
#include <string.h>
#include <strings.h>

#include "core/clock.h"
#include "dispatcher/directory_parts.h"

enum {
    BUSY_MS = 200,     /* longest wait for a writer; it is tried again later */
    VALUE_MAX = 65536, /* bytes of one value */
    LOOK_EVERY = 100000,
    TIME_MAX_MS = 10000, /* a view may be anything */
};

static int is_late(void *until_ms)
{
    return clock_mono_ms() > *(const uint64_t *)until_ms;
}

static void fault_sql(struct directory_reader *r, sqlite3 *sql)
{
    r->bad++;
    r->passing = true;
    faults_add(r->faults, r->path, 0, "%s", sqlite3_errmsg(sql));
}

/* Where each column stands in the result, -1 where it does not. False with a fault. */
static bool find_columns(struct directory_reader *r, sqlite3_stmt *st, int at[COLUMNS])
{
    for (int c = 0; c < COLUMNS; c++) {
        at[c] = -1;
        for (int i = 0; i < sqlite3_column_count(st); i++)
            if (strcasecmp(sqlite3_column_name(st, i), directory_columns[c]) == 0)
                at[c] = i;
    }
    if (at[COLUMN_USER] >= 0 && at[COLUMN_NUMBER] >= 0)
        return true;
    r->bad++;
    faults_add(r->faults, r->path, 0, "the table people needs the columns user_id and number");
    return false;
}

static void read_row(struct directory_reader *r, sqlite3_stmt *st, const int at[COLUMNS], size_t row)
{
    struct directory_field fields[COLUMNS] = {0};
    for (int c = 0; c < COLUMNS; c++) {
        if (at[c] < 0)
            continue;
        fields[c].text = (const char *)sqlite3_column_text(st, at[c]);
        fields[c].len = fields[c].text ? (size_t)sqlite3_column_bytes(st, at[c]) : 0;
    }
    directory_read_row(r, fields, row);
}

static void read_people(struct directory_reader *r, sqlite3 *sql)
{
    sqlite3_stmt *st = NULL;
    int at[COLUMNS], rc = sqlite3_prepare_v2(sql, "SELECT * FROM people", -1, &st, NULL);
    size_t row = 0;
    if (rc == SQLITE_OK && find_columns(r, st, at))
        while ((rc = sqlite3_step(st)) == SQLITE_ROW && row <= DIRECTORY_ROWS_MAX)
            read_row(r, st, at, ++row);
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
        fault_sql(r, sql);
    sqlite3_finalize(st);
}

void directory_read_sqlite(struct directory_reader *r)
{
    sqlite3 *sql = NULL;
    uint64_t until_ms = clock_mono_ms() + TIME_MAX_MS;
    if (sqlite3_open_v2(r->path, &sql, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        fault_sql(r, sql);
    } else {
        sqlite3_busy_timeout(sql, BUSY_MS);
        sqlite3_limit(sql, SQLITE_LIMIT_LENGTH, VALUE_MAX);
        sqlite3_db_config(sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
        sqlite3_db_config(sql, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
        sqlite3_progress_handler(sql, LOOK_EVERY, is_late, &until_ms);
        read_people(r, sql);
    }
    sqlite3_close(sql);
}
