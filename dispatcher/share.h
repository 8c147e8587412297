/*
 * Weighted shares: whose turn it is when jobs of several priorities wait for the same places.
 *
 * Stride scheduling. Every priority has a position; a place that is taken moves it on by one stride, the
 * longer the smaller its weight, and the next place is for whoever stands furthest back, the more urgent one
 * among equals. So those that all wait get places in proportion to their weights, whoever waits alone gets
 * all of them, and nobody is more than one stride behind. A priority that comes back after it had nothing to
 * send starts where the others are: it saves up nothing. A line owns one share; the state is a few numbers
 * and begins anew with the process.
 */
#ifndef DISPATCHER_SHARE_H
#define DISPATCHER_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/slice.h"

enum { SHARES = 3 /* one for each enum job_priority */, SHARE_WEIGHT_MAX = 1000 };
extern const char *const share_names[SHARES + 1];

struct share {
    uint64_t stride[SHARES];
    uint64_t position[SHARES];
    uint64_t now; /* where the last place was taken from */
    bool active[SHARES];
};

void share_init(struct share *s, const uint32_t weights[SHARES]);
/* Whose turn it is among those in WANTS; -1 if none. What was not among them at the last call starts where
 * the others are. */
int share_turn(struct share *s, const bool wants[SHARES]);
/* The same among some of them, without looking who is new. */
int share_first(const struct share *s, const bool wants[SHARES]);
/* WHO takes a place. */
void share_take(struct share *s, int who);
/* How ROOM places would be shared out if each took up to WANTS (SIZE_MAX: any number) and nobody else came.
 */
void share_plan(const struct share *s, const size_t wants[SHARES], size_t room, size_t turns[SHARES]);

/* Weights from `priority_weights` of the dispatcher block, a list of "priority: weight"; what is not named
 * keeps 16, 4 or 1. Weights are 1 to SHARE_WEIGHT_MAX. Adds a fault for each word it does not understand;
 * FAULTS may be NULL. */
void share_weights(const struct slice *slice, uint32_t weights[SHARES], struct faults *faults);

#endif
