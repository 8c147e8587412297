/* `explain` of the command table: dispatcher/control.h. */
#ifndef DISPATCHER_CONTROL_EXPLAIN_H
#define DISPATCHER_CONTROL_EXPLAIN_H

#include "dispatcher/control.h"

/* REQUEST has "event", a notification or a line of the journal; the answer has "explanation". The event is
 * decided on the state as it is, and nothing of it is kept. */
void control_explain(struct control *c, uint64_t id, const cJSON *request);

#endif
