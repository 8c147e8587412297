/*
 * The door for senders: the socket they connect to, and their conversation with the scheduler.
 */
#ifndef DISPATCHER_SENDERS_H
#define DISPATCHER_SENDERS_H

#include "dispatcher/queue.h"

struct senders;

/* Binds ENDPOINT ("ipc:///run/bridgebell/jobs.ipc"). NULL with errno if it cannot. */
struct senders *senders_new(const char *endpoint, struct queue *queue);
/* Before queue_free. Senders are told good-bye and keep their outcomes for the next dispatcher. */
void senders_free(struct senders **s);

#endif
