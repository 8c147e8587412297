#include "listener/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "listener/backoff.h"

enum {
    PAGE = 100,
    RETRY_MIN_MS = 1000,
    RETRY_MAX_MS = 30000,
    RENEWALS_MAX = 2,
    REFUSALS_MAX = 10,     /* of one look-up, by errors that may pass */
    CONTEXTS_MAX = 100000, /* searched in one look-up */
    ID_BYTES_MAX = 128,
};

static const struct {
    const char *channel, *method;
} lists[] = {
    {"thread", "thread/listThreads"},     {"store", "store/listStores"}, {"inbox", "inbox/listInboxes"},
    {"stream", "stream/listStreamRooms"}, {"kvdb", "kvdb/listKvdbs"},
};

/* One container that is to be looked up. */
struct task {
    struct task *next;
    uint64_t number;
    const char *method;
    char *container;
    char before[25]; /* the id behind which the list begins */
    char **contexts; /* still to be looked into, the last one first */
    size_t contexts_count;
    bool searches;     /* contexts are being listed */
    size_t solution;   /* of the listing, index in the settings */
    size_t skip, seen; /* of that solution, and in all */
    unsigned refusals, renewals;
    bool again; /* what is under way is void */
};

struct slot {
    struct lookup *lookup;
    struct api *api;
    struct task *task;
    uint64_t token_number;
};

struct lookup {
    const struct settings *settings;
    struct session *session;
    struct pace *pace;
    const struct lookup_ops *ops;
    void *arg;
    struct slot slots[LOOKUP_RUNNING_MAX];
    struct task *first, **last;
    struct loop_timer *timer;
    struct backoff retry;
    uint64_t pause_until_ms; /* after a refusal that concerns all */
    bool complained;
    struct lookup_counts counts;
};

static void step(void *arg);

struct lookup *lookup_new(const struct settings *settings, struct session *session, struct pace *pace,
                          const struct lookup_ops *ops, void *arg)
{
    struct lookup *l = xcalloc(1, sizeof *l);
    l->settings = settings;
    l->session = session;
    l->pace = pace;
    l->ops = ops;
    l->arg = arg;
    l->last = &l->first;
    l->retry = (struct backoff){RETRY_MIN_MS * 2, RETRY_MAX_MS, 0};
    l->timer = loop_timer_new(step, l);
    for (size_t i = 0; i < LOOKUP_RUNNING_MAX; i++)
        l->slots[i].lookup = l;
    return l;
}

static void forget_contexts(struct task *t)
{
    for (size_t i = 0; i < t->contexts_count; i++)
        free(t->contexts[i]);
    free(t->contexts);
    t->contexts = NULL;
    t->contexts_count = 0;
}

static void task_free(struct task *t)
{
    forget_contexts(t);
    free(t->container);
    free(t);
}

void lookup_clear(struct lookup *l)
{
    for (size_t i = 0; i < LOOKUP_RUNNING_MAX; i++) {
        api_free(&l->slots[i].api);
        if (l->slots[i].task)
            task_free(l->slots[i].task);
        l->slots[i].task = NULL;
    }
    for (struct task *t = l->first, *next; t; t = next) {
        next = t->next;
        task_free(t);
    }
    l->first = NULL;
    l->last = &l->first;
    l->counts.waiting = l->counts.running = 0;
    loop_timer_stop(l->timer);
}

void lookup_free(struct lookup **p)
{
    struct lookup *l = *p;
    if (!l)
        return;
    *p = NULL;
    lookup_clear(l);
    loop_timer_free(&l->timer);
    free(l);
}

/* ---- answering ---- */

static void tell(struct lookup *l, uint64_t number, const char *container, enum wire_members_outcome outcome,
                 int64_t version, const char *const *users, size_t count)
{
    const struct wire_members found = {
        .number = number, .container = msg_str_of(container), .outcome = outcome, .version = version};
    l->ops->found(l->arg, &found, users, count);
}

static void finish(struct slot *s, enum wire_members_outcome outcome)
{
    struct lookup *l = s->lookup;
    l->counts.none += outcome == WIRE_MEMBERS_NONE;
    tell(l, s->task->number, s->task->container, outcome, -1, NULL, 0);
    task_free(s->task);
    s->task = NULL;
    l->counts.running--;
}

