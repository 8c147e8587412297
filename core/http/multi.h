/*
 * libcurl's multi interface driven by the event loop.
 *
 * Owns the events of libcurl's sockets and its one timer. A socket that libcurl lets go of stays registered
 * until it is closed or wakes up unasked: on kept-open connections libcurl lets go and takes up again with
 * every request, and each change would be a system call.
 */
#ifndef CORE_HTTP_MULTI_H
#define CORE_HTTP_MULTI_H

#include <curl/curl.h>
#include <stdbool.h>

struct multi;
/* The transfer of EASY is over; never called from inside multi_add. EASY stays in the multi (a handle made
 * with CURLOPT_CONNECT_ONLY must) until multi_remove. */
typedef void multi_done_fn(void *arg, CURL *easy, CURLcode result);

/* At most CONNECTIONS are kept open. */
struct multi *multi_new(unsigned connections, multi_done_fn *done, void *arg);
/* All handles must have been removed. */
void multi_free(struct multi **m);
/* Sets the socket options that this module needs on a new handle. */
void multi_prepare(struct multi *m, CURL *easy);
/* Starts the transfer and carries it as far as it goes without waiting. 0 or -1. */
int multi_add(struct multi *m, CURL *easy);
/* REPORTED: the done function was called for this transfer. */
void multi_remove(struct multi *m, CURL *easy, bool reported);

#endif
