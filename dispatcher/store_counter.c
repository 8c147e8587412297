#include "dispatcher/store_counter.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/store_parts.h"

enum { KEPT_MAX = 8192, SIZE_MIN = 1024 };

/* The layouts on disk begin with one of these. */
enum layout { LAYOUT_TIME = 1, LAYOUT_TIMES = 2, LAYOUT_SLOTS = 3, LAYOUT_SUM = 4 };

/* One time or one sum. */
struct one {
    uint64_t layout;
    int64_t value;
};
struct times {
    uint32_t layout, count;
    int64_t list[COUNTER_EXACT_MAX]; /* oldest first */
};
/* Counts of the slots FIRST, FIRST + 1, …; a slot is a 64th of the time. */
struct slots {
    uint32_t layout, unused;
    int64_t first;
    uint32_t counts[COUNTER_SLOTS + 1];
};
_Static_assert(sizeof(struct times) <= COUNTER_BYTES_MAX && sizeof(struct slots) <= COUNTER_BYTES_MAX,
               "a counter is too large");

static uint32_t layout_of(const struct counter *c)
{
    uint32_t layout = 0;
    if (c->len >= sizeof(struct one))
        memcpy(&layout, c->data, sizeof layout);
    return layout;
}

static void put(struct counter *c, const void *data, size_t len, int64_t ends_ms)
{
    memcpy(c->data, data, len);
    c->len = len;
    c->ends_ms = ends_ms;
    if (c->dirty)
        return;
    c->dirty = true;
    c->next_dirty = c->all->dirty;
    c->all->dirty = c;
}

/* A row may be damaged; what it says may be wrong but must be reckoned with safely. Times that are still to
 * come are of that kind too, because the store's time never runs backwards: they count for nothing, or they
 * would hold back messages until then. */
static int64_t sane(int64_t value)
{
    return value < 0 || value > INT64_MAX / 4 ? 0 : value;
}

static int64_t one_of(const struct counter *c, uint32_t layout, int64_t otherwise)
{
    struct one one;
    if (layout_of(c) != layout)
        return otherwise;
    memcpy(&one, c->data, sizeof one);
    return sane(one.value);
}

static void put_one(struct counter *c, uint32_t layout, int64_t value, int64_t ends_ms)
{
    const struct one one = {layout, value};
    put(c, &one, sizeof one, ends_ms);
}

/* ---- windows and sums ---- */

bool counter_window_open(const struct counter *c, int64_t per_ms, int64_t now_ms)
{
    int64_t last_ms = one_of(c, LAYOUT_TIME, INT64_MIN);
    return last_ms == INT64_MIN || last_ms > now_ms || now_ms - last_ms >= per_ms;
}

void counter_window_take(struct counter *c, int64_t per_ms, int64_t now_ms)
{
    put_one(c, LAYOUT_TIME, now_ms, now_ms + per_ms);
}

int64_t counter_sum(const struct counter *c)
{
    return one_of(c, LAYOUT_SUM, 0);
}

void counter_sum_add(struct counter *c, int64_t amount, int64_t ends_ms)
{
    int64_t sum = counter_sum(c);
    put_one(c, LAYOUT_SUM, amount > INT64_MAX / 4 - sum ? INT64_MAX / 4 : sum + amount, ends_ms);
}

/* ---- rates by their times ---- */

static void times_of(const struct counter *c, int64_t now_ms, struct times *out)
{
    memset(out, 0, sizeof *out);
    if (layout_of(c) == LAYOUT_TIMES && c->len <= sizeof *out)
        memcpy(out, c->data, c->len);
    out->layout = LAYOUT_TIMES;
    if (out->count > COUNTER_EXACT_MAX)
        out->count = 0;
    for (uint32_t i = 0; i < out->count; i++)
        out->list[i] = out->list[i] > now_ms ? 0 : sane(out->list[i]);
}

/* Index of the first time that counts at NOW_MS. */
static uint32_t first_counting(const struct times *t, int64_t per_ms, int64_t now_ms)
{
    uint32_t i = 0;
    while (i < t->count && now_ms - t->list[i] >= per_ms)
        i++;
    return i;
}

