#include "listener/catchup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "listener/backoff.h"

enum {
    PAGE = 100, /* the largest that the Bridge gives */
    RETRY_MIN_MS = 1000,
    RETRY_MAX_MS = 30000,
    RENEWALS_MAX = 2, /* tokens that one page may use up before a pause */
    TASKS_MAX = 1000000,
    REFUSALS_MAX = 10, /* of one page, by errors that may pass */
};

/* How the lists of one channel are called, and what their rows are. */
static const struct lists {
    const char *channel;
    const char *containers; /* method */
    const char *container_type;
    const char *items; /* method, or NULL */
    const char *item_type;
    const char *container_id; /* parameter of the items' list */
    const char *news;         /* member of a container: time of its newest item */
    const char *item_id;      /* member of a row: where the next page begins */
    bool by_time;             /* ids begin with the time, so that a list can begin at one */
} channels[] = {
    /* Stores come first: an inbox entry's files are told before the message (listener/fold.h). */
    {"store", "store/listStores", "storeCreated", "store/listStoreFiles", "storeFileCreated", "storeId",
     "lastFileDate", "id", true},
    {"thread", "thread/listThreads", "threadCreated", "thread/listThreadMessages", "threadNewMessage",
     "threadId", "lastMsgDate", "id", true},
    {"kvdb", "kvdb/listKvdbs", "kvdbCreated", "kvdb/listKvdbEntries", "kvdbNewEntry", "kvdbId",
     "lastEntryDate", "kvdbEntryKey", false},
    {"inbox", "inbox/listInboxes", "inboxCreated", NULL, NULL, NULL, NULL, "id", true},
    {"stream", "stream/listStreamRooms", "streamRoomCreated", NULL, NULL, NULL, NULL, "id", true},
};
enum { CHANNELS = sizeof channels / sizeof channels[0] };

enum kind { CONTEXTS, CONTAINERS, ITEMS };

struct task {
    struct task *next;
    enum kind kind;
    unsigned channel; /* of CONTAINERS and ITEMS */
    char *of;         /* solution (NULL: all), context or container */
    char *from;       /* id behind which the page begins; NULL: at the beginning */
    int64_t skip;     /* of CONTEXTS */
    unsigned refusals;
};

struct catchup {
    const struct settings *settings;
    struct session *session;
    struct pace *pace;
    const struct catchup_ops *ops;
    void *arg;
    struct api *api;
    struct loop_timer *timer;
    struct backoff retry;
    struct task *tasks; /* the one under way first */
    size_t tasks_count;
    bool running, waits_for_token;
    bool skipped[CHANNELS]; /* cannot be listed in this run */
    bool lost_some;         /* of this run */
    int64_t since_ms;
    uint64_t rows; /* of this run */
    uint64_t token_number;
    unsigned renewals; /* since the last page that came */
    struct catchup_counts counts;
};

static void step(void *arg);

struct catchup *catchup_new(const struct settings *settings, struct session *session, struct pace *pace,
                            const struct catchup_ops *ops, void *arg)
{
    struct catchup *c = xcalloc(1, sizeof *c);
    c->settings = settings;
    c->session = session;
    c->pace = pace;
    c->ops = ops;
    c->arg = arg;
    c->retry = (struct backoff){RETRY_MIN_MS * 2, RETRY_MAX_MS, 0};
    c->timer = loop_timer_new(step, c);
    return c;
}

/* ---- tasks ---- */

static void push(struct catchup *c, enum kind kind, unsigned channel, const char *of, const char *from)
{
    if (c->tasks_count == TASKS_MAX) {
        c->lost_some = true;
        return;
    }
    struct task *t = xcalloc(1, sizeof *t);
    t->kind = kind;
    t->channel = channel;
    t->of = of ? xstrdup(of) : NULL;
    t->from = from ? xstrdup(from) : NULL;
    t->next = c->tasks;
    c->tasks = t;
    c->tasks_count++;
}

static void pop(struct catchup *c)
{
    struct task *t = c->tasks;
    c->tasks = t->next;
    c->tasks_count--;
    free(t->of);
    free(t->from);
    free(t);
}

