/*
 * The listener's side of the link to the dispatcher: hello and welcome, interest, acknowledgements,
 * statistics.
 */
#ifndef LISTENER_UPLINK_H
#define LISTENER_UPLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/wire.h"

struct uplink_ops {
    /* Welcomed. MARK_MS: the Bridge's time up to which everything is committed; -1: nothing ever was. */
    void (*up)(void *arg, int64_t mark_ms);
    void (*down)(void *arg);
    void (*acked)(void *arg, uint64_t seq);
    /* The interest is to be taken over; it is confirmed when this returns. */
    void (*interest)(void *arg, struct wire_interest *interest);
    void (*resync)(void *arg, int64_t since_ms);
    /* Views of ASK are valid during the call. */
    void (*members)(void *arg, const struct wire_members_ask *ask);
};
struct uplink;
struct uplink *uplink_new(const char *endpoint, const char *bridge, const struct uplink_ops *ops, void *arg);
void uplink_free(struct uplink **u);
bool uplink_is_up(const struct uplink *u);
/* 0, or -1 if that is not possible now. */
int uplink_send(struct uplink *u, const struct msg_out *m);

/* One WIRE_MEMBERS. 0, or -1 if that is not possible now. */
int uplink_members(struct uplink *u, const struct wire_members *found, const char *const *users,
                   size_t count);

/* One WIRE_STATS: begin, put each value, end. */
void uplink_stats_begin(struct uplink *u, size_t values);
void uplink_stats_put(struct uplink *u, const char *name, const char *label, int64_t value);
void uplink_stats_end(struct uplink *u, const char *state);

#endif
