/*
 * Running the dispatcher's executable as a tool: it gets configurations and words, and answers with lines of
 * JSON on its standard output.
 */
#ifndef MASTER_TOOLS_H
#define MASTER_TOOLS_H

#include <cjson/cJSON.h>

#include "conf/conf.h"
#include "master/command.h"
#include "proto/handover.h"

enum { TOOLS_NOTHING = 3 }; /* exit code: nothing matched */

/* Reads the configuration FILE and adds the dispatcher's part of it as FILE; a file that is there already is
 * not read again. Secrets are not read. 0, or -1 after saying on stderr what is wrong. */
int tools_load(struct handovers *slices, const char *file);

/* The same, without a word if it cannot be read. */
int tools_load_if_good(struct handovers *slices, const char *file);

struct tool_words {
    const char **list;
    size_t count, size;
};
void tool_word(struct tool_words *w, const char *word);
/* OPTION VALUE, unless VALUE is NULL. */
void tool_option(struct tool_words *w, const char *option, const char *value);
void tool_words_free(struct tool_words *w);

/* Gets each line; a line that is no JSON ends the tool. */
typedef void tool_line_fn(void *arg, const cJSON *line);
/* Runs `tool TOOL --slices … WORDS`; INPUT, if not NULL, is its standard input. Without FN its output goes to
 * ours as it is. The tool's exit code, or COMMAND_FAILED after saying on stderr what is wrong. */
int tools_run(const char *tool, const struct tool_words *words, const struct handovers *slices,
              const char *input, tool_line_fn *fn, void *arg);

#endif
