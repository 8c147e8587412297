#include "tests/sim/sim_http_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct timeval milliseconds(int64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

/* ---- parsing ---- */

static struct sim_conn *of(http_parser *p)
{
    return p->data;
}

static int on_begin(http_parser *p)
{
    struct sim_conn *c = of(p);
    c->head.len = 0;
    c->body.len = 0;
    c->header_count = 0;
    c->in_value = false;
    c->target = (struct span){0};
    c->complete = false;
    c->too_large = false;
    return 0;
}

static void span_add(struct sim_conn *c, struct span *s, const char *at, size_t length)
{
    if (s->length == 0) {
        s->at = c->head.len;
    }
    sim_buf_add(&c->head, at, length);
    s->length += length;
}

/* Parts of one token arrive in a row, so a token ends where another one starts. */
static void span_end(struct sim_conn *c)
{
    sim_buf_add(&c->head, "", 1);
}

static int on_url(http_parser *p, const char *at, size_t length)
{
    struct sim_conn *c = of(p);
    span_add(c, &c->target, at, length);
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t length)
{
    struct sim_conn *c = of(p);
    if (c->in_value || c->header_count == 0) {
        if (c->header_count == SIM_HEADERS_MAX) {
            return -1;
        }
        span_end(c);
        c->names[c->header_count] = (struct span){0};
        c->values[c->header_count] = (struct span){0};
        c->header_count++;
        c->in_value = false;
    }
    span_add(c, &c->names[c->header_count - 1], at, length);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t length)
{
    struct sim_conn *c = of(p);
    if (!c->in_value) {
        span_end(c);
        c->in_value = true;
        c->values[c->header_count - 1].at = c->head.len;
    }
    span_add(c, &c->values[c->header_count - 1], at, length);
    return 0;
}

static int on_headers_complete(http_parser *p)
{
    struct sim_conn *c = of(p);
    for (size_t i = 0; i < c->header_count; i++) {
        const char *name = c->head.data + c->names[i].at;
        if (c->names[i].length == 6 && strncasecmp(name, "expect", 6) == 0) {
            static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
            bufferevent_write(c->bev, go_on, sizeof(go_on) - 1);
        }
    }
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t length)
{
    struct sim_conn *c = of(p);
    if (c->body.len + length > c->server->o.body_max_bytes) {
        c->too_large = true;
        return -1;
    }
    sim_buf_add(&c->body, at, length);
    return 0;
}

