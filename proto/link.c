#include "proto/link.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"

enum {
    TICK_MS = 250,
    TICK_DOWN_MS = 20, /* while there is no dispatcher */
    REFUSED_RETRY_MIN_MS = 1000,
    REFUSED_RETRY_MAX_MS = 30000,
    HELLO_AGAIN_MS = 500,
    EXTRA_MAX = 1024 * 1024,
    PEERS_MAX = 1024,
    NAME_MAX_BYTES = 128,
};

static uint64_t random_id(void)
{
    uint64_t id;
    randombytes_buf(&id, sizeof id);
    return id;
}

static void begin_plain(struct msg_out *m, unsigned type)
{
    msg_begin(m, type, 0);
}

/* ---- client ---- */

struct link_client {
    struct zsock *socket;
    const struct link_client_ops *ops;
    void *arg;
    char *endpoint, *role, *name;
    char host[NAME_MAX_BYTES];
    uint64_t incarnation;
    struct loop_timer *tick;
    struct msg_in in;
    struct msg_out out, extra;
    uint64_t heard_ms, spoke_ms, hello_ms;
    uint64_t hello_after_ms; /* not before, after a refusal */
    int64_t refused_delay_ms;
    bool up;
};

static int client_send_raw(struct link_client *c, const struct msg_out *m)
{
    if (m->buf.failed || zsock_send(c->socket, NULL, m->buf.data, m->buf.len))
        return -1;
    c->spoke_ms = clock_mono_ms();
    return 0;
}

static void client_hello(struct link_client *c)
{
    uint64_t now = clock_mono_ms();
    if (now < c->hello_after_ms || (c->hello_ms && now - c->hello_ms < HELLO_AGAIN_MS))
        return;
    c->hello_ms = now;
    buf_reset(&c->extra.buf);
    if (c->ops->hello)
        c->ops->hello(c->arg, &c->extra);
    msg_begin(&c->out, LINK_HELLO, 6);
    msg_put_uint(&c->out, LINK_VERSION);
    msg_put_cstr(&c->out, c->role);
    msg_put_cstr(&c->out, c->name);
    msg_put_cstr(&c->out, c->host);
    msg_put_uint(&c->out, c->incarnation);
    msg_put_bin(&c->out, c->extra.buf.data, c->extra.buf.len);
    if (client_send_raw(c, &c->out))
        c->hello_ms = 0; /* not connected yet: the next tick tries again */
}

static void client_down(struct link_client *c)
{
    if (!c->up)
        return;
    c->up = false;
    c->hello_ms = 0;
    c->ops->down(c->arg);
}

static void client_welcome(struct link_client *c, struct msg_fields *f)
{
    uint64_t version = msg_get_uint(f);
    msg_get_uint(f);
    struct msg_str extra = msg_get_bin(f);
    if (!msg_end(f) || version != LINK_VERSION) {
        log_error("the dispatcher speaks another version", log_int("ours", LINK_VERSION),
                  log_int("theirs", (int64_t)version));
        return;
    }
    /* A second welcome is the answer to a repeated hello; what is unacknowledged goes out again all the same,
     * because only the dispatcher's memory says which hello it counts from. */
    client_down(c);
    c->up = true;
    c->refused_delay_ms = 0;
    c->ops->up(c->arg, extra.data, extra.len);
}

static void client_refused(struct link_client *c, struct msg_fields *f)
{
    char *reason = msg_str_dup(msg_get_str(f));
    c->refused_delay_ms = c->refused_delay_ms ? c->refused_delay_ms * 2 : REFUSED_RETRY_MIN_MS;
    if (c->refused_delay_ms > REFUSED_RETRY_MAX_MS)
        c->refused_delay_ms = REFUSED_RETRY_MAX_MS;
    c->hello_after_ms = clock_mono_ms() + (uint64_t)c->refused_delay_ms;
    log_error("the dispatcher refuses us", log_str("reason", reason ? reason : "not said"),
              log_int("again_in_ms", c->refused_delay_ms));
    free(reason);
    client_down(c);
}

static void on_client_message(void *arg, const struct zsock_peer *peer, const void *data, size_t len)
{
    (void)peer;
    struct link_client *c = arg;
    struct msg_fields fields;
    int type = msg_parse(&c->in, data, len, &fields);
    if (type < 0) {
        log_error("malformed message from the dispatcher", log_int("bytes", (int64_t)len));
        return;
    }
    c->heard_ms = clock_mono_ms();
    if (type == LINK_WELCOME) {
        client_welcome(c, &fields);
    } else if (type == LINK_REFUSE) {
        client_refused(c, &fields);
    } else if (type == LINK_WHO || type == LINK_BYE) {
        client_down(c);
        client_hello(c);
    } else if (type >= LINK_TYPES_END && c->up) {
        c->ops->message(c->arg, type, &fields);
    }
}

