#include "tests/sim/sim_ws.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

struct sim_ws {
    struct sim_conn *conn;
    const struct sim_ws_callbacks *callbacks;
    const struct sim_ws_shape *shape;
    size_t message_max_bytes;
    void *user;
    wslay_frame_context_ptr frames;
    struct sim_buf message; /* a message being put together */
    uint8_t message_opcode;
    struct sim_buf control; /* a control frame being read */
    uint64_t frame_got;
    bool in_frame;
    bool ended;
};

static ssize_t recv_cb(uint8_t *buf, size_t length, int flags, void *user)
{
    (void)flags;
    struct sim_ws *ws = user;
    int got = evbuffer_remove(bufferevent_get_input(sim_conn_bev(ws->conn)), buf, length);
    return got > 0 ? got : -1;
}

static ssize_t send_cb(const uint8_t *data, size_t length, int flags, void *user)
{
    (void)flags;
    struct sim_ws *ws = user;
    return bufferevent_write(sim_conn_bev(ws->conn), data, length) == 0 ? (ssize_t)length : -1;
}

static int genmask_cb(uint8_t *buf, size_t length, void *user)
{
    (void)user;
    sim_random(buf, length);
    return 0;
}

/* ---- writing ---- */

size_t sim_ws_header(uint8_t out[10], unsigned opcode, bool last, size_t length)
{
    out[0] = (uint8_t)((last ? 0x80u : 0u) | (opcode & 15u));
    if (length < 126) {
        out[1] = (uint8_t)length;
        return 2;
    }
    if (length < 65536) {
        out[1] = 126;
        out[2] = (uint8_t)(length >> 8);
        out[3] = (uint8_t)length;
        return 4;
    }
    out[1] = 127;
    for (int i = 0; i < 8; i++) {
        out[2 + i] = (uint8_t)((uint64_t)length >> (56 - 8 * i));
    }
    return 10;
}

void sim_ws_send_frame(struct sim_ws *ws, unsigned opcode, bool last, const void *data, size_t length)
{
    if (ws->ended) {
        return;
    }
    uint8_t header[10];
    struct bufferevent *bev = sim_conn_bev(ws->conn);
    bufferevent_write(bev, header, sim_ws_header(header, opcode, last, length));
    if (length != 0) {
        bufferevent_write(bev, data, length);
    }
}

void sim_ws_send_text(struct sim_ws *ws, const char *text, size_t length)
{
    size_t piece = ws->shape->fragment_bytes > 0 ? (size_t)ws->shape->fragment_bytes : length;
    unsigned opcode = WSLAY_TEXT_FRAME;
    while (length > piece) {
        sim_ws_send_frame(ws, opcode, false, text, piece);
        if (ws->shape->interleave_pings != 0) {
            sim_ws_send_frame(ws, WSLAY_PING, true, "between", 7);
        }
        text += piece;
        length -= piece;
        opcode = WSLAY_CONTINUATION_FRAME;
    }
    sim_ws_send_frame(ws, opcode, true, text, length);
}

void sim_ws_close(struct sim_ws *ws, int code, const char *reason)
{
    if (ws->ended) {
        return;
    }
    struct sim_buf payload = {0};
    if (code != 0) {
        uint16_t wire = htons((uint16_t)code);
        sim_buf_add(&payload, &wire, sizeof(wire));
        sim_buf_puts(&payload, reason);
    }
    sim_ws_send_frame(ws, WSLAY_CONNECTION_CLOSE, true, payload.data, payload.len);
    sim_buf_free(&payload);
    ws->ended = true;
    sim_conn_finish(ws->conn);
}

/* ---- reading ---- */

