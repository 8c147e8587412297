/*
 * Resolving: who an audience comes to for one event. Expressions give texts; each is a person of the
 * directory or a number, and everybody that cannot be rung is told with the reason.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/str.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/recipients_parts.h"

enum {
    LIST_DEPTH_MAX = 8, /* lists within lists */
    PEOPLE_MAX = 65536, /* texts of one audience and event */
    WHO_BYTES = 128,
    POOL_BYTES = 16 * 1024, /* of one block of user ids */
    POOL_BLOCKS = 256,
};

/* Memory that holds user ids and nothing else: a text in it names a person and is never taken for a number,
 * whatever it looks like. */
struct span {
    const char *start, *end;
};

struct resolving {
    const struct audience *audience;
    const struct event *event;
    struct members *members; /* may be NULL */
    struct expr_arena *arena;
    struct recipient_list *out;
    struct span pool[POOL_BLOCKS]; /* the last one is being filled */
    size_t pool_count, pool_used, people;
    struct span container;      /* the members' */
    const struct recipient *as; /* whose language, zone and group the people of the expression get */
};

/* ---- the list ---- */

static bool set_has(const struct recipient_set *s, const char *word, size_t len, size_t *at,
                    const char *(*word_of)(const struct recipient_list *l, size_t i, size_t *len),
                    const struct recipient_list *l)
{
    for (*at = (size_t)hash_table_key(word, len) & (s->size - 1); s->slots[*at];
         *at = (*at + 1) & (s->size - 1)) {
        size_t other_len;
        const char *other = word_of(l, s->slots[*at] - 1, &other_len);
        if (other_len == len && memcmp(other, word, len) == 0)
            return true;
    }
    return false;
}

static const char *number_at(const struct recipient_list *l, size_t i, size_t *len)
{
    *len = strlen(l->own[i].number);
    return l->own[i].number;
}

static const char *key_at(const struct recipient_list *l, size_t i, size_t *len)
{
    *len = l->missing[i].key_len;
    return l->missing[i].key;
}

/* Room for one more than COUNT entries, which are entered anew when the table grows. */
static void set_grow(struct recipient_set *s, size_t count,
                     const char *(*word_of)(const struct recipient_list *l, size_t i, size_t *len),
                     const struct recipient_list *l)
{
    if (2 * (count + 1) <= s->size)
        return;
    free(s->slots);
    s->size = s->size ? s->size * 2 : 64;
    s->slots = xcalloc(s->size, sizeof *s->slots);
    for (size_t i = 0; i < count; i++) {
        size_t at, len;
        const char *word = word_of(l, i, &len);
        set_has(s, word, len, &at, word_of, l);
        s->slots[at] = (uint32_t)i + 1;
    }
}

static void add_person(struct resolving *r, struct recipient person)
{
    struct recipient_list *l = r->out;
    size_t at;
    set_grow(&l->numbers, l->count, number_at, l);
    if (set_has(&l->numbers, person.number, strlen(person.number), &at, number_at, l))
        return;
    if (l->count == l->own_size) {
        l->own_size = l->own_size ? l->own_size * 2 : 16;
        l->own = xreallocarray(l->own, l->own_size, sizeof *l->own);
    }
    l->own[l->count++] = person;
    l->list = l->own;
    l->numbers.slots[at] = (uint32_t)l->count;
}

/* For people: whole code points of at most WHO_BYTES bytes, what does not show as "?"; a number masked. */
static const char *shown(struct resolving *r, const char *text, size_t len)
{
    char *out = expr_arena_alloc(r->arena, WHO_BYTES + 1);
    if (!out)
        return "somebody";
    if (phone_looks(text, len)) {
        char number[64];
        snprintf(number, sizeof number, "%.*s", (int)(len < sizeof number ? len : sizeof number - 1), text);
        return str_mask_number(number, out, WHO_BYTES + 1);
    }
    size_t n = 0, used;
    for (size_t i = 0; i < len; i += used) {
        uint32_t code = text_decode(text + i, len - i, &used);
        char bytes[4];
        size_t size = text_encode(text_hides(code) ? '?' : code, bytes);
        if (n + size > WHO_BYTES)
            break;
        memcpy(out + n, bytes, size);
        n += size;
    }
    out[n] = '\0';
    return out;
}

