/*
 * What the parts of the scheduler share; nobody else includes this.
 *
 * queue.c        life, the pass, the operator's hand
 * queue_offer.c  jobs that are leased by the transaction that inserts them
 * queue_claim.c  how much of each priority may be leased now, and fetching it from the store
 * queue_grant.c  senders, their credit, and grants
 * queue_result.c what a result, or a lease without one, means for job, number and line
 * queue_change.c changes from then until they are committed, counted, logged and acknowledged
 * queue_report.c status and metrics
 *
 * A lane is a line with its work: what is ready to leave, what is granted, what is known to be due. All times
 * are on the boot-time clock unless the name says otherwise.
 */
#ifndef DISPATCHER_QUEUE_PRIVATE_H
#define DISPATCHER_QUEUE_PRIVATE_H

#include <event2/event.h>

#include "core/metrics.h"
#include "dispatcher/lease.h"
#include "dispatcher/line.h"
#include "dispatcher/meter.h"
#include "dispatcher/number_limit.h"
#include "dispatcher/outcome.h"
#include "dispatcher/queue.h"
#include "dispatcher/ready.h"
#include "dispatcher/share.h"

enum {
    QUEUE_CLAIM_MAX = 512,  /* jobs in one claim */
    QUEUE_READY_MAX = 1024, /* leased jobs of a line and a priority that wait for a sender */
    QUEUE_AHEAD_MIN = 8,    /* requests leased beyond the credit that is there, once that pays */
    QUEUE_AHEAD_MAX = 512,
    QUEUE_PACE_MS = 50, /* of results, that new jobs may be leased ahead for */
    QUEUE_PACE_FAST = 50,
    QUEUE_HORIZON_MIN_MS = 30, /* slots that come within so long may be leased ahead */
    QUEUE_HORIZON_MAX_MS = 500,
    QUEUE_READY_WAIT_MS = 10000, /* a leased job that could not leave for so long goes back */
    QUEUE_GRANTS_MAX = 256,      /* in one message */
    QUEUE_TROUBLE_MS = 1000,     /* pause after the store refused something */
    QUEUE_ADOPTED_MIN_MS = 1000, /* between coming up and giving up a lease of an earlier dispatcher */
    QUEUE_IDLE_CLAIM_MS = 1000,  /* no claim sooner after one that found nothing though something was due */
    QUEUE_ENDING_MS = 30000,     /* how often a line that is not open looks for jobs whose time is over */
    QUEUE_CLOCK_BEHIND_MS = 60000,
    QUEUE_REST_MIN_MS = 20, /* of a sender that gave jobs back unsent */
    QUEUE_REST_MAX_MS = 2000,
    QUEUE_WINDOW_MAX = 1000000,
    QUEUE_STREAM_KEEP_MS = 600000,
    QUEUE_STATS_MAX = 128, /* values kept of one sender */
};

/* What a lane knows of one priority. */
struct lane_class {
    uint64_t due_ms;         /* something in the store may be due from then on; UINT64_MAX: nothing known */
    uint64_t stirred_ms;     /* earliest due time queued since the claim under way was submitted */
    size_t promised;         /* requests of offers whose commit is under way */
    uint64_t requests_total; /* granted */
};

struct lane {
    struct queue *queue;
    struct line line;
    struct ready ready;
    struct lease_list
        granted; /* in order of deadline: all leases of a line last equally long, adopted ones less */
    size_t granted_count;
    struct share share; /* of the places, between the priorities */
    struct lane_class classes[PRIORITIES];
    struct number_limit *numbers;
    struct store_claim *claim; /* under way */
    uint64_t ending_ms;        /* next look for jobs whose time is over, while the line is not open */
    double jobs_per_request;   /* running mean */
    double ahead;              /* requests to lease beyond the credit; grows while senders wait for us */
    bool hungry;               /* the last claim came back full to idle senders */
    uint64_t pace_ms;          /* beginning of the span in which results are counted */
    size_t pace, pace_before;  /* results in that span and in the one before */
    uint64_t claim_ms;         /* when the claim under way was submitted */
    uint64_t round_ms;         /* how long the last one took */
    bool fact_busy;
    uint64_t fact_retry_ms;
    uint64_t granted_total, paused_total, stopped_total;
    uint64_t number_waits_total; /* jobs put off for their number */
};

