/*
 * What the rules can use of a bridge's events, as a listener is told (proto/wire.h).
 *
 * Sound, not exact: rules with the same channels, types and paths share one entry whose sets of values are
 * united, which may want more than each rule alone and never less. Beside what rules match, the deletions of
 * items and containers are wanted that may cancel jobs, and all events of containers whose members are rung.
 */
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "dispatcher/rules_parts.h"
#include "dispatcher/rules_table.h"

enum { CONDITIONS_MAX = 6, SIDES_MAX = 16 };

/* What a rule asks for, or, if it is an || over different paths, one side of it with the rest of the rule. */
struct demand {
    const struct expr_requirements *needs;
    const struct expr_side *side; /* NULL: there are no sides */
};

/* A set of words, all of one requirement or one word alone. */
struct words {
    const struct expr_requirement *need; /* NULL: use WORD, or nothing when that is NULL too */
    const char *word;
};

struct condition {
    const char *path;
    const struct expr_requirement *need;
    int rank;
};

struct draft {
    struct words channels, types;
    size_t count; /* conditions */
    struct rules_table *values[CONDITIONS_MAX];
    const char *paths[CONDITIONS_MAX];
};

struct builder {
    struct rules_table *keys; /* number: index in drafts */
    struct draft *drafts;
    size_t size;
    bool everything;
    struct buf key;
};

/* ---- reading a rule ---- */

/* A listener compares strings with what stands at a path, no numbers, and no members. */
static bool of_words(const struct expr_requirement *need)
{
    return need->textual && !need->member;
}

/* Requirement number INDEX, those of the side first; NULL behind the last. */
static const struct expr_requirement *need_at(const struct demand *d, size_t index)
{
    size_t first = d->side ? d->side->count : 0;
    if (index < first)
        return &d->side->items[index];
    return index - first < d->needs->count ? &d->needs->items[index - first] : NULL;
}

/* The requirement on a variable itself; NULL if there is none. */
static const struct expr_requirement *need_of(const struct demand *d, size_t slot)
{
    const struct expr_requirement *need;
    for (size_t i = 0; (need = need_at(d, i)); i++)
        if (need->slot == slot && need->field_count == 0 && of_words(need))
            return need;
    return NULL;
}

static bool allows(const struct expr_requirement *need, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; need && i < need->value_count; i++)
        if (need->values[i].length == len && memcmp(need->values[i].string, word, len) == 0)
            return true;
    return !need;
}

/* A listener knows the four names that the type table resolves, and members of `data` by one step. */
static bool can_be_told(const struct expr_requirement *need)
{
    if (!of_words(need))
        return false;
    switch (need->slot) {
    case EXPR_SLOT_DATA:
        return need->field_count == 1;
    case EXPR_SLOT_ITEM:
    case EXPR_SLOT_CONTAINER:
    case EXPR_SLOT_CONTEXT:
    case EXPR_SLOT_AUTHOR:
        return need->field_count == 0;
    default:
        return false;
    }
}

static int by_rank(const void *a, const void *b)
{
    const struct condition *x = a, *y = b;
    return x->rank != y->rank ? y->rank - x->rank : strcmp(x->path, y->path);
}

/* The most telling conditions first: a listener drops a frame at the first that fails. */
static size_t conditions_of(const struct demand *d, struct condition *out)
{
    size_t count = 0;
    const struct expr_requirement *need;
    for (size_t i = 0; (need = need_at(d, i)) && count < CONDITIONS_MAX; i++) {
        bool known = !can_be_told(need);
        for (size_t k = 0; k < count; k++)
            known = known || strcmp(out[k].path, need->path) == 0;
        if (!known)
            out[count++] = (struct condition){need->path, need, rules_path_rank(need)};
    }
    qsort(out, count, sizeof *out, by_rank);
    return count;
}

/* ---- collecting ---- */

static int compare_literals(const void *a, const void *b)
{
    const struct expr_literal *x = a, *y = b;
    size_t len = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->string, y->string, len);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

static void key_word(struct buf *key, const char *word, size_t len)
{
    buf_add(key, &len, sizeof len);
    buf_add(key, word, len);
}

