/* links: dispatcher_parts proto expr core */
#include "tests/unit/store_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "dispatcher/store_wal.h"

enum { JOBS = 20, SENT = 6, LEASED = 4, FRAME = 4096 + 24 };

/* A file in memory, to be hurt and put back. */
struct image {
    char path[128];
    unsigned char *data;
    size_t size;
};

static void image_take(struct image *im, const char *path, const char *suffix)
{
    snprintf(im->path, sizeof im->path, "%s%s", path, suffix);
    im->data = NULL;
    im->size = 0;
    FILE *file = fopen(im->path, "rb");
    if (!file)
        return;
    fseek(file, 0, SEEK_END);
    im->size = (size_t)ftell(file);
    rewind(file);
    im->data = xmalloc(im->size + 1);
    assert_int_equal(fread(im->data, 1, im->size, file), im->size);
    fclose(file);
}

static void image_put(const struct image *im, size_t size)
{
    if (!im->data) {
        unlink(im->path);
        return;
    }
    FILE *file = fopen(im->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(im->data, 1, size, file), size);
    fclose(file);
}

struct files {
    struct image db, wal, witness;
};

static void files_take(struct files *im, const struct fixture *f)
{
    image_take(&im->db, f->path, "");
    image_take(&im->wal, f->path, "-wal");
    image_take(&im->witness, f->path, "-witness");
}

/* Puts the store back as it was, with nothing else in the directory. */
static void files_put(const struct files *im, const struct fixture *f)
{
    char *command = xasprintf("rm -f %s/*", f->dir);
    assert_int_equal(system(command), 0);
    free(command);
    image_put(&im->db, im->db.size);
    image_put(&im->wal, im->wal.size);
    image_put(&im->witness, im->witness.size);
}

static void files_free(struct files *im)
{
    free(im->db.data);
    free(im->wal.data);
    free(im->witness.data);
}

/* ---- a store with jobs in several states ---- */

static void work(struct fixture *f)
{
    fixture_open(f);
    for (int i = 0; i < JOBS; i += 4)
        fixture_fill(f, i, 4);
    struct store_claim claim = fixture_claim(f, SENT + LEASED);
    for (size_t i = 0; i < SENT; i++) {
        struct store_change c = {.job = claim.jobs[i].id,
                                 .row = claim.jobs[i].row,
                                 .attempt = 1,
                                 .step = STEP_ACCEPTED,
                                 .generation = 1};
        fixture_change(f, &c);
    }
    struct store_intake in = {.unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = 777};
    fixture_run(f, &in.unit);
    struct store_fact fact = {.unit = {.kind = STORE_FACT}, .name = "line:smsapi", .value = "open"};
    fixture_run(f, &fact.unit);
}