/* ---- asking ---- */

bool lookup_id_before(const char *id, size_t len, char out[25])
{
    static const char digits[] = "0123456789abcdef";
    enum { DIGITS = 24 };
    if (len != DIGITS)
        return false;
    for (size_t i = 0; i < DIGITS; i++)
        if (!id[i] || !strchr(digits, id[i]))
            return false;
    memcpy(out, id, DIGITS);
    out[DIGITS] = '\0';
    size_t at = DIGITS;
    while (at > 0 && out[at - 1] == '0')
        out[--at] = 'f';
    if (at == 0)
        return false;
    out[at - 1] = *(strchr(digits, out[at - 1]) - 1);
    return true;
}

static void add_context(struct task *t, const char *id, size_t len)
{
    if ((t->contexts_count & (t->contexts_count - 1)) == 0)
        t->contexts =
            xreallocarray(t->contexts, t->contexts_count ? t->contexts_count * 2 : 1, sizeof *t->contexts);
    t->contexts[t->contexts_count++] = xstrndup(id, len);
}

/* With a context only that is looked into. */
static void begin(struct task *t, struct msg_str context)
{
    forget_contexts(t);
    t->solution = t->skip = t->seen = 0;
    t->searches = !context.len;
    if (context.len)
        add_context(t, context.data, context.len);
}

static struct task *same_of(struct lookup *l, struct msg_str container)
{
    for (size_t i = 0; i < LOOKUP_RUNNING_MAX; i++)
        if (l->slots[i].task && msg_str_is(container, l->slots[i].task->container))
            return l->slots[i].task;
    for (struct task *t = l->first; t; t = t->next)
        if (msg_str_is(container, t->container))
            return t;
    return NULL;
}

static const char *method_of(struct msg_str channel)
{
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (msg_str_is(channel, lists[i].channel))
            return lists[i].method;
    return NULL;
}

static void answer_now(struct lookup *l, const struct wire_members_ask *ask,
                       enum wire_members_outcome outcome)
{
    char *container = msg_str_dup(ask->container);
    tell(l, ask->number, container, outcome, -1, NULL, 0);
    free(container);
}

void lookup_ask(struct lookup *l, const struct wire_members_ask *ask)
{
    char before[25];
    const char *method = method_of(ask->channel);
    struct task *same = same_of(l, ask->container);
    l->counts.asked++;
    if (same) {
        l->counts.merged++;
        same->number = ask->number;
        return;
    }
    if (!method || !lookup_id_before(ask->container.data, ask->container.len, before)) {
        answer_now(l, ask, WIRE_MEMBERS_NONE);
        return;
    }
    if (l->counts.waiting == LOOKUP_WAITING_MAX) {
        l->counts.refused++;
        answer_now(l, ask, WIRE_MEMBERS_BUSY);
        return;
    }
    struct task *t = xcalloc(1, sizeof *t);
    t->number = ask->number;
    t->method = method;
    t->container = msg_str_dup(ask->container);
    memcpy(t->before, before, sizeof before);
    begin(t, ask->context.len <= ID_BYTES_MAX ? ask->context : (struct msg_str){0});
    *l->last = t;
    l->last = &t->next;
    l->counts.waiting++;
    step(l);
}

/* ---- calls ---- */

static cJSON *list_params(const struct task *t)
{
    cJSON *params = cJSON_CreateObject();
    cJSON_AddStringToObject(params, "contextId", t->contexts[t->contexts_count - 1]);
    cJSON_AddStringToObject(params, "from", t->before);
    cJSON_AddNumberToObject(params, "limit", 1);
    cJSON_AddStringToObject(params, "sortOrder", "asc");
    return params;
}

static cJSON *context_params(const struct task *t, const char *solution)
{
    cJSON *params = cJSON_CreateObject();
    if (solution)
        cJSON_AddStringToObject(params, "solutionId", solution);
    cJSON_AddNumberToObject(params, "skip", (double)t->skip);
    cJSON_AddNumberToObject(params, "limit", PAGE);
    cJSON_AddStringToObject(params, "sortOrder", "asc");
    return params;
}

static void on_answer(void *arg, const struct api_answer *answer);

