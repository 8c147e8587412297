/*
 * Named texts in memory: the loop's copy of the store's facts, and other sets of names that come and go.
 *
 * Owns names and values. Looking up and changing take the same time whatever the number.
 */
#ifndef DISPATCHER_FACTS_H
#define DISPATCHER_FACTS_H

#include <stddef.h>

struct facts;

struct facts *facts_new(void);
void facts_free(struct facts **f);
/* VALUE NULL removes. */
void facts_set(struct facts *f, const char *name, const char *value);
/* NULL if there is none; valid until the next facts_set. */
const char *facts_get(const struct facts *f, const char *name);
size_t facts_count(const struct facts *f);
/* The names that begin with PREFIX, one a call, in no order; NULL when there are no more. *CURSOR is 0 for
 * the first. VALUE may be NULL. Nothing is to be set in between. */
const char *facts_next(const struct facts *f, const char *prefix, size_t *cursor, const char **value);

#endif
