/* links: expr core */
/*
 * Values from outside and to outside: msgpack views, activations, functions of the host, arenas, limits, JSON
 * and text.
 */
#include "tests/unit/expr_cases.h"

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>

#include "dispatcher/expr/value.h"

/* ---- A packed event -------------------------------------------------------------------------- */

static void pack_string(msgpack_packer *packer, const char *text)
{
    msgpack_pack_str_with_body(packer, text, strlen(text));
}

static void pack_data(msgpack_packer *packer)
{
    msgpack_pack_map(packer, 11);
    pack_string(packer, "threadId");
    pack_string(packer, "6757b81daafe67cb6e19180e");
    pack_string(packer, "version");
    msgpack_pack_int64(packer, 3);
    pack_string(packer, "negative");
    msgpack_pack_int64(packer, -7);
    pack_string(packer, "huge");
    msgpack_pack_uint64(packer, UINT64_MAX);
    pack_string(packer, "rate");
    msgpack_pack_double(packer, 2.5);
    pack_string(packer, "users");
    msgpack_pack_array(packer, 2);
    pack_string(packer, "ada");
    pack_string(packer, "bob");
    pack_string(packer, "meta");
    msgpack_pack_map(packer, 2);
    pack_string(packer, "title");
    pack_string(packer, "Żółw");
    msgpack_pack_int64(packer, 5);
    msgpack_pack_true(packer);
    pack_string(packer, "none");
    msgpack_pack_nil(packer);
    pack_string(packer, "raw");
    msgpack_pack_bin_with_body(packer, "\xff\0", 2);
    pack_string(packer, "broken");
    msgpack_pack_str_with_body(packer,
                               "a\xff"
                               "b",
                               3);
    pack_string(packer, "ext");
    msgpack_pack_ext_with_body(packer, "x", 1, 7);
}

struct fixture {
    msgpack_sbuffer buffer;
    msgpack_unpacked unpacked;
    struct expr_value values[EXPR_EVENT_SLOTS];
    struct expr_activation activation;
};

static void event_open(struct fixture *f)
{
    msgpack_packer packer;
    msgpack_sbuffer_init(&f->buffer);
    msgpack_packer_init(&packer, &f->buffer, msgpack_sbuffer_write);
    pack_data(&packer);
    msgpack_unpacked_init(&f->unpacked);
    assert_int_equal(msgpack_unpack_next(&f->unpacked, f->buffer.data, f->buffer.size, NULL),
                     MSGPACK_UNPACK_SUCCESS);
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        f->values[i] = expr_null();
    f->values[EXPR_SLOT_CHANNEL] = expr_string_z("thread");
    f->values[EXPR_SLOT_TYPE] = expr_string_z("threadNewMessage");
    f->values[EXPR_SLOT_DATA] = expr_value_from_msgpack(&f->unpacked.data);
    f->values[EXPR_SLOT_TIME] = expr_timestamp_ms(1234567890123);
    f->values[EXPR_SLOT_RECOVERED] = expr_bool(false);
    f->values[EXPR_SLOT_AUTHOR] = expr_failure("the author is not known");
    f->activation = (struct expr_activation){.values = f->values, .value_count = EXPR_EVENT_SLOTS};
}

static void event_close(struct fixture *f)
{
    msgpack_unpacked_destroy(&f->unpacked);
    msgpack_sbuffer_destroy(&f->buffer);
}

