/*
 * Claims: what is due is leased, what is past its time is ended. Every row is checked against its checksums
 * before it may be sent.
 */
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/store_parts.h"

/* From the first attempt on the provider remembers an idx for 24 hours (CONTRACT.md section 6); one is kept
 * as margin. */
enum { WINDOW_MS = 23 * 3600 * 1000 };
/* Rows that a claim which only ends looks at; a line that stands for long has many more that are not past. */
enum { LOOK_MAX = 5000 };

struct found {
    struct store_job job;
    struct store_standing standing;
    bool good;
};

struct finds {
    struct found *list;
    size_t count, size;
};

struct progress {
    struct store_claim *claim;
    struct store_jobs jobs;
    size_t leased, ended;
    size_t looked; /* by a claim that only ends */
    bool more;     /* stopped by a limit */
};

/* Why this job may not be asked again, and what it becomes; NULL if it may. */
static const char *past(const struct store_db *db, const struct store_standing *s, enum job_state *state)
{
    bool expired = s->expires_ms > 0 && s->expires_ms <= db->now_ms;
    bool window = s->pinned && s->first_attempt_ms > 0 && s->first_attempt_ms + WINDOW_MS <= db->now_ms;
    *state = s->pinned ? JOB_UNCERTAIN : JOB_EXPIRED;
    if (expired && s->pinned)
        return STORE_EXPIRED_UNKNOWN;
    if (expired)
        return STORE_EXPIRED;
    return window ? "asked for 23 hours; its outcome is unknown" : NULL;
}

static void end(struct store_db *db, struct progress *p, struct found *f, enum job_state state,
                const char *reason)
{
    f->standing.state = state;
    f->standing.finished_ms = db->now_ms;
    store_row_step(db, &f->standing, JOB_QUEUED, reason, f->job.code);
    f->job.state = state;
    f->job.finished_ms = db->now_ms;
    free(f->job.reason);
    f->job.reason = xstrdup(reason);
    *store_jobs_add(&p->jobs) = f->job;
    p->ended++;
}

static void lease(struct store_db *db, struct progress *p, struct found *f)
{
    struct store_standing *s = &f->standing;
    s->state = JOB_LEASED;
    s->attempt++;
    if (s->first_attempt_ms == 0)
        s->first_attempt_ms = db->now_ms;
    store_row_step(db, s, JOB_QUEUED, f->job.reason, f->job.code);
    f->job.state = s->state;
    f->job.attempt = s->attempt;
    f->job.first_attempt_ms = s->first_attempt_ms;
    *store_jobs_add(&p->jobs) = f->job;
    p->leased++;
}

/* Takes what is found over into the result, or frees it. */
static void settle(struct store_db *db, struct progress *p, struct found *f)
{
    enum job_state ended;
    bool sound = f->good && f->standing.intact && f->standing.state == JOB_QUEUED;
    const char *reason = sound ? past(db, &f->standing, &ended) : NULL;
    if (sound && reason) {
        end(db, p, f, ended, reason);
    } else if (sound) {
        lease(db, p, f);
    } else {
        store_row_damaged(db, &f->standing, f->good ? "standing" : "content");
        store_job_free(&f->job);
    }
}

static struct found *finds_add(struct finds *finds)
{
    if (finds->count == finds->size) {
        finds->size = finds->size ? finds->size * 2 : 64;
        finds->list = xreallocarray(finds->list, finds->size, sizeof *finds->list);
    }
    return &finds->list[finds->count++];
}

/* Rows are read first and changed then: the change takes them out of the index that is being read. */
static void read_due(struct store_db *db, struct progress *p, int priority, struct finds *finds)
{
    size_t leases = 0, ends = 0;
    bool only_ends = p->claim->limit == 0;
    sqlite3_stmt *st = db_stmt(db, SQL_DUE);
    db_bind_text(st, 1, p->claim->provider);
    sqlite3_bind_int(st, 2, priority);
    sqlite3_bind_int64(st, 3, db->now_ms);
    while (db_row(db, st)) {
        bool full = only_ends ? ++p->looked > LOOK_MAX : p->leased + leases >= p->claim->limit;
        p->more = full || p->ended + ends >= STORE_CLAIM_ENDED;
        if (p->more)
            break;
        struct found *f = finds_add(finds);
        f->good = store_row_job(&db->scratch, st, &f->job, &f->standing);
        enum job_state ended;
        bool ends_it = past(db, &f->standing, &ended) != NULL;
        bool passed_over = only_ends || (p->claim->no_pinned && f->standing.pinned);
        if (!ends_it && passed_over) {
            store_job_free(&f->job);
            finds->count--;
            continue;
        }
        leases += !ends_it;
        ends += ends_it;
    }
    sqlite3_reset(st);
}

static void claim_priority(struct store_db *db, struct progress *p, int priority)
{
    struct finds finds = {0};
    read_due(db, p, priority, &finds);
    for (size_t i = 0; i < finds.count; i++)
        settle(db, p, &finds.list[i]);
    free(finds.list);
}

static int64_t next_due(struct store_db *db, const struct progress *p)
{
    if (p->more)
        return 0;
    int64_t next = -1;
    for (int priority = PRIORITY_CRITICAL; priority <= PRIORITY_BULK; priority++) {
        sqlite3_stmt *st = db_stmt(db, SQL_NEXT_DUE);
        db_bind_text(st, 1, p->claim->provider);
        sqlite3_bind_int(st, 2, priority);
        sqlite3_bind_int64(st, 3, db->now_ms);
        if (db_row(db, st)) {
            int64_t in_ms = sqlite3_column_int64(st, 0) - db->now_ms;
            if (next < 0 || in_ms < next)
                next = in_ms;
        }
        sqlite3_reset(st);
    }
    return next;
}

void store_claim_run(struct store_db *db, struct store_unit *unit)
{
    struct progress p = {.claim = (struct store_claim *)unit};
    for (int priority = PRIORITY_CRITICAL; priority <= PRIORITY_BULK && !p.more && db->rc == SQLITE_OK;
         priority++)
        claim_priority(db, &p, priority);
    p.claim->next_due_in_ms = next_due(db, &p);
    p.claim->jobs = p.jobs.list;
    p.claim->count = p.jobs.count;
}

void store_claim_reset(struct store_unit *unit)
{
    struct store_claim *claim = (struct store_claim *)unit;
    for (size_t i = 0; i < claim->count; i++)
        store_job_free(&claim->jobs[i]);
    free(claim->jobs);
    claim->jobs = NULL;
    claim->count = 0;
}

int64_t store_oldest_due(struct store_db *db)
{
    /* One step in the index for each provider and priority, not a look at every row. */
    int64_t oldest = 0;
    char *provider = xstrdup("");
    int64_t priority = -1;
    for (;;) {
        sqlite3_stmt *st = db_stmt(db, SQL_OLDEST_AFTER);
        db_bind_text(st, 1, provider);
        sqlite3_bind_int64(st, 2, priority);
        if (!db_row(db, st))
            break;
        char *next = db_text(st, 0);
        priority = sqlite3_column_int64(st, 1);
        int64_t due_ms = sqlite3_column_int64(st, 2);
        sqlite3_reset(st);
        free(provider);
        provider = next ? next : xstrdup("");
        if (oldest == 0 || due_ms < oldest)
            oldest = due_ms;
    }
    free(provider);
    return oldest <= store_clock_now(db->clock) ? oldest : 0;
}
