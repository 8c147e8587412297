#include "dispatcher/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/str.h"
#include "dispatcher/control_explain.h"
#include "dispatcher/control_parts.h"
#include "dispatcher/control_quiet.h"
#include "dispatcher/control_send.h"
#include "proto/role.h"

enum { LIST_DEFAULT = 50, LIST_MOST = 1000 };

/* ---- answers ---- */

static cJSON *answer(bool ok)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "ok", ok);
    return o;
}

cJSON *control_good(void)
{
    return answer(true);
}

void control_refuse(uint64_t id, const char *error, const char *hint)
{
    cJSON *o = answer(false);
    cJSON_AddStringToObject(o, "error", error);
    if (hint)
        cJSON_AddStringToObject(o, "hint", hint);
    role_reply(id, o);
}

void control_refuse_store(uint64_t id, enum store_status status)
{
    control_refuse(id, status == STORE_FULL ? "the store is full" : "the store failed",
                   "see the dispatcher's log; nothing was changed");
}

const char *control_text(const cJSON *request, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, name));
}

int64_t control_number(const cJSON *request, const char *name, int64_t otherwise)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(request, name);
    return cJSON_IsNumber(n) && n->valuedouble > -1e15 && n->valuedouble < 1e15 ? (int64_t)n->valuedouble
                                                                                : otherwise;
}

bool control_is_masked(const cJSON *request)
{
    return !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(request, "masked"));
}

const char *control_phone(const struct control *c, const cJSON *item, char out[PHONE_SIZE])
{
    const char *text = cJSON_GetStringValue(item);
    const char *country = slice_text(slice_find(c->slice, "numbers", NULL), "default_country", NULL);
    return text ? phone_normalise(text, strlen(text), country, out) : "it is no text";
}

void control_who(const cJSON *request, char out[CONTROL_WHO_MAX])
{
    int64_t uid = control_number(request, "uid", -1);
    if (uid >= 0)
        snprintf(out, CONTROL_WHO_MAX, "uid %lld", (long long)uid);
    else
        snprintf(out, CONTROL_WHO_MAX, "the operator");
}

/* ---- which jobs ---- */

/* -1 if unknown. */
static int state_of(const char *word)
{
    for (int i = 0; i < JOB_STATES; i++)
        if (strcmp(job_state_names[i], word) == 0)
            return i;
    return -1;
}

/* Strings point into REQUEST. False after an answer was given. */
static bool read_filter(uint64_t id, const cJSON *request, struct store_filter *f)
{
    *f = (struct store_filter){.rule = control_text(request, "rule"),
                               .id = control_text(request, "id"),
                               .provider = control_text(request, "provider")};
    const char *state = control_text(request, "state");
    if (!state)
        return true;
    int number = state_of(state);
    if (number < 0) {
        const char *near = str_nearest(state, job_state_names);
        char hint[64];
        snprintf(hint, sizeof hint, "did you mean \"%s\"?", near ? near : "queued");
        control_refuse(id, "no such state", near ? hint : "\"bridgebell help queue\" lists them");
        return false;
    }
    f->states = 1u << number;
    return true;
}

/* ---- one job for a person ---- */

static void add_time(cJSON *o, const char *name, int64_t ms)
{
    char text[25];
    if (ms <= 0)
        return;
    clock_format(ms, text);
    cJSON_AddStringToObject(o, name, text);
}

static void add_text(cJSON *o, const char *name, const char *text)
{
    if (text)
        cJSON_AddStringToObject(o, name, text);
}

static cJSON *job_brief(const struct store_job *j, bool masked, int64_t now_ms)
{
    char id[2 * HASH_ID_BYTES + 1], number[32];
    cJSON *o = cJSON_CreateObject();
    str_hex(j->id.bytes, sizeof j->id.bytes, id);
    cJSON_AddStringToObject(o, "id", id);
    cJSON_AddStringToObject(o, "state", job_state_names[j->state]);
    add_text(o, "rule", j->rule);
    const char *to = j->number ? j->number : "";
    cJSON_AddStringToObject(o, "to", masked ? str_mask_number(to, number, sizeof number) : to);
    add_text(o, "provider", j->provider);
    cJSON_AddNumberToObject(o, "attempt", j->attempt);
    cJSON_AddNumberToObject(o, "age_ms", (double)(now_ms - j->created_ms));
    if (j->state == JOB_QUEUED || (j->state == JOB_HELD && to[0]))
        cJSON_AddNumberToObject(o, "due_in_ms", (double)(j->due_ms > now_ms ? j->due_ms - now_ms : 0));
    add_text(o, "reason", j->reason);
    if (j->code)
        cJSON_AddNumberToObject(o, "code", j->code);
    return o;
}