static void call(struct slot *s)
{
    struct lookup *l = s->lookup;
    struct task *t = s->task;
    const struct settings *o = l->settings;
    if (!s->api)
        s->api = api_new(&(struct api_options){.url = o->url,
                                               .ca_file = o->ca_file,
                                               .connect_timeout_ms = o->connect_timeout_ms,
                                               .request_timeout_ms = o->request_timeout_ms});
    pace_take(l->pace);
    l->counts.calls++;
    t->again = false;
    s->token_number = session_number(l->session);
    if (t->contexts_count) {
        api_call(s->api, STEP_LIST, t->method, list_params(t), session_token(l->session), on_answer, s);
        return;
    }
    const char *solution = o->solutions[t->solution];
    bool all = strcmp(solution, "*") == 0;
    api_call(s->api, STEP_LIST, all ? "context/listContexts" : "context/listContextsOfSolution",
             context_params(t, all ? NULL : solution), session_token(l->session), on_answer, s);
}

/* Contexts are listed with a scope of their own, without which nothing can be searched. */
static bool can_search(struct lookup *l)
{
    if (!session_token(l->session) || session_granted(l->session, "context"))
        return true;
    if (!l->complained)
        log_warn("members of containers are not found where events name no context (deletions, statistics)",
                 log_str("reason", "the API key was not asked for the scope `context`, or lacks it"),
                 log_str("advice", "give the key the scope context, and leave catch_up on"));
    l->complained = true;
    return false;
}

/* True while there is somewhere to look. */
static bool has_more(struct lookup *l, const struct task *t)
{
    return t->contexts_count || (t->searches && t->solution < l->settings->solutions_count && can_search(l));
}

static void take_next(struct slot *s)
{
    struct lookup *l = s->lookup;
    s->task = l->first;
    l->first = s->task->next;
    if (!l->first)
        l->last = &l->first;
    s->task->next = NULL;
    l->counts.waiting--;
    l->counts.running++;
}

/* Milliseconds until the next call may be made. */
static int64_t wait_for_call(struct lookup *l)
{
    uint64_t now_ms = clock_mono_ms();
    if (l->pause_until_ms > now_ms)
        return (int64_t)(l->pause_until_ms - now_ms);
    return pace_wait_ms(l->pace, now_ms);
}

static bool may_call(struct lookup *l)
{
    int64_t wait_ms = wait_for_call(l);
    if (wait_ms > 0) {
        if (!loop_timer_pending(l->timer))
            loop_timer_start(l->timer, wait_ms);
        return false;
    }
    if (session_token(l->session))
        return true;
    session_want(l->session);
    return false;
}

/* Ends tasks that have nowhere left to look, and takes waiting ones in their place. */
static bool has_task(struct slot *s)
{
    struct lookup *l = s->lookup;
    for (;;) {
        if (!s->task && l->first)
            take_next(s);
        if (!s->task || has_more(l, s->task))
            return s->task != NULL;
        finish(s, WIRE_MEMBERS_NONE);
    }
}

static void step(void *arg)
{
    struct lookup *l = arg;
    for (size_t i = 0; i < LOOKUP_RUNNING_MAX; i++) {
        struct slot *s = &l->slots[i];
        if ((s->api && api_busy(s->api)) || !has_task(s))
            continue;
        if (!may_call(l))
            return;
        call(s);
    }
}

/* ---- answers ---- */

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(v) ? v->valuestring : NULL;
}

static size_t add_users(const cJSON *list, const char **out, size_t count)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, list) if (count < WIRE_MEMBERS_MAX && cJSON_IsString(one) &&
                                      strlen(one->valuestring) <= WIRE_MEMBERS_ID_BYTES) out[count++] =
        one->valuestring;
    return count;
}

static void found(struct slot *s, const cJSON *row)
{
    struct lookup *l = s->lookup;
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(row, "version");
    const char **users = xcalloc(WIRE_MEMBERS_MAX, sizeof *users);
    size_t count = add_users(cJSON_GetObjectItemCaseSensitive(row, "users"), users, 0);
    count = add_users(cJSON_GetObjectItemCaseSensitive(row, "managers"), users, count);
    bool known = cJSON_IsNumber(version) && version->valuedouble >= 0 && version->valuedouble < 9e15;
    l->counts.found++;
    tell(l, s->task->number, s->task->container, WIRE_MEMBERS_FOUND,
         known ? (int64_t)version->valuedouble : -1, users, count);
    free(users);
    task_free(s->task);
    s->task = NULL;
    l->counts.running--;
}

