#include "dispatcher/members.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/metrics.h"
#include "proto/wire.h"

enum {
    BYTES_MAX = 64 * 1024 * 1024, /* of all together */
    SLOTS_MIN = 64,
};

/* One container. The users' texts stand one behind the other. */
struct entry {
    struct entry *next;            /* of the same slot */
    struct entry *older, *younger; /* by last use */
    char *key;                     /* bridge, NUL, container */
    size_t key_len, bridge_len;
    uint64_t hash;
    char *texts;
    const char **users;
    size_t count, bytes;
    int64_t version;
    bool none, deleted;
};

struct members {
    struct entry **slots;
    size_t slots_count; /* a power of two */
    struct entry *oldest, *youngest;
    size_t count, max, bytes;
    struct buf key;
    uint64_t learned, hits, misses, evicted;
};

struct members *members_new(size_t containers_max)
{
    struct members *m = xcalloc(1, sizeof *m);
    m->max = containers_max ? containers_max : 1;
    m->slots_count = SLOTS_MIN;
    while (m->slots_count < m->max)
        m->slots_count *= 2;
    m->slots = xcalloc(m->slots_count, sizeof(struct entry *));
    buf_init(&m->key, 0);
    return m;
}

/* ---- the list by use ---- */

static void unlink_use(struct members *m, struct entry *e)
{
    *(e->older ? &e->older->younger : &m->oldest) = e->younger;
    *(e->younger ? &e->younger->older : &m->youngest) = e->older;
}

static void link_use(struct members *m, struct entry *e)
{
    e->older = m->youngest;
    e->younger = NULL;
    *(m->youngest ? &m->youngest->younger : &m->oldest) = e;
    m->youngest = e;
}

static void use(struct members *m, struct entry *e)
{
    if (m->youngest == e)
        return;
    unlink_use(m, e);
    link_use(m, e);
}

/* ---- entries ---- */

static struct entry **place_of(struct members *m, struct msg_str bridge, struct msg_str container,
                               uint64_t *hash)
{
    buf_reset(&m->key);
    buf_add(&m->key, bridge.data ? bridge.data : "", bridge.len);
    buf_addc(&m->key, '\0');
    buf_add(&m->key, container.data ? container.data : "", container.len);
    *hash = hash_table_key(m->key.data, m->key.len);
    struct entry **p = &m->slots[*hash & (m->slots_count - 1)];
    while (*p && !((*p)->hash == *hash && (*p)->key_len == m->key.len &&
                   memcmp((*p)->key, m->key.data, m->key.len) == 0))
        p = &(*p)->next;
    return p;
}

static void empty(struct members *m, struct entry *e)
{
    m->bytes -= e->bytes;
    free(e->texts);
    free(e->users);
    e->texts = NULL;
    e->users = NULL;
    e->count = e->bytes = 0;
}

static void drop(struct members *m, struct entry **p)
{
    struct entry *e = *p;
    *p = e->next;
    unlink_use(m, e);
    empty(m, e);
    m->count--;
    m->bytes -= sizeof *e + e->key_len;
    free(e->key);
    free(e);
}

static void drop_entry(struct members *m, const struct entry *e)
{
    struct entry **p = &m->slots[e->hash & (m->slots_count - 1)];
    while (*p != e)
        p = &(*p)->next;
    drop(m, p);
}

void members_free(struct members **p)
{
    struct members *m = *p;
    if (!m)
        return;
    *p = NULL;
    while (m->oldest)
        drop_entry(m, m->oldest);
    free(m->slots);
    buf_free(&m->key);
    free(m);
}

/* The least used go, but for the one that was just filled. */
static void make_room(struct members *m)
{
    while (m->oldest != m->youngest && (m->count > m->max || m->bytes > BYTES_MAX)) {
        drop_entry(m, m->oldest);
        m->evicted++;
    }
}

static struct entry *entry_of(struct members *m, struct msg_str bridge, struct msg_str container)
{
    uint64_t hash;
    struct entry **p = place_of(m, bridge, container, &hash);
    if (!*p) {
        struct entry *e = xcalloc(1, sizeof *e);
        e->key = xmalloc(m->key.len);
        memcpy(e->key, m->key.data, m->key.len);
        e->key_len = m->key.len;
        e->bridge_len = bridge.len;
        e->hash = hash;
        e->version = -1;
        *p = e;
        m->count++;
        m->bytes += sizeof *e + e->key_len;
        link_use(m, e);
        return e;
    }
    use(m, *p);
    return *p;
}

