/*
 * The subcommands of `bridgebell`: one table, a row each. Parsing, help and the nearest word for a slip come
 * from it.
 */
#ifndef MASTER_COMMAND_H
#define MASTER_COMMAND_H

#include "master/options.h"

#define COMMAND_DEFAULT_CONFIG "/etc/bridgebell/bridgebell.conf"

enum { COMMAND_FINE = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 2 };

struct command {
    const char *name;
    const char *summary; /* one line */
    const char *usage;   /* what stands behind the name */
    const char *details; /* more lines for its help, or NULL */
    const struct option_row *options;
    size_t words_min, words_max;
    bool numbers_are_words;
    bool is_hidden;
    int (*run)(const struct arguments *arguments); /* returns an exit code */
    int (*run_raw)(int argc, char **argv);         /* instead of RUN: takes the words as they are */
};

/* The whole program behind main: finds the subcommand in ARGV and runs it. Returns the exit code. */
int command_main(int argc, char **argv);
/* The configuration file that ARGUMENTS name, or the default. */
const char *command_config(const struct arguments *arguments);
/* "bridgebell: …" on stderr; returns COMMAND_FAILED. */
int command_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with how to get help; returns COMMAND_USAGE. */
int command_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
