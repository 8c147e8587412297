/*
 * Counts by rule and reason: of what was let through, suppressed and merged since the store was made.
 *
 * The store's thread changes them with a transaction and writes those that changed; the loop has a copy that
 * follows completed units.
 */
#ifndef DISPATCHER_STORE_TALLY_H
#define DISPATCHER_STORE_TALLY_H

#include "dispatcher/store.h"

struct store_db;

struct tallies {
    struct store_tally *list, *saved; /* saved[i]: list[i] as it is on disk */
    size_t count, size;
    size_t *places; /* open addressing: index + 1; 0: free */
    size_t places_size;
    size_t *touched; /* indexes of those that differ from what is on disk */
    size_t touched_count, touched_size;
};

void tallies_add(struct tallies *t, const char *rule, enum store_why why, int64_t jobs, int64_t parts,
                 int64_t price_micro);
/* What JOB, inserted or closed, counts as; and the reverse. */
void tallies_add_job(struct tallies *t, const struct store_job *job);
void tallies_take_job(struct tallies *t, const struct store_job *job);
void tallies_free(struct tallies *t);

/* Around a transaction of DB: writes what changed; it is on disk; it is not. */
void tallies_save(struct store_db *db);
void tallies_saved(struct tallies *t);
void tallies_revert(struct tallies *t);
void tallies_load(struct store_db *db);

#endif
