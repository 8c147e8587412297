/*
 * An HTTP/1.1 server on raw bufferevents and http_parser, with the freedom a simulator needs: it may answer
 * late, never, in pieces, with raw bytes, hang up by FIN or RST, refuse connections, or hand the connection
 * over to a WebSocket. Requests of one connection are worked on one after another, so pipelining is safe.
 */
#ifndef BRIDGEBELL_TESTS_SIM_HTTP_H
#define BRIDGEBELL_TESTS_SIM_HTTP_H

#include "tests/sim/sim_util.h"

#include <event2/bufferevent.h>
#include <event2/event.h>

#define SIM_HEADERS_MAX 64

struct sim_server;
struct sim_conn;

struct sim_header {
    const char *name;
    const char *value;
};

/* Valid from on_request until the answer is written; the strings end in NUL and belong to the connection. */
struct sim_request {
    const char *method;
    const char *target;
    const char *body;
    size_t body_length;
    struct sim_header headers[SIM_HEADERS_MAX];
    size_t header_count;
    bool keep_alive;
    bool upgrade;
    uint64_t arrived_ns;
};

struct sim_server_options {
    const char *listen; /* ADDRESS:PORT, port 0 for any */
    const char *tls_certificate;
    const char *tls_key;
    int64_t idle_ms;        /* an idle connection is closed after this time; 0: never */
    const char *keep_alive; /* value of the Keep-Alive header, or NULL for none */
    size_t body_max_bytes;
    bool
        direct_reads; /* for speed: plain connections are read past bufferevent; no idle time, no take-over */
    void *ctx;
    /* Must lead to exactly one answer, now or later, or to sim_conn_close. */
    void (*on_request)(struct sim_conn *c, struct sim_request *r, void *ctx);
    /* Optional. False refuses the connection: it is closed before anything is read. */
    bool (*on_open)(struct sim_conn *c, void *ctx);
    /* Optional. Called once for each connection that on_open saw. */
    void (*on_close)(struct sim_conn *c, void *ctx);
};

/* Binds and listens. Returns NULL with a line on stderr when that fails. */
struct sim_server *sim_server_new(struct event_base *base, const struct sim_server_options *o);
int sim_server_port(const struct sim_server *s);
void sim_server_free(struct sim_server *s);
/* Stops listening for the time given (connections are refused); -1: until sim_server_resume. */
void sim_server_refuse(struct sim_server *s, int64_t for_ms);
void sim_server_resume(struct sim_server *s);
/* Changes the idle time for connections made from now on. */
void sim_server_set_idle(struct sim_server *s, int64_t idle_ms);
/* Milliseconds that the Date header is ahead of the host's clock. */
void sim_server_set_clock(struct sim_server *s, int64_t ahead_ms);
/* Walks the open connections; start with NULL. */
struct sim_conn *sim_server_next(struct sim_server *s, struct sim_conn *c);
int sim_server_open_count(const struct sim_server *s);
uint64_t sim_server_accepted(const struct sim_server *s);

const char *sim_request_header(const struct sim_request *r, const char *name);
/* The value of a query parameter of the target, or NULL. The caller frees. */
char *sim_request_query(const struct sim_request *r, const char *name);
/* True if the target without its query equals path. */
bool sim_request_is(const struct sim_request *r, const char *method, const char *path);

struct sim_answer {
    int status;
    const char *content_type; /* NULL: none */
    const char *headers;      /* further lines, each with its CRLF; NULL: none */
    const char *body;
    size_t body_length;
};
/* Answers the present request and goes on with the next one. */
void sim_conn_answer(struct sim_conn *c, const struct sim_answer *a);
void sim_conn_answer_json(struct sim_conn *c, int status, const char *json);
/* Renders the same bytes into b instead of sending them. */
void sim_conn_render(struct sim_conn *c, const struct sim_answer *a, struct sim_buf *b);
/* Sends bytes as they are; done: the present request is thereby answered. */
void sim_conn_raw(struct sim_conn *c, const void *data, size_t length, bool done);
/* Sends bytes one by one with a pause after each; the request is answered when the last is out. */
void sim_conn_drip(struct sim_conn *c, const void *data, size_t length, int64_t pause_ms);
/* Calls fn once after delay_ms unless the connection ends before. One at a time; used while a request waits.
 */
void sim_conn_later(struct sim_conn *c, int64_t delay_ms, void (*fn)(struct sim_conn *c));

enum sim_ending { SIM_END_FIN, SIM_END_RST };
/* Ends the connection at once; what waits to be written is lost. */
void sim_conn_close(struct sim_conn *c, enum sim_ending how);
/* Ends it after everything is written: half-close, then close when the peer has closed too. */
void sim_conn_finish(struct sim_conn *c);
/* Stops or resumes reading from the socket. */
void sim_conn_pause_reading(struct sim_conn *c, bool pause);

/* Takes the connection out of HTTP: from now on on_data is called when input has arrived. */
void sim_conn_take_over(struct sim_conn *c, void (*on_data)(struct sim_conn *c));
struct bufferevent *sim_conn_bev(struct sim_conn *c);
bool sim_conn_is_tls(const struct sim_conn *c);
const char *sim_conn_peer(const struct sim_conn *c);
uint64_t sim_conn_id(const struct sim_conn *c);
/* The request that waits for its answer, or NULL. */
struct sim_request *sim_conn_request(struct sim_conn *c);
void sim_conn_set_user(struct sim_conn *c, void *user);
void *sim_conn_user(const struct sim_conn *c);
/* What took the connection over keeps its own state here. */
void sim_conn_set_protocol(struct sim_conn *c, void *protocol);
void *sim_conn_protocol(const struct sim_conn *c);
struct sim_server *sim_conn_server(const struct sim_conn *c);

#endif
