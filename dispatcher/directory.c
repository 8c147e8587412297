#include "dispatcher/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "dispatcher/directory_parts.h"

/* How a file shows that it was changed. SQLite may write beside the file first. */
struct file_stamp {
    bool there;
    ino_t inode;
    off_t size;
    struct timespec changed;
};
struct stamp {
    struct file_stamp file, log;
};

struct directory {
    char *path, *log_path;
    char *kept_path; /* NULL: there is no place for a copy */
    bool keeps;      /* the copy is this one's to write */
    const char *country;
    const struct slice_setting *allowed;
    struct people *people;
    struct stamp seen;  /* at the last look */
    struct stamp tried; /* of what was read last, well or not */
    int64_t read_ms;    /* wall clock, of the last good reading */
    char *trouble;      /* NULL: none */
    uint64_t reads, failures;
};

/* ---- looking ---- */

static bool same_file(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->there == b->there && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool same(const struct stamp *a, const struct stamp *b)
{
    return same_file(&a->file, &b->file) && same_file(&a->log, &b->log);
}

static void look(const struct directory *d, struct stamp *out)
{
    struct stat st;
    memset(out, 0, sizeof *out);
    if (stat(d->path, &st) == 0) {
        out->file.there = true;
        out->file.inode = st.st_ino;
        out->file.size = st.st_size;
        out->file.changed = st.st_mtim;
    }
    if (stat(d->log_path, &st) == 0) {
        out->log.there = true;
        out->log.inode = st.st_ino;
        out->log.size = st.st_size;
        out->log.changed = st.st_mtim;
    }
}

/* ---- reading ---- */

static void fault_file(struct directory_reader *r, const char *why)
{
    r->bad++;
    r->passing = true;
    faults_add(r->faults, r->path, 0, "%s", why);
}

enum { PIECE = 64 * 1024 };

int directory_read_text(int fd, size_t most, struct buf *out)
{
    static char piece[PIECE];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        if (buf_add(out, piece, (size_t)n) || out->len > most)
            return 0;
    }
}

static void read_open(struct directory_reader *r, int fd)
{
    static const char sqlite_head[] = "SQLite format 3";
    struct buf text;
    char head[sizeof sqlite_head];
    if (pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head &&
        memcmp(head, sqlite_head, sizeof head) == 0) {
        r->row_word = "row";
        directory_read_sqlite(r);
        return;
    }
    buf_init(&text, DIRECTORY_BYTES_MAX + PIECE);
    if (directory_read_text(fd, DIRECTORY_BYTES_MAX, &text) < 0)
        fault_file(r, strerror(errno));
    else if (text.len > DIRECTORY_BYTES_MAX)
        fault_file(r, "larger than 64 MiB");
    else
        directory_read_csv(r, text.data ? text.data : "", text.len);
    buf_free(&text);
}

static void read_file(struct directory_reader *r)
{
    struct stat st;
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st))
        fault_file(r, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        fault_file(r, "not a file");
    else
        read_open(r, fd);
    if (fd >= 0)
        close(fd);
}

static void open_reader(const struct directory *d, struct faults *faults, struct directory_reader *r)
{
    *r = (struct directory_reader){
        .path = d->path,
        .country = d->country,
        .allowed = d->allowed,
        .row_word = "line",
        .faults = faults,
    };
    directory_reader_open(r);
}

static void take_people(struct directory *d, struct directory_reader *r, int64_t read_ms)
{
    people_free(&d->people);
    d->people = r->people;
    r->people = NULL;
    d->read_ms = read_ms;
}

static void keep(const struct directory *d)
{
    if (d->keeps && d->kept_path)
        directory_kept_write(d->kept_path, d->path, d->people);
}

/* True with the new people in place; otherwise all stays and FAULTS say why. */
static bool read_again(struct directory *d, struct faults *faults)
{
    struct directory_reader r;
    look(d, &d->tried);
    open_reader(d, faults, &r);
    read_file(&r);
    bool good = r.bad == 0;
    if (good) {
        take_people(d, &r, clock_wall_ms());
        d->reads++;
        keep(d);
    } else if (r.passing) {
        memset(&d->tried, 0, sizeof d->tried);
    }
    directory_reader_close(&r);
    return good;
}

/* True with the people of the copy in place. */
static bool read_kept(struct directory *d)
{
    struct directory_reader r;
    struct faults faults = {0};
    int64_t at_ms;
    open_reader(d, &faults, &r);
    bool good = d->kept_path && directory_kept_read(d->kept_path, d->path, &r, &at_ms);
    if (good)
        take_people(d, &r, at_ms);
    directory_reader_close(&r);
    faults_free(&faults);
    return good;
}

/* ---- life ---- */

static void note_trouble(struct directory *d, const struct faults *faults)
{
    const struct fault *first = &faults->list[0];
    char *before = d->trouble;
    d->trouble = first->line ? xasprintf("line %u: %s", first->line, first->text) : xstrdup(first->text);
    d->failures++;
    bool known = before && strcmp(before, d->trouble) == 0;
    free(before);
    if (known)
        return;
    log_error("the directory cannot be read; the people of before stay", log_str("file", d->path),
              log_str("trouble", d->trouble), log_int("faults", (int64_t)faults->count));
}