static int on_complete(http_parser *p)
{
    struct sim_conn *c = of(p);
    span_end(c);
    c->complete = true;
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings parser_settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void fill_request(struct sim_conn *c)
{
    struct sim_request *r = &c->request;
    r->method = http_method_str((enum http_method)c->parser.method);
    r->target = c->head.data + c->target.at;
    r->body = c->body.len != 0 ? c->body.data : "";
    r->body_length = c->body.len;
    r->header_count = c->header_count;
    for (size_t i = 0; i < c->header_count; i++) {
        r->headers[i].name = c->head.data + c->names[i].at;
        r->headers[i].value = c->values[i].length != 0 ? c->head.data + c->values[i].at : "";
    }
    r->keep_alive = http_should_keep_alive(&c->parser) != 0;
    r->upgrade = c->parser.upgrade != 0;
    r->arrived_ns = sim_mono_ns();
}

static void refuse_unreadable(struct sim_conn *c)
{
    static const char bad[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    static const char large[] =
        "HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const char *answer = c->too_large ? large : bad;
    bufferevent_write(c->bev, answer, strlen(answer));
    sim_conn_finish(c);
}

/* Parses until a request is whole or the input is used up; false if it is unreadable. */
static bool parse(struct sim_conn *c, const char *data, size_t length, size_t *used)
{
    *used = http_parser_execute(&c->parser, &parser_settings, data, length);
    enum http_errno error = HTTP_PARSER_ERRNO(&c->parser);
    if (error != HPE_OK && error != HPE_PAUSED) {
        refuse_unreadable(c);
        return false;
    }
    return true;
}

static void dispatch_if_complete(struct sim_conn *c)
{
    if (c->complete) {
        c->complete = false;
        c->busy = true;
        fill_request(c);
        http_parser_pause(&c->parser, 0);
        c->server->o.on_request(c, &c->request, c->server->o.ctx);
    }
}

static bool parse_some(struct sim_conn *c, struct evbuffer *in)
{
    struct evbuffer_iovec piece;
    size_t used;
    if (evbuffer_peek(in, -1, NULL, &piece, 1) < 1 || piece.iov_len == 0) {
        return false;
    }
    bool good = parse(c, piece.iov_base, piece.iov_len, &used);
    evbuffer_drain(in, used);
    return good;
}

void sim_conn_process(struct sim_conn *c)
{
    if (c->processing) {
        return;
    }
    c->processing = true;
    while (!c->closed && !c->busy && !c->finishing && c->on_data == NULL) {
        if (!parse_some(c, bufferevent_get_input(c->bev))) {
            break;
        }
        dispatch_if_complete(c);
    }
    c->processing = false;
    if (!c->closed && c->on_data != NULL) {
        c->on_data(c);
    }
}

/* ---- connections ---- */

static void conn_free_later(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct sim_conn *c = arg;
    sim_buf_free(&c->head);
    sim_buf_free(&c->body);
    sim_buf_free(&c->drip);
    free(c);
}

void sim_conn_close(struct sim_conn *c, enum sim_ending how)
{
    if (c->closed) {
        return;
    }
    c->closed = true;
    struct sim_server *s = c->server;
    if (s->o.on_close != NULL) {
        s->o.on_close(c, s->o.ctx);
    }
    if (how == SIM_END_RST) {
        struct linger hard = {.l_onoff = 1, .l_linger = 0};
        setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    }
    if (c->timer != NULL) {
        event_free(c->timer);
        c->timer = NULL;
    }
    if (c->reader != NULL) {
        event_free(c->reader);
        c->reader = NULL;
    }
    bufferevent_free(c->bev);
    c->bev = NULL;
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        s->first = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    s->open_count--;
    /* Callbacks further up the stack may still look at c; it goes when they are done. */
    struct timeval now = {0};
    if (event_base_once(s->base, -1, EV_TIMEOUT, conn_free_later, c, &now) != 0) {
        abort();
    }
}

static void conn_half_close(struct sim_conn *c)
{
    struct timeval patience = milliseconds(1000);
    c->half_closed = true;
    if (!sim_conn_is_tls(c)) {
        shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    } else {
        SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
        shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    }
    bufferevent_set_timeouts(c->bev, &patience, NULL);
    bufferevent_enable(c->bev, EV_READ);
}

void sim_conn_finish(struct sim_conn *c)
{
    if (c->closed || c->finishing) {
        return;
    }
    c->finishing = true;
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) {
        conn_half_close(c);
    }
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    struct sim_conn *c = arg;
    if (c->finishing) {
        evbuffer_drain(bufferevent_get_input(bev), SIZE_MAX);
    } else if (c->on_data != NULL) {
        c->on_data(c);
    } else {
        sim_conn_process(c);
    }
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct sim_conn *c = arg;
    if (c->finishing && !c->half_closed && evbuffer_get_length(bufferevent_get_output(bev)) == 0) {
        conn_half_close(c);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct sim_conn *c = arg;
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        return;
    }
    if ((what & BEV_EVENT_TIMEOUT) != 0 && !c->half_closed && (c->busy || c->on_data != NULL)) {
        bufferevent_enable(bev, EV_READ);
        return;
    }
    sim_conn_close(c, SIM_END_FIN);
}

/* Reads and answers without bufferevent's own reading, which asks the kernel first how much there is. What
 * cannot be worked on yet waits in the ordinary input buffer. */
static void on_direct(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    static char data[65536];
    struct sim_conn *c = arg;
    ssize_t got = recv(fd, data, sizeof(data), MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            sim_conn_close(c, SIM_END_FIN);
        }
        return;
    }
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t at = 0;
    c->processing = true;
    while (at < (size_t)got && !c->closed && !c->busy && !c->finishing && evbuffer_get_length(in) == 0) {
        size_t used;
        if (!parse(c, data + at, (size_t)got - at, &used)) {
            break;
        }
        at += used;
        dispatch_if_complete(c);
    }
    c->processing = false;
    if (!c->closed && !c->finishing && at < (size_t)got) {
        evbuffer_add(in, data + at, (size_t)got - at);
        sim_conn_process(c);
    }
}

