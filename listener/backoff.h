/* Growing, scattered pauses: doubled from a first to a longest one, each drawn from its upper half. */
#ifndef LISTENER_BACKOFF_H
#define LISTENER_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t min_ms, max_ms;
    unsigned tries; /* since the last reset */
};
/* The next pause: between half of min_ms * 2^tries (at most max_ms) and that. Never below half of min_ms. */
int64_t backoff_next(struct backoff *b);
void backoff_reset(struct backoff *b);

#endif
