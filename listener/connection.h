/*
 * The way to live events: token, connect, upgrade, bind, subscribe; again after every loss.
 *
 * Every step has a time limit and every failure a row in listener/failures.h. Pauses between attempts grow,
 * are scattered, and start small again only after a connection that lived for a while, so that a server which
 * takes us in and throws us out is not stormed.
 */
#ifndef LISTENER_CONNECTION_H
#define LISTENER_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "listener/session.h"
#include "listener/settings.h"

struct connection_ops {
    /* A message that is no answer to our calls; called for every event, so it should be quick. */
    void (*event)(void *arg, const char *data, size_t len);
    /* The bytes of this pass of the loop are dealt with. */
    void (*pass)(void *arg);
    /* Subscribed: from now on nothing is missed. */
    void (*live)(void *arg);
    /* No longer (only after live). */
    void (*lost)(void *arg);
    /* A word or two for the process table. */
    void (*state)(void *arg, const char *text);
    /* Something permanent; called once, then nothing more is tried. */
    void (*stopped)(void *arg, const struct failure *failure, const char *detail);
    /* Answer to connection_leave: unsubscribed and closed, or not possible. */
    void (*left)(void *arg);
};
struct connection_counts {
    uint64_t connects; /* became live */
    uint64_t losses, failures, limited, skipped, bytes, pings;
};

struct connection;
struct connection *connection_new(const struct settings *settings, struct session *session,
                                  const struct connection_ops *ops, void *arg);
/* Not from inside a callback. */
void connection_free(struct connection **c);
void connection_start(struct connection *c);
/* The session has a token (session_ops.ready). */
void connection_token(struct connection *c);
bool connection_live(const struct connection *c);
/* Monotonic clock, ms, of the last byte from the Bridge; 0 if not live. */
uint64_t connection_heard_ms(const struct connection *c);
/* Unsubscribes and closes within the request's time limit, then calls `left`. Events go on coming until then.
 */
void connection_leave(struct connection *c);
const struct connection_counts *connection_counts(struct connection *c);
const char *connection_state(const struct connection *c);

#endif
