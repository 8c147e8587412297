/*
 * Intake: events from the listeners, through the rules, into the store.
 *
 * Owns the socket that listeners connect to, their sessions and the events between arrival and commit. A
 * batch is acknowledged only when the unit that holds everything it causes is committed, batches of a
 * listener in their order. While the store does not accept, nothing is acknowledged and the same units are
 * tried again; the listener's window then stops the flow (back-pressure).
 */
#ifndef DISPATCHER_INTAKE_H
#define DISPATCHER_INTAKE_H

#include <cjson/cJSON.h>

#include "dispatcher/digests.h"
#include "dispatcher/journal.h"
#include "dispatcher/queue.h"
#include "dispatcher/rules.h"

struct intake;

/* Binds ENDPOINT ("ipc:///run/bridgebell/events.ipc"). NULL with errno if it cannot. All that is given must
 * outlive it. */
struct intake *intake_new(const char *endpoint, const struct slice *slice, struct store *store,
                          struct rules *rules, struct queue *queue, struct digests *digests);
/* What arrives is written there from now on; JOURNAL may be NULL and must outlive the intake. Before the
 * first pass of the loop, so that listeners are told what it wants. */
void intake_set_journal(struct intake *i, struct journal *journal);
/* Before queue_free and store_close; call intake_drain first, or units that are still with the store are
 * lost to it. Listeners keep what was not acknowledged. */
void intake_free(struct intake **i);

/* Takes no more events; DONE, in the loop, once no unit is with the store. */
void intake_drain(struct intake *i, void (*done)(void *arg), void *arg);

/* Asks the listeners of BRIDGE (NULL: of all bridges) to catch up from SINCE_MS, the Bridge's time. Returns
 * how many listeners were asked. */
size_t intake_resync(struct intake *i, const char *bridge, int64_t since_ms);

/* Has the listener of E's bridge look up the members of E's container; once it has, rules know them. False if
 * there is no listener, or it has too much to look up. */
bool intake_look_up(struct intake *i, const struct event *e);

/* True if every listener that is connected has confirmed the interest of these rules. */
bool intake_interest_confirmed(const struct intake *i);

/* Adds "bridges": [{name, connected, state, events, mark_ms, …}] and "events": {received, matched,
 * duplicates, …}; appends metrics, those of the listeners too. */
void intake_status(struct intake *i, cJSON *status);
void intake_metrics(struct intake *i, struct buf *out);
/* NULL if every bridge has a listener that is subscribed; otherwise a phrase for /readyz, good until the next
 * call. */
const char *intake_trouble(struct intake *i);

#endif
