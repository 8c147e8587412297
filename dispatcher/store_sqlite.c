/*
 * One SQLite connection: how it is opened, its prepared statements, and the frame of a transaction.
 *
 * Write-ahead log with synchronous=FULL: a COMMIT that returned is on disk. The automatic checkpoint is off,
 * because it would sit in the commit path; store_checkpoint.c does that. No memory map, because a damaged
 * file must be an error and not a signal.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/store_parts.h"

static const char *const texts[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_META_GET] = "SELECT value FROM meta WHERE name = ?1",
    [SQL_META_SET] = "INSERT INTO meta VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
    [SQL_FACT_ALL] = "SELECT name, value FROM facts",
    [SQL_FACT_SET] = "INSERT INTO facts VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
    [SQL_FACT_REMOVE] = "DELETE FROM facts WHERE name = ?1",
    [SQL_EVENT_ADD] = "INSERT INTO events(key, bridge, type, event_ms, decided_ms) VALUES(?1, ?2, ?3, ?4, ?5)"
                      " ON CONFLICT DO NOTHING",
    [SQL_DELETION_ADD] = "INSERT INTO deletions(hash, at_ms) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [SQL_DELETION_FIND] = "SELECT 1 FROM deletions WHERE hash = ?1",
    [SQL_DELETION_ANY] = "SELECT 1 FROM deletions LIMIT 1",
    [SQL_JOB_ADD] = "INSERT INTO jobs(" STORE_JOB_COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
                    "?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, "
                    "?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34) ON CONFLICT DO NOTHING",
    [SQL_JOB_BY_ROW] = "SELECT " STORE_JOB_COLUMNS " FROM jobs WHERE row = ?1",
    [SQL_JOB_WORDS] = "SELECT rule, provider, number FROM jobs WHERE row = ?1",
    [SQL_STANDING_BY_ROW] = "SELECT " STORE_STANDING_COLUMNS " FROM jobs WHERE row = ?1",
    [SQL_STANDING_BY_ID] = "SELECT " STORE_STANDING_COLUMNS " FROM jobs WHERE row >> 12 = ?2 AND id = ?1",
    [SQL_STANDING_ANYWHERE] = "SELECT " STORE_STANDING_COLUMNS " FROM jobs WHERE id = ?1",
    [SQL_ROW_BOUNDS] = "SELECT (SELECT min(row) FROM jobs), (SELECT max(row) FROM jobs)",
    [SQL_STEP] = "UPDATE jobs SET state = ?2, attempt = ?3, failures = ?4, generation = ?5, pinned = ?6, "
                 "cancel_wanted = ?7, first_attempt_ms = ?8, due_ms = ?9, finished_ms = ?10, "
                 "expires_ms = ?11, state_sum = ?12, reason = ?13, code = ?14 WHERE row = ?1",
    [SQL_ACCEPT] = "UPDATE jobs SET state = 3, finished_ms = ?2, state_sum = ?3, reason = ?4, code = ?5, "
                   "provider_id = ?6, points_micro = ?7, parts = ?8, inferred = ?9 WHERE row = ?1",
    [SQL_ACCEPT_LEASED] =
        "UPDATE jobs SET state = 3, finished_ms = ?2, state_sum = state_sum(sum, 3, attempt, failures, "
        "generation, pinned, cancel_wanted, first_attempt_ms, due_ms, expires_ms), reason = ?4, code = ?5, "
        "provider_id = ?6, points_micro = ?7, parts = ?8, inferred = ?9 WHERE row = ?1 AND id = ?3 "
        "AND state = 1",
    [SQL_OF_ITEM] = "SELECT " STORE_STANDING_COLUMNS " FROM jobs WHERE item = ?1 AND state IN (0, 2)"
                    " AND bridge = ?2 AND keep_on_delete = 0",
    [SQL_OF_CONTAINER] = "SELECT " STORE_STANDING_COLUMNS " FROM jobs WHERE container = ?1"
                         " AND state IN (0, 2) AND bridge = ?2 AND keep_on_delete = 0",
    [SQL_LEASED_ITEMS] =
        "SELECT row, bridge, item, container FROM jobs WHERE state = 1 AND (state < 3 OR state > 7)"
        " AND keep_on_delete = 0 AND cancel_wanted = 0",
    [SQL_LEASED] = "SELECT " STORE_JOB_COLUMNS " FROM jobs WHERE state = 1 AND (state < 3 OR state > 7)"
                   " ORDER BY row",
    [SQL_DUE] = "SELECT " STORE_JOB_COLUMNS " FROM jobs WHERE state = 0 AND provider = ?1 AND priority = ?2"
                " AND due_ms <= ?3 ORDER BY due_ms, row",
    [SQL_NEXT_DUE] = "SELECT due_ms FROM jobs WHERE state = 0 AND provider = ?1 AND priority = ?2"
                     " AND due_ms > ?3 ORDER BY due_ms LIMIT 1",
    [SQL_OLDEST_AFTER] = "SELECT provider, priority, due_ms FROM jobs INDEXED BY jobs_due WHERE state = 0"
                         " AND (provider, priority) > (?1, ?2) ORDER BY provider, priority, due_ms LIMIT 1",
    [SQL_LIST_ROWS] = "SELECT row, state FROM jobs WHERE row < ?1 ORDER BY row DESC LIMIT ?2",
    [SQL_LIST_STATE] = "SELECT row FROM jobs WHERE state = ?3 AND (state < 3 OR state > 7)"
                       " AND row < ?1 ORDER BY row DESC LIMIT ?2",
    [SQL_LIST_IDS] = "SELECT row, state FROM jobs WHERE row >> 12 = ?5 AND id BETWEEN ?3 AND ?4 AND row < ?1"
                     " ORDER BY row DESC LIMIT ?2",
    [SQL_SWEEP] = "SELECT " STORE_STANDING_COLUMNS " FROM jobs WHERE state = 0"
                  " AND (state < 3 OR state > 7) AND row > ?1 ORDER BY row LIMIT ?2",
    [SQL_PURGE_LOOK] = "SELECT row, state, finished_ms, created_ms FROM jobs WHERE row > ?1 ORDER BY row"
                       " LIMIT ?2",
    [SQL_PURGE_JOB] = "DELETE FROM jobs WHERE row = ?1",
    [SQL_PURGE_EVENTS] = "DELETE FROM events WHERE row IN"
                         " (SELECT row FROM events ORDER BY row LIMIT ?1) AND decided_ms < ?2",
    [SQL_PURGE_DELETIONS] = "DELETE FROM deletions WHERE row IN"
                            " (SELECT row FROM deletions ORDER BY row LIMIT ?1) AND at_ms < ?2",
    [SQL_ATTEMPTS_ADD] = "INSERT INTO attempts(row, boot, boot_ms, at_ms, list) VALUES(?5, ?1, ?2, ?3, ?4)"
                         " ON CONFLICT DO NOTHING",
    [SQL_ATTEMPTS_ALL] = "SELECT boot, boot_ms, at_ms, list FROM attempts ORDER BY row DESC",
    [SQL_ATTEMPTS_PURGE] =
        "DELETE FROM attempts WHERE row IN (SELECT row FROM attempts ORDER BY row LIMIT ?1)"
        " AND ((boot = ?2 AND boot_ms < ?3) OR (boot <> ?2 AND at_ms < ?4))",
    [SQL_PURGE_COUNTERS] = "DELETE FROM counters WHERE key > ?1 AND key <= ?2 AND ends_ms < ?3",
    [SQL_PURGE_COUNTERS_NEXT] = "SELECT max(key) FROM"
                                " (SELECT key FROM counters WHERE key > ?1 ORDER BY key LIMIT ?2)",
    [SQL_COUNTER_GET] = "SELECT ends_ms, data FROM counters WHERE key = ?1",
    [SQL_COUNTER_SET] = "INSERT INTO counters VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET"
                        " ends_ms = excluded.ends_ms, data = excluded.data",
    [SQL_DIGEST_OPEN] =
        "SELECT d.row, d.count, d.since_ms, d.until_ms, d.texts, j.id, d.due_ms FROM digests AS d"
        " JOIN jobs AS j ON j.row = d.row WHERE d.key = ?1 AND d.frozen = 0 AND j.state = 2",
    [SQL_DIGEST_STALE] = "DELETE FROM digests WHERE key = ?1 AND frozen = 0",
    [SQL_DIGEST_ADD] = "INSERT INTO digests VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                       " ON CONFLICT DO NOTHING",
    [SQL_DIGEST_TAKE] = "INSERT OR REPLACE INTO digests VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [SQL_DIGEST_SET] =
        "UPDATE digests SET count = ?2, since_ms = ?3, until_ms = ?4, texts = ?5 WHERE row = ?1",
    [SQL_DIGEST_DUE] = "SELECT row FROM digests WHERE due_ms <= ?1 ORDER BY due_ms, row LIMIT ?2",
    [SQL_DIGEST_NEXT] = "SELECT min(due_ms) FROM digests",
    [SQL_DIGEST_BY_ROW] = "SELECT key, why, shadow, count, since_ms, until_ms, texts, context,"
                          " frozen FROM digests WHERE row = ?1",
    [SQL_DIGEST_FREEZE] = "UPDATE digests SET frozen = 1, due_ms = ?2 WHERE row = ?1",
    [SQL_DIGEST_THAW] = "UPDATE digests SET frozen = 0, due_ms = ?2 WHERE row = ?1",
    [SQL_DIGEST_FOLD] = "UPDATE digests SET count = count + ?2, since_ms = min(since_ms, ?3),"
                        " until_ms = max(until_ms, ?4), texts = ?5, due_ms = min(due_ms, ?6) WHERE row = ?1",
    [SQL_DIGEST_RECLAIM] = "UPDATE digests SET due_ms = 0 WHERE frozen = 1",
    [SQL_DIGEST_DOUBT] = "UPDATE digests SET due_ms = ?2 WHERE why = ?1 AND due_ms > ?2",
    [SQL_DIGEST_DROP] = "DELETE FROM digests WHERE row = ?1",
    [SQL_DIGEST_ORPHANS] = "SELECT " STORE_STANDING_COLUMNS " FROM jobs WHERE state = 2"
                           " AND (state < 3 OR state > 7) AND row NOT IN (SELECT row FROM digests)"
                           " AND row NOT IN (SELECT row FROM parents)",
    [SQL_JOB_FILL] = "UPDATE jobs SET text = ?2, from_name = ?3, parts = ?4, price_micro = ?5, sum = ?6,"
                     " provider = ?7 WHERE row = ?1",
    [SQL_TALLY_ALL] = "SELECT rule, why, jobs, parts, price_micro FROM tallies",
    [SQL_TALLY_SET] = "INSERT INTO tallies VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET"
                      " jobs = excluded.jobs, parts = excluded.parts, price_micro = excluded.price_micro",
    [SQL_PARENT_ADD] = "INSERT INTO parents VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [SQL_PARENT_LIST] = "SELECT row, event FROM parents WHERE row > ?1 ORDER BY row LIMIT ?2",
    [SQL_PARENT_DROP] = "DELETE FROM parents WHERE row = ?1",
    [SQL_PARENT_EXPIRED] =
        "SELECT " STORE_STANDING_COLUMNS " FROM jobs WHERE row IN (SELECT row FROM parents)"
        " AND state = 2 AND (state < 3 OR state > 7) AND expires_ms > 0"
        " AND expires_ms <= ?1 LIMIT ?2",
    [SQL_SAVE] = "SAVEPOINT try",
    [SQL_SAVE_BACK] = "ROLLBACK TO try",
    [SQL_SAVE_END] = "RELEASE try",
};

/* ---- statements ---- */

