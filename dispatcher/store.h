/*
 * The store: what the dispatcher knows durably. One interface, asynchronous, in units of work.
 *
 * A unit (a batch of decided events, a set of outcomes, a claim, a query) is submitted from the loop and
 * completed in the loop, once, by its `done`; in between it belongs to the store. Whatever has arrived goes
 * into one transaction, so that a flush is shared under load and paid at once when idle; a unit completes
 * with STORE_OK only after its transaction is on disk. With any other status nothing of it counts. Units
 * submitted earlier take effect earlier.
 *
 * Rows stand in order of insertion; a job's id is unique. Every row carries a checksum over its fixed fields,
 * checked before the row is leased; a bad one is set aside as JOB_DAMAGED and named, never sent. Time comes
 * from the store (store_now_ms): the later of the host's clock and the last recorded time, so it never runs
 * backwards.
 */
#ifndef DISPATCHER_STORE_H
#define DISPATCHER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/hash.h"
#include "proto/slice.h"

/* The life cycle of docs/architecture.md; numbers are on disk and never change their meaning. */
enum job_state {
    JOB_QUEUED = 0, /* due at due_ms */
    JOB_LEASED = 1, /* attempt `attempt` is with a sender, or was when its dispatcher went */
    JOB_HELD = 2,   /* waits for something else than time */
    JOB_SENT = 3,   /* the provider accepted it */
    JOB_DELIVERED = 4,
    JOB_UNDELIVERED = 5,
    JOB_SUPPRESSED = 6,
    JOB_MERGED = 7,
    JOB_EXPIRED = 8,
    JOB_CANCELLED = 9,
    JOB_UNCERTAIN = 10, /* may or may not have been accepted; waits for a person */
    JOB_DEAD = 11,      /* refused for good; the provider's words are in `reason` */
    JOB_DAMAGED = 12,   /* the row does not match its checksum */
    JOB_STATES = 13
};
extern const char *const job_state_names[JOB_STATES + 1];

enum job_priority { PRIORITY_CRITICAL, PRIORITY_NORMAL, PRIORITY_BULK };
enum { PRIORITIES = PRIORITY_BULK + 1 };

/* ---- noise control ----
 * What stands between an event that matched and a message that rings. It is decided with the event, in the
 * same transaction, on rows: so it survives restarts and holds for an event that comes twice. A job that a
 * gate refuses is inserted as JOB_SUPPRESSED, or joins a digest and is inserted as JOB_MERGED. */
enum store_gate_kind {
    GATE_WINDOW, /* once in PER_MS */
    GATE_RATE,   /* at most LIMIT in any PER_MS */
    GATE_BUDGET, /* at most LIMIT of amounts in a period, which is a part of the key */
};

/* Why a job was suppressed or merged; the names are words for people, logs and metrics. */
enum store_why {
    WHY_NOTHING,
    WHY_EMPTY,     /* the message is empty */
    WHY_SILENCE,   /* an operator's silence */
    WHY_OPT_OUT,   /* the person does not want messages */
    WHY_UNKNOWN,   /* nobody in the directory, or no such member */
    WHY_NUMBER,    /* no number, or one that may not be rung */
    WHY_STALE,     /* older than max_age */
    WHY_DUPLICATE, /* dedupe */
    WHY_THROTTLE,
    WHY_QUIET, /* quiet hours */
    WHY_DIGEST,
    WHY_STORM,
    WHY_BUDGET,
    WHY_CAPS,
    WHY_SHADOW,
    WHY_COUNT
};
extern const char *const store_why_names[WHY_COUNT + 1];

struct store_gate {
    enum store_gate_kind kind;
    enum store_why why; /* what a refusal is called */
    bool shared;        /* asked once for an event and a rule, whatever the number of recipients */
    bool merges;        /* a refused job joins the digest of WHY instead of being suppressed */
    struct hash_id key;
    char name[96]; /* for people: "60/h to one person"; no number, no text */
    int64_t limit, per_ms;
    /* GATE_BUDGET */
    int64_t amount; /* 1, or the price in millionths */
    int warn_percent, digest_percent;
    int64_t ends_ms; /* of the period, on the store's clock */
    bool critical;   /* of a critical rule: never refused, only counted */
    /* result */
    int64_t used; /* GATE_BUDGET: afterwards */
    bool warned;  /* this job took it past warn_percent */
};

/* A digest that a job joins: the open one of KEY, or a new one that closes at DUE_MS. */
struct store_merge {
    enum store_why why; /* WHY_NOTHING: none */
    struct hash_id key;
    int64_t due_ms;
};

