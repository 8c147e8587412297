#include "tests/sim/bridge.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_PARAMS                                                                                          \
    {.name = "from", .type = PARAM_STRING_OR_NULL},                                                          \
        {.name = "limit", .type = PARAM_INTEGER, .min = 1, .max = 100},                                      \
    {                                                                                                        \
        .name = "sortOrder", .type = PARAM_ENUM, .values = { "asc", "desc" }                                 \
    }

static const struct {
    const char *id_name; /* of the container in a list of its items */
    const char *scope;
    bool container_scope; /* listing the containers needs the scope as well */
    int missing;
} kinds[KIND_COUNT] = {
    [KIND_THREAD] = {"threadId", "thread", false, 24577},
    [KIND_STORE] = {"storeId", "store", true, 24855},
    [KIND_INBOX] = {"inboxId", "inbox", true, 24862},
    [KIND_STREAM] = {"streamRoomId", "stream", true, 24866},
    [KIND_KVDB] = {"kvdbId", "kvdb", true, 24892},
};

/* A page of places first, first + step, ... of something ordered. */
struct page {
    size_t first;
    size_t count; /* entries beyond `from`, not only on this page */
    size_t shown;
    bool down;
};

static bool need_scope(struct rpc_call *c, const char *scope)
{
    return strings_have(c->authority.scope, scope) || rpc_fail(c, 24878, scope);
}

static bool descending(const struct rpc_call *c)
{
    return strcmp(rpc_string(c, "sortOrder"), "desc") == 0;
}

/* below: how many are under `from`; above: how many places lie before the first above it. */
static struct page make_page(const struct rpc_call *c, size_t below, size_t above, size_t total)
{
    bool from = rpc_string(c, "from") != NULL;
    struct page p = {.down = descending(c)};
    size_t limit = (size_t)json_number(c->params, "limit", 1);
    if (p.down) {
        p.count = from ? below : total;
        p.first = p.count - 1;
    } else {
        p.first = from ? above : 0;
        p.count = total - p.first;
    }
    p.shown = p.count < limit ? p.count : limit;
    return p;
}

static size_t page_place(const struct page *p, size_t n)
{
    return p->down ? p->first - n : p->first + n;
}

static bool reachable(struct rpc_call *c, const struct context *k)
{
    return scope_has_solution(c->authority.scope, k->solution) || rpc_fail(c, 48, "");
}

/* ---- containers of a context ---- */

static struct container_list of_context(struct bridge *b, enum bridge_kind kind,
                                        const struct context *context)
{
    const struct container_list *all = &b->containers[kind];
    struct container_list some = {.at = sim_alloc((all->count + 1) * sizeof(*some.at))};
    for (size_t i = 0; i < all->count; i++) {
        if (all->at[i]->context == context) {
            some.at[some.count++] = all->at[i];
        }
    }
    return some;
}

static size_t container_place(const struct container_list *l, const char *id, bool past)
{
    size_t i = 0;
    while (id != NULL && i < l->count && strcmp(l->at[i]->id, id) < (past ? 1 : 0)) {
        i++;
    }
    return i;
}

bool lists_containers(struct rpc_call *c, enum bridge_kind kind)
{
    static const struct param spec[] = {{.name = "contextId", .type = PARAM_STRING}, PAGE_PARAMS};
    if (!rpc_params(c, spec, 4)) {
        return false;
    }
    if (kinds[kind].container_scope && !need_scope(c, kinds[kind].scope)) {
        return false;
    }
    struct context *context = state_context(c->bridge, rpc_string(c, "contextId"));
    if (context == NULL) {
        return rpc_fail(c, 24854, "");
    }
    if (!reachable(c, context)) {
        return false;
    }
    struct container_list some = of_context(c->bridge, kind, context);
    const char *from = rpc_string(c, "from");
    struct page p =
        make_page(c, container_place(&some, from, false), container_place(&some, from, true), some.count);
    sim_buf_printf(c->result, "{\"count\":%zu,\"list\":[", p.count);
    for (size_t i = 0; i < p.shown; i++) {
        sim_buf_puts(c->result, i != 0 ? "," : "");
        state_container_json(c->result, some.at[page_place(&p, i)]);
    }
    sim_buf_puts(c->result, "]}");
    free(some.at);
    return true;
}

