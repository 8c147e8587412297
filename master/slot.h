/*
 * A slot: one place in the line of processes ("sender 2") and whoever fills it at the moment.
 *
 * A slot that is wanted restarts its process with a growing delay (backoff.h), except after exit code
 * ROLE_EXIT_CONFIG: then only an operator can help and the slot is halted until the next reload. On trial (at
 * start and during a reload) a process that ends before it is ready is not restarted either, unless a signal
 * ended it and that has not happened too often: the slot has failed, and whoever put it on trial decides. A
 * slot that is not wanted any more is empty once its process has gone.
 */
#ifndef MASTER_SLOT_H
#define MASTER_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "master/backoff.h"
#include "master/process.h"

enum {
    SLOT_READY_MS = 30000, /* longest time from the start to ROLE_READY */
    SLOT_STOP_MS = 5000,   /* from ROLE_STOP to SIGKILL */
    SLOT_GRACE_MS = 2000,  /* from the end of a graceful stop's limit to SIGKILL */
};

enum slot_state {
    SLOT_EMPTY,    /* no process; never started, or gone as was wanted */
    SLOT_STARTING, /* process started, not ready */
    SLOT_RUNNING,  /* ready */
    SLOT_LEAVING,  /* told to go */
    SLOT_WAITING,  /* process ended; the next is started when the delay is over */
    SLOT_HALTED,   /* not restarted before a reload; `reason` says why */
    SLOT_FAILED,   /* failed on trial; `reason` and `faults` say why */
    SLOT_STATES
};
extern const char *const slot_state_names[SLOT_STATES];

struct slot;

/* What a slot needs from its owner. */
struct slot_ops {
    /* The slice for a new process; freed by the slot. */
    struct slice *(*slice)(void *arg, const struct slot *slot);
    char **(*environment)(void *arg);
    int (*door_fd)(void *arg); /* for the dispatcher; -1: none */
    void (*reply)(void *arg, struct slot *slot, uint64_t id, const char *text, size_t len);
    /* The state, or what the process says of itself, is another one now. Called from within; the slot must
     * not be freed by it. */
    void (*changed)(void *arg, struct slot *slot);
};

struct slot {
    const struct slot_ops *ops;
    void *arg;
    char *name; /* instance: "main", "1"; "" for the dispatcher */
    enum process_kind kind;
    enum slot_state state;
    uint64_t since_ms;       /* clock_mono_ms of the last change of state */
    struct process *process; /* NULL if none */
    uint64_t generation;     /* of the process; grows with each start anywhere in the master */
    uint64_t started_ms;
    uint64_t next_start_ms;   /* while SLOT_WAITING */
    char *detail;             /* what the process says of itself (ROLE_STATE), or NULL */
    char *reason;             /* why it halted or failed, or how the last process ended; may be NULL */
    struct faults faults;     /* of the last process that answered ROLE_FAULTS */
    struct loop_timer *timer; /* of the state: ready limit, kill limit, restart delay */
    pid_t pid;                /* 0 if none */
    unsigned restarts;        /* starts after the first */
    unsigned trial_kills;     /* times that a process ended by a signal on trial */
    struct backoff backoff;
    bool wanted;
    bool on_trial;
    bool is_dismissed;   /* scaled away: not to come back with its crew */
    bool started_before; /* at least once */
    bool was_ready;      /* this process, or the last one */
    bool was_killed;     /* the last process was killed, and not by us */
    bool was_final;      /* the last process left with ROLE_EXIT_CONFIG */
    bool reason_is_old;  /* it tells of a process before this one */
};

struct slot *slot_new(enum process_kind kind, const char *name, const struct slot_ops *ops, void *arg);
/* A process still there is killed and forgotten. */
void slot_free(struct slot **slot);

/* Wanted from now on. Starts a process unless there is one; if the old one is still leaving, the new one
 * starts when it has gone. */
void slot_start(struct slot *slot, bool on_trial);
/* Ends the trial: from now on a process that ends is restarted; a slot that has failed is halted or restarted
 * as if it had not been on trial. */
void slot_trust(struct slot *slot);
/* Not wanted any more: finish within LIMIT_MS, then KILL. */
void slot_quit(struct slot *slot, int64_t limit_ms);
/* Not wanted any more: leave at once, KILL after SLOT_STOP_MS. */
void slot_stop(struct slot *slot);
void slot_kill(struct slot *slot);
bool slot_is_empty(const struct slot *slot);

#endif
