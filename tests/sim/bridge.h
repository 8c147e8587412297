/*
 * The simulated PrivMX Bridge: one struct that its modules share, and what each of them offers to the others.
 * Facts of the protocol are those of PROTOCOL.md, exchanges.jsonl and notifications.jsonl.
 *
 *   bridge_sim.c      main: options, listening, the ping clock
 *   bridge_tokens.c   API keys, logins, token sessions
 *   bridge_rpc.c      JSON-RPC: the order of checks, the method table, answers and refusals
 *   bridge_lists.c    the listing methods of section 9
 *   bridge_state.c    solutions, contexts, containers and items, and how each is written
 *   bridge_events.c   notifications: whom they reach, and the record of them
 *   bridge_sockets.c  WebSockets: upgrade, bind, subscriptions, pings
 *   bridge_flood.c    floods for benchmarks
 *   bridge_control.c  the control API for tests under /_sim
 *   bridge_make.c     the part of it that makes, changes and removes things
 *   bridge_bulk.c     many messages at a rate
 *   bridge_settings.c settings and faults by name
 */
#ifndef BRIDGEBELL_TESTS_SIM_BRIDGE_H
#define BRIDGEBELL_TESTS_SIM_BRIDGE_H

#include "tests/sim/sim_ws.h"

#include <cjson/cJSON.h>

/* ---- settings and faults: int64_t each, set by name from the configuration or the control API ---- */

struct bridge_settings {
    int64_t ping_interval_ms;
    int64_t access_token_ms;
    int64_t refresh_token_ms;
    int64_t session_max;
    int64_t http_idle_ms;
    int64_t clock_offset_ms;
    int64_t streams;
    int64_t workers;
    int64_t ws_message_max_bytes;
    int64_t rate_limit;
    int64_t rate_initial;
    int64_t rate_max;
    int64_t rate_per_s;
    int64_t rate_per_call;
    struct sim_ws_shape shape;
    int64_t event_log_max;
    /* Faults. Those with _count end by themselves after so many uses; -1 never ends. */
    int64_t answer_delay_ms;
    int64_t answer_jitter_ms;
    int64_t answer_garbage_count;
    int64_t answer_none_count;
    int64_t limit_answer_count;
    int64_t subscribe_429_count;
    int64_t http_status;
    int64_t http_status_count;
    int64_t upgrade_status;
    int64_t upgrade_status_count;
    int64_t upgrade_hang_count;
    int64_t mute;
    int64_t no_pings;
    int64_t stop_reading;
    int64_t drop_answers_count;
};

/* ---- state ---- */

enum bridge_kind { KIND_THREAD, KIND_STORE, KIND_INBOX, KIND_STREAM, KIND_KVDB, KIND_COUNT };

struct solution {
    char *id;
    char *name;
    int64_t created;
};

struct context {
    char *id;
    char *solution;
    char *name;
    char *description;
    char *shares; /* JSON list */
    int64_t created;
    int64_t modified;
};

/* A message, a file or an entry. Its id (an entry's key) orders it in its container. */
struct item {
    char *id;
    int64_t version;
    int64_t created;
    int64_t modified;
    char *author;
    char *modifier;
    char *key_id;
    char *public_meta; /* JSON text, as written */
    int64_t size_bytes;
    int64_t thumb_bytes; /* -1: none */
};

struct container {
    enum bridge_kind kind;
    char id[40];
    struct context *context;
    int64_t created;
    int64_t modified;
    char *creator;
    char *modifier;
    char *key_id;
    char *users; /* JSON lists */
    char *managers;
    int64_t version;
    int64_t last_date;
    int64_t counter; /* what the statistics show; it may differ from item_count, as in the real thing */
    bool closed;
    char *public_meta;
    char *thread_id; /* of an inbox */
    char *store_id;
    struct item **items; /* in the order of their ids */
    size_t item_count;
    size_t item_cap;
};

struct container_list {
    struct container **at; /* in the order of their ids */
    size_t count;
};

