#include "dispatcher/store_look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "dispatcher/store_parts.h"

enum { BUSY_MS = 2000, FIRST_WITH_PRICES = 2 };

struct store_look {
    char *path;
    sqlite3 *sql;
    int version;
};

/* ---- the file ---- */

/* A path as SQLite's URIs want it. */
static char *uri_of(const char *path, const char *options)
{
    struct buf out;
    buf_init(&out, 0);
    buf_adds(&out, "file:");
    for (; *path; path++) {
        if (strchr("%?#", *path))
            buf_addf(&out, "%%%02x", (unsigned char)*path);
        else
            buf_addc(&out, *path);
    }
    buf_addf(&out, "?%s", options);
    char *uri = xstrdup(buf_cstr(&out));
    buf_free(&out);
    return uri;
}

static bool is_there(const char *path, const char *end)
{
    char *name = xasprintf("%s%s", path, end);
    bool there = access(name, F_OK) == 0;
    free(name);
    return there;
}

/* A store that was closed has no log, and is read as it is. One whose log is there belongs to a dispatcher
 * that runs, or to one that was killed. */
static int open_file(struct store_look *l)
{
    bool has_log = is_there(l->path, "-wal") || is_there(l->path, "-shm");
    char *uri = uri_of(l->path, has_log ? "mode=ro" : "mode=ro&immutable=1");
    int rc = sqlite3_open_v2(uri, &l->sql, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
    free(uri);
    if (rc == SQLITE_OK)
        sqlite3_busy_timeout(l->sql, BUSY_MS);
    return rc;
}

/* What SQLite says of a file that may not be read does not say why. */
static int try_to_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

static int cannot(const struct store_look *l, char *why)
{
    snprintf(why, STORE_LOOK_WHY_SIZE, "the store %.300s cannot be read: %.150s", l->path,
             l->sql ? sqlite3_errmsg(l->sql) : "no memory");
    return -1;
}

static int number_of(struct store_look *l, const char *pragma, int *out)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(l->sql, pragma, -1, &st, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *out = sqlite3_column_int(st, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc;
}

static int check(struct store_look *l, char *why)
{
    int application = 0;
    if (open_file(l) != SQLITE_OK || number_of(l, "PRAGMA user_version", &l->version) != SQLITE_OK ||
        number_of(l, "PRAGMA application_id", &application) != SQLITE_OK)
        return cannot(l, why);
    if (application != STORE_APPLICATION_ID) {
        snprintf(why, STORE_LOOK_WHY_SIZE, "%.400s is no store of bridgebell", l->path);
        return -1;
    }
    if (l->version <= STORE_SCHEMA_VERSION)
        return 0;
    snprintf(why, STORE_LOOK_WHY_SIZE,
             "the store %.300s has schema version %d, this program knows up to %d: it was written by a newer "
             "bridgebell",
             l->path, l->version, (int)STORE_SCHEMA_VERSION);
    return -1;
}

enum store_look_status store_look_open(const struct slice *slice, struct store_look **out, char *why)
{
    const struct slice_block *b = slice_find(slice, "dispatcher", NULL);
    const char *store = b ? slice_text(b, "store", NULL) : NULL;
    struct store_look *l = xcalloc(1, sizeof *l);
    enum store_look_status status = STORE_LOOK_FINE;
    *out = NULL;
    l->path = xstrdup(store && strncmp(store, "sqlite:", 7) == 0 ? store + 7 : "");
    if (try_to_read(l->path)) {
        status = errno == ENOENT ? STORE_LOOK_NONE : STORE_LOOK_FAILED;
        if (errno == ENOENT)
            snprintf(why, STORE_LOOK_WHY_SIZE, "there is no store %.300s yet", l->path);
        else
            snprintf(why, STORE_LOOK_WHY_SIZE, "the store %.300s cannot be read: %.150s", l->path,
                     strerror(errno));
    } else if (check(l, why)) {
        status = STORE_LOOK_FAILED;
    }
    if (status == STORE_LOOK_FINE)
        *out = l;
    else
        store_look_close(&l);
    return status;
}

void store_look_close(struct store_look **p)
{
    struct store_look *l = *p;
    if (!l)
        return;
    *p = NULL;
    sqlite3_close(l->sql);
    free(l->path);
    free(l);
}

/* ---- facts ---- */

int store_look_facts(struct store_look *l, const char *prefix, store_look_fact_fn *fn, void *arg, char *why)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(l->sql,
                                "SELECT name, value FROM facts WHERE substr(name, 1, length(?1)) = ?1"
                                " ORDER BY name",
                                -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 1, prefix, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 0);
        const char *value = (const char *)sqlite3_column_text(st, 1);
        if (name && value)
            fn(arg, name, value);
        rc = SQLITE_OK;
    }
    int result = rc == SQLITE_DONE ? 0 : cannot(l, why);
    sqlite3_finalize(st);
    return result;
}

/* ---- jobs ---- */

/* A job of the time before prices has none. */
static const char *jobs_sql(const struct store_look *l)
{
#define JOBS_OF(table)                                                                                       \
    "SELECT " STORE_JOB_COLUMNS " FROM " table " WHERE hex(id) LIKE ?1 ORDER BY row DESC LIMIT ?2"
    return l->version < FIRST_WITH_PRICES ? JOBS_OF("(SELECT *, NULL AS price_micro FROM jobs)")
                                          : JOBS_OF("jobs");
#undef JOBS_OF
}

int store_look_jobs(struct store_look *l, const char *hex, int limit, store_look_job_fn *fn, void *arg,
                    char *why)
{
    sqlite3_stmt *st = NULL;
    struct buf scratch;
    int count = 0;
    char *pattern = xasprintf("%s%%", hex);
    buf_init(&scratch, 0);
    int rc = sqlite3_prepare_v2(l->sql, jobs_sql(l), -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 1, pattern, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int(st, 2, limit);
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct store_job job = {0};
        struct store_standing standing;
        bool good = store_row_job(&scratch, st, &job, &standing);
        fn(arg, &job, good);
        count++;
        store_job_free(&job);
        rc = SQLITE_OK;
    }
    int result = rc == SQLITE_DONE ? count : cannot(l, why);
    sqlite3_finalize(st);
    buf_free(&scratch);
    free(pattern);
    return result;
}
