/* links: dispatcher_parts proto expr core */
/* What becomes of jobs and lines by what the senders report, or do not report. */
#include "queue_fake.h"

enum { LEASE_MS = 25000 };

/* One job, granted to sender 0. */
static struct store_job *one_granted(void)
{
    struct store_job j = make_job(1, "+48500500500", "hello");
    sender_up(0, "a", 4, 1);
    settle();
    insert(&j, 1);
    settle();
    assert_int_equal(seen.count, 1);
    return &fake.jobs[0];
}

static void an_acceptance_is_acknowledged_after_its_commit(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    queue_pass(queue);
    assert_int_equal(seen.acks, 0);
    settle();
    assert_int_equal(j->state, JOB_SENT);
    assert_int_equal(seen.acked, 1);
    assert_int_equal(leases_count(queue->leases), 0);
}

static void results_offered_twice_count_once(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_REFUSED, WIRE_TRANSIENT, 200);
    answer(1, j, WIRE_REFUSED, WIRE_TRANSIENT, 200);
    settle();
    assert_int_equal(j->failures, 1);
    assert_int_equal(j->generation, 2);
    size_t acks = seen.acks;
    answer(1, j, WIRE_REFUSED, WIRE_TRANSIENT, 200);
    assert_true(seen.acks > acks);
    assert_int_equal(seen.acked, 1);
}

static void a_reconnected_sender_hears_nothing_too_early(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    sender_down(0);
    sender_up(0, "a", 4, 1);
    answer(1, j, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0); /* offered again, its commit still under way */
    assert_int_equal(seen.acks, 0);
    settle();
    assert_int_equal(j->state, JOB_SENT);
    assert_int_equal(seen.acked, 1);
    assert_int_equal(queue->count.late, 0);
}

