/*
 * A table from words to numbers, for names and for the rule index. Words are bytes of any length and are
 * copied; the hash is keyed, so that words from outside cannot be chosen to collide.
 */
#ifndef DISPATCHER_RULES_TABLE_H
#define DISPATCHER_RULES_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct rules_table;

enum { RULES_TABLE_NONE = -1 };

struct rules_table *rules_table_new(void);
void rules_table_free(struct rules_table **t);
size_t rules_table_count(const struct rules_table *t);
/* The number of a word, or RULES_TABLE_NONE. */
int64_t rules_table_find(const struct rules_table *t, const void *word, size_t len);
/* The number of a word; one that is not there gets the next number: 0, 1, 2 … */
int64_t rules_table_add(struct rules_table *t, const void *word, size_t len);
/* The word of a number below the count; NUL-terminated, valid as long as the table. */
const char *rules_table_word(const struct rules_table *t, int64_t number);

#endif
