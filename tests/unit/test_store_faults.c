/* links: dispatcher_parts proto expr core */
#include "tests/unit/store_fixture.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/faulty_vfs.h"

static uint64_t count_of(struct fixture *f, enum job_state state)
{
    struct store_health h;
    store_health(f->store, &h);
    return h.jobs[state];
}

static bool accepting(struct fixture *f)
{
    struct store_health h;
    store_health(f->store, &h);
    return h.accepting;
}

static void pass_loop(int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_base_loopexit(loop_base(), &tv);
    event_base_loop(loop_base(), EVLOOP_NO_EXIT_ON_EMPTY);
}

/* Waits for intake to be open or closed; a limit only for the case that it never comes. */
static void wait_accepting(struct fixture *f, bool wanted)
{
    for (int i = 0; i < 3000 && accepting(f) != wanted; i++)
        pass_loop(10);
    assert_int_equal(accepting(f), wanted);
}

static bool exists(const struct fixture *f, const char *suffix)
{
    char path[128];
    snprintf(path, sizeof path, "%s%s", f->path, suffix);
    return access(path, F_OK) == 0;
}

static size_t listed(struct fixture *f, enum job_state state)
{
    struct store_list list = {.unit = {.kind = STORE_LIST}, .filter = {.states = 1u << state}};
    assert_int_equal(fixture_run(f, &list.unit), STORE_OK);
    fixture_free_jobs(list.jobs, list.count);
    return list.count;
}

static struct store_change accepted(const struct store_job *j)
{
    return (struct store_change){
        .job = j->id, .row = j->row, .attempt = j->attempt, .step = STEP_ACCEPTED, .generation = 1};
}

/* ---- a full disk ---- */

static int health_calls;

static void on_health(void *arg)
{
    (void)arg;
    health_calls++;
}

static void outcomes_are_kept_when_the_disk_is_full(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    health_calls = 0;
    store_on_health(f.store, on_health, NULL);
    fixture_fill(&f, 0, 20);
    struct store_claim claim = fixture_claim(&f, 5);
    for (int i = 0; i < 1000 && !exists(&f, "-reserve"); i++)
        pass_loop(10);
    /* As a disk that has room for nothing but what the reserve holds. */
    char reserve[128];
    snprintf(reserve, sizeof reserve, "%s-reserve", f.path);
    faulty.only_while = reserve;
    faulty_arm(0, SQLITE_FULL, true);
    assert_int_equal(fixture_fill(&f, 100, 1), STORE_FULL);
    assert_false(accepting(&f));
    assert_false(exists(&f, "-reserve"));
    struct store_change c = accepted(&claim.jobs[0]);
    assert_int_equal(fixture_change(&f, &c), STORE_OK);
    assert_int_equal(fixture_fill(&f, 101, 1), STORE_FULL);
    assert_int_equal(listed(&f, JOB_SENT), 1);
    assert_int_equal(count_of(&f, JOB_QUEUED), 15);
    assert_int_equal(listed(&f, JOB_QUEUED), 15);
    faulty_heal();
    wait_accepting(&f, true);
    assert_true(exists(&f, "-reserve"));
    assert_true(health_calls >= 2);
    assert_int_equal(fixture_fill(&f, 100, 1), STORE_OK);
    fixture_free_jobs(claim.jobs, claim.count);
    fixture_end(&f);
}

