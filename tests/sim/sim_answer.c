#include "tests/sim/sim_http_private.h"

#include <event2/buffer.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Payload Too Large"},
        {415, "Unsupported Media Type"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "Status";
}

static const char *date_header(int64_t ahead_ms)
{
    static time_t made_for;
    static char text[64];
    time_t now = (time_t)((sim_wall_ms() + ahead_ms) / 1000);
    if (now != made_for) {
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        made_for = now;
    }
    return text;
}

void sim_conn_render(struct sim_conn *c, const struct sim_answer *a, struct sim_buf *b)
{
    bool keep_alive = c->request.keep_alive;
    sim_buf_printf(b, "HTTP/1.1 %d %s\r\n", a->status, status_text(a->status));
    if (a->content_type != NULL) {
        sim_buf_printf(b, "Content-Type: %s\r\n", a->content_type);
    }
    if (a->headers != NULL) {
        sim_buf_puts(b, a->headers);
    }
    sim_buf_printf(b, "Date: %s\r\nConnection: %s\r\n", date_header(c->server->clock_ahead_ms),
                   keep_alive ? "keep-alive" : "close");
    if (keep_alive && c->server->o.keep_alive != NULL) {
        sim_buf_printf(b, "Keep-Alive: %s\r\n", c->server->o.keep_alive);
    }
    if (a->status != 204) {
        sim_buf_printf(b, "Content-Length: %zu\r\n", a->body_length);
    }
    sim_buf_puts(b, "\r\n");
    if (strcmp(c->request.method, "HEAD") != 0 && a->status != 204) {
        sim_buf_add(b, a->body, a->body_length);
    }
}

static void request_done(struct sim_conn *c)
{
    c->busy = false;
    if (!c->request.keep_alive) {
        sim_conn_finish(c);
        return;
    }
    sim_conn_process(c);
}

/* Straight to the socket if nothing waits before it: that spares two changes of the poll set per answer. */
static void write_now(struct sim_conn *c, const char *data, size_t length)
{
    if (!sim_conn_is_tls(c) && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) {
        ssize_t n = send(bufferevent_getfd(c->bev), data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            length -= (size_t)n;
        }
    }
    if (length != 0) {
        bufferevent_write(c->bev, data, length);
    }
}

void sim_conn_raw(struct sim_conn *c, const void *data, size_t length, bool done)
{
    if (c->closed) {
        return;
    }
    write_now(c, data, length);
    if (done) {
        request_done(c);
    }
}

void sim_conn_answer(struct sim_conn *c, const struct sim_answer *a)
{
    static struct sim_buf b;
    if (c->closed) {
        return;
    }
    b.len = 0;
    sim_conn_render(c, a, &b);
    sim_conn_raw(c, b.data, b.len, true);
}

void sim_conn_answer_json(struct sim_conn *c, int status, const char *json)
{
    sim_conn_answer(c, &(struct sim_answer){.status = status,
                                            .content_type = "application/json",
                                            .body = json,
                                            .body_length = strlen(json)});
}

static void drip_next(struct sim_conn *c)
{
    bufferevent_write(c->bev, c->drip.data + c->drip_at, 1);
    c->drip_at++;
    if (c->drip_at < c->drip.len) {
        sim_conn_later(c, c->drip_ms, drip_next);
    } else {
        request_done(c);
    }
}

void sim_conn_drip(struct sim_conn *c, const void *data, size_t length, int64_t pause_ms)
{
    if (c->closed || length == 0) {
        return;
    }
    c->drip.len = 0;
    sim_buf_add(&c->drip, data, length);
    c->drip_at = 0;
    c->drip_ms = pause_ms;
    drip_next(c);
}

/* ---- requests ---- */

const char *sim_request_header(const struct sim_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (strcasecmp(r->headers[i].name, name) == 0) {
            return r->headers[i].value;
        }
    }
    return NULL;
}

bool sim_request_is(const struct sim_request *r, const char *method, const char *path)
{
    size_t length = strcspn(r->target, "?");
    return strcmp(r->method, method) == 0 && strlen(path) == length && memcmp(r->target, path, length) == 0;
}

char *sim_request_query(const struct sim_request *r, const char *name)
{
    const char *p = strchr(r->target, '?');
    size_t length = strlen(name);
    while (p != NULL) {
        p++;
        if (strncmp(p, name, length) == 0 && p[length] == '=') {
            const char *value = p + length + 1;
            return sim_strndup(value, strcspn(value, "&"));
        }
        p = strchr(p, '&');
    }
    return NULL;
}