static void add_missing(struct resolving *r, const char *key, size_t len, enum store_why why,
                        const char *words)
{
    struct recipient_list *l = r->out;
    size_t at;
    set_grow(&l->keys, l->missing_count, key_at, l);
    if (set_has(&l->keys, key, len, &at, key_at, l))
        return;
    if (l->missing_count == l->missing_size) {
        l->missing_size = l->missing_size ? l->missing_size * 2 : 16;
        l->missing = xreallocarray(l->missing, l->missing_size, sizeof *l->missing);
    }
    l->missing[l->missing_count++] = (struct recipient_missing){shown(r, key, len), why, words, key, len};
    l->keys.slots[at] = (uint32_t)l->missing_count;
}

static void set_clear(struct recipient_set *s, size_t count)
{
    if (count)
        memset(s->slots, 0, s->size * sizeof *s->slots);
}

static void recipient_list_clear(struct recipient_list *l)
{
    set_clear(&l->numbers, l->list == l->own ? l->count : 0);
    set_clear(&l->keys, l->missing_count);
    l->list = NULL;
    l->count = l->missing_count = 0;
    l->waits = false;
    l->failure = NULL;
}

void recipient_list_free(struct recipient_list *l)
{
    free(l->own);
    free(l->missing);
    free(l->numbers.slots);
    free(l->keys.slots);
    memset(l, 0, sizeof *l);
}

/* ---- from a text to a person ---- */

static bool names_a_person(const struct resolving *r, const char *text)
{
    if (text >= r->container.start && text < r->container.end)
        return true;
    for (size_t i = 0; i < r->pool_count; i++)
        if (text >= r->pool[i].start && text < r->pool[i].end)
            return true;
    return false;
}

static bool is_allowed(const struct recipients *r, const char *number)
{
    return r->allowed && phone_has_prefix(number, r->allowed->list, r->allowed->count);
}

/* P may be NULL. */
static void speak_as(struct recipient *out, const struct person *p)
{
    if (!p)
        return;
    out->user = p->user;
    out->lang = p->lang ? p->lang : out->lang;
    out->zone = p->zone ? p->zone : out->zone;
}

/* A number that an event brought is hostile: it is rung only where the operator's list has its prefix. */
static void add_number(struct resolving *r, const char *text, size_t len)
{
    const struct recipients *all = r->audience->recipients;
    char *number = expr_arena_alloc(r->arena, PHONE_SIZE);
    if (!number || phone_normalise(text, len, NULL, number))
        add_missing(r, text, len, WHY_NUMBER, "not a number that can be rung");
    else if (!all->allowed)
        add_missing(r, text, len, WHY_NUMBER,
                    "a number from an event, and `allowed` in the block `numbers` names no prefixes");
    else if (!is_allowed(all, number))
        add_missing(r, text, len, WHY_NUMBER, "the number has no allowed prefix");
    else {
        struct recipient person = *r->as;
        speak_as(&person, directory_find_number(all->directory, number));
        person.number = number;
        add_person(r, person);
    }
}

static void add_text(struct resolving *r, const char *text, size_t len)
{
    static const char anonymous[] = "<anonymous>";
    const struct person *p = directory_find(r->audience->recipients->directory, text, len);
    if (p && p->number) {
        struct recipient person = *r->as;
        speak_as(&person, p);
        person.number = p->number;
        add_person(r, person);
    } else if (p) {
        add_missing(r, text, len, WHY_NUMBER, "no number in the directory");
    } else if (len && text[0] == '+' && phone_looks(text, len) && !names_a_person(r, text)) {
        add_number(r, text, len);
    } else if (len == sizeof anonymous - 1 && memcmp(text, anonymous, len) == 0) {
        add_missing(r, text, len, WHY_UNKNOWN, "a visitor without a name");
    } else {
        add_missing(r, text, len, WHY_UNKNOWN, "not in the directory");
    }
}

