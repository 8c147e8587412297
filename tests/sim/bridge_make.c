#include "tests/sim/bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum bridge_kind kind;
    const char *item_name;
    const char *home_name; /* how an item names its container */
} kinds[] = {
    {"thread", KIND_THREAD, "message", "threadId"},
    {"store", KIND_STORE, "file", "storeId"},
    {"kvdb", KIND_KVDB, "entry", "kvdbId"},
    {"inbox", KIND_INBOX, NULL, NULL},
    {"stream", KIND_STREAM, NULL, NULL},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int find_container_kind(const char *name)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int find_item_kind(const char *name)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (kinds[i].item_name != NULL && strcmp(kinds[i].item_name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static bool silent(const cJSON *o)
{
    return json_flag(o, "silent", false);
}

static int64_t json_ms(const cJSON *o, const char *name, int64_t otherwise)
{
    return (int64_t)json_number(o, name, (double)otherwise);
}

/* The member as written; NULL leaves what is there. */
static void set_raw(char **slot, const char *text, const char *name)
{
    char *raw = sim_json_raw(text, name);
    if (raw != NULL) {
        free(*slot);
        *slot = raw;
    }
}

static void answer_id(struct sim_buf *out, const char *id)
{
    sim_buf_puts(out, ",\"id\":");
    sim_buf_json_string(out, id);
}

/* ---- containers ---- */

static struct context *context_for(struct bridge *b, const cJSON *o)
{
    const char *id = json_text(o, "contextId", b->context_order.count != 0 ? b->context_order.at[0] : "");
    return state_context(b, id);
}

static void container_members(struct container *k, const cJSON *o, const char *text)
{
    k->modified = json_ms(o, "lastModificationDate", k->modified);
    k->last_date = json_ms(o, "lastDate", k->last_date);
    k->counter = json_ms(o, "count", k->counter);
    k->version = json_ms(o, "version", k->version);
    k->closed = json_flag(o, "closed", k->closed);
    sim_set(&k->modifier, json_text(o, "lastModifier", k->modifier));
    sim_set(&k->key_id, json_text(o, "keyId", k->key_id));
    set_raw(&k->users, text, "users");
    set_raw(&k->managers, text, "managers");
    set_raw(&k->public_meta, text, "publicMeta");
}

static struct container *new_container(struct bridge *b, enum bridge_kind kind, struct context *context,
                                       const char *id, int64_t created)
{
    char made[25];
    if (id == NULL) {
        state_new_id(b, created, made);
        id = made;
    }
    struct container *k = state_add_container(b, kind, context, id);
    k->created = k->modified = k->last_date = created;
    k->version = 1;
    sim_set(&k->creator, "alice");
    sim_set(&k->modifier, "alice");
    sim_set(&k->key_id, "key-1");
    sim_set(&k->users, "[\"alice\",\"bob\"]");
    sim_set(&k->managers, "[\"alice\"]");
    sim_set(&k->public_meta, "null");
    return k;
}

static void give_inbox_home(struct bridge *b, struct container *inbox, const cJSON *o)
{
    const char *thread = json_text(o, "threadId", NULL);
    const char *store = json_text(o, "storeId", NULL);
    struct container *t =
        thread != NULL ? NULL : new_container(b, KIND_THREAD, inbox->context, NULL, inbox->created);
    struct container *s =
        store != NULL ? NULL : new_container(b, KIND_STORE, inbox->context, NULL, inbox->created);
    sim_set(&inbox->thread_id, t != NULL ? t->id : thread);
    sim_set(&inbox->store_id, s != NULL ? s->id : store);
    if (t != NULL && !silent(o)) {
        events_container(b, t, "Created");
    }
    if (s != NULL && !silent(o)) {
        events_container(b, s, "Created");
    }
}

static const char *create_container(struct bridge *b, enum bridge_kind kind, const cJSON *o, const char *text,
                                    struct sim_buf *out)
{
    struct context *context = context_for(b, o);
    const char *id = json_text(o, "id", NULL);
    if (context == NULL) {
        return "no such context";
    }
    if (id != NULL && (strlen(id) > 39 || sim_map_get(&b->container_by_id, id) != NULL)) {
        return "this id is taken or too long";
    }
    struct container *k = new_container(b, kind, context, id, json_ms(o, "createDate", bridge_now_ms(b)));
    sim_set(&k->creator, json_text(o, "creator", "alice"));
    sim_set(&k->modifier, k->creator);
    container_members(k, o, text);
    if (kind == KIND_INBOX) {
        give_inbox_home(b, k, o);
        sim_buf_printf(out, ",\"threadId\":\"%s\",\"storeId\":\"%s\"", k->thread_id, k->store_id);
    }
    if (!silent(o)) {
        events_container(b, k, "Created");
    }
    answer_id(out, k->id);
    return NULL;
}

static const char *update_container(struct bridge *b, enum bridge_kind kind, const cJSON *o, const char *text)
{
    struct container *k = state_container(b, kind, json_text(o, "id", ""));
    if (k == NULL) {
        return "no such container";
    }
    k->version++;
    k->modified = bridge_now_ms(b);
    container_members(k, o, text);
    if (!silent(o)) {
        events_container(b, k, "Updated");
    }
    return NULL;
}

static const char *delete_container(struct bridge *b, enum bridge_kind kind, const cJSON *o)
{
    struct container *k = state_container(b, kind, json_text(o, "id", ""));
    if (k == NULL) {
        return "no such container";
    }
    if (!silent(o)) {
        events_container_deleted(b, k);
    }
    state_delete_container(b, k);
    return NULL;
}

/* ---- items ---- */

static struct item *new_item(struct bridge *b, struct container *k, const char *id, const char *author,
                             int64_t created)
{
    char made[25];
    if (id == NULL) {
        state_new_id(b, created, made);
        id = made;
    }
    struct item *i = state_add_item(k, id);
    i->version = 1;
    i->created = i->modified = created;
    sim_set(&i->author, author);
    sim_set(&i->modifier, author);
    sim_set(&i->key_id, "key-1");
    sim_set(&i->public_meta, "null");
    i->size_bytes = 64;
    k->counter++;
    k->last_date = created;
    return i;
}

struct item *make_message(struct bridge *b, struct container *thread, const char *meta)
{
    struct item *i = new_item(b, thread, NULL, "alice", bridge_now_ms(b));
    sim_set(&i->public_meta, meta);
    return i;
}

static void item_members(struct item *i, const cJSON *o, const char *text)
{
    i->version = json_ms(o, "version", i->version);
    i->modified = json_ms(o, "lastModificationDate", i->modified);
    i->size_bytes = json_ms(o, "size", i->size_bytes);
    i->thumb_bytes = json_ms(o, "thumb", i->thumb_bytes);
    sim_set(&i->modifier, json_text(o, "lastModifier", i->modifier));
    sim_set(&i->key_id, json_text(o, "keyId", i->key_id));
    set_raw(&i->public_meta, text, "publicMeta");
}

static const char *create_item(struct bridge *b, int n, const cJSON *o, const char *text, struct sim_buf *out)
{
    const char *home = json_text(o, kinds[n].home_name, NULL);
    struct container *k = home != NULL ? state_container(b, kinds[n].kind, home) : NULL;
    const char *id = json_text(o, kinds[n].kind == KIND_KVDB ? "key" : "id", NULL);
    if (k == NULL) {
        return "no such container";
    }
    if (id != NULL && state_item(k, id) != NULL) {
        return "this id is taken";
    }
    int64_t counter = k->counter;
    int64_t last_date = k->last_date;
    struct item *i =
        new_item(b, k, id, json_text(o, "author", "alice"), json_ms(o, "createDate", bridge_now_ms(b)));
    item_members(i, o, text);
    if (!json_flag(o, "counted", true)) {
        k->counter = counter;
        k->last_date = last_date;
    }
    answer_id(out, i->id);
    if (!silent(o)) {
        events_item(b, k, i, "Created");
        if (json_flag(o, "stats", true)) {
            events_stats(b, k);
        }
    }
    return NULL;
}

/* The item named by "id" (an entry's by "key"), in the container named or wherever it is. */
static struct item *find_item(struct bridge *b, int n, const cJSON *o, struct container **home)
{
    const char *id = json_text(o, kinds[n].kind == KIND_KVDB ? "key" : "id", "");
    const char *container = json_text(o, kinds[n].home_name, NULL);
    const struct container_list *l = &b->containers[kinds[n].kind];
    for (size_t i = 0; i < l->count; i++) {
        if (container != NULL && strcmp(l->at[i]->id, container) != 0) {
            continue;
        }
        struct item *item = state_item(l->at[i], id);
        if (item != NULL) {
            *home = l->at[i];
            return item;
        }
    }
    return NULL;
}

static const char *update_item(struct bridge *b, int n, const cJSON *o, const char *text)
{
    struct container *k = NULL;
    struct item *i = find_item(b, n, o, &k);
    if (i == NULL) {
        return "no such item";
    }
    i->version++;
    i->modified = bridge_now_ms(b);
    item_members(i, o, text);
    if (kinds[n].kind == KIND_KVDB) {
        k->counter++;
    }
    if (!silent(o)) {
        events_item(b, k, i, "Updated");
        if (kinds[n].kind == KIND_KVDB) {
            events_stats(b, k);
        }
    }
    return NULL;
}

/* After a deletion a store shows the time of it, the others the newest item left or their own making. */
static int64_t date_after_deletion(struct bridge *b, const struct container *k)
{
    if (k->kind == KIND_STORE) {
        return bridge_now_ms(b);
    }
    int64_t newest = k->created;
    for (size_t i = 0; i < k->item_count; i++) {
        newest = k->items[i]->created > newest ? k->items[i]->created : newest;
    }
    return newest;
}

static const char *delete_item(struct bridge *b, int n, const cJSON *o)
{
    struct container *k = NULL;
    struct item *i = find_item(b, n, o, &k);
    if (i == NULL) {
        return "no such item";
    }
    char *id = sim_strdup(i->id);
    state_delete_item(k, i);
    k->counter -= k->counter > 0 ? 1 : 0;
    k->last_date = date_after_deletion(b, k);
    if (!silent(o)) {
        events_item_deleted(b, k, id);
        events_stats(b, k);
    }
    free(id);
    return NULL;
}

/* ---- an entry in an inbox: what a visitor submits ---- */

static void submit_file(struct bridge *b, const struct container *inbox, struct container *store,
                        const char *message_id, const cJSON *o, struct sim_buf *out, const char *comma)
{
    char key_id[200];
    struct item *f = new_item(b, store, NULL, "<anonymous>", bridge_now_ms(b));
    snprintf(key_id, sizeof(key_id), "<inboxmsg-%s-%s-%s>", inbox->id, inbox->thread_id, message_id);
    sim_set(&f->key_id, key_id);
    f->size_bytes = json_ms(o, "size", 300);
    sim_buf_printf(out, "%s\"%s\"", comma, f->id);
    if (!silent(o)) {
        events_item(b, store, f, "Created");
        events_stats(b, store);
    }
}

static void submit_message(struct bridge *b, const struct container *inbox, struct container *thread,
                           const char *id, const cJSON *o)
{
    char key_id[80];
    struct item *m = new_item(b, thread, id, "<anonymous>", bridge_now_ms(b));
    snprintf(key_id, sizeof(key_id), "<inbox-%s>", inbox->id);
    sim_set(&m->key_id, key_id);
    if (!silent(o)) {
        events_item(b, thread, m, "Created");
    }
}

const char *make_inbox_entry(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out)
{
    (void)text;
    struct container *inbox = state_container(b, KIND_INBOX, json_text(o, "inboxId", ""));
    struct container *thread = inbox != NULL ? state_container(b, KIND_THREAD, inbox->thread_id) : NULL;
    struct container *store = inbox != NULL ? state_container(b, KIND_STORE, inbox->store_id) : NULL;
    if (thread == NULL || store == NULL) {
        return "no such inbox, or its thread or store is gone";
    }
    char id[25];
    int files = (int)json_number(o, "files", 0);
    bool message_first = json_flag(o, "message_first", false);
    bool message = json_flag(o, "message", true);
    state_new_id(b, bridge_now_ms(b), id);
    const char *named = json_text(o, "message_id", NULL);
    if (named != NULL) {
        snprintf(id, sizeof(id), "%s", named);
    }
    if (message && message_first) {
        submit_message(b, inbox, thread, id, o);
    }
    sim_buf_puts(out, ",\"files\":[");
    for (int i = 0; i < files; i++) {
        submit_file(b, inbox, store, id, o, out, i != 0 ? "," : "");
    }
    sim_buf_puts(out, "]");
    if (message && !message_first) {
        submit_message(b, inbox, thread, id, o);
    }
    answer_id(out, id);
    return NULL;
}

/* ---- solutions, contexts and keys ---- */

static const char *put_solution(struct bridge *b, const cJSON *o, struct sim_buf *out)
{
    struct solution *s =
        state_add_solution(b, json_text(o, "id", "solution"), json_text(o, "name", "driver"));
    s->created = json_ms(o, "created", s->created);
    answer_id(out, s->id);
    return NULL;
}

static const char *put_context(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out)
{
    const char *solution =
        json_text(o, "solution", b->solution_order.count != 0 ? b->solution_order.at[0] : "");
    const char *id = json_text(o, "id", NULL);
    if (sim_map_get(&b->solutions, solution) == NULL || id == NULL) {
        return "a context needs an id and a known solution";
    }
    struct context *k = state_add_context(b, id, solution, json_text(o, "name", "driver"));
    k->created = json_ms(o, "created", k->created);
    k->modified = json_ms(o, "modified", k->modified);
    set_raw(&k->shares, text, "shares");
    answer_id(out, k->id);
    return NULL;
}

static const char *put_key(struct bridge *b, const cJSON *o, struct sim_buf *out)
{
    const char *id = json_text(o, "id", NULL);
    const char *secret = json_text(o, "secret", NULL);
    if (id == NULL || secret == NULL) {
        return "a key needs an id and a secret";
    }
    struct api_key *k = tokens_add_key(b, id, secret, cJSON_GetObjectItemCaseSensitive(o, "scope"));
    sim_set(&k->name, json_text(o, "name", "driver"));
    sim_set(&k->user, json_text(o, "user", "user-1"));
    k->created = json_ms(o, "created", k->created);
    k->enabled = json_flag(o, "enabled", true);
    answer_id(out, k->id);
    return NULL;
}

static const char *update_key(struct bridge *b, const cJSON *o)
{
    struct api_key *k = sim_map_get(&b->keys, json_text(o, "id", ""));
    if (k == NULL) {
        return "no such key";
    }
    k->enabled = json_flag(o, "enabled", k->enabled);
    sim_set(&k->secret, json_text(o, "secret", k->secret));
    const cJSON *scope = cJSON_GetObjectItemCaseSensitive(o, "scope");
    const cJSON *one;
    if (cJSON_IsArray(scope)) {
        strings_clear(&k->scope);
    }
    cJSON_ArrayForEach(one, scope)
    {
        strings_add(&k->scope, cJSON_IsString(one) ? one->valuestring : "");
    }
    return NULL;
}

/* ---- by name ---- */

const char *make_create(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out)
{
    const char *kind = json_text(o, "kind", "");
    int n = find_container_kind(kind);
    if (n >= 0) {
        return create_container(b, kinds[n].kind, o, text, out);
    }
    n = find_item_kind(kind);
    if (n >= 0) {
        return create_item(b, n, o, text, out);
    }
    if (strcmp(kind, "solution") == 0) {
        return put_solution(b, o, out);
    }
    if (strcmp(kind, "context") == 0) {
        return put_context(b, o, text, out);
    }
    if (strcmp(kind, "key") == 0) {
        return put_key(b, o, out);
    }
    return "unknown kind";
}

const char *make_update(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out)
{
    const char *kind = json_text(o, "kind", "");
    int n = find_container_kind(kind);
    if (n >= 0) {
        return update_container(b, kinds[n].kind, o, text);
    }
    n = find_item_kind(kind);
    if (n >= 0) {
        return update_item(b, n, o, text);
    }
    if (strcmp(kind, "context") == 0) {
        return put_context(b, o, text, out);
    }
    return strcmp(kind, "key") == 0 ? update_key(b, o) : "unknown kind";
}

const char *make_delete(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out)
{
    (void)text;
    (void)out;
    const char *kind = json_text(o, "kind", "");
    int n = find_container_kind(kind);
    if (n >= 0) {
        return delete_container(b, kinds[n].kind, o);
    }
    n = find_item_kind(kind);
    if (n >= 0) {
        return delete_item(b, n, o);
    }
    struct context *context = strcmp(kind, "context") == 0 ? state_context(b, json_text(o, "id", "")) : NULL;
    if (context != NULL) {
        state_delete_context(b, context);
        return NULL;
    }
    if (strcmp(kind, "key") == 0) {
        tokens_delete_key(b, json_text(o, "id", ""));
        return NULL;
    }
    return "unknown kind";
}

/* ---- from a configuration ---- */

static const char *make_all(struct bridge *b, const cJSON *config, const char *list, const char *kind)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(config, list))
    {
        cJSON *o = cJSON_Duplicate(one, 1);
        cJSON_AddStringToObject(o, "kind", kind);
        cJSON_AddBoolToObject(o, "silent", 1);
        char *text = cJSON_PrintUnformatted(o);
        struct sim_buf out = {0};
        const char *wrong = make_create(b, o, text, &out);
        sim_buf_free(&out);
        cJSON_free(text);
        cJSON_Delete(o);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

const char *make_from_config(struct bridge *b, const char *text)
{
    static const char *const lists[][2] = {
        {"solutions", "solution"},  {"contexts", "context"}, {"keys", "key"},
        {"threads", "thread"},      {"stores", "store"},     {"inboxes", "inbox"},
        {"stream_rooms", "stream"}, {"kvdbs", "kvdb"},       {"messages", "message"},
        {"files", "file"},          {"entries", "entry"},
    };
    cJSON *config = cJSON_Parse(text);
    if (!cJSON_IsObject(config)) {
        cJSON_Delete(config);
        return "not a JSON object";
    }
    const char *wrong = NULL;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]) && wrong == NULL; i++) {
        wrong = make_all(b, config, lists[i][0], lists[i][1]);
    }
    const cJSON *settings = cJSON_GetObjectItemCaseSensitive(config, "settings");
    if (wrong == NULL && settings != NULL && bridge_settings_apply(b, settings) != NULL) {
        wrong = "unknown setting";
    }
    cJSON_Delete(config);
    return wrong;
}
