#include "dispatcher/meter.h"

void meter_add(struct meter *m, uint64_t n, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000 + 1; /* 0 marks a bin never used */
    uint64_t bin = second % METER_SECONDS;
    if (m->second[bin] != second) {
        m->second[bin] = second;
        m->count[bin] = 0;
    }
    m->count[bin] += n;
    m->total += n;
}

double meter_rate(const struct meter *m, unsigned seconds, uint64_t now_ms)
{
    uint64_t running = now_ms / 1000 + 1;
    uint64_t sum = 0;
    for (unsigned i = 0; i < METER_SECONDS; i++)
        if (m->second[i] && m->second[i] < running && running - m->second[i] <= seconds)
            sum += m->count[i];
    return (double)sum / seconds;
}
