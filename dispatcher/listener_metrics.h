/*
 * What listeners tell of themselves, as Prometheus text and for `bridgebell status`.
 *
 * Each sends a list of values every second (proto/wire.h, WIRE_STATS); the last one of each bridge is shown.
 * Only names of a fixed table are passed on.
 */
#ifndef DISPATCHER_LISTENER_METRICS_H
#define DISPATCHER_LISTENER_METRICS_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

struct stat_value {
    char *name, *label;
    int64_t value;
};
/* The last values of one bridge's listener. */
struct listener_values {
    const char *bridge;
    const struct stat_value *list; /* NULL if COUNT is 0 */
    size_t count;
};

/* Appends each metric in one piece, with the values of all BRIDGES. */
void listener_metrics(struct buf *out, const struct listener_values *bridges, size_t count);
/* The value of NAME without a label; 0 if there is none. */
int64_t listener_value(const struct listener_values *values, const char *name);
/* Counts by type of event of what no rule wants: {"threadStats": 12, …}. */
cJSON *listener_dropped(const struct listener_values *values);

#endif
