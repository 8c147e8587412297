/*
 * Look-ups: who is in a container, asked for by the dispatcher and answered from the Bridge's lists over HTTP
 * (PROTOCOL.md section 9). A list begins behind an id, whether it exists or not, so the container is the
 * first row of the list that begins behind the id before its own. Where the context is not known, all are
 * searched.
 *
 * A few look-ups run at a time, at a pace below the Bridge's own request limit; more wait, up to a bound, and
 * beyond it are answered with "not now". Equal ones are one. Reading events never waits for any of this.
 */
#ifndef LISTENER_LOOKUP_H
#define LISTENER_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "listener/pace.h"
#include "listener/session.h"
#include "listener/settings.h"
#include "proto/wire.h"

enum { LOOKUP_RUNNING_MAX = 4, LOOKUP_WAITING_MAX = 1000 };

struct lookup_ops {
    /* FOUND has number, container, outcome and version; then the ids of users and managers, some perhaps
     * twice. */
    void (*found)(void *arg, const struct wire_members *found, const char *const *users, size_t count);
};
struct lookup_counts {
    uint64_t asked, merged, refused, calls, found, none, limited;
    size_t waiting, running;
};

struct lookup;
/* PACE is shared with whoever else lists, and must outlive it, as all that is given. */
struct lookup *lookup_new(const struct settings *settings, struct session *session, struct pace *pace,
                          const struct lookup_ops *ops, void *arg);
void lookup_free(struct lookup **l);
/* May answer at once. */
void lookup_ask(struct lookup *l, const struct wire_members_ask *ask);
/* There is a new token. */
void lookup_token(struct lookup *l);
/* The Bridge is there (again), and what it said before now may be out of date: look-ups under way begin anew,
 * and no pause is kept. */
void lookup_again(struct lookup *l);
/* Whoever asked is gone. */
void lookup_clear(struct lookup *l);
const struct lookup_counts *lookup_counts(const struct lookup *l);

/* ---- decisions, for tests ---- */
/* The id before ID in a list's order, 24 hexadecimal digits; false if ID has another form or is the first. */
bool lookup_id_before(const char *id, size_t len, char out[25]);

#endif
