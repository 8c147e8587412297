#include "tests/sim/bridge.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Random bytes that give the lengths of PROTOCOL.md section 3 in base64: 216, and 304 and 308 with
 * `connection`. */
enum { TOKEN_BYTES = 161, CONNECTION_ACCESS_BYTES = 227, CONNECTION_REFRESH_BYTES = 230 };

static bool fail(struct rpc_error *e, int code, const char *message, const char *data)
{
    e->code = code;
    e->message = message;
    snprintf(e->data, sizeof(e->data), "%s", data);
    return false;
}

static bool bad_token(struct rpc_error *e)
{
    return fail(e, 21, "Invalid token", "");
}

static bool no_such_key(struct rpc_error *e)
{
    return fail(e, 24875, "Api key does not exist", "");
}

static bool bad_scope(struct rpc_error *e, const char *data)
{
    return fail(e, 24878, "Insufficient scope", data);
}

/* ---- keys ---- */

struct api_key *tokens_add_key(struct bridge *b, const char *id, const char *secret, const cJSON *scope)
{
    static const char *const all[] = {"context", "apiKey", "solution", "solution:*", "inbox",
                                      "store",   "thread", "stream",   "kvdb"};
    struct api_key *k = sim_map_get(&b->keys, id);
    if (k == NULL) {
        k = sim_alloc(sizeof(*k));
        k->id = sim_strdup(id);
        k->created = bridge_now_ms(b);
        sim_map_put(&b->keys, id, k);
    }
    sim_set(&k->secret, secret);
    k->enabled = true;
    strings_clear(&k->scope);
    for (size_t i = 0; scope == NULL && i < sizeof(all) / sizeof(all[0]); i++) {
        strings_add(&k->scope, all[i]);
    }
    const cJSON *s;
    cJSON_ArrayForEach(s, scope)
    {
        strings_add(&k->scope, cJSON_IsString(s) ? s->valuestring : "");
    }
    return k;
}

static void key_free(void *value)
{
    struct api_key *k = value;
    free(k->id);
    free(k->secret);
    free(k->name);
    free(k->user);
    strings_clear(&k->scope);
    free(k);
}

/* ---- sessions ---- */

static void make_token(char out[320], size_t random_bytes)
{
    unsigned char bytes[240];
    sim_random(bytes, random_bytes);
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)random_bytes);
}

static void issue_tokens(struct bridge *b, struct token_session *s)
{
    int64_t now = bridge_now_ms(b);
    make_token(s->access, s->socket != 0 ? CONNECTION_ACCESS_BYTES : TOKEN_BYTES);
    make_token(s->refresh, s->socket != 0 ? CONNECTION_REFRESH_BYTES : TOKEN_BYTES);
    s->access_expiry = now + b->set.access_token_ms;
    s->refresh_expiry = now + b->set.refresh_token_ms;
    sim_map_put(&b->access_tokens, s->access, s);
    sim_map_put(&b->refresh_tokens, s->refresh, s);
}

static void revoke_tokens(struct bridge *b, struct token_session *s)
{
    sim_map_take(&b->access_tokens, s->access);
    sim_map_take(&b->refresh_tokens, s->refresh);
}

static void session_delete(struct bridge *b, struct token_session *s)
{
    struct token_session **at = &b->sessions;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    revoke_tokens(b, s);
    strings_clear(&s->scope);
    free(s->name);
    free(s->address);
    free(s);
}

static bool same_user(const struct token_session *s, const struct api_key *k)
{
    return strcmp(s->key->user, k->user) == 0;
}

/* The one of that name, or of the user's sessions the one created first if there is no place left. */
static void make_room(struct bridge *b, const struct api_key *k, const char *name)
{
    struct token_session *oldest = NULL;
    struct token_session *namesake = NULL;
    int64_t count = 0;
    for (struct token_session *s = b->sessions; s != NULL; s = s->next) {
        if (!same_user(s, k) || s->socket != 0) {
            continue;
        }
        count++;
        oldest = s; /* the list is newest first */
        if (name != NULL && s->name != NULL && strcmp(s->name, name) == 0) {
            namesake = s;
        }
    }
    if (namesake != NULL) {
        session_delete(b, namesake);
    } else if (count >= b->set.session_max && oldest != NULL) {
        session_delete(b, oldest);
    }
}

/* What a login asks for besides scopes. */
struct wish {
    struct strings scope;
    const char *name;
    const char *address;
    bool connection;
};

