/* `bridgebell explain`: the whole decision on one event. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/str.h"
#include "master/client.h"
#include "master/commands.h"
#include "master/explain_view.h"
#include "master/json.h"
#include "master/tools.h"

enum {
    ID_MIN = 6,
    ID_MAX = 32,
    LIVE_EVENT_MAX = 60 * 1024,
    MEMBERS_EVERY_MS = 50,
    MEMBERS_LIMIT_MS = 3000,
};

const struct option_row explain_options[] = {
    OPTIONS_CLIENT,
    {"numbers", 'n', NULL, "show whole numbers"},
    {"bridge", 'b', "NAME", "bridge of a notification (default: the first)"},
    {"offline", 'o', NULL, "do not ask the running dispatcher: decide with empty counters"},
    {"without-silences", 'w', NULL, "offline: leave out the silences and opt-outs of the store"},
    {"json", 'j', NULL, "one JSON object"},
    {0},
};

struct inquiry {
    const struct arguments *arguments;
    struct handovers slices;
    bool live;          /* the dispatcher is asked */
    char *event;        /* a line of the journal; NULL: not found */
    cJSON *job;         /* NULL: no job was asked for */
    cJSON *explanation; /* NULL: there is no event to explain */
};

/* ---- the running dispatcher ---- */

static enum control_door door_of(const struct inquiry *q)
{
    return client_may_use(q->arguments, CONTROL_FULL) ? CONTROL_FULL : CONTROL_STATUS;
}

static cJSON *ask(const struct inquiry *q, cJSON *request)
{
    struct client_line *line = client_open(q->arguments, door_of(q));
    if (!line) {
        cJSON_Delete(request);
        return NULL;
    }
    cJSON *answer = client_ask(line, request, CLIENT_LIMIT_MS);
    client_close(&line);
    return answer;
}

static int explain_once(struct inquiry *q, bool look_up)
{
    const char *bridge = options_get(q->arguments, "bridge");
    cJSON *request = client_request("explain");
    cJSON_AddStringToObject(request, "event", q->event);
    if (bridge)
        cJSON_AddStringToObject(request, "bridge", bridge);
    cJSON_AddBoolToObject(request, "numbers", options_has(q->arguments, "numbers"));
    cJSON_AddBoolToObject(request, "look_up", look_up);
    cJSON *answer = ask(q, request);
    bool good = answer && client_is_good(answer);
    if (good) {
        cJSON_Delete(q->explanation);
        q->explanation = cJSON_DetachItemFromObject(answer, "explanation");
    }
    cJSON_Delete(answer);
    return good ? COMMAND_FINE : COMMAND_FAILED;
}

/* Members that are looked up now are known a moment later; a listener that has just started is to be asked
 * again. */
static int explain_live(struct inquiry *q)
{
    int code = explain_once(q, true);
    bool asked = json_flag(q->explanation, "looked_up");
    uint64_t end_ms = clock_mono_ms() + MEMBERS_LIMIT_MS;
    while (code == COMMAND_FINE && json_flag(q->explanation, "waits") && clock_mono_ms() < end_ms) {
        poll(NULL, 0, MEMBERS_EVERY_MS);
        code = explain_once(q, !asked);
        asked = asked || json_flag(q->explanation, "looked_up");
    }
    return code;
}

static void mask_number(cJSON *job)
{
    char masked[48];
    const char *to = json_text(job, "to");
    if (to[0])
        cJSON_ReplaceItemInObjectCaseSensitive(
            job, "to", cJSON_CreateString(str_mask_number(to, masked, sizeof masked)));
}

/* The job whose id begins with ID, if there is one. The dispatcher shows its owner whole numbers. */
static int find_job_live(struct inquiry *q, const char *id)
{
    cJSON *request = client_request("queue-show");
    cJSON_AddStringToObject(request, "id", id);
    cJSON *answer = ask(q, request);
    bool none = strcmp(json_text(answer, "error"), "no such job") == 0;
    bool good = answer && (none || client_is_good(answer));
    if (good && !none)
        q->job = cJSON_DetachItemFromObject(answer, "job");
    if (q->job && !options_has(q->arguments, "numbers"))
        mask_number(q->job);
    cJSON_Delete(answer);
    return good ? COMMAND_FINE : COMMAND_FAILED;
}