static void add_failure(struct resolving *r, const char *words)
{
    if (!r->out->failure)
        r->out->failure = words;
}

static void add_value(struct resolving *r, struct expr_value v, unsigned depth)
{
    if (v.type == EXPR_STRING && ++r->people > PEOPLE_MAX)
        add_failure(r, "the recipients are too many");
    else if (v.type == EXPR_STRING)
        add_text(r, v.as.string, v.length);
    else if (v.type != EXPR_LIST)
        add_failure(r, "recipients are texts or lists of texts");
    else if (depth == LIST_DEPTH_MAX)
        add_failure(r, "the recipients are lists nested too deep");
    else
        for (size_t i = 0; i < v.length && r->people <= PEOPLE_MAX; i++)
            add_value(r, expr_list_at(v, i), depth + 1);
}

/* ---- the functions ---- */

/* A copy of a user id that is known to be one. Empty ones need a place too. */
static const char *keep_user(struct resolving *r, const char *id, size_t len)
{
    size_t room =
        r->pool_count ? (size_t)(r->pool[r->pool_count - 1].end - r->pool[r->pool_count - 1].start) : 0;
    if (r->pool_count == 0 || room - r->pool_used < len + 1) {
        size_t size = len + 1 > POOL_BYTES ? len + 1 : POOL_BYTES;
        char *block = r->pool_count < POOL_BLOCKS ? expr_arena_alloc(r->arena, size) : NULL;
        if (!block)
            return NULL;
        r->pool[r->pool_count++] = (struct span){block, block + size};
        r->pool_used = 0;
    }
    char *out = (char *)r->pool[r->pool_count - 1].start + r->pool_used;
    memcpy(out, id, len);
    out[len] = '\0';
    r->pool_used += len + 1;
    return out;
}

static struct expr_value call_member(void *context, const struct expr_value *args, size_t count,
                                     struct expr_arena *arena)
{
    (void)count;
    (void)arena;
    if (args[0].type != EXPR_STRING)
        return expr_failure("member() wants a user id, a text");
    const char *id = keep_user(context, args[0].as.string, args[0].length);
    return id ? expr_string(id, args[0].length) : expr_failure("out of memory");
}

/* The members without EXCEPT; whoever cannot be asked for is missing as a whole. */
static struct expr_value list_members(struct resolving *r, struct msg_str except)
{
    const struct event *e = r->event;
    struct members_list found = {0};
    if (!e->container.data)
        return expr_failure("the event has no container whose members could be meant");
    enum members_known known =
        r->members ? members_find(r->members, e->bridge, e->container, &found) : MEMBERS_NONE;
    if (known == MEMBERS_TO_ASK)
        r->out->waits = true;
    if (known == MEMBERS_NONE)
        add_missing(r, e->container.data, e->container.len, WHY_UNKNOWN,
                    r->members ? "no such container, or not to be seen" : "its members cannot be looked up");
    struct expr_value *items = expr_arena_alloc(r->arena, (found.count + 1) * sizeof *items);
    size_t count = 0;
    if (!items)
        return expr_failure("out of memory");
    if (found.count) /* their texts stand one behind the other */
        r->container = (struct span){found.users[0], found.users[found.count - 1] + 1};
    for (size_t i = 0; i < found.count; i++)
        if (!except.data || !msg_str_is(except, found.users[i]))
            items[count++] = expr_string_z(found.users[i]);
    return expr_list(items, count);
}

static struct expr_value call_members(void *context, const struct expr_value *args, size_t count,
                                      struct expr_arena *arena)
{
    (void)args;
    (void)count;
    (void)arena;
    return list_members(context, (struct msg_str){0});
}

static struct expr_value call_others(void *context, const struct expr_value *args, size_t count,
                                     struct expr_arena *arena)
{
    struct resolving *r = context;
    (void)args;
    (void)count;
    (void)arena;
    return list_members(r, r->event->author);
}

