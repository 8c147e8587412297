/*
 * What the parts of the intake share; nobody else includes this.
 *
 * intake.c         life, members and their parents, what others ask of it
 * intake_session.c listeners: their coming, their messages, their going
 * intake_commit.c  batches between arrival and acknowledgement
 * intake_report.c  status, metrics and readiness
 */
#ifndef DISPATCHER_INTAKE_PRIVATE_H
#define DISPATCHER_INTAKE_PRIVATE_H

#include "core/loop.h"
#include "dispatcher/batch.h"
#include "dispatcher/intake.h"
#include "dispatcher/listener_metrics.h"
#include "dispatcher/members.h"
#include "dispatcher/parents.h"

enum { INTAKE_STATE_MAX = 256 };

/* One listener, from its hello until it is gone. */
struct session {
    struct intake *intake;
    struct session *next;
    struct link_peer *peer;
    struct bridge *bridge;
    char state[INTAKE_STATE_MAX];
    uint64_t confirmed;      /* number of the interest in force there */
    uint64_t taken;          /* last sequence number that came */
    uint64_t acked;          /* last sequence number acknowledged */
    int64_t done_mark_ms;    /* of the batches committed without a gap; goes into the next unit */
    int64_t written_mark_ms; /* what the store was given last */
    struct batch *first, **last;
    struct stat_value *stats;
    size_t stats_count;
    int64_t breaks;  /* moments at which it may have missed events, as it told last */
    bool complained; /* about malformed events */
    bool broken;     /* a batch is missing: nothing is taken until the listener has said hello again */
};

struct bridge {
    char *name;
    uint64_t received, recovered, matched, jobs, duplicates, malformed, cancelled;
};

struct intake {
    struct link_server *links;
    struct store *store;
    struct rules *rules;
    struct queue *queue;
    struct members *members;
    struct parents *parents;
    struct loop_timer *refresh;
    struct digests *digests; /* NULL: nobody closes them */
    struct journal *journal; /* NULL: none is kept */
    struct bridge *bridges;
    size_t bridges_count;
    struct session *sessions;
    struct batch *orphans; /* with the store, their session gone */
    struct loop_timer *again;
    struct loop_timer *hold; /* while a batch waits for room with the senders */
    uint64_t held_since_ms;  /* 0: none does */
    bool hold_in_vain;       /* until senders have room, nothing waits for it again */
    uint64_t interest_number;
    size_t with_store;
    size_t weight; /* of what is with the store */
    bool draining, parents_idle;
    void (*drained)(void *arg);
    void *drained_arg;
    struct msg_out out;
    struct msg_in event_in;
    char trouble[400]; /* what intake_trouble said last */
};

/* intake.c */
/* NULL if the configuration has no bridge of this name. */
struct bridge *intake_bridge(struct intake *in, const char *name);
/* Calls what waits for the end of the drain, if it has come. */
void intake_check_drained(struct intake *in);

/* intake_session.c */
extern const struct link_server_ops intake_link_ops;
/* The listener that hears BRIDGE, else any of it, else NULL. */
const struct session *intake_session_of(const struct intake *in, const struct bridge *bridge);
/* True if S is a listener that hears its Bridge; S may be NULL. */
bool intake_is_subscribed(const struct session *s);

/* intake_commit.c */
void intake_commit_init(struct intake *in);
void intake_commit_clear(struct intake *in);
/* Takes B, the latest batch of S; it goes to the store when its turn comes. */
void intake_commit(struct session *s, struct batch *b);
/* S goes: what is with the store completes there without it, the rest is forgotten unacknowledged. */
void intake_drop_batches(struct session *s);
/* Tells of what noise control made of a job that was committed. */
void intake_note_job(struct intake *in, const struct store_job *j, int64_t now_ms);

#endif
