/* links: dispatcher_parts proto expr core */
#include "tests/unit/store_fixture.h"

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    fixture_init(f);
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_end(*state);
    free(*state);
    return 0;
}

static void expect_counts(struct fixture *f, const uint64_t *expected)
{
    struct store_health h;
    store_health(f->store, &h);
    for (int i = 0; i < JOB_STATES; i++)
        if (h.jobs[i] != expected[i])
            fail_msg("%s: %d instead of %d", job_state_names[i], (int)h.jobs[i], (int)expected[i]);
}

static struct store_change change_of(const struct store_job *j, enum store_step step)
{
    return (struct store_change){.job = j->id,
                                 .row = j->row,
                                 .attempt = j->attempt,
                                 .step = step,
                                 .generation = j->generation,
                                 .failures = j->failures,
                                 .points_micro = -1,
                                 .parts = -1};
}

/* ---- intake ---- */

static void every_field_is_kept(void **state)
{
    struct fixture *f = *state;
    struct store_job j = fixture_job(f, 1);
    j.priority = PRIORITY_CRITICAL;
    j.keep_on_delete = true;
    assert_int_equal(fixture_insert(f, &j, 1), STORE_OK);
    assert_true(j.row > 0);
    fixture_reopen(f);
    struct store_job k = fixture_look(f, &j.id);
    assert_memory_equal(&k.event, &j.event, sizeof j.event);
    assert_string_equal(k.bridge, j.bridge);
    assert_string_equal(k.rule, j.rule);
    assert_string_equal(k.provider, j.provider);
    assert_string_equal(k.number, j.number);
    assert_string_equal(k.from, j.from);
    assert_string_equal(k.text, j.text);
    assert_string_equal(k.item, j.item);
    assert_string_equal(k.container, j.container);
    assert_int_equal(k.row, j.row);
    assert_int_equal(k.priority, PRIORITY_CRITICAL);
    assert_true(k.keep_on_delete);
    assert_int_equal(k.event_ms, j.event_ms);
    assert_int_equal(k.created_ms, j.created_ms);
    assert_int_equal(k.expires_ms, j.expires_ms);
    assert_int_equal(k.due_ms, j.due_ms);
    assert_int_equal(k.points_micro, -1);
    assert_int_equal(k.generation, 1);
    assert_null(k.reason);
    store_job_free(&j);
    store_job_free(&k);
}

static void a_known_event_is_skipped_whole(void **state)
{
    struct fixture *f = *state;
    struct store_job first = fixture_job(f, 1), second = fixture_job(f, 2);
    fixture_insert(f, &first, 7);
    struct store_decision d[2] = {
        {.key = fixture_id("event", 7), .remember = true, .jobs = &second, .jobs_count = 1},
        {.key = fixture_id("event", 8), .remember = true}};
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = d, .count = 2};
    assert_int_equal(fixture_run(f, &in.unit), STORE_OK);
    assert_int_equal(d[0].known, STORE_KNOWN);
    assert_int_equal(second.row, 0);
    assert_int_equal(d[1].known, STORE_NEW);
    assert_int_equal(fixture_run(f, &in.unit), STORE_OK);
    assert_int_equal(d[1].known, STORE_KNOWN);
    expect_counts(f, (uint64_t[JOB_STATES]){[JOB_QUEUED] = 1});
    store_job_free(&first);
    store_job_free(&second);
}

static void a_job_id_is_there_once(void **state)
{
    struct fixture *f = *state;
    struct store_job first = fixture_job(f, 1), again = fixture_job(f, 1);
    fixture_insert(f, &first, 1);
    assert_int_equal(fixture_insert(f, &again, 2), STORE_OK);
    assert_int_equal(again.row, 0);
    expect_counts(f, (uint64_t[JOB_STATES]){[JOB_QUEUED] = 1});
    store_job_free(&first);
    store_job_free(&again);
}

static void jobs_come_leased_or_ended(void **state)
{
    struct fixture *f = *state;
    struct store_job leased = fixture_job(f, 1), quiet = fixture_job(f, 2);
    leased.state = JOB_LEASED;
    leased.attempt = 1;
    quiet.state = JOB_SUPPRESSED;
    quiet.reason = xstrdup("quiet hours");
    fixture_insert(f, &leased, 1);
    fixture_insert(f, &quiet, 2);
    struct store_job on_disk = fixture_look(f, &leased.id);
    assert_int_equal(on_disk.state, JOB_LEASED);
    assert_int_equal(on_disk.attempt, 1);
    assert_true(on_disk.first_attempt_ms > 0);
    assert_int_equal(leased.first_attempt_ms, on_disk.first_attempt_ms);
    store_job_free(&on_disk);
    on_disk = fixture_look(f, &quiet.id);
    assert_string_equal(on_disk.reason, "quiet hours");
    assert_true(on_disk.finished_ms > 0);
    store_job_free(&on_disk);
    struct store_claim claim = fixture_claim(f, 10);
    assert_int_equal(claim.count, 0);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_NORMAL], -1);
    expect_counts(f, (uint64_t[JOB_STATES]){[JOB_LEASED] = 1, [JOB_SUPPRESSED] = 1});
    store_job_free(&leased);
    store_job_free(&quiet);
}

