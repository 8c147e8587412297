/*
 * The store's time: see store_parts.h. Shared by the loop and the store's thread, hence the lock.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "dispatcher/store_parts.h"

enum { REBASE_MS = 1000, SLOWER_BY = 32, BOOT_ID_MAX = 40 };

void store_clock_start(struct store_clock *c, int64_t recorded_ms, int64_t wall_ms, uint64_t boot_ms)
{
    pthread_mutex_lock(&c->lock);
    c->started = true;
    c->base_ms = recorded_ms > wall_ms ? recorded_ms : wall_ms;
    c->base_boot_ms = boot_ms;
    c->slow = c->base_ms > wall_ms;
    c->last_ms = c->base_ms;
    pthread_mutex_unlock(&c->lock);
}

int64_t store_clock_at(struct store_clock *c, int64_t wall_ms, uint64_t boot_ms)
{
    pthread_mutex_lock(&c->lock);
    int64_t passed = boot_ms > c->base_boot_ms ? (int64_t)(boot_ms - c->base_boot_ms) : 0;
    int64_t now = c->base_ms + (c->slow ? passed - passed / SLOWER_BY : passed);
    if (now < wall_ms)
        now = wall_ms;
    if (now < c->last_ms)
        now = c->last_ms;
    c->last_ms = now;
    /* Often enough to notice that the host's clock was set, seldom enough for the division to bite. */
    if (passed >= REBASE_MS) {
        c->base_ms = now;
        c->base_boot_ms = boot_ms;
        c->slow = now > wall_ms;
    }
    pthread_mutex_unlock(&c->lock);
    return now;
}

int64_t store_clock_now(struct store_clock *c)
{
    return store_clock_at(c, clock_wall_ms(), clock_boot_ms());
}

void store_clock_print(struct store_clock *c, char *out, size_t size)
{
    uint64_t boot_ms = clock_boot_ms();
    snprintf(out, size, "%" PRId64 " %" PRIu64 " %s", store_clock_at(c, clock_wall_ms(), boot_ms), boot_ms,
             clock_boot_id());
}

int64_t store_clock_parse(const char *record, uint64_t boot_ms)
{
    int64_t at_ms = 0;
    uint64_t at_boot_ms = 0;
    char id[BOOT_ID_MAX] = "";
    if (!record || sscanf(record, "%" SCNd64 " %" SCNu64 " %39s", &at_ms, &at_boot_ms, id) != 3)
        return at_ms;
    bool same_boot = id[0] && strcmp(id, clock_boot_id()) == 0;
    /* Within one boot the time since the record is known, whatever was done to the wall clock. */
    return same_boot && boot_ms > at_boot_ms ? at_ms + (int64_t)(boot_ms - at_boot_ms) : at_ms;
}
