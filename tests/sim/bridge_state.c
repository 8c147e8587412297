#include "tests/sim/bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 8 digits of the second, 10 of the worker process, 6 of a counter: the form that was captured. */
void state_new_id(struct bridge *b, int64_t at_ms, char out[25])
{
    if (b->id_worker[0][0] == '\0') {
        unsigned char bytes[8];
        sim_random(bytes, sizeof(bytes));
        sim_hex(b->id_worker[0], "\x55\x0c\xc4\xbe\xb9", 5);
        sim_hex(b->id_worker[1], bytes, 5);
        memcpy(&b->id_counter, bytes + 5, 3);
        b->id_counter &= 0x3fffffu;
    }
    if (b->set.workers > 1) {
        b->id_turn = sim_chance(&b->chance) < 0.5 ? 0 : 1;
    }
    b->id_counter = (b->id_counter + 1) & 0xffffffu;
    snprintf(out, 25, "%08x%s%06x", (unsigned)(at_ms / 1000), b->id_worker[b->id_turn & 1], b->id_counter);
}

/* ---- solutions and contexts ---- */

struct solution *state_add_solution(struct bridge *b, const char *id, const char *name)
{
    struct solution *s = sim_map_get(&b->solutions, id);
    if (s == NULL) {
        s = sim_alloc(sizeof(*s));
        s->id = sim_strdup(id);
        s->created = bridge_now_ms(b);
        sim_map_put(&b->solutions, id, s);
        strings_add(&b->solution_order, id);
    }
    sim_set(&s->name, name);
    return s;
}

struct context *state_context(struct bridge *b, const char *id)
{
    return sim_map_get(&b->contexts, id);
}

struct context *state_add_context(struct bridge *b, const char *id, const char *solution, const char *name)
{
    struct context *k = state_context(b, id);
    if (k == NULL) {
        k = sim_alloc(sizeof(*k));
        k->id = sim_strdup(id);
        k->created = bridge_now_ms(b);
        k->modified = k->created;
        sim_map_put(&b->contexts, id, k);
        strings_add(&b->context_order, id);
    }
    sim_set(&k->solution, solution);
    sim_set(&k->name, name);
    sim_set(&k->description, "");
    sim_set(&k->shares, "[]");
    return k;
}

void state_context_json(struct sim_buf *b, const struct context *k)
{
    sim_buf_printf(
        b, "{\"id\":\"%s\",\"created\":%lld,\"modified\":%lld,\"solution\":\"%s\",\"shares\":%s,\"name\":",
        k->id, (long long)k->created, (long long)k->modified, k->solution, k->shares);
    sim_buf_json_string(b, k->name);
    sim_buf_puts(b, ",\"description\":");
    sim_buf_json_string(b, k->description);
    sim_buf_puts(b, ",\"scope\":\"private\",\"policy\":{}}");
}

static void strings_remove(struct strings *s, const char *text)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->at[i], text) == 0) {
            free(s->at[i]);
            s->count--;
            memmove(s->at + i, s->at + i + 1, (s->count - i) * sizeof(char *));
            return;
        }
    }
}

static void context_free(void *value)
{
    struct context *k = value;
    free(k->id);
    free(k->solution);
    free(k->name);
    free(k->description);
    free(k->shares);
    free(k);
}

void state_delete_context(struct bridge *b, struct context *context)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        for (size_t i = b->containers[kind].count; i > 0; i--) {
            if (b->containers[kind].at[i - 1]->context == context) {
                state_delete_container(b, b->containers[kind].at[i - 1]);
            }
        }
    }
    strings_remove(&b->context_order, context->id);
    sim_map_take(&b->contexts, context->id);
    context_free(context);
}

/* ---- containers ---- */

struct container *state_container(struct bridge *b, enum bridge_kind kind, const char *id)
{
    struct container *k = sim_map_get(&b->container_by_id, id);
    return k != NULL && k->kind == kind ? k : NULL;
}