static void marks_only_move_forward(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(store_mark_ms(f->store, "main"), -1);
    struct store_intake in = {.unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = 5000};
    fixture_run(f, &in.unit);
    assert_int_equal(store_mark_ms(f->store, "main"), 5000);
    in.mark_ms = 4000;
    fixture_run(f, &in.unit);
    in.bridge = "other";
    in.mark_ms = 10;
    fixture_run(f, &in.unit);
    fixture_reopen(f);
    assert_int_equal(store_mark_ms(f->store, "main"), 5000);
    assert_int_equal(store_mark_ms(f->store, "other"), 10);
}

/* ---- deletions ---- */

static size_t delete_item(struct fixture *f, const char *item, int64_t n)
{
    struct store_decision d = {.key = fixture_id("deletion", n), .deleted_item = item};
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
    assert_int_equal(fixture_run(f, &in.unit), STORE_OK);
    return in.cancelled;
}

static void a_deletion_cancels_what_stands(void **state)
{
    struct fixture *f = *state;
    struct store_job jobs[5];
    for (int i = 0; i < 5; i++)
        jobs[i] = fixture_job(f, i);
    jobs[1].state = JOB_HELD;
    jobs[2].keep_on_delete = true;
    jobs[3].pinned = true;
    jobs[4].state = JOB_LEASED;
    jobs[4].attempt = 1;
    for (int i = 0; i < 5; i++)
        fixture_insert(f, &jobs[i], i);
    assert_int_equal(delete_item(f, "item-0", 1), 1);
    assert_int_equal(delete_item(f, "item-77", 2), 0);
    assert_int_equal(delete_item(f, "thread-1", 3), 2);
    expect_counts(f, (uint64_t[JOB_STATES]){
                         [JOB_QUEUED] = 1, [JOB_LEASED] = 1, [JOB_CANCELLED] = 2, [JOB_UNCERTAIN] = 1});
    struct store_job leased = fixture_look(f, &jobs[4].id);
    assert_true(leased.cancel_wanted);
    struct store_change c = change_of(&leased, STEP_RETRY);
    fixture_change(f, &c);
    assert_true(c.applied);
    assert_int_equal(c.now, JOB_CANCELLED);
    store_job_free(&leased);
    for (int i = 0; i < 5; i++)
        store_job_free(&jobs[i]);
}

static void a_deletion_is_remembered(void **state)
{
    struct fixture *f = *state;
    delete_item(f, "item-3", 1);
    fixture_reopen(f);
    struct store_job job = fixture_job(f, 3), other = fixture_job(f, 4), kept = fixture_job(f, 3);
    job.state = JOB_LEASED;
    job.attempt = 1;
    assert_int_equal(fixture_insert(f, &job, 3), STORE_OK);
    assert_int_equal(job.state, JOB_CANCELLED);
    assert_true(job.row > 0);
    assert_int_equal(fixture_state(f, 3), JOB_CANCELLED);
    fixture_insert(f, &other, 4);
    assert_int_equal(fixture_state(f, 4), JOB_QUEUED);
    kept.id = fixture_id("job", 5);
    kept.keep_on_delete = true;
    fixture_insert(f, &kept, 5);
    assert_int_equal(fixture_state(f, 5), JOB_QUEUED);
    delete_item(f, "thread-1", 2);
    assert_int_equal(fixture_state(f, 4), JOB_CANCELLED);
    store_job_free(&job);
    store_job_free(&other);
    store_job_free(&kept);
}

static void news_of_a_deletion_is_not_cancelled_by_it(void **state)
{
    struct fixture *f = *state;
    struct store_job job = fixture_job(f, 3);
    struct store_decision d = {.key = fixture_id("deletion", 1),
                               .remember = true,
                               .deleted_item = "item-3",
                               .jobs = &job,
                               .jobs_count = 1};
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
    fixture_run(f, &in.unit);
    assert_int_equal(fixture_state(f, 3), JOB_QUEUED);
    delete_item(f, "thread-1", 2);
    assert_int_equal(fixture_state(f, 3), JOB_QUEUED);
    store_job_free(&job);
}

/* ---- claims ---- */

