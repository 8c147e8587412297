/* links: expr core */
/*
 * Requirements: what is found, what is left alone, and that nothing is ever claimed that an event could
 * contradict.
 */
#include "tests/unit/expr_cases.h"

#include <stdlib.h>

#include "tests/unit/expr_requirements.h"

/* "data.list~" for the members there; words of numbers, bools and null with "#"; "!" where exact. */
static size_t show_items(const struct expr_requirement *items, size_t count, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const struct expr_requirement *r = &items[i];
        n += (size_t)snprintf(out + n, size - n, "%s%s%s=", i > 0 ? ";" : "", r->path, r->member ? "~" : "");
        for (size_t j = 0; j < r->value_count; j++) {
            bool other = !r->textual && r->values[j].string[0] == '\xff';
            n += (size_t)snprintf(out + n, size - n, "%s%s%.*s", j > 0 ? "|" : "", other ? "#" : "",
                                  (int)r->values[j].length - other, r->values[j].string + other);
        }
        n += (size_t)snprintf(out + n, size - n, "%s", r->exact ? "!" : "");
    }
    return n;
}

/* "channel=thread;data.threadId=a|b! {item=i! / item=j!} complete": requirements, clauses, flags. */
static void show(const struct expr_requirements *requirements, char *out, size_t size)
{
    size_t n = show_items(requirements->items, requirements->count, out, size);
    for (size_t i = 0; i < requirements->clause_count; i++) {
        const struct expr_clause *clause = &requirements->clauses[i];
        n += (size_t)snprintf(out + n, size - n, " {");
        for (size_t j = 0; j < clause->count; j++) {
            n += (size_t)snprintf(out + n, size - n, "%s", j > 0 ? " / " : "");
            n += show_items(clause->sides[j].items, clause->sides[j].count, out + n, size - n);
        }
        n += (size_t)snprintf(out + n, size - n, "}");
    }
    snprintf(out + n, size - n, "%s%s", requirements->complete ? " complete" : "",
             requirements->never ? " never" : "");
}