static void acknowledgements_wait_for_the_earlier_ones(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    fake.status = STORE_FAILED;
    answer(1, j, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    queue_pass(queue);
    commit();
    fake.status = STORE_OK;
    send_results(0, 2, NULL, 0, 4); /* nothing in it, but it comes after the one that failed */
    assert_int_equal(seen.acks, 0);
    advance(2000000);
    assert_int_equal(seen.acked, 2);
}

static void what_cannot_be_recorded_is_kept(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    fake.status = STORE_FULL;
    answer(1, j, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    settle();
    put_plain(2);
    advance(5000000);
    assert_int_equal(seen.acks, 0);
    assert_int_equal(seen.count, 1); /* and nothing new is leased */
    assert_non_null(queue_trouble(queue));
    fake.status = STORE_OK;
    advance(2000000);
    advance(2000000);
    assert_int_equal(j->state, JOB_SENT);
    assert_int_equal(seen.acked, 1);
    assert_int_equal(seen.count, 2);
}

static void a_lease_that_runs_out_is_unknown(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    advance((LEASE_MS - 1) * UINT64_C(1000));
    assert_int_equal(j->state, JOB_LEASED);
    advance(1000);
    assert_int_equal(j->state, JOB_QUEUED);
    assert_true(j->pinned);
    assert_int_equal(j->generation, 1);
    assert_int_equal(j->failures, 1);
    assert_true(j->due_ms > store_now_ms(NULL));
    give_credit(0, 4);
    advance(7000000);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.grants[1].jobs[0].attempt, 2);
    assert_int_equal(seen.grants[1].jobs[0].generation, 1);
    answer(1, j, WIRE_DUPLICATE, WIRE_DUPLICATE_IDX, 53);
    settle();
    assert_int_equal(j->state, JOB_SENT);
    assert_true(j->inferred);
    assert_int_equal(queue->count.inferred, 1);
}

static void a_late_acceptance_is_always_recorded(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    struct wire_result r = result_of(&j->id, 1, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    advance((LEASE_MS + 1) * UINT64_C(1000));
    assert_int_equal(j->state, JOB_QUEUED);
    send_results(0, 1, &r, 1, 0);
    settle();
    assert_int_equal(j->state, JOB_SENT);
    assert_false(j->inferred);
    assert_int_equal(queue->count.late_accepted, 1);
}

static void who_lost_the_lease_cannot_refuse(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    struct wire_result r = result_of(&j->id, 1, WIRE_REFUSED, WIRE_PERMANENT_MESSAGE, 11);
    advance((LEASE_MS + 1) * UINT64_C(1000));
    send_results(0, 1, &r, 1, 0);
    settle();
    assert_int_equal(j->state, JOB_QUEUED);
    assert_int_equal(seen.acked, 1);
    /* nor does a duplicate of an attempt that was the first of its idx prove anything */
    r = result_of(&j->id, 1, WIRE_DUPLICATE, WIRE_DUPLICATE_IDX, 53);
    send_results(0, 2, &r, 1, 0);
    settle();
    assert_int_equal(j->state, JOB_QUEUED);
}

static void a_first_attempt_known_to_the_provider_is_a_collision(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_DUPLICATE, WIRE_DUPLICATE_IDX, 53);
    settle();
    assert_int_equal(j->state, JOB_UNCERTAIN);
    assert_int_equal(queue->count.collisions, 1);
}

static void a_refused_account_stops_the_line(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    put_plain(2);
    answer(1, j, WIRE_REFUSED, WIRE_PERMANENT_ACCOUNT, 103);
    settle();
    size_t before = seen.count;
    give_credit(0, 100);
    advance(1000000);
    assert_int_equal(seen.count, before);
    assert_int_equal(j->state, JOB_QUEUED);
    assert_int_equal(j->failures, 0);
    assert_non_null(queue_trouble(queue));
    assert_non_null(strstr(fake.fact, "stopped"));
    assert_int_equal(seen.probes, 0);
    advance(LINE_PROBE_MIN_MS * UINT64_C(1000));
    assert_int_equal(seen.probes, 1);
}

static void tell_probe(bool ok)
{
    msg_begin(&seen.out, WIRE_PROBE_RESULT, 3);
    msg_put_cstr(&seen.out, "smsapi");
    msg_put_bool(&seen.out, ok);
    msg_put_cstr(&seen.out, "said so");
    tell(0, WIRE_PROBE_RESULT);
}

static void a_probe_opens_it_for_one_request_first(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_REFUSED, WIRE_PERMANENT_ACCOUNT, 101);
    settle();
    for (unsigned n = 2; n < 6; n++)
        put_plain(n);
    advance(LINE_PROBE_MIN_MS * UINT64_C(1000) + 1000);
    tell_probe(false);
    advance(LINE_PROBE_MIN_MS * UINT64_C(1000) + 1000);
    assert_int_equal(seen.probes, 1); /* the interval grows */
    advance(LINE_PROBE_MIN_MS * UINT64_C(1000) + 1000);
    assert_int_equal(seen.probes, 2);
    give_credit(0, 100);
    tell_probe(true);
    settle();
    assert_int_equal(seen.count, 2);
    assert_string_equal(fake.fact, "");
    struct store_job *trial = fake_job(&seen.grants[1].jobs[0].job);
    answer(2, trial, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    settle();
    assert_int_equal(seen.count, 6);
}

static void a_stop_outlives_the_dispatcher(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_REFUSED, WIRE_CONFIG, 14);
    settle();
    size_t before = seen.count;
    restart_queue();
    sender_up(0, "a", 100, 1);
    settle();
    assert_int_equal(seen.count, before);
    assert_int_equal(queue_resume(queue, NULL, "uid 0"), 0);
    settle();
    assert_int_equal(seen.count, before + 1);
    assert_int_equal(queue_resume(queue, "nobody", "uid 0"), -1);
}

static void the_operator_holds_a_line(void **state)
{
    (void)state;
    sender_up(0, "a", 100, 1);
    queue_pause(queue, "smsapi", "uid 0");
    put_plain(1);
    settle();
    assert_int_equal(seen.count, 0);
    restart_queue();
    sender_up(0, "a", 100, 1);
    settle();
    assert_int_equal(seen.count, 0);
    queue_resume(queue, "smsapi", "uid 0");
    settle();
    assert_int_equal(seen.count, 1);
}

