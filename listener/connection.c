#include "listener/connection.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "listener/backoff.h"
#include "proto/event.h"

enum {
    STABLE_MS = 20000,  /* a connection that lived so long makes the pauses small again */
    UNSTABLE_TRIES = 2, /* one that did not: the next pause is a few times reconnect_min */
    LIMITED_MIN_MS = 1000,
    LIMITED_MAX_MS = 30000,
    RENEWALS_MAX = 2, /* tokens that one connection may use up */
    LEAVE_MS = 2000,  /* longest wait for an answer while leaving */
    CLOSE_MS = 1000,  /* longest wait for the answer to our close frame */
    CLOSE_GOING_AWAY = 1001,
};

enum phase {
    IDLE,
    PAUSED,
    TOKEN,
    CONNECTING,
    BINDING,
    SUBSCRIBING,
    LIVE,
    UNSUBSCRIBING,
    CLOSING,
    STOPPED,
    PHASES
};

static const char *const phase_names[PHASES] = {
    "starting",    "reconnecting", "logging in",    "connecting", "binding",
    "subscribing", "subscribed",   "unsubscribing", "closing",    "stopped",
};

struct connection {
    const struct settings *settings;
    struct session *session;
    const struct connection_ops *ops;
    void *arg;
    struct ws *ws;
    enum phase phase;
    struct loop_timer *timer; /* pause, time limit of a call, or pause before a limited call is repeated */
    struct backoff pause, limited;
    int64_t call_id; /* the answer that is waited for; 0: none */
    int64_t next_id;
    enum failure_step step;
    uint64_t token_number; /* the token that is bound or being bound */
    unsigned renewals;
    bool answered; /* this connection has answered any call */
    bool was_live, leaving;
    uint64_t live_since_ms;
    struct connection_counts counts;
};

static void enter(struct connection *c, enum phase phase)
{
    c->phase = phase;
    c->ops->state(c->arg, phase_names[phase]);
}

/* ---- losing a connection ---- */

static void forget_ws(struct connection *c)
{
    if (c->ws) {
        c->counts.bytes += ws_bytes(c->ws);
        c->counts.pings += ws_pings(c->ws);
    }
    ws_free(&c->ws);
    c->call_id = 0;
    loop_timer_stop(c->timer);
}

static void tell_lost(struct connection *c)
{
    if (!c->was_live)
        return;
    c->was_live = false;
    c->counts.losses++;
    if (clock_mono_ms() - c->live_since_ms >= STABLE_MS)
        backoff_reset(&c->pause);
    else if (c->pause.tries > UNSTABLE_TRIES)
        c->pause.tries = UNSTABLE_TRIES;
    c->ops->lost(c->arg);
}

static void tell_left(void *arg)
{
    struct connection *c = arg;
    c->ops->left(c->arg);
}

static void end_leaving(struct connection *c)
{
    c->leaving = false;
    forget_ws(c);
    tell_lost(c);
    enter(c, STOPPED);
    loop_defer(tell_left, c);
}

static void pause_and_retry(struct connection *c)
{
    forget_ws(c);
    tell_lost(c);
    if (c->leaving) {
        end_leaving(c);
        return;
    }
    int64_t pause_ms = backoff_next(&c->pause);
    log_info("connecting again", log_int("in_ms", pause_ms), log_int("try", c->pause.tries));
    enter(c, PAUSED);
    loop_timer_start(c->timer, pause_ms);
}

static void stop(struct connection *c, const struct failure *failure, const char *detail)
{
    forget_ws(c);
    tell_lost(c);
    enter(c, STOPPED);
    if (c->leaving)
        end_leaving(c);
    else
        c->ops->stopped(c->arg, failure, detail);
}

/* ---- calls over the socket ---- */

static cJSON *channels_params(const struct connection *c)
{
    cJSON *params = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(params, "channels");
    for (size_t i = 0; i < c->settings->channels_count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(c->settings->channels[i]));
    return params;
}

static cJSON *bind_params(const struct connection *c)
{
    cJSON *params = cJSON_CreateObject();
    cJSON_AddStringToObject(params, "accessToken", session_token(c->session));
    return params;
}

static void call(struct connection *c, enum phase phase, enum failure_step step, const char *method,
                 cJSON *params)
{
    enter(c, phase);
    c->step = step;
    c->call_id = ++c->next_id;
    char *text = rpc_request(c->call_id, method, params);
    size_t len = strlen(text);
    /* Answers come in any order, so each call waits for the one before it. */
    int64_t limit_ms = c->settings->request_timeout_ms;
    loop_timer_start(c->timer, c->leaving && limit_ms > LEAVE_MS ? LEAVE_MS : limit_ms);
    /* A connection that ends here says so by itself. */
    if (ws_send(c->ws, text, len) && c->ws)
        log_warn("a call could not be sent", log_str("method", method));
    explicit_bzero(text, len);
    cJSON_free(text);
}