static void drop_tasks(struct catchup *c)
{
    while (c->tasks)
        pop(c);
}

void catchup_stop(struct catchup *c)
{
    if (c->running)
        log_info("catching up stopped", log_int("events", (int64_t)c->rows));
    c->running = false;
    c->waits_for_token = false;
    loop_timer_stop(c->timer);
    drop_tasks(c);
    api_free(&c->api);
}

void catchup_free(struct catchup **p)
{
    struct catchup *c = *p;
    if (!c)
        return;
    *p = NULL;
    c->running = false;
    catchup_stop(c);
    loop_timer_free(&c->timer);
    free(c);
}

/* ---- the end of a run ---- */

static void finish(struct catchup *c)
{
    c->running = false;
    drop_tasks(c);
    api_free(&c->api);
    c->counts.incomplete += c->lost_some;
    if (c->lost_some)
        log_warn("caught up, but not with everything", log_int("events", (int64_t)c->rows),
                 log_str("advice", "the lines above say what could not be fetched"));
    else
        log_info("caught up", log_int("events", (int64_t)c->rows),
                 log_str("but", "updates and deletions of that time cannot be seen in lists"));
    c->ops->done(c->arg);
}

/* ---- one call ---- */

void catchup_id_of_time(int64_t ms, char out[25])
{
    int64_t second = ms < 0 ? 0 : ms / 1000;
    snprintf(out, 25, "%08" PRIx32 "0000000000000000", (uint32_t)(second > UINT32_MAX ? UINT32_MAX : second));
}

static const char *method_of(const struct task *t)
{
    if (t->kind == CONTEXTS)
        return t->of ? "context/listContextsOfSolution" : "context/listContexts";
    return t->kind == CONTAINERS ? channels[t->channel].containers : channels[t->channel].items;
}

static cJSON *params_of(const struct task *t)
{
    cJSON *params = cJSON_CreateObject();
    if (t->kind == CONTEXTS) {
        if (t->of)
            cJSON_AddStringToObject(params, "solutionId", t->of);
        cJSON_AddNumberToObject(params, "skip", (double)t->skip);
    } else {
        cJSON_AddStringToObject(
            params, t->kind == CONTAINERS ? "contextId" : channels[t->channel].container_id, t->of);
        if (t->from)
            cJSON_AddStringToObject(params, "from", t->from);
        else
            cJSON_AddNullToObject(params, "from");
    }
    cJSON_AddNumberToObject(params, "limit", PAGE);
    cJSON_AddStringToObject(params, "sortOrder", "asc");
    return params;
}

static void on_answer(void *arg, const struct api_answer *answer);

static void step(void *arg)
{
    struct catchup *c = arg;
    if (!c->running || (c->api && api_busy(c->api)) || c->waits_for_token)
        return;
    if (!c->tasks) {
        finish(c);
        return;
    }
    if (!c->ops->may_go_on(c->arg))
        return;
    int64_t wait_ms = pace_wait_ms(c->pace, clock_mono_ms());
    if (wait_ms > 0) {
        loop_timer_start(c->timer, wait_ms);
        return;
    }
    if (!session_token(c->session)) {
        c->waits_for_token = true;
        session_want(c->session);
        return;
    }
    pace_take(c->pace);
    c->counts.calls++;
    c->token_number = session_number(c->session);
    api_call(c->api, STEP_LIST, method_of(c->tasks), params_of(c->tasks), session_token(c->session),
             on_answer, c);
}

/* ---- answers ---- */

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(v) ? v->valuestring : NULL;
}

static int64_t time_of(const cJSON *object, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(v) && v->valuedouble > 0 && v->valuedouble < 9e15 ? (int64_t)v->valuedouble : -1;
}

static void hand_on(struct catchup *c, const char *type_name, const cJSON *row)
{
    int64_t created_ms = time_of(row, "createDate");
    if (created_ms < 0)
        created_ms = time_of(row, "created");
    if (created_ms < c->since_ms)
        return;
    if (c->rows == (uint64_t)c->settings->catch_up_max_events) {
        if (!c->lost_some)
            log_error("more was missed than catch_up_max_events permits",
                      log_int("events", c->settings->catch_up_max_events));
        c->lost_some = true;
        return;
    }
    c->rows++;
    c->counts.rows++;
    c->ops->row(c->arg, event_type_find(type_name, strlen(type_name)), row);
}

