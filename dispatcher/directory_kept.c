/*
 * A copy of what was read well last, kept beside the store: for a process that starts while the file has a
 * fault. A line that names the file it was read from, then a directory as CSV.
 */
#include <csv.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/log.h"
#include "dispatcher/directory_parts.h"

char *directory_kept_path(const struct slice *slice)
{
    static const char scheme[] = "sqlite:";
    const char *store = slice_text(slice_find(slice, "dispatcher", NULL), "store", NULL);
    if (!store || strncmp(store, scheme, sizeof scheme - 1) != 0)
        return NULL;
    return xasprintf("%s-people", store + sizeof scheme - 1);
}

static void print_head(const char *source, struct buf *out)
{
    buf_addf(out, "# %s\n", source);
}

/* ---- writing ---- */

static void print_field(struct buf *out, const char *text, char after)
{
    size_t len = text ? strlen(text) : 0;
    char *to = buf_reserve(out, 2 * len + 2);
    if (to && len)
        out->len += csv_write(to, 2 * len + 2, text, len);
    buf_addc(out, after);
}

static void print_tags(struct buf *out, const char *const *tags)
{
    struct buf all;
    buf_init(&all, 0);
    for (size_t i = 0; tags && tags[i]; i++)
        buf_addf(&all, "%s%s", i ? " " : "", tags[i]);
    print_field(out, buf_cstr(&all), '\n');
    buf_free(&all);
}

static void print_person(void *arg, const struct person *p)
{
    struct buf *out = arg;
    print_field(out, p->user, ',');
    print_field(out, p->number, ',');
    print_field(out, p->lang, ',');
    print_field(out, p->zone, ',');
    print_tags(out, p->tags);
}

static int write_all(int fd, const char *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, data + done, len - done);
        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Whole or not at all, also if the power fails. */
static int replace(const char *path, const struct buf *text)
{
    char *fresh = xasprintf("%s.new", path);
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), rc = -1;
    if (fd >= 0 && write_all(fd, text->data, text->len) == 0 && fsync(fd) == 0)
        rc = rename(fresh, path);
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (rc != 0)
        unlink(fresh);
    free(fresh);
    errno = error;
    return rc;
}

void directory_kept_write(const char *path, const char *source, const struct people *people)
{
    struct buf text;
    buf_init(&text, DIRECTORY_KEPT_MAX);
    print_head(source, &text);
    for (size_t i = 0; directory_columns[i]; i++)
        buf_addf(&text, "%s%c", directory_columns[i], directory_columns[i + 1] ? ',' : '\n');
    people_each(people, print_person, &text);
    const char *why = text.failed ? "too large" : replace(path, &text) != 0 ? strerror(errno) : NULL;
    if (why)
        log_warn("no copy of the directory is kept: a start while its file has a fault would fail",
                 log_str("file", path), log_str("why", why));
    buf_free(&text);
}

/* ---- reading ---- */

bool directory_kept_read(const char *path, const char *source, struct directory_reader *r, int64_t *at_ms)
{
    struct buf text, head;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool good = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    buf_init(&text, DIRECTORY_KEPT_MAX + 1);
    buf_init(&head, 0);
    print_head(source, &head);
    good = good && directory_read_text(fd, DIRECTORY_KEPT_MAX, &text) == 0 && text.len > head.len &&
           memcmp(text.data, head.data, head.len) == 0;
    if (good)
        directory_read_csv(r, text.data + head.len, text.len - head.len);
    if (good)
        *at_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    buf_free(&text);
    buf_free(&head);
    if (fd >= 0)
        close(fd);
    return good && r->bad == 0;
}
