/*
 * The operator's HTTP door: /metrics, /healthz, /readyz, /status.json.
 *
 * Serves GET and HEAD on a listening socket that the master bound; answers come from the callbacks and are
 * made at once. Nothing a request carries but its path is looked at; sizes and idle time are bounded, and
 * visitors leave the store the descriptors that it needs. Numbers and texts never pass here.
 */
#ifndef DISPATCHER_DOOR_H
#define DISPATCHER_DOOR_H

#include <cjson/cJSON.h>

#include "core/buf.h"

/* While the process has fewer descriptors left than this, who comes waits in the socket's queue. */
enum { DOOR_SPARE_FDS = 64 };

struct door_ops {
    void (*metrics)(void *arg, struct buf *out); /* Prometheus text format 0.0.4 */
    cJSON *(*status)(void *arg);                 /* the caller frees */
    const char *(*not_ready)(void *arg);         /* a phrase, copied at once; NULL: ready */
};

struct door;
/* Takes the listening descriptor FD over; one door at a time. NULL if the HTTP server does not start. */
struct door *door_new(int fd, const struct door_ops *ops, void *arg);
void door_free(struct door **d);

#endif
