#include "dispatcher/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "dispatcher/batch.h"
#include "dispatcher/rules_parts.h"
#include "dispatcher/store_parts.h"

enum {
    COMMIT_EVERY = 2000, /* decided events */
    CACHE_KIB = 65536,
    CONTAINERS_MAX = 100000, /* whose members are remembered */
    WORDS_MAX = 200,
};

const char *const engine_fate_names[ENGINE_FATES + 1] = {"sent", "merged", "suppressed", "cancelled", NULL};
const char *const engine_form_names[ENGINE_FORMS + 1] = {"single", "digest", "summary", NULL};

struct engine {
    struct rules *rules;
    struct store_options options;
    struct store_clock clock;
    struct store_db db;
    bool is_open;     /* the database */
    bool in_progress; /* a transaction */
    unsigned decided; /* since the last commit */
    int64_t now_ms;
    int64_t due_ms; /* of the next digest; -1: none */
    struct silences *silences;
    struct members *members; /* of containers that the events name */
    engine_fn *fn;
    void *arg;
    char *bridge;
    struct engine_counts counts;
    char trouble[256];
};

/* ---- the store ---- */

static int failed(struct engine *e, int rc)
{
    if (!e->trouble[0])
        snprintf(e->trouble, sizeof e->trouble, "%s: %s", sqlite3_errstr(rc),
                 e->db.sql ? sqlite3_errmsg(e->db.sql) : "");
    return -1;
}

static int begin(struct engine *e)
{
    if (e->trouble[0])
        return -1;
    if (!e->in_progress && db_begin(&e->db) != SQLITE_OK)
        return failed(e, e->db.rc);
    e->in_progress = true;
    e->db.now_ms = e->now_ms;
    return 0;
}

static int commit(struct engine *e)
{
    e->decided = 0;
    if (!e->in_progress)
        return 0;
    e->in_progress = false;
    if (db_commit(&e->db) != SQLITE_OK)
        return failed(e, e->db.rc);
    return 0;
}

static int look(struct engine *e)
{
    return e->db.rc == SQLITE_OK ? 0 : failed(e, e->db.rc);
}

/* A file that has no name any more once it is open: it goes with the process, however that ends. */
static int open_store(struct engine *e, struct faults *faults)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = xasprintf("%s/bridgebell-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    char pragmas[160];
    if (!mkdtemp(dir)) {
        faults_add(faults, "", 0, "no temporary directory %s: %s", dir, strerror(errno));
        free(dir);
        return -1;
    }
    e->options.path = xasprintf("%s/replay.db", dir);
    snprintf(pragmas, sizeof pragmas,
             "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;"
             "PRAGMA cache_size = -%d",
             CACHE_KIB);
    int rc = store_make_file(e->options.path);
    if (rc)
        faults_add(faults, e->options.path, 0, "cannot be made: %s", strerror(errno));
    else
        rc = store_db_open(&e->db, &e->options, &e->clock, faults);
    if (rc == 0 && sqlite3_exec(e->db.sql, pragmas, NULL, NULL, NULL) != SQLITE_OK) {
        faults_add(faults, e->options.path, 0, "cannot be used: %s", sqlite3_errmsg(e->db.sql));
        rc = -1;
    }
    e->is_open = e->db.sql != NULL;
    unlink(e->options.path);
    rmdir(dir);
    free(dir);
    return rc;
}

/* ---- telling ---- */

static void tell(struct engine *e, struct engine_outcome *o)
{
    char words[WORDS_MAX];
    const struct store_noise *n = o->job->noise;
    words[0] = '\0';
    if (o->why != WHY_NOTHING && n && n->refused_by < n->count)
        snprintf(words, sizeof words, "%s: %s", store_why_names[o->why], n->gates[n->refused_by].name);
    else if (o->job->reason)
        snprintf(words, sizeof words, "%s", o->job->reason);
    else if (o->why != WHY_NOTHING)
        snprintf(words, sizeof words, "%s", store_why_names[o->why]);
    o->words = words;
    e->fn(e->arg, o);
}

