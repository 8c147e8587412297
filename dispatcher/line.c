#include "dispatcher/line.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"

const char *const line_state_names[LINE_STATES + 1] = {"open", "paused", "stopped", NULL};

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* requests_per_second: a number, or a rate with a period of its own. */
static void read_rate(struct line *l, const struct slice_setting *s)
{
    l->rate = 100;
    l->rate_per_ms = 1000;
    if (!s)
        return;
    l->rate = s->number;
    if (s->kind == SLICE_RATE && s->per_ms > 0)
        l->rate_per_ms = s->per_ms;
}

void line_init(struct line *l, const struct slice_block *provider, uint64_t now_ms)
{
    memset(l, 0, sizeof *l);
    l->name = xstrdup(provider->title);
    read_rate(l, slice_get(provider, "requests_per_second"));
    l->batch = (size_t)clamp(slice_number(provider, "batch", 100), 1, 100);
    l->max_attempts = (uint32_t)clamp(slice_number(provider, "max_attempts", 12), 1, 1000);
    l->retry_min_ms = clamp(slice_number(provider, "retry_min", 5000), 1, INT32_MAX);
    l->retry_max_ms = clamp(slice_number(provider, "retry_max", 900000), l->retry_min_ms, INT64_C(86400000));
    bool backup = slice_text(provider, "backup_url", NULL) != NULL;
    l->lease_ms =
        (slice_number(provider, "connect_timeout", 5000) + slice_number(provider, "request_timeout", 15000)) *
            (backup ? 2 : 1) +
        LINE_LEASE_MARGIN_MS;
    l->opened_ms = now_ms;
    l->probe_delay_ms = LINE_PROBE_MIN_MS;
}

void line_clear(struct line *l)
{
    for (size_t i = 0; i < l->hosts_count; i++)
        free(l->hosts[i].host);
    free(l->hosts);
    free(l->name);
    memset(l, 0, sizeof *l);
}

bool line_is_open(const struct line *l)
{
    return l->state == LINE_OPEN && !l->held;
}

struct limiter *line_limiter(struct line *l, const char *host, uint64_t now_us)
{
    for (size_t i = 0; i < l->hosts_count; i++)
        if (strcmp(l->hosts[i].host, host) == 0)
            return &l->hosts[i].limiter;
    if (l->hosts_count == LINE_HOSTS_MAX)
        return NULL;
    l->hosts = xreallocarray(l->hosts, l->hosts_count + 1, sizeof *l->hosts);
    struct line_host *h = &l->hosts[l->hosts_count++];
    h->host = xstrdup(host);
    limiter_init(&h->limiter, l->rate, l->rate_per_ms, LINE_SPREAD_MS, now_us);
    return &h->limiter;
}

static void set_reason(struct line *l, const char *reason)
{
    snprintf(l->reason, sizeof l->reason, "%s", reason ? reason : "");
}

static void reopen(struct line *l, uint64_t now_ms)
{
    l->state = LINE_OPEN;
    l->trial = true;
    l->probing = false;
    l->opened_ms = now_ms;
    l->unreachable = 0;
    l->code = 0;
    set_reason(l, NULL);
    l->changed = true;
}

void line_stop(struct line *l, const char *reason, int32_t code, uint64_t now_ms)
{
    if (l->state == LINE_STOPPED)
        return;
    l->state = LINE_STOPPED;
    l->code = code;
    set_reason(l, reason);
    l->probing = false;
    l->probe_ms = now_ms + (uint64_t)l->probe_delay_ms;
    l->changed = true;
    log_error("line stopped: the provider will accept nothing until this is mended",
              log_str("provider", l->name), log_str("reason", l->reason), log_int("code", code),
              log_int("probe_in_ms", l->probe_delay_ms));
}

static void pause_until(struct line *l, int64_t delay_ms, const char *reason, uint64_t now_ms)
{
    l->state = LINE_PAUSED;
    l->until_ms = now_ms + (uint64_t)delay_ms;
    set_reason(l, reason);
    l->changed = true;
    log_warn("line paused", log_str("provider", l->name), log_str("reason", l->reason),
             log_int("for_ms", delay_ms));
}

static int64_t next_pause(struct line *l)
{
    l->pause_ms = l->pause_ms ? clamp(l->pause_ms * 2, LINE_PAUSE_MIN_MS, LINE_PAUSE_MAX_MS)
                              : (int64_t)LINE_PAUSE_MIN_MS;
    return l->pause_ms;
}

void line_throttle(struct line *l, int64_t retry_after_ms, uint64_t granted_ms, const char *reason,
                   uint64_t now_ms)
{
    if (l->state == LINE_STOPPED)
        return;
    int64_t asked = clamp(retry_after_ms, 0, LINE_RETRY_AFTER_MAX_MS);
    if (l->state == LINE_PAUSED) {
        if (now_ms + (uint64_t)asked > l->until_ms) {
            l->until_ms = now_ms + (uint64_t)asked;
            l->changed = true;
        }
        return;
    }
    /* A request from before the last pause says nothing new. */
    if (granted_ms < l->opened_ms && asked == 0)
        return;
    int64_t delay = next_pause(l);
    pause_until(l, asked > 0 ? asked : delay, reason, now_ms);
}

void line_unreachable(struct line *l, uint64_t granted_ms, const char *reason, uint64_t now_ms)
{
    if (l->state != LINE_OPEN || granted_ms < l->opened_ms)
        return;
    if (++l->unreachable >= LINE_UNREACHABLE_ROW || l->trial)
        pause_until(l, next_pause(l), reason, now_ms);
}

