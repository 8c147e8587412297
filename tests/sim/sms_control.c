#include "tests/sim/sms.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define OPTION(member, value)                                                                                \
    {                                                                                                        \
#member, offsetof(struct sms_options, member), value                                                 \
    }

static const struct option {
    const char *name;
    size_t offset;
    int64_t otherwise;
} options[] = {
    OPTION(rate_per_s, 0),
    OPTION(rate_answer, 203),
    OPTION(retry_after_s, 1),
    OPTION(parallel_max, 0),
    OPTION(balance, -1),
    OPTION(price, 1600),
    OPTION(points_string, 0),
    OPTION(recipients_max, 10000),
    OPTION(parts_max, 10),
    OPTION(attempts_max, 10),
    OPTION(attempts_window_s, 60),
    OPTION(idx_window_s, 86400),
    OPTION(refused_occupy, 0),
    OPTION(test_occupy, 0),
    OPTION(partial, 0),
    OPTION(batch_53, 0),
    OPTION(auth_status, 200),
    OPTION(expiration_min_s, 900),
    OPTION(expiration_max_s, 259200),
    OPTION(quiet_hours, 0),
    OPTION(links_forbidden, 0),
    OPTION(notify_single, 0),
    OPTION(https_only, 0),
    OPTION(latency_ms, 0),
    OPTION(latency_jitter_ms, 0),
    OPTION(latency_exponential, 0),
    OPTION(report_status, 0),
    OPTION(report_delay_ms, 0),
    OPTION(report_batch, 1),
    OPTION(report_repeat_ms, 1000),
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))

static int64_t *option_at(struct sms *s, const struct option *o)
{
    return (int64_t *)(void *)((char *)&s->opt + o->offset);
}

void sms_options_default(struct sms *s)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        *option_at(s, &options[i]) = options[i].otherwise;
    }
}

static void set_senders(struct sms *s, const cJSON *list)
{
    const cJSON *one;
    for (size_t i = 0; i < s->sender_count; i++) {
        free(s->senders[i]);
    }
    free(s->senders);
    s->senders = NULL;
    s->sender_count = 0;
    cJSON_ArrayForEach(one, list)
    {
        s->senders = sim_grow(s->senders, s->sender_count + 1, sizeof(char *));
        s->senders[s->sender_count++] = sim_strdup(cJSON_IsString(one) ? one->valuestring : "");
    }
}

/* A list of numbers (refused with 13), or an object of numbers and their codes. */
static void set_blacklist(struct sms *s, const cJSON *list)
{
    const cJSON *one;
    sim_map_clear(&s->blacklist, NULL);
    cJSON_ArrayForEach(one, list)
    {
        if (cJSON_IsString(one)) {
            sim_map_put(&s->blacklist, one->valuestring, (void *)(intptr_t)14);
        } else if (cJSON_IsNumber(one) && one->string != NULL) {
            sim_map_put(&s->blacklist, one->string, (void *)((intptr_t)one->valuedouble + 1));
        }
    }
}

static bool apply_option(struct sms *s, const cJSON *m)
{
    if (strcmp(m->string, "senders") == 0) {
        set_senders(s, m);
        return true;
    }
    if (strcmp(m->string, "blacklist") == 0) {
        set_blacklist(s, m);
        return true;
    }
    if (strcmp(m->string, "report_url") == 0 && (cJSON_IsString(m) || cJSON_IsNull(m))) {
        sim_set(&s->report_url, m->valuestring);
        return true;
    }
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].name, m->string) == 0 && (cJSON_IsNumber(m) || cJSON_IsBool(m))) {
            *option_at(s, &options[i]) = cJSON_IsNumber(m) ? (int64_t)m->valuedouble : cJSON_IsTrue(m);
            return true;
        }
    }
    return false;
}

const char *sms_options_apply(struct sms *s, const cJSON *o)
{
    const cJSON *m;
    cJSON_ArrayForEach(m, o)
    {
        if (!apply_option(s, m)) {
            return m->string;
        }
    }
    return NULL;
}

/* ---- answers ---- */

