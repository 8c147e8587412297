#include "listener/failures.h"

#include <stddef.h>

/* ---- JSON-RPC answers ---- */

static const struct row {
    unsigned steps;
    int code;
    struct failure failure;
} answers[] = {
    {STEP_LOGIN | STEP_REFRESH,
     24875,
     {"unknown_key", "the Bridge does not know the API key, or it is disabled or deleted",
      "check api_key_id, or enable the key at the Bridge", FAILURE_STOP}},
    {STEP_LOGIN,
     24876,
     {"wrong_secret", "the Bridge refuses the secret of the API key", "check api_key_secret", FAILURE_STOP}},
    {STEP_LOGIN,
     24878,
     {"scope_missing", "the API key lacks a scope that is asked for",
      "give the key this scope at the Bridge, or change channels or solutions", FAILURE_STOP}},
    {STEP_LOGIN,
     -32602,
     {"login_refused", "the Bridge refuses the form of the login",
      "check api_key_id, api_key_secret and solutions for characters that do not belong there",
      FAILURE_STOP}},
    {STEP_LOGIN,
     48,
     {"access_denied", "the Bridge denies access", "give the key a scope solution:* or solution:ID",
      FAILURE_STOP}},
    {STEP_REFRESH,
     21,
     {"refresh_token_rejected", "the refresh token is no longer good; logging in again", NULL,
      FAILURE_RENEW}},
    {STEP_REFRESH,
     24879,
     {"refresh_token_rejected", "the refresh token is no longer good; logging in again", NULL,
      FAILURE_RENEW}},
    {STEP_BIND,
     21,
     {"token_rejected", "the Bridge rejects the access token (expired, replaced or evicted)", NULL,
      FAILURE_RENEW}},
    {STEP_BIND | STEP_SUBSCRIBE | STEP_UNSUBSCRIBE | STEP_LIST,
     24879,
     {"unauthorized", "the Bridge no longer accepts the access token", NULL, FAILURE_RENEW}},
    {STEP_SUBSCRIBE | STEP_UNSUBSCRIBE | STEP_LIST,
     21,
     {"token_rejected", "the Bridge rejects the access token (expired, replaced or evicted)", NULL,
      FAILURE_RENEW}},
    {STEP_BIND | STEP_SUBSCRIBE | STEP_UNSUBSCRIBE,
     24886,
     {"not_a_websocket", "the Bridge says that the call did not come over a WebSocket",
      "look at what stands between: a proxy seems to answer for the Bridge", FAILURE_RETRY}},
    {STEP_SUBSCRIBE,
     24878,
     {"channel_scope_missing", "the API key lacks the scope of a channel",
      "give the key this scope at the Bridge, or take the channel out of channels", FAILURE_STOP}},
    {STEP_SUBSCRIBE,
     48,
     {"access_denied", "the Bridge denies the subscription", "give the key a scope solution:* or solution:ID",
      FAILURE_STOP}},
    {STEP_SUBSCRIBE,
     -32602,
     {"channel_unknown", "this Bridge does not know a channel that is asked for",
      "take the channel out of channels", FAILURE_STOP}},
    {STEP_LIST,
     24878,
     {"list_scope_missing", "the API key may not list this; what was missed there cannot be caught up",
      "give the key this scope at the Bridge, or set catch_up = off", FAILURE_SKIP}},
    {STEP_LIST,
     48,
     {"list_denied", "the Bridge denies this list; what was missed there cannot be caught up", NULL,
      FAILURE_SKIP}},
    {STEP_LIST, 24854, {"context_gone", "a context does not exist any more", NULL, FAILURE_SKIP}},
    {STEP_LIST, 24577, {"thread_gone", "a thread does not exist any more", NULL, FAILURE_SKIP}},
    {STEP_LIST, 24589, {"message_gone", "a message does not exist any more", NULL, FAILURE_SKIP}},
    {STEP_LIST,
     -32601,
     {"list_unknown", "this Bridge does not offer this list (streams may be switched off)", NULL,
      FAILURE_SKIP}},
    {STEP_LIST, -32602, {"list_refused", "this Bridge refuses the form of a list", NULL, FAILURE_SKIP}},
    {STEP_ANY,
     24894,
     {"key_exists", "the Bridge says that a first API key was already created", NULL, FAILURE_RETRY}},
    {STEP_ANY,
     -32700,
     {"unreadable", "the Bridge could not read our request", "look at what stands between us and the Bridge",
      FAILURE_RETRY}},
    {STEP_ANY,
     -32601,
     {"unknown_method", "this server does not know the call", "check that url is a PrivMX Bridge's",
      FAILURE_RETRY}},
    {STEP_ANY, -32602, {"refused", "the Bridge refuses the form of a call", NULL, FAILURE_RETRY}},
    {STEP_ANY,
     24886,
     {"not_a_websocket", "the Bridge says that the call did not come over a WebSocket", NULL, FAILURE_RETRY}},
    {STEP_ANY,
     24875,
     {"unknown_key", "the Bridge does not know the API key, or it is disabled or deleted",
      "check api_key_id, or enable the key at the Bridge", FAILURE_STOP}},
    {STEP_ANY,
     24876,
     {"wrong_secret", "the Bridge refuses the secret of the API key", "check api_key_secret", FAILURE_STOP}},
};