static void take_context(struct catchup *c, const cJSON *row)
{
    const char *id = text_of(row, "id");
    /* Pushed in reverse, so that the first channel of the table comes first. */
    for (unsigned n = CHANNELS; id && n-- > 0;) {
        bool subscribed = false;
        for (size_t i = 0; i < c->settings->channels_count; i++)
            subscribed = subscribed || strcmp(c->settings->channels[i], channels[n].channel) == 0;
        if (subscribed && !c->skipped[n] && c->ops->wants(c->arg, channels[n].channel))
            push(c, CONTAINERS, n, id, NULL);
    }
}

static void take_container(struct catchup *c, unsigned channel, const cJSON *row)
{
    const struct lists *list = &channels[channel];
    const char *id = text_of(row, "id");
    hand_on(c, list->container_type, row);
    if (!id || !list->items)
        return;
    int64_t news_ms = time_of(row, list->news);
    if (news_ms >= 0 && news_ms < c->since_ms)
        return;
    char from[25];
    catchup_id_of_time(c->since_ms, from);
    push(c, ITEMS, channel, id, list->by_time ? from : NULL);
}

/* The task's next page, behind the last row of this one. It is made before the rows push their own tasks,
 * which are worked on first. */
static void push_next_page(struct catchup *c, const struct task *t, const cJSON *list, int count)
{
    if (count < PAGE)
        return;
    if (t->kind == CONTEXTS) {
        push(c, CONTEXTS, 0, t->of, NULL);
        c->tasks->skip = t->skip + count;
        return;
    }
    const char *name = t->kind == ITEMS ? channels[t->channel].item_id : "id";
    const char *last = text_of(cJSON_GetArrayItem(list, count - 1), name);
    /* A page that does not move on would be asked for without end. */
    if (last && (!t->from || strcmp(last, t->from) != 0))
        push(c, t->kind, t->channel, t->of, last);
    else
        c->lost_some = true;
}

static void take_page(struct catchup *c, const cJSON *list)
{
    struct task *t = c->tasks;
    c->tasks = t->next;
    c->tasks_count--;
    push_next_page(c, t, list, cJSON_GetArraySize(list));
    const cJSON *row;
    cJSON_ArrayForEach(row, list)
    {
        if (t->kind == CONTEXTS)
            take_context(c, row);
        else if (t->kind == CONTAINERS)
            take_container(c, t->channel, row);
        else
            hand_on(c, channels[t->channel].item_type, row);
    }
    free(t->of);
    free(t->from);
    free(t);
    backoff_reset(&c->retry);
    c->renewals = 0;
    c->ops->page(c->arg);
}

/* A list that is of no use: this page, or for want of a scope all of its channel. */
static void skip(struct catchup *c, const struct failure *f, const char *detail)
{
    struct task *t = c->tasks;
    bool whole_channel = strcmp(f->name, "list_scope_missing") == 0 || strcmp(f->name, "list_unknown") == 0;
    bool gone = strstr(f->name, "gone") != NULL;
    if (t->kind == CONTEXTS || !whole_channel || !c->skipped[t->channel])
        failure_log(f, STEP_LIST, detail[0] ? detail : method_of(t));
    if (t->kind != CONTEXTS && whole_channel)
        c->skipped[t->channel] = true;
    /* Streams that are switched off have nothing to miss; neither has what was deleted. */
    c->lost_some = c->lost_some || !(gone || strcmp(f->name, "list_unknown") == 0);
    pop(c);
    while (c->tasks && c->tasks->kind != CONTEXTS && c->skipped[c->tasks->channel])
        pop(c);
}

static void renew(struct catchup *c)
{
    c->renewals++;
    c->waits_for_token = true;
    session_rejected(c->session, c->token_number);
    if (session_token(c->session))
        catchup_token(c);
}

