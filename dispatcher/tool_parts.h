/*
 * What the tools share: dispatcher/tool.h. Each prints JSON, one value a line, on standard output; what
 * people read is made of it by `bridgebell`.
 */
#ifndef DISPATCHER_TOOL_PARTS_H
#define DISPATCHER_TOOL_PARTS_H

#include <cjson/cJSON.h>

#include "dispatcher/engine.h"
#include "dispatcher/store_look.h"
#include "proto/handover.h"

enum { TOOL_FINE, TOOL_FAILED, TOOL_USAGE, TOOL_NOTHING };

int tool_replay(int argc, char **argv);
int tool_event(int argc, char **argv);
int tool_explain(int argc, char **argv);
int tool_job(int argc, char **argv);
int tool_test(int argc, char **argv);

/* Options of a tool, for which there is always a value: "--since-ms 17". */
struct tool_option {
    const char *name; /* with the dashes */
    const char **value;
};
/* Reads ARGV[1…] by a table that ends with a NULL name; what is no option goes to WORDS (freed by the
 * caller). 0, or -1 after saying what is wrong. */
int tool_options(int argc, char **argv, const struct tool_option *options, char ***words, size_t *count);
/* A number with a default; exits with a usage error if the text is none. */
int64_t tool_number(const char *text, int64_t otherwise);

/* Appends the whole of a file, or of standard input if PATH is "-". 0, or -1 with *WHY, words that are valid
 * until the next call: also if OUT takes no more. */
int tool_read(const char *path, struct buf *out, const char **why);
/* The configurations behind the descriptor that FD names. 0, or -1 after saying what is wrong. */
int tool_slices(const char *fd, struct handovers *out);
/* Prints one value as a line and frees it. */
void tool_print(cJSON *json);
/* Whether all that was printed was taken. */
int tool_end(int code);
int tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "file:line: text" for each on standard error; frees them; TOOL_FAILED. */
int tool_faults(struct faults *faults);

/* ---- JSON of what the engine tells ---- */
struct tool_shown {
    bool numbers; /* whole and not masked */
    bool texts;
};
void tool_add_time(cJSON *o, const char *name, int64_t ms);
void tool_add_number(cJSON *o, const char *name, const char *number, struct tool_shown shown);
/* {"what":"sent","time":…,"rule":…,"to":…,"form":…,"parts":…,"price":…,…} */
cJSON *tool_outcome(const struct engine_outcome *o, struct tool_shown shown);
double tool_money(int64_t micro);
/* ---- silences and opt-outs of a store ---- */
struct tool_recalled {
    bool wanted, used;
    char why[STORE_LOOK_WHY_SIZE]; /* not used though wanted: why not */
    size_t unusable;               /* facts */
};
/* Gives E those of the store that SLICE names; SLICE NULL: they are not wanted. */
void tool_recall(const struct slice *slice, struct engine *e, struct tool_recalled *out);
/* "store": {"wanted","used","why"|"silences","opt_outs","unusable","known_since"}: how many were in force at
 * some time from FROM_MS to TO_MS; known_since if silences of that time may have been forgotten. */
void tool_add_recalled(cJSON *o, const struct tool_recalled *r, struct engine *e, int64_t from_ms,
                       int64_t to_ms);
/* "PLN" */
const char *tool_currency(const struct slice *slice);

#endif