/* Killed: the log stays. Closed: everything is in the database. */
static void make_store(struct fixture *f, bool killed)
{
    fixture_set(f, "log_limit", 4 * 1024 * 1024); /* so that nothing is copied meanwhile */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        work(f);
        if (!killed)
            store_close(&f->store);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* What stands in a store that was opened again. */
struct findings {
    size_t there, sent, leased, queued, uncertain, damaged;
    bool was_damaged;
    uint64_t unread;
};

static int number_of(const struct hash_id *id)
{
    for (int n = 0; n < JOBS; n++) {
        struct hash_id other = fixture_id("job", n);
        if (memcmp(&other, id, sizeof other) == 0)
            return n;
    }
    return -1;
}

static void expect_content(const struct store_job *j)
{
    int n = number_of(&j->id);
    assert_true(n >= 0);
    char text[32], number[16];
    snprintf(text, sizeof text, "New message %d", n);
    snprintf(number, sizeof number, "+485005%05d", n);
    assert_string_equal(j->text, text);
    assert_string_equal(j->number, number);
    assert_string_equal(j->provider, "smsapi");
}

static void count_job(const struct store_job *j, struct findings *out)
{
    out->damaged += j->state == JOB_DAMAGED;
    if (j->state == JOB_DAMAGED)
        return;
    if (number_of(&j->id) < 0)
        return; /* an ended row whose id was hurt; nobody sends it */
    out->there++;
    out->sent += j->state == JOB_SENT;
    out->leased += j->state == JOB_LEASED;
    out->queued += j->state == JOB_QUEUED;
    out->uncertain += j->state == JOB_UNCERTAIN;
}

static void look(struct fixture *f, struct findings *out)
{
    memset(out, 0, sizeof *out);
    struct store_list list = {.unit = {.kind = STORE_LIST}};
    assert_int_equal(fixture_run(f, &list.unit), STORE_OK);
    for (size_t i = 0; i < list.count; i++)
        count_job(&list.jobs[i], out);
    struct store_health h;
    store_health(f->store, &h);
    out->was_damaged = h.was_damaged;
    out->unread = h.unread_transactions;
    fixture_free_jobs(list.jobs, list.count);
}

/* Whatever would be sent has the words and the number that were committed. */
static size_t send_everything(struct fixture *f, bool pinned)
{
    size_t count, leased;
    struct store_job *jobs = store_take_leased(f->store, &leased);
    for (size_t i = 0; i < leased; i++)
        expect_content(&jobs[i]);
    fixture_free_jobs(jobs, leased);
    struct store_claim claim = fixture_claim(f, JOBS);
    count = claim.count;
    for (size_t i = 0; i < claim.count; i++) {
        expect_content(&claim.jobs[i]);
        assert_int_equal(claim.jobs[i].pinned, pinned);
    }
    fixture_free_jobs(claim.jobs, claim.count);
    return leased + count;
}

static size_t files_with(const struct fixture *f, const char *part)
{
    DIR *dir = opendir(f->dir);
    size_t found = 0;
    for (struct dirent *e; (e = readdir(dir));)
        found += strstr(e->d_name, part) != NULL;
    closedir(dir);
    return found;
}

/* ---- the scan of the log ---- */

static void every_cut_of_a_log_is_told(void **state)
{
    (void)state;
    struct fixture f;
    struct files im;
    fixture_init(&f);
    make_store(&f, true);
    files_take(&im, &f);
    struct store_wal whole, cut;
    assert_int_equal(store_wal_scan(im.wal.path, &whole), 0);
    assert_true(whole.header_good && whole.frames > 20 && whole.transactions > 10);
    assert_int_equal(whole.loose_frames, 0);
    assert_int_equal(whole.stray_frames, 0);
    int64_t last = -1;
    for (size_t size = 0; size <= 24 * FRAME; size++) {
        if (size > 2 * FRAME && size % FRAME > 200)
            continue;
        image_put(&im.wal, size);
        assert_int_equal(store_wal_scan(im.wal.path, &cut), 0);
        assert_int_equal(cut.exists, size > 0);
        assert_int_equal(cut.header_good, size >= WAL_HEADER_BYTES);
        assert_true(cut.frames * FRAME + WAL_HEADER_BYTES <= (int64_t)size || cut.frames == 0);
        assert_true(cut.frames >= last);
        assert_int_equal(cut.stray_frames, 0);
        last = cut.frames;
    }
    assert_true(last > 0);
    files_free(&im);
    fixture_end(&f);
}

static void a_flip_in_a_log_is_damage(void **state)
{
    (void)state;
    struct fixture f;
    struct files im;
    struct store_wal wal, whole;
    fixture_init(&f);
    make_store(&f, true);
    files_take(&im, &f);
    store_wal_scan(im.wal.path, &whole);
    /* In every frame that a later transaction follows, wherever the byte is. */
    for (int64_t frame = 0; frame < whole.frames - 8; frame++) {
        static const size_t offsets[] = {0, 5, 8, 17, 23, 24, 1000, FRAME - 1};
        for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
            size_t at = WAL_HEADER_BYTES + (size_t)frame * FRAME + offsets[i];
            im.wal.data[at] ^= 0x10;
            image_put(&im.wal, im.wal.size);
            im.wal.data[at] ^= 0x10;
            assert_int_equal(store_wal_scan(im.wal.path, &wal), 0);
            assert_true(wal.frames <= frame);
            assert_true(wal.stray_frames > 0);
            assert_true(wal.stray_transactions > 0);
        }
    }
    files_free(&im);
    fixture_end(&f);
}

