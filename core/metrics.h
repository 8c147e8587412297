/*
 * Counters and gauges of one process, declared once in a table.
 *
 * A role defines its table (name, kind, help, label name) and increments values by index. Listener and sender
 * send theirs to the dispatcher as snapshots (proto/msg.h); the dispatcher prints all as Prometheus text.
 * Label values come from the configuration's fixed words only, never from a recipient, container or provider
 * text.
 */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H

#include <stdint.h>

#include "core/buf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric_def {
    const char *name; /* without the prefix "bridgebell_" */
    enum metric_kind kind;
    const char *help;
    const char *label; /* name of the one label, or NULL */
};

/* One value of a metric; LABEL is "" when the metric has none. */
struct metric_value {
    const char *name;
    const char *label;
    int64_t value;
};

/* Appends "# HELP", "# TYPE" for DEF. */
void metrics_print_head(struct buf *out, const struct metric_def *def);
/* Appends one sample line; EXTRA_LABELS ("process=\"listener\"") may be NULL; label values are escaped. */
void metrics_print_value(struct buf *out, const struct metric_def *def, const char *label,
                         const char *extra_labels, int64_t value);
/* Appends S with backslash, quote and line feed escaped, as the text format asks. */
void metrics_escape(struct buf *out, const char *s);

/* A histogram of durations with fixed bounds, for latencies. */
enum { METRICS_HISTOGRAM_BOUNDS = 14 };
struct metrics_histogram {
    uint64_t buckets[METRICS_HISTOGRAM_BOUNDS + 1];
    uint64_t count;
    double sum_s;
};
void metrics_observe_us(struct metrics_histogram *h, uint64_t us);
/* Prints NAME_bucket, NAME_sum and NAME_count in seconds with head. */
void metrics_print_histogram(struct buf *out, const char *name, const char *help,
                             const struct metrics_histogram *h);

#endif