void line_works(struct line *l, uint64_t granted_ms)
{
    l->unreachable = 0;
    if (l->state != LINE_OPEN || granted_ms < l->opened_ms)
        return;
    l->trial = false;
    l->pause_ms = 0;
    l->probe_delay_ms = LINE_PROBE_MIN_MS;
}

void line_smaller(struct line *l, size_t sent)
{
    size_t batch = sent > 1 ? sent / 2 : 1;
    if (batch >= l->batch)
        return;
    log_warn("the provider wants fewer recipients in a request", log_str("provider", l->name),
             log_int("was", (int64_t)l->batch), log_int("now", (int64_t)batch));
    l->batch = batch;
}

bool line_probe_due(struct line *l, uint64_t now_ms)
{
    if (l->state != LINE_STOPPED || l->held || now_ms < l->probe_ms)
        return false;
    l->probing = true;
    l->probe_ms = now_ms + LINE_PROBE_ANSWER_MS;
    l->probe_delay_ms = clamp(l->probe_delay_ms * 2, LINE_PROBE_MIN_MS, LINE_PROBE_MAX_MS);
    return true;
}

void line_probe_result(struct line *l, bool ok, const char *detail, uint64_t now_ms)
{
    if (l->state != LINE_STOPPED || !l->probing)
        return;
    l->probing = false;
    if (ok) {
        log_info("line resumed: the probe succeeded", log_str("provider", l->name));
        reopen(l, now_ms);
        return;
    }
    l->probe_ms = now_ms + (uint64_t)l->probe_delay_ms;
    log_warn("line still stopped", log_str("provider", l->name), log_str("probe", detail),
             log_str("reason", l->reason), log_int("probe_in_ms", l->probe_delay_ms));
}

void line_hold(struct line *l, const char *who)
{
    l->held = true;
    snprintf(l->held_by, sizeof l->held_by, "%s", who);
    l->changed = true;
    log_warn("line held by the operator", log_str("provider", l->name), log_str("by", who));
}

void line_release(struct line *l, const char *who, uint64_t now_ms)
{
    l->held = false;
    l->held_by[0] = '\0';
    reopen(l, now_ms);
    l->trial = false;
    l->pause_ms = 0;
    l->probe_delay_ms = LINE_PROBE_MIN_MS;
    log_info("line resumed by the operator", log_str("provider", l->name), log_str("by", who));
}

uint64_t line_tick(struct line *l, uint64_t now_ms)
{
    if (l->state == LINE_PAUSED && now_ms >= l->until_ms) {
        log_info("line resumed: the pause is over", log_str("provider", l->name));
        reopen(l, now_ms);
    }
    if (l->state == LINE_PAUSED)
        return l->until_ms;
    if (l->state == LINE_STOPPED && !l->held)
        return l->probe_ms;
    return UINT64_MAX;
}

char *line_fact(const struct line *l, uint64_t now_ms, int64_t store_ms)
{
    if (l->state == LINE_OPEN && !l->held)
        return NULL;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "state", line_state_names[l->state]);
    cJSON_AddBoolToObject(o, "held", l->held);
    cJSON_AddStringToObject(o, "held_by", l->held_by);
    cJSON_AddStringToObject(o, "reason", l->reason);
    cJSON_AddNumberToObject(o, "code", l->code);
    cJSON_AddNumberToObject(o, "pause_ms", (double)l->pause_ms);
    if (l->state == LINE_PAUSED)
        cJSON_AddNumberToObject(o, "until_ms", (double)(store_ms + (int64_t)(l->until_ms - now_ms)));
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return text;
}

static const char *text_of(const cJSON *o, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
    return text ? text : "";
}

static int64_t number_of(const cJSON *o, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(n) && n->valuedouble > -1e15 && n->valuedouble < 1e15 ? (int64_t)n->valuedouble : 0;
}

void line_restore(struct line *l, const char *fact, uint64_t now_ms, int64_t store_ms)
{
    cJSON *o = fact ? cJSON_Parse(fact) : NULL;
    if (!cJSON_IsObject(o)) {
        cJSON_Delete(o);
        return;
    }
    const char *state = text_of(o, "state");
    l->held = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "held"));
    snprintf(l->held_by, sizeof l->held_by, "%s", text_of(o, "held_by"));
    set_reason(l, text_of(o, "reason"));
    l->code = (int32_t)clamp(number_of(o, "code"), INT32_MIN, INT32_MAX);
    l->pause_ms = clamp(number_of(o, "pause_ms"), 0, LINE_PAUSE_MAX_MS);
    if (strcmp(state, "stopped") == 0) {
        l->state = LINE_STOPPED;
        l->probe_ms = now_ms + LINE_PROBE_RESTORED_MS;
    } else if (strcmp(state, "paused") == 0) {
        l->state = LINE_PAUSED;
        l->until_ms =
            now_ms + (uint64_t)clamp(number_of(o, "until_ms") - store_ms, 0, LINE_RETRY_AFTER_MAX_MS);
    }
    if (!line_is_open(l))
        log_warn("line not open, as the last dispatcher left it", log_str("provider", l->name),
                 log_str("state", l->held ? "held" : line_state_names[l->state]),
                 log_str("reason", l->reason));
    cJSON_Delete(o);
}
