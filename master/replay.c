/* `bridgebell replay`: what events of the past would have led to. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"
#include "master/commands.h"
#include "master/progress.h"
#include "master/replay_view.h"
#include "master/tools.h"
#include "master/when.h"

const struct option_row replay_options[] = {
    {"running", 'c', "FILE", "the configuration that runs (default /etc/bridgebell/bridgebell.conf)"},
    {"config", 0, "NEW", "a configuration to try instead of it"},
    {"diff", 'd', NULL, "only the difference that NEW makes"},
    {"since", 's', "WHEN", "read the journal from then on: 2h, 1d, 2026-03-28T21:50:00Z"},
    {"until", 'u', "WHEN", "up to then"},
    {"suppressed", 'S', NULL, "show what was suppressed or merged too, one by one"},
    {"summary", 'q', NULL, "only the sums"},
    {"texts", 't', NULL, "show the texts"},
    {"numbers", 'n', NULL, "show whole numbers"},
    {"without-silences", 'w', NULL, "leave out the silences and opt-outs of the store"},
    {"bridge", 'b', "NAME", "bridge of captured notifications (default: the first)"},
    {"json", 'j', NULL, "one JSON object a line"},
    {"help", 'h', NULL, "show this text"},
    {0},
};

enum { TIME_MAX = 24 };

struct plan {
    struct handovers slices;
    struct tool_words words;
    const char *running, *config; /* files; RUNNING is NULL if it is not needed */
    const char *store;            /* the file that names the store; NULL: it is left out */
    char since[TIME_MAX], until[TIME_MAX];
};

/* ---- what is asked for ---- */

/* OTHERWISE if the option is not given. */
static int read_when(const struct arguments *arguments, const char *name, int64_t otherwise, int64_t *ms)
{
    const char *text = options_get(arguments, name);
    *ms = otherwise;
    if (!text || when_parse(text, clock_wall_ms(), ms) == 0)
        return COMMAND_FINE;
    return command_misuse("--%s takes %s, not \"%.40s\"", name, when_expected, text);
}

static int read_times(const struct arguments *arguments, struct plan *plan)
{
    int64_t since_ms, until_ms;
    int code = read_when(arguments, "since", INT64_MIN, &since_ms);
    if (code == COMMAND_FINE)
        code = read_when(arguments, "until", INT64_MAX, &until_ms);
    if (code)
        return code;
    if (until_ms <= since_ms)
        return command_misuse("--until is no later than --since");
    snprintf(plan->since, TIME_MAX, "%" PRId64, since_ms);
    snprintf(plan->until, TIME_MAX, "%" PRId64, until_ms);
    return COMMAND_FINE;
}

static int check(const struct arguments *arguments, struct plan *plan)
{
    bool diff = options_has(arguments, "diff");
    if (!arguments->words_count && !options_has(arguments, "since") && !options_has(arguments, "until"))
        return command_misuse("\"replay\" needs files, or --since for the journal");
    if (diff && !options_has(arguments, "config"))
        return command_misuse("--diff needs --config NEW, to compare with what runs");
    return read_times(arguments, plan);
}

/* The running configuration is needed for its rules, or for where its journal is. */
static void choose_files(const struct arguments *arguments, struct plan *plan)
{
    const char *given = options_get(arguments, "running");
    const char *running = given ? given : COMMAND_DEFAULT_CONFIG;
    bool journal = !arguments->words_count;
    plan->config = options_get(arguments, "config");
    bool needed = !plan->config || options_has(arguments, "diff") || given;
    if (needed || (journal && access(running, R_OK) == 0))
        plan->running = running;
    if (!plan->config)
        plan->config = running;
}

/* What runs has the store. One that cannot be read is no reason not to try another on events of a file. */
static int load(const struct arguments *arguments, struct plan *plan)
{
    const char *given = options_get(arguments, "running");
    const char *running = given ? given : COMMAND_DEFAULT_CONFIG;
    if ((plan->running && tools_load(&plan->slices, plan->running)) ||
        tools_load(&plan->slices, plan->config))
        return COMMAND_FAILED;
    if (!options_has(arguments, "without-silences"))
        plan->store = tools_load_if_good(&plan->slices, running) ? plan->config : running;
    return COMMAND_FINE;
}

static void compose(const struct arguments *arguments, struct plan *plan)
{
    static const char *const flags[] = {"numbers", "texts", "suppressed"};
    static const char *const options[] = {"--numbers", "--texts", "--suppressed"};
    struct tool_words *w = &plan->words;
    tool_option(w, "--rules", plan->config);
    if (options_has(arguments, "diff"))
        tool_option(w, "--against", plan->running);
    if (!arguments->words_count)
        tool_option(w, "--journal", plan->running ? plan->running : plan->config);
    tool_option(w, "--store", plan->store);
    tool_option(w, "--since-ms", plan->since);
    tool_option(w, "--until-ms", plan->until);
    tool_option(w, "--bridge", options_get(arguments, "bridge"));
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        tool_option(w, options[i], options_has(arguments, flags[i]) ? "1" : NULL);
    if (!options_has(arguments, "json") && progress_is_wanted())
        tool_option(w, "--progress", "1");
    tool_word(w, "--");
    for (size_t i = 0; i < arguments->words_count; i++)
        tool_word(w, arguments->words[i]);
}

static int run(const struct arguments *arguments, struct plan *plan)
{
    compose(arguments, plan);
    if (options_has(arguments, "json"))
        return tools_run("replay", &plan->words, &plan->slices, NULL, NULL, NULL);
    struct replay_view *view = replay_view_new(stdout, options_has(arguments, "summary"));
    int code = tools_run("replay", &plan->words, &plan->slices, NULL, replay_view_line, view);
    progress_clear();
    replay_view_free(&view);
    return code;
}

int replay_command(const struct arguments *arguments)
{
    struct plan plan = {.running = NULL};
    int code = check(arguments, &plan);
    if (code)
        return code;
    choose_files(arguments, &plan);
    code = load(arguments, &plan);
    if (code == COMMAND_FINE)
        code = run(arguments, &plan);
    tool_words_free(&plan.words);
    handover_free(&plan.slices);
    return code;
}
