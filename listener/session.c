#include "listener/session.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "listener/backoff.h"

enum {
    STOPPED_RETRY_MS = 60000,
    LIFE_UNKNOWN_MS = 60000, /* when the answer's times make no sense */
    LIFE_MIN_MS = 500,
    REFRESH_MIN_MS = 250,
    DATE_STEP_MS = 999, /* the Date header is cut to whole seconds */
    TOKEN_MAX_BYTES = 2048,
};

/* How the next token is to be got. */
enum way { WAY_LOGIN, WAY_REFRESH };

struct session {
    const struct settings *settings;
    const struct session_ops *ops;
    void *arg;
    struct api *api;
    struct loop_timer *timer;
    struct backoff backoff;
    char *access, *refresh;
    cJSON *granted; /* array of texts */
    uint64_t number;
    enum way way;
    bool wanted;          /* somebody waits for a token */
    bool refreshed_once;  /* the current token came by refresh after a rejection */
    bool without_context; /* the key has no scope `context` */
    bool without_name;    /* the Bridge refuses a named session */
    bool has_clock;
    int64_t clock_bridge_ms;
    uint64_t clock_boot_ms;
    struct session_counts counts;
};

static void ask(struct session *s);

static void on_timer(void *arg)
{
    ask(arg);
}

struct session *session_new(const struct settings *settings, const struct session_ops *ops, void *arg)
{
    struct session *s = xcalloc(1, sizeof *s);
    s->settings = settings;
    s->ops = ops;
    s->arg = arg;
    s->timer = loop_timer_new(on_timer, s);
    s->backoff = (struct backoff){settings->reconnect_min_ms, settings->reconnect_max_ms, 0};
    s->without_context = !settings->catch_up;
    s->api = api_new(&(struct api_options){.url = settings->url,
                                           .ca_file = settings->ca_file,
                                           .connect_timeout_ms = settings->connect_timeout_ms,
                                           .request_timeout_ms = settings->request_timeout_ms});
    return s;
}

static void forget(char **secret)
{
    if (*secret)
        xfree_secret(*secret, strlen(*secret));
    *secret = NULL;
}

void session_free(struct session **p)
{
    struct session *s = *p;
    if (!s)
        return;
    *p = NULL;
    api_free(&s->api);
    loop_timer_free(&s->timer);
    forget(&s->access);
    forget(&s->refresh);
    cJSON_Delete(s->granted);
    free(s);
}

/* ---- asking ---- */

static void add_scope(cJSON *list, const char *format, const char *word)
{
    char *scope = xasprintf(format, word);
    cJSON_AddItemToArray(list, cJSON_CreateString(scope));
    free(scope);
}

static cJSON *login_params(const struct session *s)
{
    const struct settings *o = s->settings;
    cJSON *params = cJSON_CreateObject();
    cJSON_AddStringToObject(params, "grantType", "api_key_credentials");
    cJSON_AddStringToObject(params, "apiKeyId", o->key_id);
    cJSON_AddStringToObject(params, "apiKeySecret", o->secret);
    cJSON *scope = cJSON_AddArrayToObject(params, "scope");
    for (size_t i = 0; i < o->channels_count; i++)
        add_scope(scope, "%s", o->channels[i]);
    for (size_t i = 0; i < o->solutions_count; i++)
        add_scope(scope, "solution:%s", o->solutions[i]);
    if (!s->without_context)
        add_scope(scope, "%s", "context");
    if (!s->without_name)
        add_scope(scope, "session:%s", o->session);
    return params;
}

static cJSON *refresh_params(const struct session *s)
{
    cJSON *params = cJSON_CreateObject();
    cJSON_AddStringToObject(params, "grantType", "refresh_token");
    cJSON_AddStringToObject(params, "refreshToken", s->refresh);
    return params;
}

static void on_answer(void *arg, const struct api_answer *answer);

static void ask(struct session *s)
{
    if (api_busy(s->api))
        return;
    loop_timer_stop(s->timer);
    if (!s->refresh)
        s->way = WAY_LOGIN;
    bool login = s->way == WAY_LOGIN;
    api_call(s->api, login ? STEP_LOGIN : STEP_REFRESH, "manager/auth",
             login ? login_params(s) : refresh_params(s), NULL, on_answer, s);
}

/* ---- answers ---- */

int64_t session_life_ms(int64_t expiry_ms, int64_t date_ms, int64_t our_ms)
{
    int64_t life = expiry_ms - (date_ms >= 0 ? date_ms + DATE_STEP_MS : our_ms);
    if (life < -DATE_STEP_MS)
        return LIFE_UNKNOWN_MS;
    return life < LIFE_MIN_MS ? LIFE_MIN_MS : life;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(v) && strlen(v->valuestring) <= TOKEN_MAX_BYTES ? v->valuestring : NULL;
}

/* The first scope that is needed and was not granted, with the failure that it means; NULL if all is there.
 */
static const struct failure *missing_scope(const struct session *s, const char **name)
{
    bool solution = false;
    const cJSON *scope;
    cJSON_ArrayForEach(scope, s->granted) solution =
        solution || (cJSON_IsString(scope) && strncmp(scope->valuestring, "solution:", 9) == 0);
    *name = "solution:";
    if (!solution)
        return &failure_no_solution;
    for (size_t i = 0; i < s->settings->channels_count; i++) {
        *name = s->settings->channels[i];
        if (!session_granted(s, *name))
            return &failure_channel_missing;
    }
    return NULL;
}

static void stop(struct session *s, const struct failure *failure, const char *detail)
{
    loop_timer_start(s->timer, STOPPED_RETRY_MS);
    s->ops->stopped(s->arg, failure, detail);
}

