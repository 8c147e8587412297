/*
 * The store's thread: takes whatever was submitted, runs it in one transaction, and gives it back when that
 * is on disk.
 *
 * What fails, fails as a whole. If the disk is full the reserve is given away, intake is refused, and what
 * finishes jobs is tried again without it; in the end outcomes alone. If the disk fails otherwise, all units
 * of the transaction fail. Anything else concerns one unit only, and they are tried one by one to find it.
 * While intake is closed a small write is tried every second; when it succeeds and there is room for the
 * reserve, intake opens again.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "dispatcher/store_parts.h"

enum {
    GROUP_WEIGHT = 1000, /* jobs of one transaction, so that nobody waits for a large one */
    LOOK_EVERY_MS = 1000,
    MARKS_EVERY_MS = 1000,
    DUE_EVERY_MS = 250,
    TICK_MS = 250,
    COMPANY_MS = 3,
    PATIENT_WEIGHT = 200,
    REBUILD_EVERY_MS = 10000
};

static const char disk_full[] = "the disk is full";
static const char disk_low[] = "little space is left on the disk";
static const char disk_fails[] = "writing to the disk fails";
static const char damaged[] = "the database is damaged";

/* ---- lists of units ---- */

void store_units_add(struct store_units *u, struct store_unit *unit)
{
    unit->next = NULL;
    if (u->tail)
        u->tail->next = unit;
    else
        u->head = unit;
    u->tail = unit;
    u->count++;
}

struct store_unit *store_units_take(struct store_units *u)
{
    struct store_unit *unit = u->head;
    if (!unit)
        return NULL;
    u->head = unit->next;
    if (!u->head)
        u->tail = NULL;
    u->count--;
    unit->next = NULL;
    return unit;
}

void store_units_move(struct store_units *to, struct store_units *from)
{
    if (!from->head)
        return;
    if (to->tail)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->count += from->count;
    memset(from, 0, sizeof *from);
}

/* ---- kinds ---- */

static const struct {
    void (*run)(struct store_db *db, struct store_unit *unit);
    void (*landed)(struct store_unit *unit); /* after the commit */
    void (*reset)(struct store_unit *unit);  /* after a rollback */
} kinds[STORE_KINDS] = {
    [STORE_INTAKE] = {store_intake_run, store_intake_landed, NULL},
    [STORE_CHANGES] = {store_changes_run, NULL, NULL},
    [STORE_CLAIM] = {store_claim_run, NULL, store_claim_reset},
    [STORE_LIST] = {store_list_run, NULL, store_list_reset},
    [STORE_CANCEL] = {store_by_hand_run, NULL, NULL},
    [STORE_FACT] = {store_fact_run, NULL, NULL},
    [STORE_DIGESTS] = {store_digests_run, NULL, store_digests_reset},
    [STORE_CLOSE] = {store_close_run, NULL, NULL},
    [STORE_PARENTS] = {store_parents_run, NULL, store_parents_reset},
    [STORE_EXPAND] = {store_expand_run, store_expand_landed, NULL},
};

static size_t weight(const struct store_unit *unit)
{
    enum { LIGHT = 1, HEAVY = 100 };
    if (unit->kind == STORE_CLOSE)
        return LIGHT;
    if (unit->kind == STORE_EXPAND)
        return ((const struct store_expand *)unit)->jobs_count + LIGHT;
    if (unit->kind == STORE_CHANGES)
        return ((const struct store_changes *)unit)->count + LIGHT;
    if (unit->kind == STORE_CLAIM)
        return ((const struct store_claim *)unit)->limit + LIGHT;
    if (unit->kind != STORE_INTAKE)
        return HEAVY;
    const struct store_intake *in = (const struct store_intake *)unit;
    size_t sum = LIGHT + in->count;
    for (size_t i = 0; i < in->count; i++)
        sum += in->decisions[i].jobs_count;
    return sum;
}

static void cut_group(struct store_units *work, struct store_units *group)
{
    size_t sum = 0;
    while (work->head && (sum == 0 || sum + weight(work->head) <= GROUP_WEIGHT)) {
        sum += weight(work->head);
        store_units_add(group, store_units_take(work));
    }
}

/* ---- what becomes of units ---- */

