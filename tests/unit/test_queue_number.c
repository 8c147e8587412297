/* links: dispatcher_parts proto expr core */
/* No more attempts to one number than the provider takes, whichever way a job goes. */
#include "queue_fake.h"

enum { LIMIT = 3, WINDOW_MS = 60000 };
static const char hot[] = "+48500500500";
static const char cold[] = "+48500500501";
static uint64_t result_seq;

static int setup_limited(void **state)
{
    setup(state);
    result_seq = 0;
    struct slice_setting *s = slice_add_setting(&slice->blocks[0], "attempts_per_number", SLICE_RATE, 1);
    s->number = LIMIT;
    s->per_ms = WINDOW_MS;
    set_number("batch", 1);
    restart_queue();
    sender_up(0, "a", 100, 1);
    settle();
    return 0;
}

static struct store_job job_to(unsigned n, const char *number)
{
    char text[32];
    snprintf(text, sizeof text, "text %u", n);
    struct store_job j = make_job(n, number, text);
    j.expires_ms = 0;
    return j;
}

static size_t arrive(unsigned n, const char *number)
{
    struct store_job j = job_to(n, number);
    return insert(&j, 1);
}

static size_t granted_to(const char *number)
{
    size_t n = 0;
    for (size_t g = 0; g < seen.count; g++)
        for (size_t i = 0; i < seen.grants[g].count; i++)
            n += strcmp(seen.grants[g].numbers[i], number) == 0;
    return n;
}

/* Answers everything that is out. */
static void answer_all(enum wire_outcome outcome, enum wire_class class, int32_t code)
{
    for (size_t i = 0; i < fake.count; i++)
        if (fake.jobs[i].state == JOB_LEASED)
            answer(++result_seq, &fake.jobs[i], outcome, class, code);
    settle();
}

static size_t most_to_in_window(const char *number)
{
    size_t most = 0;
    for (size_t i = 0; i < seen.count; i++) {
        size_t n = 0;
        for (size_t k = i; k < seen.count && seen.grants[k].at_us - seen.grants[i].at_us < WINDOW_MS * 1000;
             k++)
            n += strcmp(seen.grants[k].numbers[0], number) == 0;
        most = n > most ? n : most;
    }
    return most;
}

static void those_inserted_leased_obey(void **state)
{
    (void)state;
    size_t leased = 0;
    for (unsigned n = 0; n < 5; n++)
        leased += arrive(n, hot);
    assert_int_equal(leased, LIMIT);
    assert_int_equal(arrive(9, cold), 1);
    settle();
    assert_int_equal(granted_to(hot), LIMIT);
    assert_int_equal(granted_to(cold), 1);
    const struct store_job *j = &fake.jobs[3];
    assert_int_equal(j->state, JOB_QUEUED);
    assert_int_equal(j->attempt, 0);
    assert_true(j->due_ms > store_now_ms(NULL));
    assert_string_equal(j->reason, STORE_NUMBER_WAITS);
    assert_int_equal(queue->lanes[0].number_waits_total, 2);
}

static void those_in_one_offer_obey(void **state)
{
    (void)state;
    struct store_job jobs[8];
    for (unsigned n = 0; n < 8; n++)
        jobs[n] = job_to(n, n % 4 == 3 ? cold : hot);
    assert_int_equal(insert(jobs, 8), LIMIT + 2);
    settle();
    assert_int_equal(granted_to(hot), LIMIT);
    assert_int_equal(granted_to(cold), 2);
}

static void those_from_the_store_obey(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 10; n++)
        put_job(job_to(n, n % 2 ? hot : cold));
    settle();
    assert_int_equal(granted_to(hot), LIMIT);
    assert_int_equal(granted_to(cold), LIMIT);
    size_t put_off = 0;
    for (size_t i = 0; i < fake.count; i++)
        put_off += fake.jobs[i].state == JOB_QUEUED && fake.jobs[i].attempt == 0 &&
                   fake.jobs[i].due_ms > store_now_ms(NULL);
    assert_int_equal(put_off, 10 - 2 * LIMIT);
    assert_int_equal(queue->lanes[0].number_waits_total, put_off);
}

static void what_was_put_off_leaves_when_there_is_room(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 10; n++)
        arrive(n, hot);
    for (int second = 0; second < 400 && granted_to(hot) < 10; second++) {
        answer_all(WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
        advance(1000000);
    }
    assert_int_equal(granted_to(hot), 10);
    assert_int_equal(most_to_in_window(hot), LIMIT);
    for (size_t i = 0; i < 10; i++)
        assert_true(fake.jobs[i].attempt <= 1);
    /* as many in each window as there may be, in their order */
    assert_true(seen.grants[9].at_us - seen.grants[0].at_us < 4 * UINT64_C(1000) * WINDOW_MS);
    for (unsigned n = 0; n < 10; n++) {
        char text[32];
        snprintf(text, sizeof text, "text %u", n);
        assert_string_equal(seen.grants[n].text, text);
    }
}

static void waiting_costs_next_to_nothing(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 500; n++)
        put_job(job_to(n, hot));
    settle();
    answer_all(WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    size_t claims = fake.claims;
    for (int second = 0; second < 50; second++)
        advance(1000000);
    assert_true(fake.claims <= claims + 1);
    assert_true(queue->lanes[0].number_waits_total <= 500);
}

