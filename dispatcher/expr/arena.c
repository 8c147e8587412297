#include "dispatcher/expr/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/expr/text.h"

#define ARENA_ALIGN 16u
#define ARENA_FIRST_BYTES 16384u
#define FAILURE_BYTES 256u /* of a formatted message */

struct chunk {
    struct chunk *next;
    size_t capacity;
    size_t used;
    _Alignas(ARENA_ALIGN) unsigned char bytes[];
};

struct expr_arena {
    struct chunk *first;
    struct chunk *current;
    size_t limit;
    size_t reserved; /* the sum of all capacities; at most `limit` */
    size_t first_bytes;
};

struct expr_arena *expr_arena_sized(size_t limit_bytes, size_t first_bytes)
{
    struct expr_arena *arena = xcalloc(1, sizeof *arena);
    arena->limit = limit_bytes;
    arena->first_bytes = first_bytes;
    return arena;
}

struct expr_arena *expr_arena_new(size_t limit_bytes)
{
    return expr_arena_sized(limit_bytes, ARENA_FIRST_BYTES);
}

void expr_arena_reset(struct expr_arena *arena)
{
    for (struct chunk *chunk = arena->first; chunk != NULL; chunk = chunk->next)
        chunk->used = 0;
    arena->current = arena->first;
}

void expr_arena_free(struct expr_arena **arena)
{
    if (*arena == NULL)
        return;
    for (struct chunk *chunk = (*arena)->first; chunk != NULL;) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(*arena);
    *arena = NULL;
}

/* Puts a chunk of at least `size` bytes after the current one and makes it current; NULL beyond the limit. */
static struct chunk *arena_grow(struct expr_arena *arena, size_t size)
{
    size_t left = arena->limit - arena->reserved;
    if (size > left)
        return NULL;
    size_t capacity = arena->current == NULL ? arena->first_bytes : arena->current->capacity * 2;
    if (capacity < size)
        capacity = size;
    if (capacity > left)
        capacity = left;
    struct chunk *chunk = xmalloc(sizeof *chunk + capacity);
    chunk->capacity = capacity;
    chunk->used = 0;
    if (arena->current == NULL) {
        chunk->next = arena->first;
        arena->first = chunk;
    } else {
        chunk->next = arena->current->next;
        arena->current->next = chunk;
    }
    arena->reserved += capacity;
    arena->current = chunk;
    return chunk;
}

static struct chunk *arena_chunk(struct expr_arena *arena, size_t size)
{
    struct chunk *chunk = arena->current;
    while (chunk != NULL && chunk->capacity - chunk->used < size) {
        if (chunk->next == NULL)
            break;
        chunk = chunk->next;
        arena->current = chunk;
    }
    if (chunk != NULL && chunk->capacity - chunk->used >= size)
        return chunk;
    return arena_grow(arena, size);
}

void *expr_arena_alloc(struct expr_arena *arena, size_t size)
{
    if (size > arena->limit)
        return NULL;
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct chunk *chunk = arena_chunk(arena, rounded);
    if (chunk == NULL)
        return NULL;
    void *memory = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return memory;
}

struct arena_mark expr_arena_mark(const struct expr_arena *arena)
{
    return (struct arena_mark){arena->current, arena->current == NULL ? 0 : arena->current->used};
}

void expr_arena_rewind(struct expr_arena *arena, struct arena_mark mark)
{
    if (mark.chunk == NULL) {
        expr_arena_reset(arena);
        return;
    }
    struct chunk *chunk = mark.chunk;
    chunk->used = mark.used;
    arena->current = chunk;
    for (chunk = chunk->next; chunk != NULL; chunk = chunk->next)
        chunk->used = 0;
}

char *expr_arena_copy(struct expr_arena *arena, const char *bytes, size_t length)
{
    char *copy = expr_arena_alloc(arena, length);
    if (copy != NULL && length > 0)
        memcpy(copy, bytes, length);
    return copy;
}

struct expr_value expr_arena_full(void)
{
    return expr_failure("out of memory: the evaluation needs more than its limit");
}

struct expr_value expr_failure_f(struct expr_arena *arena, const char *format, ...)
{
    char message[FAILURE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0)
        return expr_failure("failed");
    if (length >= (int)sizeof message)
        length = (int)text_valid_prefix(message, sizeof message - 1);
    char *copy = expr_arena_copy(arena, message, (size_t)length + 1);
    if (copy == NULL)
        return expr_arena_full();
    copy[length] = '\0';
    return expr_failure(copy);
}
