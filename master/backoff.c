#include "master/backoff.h"

enum { STEPS_MAX = 16, STEPS_NEVER_READY = 3 };

int64_t backoff_next_ms(struct backoff *b, int64_t lived_ms, bool was_ready)
{
    if (was_ready && lived_ms >= BACKOFF_GOOD_LIFE_MS)
        b->steps = 0;
    if (!was_ready)
        b->steps += STEPS_NEVER_READY;
    if (b->steps > STEPS_MAX)
        b->steps = STEPS_MAX;
    int64_t delay_ms = (int64_t)BACKOFF_FIRST_MS << b->steps;
    if (was_ready)
        b->steps++;
    return delay_ms < BACKOFF_LAST_MS ? delay_ms : BACKOFF_LAST_MS;
}
