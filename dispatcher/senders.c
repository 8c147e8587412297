#include "dispatcher/senders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

struct senders {
    struct queue *queue;
    struct link_server *links;
    struct msg_in in;
};

/* The extra of a sender's hello is its credit, as a WIRE_CREDIT message. 0 or -1. */
static int read_credit(struct senders *s, const void *extra, size_t len, struct wire_credit *credit)
{
    struct msg_fields f;
    if (msg_parse(&s->in, extra, len, &f) != WIRE_CREDIT)
        return -1;
    wire_get_credit(&f, credit);
    return msg_end(&f) ? 0 : -1;
}

static const char *on_hello(void *arg, struct link_peer *peer, const void *extra, size_t len,
                            struct msg_out *welcome)
{
    struct senders *s = arg;
    struct wire_credit credit = {0};
    (void)welcome;
    if (strcmp(peer->role, "sender") != 0)
        return "this socket is for senders";
    if (len && read_credit(s, extra, len, &credit))
        return "malformed hello of a sender";
    peer->data = queue_sender_up(s->queue, s->links, peer, &credit, peer->incarnation);
    return NULL;
}

static void on_gone(void *arg, struct link_peer *peer)
{
    struct senders *s = arg;
    queue_sender_gone(s->queue, peer->data);
    peer->data = NULL;
}

static void on_message(void *arg, struct link_peer *peer, int type, struct msg_fields *fields)
{
    struct senders *s = arg;
    queue_sender_message(s->queue, peer->data, type, fields);
}

struct senders *senders_new(const char *endpoint, struct queue *queue)
{
    static const struct link_server_ops ops = {.hello = on_hello, .gone = on_gone, .message = on_message};
    struct senders *s = xcalloc(1, sizeof *s);
    s->queue = queue;
    msg_in_init(&s->in);
    s->links = link_server_new(endpoint, &ops, s);
    if (s->links)
        return s;
    int error = errno;
    msg_in_free(&s->in);
    free(s);
    errno = error;
    return NULL;
}

void senders_free(struct senders **p)
{
    struct senders *s = *p;
    if (!s)
        return;
    *p = NULL;
    link_server_free(&s->links);
    msg_in_free(&s->in);
    free(s);
}
