/* links: dispatcher_parts proto expr core */
#include "tests/unit/store_fixture.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "dispatcher/store_parts.h"

static void exec(const struct fixture *f, const char *statement)
{
    sqlite3 *sql;
    assert_int_equal(sqlite3_open(f->path, &sql), SQLITE_OK);
    if (sqlite3_exec(sql, statement, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", statement, sqlite3_errmsg(sql));
    sqlite3_close(sql);
}

static void expect_fault(struct fixture *f, const char *part)
{
    char *why = NULL;
    assert_null(fixture_try(f, &why));
    if (!strstr(why, part))
        fail_msg("\"%s\" does not say \"%s\"", why, part);
    free(why);
}

static void set_store(struct fixture *f, const char *text)
{
    struct slice_setting *v =
        (struct slice_setting *)slice_get(slice_find(f->slice, "dispatcher", NULL), "store");
    free(v->text);
    v->text = xstrdup(text);
}

static void an_empty_file_becomes_a_store(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    exec(&f, "PRAGMA user_version = 0");
    fixture_open(&f);
    assert_int_equal(fixture_fill(&f, 1, 1), STORE_OK);
    struct stat st;
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 0777 & ~0644u, 0);
    fixture_end(&f);
}

static void a_new_store_is_for_its_owner_only(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-lock", "-witness"};
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_fill(&f, 1, 1);
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        struct stat st;
        snprintf(path, sizeof path, "%s%s", f.path, suffixes[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    fixture_end(&f);
}

static void a_newer_schema_is_refused_and_left_alone(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_fill(&f, 1, 1);
    store_close(&f.store);
    exec(&f, "PRAGMA user_version = 99");
    char witness[128];
    snprintf(witness, sizeof witness, "%s-witness", f.path);
    unlink(witness);
    expect_fault(&f, "newer bridgebell");
    char back[64];
    snprintf(back, sizeof back, "PRAGMA user_version = %d", (int)STORE_SCHEMA_VERSION);
    exec(&f, back);
    fixture_open(&f);
    assert_int_equal(fixture_state(&f, 1), JOB_QUEUED);
    struct store_health h;
    store_health(f.store, &h);
    assert_false(h.was_damaged);
    fixture_end(&f);
}

/* Jobs of version 1 have no price; they are sent as ever. */
static void a_store_of_version_1_is_brought_up(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_fill(&f, 1, 3);
    store_close(&f.store);
    exec(&f, "ALTER TABLE jobs DROP COLUMN price_micro; DROP TABLE counters; DROP TABLE digests;"
             "DROP TABLE parents; DROP TABLE tallies; DROP TABLE attempts; PRAGMA user_version = 1");
    char witness[128];
    snprintf(witness, sizeof witness, "%s-witness", f.path);
    unlink(witness);
    fixture_open(&f);
    struct store_health h;
    store_health(f.store, &h);
    assert_false(h.was_damaged);
    struct hash_id id = fixture_id("job", 1);
    struct store_job row = fixture_look(&f, &id);
    assert_int_equal(row.price_micro, -1);
    store_job_free(&row);
    struct store_claim claim = fixture_claim(&f, 10);
    assert_int_equal(claim.count, 3);
    fixture_free_jobs(claim.jobs, claim.count);
    fixture_end(&f);
}

/* The step from one version to the next, tried on the empty file that is version 0. */
static void a_migration_happens_whole_or_not_at_all(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    /* In the way of the last statement of the step. */
    exec(&f, "CREATE TABLE other(a); CREATE INDEX jobs_standing ON other(a)");
    expect_fault(&f, "not a store of bridgebell");
    sqlite3 *sql;
    sqlite3_stmt *st;
    sqlite3_open(f.path, &sql);
    sqlite3_prepare_v2(sql, "SELECT count(*) FROM sqlite_schema", -1, &st, NULL);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(st, 0), 2);
    sqlite3_finalize(st);
    sqlite3_close(sql);
    exec(&f, "DROP TABLE other");
    fixture_open(&f);
    assert_int_equal(fixture_fill(&f, 1, 1), STORE_OK);
    fixture_end(&f);
}

static void a_file_of_another_kind_is_not_touched(void **state)
{
    (void)state;
    static const char words[] = "Dear diary, this is not a database at all; please leave it as it is.\n";
    struct fixture f;
    fixture_init(&f);
    FILE *file = fopen(f.path, "w");
    for (int i = 0; i < 100; i++)
        fputs(words, file);
    fclose(file);
    expect_fault(&f, "not a store of bridgebell");
    struct stat st;
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_size, 100 * (off_t)strlen(words));
    fixture_end(&f);
}

static void the_directory_is_made(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    snprintf(f.path, sizeof f.path, "%s/new/queue.db", f.dir);
    char text[128];
    snprintf(text, sizeof text, "sqlite:%s", f.path);
    set_store(&f, text);
    fixture_open(&f);
    assert_int_equal(fixture_fill(&f, 1, 1), STORE_OK);
    store_close(&f.store);
    snprintf(text, sizeof text, "sqlite:%s/two/levels/queue.db", f.dir);
    set_store(&f, text);
    expect_fault(&f, "cannot be made");
    fixture_end(&f);
}

static void other_stores_are_not_known(void **state)
{
    (void)state;
    static const char *const wrong[] = {"postgres://host/db", "sqlite:", "sqlite:/tmp/", "/tmp/x"};
    struct fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < 4; i++) {
        set_store(&f, wrong[i]);
        expect_fault(&f, "is not \"sqlite:PATH\"");
    }
    fixture_end(&f);
}

