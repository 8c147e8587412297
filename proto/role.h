/*
 * What every child process has in common: the lifeline to the master, the start-up handshake, the end.
 *
 * The master starts a role's executable with one end of a socket pair as descriptor ROLE_LIFELINE_FD and
 * sends ROLE_SLICE. The role validates its slice, starts, and answers ROLE_READY; or it answers ROLE_FAULTS
 * and leaves with ROLE_EXIT_CONFIG. When the lifeline closes, the master is gone: the role drains and leaves
 * by itself. Only the master listens to INT; TERM to a child is a graceful stop of that child. Frames are a
 * length (4 bytes, little endian) and one proto/msg.h message.
 */
#ifndef PROTO_ROLE_H
#define PROTO_ROLE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "proto/slice.h"

enum {
    ROLE_LIFELINE_FD = 3,  /* socket pair to the master */
    ROLE_DOOR_FD = 4,      /* listening TCP socket of the HTTP door, if the role has one */
    ROLE_EXIT_CONFIG = 78, /* reserved: "do not restart me", the operator must change something */
    ROLE_DRAIN_MS = 20000, /* longest graceful stop by default; the master sends its own in ROLE_QUIT */
};

/* Types on the lifeline. Fields in order. */
enum role_message {
    ROLE_SLICE = 1,  /* m->c: instance str ("main", "1"), validate_only bool, has_door bool, slice */
    ROLE_QUIT,       /* m->c: limit_ms uint; finish what is in flight, then leave */
    ROLE_STOP,       /* m->c: leave now (what is unfinished is recovered at the next start) */
    ROLE_REOPEN,     /* m->c: open the log file again */
    ROLE_CONTROL,    /* m->c: id uint, request str (JSON object with "command") */
    ROLE_READY = 64, /* c->m: works now */
    ROLE_FAULTS,     /* c->m: array of [file str, line uint, text str]; empty after a clean validate_only */
    ROLE_FATAL,      /* c->m: text str; comes before exit with ROLE_EXIT_CONFIG */
    ROLE_REPLY,      /* c->m: id uint, answer str (JSON) */
    ROLE_STATE,      /* c->m: text str; one word or two for the process table and status ("subscribed") */
};

struct role {
    const char *name; /* "listener" */
    /* Adds what is wrong with the slice; no side effects. */
    void (*validate)(const struct slice *slice, const char *instance, struct faults *faults);
    /* Begins to work; calls role_ready when it can. The slice belongs to the role for its life.
     * -1 with faults added if it cannot start for a reason only an operator can mend. */
    int (*start)(const struct slice *slice, const char *instance, bool has_door, struct faults *faults);
    /* Finish what is in flight within limit_ms, then call role_leave. */
    void (*quit)(int64_t limit_ms);
    /* Answer REQUEST by role_reply(id, …), now or later; NULL if the role takes no control requests. */
    void (*control)(uint64_t id, const cJSON *request);
    /* Last call before exit (close files). May be NULL. */
    void (*cleanup)(void);
};

/* main of a child: never returns before the end. */
int role_main(const struct role *role, int argc, char **argv);

void role_ready(void);
/* Shown in ps and in `bridgebell status`; a fixed phrase, no secret. */
void role_state(const char *text);
/* Takes ANSWER over and frees it. */
void role_reply(uint64_t id, cJSON *answer);
/* Leaves the loop with exit code 0, at the end of this pass. */
void role_leave(void);
/* Tells the master TEXT, logs it as an error and leaves with ROLE_EXIT_CONFIG: only a change by the operator
 * can help, so the master does not restart the process until a reload. */
void role_fatal(const char *text);
/* True once quit or stop was asked for. */
bool role_leaving(void);

/* ---- the frame layer, which the master uses too ---- */
struct lifeline;
typedef void lifeline_fn(void *arg, int type, struct msg_fields *fields);
typedef void lifeline_closed_fn(void *arg);
/* Takes FD over. CLOSED is called once, in the loop, when the other end is gone or sent garbage. */
struct lifeline *lifeline_new(int fd, lifeline_fn *message, lifeline_closed_fn *closed, void *arg);
void lifeline_send(struct lifeline *l, const struct msg_out *m);
void lifeline_free(struct lifeline **l);

#endif
