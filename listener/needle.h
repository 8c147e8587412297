/*
 * Search for one short text in many frames: Horspool's algorithm with the table made once.
 *
 * The frames of a Bridge are a few hundred bytes, where the set-up of memmem costs as much as the search.
 */
#ifndef LISTENER_NEEDLE_H
#define LISTENER_NEEDLE_H

#include <stddef.h>

enum { NEEDLE_MAX = 255 };

struct needle {
    char *text;
    size_t len; /* 2 … NEEDLE_MAX */
    unsigned char shift[256];
};
/* Copies TEXT. */
void needle_init(struct needle *n, const char *text, size_t len);
void needle_free(struct needle *n);
/* The first occurrence between FROM and END, or NULL. */
const char *needle_find(const struct needle *n, const char *from, const char *end);

#endif
