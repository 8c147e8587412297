/*
 * WebSocket frames between bytes and messages, without a socket.
 *
 * Owns the receive buffer. A message that lies in the buffer as one plain text frame, as the Bridge sends
 * them, is handed on where it lies; anything else (fragments, control frames, frames larger than the buffer)
 * goes through wslay's frame layer. A message larger than the limit is counted and skipped, the connection
 * goes on.
 */
#ifndef LISTENER_FRAMES_H
#define LISTENER_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

enum { FRAMES_BUFFER = 256 * 1024, FRAMES_CONTROL_MAX = 125 };

enum frames_opcode { FRAMES_TEXT = 1, FRAMES_CLOSE = 8, FRAMES_PING = 9, FRAMES_PONG = 10 };

struct frames_ops {
    /* One whole message, text or binary. DATA is valid during the call. */
    void (*message)(void *arg, const char *data, size_t len);
    /* Close, ping or pong with its payload of at most FRAMES_CONTROL_MAX bytes. */
    void (*control)(void *arg, enum frames_opcode opcode, const char *data, size_t len);
    /* A message above the limit went by. */
    void (*skipped)(void *arg, uint64_t bytes);
};

struct frames;
/* MESSAGE_LIMIT bounds one message, fragments together. */
struct frames *frames_new(size_t message_limit, const struct frames_ops *ops, void *arg);
void frames_free(struct frames **f);
/* Where the next bytes go; ROOM (at least 4 KiB) is what fits. */
char *frames_space(struct frames *f, size_t *room);
/* LEN bytes were put there: delivers every message they complete. 0; -1 if the other side broke the protocol,
 * then frames_fault says how and nothing more is delivered. */
int frames_received(struct frames *f, size_t len);
/* From inside a callback: deliver nothing more. */
void frames_stop(struct frames *f);
const char *frames_fault(const struct frames *f);
/* Appends one masked client frame to OUT. 0, or -1 if OUT is full. */
int frames_write(struct frames *f, struct buf *out, enum frames_opcode opcode, const void *data, size_t len);

#endif
