/*
 * What sim_http.c (connections, parsing) and sim_answer.c (answers) know of each other.
 */
#ifndef BRIDGEBELL_TESTS_SIM_HTTP_PRIVATE_H
#define BRIDGEBELL_TESTS_SIM_HTTP_PRIVATE_H

#include "tests/sim/sim_http.h"

#include <http_parser.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

struct sim_server {
    struct event_base *base;
    struct sim_server_options o;
    int holder; /* holds the port while nothing listens */
    struct evconnlistener *listener;
    struct sockaddr_storage address;
    socklen_t address_length;
    struct event *resume;
    SSL_CTX *tls;
    struct sim_conn *first;
    int open_count;
    uint64_t accepted;
    int64_t clock_ahead_ms;
};

struct span {
    size_t at;
    size_t length;
};

struct sim_conn {
    struct sim_server *server;
    struct sim_conn *prev, *next;
    struct bufferevent *bev;
    uint64_t id;
    char peer[INET6_ADDRSTRLEN];
    void *user;
    void *protocol;
    void (*on_data)(struct sim_conn *c);

    http_parser parser;
    struct sim_buf head; /* target, header names and values, each with its NUL */
    struct sim_buf body;
    struct span target, names[SIM_HEADERS_MAX], values[SIM_HEADERS_MAX];
    size_t header_count;
    bool in_value;
    bool complete;
    bool too_large;
    struct sim_request request;

    bool busy;       /* a request waits for its answer */
    bool processing; /* the parser loop is on the stack */
    bool finishing;  /* closes when the output is empty */
    bool half_closed;
    bool closed;
    struct event *reader; /* of direct reads */
    struct event *timer;
    void (*on_timer)(struct sim_conn *c);
    struct sim_buf drip;
    size_t drip_at;
    int64_t drip_ms;
};

/* Goes on with the input that waits. */
void sim_conn_process(struct sim_conn *c);

#endif