/* ---- tools ---- */

static void take_line(void *arg, const cJSON *line)
{
    struct inquiry *q = arg;
    const char *what = json_text(line, "what");
    if (strcmp(what, "event") == 0 && !q->event)
        q->event = xstrdup(json_text(line, "line"));
    else if (strcmp(what, "job") == 0 && !q->job)
        q->job = cJSON_Duplicate(json_member(line, "job"), true);
    else if (strcmp(what, "explanation") == 0)
        q->explanation = cJSON_Duplicate(json_member(line, "explanation"), true);
}

static int run_tool(struct inquiry *q, const char *tool, const char *id, const char *file)
{
    struct tool_words words = {0};
    tool_option(&words, "--rules", command_config(q->arguments));
    tool_option(&words, "--bridge", options_get(q->arguments, "bridge"));
    tool_option(&words, "--id", id);
    if (!options_has(q->arguments, "without-silences"))
        tool_option(&words, "--store", command_config(q->arguments));
    tool_option(&words, "--numbers", options_has(q->arguments, "numbers") ? "1" : NULL);
    if (file) {
        tool_word(&words, "--");
        tool_word(&words, file);
    }
    const char *input = strcmp(tool, "explain") == 0 ? q->event : NULL;
    int code = tools_run(tool, &words, &q->slices, input, take_line, q);
    tool_words_free(&words);
    return code;
}

/* ---- finding the event ---- */

static bool is_id(const char *word)
{
    size_t len = strlen(word);
    return len >= ID_MIN && len <= ID_MAX && strspn(word, "0123456789abcdefABCDEF") == len;
}

/* A job's id, or an event's key. The journal may know it where the store cannot be read. */
static int find_by_id(struct inquiry *q, const char *id)
{
    int job = q->live ? find_job_live(q, id) : run_tool(q, "job", id, NULL);
    if (job == COMMAND_FAILED && q->live)
        return job;
    int code = run_tool(q, "event", q->job ? json_text(q->job, "event") : id, NULL);
    if (code != TOOLS_NOTHING)
        return code;
    if (q->job)
        return COMMAND_FINE;
    if (job == COMMAND_FAILED)
        return command_fail("no event of the journal begins with \"%s\"", id);
    command_fail("neither a job nor an event of the journal begins with \"%s\"", id);
    return code;
}

static int find(struct inquiry *q, const char *word)
{
    if (strcmp(word, "-") == 0 || access(word, F_OK) == 0)
        return run_tool(q, "event", NULL, word);
    if (is_id(word))
        return find_by_id(q, word);
    return command_misuse("\"%.60s\" is neither a file nor an id of six or more hexadecimal digits", word);
}

static int explain(struct inquiry *q)
{
    if (!q->event)
        return COMMAND_FINE;
    if (q->live && strlen(q->event) <= LIVE_EVENT_MAX)
        return explain_live(q);
    return run_tool(q, "explain", NULL, NULL);
}

static void show(const struct inquiry *q)
{
    if (!options_has(q->arguments, "json")) {
        explain_view(stdout, q->job, q->explanation);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    if (q->job)
        cJSON_AddItemReferenceToObject(o, "job", q->job);
    if (q->explanation)
        cJSON_AddItemReferenceToObject(o, "explanation", q->explanation);
    char *text = cJSON_PrintUnformatted(o);
    puts(text ? text : "{}");
    cJSON_free(text);
    cJSON_Delete(o);
}

int explain_command(const struct arguments *arguments)
{
    struct inquiry q = {.arguments = arguments};
    if (tools_load(&q.slices, command_config(arguments)))
        return COMMAND_FAILED;
    q.live = !options_has(arguments, "offline") && client_is_running(arguments);
    int code = find(&q, arguments->words[0]);
    if (code == COMMAND_FINE)
        code = explain(&q);
    if (code == COMMAND_FINE)
        show(&q);
    cJSON_Delete(q.job);
    cJSON_Delete(q.explanation);
    free(q.event);
    handover_free(&q.slices);
    return code;
}