static void of_one_transaction_the_outcomes_stay(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_fill(&f, 0, 2);
    struct store_claim claim = fixture_claim(&f, 2);
    for (int i = 0; i < 1000 && !exists(&f, "-reserve"); i++)
        pass_loop(10);
    char reserve[128];
    snprintf(reserve, sizeof reserve, "%s-reserve", f.path);
    faulty.only_while = reserve;
    faulty_arm(0, SQLITE_FULL, true);
    int results[2] = {-1, -1};
    struct store_job job = fixture_job(&f, 50);
    struct store_decision d = {
        .key = fixture_id("event", 50), .remember = true, .jobs = &job, .jobs_count = 1};
    struct store_intake in = {.unit = {.kind = STORE_INTAKE, .done = fixture_done, .arg = &results[0]},
                              .bridge = "main",
                              .mark_ms = 9,
                              .decisions = &d,
                              .count = 1};
    struct store_change c = accepted(&claim.jobs[1]);
    struct store_changes changes = {
        .unit = {.kind = STORE_CHANGES, .done = fixture_done, .arg = &results[1]}, .changes = &c, .count = 1};
    store_submit(f.store, &in.unit);
    store_submit(f.store, &changes.unit);
    while (results[0] < 0 || results[1] < 0)
        event_base_loop(loop_base(), EVLOOP_ONCE);
    assert_int_equal(results[0], STORE_FULL);
    assert_int_equal(results[1], STORE_OK);
    assert_true(c.applied);
    assert_int_equal(store_mark_ms(f.store, "main"), -1);
    faulty_heal();
    fixture_reopen(&f);
    assert_int_equal(listed(&f, JOB_SENT), 1);
    assert_int_equal(store_mark_ms(f.store, "main"), -1);
    fixture_free_jobs(claim.jobs, claim.count);
    store_job_free(&job);
    fixture_end(&f);
}

static void little_space_closes_intake_only(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_fill(&f, 0, 3);
    store_close(&f.store);
    fixture_set(&f, "min_free", INT64_MAX / 2);
    fixture_open(&f);
    wait_accepting(&f, false);
    assert_int_equal(fixture_fill(&f, 10, 1), STORE_FULL);
    struct store_claim claim = fixture_claim(&f, 3);
    assert_int_equal(claim.count, 3);
    struct store_change c = accepted(&claim.jobs[0]);
    assert_int_equal(fixture_change(&f, &c), STORE_OK);
    assert_int_equal(count_of(&f, JOB_SENT), 1);
    fixture_free_jobs(claim.jobs, claim.count);
    fixture_end(&f);
}

/* ---- a disk that fails ---- */

static void a_failed_flush_counts_for_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_fill(&f, 0, 2);
    faulty.only_flushes = true;
    faulty_arm(0, SQLITE_IOERR_FSYNC, true);
    assert_int_equal(fixture_fill(&f, 10, 3), STORE_FAILED);
    assert_false(accepting(&f));
    assert_int_equal(count_of(&f, JOB_QUEUED), 2);
    faulty_heal();
    wait_accepting(&f, true);
    assert_int_equal(listed(&f, JOB_QUEUED), 2);
    assert_int_equal(fixture_fill(&f, 10, 3), STORE_OK);
    fixture_reopen(&f);
    assert_int_equal(listed(&f, JOB_QUEUED), 5);
    assert_int_equal(count_of(&f, JOB_QUEUED), 5);
    fixture_end(&f);
}

/* Submits until it is taken; a disk that fails once is usable again after a while. */
static void fill_stubbornly(struct fixture *f, int64_t n)
{
    for (int tries = 0; tries < 500; tries++) {
        if (fixture_fill(f, n, 1) == STORE_OK)
            return;
        wait_accepting(f, true);
    }
    fail_msg("never taken");
}

static void every_single_failure_is_survived(void **state)
{
    (void)state;
    enum { JOBS = 6 };
    static const int codes[] = {SQLITE_FULL, SQLITE_IOERR_WRITE};
    for (long at = 0; at < 60; at += 4)
        for (size_t i = 0; i < 2; i++) {
            struct fixture f;
            fixture_init(&f);
            fixture_open(&f);
            faulty_arm(at, codes[i], false);
            for (int n = 0; n < JOBS; n++)
                fill_stubbornly(&f, n);
            assert_int_equal(count_of(&f, JOB_QUEUED), JOBS);
            faulty_heal();
            fixture_reopen(&f);
            struct store_health h;
            store_health(f.store, &h);
            assert_false(h.was_damaged);
            assert_int_equal(h.jobs[JOB_QUEUED], JOBS);
            assert_int_equal(listed(&f, JOB_QUEUED), JOBS);
            fixture_end(&f);
        }
}

/* The same for what noise control counts: a unit that is tried again is decided as if it had not been before.
 */
static void run_stubbornly(struct fixture *f, struct store_unit *unit)
{
    for (int tries = 0; tries < 500; tries++) {
        if (fixture_run(f, unit) == STORE_OK)
            return;
        wait_accepting(f, true);
    }
    fail_msg("never taken");
}

