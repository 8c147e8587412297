/*
 * Requests that the master passes on to the dispatcher, each with an id and a limit of time.
 *
 * While no dispatcher works (it is being replaced) a request waits for the next one within its limit. When a
 * dispatcher goes without having answered, a request that only reads goes to the next one; one that changes
 * something is answered with the doubt that it is in.
 */
#ifndef MASTER_FORWARD_H
#define MASTER_FORWARD_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum { FORWARD_LIMIT_MS = 2000, FORWARD_PENDING_MAX = 256 };

/* ANSWER is the dispatcher's object, or {"ok":false,…} of this module; taken over. */
typedef void forward_done_fn(uint64_t client, cJSON *answer);

void forward_setup(void);
/* Sends BODY (kept by the caller). DONE is called once, in the loop. */
void forward_request(uint64_t client, const cJSON *body, bool is_change, forward_done_fn *done);
void forward_free(void);

#endif