static cJSON *job_whole(const struct store_job *j, bool masked, int64_t now_ms)
{
    static const char *const priorities[] = {"critical", "normal", "bulk"};
    cJSON *o = job_brief(j, masked, now_ms);
    char event[2 * HASH_ID_BYTES + 1], idx[WIRE_IDX_MAX];
    str_hex(j->event.bytes, sizeof j->event.bytes, event);
    wire_idx(&j->id, j->generation, idx);
    cJSON_AddStringToObject(o, "event", event);
    cJSON_AddStringToObject(o, "idx", idx);
    add_text(o, "bridge", j->bridge);
    add_text(o, "from", j->from);
    add_text(o, "item", j->item);
    add_text(o, "container", j->container);
    add_text(o, "priority", j->priority <= PRIORITY_BULK ? priorities[j->priority] : NULL);
    add_time(o, "event_time", j->event_ms);
    add_time(o, "created", j->created_ms);
    add_time(o, "expires", j->expires_ms);
    if (j->state == JOB_QUEUED || j->state == JOB_HELD)
        add_time(o, "due", j->due_ms);
    add_time(o, "first_attempt", j->first_attempt_ms);
    add_time(o, "finished", j->finished_ms);
    cJSON_AddNumberToObject(o, "failures", j->failures);
    cJSON_AddNumberToObject(o, "generation", j->generation);
    cJSON_AddBoolToObject(o, "unknown_outcome", j->pinned);
    cJSON_AddBoolToObject(o, "cancel_wanted", j->cancel_wanted);
    cJSON_AddBoolToObject(o, "inferred", j->inferred);
    add_text(o, "provider_id", j->provider_id);
    if (j->points_micro >= 0)
        cJSON_AddNumberToObject(o, "points", (double)j->points_micro / 1e6);
    if (j->parts >= 0)
        cJSON_AddNumberToObject(o, "parts", j->parts);
    if (j->price_micro >= 0)
        cJSON_AddNumberToObject(o, "price", (double)j->price_micro / 1e6);
    if (!masked)
        add_text(o, "text", j->text);
    return o;
}

/* ---- reading the queue ---- */

struct reading {
    struct store_list list;
    struct control *control;
    uint64_t id;
    cJSON *request; /* a copy: the filter points into it */
    bool whole;
};

static void reply_jobs(struct reading *r)
{
    bool masked = control_is_masked(r->request);
    int64_t now_ms = store_now_ms(r->control->store);
    if (r->whole && r->list.count != 1) {
        control_refuse(r->id, r->list.count ? "several jobs begin with this id" : "no such job",
                       "give more digits; \"bridgebell queue ls\" shows the ids");
        return;
    }
    cJSON *o = answer(true);
    if (r->whole) {
        cJSON_AddItemToObject(o, "job", job_whole(&r->list.jobs[0], masked, now_ms));
    } else {
        cJSON *jobs = cJSON_AddArrayToObject(o, "jobs");
        for (size_t i = 0; i < r->list.count; i++)
            cJSON_AddItemToArray(jobs, job_brief(&r->list.jobs[i], masked, now_ms));
    }
    role_reply(r->id, o);
}

static void on_list_done(struct store_unit *unit, enum store_status status)
{
    struct reading *r = unit->arg;
    if (status == STORE_OK)
        reply_jobs(r);
    else
        control_refuse_store(r->id, status);
    for (size_t i = 0; i < r->list.count; i++)
        store_job_free(&r->list.jobs[i]);
    free(r->list.jobs);
    cJSON_Delete(r->request);
    free(r);
}

