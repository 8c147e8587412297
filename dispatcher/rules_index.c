#include "dispatcher/rules_parts.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "dispatcher/rules_table.h"

/* The rules of one word; all lists stand one behind the other in `postings`. */
struct span {
    uint32_t start, count;
};

/* All keys of one path, or of the members of what is there. */
struct path_index {
    const struct expr_requirement *path; /* any requirement with this path */
    struct rules_table *values;          /* number: index in spans */
    struct span *spans;
};

struct rules_index {
    struct path_index *paths;
    size_t paths_count;
    struct rule **postings;
    struct rule **always; /* without a key */
    size_t always_count;
    uint64_t round; /* one for each event; a rule is met once in each */
};

/* A rule stands under the words of each of its keys. */
struct key {
    struct rule *rule;
    const struct expr_requirement *need;
};

struct keys {
    struct key *list;
    size_t count, size;
};

/* What a member of `data` stands for in any type of event. */
static size_t slot_of_member(const char *member)
{
    size_t slot = EXPR_SLOT_DATA;
    for (size_t i = 0; i < event_types_count; i++) {
        const struct event_type *t = &event_types[i];
        if (t->item && strcmp(t->item, member) == 0 && !t->is_container)
            return EXPR_SLOT_ITEM;
        if (t->container && strcmp(t->container, member) == 0)
            slot = EXPR_SLOT_CONTAINER;
        else if (t->context && strcmp(t->context, member) == 0)
            slot = EXPR_SLOT_CONTEXT;
        else if (t->author && strcmp(t->author, member) == 0)
            slot = EXPR_SLOT_AUTHOR;
    }
    return slot;
}

int rules_path_rank(const struct expr_requirement *need)
{
    static const int by_slot[EXPR_EVENT_SLOTS] = {
        [EXPR_SLOT_ITEM] = 8,    [EXPR_SLOT_CONTAINER] = 7, [EXPR_SLOT_DATA] = 6, [EXPR_SLOT_AUTHOR] = 5,
        [EXPR_SLOT_CONTEXT] = 4, [EXPR_SLOT_BRIDGE] = 3,    [EXPR_SLOT_TYPE] = 2, [EXPR_SLOT_CHANNEL] = 1,
    };
    size_t slot = need->slot;
    if (slot == EXPR_SLOT_DATA && need->field_count == 1)
        slot = slot_of_member(need->fields[0]);
    return slot < EXPR_EVENT_SLOTS ? by_slot[slot] : 0;
}

/* ---- choosing keys ---- */

/* How many rules stand behind each path and word, before keys are chosen. */
struct census {
    struct rules_table *paths;
    struct rules_table *keys; /* path number, then the word */
    uint32_t *rules;          /* by key */
    size_t size;
    struct buf word;
};

/* The members at a path are told from the value there by the NUL behind its name. */
static int64_t path_number(struct rules_table *paths, const struct expr_requirement *need)
{
    return rules_table_add(paths, need->path, strlen(need->path) + need->member);
}

static int64_t key_number(struct census *c, int64_t path, const struct expr_literal *value)
{
    buf_reset(&c->word);
    buf_add(&c->word, &path, sizeof path);
    buf_add(&c->word, value->string, value->length);
    return rules_table_add(c->keys, c->word.data, c->word.len);
}

static void census_add(struct census *c, const struct expr_requirement *need)
{
    int64_t path = path_number(c->paths, need);
    for (size_t v = 0; v < need->value_count; v++) {
        size_t key = (size_t)key_number(c, path, &need->values[v]);
        if (key >= c->size) {
            size_t size = c->size ? c->size * 2 : 1024;
            c->rules = xreallocarray(c->rules, size, sizeof *c->rules);
            memset(c->rules + c->size, 0, (size - c->size) * sizeof *c->rules);
            c->size = size;
        }
        c->rules[key]++;
    }
}

static void census_add_rule(struct census *c, const struct expr_requirements *needs)
{
    for (size_t i = 0; i < needs->count; i++)
        census_add(c, &needs->items[i]);
    for (size_t i = 0; i < needs->clause_count; i++)
        for (size_t s = 0; s < needs->clauses[i].count; s++)
            for (size_t n = 0; n < needs->clauses[i].sides[s].count; n++)
                census_add(c, &needs->clauses[i].sides[s].items[n]);
}

