/* `bridgebell queue`: looking at jobs and moving them by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "master/client.h"
#include "master/commands.h"
#include "master/json.h"
#include "master/table.h"

enum { SHORT_ID = 10 };

const struct option_row queue_options[] = {
    OPTIONS_CLIENT,
    {"state", 's', "STATE", "only jobs in this state (several with commas between)"},
    {"rule", 'r', "RULE", "only jobs of this rule"},
    {"provider", 'p', "NAME", "only jobs that go by this provider"},
    {"limit", 'n', "N", "ls: at most so many of each state (default 50)"},
    {"json", 'j', NULL, "the answer as it is, one JSON object"},
    {0},
};

static int print_json(const cJSON *answer)
{
    char *text = cJSON_PrintUnformatted(answer);
    puts(text ? text : "{}");
    cJSON_free(text);
    return COMMAND_FINE;
}

/* ---- one request for each state ---- */

/* The request for STATE (NULL: any). */
static cJSON *compose(const struct arguments *arguments, const char *command, const char *state)
{
    cJSON *request = client_request(command);
    static const char *const filters[] = {"rule", "provider"};
    const char *limit = options_get(arguments, "limit");
    if (arguments->words_count > 1)
        cJSON_AddStringToObject(request, "id", arguments->words[1]);
    if (state)
        cJSON_AddStringToObject(request, "state", state);
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        if (options_has(arguments, filters[i]))
            cJSON_AddStringToObject(request, filters[i], options_get(arguments, filters[i]));
    if (limit)
        cJSON_AddNumberToObject(request, "limit", (double)strtol(limit, NULL, 10));
    return request;
}

/* Calls TAKE with the answer for each state that is asked for; stops at the first that is not good. */
static int for_each_state(const struct arguments *arguments, enum control_door door, const char *command,
                          void (*take)(void *arg, const cJSON *answer), void *arg)
{
    const char *given = options_get(arguments, "state");
    char *states = given ? xstrdup(given) : NULL;
    char *rest = states;
    int code = COMMAND_FINE;
    do {
        const char *state = states ? strsep(&rest, ",") : NULL;
        cJSON *answer = client_call(arguments, door, compose(arguments, command, state), CLIENT_LIMIT_MS);
        if (answer)
            take(arg, answer);
        else
            code = COMMAND_FAILED;
        cJSON_Delete(answer);
    } while (rest && code == COMMAND_FINE);
    free(states);
    return code;
}

/* ---- ls ---- */

static void take_jobs(void *arg, const cJSON *answer)
{
    cJSON *all = arg, *job;
    cJSON *jobs = json_member(answer, "jobs");
    while ((job = cJSON_DetachItemFromArray(jobs, 0)))
        cJSON_AddItemToArray(all, job);
}

static enum text_colour colour_of(const char *state)
{
    if (strcmp(state, "dead") == 0 || strcmp(state, "uncertain") == 0 || strcmp(state, "damaged") == 0)
        return TEXT_RED;
    return strcmp(state, "sent") == 0 || strcmp(state, "delivered") == 0 ? TEXT_GREEN : TEXT_PLAIN;
}

static void add_job(struct table *t, const cJSON *job)
{
    char id[SHORT_ID + 1], age[32], due[32];
    const char *state = json_text(job, "state");
    snprintf(id, sizeof id, "%s", json_text(job, "id"));
    table_cell(t, id);
    table_cell_coloured(t, state, colour_of(state));
    table_cell(t, str_duration((int64_t)json_number(job, "age_ms"), age, sizeof age));
    table_cell(t, json_text(job, "to"));
    table_cell(t, json_text(job, "rule"));
    table_cell_number(t, json_number(job, "attempt"));
    double due_in_ms = json_number(job, "due_in_ms");
    table_cell(t, due_in_ms > 0 ? str_duration((int64_t)due_in_ms, due, sizeof due) : "");
    table_cell(t, json_text(job, "reason"));
}

static void print_jobs(const cJSON *jobs)
{
    static const char *const heads[] = {"id",   "state",    ">age",    ">to",
                                        "rule", ">attempt", ">due in", "reason"};
    struct table *t = table_new(heads, sizeof heads / sizeof heads[0]);
    const cJSON *job;
    cJSON_ArrayForEach(job, jobs) add_job(t, job);
    if (table_rows(t))
        table_print(t, stdout, 0, text_terminal_width(stdout), text_wants_colour(stdout));
    else
        puts("no such jobs");
    table_free(&t);
}

static int list(const struct arguments *arguments)
{
    cJSON *all = cJSON_CreateObject();
    cJSON_AddBoolToObject(all, "ok", true);
    cJSON *jobs = cJSON_AddArrayToObject(all, "jobs");
    int code = for_each_state(arguments, CONTROL_STATUS, "queue-list", take_jobs, jobs);
    if (code == COMMAND_FINE && options_has(arguments, "json"))
        print_json(all);
    else if (code == COMMAND_FINE)
        print_jobs(jobs);
    cJSON_Delete(all);
    return code;
}

/* ---- show ---- */

