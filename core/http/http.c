#include "core/http/http.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/http/multi.h"

enum {
    IDLE_MAX_MS = 60000,
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 10,
    ANSWER_KEEP_BYTES = 64 * 1024, /* a slot's memory above that is given back after the answer */
};

/* One slot. The options that were set last are remembered, because setting an option costs more than
 * comparing. */
struct http_request {
    struct http_client *client;
    struct http_request *next_free;
    CURL *easy;
    char *url;
    const struct http_headers *headers;
    long connect_timeout_ms, total_timeout_ms;
    bool posts;
    struct buf answer;
    char error[CURL_ERROR_SIZE];
    bool too_large, asked, written;
    bool (*before_write)(void *arg);
    http_done_fn *done;
    void *arg;
};

struct http_client {
    struct multi *multi;
    struct http_request *slots;
    struct http_request *free_slots;
    unsigned count;
};

struct http_headers {
    struct curl_slist *list;
};

static struct curl_slist *append(struct curl_slist *list, const char *line)
{
    list = curl_slist_append(list, line);
    if (!list)
        panic("no memory for header lines");
    return list;
}

struct http_headers *http_headers_new(const char *const *lines)
{
    struct http_headers *h = xcalloc(1, sizeof *h);
    /* Without this libcurl waits for a "100 Continue" before large bodies. */
    h->list = append(NULL, "Expect:");
    for (; lines && *lines; lines++)
        h->list = append(h->list, *lines);
    return h;
}

void http_headers_free(struct http_headers **h)
{
    if (!*h)
        return;
    for (struct curl_slist *s = (*h)->list; s; s = s->next)
        explicit_bzero(s->data, strlen(s->data));
    curl_slist_free_all((*h)->list);
    free(*h);
    *h = NULL;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_request *r = arg;
    size_t len = size * count;
    if (buf_add(&r->answer, data, len) == 0)
        return len;
    r->too_large = true;
    return 0;
}

/* Called by libcurl on a connection that stands, before each writing of the request. A second time would be
 * its own repetition on a fresh connection. */
static int on_before_write(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    struct http_request *r = arg;
    if (r->asked || (r->before_write && !r->before_write(r->arg)))
        return CURL_PREREQFUNC_ABORT;
    r->asked = true;
    r->written = true;
    return CURL_PREREQFUNC_OK;
}

static void setup_slot(struct http_request *r, const struct http_options *o)
{
    CURL *e = curl_easy_init();
    if (!e)
        panic("no libcurl easy handle");
    r->easy = e;
    buf_init(&r->answer, 1);
    long idle_s = (long)((o->idle_max_ms > 0 ? o->idle_max_ms : IDLE_MAX_MS) / 1000);
    curl_easy_setopt(e, CURLOPT_PRIVATE, r);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
    curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, idle_s > 0 ? idle_s : 1L);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, o->user_agent ? o->user_agent : "bridgebell/" BRIDGEBELL_VERSION);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_before_write);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, r);
    if (o->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file);
    multi_prepare(r->client->multi, e);
}

static void release(struct http_request *r)
{
    struct http_client *c = r->client;
    r->done = NULL;
    if (r->answer.size > ANSWER_KEEP_BYTES)
        buf_free(&r->answer);
    r->next_free = c->free_slots;
    c->free_slots = r;
}

static int64_t retry_after_ms(CURL *easy, long status)
{
    curl_off_t seconds = 0;
    if (status < 300 || curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) || seconds <= 0)
        return -1;
    return seconds > 86400 ? 86400000 : (int64_t)seconds * 1000;
}

static uint32_t time_us(CURL *easy, CURLINFO what)
{
    curl_off_t us = 0;
    curl_easy_getinfo(easy, what, &us);
    return us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static uint32_t connect_us(CURL *easy)
{
    long opened = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &opened);
    if (opened == 0)
        return 0;
    uint32_t tls = time_us(easy, CURLINFO_APPCONNECT_TIME_T);
    return tls ? tls : time_us(easy, CURLINFO_CONNECT_TIME_T);
}