/* Sorted, so that ['a', 'b'] and ['b', 'a'] are one. */
static void key_words(struct buf *key, const struct words *w)
{
    size_t count = w->need ? w->need->value_count : (w->word != NULL);
    buf_add(key, &count, sizeof count);
    if (!w->need) {
        if (w->word)
            key_word(key, w->word, strlen(w->word));
        return;
    }
    struct expr_literal *sorted = xreallocarray(NULL, count, sizeof *sorted);
    memcpy(sorted, w->need->values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_literals);
    for (size_t i = 0; i < count; i++)
        key_word(key, sorted[i].string, sorted[i].length);
    free(sorted);
}

static struct draft *draft_of(struct builder *b, const struct words *channels, const struct words *types,
                              const struct condition *conditions, size_t count)
{
    buf_reset(&b->key);
    key_words(&b->key, channels);
    key_words(&b->key, types);
    for (size_t i = 0; i < count; i++)
        key_word(&b->key, conditions[i].path, strlen(conditions[i].path));
    size_t before = rules_table_count(b->keys);
    size_t number = (size_t)rules_table_add(b->keys, b->key.data, b->key.len);
    if (number < before)
        return &b->drafts[number];
    if (number == b->size) {
        b->size = b->size ? b->size * 2 : 16;
        b->drafts = xreallocarray(b->drafts, b->size, sizeof *b->drafts);
    }
    struct draft *d = &b->drafts[number];
    *d = (struct draft){.channels = *channels, .types = *types, .count = count};
    for (size_t i = 0; i < count; i++) {
        d->paths[i] = conditions[i].path;
        d->values[i] = rules_table_new();
    }
    return d;
}

static void collect(struct builder *b, const struct words *channels, const struct words *types,
                    const struct condition *conditions, size_t count)
{
    bool narrow = channels->need || channels->word || types->need || types->word || count;
    if (!narrow) {
        b->everything = true;
        return;
    }
    struct draft *d = draft_of(b, channels, types, conditions, count);
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < conditions[i].need->value_count; v++)
            rules_table_add(d->values[i], conditions[i].need->values[v].string,
                            conditions[i].need->values[v].length);
}

static void collect_matches(struct builder *b, const struct demand *d)
{
    struct condition conditions[CONDITIONS_MAX];
    size_t count = conditions_of(d, conditions);
    struct words channels = {need_of(d, EXPR_SLOT_CHANNEL), NULL};
    struct words types = {need_of(d, EXPR_SLOT_TYPE), NULL};
    collect(b, &channels, &types, conditions, count);
}

/* ---- deletions ---- */

/* The containers that are asked for in events of TYPE; NULL if it does not say. */
static const struct expr_requirement *container_need(const struct demand *d, const struct event_type *type)
{
    const struct expr_requirement *need;
    for (size_t i = 0; (need = need_at(d, i)); i++) {
        bool named = need->slot == EXPR_SLOT_CONTAINER && need->field_count == 0;
        bool member = need->slot == EXPR_SLOT_DATA && need->field_count == 1 && type->container &&
                      strcmp(need->fields[0], type->container) == 0;
        if ((named || member) && of_words(need))
            return need;
    }
    return NULL;
}

/* An inbox entry is a message of the inbox's thread, and goes with it (PROTOCOL.md section 7). */
static bool is_message_of_entry(const struct event_type *deletion, const struct event_type *type)
{
    return strcmp(type->type, "inboxEntry") == 0 && strcmp(deletion->type, "threadDeletedMessage") == 0;
}

/* True if jobs of an event of TYPE may be cancelled by DELETION. */
static bool may_cancel(const struct event_type *deletion, const struct event_type *type)
{
    if (deletion->sort != EVENT_DELETED)
        return false;
    if (is_message_of_entry(deletion, type))
        return true;
    if (strcmp(deletion->channel, type->channel) != 0)
        return false;
    if (deletion->is_container)
        return type->container != NULL;
    return type->item && !type->is_container && rules_item_identifies(type);
}

static void collect_deletions_of(struct builder *b, const struct demand *d, const struct event_type *type)
{
    for (size_t i = 0; i < event_types_count; i++) {
        const struct event_type *deletion = &event_types[i];
        if (!may_cancel(deletion, type))
            continue;
        struct condition condition = {"container", container_need(d, type), 0};
        bool foreign = strcmp(deletion->channel, type->channel) != 0;
        struct words channels = {NULL, deletion->channel};
        struct words types = {NULL, deletion->type};
        collect(b, &channels, &types, &condition, condition.need && !foreign);
    }
}

