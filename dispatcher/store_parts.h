/*
 * What the files of the SQLite store share; private to dispatcher/store*.c and their tests.
 *
 * struct store_db is one open database with its prepared statements. It belongs to the store's thread from
 * the moment that runs; nobody else touches it. Errors are sticky: the first failing call leaves its SQLite
 * code in `rc`, later calls do nothing and report failure, and whoever drives the transaction looks once.
 */
#ifndef DISPATCHER_STORE_PARTS_H
#define DISPATCHER_STORE_PARTS_H

#include <pthread.h>
#include <sqlite3.h>

#include "core/buf.h"
#include "dispatcher/facts.h"
#include "dispatcher/store.h"
#include "dispatcher/store_counter.h"
#include "dispatcher/store_page.h"
#include "dispatcher/store_tally.h"
#include "dispatcher/store_wal.h"

/* ---- store_clock.c: the store's time ---- */
/* Advances with the machine's boot-time clock and never falls behind the host's wall clock; while it is ahead
 * of that it runs a 32nd slower, so that it is met again and 23 hours of it are still less than 24. */
struct store_clock {
    pthread_mutex_t lock;
    int64_t base_ms; /* store time when the boot-time clock showed base_boot_ms */
    uint64_t base_boot_ms;
    bool slow; /* it was ahead of the host at that moment */
    int64_t last_ms;
    bool started;
};
/* STORE_CLOCK is one that stands still until it is started. */
#define STORE_CLOCK ((struct store_clock){.lock = PTHREAD_MUTEX_INITIALIZER})
void store_clock_start(struct store_clock *c, int64_t recorded_ms, int64_t wall_ms, uint64_t boot_ms);
int64_t store_clock_at(struct store_clock *c, int64_t wall_ms, uint64_t boot_ms);
int64_t store_clock_now(struct store_clock *c);
/* The record of a clock, "now boot-time boot-id"; parsed into the time that has passed at least since. */
void store_clock_print(struct store_clock *c, char *out, size_t size);
int64_t store_clock_parse(const char *record, uint64_t boot_ms);

/* ---- the database ---- */
enum { STORE_SCHEMA_VERSION = 2, STORE_APPLICATION_ID = 0x42424c6c };

struct store_options {
    char *path; /* of the database; companions are path-lock, path-wal, path-reserve … */
    char *installation;
    int64_t retention_ms;
    int64_t log_limit_bytes;
    int64_t min_free_bytes;
    bool min_free_is_default;
    int64_t lock_wait_ms;
};

enum store_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_META_GET,
    SQL_META_SET,
    SQL_FACT_ALL,
    SQL_FACT_SET,
    SQL_FACT_REMOVE,
    SQL_EVENT_ADD,
    SQL_DELETION_ADD,
    SQL_DELETION_FIND,
    SQL_DELETION_ANY,
    SQL_JOB_ADD,
    SQL_JOB_BY_ROW,
    SQL_JOB_WORDS,
    SQL_STANDING_BY_ROW,
    SQL_STANDING_BY_ID,
    SQL_STANDING_ANYWHERE,
    SQL_ROW_BOUNDS,
    SQL_STEP,
    SQL_ACCEPT,
    SQL_ACCEPT_LEASED,
    SQL_OF_ITEM,
    SQL_OF_CONTAINER,
    SQL_LEASED_ITEMS,
    SQL_LEASED,
    SQL_DUE,
    SQL_NEXT_DUE,
    SQL_OLDEST_AFTER,
    SQL_LIST_ROWS,
    SQL_LIST_STATE,
    SQL_LIST_IDS,
    SQL_SWEEP,
    SQL_PURGE_LOOK,
    SQL_PURGE_JOB,
    SQL_PURGE_EVENTS,
    SQL_PURGE_DELETIONS,
    SQL_ATTEMPTS_ADD,
    SQL_ATTEMPTS_ALL,
    SQL_ATTEMPTS_PURGE,
    SQL_PURGE_COUNTERS,
    SQL_PURGE_COUNTERS_NEXT,
    SQL_COUNTER_GET,
    SQL_COUNTER_SET,
    SQL_DIGEST_OPEN,
    SQL_DIGEST_STALE,
    SQL_DIGEST_ADD,
    SQL_DIGEST_TAKE,
    SQL_DIGEST_SET,
    SQL_DIGEST_DUE,
    SQL_DIGEST_NEXT,
    SQL_DIGEST_BY_ROW,
    SQL_DIGEST_FREEZE,
    SQL_DIGEST_THAW,
    SQL_DIGEST_FOLD,
    SQL_DIGEST_RECLAIM,
    SQL_DIGEST_DOUBT,
    SQL_DIGEST_DROP,
    SQL_DIGEST_ORPHANS,
    SQL_JOB_FILL,
    SQL_TALLY_ALL,
    SQL_TALLY_SET,
    SQL_PARENT_ADD,
    SQL_PARENT_LIST,
    SQL_PARENT_DROP,
    SQL_PARENT_EXPIRED,
    SQL_SAVE,
    SQL_SAVE_BACK,
    SQL_SAVE_END,
    SQL_COUNT
};