static struct bufferevent *make_bev(struct sim_server *s, evutil_socket_t fd)
{
    if (s->tls == NULL) {
        return bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    }
    SSL *ssl = SSL_new(s->tls);
    struct bufferevent *bev =
        ssl != NULL ? bufferevent_openssl_socket_new(s->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                     BEV_OPT_CLOSE_ON_FREE)
                    : NULL;
    if (bev != NULL) {
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    }
    return bev;
}

static void name_peer(struct sim_conn *c, const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        inet_ntop(AF_INET, &in->sin_addr, c->peer, sizeof(c->peer));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        inet_ntop(AF_INET6, &in6->sin6_addr, c->peer, sizeof(c->peer));
    }
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int length,
                      void *arg)
{
    (void)l;
    (void)length;
    struct sim_server *s = arg;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct bufferevent *bev = make_bev(s, fd);
    if (bev == NULL) {
        close(fd);
        return;
    }
    struct sim_conn *c = sim_alloc(sizeof(*c));
    c->server = s;
    c->bev = bev;
    c->id = ++s->accepted;
    name_peer(c, sa);
    c->next = s->first;
    if (s->first != NULL) {
        s->first->prev = c;
    }
    s->first = c;
    s->open_count++;
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    bufferevent_setcb(bev, on_readable, on_written, on_event, c);
    if (s->o.on_open != NULL && !s->o.on_open(c, s->o.ctx)) {
        sim_conn_close(c, SIM_END_FIN);
        return;
    }
    if (s->o.direct_reads && s->tls == NULL) {
        c->reader = event_new(s->base, fd, EV_READ | EV_PERSIST, on_direct, c);
        event_add(c->reader, NULL);
        bufferevent_enable(bev, EV_WRITE);
        return;
    }
    if (s->o.idle_ms > 0) {
        struct timeval idle = milliseconds(s->o.idle_ms);
        bufferevent_set_timeouts(bev, &idle, NULL);
    }
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

void sim_conn_pause_reading(struct sim_conn *c, bool pause)
{
    if (pause) {
        bufferevent_disable(c->bev, EV_READ);
    } else {
        bufferevent_enable(c->bev, EV_READ);
    }
}

void sim_conn_take_over(struct sim_conn *c, void (*on_data)(struct sim_conn *c))
{
    c->on_data = on_data;
    c->busy = false;
    bufferevent_set_timeouts(c->bev, NULL, NULL);
    if (!c->processing) {
        on_data(c);
    }
}

struct bufferevent *sim_conn_bev(struct sim_conn *c)
{
    return c->bev;
}

bool sim_conn_is_tls(const struct sim_conn *c)
{
    return c->server->tls != NULL;
}

const char *sim_conn_peer(const struct sim_conn *c)
{
    return c->peer;
}

uint64_t sim_conn_id(const struct sim_conn *c)
{
    return c->id;
}

struct sim_request *sim_conn_request(struct sim_conn *c)
{
    return c->busy ? &c->request : NULL;
}

void sim_conn_set_user(struct sim_conn *c, void *user)
{
    c->user = user;
}

void *sim_conn_user(const struct sim_conn *c)
{
    return c->user;
}

void sim_conn_set_protocol(struct sim_conn *c, void *protocol)
{
    c->protocol = protocol;
}

void *sim_conn_protocol(const struct sim_conn *c)
{
    return c->protocol;
}

struct sim_server *sim_conn_server(const struct sim_conn *c)
{
    return c->server;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct sim_conn *c = arg;
    c->on_timer(c);
}

void sim_conn_later(struct sim_conn *c, int64_t delay_ms, void (*fn)(struct sim_conn *c))
{
    if (c->closed) {
        return;
    }
    if (c->timer == NULL) {
        c->timer = evtimer_new(c->server->base, on_timer, c);
    }
    c->on_timer = fn;
    struct timeval delay = milliseconds(delay_ms > 0 ? delay_ms : 0);
    evtimer_add(c->timer, &delay);
}

/* ---- server ---- */

/* A socket that only has the address: a port that was given away during an outage would not come back. */
static bool server_hold(struct sim_server *s)
{
    int on = 1;
    s->holder = socket(s->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->holder < 0) {
        return false;
    }
    setsockopt(s->holder, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    return bind(s->holder, (struct sockaddr *)&s->address, s->address_length) == 0 &&
           getsockname(s->holder, (struct sockaddr *)&s->address, &s->address_length) == 0;
}

static bool server_listen(struct sim_server *s)
{
    s->listener = evconnlistener_new_bind(s->base, on_accept, s,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC,
                                          1024, (struct sockaddr *)&s->address, (int)s->address_length);
    return s->listener != NULL;
}

static SSL_CTX *make_tls(const char *certificate, const char *key)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL) {
        return NULL;
    }
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        SSL_CTX_free(tls);
        return NULL;
    }
    return tls;
}