static void test_found(void **state)
{
    static const struct {
        const char *source;
        const char *want;
    } cases[] = {
        {"channel == 'thread'", "channel=thread! complete"},
        {"'thread' == channel", "channel=thread! complete"},
        {"channel == r'a\\b'", "channel=a\\b! complete"},
        {"(channel == 'thread')", "channel=thread! complete"},
        {"channel == 'thread' && type == 'threadNewMessage' && data.contextId == 'c' && data.threadId == 't'",
         "channel=thread!;type=threadNewMessage!;data.contextId=c!;data.threadId=t! complete"},
        {"(channel == 'thread' && (type == 'x')) && data.a.b == 'y'",
         "channel=thread!;type=x!;data.a.b=y! complete"},
        {"channel == 'thread' && data.n > 3", "channel=thread!"},
        {"data.n > 3 && channel == 'thread'", "channel=thread!"},
        {"true && channel == 'thread'", "channel=thread! complete"},
        {"data['threadId'] == 't'", "data.threadId=t! complete"},
        {"data['a'].b['c'] == 't'", "data.a.b.c=t! complete"},
        {"data.`a-b` == 't'", "data.a-b=t! complete"},
        {"type in ['a', 'b']", "type=a|b! complete"},
        {"type in ['b', 'a', 'b']", "type=a|b! complete"},
        {"type in ['a']", "type=a! complete"},
        {"type == 'a' || type == 'b'", "type=a|b! complete"},
        {"(type == 'a') || ('b' == type) || type in ['c', 'a']", "type=a|b|c! complete"},
        {"type == 'a' && item == 'i' || type == 'b' && item == 'j'",
         "type=a|b;item=i|j {type=a!;item=i! / type=b!;item=j!}"},
        {"type == 'a' && item == 'i' || type == 'b'", "type=a|b {type=a!;item=i! / type=b!}"},
        {"type == 'a' && data.n > 1 || type == 'b'", "type=a|b {type=a! / type=b!}"},
        {"(type == 'a' || type == 'b') && channel == 'c'", "type=a|b!;channel=c! complete"},
        {"type == 'a' || false", "type=a! complete"},
        {"type == 'a' || 1 == 2", ""},
        {"type == 'a' && type == 'b'", "type=a!;type=b! complete"},
        {"false", " complete never"},
        {"channel == 'a' && false", "channel=a! complete never"},
        {"false || false", " complete never"},
        {"true", " complete"},
        {"'text'", " complete never"},
        {"channel == 'thread' || type == 'a'", " {channel=thread! / type=a!}"},
        {"type == 'a' && data.x == 'i' || type == 'b' && data.y == 'j'",
         "type=a|b {type=a!;data.x=i! / type=b!;data.y=j!}"},
        {"channel == 'c' && (item == 'i' || (author == 'a' || data.n > 2 && type == 't'))",
         "channel=c! {item=i! / author=a! / type=t!}"},
        {"(item == 'i' || author == 'a') && (type == 't' || context == 'c')",
         " {type=t! / context=c!} {item=i! / author=a!}"},
        {"(type == 'a' && item == 'i') || false", "type=a!;item=i! complete"},
        {"!(type != 'a')", "type=a! complete"},
        {"!!(type == 'a')", "type=a! complete"},
        {"!(type != 'a' || item != 'i')", "type=a!;item=i! complete"},
        {"!(type != 'a' && type != 'b')", "type=a|b! complete"},
        {"!(type != 'a' && 'text')", "type=a! complete"},
        {"!false", " complete"},
        {"!true", " complete never"},
        {"recovered", "recovered=#true! complete"},
        {"!recovered && type == 'a'", "recovered=#false!;type=a! complete"},
        {"data.active == true", "data.active=#true! complete"},
        {"has(data.x) && data.x == 'a'", "data.x=a!"},
        {"channel == 'thread' ? type == 'a' : false", "channel=thread!;type=a! complete"},
        {"channel == 'thread' ? true : false", "channel=thread! complete"},
        {"recovered ? channel == 'a' : type == 'b'",
         "recovered=#false|#true {recovered=#true!;channel=a! / recovered=#false!;type=b!}"},
        {"data.n > 1 ? item == 'a' : item == 'b'", "item=a|b {item=a! / item=b!}"},
        {"data.n == 3", "data.n=#3! complete"},
        {"data.n == 3.0", "data.n=#3! complete"},
        {"data.n in [1, 2u, -3, 'x', true, null]", "data.n=x|#-3|#1|#2|#null|#true! complete"},
        {"data.n == 9007199254740991", "data.n=#9007199254740991! complete"},
        {"author == null", "author=#null! complete"},
        {"'a' in data.list", "data.list~=a! complete"},
        {"3 in data.list", "data.list~=#3! complete"},
        {"'a' in data.list || 'b' in data.list", "data.list~=a|b! complete"},
        {"'a' in data.list && data.list == 'a'", "data.list~=a!;data.list=a! complete"},
        {"'a' in data.list || data.list == 'a'", " {data.list~=a! / data.list=a!}"},
        {"data.list.exists(x, x == 'a')", "data.list~=a! complete"},
        {"data.list.exists(x, 'a' == x)", "data.list~=a! complete"},
        {"data.list.exists(x, x in ['b', 'a'])", "data.list~=a|b! complete"},
    };
    char got[512];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr *expr = expr_compile(cases[i].source, strlen(cases[i].source), expr_event_env(), NULL);
        assert_non_null(expr);
        struct expr_requirements *requirements = expr_analyse(expr);
        expr_free(&expr);
        show(requirements, got, sizeof got);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: '%s' instead of '%s'", cases[i].source, got, cases[i].want);
        expr_requirements_free(&requirements);
        assert_null(requirements);
    }
}

