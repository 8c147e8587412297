#include "dispatcher/journal_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "dispatcher/journal_files.h"
#include "dispatcher/journal_line.h"

enum { CHUNK = 256 * 1024 };

/* One source: a file, or a journal's files one after another. */
struct source {
    struct journal_files files;
    size_t next_file;
    const char *path; /* of the file being read */
    int fd;           /* -1: none is open */
    struct buf in;
    size_t at; /* in IN: where the next line begins */
    bool ended;
    bool skipping; /* within a line that is too long */
    uint64_t line; /* number within the file */
    /* the event that comes next */
    bool has;
    struct buf packed;
    struct msg_in decoded;
    struct event event;
    int64_t at_ms;
};

struct journal_reader {
    char *bridge;
    int64_t since_ms, until_ms, last_ms;
    struct source **sources;
    size_t count;
    char *wanted;         /* "key":"HEX of what is looked for; NULL: everything */
    struct source *given; /* whose event was given last */
    struct journal_counts counts;
};

/* ---- lines ---- */

static void note_damage(struct journal_reader *r, const struct source *s, const char *why)
{
    struct journal_counts *c = &r->counts;
    if (!c->first_damage[0])
        snprintf(c->first_damage, sizeof c->first_damage, "%.80s, line %llu: %.50s", s->path,
                 (unsigned long long)s->line, why);
}

static bool open_next(struct journal_reader *r, struct source *s)
{
    while (s->fd < 0 && s->next_file < s->files.count) {
        s->path = s->files.list[s->next_file++].path;
        s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
        buf_reset(&s->in);
        s->at = 0;
        s->line = 0;
        s->ended = s->skipping = false;
        r->counts.files += s->fd >= 0;
    }
    return s->fd >= 0;
}

static void close_file(struct source *s)
{
    if (s->fd > STDIN_FILENO)
        close(s->fd);
    s->fd = -1;
}

/* Reads more behind what is left of the buffer. */
static void fill(struct journal_reader *r, struct source *s)
{
    buf_consume(&s->in, s->at);
    s->at = 0;
    char *to = buf_reserve(&s->in, CHUNK);
    ssize_t n;
    do
        n = read(s->fd, to, CHUNK);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        s->ended = true;
    else
        s->in.len += (size_t)n;
    r->counts.bytes += n > 0 ? (uint64_t)n : 0;
}

/* Drops what was read of a line that is too long. */
static void skip_long(struct journal_reader *r, struct source *s)
{
    if (!s->skipping) {
        s->line++;
        note_damage(r, s, "the line is too long");
        s->line--;
        r->counts.damaged++;
    }
    s->skipping = true;
    buf_reset(&s->in);
    s->at = 0;
}

/* The next line, without its line feed; false at the end of the file. WHOLE: it had one. */
static bool next_line(struct journal_reader *r, struct source *s, struct msg_str *line, bool *whole)
{
    size_t searched = 0;
    for (;;) {
        const char *from = s->in.data ? s->in.data + s->at : "";
        size_t left = s->in.len - s->at;
        const char *end = left > searched ? memchr(from + searched, '\n', left - searched) : NULL;
        if (!end && !s->ended) {
            if (left > EVENT_FRAME_MAX)
                skip_long(r, s);
            searched = s->in.len - s->at;
            fill(r, s);
            continue;
        }
        if (!end && !left)
            return false;
        size_t len = end ? (size_t)(end - from) : left;
        s->at += end ? len + 1 : len;
        s->line++;
        *whole = end != NULL;
        *line = (struct msg_str){from, len};
        if (!s->skipping)
            return true;
        s->skipping = false;
        searched = 0;
    }
}

/* ---- events ---- */

static bool is_blank(struct msg_str line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    return true;
}

/* A first line of a journal. */
static bool take_head(struct journal_reader *r, struct msg_str line)
{
    char mode[JOURNAL_MODE_MAX];
    journal_file_mode(line.data, line.len, mode);
    r->counts.wanted |= strcmp(mode, "wanted") == 0;
    r->counts.all |= strcmp(mode, "all") == 0;
    return mode[0] != '\0';
}

static bool is_outside(const struct journal_reader *r, int64_t at_ms)
{
    return at_ms < r->since_ms || at_ms >= r->until_ms;
}

static bool take_line(struct journal_reader *r, struct source *s, struct msg_str line, bool whole)
{
    const char *why = NULL;
    int64_t time_ms = journal_line_time(line.data, line.len);
    if (time_ms >= 0 && is_outside(r, time_ms)) {
        r->counts.outside++;
        return false;
    }
    if (r->wanted && time_ms >= 0 && !memmem(line.data, line.len, r->wanted, strlen(r->wanted)))
        return false;
    buf_reset(&s->packed);
    if (journal_line_parse(line.data, line.len, r->bridge, &s->packed, &why) ||
        event_unpack(&s->decoded, s->packed.data, s->packed.len, &s->event)) {
        r->counts.torn += !whole;
        r->counts.damaged += whole;
        if (whole)
            note_damage(r, s, why ? why : "malformed");
        return false;
    }
    s->at_ms = time_ms >= 0 ? time_ms : s->event.received_ms;
    r->counts.captured |= time_ms < 0;
    if (is_outside(r, s->at_ms)) {
        r->counts.outside++;
        return false;
    }
    return true;
}

