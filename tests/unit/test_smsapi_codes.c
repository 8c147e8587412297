/* links: sender_parts proto http core */
/* Every code of errors.csv against the table, and what may never be taken for a proof. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sender/smsapi_codes.h"

static int class_of(const char *name)
{
    for (int c = 0; c < WIRE_CLASSES; c++)
        if (strcmp(wire_class_names[c], name) == 0)
            return c;
    return -1;
}

static void every_code_has_its_class(void **state)
{
    (void)state;
    FILE *f = fopen(TEST_SOURCE_DIR "/tests/data/errors.csv", "r");
    assert_non_null(f);
    char line[1024];
    int rows = 0;
    assert_non_null(fgets(line, sizeof line, f)); /* the heading */
    while (fgets(line, sizeof line, f)) {
        char *rest = line;
        int32_t code = atoi(strsep(&rest, ","));
        strsep(&rest, ","); /* the meaning, without commas */
        int class = class_of(strsep(&rest, ","));
        const struct smsapi_code *row = smsapi_code(code);
        assert_true(class > 0);
        if (row->code != code || (int)row->class != class)
            fail_msg("code %d: row %d, class %s", code, row->code, wire_class_names[row->class]);
        rows++;
    }
    fclose(f);
    assert_int_equal(rows, 148);
}

static void doubtful_codes_prove_nothing(void **state)
{
    (void)state;
    static const int32_t doubtful[] = {8, 53, 200, 201, 409, 666, 998, 999, 1001, 4280};
    for (size_t i = 0; i < sizeof doubtful / sizeof doubtful[0]; i++)
        assert_int_equal(smsapi_code(doubtful[i])->proof, PROVES_NOTHING);
}

static void whole_refusals_prove_all(void **state)
{
    (void)state;
    static const int32_t whole[] = {11, 12, 14, 74, 94, 101, 102, 103, 105, 110, 202, 203, 401, 997, 1000};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        assert_int_equal(smsapi_code(whole[i])->proof, PROVES_ALL);
}

static void codes_about_a_recipient_prove_it_for_one(void **state)
{
    (void)state;
    static const int32_t single[] = {13, 19, 20, 32, 33, 52, 57, 59, 72, 96, 98, 112};
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++)
        assert_int_equal(smsapi_code(single[i])->proof, PROVES_ONE);
}

static void unlisted_codes_have_no_class(void **state)
{
    (void)state;
    static const int32_t unknown[] = {INT32_MIN, -1, 0, 1, 6, 9, 54321, INT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_int_equal(smsapi_code(unknown[i])->class, WIRE_CLASS_NONE);
        assert_int_equal(smsapi_code(unknown[i])->proof, PROVES_NOTHING);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_class),
        cmocka_unit_test(doubtful_codes_prove_nothing),
        cmocka_unit_test(whole_refusals_prove_all),
        cmocka_unit_test(codes_about_a_recipient_prove_it_for_one),
        cmocka_unit_test(unlisted_codes_have_no_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
