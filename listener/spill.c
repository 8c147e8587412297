#include "listener/spill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/log.h"
#include "proto/event.h"

enum {
    SEGMENTS = 8, /* the bound is divided into so many files */
    SEGMENT_MIN_BYTES = 64 * 1024,
    RECORD_MAGIC = 0x31504242, /* "BBP1" */
    RECORD_MAX_BYTES = 3 * EVENT_FRAME_MAX,
    NAME_BYTES = 64,
};

struct record {
    uint32_t magic;
    uint32_t len;
    uint32_t count;
    uint32_t reserved;
    int64_t oldest_ms;
    uint64_t checksum; /* over everything else: the head with 0 here, then the events */
};

struct segment {
    struct segment *next;
    char *path;
    int fd;
    int64_t size, read_at;
    uint64_t events;   /* written by us and not taken yet */
    int64_t oldest_ms; /* of all that was written or taken */
    bool own;          /* ours to append to */
};

struct spill {
    char *dir;
    char name[NAME_BYTES]; /* the bridge's, safe for a file */
    char start[NAME_BYTES];
    int64_t limit, bytes;
    unsigned number;
    struct segment *first, *last;
    struct buf record;
    bool complained;
};

/* ---- files ---- */

static void complain(struct spill *s, const char *what, int error)
{
    if (!s->complained)
        log_error(what, log_str("dir", s->dir), log_errno(error),
                  log_str("advice",
                          "while this lasts, a long absence of the dispatcher costs events that only "
                          "catch-up can bring back"));
    s->complained = true;
}

static void append_segment(struct spill *s, struct segment *g)
{
    if (s->last)
        s->last->next = g;
    else
        s->first = g;
    s->last = g;
    s->bytes += g->size;
}

static void remove_first(struct spill *s, bool unlink_it)
{
    struct segment *g = s->first;
    s->first = g->next;
    if (!s->first)
        s->last = NULL;
    s->bytes -= g->size;
    if (unlink_it && unlink(g->path))
        log_warn("a spill file cannot be removed", log_str("file", g->path), log_errno(errno));
    close(g->fd);
    free(g->path);
    free(g);
}

static struct segment *segment_new(char *path, int fd, int64_t size)
{
    struct segment *g = xcalloc(1, sizeof *g);
    g->path = path;
    g->fd = fd;
    g->size = size;
    return g;
}

static struct segment *create_segment(struct spill *s)
{
    char *path = xasprintf("%s/%s.%s.%06u.spill", s->dir, s->name, s->start, s->number++);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB)) {
        complain(s, "no spill file can be made", errno);
        if (fd >= 0)
            close(fd);
        free(path);
        return NULL;
    }
    struct segment *g = segment_new(path, fd, 0);
    g->own = true;
    append_segment(s, g);
    s->complained = false;
    return g;
}

/* ---- adopting ---- */

static int is_ours(const struct spill *s, const char *file)
{
    size_t name_len = strlen(s->name), len = strlen(file);
    return strncmp(file, s->name, name_len) == 0 && file[name_len] == '.' && len > 6 &&
           strcmp(file + len - 6, ".spill") == 0;
}

static bool holds(const struct spill *s, const char *path)
{
    for (const struct segment *g = s->first; g; g = g->next)
        if (strcmp(g->path, path) == 0)
            return true;
    return false;
}

static void adopt(struct spill *s, const char *file)
{
    char *path = xasprintf("%s/%s", s->dir, file);
    int fd = holds(s, path) ? -1 : open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) || fstat(fd, &st) || !S_ISREG(st.st_mode) ||
        st.st_nlink == 0) {
        if (fd >= 0)
            close(fd);
        free(path);
        return;
    }
    log_info("events from an earlier process are on disk", log_str("file", file),
             log_int("bytes", (int64_t)st.st_size));
    append_segment(s, segment_new(path, fd, st.st_size));
}

void spill_adopt(struct spill *s)
{
    struct dirent **list = NULL;
    int n = s->limit > 0 ? scandir(s->dir, &list, NULL, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        if (is_ours(s, list[i]->d_name))
            adopt(s, list[i]->d_name);
        free(list[i]);
    }
    free(list);
}

struct spill *spill_open(const char *dir, const char *bridge, int64_t limit_bytes)
{
    struct spill *s = xcalloc(1, sizeof *s);
    s->dir = xstrdup(dir);
    s->limit = limit_bytes;
    buf_init(&s->record, RECORD_MAX_BYTES);
    snprintf(s->name, sizeof s->name, "%s", bridge);
    for (char *c = s->name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *c))
            *c = '_';
    snprintf(s->start, sizeof s->start, "%013" PRId64 "-%d", clock_wall_ms(), (int)getpid());
    spill_adopt(s);
    return s;
}

void spill_close(struct spill **p)
{
    struct spill *s = *p;
    if (!s)
        return;
    *p = NULL;
    while (s->first)
        remove_first(s, s->first->size == 0);
    buf_free(&s->record);
    free(s->dir);
    free(s);
}

