/*
 * The token session: login with the secret, renewal by refresh token, and what was granted.
 *
 * The only place that asks for tokens. A token is refreshed at two thirds of its measured life by the
 * monotonic clock; a token that the Bridge rejected is refreshed once, and if the next one is rejected as
 * well, the secret is used again (PROTOCOL.md sections 3 and 11). Logins carry a `session:` scope, so that
 * they replace our earlier session instead of pushing out somebody else's.
 */
#ifndef LISTENER_SESSION_H
#define LISTENER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "listener/api.h"
#include "listener/settings.h"

struct session_ops {
    /* There is a token now, after session_want or a renewal. */
    void (*ready)(void *arg);
    /* A failure that is permanent until the operator changes something. The session asks again every minute
     * all the same; whether to go on is the caller's decision. */
    void (*stopped)(void *arg, const struct failure *failure, const char *detail);
};
struct session_counts {
    uint64_t logins, refreshes, failures;
};

struct session;
struct session *session_new(const struct settings *settings, const struct session_ops *ops, void *arg);
void session_free(struct session **s);

/* The access token, or NULL; then session_want gets one. */
const char *session_token(const struct session *s);
/* Number of the token, so that a rejection can be matched to it; grows with each new token. */
uint64_t session_number(const struct session *s);
void session_want(struct session *s);
/* The Bridge rejected token NUMBER. The current one is thrown away, unless it is newer, and renewed. */
void session_rejected(struct session *s, uint64_t number);
/* The Bridge accepted the current token. */
void session_accepted(struct session *s);
/* True if scope NAME was granted. */
bool session_granted(const struct session *s, const char *name);
/* A moment in the Bridge's time and our monotonic clock at it, from the last answer's Date; false if none
 * came. */
bool session_clock(const struct session *s, int64_t *bridge_ms, uint64_t *mono_ms);
const struct session_counts *session_counts(const struct session *s);

/* ---- decisions, for tests ---- */

/* Life of a token in ms from its EXPIRY and the server's Date (-1: none, then OUR_MS is used). */
int64_t session_life_ms(int64_t expiry_ms, int64_t date_ms, int64_t our_ms);

#endif
