/*
 * A ZeroMQ socket in the event loop.
 *
 * ZeroMQ's descriptor is edge-triggered and any call may use the edge up, so this module looks at ZMQ_EVENTS
 * again after every receive and every send, wherever that was made, and activates itself while there is more
 * to read (LIBRARIES.md; libzmq #3641). Reading stops after a bounded number of messages a pass, so that one
 * busy socket cannot hold the loop. The context is made in the process that uses it.
 */
#ifndef PROTO_ZSOCK_H
#define PROTO_ZSOCK_H

#include <stddef.h>

enum zsock_kind { ZSOCK_DEALER, ZSOCK_ROUTER };

enum { ZSOCK_PEER_BYTES = 16 };
/* Name of a peer at a ROUTER: random, made anew by each DEALER. */
struct zsock_peer {
    unsigned char bytes[ZSOCK_PEER_BYTES];
};

struct zsock;
/* PEER is NULL on a DEALER. DATA is valid during the call only. */
typedef void zsock_fn(void *arg, const struct zsock_peer *peer, const void *data, size_t len);

struct zsock *zsock_new(enum zsock_kind kind, zsock_fn *received, void *arg);
/* ENDPOINT: "ipc:///run/…" or "tcp://…". 0, or -1 with errno. */
int zsock_bind(struct zsock *z, const char *endpoint);
int zsock_connect(struct zsock *z, const char *endpoint);
/* Sends one message, copying it. PEER must be given on a ROUTER and be NULL otherwise. 0; -1 with errno
 * EAGAIN (full: try later) or EHOSTUNREACH (that peer is gone). Never blocks. */
int zsock_send(struct zsock *z, const struct zsock_peer *peer, const void *data, size_t len);
/* Closes at once; what was not written yet is dropped after LINGER_MS. Not from inside its own callback:
 * use loop_defer there. */
void zsock_free(struct zsock **z, int linger_ms);
/* Ends the context; the last call before exit. */
void zsock_shutdown(void);

#endif
