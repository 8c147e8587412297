#include "master/report.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "master/reload.h"
#include "master/supervise.h"

static struct {
    char *file, *runtime_dir;
    uint64_t started_ms;
} report;

void report_free(void)
{
    free(report.file);
    free(report.runtime_dir);
    report.file = report.runtime_dir = NULL;
}

void report_setup(const char *file, const char *runtime_dir)
{
    report_free();
    report.file = xstrdup(file);
    report.runtime_dir = xstrdup(runtime_dir);
    report.started_ms = clock_mono_ms();
}

static void add_text(cJSON *object, const char *name, const char *text)
{
    if (text)
        cJSON_AddStringToObject(object, name, text);
}

static cJSON *slot_json(const struct slot *slot, uint64_t now_ms)
{
    cJSON *one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "role", process_kind_names[slot->kind]);
    cJSON_AddStringToObject(one, "name", slot->name);
    cJSON_AddNumberToObject(one, "pid", slot->pid);
    cJSON_AddStringToObject(one, "state", slot_state_names[slot->state]);
    add_text(one, "detail", slot->detail);
    add_text(one, "reason", slot->reason);
    cJSON_AddNumberToObject(one, "since_ms", (double)(now_ms - slot->since_ms));
    cJSON_AddNumberToObject(one, "restarts", slot->restarts);
    cJSON_AddNumberToObject(one, "generation", (double)slot->generation);
    if (slot->state == SLOT_WAITING)
        cJSON_AddNumberToObject(one, "next_start_ms",
                                slot->next_start_ms > now_ms ? (double)(slot->next_start_ms - now_ms) : 0);
    return one;
}

static cJSON *processes_json(void)
{
    cJSON *list = cJSON_CreateArray();
    uint64_t now_ms = clock_mono_ms();
    struct crew *crew;
    cJSON *own = cJSON_CreateObject();
    cJSON_AddStringToObject(own, "role", "master");
    cJSON_AddStringToObject(own, "name", "");
    cJSON_AddNumberToObject(own, "pid", getpid());
    cJSON_AddStringToObject(own, "state", "running");
    add_text(own, "detail", supervise_activity() ? supervise_activity()->name : NULL);
    cJSON_AddNumberToObject(own, "since_ms", (double)(now_ms - report.started_ms));
    cJSON_AddNumberToObject(own, "restarts", 0);
    cJSON_AddNumberToObject(own, "generation", 0);
    cJSON_AddItemToArray(list, own);
    for (size_t i = 0; (crew = supervise_at(i)); i++)
        for (size_t j = 0; j < crew->count; j++)
            if (!slot_is_empty(crew->slots[j]) || crew == supervise_crew())
                cJSON_AddItemToArray(list, slot_json(crew->slots[j], now_ms));
    return list;
}

static cJSON *config_json(void)
{
    cJSON *config = cJSON_CreateObject();
    char loaded_at[25];
    cJSON_AddStringToObject(config, "file", report.file);
    if (supervise_crew()) {
        clock_format(supervise_crew()->loaded_ms, loaded_at);
        cJSON_AddStringToObject(config, "loaded_at", loaded_at);
    }
    if (reload_last())
        cJSON_AddItemToObject(config, "reload", cJSON_Duplicate(reload_last(), true));
    return config;
}

static void merge(cJSON *status, cJSON *dispatcher)
{
    cJSON *member;
    while ((member = dispatcher->child)) {
        cJSON_DetachItemViaPointer(dispatcher, member);
        if (cJSON_HasObjectItem(status, member->string))
            cJSON_Delete(member);
        else
            cJSON_AddItemToObject(status, member->string, member);
    }
}

cJSON *report_status(cJSON *dispatcher)
{
    cJSON *status = cJSON_CreateObject();
    cJSON_AddBoolToObject(status, "ok", true);
    cJSON_AddStringToObject(status, "version", BRIDGEBELL_VERSION);
    cJSON_AddStringToObject(status, "runtime_dir", report.runtime_dir);
    cJSON_AddNumberToObject(status, "pid", getpid());
    cJSON_AddNumberToObject(status, "uptime_ms", (double)(clock_mono_ms() - report.started_ms));
    cJSON_AddNumberToObject(status, "log_lines_lost", (double)log_lost());
    cJSON_AddItemToObject(status, "config", config_json());
    cJSON_AddItemToObject(status, "processes", processes_json());
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(dispatcher, "ok"))) {
        merge(status, dispatcher);
    } else {
        const char *why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(dispatcher, "error"));
        cJSON *missing = cJSON_AddArrayToObject(status, "missing");
        cJSON_AddItemToArray(missing, cJSON_CreateString("dispatcher"));
        cJSON_AddStringToObject(status, "missing_reason", why ? why : "the dispatcher is not running");
    }
    cJSON_Delete(dispatcher);
    return status;
}