struct store_noise {
    bool shadow;                      /* everything but the sending; keys differ from those of live rules */
    struct store_merge merge;         /* joined if no window refuses, before any rate is asked */
    struct store_merge storm, budget; /* joined where a gate that merges refuses */
    char *context; /* JSON for the digest's closing: {"lang","zone","group"}; NULL: nothing to say */
    /* result, valid once the unit is complete */
    enum store_why why;    /* WHY_NOTHING: it rings */
    bool counted_only;     /* no row: beyond the number of suppressed jobs kept per rule and hour */
    bool counted;          /* it is among the counts by reason: deleted or there before, it is not */
    size_t refused_by;     /* index of the gate that refused; SIZE_MAX: none did */
    struct hash_id digest; /* that it joined */
    int64_t digest_due_ms; /* when that closes */
    bool opened;           /* it is the first of its digest */
    size_t count;
    struct store_gate gates[];
};

/* One job = one row. Strings are NUL-terminated and belong to the struct (store_job_free). */
struct store_job {
    int64_t row; /* 0 before insertion */
    /* fixed when the job is committed */
    struct hash_id id;                                     /* hash of store id, event key, rule, number */
    struct hash_id event;                                  /* key of the event that caused it */
    char *bridge, *rule, *provider, *number, *from, *text; /* from may be NULL: the account's */
    char *item, *container; /* of the event; NULL if none. For cancel-on-delete */
    enum job_priority priority;
    bool keep_on_delete; /* a deletion of the item does not cancel it */
    int64_t event_ms;    /* the Bridge's time of the event */
    int64_t created_ms;  /* store time */
    int64_t expires_ms;  /* store time; 0: never */
    /* what changes */
    enum job_state state;
    uint32_t attempt;    /* number of the last attempt; 0: none yet */
    uint32_t failures;   /* attempts that counted, for back-off and max_attempts */
    uint32_t generation; /* of the idx; starts at 1 */
    bool pinned;         /* an attempt of this generation has no recorded, definite refusal; an intake sets
                            it where damage may have swallowed such an attempt */
    bool cancel_wanted;  /* cancelled while an attempt was in flight: not to be asked again */
    int64_t first_attempt_ms; /* store time of the first attempt of this generation; 0: none yet */
    int64_t due_ms;
    int64_t finished_ms;
    char *reason; /* why it stands where it stands; NULL: nothing to say */
    int32_t code; /* the provider's last code */
    char *provider_id;
    int64_t points_micro;      /* -1: unknown */
    int32_t parts;             /* reckoned before sending, then the provider's; -1: unknown */
    int64_t price_micro;       /* reckoned before sending, in millionths of the currency; -1: unknown */
    bool inferred;             /* sent by inference: "already sent" for a generation of unknown outcome */
    uint64_t received_ns;      /* in memory only: when the listener got the event, monotonic; 0: not known */
    bool gone;                 /* result of an intake: its item was deleted before, it is JOB_CANCELLED */
    struct store_noise *noise; /* in memory only: what it must pass when it is inserted; NULL: nothing */
};
/* Room for COUNT gates, all zero. */
struct store_noise *store_noise_new(size_t count);
void store_job_free(struct store_job *j); /* frees the strings, not the struct */

struct rules_table;

enum store_status { STORE_OK, STORE_FULL, STORE_FAILED };

enum store_kind {
    STORE_INTAKE,  /* decided events with their jobs, and a mark */
    STORE_CHANGES, /* outcomes and other steps of jobs */
    STORE_CLAIM,   /* lease what is due */
    STORE_LIST,    /* read jobs */
    STORE_CANCEL,  /* cancel, retry or otherwise move jobs by hand */
    STORE_FACT,    /* write a fact */
    STORE_DIGESTS, /* freeze and read digests that are due */
    STORE_CLOSE,   /* give a frozen digest its text and queue it, or suppress it */
    STORE_PARENTS, /* read held parents: events whose recipients were to be looked up */
    STORE_EXPAND,  /* insert what a parent leads to, and end it */
    STORE_KINDS
};

struct store_unit;
typedef void store_done_fn(struct store_unit *unit, enum store_status status);

struct store_unit {
    enum store_kind kind;
    store_done_fn *done;
    void *arg; /* the submitter's */
    /* the store's, while it has the unit */
    struct store_unit *next;
    enum store_status status;
    bool again; /* wants another transaction before it is complete */
};

/* ---- intake ---- */
enum store_known { STORE_NEW, STORE_KNOWN };

