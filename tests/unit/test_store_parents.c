/* links: dispatcher_parts expr proto core m */
/* Parents in the store: kept with their event, read in order, expanded once, ended by time and by deletions.
 */
#include "store_fixture.h"

static struct store_job parent_of(struct fixture *f, int64_t n)
{
    struct store_job j = fixture_job(f, n);
    j.number[0] = '\0';
    j.text[0] = '\0';
    j.state = JOB_HELD;
    return j;
}

static int64_t insert_parent(struct fixture *f, int64_t n, int64_t expires_ms)
{
    struct store_job j = parent_of(f, n);
    char *event = xasprintf("event %d", (int)n);
    if (expires_ms)
        j.expires_ms = expires_ms;
    struct store_decision d = {.key = fixture_id("event", n),
                               .remember = true,
                               .type = "threadNewMessage",
                               .packed = event,
                               .packed_len = strlen(event),
                               .jobs = &j,
                               .jobs_count = 1};
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
    assert_int_equal(fixture_run(f, &in.unit), STORE_OK);
    int64_t row = j.row;
    assert_true(row > 0);
    store_job_free(&j);
    free(event);
    return row;
}

static struct store_parents read_parents(struct fixture *f, int64_t after, size_t limit)
{
    struct store_parents p = {.unit = {.kind = STORE_PARENTS}, .after_row = after, .limit = limit};
    assert_int_equal(fixture_run(f, &p.unit), STORE_OK);
    return p;
}

static size_t count_parents(struct fixture *f)
{
    struct store_parents p = read_parents(f, 0, 0);
    size_t count = p.count;
    store_parents_clear(&p);
    return count;
}

static enum job_state state_of(struct fixture *f, const struct hash_id *id, char **reason)
{
    struct store_list list = {.unit = {.kind = STORE_LIST}, .filter = {.limit = 100}};
    enum job_state state = JOB_STATES;
    assert_int_equal(fixture_run(f, &list.unit), STORE_OK);
    for (size_t i = 0; i < list.count; i++)
        if (memcmp(&list.jobs[i].id, id, sizeof *id) == 0) {
            state = list.jobs[i].state;
            if (reason)
                *reason = xstrdup(list.jobs[i].reason ? list.jobs[i].reason : "");
        }
    fixture_free_jobs(list.jobs, list.count);
    return state;
}

static bool expand(struct fixture *f, int64_t row, int64_t n, struct store_job *jobs, size_t count, bool end)
{
    struct store_expand e = {.unit = {.kind = STORE_EXPAND},
                             .row = row,
                             .parent = fixture_id("job", n),
                             .rule = "lorem",
                             .jobs = jobs,
                             .jobs_count = count,
                             .end = end,
                             .why = WHY_UNKNOWN,
                             .reason = end ? "nobody" : NULL};
    assert_int_equal(fixture_run(f, &e.unit), STORE_OK);
    return e.applied;
}

static void parents_are_read_in_order_and_survive(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    int64_t rows[5];
    for (int i = 0; i < 5; i++)
        rows[i] = insert_parent(&f, i, 0);
    assert_int_equal(fixture_claim(&f, 10).count, 0); /* nothing of it is sent */
    fixture_reopen(&f);
    struct store_parents p = read_parents(&f, 0, 3);
    assert_int_equal(p.count, 3);
    assert_true(p.more);
    assert_int_equal(p.last_row, rows[2]);
    for (size_t i = 0; i < p.count; i++) {
        char *event = xasprintf("event %d", (int)i);
        assert_int_equal(p.list[i].job.row, rows[i]);
        assert_string_equal(p.list[i].job.rule, "lorem");
        assert_int_equal(p.list[i].packed_len, strlen(event));
        assert_memory_equal(p.list[i].packed, event, strlen(event));
        free(event);
    }
    store_parents_clear(&p);
    p = read_parents(&f, rows[2], 3);
    assert_int_equal(p.count, 2);
    assert_false(p.more);
    store_parents_clear(&p);
    fixture_end(&f);
}

