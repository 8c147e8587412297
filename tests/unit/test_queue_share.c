/* links: dispatcher_parts proto expr core */
/* Priorities that compete: in the store, among what is ready, and as they come. */
#include "queue_fake.h"

static void restart_with_rate(int64_t rate, size_t jobs)
{
    slice->blocks[0].settings[0].number = rate;
    fake.size = jobs;
    fake.jobs = xreallocarray(fake.jobs, jobs, sizeof *fake.jobs);
    restart_queue();
}

static struct store_job job_of(unsigned n, enum job_priority priority)
{
    static const char *const words[] = {"critical", "normal", "bulk"};
    char number[20], text[32];
    snprintf(number, sizeof number, "+48500%06u", n);
    snprintf(text, sizeof text, "%s %u", words[priority], n);
    struct store_job j = make_job(n, number, text);
    j.priority = priority;
    j.expires_ms = 0;
    return j;
}

/* COUNT jobs in the store, known to the scheduler. */
static void fill(unsigned first, unsigned count, enum job_priority priority)
{
    for (unsigned n = 0; n < count; n++) {
        struct store_job j = job_of(first + n, priority);
        j.row = (int64_t)fake.count + 1;
        assert_true(fake.count < fake.size);
        fake.jobs[fake.count++] = j;
    }
    queue_kick(queue);
}

static size_t arrive(unsigned n, enum job_priority priority)
{
    struct store_job j = job_of(n, priority);
    return insert(&j, 1);
}

static size_t granted_of(const char *word, size_t from)
{
    size_t n = 0;
    for (size_t g = from; g < seen.count; g++)
        n += strncmp(seen.grants[g].text, word, strlen(word)) == 0;
    return n;
}

/* How many grants after FROM until the first of WORD, itself counted. */
static size_t place_of(const char *word, size_t from)
{
    for (size_t g = from; g < seen.count; g++)
        if (strncmp(seen.grants[g].text, word, strlen(word)) == 0)
            return g - from + 1;
    return SIZE_MAX;
}

/* Slots go by, and the senders never lack credit. */
static void run_ms(uint64_t ms)
{
    for (uint64_t done = 0; done < ms; done += 500) {
        advance_ms(500, 2500);
        give_credit(0, 64);
    }
}

static void backlogs_share_by_weight(void **state)
{
    (void)state;
    restart_with_rate(40, 4096);
    fill(0, 1300, PRIORITY_BULK);
    fill(2000, 1300, PRIORITY_NORMAL);
    fill(4000, 1300, PRIORITY_CRITICAL);
    sender_up(0, "a", 64, 1);
    run_ms(5000);
    for (int window = 0; window < 4; window++) {
        size_t from = seen.count;
        run_ms(6000);
        size_t all = seen.count - from;
        assert_true(all >= 200);
        assert_in_range(granted_of("critical", from) * 21, 16 * all - 4 * 21, 16 * all + 4 * 21);
        assert_in_range(granted_of("normal", from) * 21, 4 * all - 4 * 21, 4 * all + 4 * 21);
        assert_in_range(granted_of("bulk", from) * 21, all - 3 * 21, all + 3 * 21);
    }
}

static void other_weights_can_be_set(void **state)
{
    (void)state;
    struct slice_block *b = slice_add_block(slice, "dispatcher", "", "test.conf", 1);
    struct slice_setting *v = slice_add_setting(b, "priority_weights", SLICE_LIST, 1);
    v->list = xcalloc(3, sizeof *v->list);
    v->list[v->count++] = xstrdup("critical: 1");
    v->list[v->count++] = xstrdup("bulk: 1");
    restart_with_rate(40, 4096);
    fill(0, 1000, PRIORITY_BULK);
    fill(4000, 1000, PRIORITY_CRITICAL);
    sender_up(0, "a", 64, 1);
    run_ms(10000);
    assert_true(seen.count > 300);
    assert_in_range(granted_of("bulk", 0) * 2, seen.count - 20, seen.count + 20);
}

static void an_idle_share_goes_to_the_others(void **state)
{
    (void)state;
    restart_with_rate(40, 4096);
    fill(0, 1000, PRIORITY_BULK);
    fill(2000, 1000, PRIORITY_NORMAL);
    sender_up(0, "a", 64, 1);
    run_ms(10000);
    assert_true(seen.count > 300);
    assert_in_range(granted_of("bulk", 0) * 5, seen.count - 30, seen.count + 30);
    assert_int_equal(granted_of("bulk", 0) + granted_of("normal", 0), seen.count);
}

static void bulk_alone_gets_all_of_it(void **state)
{
    (void)state;
    restart_with_rate(40, 4096);
    fill(0, 1000, PRIORITY_BULK);
    sender_up(0, "a", 64, 1);
    run_ms(10000);
    assert_true(seen.count > 300);
    assert_int_equal(granted_of("bulk", 0), seen.count);
}

