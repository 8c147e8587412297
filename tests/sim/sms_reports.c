/*
 * Delivery reports (CONTRACT.md section 6): GET with query parameters, several reports in one call as lists
 * with commas, repeated until the answer is exactly OK.
 */
#include "tests/sim/sms.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct report {
    struct report *next;
    uint64_t message; /* its place in memory */
    int status;
    int64_t due_ms;
    char *url;
};

struct call {
    struct sms *sms;
    struct bufferevent *bev;
    struct report *reports;
};

struct reports {
    struct report *first;
    struct event *timer;
    uint64_t calls;
    uint64_t confirmed;
    uint64_t repeated;
};

static const struct {
    int status;
    const char *name;
} names[] = {
    {401, "NOT_FOUND"},   {402, "EXPIRED"},  {403, "SENT"},     {404, "DELIVERED"},
    {405, "UNDELIVERED"}, {406, "FAILED"},   {407, "REJECTED"}, {408, "UNKNOWN"},
    {409, "QUEUE"},       {410, "ACCEPTED"}, {411, "RENEWAL"},  {412, "STOP"},
};

static const char *status_name(int status)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].status == status) {
            return names[i].name;
        }
    }
    return "UNKNOWN";
}

static void schedule(struct sms *s);

static void put_back(struct sms *s, struct report *list, bool confirmed)
{
    while (list != NULL) {
        struct report *r = list;
        list = r->next;
        if (confirmed) {
            s->reports->confirmed++;
            free(r->url);
            free(r);
            continue;
        }
        s->reports->repeated++;
        r->due_ms = sim_wall_ms() + s->opt.report_repeat_ms;
        r->next = s->reports->first;
        s->reports->first = r;
    }
    schedule(s);
}

static bool answered_ok(struct evbuffer *in)
{
    size_t length = evbuffer_get_length(in);
    const char *text = (const char *)evbuffer_pullup(in, -1);
    const char *body = text != NULL ? memmem(text, length, "\r\n\r\n", 4) : NULL;
    return body != NULL && strncmp(text, "HTTP/1.1 200", 12) == 0 && (size_t)(text + length - body) == 6 &&
           memcmp(body + 4, "OK", 2) == 0;
}

static void on_call_event(struct bufferevent *bev, short what, void *arg)
{
    struct call *c = arg;
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        return;
    }
    bool confirmed = answered_ok(bufferevent_get_input(bev));
    struct sms *s = c->sms;
    struct report *list = c->reports;
    bufferevent_free(bev);
    free(c);
    put_back(s, list, confirmed);
}

/* ---- one call ---- */

static void add_escaped(struct sim_buf *b, const char *text)
{
    for (; *text != '\0'; text++) {
        bool plain = (*text >= '0' && *text <= '9') || ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z') ||
                     strchr("-._~", *text) != NULL;
        if (plain) {
            sim_buf_add(b, text, 1);
        } else {
            sim_buf_printf(b, "%%%02X", (unsigned char)*text);
        }
    }
}

typedef void (*writer)(const struct sms_message *m, const struct report *r, struct sim_buf *b);

static void write_id(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)r;
    sim_buf_puts(b, m->id);
}

static void write_status(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)m;
    sim_buf_printf(b, "%d", r->status);
}

static void write_status_name(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)m;
    sim_buf_puts(b, status_name(r->status));
}

static void write_idx(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)r;
    add_escaped(b, m->idx != NULL ? m->idx : "");
}

static void write_done(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)m;
    (void)r;
    sim_buf_printf(b, "%lld", (long long)(sim_wall_ms() / 1000));
}

static void write_sent(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)r;
    sim_buf_printf(b, "%lld", (long long)(m->time_ms / 1000));
}

static void write_to(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)r;
    sim_buf_puts(b, m->number);
}

static void write_from(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)r;
    add_escaped(b, m->from != NULL ? m->from : "");
}

static void write_points(const struct sms_message *m, const struct report *r, struct sim_buf *b)
{
    (void)r;
    sim_buf_printf(b, "%.4f", 0.16 * m->parts);
}

static const struct {
    const char *name;
    writer write;
} members[] = {
    {"MsgId", write_id}, {"status", write_status}, {"status_name", write_status_name},
    {"idx", write_idx},  {"donedate", write_done}, {"sent_at", write_sent},
    {"to", write_to},    {"from", write_from},     {"points", write_points},
};

static void build_request(struct sms *s, const struct report *list, const char *host, const char *path,
                          struct sim_buf *b)
{
    sim_buf_printf(b, "GET %s%c", path, strchr(path, '?') != NULL ? '&' : '?');
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        sim_buf_printf(b, "%s%s=", i != 0 ? "&" : "", members[i].name);
        for (const struct report *r = list; r != NULL; r = r->next) {
            members[i].write(&s->messages[r->message], r, b);
            sim_buf_puts(b, r->next != NULL ? "%2C" : "");
        }
    }
    sim_buf_printf(
        b, "&username=sim HTTP/1.1\r\nHost: %s\r\nUser-Agent: smsapi-sim\r\nConnection: close\r\n\r\n", host);
}

