#include "listener/frames.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "core/alloc.h"

enum {
    SPACE_MIN = 4096,
    FIRST_TEXT_FINAL = 0x81, /* FIN, no reserved bits, opcode text */
    LENGTH_16 = 126,
    LENGTH_64 = 127,
    MASKED = 0x80,
};

struct frames {
    char *data; /* FRAMES_BUFFER bytes */
    size_t begin, end;
    size_t limit;
    const struct frames_ops *ops;
    void *arg;
    wslay_frame_context_ptr wslay;
    size_t feed;        /* bytes of the buffer that wslay may take now: the frame it works on */
    struct buf message; /* a message in pieces */
    uint64_t skipped;   /* bytes of a message that is skipped; 0: none is */
    bool in_message;    /* a fragmented message has begun */
    bool stopped;
    const char *fault;
    struct buf *out; /* during frames_write */
    /* the frame that wslay is in the middle of */
    uint64_t left;
    bool in_frame, final;
    uint8_t opcode;
    char control[FRAMES_CONTROL_MAX];
    size_t control_len;
};

/* ---- wslay's callbacks ---- */

static ssize_t on_feed(uint8_t *to, size_t len, int flags, void *arg)
{
    (void)flags;
    struct frames *f = arg;
    size_t n = f->feed < len ? f->feed : len;
    if (n == 0)
        return -1;
    memcpy(to, f->data + f->begin, n);
    f->begin += n;
    f->feed -= n;
    return (ssize_t)n;
}

static ssize_t on_send(const uint8_t *data, size_t len, int flags, void *arg)
{
    (void)flags;
    struct frames *f = arg;
    return buf_add(f->out, data, len) ? -1 : (ssize_t)len;
}

static int on_mask(uint8_t *to, size_t len, void *arg)
{
    (void)arg;
    randombytes_buf(to, len);
    return 0;
}

struct frames *frames_new(size_t message_limit, const struct frames_ops *ops, void *arg)
{
    static const struct wslay_frame_callbacks callbacks = {on_send, on_feed, on_mask};
    struct frames *f = xcalloc(1, sizeof *f);
    f->data = xmalloc(FRAMES_BUFFER);
    f->limit = message_limit;
    f->ops = ops;
    f->arg = arg;
    buf_init(&f->message, message_limit);
    if (wslay_frame_context_init(&f->wslay, &callbacks, f))
        panic("wslay does not start");
    return f;
}

void frames_free(struct frames **p)
{
    struct frames *f = *p;
    if (!f)
        return;
    *p = NULL;
    wslay_frame_context_free(f->wslay);
    buf_free(&f->message);
    free(f->data);
    free(f);
}

void frames_stop(struct frames *f)
{
    f->stopped = true;
}

const char *frames_fault(const struct frames *f)
{
    return f->fault;
}

static int broken(struct frames *f, const char *why)
{
    f->fault = why;
    f->stopped = true;
    return -1;
}

char *frames_space(struct frames *f, size_t *room)
{
    /* What is left is a part of one frame, seldom more than a few hundred bytes. */
    if (f->begin) {
        memmove(f->data, f->data + f->begin, f->end - f->begin);
        f->end -= f->begin;
        f->begin = 0;
    }
    *room = FRAMES_BUFFER - f->end;
    return f->data + f->end;
}

/* ---- pieces, by way of wslay ---- */

static void deliver(struct frames *f, const char *data, size_t len)
{
    f->ops->message(f->arg, data ? data : "", len);
}

static void end_of_message(struct frames *f)
{
    f->in_message = false;
    if (f->skipped) {
        f->ops->skipped(f->arg, f->skipped);
        f->skipped = 0;
    } else {
        deliver(f, f->message.data, f->message.len);
    }
    /* A large message's memory is not kept for the next one. */
    if (f->message.size > FRAMES_BUFFER)
        buf_free(&f->message);
    buf_reset(&f->message);
}

static int begin_frame(struct frames *f, const struct wslay_frame_iocb *io)
{
    if (io->rsv)
        return broken(f, "a frame with reserved bits set");
    if (io->mask)
        return broken(f, "a masked frame from the server");
    f->opcode = io->opcode;
    f->final = io->fin;
    f->left = io->payload_length;
    f->in_frame = true;
    f->control_len = 0;
    if (wslay_is_ctrl_frame(io->opcode))
        return io->opcode > FRAMES_PONG ? broken(f, "a control frame of unknown kind") : 0;
    if (io->opcode > WSLAY_BINARY_FRAME)
        return broken(f, "a data frame of unknown kind");
    if ((io->opcode == WSLAY_CONTINUATION_FRAME) != f->in_message)
        return broken(f, f->in_message ? "a new message inside a fragmented one"
                                       : "a continuation without a beginning");
    f->in_message = true;
    return 0;
}