/* ---- opening what was hurt ---- */

static void a_killed_store_is_whole(void **state)
{
    (void)state;
    struct fixture f;
    struct findings found;
    fixture_init(&f);
    make_store(&f, true);
    fixture_open(&f);
    look(&f, &found);
    assert_false(found.was_damaged);
    assert_int_equal(found.there, JOBS);
    assert_int_equal(found.sent, SENT);
    assert_int_equal(found.leased, LEASED);
    assert_string_equal(store_fact(f.store, "line:smsapi"), "open");
    assert_int_equal(send_everything(&f, false), JOBS - SENT);
    fixture_end(&f);
}

static void a_cut_log_is_damage(void **state)
{
    (void)state;
    struct fixture f;
    struct files im;
    fixture_init(&f);
    make_store(&f, true);
    files_take(&im, &f);
    size_t step = im.wal.size / 150;
    for (size_t size = 0; size < im.wal.size; size += step) {
        struct findings found;
        files_put(&im, &f);
        image_put(&im.wal, size);
        fixture_open(&f);
        look(&f, &found);
        assert_true(found.was_damaged);
        assert_true(found.unread > 0);
        assert_int_equal(found.damaged, 0);
        assert_true(files_with(&f, ".damaged-") > 0);
        send_everything(&f, true);
        store_close(&f.store);
        /* Said once; what was made of it is a sound store. */
        fixture_open(&f);
        struct findings again;
        look(&f, &again);
        assert_false(again.was_damaged);
        assert_int_equal(again.there, found.there);
        store_close(&f.store);
    }
    files_free(&im);
    fixture_end(&f);
}

static void flips_in_the_log_cost_at_most_a_page(void **state)
{
    (void)state;
    struct fixture f;
    struct files im;
    fixture_init(&f);
    make_store(&f, true);
    files_take(&im, &f);
    size_t step = im.wal.size / 200;
    for (size_t at = 0; at < im.wal.size; at += step) {
        struct findings found;
        im.wal.data[at] ^= 0x04;
        files_put(&im, &f);
        im.wal.data[at] ^= 0x04;
        fixture_open(&f);
        look(&f, &found);
        assert_true(found.was_damaged);
        /* Every row was written more than once, or stands in a page that can be read by itself. */
        assert_int_equal(found.there + found.damaged, JOBS);
        size_t sendable = send_everything(&f, true);
        assert_true(sendable <= JOBS - found.sent);
        store_close(&f.store);
    }
    files_free(&im);
    fixture_end(&f);
}

static void flips_in_the_database_never_ring_a_stranger(void **state)
{
    (void)state;
    struct fixture f;
    struct files im;
    size_t noticed = 0;
    fixture_init(&f);
    make_store(&f, false);
    files_take(&im, &f);
    assert_int_equal(im.wal.size, 0);
    for (size_t at = 0; at < im.db.size; at += at < 4096 ? 19 : 307) {
        struct findings found;
        im.db.data[at] ^= (unsigned char)(1u << at % 8);
        files_put(&im, &f);
        im.db.data[at] ^= (unsigned char)(1u << at % 8);
        fixture_open(&f);
        look(&f, &found);
        noticed += found.was_damaged || found.damaged > 0;
        send_everything(&f, found.was_damaged);
        /* Claiming found the rest. */
        look(&f, &found);
        assert_true(found.there + found.damaged >= JOBS - 1 || found.was_damaged);
        store_close(&f.store);
    }
    assert_true(noticed > 50);
    files_free(&im);
    fixture_end(&f);
}