static void test_event(void **state)
{
    static const struct expr_case cases[] = {
        {"channel == 'thread' && type == 'threadNewMessage'", "bool true"},
        {"type", "string \"threadNewMessage\""},
        {"type(type) == string && type(type(type)) == type(int)", "bool true"},
        {"type(data)", "type \"map\""},
        {"data.threadId", "string \"6757b81daafe67cb6e19180e\""},
        {"data['threadId']", "string \"6757b81daafe67cb6e19180e\""},
        {"data.version + 1", "int 4"},
        {"data.negative", "int -7"},
        {"data.huge", "uint 18446744073709551615"},
        {"data.rate * 2.0", "double 5.0"},
        {"data.users", "list [\"ada\",\"bob\"]"},
        {"data.users[1]", "string \"bob\""},
        {"'ada' in data.users", "bool true"},
        {"data.users + ['eve']", "list [\"ada\",\"bob\",\"eve\"]"},
        {"data.users.filter(u, u.startsWith('a'))", "list [\"ada\"]"},
        {"data.users == ['ada', 'bob']", "bool true"},
        {"size(data.users)", "int 2"},
        {"data.meta.title.size()", "int 4"},
        {"data.meta[5]", "bool true"},
        {"data.meta[5.0]", "bool true"},
        {"data.meta == {'title': 'Żółw', 5u: true}", "bool true"},
        {"{5u: true, 'title': 'Żółw'} == data.meta", "bool true"},
        {"data.meta.all(k, k == 5 || k == 'title')", "bool true"},
        {"'threadId' in data", "bool true"},
        {"has(data.threadId) && !has(data.storeId)", "bool true"},
        {"has(data.meta.title)", "bool true"},
        {"data.storeId == 'x'", "error no such key: 'storeId'"},
        {"data.storeId == 'x' || true", "bool true"},
        {"data.storeId.x", "error no such key: 'storeId'"},
        {"data.none == null", "bool true"},
        {"data.raw", "bytes \"/wA=\""},
        {"data.broken", "string \"a\xef\xbf\xbd"
                        "b\""},
        {"data.broken.size()", "int 3"},
        {"data.ext", "error extension"},
        {"[data.ext]", "error extension"},
        {"author", "error the author is not known"},
        {"author == 'x' || channel == 'thread'", "bool true"},
        {"time", "Timestamp \"2009-02-13T23:31:30.123Z\""},
        {"time.getHours('Europe/Warsaw')", "int 0"},
        {"time - duration('1h') < time", "bool true"},
        {"item", "null_type null"},
        {"recovered ? 1 : 2", "int 2"},
        {"context + 'x'", "error no such overload"},
        {"chanel", "error did you mean 'channel'"},
        {"data == data", "bool false"}, /* the extension equals nothing */
    };
    struct fixture f;
    (void)state;
    event_open(&f);
    expr_cases_run(CASES(cases), expr_event_env(), &f.activation);
    event_close(&f);
}

static void test_whole_data_as_json(void **state)
{
    struct fixture f;
    const char *json = NULL;
    size_t length = 0;
    struct expr_arena *arena = expr_arena_new(1u << 16);
    (void)state;
    event_open(&f);
    assert_int_equal(expr_value_to_json(f.values[EXPR_SLOT_DATA], arena, &json, &length),
                     -1); /* the extension */
    f.values[EXPR_SLOT_DATA].length--;
    assert_int_equal(expr_value_to_json(f.values[EXPR_SLOT_DATA], arena, &json, &length), 0);
    static const char want[] = "{\"threadId\":\"6757b81daafe67cb6e19180e\",\"version\":3,\"negative\":-7,"
                               "\"huge\":18446744073709551615,\"rate\":2.5,\"users\":[\"ada\",\"bob\"],"
                               "\"meta\":{\"title\":\"Żółw\",\"5\":true},\"none\":null,\"raw\":\"/wA=\","
                               "\"broken\":\"a\xef\xbf\xbd"
                               "b\"}";
    assert_int_equal(length, strlen(want));
    assert_memory_equal(json, want, length);
    event_close(&f);
    expr_arena_free(&arena);
}

/* ---- Activations, host functions ------------------------------------------------------------- */

static void test_unbound(void **state)
{
    static const struct expr_case cases[] = {
        {"channel", "error 'channel' has no value here"},
        {"type", "type \"type\""},
        {"type(type)", "type \"type\""},
        {"channel == 'x' || true", "bool true"},
        {"has(data.x)", "error 'data' has no value here"},
    };
    struct expr_activation activation = {0};
    (void)state;
    expr_cases_run(CASES(cases), expr_event_env(), &activation);
}