static void claims_go_by_priority_then_age(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum job_priority priority;
        int due_ago_ms;
    } rows[] = {{PRIORITY_BULK, 9000},  {PRIORITY_NORMAL, 1000}, {PRIORITY_NORMAL, 2000},
                {PRIORITY_CRITICAL, 0}, {PRIORITY_NORMAL, 1000}, {PRIORITY_NORMAL, -60000}};
    static const int order[] = {3, 2, 1, 4, 0};
    for (int i = 0; i < 6; i++) {
        struct store_job j = fixture_job(f, i);
        j.priority = rows[i].priority;
        j.due_ms -= rows[i].due_ago_ms;
        fixture_insert(f, &j, i);
        store_job_free(&j);
    }
    struct store_claim claim = fixture_claim(f, 2);
    assert_int_equal(claim.count, 2);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_NORMAL], 0);
    struct store_claim rest = fixture_claim(f, 10);
    assert_int_equal(rest.count, 3);
    assert_in_range(rest.next_due_in_ms[PRIORITY_NORMAL], 1, 60000);
    for (size_t i = 0; i < 5; i++) {
        const struct store_job *j = i < 2 ? &claim.jobs[i] : &rest.jobs[i - 2];
        struct hash_id expected = fixture_id("job", order[i]);
        assert_memory_equal(&j->id, &expected, sizeof expected);
        assert_int_equal(j->state, JOB_LEASED);
        assert_int_equal(j->attempt, 1);
        assert_true(j->first_attempt_ms > 0);
    }
    expect_counts(f, (uint64_t[JOB_STATES]){[JOB_QUEUED] = 1, [JOB_LEASED] = 5});
    fixture_free_jobs(claim.jobs, claim.count);
    fixture_free_jobs(rest.jobs, rest.count);
}

static void a_claim_takes_its_provider_only(void **state)
{
    struct fixture *f = *state;
    struct store_job j = fixture_job(f, 1);
    free(j.provider);
    j.provider = xstrdup("other");
    fixture_insert(f, &j, 1);
    struct store_claim claim = fixture_claim(f, 5);
    assert_int_equal(claim.count, 0);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_NORMAL], -1);
    store_job_free(&j);
}

static void a_claim_ends_what_is_past(void **state)
{
    struct fixture *f = *state;
    enum { HOUR = 3600000 };
    static const enum job_state expected[] = {JOB_EXPIRED, JOB_UNCERTAIN, JOB_UNCERTAIN, JOB_LEASED,
                                              JOB_LEASED};
    int64_t now = store_now_ms(f->store);
    struct store_job jobs[5];
    for (int i = 0; i < 5; i++)
        jobs[i] = fixture_job(f, i);
    jobs[0].expires_ms = now - 1;
    jobs[1].expires_ms = now - 1;
    jobs[1].pinned = true;
    jobs[2].pinned = true;
    jobs[2].first_attempt_ms = now - 23 * HOUR;
    jobs[3].pinned = true;
    jobs[3].first_attempt_ms = now - 22 * HOUR;
    jobs[4].first_attempt_ms = now - 30 * HOUR;
    jobs[4].expires_ms = 0;
    for (int i = 0; i < 5; i++)
        fixture_insert(f, &jobs[i], i);
    struct store_claim claim = fixture_claim(f, 2);
    assert_int_equal(claim.count, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(claim.jobs[i].state, expected[i]);
        assert_int_equal(fixture_state(f, i), expected[i]);
        assert_int_equal(claim.jobs[i].reason != NULL, expected[i] != JOB_LEASED);
        store_job_free(&jobs[i]);
    }
    assert_int_equal(claim.jobs[3].first_attempt_ms, now - 22 * HOUR);
    fixture_free_jobs(claim.jobs, claim.count);
}

static void a_claim_of_nothing_only_ends(void **state)
{
    struct fixture *f = *state;
    struct store_job jobs[3];
    for (int i = 0; i < 3; i++) {
        jobs[i] = fixture_job(f, i);
        jobs[i].expires_ms = i == 1 ? store_now_ms(f->store) - 1 : 0;
        fixture_insert(f, &jobs[i], i);
        store_job_free(&jobs[i]);
    }
    struct store_claim claim = fixture_claim(f, 0);
    assert_int_equal(claim.count, 1);
    assert_int_equal(claim.jobs[0].state, JOB_EXPIRED);
    assert_int_equal(fixture_state(f, 0), JOB_QUEUED);
    assert_int_equal(fixture_state(f, 1), JOB_EXPIRED);
    assert_int_equal(fixture_state(f, 2), JOB_QUEUED);
    fixture_free_jobs(claim.jobs, claim.count);
}

static void add_of(struct fixture *f, int64_t from, size_t count, enum job_priority priority)
{
    for (size_t i = 0; i < count; i++) {
        struct store_job j = fixture_job(f, from + (int64_t)i);
        j.priority = priority;
        fixture_insert(f, &j, from + (int64_t)i);
        store_job_free(&j);
    }
}

static void count_claimed(const struct store_claim *claim, size_t counts[PRIORITIES])
{
    memset(counts, 0, PRIORITIES * sizeof *counts);
    for (size_t i = 0; i < claim->count; i++)
        counts[claim->jobs[i].priority]++;
}

