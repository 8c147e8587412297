/*
 * Memory that either comes or ends the process, and the way to say "we are wrong".
 *
 * The x-functions never return NULL. They are for fixed and start-up sizes and for sizes that were bounded
 * before; a size that comes from outside is checked by the caller first.
 */
#ifndef CORE_ALLOC_H
#define CORE_ALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
/* realloc for COUNT elements of SIZE bytes; an overflow of the product is a panic. */
void *xreallocarray(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
/* Copies LEN bytes and adds a NUL. */
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Wipes LEN bytes in a way the compiler may not remove, then frees. P may be NULL. */
void xfree_secret(void *p, size_t len);

/* A broken invariant of ours: one line on stderr with the place, then abort() for a core dump.
 * Never reachable by input from outside. */
_Noreturn void panic_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)

/* Keeps glibc from giving every thread an arena of its own and from holding freed memory. Once, at start. */
void alloc_setup(void);

#endif