static struct expr_value host_sum(void *context, const struct expr_value *args, size_t count,
                                  struct expr_arena *arena)
{
    int64_t sum = *(const int64_t *)context;
    for (size_t i = 0; i < count; i++) {
        if (args[i].type != EXPR_INT)
            return expr_failure_f(arena, "sum() of %s", expr_type_name((enum expr_type)args[i].type));
        sum += args[i].as.integer;
    }
    return expr_int(sum);
}

static struct expr_value host_members(void *context, const struct expr_value *args, size_t count,
                                      struct expr_arena *arena)
{
    struct expr_value *items = expr_arena_alloc(arena, 2 * sizeof *items);
    (void)context;
    (void)args;
    assert_int_equal(count, 0);
    items[0] = expr_string_z("ada");
    items[1] = expr_string_z("bob");
    return expr_list(items, 2);
}

static void test_host_functions(void **state)
{
    static const struct expr_function functions[] = {{"sum", 1, 3, host_sum, NULL, {0}, {0}},
                                                     {"members", 0, 0, host_members, NULL, {0}, {0}}};
    static const char *const names[] = {"author"};
    int64_t base = 100;
    struct expr_value author = expr_string_z("bob");
    struct expr_env env = {
        .variables = names, .variable_count = 1, .functions = functions, .function_count = 2};
    struct expr_activation activation = {.values = &author, .value_count = 1, .context = &base};
    static const struct expr_case cases[] = {
        {"sum(1, 2, 3)", "int 106"},
        {"sum(sum(1))", "int 201"},
        {"members().filter(m, m != author)", "list [\"ada\"]"},
        {"sum('a')", "error sum() of string"},
        {"sum(1 / 0)", "error divide by zero"},
        {"sum()", "error sum() takes 1 to 3 arguments"},
        {"sum(1, 2, 3, 4)", "error takes 1 to 3"},
        {"members(1)", "error takes 0 arguments"},
        {"member()", "error did you mean 'members()'"},
        {"author.sum()", "error unknown function"},
        {"members", "error 'members' is a function"},
    };
    (void)state;
    expr_cases_run(CASES(cases), &env, &activation);
    struct expr *expr = expr_compile("sum(1) > 0 && author != ''", 26, &env, NULL);
    assert_non_null(expr);
    assert_true(expr_uses_function(expr, "sum"));
    assert_false(expr_uses_function(expr, "members"));
    assert_true(expr_uses_slot(expr, 0));
    assert_false(expr_uses_slot(expr, 1));
    assert_string_equal(expr_source(expr), "sum(1) > 0 && author != ''");
    expr_free(&expr);
    assert_null(expr);
    expr_free(&expr);
}

static void test_verdict(void **state)
{
    struct expr_value failure;
    struct expr_activation activation = {0};
    struct expr_arena *arena = expr_arena_new(4096);
    static const struct {
        const char *source;
        enum expr_verdict want;
    } cases[] = {
        {"true", EXPR_TRUE}, {"1 > 2", EXPR_FALSE}, {"1 / 0 == 1", EXPR_FAILED}, {"'yes'", EXPR_FAILED}};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct expr *expr = expr_compile(cases[i].source, strlen(cases[i].source), NULL, NULL);
        assert_int_equal(expr_test(expr, &activation, arena, &failure), cases[i].want);
        assert_int_equal(expr_test(expr, &activation, arena, NULL), cases[i].want);
        expr_free(&expr);
    }
    assert_int_equal(failure.type, EXPR_ERROR);
    assert_memory_equal(failure.as.string, "a condition must be a bool, this is a string", failure.length);
    expr_arena_free(&arena);
}

/* ---- Limits ---------------------------------------------------------------------------------- */