/* ---- keys and tokens ---- */

struct strings {
    char **at;
    size_t count;
};

struct api_key {
    char *id;
    char *secret;
    char *name;
    char *user;
    struct strings scope;
    int64_t created;
    bool enabled;
};

struct token_session {
    struct token_session *next; /* newest first */
    struct api_key *key;
    struct strings scope;
    char *name;      /* of the scope session:NAME, or NULL */
    char *address;   /* of the scope ipAddr:, or NULL */
    uint64_t socket; /* of the scope connection; 0: none */
    int64_t created;
    char access[320];
    char refresh[320];
    int64_t access_expiry;
    int64_t refresh_expiry;
};

/* ---- sockets ---- */

enum channel { CHANNEL_THREAD, CHANNEL_STORE, CHANNEL_STREAM, CHANNEL_INBOX, CHANNEL_KVDB, CHANNEL_COUNT };
extern const char *const channel_names[CHANNEL_COUNT];

struct subscription {
    bool on;
    struct strings solutions; /* as granted when it was made; "*" for all */
};

struct socket {
    struct socket *prev, *next;
    struct bridge *bridge;
    struct sim_ws *ws;
    uint64_t id;
    bool service; /* its request target ends in /api */
    bool alive;   /* a pong or a message since the last ping */
    char *bound;  /* access token, or NULL */
    char *user_agent;
    struct subscription subscriptions[CHANNEL_COUNT];
    struct delayed *delayed;
    uint64_t deliveries;
    uint64_t pongs;
    void *flood; /* of bridge_flood.c */
};

/* ---- the record of events ---- */

struct event_record {
    uint64_t number;
    int64_t timestamp;
    uint64_t sent_ns;
    char type[32];
    char id[64];
};

struct bridge {
    struct event_base *base;
    struct sim_server *server;
    struct sim_server *control;
    struct bridge_settings set;
    struct bridge_settings set_at_start;
    uint64_t chance;
    char *http_body;
    char *upgrade_location;
    char *fault_method; /* the method that fault_answer is for */
    char *fault_answer; /* JSON members put in place of the result */
    int64_t fault_method_count;

    struct sim_map solutions, contexts;
    struct strings solution_order, context_order;
    struct container_list containers[KIND_COUNT];
    struct sim_map container_by_id;
    uint32_t id_counter;
    char id_worker[2][11];
    unsigned id_turn;

    struct sim_map keys;
    struct token_session *sessions;
    struct sim_map access_tokens, refresh_tokens;
    struct sim_map credits; /* by address */

    struct socket *sockets;
    int socket_count;
    struct event *ping_timer;

    struct event_record *events; /* a ring of event_log_max */
    size_t event_cap;
    uint64_t event_count;
    uint64_t deliveries;
    uint64_t sockets_accepted;
    uint64_t dropped_by_ping;
    uint64_t refreshes;
    uint64_t rate_limited;
    struct sim_map logins;   /* by session name; "" for unnamed */
    struct sim_map calls;    /* by method */
    struct sim_map refusals; /* by error code */
    struct sim_map emitted;  /* by type */
    struct flood *flood;
    struct bulk *bulk;
};

int64_t bridge_now_ms(const struct bridge *b);
/* Takes one use of a fault: true if *count is not 0; a positive count goes down by one. */
bool bridge_fault(int64_t *count);

/* bridge_settings.c: NULL, or the name that is not known. */
const char *bridge_settings_apply(struct bridge *b, const cJSON *object);
void bridge_settings_default(struct bridge *b);
void bridge_settings_json(const struct bridge *b, struct sim_buf *out);

/* strings: a list that owns its texts */
void strings_add(struct strings *s, const char *text);
bool strings_have(const struct strings *s, const char *text);
void strings_copy(struct strings *to, const struct strings *from);
void strings_clear(struct strings *s);
void strings_json(struct sim_buf *b, const struct strings *s);

/* ---- bridge_tokens.c ---- */

struct rpc_error {
    int code;
    const char *message;
    char data[256]; /* empty: null */
};

