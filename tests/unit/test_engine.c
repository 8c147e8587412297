/* links: dispatcher_parts conf expr proto core m */
/* The engine: the dispatcher's decision on a clock of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sodium.h>
#include <unistd.h>

#include "dispatcher/rules_parts.h"
#include "engine_fixture.h"

enum { KEPT = 64 };
#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
/* 2026-03-28T12:00:00Z, the day before the clocks of Warsaw go forward. */
#define NOON INT64_C(1774699200000)

struct kept {
    enum engine_fate fate;
    enum engine_form form;
    enum store_why why;
    int64_t at_ms, count, price_micro;
    int parts;
    char to[24], text[200], words[120];
};

struct fixture {
    struct slice *slice;
    struct engine *engine;
    struct kept list[KEPT];
    size_t count;
};

static void on_outcome(void *arg, const struct engine_outcome *o)
{
    struct fixture *f = arg;
    assert_true(f->count < KEPT);
    struct kept *k = &f->list[f->count++];
    *k = (struct kept){.fate = o->fate,
                       .form = o->form,
                       .why = o->why,
                       .at_ms = o->at_ms,
                       .count = o->count,
                       .price_micro = o->job->price_micro,
                       .parts = o->job->parts};
    snprintf(k->to, sizeof k->to, "%s", o->job->number);
    snprintf(k->text, sizeof k->text, "%s", o->job->text);
    snprintf(k->words, sizeof k->words, "%s", o->words);
}

static void open_engine(struct fixture *f, const char *rules)
{
    struct faults faults = {0};
    memset(f, 0, sizeof *f);
    f->slice = slice_of(rules);
    f->engine = engine_new(f->slice, on_outcome, f, &faults);
    for (size_t i = 0; i < faults.count; i++)
        print_message("%s\n", faults.list[i].text);
    assert_non_null(f->engine);
}

static void close_engine(struct fixture *f)
{
    assert_null(engine_trouble(f->engine));
    engine_free(&f->engine);
    slice_free(&f->slice);
}

static void feed_frame(struct fixture *f, const char *frame, int64_t at_ms)
{
    struct made_event m;
    make_event(&m, frame, at_ms);
    assert_int_equal(engine_feed(f->engine, &m.e, at_ms), 0);
    free_event(&m);
}

static void feed(struct fixture *f, int number, int64_t at_ms)
{
    char frame[300];
    snprintf(
        frame, sizeof frame,
        "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"m%d\",\"threadId\":\"t\","
        "\"author\":\"ala\"},\"timestamp\":%lld}",
        number, (long long)at_ms);
    feed_frame(f, frame, at_ms);
}

static size_t count_of(const struct fixture *f, enum engine_fate fate)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->list[i].fate == fate;
    return n;
}

#define RULE(more)                                                                                           \
    "rule \"r\" { when = \"type == 'threadNewMessage'\" to = { \"+48500500500\" } "                          \
    "message = \"new {{ item }}\" " more " }\n"

/* ---- tests ---- */

static void one_event_one_message(void **state)
{
    (void)state;
    struct fixture f;
    open_engine(&f, RULE(""));
    feed(&f, 1, NOON);
    feed_frame(&f, "{\"channel\":\"x\",\"type\":\"y\",\"data\":{},\"timestamp\":1}", NOON);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.list[0].fate, ENGINE_SENT);
    assert_int_equal(f.list[0].form, ENGINE_SINGLE);
    assert_string_equal(f.list[0].text, "new m1");
    assert_int_equal(f.list[0].parts, 1);
    assert_int_equal(f.list[0].price_micro, 90000);
    assert_int_equal(f.list[0].at_ms, NOON);
    assert_int_equal(engine_counts(f.engine)->events, 2);
    assert_int_equal(engine_counts(f.engine)->matched, 1);
    close_engine(&f);
}

static void the_same_event_rings_once(void **state)
{
    (void)state;
    struct fixture f;
    open_engine(&f, RULE(""));
    feed(&f, 1, NOON);
    feed(&f, 1, NOON + HOUR);
    assert_int_equal(f.count, 1);
    assert_int_equal(engine_counts(f.engine)->known, 1);
    assert_int_equal(engine_counts(f.engine)->matched, 1);
    assert_int_equal(engine_rules(f.engine)->list[0].matched, 1);
    close_engine(&f);
}

