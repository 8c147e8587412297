/* links: dispatcher_parts expr proto core m */
/* When digests are closed: each on its day, also one that is opened while another is being closed. */
#include "tests/unit/store_fixture.h"

#include "core/clock.h"
#include "dispatcher/digests.h"

enum { WAIT_MS = 60000, STEP_MS = 20 };

static struct fixture f;
static struct rules *rules;
static struct queue *queue;
static struct digests *digests;

static int set_up(void **state)
{
    (void)state;
    struct faults faults = {0};
    fixture_init(&f);
    slice_add_block(f.slice, "provider", "smsapi", "test.conf", 1);
    rules = rules_new(f.slice, &faults);
    assert_non_null(rules);
    fixture_open(&f);
    queue = queue_new(f.slice, f.store);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    digests_stop(digests);
    store_finish(f.store);
    digests_free(&digests);
    queue_free(&queue);
    rules_free(&rules);
    fixture_end(&f);
    return 0;
}

/* Job N, which opens a digest of its own that closes in so long. */
static struct store_job opener(int64_t n, int64_t due_in_ms)
{
    struct store_job j = fixture_job(&f, n);
    j.noise = store_noise_new(0);
    j.noise->merge =
        (struct store_merge){WHY_DIGEST, fixture_id("digest", n), store_now_ms(f.store) + due_in_ms};
    return j;
}

static void step(void *arg)
{
    loop_timer_start(*(struct loop_timer **)arg, STEP_MS);
}

/* Runs the loop until so many jobs are queued. */
static bool wait_queued(uint64_t jobs)
{
    struct loop_timer *timer = NULL;
    struct store_health h;
    uint64_t until_ms = clock_mono_ms() + WAIT_MS;
    timer = loop_timer_new(step, &timer);
    loop_timer_start(timer, STEP_MS);
    do {
        event_base_loop(loop_base(), EVLOOP_ONCE);
        store_health(f.store, &h);
    } while (h.jobs[JOB_QUEUED] < jobs && clock_mono_ms() < until_ms);
    loop_timer_free(&timer);
    return h.jobs[JOB_QUEUED] >= jobs;
}

static void on_opened(struct store_unit *unit, enum store_status status)
{
    assert_int_equal(status, STORE_OK);
    digests_note(digests, unit->arg);
}

static void one_that_is_opened_meanwhile_is_closed_in_time(void **state)
{
    (void)state;
    struct store_job first = opener(1, 0), second;
    assert_int_equal(fixture_insert(&f, &first, 1), STORE_OK);
    digests = digests_new(f.store, rules, queue);
    event_base_loop(loop_base(), EVLOOP_ONCE);
    /* The store has been asked what is due, and has seen no other; its answer waits for the loop. */
    usleep(100000);
    second = opener(2, 300);
    struct store_decision d = {
        .key = fixture_id("event", 2), .remember = true, .type = "t", .jobs = &second, .jobs_count = 1};
    struct store_intake in = {.unit = {.kind = STORE_INTAKE, .done = on_opened, .arg = &second},
                              .bridge = "main",
                              .mark_ms = -1,
                              .decisions = &d,
                              .count = 1};
    store_submit(f.store, &in.unit);
    assert_true(wait_queued(2));
    store_job_free(&first);
    store_job_free(&second);
}

/* The digest of a process that ended before it was due. */
static void the_next_process_closes_what_it_finds(void **state)
{
    (void)state;
    struct store_job first = opener(1, 300);
    assert_int_equal(fixture_insert(&f, &first, 1), STORE_OK);
    digests = digests_new(f.store, rules, queue);
    assert_true(wait_queued(1));
    store_job_free(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_is_opened_meanwhile_is_closed_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_process_closes_what_it_finds, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
