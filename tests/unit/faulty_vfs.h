/*
 * A layer between SQLite and the file system that fails on demand and can lose what was not flushed.
 *
 * Register it before the first store is opened (it becomes the default). Each write, truncation and flush
 * counts as one step; at step `at` (and, if `sticky`, from then on) it fails with `code`, or, with `power`,
 * the machine loses power: of everything since the last flush of a file a random part of its 512-byte sectors
 * goes back to what it was, and the process ends.
 */
#ifndef TESTS_FAULTY_VFS_H
#define TESTS_FAULTY_VFS_H

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR = 512, UNDO_MAX = 20000 };

/* One sector as it was, of a file by path; len < SECTOR: the file ended there. */
struct undo {
    char path[128];
    sqlite3_int64 at;
    int len;
    unsigned char old[SECTOR];
};

static struct {
    pthread_mutex_t lock;
    long step, at;
    int code;
    bool sticky, power, only_flushes;
    const char *only_while; /* a file; fails only as long as it exists */
    void (*before_power)(void);
    struct undo *undo;
    size_t undo_count;
    unsigned seed;
} faulty = {.lock = PTHREAD_MUTEX_INITIALIZER, .at = -1};

struct faulty_file {
    sqlite3_file base;
    char path[128];
    int peek; /* reads what is about to be overwritten; never closed, which would drop SQLite's locks */
    sqlite3_file *real;
};

static inline void faulty_power_off(void)
{
    if (faulty.before_power)
        faulty.before_power();
    for (size_t i = faulty.undo_count; i-- > 0;) {
        const struct undo *u = &faulty.undo[i];
        if (rand_r(&faulty.seed) % 3 == 0)
            continue; /* this one had reached the disk */
        int fd = open(u->path, O_RDWR);
        if (fd < 0)
            continue;
        unsigned char sector[SECTOR] = {0};
        memcpy(sector, u->old, (size_t)u->len);
        if (pwrite(fd, sector, SECTOR, u->at) != SECTOR)
            abort();
        close(fd);
    }
    _exit(77);
}

/* SQLITE_OK, or what this step fails with. */
static inline int faulty_step(bool is_flush)
{
    pthread_mutex_lock(&faulty.lock);
    if (faulty.only_flushes && !is_flush) {
        pthread_mutex_unlock(&faulty.lock);
        return SQLITE_OK;
    }
    long step = faulty.step++;
    bool due = faulty.at >= 0 && (step == faulty.at || (faulty.sticky && step > faulty.at));
    if (due && faulty.only_while && access(faulty.only_while, F_OK) != 0)
        due = false;
    if (due && faulty.power)
        faulty_power_off();
    pthread_mutex_unlock(&faulty.lock);
    return due ? faulty.code : SQLITE_OK;
}

static inline void faulty_remember(struct faulty_file *f, sqlite3_int64 at, int amount)
{
    pthread_mutex_lock(&faulty.lock);
    sqlite3_int64 end = faulty.power ? at + amount : 0;
    for (sqlite3_int64 sector = at / SECTOR * SECTOR; sector < end; sector += SECTOR) {
        if (!faulty.undo)
            faulty.undo = malloc(UNDO_MAX * sizeof *faulty.undo);
        if (faulty.undo_count == UNDO_MAX)
            abort();
        struct undo *u = &faulty.undo[faulty.undo_count++];
        memset(u, 0, sizeof *u);
        strcpy(u->path, f->path);
        u->at = sector;
        if (f->peek < 0)
            f->peek = open(f->path, O_RDONLY);
        ssize_t got = pread(f->peek, u->old, SECTOR, sector);
        if (got < 0)
            abort();
        u->len = (int)got;
    }
    pthread_mutex_unlock(&faulty.lock);
}

static inline void faulty_forget(const struct faulty_file *f)
{
    pthread_mutex_lock(&faulty.lock);
    size_t kept = 0;
    for (size_t i = 0; i < faulty.undo_count; i++)
        if (strcmp(faulty.undo[i].path, f->path) != 0)
            faulty.undo[kept++] = faulty.undo[i];
    faulty.undo_count = kept;
    pthread_mutex_unlock(&faulty.lock);
}

#define REAL(f) (((struct faulty_file *)(f))->real)

