/*
 * One WebSocket to the Bridge: TCP, proxy and TLS by libcurl (CURLOPT_CONNECT_ONLY), the upgrade here, frames
 * by listener/frames.h.
 *
 * Answers pings by itself. Reading is bounded in each pass of the loop and goes on in the next. A ws that
 * has ended says so once and stays silent until it is freed.
 */
#ifndef LISTENER_WS_H
#define LISTENER_WS_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_end {
    WS_CONNECT_FAILED, /* name, connection, proxy or TLS; CURL says which */
    WS_TIMED_OUT,      /* connecting or upgrading took too long */
    WS_REFUSED,        /* the upgrade was answered by another status; STATUS */
    WS_NOT_WEBSOCKET,  /* the upgrade was answered, but not as RFC 6455 asks */
    WS_CLOSED,         /* a close frame came; CODE */
    WS_ENDED,          /* the connection ended without one: the usual way (PROTOCOL.md section 6) */
    WS_SILENT,         /* not a byte for silence_limit_ms */
    WS_BROKEN,         /* the other side broke the WebSocket protocol */
};
struct ws_fault {
    enum ws_end end;
    CURLcode curl;
    int status;       /* HTTP status of the answer to the upgrade, 0: none */
    int code;         /* of the close frame, 0: none */
    bool upgraded;    /* it had been a WebSocket */
    char detail[160]; /* for the log: fixed words, libcurl's words or the other side's reason, made printable
                       */
};

struct ws_options {
    const char *url;     /* ws://, wss://, http:// or https:// */
    const char *ca_file; /* NULL: the system's */
    int64_t connect_timeout_ms;
    int64_t upgrade_timeout_ms;
    int64_t silence_limit_ms;
    size_t message_limit;
};
struct ws_ops {
    void (*open)(void *arg);
    void (*message)(void *arg, const char *data, size_t len);
    /* Bytes that came in this pass are dealt with. */
    void (*pass)(void *arg);
    void (*skipped)(void *arg, uint64_t bytes);
    void (*ended)(void *arg, const struct ws_fault *fault);
};

struct ws;
/* Begins to connect; calls nobody before the next pass of the loop. */
struct ws *ws_new(const struct ws_options *options, const struct ws_ops *ops, void *arg);
/* Queues one text message. 0; -1 if the connection is over or its queue is full. */
int ws_send(struct ws *w, const char *text, size_t len);
/* Sends a close frame with CODE and takes nothing more; free it after a moment. */
void ws_close(struct ws *w, int code);
uint64_t ws_bytes(const struct ws *w);
uint64_t ws_pings(const struct ws *w);
/* Monotonic clock, ms, of the last byte. */
uint64_t ws_heard_ms(const struct ws *w);
/* May be called from inside its callbacks; memory goes after the pass. */
void ws_free(struct ws **w);
/* The same at once; not from inside its callbacks. */
void ws_free_now(struct ws **w);

#endif