static void a_claim_gives_each_priority_its_share(void **state)
{
    struct fixture *f = *state;
    size_t counts[PRIORITIES];
    add_of(f, 0, 10, PRIORITY_BULK);
    add_of(f, 100, 2, PRIORITY_NORMAL);
    add_of(f, 200, 10, PRIORITY_CRITICAL);
    struct store_claim claim = {
        .unit = {.kind = STORE_CLAIM}, .provider = "smsapi", .limit = 10, .share = {5, 3, 2}};
    assert_int_equal(fixture_run(f, &claim.unit), STORE_OK);
    /* what the normal ones do not need goes to the most urgent that has more */
    count_claimed(&claim, counts);
    assert_int_equal(counts[PRIORITY_CRITICAL], 6);
    assert_int_equal(counts[PRIORITY_NORMAL], 2);
    assert_int_equal(counts[PRIORITY_BULK], 2);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_CRITICAL], 0);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_NORMAL], -1);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_BULK], 0);
    assert_int_equal(claim.taken[PRIORITY_BULK], 2);
    fixture_free_jobs(claim.jobs, claim.count);
    struct store_claim bulk = {
        .unit = {.kind = STORE_CLAIM}, .provider = "smsapi", .limit = 3, .share = {0, 0, 3}};
    assert_int_equal(fixture_run(f, &bulk.unit), STORE_OK);
    count_claimed(&bulk, counts);
    assert_int_equal(counts[PRIORITY_BULK], 3);
    assert_int_equal(bulk.next_due_in_ms[PRIORITY_CRITICAL], STORE_NOT_LOOKED);
    fixture_free_jobs(bulk.jobs, bulk.count);
}

/* ---- admission ---- */

static struct {
    const char *refused; /* a number */
    int64_t wait_ms;
    size_t asked, dismissed;
} door;

static int64_t admit(void *arg, const struct store_job *job)
{
    assert_ptr_equal(arg, &door);
    door.asked++;
    return door.refused && strcmp(door.refused, job->number) == 0 ? door.wait_ms : 0;
}

static void dismiss(void *arg, const struct store_job *job)
{
    (void)job;
    assert_ptr_equal(arg, &door);
    door.dismissed++;
}

static struct store_claim claim_with_door(size_t limit)
{
    memset(&door, 0, sizeof door);
    return (struct store_claim){.unit = {.kind = STORE_CLAIM},
                                .provider = "smsapi",
                                .limit = limit,
                                .admit = admit,
                                .dismiss = dismiss,
                                .admit_arg = &door};
}

static void who_is_not_admitted_is_due_later(void **state)
{
    struct fixture *f = *state;
    fixture_fill(f, 0, 4);
    struct store_claim claim = claim_with_door(2);
    door.refused = "+48500500000"; /* of job 0 */
    door.wait_ms = 60000;
    assert_int_equal(fixture_run(f, &claim.unit), STORE_OK);
    /* it takes nobody's place */
    assert_int_equal(claim.count, 2);
    assert_int_equal(claim.moved, 1);
    assert_int_equal(claim.taken[PRIORITY_NORMAL], 3);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_NORMAL], 0);
    assert_int_equal(door.asked, 3);
    assert_int_equal(door.dismissed, 0);
    fixture_free_jobs(claim.jobs, claim.count);
    struct hash_id id = fixture_id("job", 0);
    struct store_job j = fixture_look(f, &id);
    assert_int_equal(j.state, JOB_QUEUED);
    assert_int_equal(j.attempt, 0);
    assert_int_equal(j.failures, 0);
    assert_int_equal(j.first_attempt_ms, 0);
    assert_string_equal(j.reason, STORE_NUMBER_WAITS);
    assert_in_range(j.due_ms, store_now_ms(f->store) + 50000, store_now_ms(f->store) + 60000);
    store_job_free(&j);
    struct store_claim rest = claim_with_door(10);
    assert_int_equal(fixture_run(f, &rest.unit), STORE_OK);
    assert_int_equal(rest.count, 1);
    assert_in_range(rest.next_due_in_ms[PRIORITY_NORMAL], 1, 60000);
    fixture_free_jobs(rest.jobs, rest.count);
}

static void what_did_not_leave_keeps_its_place(void **state)
{
    struct fixture *f = *state;
    struct store_job first = fixture_job(f, 0), second = fixture_job(f, 1);
    first.due_ms -= 9000;
    second.due_ms -= 5000;
    fixture_insert(f, &first, 0);
    fixture_insert(f, &second, 1);
    for (int i = 0; i < 3; i++) {
        struct store_claim claim = fixture_claim(f, 1);
        assert_int_equal(claim.count, 1);
        assert_memory_equal(&claim.jobs[0].id, &first.id, sizeof first.id);
        struct store_change c = change_of(&claim.jobs[0], STEP_RETURN);
        assert_int_equal(fixture_change(f, &c), STORE_OK);
        assert_true(c.applied);
        fixture_free_jobs(claim.jobs, claim.count);
    }
    store_job_free(&first);
    store_job_free(&second);
}

static void pinned_jobs_wait_for_the_clock(void **state)
{
    struct fixture *f = *state;
    struct store_job pinned = fixture_job(f, 1), plain = fixture_job(f, 2);
    pinned.pinned = true;
    fixture_insert(f, &pinned, 1);
    fixture_insert(f, &plain, 2);
    struct store_claim claim = {
        .unit = {.kind = STORE_CLAIM}, .provider = "smsapi", .limit = 10, .no_pinned = true};
    fixture_run(f, &claim.unit);
    assert_int_equal(claim.count, 1);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_NORMAL], 0);
    assert_memory_equal(&claim.jobs[0].id, &plain.id, sizeof plain.id);
    fixture_free_jobs(claim.jobs, claim.count);
    store_job_free(&pinned);
    store_job_free(&plain);
}

