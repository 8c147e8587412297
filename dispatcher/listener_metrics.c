#include "dispatcher/listener_metrics.h"

#include <stdbool.h>
#include <string.h>

#include "core/metrics.h"

static const struct metric_def defs[] = {
    {"listener_connected", METRIC_GAUGE, "1 while subscribed to the Bridge.", NULL},
    {"listener_frames_total", METRIC_COUNTER, "Messages that came from the Bridge.", NULL},
    {"listener_bytes_total", METRIC_COUNTER, "Bytes that came from the Bridge.", NULL},
    {"listener_events_total", METRIC_COUNTER, "Events by what became of them.", "kind"},
    {"listener_wanted_total", METRIC_COUNTER, "Events that a rule may want.", NULL},
    {"listener_dropped_by_interest_total", METRIC_COUNTER, "Events that no rule can want.", NULL},
    {"listener_dropped_total", METRIC_COUNTER, "Events that no rule can want, by type.", "type"},
    {"listener_connects_total", METRIC_COUNTER, "Connections made.", NULL},
    {"listener_losses_total", METRIC_COUNTER, "Connections lost while subscribed.", NULL},
    {"listener_failures_total", METRIC_COUNTER, "Failures of any step.", NULL},
    {"listener_rate_limited_total", METRIC_COUNTER, "Times that the Bridge limited our requests.", NULL},
    {"listener_pings_total", METRIC_COUNTER, "Pings of the Bridge.", NULL},
    {"listener_logins_total", METRIC_COUNTER, "Logins with the API key.", NULL},
    {"listener_refreshes_total", METRIC_COUNTER, "Tokens renewed without it.", NULL},
    {"listener_outbox_bytes", METRIC_GAUGE, "Events not yet committed, in memory.", NULL},
    {"listener_outbox_events", METRIC_GAUGE, "Their number.", NULL},
    {"listener_spill_bytes", METRIC_GAUGE, "Events not yet committed, in the spill file.", NULL},
    {"listener_gap", METRIC_GAUGE, "1 while something is missing that may be caught up.", NULL},
    {"listener_catching_up", METRIC_GAUGE, "1 while it is being fetched.", NULL},
    {"listener_catch_up_calls_total", METRIC_COUNTER, "Requests made for that.", NULL},
    {"listener_catch_up_runs_total", METRIC_COUNTER, "Gaps that were caught up.", NULL},
    {"listener_catch_up_incomplete_total", METRIC_COUNTER, "Gaps of them of which something stays missing.",
     NULL},
    {"listener_breaks_total", METRIC_COUNTER, "Times that events may have been missed.", NULL},
    {"listener_lookups_total", METRIC_COUNTER, "Containers looked up for their members, by outcome.",
     "outcome"},
    {"listener_lookup_calls_total", METRIC_COUNTER, "Requests made for that.", NULL},
    {"listener_lookups_waiting", METRIC_GAUGE, "Containers still to be looked up.", NULL},
};
enum { PREFIX_BYTES = sizeof "listener_" - 1 };

static bool is_of(const struct metric_def *def, const struct stat_value *v)
{
    return strcmp(v->name, def->name + PREFIX_BYTES) == 0;
}

static void print_values(struct buf *out, const struct metric_def *def, const struct listener_values *values)
{
    struct buf labels;
    buf_init(&labels, 0);
    buf_adds(&labels, "bridge=\"");
    metrics_escape(&labels, values->bridge);
    buf_addc(&labels, '"');
    for (size_t i = 0; i < values->count; i++)
        if (is_of(def, &values->list[i]))
            metrics_print_value(out, def, values->list[i].label, buf_cstr(&labels), values->list[i].value);
    buf_free(&labels);
}

void listener_metrics(struct buf *out, const struct listener_values *bridges, size_t count)
{
    for (size_t d = 0; d < sizeof defs / sizeof defs[0]; d++) {
        metrics_print_head(out, &defs[d]);
        for (size_t i = 0; i < count; i++)
            print_values(out, &defs[d], &bridges[i]);
    }
}

int64_t listener_value(const struct listener_values *values, const char *name)
{
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->list[i].name, name) == 0)
            return values->list[i].value;
    return 0;
}

cJSON *listener_dropped(const struct listener_values *values)
{
    cJSON *types = cJSON_CreateObject();
    for (size_t i = 0; i < values->count; i++) {
        const struct stat_value *v = &values->list[i];
        if (strcmp(v->name, "dropped_total") == 0 && v->label)
            cJSON_AddNumberToObject(types, v->label, (double)v->value);
    }
    return types;
}
