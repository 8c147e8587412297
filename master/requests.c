#include "master/requests.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/str.h"
#include "master/forward.h"
#include "master/orders.h"
#include "master/reload.h"
#include "master/report.h"
#include "master/shutdown.h"
#include "master/supervise.h"

struct request_row {
    const char *command;
    bool is_reading; /* allowed on status.sock; the others are for control.sock and leave a record */
    void (*handle)(const struct control_request *request);
};

static void pass_on(const struct control_request *request);
static void pass_change_on(const struct control_request *request);
static void give_status(const struct control_request *request);
static void do_reload(const struct control_request *request);
static void do_stop(const struct control_request *request);
static void do_scale(const struct control_request *request);
static void do_reopen(const struct control_request *request);

static const struct request_row rows[] = {
    {"status", true, give_status},
    {"queue-list", true, pass_on},
    {"queue-show", true, pass_on},
    {"queue-cancel", false, pass_change_on},
    {"queue-retry", false, pass_change_on},
    {"queue-sent", false, pass_change_on},
    {"queue-drop", false, pass_change_on},
    {"explain", true, pass_on},
    {"send", false, pass_change_on},
    {"pause", false, pass_change_on},
    {"resume", false, pass_change_on},
    {"resync", false, pass_change_on},
    {"silence-list", true, pass_on},
    {"silence-add", false, pass_change_on},
    {"silence-expire", false, pass_change_on},
    {"optout-list", true, pass_on},
    {"optout-add", false, pass_change_on},
    {"optout-remove", false, pass_change_on},
    {"reload", false, do_reload},
    {"stop", false, do_stop},
    {"scale", false, do_scale},
    {"log-reopen", false, do_reopen},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void refuse(const struct control_request *request, const char *error, const char *hint)
{
    control_answer(request->client, control_refusal(error, hint));
}

static cJSON *good(void)
{
    cJSON *answer = cJSON_CreateObject();
    cJSON_AddBoolToObject(answer, "ok", true);
    return answer;
}

/* ---- what the dispatcher answers ---- */

/* Who asks, and how much may be shown, is ours to say. */
static void stamp(const struct control_request *request)
{
    cJSON_DeleteItemFromObjectCaseSensitive(request->body, "uid");
    cJSON_DeleteItemFromObjectCaseSensitive(request->body, "masked");
    cJSON_AddNumberToObject(request->body, "uid", (double)request->uid);
    cJSON_AddBoolToObject(request->body, "masked", request->door == CONTROL_STATUS);
}

static void pass_on(const struct control_request *request)
{
    stamp(request);
    forward_request(request->client, request->body, false, control_answer);
}

static void pass_change_on(const struct control_request *request)
{
    stamp(request);
    forward_request(request->client, request->body, true, control_answer);
}

static void merge_status(uint64_t client, cJSON *dispatcher)
{
    control_answer(client, report_status(dispatcher));
}

static void give_status(const struct control_request *request)
{
    stamp(request);
    if (supervise_dispatcher())
        forward_request(request->client, request->body, false, merge_status);
    else
        merge_status(request->client, NULL);
}

/* ---- what the master answers ---- */

static void do_reload(const struct control_request *request)
{
    if (shutdown_is_under_way())
        refuse(request, "bridgebell is stopping", NULL);
    else
        reload_request(request->client);
}

static void do_stop(const struct control_request *request)
{
    const cJSON *graceful = cJSON_GetObjectItemCaseSensitive(request->body, "graceful");
    bool is_fast = cJSON_IsFalse(graceful);
    cJSON *answer = good();
    cJSON_AddStringToObject(answer, "way", is_fast ? "fast" : "graceful");
    control_answer(request->client, answer);
    shutdown_begin(is_fast ? SHUTDOWN_FAST : SHUTDOWN_GRACEFUL, 0);
}

/* "+1" and "-1" are relative, 3 and "3" are not. */
static const char *scale(const cJSON *senders)
{
    if (cJSON_IsNumber(senders))
        return orders_scale(senders->valueint);
    if (!cJSON_IsString(senders))
        return "\"senders\" is missing";
    char *end;
    const char *text = senders->valuestring;
    long number = strtol(text, &end, 10);
    if (end == text || *end)
        return "\"senders\" is a number, +N or -N";
    if (number < -CREW_SENDERS_MAX || number > CREW_SENDERS_MAX)
        return "the number of senders is 0 to 64";
    return text[0] == '+' || text[0] == '-' ? orders_scale_by((int)number) : orders_scale(number);
}

static void do_scale(const struct control_request *request)
{
    const char *why = scale(cJSON_GetObjectItemCaseSensitive(request->body, "senders"));
    if (why) {
        refuse(request, why, NULL);
        return;
    }
    cJSON *answer = good();
    cJSON_AddNumberToObject(answer, "senders", orders_senders());
    control_answer(request->client, answer);
}

static void do_reopen(const struct control_request *request)
{
    orders_reopen_logs();
    control_answer(request->client, good());
}

/* ---- the door ---- */

static const char *text_of(const struct control_request *request, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request->body, name));
}

static void audit(const struct control_request *request, bool is_allowed)
{
    log_write(is_allowed ? LOG_INFO : LOG_WARN, is_allowed ? "command" : "command refused",
              log_str("command", request->command), log_int("uid", (int64_t)request->uid),
              log_int("pid", request->pid), log_str("id", text_of(request, "id")),
              log_str("rule", text_of(request, "rule")), log_str("state", text_of(request, "state")),
              log_str("provider", text_of(request, "provider")),
              log_str("bridge", text_of(request, "bridge")), log_str("senders", text_of(request, "senders")),
              LOG_END);
}

static const struct request_row *find_row(const char *command)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].command, command) == 0)
            return &rows[i];
    return NULL;
}

static void refuse_unknown(const struct control_request *request)
{
    const char *words[ROWS + 1] = {NULL};
    for (size_t i = 0; i < ROWS; i++)
        words[i] = rows[i].command;
    const char *nearest = str_nearest(request->command, words);
    refuse(request, "no such command", nearest);
}

void requests_handle(const struct control_request *request)
{
    const struct request_row *row = find_row(request->command);
    if (!row) {
        refuse_unknown(request);
        return;
    }
    bool is_allowed = row->is_reading || request->door == CONTROL_FULL;
    if (!row->is_reading)
        audit(request, is_allowed);
    if (is_allowed)
        row->handle(request);
    else
        refuse(request, "this socket is for looking only",
               "control.sock takes commands that change something");
}