static void take_data(struct frames *f, const uint8_t *data, size_t len)
{
    if (f->skipped == 0 && buf_add(&f->message, data, len) == 0)
        return;
    f->skipped += f->message.len + len;
    buf_free(&f->message);
}

static void end_of_frame(struct frames *f)
{
    f->in_frame = false;
    if (wslay_is_ctrl_frame(f->opcode))
        f->ops->control(f->arg, (enum frames_opcode)f->opcode, f->control, f->control_len);
    else if (f->final)
        end_of_message(f);
}

/* Lets wslay take the bytes it may have. 1: it took some, 0: it waits for more. */
static int pass_to_wslay(struct frames *f)
{
    struct wslay_frame_iocb io;
    ssize_t n = wslay_frame_recv(f->wslay, &io);
    if (n == WSLAY_ERR_WANT_READ)
        return 0;
    if (n < 0)
        return broken(f, "a frame that breaks the WebSocket protocol");
    if (!f->in_frame && begin_frame(f, &io))
        return -1;
    if (wslay_is_ctrl_frame(f->opcode)) {
        memcpy(f->control + f->control_len, io.data, io.data_length);
        f->control_len += io.data_length;
    } else {
        take_data(f, io.data, io.data_length);
    }
    f->left -= io.data_length;
    if (f->left == 0)
        end_of_frame(f);
    return 1;
}

/* ---- the buffer ---- */

/* Bytes of the head of the frame at the beginning of the buffer and of its payload; false if the head is not
 * whole. */
static bool measure(const struct frames *f, size_t *head, uint64_t *payload)
{
    const unsigned char *p = (const unsigned char *)f->data + f->begin;
    size_t have = f->end - f->begin;
    if (have < 2)
        return false;
    unsigned length = p[1] & 0x7fu;
    *head = 2u + (length == LENGTH_16 ? 2u : length == LENGTH_64 ? 8u : 0u) + (p[1] & MASKED ? 4u : 0u);
    if (have < *head)
        return false;
    *payload = length;
    if (length == LENGTH_16) {
        *payload = (uint64_t)p[2] << 8 | p[3];
    } else if (length == LENGTH_64) {
        *payload = 0;
        for (int i = 0; i < 8; i++)
            *payload = *payload << 8 | p[2 + i];
    }
    return true;
}

/* A whole text message in one plain frame with the shortest form of its length. */
static bool is_plain(const struct frames *f, size_t head, uint64_t payload)
{
    const unsigned char *p = (const unsigned char *)f->data + f->begin;
    size_t shortest = payload < LENGTH_16 ? 2 : payload <= 0xffff ? 4 : 10;
    return p[0] == FIRST_TEXT_FINAL && !(p[1] & MASKED) && head == shortest && !f->in_message &&
           payload <= f->limit;
}

/* Hands one frame on, or as much of it as there is. 1: go on, 0: wait for more bytes. */
static int take_one(struct frames *f)
{
    size_t head, have = f->end - f->begin;
    uint64_t payload;
    if (f->in_frame) {
        f->feed = f->left < have ? (size_t)f->left : have;
        return pass_to_wslay(f);
    }
    if (!measure(f, &head, &payload))
        return 0;
    bool whole = payload <= have - head;
    if (whole && is_plain(f, head, payload)) {
        const char *data = f->data + f->begin + head;
        f->begin += head + (size_t)payload;
        deliver(f, data, (size_t)payload);
        return 1;
    }
    /* What fits into the buffer is waited for, so that it can be handed on in one piece. */
    if (!whole && (have == head || payload <= FRAMES_BUFFER - head - SPACE_MIN))
        return 0;
    f->feed = whole ? head + (size_t)payload : have;
    return pass_to_wslay(f);
}

int frames_received(struct frames *f, size_t len)
{
    f->end += len;
    int rc = 1;
    while (rc > 0 && !f->stopped && f->begin < f->end)
        rc = take_one(f);
    return f->fault ? -1 : 0;
}

int frames_write(struct frames *f, struct buf *out, enum frames_opcode opcode, const void *data, size_t len)
{
    struct wslay_frame_iocb io = {
        .fin = 1, .opcode = (uint8_t)opcode, .mask = 1, .payload_length = len, .data = data};
    /* Room for everything first: half a frame would be the end of the connection. */
    if (!buf_reserve(out, len + 14))
        return -1;
    f->out = out;
    io.data_length = len;
    while (io.data_length || len == 0) {
        ssize_t n = wslay_frame_send(f->wslay, &io);
        if (n < 0)
            panic("wslay refuses to write a frame: %zd", n);
        if (len == 0)
            break;
        io.data += n;
        io.data_length -= (size_t)n;
    }
    f->out = NULL;
    return 0;
}
