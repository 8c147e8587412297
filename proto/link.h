/*
 * The conversation under all traffic between a dispatcher and its listeners and senders.
 *
 * A client (listener, sender) says LINK_HELLO with the protocol's version, its role, name and incarnation;
 * the dispatcher answers LINK_WELCOME or LINK_REFUSE. Only after a welcome are other messages exchanged. Both
 * sides send a LINK_PING when they have said nothing for LINK_PING_MS and count the other as gone after
 * LINK_DEAD_MS of silence. A dispatcher that hears from somebody it does not know (it was restarted) answers
 * LINK_WHO, and the client says hello again. Nothing here is reliable by itself: what must not be lost is
 * kept by its sender until the dispatcher has acknowledged it (proto/wire.h), and sent again after every
 * welcome.
 */
#ifndef PROTO_LINK_H
#define PROTO_LINK_H

#include <stdbool.h>

#include "proto/msg.h"
#include "proto/zsock.h"

enum {
    LINK_VERSION = 1,
    LINK_PING_MS = 1000,
    LINK_DEAD_MS = 5000,
};

/* Message types below WIRE_FIRST belong to the link. */
enum link_message {
    LINK_HELLO = 1, /* c->d: version uint, role str, name str, host str, incarnation uint, extra bin */
    LINK_WELCOME,   /* d->c: version uint, dispatcher incarnation uint, extra bin */
    LINK_REFUSE,    /* d->c: reason str; the client logs it and tries again with a growing delay */
    LINK_PING,      /* both: no fields */
    LINK_WHO,       /* d->c: no fields */
    LINK_BYE,       /* both: no fields; leaves on purpose */
    LINK_TYPES_END = 16,
};

/* ---- the client's side: one DEALER to one dispatcher ---- */
struct link_client;
struct link_client_ops {
    /* Fills EXTRA of the next hello (role's own message, see proto/wire.h); may be NULL. */
    void (*hello)(void *arg, struct msg_out *extra);
    /* Welcomed; EXTRA as the dispatcher's role layer packed it. Everything unacknowledged is to be sent
     * again. */
    void (*up)(void *arg, const void *extra, size_t len);
    void (*down)(void *arg);
    void (*message)(void *arg, int type, struct msg_fields *fields);
};
struct link_client *link_client_new(const char *endpoint, const char *role, const char *name,
                                    const struct link_client_ops *ops, void *arg);
/* 0, or -1 when down or full (EAGAIN). */
int link_client_send(struct link_client *c, const struct msg_out *m);
bool link_client_is_up(const struct link_client *c);
/* Says LINK_BYE if up, then closes. */
void link_client_free(struct link_client **c);

/* ---- the dispatcher's side: one ROUTER, many peers ---- */
struct link_server;
struct link_peer {
    struct zsock_peer address;
    char *role;
    char *name;
    char *host;
    uint64_t incarnation; /* random; a restarted client has another */
    uint64_t heard_ms, spoke_ms;
    void *data; /* the user's */
};
struct link_server_ops {
    /* A good hello. Fill WELCOME's extra and return NULL, or return why not (a fixed phrase): refused. */
    const char *(*hello)(void *arg, struct link_peer *peer, const void *extra, size_t len,
                         struct msg_out *welcome);
    /* Gone: silent too long, said bye, or said hello again (then hello follows). Free peer->data. */
    void (*gone)(void *arg, struct link_peer *peer);
    void (*message)(void *arg, struct link_peer *peer, int type, struct msg_fields *fields);
};
/* NULL with errno if ENDPOINT cannot be bound. */
struct link_server *link_server_new(const char *endpoint, const struct link_server_ops *ops, void *arg);
/* 0, or -1 with errno EAGAIN or EHOSTUNREACH (the peer is then counted as gone at the end of the pass). */
int link_server_send(struct link_server *s, struct link_peer *peer, const struct msg_out *m);
void link_server_free(struct link_server **s);

#endif