static struct store_job noisy(struct fixture *f, int64_t n, const char *key, int64_t limit)
{
    struct store_job j = fixture_job(f, n);
    j.noise = store_noise_new(1);
    j.noise->gates[0] = (struct store_gate){
        .kind = GATE_RATE, .why = WHY_THROTTLE, .key = fixture_id(key, 1), .limit = limit, .per_ms = 3600000};
    return j;
}

static enum store_why decide(struct fixture *f, struct store_job j, int64_t n)
{
    struct store_decision d = {
        .key = fixture_id("event", n), .remember = true, .type = "t", .jobs = &j, .jobs_count = 1};
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
    run_stubbornly(f, &in.unit);
    assert_int_equal(d.known, STORE_NEW);
    enum store_why why = j.noise->why;
    store_job_free(&j);
    return why;
}

static void close_what_is_due(struct fixture *f)
{
    struct store_digests due = {.unit = {.kind = STORE_DIGESTS}};
    run_stubbornly(f, &due.unit);
    assert_int_equal(due.count, 1);
    assert_int_equal(due.list[0].count, 2);
    int64_t count = due.list[0].count;
    struct store_job job = due.list[0].job;
    memset(&due.list[0].job, 0, sizeof job);
    store_digests_clear(&due);
    struct store_job gates = noisy(f, 0, "closing", 1);
    job.noise = gates.noise;
    gates.noise = NULL;
    store_job_free(&gates);
    job.state = JOB_QUEUED;
    struct store_close close = {.unit = {.kind = STORE_CLOSE}, .job = &job, .count = count};
    run_stubbornly(f, &close.unit);
    assert_true(close.applied);
    assert_int_equal(job.noise->why, WHY_NOTHING);
    store_job_free(&job);
}

static int64_t tally(struct fixture *f, enum store_why why)
{
    size_t count;
    const struct store_tally *t = store_tallies(f->store, &count);
    for (size_t i = 0; i < count; i++)
        if (t[i].why == why)
            return t[i].jobs;
    return 0;
}

static void expect_tallies(struct fixture *f)
{
    assert_int_equal(tally(f, WHY_NOTHING), 3);
    assert_int_equal(tally(f, WHY_THROTTLE), 2);
    assert_int_equal(tally(f, WHY_DIGEST), 2);
    assert_int_equal(count_of(f, JOB_QUEUED), 3);
    assert_int_equal(count_of(f, JOB_HELD), 0);
    assert_int_equal(count_of(f, JOB_MERGED), 2);
}

static void with_noise(struct fixture *f)
{
    for (int64_t n = 0; n < 4; n++)
        assert_int_equal(decide(f, noisy(f, n, "rate", 2), n), n < 2 ? WHY_NOTHING : WHY_THROTTLE);
    for (int64_t n = 10; n < 12; n++) {
        struct store_job j = noisy(f, n, "collected", 1);
        j.noise->merge = (struct store_merge){WHY_DIGEST, fixture_id("digest", 1), 1};
        assert_int_equal(decide(f, j, n), WHY_DIGEST);
    }
    close_what_is_due(f);
    expect_tallies(f);
}

static void noise_control_counts_once_whatever_fails(void **state)
{
    (void)state;
    static const int codes[] = {SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_ERROR};
    for (long at = 0; at < 80; at += 3)
        for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
            struct fixture f;
            fixture_init(&f);
            fixture_open(&f);
            faulty_arm(at, codes[i], false);
            with_noise(&f);
            faulty_heal();
            fixture_reopen(&f);
            expect_tallies(&f);
            assert_int_equal(decide(&f, noisy(&f, 20, "rate", 2), 20), WHY_THROTTLE);
            assert_int_equal(decide(&f, noisy(&f, 21, "closing", 1), 21), WHY_THROTTLE);
            assert_int_equal(decide(&f, noisy(&f, 22, "collected", 1), 22), WHY_NOTHING);
            fixture_end(&f);
        }
}

/* ---- power loss and kill: a child works and says what it was told is on disk ---- */

struct note {
    int32_t kind; /* 0: job N was taken; 1: job N was sent */
    int32_t n;
};

static struct fixture *child_fixture;
static unsigned char child_witness[512];
static ssize_t child_witness_len;

