#include "dispatcher/door.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"

enum {
    HEAD_BYTES_MAX = 8 * 1024,
    BODY_BYTES_MAX = 0,
    IDLE_S = 30,
    METRICS_BYTES_MAX = 16 * 1024 * 1024,
    PAUSE_MS = 500, /* while there is no descriptor to spare */
    TELL_MS = 60000,
};

struct door {
    struct evhttp *http;
    struct evconnlistener *listener; /* of HTTP */
    struct loop_timer *again;
    uint64_t told_ms; /* when the log last said that nobody is let in; 0: never */
    const struct door_ops *ops;
    void *arg;
};

/* ---- letting in ---- */

/* evhttp hands itself, not an argument of ours, to what watches its listening socket. */
static struct door *the_door;

/* Descriptors are given out from below, so the next one tells how many are taken. */
static bool has_descriptors(const struct door *d)
{
    struct rlimit limit;
    int next = dup(evconnlistener_get_fd(d->listener));
    if (next < 0)
        return false;
    close(next);
    return getrlimit(RLIMIT_NOFILE, &limit) || (rlim_t)next + DOOR_SPARE_FDS < limit.rlim_cur;
}

/* A listening socket stays readable while nobody is let in; to ask it again at once would take all the time
 * that there is. */
static void pause_door(struct door *d)
{
    uint64_t now_ms = clock_mono_ms();
    if (!d->told_ms || now_ms - d->told_ms >= TELL_MS) {
        log_error("the HTTP door lets nobody in: there are too few descriptors left");
        d->told_ms = now_ms;
    }
    evconnlistener_disable(d->listener);
    loop_timer_start(d->again, PAUSE_MS);
}

static void look_again(void *arg)
{
    struct door *d = arg;
    if (has_descriptors(d))
        evconnlistener_enable(d->listener);
    else
        pause_door(d);
}

static void on_accept_error(struct evconnlistener *listener, void *http)
{
    (void)listener;
    (void)http;
    pause_door(the_door);
}

static struct bufferevent *on_visitor(struct event_base *base, void *arg)
{
    struct door *d = arg;
    if (!has_descriptors(d))
        pause_door(d);
    return bufferevent_socket_new(base, -1, 0);
}

/* ---- answers ---- */

static void reply(struct evhttp_request *r, int status, const char *phrase, const char *type,
                  const void *body, size_t len)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(r);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    if (evhttp_request_get_command(r) == EVHTTP_REQ_HEAD) {
        char digits[24];
        snprintf(digits, sizeof digits, "%zu", len);
        evhttp_add_header(headers, "Content-Length", digits);
        len = 0;
    }
    struct evbuffer *out = evbuffer_new();
    if (out && len)
        evbuffer_add(out, body, len);
    evhttp_send_reply(r, status, phrase, out);
    if (out)
        evbuffer_free(out);
}

static void reply_text(struct evhttp_request *r, int status, const char *phrase, const char *text)
{
    char *line = xasprintf("%s\n", text);
    reply(r, status, phrase, "text/plain; charset=utf-8", line, strlen(line));
    free(line);
}

static void on_metrics(struct door *d, struct evhttp_request *r)
{
    struct buf out;
    buf_init(&out, METRICS_BYTES_MAX);
    d->ops->metrics(d->arg, &out);
    if (out.failed)
        reply_text(r, 500, "Internal Server Error", "too many metrics");
    else
        reply(r, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
    buf_free(&out);
}

static void on_status(struct door *d, struct evhttp_request *r)
{
    cJSON *status = d->ops->status(d->arg);
    char *text = cJSON_PrintUnformatted(status);
    cJSON_Delete(status);
    if (text)
        reply(r, 200, "OK", "application/json", text, strlen(text));
    else
        reply_text(r, 500, "Internal Server Error", "no status");
    cJSON_free(text);
}

/* An answer at all is the proof that the loop turns. */
static void on_healthz(struct door *d, struct evhttp_request *r)
{
    (void)d;
    reply_text(r, 200, "OK", "ok");
}

static void on_readyz(struct door *d, struct evhttp_request *r)
{
    const char *why = d->ops->not_ready(d->arg);
    if (why)
        reply_text(r, 503, "Service Unavailable", why);
    else
        reply_text(r, 200, "OK", "ready");
}

static const struct {
    const char *path;
    void (*serve)(struct door *d, struct evhttp_request *r);
} pages[] = {
    {"/metrics", on_metrics},
    {"/healthz", on_healthz},
    {"/readyz", on_readyz},
    {"/status.json", on_status},
};

static void on_request(struct evhttp_request *r, void *arg)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(r);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    for (size_t i = 0; path && i < sizeof pages / sizeof pages[0]; i++)
        if (strcmp(path, pages[i].path) == 0) {
            pages[i].serve(arg, r);
            return;
        }
    reply_text(r, 404, "Not Found", "there are /metrics, /healthz, /readyz and /status.json");
}

struct door *door_new(int fd, const struct door_ops *ops, void *arg)
{
    struct door *d = xcalloc(1, sizeof *d);
    d->ops = ops;
    d->arg = arg;
    d->http = evhttp_new(loop_base());
    evutil_make_socket_nonblocking(fd);
    struct evhttp_bound_socket *bound = d->http ? evhttp_accept_socket_with_handle(d->http, fd) : NULL;
    if (!bound) {
        log_error("the HTTP door does not open");
        door_free(&d);
        return NULL;
    }
    evhttp_set_max_headers_size(d->http, HEAD_BYTES_MAX);
    evhttp_set_max_body_size(d->http, BODY_BYTES_MAX);
    evhttp_set_timeout(d->http, IDLE_S);
    evhttp_set_allowed_methods(d->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_gencb(d->http, on_request, d);
    evhttp_set_bevcb(d->http, on_visitor, d);
    the_door = d;
    d->again = loop_timer_new(look_again, d);
    d->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(d->listener, on_accept_error);
    return d;
}

void door_free(struct door **p)
{
    struct door *d = *p;
    if (!d)
        return;
    *p = NULL;
    if (d->http)
        evhttp_free(d->http); /* closes the listening socket too */
    loop_timer_free(&d->again);
    the_door = NULL;
    free(d);
}
