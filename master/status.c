/* `bridgebell status`: how everything stands. */
#include <stdio.h>
#include <stdlib.h>

#include "master/client.h"
#include "master/commands.h"

const struct option_row status_options[] = {
    OPTIONS_CLIENT,
    {"json", 'j', NULL, "the answer as it is, one JSON object"},
    {0},
};

int status_command(const struct arguments *arguments)
{
    cJSON *answer = client_call(arguments, CONTROL_STATUS, client_request("status"), CLIENT_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    char *text = options_has(arguments, "json") ? cJSON_PrintUnformatted(answer) : cJSON_Print(answer);
    puts(text);
    cJSON_free(text);
    cJSON_Delete(answer);
    return COMMAND_FINE;
}
