/*
 * What the engine needs of an arena beyond expr.h: sizes of the first chunk, and copies.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_ARENA_H
#define BRIDGEBELL_DISPATCHER_EXPR_ARENA_H

#include "dispatcher/expr/expr.h"

/* As expr_arena_new, with a first chunk of `first_bytes`: small ones for what lives long and is many. */
struct expr_arena *expr_arena_sized(size_t limit_bytes, size_t first_bytes);
/* A copy of `length` bytes; NULL beyond the limit. */
char *expr_arena_copy(struct expr_arena *arena, const char *bytes, size_t length);
/* A place to rewind to: what is allocated after the mark is forgotten by the rewind. */
struct arena_mark {
    void *chunk;
    size_t used;
};
struct arena_mark expr_arena_mark(const struct expr_arena *arena);
void expr_arena_rewind(struct expr_arena *arena, struct arena_mark mark);
/* The failure for a full arena. */
struct expr_value expr_arena_full(void);

#endif
