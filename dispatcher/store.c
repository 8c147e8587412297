/*
 * The store as the loop sees it: submits units to the store's thread, gets them back through an eventfd, and
 * keeps copies of what is asked for often (marks, facts), as of the last completed unit.
 */
#include "dispatcher/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "dispatcher/store_parts.h"

enum { STACK_BYTES = 512 * 1024, LOCK_WAIT_MS = 10000, OPENING_BYTES = 1024 * 1024 };
static const int64_t day_ms = 24 * 3600 * 1000;
static const int64_t mebibyte = 1024 * 1024;

const char *const job_state_names[JOB_STATES + 1] = {[JOB_QUEUED] = "queued",
                                                     [JOB_LEASED] = "leased",
                                                     [JOB_HELD] = "held",
                                                     [JOB_SENT] = "sent",
                                                     [JOB_DELIVERED] = "delivered",
                                                     [JOB_UNDELIVERED] = "undelivered",
                                                     [JOB_SUPPRESSED] = "suppressed",
                                                     [JOB_MERGED] = "merged",
                                                     [JOB_EXPIRED] = "expired",
                                                     [JOB_CANCELLED] = "cancelled",
                                                     [JOB_UNCERTAIN] = "uncertain",
                                                     [JOB_DEAD] = "dead",
                                                     [JOB_DAMAGED] = "damaged"};

const char *const store_why_names[WHY_COUNT + 1] = {
    [WHY_NOTHING] = "rings",
    [WHY_EMPTY] = "empty message",
    [WHY_SILENCE] = "silence",
    [WHY_OPT_OUT] = "opted out",
    [WHY_UNKNOWN] = "unknown person",
    [WHY_NUMBER] = "number",
    [WHY_STALE] = "stale",
    [WHY_DUPLICATE] = "duplicate",
    [WHY_THROTTLE] = "throttle",
    [WHY_QUIET] = "quiet hours",
    [WHY_DIGEST] = "digest",
    [WHY_STORM] = "storm",
    [WHY_BUDGET] = "budget",
    [WHY_CAPS] = "caps",
    [WHY_SHADOW] = "shadow",
};

void store_job_free(struct store_job *j)
{
    char *const texts[] = {j->bridge, j->rule, j->provider,  j->number, j->from,
                           j->text,   j->item, j->container, j->reason, j->provider_id};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    if (j->noise)
        free(j->noise->context);
    free(j->noise);
    memset(j, 0, sizeof *j);
}

/* ---- the loop's copy of the facts; a mark is the fact "mark:<bridge>" ---- */

const char *store_fact(struct store *s, const char *name)
{
    return facts_get(s->facts, name);
}

const char *store_fact_next(struct store *s, const char *prefix, size_t *cursor, const char **value)
{
    return facts_next(s->facts, prefix, cursor, value);
}

int64_t store_mark_ms(struct store *s, const char *bridge)
{
    char *name = xasprintf("mark:%s", bridge);
    const char *value = store_fact(s, name);
    free(name);
    return value ? strtoll(value, NULL, 10) : -1;
}

static void move_mark(struct store *s, const struct store_intake *in)
{
    if (in->mark_ms < 0 || in->mark_ms <= store_mark_ms(s, in->bridge))
        return;
    char value[32], *name = xasprintf("mark:%s", in->bridge);
    sqlite3_snprintf(sizeof value, value, "%lld", (long long)in->mark_ms);
    facts_set(s->facts, name, value);
    free(name);
}

/* ---- completion ---- */

/* The loop's counts follow what is on disk. */
static void tally_jobs(struct store *s, const struct store_job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tallies_add_job(&s->tallies, &jobs[i]);
    tallies_saved(&s->tallies);
}

