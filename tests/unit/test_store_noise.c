/* links: dispatcher_parts expr proto core */
#include "store_fixture.h"

enum { HOUR_MS = 3600000 };

static struct fixture f;
static int64_t next_event;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&f);
    fixture_open(&f);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

/* ---- jobs and gates ---- */

static struct store_gate *gate(struct store_job *j, size_t i, enum store_gate_kind kind, enum store_why why,
                               const char *key)
{
    struct store_gate *g = &j->noise->gates[i];
    g->kind = kind;
    g->why = why;
    g->key = fixture_id(key, 0);
    g->per_ms = HOUR_MS;
    snprintf(g->name, sizeof g->name, "%s", key);
    return g;
}

static struct store_job job(int64_t n, size_t gates)
{
    struct store_job j = fixture_job(&f, n);
    j.noise = store_noise_new(gates);
    j.parts = 2;
    j.price_micro = 180000;
    return j;
}

static struct store_job job_rate(int64_t n, int64_t limit)
{
    struct store_job j = job(n, 1);
    gate(&j, 0, GATE_RATE, WHY_THROTTLE, "rate")->limit = limit;
    return j;
}

/* Commits the jobs of one event. */
static enum store_status commit(struct store_job *jobs, size_t count, int64_t event, bool try_only,
                                enum store_known *known)
{
    struct store_decision d = {.key = fixture_id("event", event),
                               .remember = true,
                               .type = "threadNewMessage",
                               .try_only = try_only,
                               .jobs = jobs,
                               .jobs_count = count};
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
    enum store_status status = fixture_run(&f, &in.unit);
    if (known)
        *known = d.known;
    return status;
}

/* Commits J as an event of its own; what became of it. */
static enum store_why decide(struct store_job *j)
{
    assert_int_equal(commit(j, 1, 1000000 + next_event++, false, NULL), STORE_OK);
    enum store_why why = j->noise->why;
    store_job_free(j);
    return why;
}

static int64_t tally(const char *rule, enum store_why why)
{
    size_t count;
    const struct store_tally *t = store_tallies(f.store, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(t[i].rule, rule) == 0 && t[i].why == why)
            return t[i].jobs;
    return 0;
}

static uint64_t standing(enum job_state state)
{
    struct store_health h;
    store_health(f.store, &h);
    return h.jobs[state];
}

/* ---- rates and windows ---- */

static void a_rate_lets_through_its_number_and_counts_the_rest(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 5; n++) {
        struct store_job j = job_rate(n, 3);
        assert_int_equal(decide(&j), n < 3 ? WHY_NOTHING : WHY_THROTTLE);
    }
    assert_int_equal(standing(JOB_QUEUED), 3);
    assert_int_equal(standing(JOB_SUPPRESSED), 2);
    assert_int_equal(tally("lorem", WHY_NOTHING), 3);
    assert_int_equal(tally("lorem", WHY_THROTTLE), 2);
    fixture_reopen(&f);
    assert_int_equal(tally("lorem", WHY_THROTTLE), 2);
    struct store_job late = job_rate(9, 3);
    assert_int_equal(decide(&late), WHY_THROTTLE);
    struct hash_id id = fixture_id("job", 9);
    struct store_job row = fixture_look(&f, &id);
    assert_int_equal(row.state, JOB_SUPPRESSED);
    assert_string_equal(row.reason, "throttle: rate");
    assert_int_equal(row.price_micro, 180000);
    store_job_free(&row);
}

static void an_event_that_is_known_counts_nothing(void **state)
{
    (void)state;
    enum store_known known;
    for (int i = 0; i < 3; i++) {
        struct store_job j = job_rate(1, 2);
        assert_int_equal(commit(&j, 1, 7, false, &known), STORE_OK);
        assert_int_equal(known, i ? STORE_KNOWN : STORE_NEW);
        store_job_free(&j);
    }
    struct store_job second = job_rate(2, 2);
    assert_int_equal(decide(&second), WHY_NOTHING);
    struct store_job third = job_rate(3, 2);
    assert_int_equal(decide(&third), WHY_THROTTLE);
}

static void all_buckets_must_have_room_and_a_refusal_costs_the_others_nothing(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 4; n++) {
        struct store_job j = job(n, 2);
        gate(&j, 0, GATE_RATE, WHY_THROTTLE, "wide")->limit = 3;
        gate(&j, 1, GATE_RATE, WHY_CAPS, "narrow")->limit = 1;
        assert_int_equal(decide(&j), n < 1 ? WHY_NOTHING : WHY_CAPS);
    }
    for (int64_t n = 10; n < 13; n++) {
        struct store_job j = job(n, 1);
        gate(&j, 0, GATE_RATE, WHY_THROTTLE, "wide")->limit = 3;
        assert_int_equal(decide(&j), n < 12 ? WHY_NOTHING : WHY_THROTTLE);
    }
}