static void test_left_alone(void **state)
{
    static const char *const sources[] = {
        "channel != 'thread'",
        "!(channel == 'thread')",
        "channel == 'thread' || true",
        "channel == 'thread' || data.n > 1",
        "channel == type",
        "channel == b'a'",
        "data.n == 1.5",
        "data.n == 9007199254740992",
        "data.n == -9007199254740992",
        "data.n == 18446744073709551615u",
        "data.n in [1, 2.5]",
        "channel in ['a', b'a']",
        "channel in ['a', [1]]",
        "data.n == double('nan')",
        "data.list.exists(x, x == channel)",
        "data.list.exists(x, x != 'a')",
        "data.list.exists(x, data.list.exists(y, x == 'a'))",
        "data.list.exists_one(x, x == 'a')",
        "!('a' in data.list)",
        "!(data.n == 1)",
        "-data.n == 1",
        "channel in []",
        "channel in data.list",
        "channel in {'a': 1}",
        "!(type in ['a'])",
        "channel + '' == 'thread'",
        "channel.startsWith('thread')",
        "data.list[0] == 'a'",
        "data['a.b'] == 'a'",
        "data.`a.b` == 'a'",
        "data[type] == 'a'",
        "['a', 'b'].exists(x, x == 'a')",
        "['a'].exists(channel, channel == 'a')",
        "data.list.all(x, x == 'a')",
        "has(data.x)",
        "(channel == 'a') == true",
        "dyn(channel) == 'a'",
        "{'a': channel}.a == 'a'",
    };
    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        struct expr *expr = expr_compile(sources[i], strlen(sources[i]), expr_event_env(), NULL);
        assert_non_null(expr);
        struct expr_requirements *requirements = expr_analyse(expr);
        if (requirements->count != 0 || requirements->clause_count != 0 || requirements->complete ||
            requirements->never)
            fail_msg("%s: %s", sources[i],
                     requirements->count > 0 ? requirements->items[0].path : "complete");
        expr_requirements_free(&requirements);
        expr_free(&expr);
    }
}

static void test_parts(void **state)
{
    struct expr_value leaf[2] = {expr_string_z("threadId"), expr_string_z("t")};
    struct expr_value inner[2] = {expr_string_z("meta"), expr_map(leaf, 1)};
    struct expr_value values[EXPR_EVENT_SLOTS];
    struct expr_value found;
    struct expr *expr =
        expr_compile("data.meta.threadId == 't' && author == 'a'", 42, expr_event_env(), NULL);
    struct expr_requirements *requirements = expr_analyse(expr);
    (void)state;
    expr_free(&expr);
    assert_int_equal(requirements->count, 2);
    const struct expr_requirement *r = &requirements->items[0];
    assert_string_equal(r->path, "data.meta.threadId");
    assert_int_equal(r->slot, EXPR_SLOT_DATA);
    assert_int_equal(r->field_count, 2);
    assert_string_equal(r->fields[0], "meta");
    assert_string_equal(r->fields[1], "threadId");
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        values[i] = expr_null();
    assert_false(expr_requirement_value(r, values, EXPR_EVENT_SLOTS, &found));
    assert_true(expr_requirement_value(&requirements->items[1], values, EXPR_EVENT_SLOTS, &found));
    assert_int_equal(found.type, EXPR_NULL);
    values[EXPR_SLOT_DATA] = expr_map(inner, 1);
    assert_true(expr_requirement_value(r, values, EXPR_EVENT_SLOTS, &found));
    assert_int_equal(found.type, EXPR_STRING);
    assert_int_equal(found.length, 1);
    assert_memory_equal(found.as.string, "t", 1);
    assert_false(expr_requirement_value(r, values, 1, &found));
    expr_requirements_free(&requirements);
    expr_requirements_free(&requirements);
}

