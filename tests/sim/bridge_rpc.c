#include "tests/sim/bridge.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char too_many[] =
    "{\"code\":429,\"headers\":{\"Content-Type\":\"text/plain\"},\"body\":\"Too many requests\"}";

static const struct {
    int code;
    const char *message;
} messages[] = {
    {-32700, "Parse error"},
    {-32601, "Method not found"},
    {-32602, "Invalid params"},
    {21, "Invalid token"},
    {48, "Access denied"},
    {24577, "Thread does not exist"},
    {24589, "Thread message does not exist"},
    {24854, "Context does not exist"},
    {24855, "Store does not exist"},
    {24862, "Inbox does not exist"},
    {24866, "Stream room does not exist"},
    {24875, "Api key does not exist"},
    {24876, "Invalid credentials"},
    {24878, "Insufficient scope"},
    {24879, "Unauthorized"},
    {24880, "Solution does not exist"},
    {24886, "Method is callable with websocket only"},
    {24892, "Kvdb does not exist"},
    {24894, "First api key was already created"},
};

bool rpc_fail(struct rpc_call *c, int code, const char *data)
{
    c->error.code = code;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        if (messages[i].code == code) {
            c->error.message = messages[i].message;
        }
    }
    snprintf(c->error.data, sizeof(c->error.data), "%s", data);
    return false;
}

/* ---- parameters ---- */

static bool bad_param(struct rpc_call *c, const char *name, const char *rule)
{
    char data[240];
    snprintf(data, sizeof(data), "%.100s -> %s", name, rule);
    return rpc_fail(c, -32602, data);
}

