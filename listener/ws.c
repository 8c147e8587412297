#include "listener/ws.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/http/http.h"
#include "core/http/multi.h"
#include "core/loop.h"
#include "listener/frames.h"
#include "listener/upgrade.h"

enum {
    READS_PER_PASS = 4,
    OUT_MAX_BYTES = 1024 * 1024,
    CHECKS_PER_LIMIT = 8, /* how often within the limit silence is looked at */
    CLOSE_NO_STATUS = 1005,
};

enum phase { CONNECTING, UPGRADING, OPEN, CLOSING, OVER };

struct ws {
    const struct ws_ops *ops;
    void *arg;
    struct multi *multi;
    CURL *easy;
    struct event *readable, *writable;
    struct loop_timer *timer; /* time limit of a step, then the look at silence */
    struct frames *frames;
    struct upgrade upgrade;
    struct buf out;
    enum phase phase;
    int64_t silence_limit_ms, upgrade_timeout_ms;
    uint64_t heard_ms, bytes, pings;
    char error[CURL_ERROR_SIZE];
    struct ws_fault fault;
};

/* ---- the end ---- */

static void stop_events(struct ws *w)
{
    if (w->readable)
        event_free(w->readable);
    if (w->writable)
        event_free(w->writable);
    w->readable = w->writable = NULL;
    loop_timer_stop(w->timer);
}

static void set_detail(struct ws *w, const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n < sizeof w->fault.detail - 1; i++)
        w->fault.detail[n++] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
    w->fault.detail[n] = '\0';
}

static void end(struct ws *w, enum ws_end how, const char *detail)
{
    if (w->phase == OVER)
        return;
    w->fault.end = how;
    w->fault.upgraded = w->phase >= OPEN;
    if (detail)
        set_detail(w, detail, strlen(detail));
    w->phase = OVER;
    frames_stop(w->frames);
    stop_events(w);
    w->ops->ended(w->arg, &w->fault);
}

/* ---- writing ---- */

static void flush(struct ws *w)
{
    while (w->out.len && w->phase != OVER) {
        size_t n = 0;
        CURLcode rc = curl_easy_send(w->easy, w->out.data, w->out.len, &n);
        if (rc == CURLE_AGAIN)
            break;
        if (rc != CURLE_OK) {
            w->fault.curl = rc;
            end(w, WS_ENDED, curl_easy_strerror(rc));
            return;
        }
        buf_consume(&w->out, n);
    }
    if (!w->writable)
        return;
    if (w->out.len)
        event_add(w->writable, NULL);
    else
        event_del(w->writable);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flush(arg);
}

int ws_send(struct ws *w, const char *text, size_t len)
{
    if (w->phase != OPEN || frames_write(w->frames, &w->out, FRAMES_TEXT, text, len))
        return -1;
    flush(w);
    return w->phase == OPEN ? 0 : -1;
}

void ws_close(struct ws *w, int code)
{
    if (w->phase != OPEN)
        return;
    unsigned char payload[2] = {(unsigned char)(code >> 8), (unsigned char)code};
    frames_write(w->frames, &w->out, FRAMES_CLOSE, payload, sizeof payload);
    flush(w);
    if (w->phase == OPEN)
        w->phase = CLOSING;
}

/* ---- what comes ---- */

static void on_message(void *arg, const char *data, size_t len)
{
    struct ws *w = arg;
    if (w->phase == OPEN)
        w->ops->message(w->arg, data, len);
}

static void on_close(struct ws *w, const char *data, size_t len)
{
    w->fault.code = len >= 2 ? (unsigned char)data[0] << 8 | (unsigned char)data[1] : CLOSE_NO_STATUS;
    /* A close is answered with the same code, unless it answers ours. */
    if (w->phase == OPEN) {
        frames_write(w->frames, &w->out, FRAMES_CLOSE, data, len >= 2 ? 2 : 0);
        flush(w);
    }
    if (len > 2)
        set_detail(w, data + 2, len - 2);
    end(w, WS_CLOSED, NULL);
}