static void times_take(struct counter *c, int64_t per_ms, int64_t now_ms)
{
    struct times t;
    times_of(c, now_ms, &t);
    uint32_t first = first_counting(&t, per_ms, now_ms);
    /* More than the limit stand here only after the limit was lowered; then the oldest matter least. */
    if (t.count - first == COUNTER_EXACT_MAX)
        first++;
    memmove(t.list, t.list + first, (t.count - first) * sizeof t.list[0]);
    t.count -= first;
    t.list[t.count++] = now_ms;
    put(c, &t, offsetof(struct times, list) + t.count * sizeof t.list[0], now_ms + per_ms);
}

static int64_t times_wait(const struct counter *c, int64_t limit, int64_t per_ms, int64_t now_ms)
{
    struct times t;
    times_of(c, now_ms, &t);
    int64_t counting = t.count - first_counting(&t, per_ms, now_ms);
    if (limit <= 0)
        return per_ms;
    return counting < limit ? 0 : t.list[t.count - limit] + per_ms - now_ms;
}

/* ---- rates by slots ---- */

static int64_t slot_ms(int64_t per_ms)
{
    return (per_ms + COUNTER_SLOTS - 1) / COUNTER_SLOTS;
}

/* Moves the slots so that the last one is NOW's. */
static void slots_move(struct slots *s, int64_t now_slot)
{
    int64_t first = now_slot - COUNTER_SLOTS, by = first - s->first;
    if (by <= 0)
        return;
    if (by > COUNTER_SLOTS)
        memset(s->counts, 0, sizeof s->counts);
    else {
        size_t stay = (size_t)(COUNTER_SLOTS + 1 - by);
        memmove(s->counts, s->counts + by, stay * sizeof s->counts[0]);
        memset(s->counts + stay, 0, (size_t)by * sizeof s->counts[0]);
    }
    s->first = first;
}

static void slots_add(struct slots *s, int64_t slot)
{
    int64_t i = slot - s->first;
    uint32_t *count = &s->counts[i < 0 ? 0 : i > COUNTER_SLOTS ? COUNTER_SLOTS : i];
    *count += *count < UINT32_MAX;
}

/* Also from times, which a lower limit left behind. */
static void slots_of(const struct counter *c, int64_t per_ms, int64_t now_ms, struct slots *out)
{
    int64_t now_slot = now_ms / slot_ms(per_ms);
    memset(out, 0, sizeof *out);
    out->layout = LAYOUT_SLOTS;
    out->first = now_slot - COUNTER_SLOTS;
    if (layout_of(c) == LAYOUT_SLOTS && c->len == sizeof *out) {
        struct slots there;
        memcpy(&there, c->data, sizeof there);
        if (there.first > out->first || there.first < 0)
            return;
        *out = there;
        slots_move(out, now_slot);
    } else if (layout_of(c) == LAYOUT_TIMES) {
        struct times t;
        times_of(c, now_ms, &t);
        for (uint32_t i = first_counting(&t, per_ms, now_ms); i < t.count; i++)
            slots_add(out, t.list[i] / slot_ms(per_ms));
    }
}

static int64_t slots_sum(const struct slots *s)
{
    int64_t sum = 0;
    for (size_t i = 0; i <= COUNTER_SLOTS; i++)
        sum += s->counts[i];
    return sum;
}

/* Until so many slots have passed by that one more fits. */
static int64_t slots_wait(const struct counter *c, int64_t limit, int64_t per_ms, int64_t now_ms)
{
    struct slots s;
    slots_of(c, per_ms, now_ms, &s);
    int64_t sum = slots_sum(&s);
    size_t i = 0;
    while (sum >= limit && i <= COUNTER_SLOTS)
        sum -= s.counts[i++];
    if (i == 0)
        return 0;
    int64_t until = (s.first + (int64_t)i + COUNTER_SLOTS) * slot_ms(per_ms);
    return until > now_ms ? until - now_ms : 1;
}

static void slots_take(struct counter *c, int64_t per_ms, int64_t now_ms)
{
    struct slots s;
    slots_of(c, per_ms, now_ms, &s);
    slots_add(&s, now_ms / slot_ms(per_ms));
    put(c, &s, sizeof s, now_ms + per_ms + 2 * slot_ms(per_ms));
}

/* ---- rates ---- */