static void tally_unit(struct store *s, const struct store_unit *unit)
{
    if (unit->kind == STORE_INTAKE) {
        const struct store_intake *in = (const struct store_intake *)unit;
        for (size_t i = 0; i < in->count; i++) {
            const struct store_decision *d = &in->decisions[i];
            if (d->known == STORE_NEW && !d->try_only)
                tally_jobs(s, d->jobs, d->jobs_count);
        }
    } else if (unit->kind == STORE_CLOSE && ((const struct store_close *)unit)->applied) {
        tally_jobs(s, ((const struct store_close *)unit)->job, 1);
    } else if (unit->kind == STORE_EXPAND && ((const struct store_expand *)unit)->applied) {
        const struct store_expand *e = (const struct store_expand *)unit;
        tally_jobs(s, e->jobs, e->jobs_count);
        if (e->end)
            tallies_add(&s->tallies, e->rule, e->why, 1, 0, 0);
    }
}

const struct store_tally *store_tallies(struct store *s, size_t *count)
{
    *count = s->tallies.count;
    return s->tallies.list;
}

static void complete(struct store *s, struct store_unit *unit)
{
    enum store_status status = unit->status;
    if (status == STORE_OK)
        tally_unit(s, unit);
    if (status == STORE_OK && unit->kind == STORE_INTAKE)
        move_mark(s, (const struct store_intake *)unit);
    if (status == STORE_OK && unit->kind == STORE_FACT) {
        const struct store_fact *fact = (const struct store_fact *)unit;
        facts_set(s->facts, fact->name, fact->value);
    }
    s->completed++;
    unit->done(unit, status);
}

static void tell_health(struct store *s)
{
    struct store_health now;
    store_health(s, &now);
    if (now.accepting == s->told_accepting && now.trouble == s->told_trouble)
        return;
    s->told_accepting = now.accepting;
    s->told_trouble = now.trouble;
    if (s->on_health)
        s->on_health(s->on_health_arg);
}

static void deliver(struct store *s)
{
    struct store_units finished = {0};
    pthread_mutex_lock(&s->lock);
    store_units_move(&finished, &s->finished);
    pthread_mutex_unlock(&s->lock);
    struct store_unit *unit;
    while ((unit = store_units_take(&finished)))
        complete(s, unit);
    tell_health(s);
}

static void woken(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0 && errno != EAGAIN)
        panic("eventfd: %s", strerror(errno));
    deliver(arg);
}

