/* links: dispatcher_parts proto expr core */
/* Who may leave when, with whom, and by which sender. */
#include "queue_fake.h"

static void a_job_leaves_with_its_own_commit(void **state)
{
    (void)state;
    sender_up(0, "a", 4, 1);
    settle();
    size_t claims = fake.claims;
    struct store_job j = make_job(1, "+48500500500", "hello");
    assert_int_equal(insert(&j, 1), 1);
    settle();
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.grants[0].text, "hello");
    assert_string_equal(seen.grants[0].numbers[0], "+48500500500");
    assert_int_equal(seen.grants[0].jobs[0].attempt, 1);
    assert_int_equal(seen.grants[0].jobs[0].generation, 1);
    assert_int_equal(seen.grants[0].expires_in_s, 3600);
    assert_int_equal(fake.claims, claims);
}

static void without_commit_nothing_leaves(void **state)
{
    (void)state;
    sender_up(0, "a", 1, 1);
    settle();
    struct store_job j = make_job(1, "+48500500500", "hello");
    struct store_job *p = &j;
    struct queue_ticket *t = queue_offer(queue, &p, 1);
    assert_int_equal(j.state, JOB_LEASED);
    settle();
    assert_int_equal(seen.count, 0);
    queue_settle(queue, t, false);
    settle();
    assert_int_equal(seen.count, 0);
    store_job_free(&j);
    /* the credit held for it is free again */
    struct store_job other = make_job(2, "+48500500500", "hello");
    assert_int_equal(insert(&other, 1), 1);
}

static void what_was_known_already_gives_its_place_back(void **state)
{
    (void)state;
    sender_up(0, "a", 1, 1);
    settle();
    struct store_job j = make_job(1, "+48500500500", "hello");
    struct store_job *p = &j;
    struct queue_ticket *t = queue_offer(queue, &p, 1);
    queue_settle(queue, t, true); /* committed, but its row stayed 0 */
    settle();
    assert_int_equal(seen.count, 0);
    store_job_free(&j);
    struct store_job other = make_job(2, "+48500500500", "hello");
    assert_int_equal(insert(&other, 1), 1);
}

static void without_credit_a_job_waits_in_the_store(void **state)
{
    (void)state;
    struct store_job j = make_job(1, "+48500500500", "hello");
    assert_int_equal(insert(&j, 1), 0);
    settle();
    assert_int_equal(seen.count, 0);
    sender_up(0, "a", 1, 1);
    settle();
    assert_int_equal(seen.count, 1);
    assert_int_equal(fake.jobs[0].state, JOB_LEASED);
}

static void nobody_passes_who_waits(void **state)
{
    (void)state;
    put_plain(1);
    put_plain(2);
    sender_up(0, "a", 1, 1);
    queue_pass(queue); /* the claim is under way */
    struct store_job late = make_job(3, "+48500500503", "late");
    assert_int_equal(insert(&late, 1), 0);
    settle();
    assert_string_equal(seen.grants[0].text, "text 1");
    give_credit(0, 1);
    settle();
    assert_string_equal(seen.grants[1].text, "text 2");
    give_credit(0, 1);
    settle();
    assert_string_equal(seen.grants[2].text, "late");
}

static void the_urgent_pass_the_others(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 5; n++) {
        struct store_job *j = put_plain(n);
        j->priority = PRIORITY_BULK;
    }
    sender_up(0, "a", 1, 1);
    settle();
    struct store_job j = make_job(9, "+48500500509", "urgent");
    j.priority = PRIORITY_CRITICAL;
    insert(&j, 1);
    settle();
    give_credit(0, 1);
    settle();
    assert_string_equal(seen.grants[1].text, "urgent");
}

static void equal_texts_share_a_request(void **state)
{
    (void)state;
    struct store_job jobs[5];
    sender_up(0, "a", 1, 1);
    settle();
    for (unsigned n = 0; n < 5; n++) {
        char number[20];
        snprintf(number, sizeof number, "+4850050050%u", n);
        jobs[n] = make_job(n, number, "the same");
    }
    assert_int_equal(insert(jobs, 5), 5);
    settle();
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.grants[0].count, 5);
}

static void check_no_number_twice(void)
{
    for (size_t g = 0; g < seen.count; g++)
        for (size_t a = 0; a < seen.grants[g].count; a++)
            for (size_t b = a + 1; b < seen.grants[g].count; b++)
                assert_string_not_equal(seen.grants[g].numbers[a], seen.grants[g].numbers[b]);
}

static void a_number_is_never_twice_in_a_request(void **state)
{
    (void)state;
    struct store_job jobs[6];
    sender_up(0, "a", 10, 1);
    settle();
    for (unsigned n = 0; n < 6; n++)
        jobs[n] = make_job(n, n % 2 ? "+48500500501" : "+48500500502", "the same");
    assert_int_equal(insert(jobs, 6), 6);
    for (unsigned n = 10; n < 16; n++)
        put_job(make_job(n, n % 3 ? "+48500500501" : "+48500500502", "the same"));
    settle();
    size_t jobs_seen = 0;
    for (size_t g = 0; g < seen.count; g++)
        jobs_seen += seen.grants[g].count;
    assert_int_equal(jobs_seen, 12);
    check_no_number_twice();
}