static bool in_enum(const struct param *p, const cJSON *value)
{
    for (size_t i = 0; i < 6 && p->values[i] != NULL; i++) {
        if (cJSON_IsString(value) && strcmp(value->valuestring, p->values[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool check_channels(struct rpc_call *c, const struct param *p, const cJSON *value)
{
    char rule[120];
    if (!cJSON_IsArray(value)) {
        return bad_param(c, p->name, "Expected list");
    }
    int count = cJSON_GetArraySize(value);
    if (count > 16) {
        snprintf(rule, sizeof(rule), "Invalid length! Expected max 16, get %d", count);
        return bad_param(c, p->name, rule);
    }
    int i = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, value)
    {
        if (!in_enum(p, one)) {
            snprintf(rule, sizeof(rule), "%d -> Expected value to be one of enums", i);
            return bad_param(c, p->name, rule);
        }
        i++;
    }
    return true;
}

static bool check_integer(struct rpc_call *c, const struct param *p, const cJSON *value)
{
    char rule[120];
    double n = value->valuedouble;
    if (!cJSON_IsNumber(value) || floor(n) < n) {
        return bad_param(c, p->name, "Expected integer");
    }
    if (n < p->min || n > p->max) {
        snprintf(rule, sizeof(rule), "Invalid range! Expected %s %.15g, get %.15g",
                 n < p->min ? "min" : "max", n < p->min ? p->min : p->max, n);
        return bad_param(c, p->name, rule);
    }
    return true;
}

static bool check_param(struct rpc_call *c, const struct param *p, const cJSON *value)
{
    switch (p->type) {
    case PARAM_STRING_OR_NULL:
        if (cJSON_IsNull(value)) {
            return true;
        }
        /* fallthrough */
    case PARAM_STRING:
    case PARAM_OPTIONAL_STRING:
        return cJSON_IsString(value) || bad_param(c, p->name, "Expected string");
    case PARAM_INTEGER:
        return check_integer(c, p, value);
    case PARAM_ENUM:
        return in_enum(p, value) || bad_param(c, p->name, "Expected value to be one of enums");
    case PARAM_CHANNELS:
        return check_channels(c, p, value);
    }
    return false;
}

bool rpc_params(struct rpc_call *c, const struct param *spec, size_t count)
{
    char data[200];
    if (!cJSON_IsObject(c->params)) {
        return rpc_fail(c, -32602, "Expected object");
    }
    for (size_t i = 0; i < count; i++) {
        if (spec[i].type != PARAM_OPTIONAL_STRING &&
            cJSON_GetObjectItemCaseSensitive(c->params, spec[i].name) == NULL) {
            snprintf(data, sizeof(data), "Key '%s' is required", spec[i].name);
            return rpc_fail(c, -32602, data);
        }
    }
    const cJSON *given;
    cJSON_ArrayForEach(given, c->params)
    {
        const struct param *p = NULL;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(spec[i].name, given->string) == 0) {
                p = &spec[i];
            }
        }
        if (p == NULL) {
            snprintf(data, sizeof(data), "Unexpected key '%.100s'", given->string);
            return rpc_fail(c, -32602, data);
        }
        if (!check_param(c, p, given)) {
            return false;
        }
    }
    return true;
}

const char *rpc_string(const struct rpc_call *c, const char *name)
{
    return json_text(c->params, name, NULL);
}

/* ---- manager/... ---- */

static bool strings_only(const cJSON *list)
{
    const cJSON *one;
    if (!cJSON_IsArray(list)) {
        return false;
    }
    cJSON_ArrayForEach(one, list)
    {
        if (!cJSON_IsString(one)) {
            return false;
        }
    }
    return true;
}

/* True if the parameters are exactly the names (all strings) and, if allowed, a list of strings `scope`. */
static bool matches_spec(const cJSON *params, const char *const names[], bool scope_allowed)
{
    int expected = 0;
    for (; names[expected] != NULL; expected++) {
        if (json_text(params, names[expected], NULL) == NULL) {
            return false;
        }
    }
    const cJSON *scope = cJSON_GetObjectItemCaseSensitive(params, "scope");
    if (scope != NULL) {
        if (!scope_allowed || !strings_only(scope)) {
            return false;
        }
        expected++;
    }
    return cJSON_GetArraySize(params) == expected;
}

static void session_json(struct sim_buf *b, const struct token_session *s)
{
    sim_buf_printf(b,
                   "{\"tokenType\":\"Bearer\",\"accessToken\":\"%s\",\"accessTokenExpiry\":%lld,"
                   "\"refreshToken\":\"%s\",\"refreshTokenExpiry\":%lld,\"scope\":",
                   s->access, (long long)s->access_expiry, s->refresh, (long long)s->refresh_expiry);
    strings_json(b, &s->scope);
    sim_buf_puts(b, "}");
}

static bool method_auth(struct rpc_call *c)
{
    static const char *const by_key[] = {"grantType", "apiKeyId", "apiKeySecret", NULL};
    static const char *const by_refresh[] = {"grantType", "refreshToken", NULL};
    const char *grant = json_text(c->params, "grantType", "");
    uint64_t socket = c->socket != NULL ? c->socket->id : 0;
    struct token_session *s = NULL;
    bool good;
    if (strcmp(grant, "api_key_credentials") == 0 && matches_spec(c->params, by_key, true)) {
        good = tokens_login(c->bridge, c->params, c->address, socket, &s, &c->error);
    } else if (strcmp(grant, "refresh_token") == 0 && matches_spec(c->params, by_refresh, false)) {
        good = tokens_refresh(c->bridge, rpc_string(c, "refreshToken"), c->address, socket, &s, &c->error);
    } else {
        return rpc_fail(c, -32602, "Value doesn't match any spec");
    }
    if (good) {
        session_json(c->result, s);
    }
    return good;
}

static bool ok(struct rpc_call *c)
{
    sim_buf_puts(c->result, "\"OK\"");
    return true;
}

static bool method_bind(struct rpc_call *c)
{
    static const struct param spec[] = {{.name = "accessToken", .type = PARAM_STRING}};
    if (!rpc_params(c, spec, 1)) {
        return false;
    }
    if (c->socket == NULL) {
        return rpc_fail(c, 24886, "");
    }
    const char *token = rpc_string(c, "accessToken");
    if (tokens_check(c->bridge, token, c->address, c->socket->id) == NULL) {
        return rpc_fail(c, 21, "");
    }
    sim_set(&c->socket->bound, token);
    return ok(c);
}

static bool need_scope(struct rpc_call *c, const char *scope)
{
    return strings_have(c->authority.scope, scope) || rpc_fail(c, 24878, scope);
}

static const struct param channels_spec[] = {
    {.name = "channels", .type = PARAM_CHANNELS, .values = {"thread", "store", "stream", "inbox", "kvdb"}}};

static bool channels_ready(struct rpc_call *c)
{
    if (!rpc_params(c, channels_spec, 1)) {
        return false;
    }
    if (c->socket == NULL) {
        return rpc_fail(c, 24886, "");
    }
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(c->params, "channels"))
    {
        if (!need_scope(c, one->valuestring)) {
            return false;
        }
    }
    return true;
}

static struct subscription *subscription_of(struct socket *s, const char *channel)
{
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        if (strcmp(channel_names[i], channel) == 0) {
            return &s->subscriptions[i];
        }
    }
    abort();
}