static void answer_error(struct sim_conn *c, const char *what, const char *detail)
{
    struct sim_buf b = {0};
    struct sim_buf text = {0};
    sim_buf_printf(&text, "%s%s", what, detail);
    sim_buf_puts(&b, "{\"ok\":false,\"error\":");
    sim_buf_json_string(&b, text.data);
    sim_buf_puts(&b, "}");
    sim_conn_answer_json(c, 400, b.data);
    sim_buf_free(&text);
    sim_buf_free(&b);
}

static void answer_ok(struct sim_conn *c)
{
    sim_conn_answer_json(c, 200, "{\"ok\":true}");
}

/* ---- reading ---- */

static void get_state(struct sms *s, struct sim_conn *c, struct sim_request *r)
{
    (void)r;
    struct sim_buf b = {0};
    sim_buf_printf(
        &b,
        "{\"requests\":%llu,\"accepted\":%llu,\"tests\":%llu,\"doubles_idx\":%llu,\"doubles_text\":%llu,"
        "\"max_requests_in_1s\":%llu,\"max_messages_in_1s\":%llu,\"max_attempts_per_number\":%llu,",
        (unsigned long long)s->requests, (unsigned long long)s->accepted, (unsigned long long)s->tests,
        (unsigned long long)s->doubles_idx, (unsigned long long)s->doubles_text,
        (unsigned long long)s->window_max, (unsigned long long)s->window_messages_max,
        (unsigned long long)s->attempts_most);
    sim_buf_printf(
        &b,
        "\"in_flight\":%d,\"max_parallel\":%d,\"connections\":{\"open\":%d,\"accepted\":%llu},\"spent\":%lld,"
        "\"faults_used\":%llu,\"now_ms\":%lld",
        s->in_flight, s->in_flight_max, sim_server_open_count(s->server),
        (unsigned long long)sim_server_accepted(s->server), (long long)s->spent,
        (unsigned long long)s->faults_used, (long long)sms_now_ms(s));
    sim_buf_puts(&b, ",\"refused\":");
    sim_count_json(&b, &s->refused);
    sim_buf_puts(&b, ",\"other_paths\":");
    sim_count_json(&b, &s->paths);
    sim_buf_puts(&b, ",\"reports\":");
    sms_reports_json(s, &b);
    sim_buf_printf(&b, ",\"doubles\":[%s]", s->double_list.data != NULL ? s->double_list.data : "");
    sim_buf_puts(&b, ",\"options\":{");
    for (size_t i = 0; i < OPTIONS; i++) {
        sim_buf_printf(&b, "%s\"%s\":%lld", i != 0 ? "," : "", options[i].name,
                       (long long)*option_at(s, &options[i]));
    }
    sim_buf_puts(&b, "}}");
    sim_conn_answer_json(c, 200, b.data);
    sim_buf_free(&b);
}

static void get_messages(struct sms *s, struct sim_conn *c, struct sim_request *r)
{
    struct sim_buf b = {0};
    char *since = sim_request_query(r, "since");
    char *limit = sim_request_query(r, "limit");
    sms_messages_json(s, since != NULL ? strtoull(since, NULL, 10) : 0,
                      limit != NULL ? strtoull(limit, NULL, 10) : UINT64_MAX, &b);
    sim_conn_answer_json(c, 200, b.data);
    sim_buf_free(&b);
    free(since);
    free(limit);
}

static void get_accept_times(struct sms *s, struct sim_conn *c, struct sim_request *r)
{
    (void)r;
    struct sim_buf b = {0};
    sim_buf_add(&b, "", 0);
    sms_accept_times(s, &b);
    sim_conn_answer(c,
                    &(struct sim_answer){
                        .status = 200, .content_type = "text/plain", .body = b.data, .body_length = b.len});
    sim_buf_free(&b);
}

/* ---- orders ---- */

static void post_config(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    const char *unknown = sms_options_apply(s, o);
    if (unknown != NULL) {
        answer_error(c, "unknown option: ", unknown);
    } else {
        answer_ok(c);
    }
}

static void post_faults(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    const char *wrong = sms_faults_set(s, o);
    if (wrong != NULL) {
        answer_error(c, wrong, "");
    } else {
        answer_ok(c);
    }
}