static void read_jobs(struct control *c, uint64_t id, const cJSON *request, bool whole)
{
    struct reading *r = xcalloc(1, sizeof *r);
    r->control = c;
    r->id = id;
    r->whole = whole;
    r->request = cJSON_Duplicate(request, true);
    if (!read_filter(id, r->request, &r->list.filter)) {
        cJSON_Delete(r->request);
        free(r);
        return;
    }
    int64_t limit = control_number(request, "limit", LIST_DEFAULT);
    r->list.filter.limit = whole ? 2 : (size_t)(limit < 1 ? 1 : limit > LIST_MOST ? LIST_MOST : limit);
    r->list.unit = (struct store_unit){.kind = STORE_LIST, .done = on_list_done, .arg = r};
    store_submit(c->store, &r->list.unit);
}

static void on_queue_list(struct control *c, uint64_t id, const cJSON *request)
{
    read_jobs(c, id, request, false);
}

static void on_queue_show(struct control *c, uint64_t id, const cJSON *request)
{
    if (control_text(request, "id"))
        read_jobs(c, id, request, true);
    else
        control_refuse(id, "which job?", "give its id, or the first six digits of it");
}

/* ---- changing the queue ---- */

struct handling {
    struct store_by_hand hand;
    struct control *control;
    uint64_t id;
    cJSON *request;
    char who[CONTROL_WHO_MAX], by[CONTROL_WHO_MAX + 3];
};

static void on_hand_done(struct store_unit *unit, enum store_status status)
{
    struct handling *h = unit->arg;
    if (status == STORE_OK) {
        cJSON *o = answer(true);
        cJSON_AddNumberToObject(o, "changed", (double)h->hand.changed);
        role_reply(h->id, o);
        log_info("queue changed by hand", log_str("command", control_text(h->request, "command")),
                 log_str("by", h->who), log_int("jobs", (int64_t)h->hand.changed));
        queue_kick(h->control->queue);
    } else {
        control_refuse_store(h->id, status);
    }
    cJSON_Delete(h->request);
    free(h);
}

static void handle_jobs(struct control *c, uint64_t id, const cJSON *request, enum store_hand hand)
{
    struct handling *h = xcalloc(1, sizeof *h);
    h->control = c;
    h->id = id;
    h->request = cJSON_Duplicate(request, true);
    struct store_filter *f = &h->hand.filter;
    bool good = read_filter(id, h->request, f);
    if (good && !f->id && !f->rule && !f->provider && !f->states) {
        control_refuse(id, "which jobs?", "give an id, a rule, a provider or a state");
        good = false;
    }
    if (!good) {
        cJSON_Delete(h->request);
        free(h);
        return;
    }
    control_who(request, h->who);
    h->hand.hand = hand;
    snprintf(h->by, sizeof h->by, "by %s", h->who);
    h->hand.who = h->by;
    h->hand.unit = (struct store_unit){.kind = STORE_CANCEL, .done = on_hand_done, .arg = h};
    store_submit(c->store, &h->hand.unit);
}

static void on_queue_cancel(struct control *c, uint64_t id, const cJSON *request)
{
    handle_jobs(c, id, request, HAND_CANCEL);
}
static void on_queue_retry(struct control *c, uint64_t id, const cJSON *request)
{
    handle_jobs(c, id, request, HAND_RETRY);
}
static void on_queue_sent(struct control *c, uint64_t id, const cJSON *request)
{
    handle_jobs(c, id, request, HAND_SENT);
}
static void on_queue_drop(struct control *c, uint64_t id, const cJSON *request)
{
    handle_jobs(c, id, request, HAND_DROP);
}

/* ---- lines ---- */

static void move_line(struct control *c, uint64_t id, const cJSON *request,
                      int (*fn)(struct queue *q, const char *provider, const char *who))
{
    char name[CONTROL_WHO_MAX];
    control_who(request, name);
    if (fn(c->queue, control_text(request, "provider"), name))
        control_refuse(id, "no such provider", "bridgebell status lists them");
    else
        role_reply(id, answer(true));
}