static const struct failure unknown_code = {
    "unknown_error", "the Bridge answers with an error that is not known here", NULL, FAILURE_RETRY};
static const struct failure container_gone = {"container_gone", "a list's container cannot be listed", NULL,
                                              FAILURE_SKIP};
static const struct failure limited = {"rate_limited", "the Bridge limits our requests; waiting", NULL,
                                       FAILURE_WAIT};
static const struct failure odd_answer = {"odd_answer", "the answer has not the form it should have",
                                          "check that url is a PrivMX Bridge's API", FAILURE_RETRY};
const struct failure failure_no_answer = {"no_answer", "no answer in time", NULL, FAILURE_RETRY};
const struct failure failure_mute_path = {
    "mute_path", "the connection was upgraded, but calls are never answered",
    "the path of url (or ws_url) must end in /api, without anything behind it", FAILURE_RETRY};
const struct failure failure_no_solution = {
    "no_solution_scope", "no solution: scope was granted, so that nothing would ever be delivered",
    "give the API key a scope solution:* or solution:ID, and name the same in solutions", FAILURE_STOP};
const struct failure failure_channel_missing = {
    "channel_not_granted", "the scope of a channel was not granted",
    "give the API key this scope, or take the channel out of channels", FAILURE_STOP};

const struct failure *failure_of_answer(enum failure_step step, const struct rpc_answer *a)
{
    if (a->form == RPC_LIMITED)
        return &limited;
    if (a->form != RPC_ERROR)
        return &odd_answer;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (answers[i].code == a->code && (answers[i].steps & (unsigned)step))
            return &answers[i].failure;
    /* Negative codes are JSON-RPC's own: they tell of the server and say nothing of the container. */
    return step == STEP_LIST && a->code >= 0 ? &container_gone : &unknown_code;
}

/* ---- HTTP ---- */

static const struct curl_row {
    CURLcode code;
    struct failure failure;
} transports[] = {
    {CURLE_COULDNT_RESOLVE_HOST,
     {"name_unknown", "the Bridge's name cannot be resolved", "check url and the name service",
      FAILURE_RETRY}},
    {CURLE_COULDNT_RESOLVE_PROXY,
     {"proxy_name_unknown", "the proxy's name cannot be resolved", "check the proxy in the environment",
      FAILURE_RETRY}},
    {CURLE_COULDNT_CONNECT, {"connection_refused", "the Bridge cannot be reached", NULL, FAILURE_RETRY}},
    {CURLE_PROXY, {"proxy_failed", "the proxy does not let us through", NULL, FAILURE_RETRY}},
    {CURLE_OPERATION_TIMEDOUT, {"timed_out", "the Bridge did not answer in time", NULL, FAILURE_RETRY}},
    {CURLE_PEER_FAILED_VERIFICATION,
     {"certificate_refused", "the Bridge's certificate is not trusted",
      "name the certificate authority with ca_file, or check the host name in url", FAILURE_RETRY}},
    {CURLE_SSL_CONNECT_ERROR,
     {"tls_failed", "no TLS connection could be made", "check whether url should begin with http or https",
      FAILURE_RETRY}},
    {CURLE_SSL_CACERT_BADFILE,
     {"ca_file_unreadable", "the certificates to trust cannot be read", "check ca_file", FAILURE_RETRY}},
    {CURLE_WRITE_ERROR, {"answer_too_large", "the answer is larger than any should be", NULL, FAILURE_RETRY}},
    {CURLE_GOT_NOTHING, {"hung_up", "the connection ended before an answer", NULL, FAILURE_RETRY}},
    {CURLE_RECV_ERROR, {"hung_up", "the connection ended before an answer", NULL, FAILURE_RETRY}},
    {CURLE_SEND_ERROR, {"hung_up", "the connection ended before an answer", NULL, FAILURE_RETRY}},
    {CURLE_ABORTED_BY_CALLBACK, {"hung_up", "the connection ended before an answer", NULL, FAILURE_RETRY}},
};
static const struct failure transport_other = {"connection_failed", "the connection failed", NULL,
                                               FAILURE_RETRY};

