/*
 * Cleaning of what application users wrote before it enters a message (docs/expressions.md, "What is
 * inserted").
 *
 * In this order: invalid UTF-8 becomes U+FFFD; line breaks and tabs become one space, wide blanks a plain
 * one; control characters, bidirectional controls, zero-width and other invisible characters are removed, and
 * combining marks beyond four on a letter; links are defanged (dispatcher/expr/links.h); the text is cut to a
 * number of code points.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_CLEAN_H
#define BRIDGEBELL_DISPATCHER_EXPR_CLEAN_H

#include <stdbool.h>
#include <stddef.h>

struct expr_arena;

/*
 * Cleans `len` bytes into the arena, at most `characters` code points. `cut` (may be NULL) tells whether
 * something was cut off. Returns false when the arena is full. The result is valid UTF-8, not NUL-terminated.
 */
bool expr_clean(const char *text, size_t len, size_t characters, struct expr_arena *arena, const char **out,
                size_t *out_len, bool *cut);

#endif
