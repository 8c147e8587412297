/* Calls of the Bridge's management API over HTTP: one JSON-RPC request, one judged answer. */
#ifndef LISTENER_API_H
#define LISTENER_API_H

#include <stdbool.h>
#include <stdint.h>

#include "core/http/http.h"
#include "listener/failures.h"
#include "listener/rpc.h"

struct api_options {
    const char *url;
    const char *ca_file;
    int64_t connect_timeout_ms, request_timeout_ms;
};
struct api_answer {
    struct rpc_answer rpc;         /* form RPC_NONE if none came */
    const struct failure *failure; /* NULL if the form is RPC_OK or RPC_RESULT */
    const char *detail;            /* the Bridge's or libcurl's words; never NULL */
    int64_t date_ms;               /* the server's time by its Date header, whole seconds; -1: none */
};
typedef void api_done_fn(void *arg, const struct api_answer *answer);

struct api;
struct api *api_new(const struct api_options *options);
/* Cancels what is under way without calling anybody. Not from inside a done function. */
void api_free(struct api **a);
/* One call at a time: true while one is under way. */
bool api_busy(const struct api *a);
/* Begins a call; PARAMS is taken over. TOKEN (may be NULL) goes into the Authorization header. The request's
 * text is wiped afterwards. Must not be busy. */
void api_call(struct api *a, enum failure_step step, const char *method, cJSON *params, const char *token,
              api_done_fn *done, void *arg);

#endif