static void a_shared_gate_counts_an_event_once(void **state)
{
    (void)state;
    for (int64_t event = 0; event < 3; event++) {
        struct store_job jobs[3];
        for (int64_t k = 0; k < 3; k++) {
            jobs[k] = job(10 * event + k, 1);
            struct store_gate *g = gate(&jobs[k], 0, GATE_RATE, WHY_THROTTLE, "shared");
            g->limit = 2;
            g->shared = true;
        }
        assert_int_equal(commit(jobs, 3, event, false, NULL), STORE_OK);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(jobs[k].noise->why, event < 2 ? WHY_NOTHING : WHY_THROTTLE);
            store_job_free(&jobs[k]);
        }
    }
}

/* An event of many rules, each with buckets for the rule in all. */
static void shared_gates_of_many_rules_count_an_event_once(void **state)
{
    (void)state;
    enum { RULES = 100, PEOPLE = 3 };
    struct store_job jobs[RULES * PEOPLE];
    for (int64_t event = 0; event < 2; event++) {
        for (int64_t i = 0; i < RULES * PEOPLE; i++) {
            char key[32];
            snprintf(key, sizeof key, "rule %d", (int)(i / PEOPLE));
            jobs[i] = job(1000 * event + i, 1);
            struct store_gate *g = gate(&jobs[i], 0, GATE_RATE, WHY_THROTTLE, key);
            g->limit = 1;
            g->shared = true;
        }
        assert_int_equal(commit(jobs, RULES * PEOPLE, event, false, NULL), STORE_OK);
        for (int64_t i = 0; i < RULES * PEOPLE; i++) {
            assert_int_equal(jobs[i].noise->why, event ? WHY_THROTTLE : WHY_NOTHING);
            store_job_free(&jobs[i]);
        }
    }
}

static void a_window_is_taken_by_what_rings_alone(void **state)
{
    (void)state;
    static const enum store_why expected[] = {WHY_NOTHING, WHY_DUPLICATE, WHY_DUPLICATE};
    for (int64_t n = 0; n < 3; n++) {
        struct store_job j = job(n, 2);
        gate(&j, 0, GATE_WINDOW, WHY_DUPLICATE, "window");
        gate(&j, 1, GATE_RATE, WHY_THROTTLE, "rate")->limit = 5;
        assert_int_equal(decide(&j), expected[n]);
    }
    /* Refused by a rate, the same may ring as soon as that has room. */
    for (int64_t n = 10; n < 12; n++) {
        struct store_job j = job(n, 2);
        gate(&j, 0, GATE_WINDOW, WHY_DUPLICATE, "other window");
        gate(&j, 1, GATE_RATE, WHY_THROTTLE, "closed")->limit = 0;
        assert_int_equal(decide(&j), WHY_THROTTLE);
    }
}

static void what_is_only_tried_leaves_nothing(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 5; n++) {
        struct store_job j = job_rate(n, 1);
        j.noise->storm = (struct store_merge){WHY_STORM, fixture_id("digest", 1), store_now_ms(f.store)};
        j.noise->gates[0].merges = true;
        assert_int_equal(commit(&j, 1, 50 + n, true, NULL), STORE_OK);
        assert_int_equal(j.noise->why, WHY_NOTHING);
        store_job_free(&j);
    }
    for (int i = 0; i < JOB_STATES; i++)
        assert_int_equal(standing((enum job_state)i), 0);
    assert_int_equal(tally("lorem", WHY_NOTHING), 0);
    struct store_job first = job_rate(0, 1), second = job_rate(1, 1);
    assert_int_equal(decide(&first), WHY_NOTHING);
    assert_int_equal(decide(&second), WHY_THROTTLE);
}

static void rows_of_suppressed_jobs_are_bounded_and_the_counts_are_not(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 150; n++) {
        struct store_job j = job_rate(n, 0);
        assert_int_equal(decide(&j), WHY_THROTTLE);
    }
    assert_int_equal(tally("lorem", WHY_THROTTLE), 150);
    assert_true(standing(JOB_SUPPRESSED) >= 100 && standing(JOB_SUPPRESSED) <= 150);
}

/* ---- budgets ---- */