/* Rules that an event meets on its way through this key's lists. */
static uint64_t crowd(struct census *c, const struct expr_requirement *need)
{
    int64_t path = path_number(c->paths, need);
    uint64_t sum = 0;
    for (size_t v = 0; v < need->value_count; v++)
        sum += c->rules[key_number(c, path, &need->values[v])];
    return sum;
}

/* The requirement shared with the fewest rules; of equal ones the more telling. NULL if there is none. */
static const struct expr_requirement *choose(struct census *c, const struct expr_requirement *items,
                                             size_t count, uint64_t *least)
{
    const struct expr_requirement *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct expr_requirement *need = &items[i];
        uint64_t n = crowd(c, need);
        if (!best || n < *least || (n == *least && rules_path_rank(need) > rules_path_rank(best))) {
            best = need;
            *least = n;
        }
    }
    return best;
}

/* The clause whose sides, each by its best key, are shared with fewer rules than LEAST. NULL if there is
 * none. */
static const struct expr_clause *choose_clause(struct census *c, const struct expr_requirements *needs,
                                               uint64_t least)
{
    const struct expr_clause *best = NULL;
    for (size_t i = 0; i < needs->clause_count; i++) {
        const struct expr_clause *clause = &needs->clauses[i];
        uint64_t sum = 0, side = 0;
        for (size_t s = 0; s < clause->count && sum < least; s++, sum += side)
            choose(c, clause->sides[s].items, clause->sides[s].count, &side);
        if (sum < least) {
            best = clause;
            least = sum;
        }
    }
    return best;
}

static void add_key(struct keys *keys, struct rule *rule, const struct expr_requirement *need)
{
    if (keys->count == keys->size) {
        keys->size = keys->size ? keys->size * 2 : 64;
        keys->list = xreallocarray(keys->list, keys->size, sizeof *keys->list);
    }
    keys->list[keys->count++] = (struct key){rule, need};
}

/* False if the rule has no key: it is tried for every event. */
static bool add_keys(struct census *c, struct rule *rule, struct keys *keys)
{
    uint64_t least = UINT64_MAX, unused = 0;
    const struct expr_requirement *best = choose(c, rule->needs->items, rule->needs->count, &least);
    const struct expr_clause *clause = choose_clause(c, rule->needs, least);
    for (size_t s = 0; clause && s < clause->count; s++)
        add_key(keys, rule, choose(c, clause->sides[s].items, clause->sides[s].count, &unused));
    if (!clause && best)
        add_key(keys, rule, best);
    return clause || best;
}

static bool takes_part(const struct rule *rule)
{
    return rule->enabled && !rule->needs->never;
}

static void choose_keys(struct rules_index *x, const struct rules *r, struct keys *keys)
{
    struct census c = {.paths = rules_table_new(), .keys = rules_table_new()};
    for (size_t i = 0; i < r->count; i++)
        if (takes_part(&r->list[i]))
            census_add_rule(&c, r->list[i].needs);
    x->always = xcalloc(r->count + 1, sizeof(struct rule *));
    for (size_t i = 0; i < r->count; i++)
        if (takes_part(&r->list[i]) && !add_keys(&c, &r->list[i], keys))
            x->always[x->always_count++] = &r->list[i];
    rules_table_free(&c.paths);
    rules_table_free(&c.keys);
    free(c.rules);
    buf_free(&c.word);
}

/* ---- building ---- */

static struct path_index *path_of(struct rules_index *x, struct rules_table *paths,
                                  const struct expr_requirement *need)
{
    size_t number = (size_t)path_number(paths, need);
    if (number >= x->paths_count) {
        x->paths = xreallocarray(x->paths, number + 1, sizeof *x->paths);
        memset(&x->paths[number], 0, sizeof *x->paths);
        x->paths[number].path = need;
        x->paths[number].values = rules_table_new();
        x->paths_count = number + 1;
    }
    return &x->paths[number];
}

