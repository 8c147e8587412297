/* links: expr core */
/*
 * matches(): what RE2 accepts is accepted and means the same, what RE2 refuses is refused, and no pattern or
 * text takes more than its limit.
 */
#include "tests/unit/expr_cases.h"

#include <stdlib.h>

#include "dispatcher/expr/regex.h"

#define TEXT(literal) literal, sizeof literal - 1

/* 1, 0, -1 as expr_regex_match; -2 if the pattern is refused. Twice: from the heap and from an arena. */
static int match(const char *pattern, size_t pattern_length, const char *text, size_t length)
{
    const char *message = NULL;
    size_t offset = 0;
    int results[2] = {-2, -2};
    struct expr_arena *arena = expr_arena_new(8u << 20);
    struct expr_regex *heap = expr_regex_compile(pattern, pattern_length, NULL, &message, &offset);
    if (heap != NULL)
        results[0] = expr_regex_match(heap, text, length, arena, &message);
    else
        assert_true(offset <= pattern_length && message != NULL);
    expr_regex_free(&heap);
    const struct expr_regex *quick = expr_regex_compile(pattern, pattern_length, arena, &message, &offset);
    if (quick != NULL)
        results[1] = expr_regex_match(quick, text, length, arena, &message);
    expr_arena_free(&arena);
    assert_int_equal(results[0], results[1]);
    return results[0];
}