struct container *state_add_container(struct bridge *b, enum bridge_kind kind, struct context *context,
                                      const char *id)
{
    struct container *k = sim_alloc(sizeof(*k));
    struct container_list *l = &b->containers[kind];
    k->kind = kind;
    k->context = context;
    snprintf(k->id, sizeof(k->id), "%s", id);
    l->at = sim_grow(l->at, l->count + 1, sizeof(struct container *));
    size_t place = l->count;
    while (place > 0 && strcmp(l->at[place - 1]->id, k->id) > 0) {
        l->at[place] = l->at[place - 1];
        place--;
    }
    l->at[place] = k;
    l->count++;
    sim_map_put(&b->container_by_id, k->id, k);
    return k;
}

static void item_free(struct item *i)
{
    free(i->id);
    free(i->author);
    free(i->modifier);
    free(i->key_id);
    free(i->public_meta);
    free(i);
}

static void container_free(struct container *k)
{
    for (size_t i = 0; i < k->item_count; i++) {
        item_free(k->items[i]);
    }
    free(k->items);
    free(k->creator);
    free(k->modifier);
    free(k->key_id);
    free(k->users);
    free(k->managers);
    free(k->public_meta);
    free(k->thread_id);
    free(k->store_id);
    free(k);
}

void state_delete_container(struct bridge *b, struct container *k)
{
    struct container_list *l = &b->containers[k->kind];
    size_t place = 0;
    while (l->at[place] != k) {
        place++;
    }
    l->count--;
    for (; place < l->count; place++) {
        l->at[place] = l->at[place + 1];
    }
    sim_map_take(&b->container_by_id, k->id);
    container_free(k);
}

static const struct {
    const char *last_name;
    const char *counter_name;
} statistics[KIND_COUNT] = {
    [KIND_THREAD] = {"lastMsgDate", "messages"},
    [KIND_STORE] = {"lastFileDate", "files"},
    [KIND_KVDB] = {"lastEntryDate", "entries"},
};

void state_container_json(struct sim_buf *b, const struct container *k)
{
    sim_buf_printf(b, "{\"id\":\"%s\",\"contextId\":\"%s\",\"createDate\":%lld,\"creator\":", k->id,
                   k->context->id, (long long)k->created);
    sim_buf_json_string(b, k->creator);
    sim_buf_printf(b, ",\"lastModificationDate\":%lld,\"lastModifier\":", (long long)k->modified);
    sim_buf_json_string(b, k->modifier);
    if (statistics[k->kind].last_name != NULL) {
        sim_buf_puts(b, ",\"keyId\":");
        sim_buf_json_string(b, k->key_id);
        sim_buf_printf(b, ",\"users\":%s,\"managers\":%s,\"version\":%lld,\"%s\":%lld,\"%s\":%lld", k->users,
                       k->managers, (long long)k->version, statistics[k->kind].last_name,
                       (long long)k->last_date, statistics[k->kind].counter_name, (long long)k->counter);
    } else {
        sim_buf_printf(b, ",\"users\":%s,\"managers\":%s,\"keyId\":", k->users, k->managers);
        sim_buf_json_string(b, k->key_id);
        sim_buf_printf(b, ",\"version\":%lld", (long long)k->version);
    }
    sim_buf_printf(b, ",\"publicMeta\":%s", k->public_meta);
    if (k->kind == KIND_STREAM) {
        sim_buf_printf(b, ",\"closed\":%s", k->closed ? "true" : "false");
    }
    sim_buf_puts(b, "}");
}

/* ---- items ---- */

