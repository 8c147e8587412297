#include "proto/handover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/alloc.h"

enum { HANDOVER_MESSAGE = 1, CHUNK = 65536 };

void handover_add(struct handovers *h, const char *name, struct slice *slice)
{
    h->list = xreallocarray(h->list, h->count + 1, sizeof *h->list);
    h->list[h->count++] = (struct handover){xstrdup(name), slice};
}

const struct slice *handover_find(const struct handovers *h, const char *name)
{
    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->list[i].name, name) == 0)
            return h->list[i].slice;
    return NULL;
}

void handover_free(struct handovers *h)
{
    for (size_t i = 0; i < h->count; i++) {
        free(h->list[i].name);
        slice_free(&h->list[i].slice);
    }
    free(h->list);
    *h = (struct handovers){0};
}

char *handover_beside(const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    if (name[0] == '/' || !slash)
        return xstrdup(name);
    return xasprintf("%.*s/%s", (int)(slash - file), file, name);
}

static int write_whole(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return lseek(fd, 0, SEEK_SET) == 0 ? 0 : -1;
}

int handover_write(const struct handovers *h)
{
    struct msg_out m;
    msg_out_init(&m, MSG_BYTES_MAX);
    msg_begin(&m, HANDOVER_MESSAGE, 1);
    msg_put_array(&m, h->count);
    for (size_t i = 0; i < h->count; i++) {
        msg_put_array(&m, 2);
        msg_put_cstr(&m, h->list[i].name);
        slice_pack(&m, h->list[i].slice);
    }
    int fd = -1;
    errno = EMSGSIZE;
    if (!m.buf.failed)
        fd = memfd_create("bridgebell-configuration", 0);
    if (fd >= 0 && write_whole(fd, m.buf.data, m.buf.len)) {
        close(fd);
        fd = -1;
    }
    msg_out_free(&m);
    return fd;
}

static int decode(const struct buf *in, struct handovers *h)
{
    struct msg_in m;
    struct msg_fields fields;
    msg_in_init(&m);
    bool good = msg_parse(&m, in->data ? in->data : "", in->len, &fields) == HANDOVER_MESSAGE;
    if (good) {
        struct msg_fields list = msg_get_array(&fields);
        good = msg_end(&fields);
        while (good && list.left) {
            struct msg_fields one = msg_get_array(&list);
            char *name = msg_str_dup(msg_get_str(&one));
            struct slice *slice = slice_unpack(&one);
            good = name && slice && msg_end(&one);
            if (good)
                handover_add(h, name, slice);
            else
                slice_free(&slice);
            free(name);
        }
    }
    msg_in_free(&m);
    return good ? 0 : -1;
}

int handover_read(int fd, struct handovers *h)
{
    struct buf in;
    ssize_t n = 1;
    *h = (struct handovers){0};
    buf_init(&in, MSG_BYTES_MAX);
    while (n > 0) {
        char *to = buf_reserve(&in, CHUNK);
        n = to ? read(fd, to, CHUNK) : -1;
        if (n < 0 && to && errno == EINTR)
            n = 1;
        else if (n > 0)
            in.len += (size_t)n;
    }
    int rc = n == 0 ? decode(&in, h) : -1;
    if (rc)
        handover_free(h);
    buf_free(&in);
    return rc;
}