struct store_decision {
    struct hash_id key;       /* of the event */
    bool remember;            /* commit the key: it caused something (jobs, suppressions) */
    const char *deleted_item; /* set for a deletion: cancels queued and held jobs of this item or container
                                 (on the same bridge; leased ones are not asked again), and is remembered, so
                                 that a creation that comes later is cancelled too. Jobs of the decision
                                 itself tell of the deletion: they are inserted with keep_on_delete */
    const char *type;
    int64_t event_ms;
    const void *packed; /* the event, for the parents among the jobs; NULL if there are none */
    size_t packed_len;
    bool try_only; /* nothing of this decision is kept: it is taken back once its results are known */
    struct store_job
        *jobs; /* state JOB_QUEUED, JOB_LEASED (attempt 1), or an end state such as JOB_SUPPRESSED */
    size_t jobs_count;
    /* result */
    enum store_known known; /* STORE_KNOWN: the key was there, nothing of this decision was written */
};
/* A unit that brings only a mark may complete up to a second before the mark is on disk: a mark that is lost
 * costs catch-up and nothing else. */
struct store_intake {
    struct store_unit unit;
    const char *bridge;
    int64_t mark_ms; /* becomes the bridge's mark if later than the one stored; -1: none */
    struct store_decision *decisions;
    size_t count;
    /* result: jobs got their row; state JOB_CANCELLED where the item was deleted before; row 0 where the id
     * was there already */
    size_t cancelled; /* jobs that deletions of this unit cancelled */
};

/* ---- digests ---- */
enum { STORE_DIGEST_TEXTS = 5, STORE_DIGESTS_MAX = 100 };
struct store_digest {
    struct store_job job; /* JOB_HELD, its text empty */
    enum store_why why;
    bool shadow;
    int64_t count;
    int64_t since_ms, until_ms;      /* Bridge times of its earliest and latest event */
    char *texts[STORE_DIGEST_TEXTS]; /* of the latest events, the latest first */
    size_t texts_count;
    char *context; /* of its first job */
};
/* Freezes up to STORE_DIGESTS_MAX digests that are due and gives them; a frozen one takes no more events and
 * is given again until it is closed: after half a minute, or at once by the next process. DOUBT_QUIET: those
 * of quiet hours are all due, because the settings may be others than those that they were opened by. */
struct store_digests {
    struct store_unit unit;
    bool doubt_quiet;
    struct store_digest *list; /* result; store_digests_clear */
    size_t count;
    int64_t next_due_in_ms; /* when the next one is due; -1: none is open */
};
void store_digests_clear(struct store_digests *d);
/* JOB has the row and id of the digest's held job, and its final text, parts, price, provider, and gates
 * (rates and budgets; no windows, no digests). State JOB_SUPPRESSED ends it as such. One that a rate refuses,
 * or that is postponed, is open again and due when that has room; if another of its key was opened meanwhile
 * that one takes over what it holds. Nothing happens if it holds another COUNT by now. */
struct store_close {
    struct store_unit unit;
    struct store_job *job;
    enum store_why why; /* the digest's */
    int64_t count;
    bool shadow;
    int64_t postpone_until_ms; /* not 0: it only becomes due again then */
    /* result */
    bool applied, postponed;
    bool folded; /* postponed, and its job is merged into the other one */
};

/* ---- parents ---- */
/* A job of a decision that is JOB_HELD with an empty number is a parent: the event of the decision is kept
 * with it. Its rule and event lead to children once the members of its container are known. */
struct store_parent {
    struct store_job job;
    unsigned char *packed; /* the event */
    size_t packed_len;
};
struct store_parents {
    struct store_unit unit;
    int64_t after_row;         /* in order of rows, those behind this one */
    size_t limit;              /* at most and, if 0, 100 */
    struct store_parent *list; /* result; store_parents_clear */
    size_t count;
    int64_t last_row; /* result: up to where it looked, and whether there may be more behind */
    bool more;
};
void store_parents_clear(struct store_parents *p);
/* Inserts JOBS as an intake does, and ends the parent as JOB_MERGED, or with END as JOB_SUPPRESSED, for
 * REASON. Nothing happens if the parent is not held any more (cancelled, expired). */
struct store_expand {
    struct store_unit unit;
    int64_t row;
    struct hash_id parent;
    const char *rule; /* the parent's */
    struct store_job *jobs;
    size_t jobs_count;
    bool end;
    enum store_why why; /* with END, for the counts */
    const char *reason;
    bool applied; /* result; jobs got their rows and results as in an intake */
};

/* ---- counts by reason ---- */
/* What was suppressed and merged since the store was made, by rule and reason; WHY_NOTHING counts what was
 * let through. Of shadow rules only WHY_SHADOW counts what would have rung. */
struct store_tally {
    char *rule;
    enum store_why why;
    int64_t jobs, parts, price_micro;
};

