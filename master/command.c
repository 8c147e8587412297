#include "master/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "master/commands.h"

#define WORDS_ANY 100000

static const char queue_details[] =
    "  ls                       jobs, newest last; filters: --state, --rule, --limit\n"
    "  show ID                  one job with everything known about it; ID may be its first six digits or "
    "more\n"
    "  cancel ID|FILTER         do not send what is not sent yet\n"
    "  retry ID|FILTER          dead and uncertain jobs: try again\n"
    "  sent ID                  an uncertain job: it did arrive\n"
    "  drop ID|FILTER           an uncertain job: let it be\n"
    "\n"
    "States: queued leased held sent delivered undelivered suppressed merged expired cancelled uncertain "
    "dead\n"
    "damaged; several with commas between.\n";

static const char run_details[] = "Signals: TERM, INT stop at once; QUIT finish what is in flight, then "
                                  "stop; HUP reload; USR1 open the log\n"
                                  "files again; TTIN, TTOU one sender more, fewer.\n";

static const char send_details[] =
    "The message takes the same way through the queue as any other. --to may be given several times. \"-\" "
    "reads\n"
    "from standard input: --message - the whole text; --to - numbers, one a line, up to an empty line.\n";

static const char silence_details[] =
    "  add EXPRESSION           what rules make of the events it matches does not ring; needs --for or "
    "--until\n"
    "  ls                       those that hold and those to come; --all: the ended ones too\n"
    "  expire ID…               end them now\n"
    "\n"
    "The expression sees the names of an event (channel, type, data, author, …), rule and priority:\n"
    "  bridgebell silence add \"rule == 'backup' || author == 'importer'\" --for 2h --comment \"data "
    "import\"\n";

static const char optout_details[] =
    "  add NUMBER…              no rule rings these numbers any more; \"-\" reads them, one a line\n"
    "  rm NUMBER…               they may be rung again\n"
    "  ls                       who has opted out\n";

static const char eval_details[] = "FILE holds one notification as the Bridge sends it; \"-\" reads it from "
                                   "standard input. Without one the names "
                                   "of an\nevent have no value.\n";

static const char explain_details[] = "FILE (\"-\": standard input) holds one notification as a Bridge sends "
                                      "it, or a line of the journal. EVENT "
                                      "is the\nkey of an event of the journal, JOB the id of a job; the "
                                      "first six digits are enough. The running "
                                      "dispatcher\ndecides on its real state and keeps nothing of it; "
                                      "without one the decision is made with empty "
                                      "counters, and\nwith the silences and opt-outs that the store has of "
                                      "that time. Exit code 3: there is no such "
                                      "job or event.\n";

static const char test_details[] =
    "A file holds one test or a list of tests as JSON (docs/testing-rules.md); of a directory all *.json are "
    "taken. Time\nis the test's own, and nothing is sent. What cannot be used fails, and the rest goes on. "
    "Exit "
    "code 1: a test\nfailed; 3: there was none.\n";

static const char replay_details[] =
    "A file holds lines of a journal, or notifications as a Bridge sends them; a directory is a journal. The "
    "clock\nruns from event to event, so throttles, digests, quiet hours and budgets behave as they would "
    "have.\nSilences and opt-outs of the running configuration's store count for the times at which they "
    "held.\nExit code 3: nothing matched.\n";

/* The words of `eval` are read by the dispatcher's executable. */
static const struct option_row eval_options[] = {
    {"event", 0, "FILE", "the notification to evaluate on; \"-\" reads standard input"},
    {"bridge", 0, "NAME", "bridge of the notification (default: main)"},
    {"help", 'h', NULL, "show this text"},
    {0},
};