/* ---- items of a container ---- */

static struct container *find_container(struct rpc_call *c, enum bridge_kind kind)
{
    if (!need_scope(c, kinds[kind].scope)) {
        return NULL;
    }
    struct container *k = state_container(c->bridge, kind, rpc_string(c, kinds[kind].id_name));
    if (k == NULL) {
        rpc_fail(c, kinds[kind].missing, "");
        return NULL;
    }
    return reachable(c, k->context) ? k : NULL;
}

static void write_items(struct rpc_call *c, const struct container *k)
{
    const char *from = rpc_string(c, "from");
    struct page p = make_page(c, from != NULL ? state_item_place(k, from, false) : 0,
                              from != NULL ? state_item_place(k, from, true) : 0, k->item_count);
    sim_buf_printf(c->result, "{\"count\":%zu,\"list\":[", p.count);
    for (size_t i = 0; i < p.shown; i++) {
        sim_buf_puts(c->result, i != 0 ? "," : "");
        state_item_json(c->result, k, k->items[page_place(&p, i)]);
    }
    sim_buf_puts(c->result, "]}");
}

/* Entries and keys of a kvdb: an optional prefix narrows the list, and the kvdb comes along. */
static void write_entries(struct rpc_call *c, const struct container *k, bool keys_only)
{
    const char *prefix = json_text(c->params, "prefix", "");
    const char *from = rpc_string(c, "from");
    struct container some = *k;
    some.items = sim_alloc((k->item_count + 1) * sizeof(*some.items));
    some.item_count = 0;
    for (size_t i = 0; i < k->item_count; i++) {
        if (strncmp(k->items[i]->id, prefix, strlen(prefix)) == 0) {
            some.items[some.item_count++] = k->items[i];
        }
    }
    struct page p = make_page(c, from != NULL ? state_item_place(&some, from, false) : 0,
                              from != NULL ? state_item_place(&some, from, true) : 0, some.item_count);
    sim_buf_puts(c->result, "{\"kvdb\":");
    state_container_json(c->result, k);
    sim_buf_puts(c->result, ",\"list\":[");
    for (size_t i = 0; i < p.shown; i++) {
        const struct item *item = some.items[page_place(&p, i)];
        sim_buf_puts(c->result, i != 0 ? "," : "");
        if (keys_only) {
            sim_buf_json_string(c->result, item->id);
        } else {
            state_item_json(c->result, k, item);
        }
    }
    sim_buf_printf(c->result, "],\"count\":%zu}", p.count);
    free(some.items);
}

bool lists_items(struct rpc_call *c, enum bridge_kind kind)
{
    const struct param spec[] = {{.name = kinds[kind].id_name, .type = PARAM_STRING},
                                 PAGE_PARAMS,
                                 {.name = "prefix", .type = PARAM_OPTIONAL_STRING}};
    if (!rpc_params(c, spec, kind == KIND_KVDB ? 5 : 4)) {
        return false;
    }
    struct container *k = find_container(c, kind);
    if (k == NULL) {
        return false;
    }
    if (kind == KIND_KVDB) {
        write_entries(c, k, false);
    } else {
        write_items(c, k);
    }
    return true;
}

bool lists_kvdb_keys(struct rpc_call *c)
{
    static const struct param spec[] = {{.name = "kvdbId", .type = PARAM_STRING},
                                        PAGE_PARAMS,
                                        {.name = "prefix", .type = PARAM_OPTIONAL_STRING}};
    struct container *k = rpc_params(c, spec, 5) ? find_container(c, KIND_KVDB) : NULL;
    if (k == NULL) {
        return false;
    }
    write_entries(c, k, true);
    return true;
}

