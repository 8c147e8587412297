#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/metrics.h"
#include "dispatcher/intake_private.h"

static cJSON *listener_status(const struct session *s)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "host", s->peer->host);
    cJSON_AddStringToObject(o, "state", s->state);
    cJSON_AddBoolToObject(o, "interest_confirmed", s->confirmed == s->intake->interest_number);
    cJSON *stats = cJSON_AddObjectToObject(o, "stats");
    for (size_t i = 0; i < s->stats_count; i++) {
        const struct stat_value *v = &s->stats[i];
        if (!v->label || !v->label[0])
            cJSON_AddNumberToObject(stats, v->name, (double)v->value);
    }
    return o;
}

/* One listener for each bridge: while an old and a new one overlap, two samples of one name would spoil the
 * whole page. */
static struct listener_values values_of(const struct intake *in, const struct bridge *bridge)
{
    const struct session *s = intake_session_of(in, bridge);
    return (struct listener_values){bridge->name, s ? s->stats : NULL, s ? s->stats_count : 0};
}

static cJSON *bridge_status(struct intake *in, const struct bridge *b)
{
    const struct session *best = intake_session_of(in, b);
    struct listener_values values = values_of(in, b);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", b->name);
    cJSON_AddBoolToObject(o, "connected", intake_is_subscribed(best));
    cJSON_AddStringToObject(o, "state", best ? best->state : "no listener");
    cJSON_AddNumberToObject(o, "mark_ms", (double)store_mark_ms(in->store, b->name));
    cJSON_AddNumberToObject(o, "events", (double)b->received);
    cJSON_AddNumberToObject(o, "recovered", (double)b->recovered);
    cJSON_AddNumberToObject(o, "matched", (double)b->matched);
    cJSON_AddNumberToObject(o, "duplicates", (double)b->duplicates);
    cJSON_AddNumberToObject(o, "malformed", (double)b->malformed);
    cJSON_AddNumberToObject(o, "seen", (double)listener_value(&values, "frames_total"));
    cJSON_AddNumberToObject(o, "unwanted", (double)listener_value(&values, "dropped_by_interest_total"));
    cJSON_AddItemToObject(o, "dropped", listener_dropped(&values));
    cJSON *listeners = cJSON_AddArrayToObject(o, "listeners");
    for (const struct session *s = in->sessions; s; s = s->next)
        if (s->bridge == b)
            cJSON_AddItemToArray(listeners, listener_status(s));
    return o;
}

void intake_status(struct intake *in, cJSON *status)
{
    members_status(in->members, status);
    parents_status(in->parents, status);
    struct bridge sum = {0};
    cJSON *bridges = cJSON_AddArrayToObject(status, "bridges");
    for (size_t i = 0; i < in->bridges_count; i++) {
        const struct bridge *b = &in->bridges[i];
        cJSON_AddItemToArray(bridges, bridge_status(in, b));
        sum.received += b->received;
        sum.recovered += b->recovered;
        sum.matched += b->matched;
        sum.jobs += b->jobs;
        sum.duplicates += b->duplicates;
        sum.malformed += b->malformed;
        sum.cancelled += b->cancelled;
    }
    cJSON *events = cJSON_AddObjectToObject(status, "events");
    cJSON_AddNumberToObject(events, "received", (double)sum.received);
    cJSON_AddNumberToObject(events, "recovered", (double)sum.recovered);
    cJSON_AddNumberToObject(events, "matched", (double)sum.matched);
    cJSON_AddNumberToObject(events, "jobs", (double)sum.jobs);
    cJSON_AddNumberToObject(events, "duplicates", (double)sum.duplicates);
    cJSON_AddNumberToObject(events, "malformed", (double)sum.malformed);
    cJSON_AddNumberToObject(events, "cancelled_by_deletion", (double)sum.cancelled);
    cJSON_AddBoolToObject(events, "interest_confirmed", intake_interest_confirmed(in));
}

static uint64_t *counter_at(struct bridge *b, size_t offset)
{
    return (uint64_t *)(void *)((char *)b + offset);
}

static void print_listener_stats(struct intake *in, struct buf *out)
{
    struct listener_values *all = xcalloc(in->bridges_count + 1, sizeof *all);
    for (size_t i = 0; i < in->bridges_count; i++)
        all[i] = values_of(in, &in->bridges[i]);
    listener_metrics(out, all, in->bridges_count);
    free(all);
}

void intake_metrics(struct intake *in, struct buf *out)
{
    static const struct {
        struct metric_def def;
        size_t offset;
    } rows[] = {
        {{"events_received_total", METRIC_COUNTER, "Events that reached the dispatcher.", "bridge"},
         offsetof(struct bridge, received)},
        {{"events_recovered_total", METRIC_COUNTER, "Events of them that catch-up fetched.", "bridge"},
         offsetof(struct bridge, recovered)},
        {{"events_matched_total", METRIC_COUNTER, "New events that at least one rule matched.", "bridge"},
         offsetof(struct bridge, matched)},
        {{"jobs_created_total", METRIC_COUNTER, "Jobs that events caused.", "bridge"},
         offsetof(struct bridge, jobs)},
        {{"events_duplicate_total", METRIC_COUNTER, "Events that were known already.", "bridge"},
         offsetof(struct bridge, duplicates)},
        {{"events_malformed_total", METRIC_COUNTER, "Events that could not be read.", "bridge"},
         offsetof(struct bridge, malformed)},
        {{"jobs_cancelled_by_deletion_total", METRIC_COUNTER,
          "Jobs cancelled because their item was deleted.", "bridge"},
         offsetof(struct bridge, cancelled)},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        metrics_print_head(out, &rows[r].def);
        for (size_t i = 0; i < in->bridges_count; i++)
            metrics_print_value(out, &rows[r].def, in->bridges[i].name, NULL,
                                (int64_t)*counter_at(&in->bridges[i], rows[r].offset));
    }
    members_metrics(in->members, out);
    parents_metrics(in->parents, out);
    print_listener_stats(in, out);
}

const char *intake_trouble(struct intake *in)
{
    for (size_t i = 0; i < in->bridges_count; i++) {
        const struct session *s = intake_session_of(in, &in->bridges[i]);
        if (intake_is_subscribed(s))
            continue;
        snprintf(in->trouble, sizeof in->trouble, "bridge \"%s\" %s%s", in->bridges[i].name,
                 s ? "is not subscribed: " : "has no listener; \"bridgebell status\" says why",
                 s ? s->state : "");
        return in->trouble;
    }
    return NULL;
}