static struct store_job job_budget(int64_t n, bool critical)
{
    struct store_job j = job(n, 1);
    struct store_gate *g = gate(&j, 0, GATE_BUDGET, WHY_BUDGET, "budget");
    g->limit = 10;
    g->amount = 1;
    g->warn_percent = 50;
    g->digest_percent = 80;
    g->merges = true;
    g->critical = critical;
    g->ends_ms = store_now_ms(f.store) + HOUR_MS;
    j.noise->budget =
        (struct store_merge){WHY_BUDGET, fixture_id("digest", 2), store_now_ms(f.store) + HOUR_MS};
    return j;
}

static void a_budget_warns_then_collects_then_lets_only_critical_through(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 9; n++) {
        struct store_job j = job_budget(n, false);
        assert_int_equal(commit(&j, 1, n, false, NULL), STORE_OK);
        assert_int_equal(j.noise->why, n < 7 ? WHY_NOTHING : WHY_BUDGET);
        assert_int_equal(j.state, n < 7 ? JOB_QUEUED : JOB_MERGED);
        assert_int_equal(j.noise->gates[0].warned, n == 4);
        store_job_free(&j);
    }
    for (int64_t n = 20; n < 24; n++) {
        struct store_job j = job_budget(n, true);
        assert_int_equal(decide(&j), WHY_NOTHING);
    }
    struct store_job spent = job_budget(30, false);
    assert_int_equal(commit(&spent, 1, 30, false, NULL), STORE_OK);
    assert_int_equal(spent.state, JOB_SUPPRESSED);
    assert_int_equal(spent.noise->gates[0].used, 11);
    store_job_free(&spent);
}

/* ---- digests ---- */

static struct store_job job_digest(int64_t n, int64_t due_in_ms)
{
    struct store_job j = job(n, 0);
    j.noise->merge =
        (struct store_merge){WHY_DIGEST, fixture_id("digest", 3), store_now_ms(f.store) + due_in_ms};
    j.noise->context = xstrdup("{\"lang\":\"pl\"}");
    return j;
}

static struct store_digests due(void)
{
    struct store_digests d = {.unit = {.kind = STORE_DIGESTS}};
    assert_int_equal(fixture_run(&f, &d.unit), STORE_OK);
    return d;
}

static struct store_close close_with(struct store_digest *d, const char *text, size_t gates)
{
    d->job.text = (free(d->job.text), xstrdup(text));
    d->job.noise = store_noise_new(gates);
    d->job.state = JOB_QUEUED;
    return (struct store_close){
        .unit = {.kind = STORE_CLOSE}, .job = &d->job, .why = d->why, .count = d->count};
}

static void a_digest_collects_freezes_and_becomes_one_message(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 7; n++) {
        struct store_job j = job_digest(n, 0);
        j.event_ms = 1000 + n;
        assert_int_equal(decide(&j), WHY_DIGEST);
    }
    assert_int_equal(standing(JOB_HELD), 1);
    assert_int_equal(standing(JOB_MERGED), 7);
    fixture_reopen(&f);
    struct store_digests d = due();
    assert_int_equal(d.count, 1);
    assert_int_equal(d.list[0].count, 7);
    assert_int_equal(d.list[0].since_ms, 1000);
    assert_int_equal(d.list[0].until_ms, 1006);
    assert_int_equal(d.list[0].texts_count, STORE_DIGEST_TEXTS);
    assert_string_equal(d.list[0].texts[0], "New message 6");
    assert_string_equal(d.list[0].context, "{\"lang\":\"pl\"}");
    /* Frozen: what comes now opens the next one, and this one is not given out twice. */
    struct store_job late = job_digest(8, HOUR_MS);
    assert_int_equal(decide(&late), WHY_DIGEST);
    assert_int_equal(standing(JOB_HELD), 2);
    struct store_digests none = due();
    assert_int_equal(none.count, 0);
    struct store_close c = close_with(&d.list[0], "7 messages", 0);
    assert_int_equal(fixture_run(&f, &c.unit), STORE_OK);
    assert_true(c.applied);
    struct hash_id id = d.list[0].job.id;
    assert_int_equal(fixture_run(&f, &c.unit), STORE_OK);
    assert_false(c.applied);
    store_digests_clear(&d);
    store_digests_clear(&none);
    struct store_job row = fixture_look(&f, &id);
    assert_int_equal(row.state, JOB_QUEUED);
    assert_string_equal(row.text, "7 messages");
    store_job_free(&row);
    struct store_claim claim = fixture_claim(&f, 10);
    assert_int_equal(claim.count, 1);
    fixture_free_jobs(claim.jobs, claim.count);
}

