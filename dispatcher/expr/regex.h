/*
 * Regular expressions of `matches`: the syntax of RE2, which CEL prescribes, run by PCRE2 under limits.
 *
 * A pattern is checked and rewritten before PCRE2 sees it: what RE2 does not know (back-references,
 * look-around, atomic groups, possessive quantifiers, recursion, conditions, call-outs, verbs, \K, \R, \X,
 * \h, \Z ...) is refused, and what both know but read differently (\s, \v, octal escapes, $) is written so
 * that PCRE2 reads it as RE2 does.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_REGEX_H
#define BRIDGEBELL_DISPATCHER_EXPR_REGEX_H

#include "dispatcher/expr/expr.h"

#define REGEX_PATTERN_LIMIT 4096u /* bytes of a pattern */
#define REGEX_REPEAT_LIMIT 1000u  /* n in x{n}, as in RE2 */
#define REGEX_DEPTH_LIMIT 100u    /* nested groups */
#define REGEX_MATCH_LIMIT 100000u /* steps of one match */
#define REGEX_HEAP_LIMIT_KIB 1024u

/* A compiled pattern: immutable, may be shared by threads. */
struct expr_regex;

/*
 * Compiles a pattern. With an arena its memory is the arena's and it must not be freed; without one it is the
 * heap's. On failure returns NULL and sets `message` (static) and `offset` (bytes into the pattern).
 */
struct expr_regex *expr_regex_compile(const char *pattern, size_t len, struct expr_arena *arena,
                                      const char **message, size_t *offset);
void expr_regex_free(struct expr_regex **regex);
/* 1 if some part of the text matches, 0 if none does, -1 when a limit was hit (`message`, static, says
 * which). */
int expr_regex_match(const struct expr_regex *regex, const char *text, size_t len, struct expr_arena *arena,
                     const char **message);

#endif
