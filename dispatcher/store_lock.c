/*
 * One process has the store: a lock on a file beside it. SQLite's own locks would let a second dispatcher in
 * between two transactions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "dispatcher/store_parts.h"

enum { LOOK_EVERY_MS = 20 };

static void say_who(int fd)
{
    char line[32];
    int len = snprintf(line, sizeof line, "%d\n", (int)getpid());
    /* For people only; the lock is what counts. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, line, (size_t)len, 0) != len)
        return;
}

static void held_fault(const struct store_options *options, int fd, struct faults *faults)
{
    char line[32] = "";
    ssize_t len = pread(fd, line, sizeof line - 1, 0);
    line[len > 0 ? strcspn(line, "\n") : 0] = '\0';
    faults_add(faults, options->path, 0, "the store is held by another process%s%s", line[0] ? ", " : "",
               line);
}

int store_lock_take(const struct store_options *options, struct faults *faults)
{
    char *path = xasprintf("%s-lock", options->path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        faults_add(faults, path, 0, "the store's lock cannot be made: %s", strerror(errno));
        free(path);
        return -1;
    }
    free(path);
    uint64_t until = clock_mono_ms() + (uint64_t)options->lock_wait_ms;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (clock_mono_ms() >= until) {
            held_fault(options, fd, faults);
            close(fd);
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_MS * 1000000L}, NULL);
    }
    say_who(fd);
    return fd;
}

void store_lock_give(int fd)
{
    if (fd >= 0)
        close(fd);
}
