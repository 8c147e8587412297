#include "dispatcher/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "dispatcher/journal_files.h"
#include "dispatcher/journal_line.h"

enum {
    FILES_IN_ALL = 16, /* one file is that part of the limit */
    FILE_BYTES_MIN = 1024 * 1024,
    FILES_AT_LEAST = 4, /* so that a small limit keeps something when the oldest goes */
    BUFFER_BYTES = 256 * 1024,
    TRY_AGAIN_MS = 10000,
    LOOK_AT_DISK_MS = 1000,
    DISK_PART = 5,
    HEAD_MAX = 128,
};
#define DEFAULT_LIMIT_BYTES (INT64_C(256) * 1024 * 1024)
#define DEFAULT_MIN_FREE (INT64_C(64) * 1024 * 1024)

struct journal {
    char *dir;
    bool all;
    int64_t limit_bytes, file_bytes;
    int fd;          /* -1: no file is open */
    int64_t size;    /* of the open file */
    struct buf buf;  /* whole lines */
    uint64_t in_buf; /* events */
    struct loop_timer *flush;
    uint64_t written, lost, too_large, bytes, files_removed;
    int64_t keep_free_bytes; /* of the disk, for the store */
    uint64_t looked_ms;      /* at the disk */
    uint64_t again_ms;       /* after a failure: not before */
    int error;               /* of the failure that lasts; 0: none */
};

/* ---- trouble ---- */

static void fail(struct journal *j, const char *what)
{
    int error = errno;
    if (!j->error)
        log_error("the journal cannot be written; events go on without it", log_str("what", what),
                  log_str("directory", j->dir), log_errno(error));
    j->error = error ? error : EIO;
    j->again_ms = clock_mono_ms() + TRY_AGAIN_MS;
}

static void mend(struct journal *j)
{
    if (j->error)
        log_info("the journal is written again", log_int("lost_events", (int64_t)j->lost));
    j->error = 0;
}

static void drop_buffer(struct journal *j)
{
    j->lost += j->in_buf;
    j->in_buf = 0;
    buf_reset(&j->buf);
}

/* ---- files ---- */

/* Makes room for another file. */
static void remove_oldest(struct journal *j)
{
    struct journal_files files;
    int64_t total = 0;
    if (journal_files_list(j->dir, &files))
        return;
    for (size_t i = 0; i < files.count; i++)
        total += files.list[i].bytes;
    for (size_t i = 0; i < files.count && total + j->file_bytes > j->limit_bytes; i++) {
        if (unlink(files.list[i].path) == 0)
            j->files_removed++;
        total -= files.list[i].bytes;
    }
    journal_files_free(&files);
}

/* Everything or nothing, so that no line is torn by anything but a crash. */
static int write_whole(struct journal *j, const char *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(j->fd, data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int error = n == 0 ? ENOSPC : errno;
            if (done && ftruncate(j->fd, (off_t)j->size) != 0) {
                close(j->fd);
                j->fd = -1;
            }
            errno = error;
            return -1;
        }
        done += (size_t)n;
    }
    j->size += (int64_t)len;
    j->bytes += len;
    return 0;
}

static const char *mode_of(const struct journal *j)
{
    return j->all ? "all" : "wanted";
}

static int write_head(struct journal *j, int64_t now_ms)
{
    char head[HEAD_MAX];
    int len =
        snprintf(head, sizeof head, "{\"bridgebell_journal\":1,\"mode\":\"%s\",\"started_ms\":%" PRId64 "}\n",
                 mode_of(j), now_ms);
    return write_whole(j, head, (size_t)len);
}

