#include "sender/outcomes.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/loop.h"

enum {
    BATCH_MAX = 1000,       /* results in one message */
    OUTCOMES_BOUND = 16384, /* results kept; a result is some 80 bytes, 350 at most */
};

struct batch {
    struct batch *next;
    uint64_t seq;
    size_t count;
    size_t len;
    char bytes[];
};

struct outcomes {
    outcomes_send_fn *send;
    void *arg;
    struct batch *first, *last; /* not acknowledged, oldest first */
    struct batch *unsent;       /* the first of them that the link has not taken since the last welcome */
    uint64_t seq;               /* of the last batch */
    struct msg_out open;        /* results of this pass, packed one after the other */
    size_t open_count, kept_count;
    bool flush_due;
};

struct outcomes *outcomes_new(outcomes_send_fn *send, void *arg)
{
    struct outcomes *o = xcalloc(1, sizeof *o);
    o->send = send;
    o->arg = arg;
    msg_out_init(&o->open, 0);
    return o;
}

void outcomes_free(struct outcomes **p)
{
    struct outcomes *o = *p;
    if (!o)
        return;
    *p = NULL;
    while (o->first) {
        struct batch *b = o->first;
        o->first = b->next;
        free(b);
    }
    msg_out_free(&o->open);
    free(o);
}

void outcomes_push(struct outcomes *o)
{
    while (o->unsent && o->send(o->arg, o->unsent->seq, o->unsent->bytes, o->unsent->len) == 0)
        o->unsent = o->unsent->next;
}

/* Closes what was added since the last time and appends it as a batch. */
static void seal(struct outcomes *o)
{
    if (o->open_count == 0)
        return;
    struct msg_out head;
    msg_out_init(&head, 0);
    msg_put_array(&head, o->open_count);
    struct batch *b = xmalloc(sizeof *b + head.buf.len + o->open.buf.len);
    memset(b, 0, sizeof *b);
    b->seq = ++o->seq;
    b->count = o->open_count;
    b->len = head.buf.len + o->open.buf.len;
    memcpy(b->bytes, head.buf.data, head.buf.len);
    memcpy(b->bytes + head.buf.len, o->open.buf.data, o->open.buf.len);
    msg_out_free(&head);
    if (o->last)
        o->last->next = b;
    else
        o->first = b;
    o->last = b;
    if (!o->unsent)
        o->unsent = b;
    o->kept_count += b->count;
    o->open_count = 0;
    buf_reset(&o->open.buf);
}

static void flush(void *arg)
{
    struct outcomes *o = arg;
    o->flush_due = false;
    seal(o);
    outcomes_push(o);
}

void outcomes_add(struct outcomes *o, const struct wire_result *r)
{
    wire_put_result(&o->open, r);
    if (++o->open_count >= BATCH_MAX)
        seal(o);
    if (!o->flush_due) {
        o->flush_due = true;
        loop_defer(flush, o);
    }
}

void outcomes_acked(struct outcomes *o, uint64_t seq)
{
    while (o->first && o->first->seq <= seq) {
        struct batch *b = o->first;
        o->first = b->next;
        o->kept_count -= b->count;
        if (o->unsent == b)
            o->unsent = b->next;
        free(b);
    }
    if (!o->first)
        o->last = NULL;
}

void outcomes_resend(struct outcomes *o)
{
    seal(o);
    o->unsent = o->first;
    outcomes_push(o);
}

size_t outcomes_count(const struct outcomes *o)
{
    return o->kept_count + o->open_count;
}

size_t outcomes_room(const struct outcomes *o)
{
    size_t count = outcomes_count(o);
    return count < OUTCOMES_BOUND ? OUTCOMES_BOUND - count : 0;
}
