#include "tests/sim/sms.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What a connection carries from a request to its answer. */
struct exchange {
    struct sms *sms;
    struct sms_plan plan;
    struct sms_reply reply;
    bool in_flight;
};

static void flight_end(struct exchange *x)
{
    if (x->in_flight) {
        x->in_flight = false;
        x->sms->in_flight--;
    }
}

bool sms_token_good(const struct sms *s, const struct sim_request *r)
{
    const char *header = sim_request_header(r, "Authorization");
    return header != NULL && strncasecmp(header, "Bearer ", 7) == 0 && strcmp(header + 7, s->token) == 0;
}

/* ---- the answer on the wire ---- */

static void spoil_body(struct exchange *x)
{
    static const char html[] =
        "<html><head><title>Error</title></head><body>Something went wrong.</body></html>";
    struct sim_buf *body = &x->reply.body;
    if (x->plan.body == SMS_BODY_CUT) {
        body->len /= 2;
    } else if (x->plan.body == SMS_BODY_HTML || x->plan.body == SMS_BODY_EMPTY) {
        body->len = 0;
        x->reply.content_type = "text/html";
        sim_buf_puts(body, x->plan.body == SMS_BODY_HTML ? html : "");
    }
    if (x->plan.http_status != 0) {
        x->reply.status = x->plan.http_status;
        if (x->plan.retry_after_s >= 0) {
            sim_buf_printf(&x->reply.headers, "Retry-After: %d\r\n", x->plan.retry_after_s);
        }
    }
}

static void send_truncated(struct sim_conn *c, const struct sim_buf *bytes)
{
    sim_conn_raw(c, bytes->data, bytes->len - bytes->len / 4, false);
    sim_conn_finish(c);
}

static void send_reply(struct sim_conn *c)
{
    struct exchange *x = sim_conn_user(c);
    struct sim_buf bytes = {0};
    flight_end(x);
    spoil_body(x);
    sim_conn_render(c,
                    &(struct sim_answer){.status = x->reply.status,
                                         .content_type = x->reply.content_type,
                                         .headers = x->reply.headers.data,
                                         .body = x->reply.body.len != 0 ? x->reply.body.data : "",
                                         .body_length = x->reply.body.len},
                    &bytes);
    if (x->plan.ending == SMS_TWICE) {
        size_t once = bytes.len;
        sim_buf_reserve(&bytes, once);
        sim_buf_add(&bytes, bytes.data, once);
    }
    if (x->plan.ending == SMS_TRUNCATE) {
        send_truncated(c, &bytes);
    } else if (x->plan.drip_ms > 0) {
        sim_conn_drip(c, bytes.data, bytes.len, x->plan.drip_ms);
    } else {
        sim_conn_raw(c, bytes.data, bytes.len, true);
    }
    sim_buf_free(&bytes);
}

static void end_exchange(struct sim_conn *c)
{
    struct exchange *x = sim_conn_user(c);
    switch (x->plan.ending) {
    case SMS_HANG:
        return; /* the client must give up by itself */
    case SMS_CLOSE:
        sim_conn_close(c, SIM_END_FIN);
        return;
    case SMS_RST:
        sim_conn_close(c, SIM_END_RST);
        return;
    default:
        if (x->plan.after_ms > 0) {
            sim_conn_later(c, x->plan.after_ms, send_reply);
        } else {
            send_reply(c);
        }
    }
}

static void process(struct sim_conn *c)
{
    struct exchange *x = sim_conn_user(c);
    if (x->plan.accept || x->plan.error_code != 0) {
        sms_send(x->sms, sim_conn_request(c), sim_conn_peer(c), sim_conn_is_tls(c), &x->plan, &x->reply);
    }
    end_exchange(c);
}

/* ---- limits ---- */

/* 0, or the code (or HTTP status 429) to answer with. */
static int over_limits(struct sms *s, struct sim_conn *c)
{
    struct window **of_address = sms_window_of(s, sim_conn_peer(c));
    uint64_t now_ns = sms_limits_ns(s);
    if (s->opt.parallel_max > 0 && s->in_flight > s->opt.parallel_max) {
        return 202;
    }
    if (s->opt.rate_per_s > 0 && sms_window_count(of_address, now_ns) >= (uint64_t)s->opt.rate_per_s) {
        return (int)s->opt.rate_answer;
    }
    sms_window_add(of_address, now_ns, now_ns);
    return 0;
}

static void refuse_for_limit(struct sms *s, struct sim_conn *c, int code)
{
    struct exchange *x = sim_conn_user(c);
    if (code == 429) {
        sim_count(&s->refused, "429");
        x->reply.status = 429;
        x->reply.content_type = "application/json";
        sim_buf_puts(&x->reply.body, "{\"message\":\"Too many requests\",\"error\":\"too_many_requests\"}");
        if (s->opt.retry_after_s >= 0) {
            sim_buf_printf(&x->reply.headers, "Retry-After: %lld\r\n", (long long)s->opt.retry_after_s);
        }
    } else {
        struct sms_params p;
        sms_params_read(&p, sim_conn_request(c));
        sms_refuse(s, &p, code, &x->reply);
        sms_params_free(&p);
    }
    send_reply(c);
}

/* The loop has passed its descriptors between two beats: what came before the oldest one that is kept, a new
 * connection with its request for all that, would have been read before now. */
static uint64_t earliest_ns(const struct sms *s, uint64_t now_ns)
{
    return s->held_ns == 0 && s->beats_ns[2] != 0 ? s->beats_ns[2] + (now_ns - sim_mono_ns()) : now_ns;
}

