#include "dispatcher/limiter.h"

#include <math.h>

static const uint64_t no_limit = UINT32_MAX;
static const double carry_share =
    0.01; /* of a period's number may wait, so that a late timer costs nothing */
static const double rounding = 1e-6;

void limiter_init(struct limiter *l, int64_t number, int64_t per_ms, int64_t spread_ms, uint64_t now_us)
{
    *l = (struct limiter){.off = number < 0, .at_us = now_us};
    if (l->off)
        return;
    double n = number > 0 ? (double)number : 1;
    double carry = n * carry_share;
    /* A window of length w sees at most floor(most + per_us * w) slots taken; with w = per + spread this
     * makes it just under number + 1. */
    l->most = 1 + carry;
    l->per_us = (n - carry - rounding) / ((double)(per_ms + spread_ms) * 1000);
}

static void reckon(struct limiter *l, uint64_t now_us)
{
    if (now_us <= l->at_us)
        return;
    l->slots = fmin(l->most, l->slots + (double)(now_us - l->at_us) * l->per_us);
    l->at_us = now_us;
}

uint64_t limiter_free(struct limiter *l, uint64_t now_us)
{
    if (l->off)
        return no_limit;
    reckon(l, now_us);
    return (uint64_t)l->slots;
}

bool limiter_take(struct limiter *l, uint64_t now_us)
{
    if (l->off)
        return true;
    reckon(l, now_us);
    if (l->slots < 1)
        return false;
    l->slots -= 1;
    return true;
}

uint64_t limiter_wait_us(struct limiter *l, uint64_t now_us)
{
    if (l->off)
        return 0;
    reckon(l, now_us);
    return l->slots >= 1 ? 0 : (uint64_t)ceil((1 - l->slots) / l->per_us);
}

double limiter_coming(const struct limiter *l, uint64_t within_us)
{
    return l->off ? (double)no_limit : (double)within_us * l->per_us;
}