/* ---- steps ---- */

/* A job in flight, as claimed. */
static struct store_job leased_job(struct fixture *f, int64_t n)
{
    struct store_job j = fixture_job(f, n);
    fixture_insert(f, &j, n);
    store_job_free(&j);
    struct store_claim claim = fixture_claim(f, 1);
    assert_int_equal(claim.count, 1);
    j = claim.jobs[0];
    free(claim.jobs);
    return j;
}

static void a_retry_is_due_later(void **state)
{
    struct fixture *f = *state;
    struct store_job j = leased_job(f, 1);
    struct store_change c = change_of(&j, STEP_RETRY);
    c.failures = 3;
    c.pinned = true;
    c.due_in_ms = 60000;
    c.reason = "no answer";
    c.code = -7;
    int64_t before = store_now_ms(f->store);
    assert_int_equal(fixture_change(f, &c), STORE_OK);
    assert_true(c.applied);
    assert_int_equal(c.was, JOB_LEASED);
    assert_int_equal(c.now, JOB_QUEUED);
    struct store_job k = fixture_look(f, &j.id);
    assert_true(k.due_ms >= before + 60000);
    assert_int_equal(k.failures, 3);
    assert_true(k.pinned);
    assert_int_equal(k.attempt, 1);
    assert_int_equal(k.first_attempt_ms, j.first_attempt_ms);
    assert_string_equal(k.reason, "no answer");
    assert_int_equal(k.code, -7);
    store_job_free(&j);
    store_job_free(&k);
}

static void a_new_generation_forgets_the_first_attempt(void **state)
{
    struct fixture *f = *state;
    struct store_job j = leased_job(f, 1);
    struct store_change c = change_of(&j, STEP_RETRY);
    c.generation = 2;
    fixture_change(f, &c);
    struct store_job k = fixture_look(f, &j.id);
    assert_int_equal(k.generation, 2);
    assert_int_equal(k.first_attempt_ms, 0);
    store_job_free(&j);
    store_job_free(&k);
}

static void a_returned_attempt_did_not_happen(void **state)
{
    struct fixture *f = *state;
    struct store_job j = leased_job(f, 1);
    struct store_change c = change_of(&j, STEP_RETURN);
    fixture_change(f, &c);
    struct store_job k = fixture_look(f, &j.id);
    assert_int_equal(k.state, JOB_QUEUED);
    assert_int_equal(k.attempt, 1);
    assert_int_equal(k.first_attempt_ms, 0);
    assert_false(k.pinned);
    store_job_free(&k);
    struct store_claim claim = fixture_claim(f, 1);
    assert_int_equal(claim.jobs[0].attempt, 2);
    fixture_free_jobs(claim.jobs, claim.count);
    store_job_free(&j);
}

static void only_the_current_attempt_has_a_say(void **state)
{
    struct fixture *f = *state;
    static const enum store_step late[] = {STEP_RETRY, STEP_RETURN, STEP_END};
    struct store_job j = leased_job(f, 1);
    struct store_change c = change_of(&j, STEP_RETRY);
    fixture_change(f, &c);
    struct store_claim claim = fixture_claim(f, 1);
    for (size_t i = 0; i < 3; i++) {
        c = change_of(&j, late[i]);
        c.state = JOB_DEAD;
        assert_int_equal(fixture_change(f, &c), STORE_OK);
        assert_false(c.applied);
        assert_int_equal(c.was, JOB_LEASED);
        assert_int_equal(c.now, JOB_LEASED);
    }
    c = change_of(&claim.jobs[0], STEP_END);
    c.state = JOB_DEAD;
    c.reason = "invalid number";
    fixture_change(f, &c);
    assert_true(c.applied);
    assert_int_equal(fixture_state(f, 1), JOB_DEAD);
    fixture_free_jobs(claim.jobs, claim.count);
    store_job_free(&j);
}

static void an_acceptance_is_recorded_from_everywhere(void **state)
{
    struct fixture *f = *state;
    uint64_t counts[JOB_STATES] = {0};
    for (int n = 0; n < JOB_STATES; n++) {
        struct store_job j = fixture_job(f, n);
        j.state = (enum job_state)n;
        j.attempt = 5;
        fixture_insert(f, &j, n);
        struct store_change c = change_of(&j, STEP_ACCEPTED);
        c.row = n % 2 ? j.row : 0;
        c.attempt = 2;
        c.provider_id = "6373";
        c.points_micro = 160000;
        c.parts = 2;
        c.inferred = true;
        assert_int_equal(fixture_change(f, &c), STORE_OK);
        bool moves = n != JOB_SENT && n != JOB_DELIVERED && n != JOB_UNDELIVERED;
        assert_int_equal(c.applied, moves);
        assert_int_equal(c.was, n);
        assert_int_equal(c.now, moves ? JOB_SENT : n);
        counts[moves ? JOB_SENT : n]++;
        struct store_job k = fixture_look(f, &j.id);
        assert_int_equal(k.state, c.now);
        if (moves) {
            assert_string_equal(k.provider_id, "6373");
            assert_int_equal(k.points_micro, 160000);
            assert_int_equal(k.parts, 2);
            assert_true(k.inferred);
            assert_true(k.finished_ms > 0);
        }
        store_job_free(&j);
        store_job_free(&k);
    }
    expect_counts(f, counts);
}

