#include "master/alarms.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/str.h"
#include "master/json.h"

enum { TEXT_SIZE = 600, CLOCK_BEHIND_MS = 60000, LOOK_UP_S = 300 };

struct sink {
    void (*fn)(void *arg, const char *what, const char *do_next);
    void *arg;
    bool is_quiet; /* nothing was raised yet */
};

static void raise_alarm(struct sink *sink, const char *do_next, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void raise_alarm(struct sink *sink, const char *do_next, const char *format, ...)
{
    char what[TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    sink->is_quiet = false;
    sink->fn(sink->arg, what, do_next);
}

/* "sender 2" */
static const char *named(const cJSON *process, char *out, size_t size)
{
    const char *name = json_text(process, "name");
    snprintf(out, size, "%s%s%s", json_text(process, "role"), name[0] ? " " : "", name);
    return out;
}

static void look_at_process(struct sink *sink, const cJSON *process)
{
    char name[128], in[32];
    const char *state = json_text(process, "state"), *reason = json_text(process, "reason");
    named(process, name, sizeof name);
    if (strcmp(state, "halted") == 0) {
        raise_alarm(sink, "change what it names, then \"bridgebell reload\"", "%s has stopped for good: %s",
                    name, reason);
    } else if (strcmp(state, "waiting") == 0) {
        str_duration((int64_t)json_number(process, "next_start_ms"), in, sizeof in);
        raise_alarm(sink, "the log says why", "%s: %s; it is started again in %s", name, reason, in);
    }
}

static void look_at_processes(struct sink *sink, const cJSON *status)
{
    const cJSON *process;
    if (json_member(status, "missing"))
        raise_alarm(sink, "see the processes below and the log", "nothing is known of events and queue: %s",
                    json_text(status, "missing_reason"));
    cJSON_ArrayForEach(process, json_member(status, "processes")) look_at_process(sink, process);
}

static void look_at_store(struct sink *sink, const cJSON *status)
{
    const cJSON *store = json_member(status, "store");
    const char *trouble = json_text(store, "trouble");
    if (trouble[0])
        raise_alarm(sink, "make room on the store's disk, or mend it; what waits is not lost",
                    "no events are taken: %s", trouble);
    if (json_flag(store, "was_damaged"))
        raise_alarm(sink, "the damaged file was set aside; see docs/operations.md",
                    "the store was damaged (%.0f "
                    "transactions could not be read)",
                    json_number(store, "unread_transactions"));
    if (json_number(store, "clock_behind_ms") > CLOCK_BEHIND_MS)
        raise_alarm(sink, "set the clock; messages of unknown outcome wait until then",
                    "this machine's clock is behind by %.0f s", json_number(store, "clock_behind_ms") / 1000);
}

static void look_at_line(struct sink *sink, const cJSON *line)
{
    const char *state = json_text(line, "state"), *name = json_text(line, "provider");
    const char *reason = json_text(line, "reason");
    char in[32];
    if (strcmp(state, "held") == 0)
        raise_alarm(sink, "\"bridgebell resume\" sends what waits", "%s is paused by %s", name,
                    reason[0] ? reason : "the operator");
    if (strcmp(state, "paused") == 0)
        raise_alarm(sink, "", "%s is paused for %s: %s", name,
                    str_duration((int64_t)json_number(line, "for_ms"), in, sizeof in), reason);
    if (strcmp(state, "stopped") == 0) {
        char next[160];
        snprintf(next, sizeof next, "mend the account, then \"bridgebell resume\"; it is tried again in %s",
                 str_duration((int64_t)json_number(line, "probe_in_ms"), in, sizeof in));
        char code[32] = "";
        if (!strstr(reason, "(code "))
            snprintf(code, sizeof code, " (code %.0f)", json_number(line, "code"));
        raise_alarm(sink, next, "%s is stopped: %s%s", name, reason, code);
    }
}

static void look_at_bridges(struct sink *sink, const cJSON *status)
{
    const cJSON *bridge;
    cJSON_ArrayForEach(bridge, json_member(status, "bridges")) if (!json_flag(bridge, "connected"))
        raise_alarm(sink, "its listener's log lines say why", "bridge %s is not subscribed: %s",
                    json_text(bridge, "name"), json_text(bridge, "state"));
}

static const struct {
    const char *state, *what, *do_next;
} waiting_for_a_person[] = {
    {"uncertain", "may or may not have been sent",
     "\"bridgebell queue ls --state uncertain\", then retry, sent or drop"},
    {"dead", "refused for good", "\"bridgebell queue ls --state dead\" shows the provider's words"},
    {"damaged", "damaged in the store", "\"bridgebell queue ls --state damaged\" names them"},
};

static void look_at_queue(struct sink *sink, const cJSON *status)
{
    const cJSON *queue = json_member(status, "queue");
    for (size_t i = 0; i < sizeof waiting_for_a_person / sizeof waiting_for_a_person[0]; i++) {
        double count = json_number(queue, waiting_for_a_person[i].state);
        if (count > 0)
            raise_alarm(sink, waiting_for_a_person[i].do_next, "%.0f message%s %s", count,
                        count == 1 ? "" : "s", waiting_for_a_person[i].what);
    }
    const cJSON *name;
    cJSON_ArrayForEach(name, json_member(queue, "unknown_providers")) if (cJSON_IsString(name))
        raise_alarm(sink, "give it back, or \"bridgebell queue cancel --provider …\"",
                    "messages wait for the provider %s, which is not configured", name->valuestring);
}

static void look_at_rules(struct sink *sink, const cJSON *status)
{
    const cJSON *rule;
    cJSON_ArrayForEach(rule, json_member(status, "rules")) if (json_number(rule, "errors") > 0)
        raise_alarm(sink, "guard the condition, or correct it", "rule %s failed on %.0f events: %s",
                    json_text(rule, "name"), json_number(rule, "errors"), json_text(rule, "last_error"));
}

static void look_at_people(struct sink *sink, const cJSON *status)
{
    const cJSON *directory = json_member(status, "directory"), *waiting = json_member(status, "waiting");
    const char *trouble = json_text(directory, "trouble");
    char since[32];
    if (trouble[0])
        raise_alarm(sink, "\"bridgebell check\" lists every fault; it is read again when it changes",
                    "the directory cannot be read, the people of before stay: %s", trouble);
    if (json_number(waiting, "events") > 0 && json_number(waiting, "oldest_s") >= LOOK_UP_S)
        raise_alarm(sink, "can the Bridge be asked? The log of its listener says why not",
                    "%.0f events wait for the members of their containers, the oldest for %s",
                    json_number(waiting, "events"),
                    str_duration((int64_t)json_number(waiting, "oldest_s") * 1000, since, sizeof since));
}

static void look_at_budgets(struct sink *sink, const cJSON *status)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, json_member(status, "budget_warnings"))
    {
        double limit = json_number(one, "limit");
        raise_alarm(sink, "\"bridgebell status\" shows what rings; the limit is in the configuration",
                    "%.0f%% of a budget is spent: %s",
                    limit > 0 ? json_number(one, "used") * 100 / limit : 100, json_text(one, "budget"));
    }
}

static void look_at_config(struct sink *sink, const cJSON *status)
{
    const cJSON *reload = json_member(json_member(status, "config"), "reload");
    if (cJSON_IsObject(reload) && !json_flag(reload, "ok"))
        raise_alarm(sink, "\"bridgebell check\" lists the faults; the old configuration is in force",
                    "the last reload (%s) failed: %s", json_text(reload, "at"), json_text(reload, "error"));
}

void alarms_each(const cJSON *status, void (*fn)(void *arg, const char *what, const char *do_next), void *arg)
{
    struct sink sink = {fn, arg, true};
    const cJSON *line;
    look_at_processes(&sink, status);
    look_at_store(&sink, status);
    cJSON_ArrayForEach(line, json_member(status, "lines")) look_at_line(&sink, line);
    look_at_bridges(&sink, status);
    look_at_queue(&sink, status);
    look_at_rules(&sink, status);
    look_at_people(&sink, status);
    look_at_config(&sink, status);
    /* What keeps /readyz from 200 and has no words of its own above. */
    if (sink.is_quiet && json_text(status, "trouble")[0])
        raise_alarm(&sink, "see the processes below and the log", "not ready: %s",
                    json_text(status, "trouble"));
    look_at_budgets(&sink, status);
}