static void throttling_pauses_the_line_and_counts_nothing(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    struct wire_result r = result_of(&j->id, 1, WIRE_REFUSED, WIRE_THROTTLED, 202);
    r.retry_after_ms = 3000;
    send_results(0, 1, &r, 1, 4);
    settle();
    advance(2900000);
    assert_int_equal(seen.count, 1);
    advance(200000);
    assert_int_equal(seen.count, 2);
    assert_int_equal(j->failures, 0);
    /* without Retry-After the pauses grow */
    answer(2, j, WIRE_REFUSED, WIRE_THROTTLED, 202);
    settle();
    give_credit(0, 4);
    advance(1900000);
    assert_int_equal(seen.count, 2);
    advance(200000);
    assert_int_equal(seen.count, 3);
}

static void one_number_that_had_too_much_does_not_hold_others(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_REFUSED, WIRE_PER_NUMBER, 52);
    put_plain(2);
    settle();
    assert_int_equal(seen.count, 2);
    assert_int_equal(j->state, JOB_QUEUED);
    assert_true(j->due_ms >= store_now_ms(NULL) + 60000);
    assert_int_equal(j->failures, 0);
}

static void what_came_back_unsent_leaves_again(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_UNSENT, WIRE_CLASS_NONE, 0);
    settle();
    advance(100000);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.grants[1].jobs[0].attempt, 2);
    assert_int_equal(seen.grants[1].jobs[0].generation, 1);
    assert_int_equal(j->failures, 0);
    assert_false(j->pinned);
}

static void jobs_do_not_run_in_a_circle(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    for (uint64_t seq = 1; seq < 400 && now_us < UINT64_C(1010000000); seq++) {
        if (j->state == JOB_LEASED)
            answer(seq, j, WIRE_UNSENT, WIRE_CLASS_NONE, 0);
        advance(25000);
    }
    /* ten seconds of a sender that takes nothing: a handful of attempts, not hundreds */
    assert_true(seen.count < 20);
}

