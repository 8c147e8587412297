/* `bridgebell silence` and `bridgebell optout`: what is not to ring for a while, and who does not want to. */
#include <stdio.h>
#include <string.h>

#include "conf/units.h"
#include "core/clock.h"
#include "core/str.h"
#include "master/client.h"
#include "master/commands.h"
#include "master/json.h"
#include "master/moment.h"
#include "master/table.h"

enum { NUMBERS_A_REQUEST = 1000, LINE_MAX_BYTES = 256, MOMENT_SIZE = 32 };

const struct option_row silence_options[] = {
    OPTIONS_CLIENT,
    {"for", 'f', "2h", "add: how long it holds: 30m, 2h, 7d"},
    {"until", 'u', "TIME", "add: until when: 18:00, \"2026-11-27 18:00\", 2026-11-27T18:00Z"},
    {"from", 0, "TIME", "add: from when (default: at once)"},
    {"comment", 'm', "TEXT", "add: why"},
    {"all", 'a', NULL, "ls: those too that have ended, for a year"},
    {"json", 'j', NULL, "the answer as it is, one JSON object"},
    {0},
};

const struct option_row optout_options[] = {
    OPTIONS_CLIENT,
    {"comment", 'm', "TEXT", "add: why"},
    {"json", 'j', NULL, "the answer as it is, one JSON object"},
    {0},
};

static void print_json(const cJSON *answer)
{
    char *text = cJSON_PrintUnformatted(answer);
    puts(text ? text : "{}");
    cJSON_free(text);
}

static void add_option(cJSON *request, const struct arguments *arguments, const char *name)
{
    const char *text = options_get(arguments, name);
    if (text)
        cJSON_AddStringToObject(request, name, text);
}

/* ---- silence add ---- */

static int add_moment(cJSON *request, const struct arguments *arguments, const char *option,
                      const char *member)
{
    const char *text = options_get(arguments, option);
    int64_t ms;
    if (!text)
        return COMMAND_FINE;
    if (moment_parse(text, clock_wall_ms(), &ms))
        return command_misuse("--%s is a time such as 18:00 or \"2026-11-27 18:00\", not \"%.40s\"", option,
                              text);
    cJSON_AddNumberToObject(request, member, (double)ms);
    return COMMAND_FINE;
}

static int add_times(cJSON *request, const struct arguments *arguments)
{
    const char *length = options_get(arguments, "for");
    int64_t ms;
    if (!length == !options_has(arguments, "until"))
        return command_misuse("a silence needs an end: --for 2h or --until 18:00");
    if (length && (units_duration(length, &ms) || ms <= 0))
        return command_misuse("--for is a duration such as 30m, 2h or 1d, not \"%.40s\"", length);
    if (length)
        cJSON_AddNumberToObject(request, "for_ms", (double)ms);
    int code = add_moment(request, arguments, "until", "until_ms");
    return code ? code : add_moment(request, arguments, "from", "from_ms");
}

