/*
 * The command "send": a message of the operator's own, through the same store, queue and limits as all jobs.
 */
#ifndef DISPATCHER_CONTROL_SEND_H
#define DISPATCHER_CONTROL_SEND_H

#include "dispatcher/control.h"

enum { CONTROL_SEND_TO_MAX = 100 };
/* What stands as the rule of such a job. */
#define CONTROL_SEND_RULE "(send)"

/* "to": a number or a list of numbers, "message", and optionally "from" and "provider". Answers with the ids
 * of the jobs once they are committed. */
void control_send(struct control *c, uint64_t id, const cJSON *request);

#endif
