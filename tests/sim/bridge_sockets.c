#include "tests/sim/bridge.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An answer that is sent later. */
struct delayed {
    struct delayed *next;
    struct socket *socket;
    struct event *timer;
    struct sim_buf text;
};

static void delayed_free(struct delayed *d)
{
    struct delayed **at = &d->socket->delayed;
    while (*at != d) {
        at = &(*at)->next;
    }
    *at = d->next;
    event_free(d->timer);
    sim_buf_free(&d->text);
    free(d);
}

static void on_delayed(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct delayed *d = arg;
    if (d->socket->bridge->set.mute == 0) {
        sim_ws_send_text(d->socket->ws, d->text.data, d->text.len);
    }
    delayed_free(d);
}

static int64_t answer_delay_ms(struct bridge *b)
{
    return b->set.answer_delay_ms + (int64_t)(sim_chance(&b->chance) * (double)b->set.answer_jitter_ms);
}

void sockets_answer(struct socket *s, const char *text, size_t length)
{
    int64_t delay_ms = answer_delay_ms(s->bridge);
    if (delay_ms <= 0) {
        sim_ws_send_text(s->ws, text, length);
        return;
    }
    struct delayed *d = sim_alloc(sizeof(*d));
    d->socket = s;
    sim_buf_add(&d->text, text, length);
    d->timer = evtimer_new(s->bridge->base, on_delayed, d);
    d->next = s->delayed;
    s->delayed = d;
    struct timeval when = {.tv_sec = (time_t)(delay_ms / 1000),
                           .tv_usec = (suseconds_t)(delay_ms % 1000 * 1000)};
    evtimer_add(d->timer, &when);
}

static void on_message(struct sim_ws *ws, const char *data, size_t length)
{
    struct socket *s = sim_ws_user(ws);
    struct bridge *b = s->bridge;
    s->alive = true;
    if (!s->service || b->set.mute != 0) {
        return;
    }
    if (bridge_fault(&b->set.drop_answers_count)) {
        sim_conn_close(sim_ws_conn(ws), SIM_END_FIN);
        return;
    }
    struct sim_buf answer = {0};
    if (rpc_answer(b, s, sim_conn_peer(sim_ws_conn(ws)), NULL, data, length, &answer)) {
        sockets_answer(s, answer.data, answer.len);
    }
    sim_buf_free(&answer);
}

static void on_pong(struct sim_ws *ws)
{
    struct socket *s = sim_ws_user(ws);
    s->alive = true;
    s->pongs++;
}

/* ---- coming and going ---- */

/* Half-open connections do not even answer a ping of the client's. */
static bool deaf(const struct bridge *b)
{
    return b->set.stop_reading != 0 || b->set.mute != 0;
}

static bool upgrade_refused(struct bridge *b, struct sim_conn *c)
{
    if (bridge_fault(&b->set.upgrade_hang_count)) {
        return true; /* never answered */
    }
    if (b->set.upgrade_status == 0 || !bridge_fault(&b->set.upgrade_status_count)) {
        return false;
    }
    char headers[300] = "";
    if (b->upgrade_location != NULL) {
        snprintf(headers, sizeof(headers), "Location: %.250s\r\n", b->upgrade_location);
    }
    sim_conn_request(c)->keep_alive = false;
    sim_conn_answer(c, &(struct sim_answer){.status = (int)b->set.upgrade_status,
                                            .content_type = "text/plain",
                                            .headers = headers,
                                            .body = "no upgrade\n",
                                            .body_length = 11});
    return true;
}

void sockets_upgrade(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    static const struct sim_ws_callbacks callbacks = {on_message, on_pong};
    size_t target_length = strlen(r->target);
    if (upgrade_refused(b, c)) {
        return;
    }
    struct socket *s = sim_alloc(sizeof(*s));
    s->bridge = b;
    s->id = ++b->sockets_accepted;
    s->service = target_length >= 4 && strcmp(r->target + target_length - 4, "/api") == 0;
    s->alive = true;
    sim_set(&s->user_agent, sim_request_header(r, "User-Agent"));
    s->next = b->sockets;
    if (b->sockets != NULL) {
        b->sockets->prev = s;
    }
    b->sockets = s;
    b->socket_count++;
    s->ws = sim_ws_accept(c, &callbacks, &b->set.shape, (size_t)b->set.ws_message_max_bytes, s);
    if (deaf(b)) {
        sim_conn_pause_reading(c, true);
    }
}

