/* links: dispatcher_parts proto expr core */
/* Whose turn it is among priorities, and the directive with their weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "dispatcher/share.h"

static const uint32_t weights[SHARES] = {16, 4, 1};

/* Serves COUNT places among those in WANTS and adds up who got them. */
static void serve(struct share *s, const bool wants[SHARES], size_t count, size_t got[SHARES])
{
    while (count--) {
        int who = share_turn(s, wants);
        assert_in_range(who, 0, SHARES - 1);
        assert_true(wants[who]);
        share_take(s, who);
        got[who]++;
    }
}

static void those_that_wait_share_by_weight(void **state)
{
    (void)state;
    struct share s;
    share_init(&s, weights);
    const bool all[SHARES] = {true, true, true};
    for (int round = 0; round < 50; round++) {
        size_t got[SHARES] = {0};
        serve(&s, all, 21, got);
        assert_int_equal(got[0], 16);
        assert_int_equal(got[1], 4);
        assert_int_equal(got[2], 1);
    }
}

static void odd_weights_are_met_as_well(void **state)
{
    (void)state;
    static const uint32_t odd[SHARES] = {997, 101, 7};
    struct share s;
    share_init(&s, odd);
    const bool all[SHARES] = {true, true, true};
    size_t got[SHARES] = {0};
    serve(&s, all, 110500, got);
    assert_in_range(got[0], 99700 - 2, 99700 + 2);
    assert_in_range(got[1], 10100 - 2, 10100 + 2);
    assert_in_range(got[2], 700 - 2, 700 + 2);
}

static void who_waits_alone_gets_everything(void **state)
{
    (void)state;
    struct share s;
    share_init(&s, weights);
    const bool bulk[SHARES] = {false, false, true};
    size_t got[SHARES] = {0};
    serve(&s, bulk, 1000, got);
    assert_int_equal(got[2], 1000);
    const bool none[SHARES] = {false, false, false};
    assert_int_equal(share_turn(&s, none), -1);
}

static void two_share_what_the_third_leaves(void **state)
{
    (void)state;
    struct share s;
    share_init(&s, weights);
    const bool two[SHARES] = {true, false, true};
    size_t got[SHARES] = {0};
    serve(&s, two, 170, got);
    assert_int_equal(got[0], 160);
    assert_int_equal(got[2], 10);
}

/* Neither the one that was away nor the one that had everything meanwhile is owed anything. */
static void nobody_saves_up(void **state)
{
    (void)state;
    struct share s;
    share_init(&s, weights);
    const bool critical[SHARES] = {true, false, false}, both[SHARES] = {true, false, true};
    const bool bulk[SHARES] = {false, false, true};
    size_t got[SHARES] = {0};
    serve(&s, critical, 100000, got);
    memset(got, 0, sizeof got);
    serve(&s, both, 170, got);
    assert_in_range(got[2], 9, 11);
    serve(&s, bulk, 100000, got);
    memset(got, 0, sizeof got);
    serve(&s, both, 170, got);
    assert_in_range(got[2], 9, 11);
}

static void the_urgent_goes_first_when_it_comes(void **state)
{
    (void)state;
    struct share s;
    share_init(&s, weights);
    const bool bulk[SHARES] = {false, false, true}, both[SHARES] = {true, false, true};
    size_t got[SHARES] = {0};
    for (int i = 0; i < 100; i++) {
        serve(&s, bulk, 37, got);
        assert_int_equal(share_turn(&s, both), 0);
        share_take(&s, 0);
    }
}

static void it_goes_on_for_ever(void **state)
{
    (void)state;
    struct share s;
    share_init(&s, weights);
    const bool all[SHARES] = {true, true, true};
    size_t got[SHARES] = {0};
    serve(&s, all, 21 * 3, got);
    uint64_t further = (UINT64_C(1) << 62) - s.now;
    for (int i = 0; i < SHARES; i++)
        s.position[i] += further;
    s.now += further;
    memset(got, 0, sizeof got);
    serve(&s, all, 21 * 100, got);
    assert_in_range(got[0], 1599, 1601);
    assert_in_range(got[1], 399, 401);
    assert_in_range(got[2], 99, 101);
    assert_true(s.now < UINT64_C(1) << 60);
}