size_t state_item_place(const struct container *k, const char *id, bool past)
{
    size_t low = 0;
    size_t high = k->item_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(k->items[middle]->id, id);
        if (order < 0 || (past && order == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct item *state_item(const struct container *k, const char *id)
{
    size_t place = state_item_place(k, id, false);
    return place < k->item_count && strcmp(k->items[place]->id, id) == 0 ? k->items[place] : NULL;
}

struct item *state_add_item(struct container *k, const char *id)
{
    if (k->item_count == k->item_cap) {
        k->item_cap = k->item_cap != 0 ? 2 * k->item_cap : 16;
        k->items = sim_grow(k->items, k->item_cap, sizeof(struct item *));
    }
    struct item *i = sim_alloc(sizeof(*i));
    i->id = sim_strdup(id);
    i->thumb_bytes = -1;
    size_t place = state_item_place(k, id, true);
    memmove(k->items + place + 1, k->items + place, (k->item_count - place) * sizeof(struct item *));
    k->items[place] = i;
    k->item_count++;
    return i;
}

void state_delete_item(struct container *k, struct item *i)
{
    size_t place = state_item_place(k, i->id, false);
    k->item_count--;
    memmove(k->items + place, k->items + place + 1, (k->item_count - place) * sizeof(struct item *));
    item_free(i);
}

static void message_json(struct sim_buf *b, const struct container *k, const struct item *i)
{
    sim_buf_printf(
        b, "{\"id\":\"%s\",\"contextId\":\"%s\",\"threadId\":\"%s\",\"createDate\":%lld,\"author\":", i->id,
        k->context->id, k->id, (long long)i->created);
    sim_buf_json_string(b, i->author);
    sim_buf_puts(b, ",\"keyId\":");
    sim_buf_json_string(b, i->key_id);
}

static void file_json(struct sim_buf *b, const struct container *k, const struct item *i)
{
    sim_buf_printf(b,
                   "{\"id\":\"%s\",\"version\":%lld,\"storeId\":\"%s\",\"contextId\":\"%s\",\"created\":%lld,"
                   "\"creator\":",
                   i->id, (long long)i->version, k->id, k->context->id, (long long)i->created);
    sim_buf_json_string(b, i->author);
    sim_buf_puts(b, ",\"lastModifier\":");
    sim_buf_json_string(b, i->modifier);
    sim_buf_printf(b, ",\"lastModificationDate\":%lld,\"size\":%lld,\"keyId\":", (long long)i->modified,
                   (long long)i->size_bytes);
    sim_buf_json_string(b, i->key_id);
    if (i->thumb_bytes >= 0) {
        sim_buf_printf(b, ",\"thumb\":{\"size\":%lld}", (long long)i->thumb_bytes);
    }
}

static void entry_json(struct sim_buf *b, const struct container *k, const struct item *i)
{
    sim_buf_puts(b, "{\"kvdbEntryKey\":");
    sim_buf_json_string(b, i->id);
    sim_buf_printf(b,
                   ",\"version\":%lld,\"contextId\":\"%s\",\"kvdbId\":\"%s\",\"createDate\":%lld,\"author\":",
                   (long long)i->version, k->context->id, k->id, (long long)i->created);
    sim_buf_json_string(b, i->author);
    sim_buf_puts(b, ",\"keyId\":");
    sim_buf_json_string(b, i->key_id);
    sim_buf_printf(b, ",\"lastModificationDate\":%lld,\"lastModifier\":", (long long)i->modified);
    sim_buf_json_string(b, i->modifier);
}

void state_item_json(struct sim_buf *b, const struct container *k, const struct item *i)
{
    if (k->kind == KIND_THREAD) {
        message_json(b, k, i);
    } else if (k->kind == KIND_STORE) {
        file_json(b, k, i);
    } else {
        entry_json(b, k, i);
    }
    sim_buf_printf(b, ",\"publicMeta\":%s}", i->public_meta);
}

/* ---- end ---- */

static void solution_free(void *value)
{
    struct solution *s = value;
    free(s->id);
    free(s->name);
    free(s);
}

void state_free(struct bridge *b)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        for (size_t i = 0; i < b->containers[kind].count; i++) {
            container_free(b->containers[kind].at[i]);
        }
        free(b->containers[kind].at);
        b->containers[kind] = (struct container_list){0};
    }
    sim_map_clear(&b->container_by_id, NULL);
    sim_map_clear(&b->contexts, context_free);
    sim_map_clear(&b->solutions, solution_free);
    strings_clear(&b->solution_order);
    strings_clear(&b->context_order);
}
