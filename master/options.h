/*
 * Options of a subcommand from a table: parsing, help text and mistakes all come from its rows.
 */
#ifndef MASTER_OPTIONS_H
#define MASTER_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

enum { OPTIONS_MAX = 16, OPTIONS_REPEAT_MAX = 100 };

struct option_row {
    const char *name;  /* "config" for --config; NULL ends the table */
    char letter;       /* 'c' for -c, or 0 */
    const char *value; /* "FILE": takes a value; NULL: a switch */
    const char *help;  /* NULL: not shown */
};

/* In every table, first. */
#define OPTIONS_COMMON                                                                                       \
    {"config", 'c', "FILE", "configuration file (default /etc/bridgebell/bridgebell.conf)"},                 \
    {                                                                                                        \
        "help", 'h', NULL, "show this text"                                                                  \
    }
#define OPTIONS_CLIENT                                                                                       \
    OPTIONS_COMMON,                                                                                          \
    {                                                                                                        \
        "runtime-dir", 0, "DIR", "where the sockets are (default: what the configuration says)"              \
    }

struct option_value {
    const struct option_row *row;
    const char *text; /* "" for a switch */
};

struct arguments {
    struct option_value values[OPTIONS_REPEAT_MAX];
    size_t values_count;
    char **words; /* what is not an option; point into argv */
    size_t words_count;
};

/* Parses ARGV[1…]. NUMBERS_ARE_WORDS: "-1" is a word and not an option. 0, or -1 with a sentence in WHY
 * (freed by the caller). ARGV is permuted; OUT is freed by options_free. */
int options_parse(const struct option_row *rows, int argc, char **argv, bool numbers_are_words,
                  struct arguments *out, char **why);
void options_free(struct arguments *arguments);
/* The last value of --NAME, or NULL. */
const char *options_get(const struct arguments *arguments, const char *name);
/* The value number INDEX of --NAME, or NULL. */
const char *options_get_nth(const struct arguments *arguments, const char *name, size_t index);
bool options_has(const struct arguments *arguments, const char *name);
/* One line for each row that has a help text. */
void options_print(FILE *out, const struct option_row *rows);

#endif