static void a_cut_database_is_damage(void **state)
{
    (void)state;
    struct fixture f;
    struct files im;
    fixture_init(&f);
    make_store(&f, false);
    files_take(&im, &f);
    for (size_t size = 0; size < im.db.size; size += size < 4096 ? 511 : 2048) {
        struct findings found;
        files_put(&im, &f);
        image_put(&im.db, size);
        fixture_open(&f);
        look(&f, &found);
        /* The second half of a page that holds nothing is no loss. */
        assert_true(found.was_damaged || (size > im.db.size - 4096 && found.there == JOBS));
        send_everything(&f, found.was_damaged);
        store_close(&f.store);
    }
    files_free(&im);
    fixture_end(&f);
}

/* A digest of three events that is due, and a rate that is used up. */
static void collect(struct fixture *f)
{
    fixture_open(f);
    for (int64_t n = 0; n < 3; n++) {
        struct store_job j = fixture_job(f, n);
        j.noise = store_noise_new(0);
        j.noise->merge = (struct store_merge){WHY_DIGEST, fixture_id("digest", 1), 1};
        assert_int_equal(fixture_insert(f, &j, n), STORE_OK);
        store_job_free(&j);
    }
    for (int64_t n = 10; n < 40; n++) {
        struct store_job j = fixture_job(f, n);
        j.noise = store_noise_new(1);
        j.noise->gates[0] = (struct store_gate){
            .kind = GATE_RATE, .why = WHY_CAPS, .key = fixture_id("rate", 1), .limit = 2, .per_ms = 3600000};
        assert_int_equal(fixture_insert(f, &j, n), STORE_OK);
        store_job_free(&j);
    }
}

static void what_noise_control_holds_survives_damage(void **state)
{
    (void)state;
    struct fixture f;
    struct files im;
    fixture_init(&f);
    fixture_set(&f, "log_limit", 64 * 1024 * 1024); /* so that nothing is copied meanwhile */
    pid_t child = fork();
    if (child == 0) {
        collect(&f);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    files_take(&im, &f);
    files_put(&im, &f);
    image_put(&im.wal, im.wal.size / 4 * 3);
    fixture_open(&f);
    struct store_health h;
    store_health(f.store, &h);
    assert_true(h.was_damaged);
    struct store_digests due = {.unit = {.kind = STORE_DIGESTS}};
    assert_int_equal(fixture_run(&f, &due.unit), STORE_OK);
    assert_int_equal(due.count, 1);
    assert_int_equal(due.list[0].count, 3);
    store_digests_clear(&due);
    struct store_job j = fixture_job(&f, 50);
    j.noise = store_noise_new(1);
    j.noise->gates[0] = (struct store_gate){
        .kind = GATE_RATE, .why = WHY_CAPS, .key = fixture_id("rate", 1), .limit = 2, .per_ms = 3600000};
    assert_int_equal(fixture_insert(&f, &j, 50), STORE_OK);
    assert_int_equal(j.noise->why, WHY_CAPS);
    store_job_free(&j);
    size_t count;
    const struct store_tally *t = store_tallies(f.store, &count);
    assert_true(count >= 2 && t[0].jobs > 0);
    files_free(&im);
    fixture_end(&f);
}

/* Killed at any point of it, the next opening begins again or ends it; nothing is taken twice or lost. */
static void a_salvage_that_is_killed_is_done_by_the_next(void **state)
{
    (void)state;
    struct fixture f;
    struct files im;
    fixture_init(&f);
    make_store(&f, true);
    files_take(&im, &f);
    for (unsigned round = 0; round < 40; round++) {
        struct findings found;
        files_put(&im, &f);
        image_put(&im.wal, im.wal.size - FRAME);
        for (unsigned i = 0; i < 3; i++) {
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                fixture_try(&f, NULL);
                pause();
            }
            usleep(500 + round * 150 + i * 1000);
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
        }
        fixture_open(&f);
        look(&f, &found);
        /* The last transaction, a fact, is what was cut off. */
        assert_int_equal(found.there, JOBS);
        assert_int_equal(found.sent, SENT);
        assert_int_equal(found.leased, LEASED);
        assert_int_equal(files_with(&f, "-salvage"), 0);
        assert_int_equal(send_everything(&f, true), JOBS - SENT);
        store_close(&f.store);
    }
    files_free(&im);
    fixture_end(&f);
}