sqlite3_stmt *db_stmt(struct store_db *db, enum store_sql which)
{
    sqlite3_reset(db->stmts[which]);
    return db->stmts[which];
}

bool db_row(struct store_db *db, sqlite3_stmt *st)
{
    if (db->rc != SQLITE_OK)
        return false;
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        db->rc = rc;
    sqlite3_reset(st);
    return false;
}

bool db_run(struct store_db *db, sqlite3_stmt *st)
{
    while (db_row(db, st))
        continue;
    return db->rc == SQLITE_OK;
}

void db_clear(struct store_db *db)
{
    db->rc = SQLITE_OK;
}

void db_bind_text(sqlite3_stmt *st, int index, const char *text)
{
    if (text)
        sqlite3_bind_text(st, index, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, index);
}

void db_bind_id(sqlite3_stmt *st, int index, const struct hash_id *id)
{
    sqlite3_bind_blob(st, index, id->bytes, HASH_ID_BYTES, SQLITE_STATIC);
}

char *db_text(sqlite3_stmt *st, int column)
{
    const unsigned char *text = sqlite3_column_text(st, column);
    return text ? xstrdup((const char *)text) : NULL;
}

bool db_id(sqlite3_stmt *st, int column, struct hash_id *out)
{
    const void *blob = sqlite3_column_blob(st, column);
    bool good = blob && sqlite3_column_bytes(st, column) == HASH_ID_BYTES;
    if (good)
        memcpy(out->bytes, blob, HASH_ID_BYTES);
    else
        memset(out, 0, sizeof *out);
    return good;
}