/* A mark as it stands after the units run so far; saved lazily when nothing else is written. */
struct store_mark {
    char *bridge;
    int64_t ms, saved_ms;
};

struct store_db {
    const struct store_options *options;
    struct store_clock *clock;
    sqlite3 *sql;
    sqlite3_stmt *stmts[SQL_COUNT];
    int rc;              /* first error since db_clear */
    bool damaged, newer; /* why it did not open */
    int opened_version;  /* of the schema, before it was brought to ours */
    int64_t now_ms;      /* store time of this transaction */
    int64_t clock_saved_ms;
    sqlite3_int64 changes_before; /* by this connection, before this transaction */
    int64_t counts[JOB_STATES], delta[JOB_STATES];
    bool any_deletions;
    struct store_mark *marks;
    size_t marks_count;
    struct counters counters;
    struct tallies tallies;
    struct buf scratch;
    struct hash_id identity;
    int64_t damaged_ms;            /* store time of the last damage; 0: never */
    int64_t wal_frames;            /* after the last commit */
    struct store_witness *witness; /* NULL: none is kept */
};

/* ---- store_witness.c: a note beside the database of what is on disk ----
 * Written without a flush after every commit, so that after anything but a power loss it is exact, and after
 * that it is a lower bound. It shows a log that is missing or too short, a database that is gone, and an
 * older copy of either. */
struct store_witness_record {
    char magic[8];
    struct hash_id identity;
    struct hash_id session, next_session; /* the same mark stands in the database; both while it changes */
    uint32_t salt[2];                     /* of the log */
    int64_t frames, transactions;         /* committed in that log */
    int64_t copied;                       /* of its frames, into the database */
    int64_t clean;                        /* closed with everything copied */
    int64_t schema;                       /* version that was written last */
    uint64_t schema_sum;
    uint64_t sum;
};
struct store_witness {
    int fd, wal_fd;
    char *wal_path;
    pthread_mutex_t lock;
    bool found; /* `record` was there at opening */
    struct store_witness_record record;
};
/* -1 with a fault. */
int store_witness_open(struct store_witness *w, const char *path, struct faults *faults);
/* From now on; flushed. */
void store_witness_session(struct store_witness *w, struct store_db *db, const struct hash_id *session,
                           const struct hash_id *next);
/* What the scan of the log found, before the first commit. */
void store_witness_start(struct store_witness *w, const struct store_wal *wal);
void store_witness_commit(struct store_witness *w, int64_t frames);
/* Which log is being copied, and how much of it has been. */
void store_witness_salts(struct store_witness *w, uint32_t salt[2]);
void store_witness_copied(struct store_witness *w, const uint32_t salt[2], int64_t frames);
void store_witness_close(struct store_witness *w, bool clean);

/* ---- store_recover.c, store_salvage.c ---- */
struct store_recovery {
    bool damaged;
    int64_t unread; /* transactions that SQLite would not have read */
};
/* Opens the database, whatever state it is in: damage is set aside and what reads is taken over. 0, or -1
 * with a fault. */
