/*
 * HTTP requests on the event loop, through libcurl, over kept-open connections.
 *
 * A client owns a fixed number of slots; each holds one easy handle that is made once and reused, so a small
 * request on an open connection costs no set-up. A request is written at most once: where libcurl would send
 * it again by itself (a kept-open connection that ends before the first byte of the answer), it fails
 * instead, with `written` set, because only the caller knows whether asking twice is harmless.
 *
 * HTTP/1.1 only, no redirects, certificates always checked, proxies from the environment, names resolved in
 * a thread. The sockets are non-blocking and SIGPIPE is left ignored by the caller (proto/role.h does it).
 */
#ifndef CORE_HTTP_HTTP_H
#define CORE_HTTP_HTTP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_options {
    unsigned connections;   /* slots: requests at the same time, 1 … 1024 */
    const char *ca_file;    /* NULL: the system's certificates */
    const char *user_agent; /* NULL: "bridgebell/VERSION" */
    int64_t idle_max_ms;    /* a connection idle for longer is not used again; 0: 60 s */
};

/* Header lines, made once and shared by many requests. */
struct http_headers;
/* LINES ("Authorization: Bearer …") end with NULL and are copied; the copy is wiped on free. */
struct http_headers *http_headers_new(const char *const *lines);
/* Not while a request that uses it is under way. */
void http_headers_free(struct http_headers **h);

struct http_call {
    const char *url;                    /* copied */
    const struct http_headers *headers; /* may be NULL; must stay until the end of the request */
    const char *body;                   /* NULL: GET, else POST; not copied, must stay likewise */
    size_t body_len;
    int64_t connect_timeout_ms; /* name, connection and TLS together */
    int64_t total_timeout_ms;   /* everything, the connection included */
    size_t max_answer_bytes;    /* a larger body is an error (CURLE_WRITE_ERROR) */
    /* Called once, on an established connection, right before the request is written; false gives it up with
     * CURLE_ABORTED_BY_CALLBACK and nothing written. Must not call into this module. May be NULL. */
    bool (*before_write)(void *arg);
};

struct http_answer {
    CURLcode error;     /* CURLE_OK: a whole answer came; CURLE_PROXY: also when a proxy refused the tunnel */
    const char *detail; /* libcurl's words for the error; "" if none; holds no header and no body */
    bool written;       /* false: certainly not a byte of the request left; true: it may have */
    bool too_large;     /* the body passed max_answer_bytes */
    long status;        /* 0: no status line came */
    const char *body;   /* NUL-terminated, also when incomplete; valid during the call only */
    size_t body_len;
    int64_t retry_after_ms;        /* -1: not said */
    uint32_t connect_us, total_us; /* connect 0: the connection was open already */
    void *handle;                  /* for http_answer_header */
};
typedef void http_done_fn(void *arg, const struct http_answer *answer);

/* Value of the answer's first header NAME, or NULL. Valid until the done function returns. */
const char *http_answer_header(const struct http_answer *answer, const char *name);

/* True if the transfer of EASY, a libcurl handle, ended because a proxy refused the tunnel. */
bool http_proxy_refused(void *easy);

struct http_client;
struct http_client *http_client_new(const struct http_options *options);
/* Cancels what is under way without calling anybody. Not from inside a callback of this client. */
void http_client_free(struct http_client **c);
/* Begins a request, on an open connection by writing it at once; DONE is called exactly once, in the loop,
 * never from inside http_begin, and may begin further requests. 0; -1 if no slot is free. */
int http_begin(struct http_client *c, const struct http_call *call, http_done_fn *done, void *arg);

#endif
