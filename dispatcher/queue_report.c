#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "dispatcher/queue_private.h"

/* ---- status ---- */

static void add_senders(struct queue *q, cJSON *status)
{
    uint64_t now_ms = clock_boot_ms();
    cJSON *list = cJSON_AddArrayToObject(status, "senders");
    for (struct queue_sender *s = LIST_FIRST(&q->senders); s; s = LIST_NEXT(s, link)) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", s->peer->name);
        cJSON_AddStringToObject(o, "host", s->peer->host);
        cJSON_AddNumberToObject(o, "in_flight", (double)s->in_flight);
        cJSON_AddNumberToObject(o, "credit", (double)queue_credit(s, now_ms));
        cJSON_AddItemToArray(list, o);
    }
}

static const char *shown_state(const struct line *l)
{
    return l->held ? "held" : line_state_names[l->state];
}

/* "priorities": {"critical": {"weight": 16, "requests": 12, "ready": 0, "waiting": true}, …} */
static void add_priorities(cJSON *to, const struct lane *lane, uint64_t now_ms)
{
    cJSON *all = cJSON_AddObjectToObject(to, "priorities");
    for (int i = 0; i < PRIORITIES; i++) {
        cJSON *o = cJSON_AddObjectToObject(all, share_names[i]);
        cJSON_AddNumberToObject(o, "weight", lane->queue->weights[i]);
        cJSON_AddNumberToObject(o, "requests", (double)lane->classes[i].requests_total);
        cJSON_AddNumberToObject(o, "ready", (double)lane->ready.jobs_of[i]);
        cJSON_AddBoolToObject(o, "waiting", queue_waits(lane, i, now_ms));
    }
}

static void add_lines(struct queue *q, cJSON *status)
{
    uint64_t now_ms = clock_boot_ms();
    cJSON *list = cJSON_AddArrayToObject(status, "lines");
    for (size_t i = 0; i < q->lanes_count; i++) {
        const struct lane *lane = &q->lanes[i];
        const struct line *l = &lane->line;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "provider", l->name);
        cJSON_AddStringToObject(o, "state", shown_state(l));
        cJSON_AddStringToObject(o, "reason", l->held ? l->held_by : l->reason);
        cJSON_AddNumberToObject(o, "code", l->code);
        cJSON_AddNumberToObject(o, "rate", (double)l->rate);
        cJSON_AddNumberToObject(o, "rate_per_ms", (double)l->rate_per_ms);
        cJSON_AddNumberToObject(o, "in_flight", (double)lane->granted_count);
        cJSON_AddNumberToObject(o, "ready", (double)lane->ready.jobs);
        cJSON_AddNumberToObject(o, "number_waits", (double)lane->number_waits_total);
        cJSON_AddNumberToObject(o, "numbers_waiting", (double)number_limit_waiting(lane->numbers, now_ms));
        add_priorities(o, lane, now_ms);
        if (l->state == LINE_PAUSED)
            cJSON_AddNumberToObject(o, "for_ms", l->until_ms > now_ms ? (double)(l->until_ms - now_ms) : 0);
        if (l->state == LINE_STOPPED)
            cJSON_AddNumberToObject(o, "probe_in_ms",
                                    l->probe_ms > now_ms ? (double)(l->probe_ms - now_ms) : 0);
        cJSON_AddItemToArray(list, o);
    }
}

static uint64_t dead_total(const struct queue *q)
{
    uint64_t n = 0;
    for (int c = 0; c < WIRE_CLASSES; c++)
        n += q->count.dead[c];
    return n;
}

static void add_sending(struct queue *q, cJSON *status)
{
    uint64_t now_ms = clock_mono_ms();
    const struct queue_counters *c = &q->count;
    const struct {
        const char *name;
        double value;
    } rows[] = {
        {"sent", (double)q->sent.total},
        {"failed", (double)(dead_total(q) + c->uncertain)},
        {"dead", (double)dead_total(q)},
        {"uncertain", (double)c->uncertain},
        {"expired", (double)c->expired},
        {"inferred", (double)c->inferred},
        {"attempts", (double)c->attempts},
        {"retries", (double)c->retries},
        {"unsent", (double)c->unsent},
        {"unknown", (double)c->unknown},
        {"late", (double)c->late},
        {"leases", (double)leases_count(q->leases)},
        {"per_second", meter_rate(&q->sent, 10, now_ms)},
        {"per_second_60", meter_rate(&q->sent, 60, now_ms)},
        {"failed_per_second", meter_rate(&q->failed, 10, now_ms)},
    };
    cJSON *o = cJSON_AddObjectToObject(status, "sending");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cJSON_AddNumberToObject(o, rows[i].name, rows[i].value);
}

void queue_status(struct queue *q, cJSON *status)
{
    add_senders(q, status);
    add_lines(q, status);
    add_sending(q, status);
}

