/*
 * The listener: one process for one Bridge, from its WebSocket to the dispatcher.
 *
 * Puts the parts together: session (tokens), connection (live events), intake (interest, folding,
 * normalising), outbox (until committed), uplink (dispatcher), mark and catch-up (what was missed).
 */
#ifndef LISTENER_LISTENER_H
#define LISTENER_LISTENER_H

#include "proto/role.h"

extern const struct role listener_role;

#endif