static void a_row_of_another_job_is_not_touched(void **state)
{
    struct fixture *f = *state;
    struct store_job a = leased_job(f, 1), b = leased_job(f, 2);
    struct store_change c = change_of(&a, STEP_ACCEPTED);
    c.row = b.row;
    fixture_change(f, &c);
    assert_int_equal(fixture_state(f, 1), JOB_SENT);
    assert_int_equal(fixture_state(f, 2), JOB_LEASED);
    c.job = fixture_id("job", 99);
    fixture_change(f, &c);
    assert_false(c.applied);
    assert_int_equal(c.was, JOB_STATES);
    store_job_free(&a);
    store_job_free(&b);
}

/* ---- by hand ---- */

static size_t by_hand(struct fixture *f, enum store_hand hand, struct store_filter filter)
{
    struct store_by_hand by = {
        .unit = {.kind = STORE_CANCEL}, .filter = filter, .hand = hand, .who = "by uid 0"};
    assert_int_equal(fixture_run(f, &by.unit), STORE_OK);
    return by.changed;
}

static void insert_in_every_state(struct fixture *f)
{
    for (int n = 0; n < JOB_STATES; n++) {
        struct store_job j = fixture_job(f, n);
        j.state = (enum job_state)n;
        j.attempt = 1;
        fixture_insert(f, &j, n);
        store_job_free(&j);
    }
}

static void hands_touch_only_their_states(void **state)
{
    struct fixture *f = *state;
    insert_in_every_state(f);
    assert_int_equal(by_hand(f, HAND_CANCEL, (struct store_filter){.rule = "none such"}), 0);
    assert_int_equal(by_hand(f, HAND_CANCEL, (struct store_filter){.rule = "lorem"}), 3);
    assert_int_equal(fixture_state(f, JOB_QUEUED), JOB_CANCELLED);
    assert_int_equal(fixture_state(f, JOB_HELD), JOB_CANCELLED);
    struct hash_id id = fixture_id("job", JOB_LEASED);
    struct store_job leased = fixture_look(f, &id);
    assert_int_equal(leased.state, JOB_LEASED);
    assert_true(leased.cancel_wanted);
    store_job_free(&leased);
    assert_int_equal(by_hand(f, HAND_CANCEL, (struct store_filter){0}), 0);
    assert_int_equal(by_hand(f, HAND_SENT, (struct store_filter){.states = 1u << JOB_DEAD}), 0);
    assert_int_equal(by_hand(f, HAND_DROP, (struct store_filter){0}), 1);
    assert_int_equal(fixture_state(f, JOB_UNCERTAIN), JOB_DEAD);
    assert_int_equal(by_hand(f, HAND_RETRY, (struct store_filter){.states = 1u << JOB_DEAD}), 2);
    assert_int_equal(fixture_state(f, JOB_DEAD), JOB_QUEUED);
    assert_int_equal(fixture_state(f, JOB_SENT), JOB_SENT);
}

static void a_retry_by_hand_starts_over(void **state)
{
    struct fixture *f = *state;
    struct store_job j = fixture_job(f, 1);
    j.state = JOB_UNCERTAIN;
    j.pinned = true;
    j.failures = 12;
    j.attempt = 12;
    j.first_attempt_ms = 1;
    j.created_ms -= 2000;
    j.expires_ms = j.created_ms + 1000;
    fixture_insert(f, &j, 1);
    assert_int_equal(by_hand(f, HAND_RETRY, (struct store_filter){0}), 1);
    struct store_job k = fixture_look(f, &j.id);
    assert_int_equal(k.state, JOB_QUEUED);
    assert_int_equal(k.generation, 2);
    assert_int_equal(k.failures, 0);
    assert_false(k.pinned);
    assert_int_equal(k.first_attempt_ms, 0);
    assert_string_equal(k.reason, "retried by uid 0");
    store_job_free(&k);
    fixture_reopen(f);
    struct store_claim claim = fixture_claim(f, 1);
    assert_int_equal(claim.count, 1);
    assert_int_equal(claim.jobs[0].state, JOB_LEASED);
    assert_int_equal(claim.jobs[0].attempt, 13);
    fixture_free_jobs(claim.jobs, claim.count);
    store_job_free(&j);
}

static void the_operator_may_say_it_was_sent(void **state)
{
    struct fixture *f = *state;
    insert_in_every_state(f);
    assert_int_equal(by_hand(f, HAND_SENT, (struct store_filter){0}), 1);
    assert_int_equal(fixture_state(f, JOB_UNCERTAIN), JOB_SENT);
}

/* ---- lists ---- */

static struct store_list list_of(struct fixture *f, struct store_filter filter)
{
    struct store_list list = {.unit = {.kind = STORE_LIST}, .filter = filter};
    assert_int_equal(fixture_run(f, &list.unit), STORE_OK);
    return list;
}