/* ---- asking ---- */

enum members_known members_find(struct members *m, struct msg_str bridge, struct msg_str container,
                                struct members_list *out)
{
    uint64_t hash;
    struct entry *e = *place_of(m, bridge, container, &hash);
    *out = (struct members_list){0};
    if (!e) {
        m->misses++;
        return MEMBERS_TO_ASK;
    }
    m->hits++;
    use(m, e);
    if (e->none)
        return MEMBERS_NONE;
    *out = (struct members_list){e->users, e->count};
    return MEMBERS_KNOWN;
}

bool members_knows(struct members *m, struct msg_str bridge, struct msg_str container)
{
    uint64_t hash;
    return *place_of(m, bridge, container, &hash) != NULL;
}

/* ---- learning ---- */

/* Ids from any source, each kept once; the set holds index + 1. */
struct gathering {
    struct msg_str *list;
    size_t count, bytes;
    uint32_t *slots;
    size_t slots_count;
};

static void gathering_begin(struct gathering *g, size_t most)
{
    *g = (struct gathering){.slots_count = 16};
    while (g->slots_count < 2 * most)
        g->slots_count *= 2;
    g->slots = xcalloc(g->slots_count, sizeof *g->slots);
    g->list = xcalloc(most + 1, sizeof *g->list);
}

static void gather(struct gathering *g, struct msg_str user)
{
    if (!user.data || user.len > WIRE_MEMBERS_ID_BYTES || memchr(user.data, '\0', user.len))
        return;
    size_t at = (size_t)hash_table_key(user.data, user.len) & (g->slots_count - 1);
    for (; g->slots[at]; at = (at + 1) & (g->slots_count - 1)) {
        const struct msg_str *other = &g->list[g->slots[at] - 1];
        if (other->len == user.len && memcmp(other->data, user.data, user.len) == 0)
            return;
    }
    g->list[g->count++] = user;
    g->slots[at] = (uint32_t)g->count;
    g->bytes += user.len + 1;
}

static void gathering_end(struct gathering *g)
{
    free(g->list);
    free(g->slots);
}

static void fill(struct members *m, struct entry *e, const struct gathering *g)
{
    empty(m, e);
    e->texts = xmalloc(g->bytes + 1);
    e->users = xcalloc(g->count + 1, sizeof *e->users);
    char *to = e->texts;
    for (size_t i = 0; i < g->count; i++) {
        e->users[i] = to;
        memcpy(to, g->list[i].data, g->list[i].len);
        to[g->list[i].len] = '\0';
        to += g->list[i].len + 1;
    }
    e->count = g->count;
    e->bytes = g->bytes + g->count * sizeof *e->users;
    m->bytes += e->bytes;
}

/* What is older than what is known is no news: events and answers overtake one another. A container that was
 * deleted does not come again. */
static struct entry *fresh_entry(struct members *m, struct msg_str bridge, struct msg_str container,
                                 int64_t version)
{
    struct entry *e = entry_of(m, bridge, container);
    if (e->deleted || (version >= 0 && e->version > version))
        return NULL;
    e->version = version;
    e->none = false;
    m->learned++;
    return e;
}

static void set_none(struct members *m, struct msg_str bridge, struct msg_str container, bool deleted)
{
    struct entry *e = entry_of(m, bridge, container);
    empty(m, e);
    e->none = true;
    e->deleted = e->deleted || deleted;
    e->version = -1;
    make_room(m);
}

void members_learn(struct members *m, const char *bridge, const struct wire_members *found)
{
    struct msg_str of = msg_str_of(bridge);
    if (found->outcome == WIRE_MEMBERS_NONE)
        set_none(m, of, found->container, false);
    struct entry *e =
        found->outcome == WIRE_MEMBERS_FOUND ? fresh_entry(m, of, found->container, found->version) : NULL;
    if (!e)
        return;
    struct gathering g;
    struct msg_fields users = found->users;
    gathering_begin(&g, users.left);
    while (users.left)
        gather(&g, msg_get_str(&users));
    fill(m, e, &g);
    gathering_end(&g);
    make_room(m);
}

/* ---- events ---- */

static const msgpack_object *member_of(const msgpack_object *data, const char *name)
{
    if (!data || data->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < data->via.map.size; i++) {
        const msgpack_object_kv *kv = &data->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR &&
            msg_str_is((struct msg_str){kv->key.via.str.ptr, kv->key.via.str.size}, name))
            return &kv->val;
    }
    return NULL;
}

