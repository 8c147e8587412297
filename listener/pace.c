#include "listener/pace.h"

void pace_init(struct pace *p, uint64_t now_ms)
{
    *p = (struct pace){PACE_BURST, now_ms};
}

int64_t pace_wait_ms(struct pace *p, uint64_t now_ms)
{
    p->credit += (double)(now_ms - p->at_ms) / PACE_EVERY_MS;
    p->at_ms = now_ms;
    if (p->credit > PACE_BURST)
        p->credit = PACE_BURST;
    return p->credit >= 1 ? 0 : (int64_t)((1 - p->credit) * PACE_EVERY_MS) + 1;
}

void pace_take(struct pace *p)
{
    p->credit -= 1;
}

void pace_empty(struct pace *p)
{
    p->credit = 0;
}
