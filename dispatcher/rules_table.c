#include "dispatcher/rules_table.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

enum { SLOTS_MIN = 16 };

struct entry {
    char *word;
    size_t len;
    uint64_t hash;
};

struct rules_table {
    struct entry *entries; /* by number */
    size_t count, entries_size;
    uint32_t *slots;   /* number + 1, or 0; open addressing */
    size_t slots_size; /* a power of two, at least twice the count */
};

struct rules_table *rules_table_new(void)
{
    struct rules_table *t = xcalloc(1, sizeof *t);
    t->slots_size = SLOTS_MIN;
    t->slots = xcalloc(t->slots_size, sizeof *t->slots);
    return t;
}

void rules_table_free(struct rules_table **p)
{
    struct rules_table *t = *p;
    if (!t)
        return;
    *p = NULL;
    for (size_t i = 0; i < t->count; i++)
        free(t->entries[i].word);
    free(t->entries);
    free(t->slots);
    free(t);
}

size_t rules_table_count(const struct rules_table *t)
{
    return t->count;
}

/* The slot that holds the word, or the empty one where it belongs. */
static size_t find_slot(const struct rules_table *t, const void *word, size_t len, uint64_t hash)
{
    size_t at = (size_t)hash & (t->slots_size - 1);
    for (; t->slots[at]; at = (at + 1) & (t->slots_size - 1)) {
        const struct entry *e = &t->entries[t->slots[at] - 1];
        if (e->hash == hash && e->len == len && memcmp(e->word, word, len) == 0)
            break;
    }
    return at;
}

int64_t rules_table_find(const struct rules_table *t, const void *word, size_t len)
{
    if (t->count == 0)
        return RULES_TABLE_NONE;
    size_t at = find_slot(t, word, len, hash_table_key(word, len));
    return (int64_t)t->slots[at] - 1;
}

static void grow(struct rules_table *t)
{
    if (t->count == t->entries_size) {
        t->entries_size = t->entries_size ? t->entries_size * 2 : SLOTS_MIN / 2;
        t->entries = xreallocarray(t->entries, t->entries_size, sizeof *t->entries);
    }
    if (2 * (t->count + 1) <= t->slots_size)
        return;
    free(t->slots);
    t->slots_size *= 2;
    t->slots = xcalloc(t->slots_size, sizeof *t->slots);
    for (size_t i = 0; i < t->count; i++) {
        size_t at = (size_t)t->entries[i].hash & (t->slots_size - 1);
        while (t->slots[at])
            at = (at + 1) & (t->slots_size - 1);
        t->slots[at] = (uint32_t)i + 1;
    }
}

int64_t rules_table_add(struct rules_table *t, const void *word, size_t len)
{
    uint64_t hash = hash_table_key(word, len);
    size_t at = find_slot(t, word, len, hash);
    if (t->slots[at])
        return (int64_t)t->slots[at] - 1;
    grow(t);
    t->entries[t->count] = (struct entry){xstrndup(word, len), len, hash};
    t->slots[find_slot(t, word, len, hash)] = (uint32_t)++t->count;
    return (int64_t)t->count - 1;
}

const char *rules_table_word(const struct rules_table *t, int64_t number)
{
    return t->entries[number].word;
}
