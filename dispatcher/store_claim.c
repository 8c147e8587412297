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
    int64_t wait_ms; /* > 0: not admitted */
    bool good, admitted;
};

struct finds {
    struct found *list;
    size_t count, size;
};

struct progress {
    struct store_claim *claim;
    struct store_jobs jobs;
    size_t leased, ended, moved;
    size_t looked; /* by a claim that only ends */
    bool stopped;  /* it has ended or moved as many as it may */
    bool looked_at[PRIORITIES], more[PRIORITIES];
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

/* The job stays queued, and is due when there is room for another attempt to its number. */
static void move(struct store_db *db, struct progress *p, struct found *f)
{
    f->standing.due_ms = db->now_ms + f->wait_ms;
    store_row_step(db, &f->standing, JOB_QUEUED, STORE_NUMBER_WAITS, f->job.code);
    store_job_free(&f->job);
    p->moved++;
}

/* Takes what is found over into the result, or frees it. */
static void settle(struct store_db *db, struct progress *p, struct found *f)
{
    enum job_state ended;
    bool sound = f->good && f->standing.intact && f->standing.state == JOB_QUEUED;
    const char *reason = sound ? past(db, &f->standing, &ended) : NULL;
    if (f->admitted && (!sound || reason))
        p->claim->dismiss(p->claim->admit_arg, &f->job);
    if (sound && reason) {
        end(db, p, f, ended, reason);
    } else if (sound && f->wait_ms > 0) {
        move(db, p, f);
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

/* Whether the job may be tried now, as far as its number goes. */
static void ask_admission(const struct store_claim *claim, struct found *f)
{
    f->wait_ms = 0;
    f->admitted = false;
    if (!claim->admit || !f->good)
        return;
    f->wait_ms = claim->admit(claim->admit_arg, &f->job);
    f->admitted = f->wait_ms <= 0;
}

/* How far one look into a priority goes. */
struct reach {
    size_t leases, leases_max; /* of this look */
    size_t ends, moves;
};

static bool is_far_enough(struct progress *p, const struct reach *r)
{
    bool full = p->claim->limit == 0 ? ++p->looked > LOOK_MAX : r->leases >= r->leases_max;
    p->stopped = p->stopped || p->ended + r->ends >= STORE_CLAIM_ENDED ||
                 p->moved + r->moves >= STORE_CLAIM_MOVED || (full && p->claim->limit == 0);
    return full || p->stopped;
}

/* False if the job is to be left as it is. */
static bool take_found(struct store_db *db, struct progress *p, struct found *f, struct reach *r)
{
    enum job_state ended;
    if (past(db, &f->standing, &ended)) {
        f->wait_ms = 0;
        f->admitted = false;
        r->ends++;
        return true;
    }
    if (p->claim->limit == 0 || (p->claim->no_pinned && f->standing.pinned))
        return false;
    ask_admission(p->claim, f);
    r->moves += f->wait_ms > 0;
    r->leases += f->wait_ms <= 0;
    return true;
}

/* Rows are read first and changed then: the change takes them out of the index that is being read. */
static void read_due(struct store_db *db, struct progress *p, int priority, size_t most, struct finds *finds)
{
    struct reach r = {.leases_max = most};
    sqlite3_stmt *st = db_stmt(db, SQL_DUE);
    db_bind_text(st, 1, p->claim->provider);
    sqlite3_bind_int(st, 2, priority);
    sqlite3_bind_int64(st, 3, db->now_ms);
    p->looked_at[priority] = true;
    p->more[priority] = false;
    while (db_row(db, st)) {
        if (is_far_enough(p, &r)) {
            p->more[priority] = true;
            break;
        }
        struct found *f = finds_add(finds);
        f->good = store_row_job(&db->scratch, st, &f->job, &f->standing);
        if (!take_found(db, p, f, &r)) {
            store_job_free(&f->job);
            finds->count--;
            p->more[priority] = true;
        }
    }
    sqlite3_reset(st);
}

static void claim_priority(struct store_db *db, struct progress *p, int priority, size_t most)
{
    struct finds finds = {0};
    if (p->stopped || db->rc != SQLITE_OK)
        return;
    read_due(db, p, priority, most, &finds);
    for (size_t i = 0; i < finds.count; i++)
        settle(db, p, &finds.list[i]);
    p->claim->taken[priority] += finds.count;
    free(finds.list);
}

/* Each priority its share, then what is left to whoever has more. */
static void claim_all(struct store_db *db, struct progress *p)
{
    size_t limit = p->claim->limit;
    for (int i = PRIORITY_CRITICAL; i <= PRIORITY_BULK; i++)
        if (p->claim->share[i] && p->leased < limit)
            claim_priority(db, p, i,
                           p->claim->share[i] < limit - p->leased ? p->claim->share[i] : limit - p->leased);
    for (int i = PRIORITY_CRITICAL; i <= PRIORITY_BULK; i++)
        if ((p->leased < limit || limit == 0) && (!p->looked_at[i] || p->more[i]))
            claim_priority(db, p, i, limit - p->leased);
}

static int64_t next_due(struct store_db *db, const struct progress *p, int priority)
{
    if (!p->looked_at[priority])
        return STORE_NOT_LOOKED;
    if (p->more[priority])
        return 0;
    int64_t next = -1;
    sqlite3_stmt *st = db_stmt(db, SQL_NEXT_DUE);
    db_bind_text(st, 1, p->claim->provider);
    sqlite3_bind_int(st, 2, priority);
    sqlite3_bind_int64(st, 3, db->now_ms);
    if (db_row(db, st))
        next = sqlite3_column_int64(st, 0) - db->now_ms;
    sqlite3_reset(st);
    return next;
}

void store_claim_run(struct store_db *db, struct store_unit *unit)
{
    struct progress p = {.claim = (struct store_claim *)unit};
    claim_all(db, &p);
    for (int i = PRIORITY_CRITICAL; i <= PRIORITY_BULK; i++)
        p.claim->next_due_in_ms[i] = next_due(db, &p, i);
    p.claim->jobs = p.jobs.list;
    p.claim->count = p.jobs.count;
    p.claim->moved = p.moved;
}

void store_claim_reset(struct store_unit *unit)
{
    struct store_claim *claim = (struct store_claim *)unit;
    for (size_t i = 0; i < claim->count; i++) {
        if (claim->admit && claim->jobs[i].state == JOB_LEASED)
            claim->dismiss(claim->admit_arg, &claim->jobs[i]);
        store_job_free(&claim->jobs[i]);
    }
    free(claim->jobs);
    claim->jobs = NULL;
    memset(claim->taken, 0, sizeof claim->taken);
    claim->count = 0;
}

static void add_provider(struct store_waiting *w, const char *name)
{
    bool known = w->count && strcmp(w->names[w->count - 1], name) == 0;
    if (!known && w->count < STORE_PROVIDERS_MAX && strlen(name) < sizeof w->names[0])
        snprintf(w->names[w->count++], sizeof w->names[0], "%s", name);
}

int64_t store_oldest_due(struct store_db *db, struct store_waiting *waiting)
{
    /* One step in the index for each provider and priority, not a look at every row. */
    int64_t oldest = 0;
    char *provider = xstrdup("");
    int64_t priority = -1;
    waiting->count = 0;
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
        add_provider(waiting, provider);
        if (oldest == 0 || due_ms < oldest)
            oldest = due_ms;
    }
    free(provider);
    return oldest <= store_clock_now(db->clock) ? oldest : 0;
}
