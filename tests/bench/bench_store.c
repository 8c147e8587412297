/*
 * What the store costs: jobs inserted already leased and then sent, in groups of 1, 10, 100 and 1000, each
 * group two transactions that are waited for; and jobs inserted queued, claimed and sent, three of them.
 * Prints jobs per second and the CPU time of the store's threads per job.
 *
 *     bench_store [DIRECTORY [JOBS [GROUP]]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "dispatcher/store_parts.h"

enum { GROUP_MAX = 1000 };

static int result;

static void done(struct store_unit *unit, enum store_status status)
{
    (void)unit;
    result = (int)status;
    loop_stop();
}

static void run(struct store *s, struct store_unit *unit)
{
    unit->done = done;
    result = -1;
    store_submit(s, unit);
    while (result < 0)
        event_base_loop(loop_base(), EVLOOP_ONCE);
    if (result != STORE_OK) {
        fprintf(stderr, "the store does not take it\n");
        exit(1);
    }
}

static void name_it(const char *kind, int64_t n, struct hash_id *out)
{
    const struct hash_part parts[] = {{kind, strlen(kind)}, {&n, sizeof n}};
    hash_id(parts, 2, out);
}

static struct store_job job_of(int64_t n, int64_t now_ms, bool leased)
{
    struct store_job j = {
        .bridge = (char *)"main",
        .rule = (char *)"lorem",
        .provider = (char *)"smsapi",
        .number = (char *)"+48500500500",
        .from = (char *)"MyCompany",
        .text = (char *)"New message in thread 6757b81daafe67cb6e19180e",
        .item = (char *)"6757b81daafe67cb6e19180f",
        .container = (char *)"6757b81daafe67cb6e19180e",
        .priority = PRIORITY_NORMAL,
        .created_ms = now_ms,
        .expires_ms = now_ms + 86400000,
        .state = leased ? JOB_LEASED : JOB_QUEUED,
        .attempt = leased,
        .generation = 1,
        .points_micro = -1,
        .parts = -1,
    };
    name_it("job", n, &j.id);
    name_it("event", n, &j.event);
    return j;
}

static void insert_group(struct store *s, int64_t from, size_t count, bool leased, struct store_job *jobs)
{
    static struct store_decision d[GROUP_MAX];
    memset(d, 0, sizeof d);
    int64_t now_ms = store_now_ms(s);
    for (size_t i = 0; i < count; i++) {
        jobs[i] = job_of(from + (int64_t)i, now_ms, leased);
        d[i] = (struct store_decision){.key = jobs[i].event,
                                       .remember = true,
                                       .type = "threadNewMessage",
                                       .event_ms = now_ms,
                                       .jobs = &jobs[i],
                                       .jobs_count = 1};
    }
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = now_ms, .decisions = d, .count = count};
    run(s, &in.unit);
}

static void finish_group(struct store *s, const struct store_job *jobs, size_t count)
{
    static struct store_change c[GROUP_MAX];
    for (size_t i = 0; i < count; i++)
        c[i] = (struct store_change){.job = jobs[i].id,
                                     .row = jobs[i].row,
                                     .attempt = 1,
                                     .step = STEP_ACCEPTED,
                                     .provider_id = "637377AE6B3F8A0D1C2B3A49",
                                     .points_micro = 160000,
                                     .parts = 1};
    struct store_changes changes = {.unit = {.kind = STORE_CHANGES}, .changes = c, .count = count};
    run(s, &changes.unit);
}

/* Takes the group back out of the queue, into JOBS. */
static void claim_group(struct store *s, size_t count, struct store_job *jobs)
{
    struct store_claim claim = {.unit = {.kind = STORE_CLAIM}, .provider = "smsapi", .limit = count};
    run(s, &claim.unit);
    if (claim.count != count) {
        fprintf(stderr, "%zu of %zu claimed\n", claim.count, count);
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        jobs[i].id = claim.jobs[i].id;
        jobs[i].row = claim.jobs[i].row;
        store_job_free(&claim.jobs[i]);
    }
    free(claim.jobs);
}

static uint64_t cpu_ns(pthread_t thread)
{
    clockid_t id;
    struct timespec ts = {0};
    if (pthread_getcpuclockid(thread, &id) == 0)
        clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int64_t measure(struct store *s, int64_t from, int64_t jobs_count, size_t group, bool leased)
{
    static struct store_job jobs[GROUP_MAX];
    uint64_t wall = clock_mono_ns();
    uint64_t cpu = cpu_ns(s->thread) + cpu_ns(s->checkpoint.thread);
    int64_t n = 0;
    for (; n < jobs_count; n += (int64_t)group) {
        insert_group(s, from + n, group, leased, jobs);
        if (!leased)
            claim_group(s, group, jobs);
        finish_group(s, jobs, group);
    }
    cpu = cpu_ns(s->thread) + cpu_ns(s->checkpoint.thread) - cpu;
    double seconds = (double)(clock_mono_ns() - wall) / 1e9;
    struct store_health h;
    store_health(s, &h);
    printf("%s, groups of %4zu: %8.0f jobs/s, %5.1f us CPU a job, longest commit %.1f ms, log %.1f MiB\n",
           leased ? "leased" : "queued", group, (double)n / seconds, (double)cpu / 1000.0 / (double)n,
           (double)h.commit_us_max / 1000.0, (double)h.wal_bytes / 1048576.0);
    return from + n;
}

int main(int argc, char **argv)
{
    static const size_t groups[] = {1, 10, 100, 1000};
    char dir[256];
    snprintf(dir, sizeof dir, "%s/bridgebell-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    int64_t jobs = argc > 2 ? strtoll(argv[2], NULL, 10) : 100000;
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    log_configure(LOG_LOGFMT, LOG_WARN);
    struct slice *slice = slice_new();
    struct slice_block *b = slice_add_block(slice, "dispatcher", "", "bench", 1);
    slice_add_setting(b, "store", SLICE_TEXT, 1)->text = xasprintf("sqlite:%s/queue.db", dir);
    struct faults faults = {0};
    struct store *s = store_open(slice, &faults);
    if (!s) {
        fprintf(stderr, "%s\n", faults.list[0].text);
        return 1;
    }
    int64_t next = 0;
    size_t only = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 0;
    for (size_t i = 0; i < 2 * sizeof groups / sizeof *groups; i++) {
        size_t group = groups[i / 2];
        if (only == 0 || group == only)
            next = measure(s, next, group < 100 && !only ? jobs / 200 * (int64_t)group : jobs, group,
                           i % 2 == 0);
    }
    store_close(&s);
    char *command = xasprintf("du -sh %s | cut -f1; rm -rf %s", dir, dir);
    int rc = system(command);
    free(command);
    slice_free(&slice);
    loop_free();
    return rc;
}
