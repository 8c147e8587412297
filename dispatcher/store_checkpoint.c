/*
 * Checkpoints. The log is copied by a second connection while commits go on, so that a commit seldom pays for
 * it. Under load that alone never catches up with the writer, and the log would grow without end: at its
 * limit the store's thread copies the rest before its next transaction, which starts the log anew.
 */
#include <string.h>
#include <sys/prctl.h>

#include "core/log.h"
#include "dispatcher/store_parts.h"

/* A frame of the log: a page and its header. */
enum { FRAME_BYTES = 4096 + 24, STACK_BYTES = 256 * 1024 };

/* Copies with MODE on connection SQL and has the witness know how far that came. */
static int copy_log(struct store_checkpoint *c, sqlite3 *sql, int mode)
{
    uint32_t salt[2];
    int frames = -1, copied = -1;
    pthread_mutex_lock(&c->lock);
    store_witness_salts(c->witness, salt);
    int rc = sqlite3_wal_checkpoint_v2(sql, NULL, mode, &frames, &copied);
    if (rc == SQLITE_OK && copied > 0)
        store_witness_copied(c->witness, salt, copied);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

static void copy(struct store_checkpoint *c)
{
    int rc = copy_log(c, c->sql, SQLITE_CHECKPOINT_PASSIVE);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        log_warn("checkpoint failed", log_str("error", sqlite3_errstr(rc)),
                 log_errno(sqlite3_system_errno(c->sql)));
}

static void *checkpoint_main(void *arg)
{
    struct store_checkpoint *c = arg;
    prctl(PR_SET_NAME, "checkpoint");
    pthread_mutex_lock(&c->wake_lock);
    while (!c->stopping) {
        if (!c->wanted) {
            pthread_cond_wait(&c->wake, &c->wake_lock);
            continue;
        }
        c->wanted = false; /* before: what is wanted meanwhile is another copy */
        pthread_mutex_unlock(&c->wake_lock);
        copy(c);
        pthread_mutex_lock(&c->wake_lock);
    }
    pthread_mutex_unlock(&c->wake_lock);
    return NULL;
}

int store_checkpoint_start(struct store_checkpoint *c, const struct store_options *options,
                           struct store_witness *witness)
{
    c->witness = witness;
    c->log_limit_bytes = options->log_limit_bytes;
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->wake_lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    int rc = store_sqlite_connect(options->path, options->log_limit_bytes, &c->sql);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_exec(c->sql, "PRAGMA cache_size = 16", NULL, NULL, NULL);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    c->running = pthread_create(&c->thread, &attr, checkpoint_main, c) == 0;
    pthread_attr_destroy(&attr);
    return c->running ? SQLITE_OK : SQLITE_NOMEM;
}

void store_checkpoint_stop(struct store_checkpoint *c)
{
    if (c->running) {
        pthread_mutex_lock(&c->wake_lock);
        c->stopping = true;
        pthread_cond_signal(&c->wake);
        pthread_mutex_unlock(&c->wake_lock);
        pthread_join(c->thread, NULL);
    }
    sqlite3_close(c->sql);
    memset(c, 0, sizeof *c);
}

void store_checkpoint_look(struct store_checkpoint *c, int64_t frames)
{
    int64_t quarter = c->log_limit_bytes / FRAME_BYTES / 4;
    if (frames < c->asked_frames)
        c->asked_frames = 0; /* the log was started anew */
    if (frames - c->asked_frames < quarter)
        return;
    c->asked_frames = frames;
    pthread_mutex_lock(&c->wake_lock);
    c->wanted = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->wake_lock);
}

int store_checkpoint_force(struct store_checkpoint *c, struct store_db *db)
{
    if (db->wal_frames * FRAME_BYTES < c->log_limit_bytes)
        return SQLITE_OK;
    int rc = copy_log(c, db->sql, SQLITE_CHECKPOINT_RESTART);
    if (rc == SQLITE_OK)
        db->wal_frames = 0;
    return rc;
}

int store_checkpoint_last(struct store_checkpoint *c, struct store_db *db)
{
    return copy_log(c, db->sql, SQLITE_CHECKPOINT_RESTART);
}