/* Somebody is missing because no event has told of the members. */
static bool is_without_members(struct engine *e, const struct event *event, const struct store_job *j)
{
    struct members_list found;
    const struct rule *rule = e->members && event->container.data ? rules_find(e->rules, j->rule) : NULL;
    return rule && audience_wants_members(rule->to) &&
           members_find(e->members, event->bridge, event->container, &found) != MEMBERS_KNOWN;
}

/* The rules' reason is what a Bridge would have said; nobody has asked one. */
static void put_no_members(const struct event *event, struct store_job *j)
{
    free(j->reason);
    j->reason =
        xasprintf("its members are not known here: %.*s", (int)event->container.len, event->container.data);
}

static void tell_job(struct engine *e, const struct event *event, struct store_job *j)
{
    static const enum engine_fate fates[JOB_STATES] = {
        [JOB_QUEUED] = ENGINE_SENT,           [JOB_LEASED] = ENGINE_SENT,
        [JOB_HELD] = ENGINE_SUPPRESSED,       [JOB_SENT] = ENGINE_SENT,
        [JOB_SUPPRESSED] = ENGINE_SUPPRESSED, [JOB_MERGED] = ENGINE_MERGED,
        [JOB_CANCELLED] = ENGINE_CANCELLED,
    };
    struct engine_outcome o = {
        .fate = fates[j->state],
        .event = event,
        .job = j,
        .at_ms = e->now_ms,
        .why = j->noise                     ? j->noise->why
               : j->state == JOB_SUPPRESSED ? WHY_EMPTY
                                            : WHY_NOTHING,
        .count = 1,
    };
    if (o.fate == ENGINE_SENT && j->due_ms > o.at_ms)
        o.at_ms = j->due_ms;
    o.no_members = o.why == WHY_UNKNOWN && is_without_members(e, event, j);
    if (o.no_members)
        put_no_members(event, j);
    e->counts.no_members += o.no_members;
    tell(e, &o);
}

/* ---- events ---- */

/* What has ended is of no use here: digests have what they hold, counters what they count. So the file stays
 * small, and what was let through counts as sent, which a later deletion does not cancel. */
static void drop_row(struct engine *e, const struct store_job *j)
{
    if (!j->row)
        return;
    sqlite3_stmt *st = db_stmt(&e->db, SQL_PURGE_JOB);
    sqlite3_bind_int64(st, 1, j->row);
    db_run(&e->db, st);
    db_count(&e->db, (int)j->state, -1);
}

static void drop_ended(struct engine *e, const struct batch *b)
{
    for (size_t i = 0; i < b->intake.count; i++) {
        const struct store_decision *d = &b->intake.decisions[i];
        for (size_t k = 0; k < d->jobs_count; k++) {
            if (d->jobs[k].state != JOB_HELD)
                drop_row(e, &d->jobs[k]);
        }
    }
}

/* An event that came before has matched before; the jobs of a rule stand together. */
static void uncount_known(struct engine *e, const struct store_decision *d)
{
    for (size_t k = 0; k < d->jobs_count; k++) {
        bool again = k && strcmp(d->jobs[k].rule, d->jobs[k - 1].rule) == 0;
        struct rule *rule = again ? NULL : rules_find(e->rules, d->jobs[k].rule);
        if (rule)
            rule->matched--;
    }
    e->counts.known += d->jobs_count > 0;
}

static void count(struct engine *e, const struct batch *b)
{
    for (size_t i = 0; i < b->intake.count; i++) {
        const struct store_decision *d = &b->intake.decisions[i];
        if (d->known == STORE_KNOWN)
            uncount_known(e, d);
        else
            e->counts.matched += d->jobs_count > 0;
    }
    e->counts.deletions += b->intake.cancelled > 0;
}

