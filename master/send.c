/* `bridgebell send`: a message of the operator's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "master/client.h"
#include "master/commands.h"
#include "master/json.h"
#include "master/text.h"

enum { NUMBER_MAX = 64, MESSAGE_MAX = 64 * 1024, WAIT_LIMIT_MS = 120000, LOOK_AGAIN_MS = 100 };

const struct option_row send_options[] = {
    OPTIONS_CLIENT,
    {"to", 't', "NUMBER", "with country code, as in +48500500500; may be given several times; - reads them"},
    {"message", 'm', "TEXT", "the text; - reads it from standard input"},
    {"from", 'f', "NAME", "sender name (default: the provider's)"},
    {"provider", 0, "NAME", "provider (default: the first)"},
    {"wait", 'w', NULL, "wait until it is sent, and say how it ended"},
    {0},
};

/* Numbers, one a line, up to an empty line or the end. */
static void read_numbers(cJSON *to)
{
    char line[NUMBER_MAX];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!line[0])
            break;
        cJSON_AddItemToArray(to, cJSON_CreateString(line));
    }
}

/* The rest of standard input without the last line feed; NULL if it is too long. */
static char *read_message(void)
{
    char *text = xmalloc(MESSAGE_MAX + 1);
    size_t len = fread(text, 1, MESSAGE_MAX + 1, stdin);
    if (len > MESSAGE_MAX) {
        free(text);
        return NULL;
    }
    if (len && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    return text;
}

static cJSON *numbers(const struct arguments *arguments)
{
    cJSON *to = cJSON_CreateArray();
    const char *number;
    for (size_t i = 0; (number = options_get_nth(arguments, "to", i)); i++) {
        if (strcmp(number, "-") == 0)
            read_numbers(to);
        else
            cJSON_AddItemToArray(to, cJSON_CreateString(number));
    }
    return to;
}

/* NULL after saying what is missing. */
static cJSON *compose(const struct arguments *arguments)
{
    const char *given = options_get(arguments, "message");
    if (!given || !options_has(arguments, "to")) {
        command_misuse("\"send\" needs --to and --message");
        return NULL;
    }
    cJSON *to = numbers(arguments);
    char *message = strcmp(given, "-") == 0 ? read_message() : xstrdup(given);
    if (!message || cJSON_GetArraySize(to) == 0) {
        command_misuse(message ? "there is no number on standard input"
                               : "the text on standard input is too long");
        cJSON_Delete(to);
        free(message);
        return NULL;
    }
    cJSON *request = client_request("send");
    cJSON_AddItemToObject(request, "to", to);
    cJSON_AddStringToObject(request, "message", message);
    free(message);
    const char *from = options_get(arguments, "from"), *provider = options_get(arguments, "provider");
    if (from)
        cJSON_AddStringToObject(request, "from", from);
    if (provider)
        cJSON_AddStringToObject(request, "provider", provider);
    return request;
}

/* ---- waiting for the end ---- */

static bool is_final(const char *state)
{
    static const char *const on_the_way[] = {"queued", "leased", "held"};
    for (size_t i = 0; i < sizeof on_the_way / sizeof on_the_way[0]; i++)
        if (strcmp(state, on_the_way[i]) == 0)
            return false;
    return true;
}

/* The job once it has ended; NULL after saying what is wrong. */
static cJSON *follow(const struct arguments *arguments, const char *id)
{
    uint64_t end_ms = clock_mono_ms() + WAIT_LIMIT_MS;
    for (;;) {
        cJSON *request = client_request("queue-show");
        cJSON_AddStringToObject(request, "id", id);
        cJSON *answer = client_call(arguments, CONTROL_FULL, request, CLIENT_LIMIT_MS);
        const cJSON *job = json_member(answer, "job");
        if (!answer || is_final(json_text(job, "state")))
            return answer;
        if (clock_mono_ms() > end_ms) {
            command_fail("%s is still %s after %d s; it goes on without you (\"bridgebell queue show %s\")",
                         id, json_text(job, "state"), WAIT_LIMIT_MS / 1000, id);
            cJSON_Delete(answer);
            return NULL;
        }
        cJSON_Delete(answer);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_MS * 1000000L}, NULL);
    }
}

static int wait_for(const struct arguments *arguments, const char *id)
{
    cJSON *answer = follow(arguments, id);
    if (!answer)
        return COMMAND_FAILED;
    const cJSON *job = json_member(answer, "job");
    const char *state = json_text(job, "state");
    bool is_sent = strcmp(state, "sent") == 0 || strcmp(state, "delivered") == 0;
    char *reason = text_clean(json_text(job, "reason"), TEXT_ONE_LINE);
    printf("%s %s%s%s\n", id, state, reason[0] ? ": " : "", reason);
    free(reason);
    cJSON_Delete(answer);
    return is_sent ? COMMAND_FINE : COMMAND_FAILED;
}

int send_command(const struct arguments *arguments)
{
    cJSON *request = compose(arguments);
    if (!request)
        return COMMAND_USAGE;
    cJSON *answer = client_call(arguments, CONTROL_FULL, request, CLIENT_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    int code = COMMAND_FINE;
    const cJSON *id;
    cJSON_ArrayForEach(id, json_member(answer, "ids"))
    {
        const char *text = cJSON_IsString(id) ? id->valuestring : "";
        if (!options_has(arguments, "wait"))
            printf("%s queued\n", text);
        else if (wait_for(arguments, text))
            code = COMMAND_FAILED;
    }
    cJSON_Delete(answer);
    return code;
}