static int silence_add(const struct arguments *arguments)
{
    char until[MOMENT_SIZE], from[MOMENT_SIZE], left[32];
    if (arguments->words_count != 2)
        return command_misuse(arguments->words_count < 2 ? "\"silence add\" needs an expression"
                                                         : "quote the expression: it is one word");
    cJSON *request = client_request("silence-add");
    cJSON_AddStringToObject(request, "when", arguments->words[1]);
    add_option(request, arguments, "comment");
    int code = add_times(request, arguments);
    if (code) {
        cJSON_Delete(request);
        return code;
    }
    cJSON *answer = client_call(arguments, CONTROL_FULL, request, CLIENT_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    int64_t now_ms = clock_wall_ms(), until_ms = (int64_t)json_number(answer, "until_ms");
    int64_t from_ms = (int64_t)json_number(answer, "from_ms");
    moment_format(until_ms, until, sizeof until);
    if (options_has(arguments, "json"))
        print_json(answer);
    else if (options_has(arguments, "from") && from_ms > now_ms)
        printf("silence %s holds from %s until %s\n", json_text(answer, "id"),
               moment_format(from_ms, from, sizeof from), until);
    else
        printf("silence %s holds until %s (%s)\n", json_text(answer, "id"), until,
               str_duration(until_ms - now_ms, left, sizeof left));
    if (json_text(answer, "warning")[0])
        fprintf(stderr, "bridgebell: %s\n", json_text(answer, "warning"));
    cJSON_Delete(answer);
    return COMMAND_FINE;
}

/* ---- silence ls ---- */

static enum text_colour colour_of(const char *state)
{
    return strcmp(state, "holds") == 0 ? TEXT_YELLOW : strcmp(state, "ended") == 0 ? TEXT_DIM : TEXT_PLAIN;
}

static void print_silences(const cJSON *answer)
{
    static const char *const heads[] = {">id",     "state", "until",   ">left", ">matched",
                                        ">failed", "by",    "comment", "when"};
    struct table *t = table_new(heads, sizeof heads / sizeof heads[0]);
    const cJSON *one;
    cJSON_ArrayForEach(one, json_member(answer, "silences"))
    {
        char until[MOMENT_SIZE], left[32];
        double left_ms = json_number(one, "left_ms");
        table_cell(t, json_text(one, "id"));
        table_cell_coloured(t, json_text(one, "state"), colour_of(json_text(one, "state")));
        table_cell(t, moment_format((int64_t)json_number(one, "until_ms"), until, sizeof until));
        table_cell(t, left_ms > 0 ? str_duration((int64_t)left_ms, left, sizeof left) : "");
        table_cell_number(t, json_number(one, "matched"));
        table_cell_number(t, json_number(one, "failed"));
        table_cell(t, json_text(one, "by"));
        table_cell(t, json_text(one, "comment"));
        table_cell(t, json_text(one, "when"));
    }
    if (table_rows(t))
        table_print(t, stdout, 0, text_terminal_width(stdout), text_wants_colour(stdout));
    else
        puts("no silences");
    table_free(&t);
}

static int silence_list(const struct arguments *arguments)
{
    if (arguments->words_count > 1)
        return command_misuse("what is \"%.40s\" for?", arguments->words[1]);
    cJSON *request = client_request("silence-list");
    cJSON_AddBoolToObject(request, "all", options_has(arguments, "all"));
    cJSON *answer = client_call(arguments, CONTROL_STATUS, request, CLIENT_LIMIT_MS);
    if (!answer)
        return COMMAND_FAILED;
    if (options_has(arguments, "json"))
        print_json(answer);
    else
        print_silences(answer);
    cJSON_Delete(answer);
    return COMMAND_FINE;
}

/* ---- silence expire ---- */

static int silence_expire(const struct arguments *arguments)
{
    int code = COMMAND_FINE;
    if (arguments->words_count < 2)
        return command_misuse("\"silence expire\" needs an id; \"silence ls\" shows them");
    for (size_t i = 1; i < arguments->words_count; i++) {
        cJSON *request = client_request("silence-expire");
        cJSON_AddStringToObject(request, "id", arguments->words[i]);
        cJSON *answer = client_call(arguments, CONTROL_FULL, request, CLIENT_LIMIT_MS);
        if (!answer)
            code = COMMAND_FAILED;
        else if (options_has(arguments, "json"))
            print_json(answer);
        else
            printf("silence %s has ended\n", arguments->words[i]);
        cJSON_Delete(answer);
    }
    return code;
}

/* ---- optout add, rm ---- */

struct change {
    const struct arguments *arguments;
    const char *command;
    cJSON *numbers; /* not yet asked for */
    double changed, total, cancelled;
    bool failed;
};

/* Sends what has gathered. */
static void change_flush(struct change *c)
{
    if (cJSON_GetArraySize(c->numbers) == 0 || c->failed)
        return;
    cJSON *request = client_request(c->command);
    cJSON_AddItemToObject(request, "numbers", c->numbers);
    c->numbers = cJSON_CreateArray();
    add_option(request, c->arguments, "comment");
    cJSON *answer = client_call(c->arguments, CONTROL_FULL, request, CLIENT_LIMIT_MS);
    c->failed = !answer;
    c->changed += json_number(answer, "changed");
    c->total = json_number(answer, "opt_outs");
    c->cancelled += json_number(answer, "cancelled");
    cJSON_Delete(answer);
}

static void change_add(struct change *c, const char *number)
{
    cJSON_AddItemToArray(c->numbers, cJSON_CreateString(number));
    if (cJSON_GetArraySize(c->numbers) == NUMBERS_A_REQUEST)
        change_flush(c);
}

/* Numbers, one a line; empty lines and those that begin with # are nothing. */
static void change_read(struct change *c)
{
    char line[LINE_MAX_BYTES];
    while (!c->failed && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\r\n")] = '\0';
        const char *number = line + strspn(line, " \t");
        if (*number && *number != '#')
            change_add(c, number);
    }
}

static int change_opt_outs(const struct arguments *arguments, const char *command, const char *done)
{
    char changed[48], total[48];
    if (arguments->words_count < 2)
        return command_misuse("\"optout %s\" needs a number, or \"-\" to read them", arguments->words[0]);
    struct change c = {.arguments = arguments, .command = command, .numbers = cJSON_CreateArray()};
    for (size_t i = 1; i < arguments->words_count && !c.failed; i++) {
        if (strcmp(arguments->words[i], "-") == 0)
            change_read(&c);
        else
            change_add(&c, arguments->words[i]);
    }
    change_flush(&c);
    cJSON_Delete(c.numbers);
    if (options_has(arguments, "json") && !c.failed)
        printf("{\"ok\":true,\"changed\":%.0f,\"opt_outs\":%.0f,\"cancelled\":%.0f}\n", c.changed, c.total,
               c.cancelled);
    else if (!c.failed || c.changed > 0)
        printf("%s number%s %s; %s in all\n", text_number(c.changed, changed, sizeof changed),
               c.changed == 1 ? "" : "s", done, text_number(c.total, total, sizeof total));
    if (!options_has(arguments, "json") && c.cancelled > 0)
        printf("%s job%s for them cancelled\n", text_number(c.cancelled, changed, sizeof changed),
               c.cancelled == 1 ? "" : "s");
    return c.failed ? COMMAND_FAILED : COMMAND_FINE;
}

static int optout_add(const struct arguments *arguments)
{
    return change_opt_outs(arguments, "optout-add", "opted out");
}

static int optout_remove(const struct arguments *arguments)
{
    return change_opt_outs(arguments, "optout-remove", "opted in again");
}

/* ---- optout ls ---- */

/* All of them, page by page; NULL after saying what is wrong. */
static cJSON *fetch_opt_outs(const struct arguments *arguments)
{
    /* Whole numbers are shown to those who may use the other socket. */
    enum control_door door = client_may_use(arguments, CONTROL_FULL) ? CONTROL_FULL : CONTROL_STATUS;
    cJSON *all = cJSON_CreateObject();
    cJSON_AddBoolToObject(all, "ok", true);
    cJSON *list = cJSON_AddArrayToObject(all, "opt_outs"), *one;
    for (double offset = 0, total = 1; offset < total;) {
        cJSON *request = client_request("optout-list");
        cJSON_AddNumberToObject(request, "offset", offset);
        cJSON *answer = client_call(arguments, door, request, CLIENT_LIMIT_MS);
        cJSON *page = json_member(answer, "opt_outs");
        double got = cJSON_GetArraySize(page);
        total = answer && got > 0 ? json_number(answer, "total") : 0;
        offset += got;
        while ((one = cJSON_DetachItemFromArray(page, 0)))
            cJSON_AddItemToArray(list, one);
        if (!answer) {
            cJSON_Delete(all);
            return NULL;
        }
        cJSON_Delete(answer);
    }
    return all;
}

static int optout_list(const struct arguments *arguments)
{
    static const char *const heads[] = {"number", "since", "by", "comment"};
    if (arguments->words_count > 1)
        return command_misuse("what is \"%.40s\" for?", arguments->words[1]);
    cJSON *all = fetch_opt_outs(arguments);
    const cJSON *one;
    if (!all)
        return COMMAND_FAILED;
    if (options_has(arguments, "json")) {
        print_json(all);
        cJSON_Delete(all);
        return COMMAND_FINE;
    }
    struct table *t = table_new(heads, sizeof heads / sizeof heads[0]);
    cJSON_ArrayForEach(one, json_member(all, "opt_outs"))
    {
        char since[MOMENT_SIZE];
        table_cell(t, json_text(one, "number"));
        table_cell(t, moment_format((int64_t)json_number(one, "at_ms"), since, sizeof since));
        table_cell(t, json_text(one, "by"));
        table_cell(t, json_text(one, "comment"));
    }
    if (table_rows(t))
        table_print(t, stdout, 0, text_terminal_width(stdout), text_wants_colour(stdout));
    else
        puts("no number has opted out");
    table_free(&t);
    cJSON_Delete(all);
    return COMMAND_FINE;
}

/* ---- which ---- */

struct verb {
    const char *name;
    int (*run)(const struct arguments *arguments);
};

static int run_verb(const char *command, const struct verb *verbs, size_t count,
                    const struct arguments *arguments)
{
    const char *words[8] = {NULL}, *word = arguments->words[0];
    for (size_t i = 0; i < count; i++) {
        words[i] = verbs[i].name;
        if (strcmp(verbs[i].name, word) == 0)
            return verbs[i].run(arguments);
    }
    const char *nearest = str_nearest(word, words);
    if (nearest)
        return command_misuse("there is no \"%s %.40s\"; did you mean \"%s\"?", command, word, nearest);
    return command_misuse("there is no \"%s %.40s\"", command, word);
}

int silence_command(const struct arguments *arguments)
{
    static const struct verb verbs[] = {
        {"add", silence_add}, {"ls", silence_list}, {"list", silence_list}, {"expire", silence_expire}};
    return run_verb("silence", verbs, sizeof verbs / sizeof verbs[0], arguments);
}

int optout_command(const struct arguments *arguments)
{
    static const struct verb verbs[] = {{"add", optout_add},
                                        {"rm", optout_remove},
                                        {"remove", optout_remove},
                                        {"ls", optout_list},
                                        {"list", optout_list}};
    return run_verb("optout", verbs, sizeof verbs / sizeof verbs[0], arguments);
}