void sockets_conn_closed(struct bridge *b, struct sim_conn *c)
{
    struct sim_ws *ws = sim_conn_protocol(c);
    if (ws == NULL) {
        return;
    }
    struct socket *s = sim_ws_user(ws);
    flood_socket_ended(b, s);
    while (s->delayed != NULL) {
        delayed_free(s->delayed);
    }
    tokens_socket_ended(b, s->id);
    if (s->prev != NULL) {
        s->prev->next = s->next;
    } else {
        b->sockets = s->next;
    }
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    b->socket_count--;
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        strings_clear(&s->subscriptions[i].solutions);
    }
    free(s->bound);
    free(s->user_agent);
    sim_ws_free(ws);
    free(s);
}

/* ---- pings on one common clock ---- */

static void on_ping(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct bridge *b = arg;
    if (b->set.mute != 0 || b->set.no_pings != 0) {
        return;
    }
    struct socket *next;
    for (struct socket *s = b->sockets; s != NULL; s = next) {
        next = s->next;
        if (!s->alive) {
            b->dropped_by_ping++;
            sim_conn_close(sim_ws_conn(s->ws), SIM_END_FIN);
            continue;
        }
        s->alive = false;
        sim_ws_send_frame(s->ws, 9, true, NULL, 0);
    }
}

void sockets_ping_start(struct bridge *b)
{
    if (b->ping_timer == NULL) {
        b->ping_timer = event_new(b->base, -1, EV_PERSIST, on_ping, b);
    }
    int64_t ms = b->set.ping_interval_ms > 0 ? b->set.ping_interval_ms : 1;
    struct timeval interval = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    event_add(b->ping_timer, &interval);
}

/* ---- faults ---- */

int sockets_drop(struct bridge *b, uint64_t id, enum sim_ending how)
{
    int count = 0;
    struct socket *next;
    for (struct socket *s = b->sockets; s != NULL; s = next) {
        next = s->next;
        if (id == 0 || s->id == id) {
            sim_conn_close(sim_ws_conn(s->ws), how);
            count++;
        }
    }
    return count;
}

int sockets_close(struct bridge *b, uint64_t id, int code, const char *reason)
{
    int count = 0;
    struct socket *next;
    for (struct socket *s = b->sockets; s != NULL; s = next) {
        next = s->next;
        if (id == 0 || s->id == id) {
            sim_ws_close(s->ws, code, reason);
            count++;
        }
    }
    return count;
}

void sockets_apply_settings(struct bridge *b)
{
    for (struct socket *s = b->sockets; s != NULL; s = s->next) {
        sim_conn_pause_reading(sim_ws_conn(s->ws), deaf(b));
    }
}

static const char *session_name(struct bridge *b, const struct socket *s)
{
    const struct token_session *t = s->bound != NULL ? sim_map_get(&b->access_tokens, s->bound) : NULL;
    return t != NULL && t->name != NULL ? t->name : "";
}

static void socket_json(struct bridge *b, const struct socket *s, struct sim_buf *out)
{
    const char *comma = "";
    sim_buf_printf(out, "{\"socket\":%llu,\"peer\":\"%s\",\"service\":%s,\"bound\":%s,\"session\":",
                   (unsigned long long)s->id, sim_conn_peer(sim_ws_conn(s->ws)),
                   s->service ? "true" : "false", s->bound != NULL ? "true" : "false");
    sim_buf_json_string(out, session_name(b, s));
    sim_buf_puts(out, ",\"user_agent\":");
    sim_buf_json_string(out, s->user_agent != NULL ? s->user_agent : "");
    sim_buf_puts(out, ",\"channels\":[");
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        if (s->subscriptions[i].on) {
            sim_buf_printf(out, "%s\"%s\"", comma, channel_names[i]);
            comma = ",";
        }
    }
    sim_buf_printf(out, "],\"deliveries\":%llu,\"pongs\":%llu,\"unsent_bytes\":%zu}",
                   (unsigned long long)s->deliveries, (unsigned long long)s->pongs,
                   evbuffer_get_length(bufferevent_get_output(sim_conn_bev(sim_ws_conn(s->ws)))));
}

void sockets_json(struct bridge *b, struct sim_buf *out)
{
    sim_buf_puts(out, "[");
    for (const struct socket *s = b->sockets; s != NULL; s = s->next) {
        socket_json(b, s, out);
        sim_buf_puts(out, s->next != NULL ? "," : "");
    }
    sim_buf_puts(out, "]");
}