static void retries_count_like_all_attempts(void **state)
{
    (void)state;
    arrive(1, hot);
    settle();
    for (int second = 0; second < 200; second++) {
        answer_all(WIRE_REFUSED, WIRE_TRANSIENT, 201);
        advance(1000000);
    }
    assert_true(granted_to(hot) > LIMIT);
    assert_int_equal(most_to_in_window(hot), LIMIT);
}

static void what_came_back_unsent_does_not_count(void **state)
{
    (void)state;
    arrive(1, hot);
    settle();
    for (int i = 0; i < 10; i++) {
        answer_all(WIRE_UNSENT, WIRE_CLASS_NONE, 0);
        advance(5000000);
    }
    assert_true(granted_to(hot) > LIMIT);
}

static void what_did_not_come_on_disk_does_not_count(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3 * LIMIT; n++) {
        struct store_job j = job_to(n, hot);
        struct store_job *p = &j;
        struct queue_ticket *t = queue_offer(queue, &p, 1);
        assert_int_equal(j.state, JOB_LEASED);
        if (n % 2)
            queue_settle(queue, t, false);
        else
            queue_settle(queue, t, true); /* was known: it has no row */
        store_job_free(&j);
    }
    for (unsigned n = 0; n < LIMIT; n++)
        assert_int_equal(arrive(n, hot), 1);
    struct store_job j = job_to(99, hot);
    struct store_job *p = &j;
    struct queue_ticket *t = queue_offer(queue, &p, 1);
    assert_true(j.due_ms > store_now_ms(NULL));
    queue_settle(queue, t, false);
    assert_int_equal(j.due_ms, 0); /* as it was before */
    assert_null(j.reason);
    store_job_free(&j);
}

static void a_restart_forgets_nothing(void **state)
{
    (void)state;
    arrive(1, hot);
    arrive(2, hot);
    settle();
    answer(++result_seq, &fake.jobs[0], WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    settle();
    advance(20000000);
    /* one ended, one is still under way */
    fake.leased = xcalloc(1, sizeof *fake.leased);
    fake.leased[0] = copy_job(&fake.jobs[1]);
    fake.leased_count = 1;
    restart_queue();
    sender_up(0, "a", 100, 1);
    settle();
    assert_int_equal(arrive(3, hot), 1);
    assert_int_equal(arrive(4, hot), 0);
    int64_t wait_ms = fake.jobs[fake.count - 1].due_ms - store_now_ms(NULL);
    assert_in_range(wait_ms, WINDOW_MS - 20000, WINDOW_MS - 20000 + 2000);
}

static void the_providers_word_holds_that_number_only(void **state)
{
    (void)state;
    arrive(1, hot);
    settle();
    answer_all(WIRE_REFUSED, WIRE_PER_NUMBER, 52);
    assert_int_equal(arrive(2, hot), 0);
    put_job(job_to(3, hot));
    settle();
    assert_int_equal(arrive(4, cold), 1);
    settle();
    assert_int_equal(granted_to(hot), 1);
    assert_int_equal(granted_to(cold), 1);
    assert_true(line_is_open(&queue->lanes[0].line));
    for (size_t i = 0; i < 3; i++)
        assert_true(fake.jobs[i].due_ms >= store_now_ms(NULL) + 59000);
    /* also for the next dispatcher */
    advance(5000000);
    restart_queue();
    sender_up(0, "a", 100, 1);
    settle();
    assert_int_equal(arrive(5, hot), 0);
    advance(80000000);
    assert_true(granted_to(hot) > 1);
}

static void off_counts_nothing_but_hears_the_provider(void **state)
{
    (void)state;
    struct slice_setting *s = (struct slice_setting *)slice_get(&slice->blocks[0], "attempts_per_number");
    s->number = -1;
    restart_queue();
    sender_up(0, "a", 1000, 1);
    settle();
    for (unsigned n = 0; n < 50; n++)
        assert_int_equal(arrive(n, hot), 1);
    settle();
    assert_int_equal(fake.attempts_count, 0);
    answer(++result_seq, &fake.jobs[0], WIRE_REFUSED, WIRE_PER_NUMBER, 52);
    settle();
    assert_int_equal(arrive(60, hot), 0);
    assert_int_equal(fake.attempts_count, 1);
}

static void the_urgent_waits_for_the_number_as_well_but_not_behind_bulk(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 50; n++) {
        struct store_job j = job_to(n, hot);
        j.priority = PRIORITY_BULK;
        put_job(j);
    }
    settle();
    answer_all(WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    struct store_job j = job_to(99, hot);
    j.priority = PRIORITY_CRITICAL;
    assert_int_equal(insert(&j, 1), 0);
    size_t before = seen.count;
    for (int second = 0; second < 70; second++)
        advance(1000000);
    bool left = false;
    for (size_t g = before; g < seen.count; g++)
        left = left || strcmp(seen.grants[g].text, "text 99") == 0;
    assert_true(left);
    assert_int_equal(most_to_in_window(hot), LIMIT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_limited, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(those_inserted_leased_obey),
        TEST(those_in_one_offer_obey),
        TEST(those_from_the_store_obey),
        TEST(what_was_put_off_leaves_when_there_is_room),
        TEST(waiting_costs_next_to_nothing),
        TEST(retries_count_like_all_attempts),
        TEST(what_came_back_unsent_does_not_count),
        TEST(what_did_not_come_on_disk_does_not_count),
        TEST(a_restart_forgets_nothing),
        TEST(the_providers_word_holds_that_number_only),
        TEST(off_counts_nothing_but_hears_the_provider),
        TEST(the_urgent_waits_for_the_number_as_well_but_not_behind_bulk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