char *db_meta(struct store_db *db, const char *name)
{
    sqlite3_stmt *st = db_stmt(db, SQL_META_GET);
    db_bind_text(st, 1, name);
    char *value = db_row(db, st) ? db_text(st, 0) : NULL;
    sqlite3_reset(st);
    return value;
}

bool db_meta_set(struct store_db *db, const char *name, const char *value)
{
    sqlite3_stmt *st = db_stmt(db, SQL_META_SET);
    db_bind_text(st, 1, name);
    db_bind_text(st, 2, value);
    return db_run(db, st);
}

void db_count(struct store_db *db, int from, int to)
{
    if (from >= 0 && from < JOB_STATES)
        db->delta[from]--;
    if (to >= 0 && to < JOB_STATES)
        db->delta[to]++;
}

/* ---- transactions ---- */

int db_begin(struct store_db *db)
{
    db_clear(db);
    memset(db->delta, 0, sizeof db->delta);
    db->now_ms = store_clock_now(db->clock);
    counters_trim(db);
    db_run(db, db_stmt(db, SQL_BEGIN));
    return db->rc;
}

static void save_counts(struct store_db *db)
{
    char line[JOB_STATES * 21 + 1];
    size_t len = 0;
    for (int i = 0; i < JOB_STATES; i++)
        len += (size_t)snprintf(line + len, sizeof line - len, "%s%" PRId64, i ? " " : "",
                                db->counts[i] + db->delta[i]);
    db_meta_set(db, "counts", line);
}

