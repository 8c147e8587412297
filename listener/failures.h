/*
 * What can go wrong between us and a Bridge: one table row for each failure, with the line for the log, what
 * the operator should do, and our decision. Codes are those of PROTOCOL.md section 2.
 */
#ifndef LISTENER_FAILURES_H
#define LISTENER_FAILURES_H

#include "core/http/http.h"
#include "core/log.h"
#include "listener/rpc.h"
#include "listener/ws.h"

enum failure_decision {
    FAILURE_RETRY, /* again later, with a growing pause */
    FAILURE_RENEW, /* the token is no longer good: refresh, then login */
    FAILURE_WAIT,  /* rate limit: the same call again after a growing pause */
    FAILURE_SKIP,  /* this call is of no use here; go on without it */
    FAILURE_STOP,  /* permanent until the operator changes something */
};
enum failure_step {
    STEP_LOGIN = 1,
    STEP_REFRESH = 2,
    STEP_BIND = 4,
    STEP_SUBSCRIBE = 8,
    STEP_UNSUBSCRIBE = 16,
    STEP_LIST = 32,
    STEP_CONNECT = 64,
    STEP_ANY = 127,
};
struct failure {
    const char *name;   /* stable word for logs and tests */
    const char *text;   /* what happened */
    const char *advice; /* what to do; NULL: nothing */
    enum failure_decision decision;
};

/* Of an answer that is not what STEP hoped for. Never NULL. */
const struct failure *failure_of_answer(enum failure_step step, const struct rpc_answer *a);
/* Of an HTTP request without a JSON-RPC answer. Never NULL. */
const struct failure *failure_of_http(const struct http_answer *a);
/* Of a WebSocket's end. Never NULL. */
const struct failure *failure_of_ws(const struct ws_fault *fault);

/* Failures that no answer names. */
extern const struct failure failure_no_solution, failure_channel_missing, failure_no_answer,
    failure_mute_path;

const char *failure_step_name(enum failure_step step);
/* One line; the level follows from the decision. DETAIL (the Bridge's words) and MORE may be NULL or ended.
 */
void failure_log(const struct failure *f, enum failure_step step, const char *detail);
/* The failure that was logged last, lists aside, and stands until failure_over; NULL if none: what keeps the
 * listener from its Bridge. */
const struct failure *failure_standing(void);
void failure_over(void);

#endif