/* evutil_parse_sockaddr_port would refuse port 0. */
static bool parse_address(struct sim_server *s, const char *text)
{
    const char *colon = strrchr(text, ':');
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (colon == NULL) {
        return false;
    }
    bool brackets = text[0] == '[' && colon[-1] == ']';
    char *host = brackets ? sim_strndup(text + 1, (size_t)(colon - text) - 2)
                          : sim_strndup(text, (size_t)(colon - text));
    bool good = getaddrinfo(host, colon + 1, &hints, &found) == 0;
    if (good) {
        memcpy(&s->address, found->ai_addr, found->ai_addrlen);
        s->address_length = found->ai_addrlen;
        freeaddrinfo(found);
    }
    free(host);
    return good;
}

struct sim_server *sim_server_new(struct event_base *base, const struct sim_server_options *o)
{
    struct sim_server *s = sim_alloc(sizeof(*s));
    s->base = base;
    s->o = *o;
    s->holder = -1;
    if (!parse_address(s, o->listen)) {
        fprintf(stderr, "not an ADDRESS:PORT: %s\n", o->listen);
        goto failed;
    }
    if (o->tls_certificate != NULL) {
        s->tls = make_tls(o->tls_certificate, o->tls_key);
        if (s->tls == NULL) {
            fprintf(stderr, "cannot use the certificate %s\n", o->tls_certificate);
            goto failed;
        }
    }
    if (!server_hold(s) || !server_listen(s)) {
        fprintf(stderr, "cannot listen on %s: %s\n", o->listen, strerror(errno));
        goto failed;
    }
    return s;
failed:
    if (s->holder >= 0) {
        close(s->holder);
    }
    SSL_CTX_free(s->tls);
    free(s);
    return NULL;
}

int sim_server_port(const struct sim_server *s)
{
    if (s->address.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)(const void *)&s->address)->sin6_port);
    }
    return ntohs(((const struct sockaddr_in *)(const void *)&s->address)->sin_port);
}

void sim_server_free(struct sim_server *s)
{
    while (s->first != NULL) {
        sim_conn_close(s->first, SIM_END_FIN);
    }
    if (s->listener != NULL) {
        evconnlistener_free(s->listener);
    }
    if (s->resume != NULL) {
        event_free(s->resume);
    }
    close(s->holder);
    SSL_CTX_free(s->tls);
    free(s);
}

void sim_server_resume(struct sim_server *s)
{
    if (s->resume != NULL) {
        evtimer_del(s->resume);
    }
    if (s->listener == NULL && !server_listen(s)) {
        fprintf(stderr, "cannot listen again: %s\n", strerror(errno));
    }
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    sim_server_resume(arg);
}

void sim_server_refuse(struct sim_server *s, int64_t for_ms)
{
    if (s->listener != NULL) {
        evconnlistener_free(s->listener);
        s->listener = NULL;
    }
    if (s->resume == NULL) {
        s->resume = evtimer_new(s->base, on_resume, s);
    }
    evtimer_del(s->resume);
    if (for_ms >= 0) {
        struct timeval later = milliseconds(for_ms);
        evtimer_add(s->resume, &later);
    }
}

void sim_server_set_idle(struct sim_server *s, int64_t idle_ms)
{
    s->o.idle_ms = idle_ms;
}

void sim_server_set_clock(struct sim_server *s, int64_t ahead_ms)
{
    s->clock_ahead_ms = ahead_ms;
}

struct sim_conn *sim_server_next(struct sim_server *s, struct sim_conn *c)
{
    return c == NULL ? s->first : c->next;
}

int sim_server_open_count(const struct sim_server *s)
{
    return s->open_count;
}

uint64_t sim_server_accepted(const struct sim_server *s)
{
    return s->accepted;
}