static struct span *span_of(struct path_index *p, const struct expr_literal *value)
{
    size_t before = rules_table_count(p->values);
    size_t number = (size_t)rules_table_add(p->values, value->string, value->length);
    if (number == before) {
        if ((before & (before - 1)) == 0)
            p->spans = xreallocarray(p->spans, before ? before * 2 : 1, sizeof *p->spans);
        p->spans[number] = (struct span){0, 0};
    }
    return &p->spans[number];
}

/* First the lengths of the lists are counted, then their places are known, then they are filled. */
static void count_keys(struct rules_index *x, const struct keys *keys, struct rules_table *paths)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct expr_requirement *need = keys->list[i].need;
        for (size_t v = 0; v < need->value_count; v++)
            span_of(path_of(x, paths, need), &need->values[v])->count++;
    }
}

static void place_lists(struct rules_index *x)
{
    uint32_t at = 0;
    for (size_t p = 0; p < x->paths_count; p++)
        for (size_t s = 0; s < rules_table_count(x->paths[p].values); s++) {
            x->paths[p].spans[s].start = at;
            at += x->paths[p].spans[s].count;
            x->paths[p].spans[s].count = 0;
        }
    x->postings = xcalloc((size_t)at + 1, sizeof(struct rule *));
}

static void fill_lists(struct rules_index *x, const struct keys *keys, struct rules_table *paths)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct expr_requirement *need = keys->list[i].need;
        for (size_t v = 0; v < need->value_count; v++) {
            struct span *s = span_of(path_of(x, paths, need), &need->values[v]);
            x->postings[s->start + s->count++] = keys->list[i].rule;
        }
    }
}

struct rules_index *rules_index_new(const struct rules *r)
{
    struct rules_index *x = xcalloc(1, sizeof *x);
    struct rules_table *paths = rules_table_new();
    struct keys keys = {0};
    choose_keys(x, r, &keys);
    count_keys(x, &keys, paths);
    place_lists(x);
    fill_lists(x, &keys, paths);
    free(keys.list);
    rules_table_free(&paths);
    return x;
}

void rules_index_free(struct rules_index **p)
{
    struct rules_index *x = *p;
    if (!x)
        return;
    *p = NULL;
    for (size_t i = 0; i < x->paths_count; i++) {
        rules_table_free(&x->paths[i].values);
        free(x->paths[i].spans);
    }
    free(x->paths);
    free(x->postings);
    free(x->always);
    free(x);
}

/* ---- finding ---- */

static void look_up(const struct rules_index *x, const struct path_index *p, struct expr_value value,
                    rules_index_fn *fn, void *arg)
{
    char scratch[EXPR_WORD_SIZE];
    struct expr_literal word;
    if (!expr_word(value, scratch, &word))
        return;
    int64_t number = rules_table_find(p->values, word.string, word.length);
    if (number < 0)
        return;
    const struct span *s = &p->spans[number];
    for (uint32_t k = 0; k < s->count; k++) {
        struct rule *rule = x->postings[s->start + k];
        if (rule->round != x->round)
            fn(arg, rule);
        rule->round = x->round;
    }
}

static void look_up_members(const struct rules_index *x, const struct path_index *p, struct expr_value value,
                            rules_index_fn *fn, void *arg)
{
    if (value.type != EXPR_LIST && value.type != EXPR_MAP)
        return;
    for (size_t i = 0; i < value.length; i++)
        look_up(x, p, expr_member_at(value, i), fn, arg);
}

void rules_index_find(struct rules_index *x, const struct expr_value *values, rules_index_fn *fn, void *arg)
{
    x->round++;
    for (size_t i = 0; i < x->always_count; i++)
        fn(arg, x->always[i]);
    for (size_t p = 0; p < x->paths_count; p++) {
        struct expr_value value;
        const struct path_index *path = &x->paths[p];
        if (!expr_requirement_value(path->path, values, EXPR_EVENT_SLOTS, &value))
            continue;
        if (path->path->member)
            look_up_members(x, path, value, fn, arg);
        else
            look_up(x, path, value, fn, arg);
    }
}