static void a_lost_database_keeps_its_identity(void **state)
{
    (void)state;
    struct fixture f;
    struct findings found;
    fixture_init(&f);
    fixture_open(&f);
    struct hash_id identity = *store_identity(f.store);
    fixture_fill(&f, 0, JOBS);
    store_close(&f.store);
    unlink(f.path);
    fixture_open(&f);
    look(&f, &found);
    assert_true(found.was_damaged);
    assert_int_equal(found.there, 0);
    assert_memory_equal(&identity, store_identity(f.store), sizeof identity);
    fixture_end(&f);
}

static void an_older_copy_is_not_taken_for_the_store(void **state)
{
    (void)state;
    struct fixture f;
    struct files old;
    struct findings found;
    fixture_init(&f);
    make_store(&f, false);
    files_take(&old, &f);
    fixture_open(&f);
    assert_int_equal(send_everything(&f, false), JOBS - SENT);
    store_close(&f.store);
    image_put(&old.db, old.db.size);
    fixture_open(&f);
    look(&f, &found);
    assert_true(found.was_damaged);
    /* What looks queued was sent since: it is asked under its old idx. */
    assert_int_equal(send_everything(&f, true), JOBS - SENT);
    files_free(&old);
    fixture_end(&f);
}

static void events_from_before_the_damage_ask_as_unknown(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    store_close(&f.store);
    unlink(f.path);
    fixture_open(&f);
    struct store_job old = fixture_job(&f, 1), fresh = fixture_job(&f, 2);
    old.state = JOB_LEASED;
    old.attempt = 1;
    old.event_ms -= 5000;
    fresh.event_ms += 3600000;
    fixture_insert(&f, &old, 1);
    fixture_insert(&f, &fresh, 2);
    assert_true(old.pinned);
    assert_int_equal(old.first_attempt_ms, old.event_ms);
    assert_false(fresh.pinned);
    store_job_free(&old);
    store_job_free(&fresh);
    fixture_end(&f);
}

/* What catch-up brings again, and what is only tried, counts as nothing more. */
static void a_job_that_is_there_is_counted_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    store_close(&f.store);
    unlink(f.path);
    fixture_open(&f);
    for (int64_t n = 0; n < 4; n++) {
        struct store_job j = fixture_job(&f, 1);
        j.event_ms -= 5000;
        j.noise = store_noise_new(0);
        struct store_decision d = {.key = fixture_id("event", n),
                                   .remember = true,
                                   .type = "t",
                                   .try_only = n == 2,
                                   .jobs = &j,
                                   .jobs_count = 1};
        struct store_intake in = {
            .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
        assert_int_equal(fixture_run(&f, &in.unit), STORE_OK);
        assert_int_equal(j.row > 0, n == 0);
        store_job_free(&j);
    }
    for (int round = 0; round < 2; round++) {
        size_t count;
        const struct store_tally *t = store_tallies(f.store, &count);
        assert_int_equal(count, 1);
        assert_int_equal(t[0].jobs, 1);
        fixture_reopen(&f);
    }
    fixture_end(&f);
}

/* ---- damage that is met at work ---- */

static void overwrite_pages(const struct fixture *f, int64_t from, int64_t to)
{
    static const unsigned char rubbish[4096] = {0x77, 0x01, 0x66};
    int fd = open(f->path, O_WRONLY);
    assert_true(fd >= 0);
    for (int64_t page = from; page < to; page++)
        assert_int_equal(pwrite(fd, rubbish, sizeof rubbish, page * 4096), sizeof rubbish);
    close(fd);
}