static void post_reset(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    (void)o;
    s->opt = s->opt_at_start;
    sms_faults_clear(s);
    set_senders(s, NULL);
    set_blacklist(s, NULL);
    sim_server_resume(s->server);
    answer_ok(c);
}

static void post_forget(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    (void)o;
    sms_reports_free(s);
    sms_forget(s);
    answer_ok(c);
}

static void post_clock(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    const cJSON *by = cJSON_GetObjectItemCaseSensitive(o, "advance_s");
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "hold"))) {
        s->held_ms = sim_wall_ms();
        s->held_ns = sim_mono_ns();
    }
    s->clock_ahead_ms += cJSON_IsNumber(by) ? (int64_t)(by->valuedouble * 1000) : 0;
    sim_server_set_clock(s->server, s->clock_ahead_ms);
    answer_ok(c);
}

static int64_t member(const cJSON *o, const char *name, int64_t otherwise)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(m) ? (int64_t)m->valuedouble : otherwise;
}

static void post_refuse(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    sim_server_refuse(s->server, member(o, "ms", -1));
    answer_ok(c);
}

static void post_resume(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    (void)o;
    sim_server_resume(s->server);
    answer_ok(c);
}

static void post_drop(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    const cJSON *how = cJSON_GetObjectItemCaseSensitive(o, "how");
    bool rst = cJSON_IsString(how) && strcmp(how->valuestring, "rst") == 0;
    struct sim_conn *next;
    for (struct sim_conn *k = sim_server_next(s->server, NULL); k != NULL; k = next) {
        next = sim_server_next(s->server, k);
        if (k != c) {
            sim_conn_close(k, rst ? SIM_END_RST : SIM_END_FIN);
        }
    }
    answer_ok(c);
}

/* Reports on messages by their n, all with one status, in calls of report_batch. */
static void post_report(struct sms *s, struct sim_conn *c, const cJSON *o)
{
    const cJSON *url = cJSON_GetObjectItemCaseSensitive(o, "url");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(o, "messages"))
    {
        uint64_t n = cJSON_IsNumber(one) ? (uint64_t)one->valuedouble : 0;
        if (n == 0 || n > s->message_count) {
            answer_error(c, "no such message", "");
            return;
        }
        const struct sms_message *m = &s->messages[n - 1];
        const char *to = cJSON_IsString(url)     ? url->valuestring
                         : m->notify_url != NULL ? m->notify_url
                                                 : s->report_url;
        if (to == NULL) {
            answer_error(c, "no address to report to", "");
            return;
        }
        sms_report(s, n - 1, (int)member(o, "status", 404), to, member(o, "delay_ms", 0));
    }
    answer_ok(c);
}

static const struct {
    const char *path;
    void (*run)(struct sms *s, struct sim_conn *c, struct sim_request *r);
} gets[] = {
    {"/_sim/state", get_state},
    {"/_sim/messages", get_messages},
    {"/_sim/accept_times", get_accept_times},
};

static const struct {
    const char *path;
    void (*run)(struct sms *s, struct sim_conn *c, const cJSON *o);
} posts[] = {
    {"/_sim/config", post_config}, {"/_sim/faults", post_faults}, {"/_sim/reset", post_reset},
    {"/_sim/forget", post_forget}, {"/_sim/clock", post_clock},   {"/_sim/refuse", post_refuse},
    {"/_sim/resume", post_resume}, {"/_sim/drop", post_drop},     {"/_sim/report", post_report},
};

void sms_control(struct sms *s, struct sim_conn *c, struct sim_request *r)
{
    for (size_t i = 0; i < sizeof(gets) / sizeof(gets[0]); i++) {
        if (sim_request_is(r, "GET", gets[i].path)) {
            gets[i].run(s, c, r);
            return;
        }
    }
    for (size_t i = 0; i < sizeof(posts) / sizeof(posts[0]); i++) {
        if (sim_request_is(r, "POST", posts[i].path)) {
            cJSON *o = cJSON_Parse(r->body_length != 0 ? r->body : "{}");
            if (cJSON_IsObject(o)) {
                posts[i].run(s, c, o);
            } else {
                answer_error(c, "the body is not a JSON object", "");
            }
            cJSON_Delete(o);
            return;
        }
    }
    answer_error(c, "no such control: ", r->target);
}