static void throttle_runs_with_the_clock(void **state)
{
    (void)state;
    struct fixture f;
    open_engine(&f, RULE("throttle = \"2/min\""));
    for (int i = 0; i < 5; i++)
        feed(&f, i, NOON + i * 1000);
    assert_int_equal(count_of(&f, ENGINE_SENT), 2);
    assert_int_equal(count_of(&f, ENGINE_SUPPRESSED), 3);
    assert_int_equal(f.list[4].why, WHY_THROTTLE);
    assert_non_null(strstr(f.list[4].words, "2/min"));
    feed(&f, 9, NOON + 61 * 1000);
    assert_int_equal(f.list[5].fate, ENGINE_SENT);
    close_engine(&f);
}

static void digest_closes_at_its_time(void **state)
{
    (void)state;
    struct fixture f;
    open_engine(&f, RULE("digest = 10m"));
    assert_true(engine_next_due_ms(f.engine) < 0);
    for (int i = 0; i < 3; i++)
        feed(&f, i, NOON + i * MINUTE);
    assert_int_equal(engine_next_due_ms(f.engine), NOON + 10 * MINUTE);
    assert_int_equal(count_of(&f, ENGINE_MERGED), 3);
    /* The event after it closes it first, and opens the next. */
    feed(&f, 7, NOON + HOUR);
    assert_int_equal(f.count, 5);
    assert_int_equal(f.list[3].fate, ENGINE_SENT);
    assert_int_equal(f.list[3].form, ENGINE_DIGEST);
    assert_int_equal(f.list[3].count, 3);
    assert_int_equal(f.list[3].at_ms, NOON + 10 * MINUTE);
    assert_non_null(strstr(f.list[3].text, "3"));
    assert_int_equal(f.list[4].fate, ENGINE_MERGED);
    assert_int_equal(engine_advance(f.engine, NOON + 2 * HOUR), 0);
    assert_int_equal(f.list[5].count, 1);
    assert_int_equal(f.list[5].at_ms, NOON + HOUR + 10 * MINUTE);
    assert_true(engine_next_due_ms(f.engine) < 0);
    close_engine(&f);
}

static void quiet_hours_end_where_the_clocks_change(void **state)
{
    (void)state;
    struct fixture f;
    open_engine(&f, RULE("quiet_hours = { \"22:00-07:00\" } quiet_zone = \"Europe/Warsaw\""));
    /* 21:59, 22:00 and 03:30 of the day when two becomes three, Warsaw. */
    feed(&f, 1, NOON + 9 * HOUR - MINUTE);
    assert_int_equal(f.list[0].fate, ENGINE_SENT);
    feed(&f, 2, NOON + 9 * HOUR);
    feed(&f, 3, NOON + 13 * HOUR + 30 * MINUTE);
    assert_int_equal(count_of(&f, ENGINE_MERGED), 2);
    assert_int_equal(f.list[1].why, WHY_QUIET);
    assert_int_equal(engine_advance(f.engine, NOON + 24 * HOUR), 0);
    assert_int_equal(f.count, 4);
    assert_int_equal(f.list[3].form, ENGINE_SUMMARY);
    assert_int_equal(f.list[3].count, 2);
    /* 07:00 in summer time is 05:00Z: an hour sooner than it would be without the change. */
    assert_int_equal(f.list[3].at_ms, NOON + 17 * HOUR);
    close_engine(&f);
}

static void trying_keeps_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct made_event m;
    open_engine(&f, RULE("throttle = \"1/h\""));
    for (int i = 0; i < 3; i++) {
        make_event(&m,
                   "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"m1\"},"
                   "\"timestamp\":5}",
                   NOON);
        assert_int_equal(engine_try(f.engine, &m.e, NOON), 0);
        free_event(&m);
        assert_int_equal(f.list[i].fate, ENGINE_SENT);
    }
    feed(&f, 1, NOON);
    feed(&f, 2, NOON);
    assert_int_equal(f.list[3].fate, ENGINE_SENT);
    assert_int_equal(f.list[4].fate, ENGINE_SUPPRESSED);
    close_engine(&f);
}

