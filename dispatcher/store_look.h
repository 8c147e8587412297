/*
 * The file of a store as it lies there, for tools: facts and jobs are read, whether a dispatcher has it or
 * not, and nothing is written, neither into it nor beside it.
 *
 * Stores of every schema version up to the own one can be read.
 */
#ifndef DISPATCHER_STORE_LOOK_H
#define DISPATCHER_STORE_LOOK_H

#include "dispatcher/store.h"

struct store_look;

enum { STORE_LOOK_WHY_SIZE = 512 };
enum store_look_status {
    STORE_LOOK_FINE,
    STORE_LOOK_NONE,   /* there is no such file yet */
    STORE_LOOK_FAILED, /* no rights, damage, a newer schema, no store */
};

/* The store that the dispatcher block of SLICE names. Other than STORE_LOOK_FINE there is nothing in *OUT and
 * a sentence in WHY (STORE_LOOK_WHY_SIZE), which names the file. */
enum store_look_status store_look_open(const struct slice *slice, struct store_look **out, char *why);
void store_look_close(struct store_look **l);

/* Tells FN every fact whose name begins with PREFIX, in the order of the names. 0, or -1 with WHY. */
typedef void store_look_fact_fn(void *arg, const char *name, const char *value);
int store_look_facts(struct store_look *l, const char *prefix, store_look_fact_fn *fn, void *arg, char *why);

/* Tells FN the newest LIMIT jobs whose ids begin with HEX. How many, or -1 with WHY. GOOD: the row matches
 * its checksum. */
typedef void store_look_job_fn(void *arg, const struct store_job *job, bool good);
int store_look_jobs(struct store_look *l, const char *hex, int limit, store_look_job_fn *fn, void *arg,
                    char *why);

#endif