/* What a caller may do: a token session or, for Basic, the key itself. */
struct authority {
    struct api_key *key;
    const struct strings *scope;
};

struct api_key *tokens_add_key(struct bridge *b, const char *id, const char *secret, const cJSON *scope);
void tokens_delete_key(struct bridge *b, const char *id);
/* Both answer false with *e filled. socket is 0 over HTTP. *session lives until it is replaced or evicted. */
bool tokens_login(struct bridge *b, const cJSON *params, const char *address, uint64_t socket,
                  struct token_session **session, struct rpc_error *e);
bool tokens_refresh(struct bridge *b, const char *token, const char *address, uint64_t socket,
                    struct token_session **session, struct rpc_error *e);
/* The session of a usable access token, or NULL. */
struct token_session *tokens_check(struct bridge *b, const char *access, const char *address,
                                   uint64_t socket);
void tokens_socket_ended(struct bridge *b, uint64_t socket);
/* name NULL: all sessions. Returns how many. */
int tokens_expire(struct bridge *b, const char *name, bool access, bool refresh);
int tokens_evict(struct bridge *b, const char *name);
bool scope_has_solution(const struct strings *scope, const char *solution);
void tokens_free(struct bridge *b);

/* ---- bridge_rpc.c ---- */

struct rpc_call {
    struct bridge *bridge;
    struct socket *socket; /* NULL over HTTP */
    const char *address;
    const char *authorization; /* header, HTTP only */
    const cJSON *params;
    const cJSON *token; /* the optional member */
    struct authority authority;
    struct rpc_error error;
    struct sim_buf *result;
};

/* The answer to one request. False: the client is to get none. */
bool rpc_answer(struct bridge *b, struct socket *socket, const char *address, const char *authorization,
                const char *text, size_t length, struct sim_buf *answer);
bool rpc_fail(struct rpc_call *c, int code, const char *data);

/* Parameters are checked as the Bridge does it: required ones in order, then each one given in its order. */
enum param_type {
    PARAM_STRING,
    PARAM_STRING_OR_NULL,
    PARAM_INTEGER,
    PARAM_ENUM,
    PARAM_CHANNELS,
    PARAM_OPTIONAL_STRING
};
struct param {
    const char *name;
    enum param_type type;
    double min, max;
    const char *values[6];
};
bool rpc_params(struct rpc_call *c, const struct param *spec, size_t count);
const char *rpc_string(const struct rpc_call *c, const char *name);

/* ---- bridge_lists.c ---- */

bool lists_containers(struct rpc_call *c, enum bridge_kind kind);
bool lists_items(struct rpc_call *c, enum bridge_kind kind);
bool lists_kvdb_keys(struct rpc_call *c);
bool lists_contexts(struct rpc_call *c);
bool lists_contexts_of_solution(struct rpc_call *c);
bool lists_solutions(struct rpc_call *c);
bool lists_get_message(struct rpc_call *c);

/* ---- bridge_state.c ---- */

void state_new_id(struct bridge *b, int64_t at_ms, char out[25]);
struct solution *state_add_solution(struct bridge *b, const char *id, const char *name);
struct context *state_add_context(struct bridge *b, const char *id, const char *solution, const char *name);
struct context *state_context(struct bridge *b, const char *id);
/* With all that is in it, without notifications. */
void state_delete_context(struct bridge *b, struct context *context);
struct container *state_container(struct bridge *b, enum bridge_kind kind, const char *id);
struct container *state_add_container(struct bridge *b, enum bridge_kind kind, struct context *context,
                                      const char *id);
void state_delete_container(struct bridge *b, struct container *k);
struct item *state_add_item(struct container *k, const char *id);
struct item *state_item(const struct container *k, const char *id);
/* The first place whose id is not below id (or, past, above it). */
size_t state_item_place(const struct container *k, const char *id, bool past);
void state_delete_item(struct container *k, struct item *i);
void state_free(struct bridge *b);
/* As they stand in notifications and listings. */
void state_container_json(struct sim_buf *b, const struct container *k);
void state_item_json(struct sim_buf *b, const struct container *k, const struct item *i);
void state_context_json(struct sim_buf *b, const struct context *k);