static void a_digest_that_a_rate_refuses_waits_for_room(void **state)
{
    (void)state;
    struct store_job j = job_digest(1, 0);
    assert_int_equal(decide(&j), WHY_DIGEST);
    struct store_digests d = due();
    struct store_close c = close_with(&d.list[0], "one", 1);
    gate(&d.list[0].job, 0, GATE_RATE, WHY_CAPS, "closed")->limit = 1;
    struct store_job taker = job(2, 1);
    gate(&taker, 0, GATE_RATE, WHY_CAPS, "closed")->limit = 1;
    assert_int_equal(decide(&taker), WHY_NOTHING);
    assert_int_equal(fixture_run(&f, &c.unit), STORE_OK);
    assert_true(c.postponed && !c.applied);
    assert_int_equal(standing(JOB_HELD), 1);
    store_digests_clear(&d);
    struct store_digests later = due();
    assert_int_equal(later.count, 0);
    assert_true(later.next_due_in_ms > HOUR_MS / 2);
    store_digests_clear(&later);
}

/* Else each window of a rule that may ring less often would leave one more that waits, for ever. */
static void one_that_is_put_off_collects_on(void **state)
{
    (void)state;
    struct store_job j = job_digest(1, 0);
    assert_int_equal(decide(&j), WHY_DIGEST);
    struct store_digests d = due();
    struct store_close c = close_with(&d.list[0], "one", 0);
    c.postpone_until_ms = store_now_ms(f.store) + 300;
    assert_int_equal(fixture_run(&f, &c.unit), STORE_OK);
    assert_true(c.postponed && !c.folded);
    struct store_job next = job_digest(2, HOUR_MS);
    assert_int_equal(decide(&next), WHY_DIGEST);
    assert_int_equal(standing(JOB_HELD), 1);
    /* Whoever still has it as it was closes nothing. */
    c.postpone_until_ms = 0;
    assert_int_equal(fixture_run(&f, &c.unit), STORE_OK);
    assert_false(c.applied || c.postponed);
    store_digests_clear(&d);
    while (d = due(), d.count == 0)
        assert_in_range(d.next_due_in_ms, 0, 300);
    assert_int_equal(d.list[0].count, 2);
    assert_string_equal(d.list[0].texts[0], "New message 2");
    assert_string_equal(d.list[0].texts[1], "New message 1");
    store_digests_clear(&d);
}

static void one_that_is_put_off_becomes_one_with_what_was_opened_meanwhile(void **state)
{
    (void)state;
    struct store_job j = job_digest(1, 0);
    j.event_ms = 1000;
    assert_int_equal(decide(&j), WHY_DIGEST);
    struct store_digests d = due();
    struct store_job next = job_digest(2, HOUR_MS);
    next.event_ms = 2000;
    assert_int_equal(decide(&next), WHY_DIGEST);
    assert_int_equal(standing(JOB_HELD), 2);
    struct hash_id id = d.list[0].job.id;
    struct store_close c = close_with(&d.list[0], "one", 0);
    c.postpone_until_ms = store_now_ms(f.store) + 1;
    assert_int_equal(fixture_run(&f, &c.unit), STORE_OK);
    assert_true(c.postponed && c.folded);
    store_digests_clear(&d);
    assert_int_equal(standing(JOB_HELD), 1);
    struct store_job row = fixture_look(&f, &id);
    assert_int_equal(row.state, JOB_MERGED);
    assert_memory_equal(row.reason, "digest: into ", strlen("digest: into "));
    store_job_free(&row);
    /* As soon as the first of the two may ring. */
    while (d = due(), d.count == 0)
        assert_in_range(d.next_due_in_ms, 0, 1);
    assert_int_equal(d.list[0].count, 2);
    assert_true(d.list[0].job.due_ms <= store_now_ms(f.store));
    assert_string_equal(d.list[0].job.reason, "digest");
    assert_int_equal(d.list[0].since_ms, 1000);
    assert_int_equal(d.list[0].until_ms, 2000);
    assert_int_equal(d.list[0].texts_count, 2);
    assert_string_equal(d.list[0].texts[0], "New message 2");
    store_digests_clear(&d);
}

static void the_next_process_closes_at_once_what_was_frozen(void **state)
{
    (void)state;
    struct store_job j = job_digest(1, 0);
    assert_int_equal(decide(&j), WHY_DIGEST);
    struct store_digests d = due(), again;
    assert_int_equal(d.count, 1);
    again = due();
    assert_int_equal(again.count, 0);
    fixture_reopen(&f);
    again = due();
    assert_int_equal(again.count, 1);
    assert_memory_equal(&again.list[0].job.id, &d.list[0].job.id, sizeof d.list[0].job.id);
    store_digests_clear(&d);
    store_digests_clear(&again);
}

