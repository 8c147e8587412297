/* links: text proto expr core */
/*
 * Prices by prefix: what the block says, what it must not say, how money is written.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/text/prices.h"

#define LIST_MAX 12

static struct slice *make_slice(const char *currency, const char *const *table)
{
    struct slice *slice = slice_new();
    struct slice_block *block = slice_add_block(slice, "prices", "", "test.conf", 7);
    if (currency != NULL)
        slice_add_setting(block, "currency", SLICE_TEXT, 8)->text = xstrdup(currency);
    struct slice_setting *setting = slice_add_setting(block, "table", SLICE_LIST, 9);
    setting->list = xcalloc(LIST_MAX, sizeof *setting->list);
    for (; table[setting->count] != NULL; setting->count++)
        setting->list[setting->count] = xstrdup(table[setting->count]);
    return slice;
}

static struct prices *make(const char *currency, const char *const *table)
{
    struct faults faults = {NULL, 0};
    struct slice *slice = make_slice(currency, table);
    struct prices *prices = prices_new(slice, &faults);
    if (faults.count > 0)
        fail_msg("%s", faults.list[0].text);
    slice_free(&slice);
    return prices;
}

static void test_of(void **state)
{
    static const char *const table[] = {"+48: 0.09", "+49:0.35",     " +4879 : 1 ",
                                        "*: 0.5",    "+1: 0.000001", NULL};
    static const struct {
        const char *number;
        size_t parts;
        int64_t want;
    } cases[] = {
        {"+48500500500", 1, 90000},
        {"48500500500", 1, 90000},
        {"+48500500500", 3, 270000},
        {"+48790500500", 1, 1000000},
        {"+48780500500", 1, 90000},
        {"+4915100000000", 2, 700000},
        {"+44700000000", 1, 500000},
        {"+12025550100", 10, 10},
        {"+4", 1, 500000},
        {"", 1, 500000},
        {"+4879", 0, 0},
        {"+123456789012345678", 1, 1},
        {"+48", SIZE_MAX, INT64_C(90000000000)},
    };
    struct prices *prices = make("PLN", table);
    (void)state;
    assert_int_equal(prices_count(prices), 5);
    assert_string_equal(prices_currency(prices), "PLN");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (prices_of(prices, cases[i].number, cases[i].parts) != cases[i].want)
            fail_msg("%s: %jd", cases[i].number,
                     (intmax_t)prices_of(prices, cases[i].number, cases[i].parts));
    prices_free(&prices);
    assert_null(prices);
    prices_free(&prices);
}

static void test_unknown(void **state)
{
    static const char *const table[] = {"+48: 0", NULL};
    struct faults faults = {NULL, 0};
    struct slice *empty = slice_new();
    struct prices *prices = prices_new(empty, &faults);
    (void)state;
    assert_non_null(prices);
    assert_int_equal(prices_of(prices, "+48500500500", 1), PRICES_UNKNOWN);
    assert_string_equal(prices_currency(prices), "");
    assert_int_equal(prices_count(prices), 0);
    prices_free(&prices);
    slice_free(&empty);
    prices = make(NULL, table);
    assert_int_equal(prices_of(prices, "+49500500500", 1), PRICES_UNKNOWN);
    assert_int_equal(prices_of(prices, "+48500500500", 1), 0);
    prices_free(&prices);
}

static void test_faults(void **state)
{
    static const struct {
        const char *entry;
        const char *want;
    } cases[] = {
        {"", "expected a prefix and the price"},
        {"48: 0.09", "expected a prefix and the price"},
        {"+48 0.09", "expected a prefix and the price"},
        {"+48:", "expected a prefix and the price"},
        {"+48: free", "expected a prefix and the price"},
        {"+48: 0.09 PLN", "expected a prefix and the price"},
        {"+48: -1", "expected a prefix and the price"},
        {"+48: .5", "expected a prefix and the price"},
        {"+48: 5.", "expected a prefix and the price"},
        {"+48: 1e3", "expected a prefix and the price"},
        {"+48: 0,09", "a point, not a comma"},
        {"+48: 0.0000001", "at most 6 digits and 6 decimals"},
        {"+48: 1000000", "at most 6 digits and 6 decimals"},
        {"+048: 1", "the first no 0"},
        {"+1234567890123456: 1", "1 to 15 digits"},
        {"+: 1", "expected a prefix and the price"},
        {"**: 1", "expected a prefix and the price"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *table[] = {"+1: 1", cases[i].entry, NULL};
        struct faults faults = {NULL, 0};
        struct slice *slice = make_slice("PLN", table);
        assert_null(prices_new(slice, &faults));
        assert_int_equal(faults.count, 1);
        if (strstr(faults.list[0].text, cases[i].want) == NULL)
            fail_msg("'%s': %s", cases[i].entry, faults.list[0].text);
        assert_int_equal(faults.list[0].line, 9);
        assert_string_equal(faults.list[0].file, "test.conf");
        faults_free(&faults);
        slice_free(&slice);
    }
}

/* All of them at once, each with its own word. */
static void test_all_faults(void **state)
{
    static const char *const table[] = {"+48: 1", "bad", "*: 1", "+48: 2", "* : 3", "worse", NULL};
    struct faults faults = {NULL, 0};
    struct slice *slice = make_slice("a currency that is too long", table);
    (void)state;
    assert_null(prices_new(slice, &faults));
    assert_int_equal(faults.count, 5);
    assert_int_equal(faults.list[0].line, 8);
    assert_non_null(strstr(faults.list[0].text, "longer than 16"));
    assert_non_null(strstr(faults.list[1].text, "\"bad\""));
    assert_non_null(strstr(faults.list[2].text, "\"worse\""));
    assert_non_null(strstr(faults.list[3].text, "\"* : 3\" is the second price of *"));
    assert_non_null(strstr(faults.list[4].text, "\"+48: 2\" is the second price of +48"));
    faults_free(&faults);
    slice_free(&slice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_all_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
