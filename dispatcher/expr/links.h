/*
 * Links: what a phone could make tappable in a word, and how it is spoilt (docs/expressions.md, "What is
 * inserted").
 *
 * Schemes of the web get crosses ("hxxp:"), other schemes and the points of host names brackets ("tel[:]1",
 * "evil[.]com"). Top-level domains are the public suffix list's (libpsl) and all of two letters.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_LINKS_H
#define BRIDGEBELL_DISPATCHER_EXPR_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINKS_GROWTH 3u /* times that a word may grow when it is spoilt */

enum links_edit {
    LINKS_KEEP,
    LINKS_CROSS,   /* the letter becomes an x */
    LINKS_BRACKET, /* the colon or point is put into brackets */
    LINKS_SKIP,    /* the rest of a point of several bytes */
};

/*
 * Finds links in `len` bytes of valid UTF-8 without blanks and returns how many edits they need. `edits` (may
 * be NULL) has a byte for each of the word's, set to enum links_edit.
 *
 * `foreign` tells by a byte other than 0 which bytes others wrote; NULL: all. A link that leads where the
 * operator's own bytes say (all of its scheme and the last label of its host are his) is left alone.
 */
size_t links_find(const char *word, size_t len, const uint8_t *foreign, uint8_t *edits);
/* Writes the word with its edits, at most LINKS_GROWTH times its length; returns the length. */
size_t links_apply(const char *word, size_t len, const uint8_t *edits, char *out);

#endif