static inline int faulty_close(sqlite3_file *f)
{
    return REAL(f)->pMethods->xClose(REAL(f));
}
static inline int faulty_read(sqlite3_file *f, void *to, int amount, sqlite3_int64 at)
{
    return REAL(f)->pMethods->xRead(REAL(f), to, amount, at);
}
static inline int faulty_write(sqlite3_file *f, const void *from, int amount, sqlite3_int64 at)
{
    int rc = faulty_step(false);
    if (rc != SQLITE_OK)
        return rc;
    faulty_remember((struct faulty_file *)f, at, amount);
    return REAL(f)->pMethods->xWrite(REAL(f), from, amount, at);
}
static inline int faulty_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    int rc = faulty_step(false);
    return rc != SQLITE_OK ? rc : REAL(f)->pMethods->xTruncate(REAL(f), size);
}
static inline int faulty_sync(sqlite3_file *f, int flags)
{
    int rc = faulty_step(true);
    if (rc != SQLITE_OK)
        return rc == SQLITE_IOERR_WRITE ? SQLITE_IOERR_FSYNC : rc;
    rc = REAL(f)->pMethods->xSync(REAL(f), flags);
    faulty_forget((struct faulty_file *)f);
    return rc;
}
static inline int faulty_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return REAL(f)->pMethods->xFileSize(REAL(f), size);
}
static inline int faulty_lock(sqlite3_file *f, int level)
{
    return REAL(f)->pMethods->xLock(REAL(f), level);
}
static inline int faulty_unlock(sqlite3_file *f, int level)
{
    return REAL(f)->pMethods->xUnlock(REAL(f), level);
}
static inline int faulty_reserved(sqlite3_file *f, int *out)
{
    return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out);
}
static inline int faulty_control(sqlite3_file *f, int op, void *arg)
{
    return REAL(f)->pMethods->xFileControl(REAL(f), op, arg);
}
static inline int faulty_sector_size(sqlite3_file *f)
{
    return REAL(f)->pMethods->xSectorSize(REAL(f));
}
static inline int faulty_traits(sqlite3_file *f)
{
    return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}
static inline int faulty_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, out);
}
static inline int faulty_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return REAL(f)->pMethods->xShmLock(REAL(f), offset, n, flags);
}
static inline void faulty_shm_barrier(sqlite3_file *f)
{
    REAL(f)->pMethods->xShmBarrier(REAL(f));
}
static inline int faulty_shm_unmap(sqlite3_file *f, int remove)
{
    return REAL(f)->pMethods->xShmUnmap(REAL(f), remove);
}

static const sqlite3_io_methods faulty_methods = {.iVersion = 2,
                                                  .xClose = faulty_close,
                                                  .xRead = faulty_read,
                                                  .xWrite = faulty_write,
                                                  .xTruncate = faulty_truncate,
                                                  .xSync = faulty_sync,
                                                  .xFileSize = faulty_size,
                                                  .xLock = faulty_lock,
                                                  .xUnlock = faulty_unlock,
                                                  .xCheckReservedLock = faulty_reserved,
                                                  .xFileControl = faulty_control,
                                                  .xSectorSize = faulty_sector_size,
                                                  .xDeviceCharacteristics = faulty_traits,
                                                  .xShmMap = faulty_shm_map,
                                                  .xShmLock = faulty_shm_lock,
                                                  .xShmBarrier = faulty_shm_barrier,
                                                  .xShmUnmap = faulty_shm_unmap};

static sqlite3_vfs *faulty_real;
static sqlite3_vfs faulty_vfs;

static inline int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    (void)vfs;
    struct faulty_file *file = (struct faulty_file *)f;
    memset(file, 0, sizeof *file);
    file->peek = -1;
    file->real = (sqlite3_file *)(file + 1);
    if (name && strlen(name) < sizeof file->path)
        strcpy(file->path, name);
    int rc = faulty_real->xOpen(faulty_real, name, file->real, flags, out);
    file->base.pMethods = file->real->pMethods ? &faulty_methods : NULL;
    return rc;
}

static inline void faulty_register(void)
{
    faulty_real = sqlite3_vfs_find(NULL);
    faulty_vfs = *faulty_real;
    faulty_vfs.zName = "faulty";
    faulty_vfs.pNext = NULL;
    faulty_vfs.szOsFile += (int)sizeof(struct faulty_file);
    faulty_vfs.xOpen = faulty_open;
    sqlite3_vfs_register(&faulty_vfs, 1);
}

static inline void faulty_heal(void)
{
    pthread_mutex_lock(&faulty.lock);
    faulty.at = -1;
    faulty.sticky = faulty.power = faulty.only_flushes = false;
    faulty.only_while = NULL;
    pthread_mutex_unlock(&faulty.lock);
}

/* The step that is AFTER steps from now. */
static inline void faulty_arm(long after, int code, bool sticky)
{
    pthread_mutex_lock(&faulty.lock);
    faulty.at = faulty.step + after;
    faulty.code = code;
    faulty.sticky = sticky;
    pthread_mutex_unlock(&faulty.lock);
}

#endif