int store_recover(struct store_db *db, struct store_witness *w, const struct store_options *options,
                  struct store_clock *clock, struct store_recovery *out, struct faults *faults);
/* Builds a new database from every page of the old one and of its log that reads, moves the old ones aside.
 * IDENTITY may be NULL. */
int store_salvage(const struct store_options *options, const struct hash_id *identity, struct faults *faults);
/* Finishes a salvage that was interrupted while it moved files. */
int store_salvage_finish(const struct store_options *options, struct faults *faults);

/* ---- store_schema.c ---- */
/* Brings an empty or older database to the current schema. 0, or -1 with a fault and db->damaged or db->newer
 * set. */
int store_schema_bring(struct store_db *db, struct faults *faults);
/* Of the names, the roots and the words of all tables and indexes. */
uint64_t store_schema_sum(struct store_db *db);

/* ---- store_sqlite.c ---- */
/* Opens the file (made 0600 if missing) with this store's settings. SQLite's code. */
int store_sqlite_connect(const char *path, int64_t log_limit_bytes, sqlite3 **out);
/* Connects, brings the schema, prepares, reads identity, counts, clock and marks. 0, or -1 with a fault;
 * db->damaged and db->newer say whether the file is to blame. */
int store_db_open(struct store_db *db, const struct store_options *options, struct store_clock *clock,
                  struct faults *faults);
/* Whether pages and indexes agree; reads the whole file. */
bool store_db_check(struct store_db *db);
/* SQLite's code RC says that the file is damaged. */
bool store_is_damage(int rc);
/* Makes the file (0600) and puts its name on disk. -1 with errno. */
int store_make_file(const char *path);
/* Puts names in the directory of PATH on disk; makes the directory if its parent is there. -1 with errno. */
int store_flush_directory(const char *path);
void store_db_close(struct store_db *db);
/* Closes without copying and removing the log, which SQLite does otherwise. */
void store_db_abandon(struct store_db *db);
/* The statement, reset and ready to be bound. */
sqlite3_stmt *db_stmt(struct store_db *db, enum store_sql which);
/* One step; true if there is a row. False at the end (the statement is reset then) and on error. */
bool db_row(struct store_db *db, sqlite3_stmt *st);
/* Runs a statement that gives no rows; true if it worked. */
bool db_run(struct store_db *db, sqlite3_stmt *st);
/* Forgets an error, so that the next statement runs. */
void db_clear(struct store_db *db);
/* NULL is bound as NULL; neither is copied. */
void db_bind_text(sqlite3_stmt *st, int index, const char *text);
void db_bind_id(sqlite3_stmt *st, int index, const struct hash_id *id);
/* A text of the database as a string of the caller's; NULL stays NULL. */
char *db_text(sqlite3_stmt *st, int column);
/* False if the column is not exactly an identity. */
bool db_id(sqlite3_stmt *st, int column, struct hash_id *out);
/* NULL if there is none; the caller frees. */
char *db_meta(struct store_db *db, const char *name);
bool db_meta_set(struct store_db *db, const char *name, const char *value);
/* A row went from one state to another (-1: none). */
void db_count(struct store_db *db, int from, int to);

/* Runs the transaction's frame around units; all SQLite codes. A failed commit needs db_rollback. */
int db_begin(struct store_db *db);
int db_commit(struct store_db *db);
void db_rollback(struct store_db *db);

/* ---- store_row.c ---- */
/* The fields of a job that decide whether it is sent; read and written alone by steps. */
struct store_standing {
    int64_t row;
    struct hash_id id;
    enum job_state state;
    uint32_t attempt, failures, generation;
    bool pinned, cancel_wanted;
    int64_t first_attempt_ms, due_ms, finished_ms, expires_ms;
    uint64_t sum; /* of the fixed fields */
    bool intact;  /* matches its own checksum */
};
#define STORE_STANDING_COLUMNS                                                                               \
    "row, id, state, attempt, failures, generation, pinned, cancel_wanted, first_attempt_ms, due_ms, "       \
    "finished_ms, expires_ms, sum, state_sum"