/* ---- bridge_events.c ---- */

/* Builds the frame and sends it to whoever is subscribed. id is what the record shows. */
void events_emit(struct bridge *b, enum channel channel, const char *type, const char *solution,
                 const char *data, const char *id);
/* Sends a text as it is to every socket with a subscription to channel, or with any if channel is -1. */
int events_emit_raw(struct bridge *b, int channel, const char *text, size_t length);
void events_record(struct bridge *b, const char *type, const char *id, int64_t timestamp);
bool events_wanted(const struct socket *s, enum channel channel, const char *solution);
/* The frames that follow from a change, in the captured order. */
void events_container(struct bridge *b, struct container *k, const char *what);
void events_container_deleted(struct bridge *b, struct container *k);
void events_item(struct bridge *b, struct container *k, struct item *i, const char *what);
void events_item_deleted(struct bridge *b, struct container *k, const char *id);
void events_stats(struct bridge *b, struct container *k);
void events_list_json(struct bridge *b, uint64_t since, uint64_t limit, struct sim_buf *out);
void events_sent_times(struct bridge *b, struct sim_buf *out);

/* ---- bridge_sockets.c ---- */

/* Handles an upgrade request. */
void sockets_upgrade(struct bridge *b, struct sim_conn *c, struct sim_request *r);
void sockets_conn_closed(struct bridge *b, struct sim_conn *c);
/* Sends an answer, late if told so. */
void sockets_answer(struct socket *s, const char *text, size_t length);
void sockets_ping_start(struct bridge *b);
/* id 0: all. Each returns how many. */
int sockets_drop(struct bridge *b, uint64_t id, enum sim_ending how);
int sockets_close(struct bridge *b, uint64_t id, int code, const char *reason);
void sockets_apply_settings(struct bridge *b);
void sockets_json(struct bridge *b, struct sim_buf *out);

/* ---- bridge_flood.c ---- */

/* Starts a flood; answers c now, or at its end if it says "wait". */
void flood_start(struct bridge *b, struct sim_conn *c, const cJSON *order);
void flood_json(struct bridge *b, struct sim_buf *out);
void flood_stop(struct bridge *b);
void flood_socket_ended(struct bridge *b, struct socket *s);
void flood_sent_times(struct bridge *b, struct sim_buf *out);
void flood_forget(struct bridge *b, const struct sim_conn *c);
void flood_free(struct bridge *b);

/* ---- bridge_control.c, bridge_make.c and bridge_bulk.c ---- */

void control_request(struct bridge *b, struct sim_conn *c, struct sim_request *r);
/* Answers to c that were to come later are dropped. */
void control_conn_closed(struct bridge *b, struct sim_conn *c);
void control_error(struct sim_conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* NULL, or what is wrong. out: the members of the answer. text: the request's body. */
const char *make_create(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out);
const char *make_update(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out);
const char *make_delete(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out);
const char *make_inbox_entry(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out);
/* Makes one message as a user of the Bridge would; meta is JSON text. The item, which belongs to its thread.
 */
struct item *make_message(struct bridge *b, struct container *thread, const char *meta);
const char *make_bulk(struct bridge *b, struct sim_conn *c, const cJSON *o, const char *text);
void make_bulk_json(struct bridge *b, struct sim_buf *out);
void make_bulk_forget(struct bridge *b, const struct sim_conn *c);
void make_bulk_stop(struct bridge *b);
/* Takes the members "solutions", "contexts", "keys", "threads", ... of a configuration. NULL or what is
 * wrong. */
const char *make_from_config(struct bridge *b, const char *text);

const char *json_text(const cJSON *o, const char *name, const char *otherwise);
double json_number(const cJSON *o, const char *name, double otherwise);
bool json_flag(const cJSON *o, const char *name, bool otherwise);

#endif
