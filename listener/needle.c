#include "listener/needle.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

void needle_init(struct needle *n, const char *text, size_t len)
{
    if (len < 2 || len > NEEDLE_MAX)
        panic("needle of %zu bytes", len);
    n->text = xstrndup(text, len);
    n->len = len;
    memset(n->shift, (int)len, sizeof n->shift);
    for (size_t i = 0; i + 1 < len; i++)
        n->shift[(unsigned char)text[i]] = (unsigned char)(len - 1 - i);
}

void needle_free(struct needle *n)
{
    free(n->text);
    n->text = NULL;
}

const char *needle_find(const struct needle *n, const char *from, const char *end)
{
    size_t last = n->len - 1;
    if ((size_t)(end - from) < n->len)
        return NULL;
    unsigned char tail = (unsigned char)n->text[last];
    for (const char *at = from + last; at < end;) {
        unsigned char c = (unsigned char)*at;
        if (c == tail && memcmp(at - last, n->text, last) == 0)
            return at - last;
        at += n->shift[c];
    }
    return NULL;
}
