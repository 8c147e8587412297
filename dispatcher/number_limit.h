/*
 * How often one telephone number may be tried: `attempts_per_number` of a provider, and what the provider
 * itself says about a number.
 *
 * One for each line. It knows, for every number that was tried lately, the attempts under way and those that
 * ended within the last window. An attempt counts from the moment its lease is decided until a window after
 * its result is known: whenever in between the provider counted it, no window of its own sees more than the
 * limit. An attempt that certainly did not happen does not count.
 *
 * A restart takes nothing back: attempts under way are the leases that the store holds, and the end of an
 * attempt is committed with its outcome (store_changes), to be told again at the next start. The windows run
 * on the boot-time clock, which nobody sets; across a boot the store's time stands in. What is not counted:
 * attempts of a time when there was no limit, and after damage to the store those whose record was lost.
 *
 * Who finds no room is told when to come again, each at a time of its own: as many in a window as the limit
 * lets through, those of one priority in order. So a thousand jobs for one telephone are not looked at
 * a thousand times, and nobody who comes later passes them.
 *
 * Any thread may call; times are boot-time milliseconds.
 */
#ifndef DISPATCHER_NUMBER_LIMIT_H
#define DISPATCHER_NUMBER_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NUMBER_LIMIT_MAX = 1 << 20, /* numbers known at a time; more have to wait */
    NUMBER_LIMIT_GRAINS = 64,   /* an attempt may count so much of a window longer */
};

struct number_limit;

/* LIMIT attempts in PER_MS; a negative LIMIT counts nothing, and only number_limit_block has an effect. */
struct number_limit *number_limit_new(int64_t limit, int64_t per_ms);
void number_limit_free(struct number_limit **l);

/* Of a provider and a number; never 0. The same in every process. */
uint64_t number_limit_key(const char *provider, const char *number);

/* One attempt more, if there is room: 0. Otherwise the milliseconds after which to ask again. PRIORITY is an
 * enum job_priority. WAITED: the job was told to wait before, or tried before; it need not stand behind
 * others. */
int64_t number_limit_take(struct number_limit *l, uint64_t key, int priority, bool waited, uint64_t now_ms);
/* An attempt under way that is known from elsewhere. */
void number_limit_add(struct number_limit *l, uint64_t key);
/* An attempt that was taken will not happen, or certainly did not. */
void number_limit_undo(struct number_limit *l, uint64_t key);
/* An attempt is over: it counts for a window from AT_MS on. */
void number_limit_end(struct number_limit *l, uint64_t key, uint64_t at_ms);
/* Like an attempt that was added and ended AGE_MS before NOW_MS. */
void number_limit_restore(struct number_limit *l, uint64_t key, uint64_t age_ms, uint64_t now_ms);
/* Nothing to this number before UNTIL_MS. */
void number_limit_block(struct number_limit *l, uint64_t key, uint64_t until_ms);

/* True if attempts are counted. */
bool number_limit_counts(const struct number_limit *l);
/* Numbers that jobs are waiting for. */
size_t number_limit_waiting(struct number_limit *l, uint64_t now_ms);

#endif
