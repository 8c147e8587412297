/* links: expr core */
/*
 * The edges of the language: where numbers meet across types, ranges end, failures are absorbed and texts
 * are read. What CEL's specification leaves to the reader is settled here.
 */
#include "tests/unit/expr_cases.h"

#include "core/str.h"

#define MAX "9223372036854775807"
#define MIN "-9223372036854775808"
#define UMAX "18446744073709551615u"

static void test_numbers_across_types(void **state)
{
    static const struct expr_case cases[] = {
        {MAX " == 9223372036854775807u", "bool true"},
        {MAX " < 9223372036854775808u", "bool true"},
        {MIN " < 0u", "bool true"},
        {"-1 == " UMAX, "bool false"},
        {"-1 < " UMAX, "bool true"},
        {UMAX " > -1", "bool true"},
        {MIN " == -9223372036854775808.0", "bool true"},
        {MIN " > -9223372036854777856.0", "bool true"},
        {MAX " < 9223372036854777856.0", "bool true"},
        {UMAX " < 18446744073709555712.0", "bool true"},
        {"0u > -0.5", "bool true"},
        {"0u == -0.0", "bool true"},
        {"1 < 1.0000000000000002", "bool true"},
        {"2u >= 2.0", "bool true"},
        {"double('Infinity') > " UMAX, "bool true"},
        {"double('-Infinity') < " MIN, "bool true"},
        {"double('NaN') <= 1", "bool false"},
        {"1u >= double('NaN')", "bool false"},
        {"double('NaN') != 1u", "bool true"},
        {"double('NaN') in [1, double('NaN')]", "bool false"},
        {"[double('NaN')] == [double('NaN')]", "bool false"},
        {"3 in [1u, 2.0, 3.0]", "bool true"},
        {"3u in {3: 'x'}", "bool true"},
        {"{2: 'x'}[2.0]", "string \"x\""},
        {"{2u: 'x'}[2]", "string \"x\""},
        {"{2: 'x'}[2.5]", "error no such key"},
        {"{1: 1, 1u: 2}", "error repeated key"},
        {"{'k': 1, 'k': 1}", "error repeated key"},
        {"{false: 1, true: 2, false: 3}", "error repeated key"},
        {"{1.0: 1}", "error unsupported key"},
        {"{null: 1}", "error unsupported key"},
        {"{[]: 1}", "error unsupported key"},
        {"{'a': 1, 'b': 2u} == {'b': 2.0, 'a': 1u}", "bool true"},
        {"[1, [2u]] == [1.0, [2]]", "bool true"},
        {"1 == '1'", "bool false"},
        {"1 < '1'", "error no such overload"},
        {"null < null", "error no such overload"},
        {"1 + 1u", "error no such overload"},
        {"1.0 * 2", "error no such overload"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

static void test_ranges(void **state)
{
    static const struct expr_case cases[] = {
        {MAX " + 1", "error overflow"},
        {MIN " - 1", "error overflow"},
        {MIN " * -1", "error overflow"},
        {MIN " / -1", "error overflow"},
        {MIN " % -1", "error overflow"},
        {"-(" MIN ")", "error overflow"},
        {UMAX " + 1u", "error overflow"},
        {"1u - 2u", "error overflow"},
        {UMAX " * 2u", "error overflow"},
        {"1 / 0", "error divide by zero"},
        {"1u % 0u", "error modulus by zero"},
        {"1.0 / 0.0", "double \"Infinity\""},
        {"-1.0 / 0.0", "double \"-Infinity\""},
        {"0.0 / 0.0", "double \"NaN\""},
        {"-7 / 2", "int -3"},
        {"-7 % 2", "int -1"},
        {"int(9223372036854774784.0)", "int 9223372036854774784"},
        {"int(9223372036854775808.0)", "error range"},
        {"int(-9223372036854774784.0)", "int -9223372036854774784"},
        {"int(-9223372036854777856.0)", "error range"},
        {"int(double('NaN'))", "error range"},
        {"int(" UMAX ")", "error range"},
        {"int('" MAX "')", "int " MAX},
        {"int('9223372036854775808')", "error range"},
        {"uint(18446744073709549568.0)", "uint 18446744073709549568"},
        {"uint(18446744073709551616.0)", "error range"},
        {"uint(-1)", "error range"},
        {"uint(-0.1)", "error range"},
        {"uint('18446744073709551616')", "error range"},
        {"double('1e999')", "error range"},
        {"1e309", "error does not fit into a double"},
        {"-1.8e308", "error does not fit into a double"},
        {"1e-400", "double 0.0"},
        {"double(" UMAX ")", "double 18446744073709552000.0"},
        {"string(5e-324)", "string \"5e-324\""},
        {"string(1.7976931348623157e308)", "string \"1.7976931348623157e+308\""},
        {"string(0.1 + 0.2)", "string \"0.30000000000000004\""},
        {"string(-0.0)", "string \"-0\""},
        {"string(100.0)", "string \"100\""},
        {"string(1e20)", "string \"100000000000000000000\""},
        {"string(1e21)", "string \"1e+21\""},
        {"string(0.0001)", "string \"0.0001\""},
        {"double(string(1.1e-300)) == 1.1e-300", "bool true"},
        {"duration('9223372036s') + duration('1s')", "error range"},
        {"duration('-9223372036s') - duration('1s')", "error range"},
        {"timestamp('9999-12-31T23:59:59.999999999Z') + duration('1ns')", "error range"},
        {"timestamp('0001-01-01T00:00:00Z') - duration('1ns')", "error range"},
        {"timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z')", "error range"},
        {"timestamp(253402300799)", "Timestamp \"9999-12-31T23:59:59Z\""},
        {"timestamp(-62135596800)", "Timestamp \"0001-01-01T00:00:00Z\""},
        {"duration('1s') - timestamp('2000-01-01T00:00:00Z')", "error no such overload"},
        {"duration('-90s').getMinutes()", "int -1"},
        {"int(timestamp('1969-12-31T23:59:59.5Z'))", "int -1"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

static void test_absorption(void **state)
{
    static const struct expr_case cases[] = {
        {"1 / 0 == 1 || true", "bool true"},
        {"true || 1 / 0 == 1", "bool true"},
        {"false || 1 / 0 == 1", "error divide by zero"},
        {"1 / 0 == 1 || false", "error divide by zero"},
        {"1 / 0 == 1 && false", "bool false"},
        {"false && nobody", "bool false"},
        {"nobody && true", "error unknown name"},
        {"'text' && false", "bool false"},
        {"true || 'text'", "bool true"},
        {"true && 'text'", "error no such overload"},
        {"nothing() || true", "bool true"},
        {"!(nobody || true)", "bool false"},
        {"1 / 0 == 1 || 2 % 0 == 1 || true || nobody", "bool true"},
        {"(1 / 0 == 1 ? true : false) || true", "bool true"},
        {"true ? 1 : 1 / 0", "int 1"},
        {"false ? nobody : 2", "int 2"},
        {"1 ? 2 : 3", "error no such overload"},
        {"duration('1x') > duration('1s') || true", "bool true"},
        {"[0, 2].all(x, 4 / x == 1)", "bool false"},
        {"[2, 0].all(x, 4 / x == 2)", "error divide by zero"},
        {"[0, 2].exists(x, 4 / x == 2)", "bool true"},
        {"[0, 2].exists(x, 4 / x == 1)", "error divide by zero"},
        {"[0, 2, 4].exists_one(x, 4 / x == 2)", "error divide by zero"},
        {"[2, 4, 4].exists_one(x, x == 2)", "bool true"},
        {"[0].map(x, 1 / x)", "error divide by zero"},
        {"[1, 2].filter(x, x)", "error no such overload"},
        {"[1, 'a', null].all(x, x == x)", "bool true"},
        {"[].all(x, 1 / 0 == 1)", "bool true"},
        {"[].exists(x, 1 / 0 == 1)", "bool false"},
        {"[1, 1 / 0][0]", "error divide by zero"},
        {"{'a': 1 / 0}.b", "error divide by zero"},
        {"1 in [1, 1 / 0]", "error divide by zero"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

static void test_scopes(void **state)
{
    static const struct expr_case cases[] = {
        {"[1].map(x, [2].map(x, x)[0] + x)", "list [3]"},
        {"[{'z': 0}].exists(y, y.z == 0)", "bool true"},
        {"[1, 2].map(size, size + size([0]))", "list [2,3]"},
        {"[1].map(type, type(type) == int)", "list [true]"},
        {"[1].map(int, int + 1)", "list [2]"},
        {"[1].map(int, .int == int)", "list [false]"},
        {"[[1], [2, 3]].map(x, x.map(x, x * 2))", "list [[2],[4,6]]"},
        {"[1].exists(x, x == 1) && x == 1", "error unknown name 'x'"},
        {"{'a': 1, 'b': 2}.exists(k, k == 'b')", "bool true"},
        {"{'a': 1}.map(k, {k: k})", "list [{\"a\":\"a\"}]"},
        {"type(type(type))", "type \"type\""},
        {"type == type(int)", "bool true"},
        {"type(1u) == uint && type(null) == null_type", "bool true"},
        {"[int, type(1)].map(t, t == int)", "list [true,true]"},
        {"type(duration('1s')) == google.protobuf.Duration", "bool true"},
        {"has({'a': null}.a)", "bool true"},
        {"has({'a': {'b': 1}}.a.b)", "bool true"},
        {"has({}.a.b)", "error no such key"},
        {"has({'a': 1}.a.b)", "error no such overload"},
        {"has([1].size)", "error no such overload"},
        {"{'if': 1, 'for': 2}.for", "int 2"},
        {"{'a b': 1}.`a b`", "int 1"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

static void test_texts(void **state)
{
    static const struct expr_case cases[] = {
        {"'\\u017c' == '\\U0000017C'", "bool true"},
        {"size('\\U0001F514')", "int 1"},
        {"size(b'\xf0\x9f\x94\x94')", "int 4"},
        {"'\\ud83d\\udd14' == '\\U0001F514'", "bool true"},
        {"'\\ud83d'", "error no Unicode code point"},
        {"'\\udd14\\ud83d'", "error no Unicode code point"},
        {"'\\U00110000'", "error no Unicode code point"},
        {"'\\xfF' == '\\u00ff'", "bool true"},
        {"'\\377' == '\\u00ff'", "bool true"},
        {"b'\\377' == b'\\xff'", "bool true"},
        {"b'\xc5\xbc' == b'\\xc5\\xbc'", "bool true"},
        {"string(b'\\xc5\\xbc') == '\\u017c'", "bool true"},
        {"string(b'\\xc5')", "error invalid UTF-8"},
        {"bytes('\\u017c')", "bytes \"xbw=\""},
        {"'\\400'", "error octal"},
        {"'\\9'", "error octal"},
        {"'\\x4'", "error hexadecimal"},
        {"'\\u004'", "error hexadecimal"},
        {"b'\\u0041'", "error bytes have no"},
        {"'\\ '", "error unknown escape"},
        {"r'\\n' == '\\\\n'", "bool true"},
        {"R\"\\d\" + r'\\'", "string \"\\\\d\\\\\""},
        {"r'''it's \\'''", "string \"it's \\\\\""},
        {"'''a''b'\nc'''", "string \"a''b'\\nc\""},
        {"\"\"\"a\"b\"\"\"", "string \"a\\\"b\""},
        {"bR'\\1' == b'\\\\1'", "bool true"},
        {"Rb'\\1'", "error raw bytes"},
        {"'a\nb'", "error does not end"},
        {"''''", "error does not end"},
        {"size('''''')", "int 0"},
        {"'a'+'b' // + 'c'", "string \"ab\""},
        {"// first\n1 // then\n+ // and\n2", "int 3"},
        {"\t1\f+\r\n2\n", "int 3"},
        {"1\v+ 2", "error no meaning"},
        {"'z' < '\\u017c'", "bool true"},
        {"'\\uffff' < '\\U00010000'", "bool true"},
        {"b'\\x7f' < b'\\x80'", "bool true"},
        {"'a' < 'aa' && '' < 'a'", "bool true"},
        {"'za\\u017c\\u00f3\\u0142\\u0107'.contains('\\u017c\\u00f3')", "bool true"},
        {"''.startsWith('') && ''.endsWith('')", "bool true"},
        {"'a'.endsWith('aa')", "bool false"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

/* A NUL in the source is a character of a text like any other. */
static void test_nul_in_texts(void **state)
{
#define WITH_NUL(text) text, sizeof text - 1
    static const struct {
        const char *source;
        size_t length;
        const char *want;
    } cases[] = {
        {WITH_NUL("b'\0' > b''"), "bool true"},       {WITH_NUL("b'\0\1' < b'\1'"), "bool true"},
        {WITH_NUL("size('a\0b')"), "int 3"},          {WITH_NUL("'a\0b' == 'a\\x00b'"), "bool true"},
        {WITH_NUL("'a\0b' == 'a\0c'"), "bool false"},
    };
    const struct expr_activation activation = {0};
    char got[256];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expr_cases_show(cases[i].source, cases[i].length, NULL, &activation, got, sizeof got);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("case %zu: %s instead of %s", i, got, cases[i].want);
    }
}

/* Failures come into logs and JSON: what they quote of a text is cut between letters. */
static void test_quotes_of_failures(void **state)
{
#define LETTERS "\u017c\u017c\u017c\u017c\u017c\u017c\u017c\u017c\u017c\u017c"
#define LONG "x" LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS
    static const char *const cases[] = {"{'a': 1}['" LONG "']", "[{'a': 1}].map(m, m['" LONG "'])[0]",
                                        "timestamp(0).getHours('" LONG "')", "[1 '" LONG "']"};
    const struct expr_activation activation = {0};
    char got[512];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expr_cases_show(cases[i], strlen(cases[i]), NULL, &activation, got, sizeof got);
        assert_memory_equal(got, "error ", 6);
        if (!str_utf8_valid(got, strlen(got)))
            fail_msg("case %zu: %s", i, got);
    }
}

static void test_clock(void **state)
{
    static const struct expr_case cases[] = {
        {"timestamp('2024-03-31T00:59:59Z').getHours('Europe/Warsaw')", "int 1"},
        {"timestamp('2024-03-31T01:00:00Z').getHours('Europe/Warsaw')", "int 3"},
        {"timestamp('2024-10-27T00:30:00Z').getHours('Europe/Warsaw')", "int 2"},
        {"timestamp('2024-10-27T01:30:00Z').getHours('Europe/Warsaw')", "int 2"},
        {"timestamp('2050-07-01T12:00:00Z').getHours('Europe/Warsaw')", "int 14"},
        {"timestamp('2024-01-01T00:30:00Z').getHours('-05:45')", "int 18"},
        {"timestamp('2024-01-01T00:30:00Z').getMinutes('05:45')", "int 15"},
        {"timestamp('2024-01-01T00:30:00Z').getFullYear('America/New_York')", "int 2023"},
        {"timestamp('2024-01-01T00:30:00Z').getDayOfYear('America/New_York')", "int 364"},
        {"timestamp('2024-01-01T00:30:00Z').getMonth('America/New_York')", "int 11"},
        {"timestamp('2024-01-01T00:30:00Z').getHours('Europe')", "error unknown time zone"},
        {"timestamp('2024-01-01T00:30:00Z').getHours('+25:00')", "error unknown time zone"},
        {"timestamp('2024-01-01T02:00:00+02:00') == timestamp('2024-01-01T00:00:00Z')", "bool true"},
        {"timestamp('2024-02-29T00:00:00Z') + duration('24h') == timestamp('2024-03-01T00:00:00Z')",
         "bool true"},
        {"duration('1h') + timestamp(0) == timestamp(3600)", "bool true"},
        {"timestamp(10) - timestamp(20)", "Duration \"-10s\""},
        {"duration('1m') > duration('59.999999999s')", "bool true"},
        {"string(duration('1h1ms'))", "string \"3600.001s\""},
        {"duration(string(duration('-1.5s'))) == duration('-1500ms')", "bool true"},
        {"timestamp(string(timestamp('2024-01-01T00:00:00.000000001Z'))).getMilliseconds()", "int 0"},
        {"duration('3.75s').getMilliseconds()", "int 750"},
        {"duration('36h').getHours()", "int 36"},
        {"duration('1h').getHours('UTC')", "error no such overload"},
        {"duration('1h').getMonth()", "error no such overload"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_across_types),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_absorption),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_nul_in_texts),
        cmocka_unit_test(test_quotes_of_failures),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
