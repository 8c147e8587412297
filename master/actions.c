/* Subcommands that ask the running master for one thing and print one line. */
#include <stdio.h>

#include "conf/units.h"
#include "core/clock.h"
#include "core/str.h"
#include "master/client.h"
#include "master/commands.h"
#include "master/json.h"
#include "proto/role.h"

enum { STOP_LIMIT_MS = ROLE_DRAIN_MS + 30000 };

const struct option_row line_options[] = {
    OPTIONS_CLIENT, {"provider", 0, "NAME", "only this provider (default: all)"}, {0}};
const struct option_row plain_options[] = {OPTIONS_CLIENT, {0}};
const struct option_row stop_options[] = {
    OPTIONS_CLIENT,
    {"now", 0, NULL, "do not wait for what is in flight; it is recovered at the next start"},
    {0}};
const struct option_row resync_options[] = {OPTIONS_CLIENT,
                                            {"bridge", 0, "NAME", "only this bridge (default: all)"},
                                            {"since", 0, "2h", "how far back (default: from the mark)"},
                                            {0}};

static void add_option(cJSON *request, const struct arguments *arguments, const char *name)
{
    const char *text = options_get(arguments, name);
    if (text)
        cJSON_AddStringToObject(request, name, text);
}

static int line_command(const struct arguments *arguments, const char *command, const char *done)
{
    cJSON *request = client_request(command);
    add_option(request, arguments, "provider");
    cJSON *answer = client_call(arguments, CONTROL_FULL, request, CLIENT_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    puts(done);
    cJSON_Delete(answer);
    return COMMAND_FINE;
}

int pause_command(const struct arguments *arguments)
{
    return line_command(arguments, "pause",
                        "paused: events are still taken; \"bridgebell resume\" sends what waits");
}

int resume_command(const struct arguments *arguments)
{
    return line_command(arguments, "resume", "sending again");
}

int reopen_command(const struct arguments *arguments)
{
    return line_command(arguments, "log-reopen", "log files opened again");
}

int reload_command(const struct arguments *arguments)
{
    char took[32];
    cJSON *answer = client_call(arguments, CONTROL_FULL, client_request("reload"), CLIENT_RELOAD_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    printf("reloaded in %s\n", str_duration((int64_t)json_number(answer, "took_ms"), took, sizeof took));
    cJSON_Delete(answer);
    return COMMAND_FINE;
}

int scale_command(const struct arguments *arguments)
{
    cJSON *request = client_request("scale");
    cJSON_AddStringToObject(request, "senders", arguments->words[0]);
    cJSON *answer = client_call(arguments, CONTROL_FULL, request, CLIENT_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    int senders = (int)json_number(answer, "senders");
    printf("%d sender%s until the next reload\n", senders, senders == 1 ? "" : "s");
    cJSON_Delete(answer);
    return COMMAND_FINE;
}

int stop_command(const struct arguments *arguments)
{
    struct client_line *line = client_open(arguments, CONTROL_FULL);
    if (!line)
        return COMMAND_FAILED;
    cJSON *request = client_request("stop");
    cJSON_AddBoolToObject(request, "graceful", !options_has(arguments, "now"));
    cJSON *answer = client_ask(line, request, CLIENT_LIMIT_MS);
    int code = answer && client_is_good(answer) ? COMMAND_FINE : COMMAND_FAILED;
    cJSON_Delete(answer);
    /* The master closes its sockets when its last process has gone. */
    if (code == COMMAND_FINE && client_wait_closed(line, STOP_LIMIT_MS))
        code = command_fail("bridgebell is still stopping; its log says what it waits for");
    else if (code == COMMAND_FINE)
        puts("stopped");
    client_close(&line);
    return code;
}

int resync_command(const struct arguments *arguments)
{
    cJSON *request = client_request("resync");
    const char *since = options_get(arguments, "since");
    int64_t back_ms;
    if (since && units_duration(since, &back_ms)) {
        cJSON_Delete(request);
        return command_misuse("--since is a duration such as 30m, 2h or 1d, not \"%.40s\"", since);
    }
    if (since)
        cJSON_AddNumberToObject(request, "since_ms", (double)(clock_wall_ms() - back_ms));
    add_option(request, arguments, "bridge");
    cJSON *answer = client_call(arguments, CONTROL_FULL, request, CLIENT_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    int listeners = (int)json_number(answer, "listeners");
    printf("%d bridge%s asked for what was missed; what rang already does not ring again\n", listeners,
           listeners == 1 ? " is" : "s are");
    cJSON_Delete(answer);
    return COMMAND_FINE;
}
