/*
 * A store in a directory of its own for the store's tests: opening, submitting one unit and waiting for it,
 * and jobs with sensible content.
 */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "dispatcher/store.h"
#include "proto/slice.h"

struct fixture {
    char dir[64];
    char path[96];
    struct slice *slice;
    struct store *store;
};

static inline void fixture_set(struct fixture *f, const char *name, int64_t value)
{
    struct slice_block *b = (struct slice_block *)slice_find(f->slice, "dispatcher", NULL);
    struct slice_setting *v = (struct slice_setting *)slice_get(b, name);
    if (!v)
        v = slice_add_setting(b, name, SLICE_NUMBER, 1);
    v->number = value;
}

static inline void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    /* Thousands of openings: memory, where flushing costs nothing, if there is such a place. */
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(f->dir, sizeof f->dir, "%s/bridgebell-store-XXXXXX", base);
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/queue.db", f->dir);
    f->slice = slice_new();
    struct slice_block *b = slice_add_block(f->slice, "dispatcher", "", "test.conf", 1);
    struct slice_setting *v = slice_add_setting(b, "store", SLICE_TEXT, 2);
    v->text = xasprintf("sqlite:%s", f->path);
    fixture_set(f, "lock_wait", 0);
    fixture_set(f, "min_free", 0);
    fixture_set(f, "log_limit", 1024 * 1024);
}

/* NULL if it does not open; the fault then goes to *WHY (the caller's), if that is not NULL. */
static inline struct store *fixture_try(struct fixture *f, char **why)
{
    struct faults faults = {0};
    f->store = store_open(f->slice, &faults);
    assert_int_equal(f->store == NULL, faults.count > 0);
    if (why)
        *why = faults.count ? xstrdup(faults.list[0].text) : NULL;
    faults_free(&faults);
    return f->store;
}

static inline struct store *fixture_open(struct fixture *f)
{
    char *why = NULL;
    if (!fixture_try(f, &why))
        fail_msg("store does not open: %s", why);
    return f->store;
}

static inline void fixture_reopen(struct fixture *f)
{
    store_close(&f->store);
    fixture_open(f);
}

static inline void fixture_end(struct fixture *f)
{
    store_close(&f->store);
    slice_free(&f->slice);
    char *command = xasprintf("rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(command);
    loop_free();
}

static inline void fixture_done(struct store_unit *unit, enum store_status status)
{
    int *result = unit->arg;
    *result = (int)status;
}

/* Submits and runs the loop until the unit is complete. */
static inline enum store_status fixture_run(struct fixture *f, struct store_unit *unit)
{
    int result = -1;
    unit->done = fixture_done;
    unit->arg = &result;
    store_submit(f->store, unit);
    while (result < 0)
        event_base_loop(loop_base(), EVLOOP_ONCE);
    return (enum store_status)result;
}

static inline struct hash_id fixture_id(const char *kind, int64_t n)
{
    struct hash_id id;
    const struct hash_part parts[] = {{kind, strlen(kind)}, {&n, sizeof n}};
    hash_id(parts, 2, &id);
    return id;
}

/* Job N: all strings set, queued, due at once, expires in a day. */
static inline struct store_job fixture_job(struct fixture *f, int64_t n)
{
    int64_t now = f->store ? store_now_ms(f->store) : 0;
    return (struct store_job){
        .id = fixture_id("job", n),
        .event = fixture_id("event", n),
        .bridge = xstrdup("main"),
        .rule = xstrdup("lorem"),
        .provider = xstrdup("smsapi"),
        .number = xasprintf("+485005%05d", (int)(n % 100000)),
        .from = xstrdup("MyCompany"),
        .text = xasprintf("New message %d", (int)n),
        .item = xasprintf("item-%d", (int)n),
        .container = xstrdup("thread-1"),
        .priority = PRIORITY_NORMAL,
        .event_ms = now,
        .created_ms = now,
        .expires_ms = now + 86400000,
        .state = JOB_QUEUED,
        .generation = 1,
        .due_ms = now,
        .points_micro = -1,
        .parts = -1,
    };
}

/* Commits JOB as the only job of event N. */
static inline enum store_status fixture_insert(struct fixture *f, struct store_job *job, int64_t n)
{
    struct store_decision d = {.key = fixture_id("event", n),
                               .remember = true,
                               .type = "threadNewMessage",
                               .event_ms = job->event_ms,
                               .jobs = job,
                               .jobs_count = 1};
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
    return fixture_run(f, &in.unit);
}

/* Queues jobs FROM .. FROM + COUNT - 1 in one unit. */
static inline enum store_status fixture_fill(struct fixture *f, int64_t from, size_t count)
{
    struct store_decision *d = xcalloc(count, sizeof *d);
    struct store_job *jobs = xcalloc(count, sizeof *jobs);
    for (size_t i = 0; i < count; i++) {
        jobs[i] = fixture_job(f, from + (int64_t)i);
        d[i] = (struct store_decision){.key = fixture_id("event", from + (int64_t)i),
                                       .remember = true,
                                       .type = "threadNewMessage",
                                       .jobs = &jobs[i],
                                       .jobs_count = 1};
    }
    struct store_intake in = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = d, .count = count};
    enum store_status status = fixture_run(f, &in.unit);
    for (size_t i = 0; i < count; i++)
        store_job_free(&jobs[i]);
    free(jobs);
    free(d);
    return status;
}

static inline struct store_claim fixture_claim(struct fixture *f, size_t limit)
{
    struct store_claim claim = {.unit = {.kind = STORE_CLAIM}, .provider = "smsapi", .limit = limit};
    assert_int_equal(fixture_run(f, &claim.unit), STORE_OK);
    return claim;
}

static inline void fixture_free_jobs(struct store_job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        store_job_free(&jobs[i]);
    free(jobs);
}

/* Applies one change. */
static inline enum store_status fixture_change(struct fixture *f, struct store_change *c)
{
    struct store_changes changes = {.unit = {.kind = STORE_CHANGES}, .changes = c, .count = 1};
    return fixture_run(f, &changes.unit);
}

/* The job as it stands on disk; the caller frees its strings. */
static inline struct store_job fixture_look(struct fixture *f, const struct hash_id *id)
{
    char hex[2 * HASH_ID_BYTES + 1];
    for (size_t i = 0; i < HASH_ID_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", id->bytes[i]);
    struct store_list list = {.unit = {.kind = STORE_LIST}, .filter = {.id = hex}};
    assert_int_equal(fixture_run(f, &list.unit), STORE_OK);
    assert_int_equal(list.count, 1);
    struct store_job job = list.jobs[0];
    free(list.jobs);
    return job;
}

static inline enum job_state fixture_state(struct fixture *f, int64_t n)
{
    struct hash_id id = fixture_id("job", n);
    struct store_job job = fixture_look(f, &id);
    enum job_state state = job.state;
    store_job_free(&job);
    return state;
}

#endif