static void test_meaning(void **state)
{
    static const struct {
        const char *pattern;
        const char *text;
        int want;
    } cases[] = {
        {"ubb", "hubba", 1},
        {"foo|bar", "", 0},
        {"", "cows", 1},
        {"", "", 1},
        {"bc", "abcd", 1},
        {"(?P<1>a)(?<2b_>b)", "ab", 1},
        {"(a{33}){30}", "a", 0},
        {"(a{2}){3}(b{500}|c{2})", "aaaaaacc", 1},
        {"(a{10})*b{1000}|(a{10}){3}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1},
        {"(a{1000}){0}b", "b", 1},
        {"gr(a|e)y", "grey", 1},
        {"ba(na)*", "banana", 1},
        {"a+ñ+a+", "mañana", 1},
        {"(a|\xf0\x9f\x98\x80){2}", "\xf0\x9f\x90\xb1\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 1},
        {"^abc$", "abc", 1},
        {"^abc$", "xabc", 0},
        {"^abc$", "abc\n", 0},
        {"(?m)^b$", "a\nb\nc", 1},
        {"^b$", "a\nb\nc", 0},
        {"(?m)^$", "a\n", 1},
        {"a.c", "abc", 1},
        {"a.c", "a\nc", 0},
        {"(?s)a.c", "a\nc", 1},
        {"a.c", "a\rc", 1},
        {"(?i)straSSe", "STRASSE", 1},
        {"(?i:A)b", "ab", 1},
        {"(?i:A)b", "aB", 0},
        {"(?i)ż", "Ż", 1},
        {"(?i-s:a.)", "A\n", 0},
        {"(?U)a+", "aa", 1},
        {"\\d+", "a1", 1},
        {"\\d", "٣", 0},
        {"\\D", "1", 0},
        {"\\w", "é", 0},
        {"\\W", "é", 1},
        {"\\s", "\v", 0},
        {"[\\s]", "\v", 0},
        {"\\S", "\v", 1},
        {"[\\S]", "\v", 1},
        {"[^\\s]", "\v", 1},
        {"[^\\S]", "\v", 0},
        {"\\s", "\f", 1},
        {"^\\v$", "\v", 1},
        {"^\\v$", "\n", 0},
        {"[\\v]", "\n", 0},
        {"\\a\\f\\t\\n\\r", "\a\f\t\n\r", 1},
        {"^\\x41\\x{1F600}$", "A\xf0\x9f\x98\x80", 1},
        {"^\\101$", "A", 1},
        {"^\\0$", "", 0},
        {"^\\012$", "\n", 1},
        {"^\\12$", "\n", 1},
        {"^\\Qa.b*\\Ec$", "a.b*c", 1},
        {"^\\Qa.b", "a.b", 1},
        {"\\Qab\\E+$", "abbb", 1},
        {"\\Aabc\\z", "abc", 1},
        {"abc\\z", "abc\n", 0},
        {"\\bfoo\\b", "a foo b", 1},
        {"\\bfoo\\b", "afoob", 0},
        {"\\Boo", "foo", 1},
        {"\\pL", "ż", 1},
        {"\\p{Greek}", "α", 1},
        {"\\P{Greek}", "α", 0},
        {"\\p{^Greek}", "a", 1},
        {"\\p{Lu}", "a", 0},
        {"[\\p{Lu}x]", "x", 1},
        {"[[:alpha:]]", "a", 1},
        {"[[:^alpha:]]", "a", 0},
        {"[[:word:]-]", "-", 1},
        {"[[:digit:][:space:]]", " ", 1},
        {"[]a]", "]", 1},
        {"[^]a]", "]", 0},
        {"[a-c]", "b", 1},
        {"[a\\-c]", "b", 0},
        {"[-a]", "-", 1},
        {"[a-]", "-", 1},
        {"[.]", "x", 0},
        {"[a&&b]", "&", 1},
        {"[:alpha:]", "p", 1},
        {"[[]", "[", 1},
        {"[a[b]", "[", 1},
        {"[ą-ż]", "ę", 1},
        {"[\\x61-\\x{63}]", "b", 1},
        {"[\\n]", "\n", 1},
        {"a{2}", "aa", 1},
        {"^a{2,3}$", "aaaa", 0},
        {"^a{2,}$", "aaaa", 1},
        {"a{,2}", "a{,2}", 1},
        {"a{x}", "a{x}", 1},
        {"a{", "a{", 1},
        {"{", "{", 1},
        {"a{1,2", "a{1,2", 1},
        {"a}", "a}", 1},
        {"a]", "a]", 1},
        {"a??b", "b", 1},
        {"a*?b", "aab", 1},
        {"a+?b", "aab", 1},
        {"a{1,2}?b", "aab", 1},
        {"(?P<year>\\d{4})-(?P<month>\\d\\d)", "on 2024-05", 1},
        {"(?<n>a)b", "ab", 1},
        {"(?:a|b)+", "abab", 1},
        {"(|a)b", "b", 1},
        {"a||b", "", 1},
        {"()", "", 1},
        {"^*", "x", 1},
        {"(?:\\b)*a", "a", 1},
        {"\\.\\*\\+\\?\\(\\)\\[\\]\\{\\}\\^\\$\\|\\\\\\/\\_\\-", ".*+?()[]{}^$|\\/_-", 1},
        {"#a b", "#a b", 1},
        {"a b", "ab", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int got = match(cases[i].pattern, strlen(cases[i].pattern), cases[i].text, strlen(cases[i].text));
        if (got != cases[i].want)
            fail_msg("'%s' on '%s': %d", cases[i].pattern, cases[i].text, got);
    }
    assert_int_equal(match(TEXT("a\0b"), TEXT("a\0b")), 1);
    assert_int_equal(match(TEXT("^[\0]$"), TEXT("\0")), 1);
}

static void test_refused(void **state)
{
    static const char *const patterns[] = {
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?<!a)b",
        "(?>a)",
        "(?|a|b)",
        "(?#x)",
        "(?R)",
        "(?1)(a)",
        "(a)(?-1)",
        "(?P=n)",
        "(?P>n)",
        "(?&n)",
        "(?(1)a|b)",
        "(?C)",
        "(?C1)",
        "(*UTF8)a",
        "(*ACCEPT)",
        "(*:m)",
        "(a)\\1",
        "(a)\\2b",
        "\\8",
        "\\9",
        "(?P<n>a)\\k<n>",
        "\\g1",
        "\\g{1}",
        "\\k{n}",
        "\\K",
        "\\R",
        "\\X",
        "\\h",
        "\\H",
        "\\N",
        "\\V",
        "\\Z",
        "\\G",
        "\\C",
        "\\e",
        "\\cA",
        "\\o{12}",
        "\\E",
        "\\l",
        "\\u0041",
        "\\y",
        "a**",
        "a*+",
        "a++",
        "a?+",
        "a{2}{3}",
        "a{2}*",
        "a{1,2}+",
        "*a",
        "+a",
        "?a",
        "(*a)",
        "|*",
        "(|+)",
        "a{1001}",
        "a{1,1001}",
        "a{3,2}",
        "(",
        ")",
        "a)",
        "(a",
        "[",
        "[a",
        "[]",
        "[^]",
        "[b-a]",
        "[a-\\d]",
        "[[:foo:]]",
        "[\\Qa\\E]",
        "[\\8]",
        "[\\R]",
        "\\",
        "a\\",
        "\\x",
        "\\x4",
        "\\xg0",
        "\\x{}",
        "\\x{110000}",
        "\\x{D800}",
        "\\x{41",
        "\\p",
        "\\pz",
        "\\p{",
        "\\p{Foo}",
        "\\p{}",
        "(?",
        "(?)",
        "(?-)",
        "(?i-)",
        "(?x)a",
        "(?n)a",
        "(?J)a",
        "(?^)a",
        "(?i--s)a",
        "(?i",
        "(?P",
        "(?P<",
        "(?P<>a)",
        "(?P<n",
        "(?P<n-m>a)",
        "(?'n'a)",
        "(?P<n>a)(?P<n>b)",
        "\xff",
        "[\xff]",
        "\\\xc5\xbc",
        "(?<n",
        "(?<n>a)(?<n>b)",
        "((((a{1000}){1000}){1000}){1000}){1000}",
        "(a{1000}){2}",
        "(a{30}){34}",
        "(?:b|(?P<n>ca{10}){10}d){11}",
        "((a{2,11}){11}*){10}",
        "(a{501,}){2}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        if (match(patterns[i], strlen(patterns[i]), "a", 1) != -2)
            fail_msg("accepted: %s", patterns[i]);
}

static void test_limits(void **state)
{
    char text[4096];
    char *pattern = malloc(REGEX_PATTERN_LIMIT + 1);
    (void)state;
    assert_non_null(pattern);
    memset(text, 'a', sizeof text);
    assert_int_equal(match("(a+)+$", 6, text, sizeof text), 1);
    text[sizeof text - 1] = 'b';
    assert_int_equal(match(TEXT("^(a+)+$"), text, sizeof text), -1);
    assert_int_equal(match(TEXT("^(a|aa)+$"), text, sizeof text), -1);
    assert_int_equal(match(TEXT("b$"), text, sizeof text), 1);
    memset(pattern, '.', REGEX_PATTERN_LIMIT + 1);
    assert_int_equal(match(pattern, REGEX_PATTERN_LIMIT + 1, "a", 1), -2);
    assert_int_equal(match(pattern, 100, "a", 1), 0);
    memset(pattern, '(', REGEX_PATTERN_LIMIT);
    assert_int_equal(match(pattern, REGEX_PATTERN_LIMIT, "a", 1), -2);
    memset(pattern, '^', REGEX_PATTERN_LIMIT);
    assert_int_equal(match(pattern, REGEX_PATTERN_LIMIT, "a", 1), 1);
    free(pattern);
}

/* Bytes that are no UTF-8 never match, and do not end the search. */
static void test_invalid_text(void **state)
{
    (void)state;
    assert_int_equal(match(TEXT("a"), TEXT("\xff"
                                           "a")),
                     1);
    assert_int_equal(match(TEXT("^.$"), TEXT("\xff")), 0);
    assert_int_equal(match(TEXT("a.b"), TEXT("a\xff"
                                             "b")),
                     0);
}

static void test_in_expressions(void **state)
{
    static const struct expr_case cases[] = {
        {"'hubba'.matches('ubb')", "bool true"},
        {"matches('hubba', 'ubb')", "bool true"},
        {"'abc'.matches('a' + 'b')", "bool true"},
        {"'abc'.matches(r'^\\w+$')", "bool true"},
        {"'a'.matches('(')", "error a group does not end"},
        {"true || 'a'.matches('(')", "bool true"},
        {"'a'.matches('(' + '')", "error matches(): a group does not end"},
        {"['a', 'b('].exists(p, 'xa'.matches(p))", "bool true"},
        {"'a'.matches(b'a')", "error no such overload"},
        {"1.matches('a')", "error no such overload"},
    };
    (void)state;
    expr_cases_plain(CASES(cases));
}

/* A thousand matches in one evaluation neither fill the arena nor run for ever. */
static void test_many_matches(void **state)
{
    static const char source[] = "list.all(x, x.matches('^a+b?$') && x.matches('a' + '+'))";
    static const char *const names[] = {"list"};
    struct expr_value items[1000];
    struct expr_env env = {.variables = names, .variable_count = 1};
    struct expr *expr = expr_compile(source, sizeof source - 1, &env, NULL);
    struct expr_arena *arena = expr_arena_new(1u << 20);
    (void)state;
    assert_non_null(expr);
    for (size_t i = 0; i < 1000; i++)
        items[i] = expr_string_z("aaab");
    struct expr_value list = expr_list(items, 1000);
    struct expr_activation activation = {.values = &list, .value_count = 1, .step_limit = 1000000};
    struct expr_value result = expr_eval(expr, &activation, arena);
    assert_int_equal(result.type, EXPR_BOOL);
    assert_true(result.as.boolean);
    activation.step_limit = 0;
    result = expr_eval(expr, &activation, arena);
    assert_int_equal(result.type, EXPR_ERROR);
    assert_non_null(strstr(result.as.string, "out of steps"));
    expr_arena_free(&arena);
    expr_free(&expr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meaning),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_invalid_text),
        cmocka_unit_test(test_in_expressions), cmocka_unit_test(test_many_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
