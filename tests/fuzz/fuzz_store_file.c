/* links: dispatcher_parts proto expr core */
/* A damaged store as salvage reads it: the first byte says whether the rest is a log or a page. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dispatcher/store_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(void *arg, const struct page_row *row)
{
    struct store_job job;
    struct store_standing standing;
    if (store_attempts_row(row))
        return;
    if (!row->has_rowid || row->count != STORE_JOB_COLUMNS_COUNT)
        return;
    store_row_decode(arg, row, &job, &standing);
    store_job_free(&job);
}

static void take_page(void *arg, const unsigned char *page, uint32_t number, bool in_prefix)
{
    (void)in_prefix;
    page_rows(page, WAL_PAGE_BYTES, number == 1, decode, arg);
}

static void read_log(const uint8_t *data, size_t size, struct buf *scratch)
{
    static int fd = -1;
    char path[64];
    if (fd < 0)
        fd = memfd_create("log", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        return;
    struct store_wal wal;
    store_wal_scan(path, &wal);
    store_wal_pages(path, take_page, scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf scratch;
    if (size < 1)
        return 0;
    buf_init(&scratch, 0);
    if (data[0] & 1) {
        read_log(data + 1, size - 1, &scratch);
    } else {
        unsigned char page[WAL_PAGE_BYTES] = {0};
        memcpy(page, data + 1, size - 1 < sizeof page ? size - 1 : sizeof page);
        page_rows(page, sizeof page, data[0] & 2, decode, &scratch);
    }
    buf_free(&scratch);
    return 0;
}