/* Slots are a second apart; a hundred thousand wait. */
static void the_urgent_leaves_at_the_next_slot(void **state)
{
    (void)state;
    restart_with_rate(1, 101000);
    fill(0, 100000, PRIORITY_BULK);
    sender_up(0, "a", 64, 1);
    run_ms(12000);
    assert_in_range(seen.count, 8, 12);
    for (unsigned n = 0; n < 5; n++) {
        size_t from = seen.count;
        now_us += n * 170000; /* at different times between slots */
        arrive(200000 + n, PRIORITY_CRITICAL);
        run_ms(4000);
        assert_int_equal(place_of("critical", from), 1);
        assert_true(granted_of("bulk", from) >= 1);
    }
}

static void the_urgent_from_the_store_leaves_at_the_next_slot(void **state)
{
    (void)state;
    restart_with_rate(1, 4096);
    fill(0, 4000, PRIORITY_BULK);
    sender_up(0, "a", 64, 1);
    run_ms(12000);
    size_t from = seen.count;
    fill(9000, 1, PRIORITY_CRITICAL); /* as after a retry, or moved by hand */
    run_ms(4000);
    assert_int_equal(place_of("critical", from), 1);
}

/* The sender takes one request at a time. */
static void the_urgent_gets_the_next_credit(void **state)
{
    (void)state;
    restart_with_rate(-1, 4096);
    fill(0, 4000, PRIORITY_BULK);
    sender_up(0, "a", 1, 1);
    settle();
    for (int i = 0; i < 50; i++) {
        give_credit(0, 1);
        advance(20000);
    }
    assert_true(seen.count >= 50);
    size_t from = seen.count;
    arrive(9000, PRIORITY_CRITICAL);
    for (int i = 0; i < 4; i++) {
        give_credit(0, 1);
        advance(20000);
    }
    assert_in_range(place_of("critical", from), 1, 2);
}

static void a_burst_of_urgent_ones_goes_before_bulk(void **state)
{
    (void)state;
    restart_with_rate(10, 4096);
    fill(0, 3000, PRIORITY_BULK);
    sender_up(0, "a", 64, 1);
    run_ms(5000);
    size_t from = seen.count;
    for (unsigned n = 0; n < 32; n++)
        arrive(9000 + n, PRIORITY_CRITICAL);
    run_ms(5000);
    assert_int_equal(granted_of("critical", from), 32);
    size_t last = 0;
    for (size_t g = from; g < seen.count; g++)
        if (strncmp(seen.grants[g].text, "critical", 8) == 0)
            last = g - from + 1;
    /* bulk has its sixteenth meanwhile, and what was promised before */
    assert_in_range(last, 32, 36);
}

/* More urgent ones come, one with each commit, than there are slots. */
static void bulk_has_its_share_of_an_endless_stream(void **state)
{
    (void)state;
    restart_with_rate(20, 4096);
    fill(0, 400, PRIORITY_BULK);
    sender_up(0, "a", 64, 1);
    unsigned n = 9000;
    for (int i = 0; i < 60; i++) {
        for (int k = 0; k < 20; k++)
            arrive(n++, PRIORITY_CRITICAL);
        run_ms(500);
    }
    assert_true(seen.count > 450);
    size_t from = seen.count / 4, all = seen.count - from;
    assert_true(granted_of("bulk", from) * 17 >= all - 2 * 17);
    assert_true(granted_of("bulk", from) * 17 <= all + 4 * 17);
}

/* Urgent ones come all the time, but the senders could take much more. */
static void a_stream_with_room_beside_it_holds_nobody(void **state)
{
    (void)state;
    restart_with_rate(-1, 4096);
    sender_up(0, "a", 64, 1);
    settle();
    fill(0, 1500, PRIORITY_BULK);
    unsigned n = 9000;
    for (int i = 0; i < 300 && granted_of("bulk", 0) < 1500; i++) {
        arrive(n++, PRIORITY_CRITICAL);
        queue_pass(queue);
        now_us += 1000;
        commit();
        queue_pass(queue);
        give_credit(0, 64);
    }
    /* 64 at a time: far more than the 16th part of the stream */
    assert_int_equal(granted_of("bulk", 0), 1500);
}

static void nothing_is_leased_far_ahead_of_its_turn(void **state)
{
    (void)state;
    restart_with_rate(20, 4096);
    fill(0, 1000, PRIORITY_BULK);
    fill(2000, 1000, PRIORITY_NORMAL);
    fill(4000, 1000, PRIORITY_CRITICAL);
    sender_up(0, "a", 64, 1);
    run_ms(10000);
    size_t leased = 0;
    for (size_t i = 0; i < fake.count; i++)
        leased += fake.jobs[i].state == JOB_LEASED;
    assert_true(leased - seen.count <= 3 * 8);
}

static size_t slots_used(uint64_t ms)
{
    size_t from = seen.count;
    run_ms(ms);
    return seen.count - from;
}