static void give_back(struct store *s, struct store_units *units, enum store_status status)
{
    if (!units->head)
        return;
    for (struct store_unit *u = units->head; u; u = u->next)
        u->status = status;
    pthread_mutex_lock(&s->lock);
    store_units_move(&s->finished, units);
    pthread_mutex_unlock(&s->lock);
}

static void committed(struct store *s, struct store_units *group)
{
    struct store_units complete = {0};
    struct store_unit *unit;
    while ((unit = store_units_take(group))) {
        if (kinds[unit->kind].landed)
            kinds[unit->kind].landed(unit);
        store_units_add(unit->again ? &s->work : &complete, unit);
    }
    give_back(s, &complete, STORE_OK);
}

/* Puts units of the kinds in MASK (1u << kind) into OUT, leaves the others. */
static void sort_out(struct store_units *group, unsigned mask, struct store_units *out)
{
    struct store_units rest = {0};
    struct store_unit *unit;
    while ((unit = store_units_take(group)))
        store_units_add(mask >> unit->kind & 1 ? out : &rest, unit);
    *group = rest;
}

/* ---- one transaction ---- */

static void note_commit(struct store *s, uint64_t us, size_t units)
{
    enum { HALF_MINUTE_MS = 30000 };
    int64_t now = (int64_t)clock_mono_ms();
    struct store_health *h = &s->health;
    pthread_mutex_lock(&s->lock);
    if (now - s->commit_max_since_ms > HALF_MINUTE_MS) {
        s->commit_max_before_us = s->commit_max_us;
        s->commit_max_us = 0;
        s->commit_max_since_ms = now;
    }
    if (us > s->commit_max_us)
        s->commit_max_us = us;
    h->commits++;
    h->units += units;
    h->commit_us_last = us;
    h->commit_us_max =
        s->commit_max_us > s->commit_max_before_us ? s->commit_max_us : s->commit_max_before_us;
    for (int i = 0; i < JOB_STATES; i++)
        h->jobs[i] = s->db.counts[i] > 0 ? (uint64_t)s->db.counts[i] : 0;
    pthread_mutex_unlock(&s->lock);
}