static void what_was_deleted_before_is_cancelled(void **state)
{
    (void)state;
    struct fixture f;
    open_engine(&f, RULE(""));
    feed_frame(&f,
               "{\"channel\":\"thread\",\"type\":\"threadDeletedMessage\",\"data\":{\"messageId\":\"m1\","
               "\"threadId\":\"t\"},\"timestamp\":1}",
               NOON);
    feed(&f, 1, NOON + 1);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.list[0].fate, ENGINE_CANCELLED);
    close_engine(&f);
}

static void members_come_from_the_events(void **state)
{
    (void)state;
    struct fixture f;
    char csv[] = "/tmp/people-XXXXXX", rules[400];
    int fd = mkstemp(csv);
    assert_true(fd >= 0);
    dprintf(fd, "user_id,number\nala,+48500500501\nola,+48500500502\n");
    close(fd);
    snprintf(rules, sizeof rules,
             "directory { file = \"%s\" }\n"
             "rule \"r\" { when = \"type == 'threadNewMessage'\" to = { \"others()\" } message = \"m\" }\n",
             csv);
    open_engine(&f, rules);
    feed(&f, 1, NOON);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.list[0].fate, ENGINE_SUPPRESSED);
    assert_int_equal(f.list[0].why, WHY_UNKNOWN);
    assert_int_equal(engine_counts(f.engine)->no_members, 1);
    feed_frame(&f,
               "{\"channel\":\"thread\",\"type\":\"threadUpdated\",\"data\":{\"id\":\"t\",\"version\":2,"
               "\"users\":[\"ala\",\"ola\"],\"managers\":[\"ala\"]},\"timestamp\":1}",
               NOON + 1);
    feed(&f, 2, NOON + 2);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.list[1].fate, ENGINE_SENT);
    assert_string_equal(f.list[1].to, "+48500500502");
    assert_int_equal(engine_counts(f.engine)->no_members, 1);
    close_engine(&f);
    unlink(csv);
}

static void shadow_and_empty_are_told(void **state)
{
    (void)state;
    struct fixture f;
    open_engine(&f, RULE("mode = shadow") "rule \"e\" { when = \"true\" to = { \"+48500500501\" } "
                                          "message = \"{{ context }}\" }\n");
    feed(&f, 1, NOON);
    assert_int_equal(f.count, 2);
    const struct kept *shadow = f.list[0].why == WHY_SHADOW ? &f.list[0] : &f.list[1];
    const struct kept *empty = shadow == &f.list[0] ? &f.list[1] : &f.list[0];
    assert_int_equal(shadow->fate, ENGINE_SUPPRESSED);
    assert_int_equal(shadow->price_micro, 90000);
    assert_int_equal(empty->why, WHY_EMPTY);
    close_engine(&f);
}

static void time_never_runs_backwards(void **state)
{
    (void)state;
    struct fixture f;
    open_engine(&f, RULE(""));
    feed(&f, 1, NOON);
    feed(&f, 2, NOON - HOUR);
    assert_int_equal(f.list[1].at_ms, NOON);
    assert_int_equal(engine_now_ms(f.engine), NOON);
    close_engine(&f);
}

static void nothing_is_left_on_disk(void **state)
{
    (void)state;
    struct fixture f;
    char dir[] = "/tmp/engine-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_int_equal(setenv("TMPDIR", dir, 1), 0);
    open_engine(&f, RULE(""));
    /* Only an empty directory can be removed. */
    assert_int_equal(rmdir(dir), 0);
    feed(&f, 1, NOON);
    close_engine(&f);
    struct faults faults = {0};
    struct slice *slice = slice_of(RULE(""));
    assert_null(engine_new(slice, on_outcome, &f, &faults));
    assert_int_equal(faults.count, 1);
    faults_free(&faults);
    slice_free(&slice);
    unsetenv("TMPDIR");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_event_one_message),
        cmocka_unit_test(the_same_event_rings_once),
        cmocka_unit_test(throttle_runs_with_the_clock),
        cmocka_unit_test(digest_closes_at_its_time),
        cmocka_unit_test(quiet_hours_end_where_the_clocks_change),
        cmocka_unit_test(trying_keeps_nothing),
        cmocka_unit_test(what_was_deleted_before_is_cancelled),
        cmocka_unit_test(members_come_from_the_events),
        cmocka_unit_test(shadow_and_empty_are_told),
        cmocka_unit_test(time_never_runs_backwards),
        cmocka_unit_test(nothing_is_left_on_disk),
    };
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