static void lists_are_newest_first(void **state)
{
    struct fixture *f = *state;
    insert_in_every_state(f);
    struct store_list list = list_of(f, (struct store_filter){.limit = 4});
    assert_int_equal(list.count, 4);
    for (size_t i = 0; i < list.count; i++)
        assert_int_equal(list.jobs[i].state, JOB_STATES - 1 - (int)i);
    int64_t before = list.jobs[3].row;
    fixture_free_jobs(list.jobs, list.count);
    list = list_of(f, (struct store_filter){.before_row = before});
    assert_int_equal(list.count, JOB_STATES - 4);
    assert_int_equal(list.jobs[0].state, JOB_STATES - 5);
    fixture_free_jobs(list.jobs, list.count);
    list = list_of(f, (struct store_filter){.states = 1u << JOB_DEAD | 1u << JOB_HELD});
    assert_int_equal(list.count, 2);
    assert_int_equal(list.jobs[0].state, JOB_DEAD);
    assert_int_equal(list.jobs[1].state, JOB_HELD);
    fixture_free_jobs(list.jobs, list.count);
    list = list_of(f, (struct store_filter){.states = 1u << JOB_SENT | 1u << JOB_HELD});
    assert_int_equal(list.count, 2);
    fixture_free_jobs(list.jobs, list.count);
    list = list_of(f, (struct store_filter){.provider = "none"});
    assert_int_equal(list.count, 0);
}

static void ids_are_found_by_prefix(void **state)
{
    struct fixture *f = *state;
    insert_in_every_state(f);
    struct hash_id id = fixture_id("job", 3);
    char prefix[8];
    snprintf(prefix, sizeof prefix, "%02x%02x%02X%x", id.bytes[0], id.bytes[1], id.bytes[2],
             id.bytes[3] >> 4);
    struct store_list list = list_of(f, (struct store_filter){.id = prefix});
    assert_int_equal(list.count, 1);
    assert_memory_equal(&list.jobs[0].id, &id, sizeof id);
    fixture_free_jobs(list.jobs, list.count);
    static const char *const wrong[] = {"abcde", "xyzxyz", "", "0123456789abcdef0123456789abcdef0"};
    for (size_t i = 0; i < 4; i++) {
        list = list_of(f, (struct store_filter){.id = wrong[i]});
        assert_int_equal(list.count, 0);
    }
}

static void a_long_search_is_complete(void **state)
{
    struct fixture *f = *state;
    enum { JOBS = 7000 };
    for (int from = 0; from < JOBS; from += 1000)
        fixture_fill(f, from, 1000);
    for (int i = 0; i < 3; i++) {
        struct store_job j = fixture_job(f, JOBS + i);
        free(j.rule);
        j.rule = xstrdup("rare");
        j.state = i == 2 ? JOB_SENT : JOB_QUEUED;
        fixture_insert(f, &j, JOBS + i);
        store_job_free(&j);
    }
    fixture_fill(f, JOBS + 10, 1000);
    struct store_list list = list_of(f, (struct store_filter){.rule = "rare"});
    assert_int_equal(list.count, 3);
    fixture_free_jobs(list.jobs, list.count);
    list = list_of(f, (struct store_filter){.rule = "rare", .states = 1u << JOB_QUEUED | 1u << JOB_DEAD});
    assert_int_equal(list.count, 2);
    fixture_free_jobs(list.jobs, list.count);
    list = list_of(f, (struct store_filter){.states = 1u << JOB_QUEUED});
    assert_int_equal(list.count, JOBS + 1002);
    for (size_t i = 1; i < list.count; i++)
        assert_true(list.jobs[i].row < list.jobs[i - 1].row);
    fixture_free_jobs(list.jobs, list.count);
    assert_int_equal(by_hand(f, HAND_CANCEL, (struct store_filter){.rule = "lorem"}), JOBS + 1000);
    expect_counts(f, (uint64_t[JOB_STATES]){[JOB_QUEUED] = 2, [JOB_CANCELLED] = JOBS + 1000, [JOB_SENT] = 1});
}

/* ---- facts and the rest ---- */

static void facts_are_kept(void **state)
{
    struct fixture *f = *state;
    struct store_fact fact = {.unit = {.kind = STORE_FACT}, .name = "line:smsapi", .value = "paused"};
    assert_null(store_fact(f->store, "line:smsapi"));
    fixture_run(f, &fact.unit);
    assert_string_equal(store_fact(f->store, "line:smsapi"), "paused");
    fixture_reopen(f);
    assert_string_equal(store_fact(f->store, "line:smsapi"), "paused");
    fact.value = NULL;
    fixture_run(f, &fact.unit);
    assert_null(store_fact(f->store, "line:smsapi"));
    fixture_reopen(f);
    assert_null(store_fact(f->store, "line:smsapi"));
}