static void what_differs_travels_apart(void **state)
{
    (void)state;
    struct store_job jobs[4];
    sender_up(0, "a", 10, 1);
    settle();
    for (unsigned n = 0; n < 4; n++) {
        char number[20];
        snprintf(number, sizeof number, "+4850050050%u", n);
        jobs[n] = make_job(n, number, "the same");
    }
    jobs[1].from = xstrdup("Other");
    jobs[2].expires_ms += 1000;
    free(jobs[3].text);
    jobs[3].text = xstrdup("another");
    insert(jobs, 4);
    settle();
    assert_int_equal(seen.count, 4);
}

static void a_request_holds_a_batch_at_most(void **state)
{
    (void)state;
    struct store_job jobs[100];
    set_number("batch", 30);
    restart_queue();
    sender_up(0, "a", 10, 1);
    settle();
    for (unsigned n = 0; n < 100; n++) {
        char number[20];
        snprintf(number, sizeof number, "+48500500%03u", n);
        jobs[n] = make_job(n, number, "the same");
    }
    assert_int_equal(insert(jobs, 100), 100);
    settle();
    assert_int_equal(seen.count, 4);
    assert_int_equal(seen.grants[0].count, 30);
    assert_int_equal(seen.grants[3].count, 10);
}

static void who_is_asked_again_is_alone(void **state)
{
    (void)state;
    sender_up(0, "a", 10, 1);
    settle();
    for (unsigned n = 0; n < 4; n++) {
        char number[20];
        snprintf(number, sizeof number, "+4850050050%u", n);
        struct store_job j = make_job(n, number, "the same");
        j.pinned = n < 2;
        j.attempt = n < 2;
        put_job(j);
    }
    settle();
    assert_int_equal(seen.count, 3);
    for (size_t g = 0; g < seen.count; g++)
        if (seen.grants[g].jobs[0].attempt == 2)
            assert_int_equal(seen.grants[g].count, 1);
}

static void the_start_by_time_counts_from_the_stamp(void **state)
{
    (void)state;
    sender_up(0, "a", 1, 1);
    settle();
    advance(40000);
    struct store_job j = make_job(1, "+48500500500", "hello");
    insert(&j, 1);
    settle();
    assert_int_equal(seen.grants[0].stamp, 500);
    assert_int_equal(seen.grants[0].start_by_ms, 40 + LINE_START_BY_MS);
}

static void credit_is_absolute_and_reckoned_on(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 20; n++)
        put_plain(n);
    sender_up(0, "a", 3, 1);
    settle();
    assert_int_equal(seen.count, 3);
    /* "three free" from before it saw the grants: nothing new */
    msg_begin(&seen.out, WIRE_CREDIT, 1);
    add_seen(0, 3);
    tell(0, WIRE_CREDIT);
    settle();
    assert_int_equal(seen.count, 3);
    /* "two free" after it saw them */
    give_credit(0, 2);
    settle();
    assert_int_equal(seen.count, 5);
    give_credit(0, 0);
    settle();
    assert_int_equal(seen.count, 5);
}

static void senders_share_the_work(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 20; n++)
        put_plain(n);
    sender_up(0, "a", 10, 1);
    sender_up(1, "a", 10, 2);
    settle();
    size_t first = 0;
    for (size_t g = 0; g < seen.count; g++)
        first += strcmp(seen.grants[g].sender, "1") == 0;
    assert_int_equal(seen.count, 20);
    assert_int_equal(first, 10);
}

static void what_the_link_does_not_take_is_not_lost(void **state)
{
    (void)state;
    sender_up(0, "a", 5, 1);
    settle();
    seen.refuses = true;
    for (unsigned n = 0; n < 3; n++)
        put_plain(n);
    settle();
    assert_int_equal(seen.count, 0);
    seen.refuses = false;
    give_credit(0, 5);
    settle();
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.grants[0].text, "text 0");
    assert_string_equal(seen.grants[2].text, "text 2");
}

static size_t most_in_window(uint64_t length_us, const char *sender)
{
    size_t most = 0;
    for (size_t i = 0; i < seen.count; i++) {
        size_t n = 0;
        for (size_t k = i; k < seen.count && seen.grants[k].at_us - seen.grants[i].at_us < length_us; k++)
            n += !sender || strcmp(seen.grants[k].sender, sender) == 0;
        if (n > most)
            most = n;
    }
    return most;
}