static void tell_all(struct engine *e, const struct event *event, const struct batch *b)
{
    for (size_t i = 0; i < b->intake.count; i++) {
        const struct store_decision *d = &b->intake.decisions[i];
        for (size_t k = 0; d->known == STORE_NEW && k < d->jobs_count; k++)
            tell_job(e, event, &d->jobs[k]);
    }
}

static const char *bridge_of(struct engine *e, const struct event *event)
{
    if (!e->bridge || !msg_str_is(event->bridge, e->bridge)) {
        free(e->bridge);
        e->bridge = msg_str_dup(event->bridge);
    }
    return e->bridge;
}

static void note_due(struct engine *e, int64_t due_ms)
{
    if (e->due_ms < 0 || due_ms < e->due_ms)
        e->due_ms = due_ms;
}

static void note_digests(struct engine *e, const struct batch *b)
{
    for (size_t i = 0; i < b->intake.count; i++) {
        const struct store_decision *d = &b->intake.decisions[i];
        for (size_t k = 0; !d->try_only && k < d->jobs_count; k++) {
            const struct store_noise *n = d->jobs[k].noise;
            if (n && n->opened)
                note_due(e, n->digest_due_ms);
        }
    }
}

/* Runs BATCH through the store as the dispatcher does when a sender is free: what rings is leased at once. */
static int run(struct engine *e, const struct event *event, struct batch *b)
{
    batch_close(b);
    for (size_t i = 0; i < b->jobs_count; i++) {
        b->jobs[i]->state = JOB_LEASED;
        b->jobs[i]->attempt = 1;
    }
    store_intake_run(&e->db, &b->intake.unit);
    if (look(e))
        return -1;
    store_intake_landed(&b->intake.unit);
    count(e, b);
    tell_all(e, event, b);
    drop_ended(e, b);
    note_digests(e, b);
    return look(e);
}

/* Nobody can be asked for members here: those of containers that no event has told of are none. */
static void learn_members(struct engine *e, const struct event *event)
{
    struct members_list found;
    members_see(e->members, event);
    if (!event->container.data ||
        members_find(e->members, event->bridge, event->container, &found) != MEMBERS_TO_ASK)
        return;
    const struct wire_members none = {
        .container = event->container, .outcome = WIRE_MEMBERS_NONE, .version = -1};
    members_learn(e->members, bridge_of(e, event), &none);
}

static int decide(struct engine *e, const struct event *event, bool try_only)
{
    struct batch *b = batch_new(NULL, NULL, NULL, 0, -1, bridge_of(e, event));
    int rc = 0;
    e->counts.events++;
    if (e->members)
        learn_members(e, event);
    batch_add_event(b, event, e->rules, &e->db.identity, e->now_ms);
    if (b->intake.count) {
        b->intake.decisions[0].try_only = try_only;
        rc = begin(e);
        if (rc == 0)
            rc = run(e, event, b);
        if (rc == 0 && ++e->decided >= COMMIT_EVERY)
            rc = commit(e);
    }
    members_see_off(e->members, event);
    batch_free(&b);
    return rc;
}

int engine_feed(struct engine *e, const struct event *event, int64_t now_ms)
{
    return engine_advance(e, now_ms) ? -1 : decide(e, event, false);
}

int engine_try(struct engine *e, const struct event *event, int64_t now_ms)
{
    return engine_advance(e, now_ms) ? -1 : decide(e, event, true);
}

/* ---- time ---- */

int64_t engine_next_due_ms(struct engine *e)
{
    return e->due_ms;
}

static void tell_closed(struct engine *e, const struct store_digest *d, const struct store_job *j)
{
    bool sent = j->noise->why == WHY_NOTHING;
    struct engine_outcome o = {
        .fate = sent ? ENGINE_SENT : ENGINE_SUPPRESSED,
        .form = d->why == WHY_DIGEST ? ENGINE_DIGEST : ENGINE_SUMMARY,
        .job = j,
        .at_ms = e->now_ms,
        .why = j->noise->why,
        .count = d->count,
    };
    tell(e, &o);
}