/* A simulator that got no processor for a while reads several requests at once that came one after another.
 * Those count as of one second that certainly were. */
static void count_request(struct sms *s)
{
    s->requests++;
    uint64_t now_ns = sms_limits_ns(s);
    uint64_t recent = sms_window_add(&s->all_requests, earliest_ns(s, now_ns), now_ns);
    s->window_max = recent > s->window_max ? recent : s->window_max;
}

/* ---- by path ---- */

static int64_t latency_ms(struct sms *s)
{
    double jitter = sim_chance(&s->chance);
    if (s->opt.latency_exponential != 0) {
        jitter = -log(1 - jitter);
    }
    return s->opt.latency_ms + (int64_t)(jitter * (double)s->opt.latency_jitter_ms);
}

static struct exchange *exchange_begin(struct sms *s, struct sim_conn *c)
{
    struct exchange *x = sim_conn_user(c);
    if (x == NULL) {
        x = sim_alloc(sizeof(*x));
        sim_conn_set_user(c, x);
    }
    x->sms = s;
    x->reply.status = 200;
    x->reply.content_type = "application/json";
    x->reply.headers.len = 0;
    x->reply.body.len = 0;
    sim_buf_add(&x->reply.headers, "", 0);
    x->plan = (struct sms_plan){.accept = true, .list_keep = -1, .accept_keep = -1, .retry_after_s = -1};
    x->in_flight = true;
    s->in_flight++;
    s->in_flight_max = s->in_flight > s->in_flight_max ? s->in_flight : s->in_flight_max;
    return x;
}

static void post_sms(struct sms *s, struct sim_conn *c, struct sim_request *r)
{
    count_request(s);
    if (s->fast) {
        sms_fast(s, c, r);
        return;
    }
    struct exchange *x = exchange_begin(s, c);
    int code = over_limits(s, c);
    if (code != 0) {
        refuse_for_limit(s, c, code);
        return;
    }
    sms_faults_plan(s, r, &x->plan);
    x->plan.after_ms += latency_ms(s);
    if (x->plan.before_ms > 0) {
        sim_conn_later(c, x->plan.before_ms, process);
    } else {
        process(c);
    }
}

static void refuse_rest(struct sim_conn *c)
{
    sim_conn_answer_json(c, 401,
                         "{\"message\":\"Authorization failed\",\"error\":\"authorization_failed\","
                         "\"developer_description\":null,\"errors\":null}");
}

static void get_ping(struct sms *s, struct sim_conn *c, struct sim_request *r)
{
    sim_conn_answer_json(c, 200,
                         sms_token_good(s, r) ? "{\"authorized\":true,\"unavailable\":[]}"
                                              : "{\"authorized\":false,\"unavailable\":[]}");
}

static void head_ping(struct sms *s, struct sim_conn *c, struct sim_request *r)
{
    (void)s;
    (void)r;
    sim_conn_answer(c, &(struct sim_answer){.status = 204, .body = "", .body_length = 0});
}

static void get_profile(struct sms *s, struct sim_conn *c, struct sim_request *r)
{
    char points[80] = "";
    if (!sms_token_good(s, r)) {
        refuse_rest(c);
        return;
    }
    if (s->opt.balance >= 0) {
        int64_t left = s->opt.balance - s->spent;
        const char *quote = s->opt.points_string != 0 ? "\"" : "";
        snprintf(points, sizeof(points), ",\"points\":%s%lld.%04lld%s", quote, (long long)(left / 10000),
                 (long long)(left % 10000), quote);
    }
    struct sim_buf b = {0};
    sim_buf_printf(
        &b,
        "{\"name\":\"Simulator\",\"email\":\"sim@example.com\",\"username\":\"sim\",\"phone_number\":"
        "\"48500000000\",\"payment_type\":\"prepaid\",\"user_type\":\"native\"%s}",
        points);
    sim_conn_answer_json(c, 200, b.data);
    sim_buf_free(&b);
}

static const struct {
    const char *method;
    const char *path;
    void (*run)(struct sms *s, struct sim_conn *c, struct sim_request *r);
} paths[] = {
    {"POST", "/sms.do", post_sms},
    {"GET", "/ping", get_ping},
    {"HEAD", "/ping", head_ping},
    {"GET", "/profile", get_profile},
};

void sms_on_request(struct sim_conn *c, struct sim_request *r, void *ctx)
{
    struct sms *s = ctx;
    if (strncmp(r->target, "/_sim/", 6) == 0) {
        sms_control(s, c, r);
        return;
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (sim_request_is(r, paths[i].method, paths[i].path)) {
            if (i != 0) {
                sim_count(&s->paths, paths[i].path);
            }
            paths[i].run(s, c, r);
            return;
        }
    }
    sim_count(&s->paths, "(unknown)");
    sim_conn_answer_json(c, 404,
                         "{\"message\":\"Not found\",\"error\":\"not_found\",\"developer_description\":null,"
                         "\"errors\":null}");
}

bool sms_on_open(struct sim_conn *c, void *ctx)
{
    struct sms *s = ctx;
    if (sim_conn_server(c) != s->server || s->close_on_connect == 0) {
        return true;
    }
    s->close_on_connect -= s->close_on_connect > 0 ? 1 : 0;
    s->faults_used++;
    return false;
}

void sms_on_close(struct sim_conn *c, void *ctx)
{
    (void)ctx;
    struct exchange *x = sim_conn_user(c);
    if (x != NULL) {
        flight_end(x);
        sim_buf_free(&x->reply.headers);
        sim_buf_free(&x->reply.body);
        free(x);
        sim_conn_set_user(c, NULL);
    }
}
