/* `bridgebell status`: how everything stands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "master/client.h"
#include "master/commands.h"
#include "master/json.h"
#include "master/status_view.h"
#include "master/text.h"

enum { REDRAW_MS = 1000 };

const struct option_row status_options[] = {
    OPTIONS_CLIENT,
    {"json", 'j', NULL, "the answer as it is, one JSON object"},
    {"watch", 'w', NULL, "again every second, until Ctrl-C"},
    {0},
};

static cJSON *ask(const struct arguments *arguments)
{
    return client_call(arguments, CONTROL_STATUS, client_request("status"), CLIENT_LIMIT_MS);
}

static void print_json(const cJSON *status)
{
    char *text = cJSON_PrintUnformatted(status);
    puts(text ? text : "{}");
    fflush(stdout);
    cJSON_free(text);
}

static int print_once(const struct arguments *arguments)
{
    cJSON *status = ask(arguments);
    struct status_view view = {text_terminal_width(stdout), text_wants_colour(stdout), -1};
    if (!status)
        return COMMAND_FAILED;
    if (options_has(arguments, "json"))
        print_json(status);
    else
        status_view_print(status, &view, stdout);
    cJSON_Delete(status);
    return COMMAND_FINE;
}

/* ---- again and again ---- */

/* Events per second since the last call; negative for the first, and after the dispatcher began anew. */
static double event_rate(const cJSON *status)
{
    static double last = -1;
    static uint64_t last_ms;
    double now = json_number(json_member(status, "events"), "received"), rate = -1;
    uint64_t now_ms = clock_mono_ms();
    if (last >= 0 && now >= last && now_ms > last_ms)
        rate = (now - last) * 1000 / (double)(now_ms - last_ms);
    last = now;
    last_ms = now_ms;
    return rate;
}

/* Writes PAGE over the former one, line by line, so that nothing flickers. */
static void redraw(const char *page)
{
    fputs("\033[H", stdout);
    while (*page) {
        size_t len = strcspn(page, "\n");
        printf("%.*s\033[K\n", (int)len, page);
        page += len + (page[len] == '\n');
    }
    fputs("\033[J", stdout);
    fflush(stdout);
}

static void draw(const cJSON *status)
{
    char *page = NULL;
    size_t size;
    struct status_view view = {text_terminal_width(stdout), text_wants_colour(stdout), event_rate(status)};
    FILE *out = open_memstream(&page, &size);
    if (!out)
        panic("no memory for a page");
    status_view_print(status, &view, out);
    fclose(out);
    redraw(page);
    free(page);
}

static int watch(const struct arguments *arguments)
{
    bool is_json = options_has(arguments, "json");
    if (!is_json && !isatty(STDOUT_FILENO))
        return command_misuse("--watch needs a terminal, or --json");
    if (!is_json)
        fputs("\033[2J", stdout);
    while (!ferror(stdout)) {
        cJSON *status = ask(arguments);
        /* A master that is just being restarted comes back; one that never ran does not. */
        if (!status && is_json)
            return COMMAND_FAILED;
        if (status && is_json)
            print_json(status);
        else if (status)
            draw(status);
        cJSON_Delete(status);
        nanosleep(&(struct timespec){.tv_sec = REDRAW_MS / 1000}, NULL);
    }
    return COMMAND_FAILED;
}

int status_command(const struct arguments *arguments)
{
    return options_has(arguments, "watch") ? watch(arguments) : print_once(arguments);
}