static bool counts_changed(const struct store_db *db)
{
    for (int i = 0; i < JOB_STATES; i++)
        if (db->delta[i])
            return true;
    return false;
}

/* The clock goes to disk with what it dates, but not more often than it matters. */
static void save_clock(struct store_db *db)
{
    enum { EVERY_MS = 1000 };
    if (db->now_ms < db->clock_saved_ms + EVERY_MS)
        return;
    char record[128];
    store_clock_print(db->clock, record, sizeof record);
    db_meta_set(db, "clock", record);
}

int db_commit(struct store_db *db)
{
    counters_flush(db);
    tallies_save(db);
    bool wrote = db->rc == SQLITE_OK && sqlite3_txn_state(db->sql, NULL) == SQLITE_TXN_WRITE &&
                 sqlite3_total_changes64(db->sql) != db->changes_before;
    if (wrote) {
        if (counts_changed(db))
            save_counts(db);
        save_clock(db);
        store_marks_save(db);
    }
    db_run(db, db_stmt(db, SQL_COMMIT));
    if (db->rc != SQLITE_OK)
        return db->rc;
    for (int i = 0; i < JOB_STATES; i++)
        db->counts[i] += db->delta[i];
    tallies_saved(&db->tallies);
    db->changes_before = sqlite3_total_changes64(db->sql);
    if (wrote) {
        store_marks_saved(db);
        if (db->witness)
            store_witness_commit(db->witness, db->wal_frames);
        if (db->now_ms >= db->clock_saved_ms + 1000)
            db->clock_saved_ms = db->now_ms;
    }
    return SQLITE_OK;
}