/* Of a process that works by it, or will: a fault that came into the file since is no reason not to. */
static void read_first(struct directory *d, bool starting, struct faults *faults)
{
    struct faults own = {0};
    bool good = read_again(d, &own);
    if (!good && starting && read_kept(d))
        note_trouble(d, &own);
    else
        for (size_t i = 0; i < own.count; i++)
            faults_add(faults, own.list[i].file, own.list[i].line, "%s", own.list[i].text);
    faults_free(&own);
}

struct directory *directory_new(const struct slice *slice, struct faults *faults)
{
    const struct slice_block *numbers = slice_find(slice, "numbers", NULL);
    const struct slice_setting *allowed = slice_get(numbers, "allowed");
    const char *path = slice_text(slice_find(slice, "directory", NULL), "file", NULL);
    if (!path || !*path)
        return NULL;
    struct directory *d = xcalloc(1, sizeof *d);
    d->path = xstrdup(path);
    d->log_path = xasprintf("%s-wal", path);
    d->kept_path = directory_kept_path(slice);
    d->country = slice_text(numbers, "default_country", NULL);
    d->allowed = allowed && allowed->count ? allowed : NULL;
    d->people = people_new();
    read_first(d, slice_find(slice, SLICE_STARTING, NULL) != NULL, faults);
    d->seen = d->tried;
    return d;
}

void directory_keep(struct directory *d)
{
    d->keeps = true;
    if (!d->trouble)
        keep(d);
}

void directory_forget(const struct slice *slice)
{
    char *path = directory_kept_path(slice);
    if (path && unlink(path) == 0)
        log_info("the copy of the directory is removed: none is configured", log_str("file", path));
    free(path);
}

void directory_free(struct directory **p)
{
    struct directory *d = *p;
    if (!d)
        return;
    *p = NULL;
    people_free(&d->people);
    free(d->trouble);
    free(d->path);
    free(d->log_path);
    free(d->kept_path);
    free(d);
}

bool directory_refresh(struct directory *d)
{
    struct stamp now;
    struct faults faults = {0};
    if (!d)
        return false;
    look(d, &now);
    bool stands = same(&now, &d->seen);
    d->seen = now;
    if (!stands || (now.file.there && same(&now, &d->tried)))
        return false;
    bool good = read_again(d, &faults);
    if (good) {
        free(d->trouble);
        d->trouble = NULL;
        log_info("directory read", log_str("file", d->path),
                 log_int("people", (int64_t)people_count(d->people)));
    } else {
        note_trouble(d, &faults);
    }
    faults_free(&faults);
    return good;
}

/* ---- asking ---- */

const struct person *directory_find(const struct directory *d, const char *user, size_t len)
{
    return d ? people_find(d->people, user, len) : NULL;
}

const struct person *directory_find_number(const struct directory *d, const char *number)
{
    return d ? people_find_number(d->people, number) : NULL;
}

void directory_tagged(const struct directory *d, const char *tag, size_t len,
                      void (*fn)(void *arg, const struct person *p), void *arg)
{
    if (d)
        people_tagged(d->people, tag, len, fn, arg);
}

/* ---- telling ---- */

void directory_status(const struct directory *d, cJSON *status)
{
    if (!d)
        return;
    cJSON *o = cJSON_AddObjectToObject(status, "directory");
    cJSON_AddStringToObject(o, "file", d->path);
    cJSON_AddNumberToObject(o, "people", (double)people_count(d->people));
    cJSON_AddNumberToObject(o, "read_ms", (double)d->read_ms);
    if (d->trouble)
        cJSON_AddStringToObject(o, "trouble", d->trouble);
    else
        cJSON_AddNullToObject(o, "trouble");
}

static void print_one(struct buf *out, const struct metric_def *def, int64_t value)
{
    metrics_print_head(out, def);
    metrics_print_value(out, def, "", NULL, value);
}

void directory_metrics(const struct directory *d, struct buf *out)
{
    static const struct metric_def people = {"directory_people", METRIC_GAUGE, "People in the directory.",
                                             NULL};
    static const struct metric_def trouble = {
        "directory_trouble", METRIC_GAUGE,
        "1 while the directory's file cannot be read and the people of before stay.", NULL};
    static const struct metric_def reads = {"directory_reads_total", METRIC_COUNTER,
                                            "Times that the directory was read well.", NULL};
    static const struct metric_def failures = {"directory_failures_total", METRIC_COUNTER,
                                               "Times that a changed directory could not be read.", NULL};
    if (!d)
        return;
    print_one(out, &people, (int64_t)people_count(d->people));
    print_one(out, &trouble, d->trouble != NULL);
    print_one(out, &reads, (int64_t)d->reads);
    print_one(out, &failures, (int64_t)d->failures);
}