static void the_rate_holds_for_each_host(void **state)
{
    (void)state;
    set_number("requests_per_second", 20);
    /* the first setting of that name counts */
    slice->blocks[0].settings[0].number = 20;
    restart_queue();
    for (unsigned n = 0; n < 2000; n++)
        put_plain(n);
    sender_up(0, "a", 400, 1);
    sender_up(1, "a", 400, 2);
    sender_up(2, "b", 400, 3);
    for (int second = 0; second < 10; second++) {
        advance_ms(1000, 3000);
        for (int i = 0; i < 3; i++)
            give_credit(i, 400);
    }
    size_t on_b = 0;
    for (size_t g = 0; g < seen.count; g++)
        on_b += strcmp(seen.grants[g].sender, "3") == 0;
    size_t on_a = seen.count - on_b;
    assert_true(on_a > 160 && on_a <= 200);
    assert_true(on_b > 160 && on_b <= 200);
    assert_true(most_in_window(1100000, "3") <= 20);
    assert_true(most_in_window(1100000, NULL) <= 40);
    /* nearly nothing is leased that cannot leave soon */
    size_t leased = 0;
    for (size_t i = 0; i < fake.count; i++)
        leased += fake.jobs[i].state == JOB_LEASED;
    assert_true(leased - seen.count <= 2 * 8);
}

static void a_high_rate_costs_nothing(void **state)
{
    (void)state;
    slice->blocks[0].settings[0].number = 1000000;
    restart_queue();
    sender_up(0, "a", 2000, 1);
    advance(1000000);
    for (unsigned n = 0; n < 1500; n++)
        put_plain(n);
    settle();
    assert_int_equal(seen.count, 1500);
}

static void who_is_late_is_not_sent(void **state)
{
    (void)state;
    struct store_job j = make_job(1, "+48500500500", "hello");
    insert(&j, 1);
    advance((uint64_t)HOUR_MS * 1000 + 1000);
    sender_up(0, "a", 5, 1);
    settle();
    assert_int_equal(seen.count, 0);
    assert_int_equal(fake.jobs[0].state, JOB_EXPIRED);
}

static void while_the_clock_is_behind_nothing_unknown_is_asked(void **state)
{
    (void)state;
    struct store_job j = make_job(1, "+48500500500", "hello");
    j.pinned = true;
    j.attempt = 1;
    put_job(j);
    put_plain(2);
    fake.behind_ms = QUEUE_CLOCK_BEHIND_MS + 1;
    sender_up(0, "a", 5, 1);
    settle();
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.grants[0].text, "text 2");
    size_t claims = fake.claims;
    settle();
    assert_true(fake.claims <= claims + 1); /* and it does not turn in circles */
    fake.behind_ms = 0;
    advance(2000000);
    assert_int_equal(seen.count, 2);
}

static void a_trickle_wakes_nobody(void **state)
{
    (void)state;
    sender_up(0, "a", 5, 1);
    settle();
    size_t commits = fake.commits;
    for (int i = 0; i < 20; i++)
        advance(100000);
    assert_int_equal(fake.commits, commits);
}

static void note_done(void *arg)
{
    *(bool *)arg = true;
}

static void draining_returns_what_did_not_leave(void **state)
{
    (void)state;
    sender_up(0, "a", 1, 1);
    settle();
    struct store_job jobs[1] = {make_job(1, "+48500500500", "hello")};
    struct store_job *p = jobs;
    struct queue_ticket *t = queue_offer(queue, &p, 1);
    bool done = false;
    queue_drain(queue, note_done, &done);
    settle();
    assert_false(done);
    jobs[0].row = 1;
    fake.jobs[fake.count++] = copy_job(&jobs[0]);
    queue_settle(queue, t, true);
    queue_pass(queue);
    assert_false(done);
    settle();
    assert_true(done);
    assert_int_equal(seen.count, 0);
    assert_int_equal(fake.jobs[0].state, JOB_QUEUED);
    store_job_free(&jobs[0]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_leaves_with_its_own_commit),
        TEST(without_commit_nothing_leaves),
        TEST(what_was_known_already_gives_its_place_back),
        TEST(without_credit_a_job_waits_in_the_store),
        TEST(nobody_passes_who_waits),
        TEST(the_urgent_pass_the_others),
        TEST(equal_texts_share_a_request),
        TEST(a_number_is_never_twice_in_a_request),
        TEST(what_differs_travels_apart),
        TEST(a_request_holds_a_batch_at_most),
        TEST(who_is_asked_again_is_alone),
        TEST(the_start_by_time_counts_from_the_stamp),
        TEST(credit_is_absolute_and_reckoned_on),
        TEST(senders_share_the_work),
        TEST(what_the_link_does_not_take_is_not_lost),
        TEST(the_rate_holds_for_each_host),
        TEST(a_high_rate_costs_nothing),
        TEST(who_is_late_is_not_sent),
        TEST(while_the_clock_is_behind_nothing_unknown_is_asked),
        TEST(a_trickle_wakes_nobody),
        TEST(draining_returns_what_did_not_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