static const struct command commands[] = {
    {.name = "run",
     .summary = "run in the foreground",
     .usage = "[-c FILE]",
     .details = run_details,
     .options = run_options,
     .run = run_command},
    {.name = "check",
     .summary = "check the configuration and say everything that is wrong with it",
     .usage = "[-c FILE] [--print]",
     .options = check_options,
     .run = check_command},
    {.name = "status",
     .summary = "processes, connections, queue, lines and what to do about them",
     .usage = "[--watch] [--json]",
     .options = status_options,
     .run = status_command},
    {.name = "send",
     .summary = "send a message of your own through the queue",
     .usage = "--to NUMBER --message TEXT [--from NAME] [--provider NAME] [--wait]",
     .details = send_details,
     .options = send_options,
     .run = send_command},
    {.name = "queue",
     .summary = "look at jobs and move them by hand",
     .usage = "ls | show ID | cancel | retry | sent | drop  [ID] [--state S] [--rule R] [--provider P] "
              "[--limit N] [--json]",
     .details = queue_details,
     .options = queue_options,
     .words_min = 1,
     .words_max = 2,
     .run = queue_command},
    {.name = "silence",
     .summary = "keep what matches an expression from ringing for a while",
     .usage = "add EXPRESSION --for 2h|--until TIME [--comment TEXT] | ls [--all] [--json] | expire ID…",
     .details = silence_details,
     .options = silence_options,
     .words_min = 1,
     .words_max = WORDS_ANY,
     .run = silence_command},
    {.name = "optout",
     .summary = "numbers that are never to be rung by a rule",
     .usage = "add|rm NUMBER… [--comment TEXT] | ls [--json]",
     .details = optout_details,
     .options = optout_options,
     .words_min = 1,
     .words_max = WORDS_ANY,
     .numbers_are_words = true,
     .run = optout_command},
    {.name = "eval",
     .summary = "the value of an expression as JSON, or what is wrong with it",
     .usage = "EXPRESSION [--event FILE|-] [--bridge NAME]",
     .details = eval_details,
     .options = eval_options,
     .run_raw = eval_command},
    {.name = "replay",
     .summary = "what events of the past would have sent, to whom, when and at what price",
     .usage = "FILE… | --since WHEN [--until WHEN] [--config NEW [--diff]] [--json]",
     .details = replay_details,
     .options = replay_options,
     .words_max = WORDS_ANY,
     .run = replay_command},
    {.name = "explain",
     .summary = "why an event rang whom, or did not: rules, limits, recipients, text, price",
     .usage = "FILE | - | EVENT | JOB [--offline] [--numbers] [--json]",
     .details = explain_details,
     .options = explain_options,
     .words_min = 1,
     .words_max = 1,
     .run = explain_command},
    {.name = "test",
     .summary = "run tests of rules: events in, expected messages out",
     .usage = "FILE… | DIRECTORY… [-c FILE] [--json]",
     .details = test_details,
     .options = test_options,
     .words_min = 1,
     .words_max = WORDS_ANY,
     .run = test_command},
    {.name = "pause",
     .summary = "send nothing until \"resume\"; events are still taken",
     .usage = "[--provider NAME]",
     .options = line_options,
     .run = pause_command},
    {.name = "resume",
     .summary = "send again",
     .usage = "[--provider NAME]",
     .options = line_options,
     .run = resume_command},
    {.name = "reload",
     .summary = "take the configuration file anew, or say why not",
     .usage = "[-c FILE]",
     .options = plain_options,
     .run = reload_command},
    {.name = "stop",
     .summary = "finish what is in flight and stop",
     .usage = "[--now]",
     .options = stop_options,
     .run = stop_command},
    {.name = "scale",
     .summary = "change the number of senders until the next reload",
     .usage = "N | +N | -N",
     .options = plain_options,
     .words_min = 1,
     .words_max = 1,
     .numbers_are_words = true,
     .run = scale_command},
    {.name = "reopen",
     .summary = "open the log files again, after they were moved away",
     .usage = "[-c FILE]",
     .options = plain_options,
     .run = reopen_command},
    {.name = "resync",
     .summary = "ask the Bridge again for what happened since a time",
     .usage = "[--bridge NAME] [--since 2h]",
     .options = resync_options,
     .run = resync_command},
    {.name = "reference",
     .summary = "print docs/configuration.md, made from the table of directives",
     .usage = "[--man | --sample]",
     .options = reference_options,
     .is_hidden = true,
     .run = reference_command},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* The command under way, for the texts of mistakes. */
static const struct command *current;

/* ---- help ---- */

static void print_overview(FILE *out)
{
    fputs("Usage: bridgebell COMMAND [OPTIONS]\n\n"
          "Watches a PrivMX Bridge and rings people's phones.\n\nCommands:\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++)
        if (!commands[i].is_hidden)
            fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\n\"bridgebell help COMMAND\" says more. Commands that read the configuration know -c FILE "
          "(default\n" COMMAND_DEFAULT_CONFIG ").\n"
          "Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 nothing matched (replay, explain, test).\n",
          out);
}

static int print_help(const struct command *command)
{
    printf("Usage: bridgebell %s %s\n\n%c%s.\n", command->name, command->usage,
           command->summary[0] - 'a' + 'A', command->summary + 1);
    if (command->details)
        printf("\n%s", command->details);
    puts("\nOptions:");
    options_print(stdout, command->options);
    return COMMAND_FINE;
}

/* ---- mistakes ---- */

int command_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bridgebell: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return COMMAND_FAILED;
}