/* Counts that were begun in slots stay in slots when the limit comes down. */
static bool is_exact(const struct counter *c, int64_t limit)
{
    return limit <= COUNTER_EXACT_MAX && layout_of(c) != LAYOUT_SLOTS;
}

int64_t counter_rate_wait(const struct counter *c, int64_t limit, int64_t per_ms, int64_t now_ms)
{
    return is_exact(c, limit) ? times_wait(c, limit, per_ms, now_ms) : slots_wait(c, limit, per_ms, now_ms);
}

void counter_rate_take(struct counter *c, int64_t limit, int64_t per_ms, int64_t now_ms)
{
    if (is_exact(c, limit))
        times_take(c, per_ms, now_ms);
    else
        slots_take(c, per_ms, now_ms);
}

int64_t counter_rate_used(const struct counter *c, int64_t per_ms, int64_t now_ms)
{
    if (layout_of(c) == LAYOUT_SLOTS) {
        struct slots s;
        slots_of(c, per_ms, now_ms, &s);
        return slots_sum(&s);
    }
    struct times t;
    times_of(c, now_ms, &t);
    return t.count - first_counting(&t, per_ms, now_ms);
}

/* ---- the table ---- */

static size_t place_of(const struct counters *all, const struct hash_id *key)
{
    uint64_t h;
    memcpy(&h, key->bytes, sizeof h);
    size_t i = (size_t)h & (all->size - 1);
    while (all->slots[i] && memcmp(&all->slots[i]->key, key, sizeof *key) != 0)
        i = (i + 1) & (all->size - 1);
    return i;
}

static void grow(struct counters *all)
{
    struct counters larger = {
        .size = all->size ? 2 * all->size : SIZE_MIN, .count = all->count, .dirty = all->dirty};
    larger.slots = xcalloc(larger.size, sizeof(struct counter *));
    for (size_t i = 0; i < all->size; i++)
        if (all->slots[i])
            larger.slots[place_of(&larger, &all->slots[i]->key)] = all->slots[i];
    free(all->slots);
    *all = larger;
}

static void load(struct store_db *db, struct counter *c)
{
    sqlite3_stmt *st = db_stmt(db, SQL_COUNTER_GET);
    db_bind_id(st, 1, &c->key);
    if (!db_row(db, st))
        return;
    c->ends_ms = sqlite3_column_int64(st, 0);
    size_t len = (size_t)sqlite3_column_bytes(st, 1);
    if (len && len <= sizeof c->data) {
        c->len = len;
        memcpy(c->data, sqlite3_column_blob(st, 1), len);
    }
    sqlite3_reset(st);
}

struct counter *counter_get(struct store_db *db, const struct hash_id *key)
{
    struct counters *all = &db->counters;
    if (4 * (all->count + 1) > 3 * all->size)
        grow(all);
    size_t i = place_of(all, key);
    if (!all->slots[i]) {
        struct counter *c = xcalloc(1, sizeof *c);
        c->key = *key;
        c->all = all;
        load(db, c);
        all->slots[i] = c;
        all->count++;
    }
    return all->slots[i];
}

static void write_one(struct store_db *db, struct counter *c)
{
    sqlite3_stmt *st = db_stmt(db, SQL_COUNTER_SET);
    db_bind_id(st, 1, &c->key);
    sqlite3_bind_int64(st, 2, c->ends_ms);
    sqlite3_bind_blob(st, 3, c->data, (int)c->len, SQLITE_STATIC);
    db_run(db, st);
    c->dirty = false;
}

void counters_flush(struct store_db *db)
{
    for (struct counter *c = db->counters.dirty; c; c = c->next_dirty)
        write_one(db, c);
    db->counters.dirty = NULL;
}

void counters_forget(struct store_db *db)
{
    struct counters *all = &db->counters;
    for (size_t i = 0; all->count && i < all->size; i++) {
        free(all->slots[i]);
        all->slots[i] = NULL;
    }
    all->count = 0;
    all->dirty = NULL;
}

void counters_trim(struct store_db *db)
{
    if (db->counters.count > KEPT_MAX)
        counters_forget(db);
}

void counters_free(struct store_db *db)
{
    counters_forget(db);
    free(db->counters.slots);
    memset(&db->counters, 0, sizeof db->counters);
}