static void again_later(struct catchup *c, const struct failure *f, const char *detail)
{
    failure_log(f, STEP_LIST, detail);
    c->counts.limited += f->decision == FAILURE_WAIT;
    if (f->decision == FAILURE_WAIT)
        pace_empty(c->pace);
    /* After the pause a fresh token is worth one try again. */
    if (c->renewals == RENEWALS_MAX)
        c->renewals--;
    loop_timer_start(c->timer, backoff_next(&c->retry));
}

static void on_answer(void *arg, const struct api_answer *answer)
{
    struct catchup *c = arg;
    const cJSON *list =
        answer->rpc.form == RPC_RESULT ? cJSON_GetObjectItemCaseSensitive(answer->rpc.result, "list") : NULL;
    const struct failure *f = answer->failure;
    if (cJSON_IsArray(list))
        take_page(c, list);
    else if (f && f->decision == FAILURE_RENEW && c->renewals < RENEWALS_MAX)
        renew(c);
    else if (f && (f->decision == FAILURE_SKIP || f->decision == FAILURE_STOP ||
                   (answer->rpc.form == RPC_ERROR && ++c->tasks->refusals >= REFUSALS_MAX)))
        skip(c, f, answer->detail);
    else {
        struct rpc_answer odd = {.form = RPC_ODD};
        again_later(c, f ? f : failure_of_answer(STEP_LIST, &odd), answer->detail);
        return;
    }
    /* From the loop: the call's own slot is given back only when this returns. */
    if (c->running && !c->waits_for_token)
        loop_timer_start(c->timer, 0);
}

/* ---- for others ---- */

static void begin(struct catchup *c, int64_t from_ms, int64_t now_ms)
{
    int64_t oldest_ms = now_ms - c->settings->catch_up_max_age_ms;
    c->since_ms = from_ms - c->settings->catch_up_overlap_ms;
    if (now_ms >= 0 && c->since_ms < oldest_ms) {
        log_error("what was missed before catch_up_max_age is not fetched",
                  log_int("missed_s", (now_ms - from_ms) / 1000),
                  log_int("fetched_s", c->settings->catch_up_max_age_ms / 1000));
        c->since_ms = oldest_ms;
        c->lost_some = true;
    }
    log_info("catching up", log_int("since_ms", c->since_ms), log_int("gap_ms", now_ms - from_ms));
    c->api = api_new(&(struct api_options){.url = c->settings->url,
                                           .ca_file = c->settings->ca_file,
                                           .connect_timeout_ms = c->settings->connect_timeout_ms,
                                           .request_timeout_ms = c->settings->request_timeout_ms});
    for (size_t i = c->settings->solutions_count; i-- > 0;)
        push(c, CONTEXTS, 0, strcmp(c->settings->solutions[i], "*") == 0 ? NULL : c->settings->solutions[i],
             NULL);
}

void catchup_start(struct catchup *c, int64_t from_ms, int64_t now_ms)
{
    catchup_stop(c);
    c->running = true;
    c->counts.runs++;
    c->rows = 0;
    c->lost_some = false;
    memset(c->skipped, 0, sizeof c->skipped);
    backoff_reset(&c->retry);
    if (!c->settings->catch_up || !session_granted(c->session, "context")) {
        log_warn("what was missed is not caught up", log_int("gap_ms", now_ms - from_ms),
                 log_str("reason",
                         c->settings->catch_up ? "the API key has no scope `context`" : "catch_up = off"));
        c->lost_some = true;
    } else {
        begin(c, from_ms, now_ms);
    }
    loop_timer_start(c->timer, 0);
}

bool catchup_running(const struct catchup *c)
{
    return c->running;
}

void catchup_resume(struct catchup *c)
{
    if (c->running && !loop_timer_pending(c->timer) && !c->waits_for_token && c->api && !api_busy(c->api))
        step(c);
}

void catchup_token(struct catchup *c)
{
    if (!c->waits_for_token)
        return;
    c->waits_for_token = false;
    loop_timer_start(c->timer, 0);
}

const struct catchup_counts *catchup_counts(const struct catchup *c)
{
    return &c->counts;
}