static void on_client_tick(void *arg)
{
    struct link_client *c = arg;
    uint64_t now = clock_mono_ms();
    if (c->up && now - c->heard_ms > LINK_DEAD_MS) {
        log_warn("the dispatcher does not answer", log_int("silent_ms", (int64_t)(now - c->heard_ms)));
        client_down(c);
    }
    if (!c->up) {
        client_hello(c);
    } else if (now - c->spoke_ms >= LINK_PING_MS) {
        begin_plain(&c->out, LINK_PING);
        client_send_raw(c, &c->out);
    }
    loop_timer_start(c->tick, c->up ? TICK_MS : TICK_DOWN_MS);
}

struct link_client *link_client_new(const char *endpoint, const char *role, const char *name,
                                    const struct link_client_ops *ops, void *arg)
{
    struct link_client *c = xcalloc(1, sizeof *c);
    c->ops = ops;
    c->arg = arg;
    c->endpoint = xstrdup(endpoint);
    c->role = xstrdup(role);
    c->name = xstrdup(name);
    if (gethostname(c->host, sizeof c->host - 1))
        snprintf(c->host, sizeof c->host, "localhost");
    c->incarnation = random_id();
    msg_in_init(&c->in);
    msg_out_init(&c->out, 0);
    msg_out_init(&c->extra, EXTRA_MAX);
    c->socket = zsock_new(ZSOCK_DEALER, on_client_message, c);
    if (zsock_connect(c->socket, endpoint))
        log_error("cannot connect to the dispatcher's socket", log_str("endpoint", endpoint),
                  log_errno(errno));
    c->tick = loop_timer_new(on_client_tick, c);
    loop_timer_start(c->tick, 0);
    return c;
}

int link_client_send(struct link_client *c, const struct msg_out *m)
{
    if (!c->up) {
        errno = EHOSTUNREACH;
        return -1;
    }
    return client_send_raw(c, m);
}

bool link_client_is_up(const struct link_client *c)
{
    return c->up;
}

void link_client_free(struct link_client **p)
{
    struct link_client *c = *p;
    if (!c)
        return;
    *p = NULL;
    if (c->up) {
        begin_plain(&c->out, LINK_BYE);
        client_send_raw(c, &c->out);
    }
    loop_timer_free(&c->tick);
    zsock_free(&c->socket, 200);
    msg_in_free(&c->in);
    msg_out_free(&c->out);
    msg_out_free(&c->extra);
    free(c->endpoint);
    free(c->role);
    free(c->name);
    free(c);
}

/* ---- server ---- */

struct server_peer {
    struct link_peer peer; /* first: a link_peer is its server_peer */
    struct server_peer *next;
    bool lost;
};

struct link_server {
    struct zsock *socket;
    const struct link_server_ops *ops;
    void *arg;
    uint64_t incarnation;
    struct server_peer *peers;
    size_t count;
    struct loop_timer *tick;
    struct msg_in in;
    struct msg_out out, extra;
};

static struct server_peer *find_peer(struct link_server *s, const struct zsock_peer *address)
{
    for (struct server_peer *p = s->peers; p; p = p->next)
        if (memcmp(p->peer.address.bytes, address->bytes, sizeof address->bytes) == 0)
            return p;
    return NULL;
}

static int server_send_raw(struct link_server *s, const struct zsock_peer *address, const struct msg_out *m)
{
    if (m->buf.failed) {
        errno = EMSGSIZE;
        return -1;
    }
    return zsock_send(s->socket, address, m->buf.data, m->buf.len);
}

static void remove_peer(struct link_server *s, struct server_peer *gone)
{
    for (struct server_peer **p = &s->peers; *p; p = &(*p)->next)
        if (*p == gone) {
            *p = gone->next;
            s->count--;
            break;
        }
    s->ops->gone(s->arg, &gone->peer);
    free(gone->peer.role);
    free(gone->peer.name);
    free(gone->peer.host);
    free(gone);
}

static void refuse(struct link_server *s, const struct zsock_peer *address, const char *reason)
{
    msg_begin(&s->out, LINK_REFUSE, 1);
    msg_put_cstr(&s->out, reason);
    server_send_raw(s, address, &s->out);
}

static struct server_peer *add_peer(struct link_server *s, const struct zsock_peer *address,
                                    struct msg_fields *f)
{
    struct server_peer *p = xcalloc(1, sizeof *p);
    p->peer.address = *address;
    p->peer.role = msg_str_dup(msg_get_str(f));
    p->peer.name = msg_str_dup(msg_get_str(f));
    p->peer.host = msg_str_dup(msg_get_str(f));
    p->peer.incarnation = msg_get_uint(f);
    p->peer.heard_ms = p->peer.spoke_ms = clock_mono_ms();
    bool named = p->peer.role && p->peer.name && p->peer.host && strlen(p->peer.role) < NAME_MAX_BYTES &&
                 strlen(p->peer.name) < NAME_MAX_BYTES && strlen(p->peer.host) < NAME_MAX_BYTES;
    if (named && !f->failed) {
        p->next = s->peers;
        s->peers = p;
        s->count++;
        return p;
    }
    free(p->peer.role);
    free(p->peer.name);
    free(p->peer.host);
    free(p);
    return NULL;
}