#define STORE_JOB_COLUMNS                                                                                    \
    STORE_STANDING_COLUMNS ", event, bridge, rule, provider, number, from_name, text, item, container, "     \
                           "priority, keep_on_delete, event_ms, created_ms, reason, code, provider_id, "     \
                           "points_micro, parts, inferred, price_micro"
/* Rows of schema version 1 that were not written since end before the price. */
enum { STORE_JOB_COLUMNS_COUNT = 34, STORE_JOB_COLUMNS_V1 = 33 };
uint64_t store_row_sum(struct buf *scratch, const struct store_job *j);
/* Of as many numbers: sum and the fields in the order of the columns from state to due_ms, expires_ms. */
enum { STORE_STATE_SUM_ARGS = 10 };
uint64_t store_row_state_sum(const struct store_standing *s);
/* Reads the columns above from the current row of ST. */
void store_row_standing(sqlite3_stmt *st, struct store_standing *out);
/* False if the fixed fields do not match their checksum; the job is filled as far as it reads either way. */
bool store_row_job(struct buf *scratch, sqlite3_stmt *st, struct store_job *j, struct store_standing *s);
/* The same from a row that was read out of a page. */
bool store_row_decode(struct buf *scratch, const struct page_row *row, struct store_job *j,
                      struct store_standing *s);
/* Inserts, as row j->row unless that is 0; false if the id or the row is there (or on error). Sets j->row. */
bool store_row_add(struct store_db *db, struct store_job *j);
/* Jobs are found by id within blocks of rows, newest first: the index is of block and id, so that inserting
 * touches the pages of the newest block and not one anywhere. The first and the last block of all rows; false
 * if there are none. */
enum { STORE_BLOCK_SHIFT = 12 };
bool store_row_blocks(struct store_db *db, int64_t *first, int64_t *last);
bool store_row_find(struct store_db *db, const struct hash_id *id, struct store_standing *out);
/* Writes the standing; REASON and CODE as given. WAS is the state on disk, for the counts. */
bool store_row_step(struct store_db *db, struct store_standing *s, enum job_state was, const char *reason,
                    int32_t code);
/* Sets a row aside that does not match its checksum and names it in the log. */
void store_row_damaged(struct store_db *db, struct store_standing *s, const char *what);
/* The job of a row that is held; false, and JOB empty, if it is not (any more). A damaged one is set aside as
 * WHAT. */
bool store_row_held(struct store_db *db, int64_t row, struct store_job *job, const char *what);
/* A stopped job that must not be asked again: cancelled, or uncertain when pinned. */
void store_row_cancel(struct store_db *db, struct store_standing *s, const char *why);

/* ---- the kinds of unit: each runs inside a transaction and leaves its error in db->rc ---- */
void store_intake_run(struct store_db *db, struct store_unit *unit);
void store_intake_landed(struct store_unit *unit);
void store_changes_run(struct store_db *db, struct store_unit *unit);
void store_claim_run(struct store_db *db, struct store_unit *unit);
void store_claim_reset(struct store_unit *unit);
void store_list_run(struct store_db *db, struct store_unit *unit);
void store_list_reset(struct store_unit *unit);
void store_by_hand_run(struct store_db *db, struct store_unit *unit);
void store_fact_run(struct store_db *db, struct store_unit *unit);
void store_digests_run(struct store_db *db, struct store_unit *unit);
void store_digests_reset(struct store_unit *unit);
void store_close_run(struct store_db *db, struct store_unit *unit);
void store_parents_run(struct store_db *db, struct store_unit *unit);
void store_parents_reset(struct store_unit *unit);
void store_expand_run(struct store_db *db, struct store_unit *unit);
void store_expand_landed(struct store_unit *unit);
/* Ends parents that are past their time. */
void store_parents_expire(struct store_db *db);

/* ---- store_intake.c ---- */
/* The event that jobs are inserted for. */
struct store_cause {
    const void *packed; /* for parents among the jobs */
    size_t packed_len;
    bool deletes; /* it is a deletion: its jobs are kept on delete */
    struct store_passed *passed;
};
/* Inserts a job with all that belongs to it: what was deleted before, damage, noise control, the parent's
 * event. J's results are valid once the transaction is on disk and store_intake_land was called. */
