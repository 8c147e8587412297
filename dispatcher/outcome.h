/*
 * What a result means for its job and its line: one table over outcomes and classes, no state.
 *
 * Classes are those of CONTRACT.md section 4 and errors.csv. The rules that hold for every row: an attempt of
 * unknown outcome pins the generation of the idx until the job ends; a new generation is made only when no
 * attempt of the job is of unknown outcome; a pinned job never ends as dead or expired but as uncertain,
 * because an earlier attempt may have been accepted.
 */
#ifndef DISPATCHER_OUTCOME_H
#define DISPATCHER_OUTCOME_H

#include <stdbool.h>

#include "dispatcher/store.h"
#include "proto/wire.h"

/* What the line learns. */
enum outcome_line {
    OUTCOME_KEEP,        /* nothing */
    OUTCOME_WORKS,       /* the provider takes and judges messages */
    OUTCOME_STOP,        /* nothing will be accepted before somebody changes something */
    OUTCOME_THROTTLE,    /* too fast: pause */
    OUTCOME_UNREACHABLE, /* no connection */
    OUTCOME_SMALLER,     /* requests hold too many jobs */
    OUTCOME_LINES
};

enum { OUTCOME_REASON_MAX = 320 };

struct outcome_facts {
    enum wire_outcome outcome;
    enum wire_class class;
    int32_t code;           /* 0: none */
    int64_t retry_after_ms; /* -1: not said */
    const char *words;      /* the provider's, or a fixed phrase; NULL: none */
    /* of the job as it was leased */
    bool pinned;
    uint32_t generation, failures;
    bool expired; /* its time is over now */
    /* of the line */
    uint32_t max_attempts;
    int64_t retry_min_ms, retry_max_ms;
    double dice; /* 0 … 1, spreads retries */
};

struct outcome_decision {
    enum store_step step;
    enum job_state state; /* for STEP_END; JOB_SENT for STEP_ACCEPTED, JOB_QUEUED else */
    uint32_t generation, failures;
    bool pinned, inferred;
    bool collision; /* the provider knows the idx of a first attempt */
    int64_t due_in_ms;
    int64_t number_blocked_ms; /* nothing is to go to this number for so long; 0: it may */
    enum outcome_line line;
    char reason[OUTCOME_REASON_MAX]; /* "": nothing to say */
};

void outcome_decide(const struct outcome_facts *facts, struct outcome_decision *out);
/* Delay before attempt FAILURES + 1: doubles from MIN_MS to MAX_MS, spread by a fifth to either side. */
int64_t outcome_backoff_ms(uint32_t failures, int64_t min_ms, int64_t max_ms, double dice);

#endif
