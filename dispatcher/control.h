/*
 * What an operator may ask of the dispatcher: the command table behind ROLE_CONTROL.
 *
 * A request is a JSON object with "command"; "uid" names the caller for the record and "masked" (default
 * true) says whether numbers are shown with all but their last digits hidden and texts left out. Every
 * request gets exactly one answer, {"ok":true,…} or {"ok":false,"error":…}, now or after the store's commit.
 * docs/wire.md lists the members.
 */
#ifndef DISPATCHER_CONTROL_H
#define DISPATCHER_CONTROL_H

#include "dispatcher/intake.h"
#include "dispatcher/silences.h"

struct control {
    const struct slice *slice;
    struct store *store;
    struct rules *rules;
    struct silences *silences;
    struct queue *queue;
    struct intake *intake;
    struct journal *journal; /* NULL: none is kept */
    bool leaving;            /* what changes something is refused */
};

/* Answers request ID by role_reply. CONTROL stays alive until every answer was given. */
void control_request(struct control *c, uint64_t id, const cJSON *request);
/* The whole status, for the master and for /status.json. */
cJSON *control_status(struct control *c);
/* Appends all metrics. */
void control_metrics(struct control *c, struct buf *out);
/* Why the dispatcher is not ready; NULL if it is. A fixed phrase. */
const char *control_trouble(struct control *c);

#endif