void store_intake_add(struct store_db *db, const struct store_cause *cause, struct store_job *j);
void store_intake_land(struct store_job *j);

/* ---- store_gates.c: noise control ---- */
/* Shared gates that the event has been asked at, the latest; those of one rule stand together. */
enum { STORE_PASSED_MAX = 64 };
struct store_passed {
    struct {
        struct hash_id key;
        bool passed;
    } list[STORE_PASSED_MAX];
    size_t count; /* in all */
};
/* What becomes of an open job with noise; its noise->why and the other results say it. Gates that let it pass
 * have counted it; a digest that it joins has it. PASSED may be NULL. */
void store_gates_ask(struct store_db *db, struct store_job *j, struct store_passed *passed);
/* For the closing of a digest: 0 if it may ring, and then it is counted; else how long a rate makes it wait;
 * -1 if a budget is spent. */
int64_t store_gates_close(struct store_db *db, struct store_job *j);
/* True if one more suppressed or merged job of RULE is kept as a row in this hour. */
bool store_gates_keep_row(struct store_db *db, const char *rule, enum store_why why);

/* ---- store_digest.c ---- */
/* J joins the open digest of MERGE or opens it. */
void store_digest_join(struct store_db *db, struct store_job *j, const struct store_merge *merge);
/* Held jobs that are neither digest nor parent, after damage: nobody would ever close them. */
void store_digest_orphans(struct store_db *db);
/* What an earlier process has frozen and not closed is due at once. */
void store_digests_reclaim(struct store_db *db);

/* ---- store_claim.c ---- */
/* When the oldest due queued job became due (0: none), and which providers any queued job waits for. */
int64_t store_oldest_due(struct store_db *db, struct store_waiting *waiting);

/* ---- store_attempts.c ---- */
/* Writes what CHANGES say about numbers, and forgets what is older than they say. */
void store_attempts_save(struct store_db *db, const struct store_changes *changes);
struct store_attempt *store_attempts_load(struct store_db *db, size_t *count);
/* Whether a row that was read out of a page is one of this table; takes it over unless its number is there.
 */
bool store_attempts_row(const struct page_row *row);
void store_attempts_take(struct store_db *db, const struct page_row *row);

/* ---- store_list.c ---- */
enum { STORE_LIST_CHUNK = 2000 };
struct store_rows {
    int64_t list[STORE_LIST_CHUNK];
    size_t count;
    int64_t next; /* go on below this row; 0: that was all */
};
/* The newest rows below BELOW (0: any) whose state is in MASK and that match the filter's id; its other words
 * are not looked at. Never more than a chunk. */
void store_rows_find(struct store_db *db, const struct store_filter *filter, uint32_t mask, int64_t below,
                     struct store_rows *out);

/* Whether the job of ROW has the filter's rule and provider. */
bool store_rows_match(struct store_db *db, const struct store_filter *filter, int64_t row);

/* A list of jobs that grows by doubling. */
struct store_jobs {
    struct store_job *list;
    size_t count, size;
};
struct store_job *store_jobs_add(struct store_jobs *jobs);

/* ---- store_marks.c ---- */
/* Takes "mark:<bridge>" facts, ignores others. */
void store_marks_load(struct store_db *db, const char *name, const char *value);
/* Moves the mark of BRIDGE forward. */
void store_marks_move(struct store_db *db, const char *bridge, int64_t mark_ms);
/* Writes those that moved; they count as saved when the commit has succeeded, and go back if it fails. */
void store_marks_save(struct store_db *db);
void store_marks_saved(struct store_db *db);
void store_marks_revert(struct store_db *db);
bool store_marks_dirty(const struct store_db *db);
void store_marks_free(struct store_db *db);

/* ---- store_space.c: how full the disk is, and the reserve for finishing ---- */
struct store_space {
    const struct store_options *options;
    char *reserve_path;
    int64_t reserve_bytes; /* what the file holds; 0: none */
    bool given_away;       /* for want of space, and not made again */
    int64_t free_bytes, total_bytes, db_bytes, wal_bytes;
};
void store_space_init(struct store_space *p, const struct store_options *options);
/* Looks at the file system. */
void store_space_look(struct store_space *p);
/* Makes the reserve as large as LEASED jobs need. -1 if there is no room. */
int store_space_reserve(struct store_space *p, int64_t leased);
/* Gives the reserve back to the file system; false if there was none. */
bool store_space_release(struct store_space *p);
/* Less than min_free is left. */
bool store_space_low(const struct store_space *p);
void store_space_free(struct store_space *p);