static const struct failure *of_curl(CURLcode code)
{
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++)
        if (transports[i].code == code)
            return &transports[i].failure;
    return &transport_other;
}

static const struct status_row {
    int from, to;
    struct failure failure;
} statuses[] = {
    {300,
     399,
     {"redirected", "the server sends us elsewhere; this is not followed", "write the final address into url",
      FAILURE_RETRY}},
    {401,
     401,
     {"front_unauthorized", "something in front of the Bridge asks for a login of its own", NULL,
      FAILURE_RETRY}},
    {403, 403, {"front_forbidden", "something in front of the Bridge forbids access", NULL, FAILURE_RETRY}},
    {404, 404, {"not_found", "there is no API at this address", "url should end in /api", FAILURE_RETRY}},
    {407, 407, {"proxy_login", "the proxy asks for a login", NULL, FAILURE_RETRY}},
    {426, 426, {"no_upgrade", "the server does not take the upgrade", NULL, FAILURE_RETRY}},
    {429, 429, {"front_limited", "something in front of the Bridge limits our requests", NULL, FAILURE_WAIT}},
    {500,
     599,
     {"server_error", "the server (or something in front of it) cannot serve now", NULL, FAILURE_RETRY}},
};
static const struct failure status_other = {"odd_status", "an answer of an unexpected HTTP status", NULL,
                                            FAILURE_RETRY};

static const struct failure *of_status(long status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (status >= statuses[i].from && status <= statuses[i].to)
            return &statuses[i].failure;
    return &status_other;
}

const struct failure *failure_of_http(const struct http_answer *a)
{
    if (a->error != CURLE_OK)
        return of_curl(a->error);
    return a->status == 200 ? &odd_answer : of_status(a->status);
}

/* ---- WebSocket ---- */

static const struct failure ws_failures[] = {
    [WS_CONNECT_FAILED] = {"connection_failed", "the WebSocket could not be connected", NULL, FAILURE_RETRY},
    [WS_TIMED_OUT] = {"connect_timed_out", "the WebSocket was not connected and upgraded in time", NULL,
                      FAILURE_RETRY},
    [WS_REFUSED] = {"upgrade_refused", "the server refuses the upgrade", NULL, FAILURE_RETRY},
    [WS_NOT_WEBSOCKET] = {"not_a_websocket", "the server does not answer the upgrade as a WebSocket would",
                          "check url and what stands between us and the Bridge", FAILURE_RETRY},
    [WS_CLOSED] = {"closed", "the Bridge closed the connection", NULL, FAILURE_RETRY},
    [WS_ENDED] = {"ended", "the connection to the Bridge ended", NULL, FAILURE_RETRY},
    [WS_SILENT] = {"silent",
                   "nothing came from the Bridge for too long, not even its ping; the connection is dead",
                   NULL, FAILURE_RETRY},
    [WS_BROKEN] = {"protocol_broken", "the other side broke the WebSocket protocol", NULL, FAILURE_RETRY},
};

const struct failure *failure_of_ws(const struct ws_fault *fault)
{
    if (fault->end == WS_CONNECT_FAILED)
        return of_curl(fault->curl);
    if (fault->end == WS_REFUSED && fault->status >= 300)
        return of_status(fault->status);
    return &ws_failures[fault->end];
}

/* ---- the log ---- */

const char *failure_step_name(enum failure_step step)
{
    static const struct {
        enum failure_step step;
        const char *name;
    } names[] = {
        {STEP_LOGIN, "login"},         {STEP_REFRESH, "refresh"},         {STEP_BIND, "bind"},
        {STEP_SUBSCRIBE, "subscribe"}, {STEP_UNSUBSCRIBE, "unsubscribe"}, {STEP_LIST, "list"},
        {STEP_CONNECT, "connect"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].step == step)
            return names[i].name;
    return "";
}

static const struct failure *standing;

const struct failure *failure_standing(void)
{
    return standing;
}

void failure_over(void)
{
    standing = NULL;
}

void failure_log(const struct failure *f, enum failure_step step, const char *detail)
{
    static const enum log_level levels[] = {
        [FAILURE_RETRY] = LOG_WARN, [FAILURE_RENEW] = LOG_INFO, [FAILURE_WAIT] = LOG_WARN,
        [FAILURE_SKIP] = LOG_WARN,  [FAILURE_STOP] = LOG_ERROR,
    };
    if (f->decision != FAILURE_SKIP)
        standing = f;
    log_write(levels[f->decision], f->text, log_str("failure", f->name),
              log_str("step", failure_step_name(step)),
              log_str("detail", detail && detail[0] ? detail : NULL), log_str("advice", f->advice), LOG_END);
}