static int attempt(struct store *s, struct store_units *group)
{
    uint64_t from_ns = clock_mono_ns();
    db_begin(&s->db);
    for (struct store_unit *u = group->head; u && s->db.rc == SQLITE_OK; u = u->next) {
        u->again = false;
        kinds[u->kind].run(&s->db, u);
    }
    int rc = db_commit(&s->db);
    if (rc == SQLITE_OK) {
        note_commit(s, (clock_mono_ns() - from_ns) / 1000, group->count);
        store_checkpoint_look(&s->checkpoint, s->db.wal_frames);
        return rc;
    }
    /* Once in a trouble, not at every try that confirms it. */
    log_write(s->trouble ? LOG_DEBUG : LOG_ERROR, "commit failed", log_str("error", sqlite3_errstr(rc)),
              log_int("code", rc), log_int("errno", sqlite3_system_errno(s->db.sql)),
              log_int("units", (int64_t)group->count), LOG_END);
    db_rollback(&s->db);
    for (struct store_unit *u = group->head; u; u = u->next)
        if (kinds[u->kind].reset)
            kinds[u->kind].reset(u);
    pthread_mutex_lock(&s->lock);
    s->health.failed_commits++;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static bool is_full(struct store *s, int rc)
{
    int error = sqlite3_system_errno(s->db.sql);
    return (rc & 0xff) == SQLITE_FULL ||
           ((rc & 0xff) == SQLITE_IOERR && (error == ENOSPC || error == EDQUOT));
}

static bool is_damage(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

/* Trouble of the disk, not of one unit. */
static bool is_disk(int rc)
{
    int kind = rc & 0xff;
    return kind == SQLITE_IOERR || kind == SQLITE_READONLY || kind == SQLITE_CANTOPEN ||
           kind == SQLITE_BUSY || kind == SQLITE_PROTOCOL || kind == SQLITE_NOMEM;
}

static void set_trouble(struct store *s, const char *trouble)
{
    if (s->trouble == trouble)
        return;
    if (trouble)
        log_error("store closed for intake", log_str("why", trouble));
    else
        log_info("store open for intake");
    s->trouble = trouble;
    /* What fails once may work at the next try. */
    s->looked_ms = (int64_t)clock_mono_ms() - LOOK_EVERY_MS + TICK_MS;
    pthread_mutex_lock(&s->lock);
    s->health.trouble = trouble;
    s->health.accepting = trouble == NULL;
    pthread_mutex_unlock(&s->lock);
}

/* ---- damage found at work ---- */

/* As at a start: what reads goes into a new database, and work goes on with that. */
static void rebuild(struct store *s)
{
    struct store_recovery recovery;
    struct faults faults = {0};
    set_trouble(s, damaged);
    store_checkpoint_stop(&s->checkpoint);
    store_db_abandon(&s->db);
    int rc = store_salvage(&s->options, &s->witness.record.identity, &faults);
    s->witness.found = false;
    if (rc == 0)
        rc = store_recover(&s->db, &s->witness, &s->options, &s->clock, &recovery, &faults);
    if (rc == 0 && store_checkpoint_start(&s->checkpoint, &s->options, &s->witness) != SQLITE_OK)
        rc = -1;
    for (size_t i = 0; i < faults.count; i++)
        log_error("store not rebuilt", log_str("why", faults.list[i].text));
    faults_free(&faults);
    s->lost = rc != 0;
    if (s->lost)
        return;
    pthread_mutex_lock(&s->lock);
    s->health.was_damaged = true;
    pthread_mutex_unlock(&s->lock);
    set_trouble(s, NULL);
}

/* ---- a group with its failures ---- */

static void run_full(struct store *s, struct store_units *group)
{
    /* Each turn has less to write or more room; the last resort is to give outcomes back as well. */
    static const unsigned outcomes = 1u << STORE_CHANGES;
    struct store_units refused = {0};
    store_space_release(&s->space);
    set_trouble(s, disk_full);
    sort_out(group, 1u << STORE_INTAKE, &refused);
    if (group->head && attempt(s, group) == SQLITE_OK)
        committed(s, group);
    sort_out(group, ~outcomes, &refused);
    if (group->head && attempt(s, group) == SQLITE_OK)
        committed(s, group);
    store_units_move(&refused, group);
    give_back(s, &refused, STORE_FULL);
}

static void run_one_by_one(struct store *s, struct store_units *group)
{
    struct store_unit *unit;
    while ((unit = store_units_take(group))) {
        struct store_units one = {0};
        store_units_add(&one, unit);
        if (attempt(s, &one) == SQLITE_OK)
            committed(s, &one);
        else
            give_back(s, &one, STORE_FAILED);
    }
}

/* A log at its limit that cannot be copied is as bad as a commit that fails, only earlier. */
static void bound_log(struct store *s)
{
    int rc = store_checkpoint_force(&s->checkpoint, &s->db);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY || s->trouble)
        return;
    log_error("the log cannot be copied", log_str("error", sqlite3_errstr(rc)),
              log_int("errno", sqlite3_system_errno(s->db.sql)));
    if (is_full(s, rc))
        store_space_release(&s->space);
    set_trouble(s, is_full(s, rc) ? disk_full : disk_fails);
}

static void run_group(struct store *s, struct store_units *group)
{
    if (s->trouble) {
        struct store_units refused = {0};
        sort_out(group, 1u << STORE_INTAKE, &refused);
        bool full = s->trouble == disk_full || s->trouble == disk_low;
        give_back(s, &refused, full ? STORE_FULL : STORE_FAILED);
    }
    if (s->lost)
        give_back(s, group, STORE_FAILED);
    if (!group->head)
        return;
    bound_log(s);
    int rc = attempt(s, group);
    if (rc == SQLITE_OK) {
        committed(s, group);
    } else if (is_full(s, rc)) {
        run_full(s, group);
    } else if (is_damage(rc)) {
        give_back(s, group, STORE_FAILED);
        rebuild(s);
    } else if (is_disk(rc)) {
        set_trouble(s, disk_fails);
        give_back(s, group, STORE_FAILED);
    } else {
        run_one_by_one(s, group);
    }
}

/* ---- chores ---- */

static void publish_space(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    s->health.db_bytes = (uint64_t)s->space.db_bytes;
    s->health.wal_bytes = (uint64_t)s->space.wal_bytes;
    s->health.free_bytes = (uint64_t)s->space.free_bytes;
    pthread_mutex_unlock(&s->lock);
}

/* A write that changes nothing; true if the disk takes it. */
static bool probe(struct store *s)
{
    db_begin(&s->db);
    s->db.clock_saved_ms = 0;
    db_meta_set(&s->db, "probe", "");
    if (db_commit(&s->db) == SQLITE_OK)
        return true;
    db_rollback(&s->db);
    return false;
}

static void look_at_space(struct store *s)
{
    store_space_look(&s->space);
    publish_space(s);
    bool low = store_space_low(&s->space);
    if (!low && store_space_reserve(&s->space, s->db.counts[JOB_LEASED]) != 0)
        low = true;
    if (low && !s->trouble)
        set_trouble(s, disk_low);
    else if (!low && s->trouble && probe(s))
        set_trouble(s, NULL);
}

static void look_at_due(struct store *s)
{
    struct store_waiting waiting = {.count = 0};
    int64_t oldest = s->db.counts[JOB_QUEUED] > 0 ? store_oldest_due(&s->db, &waiting) : 0;
    db_clear(&s->db);
    pthread_mutex_lock(&s->lock);
    s->health.oldest_due_ms = oldest;
    s->health.waiting = waiting;
    pthread_mutex_unlock(&s->lock);
}

static void save_marks(struct store *s)
{
    if (s->trouble || !store_marks_dirty(&s->db))
        return;
    db_begin(&s->db);
    store_marks_save(&s->db);
    if (db_commit(&s->db) != SQLITE_OK)
        db_rollback(&s->db);
}

static void do_chores(struct store *s)
{
    int64_t now = (int64_t)clock_mono_ms();
    if (s->lost) {
        if (now - s->looked_ms >= REBUILD_EVERY_MS) {
            s->looked_ms = now;
            rebuild(s);
        }
        return;
    }
    if (now - s->due_looked_ms >= DUE_EVERY_MS) {
        s->due_looked_ms = now;
        look_at_due(s);
    }
    if (now - s->marks_ms >= MARKS_EVERY_MS) {
        s->marks_ms = now;
        save_marks(s);
    }
    if (now - s->looked_ms >= LOOK_EVERY_MS) {
        s->looked_ms = now;
        look_at_space(s);
    }
    if (!s->trouble) {
        store_purge_step(&s->purge, &s->db, now);
        store_sweep_step(&s->sweep, &s->db, now);
    }
}

/* ---- the thread ---- */

static struct timespec in_ms(long ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ms * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_nsec -= 1000000000L;
        t.tv_sec++;
    }
    return t;
}

