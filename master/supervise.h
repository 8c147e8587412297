/*
 * All crews there are, and what is being done with them at the moment.
 *
 * One crew is in force. During a reload there is a next one beside it, and crews that were replaced stay
 * until their last process has gone. What the master does with crews (start, reload, shutdown) is an
 * activity; only one is under way at a time. An activity is a function that looks at how things stand and
 * takes the next step; it is called after every change of a slot, once the pass of the loop is over, so that
 * it never runs inside an event of the slot that it frees.
 */
#ifndef MASTER_SUPERVISE_H
#define MASTER_SUPERVISE_H

#include "master/crew.h"

struct activity {
    const char *name; /* "starting" */
    void (*step)(void);
    void (*abort)(void); /* another activity takes its place */
};

/* Aborts what is under way. NULL: nothing to do any more. */
void supervise_begin(const struct activity *activity);
/* NULL if none. */
const struct activity *supervise_activity(void);
/* Has the activity look again at the end of this pass. */
void supervise_poke(void);

/* Makes a crew and lists it. Takes CONF and DOOR_FD over. */
struct crew *supervise_add(struct conf *conf, int door_fd, char session_slot);
/* The crew in force, NULL before the first. */
struct crew *supervise_crew(void);
/* CREW is in force from now on; the former one is freed when it is empty. */
void supervise_install(struct crew *crew);
/* The crew that a reload builds, or NULL. One that is neither in force nor next is freed when it is empty. */
void supervise_set_next(struct crew *crew);
/* All crews, oldest first; NULL behind the last. */
struct crew *supervise_at(size_t index);

/* The dispatcher that works now, of the next crew if it has one already; NULL if none does. */
struct slot *supervise_dispatcher(void);
void supervise_on_reply(void (*fn)(uint64_t id, const char *text, size_t len));
/* Called whenever supervise_dispatcher may have changed. */
void supervise_on_dispatcher(void (*fn)(void));

/* Kills and frees everything; at the end. */
void supervise_free(void);

#endif