/* ---- store_checkpoint.c: copies the log into the database, in a thread and on a connection of its own ----
 */
struct store_checkpoint {
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* one checkpoint at a time */
    struct store_witness *witness;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool wanted, stopping;
    sqlite3 *sql;
    int64_t log_limit_bytes;
    int64_t asked_frames; /* the store's thread: length of the log when it last asked */
};
/* SQLite's code. */
int store_checkpoint_start(struct store_checkpoint *c, const struct store_options *options,
                           struct store_witness *witness);
void store_checkpoint_stop(struct store_checkpoint *c);
/* After a commit that left FRAMES in the log: has it copied when that is worth it. */
void store_checkpoint_look(struct store_checkpoint *c, int64_t frames);
/* Copies all of it now and starts the log anew, if it has reached its limit. SQLite's code. */
int store_checkpoint_force(struct store_checkpoint *c, struct store_db *db);
/* Copies all of it, before the database is closed. SQLite's code. */
int store_checkpoint_last(struct store_checkpoint *c, struct store_db *db);

/* ---- store_lock.c: one process at a time ---- */
/* Descriptor of the locked file, or -1 with a fault. Waits up to options->lock_wait_ms. */
int store_lock_take(const struct store_options *options, struct faults *faults);
void store_lock_give(int fd);

/* ---- store_purge.c: what is older than the retention, in small chunks ---- */
struct store_purge {
    int64_t next_ms;        /* of the monotonic clock */
    int64_t cursor;         /* row reached in this round; -1: between rounds */
    struct hash_id counter; /* key reached among the counters */
};
/* Runs one chunk as a transaction of its own if one is due. SQLite's code. */
int store_purge_step(struct store_purge *p, struct store_db *db, int64_t mono_ms);

/* Queued jobs past their time end also while nobody claims them, a chunk at a time. */
struct store_sweep {
    int64_t next_ms; /* of the monotonic clock */
    int64_t cursor;
};
int store_sweep_step(struct store_sweep *p, struct store_db *db, int64_t mono_ms);
#define STORE_EXPIRED "expired"
#define STORE_EXPIRED_UNKNOWN "expired; its outcome is unknown"

/* ---- the store ---- */
struct store_units {
    struct store_unit *head, *tail;
    size_t count;
};
void store_units_add(struct store_units *u, struct store_unit *unit);
struct store_unit *store_units_take(struct store_units *u);
/* Appends all of FROM and leaves it empty. */
void store_units_move(struct store_units *to, struct store_units *from);

struct store {
    struct store_options options;
    struct store_clock clock;
    int lock_fd;

    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct store_units pending, finished;
    bool stopping;
    struct store_health health;

    /* the thread's while it runs */
    pthread_t thread;
    bool running;
    struct store_db db;
    struct store_witness witness;
    struct store_space space;
    struct store_checkpoint checkpoint;
    struct store_purge purge;
    struct store_sweep sweep;
    struct store_units work;
    const char *trouble; /* why intake is closed; NULL: it is open */
    const char *posted_trouble;
    bool lost; /* the database could not be rebuilt after damage */
    int64_t looked_ms, marks_ms, due_looked_ms, commit_max_since_ms;
    uint64_t commit_max_us, commit_max_before_us;
    int wake_fd;

    /* the loop's */
    struct event *event;
    uint64_t submitted, completed;
    struct facts *facts;
    struct tallies tallies;
    struct store_job *leased;
    size_t leased_count;
    struct store_attempt *attempts;
    size_t attempts_count;
    bool told_accepting;
    const char *told_trouble;
    void (*on_health)(void *arg);
    void *on_health_arg;
};

/* ---- store_worker.c: the thread ---- */
void *store_worker_main(void *store);

#endif