static void next_context(struct task *t)
{
    free(t->contexts[--t->contexts_count]);
}

static void next_solution(struct task *t)
{
    t->solution++;
    t->skip = 0;
}

static void take_contexts(struct task *t, const cJSON *list)
{
    const cJSON *row;
    size_t count = 0;
    cJSON_ArrayForEach(row, list)
    {
        const char *id = text_of(row, "id");
        count++;
        if (id && t->seen < CONTEXTS_MAX) {
            t->seen++;
            add_context(t, id, strlen(id));
        }
    }
    t->skip += count;
    if (count < PAGE || t->seen >= CONTEXTS_MAX)
        next_solution(t);
}

static void take_page(struct slot *s, const cJSON *list)
{
    struct task *t = s->task;
    backoff_reset(&s->lookup->retry);
    t->renewals = 0;
    if (!t->contexts_count) {
        take_contexts(t, list);
        return;
    }
    const cJSON *row = cJSON_GetArrayItem(list, 0);
    const char *id = text_of(row, "id");
    if (id && strcmp(id, t->container) == 0)
        found(s, row);
    else
        next_context(t);
}

static void pause_all(struct lookup *l, const struct failure *f, const char *detail)
{
    failure_log(f, STEP_LIST, detail);
    l->counts.limited += f->decision == FAILURE_WAIT;
    if (f->decision == FAILURE_WAIT)
        pace_empty(l->pace);
    l->pause_until_ms = clock_mono_ms() + (uint64_t)backoff_next(&l->retry);
}

/* A list that is of no use: this one is passed over. */
static void pass_over(struct slot *s, const struct failure *f, const char *detail)
{
    struct task *t = s->task;
    bool gone = strstr(f->name, "gone") != NULL;
    if (!gone)
        failure_log(f, STEP_LIST, detail[0] ? detail : t->method);
    if (t->contexts_count)
        next_context(t);
    else
        next_solution(t);
}

static void refused(struct slot *s, const struct api_answer *answer)
{
    static const struct rpc_answer odd = {.form = RPC_ODD};
    struct lookup *l = s->lookup;
    struct task *t = s->task;
    const struct failure *f = answer->failure ? answer->failure : failure_of_answer(STEP_LIST, &odd);
    if (f->decision == FAILURE_RENEW && t->renewals < RENEWALS_MAX) {
        t->renewals++;
        session_rejected(l->session, s->token_number);
    } else if (f->decision == FAILURE_SKIP) {
        pass_over(s, f, answer->detail);
    } else {
        pause_all(l, f, answer->detail);
        t->renewals = t->renewals == RENEWALS_MAX ? RENEWALS_MAX - 1 : t->renewals;
        if (answer->rpc.form == RPC_ERROR && ++t->refusals >= REFUSALS_MAX)
            finish(s, WIRE_MEMBERS_BUSY);
    }
}

static void on_answer(void *arg, const struct api_answer *answer)
{
    struct slot *s = arg;
    const cJSON *list =
        answer->rpc.form == RPC_RESULT ? cJSON_GetObjectItemCaseSensitive(answer->rpc.result, "list") : NULL;
    if (cJSON_IsArray(list) && !s->task->again)
        take_page(s, list);
    else if (!cJSON_IsArray(list))
        refused(s, answer);
    /* From the loop: the call's own slot is given back only when this returns. */
    loop_timer_start(s->lookup->timer, 0);
}

/* ---- for others ---- */

void lookup_token(struct lookup *l)
{
    if (!loop_timer_pending(l->timer))
        loop_timer_start(l->timer, 0);
}

void lookup_again(struct lookup *l)
{
    for (size_t i = 0; i < LOOKUP_RUNNING_MAX; i++)
        if (l->slots[i].task)
            l->slots[i].task->again = true;
    l->pause_until_ms = 0;
    backoff_reset(&l->retry);
    lookup_token(l);
}

const struct lookup_counts *lookup_counts(const struct lookup *l)
{
    return &l->counts;
}