/* Numbers are one across their types as far as both stand for the same; beyond that nothing is claimed. */
static void test_words(void **state)
{
    static const struct {
        double real;
        int64_t integer;
        bool same;
    } cases[] = {
        {3.0, 3, true},  {-0.0, 0, true}, {-7.0, -7, true}, {9007199254740991.0, 9007199254740991, true},
        {3.5, 3, false}, {4.0, 3, false},
    };
    char scratch[3][EXPR_WORD_SIZE];
    struct expr_literal words[3];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool has = expr_word(expr_double(cases[i].real), scratch[0], &words[0]);
        assert_true(expr_word(expr_int(cases[i].integer), scratch[1], &words[1]));
        bool same = has && words[0].length == words[1].length &&
                    memcmp(words[0].string, words[1].string, words[0].length) == 0;
        assert_int_equal(same, cases[i].same);
        if (cases[i].integer < 0)
            continue;
        assert_true(expr_word(expr_uint((uint64_t)cases[i].integer), scratch[2], &words[2]));
        assert_memory_equal(words[1].string, words[2].string, words[1].length + 1);
    }
    assert_false(expr_word(expr_int(9007199254740992), scratch[0], words));
    assert_false(expr_word(expr_int(INT64_MIN), scratch[0], words));
    assert_false(expr_word(expr_uint(UINT64_MAX), scratch[0], words));
    assert_false(expr_word(expr_double(9007199254740992.0), scratch[0], words));
    assert_false(expr_word(expr_double(0.0 / 0.0), scratch[0], words));
    assert_false(expr_word(expr_double(1e300), scratch[0], words));
    assert_false(expr_word(expr_bytes("a", 1), scratch[0], words));
    assert_false(expr_word(expr_list(NULL, 0), scratch[0], words));
    assert_false(expr_word(expr_failure("no"), scratch[0], words));
    assert_true(expr_word(expr_null(), scratch[0], words));
    assert_true(expr_word(expr_string("", 0), scratch[0], words));
    assert_int_equal(words[0].length, 0);
}

/* Ten thousand ids in one rule, joined either way. */
static void test_many_values(void **state)
{
    char *source = malloc(EXPR_SOURCE_LIMIT);
    (void)state;
    assert_non_null(source);
    for (int way = 0; way < 2; way++) {
        size_t n = 0;
        size_t count = 2500;
        n += (size_t)sprintf(source + n, way == 0 ? "item in ['x'" : "item == 'x'");
        for (size_t i = 1; i < count; i++)
            n += (size_t)sprintf(source + n, way == 0 ? ", 'id-%zu'" : " || item == 'id-%zu'", i);
        n += (size_t)sprintf(source + n, way == 0 ? "]" : "");
        struct expr *expr = expr_compile(source, n, expr_event_env(), NULL);
        assert_non_null(expr);
        struct expr_requirements *requirements = expr_analyse(expr);
        assert_int_equal(requirements->count, 1);
        assert_int_equal(requirements->items[0].value_count, count);
        assert_true(requirements->complete);
        expr_requirements_free(&requirements);
        expr_free(&expr);
    }
    free(source);
}

/* ---- Soundness -------------------------------------------------------------------------------- */

static uint64_t seed;

