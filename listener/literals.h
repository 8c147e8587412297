/*
 * A set of texts, each with the numbers it stands for: which of an interest's entries require a value.
 */
#ifndef LISTENER_LITERALS_H
#define LISTENER_LITERALS_H

#include <stddef.h>
#include <stdint.h>

struct literal {
    const char *text; /* borrowed */
    size_t len;
    uint32_t owner;
    uint32_t next; /* index + 1 of the next literal of the same bucket */
};
struct literals {
    struct literal *list;
    uint32_t *buckets; /* index + 1 */
    uint32_t count, size, bucket_count;
};

/* TEXT is borrowed for the life of the set. The same text may be added for several owners. */
void literals_add(struct literals *l, const char *text, uint32_t owner);
/* After the last addition, before the first look-up. */
void literals_seal(struct literals *l);
void literals_free(struct literals *l);
/* The first literal equal to DATA, or behind AFTER (not NULL) the next one; NULL at the end. */
const struct literal *literals_find(const struct literals *l, const char *data, size_t len);
const struct literal *literals_next(const struct literals *l, const struct literal *after);
/* Number of different texts. */
size_t literals_distinct(const struct literals *l);

#endif