/* Takes the peer off the list without telling the user, who never welcomed it. */
static void forget_refused(struct link_server *s, struct server_peer *p)
{
    s->peers = p->next;
    s->count--;
    free(p->peer.role);
    free(p->peer.name);
    free(p->peer.host);
    free(p);
}

static void server_hello(struct link_server *s, const struct zsock_peer *address, struct msg_fields *f)
{
    struct server_peer *known = find_peer(s, address);
    if (known)
        remove_peer(s, known);
    if (msg_get_uint(f) != LINK_VERSION) {
        refuse(s, address, "another version of the wire protocol: install the same release on all hosts");
        return;
    }
    struct server_peer *p = s->count < PEERS_MAX ? add_peer(s, address, f) : NULL;
    struct msg_str extra = msg_get_bin(f);
    if (!p) {
        refuse(s, address, "malformed hello, or too many peers");
        return;
    }
    buf_reset(&s->extra.buf);
    const char *why =
        msg_end(f) ? s->ops->hello(s->arg, &p->peer, extra.data, extra.len, &s->extra) : "malformed hello";
    if (why) {
        forget_refused(s, p);
        refuse(s, address, why);
        return;
    }
    msg_begin(&s->out, LINK_WELCOME, 3);
    msg_put_uint(&s->out, LINK_VERSION);
    msg_put_uint(&s->out, s->incarnation);
    msg_put_bin(&s->out, s->extra.buf.data, s->extra.buf.len);
    server_send_raw(s, address, &s->out);
}

static void on_server_message(void *arg, const struct zsock_peer *address, const void *data, size_t len)
{
    struct link_server *s = arg;
    struct msg_fields fields;
    int type = msg_parse(&s->in, data, len, &fields);
    struct server_peer *p = find_peer(s, address);
    if (p)
        p->peer.heard_ms = clock_mono_ms();
    if (type < 0) {
        log_error("malformed message", log_str("from", p ? p->peer.name : "a stranger"),
                  log_int("bytes", (int64_t)len));
    } else if (type == LINK_HELLO) {
        server_hello(s, address, &fields);
    } else if (!p) {
        if (type != LINK_BYE) {
            begin_plain(&s->out, LINK_WHO);
            server_send_raw(s, address, &s->out);
        }
    } else if (type == LINK_BYE) {
        remove_peer(s, p);
    } else if (type >= LINK_TYPES_END) {
        s->ops->message(s->arg, &p->peer, type, &fields);
    }
}

static void on_server_tick(void *arg)
{
    struct link_server *s = arg;
    uint64_t now = clock_mono_ms();
    for (struct server_peer *p = s->peers, *next; p; p = next) {
        next = p->next;
        if (p->lost || now - p->peer.heard_ms > LINK_DEAD_MS) {
            log_warn("peer gone", log_str("role", p->peer.role), log_str("name", p->peer.name),
                     log_int("silent_ms", (int64_t)(now - p->peer.heard_ms)));
            remove_peer(s, p);
        } else if (now - p->peer.spoke_ms >= LINK_PING_MS) {
            begin_plain(&s->out, LINK_PING);
            link_server_send(s, &p->peer, &s->out);
        }
    }
    loop_timer_start(s->tick, TICK_MS);
}

struct link_server *link_server_new(const char *endpoint, const struct link_server_ops *ops, void *arg)
{
    struct link_server *s = xcalloc(1, sizeof *s);
    s->ops = ops;
    s->arg = arg;
    s->incarnation = random_id();
    msg_in_init(&s->in);
    msg_out_init(&s->out, 0);
    msg_out_init(&s->extra, EXTRA_MAX);
    s->socket = zsock_new(ZSOCK_ROUTER, on_server_message, s);
    s->tick = loop_timer_new(on_server_tick, s);
    loop_timer_start(s->tick, TICK_MS);
    if (zsock_bind(s->socket, endpoint) == 0)
        return s;
    int error = errno;
    link_server_free(&s);
    errno = error;
    return NULL;
}

int link_server_send(struct link_server *s, struct link_peer *peer, const struct msg_out *m)
{
    int rc = server_send_raw(s, &peer->address, m);
    if (rc == 0)
        peer->spoke_ms = clock_mono_ms();
    else if (errno == EHOSTUNREACH)
        ((struct server_peer *)(void *)peer)->lost = true;
    return rc;
}

void link_server_free(struct link_server **p)
{
    struct link_server *s = *p;
    if (!s)
        return;
    *p = NULL;
    for (struct server_peer *peer = s->peers, *next; peer; peer = next) {
        next = peer->next;
        begin_plain(&s->out, LINK_BYE);
        server_send_raw(s, &peer->peer.address, &s->out);
        remove_peer(s, peer);
    }
    loop_timer_free(&s->tick);
    zsock_free(&s->socket, 200);
    msg_in_free(&s->in);
    msg_out_free(&s->out);
    msg_out_free(&s->extra);
    free(s);
}
