/*
 * The gates between a job and the queue: windows, rates and budgets, asked in the transaction of the event.
 *
 * All gates are asked before any counts, so that what one refuses costs the others nothing; windows first,
 * then the digest that the job may belong to, then the rest in their order: the first that refuses decides.
 * A shared gate is asked once for all recipients of a rule and an event.
 */
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/store_parts.h"

enum { ROWS_PER_HOUR = 100, MERGED_PER_HOUR = 1000 };
static const int64_t hour_ms = 3600 * 1000;

struct store_noise *store_noise_new(size_t count)
{
    struct store_noise *n = xcalloc(1, sizeof *n + count * sizeof n->gates[0]);
    n->count = count;
    n->refused_by = SIZE_MAX;
    return n;
}

/* ---- one gate ---- */

enum answer { ANSWER_PASS, ANSWER_WAIT, ANSWER_MERGE, ANSWER_SPENT };

static enum answer ask_window(const struct counter *c, const struct store_gate *g, int64_t now_ms)
{
    return counter_window_open(c, g->per_ms, now_ms) ? ANSWER_PASS : ANSWER_WAIT;
}

static enum answer ask_rate(const struct counter *c, const struct store_gate *g, int64_t now_ms)
{
    return counter_rate_wait(c, g->limit, g->per_ms, now_ms) == 0 ? ANSWER_PASS
           : g->merges                                            ? ANSWER_MERGE
                                                                  : ANSWER_WAIT;
}

/* PART of a whole, in percent, without an overflow. */
static bool reaches(int64_t part, int64_t whole, int percent)
{
    return (double)part * 100.0 >= (double)whole * percent;
}

static enum answer ask_budget(const struct counter *c, const struct store_gate *g, int64_t now_ms)
{
    (void)now_ms;
    int64_t after = counter_sum(c) + g->amount;
    if (g->critical)
        return ANSWER_PASS;
    if (after > g->limit)
        return ANSWER_SPENT;
    return g->merges && reaches(after, g->limit, g->digest_percent) && g->digest_percent < 100 ? ANSWER_MERGE
                                                                                               : ANSWER_PASS;
}

static void take_window(struct counter *c, struct store_gate *g, int64_t now_ms)
{
    counter_window_take(c, g->per_ms, now_ms);
}

static void take_rate(struct counter *c, struct store_gate *g, int64_t now_ms)
{
    counter_rate_take(c, g->limit, g->per_ms, now_ms);
}

static void take_budget(struct counter *c, struct store_gate *g, int64_t now_ms)
{
    (void)now_ms;
    int64_t before = counter_sum(c);
    counter_sum_add(c, g->amount, g->ends_ms);
    g->used = counter_sum(c);
    g->warned = !reaches(before, g->limit, g->warn_percent) && reaches(g->used, g->limit, g->warn_percent);
}

static const struct {
    enum answer (*ask)(const struct counter *c, const struct store_gate *g, int64_t now_ms);
    void (*take)(struct counter *c, struct store_gate *g, int64_t now_ms);
} kinds[] = {
    [GATE_WINDOW] = {ask_window, take_window},
    [GATE_RATE] = {ask_rate, take_rate},
    [GATE_BUDGET] = {ask_budget, take_budget},
};

/* ---- shared gates ---- */

static bool was_asked(const struct store_gate *g, const struct store_passed *passed, bool *answer)
{
    size_t count = !g->shared || !passed              ? 0
                   : passed->count < STORE_PASSED_MAX ? passed->count
                                                      : STORE_PASSED_MAX;
    for (size_t i = 0; i < count; i++)
        if (memcmp(&passed->list[i].key, &g->key, sizeof g->key) == 0) {
            *answer = passed->list[i].passed;
            return true;
        }
    return false;
}

static void remember(const struct store_gate *g, struct store_passed *passed, bool answer)
{
    bool known;
    if (!g->shared || !passed || was_asked(g, passed, &known))
        return;
    size_t at = passed->count++ % STORE_PASSED_MAX;
    passed->list[at].key = g->key;
    passed->list[at].passed = answer;
}

/* ---- all gates ---- */

static enum answer ask(struct store_db *db, struct store_gate *g, struct store_passed *passed)
{
    bool known;
    g->used = 0;
    g->warned = false;
    if (was_asked(g, passed, &known))
        return known ? ANSWER_PASS : g->merges ? ANSWER_MERGE : ANSWER_WAIT;
    const struct counter *c = counter_get(db, &g->key);
    enum answer answer = kinds[g->kind].ask(c, g, db->now_ms);
    if (g->kind == GATE_BUDGET)
        g->used = counter_sum(c);
    else if (g->kind == GATE_RATE)
        g->used = counter_rate_used(c, g->per_ms, db->now_ms);
    return answer;
}