static void sharing_costs_no_slots(void **state)
{
    (void)state;
    restart_with_rate(40, 4096);
    fill(0, 1500, PRIORITY_BULK);
    sender_up(0, "a", 64, 1);
    run_ms(2000);
    size_t alone = slots_used(10000);
    fill(2000, 1000, PRIORITY_NORMAL);
    fill(4000, 1000, PRIORITY_CRITICAL);
    run_ms(2000);
    assert_in_range(slots_used(10000), alone - alone / 20, alone + alone / 20);
}

/* An offer whose commit is under way. */
static struct queue_ticket *begin(struct store_job *j)
{
    static struct store_job *pointer;
    pointer = j;
    struct queue_ticket *t = queue_offer(queue, &pointer, 1);
    assert_int_equal(j->state, JOB_LEASED);
    return t;
}

static void finish(struct queue_ticket *t, struct store_job *j)
{
    j->row = (int64_t)fake.count + 1;
    fake.jobs[fake.count++] = copy_job(j);
    queue_settle(queue, t, true);
    store_job_free(j);
}

static void the_last_place_is_kept_for_the_urgent(void **state)
{
    (void)state;
    restart_with_rate(-1, 4096);
    fill(0, 100, PRIORITY_BULK);
    sender_up(0, "a", 1, 1);
    settle();
    assert_int_equal(seen.count, 1);
    assert_true(queue->lanes[0].ready.jobs > 0); /* looked further, for such as are alike */
    give_credit(0, 1);
    struct store_job j = job_of(9000, PRIORITY_CRITICAL);
    struct queue_ticket *t = begin(&j);
    queue_pass(queue);
    assert_int_equal(seen.count, 1);
    finish(t, &j);
    settle();
    assert_int_equal(place_of("critical", 1), 1);
}

static void places_enough_are_not_kept(void **state)
{
    (void)state;
    restart_with_rate(-1, 4096);
    sender_up(0, "a", 64, 1);
    settle();
    struct store_job j = job_of(9000, PRIORITY_CRITICAL);
    struct queue_ticket *t = begin(&j);
    fill(0, 20, PRIORITY_BULK);
    for (int i = 0; i < 40; i++)
        settle();
    assert_int_equal(granted_of("bulk", 0), 20);
    finish(t, &j);
    settle();
    assert_int_equal(granted_of("critical", 0), 1);
}

static void trials_are_not_held_up(void **state)
{
    (void)state;
    restart_with_rate(-1, 4096);
    fill(0, 100, PRIORITY_BULK);
    queue_pause(queue, "smsapi", "test");
    sender_up(0, "a", 1, 1);
    settle();
    queue->lanes[0].line.held = false;
    queue->lanes[0].line.trial = true;
    queue->lanes[0].line.opened_ms = now_us / 1000;
    queue_pass(queue);
    commit(); /* one of bulk is leased for the trial */
    assert_int_equal(queue->lanes[0].ready.jobs, 1);
    fill(9000, 1, PRIORITY_CRITICAL);
    advance(20000);
    assert_int_equal(seen.count, 1);
}

static void other_lines_have_their_turn_at_the_credit(void **state)
{
    (void)state;
    slice_add_block(slice, "provider", "second", "test.conf", 2);
    slice_add_setting(&slice->blocks[1], "requests_per_second", SLICE_NUMBER, 2)->number = -1;
    restart_with_rate(-1, 4096);
    fill(0, 2000, PRIORITY_BULK);
    for (size_t i = 0; i < 20; i++) {
        struct store_job j = job_of(9000 + (unsigned)i, PRIORITY_CRITICAL);
        free(j.provider);
        j.provider = xstrdup("second");
        put_job(j);
    }
    sender_up(0, "a", 1, 1);
    settle();
    for (int i = 0; i < 100; i++) {
        give_credit(0, 1);
        advance(20000);
    }
    assert_int_equal(granted_of("critical", 0), 20);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(backlogs_share_by_weight),
        TEST(other_weights_can_be_set),
        TEST(an_idle_share_goes_to_the_others),
        TEST(bulk_alone_gets_all_of_it),
        TEST(the_urgent_leaves_at_the_next_slot),
        TEST(the_urgent_from_the_store_leaves_at_the_next_slot),
        TEST(the_urgent_gets_the_next_credit),
        TEST(a_burst_of_urgent_ones_goes_before_bulk),
        TEST(bulk_has_its_share_of_an_endless_stream),
        TEST(a_stream_with_room_beside_it_holds_nobody),
        TEST(nothing_is_leased_far_ahead_of_its_turn),
        TEST(sharing_costs_no_slots),
        TEST(the_last_place_is_kept_for_the_urgent),
        TEST(places_enough_are_not_kept),
        TEST(trials_are_not_held_up),
        TEST(other_lines_have_their_turn_at_the_credit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