static void quiet_hours_are_doubted_on_request(void **state)
{
    (void)state;
    struct store_job held = job_digest(1, HOUR_MS), other = job_digest(2, HOUR_MS);
    held.noise->merge.why = WHY_QUIET;
    other.noise->merge.key = fixture_id("digest", 4);
    assert_int_equal(decide(&held), WHY_QUIET);
    assert_int_equal(decide(&other), WHY_DIGEST);
    struct store_digests d = {.unit = {.kind = STORE_DIGESTS}, .doubt_quiet = true};
    assert_int_equal(fixture_run(&f, &d.unit), STORE_OK);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.list[0].why, WHY_QUIET);
    store_digests_clear(&d);
}

static void a_storm_ends_in_one_digest(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 10; n++) {
        struct store_job j = job_rate(n, 2);
        j.noise->gates[0].merges = true;
        j.noise->gates[0].why = WHY_STORM;
        j.noise->storm =
            (struct store_merge){WHY_STORM, fixture_id("digest", 4), store_now_ms(f.store) + HOUR_MS};
        assert_int_equal(decide(&j), n < 2 ? WHY_NOTHING : WHY_STORM);
    }
    assert_int_equal(standing(JOB_QUEUED), 2);
    assert_int_equal(standing(JOB_MERGED), 8);
    assert_int_equal(standing(JOB_HELD), 1);
}

static void shadow_does_everything_but_the_sending(void **state)
{
    (void)state;
    struct store_job j = job_rate(1, 5);
    j.noise->shadow = true;
    assert_int_equal(decide(&j), WHY_SHADOW);
    assert_int_equal(standing(JOB_SUPPRESSED), 1);
    assert_int_equal(standing(JOB_QUEUED), 0);
    assert_int_equal(tally("lorem", WHY_SHADOW), 1);
    struct store_job held = job_digest(2, 0);
    held.noise->shadow = true;
    assert_int_equal(decide(&held), WHY_DIGEST);
    struct store_digests d = due();
    assert_int_equal(d.count, 1);
    assert_true(d.list[0].shadow);
    struct store_close c = close_with(&d.list[0], "shadow", 0);
    c.shadow = d.list[0].shadow;
    assert_int_equal(fixture_run(&f, &c.unit), STORE_OK);
    assert_true(c.applied);
    assert_int_equal(tally("lorem", WHY_SHADOW), 2);
    assert_int_equal(standing(JOB_QUEUED), 0);
    store_digests_clear(&d);
}

static void a_digest_cancelled_by_hand_makes_room_for_the_next(void **state)
{
    (void)state;
    struct store_job j = job_digest(1, HOUR_MS);
    assert_int_equal(decide(&j), WHY_DIGEST);
    struct store_by_hand hand = {
        .unit = {.kind = STORE_CANCEL}, .filter = {.states = 1u << JOB_HELD}, .hand = HAND_CANCEL};
    assert_int_equal(fixture_run(&f, &hand.unit), STORE_OK);
    assert_int_equal(hand.changed, 1);
    struct store_job next = job_digest(2, HOUR_MS);
    assert_int_equal(decide(&next), WHY_DIGEST);
    assert_int_equal(standing(JOB_HELD), 1);
    assert_int_equal(standing(JOB_CANCELLED), 1);
    hand.filter.states = 1u << JOB_CANCELLED;
    hand.hand = HAND_RETRY;
    assert_int_equal(fixture_run(&f, &hand.unit), STORE_OK);
    assert_int_equal(hand.changed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
        TEST(a_rate_lets_through_its_number_and_counts_the_rest),
        TEST(an_event_that_is_known_counts_nothing),
        TEST(all_buckets_must_have_room_and_a_refusal_costs_the_others_nothing),
        TEST(a_shared_gate_counts_an_event_once),
        TEST(shared_gates_of_many_rules_count_an_event_once),
        TEST(a_window_is_taken_by_what_rings_alone),
        TEST(what_is_only_tried_leaves_nothing),
        TEST(rows_of_suppressed_jobs_are_bounded_and_the_counts_are_not),
        TEST(a_budget_warns_then_collects_then_lets_only_critical_through),
        TEST(a_digest_collects_freezes_and_becomes_one_message),
        TEST(a_digest_that_a_rate_refuses_waits_for_room),
        TEST(one_that_is_put_off_collects_on),
        TEST(one_that_is_put_off_becomes_one_with_what_was_opened_meanwhile),
        TEST(the_next_process_closes_at_once_what_was_frozen),
        TEST(quiet_hours_are_doubted_on_request),
        TEST(a_storm_ends_in_one_digest),
        TEST(shadow_does_everything_but_the_sending),
        TEST(a_digest_cancelled_by_hand_makes_room_for_the_next),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