static void on_control(void *arg, enum frames_opcode opcode, const char *data, size_t len)
{
    struct ws *w = arg;
    if (w->phase == OVER)
        return;
    if (opcode == FRAMES_CLOSE) {
        on_close(w, data, len);
    } else if (opcode == FRAMES_PING) {
        w->pings++;
        /* A peer that pings without reading fills the queue; its pings then go unanswered. */
        frames_write(w->frames, &w->out, FRAMES_PONG, data, len);
    }
}

static void on_skipped(void *arg, uint64_t bytes)
{
    struct ws *w = arg;
    if (w->phase == OPEN)
        w->ops->skipped(w->arg, bytes);
}

static const struct frames_ops frames_ops = {on_message, on_control, on_skipped};

static void look_at_silence(struct ws *w)
{
    int64_t silent_ms = (int64_t)(clock_mono_ms() - w->heard_ms);
    if (silent_ms >= w->silence_limit_ms)
        end(w, WS_SILENT, "not a byte, not even a ping");
    else
        loop_timer_start(w->timer, w->silence_limit_ms / CHECKS_PER_LIMIT + 1);
}

/* Bytes behind the head may already be frames. */
static void finish_upgrade(struct ws *w, const char *rest, size_t len)
{
    w->phase = OPEN;
    look_at_silence(w);
    w->ops->open(w->arg);
    size_t room;
    char *to = frames_space(w->frames, &room);
    if (len > room || w->phase != OPEN)
        return;
    memcpy(to, rest, len);
    if (frames_received(w->frames, len))
        end(w, WS_BROKEN, frames_fault(w->frames));
}

static void take_upgrade(struct ws *w, const char *data, size_t len)
{
    size_t used = 0;
    switch (upgrade_received(&w->upgrade, data, len, &used)) {
    case UPGRADE_MORE:
        return;
    case UPGRADE_DONE:
        finish_upgrade(w, data + used, len - used);
        return;
    case UPGRADE_REFUSED:
        w->fault.status = w->upgrade.status;
        end(w, WS_REFUSED, w->upgrade.detail);
        return;
    case UPGRADE_FAULT:
    default:
        w->fault.status = w->upgrade.status;
        end(w, WS_NOT_WEBSOCKET, w->upgrade.detail);
        return;
    }
}

static void take(struct ws *w, char *data, size_t len)
{
    w->heard_ms = clock_mono_ms();
    w->bytes += len;
    if (w->phase == UPGRADING) {
        /* The head goes to its own buffer: the receive buffer is borrowed for a moment only. */
        char *head = xmalloc(len);
        memcpy(head, data, len);
        take_upgrade(w, head, len);
        free(head);
    } else if (frames_received(w->frames, len)) {
        end(w, WS_BROKEN, frames_fault(w->frames));
    }
}

/* One read. 1: bytes came, 0: nothing there, -1: over. */
static int read_once(struct ws *w)
{
    size_t room, n = 0;
    char *to = frames_space(w->frames, &room);
    CURLcode rc = curl_easy_recv(w->easy, to, room, &n);
    if (rc == CURLE_AGAIN)
        return 0;
    if (rc != CURLE_OK || n == 0) {
        w->fault.curl = rc;
        end(w, WS_ENDED, rc == CURLE_OK ? "" : curl_easy_strerror(rc));
        return -1;
    }
    take(w, to, n);
    return w->phase == OVER ? -1 : 1;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct ws *w = arg;
    int rc = 1;
    for (int i = 0; rc > 0 && i < READS_PER_PASS; i++)
        rc = read_once(w);
    if (w->phase == OVER)
        return;
    flush(w);
    /* Bytes that TLS has decrypted already do not wake the descriptor. */
    if (rc > 0 && w->readable)
        event_active(w->readable, EV_READ, 0);
    if (w->phase == OPEN)
        w->ops->pass(w->arg);
}

/* ---- connecting ---- */

static void on_timer(void *arg)
{
    struct ws *w = arg;
    if (w->phase == OPEN || w->phase == CLOSING)
        look_at_silence(w);
    else
        end(w, WS_TIMED_OUT,
            w->phase == CONNECTING ? "connecting took too long" : "the upgrade was not answered");
}

