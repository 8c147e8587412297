/* links: expr core */
/*
 * The lexis and grammar: literals and their escapes, precedence, blanks and comments, errors with their
 * place, names that are nearly known, and everything that bounds a hostile source.
 */
#include "tests/unit/expr_cases.h"

#include <stdlib.h>

static void test_literals(void **state)
{
    static const struct expr_case cases[] = {
        {"'hello'", "string \"hello\""},
        {"'''hello'''", "string \"hello\""},
        {"\"\"\"hello\"\"\"", "string \"hello\""},
        {"'''x''x'''", "string \"x''x\""},
        {"'\"\"'", "string \"\\\"\\\"\""},
        {"\"\"\"a\"b\"\"\"", "string \"a\\\"b\""},
        {"' \\\\ \\? \\\" \\' \\` '", "string \" \\\\ ? \\\" ' ` \""},
        {"\"\"\" ? \" ' ` \"\"\"", "string \" ? \\\" ' ` \""},
        {"' \\a \\b \\f \\t \\v '", "string \" \\u0007 \\b \\f \\t \\u000b \""},
        {"' \a \b \f \t \v '", "string \" \\u0007 \\b \\f \\t \\u000b \""},
        {"'''a\nb'''", "string \"a\\nb\""},
        {"'''a\r\nb'''", "string \"a\\r\\nb\""},
        {"'a\nb'", "error does not end"},
        {"'a\rb'", "error does not end"},
        {"' \\000 \\012 \\177 '", "string \" \\u0000 \\n \\u007f \""},
        {"' \\x00 \\x0A \\x7F '", "string \" \\u0000 \\n \\u007f \""},
        {"' \\X00 \\X0a \\X7f '", "string \" \\u0000 \\n \\u007f \""},
        {"'\\377'", "string \"ÿ\""},
        {"'\\xFF'", "string \"ÿ\""},
        {"'\\303\\277'", "string \"Ã¿\""},
        {"'\\u0100\\uFFFB'", "string \"\xc4\x80\xef\xbf\xbb\""},
        {"'\\U00010000\\U0001F62C'", "string \"\xf0\x90\x80\x80\xf0\x9f\x98\xac\""},
        {"'\\U00088888'", "string \"\xf2\x88\xa2\x88\""},
        {"'\\ud83d\\ude2c'", "string \"\xf0\x9f\x98\xac\""},
        {"'\\ud83d'", "error no Unicode code point"},
        {"'\\ude2c'", "error no Unicode code point"},
        {"'\\ud83dx'", "error no Unicode code point"},
        {"'\\U00110000'", "error no Unicode code point"},
        {"'\\UFFFFFFFF'", "error no Unicode code point"},
        {"'\\x4a\\x4B\\X4c\\u01aB\\U000001aB'", "string \"JKL\xc6\xab\xc6\xab\""},
        {"'\\400'", "error octal"},
        {"'\\08'", "error octal"},
        {"'\\1'", "error octal"},
        {"'\\xg0'", "error two hexadecimal"},
        {"'\\u12'", "error four hexadecimal"},
        {"'\\U1234567'", "error eight hexadecimal"},
        {"'\\q'", "error unknown escape"},
        {"'\\", "error unknown escape"},
        {"'abc", "error does not end"},
        {"'''abc''", "error does not end"},
        {"r'\\n\\x'", "string \"\\\\n\\\\x\""},
        {"R\"\\\\\"", "string \"\\\\\\\\\""},
        {"r'''\\'''", "string \"\\\\\""},
        {"r'a' + R'b'", "string \"ab\""},
        {"b'hello'", "bytes \"aGVsbG8=\""},
        {"B\"\"\"hello\"\"\"", "bytes \"aGVsbG8=\""},
        {"b'\\000\\xFF\\377'", "bytes \"AP//\""},
        {"br'\\xFF'", "bytes \"XHhGRg==\""},
        {"bR'\\x' == b'\\\\x'", "bool true"},
        {"rb'\\x' == b'\\\\x'", "error raw bytes are written br'...'"},
        {"b'\\u0041'", "error bytes have no"},
        {"bb'a'", "error expected"},
        {"'a' 'b'", "error an operator expected"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

static void test_grammar(void **state)
{
    static const struct expr_case cases[] = {
        {"[ . int ( 17 ) ] [ 0 ] == ( 18 - 1 ) && ! false ? 1 : 2", "int 1"},
        {"[\tint\t(\t17\t)\t]\t[\t0\t]\t==\t17\t?\t1\t:\t2", "int 1"},
        {"[\fint\f(\f17\f)\f]\f[\f0\f]", "int 17"},
        {"[\rint\r(\r17\r)\r]\r[\r0\r]", "int 17"},
        {"[// @\n1// @ '\n]// @\n[// @\n0]", "int 1"},
        {"1 // the end", "int 1"},
        {"1 + 2 == 3 && 2 < 3 || false", "bool true"},
        {"1 < 2 == true", "bool true"},
        {"!false == true", "bool true"},
        {"-1 + 2", "int 1"},
        {"- 1", "int -1"},
        {"-[1][0]", "int -1"},
        {"-size('ab')", "int -2"},
        {"2 in [1, 2] == true", "bool true"},
        {"true ? 1 : 2 + 3", "int 1"},
        {"1-1", "int 0"},
        {"1 -1", "int 0"},
        {"[1, 2, 3][1]", "int 2"},
        {"{'a': [1, {'b': 2}]}.a[1].b", "int 2"},
        {"(((1)))", "int 1"},
        {"!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!true", "bool true"},
        {"--------------------------------19", "int 19"},
        {"((((((((((((((((((((((((((((((((7))))))))))))))))))))))))))))))))", "int 7"},
        {"int(uint(int(uint(int(uint(int(uint(int(uint(int(uint(7))))))))))))", "int 7"},
        {"size([[[[[[[[[[[[0]]]]]]]]]]]])", "int 1"},
        {"size({0: {0: {0: {0: {0: {0: {0: {0: {0: {0: {0: {0: 'foo'}}}}}}}}}}}})", "int 1"},
        {"[[[[[[[[[[[['foo']]]]]]]]]]]][0][0][0][0][0][0][0][0][0][0][0][0]", "string \"foo\""},
        {"4 * 4 / 4 * 4 / 4 * 4 / 4 * 4 / 4 * 4 / 4 * 4 / 4 * 4 / 4 * 4 / 4 * 4 / 4 * 4 / 4", "int 4"},
        {"", "error an expression is missing"},
        {"  // nothing\n", "error an expression is missing"},
        {"1 +", "error the expression ends here"},
        {"1 + + 2", "error a value expected before '+'"},
        {"(1", "error ')' is missing"},
        {"1)", "error an operator expected before ')'"},
        {"[1", "error ']' is missing"},
        {"{1: 2", "error '}' is missing"},
        {"{1}", "error ':' and a value expected"},
        {"a = 1", "error equality is written =="},
        {"true & false", "error and is written &&"},
        {"true | false", "error or is written ||"},
        {"1 ? 2", "error ':' and the other value is missing"},
        {"if", "error 'if' is a reserved word"},
        {"for + 1", "error 'for' is a reserved word"},
        {"in", "error 'in' is a reserved word"},
        {"[1].map(for, 1)", "error takes the name"},
        {"1 $ 2", "error no meaning"},
        {"\xe2\x80\x9c"
         "a\xe2\x80\x9d",
         "error straight quotes"},
        {"a..b", "error the name of a field expected"},
        {"a.1", "error an operator expected before '.1'"},
        {"`a`", "error a value expected"},
        {"x.``", "error between backticks"},
        {"x.`a", "error between backticks"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

/* A source that repeats pieces: prefix, `count` times `piece`, suffix. */
static char *repeat(const char *prefix, const char *piece, size_t count, const char *suffix)
{
    size_t length = strlen(piece);
    char *text = malloc(strlen(prefix) + count * length + strlen(suffix) + 1);
    assert_non_null(text);
    char *end = stpcpy(text, prefix);
    for (size_t i = 0; i < count; i++)
        end = stpcpy(end, piece);
    strcpy(end, suffix);
    return text;
}

static void expect_repeat(const char *prefix, const char *piece, size_t count, const char *suffix,
                          const char *want)
{
    char *text = repeat(prefix, piece, count, suffix);
    struct expr_case one = {text, want};
    expr_cases_plain(&one, 1);
    free(text);
}

static void test_repetition(void **state)
{
    (void)state;
    expect_repeat("", "false || ", 5000, "true", "bool true");
    expect_repeat("", "true && ", 5000, "false", "bool false");
    expect_repeat("", "3 - 3 + ", 100, "3", "int 3");
    expect_repeat("", "true ? true : ", 100, "false", "bool true");
    expect_repeat("size([", "0, ", 3000, "0])", "int 3001");
    expect_repeat("'", "x", 60000, "' == ''", "bool false");
    expect_repeat("", "!", 200, "true", "bool true");
    expect_repeat("{'a':1}", ".a", 200, "", "error no such overload");
    expect_repeat("has(", "{'a':1}.a", 1, ")", "bool true");
}

static void expect_nested(const char *open, const char *inside, const char *close, size_t times, bool fine)
{
    char *opened = repeat("", open, times, inside);
    char *text = repeat(opened, close, times, "");
    struct expr_error error;
    struct expr *expr = expr_compile(text, strlen(text), NULL, &error);
    if ((expr != NULL) != fine)
        fail_msg("%zu of %s: %s", times, open, expr == NULL ? error.message : "taken");
    expr_free(&expr);
    free(opened);
    free(text);
}

/* The limit is the one that the message names, whatever is nested; the whole is the first level. */
static void test_nesting_up_to_the_limit(void **state)
{
    static const char *const pairs[][2] = {{"(", ")"}, {"[", "]"}, {"!", ""}, {"- ", ""}, {"dyn(", ")"}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        expect_nested(pairs[i][0], "true", pairs[i][1], EXPR_DEPTH_LIMIT - 1, true);
        expect_nested(pairs[i][0], "true", pairs[i][1], EXPR_DEPTH_LIMIT, false);
    }
}

/* None of these may exhaust the stack, whichever part of the grammar they lean on. */
static void test_hostile_depth(void **state)
{
    static const struct {
        const char *prefix;
        const char *piece;
        const char *suffix;
    } sources[] = {
        {"", "(", ""},        {"", "[", ""},        {"", "{1:", ""},
        {"", "!", "true"},    {"", "-", "1"},       {"", "- ", "x"},
        {"", "true?1:", "2"}, {"", "1+", "1"},      {"", "1==", "1"},
        {"x", ".a", ""},      {"x", "[0", ""},      {"x", "[0]", ""},
        {"", "int(", ""},     {"x", ".size()", ""}, {"", "has(", ""},
        {"", "x(1,", ""},     {"", "true||(", ""},  {"", "true&&(false||", ""},
        {"1", "*1", ""},      {"1", " in [1", ""},  {"'a'", "+'a'", ""},
        {"[]", "+[[]]", ""},  {"", "dyn(-", "1"},   {"", "{'a':{'a':", "1"},
    };
    struct expr_env env = {.unchecked = true};
    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        struct expr_error error;
        char *text =
            repeat(sources[i].prefix, sources[i].piece, 60000 / strlen(sources[i].piece), sources[i].suffix);
        struct expr *expr = expr_compile(text, strlen(text), &env, &error);
        assert_null(expr);
        if (strstr(error.message, "nested too deeply") == NULL)
            fail_msg("%s...: %s", sources[i].piece, error.message);
        free(text);
    }
}

static void test_limits(void **state)
{
    struct expr_error error;
    char *text = repeat("'", "x", EXPR_SOURCE_LIMIT, "'");
    (void)state;
    assert_null(expr_compile(text, strlen(text), NULL, &error));
    assert_non_null(strstr(error.message, "longer than"));
    assert_int_equal(error.line, 1);
    free(text);
    expect_repeat("f(", "1,", 100, "1)", "error at most 64 arguments");
    expect_repeat("", "[1].map(x,", EXPR_LOCALS_LIMIT + 1, "x", "error macros inside each other");
    assert_null(expr_compile("'\xff'", 3, NULL, &error));
    assert_int_equal(error.offset, 1);
    assert_non_null(strstr(error.message, "UTF-8"));
    assert_null(expr_compile("1 +", 3, NULL, NULL));
}

/* A NUL is a character like others in a string, and none anywhere else. */
static void test_nul(void **state)
{
    struct expr_activation activation = {0};
    char got[256];
    (void)state;
    expr_cases_show("b'\0' < b'\1'", 11, NULL, &activation, got, sizeof got);
    assert_string_equal(got, "bool true");
    expr_cases_show("1\0+ 1", 5, NULL, &activation, got, sizeof got);
    assert_string_equal(got, "error this character has no meaning here");
}

static void test_places(void **state)
{
    static const struct {
        const char *source;
        unsigned line;
        unsigned column;
        const char *message;
        const char *caret;
    } cases[] = {
        {"chanel == 'a'", 1, 1, "unknown name 'chanel': did you mean 'channel'?", "chanel == 'a'\n^\n"},
        {"channel == 'a' &&\n  tipe == 'b'", 2, 3, "unknown name 'tipe'", "  tipe == 'b'\n  ^\n"},
        {"channel.startWith('a')", 1, 9, "unknown function 'startWith()': did you mean 'startsWith()'?",
         "channel.startWith('a')\n        ^\n"},
        {"'zażółć' == +", 1, 13, "a value expected before '+'", "'zażółć' == +\n            ^\n"},
        {"channel == 'a", 1, 12, "this string does not end", "channel == 'a\n           ^\n"},
        {"channel ==", 1, 11, "the expression ends here", "channel ==\n          ^\n"},
        {"channel.matches('a(')", 1, 17, "matches(): a group does not end",
         "channel.matches('a(')\n                ^\n"},
        {"time.getHours('Europe/Warszawa')", 1, 15, "unknown time zone 'Europe/Warszawa'",
         "time.getHours('Europe/Warszawa')\n              ^\n"},
        {"size + 1", 1, 1, "'size' is a function", "size + 1\n^\n"},
        {"\tchannel ~ 'a'", 1, 10, "no meaning", " channel ~ 'a'\n         ^\n"},
        {"data.exist(x, x)", 1, 6, "did you mean 'exists()'?", "data.exist(x, x)\n     ^\n"},
        {"[1].all(element, elemnt > 0)", 1, 18, "did you mean 'element'?",
         "[1].all(element, elemnt > 0)\n                 ^\n"},
        {"(recovered && true", 1, 1, "this '(' is not closed: ')' is missing", "(recovered && true\n^\n"},
        {"type in ['a',\n 'b'", 1, 9, "this '[' is not closed", "type in ['a',\n        ^\n"},
        {"type.contains('a'", 1, 14, "this '(' is not closed", "type.contains('a'\n             ^\n"},
        {"data.list.all(x, x == 1", 1, 14, "this '(' is not closed",
         "data.list.all(x, x == 1\n             ^\n"},
        {"has(data.x", 1, 4, "this '(' is not closed", "has(data.x\n   ^\n"},
        {"data['x'", 1, 5, "this '[' is not closed", "data['x'\n    ^\n"},
        {"{'a': 1", 1, 1, "this '{' is not closed", "{'a': 1\n^\n"},
        {"type in ['a' 'b']", 1, 14, "',' or ']' expected before 'b'", "type in ['a' 'b']\n             ^\n"},
        {"type == 'a')", 1, 12, "before ')': nothing is open here", "type == 'a')\n           ^\n"},
        {"recovered and true", 1, 11, "before 'and': and is written &&", "recovered and true\n          ^\n"},
        {"recovered or true", 1, 11, "before 'or': or is written ||", "recovered or true\n          ^\n"},
        {"not recovered", 1, 1, "not is written !", "not recovered\n^\n"},
        {"recovered is true", 1, 11, "equality is written ==", "recovered is true\n          ^\n"},
        {"type = 'a'", 1, 6, "equality is written ==", "type = 'a'\n     ^\n"},
        {"type <> 'a'", 1, 6, "inequality is written !=", "type <> 'a'\n     ^\n"},
        {"type =~ 'a'", 1, 6, "x.matches(r'...')", "type =~ 'a'\n     ^\n"},
        {"recovered == True", 1, 14, "did you mean 'true'?", "recovered == True\n             ^\n"},
        {"data.thread-id == 'x'", 1, 13, "is it a field, .`thread-id`?",
         "data.thread-id == 'x'\n            ^\n"},
        {"item == 6757b8", 1, 13, "quotes around a text", "item == 6757b8\n            ^\n"},
        {"time > timestamp('2024-13-01T00:00:00Z')", 1, 8, "not a timestamp",
         "time > timestamp('2024-13-01T00:00:00Z')\n       ^\n"},
        {"duration('1 h') > duration('1h')", 1, 1, "not a duration", "duration('1 h') > duration('1h')\n^\n"},
        {"data.in == 1", 1, 6, "the name of a field expected before 'in'", "data.in == 1\n     ^\n"},
        {"while == 1", 1, 1, "'while' is a reserved word", "while == 1\n^\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr_error error;
        char caret[512];
        size_t length = strlen(cases[i].source);
        assert_null(expr_compile(cases[i].source, length, expr_event_env(), &error));
        if (strstr(error.message, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].source, error.message);
        assert_int_equal(error.line, cases[i].line);
        assert_int_equal(error.column, cases[i].column);
        size_t written = expr_error_caret(cases[i].source, length, &error, caret, sizeof caret);
        assert_string_equal(caret, cases[i].caret);
        assert_int_equal(written, strlen(caret));
    }
}

static void test_caret_of_long_lines(void **state)
{
    struct expr_error error;
    char caret[64];
    char *text = repeat("'", "\xc5\xbc", 1000, "' + ) + 1");
    (void)state;
    assert_null(expr_compile(text, strlen(text), NULL, &error));
    assert_int_equal(error.column, 1 + 1 + 1000 + 1 + 3);
    for (size_t size = 1; size <= sizeof caret; size++) {
        size_t written = expr_error_caret(text, strlen(text), &error, caret, size);
        assert_true(written < size);
        assert_int_equal(strlen(caret), written);
    }
    free(text);
}

static void test_every_prefix_compiles_or_fails(void **state)
{
    static const char source[] =
        "{'a': [1, 2.5e3, 0x1Fu, b'\\xff', r'''x''']}.a.filter(e, has(e.b) && e.c[0] in "
        "[-1, null] || 'x'.matches('^a+$') ? true : false).map(x, x > 1, dyn(x)).size() >= "
        "-3 // end";
    struct expr_env env = {.unchecked = true};
    (void)state;
    for (size_t length = 0; length <= sizeof source - 1; length++) {
        struct expr_error error;
        struct expr *expr = expr_compile(source, length, &env, &error);
        if (expr == NULL) {
            assert_true(error.offset <= length);
            assert_true(error.message[0] != '\0');
        }
        expr_free(&expr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_repetition),
        cmocka_unit_test(test_nesting_up_to_the_limit),
        cmocka_unit_test(test_hostile_depth),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_caret_of_long_lines),
        cmocka_unit_test(test_every_prefix_compiles_or_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