static void subscribe(struct connection *c)
{
    call(c, SUBSCRIBING, STEP_SUBSCRIBE, "manager/subscribeToChannel", channels_params(c));
}

static void bind_token(struct connection *c)
{
    if (!session_token(c->session)) {
        enter(c, BINDING);
        session_want(c->session);
        loop_timer_stop(c->timer);
        return;
    }
    c->token_number = session_number(c->session);
    call(c, BINDING, STEP_BIND, "manager/bindAccessToken", bind_params(c));
}

static void unsubscribe(struct connection *c)
{
    call(c, UNSUBSCRIBING, STEP_UNSUBSCRIBE, "manager/unsubscribeFromChannel", channels_params(c));
}

static void close_politely(struct connection *c)
{
    enter(c, CLOSING);
    c->call_id = 0;
    ws_close(c->ws, CLOSE_GOING_AWAY);
    loop_timer_start(c->timer, CLOSE_MS);
}

static void become_live(struct connection *c)
{
    loop_timer_stop(c->timer);
    c->counts.connects++;
    c->was_live = true;
    c->live_since_ms = clock_mono_ms();
    backoff_reset(&c->limited);
    log_info("subscribed", log_int("channels", (int64_t)c->settings->channels_count));
    enter(c, LIVE);
    c->ops->live(c->arg);
}

static void repeat_call(struct connection *c)
{
    if (c->step == STEP_BIND)
        bind_token(c);
    else if (c->step == STEP_SUBSCRIBE)
        subscribe(c);
    else
        close_politely(c);
}

static void renew(struct connection *c)
{
    if (c->phase == UNSUBSCRIBING) {
        close_politely(c);
        return;
    }
    if (++c->renewals > RENEWALS_MAX) {
        pause_and_retry(c);
        return;
    }
    loop_timer_stop(c->timer);
    c->phase = BINDING;
    session_rejected(c->session, c->token_number);
    /* A token that came meanwhile can be bound at once; else connection_token goes on. */
    if (session_token(c->session))
        bind_token(c);
}

static void wait_for_limit(struct connection *c)
{
    c->counts.limited++;
    int64_t wait_ms = backoff_next(&c->limited);
    log_info("repeating the call", log_str("step", failure_step_name(c->step)), log_int("in_ms", wait_ms));
    loop_timer_start(c->timer, wait_ms);
}

static void call_failed(struct connection *c, const struct failure *f, const char *detail)
{
    c->counts.failures++;
    failure_log(f, c->step, detail);
    if (f->decision == FAILURE_RENEW)
        renew(c);
    else if (f->decision == FAILURE_WAIT)
        wait_for_limit(c);
    else if (f->decision == FAILURE_STOP && !c->leaving)
        stop(c, f, detail);
    else
        pause_and_retry(c);
}

static void call_succeeded(struct connection *c)
{
    if (c->phase == BINDING) {
        session_accepted(c->session);
        if (c->leaving && c->was_live)
            unsubscribe(c);
        else
            subscribe(c);
    } else if (c->phase == SUBSCRIBING) {
        become_live(c);
    } else if (c->phase == UNSUBSCRIBING) {
        log_info("unsubscribed");
        close_politely(c);
    }
}

static void on_answer(struct connection *c, const struct rpc_answer *a)
{
    c->answered = true;
    /* An answer without an id can only be to the one call that waits: it could not be read. */
    if (c->call_id == 0 || (a->id != c->call_id && !(a->id < 0 && a->form == RPC_ERROR)))
        return;
    c->call_id = 0;
    loop_timer_stop(c->timer);
    if (a->form == RPC_OK)
        call_succeeded(c);
    else
        call_failed(c, failure_of_answer(c->step, a), a->data[0] ? a->data : a->message);
}

/* ---- the socket ---- */

static void on_open(void *arg)
{
    struct connection *c = arg;
    log_info("connected", log_str("url", c->settings->ws_url));
    bind_token(c);
}

static void on_message(void *arg, const char *data, size_t len)
{
    static const char answer_start[] = "{\"jsonrpc\"";
    struct connection *c = arg;
    bool maybe_answer =
        len >= sizeof answer_start - 1 && memcmp(data, answer_start, sizeof answer_start - 1) == 0;
    if (!maybe_answer) {
        c->ops->event(c->arg, data, len);
        return;
    }
    cJSON *json = event_parse_json(data, len);
    struct rpc_answer answer;
    rpc_judge(json, &answer);
    if (answer.form == RPC_NONE)
        c->ops->event(c->arg, data, len);
    else
        on_answer(c, &answer);
    cJSON_Delete(json);
}

