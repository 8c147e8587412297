/* The HTTP upgrade that turns a connection into a WebSocket (RFC 6455 section 4), without a socket. */
#ifndef LISTENER_UPGRADE_H
#define LISTENER_UPGRADE_H

#include <stddef.h>

#include "core/buf.h"

struct upgrade {
    char *http_url; /* the address with http or https for ws or wss, for the connection */
    char *host;     /* value of the Host header */
    char *target;   /* path and query */
    char key[32];   /* base64 of 16 random bytes */
    struct buf head;
    int status;
    char detail[160]; /* for UPGRADE_REFUSED and UPGRADE_FAULT */
};
enum upgrade_result {
    UPGRADE_MORE,
    UPGRADE_DONE,    /* 101, and rightly so */
    UPGRADE_REFUSED, /* another status */
    UPGRADE_FAULT,   /* not HTTP, or a 101 that does not answer our request */
};

/* URL was validated (settings.h): ws, wss, http or https with a host. */
void upgrade_init(struct upgrade *u, const char *url);
void upgrade_free(struct upgrade *u);
/* Appends the request to OUT. */
void upgrade_request(struct upgrade *u, struct buf *out);
/* Takes the answer piece by piece. When the head is whole, USED says how many bytes of DATA belong to it. */
enum upgrade_result upgrade_received(struct upgrade *u, const char *data, size_t len, size_t *used);

#endif