static void take(struct store_db *db, struct store_gate *g, struct store_passed *passed)
{
    bool known;
    if (was_asked(g, passed, &known))
        return;
    kinds[g->kind].take(counter_get(db, &g->key), g, db->now_ms);
    remember(g, passed, true);
}

static void take_kind(struct store_db *db, struct store_noise *n, bool windows, struct store_passed *passed)
{
    for (size_t i = 0; i < n->count; i++)
        if ((n->gates[i].kind == GATE_WINDOW) == windows)
            take(db, &n->gates[i], passed);
}

/* The first gate of the kinds that refuses, or SIZE_MAX. */
static size_t first_refusal(struct store_db *db, struct store_noise *n, bool windows,
                            struct store_passed *passed, enum answer *answer)
{
    for (size_t i = 0; i < n->count; i++) {
        if ((n->gates[i].kind == GATE_WINDOW) != windows)
            continue;
        *answer = ask(db, &n->gates[i], passed);
        if (*answer != ANSWER_PASS)
            return i;
    }
    return SIZE_MAX;
}

static void join(struct store_db *db, struct store_job *j, const struct store_merge *merge,
                 struct store_passed *passed)
{
    j->noise->why = merge->why;
    take_kind(db, j->noise, true, passed);
    store_digest_join(db, j, merge);
}

static void refused(struct store_db *db, struct store_job *j, size_t by, enum answer answer,
                    struct store_passed *passed)
{
    struct store_noise *n = j->noise;
    struct store_gate *g = &n->gates[by];
    const struct store_merge *merge = g->kind == GATE_BUDGET ? &n->budget : &n->storm;
    n->refused_by = by;
    remember(g, passed, false);
    if (answer == ANSWER_MERGE && merge->why != WHY_NOTHING)
        join(db, j, merge, passed);
    else
        n->why = g->why;
}

void store_gates_ask(struct store_db *db, struct store_job *j, struct store_passed *passed)
{
    struct store_noise *n = j->noise;
    enum answer answer = ANSWER_PASS;
    n->why = WHY_NOTHING;
    n->refused_by = SIZE_MAX;
    n->opened = false;
    size_t by = first_refusal(db, n, true, passed, &answer);
    if (by == SIZE_MAX && n->merge.why != WHY_NOTHING) {
        join(db, j, &n->merge, passed);
        return;
    }
    if (by == SIZE_MAX)
        by = first_refusal(db, n, false, passed, &answer);
    if (by != SIZE_MAX) {
        refused(db, j, by, answer, passed);
        return;
    }
    take_kind(db, n, true, passed);
    take_kind(db, n, false, passed);
    if (n->shadow)
        n->why = WHY_SHADOW;
}

int64_t store_gates_close(struct store_db *db, struct store_job *j)
{
    struct store_noise *n = j->noise;
    int64_t wait_ms = 0;
    for (size_t i = 0; n && i < n->count; i++) {
        struct store_gate *g = &n->gates[i];
        const struct counter *c = counter_get(db, &g->key);
        g->used = 0;
        g->warned = false;
        if (g->kind == GATE_BUDGET && !g->critical && counter_sum(c) + g->amount > g->limit) {
            n->refused_by = i;
            return -1;
        }
        int64_t wait = g->kind == GATE_RATE ? counter_rate_wait(c, g->limit, g->per_ms, db->now_ms) : 0;
        wait_ms = wait > wait_ms ? wait : wait_ms;
    }
    if (n && wait_ms == 0)
        take_kind(db, n, false, NULL);
    return wait_ms;
}

bool store_gates_keep_row(struct store_db *db, const char *rule, enum store_why why)
{
    bool merged =
        why == WHY_QUIET || why == WHY_DIGEST || why == WHY_STORM || why == WHY_STALE || why == WHY_BUDGET;
    int64_t hour = db->now_ms / hour_ms;
    const struct hash_part parts[] = {
        {"rows", 4}, {rule, strlen(rule)}, {&hour, sizeof hour}, {&merged, sizeof merged}};
    struct hash_id key;
    hash_id(parts, sizeof parts / sizeof parts[0], &key);
    struct counter *c = counter_get(db, &key);
    if (counter_sum(c) >= (merged ? MERGED_PER_HOUR : ROWS_PER_HOUR))
        return false;
    counter_sum_add(c, 1, (hour + 1) * hour_ms);
    return true;
}