static void call(struct sms *s, struct report *list)
{
    char host[200] = "";
    int port = 80;
    const char *rest = strstr(list->url, "://");
    rest = rest != NULL ? rest + 3 : list->url;
    size_t host_length = strcspn(rest, "/?");
    const char *path = rest[host_length] == '/' ? rest + host_length : "/";
    snprintf(host, sizeof(host), "%.*s", (int)host_length, rest);
    struct call *c = sim_alloc(sizeof(*c));
    struct sim_buf b = {0};
    build_request(s, list, host, path, &b);
    char *colon = strrchr(host, ':');
    if (colon != NULL) {
        *colon = '\0';
        port = (int)strtol(colon + 1, NULL, 10);
    }
    c->sms = s;
    c->reports = list;
    c->bev = bufferevent_socket_new(s->base, -1, BEV_OPT_CLOSE_ON_FREE);
    struct timeval patience = {.tv_sec = 10};
    bufferevent_setcb(c->bev, NULL, NULL, on_call_event, c);
    bufferevent_set_timeouts(c->bev, &patience, &patience);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    bufferevent_write(c->bev, b.data, b.len);
    sim_buf_free(&b);
    s->reports->calls++;
    if (bufferevent_socket_connect_hostname(c->bev, NULL, AF_UNSPEC, host, port) != 0) {
        on_call_event(c->bev, BEV_EVENT_ERROR, c);
    }
}

/* ---- when ---- */

/* Takes what is due and goes to the same address as the first, up to a batch. */
static struct report *take_batch(struct sms *s)
{
    struct report *batch = NULL;
    struct report **tail = &batch;
    int64_t left = s->opt.report_batch;
    struct report **at = &s->reports->first;
    while (*at != NULL && left > 0) {
        struct report *r = *at;
        if (r->due_ms <= sim_wall_ms() && (batch == NULL || strcmp(batch->url, r->url) == 0)) {
            *at = r->next;
            r->next = NULL;
            *tail = r;
            tail = &r->next;
            left--;
        } else {
            at = &r->next;
        }
    }
    return batch;
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct sms *s = arg;
    struct report *batch;
    while ((batch = take_batch(s)) != NULL) {
        call(s, batch);
    }
    schedule(s);
}

static void schedule(struct sms *s)
{
    int64_t soonest = INT64_MAX;
    for (const struct report *r = s->reports->first; r != NULL; r = r->next) {
        soonest = r->due_ms < soonest ? r->due_ms : soonest;
    }
    if (soonest == INT64_MAX) {
        return;
    }
    int64_t wait_ms = soonest - sim_wall_ms();
    wait_ms = wait_ms > 1 ? wait_ms : 1;
    struct timeval when = {.tv_sec = (time_t)(wait_ms / 1000),
                           .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};
    evtimer_add(s->reports->timer, &when);
}

static struct reports *reports_use(struct sms *s)
{
    if (s->reports == NULL) {
        s->reports = sim_alloc(sizeof(*s->reports));
        s->reports->timer = evtimer_new(s->base, on_due, s);
    }
    return s->reports;
}

void sms_report(struct sms *s, uint64_t place, int status, const char *url, int64_t delay_ms)
{
    struct report *r = sim_alloc(sizeof(*r));
    struct report **at = &reports_use(s)->first;
    r->message = place;
    r->status = status;
    r->due_ms = sim_wall_ms() + delay_ms;
    sim_set(&r->url, url);
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = r;
    schedule(s);
}

void sms_report_later(struct sms *s, const struct sms_message *m)
{
    const char *url = m->notify_url != NULL ? m->notify_url : s->report_url;
    if (s->opt.report_status != 0 && url != NULL) {
        sms_report(s, (uint64_t)(m - s->messages), (int)s->opt.report_status, url, s->opt.report_delay_ms);
    }
}

void sms_reports_json(const struct sms *s, struct sim_buf *out)
{
    static const struct reports none;
    const struct reports *all = s->reports != NULL ? s->reports : &none;
    int waiting = 0;
    for (const struct report *r = all->first; r != NULL; r = r->next) {
        waiting++;
    }
    sim_buf_printf(out, "{\"waiting\":%d,\"calls\":%llu,\"confirmed\":%llu,\"repeated\":%llu}", waiting,
                   (unsigned long long)all->calls, (unsigned long long)all->confirmed,
                   (unsigned long long)all->repeated);
}

void sms_reports_free(struct sms *s)
{
    if (s->reports == NULL) {
        return;
    }
    while (s->reports->first != NULL) {
        struct report *r = s->reports->first;
        s->reports->first = r->next;
        free(r->url);
        free(r);
    }
    event_free(s->reports->timer);
    free(s->reports);
    s->reports = NULL;
}