static void a_leaving_predecessor_is_waited_for(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct fixture next = f;
    fixture_set(&next, "lock_wait", 50);
    expect_fault(&next, "another process");
    store_close(&f.store);
    fixture_open(&next);
    f = next;
    fixture_end(&f);
}

/* ---- what time does ---- */

static struct store_options options_of(struct fixture *f)
{
    return (struct store_options){
        .path = f->path, .retention_ms = 30 * 86400000LL, .log_limit_bytes = 1 << 20};
}

static void add_job(struct store_db *db, struct fixture *f, int64_t n, enum job_state state, int64_t age_ms)
{
    struct store_job j = fixture_job(f, n);
    j.state = state;
    j.created_ms = db->now_ms - age_ms;
    j.finished_ms = state == JOB_QUEUED || state == JOB_LEASED ? 0 : db->now_ms - age_ms;
    j.expires_ms = 0;
    assert_true(store_row_add(db, &j));
    sqlite3_stmt *st = db_stmt(db, SQL_EVENT_ADD);
    struct hash_id key = fixture_id("event", n);
    db_bind_id(st, 1, &key);
    sqlite3_bind_int64(st, 5, db->now_ms - age_ms);
    assert_true(db_run(db, st));
    store_job_free(&j);
}

static int64_t rows_in(struct store_db *db, const char *table)
{
    char text[64];
    sqlite3_stmt *st;
    snprintf(text, sizeof text, "SELECT count(*) FROM %s", table);
    assert_int_equal(sqlite3_prepare_v2(db->sql, text, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t rows = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rows;
}

static void open_db(struct fixture *f, const struct store_options *options, struct store_clock *clock,
                    struct store_db *db)
{
    struct faults faults = {0};
    fixture_init(f);
    assert_int_equal(store_make_file(options->path), 0);
    assert_int_equal(store_db_open(db, options, clock, &faults), 0);
}

static void old_rows_go_and_uncertain_ones_stay(void **state)
{
    (void)state;
    enum { DAY = 86400000 };
    struct fixture f;
    struct store_clock clock = STORE_CLOCK;
    struct store_db db = {0};
    struct store_options options = options_of(&f);
    open_db(&f, &options, &clock, &db);
    options.retention_ms = DAY;
    db_begin(&db);
    for (int n = 0; n < 1000; n++)
        add_job(&db, &f, n, n % 100 == 7 ? JOB_UNCERTAIN : JOB_SENT, (int64_t)20 * DAY);
    for (int n = 1000; n < 1300; n++)
        add_job(&db, &f, n, JOB_DEAD, (int64_t)2 * DAY);
    add_job(&db, &f, 1300, JOB_QUEUED, (int64_t)2 * DAY);
    add_job(&db, &f, 1301, JOB_SENT, 1000);
    assert_int_equal(db_commit(&db), SQLITE_OK);
    struct store_purge purge = {.cursor = -1};
    for (int64_t ms = 0; ms < 1000; ms += 20)
        assert_int_equal(store_purge_step(&purge, &db, ms), SQLITE_OK);
    assert_int_equal(rows_in(&db, "jobs"), 12);
    assert_int_equal(db.counts[JOB_UNCERTAIN], 10);
    assert_int_equal(db.counts[JOB_SENT], 1);
    assert_int_equal(db.counts[JOB_DEAD], 0);
    assert_int_equal(db.counts[JOB_QUEUED], 1);
    /* keys outlive their jobs by far */
    assert_int_equal(rows_in(&db, "events"), 302);
    store_db_close(&db);
    fixture_end(&f);
}

/* However many: a round goes through all, and another begins only after its time. */
static void counters_of_no_use_go_in_one_round(void **state)
{
    (void)state;
    enum { GONE = 5000, LIVE = 300 };
    struct fixture f;
    struct store_clock clock = STORE_CLOCK;
    struct store_db db = {0};
    struct store_options options = options_of(&f);
    open_db(&f, &options, &clock, &db);
    db_begin(&db);
    for (int n = 0; n < GONE + LIVE; n++) {
        struct hash_id key = fixture_id("counter", n);
        counter_sum_add(counter_get(&db, &key), 1, db.now_ms + (n < GONE ? -1 : 3600000));
    }
    assert_int_equal(db_commit(&db), SQLITE_OK);
    struct store_purge purge = {.cursor = -1};
    int64_t ms = 0, steps = 0;
    do {
        ms = purge.next_ms;
        assert_int_equal(store_purge_step(&purge, &db, ms), SQLITE_OK);
        assert_true(++steps < GONE);
    } while (purge.next_ms - ms < 1000);
    assert_int_equal(rows_in(&db, "counters"), LIVE);
    store_db_close(&db);
    fixture_end(&f);
}

static void queued_jobs_expire_unclaimed(void **state)
{
    (void)state;
    struct fixture f;
    struct store_clock clock = STORE_CLOCK;
    struct store_db db = {0};
    struct store_options options = options_of(&f);
    open_db(&f, &options, &clock, &db);
    db_begin(&db);
    for (int n = 0; n < 2600; n++) {
        struct store_job j = fixture_job(&f, n);
        j.due_ms = db.now_ms + 3600000;
        j.expires_ms = n < 2500 ? db.now_ms - 1 : db.now_ms + 60000;
        j.pinned = n < 10;
        assert_true(store_row_add(&db, &j));
        store_job_free(&j);
    }
    assert_int_equal(db_commit(&db), SQLITE_OK);
    struct store_sweep sweep = {0};
    for (int64_t ms = 0; ms < 20000; ms += 250)
        assert_int_equal(store_sweep_step(&sweep, &db, ms), SQLITE_OK);
    assert_int_equal(db.counts[JOB_EXPIRED], 2490);
    assert_int_equal(db.counts[JOB_UNCERTAIN], 10);
    assert_int_equal(db.counts[JOB_QUEUED], 100);
    store_db_close(&db);
    fixture_end(&f);
}

int main(void)
{
    log_open("/dev/null");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_becomes_a_store),
        cmocka_unit_test(a_new_store_is_for_its_owner_only),
        cmocka_unit_test(a_newer_schema_is_refused_and_left_alone),
        cmocka_unit_test(a_store_of_version_1_is_brought_up),
        cmocka_unit_test(a_migration_happens_whole_or_not_at_all),
        cmocka_unit_test(a_file_of_another_kind_is_not_touched),
        cmocka_unit_test(the_directory_is_made),
        cmocka_unit_test(other_stores_are_not_known),
        cmocka_unit_test(a_leaving_predecessor_is_waited_for),
        cmocka_unit_test(old_rows_go_and_uncertain_ones_stay),
        cmocka_unit_test(counters_of_no_use_go_in_one_round),
        cmocka_unit_test(queued_jobs_expire_unclaimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