const char *queue_trouble(struct queue *q)
{
    if (!TAILQ_EMPTY(&q->to_retry))
        return "outcomes cannot be recorded";
    for (size_t i = 0; i < q->lanes_count; i++) {
        if (q->lanes[i].line.state == LINE_STOPPED)
            return "a line is stopped: the provider refuses the account or the configuration";
        if (q->lanes[i].line.held)
            return "a line is held by the operator";
    }
    return q->senders_count ? NULL : "no sender is connected";
}

/* ---- metrics ---- */

static void print_counters(struct queue *q, struct buf *out)
{
    const struct queue_counters *c = &q->count;
    const struct {
        struct metric_def def;
        uint64_t value;
    } rows[] = {
        {{"sent_total", METRIC_COUNTER, "Jobs that a provider accepted.", NULL}, q->sent.total},
        {{"sent_inferred_total", METRIC_COUNTER, "Of these, by \"already sent\" after an unknown outcome.",
          NULL},
         c->inferred},
        {{"uncertain_total", METRIC_COUNTER, "Jobs that ended as uncertain.", NULL}, c->uncertain},
        {{"expired_total", METRIC_COUNTER, "Jobs whose time ran out before they were sent.", NULL},
         c->expired},
        {{"cancelled_in_flight_total", METRIC_COUNTER, "Jobs cancelled while an attempt was under way.",
          NULL},
         c->cancelled},
        {{"attempts_total", METRIC_COUNTER, "Attempts granted to senders.", NULL}, c->attempts},
        {{"retries_total", METRIC_COUNTER, "Attempts that led to another one later.", NULL}, c->retries},
        {{"unsent_total", METRIC_COUNTER, "Attempts given back unsent.", NULL}, c->unsent},
        {{"unknown_total", METRIC_COUNTER, "Attempts of unknown outcome.", NULL}, c->unknown},
        {{"leases_expired_total", METRIC_COUNTER, "Leases that ran out without an answer.", NULL},
         c->lease_expired},
        {{"results_late_total", METRIC_COUNTER, "Results of attempts that were not ours any more.", NULL},
         c->late},
        {{"late_accepted_total", METRIC_COUNTER, "Of these, acceptances that were recorded.", NULL},
         c->late_accepted},
        {{"idx_collisions_total", METRIC_COUNTER, "First attempts that the provider knew already.", NULL},
         c->collisions},
        {{"claims_total", METRIC_COUNTER, "Times that due jobs were fetched from the store.", NULL},
         c->claims},
        {{"claimed_total", METRIC_COUNTER, "Jobs leased by such a fetch.", NULL}, c->claimed},
        {{"leased_at_once_total", METRIC_COUNTER, "Jobs leased by the commit that inserted them.", NULL},
         c->fast},
        {{"senders", METRIC_GAUGE, "Senders connected.", NULL}, q->senders_count},
        {{"leases", METRIC_GAUGE, "Attempts under way.", NULL}, leases_count(q->leases)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metrics_print_head(out, &rows[i].def);
        metrics_print_value(out, &rows[i].def, NULL, NULL, (int64_t)rows[i].value);
    }
    static const struct metric_def failed = {"failed_total", METRIC_COUNTER,
                                             "Jobs refused for good, by class of the last answer.", "class"};
    metrics_print_head(out, &failed);
    for (int i = 0; i < WIRE_CLASSES; i++)
        metrics_print_value(out, &failed, wire_class_names[i], NULL, (int64_t)c->dead[i]);
}

/* 0 open, 1 paused, 2 stopped, 3 held */
static int64_t state_of(const struct lane *lane)
{
    return lane->line.held ? LINE_STATES : (int64_t)lane->line.state;
}
static int64_t in_flight_of(const struct lane *lane)
{
    return (int64_t)lane->granted_count;
}
static int64_t ready_of(const struct lane *lane)
{
    return (int64_t)lane->ready.jobs;
}
static int64_t requests_of(const struct lane *lane)
{
    return (int64_t)lane->granted_total;
}
static int64_t pauses_of(const struct lane *lane)
{
    return (int64_t)lane->paused_total;
}
static int64_t stops_of(const struct lane *lane)
{
    return (int64_t)lane->stopped_total;
}

static int64_t number_waits_of(const struct lane *lane)
{
    return (int64_t)lane->number_waits_total;
}
static int64_t numbers_waiting_of(const struct lane *lane)
{
    return (int64_t)number_limit_waiting(lane->numbers, clock_boot_ms());
}

static int64_t requests_of_priority(const struct lane *lane, int priority)
{
    return (int64_t)lane->classes[priority].requests_total;
}
static int64_t ready_of_priority(const struct lane *lane, int priority)
{
    return (int64_t)lane->ready.jobs_of[priority];
}
static int64_t weight_of_priority(const struct lane *lane, int priority)
{
    return lane->queue->weights[priority];
}

static void print_priorities(struct queue *q, struct buf *out)
{
    static const struct {
        struct metric_def def;
        int64_t (*value)(const struct lane *lane, int priority);
    } rows[] = {
        {{"priority_requests_total", METRIC_COUNTER, "Requests granted, by priority.", "provider"},
         requests_of_priority},
        {{"priority_ready", METRIC_GAUGE, "Leased jobs that wait for a sender or a slot, by priority.",
          "provider"},
         ready_of_priority},
        {{"priority_weight", METRIC_GAUGE, "Share of the slots when all priorities wait.", "provider"},
         weight_of_priority},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        metrics_print_head(out, &rows[r].def);
        for (size_t i = 0; i < q->lanes_count * PRIORITIES; i++) {
            const struct lane *lane = &q->lanes[i / PRIORITIES];
            int priority = (int)(i % PRIORITIES);
            char label[32];
            snprintf(label, sizeof label, "priority=\"%s\"", share_names[priority]);
            metrics_print_value(out, &rows[r].def, lane->line.name, label, rows[r].value(lane, priority));
        }
    }
}

static void print_lines(struct queue *q, struct buf *out)
{
    static const struct {
        struct metric_def def;
        int64_t (*value)(const struct lane *lane);
    } rows[] = {
        {{"line_state", METRIC_GAUGE, "0 open, 1 paused, 2 stopped, 3 held by the operator.", "provider"},
         state_of},
        {{"line_in_flight", METRIC_GAUGE, "Jobs with senders.", "provider"}, in_flight_of},
        {{"line_ready", METRIC_GAUGE, "Leased jobs that wait for a sender or a slot.", "provider"}, ready_of},
        {{"requests_granted_total", METRIC_COUNTER, "Requests granted to senders.", "provider"}, requests_of},
        {{"line_pauses_total", METRIC_COUNTER, "Pauses for throttling or lack of connection.", "provider"},
         pauses_of},
        {{"line_stops_total", METRIC_COUNTER, "Stops for account or configuration.", "provider"}, stops_of},
        {{"number_waits_total", METRIC_COUNTER, "Times that a job was put off because of its number.",
          "provider"},
         number_waits_of},
        {{"numbers_waiting", METRIC_GAUGE, "Numbers that were tried so often that jobs wait.", "provider"},
         numbers_waiting_of},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        metrics_print_head(out, &rows[r].def);
        for (size_t i = 0; i < q->lanes_count; i++)
            metrics_print_value(out, &rows[r].def, q->lanes[i].line.name, NULL, rows[r].value(&q->lanes[i]));
    }
}

/* What senders tell of themselves; only these names are passed on. */
static const struct metric_def sender_defs[] = {
    {"sender_requests_total", METRIC_COUNTER, "Requests written to the provider.", "provider"},
    {"sender_connections_total", METRIC_COUNTER, "Connections opened.", "provider"},
    {"sender_failovers_total", METRIC_COUNTER, "Changes to the other host.", "provider"},
    {"sender_in_flight", METRIC_GAUGE, "Requests under way.", "provider"},
    {"sender_waiting", METRIC_GAUGE, "Requests that wait for a connection.", "provider"},
    {"sender_answer_us", METRIC_GAUGE, "Mean time to an answer in microseconds.", "provider"},
    {"sender_outcomes_total", METRIC_COUNTER, "Outcomes told.", "outcome"},
    {"sender_refused_total", METRIC_COUNTER, "Refusals by class.", "class"},
    {"sender_unacknowledged", METRIC_GAUGE, "Outcomes whose commit is not acknowledged.", NULL},
    {"sender_malformed_total", METRIC_COUNTER, "Grants that could not be read.", NULL},
};

static void print_sender_stat(struct buf *out, const struct metric_def *def, const struct queue_sender *s)
{
    char extra[128];
    struct buf name;
    buf_init(&name, 0);
    metrics_escape(&name, s->peer->name);
    snprintf(extra, sizeof extra, "sender=\"%.100s\"", buf_cstr(&name));
    buf_free(&name);
    for (size_t i = 0; i < s->stats_count; i++)
        if (strcmp(s->stats[i].name, def->name) == 0)
            metrics_print_value(out, def, s->stats[i].label, extra, s->stats[i].value);
}

static void print_senders(struct queue *q, struct buf *out)
{
    for (size_t d = 0; d < sizeof sender_defs / sizeof sender_defs[0]; d++) {
        metrics_print_head(out, &sender_defs[d]);
        for (struct queue_sender *s = LIST_FIRST(&q->senders); s; s = LIST_NEXT(s, link))
            print_sender_stat(out, &sender_defs[d], s);
    }
}

void queue_metrics(struct queue *q, struct buf *out)
{
    print_counters(q, out);
    print_lines(q, out);
    print_priorities(q, out);
    print_senders(q, out);
    metrics_print_histogram(out, "event_to_request_seconds",
                            "From the listener's receipt of the event to the grant of the first attempt.",
                            &q->event_to_grant);
    metrics_print_histogram(out, "provider_answer_seconds", "From request to the provider's answer.",
                            &q->answer_time);
}
