/*
 * Catch-up: fetching over HTTP what was created while no subscription stood (PROTOCOL.md section 9).
 *
 * Walks contexts, their containers, and the items of those that have news, page by page, at a pace below the
 * Bridge's own request limit, and hands each row on. Updates and deletions cannot be seen in lists; what is
 * not recovered is counted and said. One run at a time; a run that was stopped begins anew with the next gap.
 */
#ifndef LISTENER_CATCHUP_H
#define LISTENER_CATCHUP_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "listener/pace.h"
#include "listener/session.h"
#include "listener/settings.h"
#include "proto/event.h"

struct catchup_ops {
    /* A row made at or after the run's beginning; TYPE is its creation's. */
    void (*row)(void *arg, const struct event_type *type, const cJSON *row);
    /* All rows of a page were handed on. */
    void (*page)(void *arg);
    /* False: no further page for now; catchup_resume asks again. */
    bool (*may_go_on)(void *arg);
    /* False: nobody can use creations of this channel, so it is not listed. */
    bool (*wants)(void *arg, const char *channel);
    /* The run is over: what can be had was handed on. Not called after catchup_stop. */
    void (*done)(void *arg);
};
struct catchup_counts {
    uint64_t runs, calls, rows, limited;
    uint64_t incomplete; /* runs that could not fetch everything */
};

struct catchup;
/* PACE is shared with whoever else lists, and must outlive it, as all that is given. */
struct catchup *catchup_new(const struct settings *settings, struct session *session, struct pace *pace,
                            const struct catchup_ops *ops, void *arg);
void catchup_free(struct catchup **c);
/* Fetches what was made since FROM_MS, NOW_MS being the present, both in the Bridge's time. Ends a run that
 * is under way. `done` comes in a later pass of the loop. */
void catchup_start(struct catchup *c, int64_t from_ms, int64_t now_ms);
void catchup_stop(struct catchup *c);
bool catchup_running(const struct catchup *c);
/* There is room again, or a new token. */
void catchup_resume(struct catchup *c);
void catchup_token(struct catchup *c);
const struct catchup_counts *catchup_counts(const struct catchup *c);

/* "6b03d6e00000000000000000" for the second in which MS lies: what was made from then on comes behind it. */
void catchup_id_of_time(int64_t ms, char out[25]);

#endif
