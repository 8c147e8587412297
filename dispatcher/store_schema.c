/*
 * The tables, and the way from an older version to the current one. `user_version` is the version; 0 with no
 * tables is an empty file.
 */

#include "core/log.h"
#include "dispatcher/store_parts.h"

/* Version 1. Columns of jobs are as in struct store_job; sum covers the fixed ones, state_sum those that
 * decide about sending. Partial indexes keep the fast path short: a job that is inserted leased and then
 * sent passes through jobs_id and jobs_standing only. */
static const char version_1[] =
    "PRAGMA application_id = 1111641196;" /* STORE_APPLICATION_ID */
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
    "CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE events(row INTEGER PRIMARY KEY, key BLOB NOT NULL, bridge TEXT, type TEXT,"
    " event_ms INTEGER, decided_ms INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX events_key ON events(key);"
    "CREATE TABLE deletions(row INTEGER PRIMARY KEY, hash BLOB NOT NULL, at_ms INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX deletions_hash ON deletions(hash);"
    "CREATE TABLE jobs(row INTEGER PRIMARY KEY, id BLOB NOT NULL, state INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, failures INTEGER NOT NULL, generation INTEGER NOT NULL,"
    " pinned INTEGER NOT NULL, cancel_wanted INTEGER NOT NULL, first_attempt_ms INTEGER NOT NULL,"
    " due_ms INTEGER NOT NULL, finished_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
    " sum INTEGER NOT NULL, state_sum INTEGER NOT NULL,"
    " event BLOB NOT NULL, bridge TEXT NOT NULL, rule TEXT NOT NULL, provider TEXT NOT NULL,"
    " number TEXT NOT NULL, from_name TEXT, text TEXT NOT NULL, item TEXT, container TEXT,"
    " priority INTEGER NOT NULL, keep_on_delete INTEGER NOT NULL, event_ms INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, reason TEXT, code INTEGER NOT NULL, provider_id TEXT,"
    " points_micro INTEGER NOT NULL, parts INTEGER NOT NULL, inferred INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX jobs_id ON jobs(row >> 12, id);" /* STORE_BLOCK_SHIFT */
    "CREATE INDEX jobs_due ON jobs(provider, priority, due_ms) WHERE state = 0;"
    "CREATE INDEX jobs_item ON jobs(item) WHERE state IN (0, 2) AND item IS NOT NULL;"
    "CREATE INDEX jobs_container ON jobs(container) WHERE state IN (0, 2) AND container IS NOT NULL;"
    /* what is open or wants a person: seldom many, so that they are found without reading the rest */
    "CREATE INDEX jobs_standing ON jobs(state) WHERE (state < 3 OR state > 7);";

/* Version 2: noise control. Counters are small blobs of store_counter.h; digests are held jobs that collect
 * events; parents keep the event whose recipients are to be looked up.
 * attempts: of each commit of outcomes, the numbers that were tried and those that the provider wants to be
 * left alone (store_attempts.c); its rows go in order of time and are few. */
static const char version_2[] =
    "ALTER TABLE jobs ADD COLUMN price_micro INTEGER;"
    "CREATE TABLE counters(key BLOB PRIMARY KEY, ends_ms INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE digests(row INTEGER PRIMARY KEY, key BLOB NOT NULL, why INTEGER NOT NULL,"
    " shadow INTEGER NOT NULL, frozen INTEGER NOT NULL, due_ms INTEGER NOT NULL, count INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, texts TEXT NOT NULL, context TEXT);"
    "CREATE UNIQUE INDEX digests_key ON digests(key) WHERE frozen = 0;"
    "CREATE INDEX digests_due ON digests(due_ms);"
    "CREATE TABLE parents(row INTEGER PRIMARY KEY, event BLOB NOT NULL);"
    "CREATE TABLE tallies(rule TEXT NOT NULL, why INTEGER NOT NULL, jobs INTEGER NOT NULL,"
    " parts INTEGER NOT NULL, price_micro INTEGER NOT NULL, PRIMARY KEY(rule, why)) WITHOUT ROWID;"
    "CREATE TABLE attempts(row INTEGER PRIMARY KEY, boot INTEGER NOT NULL, boot_ms INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL, list BLOB NOT NULL);";

/* migrations[N] leads from version N to N + 1. */
static const char *const migrations[STORE_SCHEMA_VERSION] = {version_1, version_2};

static int version_of(sqlite3 *sql, int *version)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(sql, "PRAGMA user_version", -1, &st, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *version = sqlite3_column_int(st, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc;
}

static int migrate_from(sqlite3 *sql, int version)
{
    char number[64];
    sqlite3_snprintf(sizeof number, number, "PRAGMA user_version = %d", version + 1);
    int rc = sqlite3_exec(sql, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(sql, migrations[version], NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(sql, number, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(sql, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(sql))
        sqlite3_exec(sql, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int store_schema_bring(struct store_db *db, struct faults *faults)
{
    const char *path = db->options->path;
    int version = 0;
    int rc = version_of(db->sql, &version);
    db->opened_version = version;
    db->newer = rc == SQLITE_OK && version > STORE_SCHEMA_VERSION;
    if (db->newer) {
        faults_add(faults, path, 0,
                   "the store has schema version %d, this program knows up to %d: it was "
                   "written by a newer bridgebell",
                   version, (int)STORE_SCHEMA_VERSION);
        return -1;
    }
    for (int from = version; rc == SQLITE_OK && from < STORE_SCHEMA_VERSION; from++) {
        rc = migrate_from(db->sql, from);
        if (rc == SQLITE_OK && version > 0)
            log_info("store migrated", log_str("path", path), log_int("version", from + 1));
    }
    if (rc == SQLITE_OK)
        return 0;
    db->damaged = store_is_damage(rc);
    faults_add(faults, path, 0, "the store's tables cannot be made: %s", sqlite3_errstr(rc));
    return -1;
}

uint64_t store_schema_sum(struct store_db *db)
{
    sqlite3_stmt *st = NULL;
    struct buf all;
    buf_init(&all, 0);
    int rc = sqlite3_prepare_v2(db->sql, "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema", -1,
                                &st, NULL);
    while (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(st); i++) {
            const char *text = (const char *)sqlite3_column_text(st, i);
            buf_adds(&all, text ? text : "");
            buf_addc(&all, '\n');
        }
    sqlite3_finalize(st);
    uint64_t sum = hash_checksum(all.data, all.len);
    buf_free(&all);
    return sum;
}
