/*
 * Members: the users and managers of Threads, Stores, Inboxes, Stream rooms and kvdbs.
 *
 * A bounded cache in memory, filled by look-ups that listeners make at the Bridge on request, and kept
 * current from …Created, …Updated and …Deleted events of containers as they pass. What is not in it must be
 * looked up; after a restart it is empty.
 */
#ifndef DISPATCHER_MEMBERS_H
#define DISPATCHER_MEMBERS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"
#include "proto/event.h"

struct members;

enum members_known {
    MEMBERS_KNOWN,
    MEMBERS_TO_ASK, /* nobody has asked yet, or the answer is on its way */
    MEMBERS_NONE,   /* the container does not exist, or the key may not see it */
};

struct members_list {
    const char *const *users; /* users and managers, each once; the texts stand one behind the other */
    size_t count;
};

struct members *members_new(size_t containers_max);
void members_free(struct members **m);

/* The members of a container. The list is valid until the next call that changes the cache. */
enum members_known members_find(struct members *m, struct msg_str bridge, struct msg_str container,
                                struct members_list *out);
/* Learns from an event of a container that passes; cheap for all others. */
void members_see(struct members *m, const struct event *event);
/* What a look-up found; USERS NULL with COUNT 0 and NONE set: there is no such container. */
void members_learn(struct members *m, const char *bridge, const char *container, const char *const *users,
                   size_t count, bool none);

void members_status(const struct members *m, cJSON *status);
void members_metrics(const struct members *m, struct buf *out);

#endif