static size_t size_of(const msgpack_object *list)
{
    return list->via.array.size < WIRE_MEMBERS_MAX ? list->via.array.size : WIRE_MEMBERS_MAX;
}

static void gather_list(struct gathering *g, const msgpack_object *list)
{
    for (size_t i = 0; i < size_of(list); i++) {
        const msgpack_object *o = &list->via.array.ptr[i];
        if (o->type == MSGPACK_OBJECT_STR)
            gather(g, (struct msg_str){o->via.str.ptr, o->via.str.size});
    }
}

static void see_container(struct members *m, const struct event *event)
{
    const msgpack_object *users = member_of(event->data, "users");
    const msgpack_object *managers = member_of(event->data, "managers");
    const msgpack_object *version = member_of(event->data, "version");
    if (!users || !managers || users->type != MSGPACK_OBJECT_ARRAY || managers->type != MSGPACK_OBJECT_ARRAY)
        return;
    bool has_version =
        version && version->type == MSGPACK_OBJECT_POSITIVE_INTEGER && version->via.u64 <= INT64_MAX;
    struct entry *e =
        fresh_entry(m, event->bridge, event->container, has_version ? (int64_t)version->via.u64 : -1);
    if (!e)
        return;
    struct gathering g;
    gathering_begin(&g, size_of(users) + size_of(managers));
    gather_list(&g, users);
    gather_list(&g, managers);
    fill(m, e, &g);
    gathering_end(&g);
    make_room(m);
}

/* A container in which something happens is there, whatever an earlier look-up found. */
static void doubt_none(struct members *m, const struct event *event)
{
    uint64_t hash;
    struct entry **p = place_of(m, event->bridge, event->container, &hash);
    if (*p && (*p)->none && !(*p)->deleted)
        drop(m, p);
}

void members_see(struct members *m, const struct event *event)
{
    const struct event_type *type = event_type_find(event->type.data, event->type.len);
    if (!m || !type || !event->container.data)
        return;
    if (!type->is_container)
        doubt_none(m, event);
    else if (type->sort == EVENT_CREATED || type->sort == EVENT_UPDATED)
        see_container(m, event);
}

void members_see_off(struct members *m, const struct event *event)
{
    const struct event_type *type = event_type_find(event->type.data, event->type.len);
    if (m && type && type->is_container && type->sort == EVENT_DELETED && event->container.data)
        set_none(m, event->bridge, event->container, true);
}

void members_forget(struct members *m, const char *bridge)
{
    size_t len = strlen(bridge);
    if (!m)
        return;
    for (struct entry *e = m->oldest, *younger; e; e = younger) {
        younger = e->younger;
        if (!e->deleted && e->bridge_len == len && memcmp(e->key, bridge, len) == 0)
            drop_entry(m, e);
    }
}

/* ---- telling ---- */

void members_status(const struct members *m, cJSON *status)
{
    if (!m)
        return;
    cJSON *o = cJSON_AddObjectToObject(status, "members");
    cJSON_AddNumberToObject(o, "containers", (double)m->count);
    cJSON_AddNumberToObject(o, "bytes", (double)m->bytes);
    cJSON_AddNumberToObject(o, "learned", (double)m->learned);
    cJSON_AddNumberToObject(o, "hits", (double)m->hits);
    cJSON_AddNumberToObject(o, "misses", (double)m->misses);
    cJSON_AddNumberToObject(o, "evicted", (double)m->evicted);
}

static void print_one(struct buf *out, const struct metric_def *def, uint64_t value)
{
    metrics_print_head(out, def);
    metrics_print_value(out, def, "", NULL, (int64_t)value);
}

void members_metrics(const struct members *m, struct buf *out)
{
    static const struct metric_def containers = {"members_containers", METRIC_GAUGE,
                                                 "Containers whose members are known.", NULL};
    static const struct metric_def hits = {"members_hits_total", METRIC_COUNTER,
                                           "Times that members were known when a rule asked.", NULL};
    static const struct metric_def misses = {"members_misses_total", METRIC_COUNTER,
                                             "Times that they had to be looked up.", NULL};
    if (!m)
        return;
    print_one(out, &containers, m->count);
    print_one(out, &hits, m->hits);
    print_one(out, &misses, m->misses);
}
