/*
 * Parents: events whose recipients must be looked up first.
 *
 * An event that a rule for members matched is committed at once with a held job, its parent, and the event
 * beside it. This module asks listeners for the members of the containers that parents wait for, and, once
 * they are known, runs the same rule again on the kept event and commits what comes of it in the parent's
 * place. What waits is in the store; after a crash at any point it is found there. Only so much of it is kept
 * in memory, the rest is read as there is room.
 */
#ifndef DISPATCHER_PARENTS_H
#define DISPATCHER_PARENTS_H

#include <cjson/cJSON.h>

#include "core/buf.h"
#include "dispatcher/members.h"
#include "dispatcher/rules.h"
#include "dispatcher/store.h"

struct parents;

struct parents_ops {
    /* Sends the question to a listener of BRIDGE; false if there is none. */
    bool (*ask)(void *arg, const char *bridge, const struct wire_members_ask *ask);
    /* COUNT jobs were inserted: the children of one parent. */
    void (*inserted)(void *arg, const struct store_job *jobs, size_t count);
};

/* Reads at once what waits in the store. About ROWS_MAX of it is kept in mind at a time. All that is given
 * must outlive it. */
struct parents *parents_new(struct store *store, struct rules *rules, struct members *members,
                            size_t load_max, const struct parents_ops *ops, void *arg);
/* After store_finish, or once idle. */
void parents_free(struct parents **p);

/* A parent was committed as ROW with this packed event. */
void parents_add(struct parents *p, int64_t row, const void *packed, size_t len);
/* A listener of BRIDGE came, or one answered. */
void parents_listener(struct parents *p, const char *bridge);
void parents_answer(struct parents *p, const char *bridge, const struct wire_members *found);

/* Asks for the members of the container of E for somebody who only wants to know; no row waits for them.
 * False if nobody can be asked now. */
bool parents_wonder(struct parents *p, const struct event *e);

/* Begins nothing new; DONE, in the loop or at once, when nothing is with the store. */
void parents_stop(struct parents *p, void (*done)(void *arg), void *arg);

/* Adds "waiting" {events, containers, oldest_s, asked, expanded} to STATUS; appends metrics. */
void parents_status(const struct parents *p, cJSON *status);
void parents_metrics(const struct parents *p, struct buf *out);

#endif