static void damage_at_work_is_repaired_at_work(void **state)
{
    (void)state;
    enum { MANY = 9000 };
    struct fixture f;
    struct store_health h;
    fixture_init(&f);
    fixture_set(&f, "log_limit", 256 * 1024);
    fixture_open(&f);
    for (int n = 0; n < MANY; n += 500)
        fixture_fill(&f, n, 500);
    fixture_reopen(&f);
    overwrite_pages(&f, 20, 40);
    /* More than fits into memory has to be read. */
    struct store_list list = {.unit = {.kind = STORE_LIST}};
    assert_int_equal(fixture_run(&f, &list.unit), STORE_FAILED);
    do
        store_health(f.store, &h);
    while (!h.was_damaged || !h.accepting);
    assert_int_equal(fixture_fill(&f, MANY, 1), STORE_OK);
    size_t claimed = 0;
    for (struct store_claim claim = fixture_claim(&f, 1000); claim.count; claim = fixture_claim(&f, 1000)) {
        claimed += claim.count;
        fixture_free_jobs(claim.jobs, claim.count);
    }
    assert_in_range(claimed, MANY - 20 * 20, MANY);
    store_health(f.store, &h);
    assert_int_equal(h.jobs[JOB_LEASED], claimed);
    fixture_reopen(&f);
    store_health(f.store, &h);
    assert_false(h.was_damaged);
    assert_int_equal(h.jobs[JOB_LEASED], claimed);
    fixture_end(&f);
}

/* ---- rows of a database that is otherwise sound ---- */

static void set_column(const struct fixture *f, const char *assignment)
{
    sqlite3 *sql;
    char *statement = xasprintf("UPDATE jobs SET %s WHERE row = 1", assignment);
    assert_int_equal(sqlite3_open(f->path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, statement, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
    free(statement);
}

static void a_changed_row_is_set_aside(void **state)
{
    (void)state;
    static const char *const changes[] = {"number = '+48500500999'",
                                          "text = 'x'",
                                          "item = NULL",
                                          "from_name = 'Other'",
                                          "generation = 2",
                                          "pinned = 1",
                                          "attempt = 9",
                                          "expires_ms = 0",
                                          "priority = 0",
                                          "sum = sum + 1",
                                          "rule = 'other'",
                                          "container = 'c'",
                                          "first_attempt_ms = 5",
                                          "due_ms = 1"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (int leased = 0; leased < 2; leased++) {
            struct fixture f;
            fixture_init(&f);
            fixture_open(&f);
            fixture_fill(&f, 0, 2);
            if (leased) {
                struct store_claim claim = fixture_claim(&f, 2);
                fixture_free_jobs(claim.jobs, claim.count);
            }
            store_close(&f.store);
            set_column(&f, changes[i]);
            fixture_open(&f);
            struct findings found;
            assert_int_equal(send_everything(&f, false), 1);
            look(&f, &found);
            assert_int_equal(found.damaged, 1);
            struct store_health h;
            store_health(f.store, &h);
            assert_int_equal(h.jobs[JOB_DAMAGED], 1);
            fixture_end(&f);
        }
}

int main(void)
{
    log_open("/dev/null");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_of_a_log_is_told),
        cmocka_unit_test(a_flip_in_a_log_is_damage),
        cmocka_unit_test(a_killed_store_is_whole),
        cmocka_unit_test(a_cut_log_is_damage),
        cmocka_unit_test(flips_in_the_log_cost_at_most_a_page),
        cmocka_unit_test(flips_in_the_database_never_ring_a_stranger),
        cmocka_unit_test(a_cut_database_is_damage),
        cmocka_unit_test(what_noise_control_holds_survives_damage),
        cmocka_unit_test(a_salvage_that_is_killed_is_done_by_the_next),
        cmocka_unit_test(a_lost_database_keeps_its_identity),
        cmocka_unit_test(an_older_copy_is_not_taken_for_the_store),
        cmocka_unit_test(events_from_before_the_damage_ask_as_unknown),
        cmocka_unit_test(a_job_that_is_there_is_counted_once),
        cmocka_unit_test(damage_at_work_is_repaired_at_work),
        cmocka_unit_test(a_changed_row_is_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