static void leased_jobs_are_given_at_start(void **state)
{
    struct fixture *f = *state;
    struct store_job a = leased_job(f, 1);
    fixture_fill(f, 10, 3);
    size_t count = 99;
    assert_null(store_take_leased(f->store, &count));
    assert_int_equal(count, 0);
    fixture_reopen(f);
    struct store_job *leased = store_take_leased(f->store, &count);
    assert_int_equal(count, 1);
    assert_memory_equal(&leased[0].id, &a.id, sizeof a.id);
    assert_string_equal(leased[0].text, a.text);
    fixture_free_jobs(leased, count);
    expect_counts(f, (uint64_t[JOB_STATES]){[JOB_LEASED] = 1, [JOB_QUEUED] = 3});
    store_job_free(&a);
}

static void the_identity_stays(void **state)
{
    struct fixture *f = *state;
    struct hash_id id = *store_identity(f->store);
    fixture_reopen(f);
    assert_memory_equal(&id, store_identity(f->store), sizeof id);
    store_close(&f->store);
    struct slice_block *b = slice_add_block(f->slice, "bridgebell", "", "test.conf", 1);
    struct slice_setting *v = slice_add_setting(b, "installation", SLICE_TEXT, 3);
    v->text = xstrdup("north");
    fixture_open(f);
    struct hash_id named = *store_identity(f->store);
    assert_memory_not_equal(&id, &named, sizeof id);
    fixture_reopen(f);
    assert_memory_equal(&named, store_identity(f->store), sizeof id);
}

static void a_second_process_is_refused(void **state)
{
    struct fixture *f = *state;
    struct fixture other = *f;
    char *why = NULL;
    assert_null(fixture_try(&other, &why));
    assert_non_null(strstr(why, "another process"));
    free(why);
}

static void units_take_effect_in_order(void **state)
{
    struct fixture *f = *state;
    enum { UNITS = 300 };
    struct store_fact facts[UNITS];
    char values[UNITS][16];
    int results[UNITS];
    for (int i = 0; i < UNITS; i++) {
        snprintf(values[i], sizeof values[i], "%d", i);
        results[i] = -1;
        facts[i] = (struct store_fact){.unit = {.kind = STORE_FACT, .done = fixture_done, .arg = &results[i]},
                                       .name = "turn",
                                       .value = values[i]};
        store_submit(f->store, &facts[i].unit);
    }
    struct store_health h;
    store_health(f->store, &h);
    assert_int_equal(h.queued_units, UNITS);
    store_close(&f->store);
    for (int i = 0; i < UNITS; i++)
        assert_int_equal(results[i], STORE_OK);
    fixture_open(f);
    assert_string_equal(store_fact(f->store, "turn"), values[UNITS - 1]);
}

static void the_oldest_due_is_known(void **state)
{
    struct fixture *f = *state;
    int64_t oldest = store_now_ms(f->store) - 90000;
    for (int i = 0; i < 6; i++) {
        struct store_job j = fixture_job(f, i);
        free(j.provider);
        j.provider = xstrdup(i % 2 ? "a" : "b");
        j.priority = (enum job_priority)(i / 2);
        j.due_ms = oldest + 10000 * ((i + 3) % 6);
        fixture_insert(f, &j, i);
        store_job_free(&j);
    }
    struct store_health h = {0};
    for (int tries = 0; tries < 1000 && h.oldest_due_ms != oldest; tries++) {
        usleep(10000);
        store_health(f->store, &h);
    }
    assert_int_equal(h.oldest_due_ms, oldest);
    assert_int_equal(h.waiting.count, 2);
    assert_string_equal(h.waiting.names[0], "a");
    assert_string_equal(h.waiting.names[1], "b");
}

int main(void)
{
    log_configure(LOG_LOGFMT, LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_field_is_kept),
        CASE(a_known_event_is_skipped_whole),
        CASE(a_job_id_is_there_once),
        CASE(jobs_come_leased_or_ended),
        CASE(marks_only_move_forward),
        CASE(a_deletion_cancels_what_stands),
        CASE(a_deletion_is_remembered),
        CASE(news_of_a_deletion_is_not_cancelled_by_it),
        CASE(claims_go_by_priority_then_age),
        CASE(a_claim_takes_its_provider_only),
        CASE(a_claim_ends_what_is_past),
        CASE(a_claim_of_nothing_only_ends),
        CASE(a_claim_gives_each_priority_its_share),
        CASE(who_is_not_admitted_is_due_later),
        CASE(what_did_not_leave_keeps_its_place),
        CASE(pinned_jobs_wait_for_the_clock),
        CASE(a_retry_is_due_later),
        CASE(a_new_generation_forgets_the_first_attempt),
        CASE(a_returned_attempt_did_not_happen),
        CASE(only_the_current_attempt_has_a_say),
        CASE(an_acceptance_is_recorded_from_everywhere),
        CASE(a_row_of_another_job_is_not_touched),
        CASE(hands_touch_only_their_states),
        CASE(a_retry_by_hand_starts_over),
        CASE(the_operator_may_say_it_was_sent),
        CASE(lists_are_newest_first),
        CASE(ids_are_found_by_prefix),
        CASE(a_long_search_is_complete),
        CASE(facts_are_kept),
        CASE(leased_jobs_are_given_at_start),
        CASE(the_identity_stays),
        CASE(a_second_process_is_refused),
        CASE(units_take_effect_in_order),
        CASE(the_oldest_due_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
