#include "master/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"

enum { LOCK_TRIES = 10 };

static struct {
    char *path;
    int fd;
} lock = {.fd = -1};

/* ---- the directory ---- */

static int make_parents(const char *path)
{
    char *copy = xstrdup(path);
    const char *parent = dirname(copy);
    int rc = 0;
    if (access(parent, F_OK) && make_parents(parent) == 0)
        rc = mkdir(parent, 0755) && errno != EEXIST ? -1 : 0;
    free(copy);
    return rc;
}

static int check_directory(const char *path, uid_t uid, char **why)
{
    struct stat st;
    if (stat(path, &st)) {
        *why = xasprintf("runtime_dir %s: %s", path, strerror(errno));
        return -1;
    }
    if (!S_ISDIR(st.st_mode)) {
        *why = xasprintf("runtime_dir %s is not a directory", path);
        return -1;
    }
    uid_t owner = uid == (uid_t)-1 ? geteuid() : uid;
    if (st.st_uid != owner && st.st_uid != 0) {
        *why = xasprintf("runtime_dir %s belongs to another user (uid %u)", path, (unsigned)st.st_uid);
        return -1;
    }
    if (st.st_mode & S_IWOTH) {
        *why = xasprintf("runtime_dir %s may be written by everybody; choose a directory of its own, or run "
                         "\"chmod o-w %s\"",
                         path, path);
        return -1;
    }
    return 0;
}

int rundir_prepare(const char *runtime_dir, uid_t uid, gid_t gid, char **why)
{
    bool is_new = false;
    if (make_parents(runtime_dir) == 0 && mkdir(runtime_dir, 0750) == 0)
        is_new = true;
    else if (errno != EEXIST) {
        *why = xasprintf("runtime_dir %s cannot be made: %s", runtime_dir, strerror(errno));
        return -1;
    }
    /* The umask of whoever started the master is no reason for other rights. */
    if (is_new && chmod(runtime_dir, 0750)) {
        *why = xasprintf("runtime_dir %s: %s", runtime_dir, strerror(errno));
        return -1;
    }
    if (check_directory(runtime_dir, uid, why))
        return -1;
    if (uid != (uid_t)-1 && chown(runtime_dir, uid, gid)) {
        *why = xasprintf("runtime_dir %s cannot be given to the user: %s", runtime_dir, strerror(errno));
        return -1;
    }
    return 0;
}

/* ---- the pid file ---- */

static pid_t read_pid(int fd)
{
    char text[32] = "";
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    return len > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* A file that was removed between its opening and its locking is not the lock any more. */
static bool is_still_there(int fd, const char *path)
{
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

/* Locks of open file descriptions: they can be looked at without being taken, and belong to no pid. */
static int take_lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole);
}

static bool is_locked(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

static int open_locked(const char *path, char **why)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0) {
            *why = xasprintf("%s cannot be opened: %s", path, strerror(errno));
            return -1;
        }
        if (take_lock(fd)) {
            pid_t pid = read_pid(fd);
            *why = pid > 0 ? xasprintf("bridgebell is already running as process %d (%s)", (int)pid, path)
                           : xasprintf("another bridgebell is just starting (%s)", path);
            close(fd);
            return -1;
        }
        if (is_still_there(fd, path))
            return fd;
        close(fd);
    }
    *why = xasprintf("%s comes and goes; is another bridgebell being started all the time?", path);
    return -1;
}

int rundir_lock(const char *runtime_dir, uid_t uid, gid_t gid, bool *after_crash, char **why)
{
    char *path = xasprintf("%s/bridgebell.pid", runtime_dir);
    int fd = open_locked(path, why);
    if (fd < 0) {
        free(path);
        return -1;
    }
    *after_crash = read_pid(fd) > 0;
    if (uid != (uid_t)-1 && fchown(fd, uid, gid)) {
        *why = xasprintf("%s cannot be given to the user: %s", path, strerror(errno));
        close(fd);
        free(path);
        return -1;
    }
    lock.fd = fd;
    lock.path = path;
    return 0;
}

int rundir_write_pid(void)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    /* Whoever may enter the directory may know the pid, whatever the umask. */
    if (fchmod(lock.fd, 0644) || ftruncate(lock.fd, 0) || pwrite(lock.fd, text, (size_t)len, 0) != len)
        return -1;
    return 0;
}

void rundir_unlock(void)
{
    if (lock.fd < 0)
        return;
    unlink(lock.path);
    close(lock.fd);
    free(lock.path);
    lock.fd = -1;
    lock.path = NULL;
}

pid_t rundir_master(const char *runtime_dir)
{
    char *path = xasprintf("%s/bridgebell.pid", runtime_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int error = errno;
    free(path);
    if (fd < 0)
        return error == ENOENT ? 0 : -1;
    pid_t pid = is_locked(fd) ? read_pid(fd) : 0;
    close(fd);
    return pid;
}
