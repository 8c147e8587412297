/*
 * The provider "smsapi": POST /sms.do with a bearer token, over connections kept open.
 *
 * Owns the HTTP client, the two hosts and the requests on the wire. One attempt is at most one request
 * written, so that a slot of the rate limit is never used twice: if the connection fails, nothing was written
 * and the other host is tried at once, while the request's time has not come; after a 5xx the outcome is
 * unknown, and the attempt that asks again goes to the other host. Both with the same idx (CONTRACT.md
 * section 1, "Failover").
 */
#include "sender/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/http/http.h"
#include "core/log.h"
#include "sender/smsapi_answer.h"
#include "sender/smsapi_form.h"

enum {
    HOSTS_MAX = 2,
    HOST_AVOID_MS = 30000, /* a host that failed is not tried first for so long */
    WARM_MAX = 3,          /* connections being opened ahead */
    SPARE_SLOTS = 6,       /* for those, a probe, and the slot that is released only after its done */
    BODY_MAX = 64 * 1024,
    URL_MAX_BYTES = 2048,
    TOKEN_MAX_BYTES = 4096,
    DETAIL_MAX = PROVIDER_WORDS_MAX,
};

struct host {
    char *send, *ping, *profile; /* addresses */
    uint64_t avoid_until_ms;
};

/* One request on the wire. */
struct transfer {
    struct transfer *next; /* in the list of free ones */
    struct smsapi *owner;
    struct request *request; /* NULL while free */
    struct buf body;
    unsigned host;
    bool second; /* the other host's connection failed already */
};

/* A look at the line, at most one at a time. */
struct probe {
    unsigned host;
    void (*answer)(void *arg, bool works, const char *detail);
    void *arg;
};

struct smsapi {
    struct provider provider; /* first: a provider is its smsapi */
    struct http_client *http;
    struct http_headers *send_headers, *get_headers;
    struct host hosts[HOSTS_MAX];
    unsigned hosts_count;
    unsigned current; /* host of the last request, to tell a change */
    int64_t connect_timeout_ms, request_timeout_ms;
    int max_parts;
    size_t slots;
    struct transfer *transfers, *unused;
    struct probe probe;
    size_t warming; /* requests that only open a connection */
    struct provider_stats stats;
    struct verdict verdicts[WIRE_GRANT_JOBS_MAX];
};

/* ---- settings ---- */

static unsigned line_of(const struct slice_block *block, const char *name)
{
    const struct slice_setting *s = slice_get(block, name);
    return s && s->line ? s->line : block->line;
}

static void validate_url(const struct slice_block *block, const char *name, struct faults *faults)
{
    const char *url = slice_text(block, name, NULL);
    if (!url)
        return;
    bool scheme = strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0;
    if (!scheme || strlen(url) > URL_MAX_BYTES || strpbrk(url, " \t\r\n?#"))
        faults_add(faults, block->file, line_of(block, name),
                   "%s: expected an address such as \"https://api.smsapi.com\", without ? and #", name);
}

static void validate_token(const struct slice_block *block, struct faults *faults)
{
    const char *token = slice_text(block, "token", NULL);
    if (!token || !token[0]) {
        faults_add(faults, block->file, block->line,
                   "provider \"%s\" has no token; smsapi needs token or token_file", block->title);
        return;
    }
    for (const char *c = token; *c; c++)
        if (*c <= ' ' || *c == 0x7f) {
            faults_add(faults, block->file, line_of(block, "token"),
                       "the token holds a blank or a control character");
            return;
        }
    if (strlen(token) > TOKEN_MAX_BYTES)
        faults_add(faults, block->file, line_of(block, "token"), "the token is too long");
}

static void smsapi_validate(const struct slice_block *block, struct faults *faults)
{
    validate_url(block, "url", faults);
    validate_url(block, "backup_url", faults);
    validate_token(block, faults);
}

/* ---- life ---- */

static void add_host(struct smsapi *p, const char *url)
{
    if (!url)
        return;
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    struct host *h = &p->hosts[p->hosts_count++];
    h->send = xasprintf("%.*s/sms.do", (int)len, url);
    h->ping = xasprintf("%.*s/ping", (int)len, url);
    h->profile = xasprintf("%.*s/profile", (int)len, url);
}