/* The directory and, as the store does, the one it stands in. -1 with errno. */
static int make_directory(const struct journal *j)
{
    if (mkdir(j->dir, 0700) == 0 || errno == EEXIST)
        return 0;
    const char *slash = strrchr(j->dir, '/');
    if (errno != ENOENT || !slash || slash == j->dir)
        return -1;
    char *parent = xstrndup(j->dir, (size_t)(slash - j->dir));
    mkdir(parent, 0750);
    free(parent);
    return mkdir(j->dir, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

static int start_file(struct journal *j)
{
    enum { NAMES_TRIED = 1000 };
    char name[JOURNAL_NAME_MAX];
    int64_t now_ms = clock_wall_ms();
    if (make_directory(j))
        return -1;
    remove_oldest(j);
    for (int i = 0; i < NAMES_TRIED && j->fd < 0; i++) {
        journal_file_name(now_ms + i, name);
        char *path = xasprintf("%s/%s", j->dir, name);
        j->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        free(path);
        if (j->fd < 0 && errno != EEXIST)
            break;
    }
    j->size = 0;
    if (j->fd >= 0 && write_head(j, now_ms) == 0)
        return 0;
    int error = errno;
    if (j->fd >= 0)
        close(j->fd);
    j->fd = -1;
    errno = error;
    return -1;
}

/* Whether the file behind FD was begun with this mode, has room, and ends with a whole line; a torn end is
 * closed by a line feed. */
static bool goes_on(struct journal *j, int fd, int64_t bytes)
{
    char head[HEAD_MAX], mode[JOURNAL_MODE_MAX], last = '\0';
    ssize_t n = pread(fd, head, sizeof head, 0);
    journal_file_mode(head, n > 0 ? (size_t)n : 0, mode);
    if (strcmp(mode, mode_of(j)) != 0 || bytes >= j->file_bytes || pread(fd, &last, 1, bytes - 1) != 1)
        return false;
    return last == '\n' || write(fd, "\n", 1) == 1;
}

/* A restart does not begin a file of its own. */
static bool continue_newest(struct journal *j)
{
    struct journal_files files;
    if (journal_files_list(j->dir, &files))
        return false;
    if (files.count) {
        const struct journal_file *newest = &files.list[files.count - 1];
        int fd = open(newest->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && goes_on(j, fd, newest->bytes)) {
            j->fd = fd;
            j->size = newest->bytes;
        } else if (fd >= 0) {
            close(fd);
        }
    }
    journal_files_free(&files);
    return j->fd >= 0;
}

static void close_file(struct journal *j)
{
    close(j->fd);
    j->fd = -1;
}

/* The store stops taking events before the disk is full, and has a reserve for finishing: the journal must
 * not eat either, so it stops well before. */
static bool has_room(struct journal *j)
{
    struct statvfs fs;
    uint64_t now_ms = clock_mono_ms();
    if (j->looked_ms && now_ms - j->looked_ms < LOOK_AT_DISK_MS)
        return true;
    if (statvfs(j->dir, &fs))
        return true;
    j->looked_ms = now_ms;
    int64_t block = (int64_t)fs.f_frsize;
    int64_t free_bytes = (int64_t)fs.f_bavail * block, part = (int64_t)fs.f_blocks * block / DISK_PART;
    if (free_bytes >= (part < j->keep_free_bytes ? part : j->keep_free_bytes))
        return true;
    j->looked_ms = 0;
    errno = ENOSPC;
    return false;
}

/* Looks at the file, which a leaving dispatcher may still write and an operator may have moved away. */
static int ready(struct journal *j)
{
    struct stat st;
    if (j->fd >= 0 && (fstat(j->fd, &st) || st.st_nlink == 0))
        close_file(j);
    else if (j->fd >= 0)
        j->size = (int64_t)st.st_size;
    if (j->fd >= 0 && j->size >= j->file_bytes) {
        close_file(j);
        return start_file(j);
    }
    return j->fd >= 0 || continue_newest(j) ? 0 : start_file(j);
}

/* ---- writing ---- */

void journal_flush(struct journal *j)
{
    if (!j || !j->buf.len)
        return;
    if (j->error && clock_mono_ms() < j->again_ms) {
        drop_buffer(j);
        return;
    }
    if (!has_room(j) || ready(j) || write_whole(j, j->buf.data, j->buf.len)) {
        fail(j, errno == ENOSPC ? "space" : j->fd < 0 ? "open" : "write");
        drop_buffer(j);
        return;
    }
    mend(j);
    j->written += j->in_buf;
    j->in_buf = 0;
    buf_reset(&j->buf);
}

static void flush_later(void *arg)
{
    journal_flush(arg);
}

void journal_add(struct journal *j, const struct event *event, int64_t now_ms)
{
    if (!j)
        return;
    size_t before = j->buf.len;
    if (journal_line_print(event, now_ms, &j->buf) || j->buf.len - before > EVENT_FRAME_MAX) {
        j->buf.len = before;
        j->too_large++;
        return;
    }
    j->in_buf++;
    if (j->buf.len >= BUFFER_BYTES)
        journal_flush(j);
    else if (!loop_timer_pending(j->flush))
        loop_timer_start(j->flush, 0);
}

/* ---- life ---- */

/* A full disk is no reason not to start: it may have room later, and then the directory is made. */
static bool check_directory(struct journal *j, const struct slice *slice, struct faults *faults)
{
    const struct slice_block *b = slice_find(slice, "dispatcher", NULL);
    const struct slice_setting *dir = b ? slice_get(b, "journal_dir") : NULL;
    if (make_directory(j) == 0 && access(j->dir, R_OK | W_OK | X_OK) == 0)
        return true;
    if (errno == ENOSPC || errno == EDQUOT)
        return true;
    faults_add(faults, b ? b->file : "", dir ? dir->line : 0,
               "journal_dir: \"%s\" cannot be made or written: %s", j->dir, strerror(errno));
    return false;
}

struct journal *journal_new(const struct slice *slice, struct faults *faults)
{
    const struct slice_block *b = slice_find(slice, "dispatcher", NULL);
    const char *mode = journal_mode(slice);
    if (strcmp(mode, "off") == 0)
        return NULL;
    struct journal *j = xcalloc(1, sizeof *j);
    j->fd = -1;
    j->all = strcmp(mode, "all") == 0;
    j->dir = journal_directory(slice);
    j->limit_bytes = b ? slice_number(b, "journal_size", DEFAULT_LIMIT_BYTES) : DEFAULT_LIMIT_BYTES;
    j->file_bytes =
        j->limit_bytes / FILES_IN_ALL > FILE_BYTES_MIN ? j->limit_bytes / FILES_IN_ALL : FILE_BYTES_MIN;
    if (j->file_bytes > j->limit_bytes / FILES_AT_LEAST)
        j->file_bytes = j->limit_bytes / FILES_AT_LEAST;
    j->keep_free_bytes = 2 * (b ? slice_number(b, "min_free", DEFAULT_MIN_FREE) : DEFAULT_MIN_FREE);
    buf_init(&j->buf, BUFFER_BYTES + EVENT_FRAME_MAX);
    j->flush = loop_timer_new(flush_later, j);
    if (!check_directory(j, slice, faults))
        journal_free(&j);
    return j;
}

void journal_free(struct journal **p)
{
    struct journal *j = *p;
    if (!j)
        return;
    *p = NULL;
    journal_flush(j);
    loop_timer_free(&j->flush);
    if (j->fd >= 0)
        close(j->fd);
    buf_free(&j->buf);
    free(j->dir);
    free(j);
}

bool journal_wants_all(const struct journal *j)
{
    return j && j->all;
}

/* ---- seeing it ---- */

void journal_status(const struct journal *j, cJSON *status)
{
    cJSON *o = cJSON_AddObjectToObject(status, "journal");
    cJSON_AddStringToObject(o, "mode", j ? mode_of(j) : "off");
    if (!j)
        return;
    cJSON_AddStringToObject(o, "directory", j->dir);
    cJSON_AddNumberToObject(o, "events", (double)(j->written + j->in_buf));
    cJSON_AddNumberToObject(o, "lost", (double)j->lost);
    cJSON_AddNumberToObject(o, "too_large", (double)j->too_large);
    cJSON_AddNumberToObject(o, "bytes", (double)j->bytes);
    if (j->error)
        cJSON_AddStringToObject(o, "trouble", strerror(j->error));
}

void journal_metrics(const struct journal *j, struct buf *out)
{
    const struct {
        struct metric_def def;
        uint64_t value;
    } rows[] = {
        {{"journal_events_total", METRIC_COUNTER, "Events written to the journal.", NULL},
         j ? j->written : 0},
        {{"journal_lost_total", METRIC_COUNTER,
          "Events that the journal could not take: the disk was full or failed.", NULL},
         j ? j->lost : 0},
        {{"journal_too_large_total", METRIC_COUNTER, "Events too large for the journal.", NULL},
         j ? j->too_large : 0},
        {{"journal_bytes_total", METRIC_COUNTER, "Bytes written to the journal.", NULL}, j ? j->bytes : 0},
        {{"journal_files_removed_total", METRIC_COUNTER, "Files of the journal removed to keep its size.",
          NULL},
         j ? j->files_removed : 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metrics_print_head(out, &rows[i].def);
        metrics_print_value(out, &rows[i].def, NULL, NULL, (int64_t)rows[i].value);
    }
}
