#include "listener/outbox.h"

#include <stdlib.h>

#include "core/alloc.h"
#include "core/log.h"
#include "proto/event.h"
#include "proto/wire.h"

enum {
    BATCH_BYTES = 64 * 1024,
    BATCH_EVENTS = 1000,
    WINDOW_BATCHES = 256,
    WINDOW_BYTES = 1024 * 1024, /* the dispatcher keeps it in several times the size */
    EVENT_MAX_BYTES = 2 * EVENT_FRAME_MAX,
    BATCH_COST = 128, /* memory of a batch besides its events */
};

struct batch {
    struct batch *next;
    uint64_t
        seq; /* 0 until it is first sent, so that what is given up before leaves no hole in the numbers */
    int64_t mark_ms;
    bool from_spill;
    struct spill_batch body;
};

struct outbox {
    const struct outbox_ops *ops;
    void *arg;
    struct spill *spill;
    size_t limit;
    struct batch *first, *last; /* sealed, in order */
    struct batch *unsent;       /* the first of them that has not gone out on this link */
    struct batch *open;         /* NULL while empty */
    uint64_t seq;
    size_t from_spill; /* batches in memory that the spill file still holds */
    size_t bytes;
    uint64_t events;
    size_t in_flight, in_flight_bytes;
    bool up;
    struct msg_out out;
};

struct outbox *outbox_new(size_t limit_bytes, struct spill *spill, const struct outbox_ops *ops, void *arg)
{
    struct outbox *o = xcalloc(1, sizeof *o);
    o->ops = ops;
    o->arg = arg;
    o->spill = spill;
    o->limit = limit_bytes;
    msg_out_init(&o->out, MSG_BYTES_MAX);
    return o;
}

static struct batch *batch_new(void)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->mark_ms = -1;
    buf_init(&b->body.events, EVENT_MAX_BYTES + BATCH_BYTES);
    return b;
}

static void batch_free(struct batch *b)
{
    buf_free(&b->body.events);
    free(b);
}

static size_t cost(const struct batch *b)
{
    return b->body.events.len + BATCH_COST;
}

void outbox_free(struct outbox **p)
{
    struct outbox *o = *p;
    if (!o)
        return;
    *p = NULL;
    for (struct batch *b = o->first, *next; b; b = next) {
        next = b->next;
        batch_free(b);
    }
    if (o->open)
        batch_free(o->open);
    msg_out_free(&o->out);
    free(o);
}

/* ---- the queue in memory ---- */

static void append(struct outbox *o, struct batch *b)
{
    b->next = NULL;
    if (o->last)
        o->last->next = b;
    else
        o->first = b;
    o->last = b;
    if (!o->unsent)
        o->unsent = b;
    o->bytes += cost(b);
    o->events += b->body.count;
    o->from_spill += b->from_spill;
}

/* Takes out the batch behind BEFORE (NULL: the first). IN_FLIGHT: it was sent on this link. */
static struct batch *take_out(struct outbox *o, struct batch *before, bool in_flight)
{
    struct batch *b = before ? before->next : o->first;
    if (before)
        before->next = b->next;
    else
        o->first = b->next;
    if (o->last == b)
        o->last = before;
    if (o->unsent == b)
        o->unsent = b->next;
    o->in_flight -= in_flight;
    o->in_flight_bytes -= in_flight ? cost(b) : 0;
    o->bytes -= cost(b);
    o->events -= b->body.count;
    o->from_spill -= b->from_spill;
    return b;
}

static struct batch *take_first(struct outbox *o)
{
    return take_out(o, NULL, o->unsent != o->first);
}

/* The oldest batch that may be given up: while the link is up none that has a number, because the other side
 * takes batches only in an unbroken row. False if there is none. */
static bool give_up_one(struct outbox *o)
{
    struct batch *before = NULL, *b = o->first;
    for (; b && b->seq && o->up; b = b->next)
        before = b;
    if (!b)
        return false;
    b = take_out(o, before, false);
    uint64_t count = b->body.count;
    int64_t oldest_ms = b->body.oldest_ms;
    batch_free(b);
    if (count)
        o->ops->given_up(o->arg, count, oldest_ms);
    return true;
}

/* Batches are sent in the order of their numbers, so whatever is spilled goes behind what was spilled before.
 */
static void spill_or_drop(struct outbox *o, struct batch *b)
{
    uint64_t given_up = 0;
    int64_t oldest_ms = 0;
    if (o->spill && spill_add(o->spill, &b->body, &given_up, &oldest_ms) == 0) {
        batch_free(b);
        if (given_up)
            o->ops->given_up(o->arg, given_up, oldest_ms);
        return;
    }
    while (o->bytes + cost(b) > o->limit && give_up_one(o))
        ;
    append(o, b);
    /* Where everything else is under way the newest has to go. */
    if (o->bytes > o->limit && o->first != b)
        give_up_one(o);
}