static void on_pause(struct control *c, uint64_t id, const cJSON *request)
{
    move_line(c, id, request, queue_pause);
}
static void on_resume(struct control *c, uint64_t id, const cJSON *request)
{
    move_line(c, id, request, queue_resume);
}

/* ---- the rest ---- */

static void on_resync(struct control *c, uint64_t id, const cJSON *request)
{
    const char *bridge = control_text(request, "bridge");
    size_t asked = intake_resync(c->intake, bridge, control_number(request, "since_ms", -1));
    if (!asked) {
        control_refuse(id, bridge ? "no listener of this bridge is connected" : "no listener is connected",
                       "bridgebell status shows the bridges");
        return;
    }
    cJSON *o = answer(true);
    cJSON_AddNumberToObject(o, "listeners", (double)asked);
    role_reply(id, o);
}

/* Nobody sends what waits for a provider that the configuration does not have any more. */
static void add_unknown_providers(struct control *c, const struct store_waiting *waiting, cJSON *queue)
{
    cJSON *list = cJSON_AddArrayToObject(queue, "unknown_providers");
    for (size_t i = 0; i < waiting->count; i++)
        if (!queue_has_provider(c->queue, waiting->names[i]))
            cJSON_AddItemToArray(list, cJSON_CreateString(waiting->names[i]));
}

static void add_store(struct control *c, cJSON *status)
{
    struct store_health h;
    store_health(c->store, &h);
    int64_t now_ms = store_now_ms(c->store);
    cJSON *queue = cJSON_AddObjectToObject(status, "queue");
    for (int i = 0; i < JOB_STATES; i++)
        cJSON_AddNumberToObject(queue, job_state_names[i], (double)h.jobs[i]);
    int64_t waits = h.oldest_due_ms && h.oldest_due_ms < now_ms ? now_ms - h.oldest_due_ms : 0;
    cJSON_AddNumberToObject(queue, "oldest_due_ms", (double)waits);
    add_unknown_providers(c, &h.waiting, queue);
    const struct {
        const char *name;
        double value;
    } rows[] = {
        {"commits", (double)h.commits},
        {"units", (double)h.units},
        {"failed_commits", (double)h.failed_commits},
        {"commit_us", (double)h.commit_us_last},
        {"commit_us_max", (double)h.commit_us_max},
        {"waiting_units", (double)h.queued_units},
        {"bytes", (double)h.db_bytes},
        {"log_bytes", (double)h.wal_bytes},
        {"free_bytes", (double)h.free_bytes},
        {"unread_transactions", (double)h.unread_transactions},
        {"clock_behind_ms", (double)store_clock_behind_ms(c->store)},
    };
    cJSON *store = cJSON_AddObjectToObject(status, "store");
    cJSON_AddBoolToObject(store, "accepting", h.accepting);
    cJSON_AddBoolToObject(store, "was_damaged", h.was_damaged);
    add_text(store, "trouble", h.trouble);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cJSON_AddNumberToObject(store, rows[i].name, rows[i].value);
}

cJSON *control_status(struct control *c)
{
    cJSON *status = answer(true);
    const char *trouble = control_trouble(c);
    cJSON_AddBoolToObject(status, "ready", !trouble);
    add_text(status, "trouble", trouble);
    intake_status(c->intake, status);
    add_store(c, status);
    queue_status(c->queue, status);
    rules_status(c->rules, status);
    rules_noise_status(c->rules, c->store, status);
    silences_status(c->silences, store_now_ms(c->store), status);
    journal_status(c->journal, status);
    return status;
}

static void on_status(struct control *c, uint64_t id, const cJSON *request)
{
    (void)request;
    role_reply(id, control_status(c));
}

const char *control_trouble(struct control *c)
{
    struct store_health h;
    if (c->leaving)
        return "the dispatcher is leaving";
    store_health(c->store, &h);
    if (!h.accepting)
        return h.trouble ? h.trouble : "the store does not accept";
    const char *why = queue_trouble(c->queue);
    return why ? why : intake_trouble(c->intake);
}