void store_submit(struct store *s, struct store_unit *unit)
{
    unit->again = false;
    if (unit->kind == STORE_LIST)
        ((struct store_list *)unit)->cursor = 0;
    s->submitted++;
    pthread_mutex_lock(&s->lock);
    bool was_idle = s->pending.head == NULL;
    store_units_add(&s->pending, unit);
    if (was_idle)
        pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

/* ---- asking ---- */

void store_on_health(struct store *s, void (*fn)(void *arg), void *arg)
{
    s->on_health = fn;
    s->on_health_arg = arg;
}

void store_health(struct store *s, struct store_health *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->health;
    pthread_mutex_unlock(&s->lock);
    out->queued_units = s->submitted - s->completed;
}

const struct hash_id *store_identity(const struct store *s)
{
    return &s->db.identity;
}

int64_t store_now_ms(struct store *s)
{
    return store_clock_now(&s->clock);
}

int64_t store_clock_behind_ms(struct store *s)
{
    int64_t behind = store_clock_now(&s->clock) - clock_wall_ms();
    return behind > 0 ? behind : 0;
}

struct store_job *store_take_leased(struct store *s, size_t *count)
{
    struct store_job *leased = s->leased;
    *count = s->leased_count;
    s->leased = NULL;
    s->leased_count = 0;
    return leased;
}

struct store_attempt *store_take_attempts(struct store *s, size_t *count)
{
    struct store_attempt *attempts = s->attempts;
    *count = s->attempts_count;
    s->attempts = NULL;
    s->attempts_count = 0;
    return attempts;
}

/* ---- opening ---- */

/* "sqlite:PATH" -> PATH; NULL with a fault for anything else. */
static char *path_of(const struct slice_block *b, struct faults *faults)
{
    static const char scheme[] = "sqlite:";
    const struct slice_setting *v = slice_get(b, "store");
    const char *text = v && v->text ? v->text : "sqlite:/var/lib/bridgebell/queue.db";
    const char *path = text + sizeof scheme - 1;
    if (strncmp(text, scheme, sizeof scheme - 1) == 0 && *path && path[strlen(path) - 1] != '/')
        return xstrdup(path);
    faults_add(faults, b ? b->file : NULL, v ? v->line : 0, "store: \"%s\" is not \"sqlite:PATH\"", text);
    return NULL;
}

static int read_options(struct store *s, const struct slice *slice, struct faults *faults)
{
    const struct slice_block *b = slice_find(slice, "dispatcher", NULL);
    const struct slice_setting *free_setting = slice_get(b, "min_free");
    struct store_options *o = &s->options;
    o->path = path_of(b, faults);
    o->retention_ms = slice_number(b, "retention", 30 * day_ms);
    o->log_limit_bytes = slice_number(b, "log_limit", 16 * mebibyte);
    o->min_free_bytes = slice_number(b, "min_free", 64 * mebibyte);
    o->min_free_is_default = !free_setting || free_setting->line == 0;
    o->lock_wait_ms = slice_number(b, "lock_wait", LOCK_WAIT_MS);
    const char *installation = slice_text(slice_find(slice, "bridgebell", NULL), "installation", NULL);
    o->installation = installation && *installation ? xstrdup(installation) : NULL;
    return o->path ? 0 : -1;
}

static void load_facts(struct store *s)
{
    sqlite3_stmt *st = db_stmt(&s->db, SQL_FACT_ALL);
    while (db_row(&s->db, st))
        facts_set(s->facts, (const char *)sqlite3_column_text(st, 0),
                  (const char *)sqlite3_column_text(st, 1));
}

static void copy_tallies(struct store *s)
{
    for (size_t i = 0; i < s->db.tallies.count; i++) {
        const struct store_tally *one = &s->db.tallies.list[i];
        tallies_add(&s->tallies, one->rule, one->why, one->jobs, one->parts, one->price_micro);
    }
    tallies_saved(&s->tallies);
}

static int load_leased(struct store *s)
{
    struct store_jobs jobs = {0};
    struct store_standing *bad = NULL;
    size_t bad_count = 0;
    db_begin(&s->db);
    sqlite3_stmt *st = db_stmt(&s->db, SQL_LEASED);
    while (db_row(&s->db, st)) {
        struct store_job job;
        struct store_standing standing;
        if (store_row_job(&s->db.scratch, st, &job, &standing) && standing.intact) {
            *store_jobs_add(&jobs) = job;
            continue;
        }
        store_job_free(&job);
        bad = xreallocarray(bad, bad_count + 1, sizeof *bad);
        bad[bad_count++] = standing;
    }
    for (size_t i = 0; i < bad_count; i++)
        store_row_damaged(&s->db, &bad[i], "leased");
    free(bad);
    s->leased = jobs.list;
    s->leased_count = jobs.count;
    s->attempts = store_attempts_load(&s->db, &s->attempts_count);
    store_digests_reclaim(&s->db);
    return db_commit(&s->db);
}

static int start_threads(struct store *s)
{
    pthread_attr_t attr;
    if (store_checkpoint_start(&s->checkpoint, &s->options, &s->witness) != SQLITE_OK)
        return -1;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    s->running = pthread_create(&s->thread, &attr, store_worker_main, s) == 0;
    pthread_attr_destroy(&attr);
    return s->running ? 0 : -1;
}

static void init(struct store *s)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    s->lock_fd = -1;
    s->facts = facts_new();
    s->clock = STORE_CLOCK;
    s->purge.cursor = -1;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        panic("eventfd: %s", strerror(errno));
    s->event = event_new(loop_base(), s->wake_fd, EV_READ | EV_PERSIST, woken, s);
    if (!s->event || event_add(s->event, NULL))
        panic("libevent takes no eventfd");
}

static void begin_health(struct store *s)
{
    s->health.accepting = s->told_accepting = true;
    for (int i = 0; i < JOB_STATES; i++)
        s->health.jobs[i] = s->db.counts[i] > 0 ? (uint64_t)s->db.counts[i] : 0;
    store_space_look(&s->space);
    s->health.free_bytes = (uint64_t)s->space.free_bytes;
}