/* ---- changes ---- */
enum store_step {
    STEP_ACCEPTED, /* -> sent. Applies from every state but sent, delivered, undelivered; whatever the attempt
                    */
    STEP_RETRY,  /* leased -> queued, due_ms, generation, pinned, failures as given; a new generation forgets
                    when the first attempt was. With cancel_wanted -> cancelled (uncertain when pinned) */
    STEP_RETURN, /* leased -> queued: the attempt did not happen; attempt number stays used. With
                    cancel_wanted as above */
    STEP_END,    /* leased -> `state` (dead, expired, uncertain, cancelled) with reason */
};
struct store_change {
    struct hash_id job;
    int64_t row;      /* 0: look up by id */
    uint32_t attempt; /* STEP_RETRY, _RETURN and _END apply only to this attempt of a leased job */
    enum store_step step;
    enum job_state state; /* for STEP_END */
    uint32_t failures, generation;
    bool pinned, inferred;
    int64_t due_in_ms; /* from now, store time */
    const char *reason, *provider_id;
    int32_t code, parts;
    int64_t points_micro;
    /* What is to be remembered about the number, under a key of the submitter's, for store_take_attempts. */
    uint64_t number_key;       /* an attempt ended now; 0: none did */
    int64_t number_blocked_ms; /* and nothing may go to it for so long; 0: it may */
    /* result */
    bool applied;
    enum job_state was; /* the state before; JOB_STATES if there is no such job */
    enum job_state now; /* the state after */
};
struct store_changes {
    struct store_unit unit;
    struct store_change *changes;
    size_t count;
    int64_t attempts_keep_ms; /* ended attempts older than that may be forgotten */
};

/* ---- claim ---- */
/* Leases up to LIMIT due jobs of PROVIDER: of each priority its SHARE first, then what is left of the limit
 * by priority; within one by due time, then row. State JOB_LEASED, attempt + 1, first_attempt_ms set if 0.
 * Jobs found past their time are ended instead (expired; uncertain when pinned), and so are pinned jobs past
 * the 23-hour window (uncertain); those come back too, with their end state, at most STORE_CLAIM_ENDED of
 * them. LIMIT 0 leases nothing and ends what it finds past its time among the first due.
 *
 * ADMIT, if not NULL, is asked before a job is leased: 0, or the milliseconds after which the job, which
 * stays queued, is due again (reason STORE_NUMBER_WAITS); at most STORE_CLAIM_MOVED of them. DISMISS is told
 * of those that were admitted and then not leased after all, also because the commit failed. Both run in the
 * store's thread. */
enum { STORE_CLAIM_ENDED = 1000, STORE_CLAIM_MOVED = 1000 };
#define STORE_NUMBER_WAITS "too many attempts to this number lately; waits"
enum { STORE_NOT_LOOKED = -2 };
struct store_claim {
    struct store_unit unit;
    const char *provider;
    size_t limit;
    size_t share[PRIORITIES];
    bool no_pinned; /* the host's clock is behind the store's: ask nothing again */
    int64_t (*admit)(void *arg, const struct store_job *job);
    void (*dismiss)(void *arg, const struct store_job *job);
    void *admit_arg;
    /* result; free each and the array */
    struct store_job *jobs;
    size_t count;
    size_t moved;
    size_t taken[PRIORITIES]; /* leased, ended or moved */
    /* When the next queued job of this provider and priority is due; 0: more is due now, if only such as was
     * passed over; -1: none; STORE_NOT_LOOKED: nobody looked. */
    int64_t next_due_in_ms[PRIORITIES];
};

/* ---- list ---- */
enum { STORE_LIST_MAX = 10000 };
struct store_filter {
    uint32_t states;  /* bit mask of 1u << job_state; 0: all */
    const char *rule; /* NULL: any */
    const char *id;   /* NULL, or 32 hex digits, or a prefix of at least 6 */
    const char *provider;
    const char *not_rule;              /* NULL, or a rule whose jobs are left out */
    const struct rules_table *numbers; /* NULL, or the numbers; not changed while the store has it */
    size_t limit;                      /* at most and, if 0, STORE_LIST_MAX */
    int64_t before_row;                /* newest first, below this row; 0: from the newest */
};
struct store_list {
    struct store_unit unit;
    struct store_filter filter;
    struct store_job *jobs; /* result; free each and the array */
    size_t count, size;
    int64_t cursor; /* the store's: looked at down to this row; 0 at first */
};