static void subscribe(struct subscription *s, const struct strings *scope)
{
    s->on = true;
    strings_clear(&s->solutions);
    for (size_t i = 0; i < scope->count; i++) {
        if (strncmp(scope->at[i], "solution:", 9) == 0) {
            strings_add(&s->solutions, scope->at[i] + 9);
        }
    }
}

static bool method_subscribe(struct rpc_call *c)
{
    if (!channels_ready(c)) {
        return false;
    }
    if (bridge_fault(&c->bridge->set.subscribe_429_count)) {
        sim_buf_puts(c->result, too_many);
        return true;
    }
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(c->params, "channels"))
    {
        subscribe(subscription_of(c->socket, one->valuestring), c->authority.scope);
    }
    return ok(c);
}

static bool method_unsubscribe(struct rpc_call *c)
{
    if (!channels_ready(c)) {
        return false;
    }
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(c->params, "channels"))
    {
        subscription_of(c->socket, one->valuestring)->on = false;
    }
    return ok(c);
}

static bool method_list_api_keys(struct rpc_call *c)
{
    if (!rpc_params(c, NULL, 0) || !need_scope(c, "apiKey")) {
        return false;
    }
    const char *comma = "";
    sim_buf_puts(c->result, "{\"list\":[");
    for (struct sim_map_node *n = sim_map_next(&c->bridge->keys, NULL); n != NULL;
         n = sim_map_next(&c->bridge->keys, n)) {
        const struct api_key *k = n->value;
        if (strcmp(k->user, c->authority.key->user) != 0) {
            continue;
        }
        sim_buf_printf(c->result, "%s{\"id\":\"%s\",\"created\":%lld,\"enabled\":%s,\"name\":", comma, k->id,
                       (long long)k->created, k->enabled ? "true" : "false");
        sim_buf_json_string(c->result, k->name);
        sim_buf_puts(c->result, ",\"scope\":");
        strings_json(c->result, &k->scope);
        sim_buf_puts(c->result, ",\"publicKey\":null}");
        comma = ",";
    }
    sim_buf_puts(c->result, "]}");
    return true;
}

static bool method_create_first_key(struct rpc_call *c)
{
    static const struct param spec[] = {{.name = "initializationToken", .type = PARAM_STRING},
                                        {.name = "name", .type = PARAM_STRING}};
    return rpc_params(c, spec, 2) && rpc_fail(c, 24894, "");
}

static bool method_threads(struct rpc_call *c)
{
    return lists_containers(c, KIND_THREAD);
}

static bool method_stores(struct rpc_call *c)
{
    return lists_containers(c, KIND_STORE);
}

static bool method_inboxes(struct rpc_call *c)
{
    return lists_containers(c, KIND_INBOX);
}

static bool method_stream_rooms(struct rpc_call *c)
{
    return lists_containers(c, KIND_STREAM);
}

static bool method_kvdbs(struct rpc_call *c)
{
    return lists_containers(c, KIND_KVDB);
}

static bool method_messages(struct rpc_call *c)
{
    return lists_items(c, KIND_THREAD);
}

static bool method_files(struct rpc_call *c)
{
    return lists_items(c, KIND_STORE);
}

static bool method_entries(struct rpc_call *c)
{
    return lists_items(c, KIND_KVDB);
}

