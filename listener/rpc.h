/*
 * JSON-RPC as a Bridge speaks it (PROTOCOL.md section 2): requests as text, and answers judged by their form.
 *
 * The absence of `error` proves nothing: a rate limit comes as a result (section 10). So an answer is OK only
 * if its result is the text "OK", and carries a result only if that is an object without a `code` of 429.
 */
#ifndef LISTENER_RPC_H
#define LISTENER_RPC_H

#include <cjson/cJSON.h>
#include <stdint.h>

enum rpc_form {
    RPC_NONE,    /* no answer came: transport; or not a JSON-RPC answer at all */
    RPC_OK,      /* result is "OK" */
    RPC_RESULT,  /* result is an object */
    RPC_LIMITED, /* result says 429 */
    RPC_ERROR,   /* an error with a code */
    RPC_ODD,     /* an answer of another form */
};
struct rpc_answer {
    enum rpc_form form;
    int64_t id;          /* -1: none or not one of ours */
    int code;            /* with RPC_ERROR */
    const char *message; /* views into the JSON; "" when absent */
    const char *data;    /* likewise; names the scope, member or rule */
    const cJSON *result; /* with RPC_RESULT */
};

/* {"jsonrpc":"2.0","id":ID,"method":METHOD,"params":PARAMS}; takes PARAMS over. Free the text with cJSON_free
 * after wiping what is secret in it. */
char *rpc_request(int64_t id, const char *method, cJSON *params);
/* Judges a parsed answer. ANSWER's views live as long as JSON. */
void rpc_judge(const cJSON *json, struct rpc_answer *answer);

#endif
