#include "core/metrics.h"

#include <inttypes.h>

static const char *const kind_names[] = {"counter", "gauge"};

void metrics_print_head(struct buf *out, const struct metric_def *def)
{
    buf_addf(out, "# HELP bridgebell_%s %s\n# TYPE bridgebell_%s %s\n", def->name, def->help, def->name,
             kind_names[def->kind]);
}

void metrics_escape(struct buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            buf_adds(out, "\\n");
        else {
            if (*s == '"' || *s == '\\')
                buf_addc(out, '\\');
            buf_addc(out, *s);
        }
    }
}

void metrics_print_value(struct buf *out, const struct metric_def *def, const char *label,
                         const char *extra_labels, int64_t value)
{
    buf_addf(out, "bridgebell_%s", def->name);
    if (def->label || extra_labels) {
        buf_addc(out, '{');
        if (extra_labels)
            buf_adds(out, extra_labels);
        if (def->label) {
            buf_addf(out, "%s%s=\"", extra_labels ? "," : "", def->label);
            metrics_escape(out, label ? label : "");
            buf_addc(out, '"');
        }
        buf_addc(out, '}');
    }
    buf_addf(out, " %" PRId64 "\n", value);
}

static const uint64_t bounds_us[METRICS_HISTOGRAM_BOUNDS] = {
    500, 1000, 2000, 3000, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000, 30000000, 300000000,
};

void metrics_observe_us(struct metrics_histogram *h, uint64_t us)
{
    size_t i = 0;
    while (i < METRICS_HISTOGRAM_BOUNDS && us > bounds_us[i])
        i++;
    h->buckets[i]++;
    h->count++;
    h->sum_s += (double)us / 1e6;
}

void metrics_print_histogram(struct buf *out, const char *name, const char *help,
                             const struct metrics_histogram *h)
{
    buf_addf(out, "# HELP bridgebell_%s %s\n# TYPE bridgebell_%s histogram\n", name, help, name);
    uint64_t total = 0;
    for (size_t i = 0; i < METRICS_HISTOGRAM_BOUNDS; i++) {
        total += h->buckets[i];
        buf_addf(out, "bridgebell_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double)bounds_us[i] / 1e6,
                 total);
    }
    buf_addf(out, "bridgebell_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, h->count);
    buf_addf(out, "bridgebell_%s_sum %g\nbridgebell_%s_count %" PRIu64 "\n", name, h->sum_s, name, h->count);
}
