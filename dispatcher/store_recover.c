/*
 * Opening a store that may have been hurt. Start-up is recovery: the log is looked through before SQLite
 * reads it, because SQLite takes a damaged log for one that ended early and goes on without a word.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/store_parts.h"

/* Files up to this size are read through at opening; larger ones would hold up the start, and their rows are
 * checked one by one when they are used. */
enum { CHECK_CLEAN_BYTES = 8 * 1024 * 1024, CHECK_UNCLEAN_BYTES = 64 * 1024 * 1024 };

static int64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* What the witness says is missing from the log; the number of transactions in *UNREAD. */
static bool log_is_short(const struct store_witness *w, const struct store_wal *wal, int64_t *unread)
{
    const struct store_witness_record *r = &w->record;
    if (!w->found || r->clean)
        return false;
    bool same = wal->exists && wal->header_good && memcmp(wal->salt, r->salt, sizeof r->salt) == 0;
    /* Another log with a good header was begun after all of the old one had been copied. */
    bool is_short =
        same ? wal->frames < r->frames : !(wal->exists && wal->header_good) && r->frames > r->copied;
    if (is_short)
        *unread = r->transactions - (same ? wal->transactions : 0);
    return is_short;
}

/* Why the files cannot be trusted as they are; NULL if they can. */
static const char *examine(const struct store_witness *w, const char *path, const struct store_wal *wal,
                           int64_t *unread)
{
    *unread = 0;
    if (w->found && file_size(path) <= 0)
        return "the database is missing";
    if (log_is_short(w, wal, unread))
        return "the log is missing or too short";
    if (wal->stray_frames > 0) {
        *unread = wal->stray_transactions;
        return "the log is broken in the middle";
    }
    if (wal->loose_frames > 0)
        log_warn("the store's log ends inside a transaction, which is left out", log_str("path", path),
                 log_int("frames", wal->loose_frames));
    return NULL;
}

/* Zero if there is none. */
static void read_session(struct store_db *db, struct hash_id *out)
{
    char *hex = db_meta(db, "session");
    if (!hex || str_unhex(hex, out->bytes, HASH_ID_BYTES) != 0)
        memset(out, 0, sizeof *out);
    free(hex);
}

/* The witness and the database must tell of the same last opening. */
static bool is_another_copy(struct store_db *db, const struct store_witness *w)
{
    struct hash_id session;
    if (!w->found)
        return false;
    read_session(db, &session);
    return memcmp(&session, &w->record.session, sizeof session) != 0 &&
           memcmp(&session, &w->record.next_session, sizeof session) != 0;
}

static int begin_session(struct store_db *db, struct store_witness *w, const struct store_wal *wal)
{
    struct hash_id old, next;
    char hex[2 * HASH_ID_BYTES + 1];
    if (getrandom(next.bytes, HASH_ID_BYTES, 0) != HASH_ID_BYTES)
        panic("no random bytes");
    read_session(db, &old);
    store_witness_start(w, wal);
    store_witness_session(w, db, &old, &next);
    str_hex(next.bytes, HASH_ID_BYTES, hex);
    db->witness = w;
    db_begin(db);
    db_meta_set(db, "session", hex);
    int rc = db_commit(db);
    if (rc != SQLITE_OK)
        db_rollback(db);
    else
        store_witness_session(w, db, &next, &next);
    return rc;
}

/* Opens and looks for a reason to distrust; *WHY is set if the files are at fault. */
static int open_and_check(struct store_db *db, struct store_witness *w, const struct store_options *options,
                          struct store_clock *clock, const char **why, struct faults *faults)
{
    bool unclean = w->found && !w->record.clean;
    *why = NULL;
    memset(db, 0, sizeof *db);
    if (store_make_file(options->path) != 0) {
        faults_add(faults, options->path, 0, "the store cannot be made: %s", strerror(errno));
        return -1;
    }
    if (store_db_open(db, options, clock, faults) != 0) {
        /* A version that this program never wrote into this file is no version. */
        bool misread = db->newer && w->found && w->record.schema <= STORE_SCHEMA_VERSION;
        if (db->damaged || misread)
            *why = "the database cannot be read";
        return -1;
    }
    if (file_size(options->path) <= (unclean ? CHECK_UNCLEAN_BYTES : CHECK_CLEAN_BYTES) &&
        !store_db_check(db))
        *why = "the database is damaged";
    else if (w->found && w->record.schema == db->opened_version &&
             w->record.schema_sum != store_schema_sum(db))
        *why = "the tables are not those that were made";
    else if (is_another_copy(db, w))
        *why = "the database is not the one that was used last";
    return *why ? -1 : 0;
}

/* A file that was never ours, given by mistake, is not to be taken apart. */
static bool is_ours(const struct store_witness *w, const char *path)
{
    enum { APPLICATION_ID_AT = 68 };
    uint32_t id = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool read_it = fd >= 0 && pread(fd, &id, sizeof id, APPLICATION_ID_AT) == sizeof id;
    if (fd >= 0)
        close(fd);
    return w->found || (read_it && be32toh(id) == STORE_APPLICATION_ID);
}

static int salvage(struct store_db *db, struct store_witness *w, const struct store_options *options,
                   const char *why, struct store_recovery *out, struct faults *faults)
{
    store_db_abandon(db); /* before the file is opened beside it, which would drop its locks */
    /* Faults of the damaged file are no faults of what becomes of it. */
    faults_free(faults);
    if (!is_ours(w, options->path)) {
        faults_add(faults, options->path, 0, "this is not a store of bridgebell: %s", why);
        return -1;
    }
    out->damaged = true;
    log_error("the store is damaged", log_str("path", options->path), log_str("what", why),
              log_int("unread_transactions", out->unread));
    return store_salvage(options, w->found ? &w->record.identity : NULL, faults);
}

int store_recover(struct store_db *db, struct store_witness *w, const struct store_options *options,
                  struct store_clock *clock, struct store_recovery *out, struct faults *faults)
{
    struct store_wal wal;
    memset(out, 0, sizeof *out);
    if (store_salvage_finish(options, faults) != 0)
        return -1;
    if (store_wal_scan(w->wal_path, &wal) != 0) {
        faults_add(faults, w->wal_path, 0, "the store's log cannot be read: %s", strerror(errno));
        return -1;
    }
    const char *why = examine(w, options->path, &wal, &out->unread);
    if (!why && open_and_check(db, w, options, clock, &why, faults) != 0 && !why)
        return -1;
    if (why) {
        if (salvage(db, w, options, why, out, faults) != 0)
            return -1;
        w->found = false;
        if (open_and_check(db, w, options, clock, &why, faults) != 0)
            return -1;
    }
    /* Once more: opening has written to it. */
    if (store_wal_scan(w->wal_path, &wal) == 0 && begin_session(db, w, &wal) == SQLITE_OK)
        return 0;
    faults_add(faults, options->path, 0, "the store cannot be written: %s", sqlite3_errmsg(db->sql));
    return -1;
}
