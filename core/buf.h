/*
 * A growing byte buffer with a hard bound: appending past the bound fails and leaves the buffer as it was.
 */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* NULL while empty; not NUL-terminated unless buf_cstr was called */
    size_t len;
    size_t size;
    size_t limit; /* 0 means BUF_LIMIT_DEFAULT */
    bool failed;  /* an append was refused since the last buf_reset */
};

enum { BUF_LIMIT_DEFAULT = 16 * 1024 * 1024 };

void buf_init(struct buf *b, size_t limit_bytes);
/* Empties; keeps the memory for reuse. */
void buf_reset(struct buf *b);
void buf_free(struct buf *b);
/* Each appender returns 0, or -1 with `failed` set when the bound would be passed. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Makes room for LEN more bytes and returns where they go; the caller adds what it used to b->len. */
char *buf_reserve(struct buf *b, size_t len);
/* Drops the first LEN bytes. */
void buf_consume(struct buf *b, size_t len);
/* The content with a NUL behind it; valid until the next change. */
const char *buf_cstr(struct buf *b);

#endif
