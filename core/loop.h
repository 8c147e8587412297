/*
 * Glue around libevent: one loop per process, timers, and work put off to the end of the pass.
 *
 * Objects that are freed while the loop is in a pass may still be pointed at by events of the same pass;
 * loop_defer runs a function once the pass is over.
 */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include <event2/event.h>
#include <stdint.h>

/* The process's loop; made on first use. Never NULL. */
struct event_base *loop_base(void);
/* Runs until loop_stop, then what was deferred until then. */
void loop_run(void);
void loop_stop(void);
/* Frees the loop and whatever was deferred and not run. */
void loop_free(void);

typedef void loop_fn(void *arg);

/* A timer made once and armed many times. The callback runs in the loop. */
struct loop_timer;
struct loop_timer *loop_timer_new(loop_fn *fn, void *arg);
/* (Re)arms to fire once after MS milliseconds (0: in the next pass). */
void loop_timer_start(struct loop_timer *t, int64_t ms);
void loop_timer_stop(struct loop_timer *t);
int loop_timer_pending(const struct loop_timer *t);
void loop_timer_free(struct loop_timer **t);

/* Calls FN(ARG) after the callbacks of this pass, in the order of the calls. */
void loop_defer(loop_fn *fn, void *arg);

#endif