/* ---- writing ---- */

static uint64_t checksum(struct record head, const char *record, size_t len)
{
    head.checksum = hash_checksum(record + sizeof head, len - sizeof head);
    return hash_checksum(&head, sizeof head);
}

static void make_record(struct buf *out, const struct spill_batch *b)
{
    struct record head = {
        .magic = RECORD_MAGIC, .len = (uint32_t)b->events.len, .count = b->count, .oldest_ms = b->oldest_ms};
    buf_reset(out);
    buf_add(out, &head, sizeof head);
    buf_add(out, b->events.data, b->events.len);
    if (out->failed)
        return;
    head.checksum = checksum(head, out->data, out->len);
    memcpy(out->data, &head, sizeof head);
}

static int write_record(struct segment *g, const struct buf *record)
{
    size_t done = 0;
    while (done < record->len) {
        ssize_t n = pwrite(g->fd, record->data + done, record->len - done, g->size + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int error = n < 0 ? errno : ENOSPC;
            /* A broken end would be read as damage. */
            if (ftruncate(g->fd, g->size))
                g->own = false;
            errno = error;
            return -1;
        }
        done += (size_t)n;
    }
    return 0;
}

static void make_room(struct spill *s, int64_t need, uint64_t *given_up, int64_t *oldest_ms)
{
    while (s->first && s->bytes + need > s->limit) {
        struct segment *g = s->first;
        if (g->events && (*given_up == 0 || g->oldest_ms < *oldest_ms))
            *oldest_ms = g->oldest_ms;
        *given_up += g->events;
        remove_first(s, true);
    }
}

int spill_add(struct spill *s, const struct spill_batch *b, uint64_t *given_up, int64_t *oldest_ms)
{
    *given_up = 0;
    make_record(&s->record, b);
    int64_t len = (int64_t)s->record.len;
    if (s->record.failed || len > s->limit)
        return -1;
    make_room(s, len, given_up, oldest_ms);
    int64_t segment_bytes = s->limit / SEGMENTS > SEGMENT_MIN_BYTES ? s->limit / SEGMENTS : SEGMENT_MIN_BYTES;
    struct segment *g = s->last;
    if (!g || !g->own || g->size >= segment_bytes)
        g = create_segment(s);
    if (!g)
        return -1;
    if (write_record(g, &s->record)) {
        complain(s, "the spill file cannot be written", errno);
        return -1;
    }
    g->size += len;
    s->bytes += len;
    if (g->size == len || b->oldest_ms < g->oldest_ms)
        g->oldest_ms = b->oldest_ms;
    g->events += b->count;
    s->complained = false;
    return 0;
}

/* ---- reading ---- */

static bool read_at(int fd, void *to, size_t len, int64_t at)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, (char *)to + done, len - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool read_record(struct spill *s, const struct segment *g, struct record *head)
{
    if (!read_at(g->fd, head, sizeof *head, g->read_at) || head->magic != RECORD_MAGIC ||
        head->len > RECORD_MAX_BYTES - sizeof *head ||
        (int64_t)(sizeof *head + head->len) > g->size - g->read_at)
        return false;
    buf_reset(&s->record);
    char *to = buf_reserve(&s->record, sizeof *head + head->len);
    if (!to || !read_at(g->fd, to, sizeof *head + head->len, g->read_at))
        return false;
    s->record.len = sizeof *head + head->len;
    struct record plain = *head;
    plain.checksum = 0;
    return checksum(plain, s->record.data, s->record.len) == head->checksum;
}

static struct segment *unread(const struct spill *s)
{
    for (struct segment *g = s->first; g; g = g->next)
        if (g->read_at < g->size)
            return g;
    return NULL;
}

int spill_take(struct spill *s, struct spill_batch *batch, uint64_t *lost_bytes)
{
    struct segment *g;
    struct record head;
    while ((g = unread(s))) {
        if (read_record(s, g, &head))
            break;
        *lost_bytes += (uint64_t)(g->size - g->read_at);
        g->read_at = g->size;
        g->own = false;
        g->events = 0;
    }
    if (!g)
        return 0;
    batch->count = head.count;
    batch->oldest_ms = head.oldest_ms;
    buf_add(&batch->events, s->record.data + sizeof head, head.len);
    g->read_at += (int64_t)s->record.len;
    g->events -= g->events < head.count ? g->events : head.count;
    return 1;
}

void spill_release(struct spill *s)
{
    /* The file that is written to ends here as well; the next batch begins another. */
    while (s->first && s->first->read_at == s->first->size)
        remove_first(s, true);
}

bool spill_empty(const struct spill *s)
{
    return unread(s) == NULL;
}

uint64_t spill_events(const struct spill *s)
{
    uint64_t events = 0;
    for (const struct segment *g = s->first; g; g = g->next)
        events += g->events;
    return events;
}

int64_t spill_bytes(const struct spill *s)
{
    return s->bytes;
}