static void a_plan_is_what_comes(void **state)
{
    (void)state;
    struct share s;
    share_init(&s, weights);
    const bool bulk[SHARES] = {false, false, true};
    size_t got[SHARES] = {0}, turns[SHARES];
    serve(&s, bulk, 7, got);
    const size_t wants[SHARES] = {SIZE_MAX, 3, SIZE_MAX};
    share_plan(&s, wants, 100, turns);
    assert_int_equal(turns[0] + turns[1] + turns[2], 100);
    assert_int_equal(turns[1], 3);
    assert_in_range(turns[2], 5, 7);
    const size_t few[SHARES] = {1, 0, 2};
    share_plan(&s, few, 100, turns);
    assert_int_equal(turns[0], 1);
    assert_int_equal(turns[2], 2);
    /* and it leaves no trace */
    struct share before = s;
    share_plan(&s, wants, 1000, turns);
    assert_memory_equal(&s, &before, sizeof s);
}

/* ---- the directive ---- */

static struct slice *slice_with(const char *const *words)
{
    struct slice *slice = slice_new();
    struct slice_block *b = slice_add_block(slice, "dispatcher", "", "test.conf", 3);
    struct slice_setting *v = slice_add_setting(b, "priority_weights", SLICE_LIST, 7);
    size_t count = 0;
    while (words[count])
        count++;
    v->list = xcalloc(count + 1, sizeof *v->list);
    for (; v->count < count; v->count++)
        v->list[v->count] = xstrdup(words[v->count]);
    return slice;
}

static void weights_are_read(void **state)
{
    (void)state;
    const char *words[] = {"bulk: 2", "critical:1000", " normal :\t30 ", NULL};
    struct slice *slice = slice_with(words);
    struct faults faults = {0};
    uint32_t got[SHARES];
    share_weights(slice, got, &faults);
    assert_int_equal(faults.count, 0);
    assert_int_equal(got[0], 1000);
    assert_int_equal(got[1], 30);
    assert_int_equal(got[2], 2);
    slice_free(&slice);
}

static void what_is_not_named_keeps_its_weight(void **state)
{
    (void)state;
    const char *words[] = {"bulk: 2", NULL};
    struct slice *slice = slice_with(words), *empty = slice_new();
    struct faults faults = {0};
    uint32_t got[SHARES];
    share_weights(slice, got, &faults);
    assert_int_equal(got[0], 16);
    assert_int_equal(got[1], 4);
    assert_int_equal(got[2], 2);
    share_weights(empty, got, &faults);
    assert_int_equal(got[2], 1);
    assert_int_equal(faults.count, 0);
    slice_free(&slice);
    slice_free(&empty);
}

static void bad_words_are_named_all_at_once(void **state)
{
    (void)state;
    const char *words[] = {
        "critical: 0", "normle: 4",  "bulk 1",   "bulk: -1", "bulk: 5",
        "urgent: 3",   "normal: 1x", "normal: ", "",         "critical: 99999999999999999999",
        NULL};
    static const char *const expected[] = {
        "\"critical: 0\": expected a whole number from 1 to 1000, not \"0\"",
        "no priority \"normle\"; did you mean \"normal\"?",
        "\"bulk 1\" is not \"priority: weight\"",
        "not \"-1\"",
        "\"bulk\" is there twice",
        "no priority \"urgent\"; expected critical, normal or bulk",
        "not \"1x\"",
        "\"normal\" is there twice",
        "\"\" is not",
        "\"critical\" is there twice",
    };
    struct slice *slice = slice_with(words);
    struct faults faults = {0};
    uint32_t got[SHARES];
    share_weights(slice, got, &faults);
    assert_int_equal(faults.count, 10);
    for (size_t i = 0; i < faults.count; i++) {
        assert_string_equal(faults.list[i].file, "test.conf");
        assert_int_equal(faults.list[i].line, 7);
        if (!strstr(faults.list[i].text, expected[i]))
            fail_msg("%s", faults.list[i].text);
    }
    faults_free(&faults);
    /* without a list for faults the defaults stand in */
    share_weights(slice, got, NULL);
    assert_int_equal(got[0], 16);
    slice_free(&slice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_wait_share_by_weight),
        cmocka_unit_test(odd_weights_are_met_as_well),
        cmocka_unit_test(who_waits_alone_gets_everything),
        cmocka_unit_test(two_share_what_the_third_leaves),
        cmocka_unit_test(nobody_saves_up),
        cmocka_unit_test(the_urgent_goes_first_when_it_comes),
        cmocka_unit_test(it_goes_on_for_ever),
        cmocka_unit_test(a_plan_is_what_comes),
        cmocka_unit_test(weights_are_read),
        cmocka_unit_test(what_is_not_named_keeps_its_weight),
        cmocka_unit_test(bad_words_are_named_all_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