static void seal(struct outbox *o, int64_t mark_ms)
{
    struct batch *b = o->open;
    o->open = NULL;
    bool full = o->bytes + cost(b) > o->limit;
    bool behind = o->spill && !spill_empty(o->spill);
    if ((full || behind) && b->body.count) {
        spill_or_drop(o, b);
        return;
    }
    /* While events wait on disk a mark would overtake them. */
    b->mark_ms = behind ? -1 : mark_ms;
    append(o, b);
}

static void refill(struct outbox *o)
{
    while (o->spill && !spill_empty(o->spill) && o->bytes < o->limit / 2) {
        struct batch *b = batch_new();
        uint64_t lost_bytes = 0;
        int got = spill_take(o->spill, &b->body, &lost_bytes);
        if (lost_bytes)
            log_warn("a part of the spill file cannot be read", log_int("bytes", (int64_t)lost_bytes));
        if (!got) {
            batch_free(b);
            return;
        }
        b->from_spill = true;
        append(o, b);
    }
}

/* ---- sending ---- */

static int send_one(struct outbox *o, const struct batch *b)
{
    msg_begin(&o->out, WIRE_EVENTS, 3);
    msg_put_uint(&o->out, b->seq);
    msg_put_int(&o->out, b->mark_ms);
    msg_put_array(&o->out, b->body.count);
    if (b->body.events.len)
        buf_add(&o->out.buf, b->body.events.data, b->body.events.len);
    return o->ops->send(o->arg, &o->out);
}

static bool window_open(const struct outbox *o)
{
    return o->in_flight == 0 || (o->in_flight < WINDOW_BATCHES && o->in_flight_bytes < WINDOW_BYTES);
}

static void send_all(struct outbox *o)
{
    while (o->up && o->unsent && window_open(o)) {
        struct batch *b = o->unsent;
        if (!b->seq)
            b->seq = ++o->seq;
        if (send_one(o, b))
            return;
        o->unsent = b->next;
        o->in_flight++;
        o->in_flight_bytes += cost(b);
    }
    /* What a large event needed is not kept. */
    if (o->out.buf.size > 16 * BATCH_BYTES)
        buf_free(&o->out.buf);
}

/* ---- for others ---- */

static void put_head(struct buf *out, size_t len)
{
    unsigned char head[5] = {0xc6, (unsigned char)(len >> 24), (unsigned char)(len >> 16),
                             (unsigned char)(len >> 8), (unsigned char)len};
    if (len > 0xffff) {
        buf_add(out, head, 5);
        return;
    }
    head[2] = 0xc5;
    buf_add(out, head + 2, 3);
}

void outbox_add(struct outbox *o, const void *packed, size_t len, int64_t timestamp_ms)
{
    struct batch *b = o->open;
    if (b && (b->body.count >= BATCH_EVENTS || b->body.events.len + len > BATCH_BYTES)) {
        seal(o, -1);
        b = NULL;
    }
    if (!b) {
        b = o->open = batch_new();
        b->body.oldest_ms = timestamp_ms;
    }
    if (timestamp_ms < b->body.oldest_ms)
        b->body.oldest_ms = timestamp_ms;
    b->body.count++;
    put_head(&b->body.events, len);
    buf_add(&b->body.events, packed, len);
    if (b->body.events.failed)
        panic("an event of %zu bytes passed its bound", len);
}

void outbox_flush(struct outbox *o, int64_t mark_ms, bool alone)
{
    if (!o->open && alone && mark_ms >= 0)
        o->open = batch_new();
    if (o->open)
        seal(o, mark_ms);
    refill(o);
    send_all(o);
}

void outbox_forget_marks(struct outbox *o)
{
    for (struct batch *b = o->first; b; b = b->next)
        b->mark_ms = -1;
}

void outbox_acked(struct outbox *o, uint64_t seq)
{
    bool had = o->from_spill;
    while (o->first && o->first->seq && o->first->seq <= seq)
        batch_free(take_first(o));
    if (had && o->from_spill == 0)
        spill_release(o->spill);
    refill(o);
    send_all(o);
}

void outbox_up(struct outbox *o)
{
    o->up = true;
    o->unsent = o->first;
    o->in_flight = o->in_flight_bytes = 0;
    refill(o);
    send_all(o);
}

void outbox_down(struct outbox *o)
{
    o->up = false;
    o->unsent = o->first;
    o->in_flight = o->in_flight_bytes = 0;
}

void outbox_park(struct outbox *o)
{
    if (o->open)
        append(o, o->open);
    o->open = NULL;
    while (o->first && o->spill) {
        struct batch *b = take_first(o);
        uint64_t given_up = 0;
        int64_t oldest_ms = 0;
        if (b->body.count && !b->from_spill)
            spill_add(o->spill, &b->body, &given_up, &oldest_ms);
        batch_free(b);
    }
}

size_t outbox_bytes(const struct outbox *o)
{
    return o->bytes + (o->open ? cost(o->open) : 0);
}

uint64_t outbox_events(const struct outbox *o)
{
    return o->events + (o->open ? o->open->body.count : 0) + (o->spill ? spill_events(o->spill) : 0);
}

bool outbox_empty(const struct outbox *o)
{
    return !o->first && !o->open && (!o->spill || spill_empty(o->spill));
}