/* The lock first: nobody looks at files that another process is changing. */
static int open_files(struct store *s, struct faults *faults)
{
    const char *path = s->options.path;
    struct store_recovery recovery;
    if (store_flush_directory(path) != 0) {
        faults_add(faults, path, 0, "the store cannot be made: %s", strerror(errno));
        return -1;
    }
    s->lock_fd = store_lock_take(&s->options, faults);
    if (s->lock_fd < 0 || store_witness_open(&s->witness, path, faults) != 0 ||
        store_recover(&s->db, &s->witness, &s->options, &s->clock, &recovery, faults) != 0)
        return -1;
    s->health.was_damaged = recovery.damaged;
    s->health.unread_transactions = (uint64_t)recovery.unread;
    return 0;
}

/* After a failed opening. True if there is room now that was not there before. */
static bool make_room(struct store *s, bool *no_room)
{
    struct stat st;
    if (!s->space.reserve_path)
        return false;
    store_space_look(&s->space);
    *no_room = s->space.free_bytes < OPENING_BYTES;
    if (!*no_room || stat(s->space.reserve_path, &st) != 0)
        return false;
    s->space.reserve_bytes = st.st_size;
    return store_space_release(&s->space);
}

/* *ROOM_MADE: it failed, but may not fail a second time. */
static struct store *open_once(const struct slice *slice, bool *no_room, bool *room_made,
                               struct faults *faults)
{
    struct store *s = xcalloc(1, sizeof *s);
    init(s);
    if (read_options(s, slice, faults) != 0)
        goto failed;
    store_space_init(&s->space, &s->options);
    s->space.given_away = *room_made;
    *room_made = *no_room = false;
    if (open_files(s, faults) != 0)
        goto failed;
    begin_health(s);
    load_facts(s);
    copy_tallies(s);
    if (load_leased(s) != SQLITE_OK || start_threads(s) != 0) {
        faults_add(faults, s->options.path, 0, "the store does not start: %s", sqlite3_errmsg(s->db.sql));
        goto failed;
    }
    return s;
failed:
    *room_made = make_room(s, no_room);
    store_close(&s);
    return NULL;
}

struct store *store_open_if_room(const struct slice *slice, bool *no_room, struct faults *faults)
{
    bool room_made = false;
    *no_room = false;
    struct store *s = open_once(slice, no_room, &room_made, faults);
    if (s || !room_made)
        return s;
    log_warn("no room to open the store: its reserve is given away");
    faults_free(faults);
    return open_once(slice, no_room, &room_made, faults);
}

struct store *store_open(const struct slice *slice, struct faults *faults)
{
    bool no_room;
    return store_open_if_room(slice, &no_room, faults);
}

/* ---- closing ---- */

static void stop_thread(struct store *s)
{
    if (!s->running)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    s->running = false;
}

static void free_store(struct store *s)
{
    facts_free(&s->facts);
    for (size_t i = 0; i < s->leased_count; i++)
        store_job_free(&s->leased[i]);
    free(s->leased);
    free(s->attempts);
    tallies_free(&s->tallies);
    store_space_free(&s->space);
    free(s->options.path);
    free(s->options.installation);
    event_free(s->event);
    close(s->wake_fd);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s);
}

void store_finish(struct store *s)
{
    stop_thread(s);
    deliver(s);
}

void store_close(struct store **store)
{
    struct store *s = *store;
    if (!s)
        return;
    store_finish(s);
    bool opened = s->stopping; /* its thread had been running */
    /* Noted as copied before the log goes, so that its absence is no riddle if we are killed here. */
    bool clean = opened && !s->lost && store_checkpoint_last(&s->checkpoint, &s->db) == SQLITE_OK;
    store_checkpoint_stop(&s->checkpoint);
    /* SQLite removes a log also when it could not copy it, which the witness takes for damage. */
    if (clean)
        store_db_close(&s->db);
    else
        store_db_abandon(&s->db);
    store_witness_close(&s->witness, clean);
    store_lock_give(s->lock_fd);
    free_store(s);
    *store = NULL;
}
