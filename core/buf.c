#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

void buf_init(struct buf *b, size_t limit_bytes)
{
    memset(b, 0, sizeof *b);
    b->limit = limit_bytes;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

void buf_free(struct buf *b)
{
    free(b->data);
    size_t limit = b->limit;
    buf_init(b, limit);
}

char *buf_reserve(struct buf *b, size_t len)
{
    size_t limit = b->limit ? b->limit : BUF_LIMIT_DEFAULT;
    if (len > limit || b->len > limit - len) {
        b->failed = true;
        return NULL;
    }
    /* One byte more than asked for, so that buf_cstr always has room for its NUL. */
    size_t need = b->len + len + 1;
    if (need > b->size) {
        size_t size = b->size ? b->size : 256;
        while (size < need)
            size *= 2;
        b->data = xrealloc(b->data, size);
        b->size = size;
    }
    return b->data + b->len;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
    char *to = buf_reserve(b, len);
    if (!to)
        return -1;
    if (len)
        memcpy(to, data, len);
    b->len += len;
    return 0;
}

int buf_adds(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_addc(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

int buf_addf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = n < 0 ? NULL : buf_reserve(b, (size_t)n);
    if (to) {
        vsnprintf(to, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return to ? 0 : -1;
}

void buf_consume(struct buf *b, size_t len)
{
    if (len > b->len)
        panic("buf_consume: %zu of %zu bytes", len, b->len);
    b->len -= len;
    if (b->len)
        memmove(b->data, b->data + len, b->len);
}

const char *buf_cstr(struct buf *b)
{
    if (!b->data)
        return "";
    b->data[b->len] = '\0';
    return b->data;
}