struct change_set;
TAILQ_HEAD(change_set_list, change_set);

/* One sender process across its connections: which of its results were taken and committed. */
struct stream {
    LIST_ENTRY(stream) link;
    uint64_t incarnation;
    uint64_t taken; /* last number taken; 0: none */
    struct change_set_list pending;
    struct queue_sender *sender; /* NULL while it is away */
    uint64_t away_ms;
};

struct grant_mark {
    uint64_t number, requests;
};

struct sender_stat {
    char name[48], label[64];
    int64_t value;
};

struct queue_sender {
    LIST_ENTRY(queue_sender) link;
    struct queue *queue;
    uint64_t id;
    struct link_server *links;
    struct link_peer *peer;
    struct stream *stream;
    struct wire_credit credit;
    uint64_t credit_ms; /* when it came */
    struct grant_mark *marks;
    size_t marks_count, marks_size;
    uint64_t unseen;              /* requests granted that the credit does not know of */
    struct request_list outgoing; /* granted in this pass */
    size_t outgoing_count;
    size_t in_flight; /* jobs */
    unsigned returns; /* times in a row that it gave jobs back unsent */
    uint64_t rest_ms; /* gets nothing until then */
    size_t window;    /* most jobs it may hold; what it takes within a grant's time, as far as is known */
    struct sender_stat stats[QUEUE_STATS_MAX];
    size_t stats_count;
};

/* A result with what the log line needs; the store's change of the same index refers to it. */
struct verdict {
    struct lease *lease; /* NULL for a late answer */
    struct outcome_decision decision;
    enum wire_outcome outcome;
    enum wire_class class;
    int32_t http_status;
    uint32_t connect_us, answer_us;
    char *provider_id;
    const char *source; /* "answer", "lease ran out", … */
    bool late, quiet;
};

struct change_set {
    struct store_changes changes;
    struct verdict *verdicts;
    size_t size;
    struct queue *queue;
    struct stream *stream; /* NULL: nobody waits for an acknowledgement */
    uint64_t seq;
    bool done;
    TAILQ_ENTRY(change_set) in_stream;
    TAILQ_ENTRY(change_set) in_retry;
};

struct queue_counters {
    uint64_t attempts, inferred, late, late_accepted, retries, unsent, unknown, collisions, lease_expired;
    uint64_t dead[WIRE_CLASSES];
    uint64_t expired, uncertain, cancelled;
    uint64_t claims, claimed, fast, offered;
};

struct queue {
    struct store *store;
    struct lane *lanes;
    size_t lanes_count;
    size_t first_lane; /* of the next pass: each has its turn at the senders' credit */
    int64_t attempts_keep_ms;
    uint32_t weights[PRIORITIES];
    struct leases *leases;
    LIST_HEAD(queue_sender_list, queue_sender) senders;
    size_t senders_count;
    LIST_HEAD(stream_list, stream) streams;
    uint64_t sender_ids, grant_number;
    struct event *pass_event, *timer;
    bool pass_wanted;
    size_t changes_busy;             /* change sets at the store */
    struct change_set_list to_retry; /* refused by the store */
    uint64_t trouble_ms;             /* no new leases until then */
    bool trouble_told;
    struct msg_out out;
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct queue_counters count;
    struct meter sent, failed;
    struct metrics_histogram event_to_grant, answer_time;
};