struct tagged {
    struct resolving *r;
    struct expr_value *items;
    size_t count, size;
};

static void count_tagged(void *arg, const struct person *p)
{
    struct tagged *t = arg;
    (void)p;
    t->size++;
}

static void take_tagged(void *arg, const struct person *p)
{
    struct tagged *t = arg;
    size_t len = strlen(p->user);
    const char *id = keep_user(t->r, p->user, len);
    if (id)
        t->items[t->count++] = expr_string(id, len);
}

static struct expr_value call_tagged(void *context, const struct expr_value *args, size_t count,
                                     struct expr_arena *arena)
{
    struct tagged t = {.r = context};
    const struct directory *d = t.r->audience->recipients->directory;
    (void)count;
    if (args[0].type != EXPR_STRING)
        return expr_failure("tagged() wants a tag, a text");
    directory_tagged(d, args[0].as.string, args[0].length, count_tagged, &t);
    if (t.size == 0)
        add_missing(t.r, args[0].as.string, args[0].length, WHY_UNKNOWN,
                    "nobody in the directory has the tag");
    t.items = expr_arena_alloc(arena, (t.size + 1) * sizeof *t.items);
    if (!t.items)
        return expr_failure("out of memory");
    directory_tagged(d, args[0].as.string, args[0].length, take_tagged, &t);
    return t.count == t.size ? expr_list(t.items, t.count) : expr_failure("out of memory");
}

#define USER_IDS                                                                                             \
    {                                                                                                        \
        .types = EXPR_SET(EXPR_LIST), .elements = EXPR_TEXT                                                  \
    }

static const struct expr_function functions[] = {
    {"member", 1, 1, call_member, NULL, {EXPR_TEXT}, {.types = EXPR_TEXT}},
    {"members", 0, 0, call_members, NULL, {0}, USER_IDS},
    {"others", 0, 0, call_others, NULL, {0}, USER_IDS},
    {"tagged", 1, 1, call_tagged, NULL, {EXPR_TEXT}, USER_IDS},
};

const struct expr_env *audience_env(void)
{
    static struct expr_env env;
    if (!env.variables) {
        env = *expr_event_env();
        env.functions = functions;
        env.function_count = sizeof functions / sizeof functions[0];
    }
    return &env;
}

/* ---- the whole ---- */

size_t audience_fixed(const struct audience *a)
{
    return a->count - a->expressions;
}

bool audience_has_expressions(const struct audience *a)
{
    return a->expressions > 0;
}

bool audience_wants_members(const struct audience *a)
{
    return a->wants_members;
}

static void resolve_expression(struct resolving *r, const struct expr *expr,
                               const struct expr_value values[EXPR_EVENT_SLOTS])
{
    const struct expr_activation activation = {
        .values = values, .value_count = EXPR_EVENT_SLOTS, .context = r};
    struct expr_value v = expr_eval(expr, &activation, r->arena);
    if (v.type == EXPR_ERROR) {
        char *words = expr_arena_alloc(r->arena, v.length + (size_t)1);
        if (words)
            memcpy(words, v.as.string, v.length);
        if (words)
            words[v.length] = '\0';
        add_failure(r, words ? words : "out of memory");
    } else {
        add_value(r, v, 0);
    }
}

void audience_resolve(const struct audience *a, const struct event *event,
                      const struct expr_value values[EXPR_EVENT_SLOTS], struct members *members,
                      struct expr_arena *arena, struct recipient_list *out)
{
    recipient_list_clear(out);
    if (!a->expressions) {
        out->list = a->people;
        out->count = a->count;
        return;
    }
    struct resolving r = {.audience = a, .event = event, .members = members, .arena = arena, .out = out};
    for (size_t i = 0; i < a->count && !out->waits; i++) {
        r.as = &a->people[i];
        if (a->items[i].expr)
            resolve_expression(&r, a->items[i].expr, values);
        else
            add_person(&r, a->people[i]);
    }
}
