/* links: master_parts */
#include "master/table.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- text ---- */

static void nothing_reaches_the_terminal_that_it_would_obey(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"plain text", "plain text"},
        {"", ""},
        {"\033[2J", "?[2J"},
        {"a\tb\rc\007\177", "a?b?c??"},
        {"two\nlines", "two lines"},
        {"\xc2\x9b"
         "31m",
         "?31m"}, /* C1 control: CSI in one character */
        {"\xe2\x80\xae"
         "abc",
         "?abc"}, /* right-to-left override */
        {"\xff\xfe", "??"},
        {"\xc3", "?"},
        {"za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87", "za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *clean = text_clean(cases[i].from, TEXT_ONE_LINE);
        assert_string_equal(clean, cases[i].to);
        free(clean);
    }
    char *lines = text_clean("a\nb\033", TEXT_LINES);
    assert_string_equal(lines, "a\nb?");
    free(lines);
}

static void width_is_in_columns(void **state)
{
    (void)state;
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("\xc5\xbc\xc3\xb3\xc5\x82w"), 4); /* two bytes, one column */
    assert_int_equal(text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4);  /* three bytes, two columns */
    assert_int_equal(text_width("e\xcc\x81"), 1);                 /* a combining accent */
    assert_int_equal(text_fit("\xe6\x97\xa5\xe6\x9c\xac", 3), 3); /* half a character does not fit */
    assert_int_equal(text_fit("abcdef", 4), 4);
    assert_int_equal(text_fit("abc", 100), 3);
}

static void numbers_are_grouped(void **state)
{
    (void)state;
    static const struct {
        double n;
        const char *text;
    } cases[] = {
        {0, "0"},          {7, "7"},       {999, "999"}, {1000, "1 000"}, {1234567, "1 234 567"},
        {-1000, "-1 000"}, {-999, "-999"},
    };
    char out[48];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(text_number(cases[i].n, out, sizeof out), cases[i].text);
    char small[4];
    assert_true(strlen(text_number(123456789, small, sizeof small)) < sizeof small);
}

/* ---- tables ---- */

static char *printed(const struct table *t, size_t width, bool colour)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    table_print(t, out, 2, width, colour);
    fclose(out);
    return text;
}

static struct table *sample(void)
{
    static const char *const heads[] = {"name", ">jobs", "reason"};
    struct table *t = table_new(heads, 3);
    table_cell(t, "a");
    table_cell_number(t, 12345);
    table_cell(t, "a rather long reason");
    table_cell_coloured(t, "\xc5\xbc\xc3\xb3\xc5\x82w", TEXT_RED);
    table_cell_number(t, 7);
    table_cell(t, NULL);
    return t;
}

static void columns_are_aligned_by_what_is_seen(void **state)
{
    (void)state;
    struct table *t = sample();
    assert_int_equal(table_rows(t), 2);
    char *text = printed(t, 0, false);
    assert_string_equal(text, "  name    jobs  reason\n"
                              "  a     12 345  a rather long reason\n"
                              "  \xc5\xbc\xc3\xb3\xc5\x82w       7\n");
    free(text);
    table_free(&t);
    assert_null(t);
}

static void the_last_column_is_cut_at_the_edge(void **state)
{
    (void)state;
    struct table *t = sample();
    char *text = printed(t, 26, false);
    assert_string_equal(text, "  name    jobs  reason\n"
                              "  a     12 345  a rather \xe2\x80\xa6\n"
                              "  \xc5\xbc\xc3\xb3\xc5\x82w       7\n");
    free(text);
    text = printed(t, 5, false);
    assert_non_null(strstr(text, "12 345"));
    free(text);
    table_free(&t);
}

static void colour_adds_no_width(void **state)
{
    (void)state;
    struct table *t = sample();
    char *text = printed(t, 0, true);
    assert_non_null(strstr(text, "  \033[1;31m\xc5\xbc\xc3\xb3\xc5\x82w\033[0m       7\n"));
    free(text);
    table_free(&t);
}

static void a_table_without_rows_is_its_heads(void **state)
{
    (void)state;
    static const char *const heads[] = {"a", ">b"};
    struct table *t = table_new(heads, 2);
    char *text = printed(t, 0, false);
    assert_string_equal(text, "  a  b\n");
    free(text);
    table_free(&t);
}

int main(void)
{
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_reaches_the_terminal_that_it_would_obey),
        cmocka_unit_test(width_is_in_columns),
        cmocka_unit_test(numbers_are_grouped),
        cmocka_unit_test(columns_are_aligned_by_what_is_seen),
        cmocka_unit_test(the_last_column_is_cut_at_the_edge),
        cmocka_unit_test(colour_adds_no_width),
        cmocka_unit_test(a_table_without_rows_is_its_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
