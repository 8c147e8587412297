/*
 * The server's side of a WebSocket on a connection of sim_http: the upgrade, reading by wslay's frame layer,
 * and writing in every shape a test may want (fragmented, with control frames in between, closed by any
 * code).
 */
#ifndef BRIDGEBELL_TESTS_SIM_WS_H
#define BRIDGEBELL_TESTS_SIM_WS_H

#include "tests/sim/sim_http.h"

struct sim_ws;

struct sim_ws_callbacks {
    /* A whole message, text or binary; the data ends in a NUL that length does not count. */
    void (*on_message)(struct sim_ws *ws, const char *data, size_t length);
    void (*on_pong)(struct sim_ws *ws);
};

/* How text is written. */
struct sim_ws_shape {
    int64_t fragment_bytes;   /* 0: unfragmented */
    int64_t interleave_pings; /* a ping between the fragments */
};

/*
 * Answers the upgrade request of c with 101 and makes the WebSocket. Both the shape and the callbacks must
 * outlive it. Messages above message_max_bytes end it with 1009, text that is no UTF-8 with 1007. user is
 * free to use.
 */
struct sim_ws *sim_ws_accept(struct sim_conn *c, const struct sim_ws_callbacks *callbacks,
                             const struct sim_ws_shape *shape, size_t message_max_bytes, void *user);
/* To be called when the connection has ended; frees. */
void sim_ws_free(struct sim_ws *ws);

void sim_ws_send_text(struct sim_ws *ws, const char *text, size_t length);
/* One frame with an unmasked header; opcode 0..15. */
void sim_ws_send_frame(struct sim_ws *ws, unsigned opcode, bool last, const void *data, size_t length);
/* Sends a close frame (code 0: an empty one) and ends the TCP connection after it. */
void sim_ws_close(struct sim_ws *ws, int code, const char *reason);
/* Writes the header of an unmasked frame; returns its length (at most 10). */
size_t sim_ws_header(uint8_t out[10], unsigned opcode, bool last, size_t length);

void *sim_ws_user(const struct sim_ws *ws);
struct sim_conn *sim_ws_conn(const struct sim_ws *ws);

#endif