static void print_store(struct control *c, struct buf *out)
{
    static const struct metric_def jobs = {"jobs", METRIC_GAUGE, "Jobs in the store by state.", "state"};
    struct store_health h;
    store_health(c->store, &h);
    int64_t now_ms = store_now_ms(c->store);
    metrics_print_head(out, &jobs);
    for (int i = 0; i < JOB_STATES; i++)
        metrics_print_value(out, &jobs, job_state_names[i], NULL, (int64_t)h.jobs[i]);
    int64_t waits = h.oldest_due_ms && h.oldest_due_ms < now_ms ? now_ms - h.oldest_due_ms : 0;
    const struct {
        struct metric_def def;
        int64_t value;
    } rows[] = {
        {{"oldest_due_seconds", METRIC_GAUGE, "How long the oldest due job has waited.", NULL}, waits / 1000},
        {{"ready", METRIC_GAUGE, "1 when /readyz says so.", NULL}, control_trouble(c) == NULL},
        {{"store_accepting", METRIC_GAUGE, "1 while new events are taken.", NULL}, h.accepting},
        {{"store_commits_total", METRIC_COUNTER, "Transactions committed.", NULL}, (int64_t)h.commits},
        {{"store_units_total", METRIC_COUNTER, "Units of work committed.", NULL}, (int64_t)h.units},
        {{"store_failed_commits_total", METRIC_COUNTER, "Transactions that failed.", NULL},
         (int64_t)h.failed_commits},
        {{"store_commit_us", METRIC_GAUGE, "Length of the last commit in microseconds.", NULL},
         (int64_t)h.commit_us_last},
        {{"store_commit_max_us", METRIC_GAUGE, "Longest commit of the last minute.", NULL},
         (int64_t)h.commit_us_max},
        {{"store_waiting_units", METRIC_GAUGE, "Units of work not yet committed.", NULL},
         (int64_t)h.queued_units},
        {{"store_bytes", METRIC_GAUGE, "Size of the database file.", NULL}, (int64_t)h.db_bytes},
        {{"store_log_bytes", METRIC_GAUGE, "Size of the write-ahead log.", NULL}, (int64_t)h.wal_bytes},
        {{"store_free_bytes", METRIC_GAUGE, "Free space where the store is.", NULL}, (int64_t)h.free_bytes},
        {{"log_lines_lost_total", METRIC_COUNTER, "Log lines that could not be written.", NULL},
         (int64_t)log_lost()},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metrics_print_head(out, &rows[i].def);
        metrics_print_value(out, &rows[i].def, NULL, NULL, rows[i].value);
    }
}

void control_metrics(struct control *c, struct buf *out)
{
    intake_metrics(c->intake, out);
    print_store(c, out);
    queue_metrics(c->queue, out);
    rules_metrics(c->rules, out);
    rules_noise_metrics(c->store, out);
    silences_metrics(c->silences, store_now_ms(c->store), out);
    journal_metrics(c->journal, out);
}

/* ---- the table ---- */

static const struct {
    const char *command;
    void (*handle)(struct control *c, uint64_t id, const cJSON *request);
    bool changes;
} commands[] = {
    {"status", on_status, false},
    {"send", control_send, true},
    {"queue-list", on_queue_list, false},
    {"queue-show", on_queue_show, false},
    {"queue-cancel", on_queue_cancel, true},
    {"queue-retry", on_queue_retry, true},
    {"queue-sent", on_queue_sent, true},
    {"queue-drop", on_queue_drop, true},
    {"pause", on_pause, true},
    {"resume", on_resume, true},
    {"resync", on_resync, true},
    {"explain", control_explain, false},
    {"silence-add", control_silence_add, true},
    {"silence-list", control_silence_list, false},
    {"silence-expire", control_silence_expire, true},
    {"optout-add", control_opt_out_add, true},
    {"optout-remove", control_opt_out_remove, true},
    {"optout-list", control_opt_out_list, false},
};

void control_request(struct control *c, uint64_t id, const cJSON *request)
{
    const char *command = control_text(request, "command");
    for (size_t i = 0; command && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(command, commands[i].command) != 0)
            continue;
        if (commands[i].changes && c->leaving)
            control_refuse(id, "the dispatcher is leaving", "try again in a moment");
        else
            commands[i].handle(c, id, request);
        return;
    }
    control_refuse(id, "no such command", NULL);
}
