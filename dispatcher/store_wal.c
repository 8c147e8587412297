#include "dispatcher/store_wal.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    FRAME_BYTES = WAL_FRAME_HEADER_BYTES + WAL_PAGE_BYTES,
    MAGIC = 0x377f0682, /* the lowest bit says big-endian checksums */
    VERSION = 3007000
};

struct sum {
    uint32_t a, b;
};

struct frame {
    unsigned char data[FRAME_BYTES];
    uint32_t page, commit, salt[2];
    struct sum stored;
};

struct reader {
    FILE *file;
    struct store_wal *out;
    bool big_endian;
    struct sum running;  /* of the frames so far, while they hold */
    struct sum previous; /* as stored in the frame before */
    bool broken;         /* the prefix has ended */
    bool commit_behind;  /* a commit was seen behind the break */
    struct frame frame;
};

static uint32_t word(const unsigned char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return be32toh(value);
}

/* Adds LEN bytes (a multiple of 8) to the checksum. */
static struct sum add(const struct reader *r, struct sum s, const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint32_t x, y;
        memcpy(&x, data + i, sizeof x);
        memcpy(&y, data + i + 4, sizeof y);
        s.a += (r->big_endian ? be32toh(x) : le32toh(x)) + s.b;
        s.b += (r->big_endian ? be32toh(y) : le32toh(y)) + s.a;
    }
    return s;
}

static bool same(struct sum x, struct sum y)
{
    return x.a == y.a && x.b == y.b;
}

static void read_header(struct reader *r)
{
    unsigned char head[WAL_HEADER_BYTES];
    size_t got = fread(head, 1, sizeof head, r->file);
    r->out->exists = got > 0;
    if (got < sizeof head)
        return;
    r->big_endian = word(head) & 1;
    r->out->salt[0] = word(head + 16);
    r->out->salt[1] = word(head + 20);
    r->previous = (struct sum){word(head + 24), word(head + 28)};
    r->running = add(r, (struct sum){0, 0}, head, 24);
    r->out->header_good = (word(head) & ~1u) == MAGIC && word(head + 4) == VERSION &&
                          word(head + 8) == WAL_PAGE_BYTES && same(r->running, r->previous);
}

/* False at the end of the file; a frame that is cut off there is as good as none. */
static bool read_frame(struct reader *r)
{
    struct frame *f = &r->frame;
    size_t got = fread(f->data, 1, sizeof f->data, r->file);
    if (got < sizeof f->data) {
        r->out->loose_frames += got > 0 && r->out->header_good;
        return false;
    }
    f->page = word(f->data);
    f->commit = word(f->data + 4);
    f->salt[0] = word(f->data + 8);
    f->salt[1] = word(f->data + 12);
    f->stored = (struct sum){word(f->data + 16), word(f->data + 20)};
    return true;
}

static struct sum frame_sum(const struct reader *r, struct sum seed)
{
    struct sum s = add(r, seed, r->frame.data, 8);
    return add(r, s, r->frame.data + WAL_FRAME_HEADER_BYTES, WAL_PAGE_BYTES);
}

/* The salts of this log; those of an older one, further back in the file, differ. Without a header the frames
 * themselves must tell. */
static bool of_this_log(const struct reader *r)
{
    const struct store_wal *w = r->out;
    return !w->header_good || (r->frame.salt[0] == w->salt[0] && r->frame.salt[1] == w->salt[1]);
}

/* True if the frame is part of what SQLite reads. */
static bool extend_prefix(struct reader *r)
{
    if (r->broken || !of_this_log(r) || r->frame.page == 0)
        return false;
    struct sum s = frame_sum(r, r->running);
    if (!same(s, r->frame.stored))
        return false;
    r->running = s;
    return true;
}

/* A broken frame whose header says that it commits also divides what was written before the flush from what
 * was written after. */
static void look_behind(struct reader *r, bool holds)
{
    if (!of_this_log(r))
        return;
    struct store_wal *w = r->out;
    if (holds && r->commit_behind)
        w->stray_frames++;
    if (r->frame.commit && (holds || w->header_good))
        r->commit_behind = true;
    if (holds && r->frame.commit)
        w->stray_transactions++;
}

typedef void page_fn(void *arg, const unsigned char *page, uint32_t number, bool in_prefix);

static void walk(struct reader *r, page_fn *fn, void *arg)
{
    struct store_wal *w = r->out;
    read_header(r);
    r->broken = !w->header_good;
    /* Without a header nobody knows which commit was the last flushed: any frame that holds is one too many.
     */
    r->commit_behind = !w->header_good;
    int64_t since_commit = 0;
    while (read_frame(r)) {
        bool in_prefix = extend_prefix(r);
        bool holds = in_prefix || same(frame_sum(r, r->previous), r->frame.stored);
        r->previous = r->frame.stored;
        if (!in_prefix) {
            r->broken = true;
            look_behind(r, holds);
        }
        since_commit += of_this_log(r);
        if (in_prefix && r->frame.commit) {
            w->frames += since_commit;
            w->transactions++;
            since_commit = 0;
        }
        if (fn && holds && of_this_log(r))
            fn(arg, r->frame.data + WAL_FRAME_HEADER_BYTES, r->frame.page, in_prefix);
    }
    w->loose_frames += since_commit;
}

static int read_log(const char *path, struct store_wal *out, page_fn *fn, void *arg)
{
    memset(out, 0, sizeof *out);
    struct reader r = {.out = out, .file = fopen(path, "re")};
    if (!r.file)
        return errno == ENOENT ? 0 : -1;
    walk(&r, fn, arg);
    int rc = ferror(r.file) ? -1 : 0;
    fclose(r.file);
    return rc;
}

int store_wal_scan(const char *path, struct store_wal *out)
{
    return read_log(path, out, NULL, NULL);
}

int store_wal_pages(const char *path, page_fn *fn, void *arg)
{
    struct store_wal w;
    return read_log(path, &w, fn, arg);
}