int command_misuse(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bridgebell: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    if (current)
        fprintf(stderr, "\nUsage: bridgebell %s %s\n", current->name, current->usage);
    else
        fputs("\n\"bridgebell help\" lists the commands\n", stderr);
    return COMMAND_USAGE;
}

static const struct command *find(const char *word)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, word) == 0)
            return &commands[i];
    return NULL;
}

static int misuse_unknown(const char *word)
{
    const char *words[COMMANDS + 2] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < COMMANDS; i++)
        if (!commands[i].is_hidden)
            words[count++] = commands[i].name;
    words[count] = "help";
    const char *nearest = str_nearest(word, words);
    if (nearest)
        return command_misuse("there is no command \"%.40s\"; did you mean \"%s\"?", word, nearest);
    return command_misuse("there is no command \"%.40s\"", word);
}

/* ---- running one ---- */

static int check_words(const struct command *command, const struct arguments *arguments)
{
    if (arguments->words_count < command->words_min)
        return command_misuse("\"%s\" needs more than that", command->name);
    if (arguments->words_count > command->words_max)
        return command_misuse("what is \"%.40s\" for?", arguments->words[command->words_max]);
    return COMMAND_FINE;
}

static int run_parsed(const struct command *command, const struct arguments *arguments)
{
    if (options_has(arguments, "help"))
        return print_help(command);
    int code = check_words(command, arguments);
    return code ? code : command->run(arguments);
}

static int run_one(const struct command *command, int argc, char **argv)
{
    struct arguments arguments;
    char *why = NULL;
    int code;
    current = command;
    if (command->run_raw)
        return argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
                   ? print_help(command)
                   : command->run_raw(argc, argv);
    if (options_parse(command->options, argc, argv, command->numbers_are_words, &arguments, &why))
        code = command_misuse("%s", why);
    else
        code = run_parsed(command, &arguments);
    free(why);
    options_free(&arguments);
    return code;
}

static int help(int argc, char **argv)
{
    if (argc < 3) {
        print_overview(stdout);
        return COMMAND_FINE;
    }
    const struct command *command = find(argv[2]);
    return command ? print_help(command) : misuse_unknown(argv[2]);
}

static int run_words(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word) {
        print_overview(stderr);
        return COMMAND_USAGE;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        puts("bridgebell " BRIDGEBELL_VERSION);
        return COMMAND_FINE;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(argc, argv);
    const struct command *command = find(word);
    return command ? run_one(command, argc - 1, argv + 1) : misuse_unknown(word);
}

int command_main(int argc, char **argv)
{
    int code = run_words(argc, argv);
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    int failed =
        command_fail("the output cannot be written%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
    return code == COMMAND_FINE ? failed : code;
}

const char *command_config(const struct arguments *arguments)
{
    const char *file = options_get(arguments, "config");
    return file ? file : COMMAND_DEFAULT_CONFIG;
}