static void children_take_the_parents_place_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    int64_t row = insert_parent(&f, 1, 0);
    struct store_job children[2] = {fixture_job(&f, 100), fixture_job(&f, 101)};
    children[1].state = JOB_SUPPRESSED;
    children[1].noise = store_noise_new(0);
    children[1].noise->why = WHY_UNKNOWN;
    assert_true(expand(&f, row, 1, children, 2, false));
    assert_true(children[0].row > 0 && children[1].row > 0);
    assert_false(expand(&f, row, 1, children, 2, false));
    struct hash_id parent = fixture_id("job", 1);
    assert_int_equal(state_of(&f, &parent, NULL), JOB_MERGED);
    assert_int_equal(state_of(&f, &children[0].id, NULL), JOB_QUEUED);
    assert_int_equal(state_of(&f, &children[1].id, NULL), JOB_SUPPRESSED);
    assert_int_equal(count_parents(&f), 0);
    struct store_claim c = fixture_claim(&f, 10);
    assert_int_equal(c.count, 1);
    fixture_free_jobs(c.jobs, c.count);
    size_t count;
    const struct store_tally *t = store_tallies(f.store, &count);
    assert_int_equal(count, 1);
    assert_int_equal(t[0].why, WHY_UNKNOWN);
    assert_int_equal(t[0].jobs, 1);
    store_job_free(&children[0]);
    store_job_free(&children[1]);
    fixture_reopen(&f);
    assert_int_equal(count_parents(&f), 0);
    fixture_end(&f);
}

static void a_parent_without_anybody_ends_as_suppressed(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    int64_t row = insert_parent(&f, 1, 0);
    struct hash_id parent = fixture_id("job", 1);
    char *reason = NULL;
    assert_false(expand(&f, row, 2, NULL, 0, true)); /* another job's row */
    row = insert_parent(&f, 3, 0);
    assert_true(expand(&f, row, 3, NULL, 0, true));
    parent = fixture_id("job", 3);
    assert_int_equal(state_of(&f, &parent, &reason), JOB_SUPPRESSED);
    assert_string_equal(reason, "nobody");
    free(reason);
    for (int pass = 0; pass < 2; pass++) {
        size_t count;
        const struct store_tally *t = store_tallies(f.store, &count);
        assert_int_equal(count, 1);
        assert_string_equal(t[0].rule, "lorem");
        assert_int_equal(t[0].why, WHY_UNKNOWN);
        assert_int_equal(t[0].jobs, 1);
        fixture_reopen(&f);
    }
    fixture_end(&f);
}

static void a_deletion_cancels_what_waits(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    int64_t row = insert_parent(&f, 1, 0);
    struct store_decision d = {
        .key = fixture_id("event", 99), .deleted_item = "item-1", .type = "threadDeletedMessage"};
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
    assert_int_equal(fixture_run(&f, &in.unit), STORE_OK);
    assert_int_equal(in.cancelled, 1);
    struct hash_id parent = fixture_id("job", 1);
    assert_int_equal(state_of(&f, &parent, NULL), JOB_CANCELLED);
    struct store_job child = fixture_job(&f, 100);
    assert_false(expand(&f, row, 1, &child, 1, false));
    assert_int_equal(child.row, 0);
    store_job_free(&child);
    assert_int_equal(count_parents(&f), 0);
    fixture_end(&f);
}

/* The sweep goes round every few seconds. */
static void what_waits_too_long_expires(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    insert_parent(&f, 1, store_now_ms(f.store) + 1);
    insert_parent(&f, 2, 0);
    struct hash_id late = fixture_id("job", 1), early = fixture_id("job", 2);
    int rounds = 0;
    while (state_of(&f, &late, NULL) == JOB_HELD && rounds++ < 3000)
        usleep(10000);
    char *reason = NULL;
    assert_int_equal(state_of(&f, &late, &reason), JOB_EXPIRED);
    assert_non_null(strstr(reason, "could not be looked up"));
    free(reason);
    assert_int_equal(state_of(&f, &early, NULL), JOB_HELD);
    assert_int_equal(count_parents(&f), 1);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parents_are_read_in_order_and_survive),
        cmocka_unit_test(children_take_the_parents_place_once),
        cmocka_unit_test(a_parent_without_anybody_ends_as_suppressed),
        cmocka_unit_test(a_deletion_cancels_what_waits),
        cmocka_unit_test(what_waits_too_long_expires),
    };
    log_configure(LOG_LOGFMT, LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