static void make_headers(struct smsapi *p, const char *token)
{
    char *authorization = xasprintf("Authorization: Bearer %s", token);
    /* No more lines than needed: libcurl formats them byte by byte for each request, and adds the type of
     * the form by itself at less cost. */
    const char *const send[] = {authorization, NULL};
    const char *const get[] = {authorization, "Accept: application/json", NULL};
    p->send_headers = http_headers_new(send);
    p->get_headers = http_headers_new(get);
    xfree_secret(authorization, strlen(authorization));
}

static void make_transfers(struct smsapi *p)
{
    p->transfers = xcalloc(p->slots, sizeof *p->transfers);
    for (size_t i = 0; i < p->slots; i++) {
        struct transfer *t = &p->transfers[i];
        t->owner = p;
        buf_init(&t->body, BODY_MAX);
        t->next = p->unused;
        p->unused = t;
    }
}

static void smsapi_free(struct provider *provider)
{
    struct smsapi *p = (struct smsapi *)provider;
    http_client_free(&p->http);
    http_headers_free(&p->send_headers);
    http_headers_free(&p->get_headers);
    for (unsigned i = 0; i < p->hosts_count; i++) {
        free(p->hosts[i].send);
        free(p->hosts[i].ping);
        free(p->hosts[i].profile);
    }
    for (size_t i = 0; i < p->slots; i++) {
        free(p->transfers[i].request);
        buf_free(&p->transfers[i].body);
    }
    free(p->transfers);
    free(p);
}

static struct provider *smsapi_make(const struct slice_block *block, struct faults *faults)
{
    struct smsapi *p = xcalloc(1, sizeof *p);
    p->provider.ops = &smsapi_ops;
    p->provider.name = block->title;
    p->connect_timeout_ms = slice_number(block, "connect_timeout", 5000);
    p->request_timeout_ms = slice_number(block, "request_timeout", 15000);
    p->max_parts = (int)slice_number(block, "max_parts", 0);
    p->slots = (size_t)slice_number(block, "connections", 16);
    add_host(p, slice_text(block, "url", "https://api.smsapi.com"));
    add_host(p, slice_text(block, "backup_url", NULL));
    make_headers(p, slice_text(block, "token", ""));
    make_transfers(p);
    struct http_options options = {
        .connections = (unsigned)p->slots + SPARE_SLOTS,
        .ca_file = slice_text(block, "ca_file", NULL),
    };
    p->http = http_client_new(&options);
    if (!p->http) {
        faults_add(faults, block->file, line_of(block, "ca_file"), "the HTTP client cannot be set up");
        smsapi_free(&p->provider);
        return NULL;
    }
    return &p->provider;
}

static size_t smsapi_slots(const struct provider *provider)
{
    return ((const struct smsapi *)provider)->slots;
}

static void smsapi_stats(const struct provider *provider, struct provider_stats *out)
{
    *out = ((const struct smsapi *)provider)->stats;
}

/* ---- hosts ---- */

static unsigned pick_host(struct smsapi *p)
{
    if (p->hosts_count < 2)
        return 0;
    uint64_t now = clock_mono_ms();
    unsigned host = 0;
    if (p->hosts[0].avoid_until_ms > now && p->hosts[1].avoid_until_ms <= now)
        host = 1;
    else if (p->hosts[0].avoid_until_ms > now)
        host = p->hosts[0].avoid_until_ms <= p->hosts[1].avoid_until_ms ? 0 : 1;
    if (host != p->current) {
        p->stats.failovers++;
        log_warn(host ? "sending goes to the backup host" : "sending goes to the main host again",
                 log_str("provider", p->provider.name), log_str("url", p->hosts[host].send));
    }
    p->current = host;
    return host;
}

static void avoid_host(struct smsapi *p, unsigned host)
{
    p->hosts[host].avoid_until_ms = clock_mono_ms() + HOST_AVOID_MS;
}

/* ---- connections opened ahead ----
 *
 * A request that finds its time passed when a new connection is at last open takes that connection down with
 * it, and the next would meet the same. So the connection is opened again by a request without a time, and
 * waits open for the one that comes. */