static bool whole_number(const char *text)
{
    return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

static bool take_scope(struct bridge *b, const struct api_key *k, const char *scope, uint64_t socket,
                       struct wish *w, struct rpc_error *e)
{
    char data[200];
    if (strncmp(scope, "session:", 8) == 0) {
        w->name = scope + 8;
    } else if (strncmp(scope, "ipAddr:", 7) == 0) {
        w->address = scope + 7;
    } else if (strcmp(scope, "connection") == 0) {
        w->connection = true;
        if (socket == 0) {
            return bad_scope(e, "connection scope can be used with websocket only");
        }
    } else if (strncmp(scope, "expiresIn:", 10) == 0) {
        if (!whole_number(scope + 10)) {
            return fail(e, -32602, "Invalid params", "expires:NUMBER is not an integer");
        }
        if (strtod(scope + 10, NULL) > (double)b->set.refresh_token_ms) {
            snprintf(data, sizeof(data), "Maximal ttl is exceeded (max: %lldms)",
                     (long long)b->set.refresh_token_ms);
            return fail(e, -32602, "Invalid params", data);
        }
    } else if (!strings_have(&k->scope, scope)) {
        snprintf(data, sizeof(data), "Cannot use %.150s", scope);
        return bad_scope(e, data);
    } else {
        strings_add(&w->scope, scope);
    }
    return true;
}

static struct token_session *session_make(struct bridge *b, struct api_key *k, const struct wish *w,
                                          uint64_t socket)
{
    if (!w->connection) {
        make_room(b, k, w->name);
    }
    struct token_session *s = sim_alloc(sizeof(*s));
    s->key = k;
    strings_copy(&s->scope, &w->scope);
    sim_set(&s->name, w->name);
    sim_set(&s->address, w->address);
    s->socket = w->connection ? socket : 0;
    s->created = bridge_now_ms(b);
    s->next = b->sessions;
    b->sessions = s;
    issue_tokens(b, s);
    sim_count(&b->logins, w->name != NULL ? w->name : "");
    return s;
}

bool tokens_login(struct bridge *b, const cJSON *params, const char *address, uint64_t socket,
                  struct token_session **session, struct rpc_error *e)
{
    (void)address;
    struct api_key *k = sim_map_get(&b->keys, json_text(params, "apiKeyId", ""));
    if (k == NULL || !k->enabled) {
        return no_such_key(e);
    }
    if (strcmp(k->secret, json_text(params, "apiKeySecret", "")) != 0) {
        return fail(e, 24876, "Invalid credentials", "");
    }
    struct wish w = {0};
    const cJSON *scope = cJSON_GetObjectItemCaseSensitive(params, "scope");
    const cJSON *one;
    bool good = true;
    if (scope == NULL) {
        strings_copy(&w.scope, &k->scope);
    }
    cJSON_ArrayForEach(one, scope)
    {
        good = good && take_scope(b, k, one->valuestring, socket, &w, e);
    }
    if (good) {
        *session = session_make(b, k, &w, socket);
    }
    strings_clear(&w.scope);
    return good;
}

static bool usable(const struct token_session *s, const char *address, uint64_t socket)
{
    return s->key->enabled && (s->socket == 0 || s->socket == socket) &&
           (s->address == NULL || strcmp(s->address, address) == 0);
}

bool tokens_refresh(struct bridge *b, const char *token, const char *address, uint64_t socket,
                    struct token_session **session, struct rpc_error *e)
{
    struct token_session *s = sim_map_get(&b->refresh_tokens, token);
    if (s == NULL || s->refresh_expiry <= bridge_now_ms(b) || !usable(s, address, socket)) {
        return bad_token(e);
    }
    revoke_tokens(b, s);
    issue_tokens(b, s);
    b->refreshes++;
    *session = s;
    return true;
}

struct token_session *tokens_check(struct bridge *b, const char *access, const char *address, uint64_t socket)
{
    struct token_session *s = sim_map_get(&b->access_tokens, access);
    if (s == NULL || s->access_expiry <= bridge_now_ms(b) || !usable(s, address, socket)) {
        return NULL;
    }
    return s;
}

void tokens_socket_ended(struct bridge *b, uint64_t socket)
{
    struct token_session *next;
    for (struct token_session *s = b->sessions; s != NULL; s = next) {
        next = s->next;
        if (s->socket == socket) {
            session_delete(b, s);
        }
    }
}

static bool named(const struct token_session *s, const char *name)
{
    return name == NULL || (s->name != NULL && strcmp(s->name, name) == 0);
}

int tokens_expire(struct bridge *b, const char *name, bool access, bool refresh)
{
    int count = 0;
    for (struct token_session *s = b->sessions; s != NULL; s = s->next) {
        if (named(s, name)) {
            s->access_expiry = access ? 0 : s->access_expiry;
            s->refresh_expiry = refresh ? 0 : s->refresh_expiry;
            count++;
        }
    }
    return count;
}

int tokens_evict(struct bridge *b, const char *name)
{
    int count = 0;
    struct token_session *next;
    for (struct token_session *s = b->sessions; s != NULL; s = next) {
        next = s->next;
        if (named(s, name)) {
            session_delete(b, s);
            count++;
        }
    }
    return count;
}

void tokens_delete_key(struct bridge *b, const char *id)
{
    struct api_key *k = sim_map_take(&b->keys, id);
    if (k == NULL) {
        return;
    }
    struct token_session *next;
    for (struct token_session *s = b->sessions; s != NULL; s = next) {
        next = s->next;
        if (s->key == k) {
            session_delete(b, s);
        }
    }
    key_free(k);
}

bool scope_has_solution(const struct strings *scope, const char *solution)
{
    char text[200];
    snprintf(text, sizeof(text), "solution:%.150s", solution);
    return strings_have(scope, "solution:*") || strings_have(scope, text);
}

void tokens_free(struct bridge *b)
{
    tokens_evict(b, NULL);
    sim_map_clear(&b->access_tokens, NULL);
    sim_map_clear(&b->refresh_tokens, NULL);
    sim_map_clear(&b->keys, key_free);
}