static void on_connected(void *arg, CURL *easy, CURLcode result)
{
    struct ws *w = arg;
    if (w->phase != CONNECTING)
        return;
    w->fault.curl = result;
    if (result != CURLE_OK) {
        if (http_proxy_refused(easy))
            w->fault.curl = CURLE_PROXY;
        end(w, result == CURLE_OPERATION_TIMEDOUT ? WS_TIMED_OUT : WS_CONNECT_FAILED,
            w->error[0] ? w->error : curl_easy_strerror(result));
        return;
    }
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
    if (fd == CURL_SOCKET_BAD) {
        end(w, WS_CONNECT_FAILED, "the connection ended at once");
        return;
    }
    w->phase = UPGRADING;
    w->heard_ms = clock_mono_ms();
    w->readable = event_new(loop_base(), fd, EV_READ | EV_PERSIST, on_readable, w);
    w->writable = event_new(loop_base(), fd, EV_WRITE | EV_PERSIST, on_writable, w);
    event_add(w->readable, NULL);
    loop_timer_start(w->timer, w->upgrade_timeout_ms);
    upgrade_request(&w->upgrade, &w->out);
    flush(w);
}

static void setup_easy(struct ws *w, const struct ws_options *o)
{
    w->easy = curl_easy_init();
    if (!w->easy)
        panic("no libcurl easy handle");
    curl_easy_setopt(w->easy, CURLOPT_URL, w->upgrade.http_url);
    curl_easy_setopt(w->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(w->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    /* A front that offers h2 would break the upgrade; a plain proxy would not pass it on. */
    curl_easy_setopt(w->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(w->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
    curl_easy_setopt(w->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(w->easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(w->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(w->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms);
    curl_easy_setopt(w->easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(w->easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(w->easy, CURLOPT_ERRORBUFFER, w->error);
    if (o->ca_file)
        curl_easy_setopt(w->easy, CURLOPT_CAINFO, o->ca_file);
}

struct ws *ws_new(const struct ws_options *o, const struct ws_ops *ops, void *arg)
{
    struct ws *w = xcalloc(1, sizeof *w);
    w->ops = ops;
    w->arg = arg;
    w->silence_limit_ms = o->silence_limit_ms;
    w->upgrade_timeout_ms = o->upgrade_timeout_ms;
    w->heard_ms = clock_mono_ms();
    buf_init(&w->out, OUT_MAX_BYTES);
    w->frames = frames_new(o->message_limit, &frames_ops, w);
    w->timer = loop_timer_new(on_timer, w);
    w->multi = multi_new(1, on_connected, w);
    upgrade_init(&w->upgrade, o->url);
    setup_easy(w, o);
    /* libcurl's own limit is the first to say what it waited for. */
    loop_timer_start(w->timer, o->connect_timeout_ms + 1000);
    if (multi_add(w->multi, w->easy))
        panic("libcurl refuses a handle of ours");
    return w;
}

uint64_t ws_bytes(const struct ws *w)
{
    return w->bytes;
}

uint64_t ws_pings(const struct ws *w)
{
    return w->pings;
}

uint64_t ws_heard_ms(const struct ws *w)
{
    return w->heard_ms;
}

static void ws_destroy(void *arg)
{
    struct ws *w = arg;
    multi_remove(w->multi, w->easy, true);
    curl_easy_cleanup(w->easy);
    multi_free(&w->multi);
    frames_free(&w->frames);
    upgrade_free(&w->upgrade);
    loop_timer_free(&w->timer);
    buf_free(&w->out);
    free(w);
}

static struct ws *silence(struct ws **p)
{
    struct ws *w = *p;
    *p = NULL;
    if (!w)
        return NULL;
    w->phase = OVER;
    frames_stop(w->frames);
    stop_events(w);
    return w;
}

void ws_free(struct ws **p)
{
    struct ws *w = silence(p);
    /* Its callbacks may be on the stack. */
    if (w)
        loop_defer(ws_destroy, w);
}

void ws_free_now(struct ws **p)
{
    struct ws *w = silence(p);
    if (w)
        ws_destroy(w);
}