static void collect_deletions(struct builder *b, const struct demand *d)
{
    const struct expr_requirement *channels = need_of(d, EXPR_SLOT_CHANNEL);
    const struct expr_requirement *types = need_of(d, EXPR_SLOT_TYPE);
    for (size_t i = 0; i < event_types_count; i++) {
        const struct event_type *type = &event_types[i];
        if (type->sort != EVENT_DELETED && allows(channels, type->channel) && allows(types, type->type))
            collect_deletions_of(b, d, type);
    }
}

/* ---- members ---- */

/* What is known of a container's members stays current only if no event of it is missed. */
static void collect_members(struct builder *b, const struct demand *d)
{
    const struct expr_requirement *channels = need_of(d, EXPR_SLOT_CHANNEL);
    for (size_t i = 0; i < event_types_count; i++) {
        const struct event_type *type = &event_types[i];
        if (!type->is_container || !allows(channels, type->channel))
            continue;
        struct words channel = {NULL, type->channel}, name = {NULL, type->type};
        collect(b, &channel, &name, NULL, 0);
    }
}

/* ---- rules ---- */

/* Of several clauses the one with the fewest sides; NULL if there is none or it has too many. */
static const struct expr_clause *clause_of(const struct expr_requirements *needs)
{
    const struct expr_clause *best = NULL;
    for (size_t i = 0; i < needs->clause_count; i++)
        if (needs->clauses[i].count <= SIDES_MAX && (!best || needs->clauses[i].count < best->count))
            best = &needs->clauses[i];
    return best;
}

static void collect_rule(struct builder *b, const struct rule *rule, const char *bridge)
{
    const struct expr_clause *clause = clause_of(rule->needs);
    size_t sides = clause ? clause->count : 1;
    for (size_t i = 0; i < sides; i++) {
        struct demand d = {rule->needs, clause ? &clause->sides[i] : NULL};
        if (!allows(need_of(&d, EXPR_SLOT_BRIDGE), bridge))
            continue;
        collect_matches(b, &d);
        if (rule->cancel_on_delete)
            collect_deletions(b, &d);
        if (audience_wants_members(rule->to))
            collect_members(b, &d);
    }
}

/* ---- the outcome ---- */

static char **copy_words(const struct words *w, size_t *count)
{
    *count = w->need ? w->need->value_count : (w->word != NULL);
    if (*count == 0)
        return NULL;
    char **list = xcalloc(*count, sizeof *list);
    for (size_t i = 0; i < *count; i++)
        list[i] = w->need ? xstrndup(w->need->values[i].string, w->need->values[i].length) : xstrdup(w->word);
    return list;
}

static void fill_entry(const struct draft *d, struct wire_interest_entry *e)
{
    e->channels = copy_words(&d->channels, &e->channels_count);
    e->types = copy_words(&d->types, &e->types_count);
    e->conditions_count = d->count;
    e->conditions = d->count ? xcalloc(d->count, sizeof *e->conditions) : NULL;
    for (size_t i = 0; i < d->count; i++) {
        struct wire_condition *c = &e->conditions[i];
        c->path = xstrdup(d->paths[i]);
        c->count = rules_table_count(d->values[i]);
        c->values = xcalloc(c->count, sizeof *c->values);
        for (size_t v = 0; v < c->count; v++)
            c->values[v] = xstrdup(rules_table_word(d->values[i], (int64_t)v));
    }
}

static void builder_free(struct builder *b)
{
    for (size_t i = 0; i < rules_table_count(b->keys); i++)
        for (size_t c = 0; c < b->drafts[i].count; c++)
            rules_table_free(&b->drafts[i].values[c]);
    free(b->drafts);
    rules_table_free(&b->keys);
    buf_free(&b->key);
}

void rules_interest(const struct rules *r, const char *bridge, struct wire_interest *out)
{
    struct builder b = {.keys = rules_table_new()};
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < r->count; i++) {
        const struct rule *rule = &r->list[i];
        if (rule->enabled && !rule->needs->never)
            collect_rule(&b, rule, bridge);
    }
    out->everything = b.everything;
    out->count = b.everything ? 0 : rules_table_count(b.keys);
    out->entries = out->count ? xcalloc(out->count, sizeof *out->entries) : NULL;
    for (size_t i = 0; i < out->count; i++)
        fill_entry(&b.drafts[i], &out->entries[i]);
    builder_free(&b);
}