bool http_proxy_refused(void *easy)
{
    long status = 0;
    curl_easy_getinfo((CURL *)easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300;
}

static void on_done(void *arg, CURL *easy, CURLcode result)
{
    (void)arg;
    struct http_request *r;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &r);
    struct http_answer answer = {
        .error = result,
        .detail = result == CURLE_OK ? ""
                  : r->error[0]      ? r->error
                                     : curl_easy_strerror(result),
        .written = r->written,
        .too_large = r->too_large,
        .body = buf_cstr(&r->answer),
        .body_len = r->answer.len,
        .connect_us = connect_us(easy),
        .total_us = time_us(easy, CURLINFO_TOTAL_TIME_T),
        .handle = easy,
    };
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer.status);
    if (result != CURLE_OK && http_proxy_refused(easy))
        answer.error = CURLE_PROXY;
    answer.retry_after_ms = retry_after_ms(easy, answer.status);
    multi_remove(r->client->multi, easy, true);
    r->done(r->arg, &answer);
    release(r);
}

const char *http_answer_header(const struct http_answer *answer, const char *name)
{
    struct curl_header *header;
    if (curl_easy_header(answer->handle, name, 0, CURLH_HEADER, -1, &header))
        return NULL;
    return header->value;
}

struct http_client *http_client_new(const struct http_options *o)
{
    struct http_client *c = xcalloc(1, sizeof *c);
    c->multi = multi_new(o->connections, on_done, c);
    c->count = o->connections;
    c->slots = xcalloc(c->count, sizeof *c->slots);
    for (unsigned i = c->count; i-- > 0;) {
        struct http_request *r = &c->slots[i];
        r->client = c;
        setup_slot(r, o);
        r->next_free = c->free_slots;
        c->free_slots = r;
    }
    return c;
}

void http_client_free(struct http_client **p)
{
    struct http_client *c = *p;
    if (!c)
        return;
    *p = NULL;
    for (unsigned i = 0; i < c->count; i++) {
        struct http_request *r = &c->slots[i];
        if (r->done)
            multi_remove(c->multi, r->easy, false);
        curl_easy_cleanup(r->easy);
        buf_free(&r->answer);
        free(r->url);
    }
    free(c->slots);
    multi_free(&c->multi);
    free(c);
}

static void set_method(struct http_request *r, const struct http_call *call)
{
    bool posts = call->body != NULL;
    if (posts != r->posts)
        curl_easy_setopt(r->easy, posts ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
    r->posts = posts;
    if (!posts)
        return;
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, call->body);
}

static void set_timeouts(struct http_request *r, const struct http_call *call)
{
    if (r->connect_timeout_ms != call->connect_timeout_ms)
        curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)call->connect_timeout_ms);
    if (r->total_timeout_ms != call->total_timeout_ms)
        curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long)call->total_timeout_ms);
    r->connect_timeout_ms = (long)call->connect_timeout_ms;
    r->total_timeout_ms = (long)call->total_timeout_ms;
}

static void set_target(struct http_request *r, const struct http_call *call)
{
    if (!r->url || strcmp(r->url, call->url) != 0) {
        free(r->url);
        r->url = xstrdup(call->url);
        curl_easy_setopt(r->easy, CURLOPT_URL, r->url);
    }
    /* Always: the address may be that of other headers by now, and setting it is a plain assignment. */
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, call->headers ? call->headers->list : NULL);
}

int http_begin(struct http_client *c, const struct http_call *call, http_done_fn *done, void *arg)
{
    struct http_request *r = c->free_slots;
    if (!r)
        return -1;
    c->free_slots = r->next_free;
    r->done = done;
    r->arg = arg;
    r->before_write = call->before_write;
    r->too_large = r->asked = r->written = false;
    r->error[0] = '\0';
    buf_reset(&r->answer);
    r->answer.limit = call->max_answer_bytes ? call->max_answer_bytes : 1;
    set_target(r, call);
    set_method(r, call);
    set_timeouts(r, call);
    if (multi_add(c->multi, r->easy))
        panic("libcurl refuses a handle of ours");
    return 0;
}