static void on_pass(void *arg)
{
    struct connection *c = arg;
    c->ops->pass(c->arg);
}

static void on_skipped(void *arg, uint64_t bytes)
{
    struct connection *c = arg;
    c->counts.skipped++;
    log_warn("a message larger than frame_limit went by unread", log_int("bytes", (int64_t)bytes));
}

static void on_ended(void *arg, const struct ws_fault *fault)
{
    struct connection *c = arg;
    if (c->leaving) {
        end_leaving(c);
        return;
    }
    c->counts.failures++;
    const struct failure *f = failure_of_ws(fault);
    char detail[220];
    snprintf(detail, sizeof detail, "%s", fault->detail);
    if (fault->code)
        snprintf(detail, sizeof detail, "code %d %s", fault->code, fault->detail);
    else if (fault->status)
        snprintf(detail, sizeof detail, "status %d %s", fault->status, fault->detail);
    failure_log(f, STEP_CONNECT, detail);
    pause_and_retry(c);
}

static const struct ws_ops ws_ops = {on_open, on_message, on_pass, on_skipped, on_ended};

static void connect_ws(struct connection *c)
{
    const struct settings *s = c->settings;
    c->answered = false;
    c->renewals = 0;
    loop_timer_stop(c->timer);
    enter(c, CONNECTING);
    c->ws = ws_new(&(struct ws_options){.url = s->ws_url,
                                        .ca_file = s->ca_file,
                                        .connect_timeout_ms = s->connect_timeout_ms,
                                        .upgrade_timeout_ms = s->request_timeout_ms,
                                        .silence_limit_ms = s->silence_limit_ms,
                                        .message_limit = s->frame_limit},
                   &ws_ops, c);
}

/* ---- time ---- */

static void call_timed_out(struct connection *c)
{
    if (c->phase == UNSUBSCRIBING) {
        close_politely(c);
        return;
    }
    c->counts.failures++;
    /* Every path is upgraded, but only one that ends in /api is served (PROTOCOL.md section 1). */
    bool known = c->answered || c->counts.connects;
    failure_log(known ? &failure_no_answer : &failure_mute_path, c->step, c->settings->ws_url);
    pause_and_retry(c);
}

static void begin(struct connection *c)
{
    if (session_token(c->session)) {
        connect_ws(c);
        return;
    }
    enter(c, TOKEN);
    session_want(c->session);
}

static void on_timer(void *arg)
{
    struct connection *c = arg;
    if (c->phase == PAUSED)
        begin(c);
    else if (c->phase == CLOSING)
        end_leaving(c);
    else if (c->call_id)
        call_timed_out(c);
    else if (c->ws)
        repeat_call(c);
}

/* ---- for others ---- */

struct connection *connection_new(const struct settings *settings, struct session *session,
                                  const struct connection_ops *ops, void *arg)
{
    struct connection *c = xcalloc(1, sizeof *c);
    c->settings = settings;
    c->session = session;
    c->ops = ops;
    c->arg = arg;
    c->pause = (struct backoff){settings->reconnect_min_ms, settings->reconnect_max_ms, 0};
    c->limited = (struct backoff){LIMITED_MIN_MS * 2, LIMITED_MAX_MS, 0};
    c->timer = loop_timer_new(on_timer, c);
    return c;
}

void connection_free(struct connection **p)
{
    struct connection *c = *p;
    if (!c)
        return;
    *p = NULL;
    ws_free_now(&c->ws);
    loop_timer_free(&c->timer);
    free(c);
}

void connection_start(struct connection *c)
{
    begin(c);
}

void connection_token(struct connection *c)
{
    if (c->phase == TOKEN)
        connect_ws(c);
    else if (c->phase == BINDING && c->ws && c->call_id == 0)
        bind_token(c);
}

bool connection_live(const struct connection *c)
{
    return c->was_live;
}

uint64_t connection_heard_ms(const struct connection *c)
{
    return c->was_live && c->ws ? ws_heard_ms(c->ws) : 0;
}

void connection_leave(struct connection *c)
{
    c->leaving = true;
    if (c->phase != LIVE) {
        end_leaving(c);
        return;
    }
    /* Unsubscribing needs a token that is still good; a refresh has replaced the one that was bound. */
    if (session_token(c->session) && session_number(c->session) != c->token_number)
        bind_token(c);
    else
        unsubscribe(c);
}

const struct connection_counts *connection_counts(struct connection *c)
{
    static struct connection_counts now;
    now = c->counts;
    if (c->ws) {
        now.bytes += ws_bytes(c->ws);
        now.pings += ws_pings(c->ws);
    }
    return &now;
}

const char *connection_state(const struct connection *c)
{
    return phase_names[c->phase];
}