bool lists_get_message(struct rpc_call *c)
{
    static const struct param spec[] = {{.name = "threadMessageId", .type = PARAM_STRING}};
    if (!rpc_params(c, spec, 1) || !need_scope(c, "thread")) {
        return false;
    }
    const struct container_list *threads = &c->bridge->containers[KIND_THREAD];
    for (size_t i = 0; i < threads->count; i++) {
        struct container *k = threads->at[i];
        struct item *item = state_item(k, rpc_string(c, "threadMessageId"));
        if (item == NULL) {
            continue;
        }
        if (!reachable(c, k->context)) {
            return false;
        }
        sim_buf_puts(c->result, "{\"threadMessage\":");
        state_item_json(c->result, k, item);
        sim_buf_puts(c->result, "}");
        return true;
    }
    return rpc_fail(c, 24589, "");
}

/* ---- contexts and solutions ---- */

#define SKIP_PARAMS                                                                                          \
    {.name = "skip", .type = PARAM_INTEGER, .min = 0, .max = 9007199254740991.0},                            \
        {.name = "limit", .type = PARAM_INTEGER, .min = 1, .max = 100},                                      \
    {                                                                                                        \
        .name = "sortOrder", .type = PARAM_ENUM, .values = { "asc", "desc" }                                 \
    }

static bool context_listed(const struct rpc_call *c, const struct context *k, const char *solution)
{
    return scope_has_solution(c->authority.scope, k->solution) &&
           (solution == NULL || strcmp(k->solution, solution) == 0);
}

static void write_contexts(struct rpc_call *c, const char *solution)
{
    const struct strings *order = &c->bridge->context_order;
    size_t skip = (size_t)json_number(c->params, "skip", 0);
    size_t limit = (size_t)json_number(c->params, "limit", 1);
    size_t seen = 0;
    size_t shown = 0;
    bool down = descending(c);
    sim_buf_puts(c->result, "{\"list\":[");
    for (size_t i = 0; i < order->count; i++) {
        struct context *k = state_context(c->bridge, order->at[down ? order->count - 1 - i : i]);
        if (!context_listed(c, k, solution)) {
            continue;
        }
        if (seen >= skip && shown < limit) {
            sim_buf_puts(c->result, shown != 0 ? "," : "");
            state_context_json(c->result, k);
            shown++;
        }
        seen++;
    }
    sim_buf_printf(c->result, "],\"count\":%zu}", seen);
}

bool lists_contexts(struct rpc_call *c)
{
    static const struct param spec[] = {SKIP_PARAMS};
    if (!rpc_params(c, spec, 3) || !need_scope(c, "context")) {
        return false;
    }
    write_contexts(c, NULL);
    return true;
}

bool lists_contexts_of_solution(struct rpc_call *c)
{
    static const struct param spec[] = {{.name = "solutionId", .type = PARAM_STRING}, SKIP_PARAMS};
    if (!rpc_params(c, spec, 4) || !need_scope(c, "context")) {
        return false;
    }
    const char *solution = rpc_string(c, "solutionId");
    if (sim_map_get(&c->bridge->solutions, solution) == NULL) {
        return rpc_fail(c, 24880, "");
    }
    if (!scope_has_solution(c->authority.scope, solution)) {
        return rpc_fail(c, 48, "");
    }
    write_contexts(c, solution);
    return true;
}

bool lists_solutions(struct rpc_call *c)
{
    if (!rpc_params(c, NULL, 0) || !need_scope(c, "solution")) {
        return false;
    }
    const char *comma = "";
    sim_buf_puts(c->result, "{\"list\":[");
    for (size_t i = 0; i < c->bridge->solution_order.count; i++) {
        const struct solution *s = sim_map_get(&c->bridge->solutions, c->bridge->solution_order.at[i]);
        if (!scope_has_solution(c->authority.scope, s->id)) {
            continue;
        }
        sim_buf_printf(c->result, "%s{\"id\":\"%s\",\"created\":%lld,\"name\":", comma, s->id,
                       (long long)s->created);
        sim_buf_json_string(c->result, s->name);
        sim_buf_puts(c->result, "}");
        comma = ",";
    }
    sim_buf_puts(c->result, "]}");
    return true;
}
