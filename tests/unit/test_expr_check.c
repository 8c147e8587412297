/* links: text expr core */
/*
 * The check of types: what a configuration must not hold, what it may, and that operators and functions take
 * what their tables say.
 */
#include "tests/unit/expr_cases.h"

#include "dispatcher/expr/overload.h"
#include "dispatcher/expr/program.h"
#include "dispatcher/expr/template.h"
#include "dispatcher/text/message_env.h"

/* ---- What is refused ------------------------------------------------------------------------- */

static void refused(const char *source, const struct expr_purpose *purpose, unsigned column,
                    const char *message)
{
    struct expr_error error;
    struct expr *expr = expr_compile_for(source, strlen(source), message_env(), purpose, &error);
    if (expr != NULL)
        fail_msg("%s: let pass", source);
    if (strstr(error.message, message) == NULL || error.column != column)
        fail_msg("%s: column %u: %s", source, error.column, error.message);
}

static void test_conditions_of_another_type(void **state)
{
    static const struct {
        const char *source;
        unsigned column;
        const char *message;
    } cases[] = {
        {"author", 1, "a condition must be a bool; this is a string or null: compare it"},
        {"type", 1, "this is a string: compare it, as in author == 'alice'"},
        {"size(data)", 1, "this is an int: compare it, as in x > 0"},
        {"data", 1, "this is a map: compare its size, as in size(x) > 0"},
        {"time", 1, "this is a timestamp"},
        {"time - time", 6, "this is a duration"},
        {"null", 1, "this is null"},
        {"'true'", 1, "this is a string"},
        {"b'x'", 1, "this is bytes"},
        {"1.5", 1, "this is a double"},
        {"1u", 1, "this is a uint"},
        {"type(data)", 1, "this is a type"},
        {"[true]", 1, "this is a list"},
        {"recovered ? 'yes' : 1", 11, "this is an int or a string"},
        {"recovered ? author : count", 11, "this is an int, a string or null"},
        {"data.users.filter(u, u == 'x')", 12, "this is a list"},
        {"data.users.map(u, u == 'x')", 12, "this is a list"},
        {"{'a': true}", 1, "this is a map"},
        {"string(data.x)", 1, "this is a string"},
        {"true ? 'a' : data.x", 6, "this is a string"},
        {"date(time)", 1, "this is a string"},
        {"texts[0]", 6, "this is a string"},
        {"[1, 2][data.n]", 7, "this is an int"},
        {"{'a': 'b'}[data.n]", 11, "this is a string"},
        {"{'a': 'b'}.a", 12, "this is a string"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refused(cases[i].source, &expr_condition, cases[i].column, cases[i].message);
}

static void test_mismatches_inside(void **state)
{
    static const struct {
        const char *source;
        unsigned column;
        const char *message;
    } cases[] = {
        {"author + 1", 8, "no such overload: + of a string or null and an int: convert one of them"},
        {"author + time", 8, "+ of a string or null and a timestamp"},
        {"size(data) * 1.5 > 2.0", 12, "* of an int and a double: convert one of them by int(x), uint(x) or"},
        {"size(data) + 1u", 12, "+ of an int and a uint"},
        {"1.5 % 2.0", 1, "% takes an int or a uint; this is a double"},
        {"count - '1'", 9, "- takes an int, a uint, a double, a timestamp or a duration; this is a string"},
        {"time + 60 > time", 6, "a duration is written duration('90s')"},
        {"time + time", 6, "+ of a timestamp and a timestamp"},
        {"[1] + 'a'", 5, "+ of a list and a string"},
        {"true + true", 1, "; this is a bool"},
        {"type == 'x' && 1", 16, "&& takes a bool; this is an int: compare it, as in x > 0"},
        {"1 && type == 'x'", 1, "&& takes a bool"},
        {"type == 'x' || 'y'", 16, "|| takes a bool; this is a string"},
        {"type == 'x' || author + 1 == 'y'", 23, "+ of a string or null and an int"},
        {"recovered && (type == 'x' || author)", 30, "|| takes a bool; this is a string or null"},
        {"!author && recovered", 2, "! takes a bool"},
        {"(!author && recovered) && recovered", 3, "! takes a bool"},
        {"(1 && recovered) && recovered", 2, "&& takes a bool"},
        {"(author ? false : true) && recovered", 2, "?: takes a bool"},
        {"false || author", 10, "|| takes a bool"},
        {"author ? true : false", 1, "?: takes a bool; this is a string or null"},
        {"recovered ? author + 1 : ''", 20, "+ of a string or null and an int"},
        {"recovered ? '' : author.x", 25, "only a map has fields; this is a string or null"},
        {"!author", 2, "! takes a bool; this is a string or null"},
        {"!(size(data))", 3, "! takes a bool; this is an int"},
        {"-author", 2, "- takes an int or a double; this is a string or null"},
        {"-1u", 2, "- takes an int or a double; this is a uint"},
        {"1 < 'a'", 3, "< of an int and a string"},
        {"time > '2026-01-01T00:00:00Z'", 6, ": a time is written timestamp('2026-01-31T08:00:00Z')"},
        {"time - since > '1h'", 14, ": a duration is written duration('90s')"},
        {"time - since > 3600", 14, ": a duration is written duration('90s')"},
        {"data < data", 1, "< takes a bool, an int,"},
        {"null >= 1", 1, ">= takes"},
        {"size(5) > 1", 6, "size() takes a string, bytes, a list or a map; this is an int"},
        {"5.size() > 1", 1, "size() takes a string"},
        {"author.startsWith(3)", 19, "startsWith() takes a string; this is an int: convert it by string(x)"},
        {"time.startsWith('2026')", 1, "startsWith() takes a string; this is a timestamp"},
        {"author.matches(1)", 16, "matches() takes a string"},
        {"time.getHours(2) == 1", 15, "getHours() takes a string; this is an int"},
        {"author.getHours() == 1", 1, "getHours() takes a timestamp or a duration; this is a string or null"},
        {"(time - since).getHours('UTC') == 1", 7, "getHours() takes a timestamp; this is a duration"},
        {"(time - since).getFullYear() == 1", 7, "getFullYear() takes a timestamp"},
        {"bool(1)", 6, "bool() takes a bool or a string; this is an int"},
        {"int(null) == 1", 5, "int() takes"},
        {"string(data) == ''", 8, "string() takes"},
        {"duration(count) > duration('1s')", 10, "duration() takes a string or a duration; this is an int"},
        {"author.name == 'x'", 8, "only a map has fields"},
        {"author.size > 3", 8, "only a map has fields; this is a string or null: did you mean .size()?"},
        {"has(author.name)", 1, "only a map has fields"},
        {"[1].x", 5, "only a map has fields; this is a list"},
        {"author[0] == 'a'", 1, "[] takes a list or a map; this is a string or null"},
        {"[1, 2]['a'] == 1", 7, "no such overload: [] of a list and a string"},
        {"data[0] == 1", 6, "each key of this map is a string; this is an int"},
        {"data[null] == 1", 6, "[] takes a bool, an int, a uint, a double or a string; this is null"},
        {"{1.5: 'a'} == data", 2, "a key is a bool, an int, a uint or a string; this is a double"},
        {"'x' in author", 8,
         "in takes a list or a map; this is a string or null: a part of a string is found by"},
        {"author in [1, 2]", 8,
         "in finds nothing: each element is an int; this is a string or null: convert"},
        {"size(author) in ['a', null]", 14,
         "in finds nothing: each element is a string or null; this is an int"},
        {"1 in {'a': 1}", 3, "in finds nothing: each element is a string; this is an int"},
        {"author == 1", 8, "a string or null and an int are never equal: convert one of them"},
        {"recovered != 'true'", 11,
         "a bool and a string are never equal: convert one of them by string(x) or bool"},
        {"type(data.x) == 'string'", 14, "types are written without quotes, as in type(x) == string"},
        {"time == '2026-01-31T08:00:00Z'", 6, ": a time is written timestamp("},
        {"string(data.n) == 5", 16, "a string and an int are never equal"},
        {"author.exists(a, a == 'x')", 1, "exists() takes a list or a map; this is a string or null"},
        {"data.users.exists(u, 'x')", 22, "the condition of a macro must be a bool; this is a string"},
        {"data.users.all(u, size(u))", 19, "the condition of a macro must be a bool; this is an int"},
        {"data.users.map(u, 1, u).size() > 0", 19, "the condition of a macro must be a bool"},
        {"['a', 'b'].exists(x, x > 1)", 24, "> of a string and an int"},
        {"texts.exists(t, t + 1 == 2)", 19, "+ of a string and an int"},
        {"texts.filter(t, t == 'x')[0] > 1", 30, "> of a string and an int"},
        {"texts.map(t, size(t))[0].startsWith('a')", 22, "startsWith() takes a string; this is an int"},
        {"(texts + ['a']).exists(t, t > 1)", 29, "> of a string and an int"},
        {"data.exists(k, k > 1)", 18, "> of a string and an int"},
        {"[[1], author + 1].size() == 2", 14, "+ of a string or null and an int"},
        {"{'a': author + 1}.size() == 2", 14, "+ of a string or null and an int"},
        {"date(author) == 'x'", 6, "date() takes a timestamp; this is a string or null"},
        {"date(time, 5) == 'x'", 12, "date() takes a string; this is an int"},
        {"plural(author, 'a', 'b') == 'a'", 8, "plural() takes an int or a uint"},
        {"short(author, '5') == 'a'", 15, "short() takes an int; this is a string"},
        {"false ? author + 1 : author + 2.0", 29, "+ of a string or null and a double"},
        {"author + 1 == 'x' && size(5) > 1", 8, "+ of a string or null and an int"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refused(cases[i].source, NULL, cases[i].column, cases[i].message);
}

static void test_what_a_purpose_wants_of_lists(void **state)
{
    static const struct expr_purpose people = {
        .wanted = {.types = EXPR_TEXT | EXPR_SET(EXPR_LIST), .elements = EXPR_TEXT | EXPR_SET(EXPR_LIST)},
        .demand = "wanted are texts",
    };
    static const char *const fine[] = {
        "author",
        "texts",
        "[]",
        "[author, 'x']",
        "[[author]]",
        "['a', 1]",
        "data.x",
        "[data.x]",
        "[] + texts",
        "data.x.map(x, x)",
        "recovered ? 'a' : null",
        "true ? [] : 1",
        "[].map(x, 1)",
    };
    (void)state;
    refused("1", &people, 1, "wanted are texts; this is an int");
    refused("data", &people, 1, "wanted are texts; this is a map");
    refused("recovered ? null : 1", &people, 11, "wanted are texts; this is an int or null");
    refused("[1, null]", &people, 1, "wanted are texts; this is a list, but each element is an int or null");
    refused("texts.map(t, size(t))", &people, 7, "this is a list, but each element is an int");
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        struct expr_error error;
        struct expr *expr = expr_compile_for(fine[i], strlen(fine[i]), message_env(), &people, &error);
        if (expr == NULL)
            fail_msg("%s: %s", fine[i], error.message);
        expr_free(&expr);
    }
}

static void test_place_in_lines_and_templates(void **state)
{
    static const char source[] = "type == 'zażółć' &&\n  'ż' + 'ź' + 1 == author";
    struct expr_error error;
    (void)state;
    assert_null(expr_compile_for(source, strlen(source), expr_event_env(), &expr_condition, &error));
    assert_int_equal(error.line, 2);
    assert_int_equal(error.column, 13);
    static const struct {
        const char *source;
        unsigned column;
    } templates[] = {
        {"ż {{ author }} {{ author + 1 }}", 26},
        {"{{ author ?? size(time) }}", 19},
        {"{{ author + 1 ?? 'x' }}", 11},
        {"{{ unsafe(author.name) }}", 18},
    };
    for (size_t i = 0; i < sizeof templates / sizeof templates[0]; i++) {
        const char *text = templates[i].source;
        if (expr_template_compile(text, strlen(text), message_env(), &error) != NULL)
            fail_msg("%s: let pass", text);
        if (error.column != templates[i].column)
            fail_msg("%s: column %u: %s", text, error.column, error.message);
    }
}

/* ---- What is not ----------------------------------------------------------------------------- */

static void test_conditions_that_pass(void **state)
{
    static const char *const cases[] = {
        /* of the documentation */
        "channel == 'thread' && type == 'threadNewMessage' && data.threadId == '6757b81daafe67cb6e19180e'",
        "type in ['storeFileCreated', 'storeFileUpdated'] && data.size > 1000000 && !recovered",
        "time.getHours('Europe/Warsaw') >= 8 && time.getDayOfWeek('Europe/Warsaw') in [1, 2, 3, 4, 5]",
        "has(data.users) && data.users.exists(u, u.startsWith('support-'))",
        /* what nobody knows may be anything */
        "data.x",
        "data['x']",
        "data[data.k]",
        "data.a.b.c",
        "!data.x",
        "data.x && data.y || data.z",
        "data.x + 1 == 2",
        "data.x + 'a' == 'b'",
        "data.x + data.y == data.z",
        "data.x < 1 || data.x < 'a' || data.x < time",
        "size(data.x) > 1",
        "data.x.size() > 1",
        "data.x.startsWith(data.y)",
        "data.x.getHours() == 1",
        "int(data.x) == 1 && string(data.x) == '1' && bool(data.x) && double(data.x) == 1.0",
        "1 in data.x || 'a' in data.x",
        "data.x in [1, 'a', null]",
        "data.users[0] == 'a' && data.users[0].name == 'b'",
        "data.x.exists(e, e)",
        "data.x.exists(e, e > 1 || e > 'a')",
        "data.x.all(e, e.y.exists(f, f.z == e.w))",
        "data.x.map(e, e + 1).exists(e, e > 1)",
        "data.x ? data.y : data.z",
        "timestamp(data.when) < time - duration('1h')",
        "time - timestamp(data.when) > duration('1h')",
        "data.x.matches(r'^a')",
        "-data.x > 1",
        "type(data.x) == int || type(data.x) in [string, list]",
        "data == data.copy",
        "dyn(author)",
        "dyn(author) + 1 == 2",
        "dyn(1)",
        "dyn([1])[0] == 'a'",
        /* null is nothing that could not be asked for */
        "author == null",
        "null != author",
        "bridge != null && time != null && data != null && recovered != null",
        "author != null && author.startsWith('a')",
        "author in [null, 'a']",
        "null in [1, 2]",
        "author + 'x' == 'yx'",
        "author > 'a'",
        "size(author) > 1",
        "int(author) > 1",
        "author.matches('^a') || container.endsWith('x') || item.contains('y')",
        /* numbers meet when they are compared */
        "size(data) == 1.0 && size(data) > 1u && size(data) < 1.5",
        "1 in [1.0, 2u]",
        "{1: true}[1.0]",
        "{1u: true}[1]",
        "count == 1u",
        "[1, 2][0u] == 1 && [1, 2][0.0] == 1",
        /* what is wrong, but decides nothing */
        "true || 1",
        "1 || true",
        "true || author + 1 == 2",
        "size(5) > 1 || true",
        "false && author",
        "author && false",
        "false && size(5) > 1",
        "recovered || (false && author)",
        "!false || 1",
        "(recovered && false) && 1",
        "!author && false",
        "(1 || true) && recovered",
        "true ? recovered : 1",
        "false ? 1 : recovered",
        "true || size(author + 1) > 0 || !author",
        /* some types will do */
        "recovered ? recovered : 1",
        "recovered ? author : false",
        "(recovered ? 1 : 'a') + 'b' == 'ab'",
        "(recovered ? [1] : 'abc').size() == 3",
        "(recovered ? author : data)[data.k] == 1",
        "[1, 'a'].exists(x, x == 'a')",
        "recovered in [1, 'a']",
        "'key' in {1u: 'str', 2: b'bytes'}",
        "{1u: 'str', 2: true}['key']",
        "[1, 'a'].exists(x, x > 1)",
        "[1, true][0]",
        "{'a': 1, 'b': true}.b",
        "[true, 1].exists(x, x)",
        "[author, 1].exists(x, x == 1)",
        "[[1], ['a']].exists(x, x[0] == 'a')",
        "[{'a': 1}].exists(x, x.b == 'a')",
        "{'a': {'b': 1}}.a.b == 'x'",
        /* nothing is known of what is empty */
        "author in []",
        "[].exists(x, x + 1 == author)",
        "[].all(x, size(5) > 1)",
        "![].exists(x, 'a')",
        "{}.exists(x, x)",
        "{}[author] == 1",
        "[][0] == author",
        "{}.a",
        "([] + [true])[0]",
        "{'a': 1} == data || [] == data.x",
        "type(author) == string ? author == 'a' : author == null",
        /* lists that grow */
        "author in texts + ['x']",
        "(texts + data.more).exists(t, t > 1)",
        "texts.filter(t, t.startsWith('a')).size() > 0",
        "texts.exists_one(t, t == author)",
        "data.exists(k, k.startsWith('x'))",
        "data.all(k, data[k] == 1)",
        "'x' in data",
        "author in data",
        /* strings, bytes, times */
        "bytes(author) < b'x' && string(b'a') == 'a' && size(b'a') == 1",
        "string(time).startsWith('2026') && string(time - since) == '1s' && string(1.5) == '1.5'",
        "int(time) > 0 && timestamp(0) < time && timestamp(time) == time",
        "time + duration('1s') > duration('1s') + time && time - duration('1s') < time",
        "duration('1s') + duration('1s') == duration('2s') && (time - time).getSeconds() == 0",
        "time.getMilliseconds() == 0 && time.getMilliseconds('UTC') == 0",
        "'a' + string(1) == 'a1' && [1] + ['a'] == [1, 'a'] && b'a' + b'b' == b'ab'",
        "recovered > false",
        "recovered == (type == 'x')",
        "plural(count, 'a', 'b') == 'a' && plural(1u, 1, 2) == 1 && plural(data.n, 'a')",
        "date(since) == date(until, '%Y') && short(author, 5) == 'a' && short(data.x, data.n) == ''",
        "rule == 'x' && lang == 'pl' && zone == 'UTC'",
        "true",
        "false",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr_error error;
        struct expr *expr =
            expr_compile_for(cases[i], strlen(cases[i]), message_env(), &expr_condition, &error);
        if (expr == NULL)
            fail_msg("%s: column %u: %s", cases[i], error.column, error.message);
        expr_free(&expr);
    }
}

static void test_names_without_kinds(void **state)
{
    static const char *const names[] = {"a"};
    struct expr_env env = {.variables = names, .variable_count = 1};
    struct expr *expr = expr_compile_for("a + 1 == a.b", 12, &env, &expr_condition, NULL);
    (void)state;
    assert_non_null(expr);
    expr_free(&expr);
    env.unchecked = true;
    expr = expr_compile_for("nobody + 1 == f(nobody)", 23, &env, &expr_condition, NULL);
    assert_non_null(expr);
    expr_free(&expr);
    assert_null(expr_compile_for("nobody + (1 + 'a')", 18, &env, NULL, NULL));
}

/* ---- The tables and the evaluator ------------------------------------------------------------ */

#define SAMPLES 2u

/* Values of each type; strings, numbers and bools are keys of the maps. */
static struct expr_value sample(enum expr_type type, unsigned which)
{
    static struct expr_value items[SAMPLES];
    static struct expr_value maps[SAMPLES][4];
    struct expr_value *entries = maps[which];
    items[0] = expr_int(1);
    items[1] = expr_int(1);
    entries[0] = expr_int(1);
    entries[1] = entries[3] = expr_bool(true);
    entries[2] = which == 0 ? expr_bool(true) : expr_string_z("x");
    struct expr_value number = {.type = (uint8_t)type, .as.uinteger = 1};
    switch (type) {
    case EXPR_STRING:
        return expr_string_z(which == 0 ? "x" : "2000-01-01T00:00:00Z");
    case EXPR_BYTES:
        return expr_bytes("1", 1);
    case EXPR_LIST:
        return expr_list(items, SAMPLES);
    case EXPR_MAP:
        return expr_map(entries, SAMPLES);
    case EXPR_DOUBLE:
        return expr_double(1);
    case EXPR_TYPE:
        return (struct expr_value){.type = EXPR_TYPE, .as.named = EXPR_INT};
    default:
        return number; /* null, bool, int, uint, timestamp, duration */
    }
}

/* Whether a failure is one of the types. */
static bool is_of_types(struct expr_value value)
{
    static const char *const words[] = {"no such overload", "unsupported key type", "no such key"};
    for (size_t i = 0; value.type == EXPR_ERROR && i < sizeof words / sizeof words[0]; i++)
        if (memmem(value.as.string, value.length, words[i], strlen(words[i])) != NULL)
            return true;
    return false;
}

/* Evaluates the source for values of two types: refused is exactly what always fails for its types. */
static void check_pair(const char *source, enum expr_type one, enum expr_type other, unsigned *refusals)
{
    static const char *const names[] = {"a", "b"};
    const struct expr_kind kinds[] = {{.types = EXPR_SET(one)}, {.types = EXPR_SET(other)}};
    const struct expr_env env = {.variables = names, .variable_count = 2, .kinds = kinds};
    struct expr_error error;
    struct check_kind kind;
    struct expr *expr = expr_compile(source, strlen(source), &env, NULL);
    if (expr == NULL)
        return;
    struct expr_arena *arena = expr_arena_new(1u << 20);
    bool passed = check_infer(expr, &env, &kind, &error);
    bool fits_once = false;
    for (unsigned i = 0; i < SAMPLES * SAMPLES; i++) {
        struct expr_value values[] = {sample(one, i % SAMPLES), sample(other, i / SAMPLES)};
        const struct expr_activation activation = {.values = values, .value_count = 2};
        struct expr_value value = expr_eval(expr, &activation, arena);
        fits_once = fits_once || !is_of_types(value);
        if (passed && !check_fits(&kind, value))
            fail_msg("%s of %s and %s gives another kind", source, expr_type_name(one),
                     expr_type_name(other));
        if (!passed && value.type != EXPR_ERROR)
            fail_msg("%s of %s and %s: %s", source, expr_type_name(one), expr_type_name(other),
                     error.message);
    }
    if (passed && !fits_once)
        fail_msg("%s of %s and %s always fails, but passed", source, expr_type_name(one),
                 expr_type_name(other));
    *refusals += !passed;
    expr_arena_free(&arena);
    expr_free(&expr);
}

static unsigned check_types(const char *source)
{
    unsigned refusals = 0;
    for (int one = 0; one < EXPR_ERROR; one++)
        for (int other = 0; other < EXPR_ERROR; other++)
            check_pair(source, (enum expr_type)one, (enum expr_type)other, &refusals);
    return refusals;
}

static void test_operators_agree(void **state)
{
    static const char *const cases[] = {
        "a + b",
        "a - b",
        "a * b",
        "a / b",
        "a % b",
        "a < b",
        "a <= b",
        "a > b",
        "a >= b",
        "!a",
        "-a",
        "a ? 1 : 2",
        "a[b]",
        "a.x",
        "has(a.x)",
        "{a: b}",
        "a in b",
        "a.exists(x, true)",
        "a.all(x, true)",
        "a.exists_one(x, true)",
        "a.filter(x, true)",
        "a.map(x, x)",
        "a.map(x, true, b)",
        "[b].exists(x, x)",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (check_types(cases[i]) == 0)
            fail_msg("%s: no types were refused", cases[i]);
}

static void test_functions_agree(void **state)
{
    static const char *const forms[] = {"%s(a)", "a.%s()", "%s(a, b)", "a.%s(b)"};
    unsigned refusals = 0;
    (void)state;
    for (const char *const *name = builtin_names(); *name != NULL; name++) {
        for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
            char source[64];
            snprintf(source, sizeof source, forms[i], *name);
            refusals += check_types(source);
        }
    }
    assert_true(refusals > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions_of_another_type),
        cmocka_unit_test(test_mismatches_inside),
        cmocka_unit_test(test_what_a_purpose_wants_of_lists),
        cmocka_unit_test(test_place_in_lines_and_templates),
        cmocka_unit_test(test_conditions_that_pass),
        cmocka_unit_test(test_names_without_kinds),
        cmocka_unit_test(test_operators_agree),
        cmocka_unit_test(test_functions_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
