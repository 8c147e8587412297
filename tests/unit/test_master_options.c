/* links: master_parts */
#include "master/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct option_row rows[] = {
    OPTIONS_CLIENT,
    {"state", 's', "STATE", "a state"},
    {"json", 'j', NULL, "as JSON"},
    {"to", 0, "NUMBER", "a number"},
    {0},
};

enum { WORDS_MAX = 12 };

/* Parses WORDS (NULL-terminated) behind a command's name. The fault, or NULL; the caller frees. */
static char *parse(const char *const *words, bool numbers, struct arguments *out)
{
    static char *argv[WORDS_MAX + 2];
    static char storage[WORDS_MAX + 1][64];
    int argc = 0;
    char *why = NULL;
    strcpy(storage[argc], "command");
    argv[argc] = storage[argc];
    argc++;
    for (; *words; words++, argc++) {
        strcpy(storage[argc], *words);
        argv[argc] = storage[argc];
    }
    argv[argc] = NULL;
    int rc = options_parse(rows, argc, argv, numbers, out, &why);
    assert_true((rc == 0) == (why == NULL));
    return why;
}

#define PARSE(out, ...) parse((const char *const[]){__VA_ARGS__, NULL}, false, out)

static void values_words_and_switches(void **state)
{
    (void)state;
    struct arguments a;
    assert_null(PARSE(&a, "ls", "-c", "/a.conf", "--state=dead", "id", "--json", "--to", "+48", "--to", "-"));
    assert_string_equal(options_get(&a, "config"), "/a.conf");
    assert_string_equal(options_get(&a, "state"), "dead");
    assert_true(options_has(&a, "json"));
    assert_false(options_has(&a, "help"));
    assert_null(options_get(&a, "runtime-dir"));
    assert_string_equal(options_get_nth(&a, "to", 0), "+48");
    assert_string_equal(options_get_nth(&a, "to", 1), "-");
    assert_null(options_get_nth(&a, "to", 2));
    assert_int_equal(a.words_count, 2);
    assert_string_equal(a.words[0], "ls");
    assert_string_equal(a.words[1], "id");
    options_free(&a);
}

static void the_last_of_equal_options_counts(void **state)
{
    (void)state;
    struct arguments a;
    assert_null(PARSE(&a, "-s", "a", "--state", "b"));
    assert_string_equal(options_get(&a, "state"), "b");
    options_free(&a);
}

static void everything_behind_two_dashes_is_a_word(void **state)
{
    (void)state;
    struct arguments a;
    assert_null(PARSE(&a, "--", "--json"));
    assert_false(options_has(&a, "json"));
    assert_string_equal(a.words[0], "--json");
    options_free(&a);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *word, *fault;
    } cases[] = {
        {"--sate", "unknown option \"--sate\"; did you mean \"--state\"?"},
        {"--jsn=1", "unknown option \"--jsn\"; did you mean \"--json\"?"},
        {"--qqqqqq", "unknown option \"--qqqqqq\""},
        {"-q", "unknown option \"-q\""},
        {"-jq", "unknown option \"-q\""},
        {"--state", "option \"--state\" needs a value: --state STATE"},
        {"-s", "option \"--state\" needs a value: --state STATE"},
        {"--json=yes", "option \"--json\" takes no value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arguments a;
        char *why = PARSE(&a, cases[i].word);
        assert_non_null(why);
        assert_string_equal(why, cases[i].fault);
        free(why);
        options_free(&a);
    }
}

static void negative_numbers_may_be_words(void **state)
{
    (void)state;
    struct arguments a;
    const char *const words[] = {"-1", "-c", "x", NULL};
    assert_null(parse(words, true, &a));
    assert_int_equal(a.words_count, 1);
    assert_string_equal(a.words[0], "-1");
    assert_string_equal(options_get(&a, "config"), "x");
    options_free(&a);
    char *why = parse(words, false, &a);
    assert_string_equal(why, "unknown option \"-1\"");
    free(why);
    options_free(&a);
}

static void too_many_are_refused(void **state)
{
    (void)state;
    char *argv[OPTIONS_REPEAT_MAX + 3];
    char name[] = "command", option[] = "-j";
    argv[0] = name;
    for (int i = 1; i <= OPTIONS_REPEAT_MAX + 1; i++)
        argv[i] = option;
    argv[OPTIONS_REPEAT_MAX + 2] = NULL;
    struct arguments a;
    char *why = NULL;
    assert_int_equal(options_parse(rows, OPTIONS_REPEAT_MAX + 2, argv, false, &a, &why), -1);
    assert_non_null(why);
    free(why);
    options_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_words_and_switches),
        cmocka_unit_test(the_last_of_equal_options_counts),
        cmocka_unit_test(everything_behind_two_dashes_is_a_word),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(negative_numbers_may_be_words),
        cmocka_unit_test(too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