static const struct method {
    const char *name;
    bool open; /* needs no authorization */
    bool (*run)(struct rpc_call *c);
} methods[] = {
    {"manager/auth", true, method_auth},
    {"manager/bindAccessToken", true, method_bind},
    {"manager/subscribeToChannel", false, method_subscribe},
    {"manager/unsubscribeFromChannel", false, method_unsubscribe},
    {"manager/listApiKeys", false, method_list_api_keys},
    {"manager/createFirstApiKey", true, method_create_first_key},
    {"thread/listThreads", false, method_threads},
    {"thread/listThreadMessages", false, method_messages},
    {"thread/getThreadMessage", false, lists_get_message},
    {"store/listStores", false, method_stores},
    {"store/listStoreFiles", false, method_files},
    {"inbox/listInboxes", false, method_inboxes},
    {"stream/listStreamRooms", false, method_stream_rooms},
    {"kvdb/listKvdbs", false, method_kvdbs},
    {"kvdb/listKvdbEntries", false, method_entries},
    {"kvdb/listKvdbKeys", false, lists_kvdb_keys},
    {"context/listContexts", false, lists_contexts},
    {"context/listContextsOfSolution", false, lists_contexts_of_solution},
    {"solution/listSolutions", false, lists_solutions},
};

/* ---- the order of checks ---- */

static const struct method *find_method(const struct bridge *b, const char *name)
{
    if (b->set.streams == 0 && strncmp(name, "stream/", 7) == 0) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i].name, name) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

static bool authority_of_token(struct rpc_call *c, const char *token)
{
    struct token_session *s =
        token != NULL ? tokens_check(c->bridge, token, c->address, c->socket != NULL ? c->socket->id : 0)
                      : NULL;
    if (s != NULL) {
        c->authority.key = s->key;
        c->authority.scope = &s->scope;
    }
    return s != NULL;
}

static bool authority_of_basic(struct rpc_call *c, const char *text)
{
    char plain[512] = {0};
    size_t length = strlen(text);
    if (length == 0 || length % 4 != 0 || length > 640) {
        return false;
    }
    if (EVP_DecodeBlock((unsigned char *)plain, (const unsigned char *)text, (int)length) < 0) {
        return false;
    }
    char *secret = strchr(plain, ':');
    if (secret == NULL) {
        return false;
    }
    *secret++ = '\0';
    struct api_key *k = sim_map_get(&c->bridge->keys, plain);
    if (k == NULL || !k->enabled || strcmp(k->secret, secret) != 0) {
        return false;
    }
    c->authority.key = k;
    c->authority.scope = &k->scope;
    return true;
}

static bool authorize(struct rpc_call *c, const struct method *m)
{
    bool manager = strncmp(m->name, "manager/", 8) == 0;
    bool good;
    if (manager && cJSON_IsString(c->token)) {
        good = authority_of_token(c, c->token->valuestring);
    } else if (c->socket != NULL) {
        good = manager && authority_of_token(c, c->socket->bound);
    } else if (c->authorization == NULL) {
        good = false;
    } else if (strncasecmp(c->authorization, "Basic ", 6) == 0) {
        good = authority_of_basic(c, c->authorization + 6);
    } else {
        good =
            strncasecmp(c->authorization, "Bearer ", 7) == 0 && authority_of_token(c, c->authorization + 7);
    }
    return good || rpc_fail(c, 24879, "");
}

static bool run(struct rpc_call *c, const char *method)
{
    const struct method *m = find_method(c->bridge, method);
    if (m == NULL) {
        return rpc_fail(c, -32601, "");
    }
    return (m->open || authorize(c, m)) && m->run(c);
}

/* ---- rate limit (section 10) ---- */

struct credit {
    double left;
    uint64_t at_ns;
};

static bool over_limit(struct bridge *b, const char *address)
{
    if (bridge_fault(&b->set.limit_answer_count)) {
        return true;
    }
    if (b->set.rate_limit == 0) {
        return false;
    }
    struct credit *c = sim_map_get(&b->credits, address);
    uint64_t now = sim_mono_ns();
    if (c == NULL) {
        c = sim_alloc(sizeof(*c));
        *c = (struct credit){.left = (double)b->set.rate_initial, .at_ns = now};
        sim_map_put(&b->credits, address, c);
    }
    c->left += (double)(now - c->at_ns) / 1e9 * (double)b->set.rate_per_s;
    c->left = c->left < (double)b->set.rate_max ? c->left : (double)b->set.rate_max;
    c->at_ns = now;
    if (c->left < (double)b->set.rate_per_call) {
        return true;
    }
    c->left -= (double)b->set.rate_per_call;
    return false;
}

