/* links: dispatcher_parts proto core m */
/* A file of events: any bytes; what is read must print as a line of the journal that reads back the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dispatcher/journal_line.h"
#include "dispatcher/journal_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int same(struct msg_str a, struct msg_str b)
{
    return a.len == b.len && !a.data == !b.data && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

static void print_and_read(const struct event *e)
{
    struct buf line, again, packed;
    struct msg_in in;
    struct event back;
    const char *why;
    buf_init(&line, 0);
    buf_init(&again, 0);
    buf_init(&packed, 0);
    msg_in_init(&in);
    if (journal_line_print(e, 0, &line) == 0) {
        if (journal_line_time(line.data, line.len) != e->received_ms && e->received_ms >= 0)
            abort();
        if (journal_line_parse(line.data, line.len, "", &packed, &why) ||
            event_unpack(&in, packed.data, packed.len, &back) ||
            memcmp(&back.key, &e->key, sizeof e->key) != 0 || !same(back.type, e->type) ||
            !same(back.item, e->item) || back.timestamp_ms != e->timestamp_ms ||
            journal_line_print(&back, 0, &again) || again.len != line.len ||
            memcmp(again.data, line.data, line.len) != 0)
            abort();
    }
    msg_in_free(&in);
    buf_free(&packed);
    buf_free(&again);
    buf_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64], why[256];
    struct event e;
    int64_t at_ms;
    if (fd < 0)
        fd = memfd_create("journal", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct journal_reader *r = journal_reader_new("main", INT64_MIN, INT64_MAX);
    if (journal_reader_add(r, path, why, sizeof why))
        abort();
    while (journal_reader_next(r, &e, &at_ms))
        print_and_read(&e);
    journal_reader_free(&r);
    return 0;
}
