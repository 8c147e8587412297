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
#include "proto/wire.h"

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

/* At most so many containers, and 64 MiB; those that were not used for longest go first. */
struct members *members_new(size_t containers_max);
void members_free(struct members **m);

/* The members of a container. The list is valid until the next call that changes the cache. */
enum members_known members_find(struct members *m, struct msg_str bridge, struct msg_str container,
                                struct members_list *out);
/* Whether the answer is other than MEMBERS_TO_ASK; not counted, and no use of it. */
bool members_knows(struct members *m, struct msg_str bridge, struct msg_str container);
/* Learns from an event of a container that passes; cheap for all others. What it tells of a version older
 * than the one known is no news. M may be NULL, here and below. */
void members_see(struct members *m, const struct event *event);
/* The same behind the rules: a container's deletion, whose members may want to hear of it. */
void members_see_off(struct members *m, const struct event *event);
/* What a look-up found: WIRE_MEMBERS_FOUND or _NONE. The same holds for its version. */
void members_learn(struct members *m, const char *bridge, const struct wire_members *found);
/* Updates may have been missed: what is known of the bridge's containers is void, but for deletions. */
void members_forget(struct members *m, const char *bridge);

void members_status(const struct members *m, cJSON *status);
void members_metrics(const struct members *m, struct buf *out);

#endif
