#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "dispatcher/store_parts.h"

static const char magic[8] = "BBWITN1";

static uint64_t sum_of(const struct store_witness_record *r)
{
    return hash_checksum(r, offsetof(struct store_witness_record, sum));
}

static void write_record(struct store_witness *w)
{
    w->record.sum = sum_of(&w->record);
    /* Over bytes that are there already: this does not fail for want of space. If it fails otherwise the note
     * is old, and an old note claims less. */
    if (w->fd >= 0 && pwrite(w->fd, &w->record, sizeof w->record, 0) != sizeof w->record)
        log_warn("the store's witness cannot be written", log_errno(errno));
}

int store_witness_open(struct store_witness *w, const char *path, struct faults *faults)
{
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->wal_fd = -1;
    w->wal_path = xasprintf("%s-wal", path);
    char *name = xasprintf("%s-witness", path);
    w->fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (w->fd < 0)
        faults_add(faults, name, 0, "the store's witness cannot be opened: %s", strerror(errno));
    free(name);
    if (w->fd < 0)
        return -1;
    struct store_witness_record *r = &w->record;
    w->found = pread(w->fd, r, sizeof *r, 0) == sizeof *r && memcmp(r->magic, magic, sizeof magic) == 0 &&
               r->sum == sum_of(r);
    if (!w->found)
        memset(r, 0, sizeof *r);
    memcpy(r->magic, magic, sizeof magic);
    return 0;
}

void store_witness_session(struct store_witness *w, struct store_db *db, const struct hash_id *session,
                           const struct hash_id *next)
{
    uint64_t schema_sum = store_schema_sum(db);
    pthread_mutex_lock(&w->lock);
    w->record.identity = db->identity;
    w->record.schema_sum = schema_sum;
    w->record.session = *session;
    w->record.next_session = *next;
    w->record.schema = STORE_SCHEMA_VERSION;
    w->record.clean = 0;
    write_record(w);
    pthread_mutex_unlock(&w->lock);
    if (fdatasync(w->fd) != 0)
        log_warn("the store's witness cannot be flushed", log_errno(errno));
}

void store_witness_start(struct store_witness *w, const struct store_wal *wal)
{
    /* The log of an earlier opening may have been moved away. */
    if (w->wal_fd >= 0)
        close(w->wal_fd);
    w->wal_fd = -1;
    memcpy(w->record.salt, wal->salt, sizeof wal->salt);
    w->record.frames = wal->frames;
    w->record.transactions = wal->transactions;
    w->record.copied = 0;
}

/* The salts in the log's header; false if there is none. */
static bool read_salts(struct store_witness *w, uint32_t salt[2])
{
    enum { SALTS_AT = 16 };
    if (w->wal_fd < 0)
        w->wal_fd = open(w->wal_path, O_RDONLY | O_CLOEXEC);
    if (pread(w->wal_fd, salt, 8, SALTS_AT) != 8)
        return false;
    salt[0] = be32toh(salt[0]);
    salt[1] = be32toh(salt[1]);
    return true;
}

void store_witness_commit(struct store_witness *w, int64_t frames)
{
    struct store_witness_record *r = &w->record;
    uint32_t salt[2];
    if (!read_salts(w, salt))
        return;
    pthread_mutex_lock(&w->lock);
    if (memcmp(salt, r->salt, sizeof salt) != 0) {
        memcpy(r->salt, salt, sizeof salt);
        r->transactions = 0;
        r->copied = 0;
    }
    r->frames = frames;
    r->transactions++;
    write_record(w);
    pthread_mutex_unlock(&w->lock);
}

void store_witness_salts(struct store_witness *w, uint32_t salt[2])
{
    pthread_mutex_lock(&w->lock);
    memcpy(salt, w->record.salt, sizeof w->record.salt);
    pthread_mutex_unlock(&w->lock);
}

void store_witness_copied(struct store_witness *w, const uint32_t salt[2], int64_t frames)
{
    struct store_witness_record *r = &w->record;
    pthread_mutex_lock(&w->lock);
    if (memcmp(salt, r->salt, sizeof r->salt) == 0 && frames > r->copied) {
        r->copied = frames;
        write_record(w);
    }
    pthread_mutex_unlock(&w->lock);
}

void store_witness_close(struct store_witness *w, bool clean)
{
    if (!w->wal_path)
        return;
    if (clean) {
        w->record.clean = 1;
        w->record.frames = w->record.transactions = w->record.copied = 0;
        write_record(w);
        fdatasync(w->fd);
    }
    if (w->fd >= 0)
        close(w->fd);
    if (w->wal_fd >= 0)
        close(w->wal_fd);
    free(w->wal_path);
    memset(w, 0, sizeof *w);
}