static void who_gives_back_gets_less_for_a_while(void **state)
{
    (void)state;
    struct wire_result results[64];
    sender_up(0, "a", 64, 1);
    for (unsigned n = 0; n < 128; n++)
        put_plain(n);
    settle();
    give_credit(0, 0);
    assert_int_equal(seen.count, 64);
    for (size_t i = 0; i < 64; i++)
        results[i] = result_of(&seen.grants[i].jobs[0].job, 1, i < 4 ? WIRE_ACCEPTED : WIRE_UNSENT,
                               WIRE_CLASS_NONE, 0);
    send_results(0, 1, results, 64, 64);
    settle();
    advance(QUEUE_REST_MIN_MS * 1000);
    assert_int_equal(senders[0]->in_flight, 32);
    /* answers bring it back */
    for (size_t i = 0; i < 8; i++)
        results[i] = result_of(&seen.grants[64 + i].jobs[0].job, seen.grants[64 + i].jobs[0].attempt,
                               WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    send_results(0, 2, results, 8, 64);
    settle();
    assert_int_equal(senders[0]->in_flight, 40);
}

static void no_connection_pauses_the_line(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    sender_up(1, "b", 100, 2);
    for (unsigned n = 2; n < 10; n++)
        put_plain(n);
    settle();
    for (size_t i = 0; i < 3; i++) {
        j = fake_job(&seen.grants[i].jobs[0].job);
        answer(i + 1, j, WIRE_UNSENT, WIRE_TRANSIENT, 0);
    }
    settle();
    assert_int_equal(queue->lanes[0].line.state, LINE_PAUSED);
    assert_null(strstr(fake.fact, "stopped"));
    advance(LINE_PAUSE_MAX_MS * UINT64_C(1000));
    assert_int_equal(queue->lanes[0].line.state, LINE_OPEN);
}

static void a_batch_that_says_nothing_is_asked_one_by_one(void **state)
{
    (void)state;
    struct store_job jobs[3];
    struct wire_result results[3];
    sender_up(0, "a", 10, 1);
    settle();
    for (unsigned n = 0; n < 3; n++) {
        char number[20];
        snprintf(number, sizeof number, "+4850050050%u", n);
        jobs[n] = make_job(n, number, "the same");
    }
    insert(jobs, 3);
    settle();
    assert_int_equal(seen.count, 1);
    for (unsigned n = 0; n < 3; n++)
        results[n] = result_of(&fake.jobs[n].id, 1, WIRE_UNKNOWN, WIRE_DUPLICATE_IDX, 53);
    send_results(0, 1, results, 3, 10);
    settle();
    advance(10000000);
    assert_int_equal(seen.count, 4);
    for (size_t g = 1; g < 4; g++)
        assert_int_equal(seen.grants[g].count, 1);
}

static void too_many_in_a_request_makes_them_smaller(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    answer(1, j, WIRE_UNKNOWN, WIRE_CONFIG, 19);
    settle();
    assert_int_equal(queue->lanes[0].ready.batch, 50);
    assert_int_equal(queue->lanes[0].line.state, LINE_OPEN);
}

static void a_gone_senders_leases_last(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    sender_down(0);
    advance(1000000);
    assert_int_equal(j->state, JOB_LEASED);
    sender_up(0, "a", 4, 1);
    answer(1, j, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    settle();
    assert_int_equal(j->state, JOB_SENT);
    assert_int_equal(queue->count.late, 0);
}

static void a_new_dispatcher_adopts_leases(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    fake.leased = xcalloc(1, sizeof *fake.leased);
    fake.leased[0] = copy_job(j);
    fake.leased_count = 1;
    restart_queue();
    sender_up(0, "a", 4, 1);
    /* its sender numbers on from before: the first number that comes counts */
    answer(7, j, WIRE_ACCEPTED, WIRE_CLASS_NONE, 0);
    settle();
    assert_int_equal(j->state, JOB_SENT);
    assert_int_equal(seen.acked, 7);
    assert_int_equal(queue->count.late, 0);
}

static void an_adopted_lease_runs_out_too(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    fake.leased = xcalloc(1, sizeof *fake.leased);
    fake.leased[0] = copy_job(j);
    fake.leased_count = 1;
    restart_queue();
    advance((LEASE_MS + 1) * UINT64_C(1000));
    assert_int_equal(j->state, JOB_QUEUED);
    assert_true(j->pinned);
}

/* Dispatchers that die faster than a lease runs out do not put it off. */
static void a_lease_adopted_again_is_not_waited_for_anew(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    for (int i = 0; i < 3; i++) {
        fake.leased = xcalloc(1, sizeof *fake.leased);
        fake.leased[0] = copy_job(j);
        fake.leased_count = 1;
        restart_queue();
        advance(LEASE_MS / 3 * UINT64_C(1000));
        assert_int_equal(j->state, JOB_LEASED);
    }
    advance(10 * UINT64_C(1000));
    assert_int_equal(j->state, JOB_QUEUED);
    assert_true(j->pinned);
}

static void a_note_of_another_boot_or_attempt_counts_for_nothing(void **state)
{
    (void)state;
    static const char *const notes[][2] = {
        {"other-boot", "1 0"}, {"this-boot", "2 0"}, {"this-boot", "1 99999999999"}, {"this-boot", ""}};
    struct store_job *j = one_granted();
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        char id[2 * HASH_ID_BYTES + 1];
        str_hex(j->id.bytes, HASH_ID_BYTES, id);
        snprintf(fake.adopted, sizeof fake.adopted, "%s %s %s", notes[i][0], id, notes[i][1]);
        fake.leased = xcalloc(1, sizeof *fake.leased);
        fake.leased[0] = copy_job(j);
        fake.leased_count = 1;
        restart_queue();
        advance((LEASE_MS - 1) * UINT64_C(1000));
        assert_int_equal(j->state, JOB_LEASED);
    }
}

static void unknown_and_out_of_time_is_uncertain(void **state)
{
    (void)state;
    struct store_job j = make_job(1, "+48500500500", "hello");
    j.expires_ms = store_now_ms(NULL) + 1000;
    sender_up(0, "a", 4, 1);
    settle();
    insert(&j, 1);
    settle();
    assert_int_equal(seen.count, 1);
    now_us += 2000000;
    answer(1, &fake.jobs[0], WIRE_UNKNOWN, WIRE_TRANSIENT, 0);
    settle();
    assert_int_equal(fake.jobs[0].state, JOB_UNCERTAIN);
    assert_non_null(strstr(fake.jobs[0].reason, "expired while unknown"));
}

static void garbage_changes_nothing(void **state)
{
    (void)state;
    struct store_job *j = one_granted();
    msg_begin(&seen.out, WIRE_RESULTS, 2);
    msg_put_uint(&seen.out, 1);
    msg_put_cstr(&seen.out, "x");
    tell(0, WIRE_RESULTS);
    msg_begin(&seen.out, WIRE_CREDIT, 0);
    tell(0, WIRE_CREDIT);
    msg_begin(&seen.out, WIRE_PROBE_RESULT, 1);
    msg_put_cstr(&seen.out, "nobody");
    tell(0, WIRE_PROBE_RESULT);
    msg_begin(&seen.out, WIRE_STATS, 1);
    msg_put_array(&seen.out, 1);
    msg_put_cstr(&seen.out, "x");
    tell(0, WIRE_STATS);
    /* a result for a job that nobody knows, and one for an attempt that was never granted */
    struct hash_id stranger = {{0xff}};
    struct wire_result r[2] = {result_of(&stranger, 1, WIRE_REFUSED, WIRE_PERMANENT_MESSAGE, 11),
                               result_of(&j->id, 9, WIRE_REFUSED, WIRE_PERMANENT_MESSAGE, 11)};
    send_results(0, 1, r, 2, 4);
    settle();
    assert_int_equal(j->state, JOB_LEASED);
    assert_int_equal(seen.acked, 1);
}

static void the_reports_are_well_formed(void **state)
{
    (void)state;
    struct buf out;
    one_granted();
    buf_init(&out, 0);
    queue_metrics(queue, &out);
    assert_false(out.failed);
    assert_non_null(strstr(buf_cstr(&out), "bridgebell_attempts_total 1\n"));
    assert_non_null(strstr(buf_cstr(&out), "bridgebell_line_state{provider=\"smsapi\"} 0\n"));
    buf_free(&out);
    cJSON *status = cJSON_CreateObject();
    queue_status(queue, status);
    const cJSON *sender = cJSON_GetArrayItem(cJSON_GetObjectItem(status, "senders"), 0);
    assert_int_equal(cJSON_GetObjectItem(sender, "in_flight")->valueint, 1);
    assert_int_equal(cJSON_GetObjectItem(sender, "credit")->valueint, 3);
    cJSON_Delete(status);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_acceptance_is_acknowledged_after_its_commit),
        TEST(results_offered_twice_count_once),
        TEST(a_reconnected_sender_hears_nothing_too_early),
        TEST(acknowledgements_wait_for_the_earlier_ones),
        TEST(what_cannot_be_recorded_is_kept),
        TEST(a_lease_that_runs_out_is_unknown),
        TEST(a_late_acceptance_is_always_recorded),
        TEST(who_lost_the_lease_cannot_refuse),
        TEST(a_first_attempt_known_to_the_provider_is_a_collision),
        TEST(a_refused_account_stops_the_line),
        TEST(a_probe_opens_it_for_one_request_first),
        TEST(a_stop_outlives_the_dispatcher),
        TEST(the_operator_holds_a_line),
        TEST(throttling_pauses_the_line_and_counts_nothing),
        TEST(one_number_that_had_too_much_does_not_hold_others),
        TEST(what_came_back_unsent_leaves_again),
        TEST(jobs_do_not_run_in_a_circle),
        TEST(who_gives_back_gets_less_for_a_while),
        TEST(no_connection_pauses_the_line),
        TEST(a_batch_that_says_nothing_is_asked_one_by_one),
        TEST(too_many_in_a_request_makes_them_smaller),
        TEST(a_gone_senders_leases_last),
        TEST(a_new_dispatcher_adopts_leases),
        TEST(an_adopted_lease_runs_out_too),
        TEST(a_lease_adopted_again_is_not_waited_for_anew),
        TEST(a_note_of_another_boot_or_attempt_counts_for_nothing),
        TEST(unknown_and_out_of_time_is_uncertain),
        TEST(garbage_changes_nothing),
        TEST(the_reports_are_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