/* The witness is not flushed: it may be as old as the opening. */
static void witness_goes_back(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s-witness", child_fixture->path);
    int fd = open(path, O_RDWR);
    if (rand_r(&faulty.seed) % 2 && pwrite(fd, child_witness, (size_t)child_witness_len, 0) < 0)
        abort();
    close(fd);
}

static void keep_witness(struct fixture *f)
{
    char path[128];
    snprintf(path, sizeof path, "%s-witness", f->path);
    int fd = open(path, O_RDONLY);
    child_witness_len = read(fd, child_witness, sizeof child_witness);
    close(fd);
    child_fixture = f;
}

static void tell(int fd, int32_t kind, int32_t n)
{
    struct note note = {kind, n};
    if (write(fd, &note, sizeof note) != sizeof note)
        abort();
}

static void finish_some(struct fixture *f, int fd)
{
    struct store_claim claim = fixture_claim(f, 2);
    for (size_t i = 0; i < claim.count; i++) {
        struct store_change c = accepted(&claim.jobs[i]);
        if (fixture_change(f, &c) == STORE_OK)
            tell(fd, 1, atoi(claim.jobs[i].text + strlen("New message ")));
    }
    fixture_free_jobs(claim.jobs, claim.count);
}

static _Noreturn void child_works(struct fixture *f, int fd, int32_t from, long power_at)
{
    fixture_open(f);
    keep_witness(f);
    if (power_at >= 0) {
        faulty.power = true;
        faulty.before_power = witness_goes_back;
        faulty_arm(power_at, 0, false);
    }
    for (int32_t n = from;; n += 3) {
        if (fixture_fill(f, n, 3) == STORE_OK)
            for (int32_t i = 0; i < 3; i++)
                tell(fd, 0, n + i);
        finish_some(f, fd);
    }
}

enum { NUMBERS_MAX = 200000 };
static unsigned char taken[NUMBERS_MAX], sent[NUMBERS_MAX];

/* Runs one child to its end and notes what it said; the number after the last. With KILL_AFTER notes it is
 * killed, wherever it is then. */
static int32_t run_child(struct fixture *f, int32_t from, long power_at, int kill_after)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(fds[0]);
        child_works(f, fds[1], from, power_at);
    }
    close(fds[1]);
    struct note note;
    int32_t next = from;
    while (read(fds[0], &note, sizeof note) == sizeof note) {
        assert_in_range(note.n, 0, NUMBERS_MAX - 1);
        *(note.kind ? &sent[note.n] : &taken[note.n]) = 1;
        if (note.n >= next)
            next = note.n + 1;
        if (kill_after >= 0 && kill_after-- == 0) {
            nanosleep(&(struct timespec){.tv_nsec = rand_r(&faulty.seed) % 3000000}, NULL);
            kill(child, SIGKILL);
        }
    }
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (power_at >= 0)
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 77);
    return next + 3;
}

/* Everything that was acknowledged is there, with its words, and what was sent is sent. */
static void expect_all(struct fixture *f, int32_t below)
{
    fixture_open(f);
    struct store_health h;
    store_health(f->store, &h);
    assert_false(h.was_damaged);
    static unsigned char here[NUMBERS_MAX];
    memset(here, 0, sizeof here);
    uint64_t counts[JOB_STATES] = {0};
    struct store_list list = {.unit = {.kind = STORE_LIST}};
    do {
        list.filter.before_row = list.count ? list.jobs[list.count - 1].row : 0;
        fixture_free_jobs(list.jobs, list.count);
        list.jobs = NULL;
        list.count = list.size = 0;
        assert_int_equal(fixture_run(f, &list.unit), STORE_OK);
        for (size_t i = 0; i < list.count; i++) {
            int n = atoi(list.jobs[i].text + strlen("New message "));
            struct hash_id id = fixture_id("job", n);
            assert_memory_equal(&id, &list.jobs[i].id, sizeof id);
            assert_int_equal(here[n], 0);
            here[n] = 1;
            counts[list.jobs[i].state]++;
            if (sent[n])
                assert_int_equal(list.jobs[i].state, JOB_SENT);
        }
    } while (list.count == STORE_LIST_MAX);
    fixture_free_jobs(list.jobs, list.count);
    for (int32_t n = 0; n < below; n++)
        if (taken[n] && !here[n])
            fail_msg("job %d was acknowledged and is gone", n);
    for (int i = 0; i < JOB_STATES; i++)
        assert_int_equal(h.jobs[i], counts[i]);
    store_close(&f->store);
}