static void advance(struct journal_reader *r, struct source *s)
{
    struct msg_str line;
    bool whole;
    s->has = false;
    while (!s->has && open_next(r, s)) {
        if (!next_line(r, s, &line, &whole))
            close_file(s);
        else if (!is_blank(line) && !take_head(r, line))
            s->has = take_line(r, s, line, whole);
    }
}

bool journal_reader_next(struct journal_reader *r, struct event *out, int64_t *at_ms)
{
    struct source *first = NULL;
    if (r->given)
        advance(r, r->given);
    for (size_t i = 0; i < r->count; i++) {
        struct source *s = r->sources[i];
        if (s->has && (!first || s->at_ms < first->at_ms))
            first = s;
    }
    r->given = first;
    if (!first)
        return false;
    r->counts.events++;
    r->counts.out_of_order += first->at_ms < r->last_ms;
    if (first->at_ms > r->last_ms)
        r->last_ms = first->at_ms;
    *out = first->event;
    *at_ms = first->at_ms;
    return true;
}

/* ---- life ---- */

struct journal_reader *journal_reader_new(const char *bridge, int64_t since_ms, int64_t until_ms)
{
    struct journal_reader *r = xcalloc(1, sizeof *r);
    r->bridge = xstrdup(bridge);
    r->since_ms = since_ms;
    r->until_ms = until_ms;
    r->last_ms = INT64_MIN;
    r->counts.begins_ms = -1;
    return r;
}

void journal_reader_look_for(struct journal_reader *r, const char *hex)
{
    r->wanted = xasprintf("\"key\":\"%s", hex);
}

static void source_free(struct source *s)
{
    close_file(s);
    journal_files_free(&s->files);
    buf_free(&s->in);
    buf_free(&s->packed);
    msg_in_free(&s->decoded);
    free(s);
}

void journal_reader_free(struct journal_reader **p)
{
    struct journal_reader *r = *p;
    if (!r)
        return;
    *p = NULL;
    for (size_t i = 0; i < r->count; i++)
        source_free(r->sources[i]);
    free(r->sources);
    free(r->bridge);
    free(r->wanted);
    free(r);
}

/* Plain files do not say since when they hold everything. */
static void note_begin(struct journal_reader *r, const struct source *s)
{
    int64_t started_ms = s->files.count ? s->files.list[0].started_ms : 0;
    if (started_ms > 0 && (r->counts.begins_ms < 0 || started_ms < r->counts.begins_ms))
        r->counts.begins_ms = started_ms;
}

/* Files that ended before the time asked for are not read: a file ends where the next begins. */
static void leave_out_old(struct journal_reader *r, struct source *s)
{
    while (s->next_file + 1 < s->files.count && s->files.list[s->next_file + 1].started_ms <= r->since_ms)
        s->next_file++;
    for (size_t i = s->next_file; i < s->files.count; i++)
        r->counts.bytes_total += (uint64_t)s->files.list[i].bytes;
}

static int add_file(struct source *s, const char *path, const struct stat *st)
{
    s->files.list = xcalloc(1, sizeof *s->files.list);
    s->files.list[0] =
        (struct journal_file){xstrdup(path), 0, S_ISREG(st->st_mode) ? (int64_t)st->st_size : 0};
    s->files.count = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

static void add_stdin(struct journal_reader *r, struct source *s)
{
    s->path = "standard input";
    s->fd = STDIN_FILENO;
    r->counts.files++;
}

int journal_reader_add(struct journal_reader *r, const char *path, char *why, size_t size)
{
    struct stat st;
    struct source *s = xcalloc(1, sizeof *s);
    s->fd = -1;
    buf_init(&s->in, EVENT_FRAME_MAX + 2 * CHUNK);
    buf_init(&s->packed, 2 * EVENT_FRAME_MAX);
    msg_in_init(&s->decoded);
    int rc = 0;
    if (strcmp(path, "-") == 0)
        add_stdin(r, s);
    else if (stat(path, &st))
        rc = -1;
    else
        rc = S_ISDIR(st.st_mode) ? journal_files_list(path, &s->files) : add_file(s, path, &st);
    if (rc)
        snprintf(why, size, "%s cannot be read: %s", path, strerror(errno));
    else if (s->fd < 0 && s->files.count == 0)
        rc = (snprintf(why, size, "%s is a directory without a journal (events-….jsonl)", path), -1);
    if (rc) {
        source_free(s);
        return -1;
    }
    note_begin(r, s);
    leave_out_old(r, s);
    r->sources = xreallocarray(r->sources, r->count + 1, sizeof(struct source *));
    r->sources[r->count++] = s;
    advance(r, s);
    return 0;
}

const struct journal_counts *journal_reader_counts(const struct journal_reader *r)
{
    return &r->counts;
}
