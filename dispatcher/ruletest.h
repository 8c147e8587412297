/*
 * Tests of rules, written as JSON: events in, expected messages out (docs/testing-rules.md).
 *
 * Owns the form of a test file: reading it with all faults at once, and what each member means. Running them
 * is ruletest_run's.
 */
#ifndef DISPATCHER_RULETEST_H
#define DISPATCHER_RULETEST_H

#include "dispatcher/engine.h"
#include "dispatcher/expr/regex.h"

enum { RULETEST_FILE_MAX = 16 * 1024 * 1024, RULETEST_TIMES_MAX = 100000 };

enum expect_kind { EXPECT_MESSAGE, EXPECT_SUPPRESSED, EXPECT_MERGED };

/* What one expectation says; NULL and -1: nothing of that. */
struct expectation {
    enum expect_kind kind;
    const char *to, *rule, *text, *from, *why;
    const char *contains[16];
    size_t contains_count;
    const char *pattern;
    struct expr_regex *regex;
    int form; /* enum engine_form; -1: any */
    int64_t count, parts, times;
    unsigned weight; /* how much it says */
};

struct test_event {
    cJSON *json;   /* the notification */
    bool has_time; /* it says its own */
    int64_t age_ms;
    int64_t times, every_ms;
};

struct test_step {
    unsigned number;         /* from 1 */
    int64_t after_ms, at_ms; /* -1: not said */
    struct test_event *events;
    size_t events_count;
    struct expectation *expected;
    size_t expected_count;
    bool expects; /* also if it expects nothing */
};

struct ruletest {
    char *name, *config; /* CONFIG: a path, or NULL: the default one */
    int64_t start_ms;
    struct test_step *steps;
    size_t steps_count;
};

struct ruletests {
    char *file, *text;
    cJSON *json; /* strings of the tests are its */
    struct ruletest *list;
    size_t count;
};

/* Reads FILE. Faults have the file and the line; their text begins with the column. The tests that are whole
 * are there all the same. */
void ruletests_read(struct ruletests *t, const char *file, struct faults *faults);
void ruletests_free(struct ruletests *t);

/* ---- running ---- */
/* Runs TEST on SLICE. JSON of what failed, an array of {"step":n,"lines":[{"mark":"-","text":"…"}]}; NULL
 * with faults if it cannot be run at all. An empty array: it passed. */
cJSON *ruletest_run(const struct ruletest *test, const struct slice *slice, bool numbers,
                    struct faults *faults);

#endif