/* Evaluates with little; the result must be a failure that says why. */
static void expect_bounded(const char *source, size_t memory, uint32_t steps, const char *why)
{
    struct expr_arena *arena = expr_arena_new(memory);
    struct expr_activation activation = {.step_limit = steps};
    struct expr *expr = expr_compile(source, strlen(source), NULL, NULL);
    assert_non_null(expr);
    struct expr_value result = expr_eval(expr, &activation, arena);
    if (result.type != EXPR_ERROR || memmem(result.as.string, result.length, why, strlen(why)) == NULL)
        fail_msg("%s: %s %.*s", source, expr_type_name((enum expr_type)result.type),
                 result.type == EXPR_ERROR ? (int)result.length : 0, result.as.string);
    expr_free(&expr);
    expr_arena_free(&arena);
}

#define TEN "[0,1,2,3,4,5,6,7,8,9]"

static void test_bounds(void **state)
{
    (void)state;
    expect_bounded(TEN ".all(a, " TEN ".all(b, " TEN ".all(c, " TEN ".all(d, " TEN ".all(e, true)))))",
                   1u << 20, 0, "out of steps");
    expect_bounded(TEN ".all(a, " TEN ".all(b, " TEN ".all(c, " TEN ".all(d, " TEN
                       ".all(e, true))))) || true",
                   1u << 20, 0, "out of steps");
    expect_bounded("['foo','bar'].map(x, [x+x,x+x]).map(x, [x+x,x+x]).map(x, [x+x,x+x]).map(x, [x+x,x+x])",
                   1u << 20, 20, "out of steps");
    expect_bounded("['abcdefgh'].map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x)"
                   ".map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x)",
                   1u << 16, 0, "out of memory");
    expect_bounded(TEN ".map(a, " TEN ".map(b, " TEN ".map(c, [a, b, c])))", 4096, 0, "out of memory");
    expect_bounded("1 + 1", 4096, 2, "out of steps");
    expect_bounded("[1].map(x, " TEN " + " TEN " + " TEN ")[0] == []", 64, 0, "out of memory");
    expect_bounded("'a'.matches('a')", 64, 0, "out of memory");
    expect_bounded("string(1.5) == ''", 0, 0, "out of memory");
    expect_bounded("'a' + 1", 0, 0, "out of memory");
}

/* A list inside a list inside a list: as deep as comparing and writing go, and one deeper. */
static void test_deep_values(void **state)
{
    struct expr_value chain[2][600];
    struct expr_arena *arena = expr_arena_new(1u << 20);
    const char *json = NULL;
    size_t length = 0;
    (void)state;
    for (int side = 0; side < 2; side++) {
        chain[side][0] = expr_list(NULL, 0);
        for (size_t i = 1; i < 600; i++)
            chain[side][i] = expr_list(&chain[side][i - 1], 1);
    }
    uint32_t steps = UINT32_MAX;
    assert_int_equal(expr_value_compare_equal(chain[0][200], chain[1][200], &steps), 1);
    assert_int_equal(expr_value_compare_equal(chain[0][200], chain[1][201], &steps), 0);
    assert_int_equal(expr_value_compare_equal(chain[0][599], chain[1][599], &steps), -1);
    assert_int_equal(expr_value_to_json(chain[0][200], arena, &json, &length), 0);
    assert_int_equal(length, 402);
    assert_int_equal(expr_value_to_json(chain[0][599], arena, &json, &length), -1);
    expr_arena_free(&arena);
}