/* What the dispatcher does with a digest that is frozen (digests.c). */
static void close_digest(struct engine *e, struct store_digest *d)
{
    struct store_job job = d->job;
    struct store_close unit = {
        .unit.kind = STORE_CLOSE, .job = &job, .why = d->why, .count = d->count, .shadow = d->shadow};
    rules_close_digest(e->rules, d, e->now_ms, &unit.postpone_until_ms, &job);
    memset(&d->job, 0, sizeof d->job);
    store_close_run(&e->db, &unit.unit);
    if (unit.applied) {
        free(job.reason);
        job.reason = NULL;
        tell_closed(e, d, &job);
    }
    if (unit.applied || unit.folded)
        drop_row(e, &job);
    store_job_free(&job);
}

/* Closes what is due now, and learns when the next is. */
static int close_due(struct engine *e)
{
    struct store_digests due = {.unit.kind = STORE_DIGESTS};
    do {
        store_digests_clear(&due);
        if (begin(e))
            return -1;
        store_digests_run(&e->db, &due.unit);
        for (size_t i = 0; i < due.count && look(e) == 0; i++)
            close_digest(e, &due.list[i]);
    } while (due.count && look(e) == 0);
    e->due_ms = due.next_due_in_ms < 0 ? -1 : e->now_ms + due.next_due_in_ms;
    store_digests_clear(&due);
    return look(e);
}

int engine_advance(struct engine *e, int64_t until_ms)
{
    while (!e->trouble[0] && e->due_ms >= 0 && e->due_ms <= until_ms) {
        if (e->due_ms > e->now_ms)
            e->now_ms = e->due_ms;
        if (close_due(e))
            return -1;
    }
    if (until_ms > e->now_ms)
        e->now_ms = until_ms;
    return e->trouble[0] ? -1 : 0;
}

int64_t engine_now_ms(const struct engine *e)
{
    return e->now_ms;
}

/* ---- life ---- */

static void use_members(struct engine *e)
{
    bool wanted = false;
    for (size_t i = 0; i < e->rules->count; i++)
        wanted = wanted || audience_wants_members(e->rules->list[i].to);
    rules_silences(e->rules, e->silences);
    if (!wanted)
        return;
    e->members = members_new(CONTAINERS_MAX);
    rules_use_members(e->rules, e->members);
}

struct engine *engine_new(const struct slice *slice, engine_fn *fn, void *arg, struct faults *faults)
{
    static char installation[] = "replay";
    struct engine *e = xcalloc(1, sizeof *e);
    e->fn = fn;
    e->arg = arg;
    e->clock = STORE_CLOCK;
    e->due_ms = -1;
    e->options.installation = installation;
    e->options.log_limit_bytes = -1;
    e->rules = rules_new(slice, faults);
    e->silences = silences_new(NULL);
    if (e->rules)
        use_members(e);
    if (!e->rules || open_store(e, faults))
        engine_free(&e);
    return e;
}

void engine_free(struct engine **p)
{
    struct engine *e = *p;
    if (!e)
        return;
    *p = NULL;
    if (e->in_progress)
        db_rollback(&e->db);
    if (e->is_open)
        store_db_close(&e->db);
    rules_free(&e->rules);
    silences_free(&e->silences);
    members_free(&e->members);
    free(e->options.path);
    free(e->bridge);
    free(e);
}

const struct engine_counts *engine_counts(const struct engine *e)
{
    return &e->counts;
}

struct rules *engine_rules(struct engine *e)
{
    return e->rules;
}

struct silences *engine_silences(struct engine *e)
{
    return e->silences;
}

const char *engine_trouble(const struct engine *e)
{
    return e->trouble[0] ? e->trouble : NULL;
}
