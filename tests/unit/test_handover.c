/* links: proto core */
/* Configurations on their way to a tool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "proto/handover.h"

static struct slice *slice_named(const char *title)
{
    struct slice *s = slice_new();
    struct slice_block *b = slice_add_block(s, "rule", title, "a.conf", 7);
    slice_add_setting(b, "when", SLICE_TEXT, 8)->text = xstrdup("true");
    return s;
}

static void all_of_them_arrive(void **state)
{
    (void)state;
    struct handovers out = {0}, in;
    handover_add(&out, "a.conf", slice_named("first"));
    handover_add(&out, "b.conf", slice_named("second"));
    int fd = handover_write(&out);
    assert_true(fd >= 0);
    assert_int_equal(handover_read(fd, &in), 0);
    assert_int_equal(in.count, 2);
    const struct slice_block *b = slice_find(handover_find(&in, "b.conf"), "rule", NULL);
    assert_string_equal(b->title, "second");
    assert_string_equal(slice_text(b, "when", NULL), "true");
    assert_int_equal(slice_get(b, "when")->line, 8);
    assert_null(handover_find(&in, "c.conf"));
    handover_free(&in);
    handover_free(&out);
    close(fd);
}

static void something_else_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "hello", "\x92\x01\x91\x92\xa1\x61\x05"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct handovers in;
        FILE *f = tmpfile();
        assert_non_null(f);
        fputs(texts[i], f);
        rewind(f);
        assert_int_equal(handover_read(fileno(f), &in), -1);
        assert_int_equal(in.count, 0);
        fclose(f);
    }
    struct handovers in;
    assert_int_equal(handover_read(-1, &in), -1);
}

static void paths_are_beside_the_file(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"dir/a.json", "b.conf", "dir/b.conf"},
        {"a.json", "b.conf", "b.conf"},
        {"/x/y/a.json", "../b.conf", "/x/y/../b.conf"},
        {"dir/a.json", "/etc/b.conf", "/etc/b.conf"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *path = handover_beside(rows[i][0], rows[i][1]);
        assert_string_equal(path, rows[i][2]);
        free(path);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_them_arrive),
        cmocka_unit_test(something_else_is_refused),
        cmocka_unit_test(paths_are_beside_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