static void test_arena(void **state)
{
    struct expr_arena *arena = expr_arena_new(100000);
    (void)state;
    assert_null(expr_arena_alloc(arena, 100001));
    assert_null(expr_arena_alloc(arena, SIZE_MAX));
    size_t total = 0;
    for (size_t size = 1; total < 90000; size = size * 2 % 5001 + 1) {
        unsigned char *memory = expr_arena_alloc(arena, size);
        if (memory == NULL)
            break;
        assert_int_equal((uintptr_t)memory % 16, 0);
        memset(memory, 0xAB, size);
        total += size;
    }
    assert_true(total > 50000);
    for (int i = 0; i < 1000; i++) {
        expr_arena_reset(arena);
        for (int j = 0; j < 10; j++)
            assert_non_null(expr_arena_alloc(arena, 3000));
    }
    expr_arena_free(&arena);
    assert_null(arena);
    expr_arena_free(&arena);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void expect_text(struct expr_value value, const char *want)
{
    struct expr_arena *arena = expr_arena_new(4096);
    const char *text = NULL;
    size_t length = 0;
    assert_int_equal(expr_value_to_text(value, arena, &text, &length), 0);
    assert_int_equal(length, strlen(want));
    assert_memory_equal(text, want, length);
    expr_arena_free(&arena);
}

static void test_text(void **state)
{
    struct expr_value items[2] = {expr_int(1), expr_string_z("a\"b")};
    (void)state;
    expect_text(expr_null(), "");
    expect_text(expr_bool(true), "true");
    expect_text(expr_int(-5), "-5");
    expect_text(expr_uint(5), "5");
    expect_text(expr_double(1.0), "1");
    expect_text(expr_double(0.1), "0.1");
    expect_text(expr_double(1e6), "1000000");
    expect_text(expr_double(INFINITY), "Infinity");
    expect_text(expr_string_z("a\"b"), "a\"b");
    expect_text(expr_string(NULL, 0), "");
    expect_text(expr_bytes("abc", 3), "abc");
    expect_text(expr_bytes("\xff", 1), "/w==");
    expect_text(expr_list(items, 2), "[1,\"a\\\"b\"]");
    expect_text(expr_map(items, 1), "{\"1\":\"a\\\"b\"}");
    expect_text(expr_timestamp(0, 0), "1970-01-01T00:00:00Z");
    expect_text(expr_timestamp_ms(-1), "1969-12-31T23:59:59.999Z");
    expect_text(expr_duration_ns(3500000000), "3.5s");
    expect_text(expr_duration_ns(INT64_MIN), "-9223372036.854775808s");
    assert_int_equal(expr_timestamp(INT64_MAX, 0).type, EXPR_ERROR);
    assert_int_equal(expr_timestamp(0, 1000000000).type, EXPR_ERROR);
    assert_int_equal(expr_timestamp_ms(INT64_MIN).type, EXPR_ERROR);
    const char *text = NULL;
    size_t length = 0;
    struct expr_arena *tiny = expr_arena_new(16);
    assert_int_equal(expr_value_to_text(expr_failure("x"), tiny, &text, &length), -1);
    assert_int_equal(expr_value_to_json(expr_list(items, 2), tiny, &text, &length), -1);
    expr_arena_free(&tiny);
}

/* Doubles of every size read back as they were written. */
static void test_doubles_read_back(void **state)
{
    uint64_t seed = 3;
    struct expr_arena *arena = expr_arena_new(1u << 16);
    (void)state;
    for (int i = 0; i < 20000; i++) {
        double number = 0;
        const char *json = NULL;
        size_t length = 0;
        char text[64];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = i % 2 == 0 ? seed ^ seed >> 31 : (uint64_t)(i - 10000) << 47;
        memcpy(&number, &bits, sizeof number);
        if (!isfinite(number))
            continue;
        assert_int_equal(expr_value_to_json(expr_double(number), arena, &json, &length), 0);
        assert_true(length < sizeof text);
        memcpy(text, json, length);
        text[length] = '\0';
        assert_true(strtod(text, NULL) == number);
        assert_non_null(strpbrk(text, ".e"));
        expr_arena_reset(arena);
    }
    expr_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event),       cmocka_unit_test(test_whole_data_as_json),
        cmocka_unit_test(test_unbound),     cmocka_unit_test(test_host_functions),
        cmocka_unit_test(test_verdict),     cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_deep_values), cmocka_unit_test(test_arena),
        cmocka_unit_test(test_text),        cmocka_unit_test(test_doubles_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
