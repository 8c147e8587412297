#include "master/backoff.h"

enum { STEPS_MAX = 16, STEPS_NEVER_READY = 3 };

int64_t backoff_next_ms(struct backoff *b, int64_t lived_ms, bool has_worked)
{
    if (has_worked && lived_ms >= BACKOFF_GOOD_LIFE_MS)
        b->steps = 0;
    if (!has_worked)
        b->steps += STEPS_NEVER_READY;
    if (b->steps > STEPS_MAX)
        b->steps = STEPS_MAX;
    int64_t delay_ms = (int64_t)BACKOFF_FIRST_MS << b->steps;
    int64_t last_ms = has_worked ? BACKOFF_WORKED_LAST_MS : BACKOFF_LAST_MS;
    if (has_worked)
        b->steps++;
    return delay_ms < last_ms ? delay_ms : last_ms;
}