static void on_warm(void *arg, const struct http_answer *answer)
{
    struct smsapi *p = arg;
    p->warming--;
    p->stats.connections += answer->connect_us > 0;
}

static void warm(struct smsapi *p, unsigned host)
{
    struct http_call call = {
        .url = p->hosts[host].ping,
        .headers = p->get_headers,
        .connect_timeout_ms = p->connect_timeout_ms,
        .total_timeout_ms = p->connect_timeout_ms + p->request_timeout_ms,
        .max_answer_bytes = SMSAPI_ANSWER_MAX,
    };
    if (p->warming < WARM_MAX && http_begin(p->http, &call, on_warm, p) == 0)
        p->warming++;
}

/* ---- sending ---- */

static void finish(struct transfer *t)
{
    struct smsapi *p = t->owner;
    struct request *r = t->request;
    t->request = NULL;
    t->next = p->unused;
    p->unused = t;
    r->done(r, p->verdicts);
}

static void finish_all(struct transfer *t, enum wire_outcome outcome, enum wire_class class,
                       const char *words)
{
    struct verdict v = {outcome, class, 0, -1, -1, -1, "", ""};
    smsapi_words(words, v.words);
    for (size_t i = 0; i < t->request->count; i++)
        t->owner->verdicts[i] = v;
    finish(t);
}

static bool before_write(void *arg)
{
    const struct transfer *t = arg;
    return !request_is_late(t->request);
}

static void begin(struct transfer *t);

/* Certainly nothing was written. */
static void on_unsent(struct transfer *t, const struct http_answer *a)
{
    struct smsapi *p = t->owner;
    if (a->error == CURLE_ABORTED_BY_CALLBACK) {
        p->stats.late++;
        if (a->connect_us)
            warm(p, t->host);
        finish_all(t, WIRE_UNSENT, WIRE_CLASS_NONE, "its time had passed when the connection was open");
        return;
    }
    avoid_host(p, t->host);
    if (p->hosts_count > 1 && !t->second && !request_is_late(t->request)) {
        t->second = true;
        begin(t);
        return;
    }
    finish_all(t, WIRE_UNSENT, WIRE_TRANSIENT, a->detail[0] ? a->detail : curl_easy_strerror(a->error));
}

static void on_answer(void *arg, const struct http_answer *a)
{
    struct transfer *t = arg;
    struct smsapi *p = t->owner;
    struct request *r = t->request;
    r->http_status = (int32_t)a->status;
    r->connect_us = a->connect_us;
    r->answer_us = a->total_us;
    p->stats.connections += a->connect_us > 0;
    if (!a->written) {
        on_unsent(t, a);
        return;
    }
    p->stats.requests++;
    if (a->status / 100 == 5)
        avoid_host(p, t->host);
    if (a->error != CURLE_OK && a->status == 0) {
        finish_all(t, WIRE_UNKNOWN, WIRE_TRANSIENT, a->detail[0] ? a->detail : curl_easy_strerror(a->error));
        return;
    }
    struct smsapi_answer answer = {
        .http_status = (int)a->status,
        .retry_after_ms = a->retry_after_ms,
        .body = a->body,
        .len = a->body_len,
        .cut = a->error != CURLE_OK,
    };
    smsapi_answer_read(&answer, r->jobs, r->count, p->verdicts);
    finish(t);
}

static void begin(struct transfer *t)
{
    struct smsapi *p = t->owner;
    t->host = pick_host(p);
    struct http_call call = {
        .url = p->hosts[t->host].send,
        .headers = p->send_headers,
        .body = t->body.data,
        .body_len = t->body.len,
        .connect_timeout_ms = p->connect_timeout_ms,
        .total_timeout_ms = p->connect_timeout_ms + p->request_timeout_ms,
        .max_answer_bytes = SMSAPI_ANSWER_MAX,
        .before_write = before_write,
    };
    if (http_begin(p->http, &call, on_answer, t))
        finish_all(t, WIRE_UNSENT, WIRE_CLASS_NONE, "no connection is free");
}

