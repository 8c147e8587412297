#include "listener/literals.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

/* Which values a table holds is the operator's word, so nobody outside can make its buckets long. */
static uint32_t bucket_of(const struct literals *l, const char *data, size_t len)
{
    uint64_t head = 0, tail = 0;
    size_t part = len < 8 ? len : 8;
    memcpy(&head, data, part);
    memcpy(&tail, data + len - part, part);
    uint64_t h = (head ^ (tail << 29 | tail >> 35) ^ len) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32) & (l->bucket_count - 1);
}

void literals_add(struct literals *l, const char *text, uint32_t owner)
{
    if (l->count == l->size) {
        l->size = l->size ? l->size * 2 : 4;
        l->list = xreallocarray(l->list, l->size, sizeof *l->list);
    }
    l->list[l->count++] = (struct literal){text, strlen(text), owner, 0};
}

void literals_seal(struct literals *l)
{
    l->bucket_count = 4;
    while (l->bucket_count < l->count * 2)
        l->bucket_count *= 2;
    free(l->buckets);
    l->buckets = xcalloc(l->bucket_count, sizeof *l->buckets);
    for (uint32_t i = 0; i < l->count; i++) {
        uint32_t b = bucket_of(l, l->list[i].text, l->list[i].len);
        l->list[i].next = l->buckets[b];
        l->buckets[b] = i + 1;
    }
}

void literals_free(struct literals *l)
{
    free(l->list);
    free(l->buckets);
    memset(l, 0, sizeof *l);
}

static const struct literal *same_from(const struct literals *l, uint32_t at, const char *data, size_t len)
{
    for (; at; at = l->list[at - 1].next)
        if (l->list[at - 1].len == len && memcmp(l->list[at - 1].text, data, len) == 0)
            return &l->list[at - 1];
    return NULL;
}

const struct literal *literals_find(const struct literals *l, const char *data, size_t len)
{
    return same_from(l, l->buckets[bucket_of(l, data, len)], data, len);
}

const struct literal *literals_next(const struct literals *l, const struct literal *after)
{
    return same_from(l, after->next, after->text, after->len);
}

size_t literals_distinct(const struct literals *l)
{
    size_t distinct = 0;
    for (uint32_t i = 0; i < l->count; i++)
        if (!literals_next(l, &l->list[i]))
            distinct++;
    return distinct;
}
