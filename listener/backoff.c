#include "listener/backoff.h"

#include <sodium.h>

enum { DOUBLINGS_MAX = 40 };

int64_t backoff_next(struct backoff *b)
{
    int64_t whole = b->min_ms > 0 ? b->min_ms : 1;
    for (unsigned i = 0; i < b->tries && i < DOUBLINGS_MAX && whole < b->max_ms; i++)
        whole *= 2;
    if (whole > b->max_ms && b->max_ms > 0)
        whole = b->max_ms;
    b->tries++;
    int64_t half = whole / 2;
    return half + (int64_t)randombytes_uniform((uint32_t)(whole - half + 1));
}

void backoff_reset(struct backoff *b)
{
    b->tries = 0;
}
