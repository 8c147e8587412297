/*
 * Reading a write-ahead log without SQLite, to tell a torn tail from damage.
 *
 * SQLite takes the frames up to the first whose running checksum does not hold and is silent about the rest.
 * Because every frame's checksum is seeded with that of the frame before, a frame behind a broken one can
 * still be recognised by the checksum that is stored in its predecessor. The layout is that of the SQLite
 * file format, section "The Write-Ahead Log".
 */
#ifndef DISPATCHER_STORE_WAL_H
#define DISPATCHER_STORE_WAL_H

#include <stdbool.h>
#include <stdint.h>

enum { WAL_HEADER_BYTES = 32, WAL_FRAME_HEADER_BYTES = 24, WAL_PAGE_BYTES = 4096 };

struct store_wal {
    bool exists; /* and is not empty */
    bool header_good;
    uint32_t salt[2];
    int64_t frames;       /* that hold, up to and with the last commit: what SQLite reads */
    int64_t transactions; /* in these */
    int64_t loose_frames; /* of this log behind them: not committed, broken, or behind a broken one */
    /* Frames that hold by themselves behind a broken one and behind another commit: they were written after
     * that commit was flushed, so that a torn write does not explain them. */
    int64_t stray_frames;
    int64_t stray_transactions; /* commits that can be seen behind the break */
};

/* 0, or -1 with errno if the file cannot be read. A missing file is no error. */
int store_wal_scan(const char *path, struct store_wal *out);

/* Calls FN for each page image of the log that holds by itself, in order; IN_PREFIX says whether SQLite reads
 * it. 0, or -1 with errno. */
int store_wal_pages(const char *path,
                    void (*fn)(void *arg, const unsigned char *page, uint32_t number, bool in_prefix),
                    void *arg);

#endif
