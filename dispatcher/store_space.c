/*
 * The reserve is a file that is full of nothing: space for the log and for the outcome of every job in
 * flight, so that what was accepted can be finished when the disk is full.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/alloc.h"
#include "dispatcher/store_parts.h"

/* An outcome as it grows the database, and how far the need may move before the file is made larger. */
enum { OUTCOME_BYTES = 512, STEP_BYTES = 1024 * 1024 };

void store_space_init(struct store_space *p, const struct store_options *options)
{
    p->options = options;
    p->reserve_path = xasprintf("%s-reserve", options->path);
}

static int64_t size_of(const char *path, const char *suffix)
{
    char *name = xasprintf("%s%s", path, suffix);
    struct stat st;
    int64_t size = stat(name, &st) == 0 ? st.st_size : 0;
    free(name);
    return size;
}

void store_space_look(struct store_space *p)
{
    struct statvfs fs;
    char *slash = strrchr(p->options->path, '/');
    char *dir = slash ? xstrndup(p->options->path, (size_t)(slash - p->options->path) + 1) : xstrdup(".");
    if (statvfs(dir, &fs) == 0) {
        uint64_t block = fs.f_frsize ? fs.f_frsize : fs.f_bsize;
        p->free_bytes = (int64_t)(fs.f_bavail * block);
        p->total_bytes = (int64_t)(fs.f_blocks * block);
    }
    free(dir);
    p->db_bytes = size_of(p->options->path, "");
    p->wal_bytes = size_of(p->options->path, "-wal");
}

/* A default must not shut out a small file system altogether. */
static int64_t min_free(const struct store_space *p)
{
    enum { PART_OF_SMALL = 10 };
    int64_t part = p->total_bytes / PART_OF_SMALL;
    bool small = p->options->min_free_is_default && part < p->options->min_free_bytes;
    return small ? part : p->options->min_free_bytes;
}

bool store_space_low(const struct store_space *p)
{
    return p->free_bytes < min_free(p);
}

int store_space_reserve(struct store_space *p, int64_t leased)
{
    int64_t need = p->options->log_limit_bytes + leased * OUTCOME_BYTES;
    if (p->reserve_bytes >= need)
        return 0;
    need += STEP_BYTES;
    /* Not out of the very space that was given away and is not used up yet. */
    if (p->given_away && p->free_bytes < need + min_free(p) + p->options->log_limit_bytes)
        return -1;
    int fd = open(p->reserve_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    int error = posix_fallocate(fd, 0, need);
    if (error == 0 && fsync(fd) != 0)
        error = errno;
    close(fd);
    if (error != 0) {
        unlink(p->reserve_path);
        p->reserve_bytes = 0;
        errno = error;
        return -1;
    }
    p->reserve_bytes = need;
    p->given_away = false;
    return 0;
}

bool store_space_release(struct store_space *p)
{
    if (p->reserve_bytes == 0)
        return false;
    p->reserve_bytes = 0;
    p->given_away = true;
    return unlink(p->reserve_path) == 0;
}

void store_space_free(struct store_space *p)
{
    free(p->reserve_path);
    p->reserve_path = NULL;
}
