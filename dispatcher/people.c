/* Everybody in a directory's file, found by user id, number and tag. Texts stand in blocks that are freed
 * together. */
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "dispatcher/directory_parts.h"

enum { BLOCK_BYTES = 64 * 1024, SLOTS_MIN = 64 };

struct block {
    struct block *next;
    size_t used, size;
    max_align_t data[];
};

struct tag {
    uint32_t *people;
    size_t count;
};

/* People by a text of theirs; open addressing. The hash stands beside, so that others are not looked at. */
struct slot {
    uint32_t person; /* index + 1, or 0 */
    uint32_t hash;
};
struct index {
    struct slot *slots;
    size_t size;
    const char *(*word)(const struct person *p);
};

struct people {
    struct person *list;
    size_t count, size;
    struct index users, numbers;
    struct rules_table *words; /* languages, zones and tags, each text once */
    struct tag *tags;          /* by number of the word */
    size_t tags_size;
    struct block *blocks;
};

static const char *user_of(const struct person *p)
{
    return p->user;
}

static const char *number_of(const struct person *p)
{
    return p->number;
}

struct people *people_new(void)
{
    struct people *p = xcalloc(1, sizeof *p);
    p->users.word = user_of;
    p->numbers.word = number_of;
    p->words = rules_table_new();
    return p;
}

void people_free(struct people **pp)
{
    struct people *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    for (size_t i = 0; i < p->tags_size; i++)
        free(p->tags[i].people);
    for (struct block *b = p->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(p->tags);
    free(p->list);
    free(p->users.slots);
    free(p->numbers.slots);
    rules_table_free(&p->words);
    free(p);
}

/* Aligned for pointers. */
static void *take(struct people *p, size_t size)
{
    size = (size + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
    if (!p->blocks || p->blocks->size - p->blocks->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        struct block *b = xmalloc(sizeof *b + room);
        *b = (struct block){.next = p->blocks, .size = room};
        p->blocks = b;
    }
    void *out = (char *)p->blocks->data + p->blocks->used;
    p->blocks->used += size;
    return out;
}

static const char *keep(struct people *p, const char *text)
{
    return text ? strcpy(take(p, strlen(text) + 1), text) : NULL;
}

static const char *keep_word(struct people *p, const char *word)
{
    return word ? rules_table_word(p->words, rules_table_add(p->words, word, strlen(word))) : NULL;
}

/* ---- finding ---- */

static struct slot *slot_of(const struct people *p, const struct index *x, const char *word, size_t len,
                            uint32_t hash)
{
    size_t at = hash & (x->size - 1);
    for (; x->slots[at].person; at = (at + 1) & (x->size - 1)) {
        if (x->slots[at].hash != hash)
            continue;
        const char *other = x->word(&p->list[x->slots[at].person - 1]);
        if (strncmp(other, word, len) == 0 && !other[len])
            break;
    }
    return &x->slots[at];
}

static uint32_t hash_of(const char *word, size_t len)
{
    return (uint32_t)hash_table_key(word, len);
}

static const struct person *look_up(const struct people *p, const struct index *x, const char *word,
                                    size_t len)
{
    if (!x->size || memchr(word, '\0', len))
        return NULL;
    uint32_t person = slot_of(p, x, word, len, hash_of(word, len))->person;
    return person ? &p->list[person - 1] : NULL;
}

const struct person *people_find(const struct people *p, const char *user, size_t len)
{
    return look_up(p, &p->users, user, len);
}

const struct person *people_find_number(const struct people *p, const char *number)
{
    return look_up(p, &p->numbers, number, strlen(number));
}

size_t people_count(const struct people *p)
{
    return p->count;
}

void people_each(const struct people *p, void (*fn)(void *arg, const struct person *p), void *arg)
{
    for (size_t i = 0; i < p->count; i++)
        fn(arg, &p->list[i]);
}

void people_tagged(const struct people *p, const char *tag, size_t len,
                   void (*fn)(void *arg, const struct person *p), void *arg)
{
    int64_t word = rules_table_find(p->words, tag, len);
    if (word < 0 || (size_t)word >= p->tags_size)
        return;
    for (size_t i = 0; i < p->tags[word].count; i++)
        fn(arg, &p->list[p->tags[word].people[i]]);
}

/* ---- adding ---- */

/* The first person with a word keeps its place. */
static void enter(const struct people *p, struct index *x, size_t person)
{
    const char *word = x->word(&p->list[person]);
    if (!word)
        return;
    uint32_t hash = hash_of(word, strlen(word));
    struct slot *s = slot_of(p, x, word, strlen(word), hash);
    if (!s->person)
        *s = (struct slot){(uint32_t)person + 1, hash};
}

/* Room for one more than there are people. */
static void index_grow(const struct people *p, struct index *x)
{
    if (2 * (p->count + 1) <= x->size)
        return;
    struct slot *old = x->slots;
    size_t old_size = x->size;
    x->size = x->size ? x->size * 2 : SLOTS_MIN;
    x->slots = xcalloc(x->size, sizeof *x->slots);
    for (size_t i = 0; i < old_size; i++) {
        size_t at = old[i].hash & (x->size - 1);
        while (old[i].person && x->slots[at].person)
            at = (at + 1) & (x->size - 1);
        if (old[i].person)
            x->slots[at] = old[i];
    }
    free(old);
}

/* Of equal tags of one person the last entry is this person's. */
static bool add_tag(struct people *p, const char *name)
{
    size_t word = (size_t)rules_table_add(p->words, name, strlen(name));
    if (word >= p->tags_size) {
        size_t size = word * 2 + 16;
        p->tags = xreallocarray(p->tags, size, sizeof *p->tags);
        memset(p->tags + p->tags_size, 0, (size - p->tags_size) * sizeof *p->tags);
        p->tags_size = size;
    }
    struct tag *t = &p->tags[word];
    if (t->count && t->people[t->count - 1] == p->count)
        return false;
    if ((t->count & (t->count - 1)) == 0)
        t->people = xreallocarray(t->people, t->count ? t->count * 2 : 1, sizeof *t->people);
    t->people[t->count++] = (uint32_t)p->count;
    return true;
}

static const char *const *add_tags(struct people *p, const char *const *tags)
{
    size_t count = 0, kept = 0;
    while (tags && tags[count])
        count++;
    const char **out = take(p, (count + 1) * sizeof *out);
    for (size_t i = 0; i < count; i++)
        if (add_tag(p, tags[i]))
            out[kept++] = keep_word(p, tags[i]);
    out[kept] = NULL;
    return out;
}

bool people_add(struct people *p, const struct person *person)
{
    if (people_find(p, person->user, strlen(person->user)))
        return false;
    if (p->count == p->size) {
        p->size = p->size ? p->size * 2 : SLOTS_MIN / 2;
        p->list = xreallocarray(p->list, p->size, sizeof *p->list);
    }
    index_grow(p, &p->users);
    index_grow(p, &p->numbers);
    p->list[p->count] = (struct person){
        .user = keep(p, person->user),
        .number = keep(p, person->number),
        .lang = keep_word(p, person->lang),
        .zone = keep_word(p, person->zone),
        .tags = add_tags(p, person->tags),
    };
    enter(p, &p->users, p->count);
    enter(p, &p->numbers, p->count);
    p->count++;
    return true;
}
