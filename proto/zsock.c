#include "proto/zsock.h"

#include <errno.h>
#include <event2/event.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "core/alloc.h"
#include "core/loop.h"
#include "proto/msg.h"

enum {
    READS_PER_PASS = 256,
    HIGH_WATER = 10000, /* messages; the credits and windows above keep us far below */
    RECONNECT_MS = 50,
    RECONNECT_MAX_MS = 1000,
};

struct zsock {
    void *socket;
    enum zsock_kind kind;
    struct event *readable; /* on ZeroMQ's descriptor */
    struct event *again;    /* ours: activated when the edge may have been used up */
    zsock_fn *received;
    void *arg;
    zmq_msg_t frame;
};

static void *context;
static int open_sockets;

static void *get_context(void)
{
    if (context)
        return context;
    context = zmq_ctx_new();
    if (!context)
        panic("ZeroMQ does not start");
    zmq_ctx_set(context, ZMQ_IO_THREADS, 1);
    zmq_ctx_set(context, ZMQ_BLOCKY, 0);
    return context;
}

/* What ZeroMQ does on the way may use up the edge of its descriptor; so there is one look at the end of this
 * turn of the loop. */
static void look_later(struct zsock *z)
{
    event_active(z->again, EV_READ, 0);
}

/* Drops the remaining parts of a message; ours have one part (and the address in front at a ROUTER). */
static void skip_rest(struct zsock *z)
{
    while (zmq_msg_more(&z->frame))
        if (zmq_msg_recv(&z->frame, z->socket, ZMQ_DONTWAIT) < 0)
            return;
}

/* 1: there may be more, 0: nothing is left. */
static int receive_one(struct zsock *z)
{
    struct zsock_peer peer;
    /* A signal says nothing of what is there, and the descriptor may not tell of it again. */
    if (zmq_msg_recv(&z->frame, z->socket, ZMQ_DONTWAIT) < 0)
        return zmq_errno() == EINTR;
    if (z->kind == ZSOCK_ROUTER) {
        bool addressed = zmq_msg_size(&z->frame) == sizeof peer.bytes && zmq_msg_more(&z->frame);
        if (!addressed) {
            skip_rest(z);
            return 1;
        }
        memcpy(peer.bytes, zmq_msg_data(&z->frame), sizeof peer.bytes);
        if (zmq_msg_recv(&z->frame, z->socket, ZMQ_DONTWAIT) < 0)
            return 1;
    }
    if (zmq_msg_more(&z->frame)) {
        skip_rest(z);
        return 1;
    }
    z->received(z->arg, z->kind == ZSOCK_ROUTER ? &peer : NULL, zmq_msg_data(&z->frame),
                zmq_msg_size(&z->frame));
    return 1;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct zsock *z = arg;
    bool more = true;
    /* Until there is nothing: only then does the descriptor tell of what comes next. Asking ZeroMQ whether
     * there is something costs it a system call each time. */
    for (int i = 0; i < READS_PER_PASS && more; i++)
        more = receive_one(z);
    if (more)
        look_later(z);
}

static const int zmq_types[] = {ZMQ_DEALER, ZMQ_ROUTER};

static void set_option(struct zsock *z, int option, const void *value, size_t size)
{
    if (zmq_setsockopt(z->socket, option, value, size))
        panic("zmq_setsockopt %d: %s", option, zmq_strerror(zmq_errno()));
}

static void set_int(struct zsock *z, int option, int value)
{
    set_option(z, option, &value, sizeof value);
}

struct zsock *zsock_new(enum zsock_kind kind, zsock_fn *received, void *arg)
{
    struct zsock *z = xcalloc(1, sizeof *z);
    z->kind = kind;
    z->received = received;
    z->arg = arg;
    z->socket = zmq_socket(get_context(), zmq_types[kind]);
    if (!z->socket)
        panic("zmq_socket: %s", zmq_strerror(zmq_errno()));
    open_sockets++;
    zmq_msg_init(&z->frame);
    set_int(z, ZMQ_SNDHWM, HIGH_WATER);
    set_int(z, ZMQ_RCVHWM, HIGH_WATER);
    set_int(z, ZMQ_LINGER, 0);
    int64_t largest = MSG_BYTES_MAX;
    set_option(z, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    if (kind == ZSOCK_ROUTER) {
        set_int(z, ZMQ_ROUTER_MANDATORY, 1);
        set_int(z, ZMQ_ROUTER_HANDOVER, 1);
    }
    if (kind == ZSOCK_DEALER) {
        /* ROUTER names beginning with a zero byte are ZeroMQ's own. */
        unsigned char name[ZSOCK_PEER_BYTES];
        randombytes_buf(name, sizeof name);
        name[0] |= 1;
        set_option(z, ZMQ_ROUTING_ID, name, sizeof name);
        set_int(z, ZMQ_IMMEDIATE, 1);
        set_int(z, ZMQ_RECONNECT_IVL, RECONNECT_MS);
        set_int(z, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    }
    int fd = -1;
    size_t size = sizeof fd;
    if (zmq_getsockopt(z->socket, ZMQ_FD, &fd, &size))
        panic("zmq_getsockopt: %s", zmq_strerror(zmq_errno()));
    z->readable = event_new(loop_base(), fd, EV_READ | EV_PERSIST, on_readable, z);
    z->again = event_new(loop_base(), -1, EV_PERSIST, on_readable, z);
    if (!z->readable || !z->again || event_add(z->readable, NULL))
        panic("libevent takes no descriptor of ZeroMQ");
    return z;
}

int zsock_bind(struct zsock *z, const char *endpoint)
{
    int rc = zmq_bind(z->socket, endpoint);
    look_later(z);
    return rc;
}

int zsock_connect(struct zsock *z, const char *endpoint)
{
    int rc = zmq_connect(z->socket, endpoint);
    look_later(z);
    return rc;
}

int zsock_send(struct zsock *z, const struct zsock_peer *peer, const void *data, size_t len)
{
    int rc = 0;
    if (peer)
        rc = zmq_send(z->socket, peer->bytes, sizeof peer->bytes, ZMQ_DONTWAIT | ZMQ_SNDMORE);
    if (rc >= 0)
        rc = zmq_send(z->socket, data, len, ZMQ_DONTWAIT);
    int error = zmq_errno();
    look_later(z);
    errno = error;
    return rc < 0 ? -1 : 0;
}

void zsock_free(struct zsock **z, int linger_ms)
{
    if (!*z)
        return;
    event_free((*z)->readable);
    event_free((*z)->again);
    set_int(*z, ZMQ_LINGER, linger_ms);
    zmq_msg_close(&(*z)->frame);
    zmq_close((*z)->socket);
    open_sockets--;
    free(*z);
    *z = NULL;
}

void zsock_shutdown(void)
{
    /* Ending the context waits for its sockets; one left open must not keep a process from leaving. */
    if (context && open_sockets == 0)
        zmq_ctx_term(context);
    context = NULL;
}