/* ---- by hand ---- */
enum store_hand {
    HAND_CANCEL, /* queued, held -> cancelled (pinned: uncertain). Leased: cancel_wanted */
    HAND_RETRY,  /* dead, expired, cancelled, uncertain -> queued now with a new generation and no pin: the
                    operator says so. One that is past its time gets as long again as it had */
    HAND_SENT,   /* uncertain -> sent: the operator knows */
    HAND_DROP,   /* uncertain -> dead: the operator gives up */
};
struct store_by_hand {
    struct store_unit unit;
    struct store_filter filter; /* what it applies to */
    enum store_hand hand;
    const char *who; /* for the reason, "by uid 0"; NULL: nobody is named */
    size_t changed;  /* result */
};

/* ---- facts: small named texts (line stops, pauses, marks, settings) ---- */
struct store_fact {
    struct store_unit unit;
    const char *name;
    const char *value; /* NULL removes */
};

struct store;

/* State of the store as a whole, for readiness, status and metrics. Read from the loop. */
/* Providers that queued jobs wait for: of very many the first, and none whose name is longer. */
enum { STORE_PROVIDERS_MAX = 16, STORE_PROVIDER_SIZE = 64 };
struct store_waiting {
    size_t count;
    char names[STORE_PROVIDERS_MAX][STORE_PROVIDER_SIZE];
};

struct store_health {
    bool accepting;      /* intake is open: enough space, last commit succeeded */
    const char *trouble; /* fixed phrase; NULL: none */
    uint64_t commits, units, failed_commits;
    uint64_t commit_us_last, commit_us_max; /* max of the last minute */
    uint64_t queued_units;                  /* submitted, not yet completed */
    uint64_t db_bytes, wal_bytes, free_bytes;
    uint64_t jobs[JOB_STATES];
    int64_t oldest_due_ms;        /* due_ms of the oldest due queued job; 0: none */
    struct store_waiting waiting; /* looked at when that is */
    uint64_t unread_transactions; /* lost to damage found at open */
    bool was_damaged;
};

/* Opens (making it if missing) the store that the dispatcher block's `store` names; recovers; starts its
 * thread. Reads store, retention, log_limit and min_free of that block and `installation` of the top-level
 * one. Waits up to ten seconds for a leaving predecessor. NULL with faults added if it cannot: another
 * process holds it, a newer schema, no rights, no space. */
struct store *store_open(const struct slice *slice, struct faults *faults);
/* The same; *NO_ROOM tells that it failed because the disk is full, which may pass. The reserve that an
 * earlier process has left is given away first. */
struct store *store_open_if_room(const struct slice *slice, bool *no_room, struct faults *faults);
/* Called whenever `accepting` or `trouble` changed. */
void store_on_health(struct store *s, void (*fn)(void *arg), void *arg);
void store_health(struct store *s, struct store_health *out);
/* This store's identity, made with it or set by `installation`. */
const struct hash_id *store_identity(const struct store *s);
int64_t store_now_ms(struct store *s);
/* By how much the host's clock is behind the store's; 0 if it is not. */
int64_t store_clock_behind_ms(struct store *s);
/* The mark of a bridge, -1 if none. As of the last completed unit. */
int64_t store_mark_ms(struct store *s, const char *bridge);
/* Value of a fact as of the last completed unit; NULL if none. Valid until the next loop pass. */
const char *store_fact(struct store *s, const char *name);
/* The facts whose names begin with PREFIX, one a call, in no order; NULL when there are no more. *CURSOR is 0
 * for the first. Name and value are valid until the next loop pass; nothing is to be written in between. */
const char *store_fact_next(struct store *s, const char *prefix, size_t *cursor, const char **value);
/* Jobs that were leased when the last dispatcher went; given once, at start. Free each and the array. */
struct store_job *store_take_leased(struct store *s, size_t *count);
/* What changes of earlier dispatchers have said about numbers, newest first, no more than STORE_ATTEMPTS_MAX;
 * given once, at start. Free the array. */
enum { STORE_ATTEMPTS_MAX = 1 << 22 };
struct store_attempt {
    uint64_t number_key;
    int64_t blocked_ms; /* 0: an attempt ended; else nothing was to go to the number for so long */
    uint64_t age_ms;
};
struct store_attempt *store_take_attempts(struct store *s, size_t *count);

/* The counts of all rules as of the last completed unit; valid until the next loop pass. */
const struct store_tally *store_tallies(struct store *s, size_t *count);

void store_submit(struct store *s, struct store_unit *unit);
/* Completes what was submitted (their `done` run in here) and flushes; nothing is taken any more, the lock is
 * kept. For a time between, in which sockets are closed that a successor will open again. Not from a `done`.
 */
void store_finish(struct store *s);
/* The same, then gives up the lock. */
void store_close(struct store **s);

#endif