static void print_member(const cJSON *member)
{
    char number[48];
    char *text = NULL;
    if (cJSON_IsString(member))
        text = text_clean(member->valuestring, TEXT_ONE_LINE);
    else if (cJSON_IsNumber(member) && member->valuedouble < 1e15 && member->valuedouble > -1e15 &&
             member->valuedouble == (double)(int64_t)member->valuedouble)
        text = xstrdup(text_number(member->valuedouble, number, sizeof number));
    else if (cJSON_IsNumber(member))
        text = xasprintf("%g", member->valuedouble);
    else
        text = xstrdup(cJSON_IsTrue(member) ? "yes" : "no");
    printf("%-16s %s\n", member->string, text);
    free(text);
}

static int show(const struct arguments *arguments)
{
    /* Numbers and texts are shown to those who may use the other socket. */
    enum control_door door = client_may_use(arguments, CONTROL_FULL) ? CONTROL_FULL : CONTROL_STATUS;
    cJSON *answer = client_call(arguments, door, compose(arguments, "queue-show", NULL), CLIENT_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    const cJSON *member;
    if (options_has(arguments, "json"))
        print_json(answer);
    else
        cJSON_ArrayForEach(member, json_member(answer, "job")) print_member(member);
    cJSON_Delete(answer);
    return COMMAND_FINE;
}

/* ---- changing ---- */

static void take_changed(void *arg, const cJSON *answer)
{
    *(double *)arg += json_number(answer, "changed");
}

static int change(const struct arguments *arguments, const char *command, const char *done)
{
    double changed = 0;
    char number[48];
    int code = for_each_state(arguments, CONTROL_FULL, command, take_changed, &changed);
    if (code != COMMAND_FINE)
        return code;
    if (options_has(arguments, "json"))
        printf("{\"ok\":true,\"changed\":%.0f}\n", changed);
    else
        printf("%s job%s %s\n", text_number(changed, number, sizeof number), changed == 1 ? "" : "s", done);
    if (changed == 0 && arguments->words_count > 1)
        return command_fail(
            "no job whose id begins with \"%.40s\" is in a state for that; \"bridgebell queue show\" "
            "tells its state",
            arguments->words[1]);
    return COMMAND_FINE;
}

static int cancel(const struct arguments *arguments)
{
    return change(arguments, "queue-cancel", "cancelled");
}

static int retry(const struct arguments *arguments)
{
    return change(arguments, "queue-retry", "queued again");
}

static int sent(const struct arguments *arguments)
{
    return change(arguments, "queue-sent", "recorded as sent");
}

static int drop(const struct arguments *arguments)
{
    return change(arguments, "queue-drop", "dropped");
}

/* ---- which ---- */

enum needs { NEEDS_NOTHING, NEEDS_ID, NEEDS_ID_OR_FILTER };

static const struct {
    const char *name;
    enum needs needs;
    int (*run)(const struct arguments *arguments);
} verbs[] = {
    {"ls", NEEDS_NOTHING, list},
    {"list", NEEDS_NOTHING, list},
    {"show", NEEDS_ID, show},
    {"cancel", NEEDS_ID_OR_FILTER, cancel},
    {"retry", NEEDS_ID_OR_FILTER, retry},
    {"sent", NEEDS_ID, sent},
    {"drop", NEEDS_ID_OR_FILTER, drop},
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

static bool is_limit_good(const struct arguments *arguments)
{
    const char *limit = options_get(arguments, "limit");
    return !limit || (*limit && strspn(limit, "0123456789") == strlen(limit) && strlen(limit) < 7);
}

static int run_verb(size_t index, const struct arguments *arguments)
{
    bool has_id = arguments->words_count > 1;
    bool has_filter = options_has(arguments, "state") || options_has(arguments, "rule") ||
                      options_has(arguments, "provider");
    const char *name = verbs[index].name;
    if (!is_limit_good(arguments))
        return command_misuse("--limit is a number, not \"%.40s\"", options_get(arguments, "limit"));
    if (verbs[index].needs == NEEDS_NOTHING && has_id)
        return command_misuse("\"queue %s\" takes no id; \"queue show %.40s\" shows one job", name,
                              arguments->words[1]);
    if (verbs[index].needs == NEEDS_ID && !has_id)
        return command_misuse("\"queue %s\" needs the id of a job", name);
    if (verbs[index].needs == NEEDS_ID_OR_FILTER && !has_id && !has_filter)
        return command_misuse("\"queue %s\" needs an id, --state, --rule or --provider", name);
    return verbs[index].run(arguments);
}

int queue_command(const struct arguments *arguments)
{
    const char *words[VERBS + 1] = {NULL};
    for (size_t i = 0; i < VERBS; i++) {
        words[i] = verbs[i].name;
        if (strcmp(verbs[i].name, arguments->words[0]) == 0)
            return run_verb(i, arguments);
    }
    const char *nearest = str_nearest(arguments->words[0], words);
    if (nearest)
        return command_misuse("there is no \"queue %.40s\"; did you mean \"%s\"?", arguments->words[0],
                              nearest);
    return command_misuse("there is no \"queue %.40s\"", arguments->words[0]);
}
