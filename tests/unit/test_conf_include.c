/* links: conf proto core */
#include "conf_fixture.h"

static int setup(void **state)
{
    conf_fixture_make(state, "main.conf", "conf.d");
    return 0;
}

/* One fault: in FILE of the directory, at LINE, with a text that ends in TEXT. */
static void assert_fault(const struct conf_fixture *x, const char *file, unsigned line, const char *text)
{
    struct faults f = {NULL, 0};
    assert_null(conf_load(x->conf, &f));
    assert_int_equal(f.count, 1);
    char *path = place_path(&x->place, file);
    assert_string_equal(f.list[0].file, path);
    assert_int_equal(f.list[0].line, line);
    size_t len = strlen(f.list[0].text), end = strlen(text);
    assert_true(len >= end);
    assert_string_equal(f.list[0].text + len - end, text);
    free(path);
    faults_free(&f);
}

static void a_directory_in_order(void **state)
{
    const struct conf_fixture *x = *state;
    struct faults f = {NULL, 0};
    place_write(&x->place, "main.conf", WHOLE "include \"conf.d\"\nrecipients zero { to = one }", 0644);
    place_write(&x->place, "conf.d/20-b.conf",
                "recipients two { to = zero2 } recipients zero2 { to = \"+48500500500\" }", 0644);
    place_write(&x->place, "conf.d/10-a.conf", "runtime_dir = \"./here\"\nrecipients one { to = two }", 0644);
    place_write(&x->place, "conf.d/.hidden.conf", "not { read", 0644);
    place_write(&x->place, "conf.d/old.conf.bak", "not { read", 0644);
    struct conf *c = must_load(conf_load(x->conf, &f), &f);
    static const char *const titles[] = {"zero", "one", "two", "zero2"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(conf_title(c, "recipients", i), titles[i]);
    char *here = place_path(&x->place, "conf.d/here"), *file = place_path(&x->place, "conf.d/10-a.conf");
    assert_string_equal(conf_text(c, CONF_TOP, NULL, "runtime_dir"), here);
    struct slice *s = conf_slice_dispatcher(c);
    assert_string_equal(slice_find(s, "recipients", "one")->file, file);
    assert_int_equal(slice_find(s, "recipients", "one")->line, 2);
    slice_free(&s);
    free(here);
    free(file);
    conf_free(&c);
}

static void files_and_empty_directories(void **state)
{
    const struct conf_fixture *x = *state;
    struct faults f = {NULL, 0};
    place_write(&x->place, "main.conf", "include 'conf.d/'\ninclude = \"more\" include b.conf", 0644);
    place_write(&x->place, "more", BRIDGE, 0644);
    place_write(&x->place, "b.conf", PROVIDER, 0644);
    struct conf *c = must_load(conf_load(x->conf, &f), &f);
    assert_int_equal(conf_count(c, "bridge"), 1);
    assert_int_equal(conf_count(c, "provider"), 1);
    conf_free(&c);
}

static void faults_name_the_included_file(void **state)
{
    const struct conf_fixture *x = *state;
    place_write(&x->place, "main.conf", WHOLE "include \"conf.d\"", 0644);
    place_write(&x->place, "conf.d/a.conf", "\nlog { levle = info }", 0644);
    assert_fault(x, "conf.d/a.conf", 2, "did you mean `level`?");
    place_write(&x->place, "conf.d/a.conf", "\n\nlog { level = info", 0644);
    assert_fault(x, "conf.d/a.conf", 3, "is not closed: its `}` is missing");
}

static void repeated_across_files(void **state)
{
    const struct conf_fixture *x = *state;
    place_write(&x->place, "main.conf", WHOLE "user = a\ninclude \"b.conf\"", 0644);
    place_write(&x->place, "b.conf", "\nuser = b", 0644);
    assert_fault(x, "b.conf", 2, "main.conf:3 already");
    place_write(&x->place, "b.conf", PROVIDER, 0644);
    assert_fault(x, "b.conf", 1, "main.conf:2 already");
    place_write(&x->place, "main.conf", WHOLE "log { level = info }\ninclude \"b.conf\"", 0644);
    place_write(&x->place, "b.conf", "\n\nlog { level = info }", 0644);
    assert_fault(x, "b.conf", 3, "main.conf:3 already");
}

static void what_cannot_be_included(void **state)
{
    const struct conf_fixture *x = *state;
    place_write(&x->place, "main.conf", WHOLE "\ninclude \"missing.conf\"", 0644);
    assert_fault(x, "main.conf", 4, "missing.conf`: No such file or directory");
    place_write(&x->place, "main.conf", WHOLE "include \"main.conf\"", 0644);
    assert_fault(x, "main.conf", 3, "main.conf`: the file includes itself");
    place_write(&x->place, "main.conf", WHOLE "include \"b.conf\"", 0644);
    place_write(&x->place, "b.conf", "\ninclude \"conf.d/../main.conf\"", 0644);
    assert_fault(x, "b.conf", 2, "main.conf`: the file includes itself");
    place_write(&x->place, "main.conf", WHOLE "include \"/dev/null\"", 0644);
    assert_fault(x, "main.conf", 3, "`/dev/null`: expected a regular file");
    place_write(&x->place, "main.conf", WHOLE "include \"${HOME}\"", 0644);
    assert_fault(x, "main.conf", 3, "expected a path without escapes and variables");
    place_write(&x->place, "main.conf", WHOLE "rule x { include \"b\" }", 0644);
    assert_fault(x, "main.conf", 3, "expected `=` and a value, or `{` and a block");
}

static void not_too_deep(void **state)
{
    const struct conf_fixture *x = *state;
    place_write(&x->place, "main.conf", WHOLE "include \"1.conf\"", 0644);
    for (int i = 1; i < 9; i++) {
        char name[32], text[48];
        snprintf(name, sizeof name, "%d.conf", i);
        snprintf(text, sizeof text, "include \"%d.conf\"", i + 1);
        place_write(&x->place, name, text, 0644);
    }
    assert_fault(x, "7.conf", 1, "8.conf`: files include each other too deeply");
}

static void a_file_that_is_not_there(void **state)
{
    const struct conf_fixture *x = *state;
    assert_fault(x, "main.conf", 0, "No such file or directory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, conf_fixture_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_directory_in_order),          TEST(files_and_empty_directories),
        TEST(faults_name_the_included_file), TEST(repeated_across_files),
        TEST(what_cannot_be_included),       TEST(not_too_deep),
        TEST(a_file_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