static void wait_for_work(struct store *s)
{
    struct timespec until = in_ms(TICK_MS);
    while (!s->pending.head && !s->stopping)
        if (pthread_cond_timedwait(&s->wake, &s->lock, &until) != 0)
            return;
}

/* Nobody waits for outcomes alone: they wait a moment for what somebody waits for, which then need not wait
 * for their commit to end. */
static bool is_patient(const struct store *s)
{
    size_t sum = 0;
    for (const struct store_unit *u = s->work.head; u; u = u->next) {
        sum += weight(u);
        if (u->kind != STORE_CHANGES || sum > PATIENT_WEIGHT)
            return false;
    }
    return s->work.head && !s->stopping;
}

static void wait_for_company(struct store *s)
{
    struct timespec until = in_ms(COMPANY_MS);
    int rc = 0;
    while (rc == 0 && is_patient(s)) {
        rc = s->pending.head ? 0 : pthread_cond_timedwait(&s->wake, &s->lock, &until);
        store_units_move(&s->work, &s->pending);
    }
}

/* False when the store is closing and nothing is left to do. */
static bool take_work(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    if (!s->work.head)
        wait_for_work(s);
    store_units_move(&s->work, &s->pending);
    wait_for_company(s);
    bool go_on = s->work.head || !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

static void tell_loop(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    bool news = s->finished.head || s->health.trouble != s->posted_trouble;
    s->posted_trouble = s->health.trouble;
    pthread_mutex_unlock(&s->lock);
    uint64_t one = 1;
    if (news && write(s->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        log_error("store cannot wake the loop", log_errno(errno));
}

void *store_worker_main(void *store)
{
    struct store *s = store;
    prctl(PR_SET_NAME, "store");
    while (take_work(s)) {
        struct store_units group = {0};
        cut_group(&s->work, &group);
        if (group.head)
            run_group(s, &group);
        tell_loop(s);
        do_chores(s);
        tell_loop(s);
    }
    save_marks(s);
    return NULL;
}