static void smsapi_send(struct provider *provider, struct request *r)
{
    struct smsapi *p = (struct smsapi *)provider;
    struct transfer *t = p->unused;
    if (!t)
        panic("more requests than slots");
    p->unused = t->next;
    t->request = r;
    t->second = false;
    if (smsapi_form_build(&t->body, r, clock_wall_ms(), p->max_parts))
        finish_all(t, WIRE_REFUSED, WIRE_PERMANENT_MESSAGE, "the message is too long for a request");
    else
        begin(t);
}

/* ---- the probe: GET /ping, then GET /profile (CONTRACT.md section 7) ---- */

static void probe_end(struct smsapi *p, bool works, const char *detail)
{
    p->probe.answer(p->probe.arg, works, detail);
}

/* What a GET says of the line when it did not succeed; true if the probe is over. A token without the right
 * for the address (403 on /profile) and a host that does not know it (404) say nothing of sending. */
static bool probe_failed(struct smsapi *p, const struct http_answer *a, bool is_profile)
{
    char detail[DETAIL_MAX];
    if (a->error != CURLE_OK)
        smsapi_words(a->detail[0] ? a->detail : curl_easy_strerror(a->error), detail);
    else if (a->status / 100 == 2 || a->status == 404 || (is_profile && a->status == 403))
        return false;
    else
        snprintf(detail, sizeof detail, "%s answers HTTP %ld", is_profile ? "/profile" : "/ping", a->status);
    probe_end(p, false, detail);
    return true;
}

static void on_profile(void *arg, const struct http_answer *a)
{
    struct smsapi *p = arg;
    if (probe_failed(p, a, true))
        return;
    char detail[DETAIL_MAX] = "the provider answers";
    cJSON *json = a->status / 100 == 2 ? smsapi_parse(a->body, a->body_len) : NULL;
    const cJSON *points = cJSON_GetObjectItemCaseSensitive(json, "points");
    const char *payment = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "payment_type"));
    int64_t micro = smsapi_points_micro(points);
    bool broke = payment && strcmp(payment, "prepaid") == 0 && micro == 0;
    if (broke)
        snprintf(detail, sizeof detail, "the account has no points left");
    else if (micro >= 0)
        snprintf(detail, sizeof detail, "the account has %.2f points", (double)micro / 1e6);
    cJSON_Delete(json);
    probe_end(p, !broke, detail);
}

static bool lists_sms(const cJSON *unavailable)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, unavailable) if (cJSON_IsString(item) &&
                                              strcmp(item->valuestring, "sms") == 0) return true;
    return false;
}

static void probe_get(struct smsapi *p, const char *url, http_done_fn *done)
{
    struct http_call call = {
        .url = url,
        .headers = p->get_headers,
        .connect_timeout_ms = p->connect_timeout_ms,
        .total_timeout_ms = p->connect_timeout_ms + p->request_timeout_ms,
        .max_answer_bytes = SMSAPI_ANSWER_MAX,
    };
    if (http_begin(p->http, &call, done, p))
        probe_end(p, false, "no connection is free");
}

static void on_ping(void *arg, const struct http_answer *a)
{
    struct smsapi *p = arg;
    if (probe_failed(p, a, false))
        return;
    cJSON *json = a->status / 100 == 2 ? smsapi_parse(a->body, a->body_len) : NULL;
    bool denied = cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(json, "authorized"));
    bool away = lists_sms(cJSON_GetObjectItemCaseSensitive(json, "unavailable"));
    cJSON_Delete(json);
    if (denied || away)
        probe_end(p, false, denied ? "the token is not accepted" : "the provider's SMS service is away");
    else
        probe_get(p, p->hosts[p->probe.host].profile, on_profile);
}

static void smsapi_probe(struct provider *provider, void (*answer)(void *arg, bool works, const char *detail),
                         void *arg)
{
    struct smsapi *p = (struct smsapi *)provider;
    p->probe.host = pick_host(p);
    p->probe.answer = answer;
    p->probe.arg = arg;
    probe_get(p, p->hosts[p->probe.host].ping, on_ping);
}

const struct provider_ops smsapi_ops = {
    .type = "smsapi",
    .validate = smsapi_validate,
    .make = smsapi_make,
    .slots = smsapi_slots,
    .send = smsapi_send,
    .probe = smsapi_probe,
    .stats = smsapi_stats,
    .free = smsapi_free,
};