void db_rollback(struct store_db *db)
{
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_reset(db->stmts[i]);
    /* A COMMIT that failed for want of space has rolled back by itself. */
    if (!sqlite3_get_autocommit(db->sql))
        sqlite3_step(db->stmts[SQL_ROLLBACK]);
    sqlite3_reset(db->stmts[SQL_ROLLBACK]);
    memset(db->delta, 0, sizeof db->delta);
    db->changes_before = sqlite3_total_changes64(db->sql);
    store_marks_revert(db);
    counters_forget(db);
    tallies_revert(&db->tallies);
    db_clear(db);
}

/* ---- opening ---- */

static int remember_frames(void *arg, sqlite3 *sql, const char *name, int frames)
{
    (void)sql;
    (void)name;
    ((struct store_db *)arg)->wal_frames = frames;
    return SQLITE_OK;
}

/* Counting its memory costs SQLite a lock for every allocation, and nobody asks for the count. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int store_sqlite_connect(const char *path, int64_t log_limit_bytes, sqlite3 **out)
{
    static const char pragmas[] = "PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = WAL;"
                                  "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;"
                                  "PRAGMA mmap_size = 0; PRAGMA cache_size = -1536;"
                                  "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST;"
                                  "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;";
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, out, flags, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_busy_timeout(*out, 5000);
    rc = sqlite3_exec(*out, pragmas, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return rc;
    char limit[80];
    snprintf(limit, sizeof limit, "PRAGMA journal_size_limit = %" PRId64, log_limit_bytes);
    return sqlite3_exec(*out, limit, NULL, NULL, NULL);
}

/* state_sum(…) of SQL, so that the commonest step need not read the row first. */
static void sql_state_sum(sqlite3_context *context, int count, sqlite3_value **values)
{
    int64_t numbers[STORE_STATE_SUM_ARGS];
    for (int i = 0; i < count && i < STORE_STATE_SUM_ARGS; i++)
        numbers[i] = sqlite3_value_int64(values[i]);
    sqlite3_result_int64(context, (int64_t)hash_checksum(numbers, sizeof numbers));
}

