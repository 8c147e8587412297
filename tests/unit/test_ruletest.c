/* links: dispatcher_parts conf expr proto core m */
/* Files of rule tests: what is read, what is wrong with them and where, and what becomes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "dispatcher/ruletest.h"
#include "engine_fixture.h"

static char path[64];

static void write_file(const char *text)
{
    snprintf(path, sizeof path, "/tmp/ruletest-%d.json", (int)getpid());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* ---- faults ---- */

static const struct {
    const char *text;
    const char *faults[4]; /* each "line: beginning of the text" */
} faulty[] = {
    {"", {"1: column 1: this is not JSON; the file ends too early"}},
    {"{\"name\": \"x\",\n \"steps\": [}", {"2: column 12: this is not JSON: a comma"}},
    {"{\"steps\": [{}]}", {"1: column 1: a test needs a \"name\""}},
    {"{\"name\": \"x\"}", {"1: column 1: a test needs \"steps\""}},
    {"{\"name\": \"x\",\n \"steps\": [],\n \"strat\": 1}",
     {"3: column 2: unknown member \"strat\"; did you mean \"start\"?",
      "2: column 2: a test needs \"steps\""}},
    {"{\"name\": \"ż\", \"steps\": [{\"after\": 5}]}", {"1: column 26: \"after\" is a duration"}},
    {"{\"name\": \"x\", \"steps\": [{\"at\": \"yesterday\"}]}", {"1: column 26: \"at\" is a time"}},
    {"{\"name\": \"x\", \"steps\": [\n{\"event\": {\"channel\": \"c\"}}]}", {"2: column 2: an event needs"}},
    {"{\"name\": \"x\", \"steps\": [{\"event\": {\"file\": \"/nowhere/x\", \"line\": 1}}]}",
     {"1: column 26: /nowhere/x cannot be read"}},
    {"{\"name\": \"x\", \"steps\": [{\"times\": 3}]}", {"1: column 26: \"times\" goes with an event"}},
    {"{\"name\": \"x\", \"steps\": [{\"expect\": 7}]}", {"1: column 26: \"expect\" is an expectation"}},
    {"{\"name\": \"x\", \"steps\": [{\"expect\": {\"nothing\": true, \"to\": \"+48\"}}]}",
     {"1: column 37: \"nothing\" is true and stands alone"}},
    {"{\"name\": \"x\", \"steps\": [{\"expect\": {\"kind\": \"digset\"}}]}",
     {"1: column 37: \"kind\" cannot be \"digset\"; did you mean \"digest\"?"}},
    {"{\"name\": \"x\", \"steps\": [{\"expect\": [{\"suppressed\": \"trottle\"}]}]}",
     {"1: column 38: \"suppressed\" cannot be \"trottle\"; did you mean \"throttle\"?"}},
    {"{\"name\": \"x\", \"steps\": [{\"expect\": {\"matches\": \"(?=a)\"}}]}",
     {"1: column 37: \"matches\": "}},
    {"{\"name\": \"x\", \"steps\": [{\"expect\": {\"count\": 1.5}}]}",
     {"1: column 37: \"count\" is a whole number"}},
    {"[{\"name\": \"x\", \"steps\": [{}]}, 5]", {"1: column 32: a test is an object"}},
};

static void faults_have_their_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faulty / sizeof faulty[0]; i++) {
        struct faults faults = {0};
        struct ruletests t;
        size_t wanted = 0;
        write_file(faulty[i].text);
        ruletests_read(&t, path, &faults);
        while (wanted < 4 && faulty[i].faults[wanted])
            wanted++;
        for (size_t k = 0; k < faults.count && k < wanted; k++) {
            char *said = xasprintf("%u: %s", faults.list[k].line, faults.list[k].text);
            if (strncmp(said, faulty[i].faults[k], strlen(faulty[i].faults[k])) != 0)
                fail_msg("%s\ngave %s", faulty[i].text, said);
            free(said);
        }
        if (faults.count != wanted)
            fail_msg("%s\ngave %zu faults, the last %s", faulty[i].text, faults.count,
                     faults.count ? faults.list[faults.count - 1].text : "");
        ruletests_free(&t);
        faults_free(&faults);
    }
    unlink(path);
}

