/*
 * Grants: what the dispatcher lets this sender send, and what is told back.
 *
 * Owns the link to the dispatcher, the lines (one per provider) with the requests waiting for a free slot or
 * in flight, and the credit. A request leaves only while its line has a free slot and its start-by time has
 * not come; otherwise its jobs go back as WIRE_UNSENT. Each granted job gets exactly one outcome.
 */
#ifndef SENDER_GRANTS_H
#define SENDER_GRANTS_H

#include "sender/provider.h"

struct grants;

/* Takes grants from the dispatcher at ENDPOINT as NAME. UP and DOWN (may be NULL) tell about the link. */
struct grants_events {
    void (*up)(void *arg);
    void (*down)(void *arg);
};
struct grants *grants_new(const char *endpoint, const char *name, const struct grants_events *events,
                          void *arg);
/* Adds a line; PROVIDER is freed by grants_free. */
void grants_add_line(struct grants *g, struct provider *provider);
/* No new requests; DONE once every outcome is acknowledged, or the dispatcher stays away. */
void grants_drain(struct grants *g, void (*done)(void *arg), void *arg);
void grants_free(struct grants **g);

/* The credit formula, for tests: requests that a line of SLOTS may hold when an answer takes ANSWER_US
 * (0: not known yet). */
size_t grants_line_limit(size_t slots, uint64_t answer_us);

#endif