static bool utf8_valid(const char *text, size_t length)
{
    const unsigned char *p = (const unsigned char *)text;
    const unsigned char *end = p + length;
    while (p < end) {
        unsigned c = *p++;
        if (c < 0x80) {
            continue;
        }
        unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        unsigned low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (c < 0xc2 || c > 0xf4 || (size_t)(end - p) < more || *p < low || *p > high) {
            return false;
        }
        for (p++; more > 1; more--, p++) {
            if ((*p & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return true;
}

static void on_control(struct sim_ws *ws, uint8_t opcode)
{
    if (opcode == WSLAY_PING) {
        sim_ws_send_frame(ws, WSLAY_PONG, true, ws->control.data, ws->control.len);
    } else if (opcode == WSLAY_PONG) {
        ws->callbacks->on_pong(ws);
    } else if (opcode == WSLAY_CONNECTION_CLOSE) {
        int code = 0;
        if (ws->control.len >= 2) {
            const unsigned char *p = (const unsigned char *)ws->control.data;
            code = p[0] << 8 | p[1];
        }
        sim_ws_close(ws, code, "");
    }
}

static void on_message_end(struct sim_ws *ws)
{
    if (ws->message_opcode == WSLAY_TEXT_FRAME && !utf8_valid(ws->message.data, ws->message.len)) {
        sim_ws_close(ws, 1007, "");
        return;
    }
    struct sim_buf message = ws->message;
    ws->message = (struct sim_buf){0};
    ws->message_opcode = 0;
    ws->callbacks->on_message(ws, message.data, message.len);
    sim_buf_free(&message);
}

/* Looks at the header of a new frame. False: the connection has been closed for it. */
static bool frame_begin(struct sim_ws *ws, const struct wslay_frame_iocb *f)
{
    bool control = wslay_is_ctrl_frame(f->opcode);
    bool continues = f->opcode == WSLAY_CONTINUATION_FRAME;
    if (f->mask == 0 || f->rsv != 0 || (!control && f->opcode > WSLAY_BINARY_FRAME) ||
        (control && (f->fin == 0 || f->payload_length > 125)) ||
        (!control && continues != (ws->message_opcode != 0))) {
        sim_ws_close(ws, 1002, "");
        return false;
    }
    if (control) {
        ws->control.len = 0;
        sim_buf_reserve(&ws->control, 125);
        return true;
    }
    if (!continues) {
        ws->message_opcode = f->opcode;
        ws->message.len = 0;
        sim_buf_reserve(&ws->message, 1);
        ws->message.data[0] = '\0';
    }
    if (f->payload_length > ws->message_max_bytes - ws->message.len) {
        sim_ws_close(ws, 1009, "");
        return false;
    }
    return true;
}

static void frame_part(struct sim_ws *ws, const struct wslay_frame_iocb *f)
{
    if (!ws->in_frame) {
        if (!frame_begin(ws, f)) {
            return;
        }
        ws->in_frame = true;
        ws->frame_got = 0;
    }
    bool control = wslay_is_ctrl_frame(f->opcode);
    sim_buf_add(control ? &ws->control : &ws->message, f->data, f->data_length);
    ws->frame_got += f->data_length;
    if (ws->frame_got < f->payload_length) {
        return;
    }
    ws->in_frame = false;
    if (control) {
        on_control(ws, f->opcode);
    } else if (f->fin != 0) {
        on_message_end(ws);
    }
}

static void on_data(struct sim_conn *c)
{
    struct sim_ws *ws = sim_conn_protocol(c);
    while (ws != NULL && !ws->ended) {
        struct wslay_frame_iocb frame = {0};
        ssize_t got = wslay_frame_recv(ws->frames, &frame);
        if (got == WSLAY_ERR_WANT_READ || got == WSLAY_ERR_INVALID_CALLBACK) {
            return;
        }
        if (got < 0) {
            sim_ws_close(ws, 1002, "");
            return;
        }
        frame_part(ws, &frame);
        ws = sim_conn_protocol(c);
    }
}

/* ---- upgrade ---- */

static void accept_key(const char *key, char out[32])
{
    char text[256];
    unsigned char digest[SHA_DIGEST_LENGTH];
    int n = snprintf(text, sizeof(text), "%.200s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((const unsigned char *)text, (size_t)n, digest);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof(digest));
}

struct sim_ws *sim_ws_accept(struct sim_conn *c, const struct sim_ws_callbacks *callbacks,
                             const struct sim_ws_shape *shape, size_t message_max_bytes, void *user)
{
    static const struct wslay_frame_callbacks frame_callbacks = {send_cb, recv_cb, genmask_cb};
    struct sim_request *r = sim_conn_request(c);
    const char *key = sim_request_header(r, "Sec-WebSocket-Key");
    const char *protocol = sim_request_header(r, "Sec-WebSocket-Protocol");
    char accept[32];
    accept_key(key != NULL ? key : "", accept);
    struct sim_buf b = {0};
    sim_buf_printf(&b,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: %s\r\n",
                   accept);
    if (protocol != NULL) {
        sim_buf_printf(&b, "Sec-WebSocket-Protocol: %.*s\r\n", (int)strcspn(protocol, ", "), protocol);
    }
    sim_buf_puts(&b, "\r\n");
    bufferevent_write(sim_conn_bev(c), b.data, b.len);
    sim_buf_free(&b);

    struct sim_ws *ws = sim_alloc(sizeof(*ws));
    ws->conn = c;
    ws->callbacks = callbacks;
    ws->shape = shape;
    ws->message_max_bytes = message_max_bytes;
    ws->user = user;
    if (wslay_frame_context_init(&ws->frames, &frame_callbacks, ws) != 0) {
        abort();
    }
    sim_conn_set_protocol(c, ws);
    sim_conn_take_over(c, on_data);
    return ws;
}

void sim_ws_free(struct sim_ws *ws)
{
    sim_conn_set_protocol(ws->conn, NULL);
    wslay_frame_context_free(ws->frames);
    sim_buf_free(&ws->message);
    sim_buf_free(&ws->control);
    free(ws);
}

void *sim_ws_user(const struct sim_ws *ws)
{
    return ws->user;
}

struct sim_conn *sim_ws_conn(const struct sim_ws *ws)
{
    return ws->conn;
}