static int prepare_all(struct store_db *db)
{
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    sqlite3_create_function(db->sql, "state_sum", STORE_STATE_SUM_ARGS, flags, NULL, sql_state_sum, NULL,
                            NULL);
    for (int i = 0; i < SQL_COUNT; i++) {
        int rc = sqlite3_prepare_v3(db->sql, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &db->stmts[i], NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

static void load_counts(struct store_db *db)
{
    char *line = db_meta(db, "counts");
    const char *at = line ? line : "";
    for (int i = 0; i < JOB_STATES; i++) {
        char *end;
        db->counts[i] = strtoll(at, &end, 10);
        at = end;
    }
    free(line);
}

static void load_marks(struct store_db *db)
{
    sqlite3_stmt *st = db_stmt(db, SQL_FACT_ALL);
    while (db_row(db, st))
        store_marks_load(db, (const char *)sqlite3_column_text(st, 0),
                         (const char *)sqlite3_column_text(st, 1));
}

/* The identity is random and made once; `installation` overrides it, so that two stores may share one. */
static void settle_identity(struct store_db *db)
{
    char hex[2 * HASH_ID_BYTES + 1];
    char *stored = db_meta(db, "identity");
    bool known = stored && str_unhex(stored, db->identity.bytes, HASH_ID_BYTES) == 0;
    struct hash_id wanted = db->identity;
    if (db->options->installation) {
        struct hash_part parts[] = {{"installation", 12},
                                    {db->options->installation, strlen(db->options->installation)}};
        hash_id(parts, 2, &wanted);
    } else if (!known && getrandom(wanted.bytes, HASH_ID_BYTES, 0) != HASH_ID_BYTES) {
        panic("no random bytes");
    }
    if (known && memcmp(&wanted, &db->identity, sizeof wanted) != 0)
        log_warn("installation renamed: jobs get other ids than before");
    if (!known || memcmp(&wanted, &db->identity, sizeof wanted) != 0) {
        str_hex(wanted.bytes, HASH_ID_BYTES, hex);
        db_meta_set(db, "identity", hex);
    }
    db->identity = wanted;
    free(stored);
}

static void load_state(struct store_db *db)
{
    db_begin(db);
    char *record = db_meta(db, "clock");
    int64_t recorded = store_clock_parse(record, clock_boot_ms());
    free(record);
    if (!db->clock->started)
        store_clock_start(db->clock, recorded, clock_wall_ms(), clock_boot_ms());
    db->now_ms = store_clock_now(db->clock);
    settle_identity(db);
    char *damaged = db_meta(db, "damaged");
    db->damaged_ms = damaged ? strtoll(damaged, NULL, 10) : 0;
    free(damaged);
    load_counts(db);
    load_marks(db);
    tallies_load(db);
    sqlite3_stmt *st = db_stmt(db, SQL_DELETION_ANY);
    db->any_deletions = db_row(db, st);
    sqlite3_reset(st);
    db_commit(db);
}

bool store_is_damage(int rc)
{
    int kind = rc & 0xff;
    /* A table or column that is not there, in a file of the right version, was overwritten. */
    return kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB || kind == SQLITE_ERROR || kind == SQLITE_FORMAT;
}

/* Adds a fault unless RC is fine. */
static int opened(struct store_db *db, int rc, const char *what, struct faults *faults)
{
    if (rc == SQLITE_OK)
        return 0;
    db->damaged = store_is_damage(rc);
    faults_add(faults, db->options->path, 0, "the store cannot be %s: %s", what,
               db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(rc));
    return -1;
}

int store_db_open(struct store_db *db, const struct store_options *options, struct store_clock *clock,
                  struct faults *faults)
{
    db->options = options;
    db->clock = clock;
    buf_init(&db->scratch, 0);
    int rc = store_sqlite_connect(options->path, options->log_limit_bytes, &db->sql);
    if (opened(db, rc, "opened", faults) != 0)
        return -1;
    if (store_schema_bring(db, faults) != 0)
        return -1;
    sqlite3_wal_hook(db->sql, remember_frames, db);
    rc = prepare_all(db);
    if (rc == SQLITE_OK) {
        load_state(db);
        rc = db->rc;
    }
    return opened(db, rc, "read", faults);
}

bool store_db_check(struct store_db *db)
{
    sqlite3_stmt *st = NULL;
    bool good = sqlite3_prepare_v2(db->sql, "PRAGMA integrity_check(1)", -1, &st, NULL) == SQLITE_OK &&
                sqlite3_step(st) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(st, 0), "ok") == 0;
    if (!good)
        log_error("the store's pages do not agree",
                  log_str("what", st ? (const char *)sqlite3_column_text(st, 0) : NULL));
    sqlite3_finalize(st);
    return good;
}

/* ---- files ---- */

static int open_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup("./");
    mkdir(dir, 0750);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(dir);
    return fd;
}

int store_flush_directory(const char *path)
{
    int fd = open_directory_of(path);
    int rc = fd >= 0 && fsync(fd) == 0 ? 0 : -1;
    if (fd >= 0)
        close(fd);
    return rc;
}

int store_make_file(const char *path)
{
    int dir_fd = open_directory_of(path);
    if (dir_fd < 0)
        return -1;
    close(dir_fd);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    close(fd);
    return store_flush_directory(path);
}

void store_db_abandon(struct store_db *db)
{
    if (db->sql)
        sqlite3_db_config(db->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    store_db_close(db);
}

void store_db_close(struct store_db *db)
{
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(db->stmts[i]);
    memset(db->stmts, 0, sizeof db->stmts);
    if (db->sql && sqlite3_close(db->sql) != SQLITE_OK)
        log_warn("store not closed cleanly", log_str("error", sqlite3_errmsg(db->sql)));
    db->sql = NULL;
    store_marks_free(db);
    counters_free(db);
    tallies_free(&db->tallies);
    buf_free(&db->scratch);
}