static unsigned pick(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static const char *const literals[] = {"a", "b", "c", ""};
static const char *const paths[] = {"channel", "type", "data.x", "data.y", "data['x']", "data.z.x", "item"};

struct text {
    char bytes[16384];
    size_t length;
};

static void add(struct text *text, const char *piece)
{
    size_t left = sizeof text->bytes - text->length;
    int n = snprintf(text->bytes + text->length, left, "%s", piece);
    assert_true(n >= 0 && (size_t)n < left);
    text->length += (size_t)n;
}

static void add_literal(struct text *text)
{
    add(text, "'");
    add(text, literals[pick(4)]);
    add(text, "'");
}

static void add_atom(struct text *text)
{
    static const char *const odd[] = {"recovered",
                                      "!recovered",
                                      "true",
                                      "false",
                                      "data.n > 1",
                                      "1 / 0 > 1",
                                      "data.x != 'a'",
                                      "has(data.x)",
                                      "'a' in data.list",
                                      "type",
                                      "data.list.exists(e, e == channel)",
                                      "data.list.exists(e, e in ['a', 2])",
                                      "data.list.exists(e, 'b' == e)",
                                      "1 in data.list",
                                      "'x' in data.z",
                                      "data.n == 1",
                                      "data.n == 2.0",
                                      "data.x in [0, 'a', null]",
                                      "data.y == 3u",
                                      "item == null",
                                      "item.startsWith('a')"};
    switch (pick(6)) {
    case 0:
        add(text, odd[pick(sizeof odd / sizeof odd[0])]);
        return;
    case 1:
        add_literal(text);
        add(text, " == ");
        add(text, paths[pick(7)]);
        return;
    case 2:
        add(text, paths[pick(7)]);
        add(text, " in [");
        add_literal(text);
        for (unsigned i = pick(3); i > 0; i--) {
            add(text, ", ");
            add_literal(text);
        }
        add(text, "]");
        return;
    default:
        add(text, paths[pick(7)]);
        add(text, " == ");
        add_literal(text);
    }
}

static void add_tree(struct text *text, unsigned depth)
{
    unsigned kind = depth == 0 ? 0 : pick(8);
    if (kind < 2) {
        add_atom(text);
    } else if (kind == 7) {
        bool negated = pick(2) == 0;
        add(text, negated ? "!(" : "(");
        add_tree(text, depth - 1);
        if (!negated) {
            add(text, " ? ");
            add_tree(text, depth - 1);
            add(text, " : ");
            add_tree(text, depth - 1);
        }
        add(text, ")");
    } else {
        const char *joint = kind < 5 ? " && " : " || ";
        add(text, "(");
        add_tree(text, depth - 1);
        for (unsigned i = 1 + pick(2); i > 0; i--) {
            add(text, joint);
            add_tree(text, depth - 1);
        }
        add(text, ")");
    }
}

static struct expr_value random_value(void)
{
    switch (pick(6)) {
    case 0:
        return expr_int(pick(4));
    case 1:
        return expr_null();
    default:
        return expr_string_z(literals[pick(4)]);
    }
}

struct event {
    struct expr_value values[EXPR_EVENT_SLOTS];
    struct expr_value data[10];
    struct expr_value z[2];
    struct expr_value list[2];
};

static void random_event(struct event *event)
{
    size_t fields = 0;
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        event->values[i] = random_value();
    event->values[EXPR_SLOT_RECOVERED] = expr_bool(pick(2) == 0);
    event->z[0] = expr_string_z("x");
    event->z[1] = random_value();
    event->list[0] = random_value();
    event->list[1] = random_value();
    const struct {
        const char *name;
        struct expr_value value;
    } all[] = {{"x", random_value()},
               {"y", random_value()},
               {"z", expr_map(event->z, 1)},
               {"n", expr_int(pick(3))},
               {"list", expr_list(event->list, 2)}};
    for (size_t i = 0; i < 5; i++) {
        if (pick(5) == 0)
            continue;
        event->data[2 * fields] = expr_string_z(all[i].name);
        event->data[2 * fields + 1] = all[i].value;
        fields++;
    }
    event->values[EXPR_SLOT_DATA] = expr_map(event->data, fields);
}

/* One random expression against random events: true means all requirements hold; complete means the reverse
 * too. */
static void check_one(size_t *truths, size_t *found)
{
    struct text text = {.length = 0};
    struct expr_arena *arena = expr_arena_new(1u << 16);
    add_tree(&text, 3);
    struct expr *expr = expr_compile(text.bytes, text.length, expr_event_env(), NULL);
    assert_non_null(expr);
    struct expr_requirements *requirements = expr_analyse(expr);
    *found += requirements->count + requirements->clause_count;
    for (int i = 0; i < 60; i++) {
        struct event event;
        random_event(&event);
        struct expr_activation activation = {.values = event.values, .value_count = EXPR_EVENT_SLOTS};
        bool truth = expr_test(expr, &activation, arena, NULL) == EXPR_TRUE;
        bool all = !requirements->never && requirements_hold(requirements, event.values, EXPR_EVENT_SLOTS);
        if ((truth && !all) || (requirements->complete && truth != all))
            fail_msg("%s", text.bytes);
        *truths += truth;
        expr_arena_reset(arena);
    }
    expr_requirements_free(&requirements);
    expr_free(&expr);
    expr_arena_free(&arena);
}

static void test_sound(void **state)
{
    size_t truths = 0;
    size_t found = 0;
    (void)state;
    seed = 2024;
    for (int i = 0; i < 3000; i++)
        check_one(&truths, &found);
    assert_true(truths > 1000); /* the check is not empty */
    assert_true(found > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),       cmocka_unit_test(test_left_alone), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_many_values), cmocka_unit_test(test_words),      cmocka_unit_test(test_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