struct queue_now {
    uint64_t ms; /* boot-time clock */
    uint64_t us; /* monotonic clock, for the slots */
};
/* queue.c */
/* Both clocks, read once for a pass, so that all of it sees one moment. */
struct queue_now queue_clock(void);
void queue_wake(struct queue *q); /* a pass at the end of this turn of the loop */
void queue_pass(struct queue *q); /* does all that may be done now; for tests as well */
/* NULL if no provider of this name is configured, or none is named. */
struct lane *queue_lane(struct queue *q, const char *provider);
/* False while draining, and while outcomes wait that the store has refused. */
bool queue_may_lease(const struct queue *q, uint64_t now_ms);
/* Jobs of LANE are waiting in the store from DUE_MS on. */
void queue_stir(struct lane *lane, uint64_t due_ms, enum job_priority priority);

/* Jobs of this priority may wait in the store and be due. */
bool queue_waits(const struct lane *lane, int priority, uint64_t now_ms);
/* Requests of all priorities whose commit is under way. */
size_t queue_promised(const struct lane *lane);

/* queue_claim.c */
/* Requests of PRIORITY that may be leased now beyond those already leased, for jobs on their way into the
 * store. */
size_t queue_room_for_new(struct lane *lane, enum job_priority priority, struct queue_now now);
/* Requests that could be granted at once. */
size_t queue_places(struct lane *lane, struct queue_now now);
/* Slots that are free or come within the next moments. */
double queue_slots(struct lane *lane, struct queue_now now);
/* A result came. */
void queue_pace(struct lane *lane, uint64_t now_ms);
/* Results in QUEUE_PACE_MS. */
size_t queue_pace_of(const struct lane *lane, uint64_t now_ms);
/* Asks the store for due jobs, as many as may be leased; at most one claim is under way. */
void queue_claim(struct lane *lane, struct queue_now now);
void queue_lease(struct lane *lane, struct lease *l, uint64_t now_ms); /* into ready */

/* queue_grant.c */
/* Gives ready requests to senders while there are slots and credit; they leave with queue_flush_grants. */
void queue_grant(struct lane *lane, struct queue_now now);
void queue_flush_grants(struct queue *q, struct queue_now now);
/* Has a sender look at the provider, if the line waits for that. */
void queue_probe(struct lane *lane, uint64_t now_ms);
/* Requests that the sender may be given now. */
uint64_t queue_credit(const struct queue_sender *s, uint64_t now_ms);
/* NULL if it has gone. */
struct queue_sender *queue_sender_find(struct queue *q, uint64_t id);
void queue_senders_free(struct queue *q);

/* queue_result.c */
/* LIST holds the array of results as the message's last field. */
void queue_results(struct queue_sender *s, uint64_t seq, struct msg_fields *list);
/* What was granted and not answered in time: the outcome is unknown. */
void queue_expire_leases(struct lane *lane, uint64_t now_ms);
/* Gives leased jobs back that never left; frees the request. */
void queue_give_back(struct lane *lane, struct request *r, const char *why);

/* queue_change.c */
/* Room for SIZE changes; owned by whoever made it until it is submitted. */
struct change_set *queue_changes_new(struct queue *q, size_t size);
/* A change with its verdict, both for the caller to fill; the verdict's lease goes with the set. */
struct store_change *queue_changes_add(struct change_set *set, struct verdict **verdict);
/* To the store, again and again until it is committed. */
void queue_changes_submit(struct change_set *set);
/* Submits again what the store refused, after a pause. */
void queue_retry_changes(struct queue *q);
/* S speaks for the sender process INCARNATION, which may have been connected before. */
void queue_stream_attach(struct queue_sender *s, uint64_t incarnation);
void queue_stream_detach(struct queue_sender *s, uint64_t now_ms);
/* The changes that the message SEQ of the stream's sender led to: submits them, and acknowledges SEQ once
 * they and all before them are committed. */
void queue_stream_add(struct stream *t, struct change_set *set, uint64_t seq);
/* Acknowledges what is committed without a gap. */
void queue_stream_acknowledge(struct stream *t);
/* Forgets processes that have been away for long. */
void queue_streams_tidy(struct queue *q, uint64_t now_ms);
void queue_streams_free(struct queue *q);
/* Counts and logs a job that a claim found past its time. */
void queue_ended(struct queue *q, const struct store_job *job);

#endif