static void take_tokens(struct session *s, const cJSON *result, int64_t date_ms)
{
    forget(&s->access);
    forget(&s->refresh);
    s->access = xstrdup(text_of(result, "accessToken"));
    const char *refresh = text_of(result, "refreshToken");
    s->refresh = refresh ? xstrdup(refresh) : NULL;
    const cJSON *granted = cJSON_GetObjectItemCaseSensitive(result, "scope");
    if (cJSON_IsArray(granted)) {
        cJSON_Delete(s->granted);
        s->granted = cJSON_Duplicate(granted, true);
    }
    const cJSON *expiry = cJSON_GetObjectItemCaseSensitive(result, "accessTokenExpiry");
    int64_t life_ms = cJSON_IsNumber(expiry) && expiry->valuedouble > 0 && expiry->valuedouble < 9e15
                          ? session_life_ms((int64_t)expiry->valuedouble, date_ms, clock_wall_ms())
                          : LIFE_UNKNOWN_MS;
    int64_t refresh_ms = life_ms / 3 * 2;
    loop_timer_start(s->timer, refresh_ms > REFRESH_MIN_MS ? refresh_ms : REFRESH_MIN_MS);
    s->number++;
    log_info(s->way == WAY_LOGIN ? "logged in at the Bridge" : "token refreshed", log_int("life_ms", life_ms),
             log_int("refresh_in_ms", refresh_ms));
}

static void succeed(struct session *s, const cJSON *result, int64_t date_ms)
{
    take_tokens(s, result, date_ms);
    if (s->way == WAY_LOGIN) {
        s->counts.logins++;
        s->refreshed_once = false;
    } else {
        s->counts.refreshes++;
    }
    backoff_reset(&s->backoff);
    s->way = WAY_REFRESH;
    const char *name;
    const struct failure *missing = missing_scope(s, &name);
    if (missing) {
        s->way = WAY_LOGIN;
        forget(&s->access);
        stop(s, missing, name);
        return;
    }
    s->wanted = false;
    s->ops->ready(s->arg);
}

/* What a login may leave out when the key lacks it. */
static bool can_do_without(struct session *s, const struct failure *failure, const char *detail)
{
    if (strcmp(failure->name, "scope_missing") != 0)
        return false;
    if (!s->without_context && strstr(detail, "context")) {
        s->without_context = true;
        log_warn("the API key has no scope `context`: what is missed while away cannot be caught up",
                 log_str("advice", "give the key the scope context, or set catch_up = off"));
        return true;
    }
    if (!s->without_name && strstr(detail, "session:")) {
        s->without_name = true;
        log_warn("the API key may not name its session: each start takes one of the user's 16 places",
                 log_str("advice", "give the key a scope that allows session names"));
        return true;
    }
    return false;
}

static void fail(struct session *s, const struct failure *failure, const char *detail)
{
    s->counts.failures++;
    enum failure_step step = s->way == WAY_LOGIN ? STEP_LOGIN : STEP_REFRESH;
    if (can_do_without(s, failure, detail)) {
        ask(s);
        return;
    }
    failure_log(failure, step, detail);
    if (failure->decision == FAILURE_STOP) {
        s->way = WAY_LOGIN;
        stop(s, failure, detail);
        return;
    }
    if (failure->decision == FAILURE_RENEW && s->way == WAY_REFRESH) {
        s->way = WAY_LOGIN;
        forget(&s->refresh);
        ask(s);
        return;
    }
    int64_t again_ms = backoff_next(&s->backoff);
    log_info("asking for a token again", log_int("in_ms", again_ms));
    loop_timer_start(s->timer, again_ms);
}

static void on_answer(void *arg, const struct api_answer *answer)
{
    struct session *s = arg;
    if (answer->date_ms >= 0) {
        s->has_clock = true;
        s->clock_bridge_ms = answer->date_ms;
        s->clock_boot_ms = clock_boot_ms();
    }
    if (answer->failure) {
        fail(s, answer->failure, answer->detail);
        return;
    }
    if (answer->rpc.form == RPC_RESULT && text_of(answer->rpc.result, "accessToken")) {
        succeed(s, answer->rpc.result, answer->date_ms);
        return;
    }
    struct rpc_answer odd = {.form = RPC_ODD};
    fail(s, failure_of_answer(STEP_LOGIN, &odd), "");
}

/* ---- for others ---- */

const char *session_token(const struct session *s)
{
    return s->access;
}

uint64_t session_number(const struct session *s)
{
    return s->number;
}

void session_want(struct session *s)
{
    if (s->access || s->wanted)
        return;
    s->wanted = true;
    if (!loop_timer_pending(s->timer))
        ask(s);
}

void session_rejected(struct session *s, uint64_t number)
{
    if (!s->access || number != s->number)
        return;
    forget(&s->access);
    if (s->refreshed_once) {
        /* The token that the refresh brought was rejected as well. */
        s->way = WAY_LOGIN;
        forget(&s->refresh);
    }
    s->refreshed_once = true;
    s->wanted = true;
    ask(s);
}

void session_accepted(struct session *s)
{
    s->refreshed_once = false;
}

bool session_granted(const struct session *s, const char *name)
{
    const cJSON *scope;
    cJSON_ArrayForEach(scope, s->granted) if (cJSON_IsString(scope) &&
                                              strcmp(scope->valuestring, name) == 0) return true;
    return false;
}

bool session_clock(const struct session *s, int64_t *bridge_ms, uint64_t *boot_ms)
{
    *bridge_ms = s->clock_bridge_ms;
    *boot_ms = s->clock_boot_ms;
    return s->has_clock;
}

const struct session_counts *session_counts(const struct session *s)
{
    return &s->counts;
}