/* ---- answers ---- */

static cJSON *read_request(const char *text, size_t length)
{
    const char *end = NULL;
    cJSON *q = cJSON_ParseWithLengthOpts(text, length, &end, 0);
    if (q == NULL) {
        return NULL;
    }
    while (end < text + length && strchr(" \t\r\n", *end) != NULL && *end != '\0') {
        end++;
    }
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(q, "id");
    if (end != text + length || !cJSON_IsObject(q) || strcmp(json_text(q, "jsonrpc", ""), "2.0") != 0 ||
        !(cJSON_IsString(id) || cJSON_IsNumber(id)) || json_text(q, "method", NULL) == NULL ||
        cJSON_GetObjectItemCaseSensitive(q, "params") == NULL) {
        cJSON_Delete(q);
        return NULL;
    }
    return q;
}

static void write_error(struct sim_buf *answer, const struct rpc_error *e)
{
    sim_buf_printf(answer, "\"error\":{\"code\":%d,\"message\":\"%s\",\"data\":", e->code, e->message);
    if (e->data[0] != '\0') {
        sim_buf_json_string(answer, e->data);
    } else {
        sim_buf_puts(answer, "null");
    }
    sim_buf_puts(answer, "}}");
}

static bool planned_answer(struct bridge *b, const char *method, struct sim_buf *answer)
{
    if (b->fault_method == NULL || b->fault_answer == NULL || strcmp(b->fault_method, method) != 0 ||
        !bridge_fault(&b->fault_method_count)) {
        return false;
    }
    /* fault_answer is an object; its members follow the id. */
    sim_buf_puts(answer, b->fault_answer + 1);
    return true;
}

static void count_call(struct bridge *b, const char *method)
{
    sim_count(&b->calls, find_method(b, method) != NULL ? method : "(unknown)");
}

static void count_refusal(struct bridge *b, int code)
{
    char name[24];
    snprintf(name, sizeof(name), "%d", code);
    sim_count(&b->refusals, name);
}

static void answer_request(struct rpc_call *c, const cJSON *q, struct sim_buf *answer)
{
    const char *method = json_text(q, "method", "");
    char *id = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(q, "id"));
    sim_buf_printf(answer, "{\"jsonrpc\":\"2.0\",\"id\":%s,", id);
    cJSON_free(id);
    count_call(c->bridge, method);
    if (planned_answer(c->bridge, method, answer)) {
        return;
    }
    if (over_limit(c->bridge, c->address)) {
        c->bridge->rate_limited++;
        sim_buf_printf(answer, "\"result\":%s}", too_many);
        return;
    }
    if (!run(c, method)) {
        count_refusal(c->bridge, c->error.code);
        write_error(answer, &c->error);
        return;
    }
    sim_buf_puts(answer, "\"result\":");
    sim_buf_add(answer, c->result->data, c->result->len);
    sim_buf_puts(answer, "}");
}

bool rpc_answer(struct bridge *b, struct socket *socket, const char *address, const char *authorization,
                const char *text, size_t length, struct sim_buf *answer)
{
    if (bridge_fault(&b->set.answer_none_count)) {
        return false;
    }
    if (bridge_fault(&b->set.answer_garbage_count)) {
        sim_buf_puts(answer, "<html><body>Bad gateway {\"jsonrpc\":</body></html>");
        return true;
    }
    struct sim_buf result = {0};
    struct rpc_call c = {
        .bridge = b, .socket = socket, .address = address, .authorization = authorization, .result = &result};
    cJSON *q = read_request(text, length);
    if (q == NULL) {
        rpc_fail(&c, -32700, "");
        count_refusal(b, c.error.code);
        sim_buf_puts(answer, "{\"jsonrpc\":\"2.0\",");
        write_error(answer, &c.error);
    } else {
        c.params = cJSON_GetObjectItemCaseSensitive(q, "params");
        c.token = cJSON_GetObjectItemCaseSensitive(q, "token");
        answer_request(&c, q, answer);
        cJSON_Delete(q);
    }
    sim_buf_free(&result);
    return true;
}