/* ---- running ---- */

#define EVENT                                                                                                \
    "\"event\": {\"channel\": \"thread\", \"type\": \"threadNewMessage\", \"data\": {\"id\": \"m\"}}"
#define STEPS(text) "{\"name\": \"x\", \"steps\": [" text "]}"

static const struct {
    const char *text;
    const char *failed; /* marks and beginnings of lines of the first failure, or NULL: it passes */
} runs[] = {
    {STEPS("{" EVENT ", \"expect\": {\"text\": \"new m\", \"to\": \"+48500500500\", \"parts\": 1}}"), NULL},
    {STEPS("{" EVENT ", \"expect\": [{\"contains\": \"ew\", \"matches\": \"m$\", \"kind\": \"single\"}]}"),
     NULL},
    {STEPS("{" EVENT "}, {\"after\": \"1h\"}, {\"expect\": {\"rule\": \"r\"}}"), NULL},
    {STEPS("{" EVENT ", \"times\": 3, \"every\": \"1s\", \"expect\": [{\"times\": 2}, {\"suppressed\": "
           "\"throttle\", \"count\": 1}]}"),
     NULL},
    {STEPS("{\"expect\": {\"nothing\": true}}"), NULL},
    {STEPS("{" EVENT ", \"expect\": {\"nothing\": true}}"), "+single to +********500  rule r  \"new m\""},
    {STEPS("{" EVENT "}"), "+single to +********500"},
    {STEPS("{" EVENT ", \"expect\": {\"text\": \"old m\"}}"), "-message   \"old m\"|+single"},
    {STEPS("{" EVENT ", \"times\": 3, \"expect\": [{\"times\": 3}]}"),
     "-message   (3 times, came 2)| suppressed to +********500  rule r  throttle"},
    {STEPS("{" EVENT ", \"expect\": [{}, {\"suppressed\": true}]}"), "-suppressed "},
    {STEPS("{" EVENT ", \"expect\": [{\"to\": \"+48500500501\"}]}"), "-message to +********501|+single"},
};

static void check_lines(const char *text, const cJSON *failures, const char *wanted)
{
    const cJSON *line = cJSON_GetObjectItem(failures->child, "lines")->child;
    char *copy = xstrdup(wanted), *rest = copy, *one;
    while ((one = strsep(&rest, "|"))) {
        const char *mark = line ? cJSON_GetObjectItem(line, "mark")->valuestring : "";
        const char *said = line ? cJSON_GetObjectItem(line, "text")->valuestring : "";
        if (!line || *mark != *one || strncmp(said, one + 1, strlen(one + 1)) != 0)
            fail_msg("%s\nsaid %s%s", text, mark, said);
        line = line->next;
    }
    free(copy);
}

static void tests_pass_and_fail(void **state)
{
    (void)state;
    struct slice *slice =
        slice_of("rule \"r\" { when = \"type == 'threadNewMessage'\" to = { \"+48500500500\" } "
                 "message = \"new m\" throttle = \"2/min\" }\n");
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct faults faults = {0};
        struct ruletests t;
        write_file(runs[i].text);
        ruletests_read(&t, path, &faults);
        cJSON *failures = ruletest_run(&t.list[0], slice, false, &faults);
        if (faults.count)
            fail_msg("%s\n%s", runs[i].text, faults.list[0].text);
        if (!runs[i].failed && failures->child)
            fail_msg("%s\nfailed: %s", runs[i].text, cJSON_PrintUnformatted(failures));
        if (runs[i].failed && !failures->child)
            fail_msg("%s\npassed", runs[i].text);
        if (runs[i].failed)
            check_lines(runs[i].text, failures, runs[i].failed);
        cJSON_Delete(failures);
        ruletests_free(&t);
    }
    slice_free(&slice);
    unlink(path);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_have_their_place),
        cmocka_unit_test(tests_pass_and_fail),
    };
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