static void forget_numbers(void)
{
    memset(taken, 0, sizeof taken);
    memset(sent, 0, sizeof sent);
}

static void power_loss_costs_nothing_acknowledged(void **state)
{
    (void)state;
    forget_numbers();
    for (int round = 0; round < 12; round++) {
        struct fixture f;
        fixture_init(&f);
        /* A small log, so that losses fall into checkpoints and new logs as well. */
        fixture_set(&f, "log_limit", 256 * 1024);
        forget_numbers();
        int32_t next = 0;
        for (int life = 0; life < 6; life++) {
            faulty.seed = (unsigned)(round * 100 + life);
            next = run_child(&f, next, 1 + (round * 37 + life * 61) % 400, -1);
            expect_all(&f, next);
        }
        fixture_end(&f);
    }
}

static void kill_costs_nothing_acknowledged(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fixture_set(&f, "log_limit", 256 * 1024);
    forget_numbers();
    faulty.seed = 1;
    int32_t next = 0;
    for (int life = 0; life < 40; life++) {
        next = run_child(&f, next, -1, (life * 13) % 60);
        expect_all(&f, next);
    }
    fixture_end(&f);
}

/* ---- a small file system that is really full ---- */

/* A mount of our own, seen by nobody else; false where that is not allowed. */
static bool mount_small(const char *path, const char *size)
{
    return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", path, "tmpfs", 0, size) == 0;
}

static void use_up(const char *dir)
{
    char path[128];
    snprintf(path, sizeof path, "%s/filler", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    static const unsigned char block[4096];
    while (write(fd, block, sizeof block) > 0)
        continue;
    close(fd);
}

static void fill_until_refused(struct fixture *f, int64_t *n)
{
    enum store_status status;
    while ((status = fixture_fill(f, *n, 50)) == STORE_OK)
        *n += 50;
    assert_int_equal(status, STORE_FULL);
}

static int in_small_file_system(struct fixture *f)
{
    if (!mount_small(f->dir, "size=12m"))
        return 0;
    fixture_set(f, "log_limit", 1024 * 1024);
    fixture_open(f);
    int64_t n = 0;
    fixture_fill(f, n, 500);
    n += 500;
    struct store_claim claim = fixture_claim(f, 500);
    for (int i = 0; i < 1000 && !exists(f, "-reserve"); i++)
        pass_loop(10);
    use_up(f->dir);
    fill_until_refused(f, &n);
    assert_false(exists(f, "-reserve"));
    for (size_t i = 0; i < claim.count; i++) {
        struct store_change c = accepted(&claim.jobs[i]);
        assert_int_equal(fixture_change(f, &c), STORE_OK);
    }
    assert_int_equal(count_of(f, JOB_SENT), 500);
    assert_false(accepting(f));
    char path[128];
    snprintf(path, sizeof path, "%s/filler", f->dir);
    unlink(path);
    fixture_free_jobs(claim.jobs, claim.count);
    fixture_reopen(f);
    assert_int_equal(listed(f, JOB_SENT), 500);
    struct store_health h;
    store_health(f->store, &h);
    assert_false(h.was_damaged);
    store_close(&f->store);
    return 0;
}

static void a_full_file_system_can_still_finish(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(in_small_file_system(&f));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fixture_end(&f);
}

int main(void)
{
    log_open(getenv("STORE_LOG") ? getenv("STORE_LOG") : "/dev/null");
    faulty_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_are_kept_when_the_disk_is_full),
        cmocka_unit_test(of_one_transaction_the_outcomes_stay),
        cmocka_unit_test(little_space_closes_intake_only),
        cmocka_unit_test(a_failed_flush_counts_for_nothing),
        cmocka_unit_test(every_single_failure_is_survived),
        cmocka_unit_test(noise_control_counts_once_whatever_fails),
        cmocka_unit_test(power_loss_costs_nothing_acknowledged),
        cmocka_unit_test(kill_costs_nothing_acknowledged),
        cmocka_unit_test(a_full_file_system_can_still_finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
