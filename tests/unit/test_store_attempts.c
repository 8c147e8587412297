/* links: dispatcher_parts proto expr core */
/* What the store remembers of attempts to numbers, and claims that ask before they lease. */
#include "tests/unit/store_fixture.h"

#include <sqlite3.h>

#include "dispatcher/store_parts.h"

#include "tests/unit/faulty_vfs.h"

static struct fixture f;

static int setup(void **state)
{
    (void)state;
    fixture_init(&f);
    fixture_open(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    faulty_heal();
    fixture_end(&f);
    return 0;
}

static void exec(const char *statement)
{
    sqlite3 *sql;
    assert_int_equal(sqlite3_open(f.path, &sql), SQLITE_OK);
    if (sqlite3_exec(sql, statement, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", statement, sqlite3_errmsg(sql));
    sqlite3_close(sql);
}

static int64_t count_of(const char *query)
{
    sqlite3 *sql;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(f.path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sql, query, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(sql);
    return n;
}

/* COUNT changes of jobs that are not there; they tell of numbers all the same. */
static void tell_keys(uint64_t first, size_t count, int64_t blocked_ms, int64_t keep_ms)
{
    struct store_change *list = xcalloc(count, sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i] = (struct store_change){.job = fixture_id("nobody", (int64_t)i),
                                        .step = STEP_RETRY,
                                        .number_key = first + i,
                                        .number_blocked_ms = blocked_ms};
    struct store_changes changes = {
        .unit = {.kind = STORE_CHANGES}, .changes = list, .count = count, .attempts_keep_ms = keep_ms};
    assert_int_equal(fixture_run(&f, &changes.unit), STORE_OK);
    free(list);
}

static void attempts_are_told_at_the_next_start(void **state)
{
    (void)state;
    size_t count;
    assert_null(store_take_attempts(f.store, &count));
    assert_int_equal(count, 0);
    tell_keys(1000, 450, 0, 60000);
    tell_keys(77, 1, 30000, 60000);
    fixture_reopen(&f);
    struct store_attempt *list = store_take_attempts(f.store, &count);
    assert_int_equal(count, 451);
    assert_int_equal(list[0].number_key, 77);
    assert_int_equal(list[0].blocked_ms, 30000);
    bool seen[450] = {false};
    for (size_t i = 1; i < count; i++) {
        assert_in_range(list[i].number_key, 1000, 1449);
        assert_false(seen[list[i].number_key - 1000]);
        seen[list[i].number_key - 1000] = true;
        assert_int_equal(list[i].blocked_ms, 0);
        assert_in_range(list[i].age_ms, 0, 30000);
    }
    free(list);
    list = store_take_attempts(f.store, &count);
    assert_null(list);
    assert_int_equal(count, 0);
}

static void what_tells_of_no_number_leaves_no_trace(void **state)
{
    (void)state;
    struct store_change c = {.job = fixture_id("nobody", 1), .step = STEP_RETRY};
    fixture_change(&f, &c);
    store_close(&f.store);
    assert_int_equal(count_of("SELECT count(*) FROM attempts"), 0);
    fixture_open(&f);
}

static void old_ones_go(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        tell_keys(1000, 1, 0, 60000);
    store_close(&f.store);
    assert_int_equal(count_of("SELECT count(*) FROM attempts"), 40);
    exec("UPDATE attempts SET boot_ms = boot_ms - 70000 WHERE row <= 20");
    fixture_open(&f);
    size_t count;
    struct store_attempt *list = store_take_attempts(f.store, &count);
    assert_int_equal(count, 40);
    assert_in_range(list[39].age_ms, 70000, 100000);
    free(list);
    for (int i = 0; i < 10; i++)
        tell_keys(1000, 1, 0, 60000);
    store_close(&f.store);
    assert_int_equal(count_of("SELECT count(*) FROM attempts"), 30);
    fixture_open(&f);
}

/* Also where each commit writes many rows. */
static void many_old_ones_go(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        tell_keys(1000, 2000, 0, 60000);
    store_close(&f.store);
    int64_t rows = count_of("SELECT count(*) FROM attempts");
    exec("UPDATE attempts SET boot_ms = boot_ms - 70000");
    fixture_open(&f);
    for (int i = 0; i < 8; i++)
        tell_keys(1000, 2000, 0, 60000);
    store_close(&f.store);
    assert_int_equal(count_of("SELECT count(*) FROM attempts"), rows);
    fixture_open(&f);
}

/* Of another boot: as old as the store's time says, and never younger than now. */
static void another_boot_goes_by_the_stores_time(void **state)
{
    (void)state;
    tell_keys(1000, 1, 0, 600000);
    tell_keys(1001, 1, 0, 600000);
    store_close(&f.store);
    exec("UPDATE attempts SET boot = 1, boot_ms = 99999999999, at_ms = at_ms - 50000 WHERE row = 1");
    exec("UPDATE attempts SET boot = 1, boot_ms = 0, at_ms = at_ms + 500000 WHERE row = 2");
    fixture_open(&f);
    size_t count;
    struct store_attempt *list = store_take_attempts(f.store, &count);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].age_ms, 0);
    assert_in_range(list[1].age_ms, 50000, 80000);
    free(list);
}

static void what_was_changed_on_disk_is_left_out(void **state)
{
    (void)state;
    static const char *const changes[] = {"list = x''", "list = x'00'", "list = zeroblob(24)",
                                          "list = zeroblob(8)", "list = list || x'0000'"};
    enum { COUNT = sizeof changes / sizeof changes[0] };
    for (int i = 0; i <= COUNT; i++)
        tell_keys(1000 + (uint64_t)i, 1, 0, 60000);
    store_close(&f.store);
    for (int i = 0; i < COUNT; i++) {
        char statement[128];
        snprintf(statement, sizeof statement, "UPDATE attempts SET %s WHERE row = %d", changes[i], i + 1);
        exec(statement);
    }
    fixture_open(&f);
    size_t count;
    struct store_attempt *list = store_take_attempts(f.store, &count);
    assert_int_equal(count, 1);
    assert_int_equal(list[0].number_key, 1000 + COUNT);
    free(list);
}

static void a_salvage_brings_them_over(void **state)
{
    (void)state;
    fixture_fill(&f, 0, 50);
    tell_keys(1000, 210, 0, 60000);
    tell_keys(2000, 1, 30000, 60000);
    fixture_reopen(&f);
    tell_keys(3000, 3, 0, 60000);
    store_close(&f.store);
    /* The tables are not those that were made. */
    exec("DROP INDEX jobs_item");
    fixture_open(&f);
    struct store_health h;
    store_health(f.store, &h);
    assert_true(h.was_damaged);
    size_t count;
    struct store_attempt *list = store_take_attempts(f.store, &count);
    assert_int_equal(count, 214);
    free(list);
}

/* ---- claims that ask ---- */

static struct {
    int64_t wait_ms;
    size_t admitted, dismissed;
} door;

static int64_t admit(void *arg, const struct store_job *job)
{
    (void)job;
    assert_ptr_equal(arg, &door);
    door.admitted += door.wait_ms == 0;
    return door.wait_ms;
}

static void dismiss(void *arg, const struct store_job *job)
{
    assert_ptr_equal(arg, &door);
    assert_non_null(job->number);
    door.dismissed++;
}

static struct store_claim claim_with_door(size_t limit, int64_t wait_ms)
{
    memset(&door, 0, sizeof door);
    door.wait_ms = wait_ms;
    return (struct store_claim){.unit = {.kind = STORE_CLAIM},
                                .provider = "smsapi",
                                .limit = limit,
                                .admit = admit,
                                .dismiss = dismiss,
                                .admit_arg = &door};
}

static void a_claim_that_fails_dismisses_all(void **state)
{
    (void)state;
    fixture_fill(&f, 0, 5);
    struct store_claim claim = claim_with_door(10, 0);
    faulty_arm(0, SQLITE_IOERR_WRITE, true);
    assert_int_equal(fixture_run(&f, &claim.unit), STORE_FAILED);
    assert_null(claim.jobs);
    assert_true(door.admitted > 0);
    assert_int_equal(door.admitted, door.dismissed);
}

static void a_damaged_row_is_dismissed(void **state)
{
    (void)state;
    fixture_fill(&f, 0, 2);
    store_close(&f.store);
    exec("UPDATE jobs SET failures = 7 WHERE row = 1");
    fixture_open(&f);
    struct store_claim claim = claim_with_door(10, 0);
    assert_int_equal(fixture_run(&f, &claim.unit), STORE_OK);
    assert_int_equal(claim.count, 1);
    assert_int_equal(door.admitted, 2);
    assert_int_equal(door.dismissed, 1);
    fixture_free_jobs(claim.jobs, claim.count);
}

static void a_claim_moves_only_so_many(void **state)
{
    (void)state;
    fixture_fill(&f, 0, STORE_CLAIM_MOVED);
    fixture_fill(&f, STORE_CLAIM_MOVED, 10);
    struct store_claim claim = claim_with_door(10, 60000);
    assert_int_equal(fixture_run(&f, &claim.unit), STORE_OK);
    assert_int_equal(claim.count, 0);
    assert_int_equal(claim.moved, STORE_CLAIM_MOVED);
    assert_int_equal(claim.next_due_in_ms[PRIORITY_NORMAL], 0);
    struct store_claim rest = claim_with_door(10, 60000);
    assert_int_equal(fixture_run(&f, &rest.unit), STORE_OK);
    assert_int_equal(rest.moved, 10);
    assert_in_range(rest.next_due_in_ms[PRIORITY_NORMAL], 1, 60000);
    struct store_claim none = claim_with_door(10, 60000);
    assert_int_equal(fixture_run(&f, &none.unit), STORE_OK);
    assert_int_equal(none.moved, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    faulty_register();
    log_open("/dev/null");
    const struct CMUnitTest tests[] = {
        CASE(attempts_are_told_at_the_next_start),
        CASE(what_tells_of_no_number_leaves_no_trace),
        CASE(old_ones_go),
        CASE(many_old_ones_go),
        CASE(another_boot_goes_by_the_stores_time),
        CASE(what_was_changed_on_disk_is_left_out),
        CASE(a_salvage_brings_them_over),
        CASE(a_claim_that_fails_dismisses_all),
        CASE(a_damaged_row_is_dismissed),
        CASE(a_claim_moves_only_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
