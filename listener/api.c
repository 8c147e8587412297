#include "listener/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "proto/event.h"

enum {
    /* A page of 100 messages of the largest size (PROTOCOL.md section 7) is 10 MB. */
    ANSWER_MAX_BYTES = EVENT_FRAME_MAX,
    IDLE_MAX_MS = 4000, /* the Bridge closes idle connections after 5 s (section 6) */
};

struct api {
    struct http_client *client;
    char *url;
    int64_t connect_timeout_ms, request_timeout_ms;
    int64_t next_id;
    /* the call under way */
    char *body;
    struct http_headers *headers;
    enum failure_step step;
    api_done_fn *done;
    void *arg;
    char detail[32]; /* of the answer under way */
};

struct api *api_new(const struct api_options *o)
{
    struct api *a = xcalloc(1, sizeof *a);
    a->url = xstrdup(o->url);
    a->connect_timeout_ms = o->connect_timeout_ms;
    a->request_timeout_ms = o->request_timeout_ms;
    /* A done function may begin the next call while its own slot is still taken. */
    a->client = http_client_new(
        &(struct http_options){.connections = 2, .ca_file = o->ca_file, .idle_max_ms = IDLE_MAX_MS});
    return a;
}

static void forget_call(struct api *a)
{
    if (a->body) {
        explicit_bzero(a->body, strlen(a->body));
        cJSON_free(a->body);
    }
    a->body = NULL;
    http_headers_free(&a->headers);
    a->done = NULL;
}

void api_free(struct api **p)
{
    struct api *a = *p;
    if (!a)
        return;
    *p = NULL;
    http_client_free(&a->client);
    forget_call(a);
    free(a->url);
    free(a);
}

bool api_busy(const struct api *a)
{
    return a->done != NULL;
}

static int64_t date_ms(const struct http_answer *http)
{
    const char *date = http_answer_header(http, "Date");
    time_t seconds = date ? curl_getdate(date, NULL) : -1;
    return seconds < 0 ? -1 : (int64_t)seconds * 1000;
}

static void judge(struct api *a, const struct http_answer *http, const cJSON *json, struct api_answer *answer)
{
    answer->date_ms = http->error == CURLE_OK ? date_ms(http) : -1;
    rpc_judge(json, &answer->rpc);
    enum rpc_form form = answer->rpc.form;
    if (form == RPC_NONE) {
        answer->failure = failure_of_http(http);
        answer->detail = http->detail;
        if (http->error == CURLE_OK) {
            snprintf(a->detail, sizeof a->detail, "HTTP status %ld", http->status);
            answer->detail = a->detail;
        }
    } else if (form != RPC_OK && form != RPC_RESULT) {
        answer->failure = failure_of_answer(a->step, &answer->rpc);
        answer->detail = answer->rpc.data[0] ? answer->rpc.data : answer->rpc.message;
    }
}

static void on_done(void *arg, const struct http_answer *http)
{
    struct api *a = arg;
    struct api_answer answer = {.detail = ""};
    cJSON *json =
        http->error == CURLE_OK && http->status == 200 ? event_parse_json(http->body, http->body_len) : NULL;
    judge(a, http, json, &answer);
    api_done_fn *done = a->done;
    void *done_arg = a->arg;
    /* The done function may begin the next call. */
    forget_call(a);
    done(done_arg, &answer);
    cJSON_Delete(json);
}

void api_call(struct api *a, enum failure_step step, const char *method, cJSON *params, const char *token,
              api_done_fn *done, void *arg)
{
    if (a->done)
        panic("a second call at the same time");
    char *authorization = token ? xasprintf("Authorization: Bearer %s", token) : NULL;
    const char *lines[] = {"Content-Type: application/json", authorization, NULL};
    a->headers = http_headers_new(lines);
    if (authorization)
        xfree_secret(authorization, strlen(authorization));
    a->body = rpc_request(++a->next_id, method, params);
    a->step = step;
    a->done = done;
    a->arg = arg;
    struct http_call call = {
        .url = a->url,
        .headers = a->headers,
        .body = a->body,
        .body_len = strlen(a->body),
        .connect_timeout_ms = a->connect_timeout_ms,
        .total_timeout_ms = a->request_timeout_ms,
        .max_answer_bytes = ANSWER_MAX_BYTES,
    };
    if (http_begin(a->client, &call, on_done, a))
        panic("no slot for a single call");
}
