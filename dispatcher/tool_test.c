/*
 * `tool test`: runs files of rule tests.
 *
 *     tool test --slices FD --rules NAME [--numbers 1] FILE …
 *
 * NAME is the configuration of tests that name none. Lines: {"what":"test","file","name","passed",
 * "failures":[…]} for each, {"what":"fault","file","line","text"}, {"what":"summary","passed","failed"}.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/ruletest.h"
#include "dispatcher/tool_parts.h"

struct testing {
    const char *rules;
    bool numbers;
    struct handovers slices;
    size_t passed, failed;
};

static void print_faults(struct faults *faults)
{
    for (size_t i = 0; i < faults->count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "what", "fault");
        cJSON_AddStringToObject(o, "file", faults->list[i].file);
        cJSON_AddNumberToObject(o, "line", faults->list[i].line);
        cJSON_AddStringToObject(o, "text", faults->list[i].text);
        tool_print(o);
    }
    faults_free(faults);
}

static void print_test(struct testing *t, const char *file, const struct ruletest *test, cJSON *failures)
{
    bool passed = failures && !failures->child;
    t->passed += passed;
    t->failed += !passed;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "what", "test");
    cJSON_AddStringToObject(o, "file", file);
    cJSON_AddStringToObject(o, "name", test->name);
    cJSON_AddBoolToObject(o, "passed", passed);
    if (failures)
        cJSON_AddItemToObject(o, "failures", failures);
    tool_print(o);
}

static void run_one(struct testing *t, const struct ruletests *tests, const struct ruletest *test)
{
    struct faults faults = {0};
    const struct slice *slice = handover_find(&t->slices, test->config ? test->config : t->rules);
    cJSON *failures = NULL;
    if (slice)
        failures = ruletest_run(test, slice, t->numbers, &faults);
    else
        faults_add(&faults, tests->file, 0, "test \"%s\": its configuration %s cannot be used", test->name,
                   test->config ? test->config : t->rules);
    print_faults(&faults);
    print_test(t, tests->file, test, failures);
}

static void run_file(struct testing *t, const char *file)
{
    struct faults faults = {0};
    struct ruletests tests;
    ruletests_read(&tests, file, &faults);
    if (faults.count) {
        /* A test that may mean something else than it says is not run. */
        t->failed += tests.count ? tests.count : 1;
        print_faults(&faults);
    } else {
        for (size_t i = 0; i < tests.count; i++)
            run_one(t, &tests, &tests.list[i]);
    }
    ruletests_free(&tests);
}

static int run_files(struct testing *t, char **files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run_file(t, files[i]);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "what", "summary");
    cJSON_AddNumberToObject(o, "passed", (double)t->passed);
    cJSON_AddNumberToObject(o, "failed", (double)t->failed);
    tool_print(o);
    if (t->failed)
        return TOOL_FAILED;
    return t->passed ? TOOL_FINE : TOOL_NOTHING;
}

int tool_test(int argc, char **argv)
{
    struct testing t = {.rules = ""};
    const char *slices = NULL, *numbers = NULL;
    const struct tool_option options[] = {
        {"--slices", &slices}, {"--rules", &t.rules}, {"--numbers", &numbers}, {NULL, NULL}};
    char **files;
    size_t count;
    if (tool_options(argc, argv, options, &files, &count))
        return TOOL_USAGE;
    t.numbers = numbers != NULL;
    int code = tool_slices(slices, &t.slices) ? TOOL_USAGE : run_files(&t, files, count);
    handover_free(&t.slices);
    free(files);
    return tool_end(code);
}
