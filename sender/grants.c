#include "sender/grants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "sender/outcomes.h"

enum {
    LATE_CHECK_MS = 20,      /* how often waiting requests are looked at */
    TICK_MS = 1000,          /* credit and statistics */
    AHEAD_US = 10000,        /* requests for so long may wait behind those in flight */
    LINE_LIMIT_MAX = 512,    /* requests of one line, waiting and in flight */
    LINE_AHEAD_MAX = 32,     /* times its slots */
    START_BY_MAX_MS = 60000, /* a grant that says more is not believed */
    AVERAGE_WEIGHT = 8,      /* of the past in running averages */
    DRAIN_ALONE_MS = 3000,   /* how long a leaving sender waits for a dispatcher that is away */
};

struct line {
    struct grants *owner;
    struct provider *provider;
    struct request *first, *last; /* waiting for a slot */
    size_t slots, in_flight, waiting;
    uint64_t answer_us; /* running average */
    bool pumping, probing;
};

struct grants {
    struct link_client *link;
    const struct grants_events *events;
    void *events_arg;
    struct outcomes *outcomes;
    struct line **lines;
    size_t lines_count;
    uint64_t seen;         /* number of the last WIRE_GRANTS since the welcome */
    uint64_t told_free;    /* credit as last sent */
    uint64_t jobs_average; /* jobs in a request, times AVERAGE_WEIGHT */
    uint64_t malformed;
    uint64_t told[WIRE_OUTCOMES], refused[WIRE_CLASSES]; /* outcomes so far */
    struct msg_out out;
    struct loop_timer *tick, *late_check;
    void (*drained)(void *arg);
    void *drained_arg;
    bool leaving;
    uint64_t alone_since_ms; /* leaving without a link */
};

bool request_is_late(const struct request *r)
{
    return clock_boot_ms() > r->start_by_ms;
}

/* ---- credit ---- */

size_t grants_line_limit(size_t slots, uint64_t answer_us)
{
    uint64_t ahead = answer_us ? AHEAD_US / answer_us : 0;
    if (ahead > LINE_AHEAD_MAX)
        ahead = LINE_AHEAD_MAX;
    size_t limit = slots * (size_t)(1 + ahead);
    if (limit > LINE_LIMIT_MAX)
        limit = slots > LINE_LIMIT_MAX ? slots : LINE_LIMIT_MAX;
    return limit;
}

static uint64_t free_credit(const struct grants *g)
{
    if (g->leaving)
        return 0;
    uint64_t room = 0;
    for (size_t i = 0; i < g->lines_count; i++) {
        const struct line *l = g->lines[i];
        size_t limit = grants_line_limit(l->slots, l->answer_us);
        size_t taken = l->in_flight + l->waiting;
        room += limit > taken ? limit - taken : 0;
    }
    uint64_t jobs = g->jobs_average / AVERAGE_WEIGHT + 1;
    uint64_t bound = outcomes_room(g->outcomes) / jobs;
    return room < bound ? room : bound;
}

static struct wire_credit credit_now(struct grants *g)
{
    g->told_free = free_credit(g);
    return (struct wire_credit){.free = g->told_free, .seen = g->seen, .stamp = clock_boot_ms()};
}

static void send_credit(struct grants *g)
{
    struct wire_credit credit = credit_now(g);
    msg_begin(&g->out, WIRE_CREDIT, 1);
    wire_put_credit(&g->out, &credit);
    link_client_send(g->link, &g->out);
}

/* A dispatcher that was told "nothing" waits to hear otherwise. */
static void tell_if_free_again(struct grants *g)
{
    if (g->told_free == 0 && free_credit(g) > 0)
        send_credit(g);
}

/* ---- outcomes ---- */

static int send_results(void *arg, uint64_t seq, const void *results, size_t len)
{
    struct grants *g = arg;
    uint64_t told = g->told_free;
    struct wire_credit credit = credit_now(g);
    msg_begin(&g->out, WIRE_RESULTS, 3);
    msg_put_uint(&g->out, seq);
    wire_put_credit(&g->out, &credit);
    buf_add(&g->out.buf, results, len);
    if (link_client_send(g->link, &g->out) == 0)
        return 0;
    g->told_free = told;
    return -1;
}

static void add_outcome(struct grants *g, const struct request *r, const struct request_job *job,
                        const struct verdict *v)
{
    struct wire_result result = {
        .job = job->job,
        .attempt = job->attempt,
        .outcome = v->outcome,
        .class = v->class,
        .code = v->code,
        .http_status = r->http_status,
        .retry_after_ms = v->retry_after_ms,
        .points_micro = v->points_micro,
        .parts = v->parts,
        .connect_us = r->connect_us,
        .answer_us = r->answer_us,
        .provider_id = msg_str_of(v->id[0] ? v->id : NULL),
        .words = msg_str_of(v->words[0] ? v->words : NULL),
    };
    g->told[v->outcome]++;
    if (v->outcome == WIRE_REFUSED)
        g->refused[v->class]++;
    outcomes_add(g->outcomes, &result);
}

static void give_back(struct grants *g, struct request *r, const char *why)
{
    struct verdict v = {WIRE_UNSENT, WIRE_CLASS_NONE, 0, -1, -1, -1, "", ""};
    snprintf(v.words, sizeof v.words, "%s", why);
    for (size_t i = 0; i < r->count; i++)
        add_outcome(g, r, &r->jobs[i], &v);
    free(r);
}

static void drain_check(struct grants *g)
{
    if (!g->leaving || !g->drained)
        return;
    size_t busy = 0;
    for (size_t i = 0; i < g->lines_count; i++)
        busy += g->lines[i]->in_flight + g->lines[i]->waiting;
    bool alone = g->alone_since_ms && clock_mono_ms() - g->alone_since_ms > DRAIN_ALONE_MS;
    if (busy || (outcomes_count(g->outcomes) && !alone))
        return;
    if (outcomes_count(g->outcomes))
        log_warn("leaving with outcomes that no dispatcher took; they count as unknown",
                 log_int("outcomes", (int64_t)outcomes_count(g->outcomes)));
    void (*done)(void *arg) = g->drained;
    g->drained = NULL;
    done(g->drained_arg);
}

/* ---- lines ---- */

static void average(uint64_t *value, uint64_t sample)
{
    *value = *value ? (*value * (AVERAGE_WEIGHT - 1) + sample) / AVERAGE_WEIGHT : sample;
}

static void pump(struct line *l);

static void on_done(struct request *r, const struct verdict *verdicts)
{
    struct line *l = r->owner;
    l->in_flight--;
    if (r->http_status)
        average(&l->answer_us, r->answer_us ? r->answer_us : 1);
    for (size_t i = 0; i < r->count; i++)
        add_outcome(l->owner, r, &r->jobs[i], &verdicts[i]);
    free(r);
    pump(l);
}

static struct request *take_first(struct line *l)
{
    struct request *r = l->first;
    l->first = r->next;
    if (!l->first)
        l->last = NULL;
    r->next = NULL;
    l->waiting--;
    return r;
}

static void pump(struct line *l)
{
    /* A provider may answer from inside send; the loop below then goes on, instead of a recursion. */
    if (l->pumping)
        return;
    l->pumping = true;
    while (l->first && l->in_flight < l->slots) {
        struct request *r = take_first(l);
        if (request_is_late(r)) {
            give_back(l->owner, r, "came too late");
            continue;
        }
        l->in_flight++;
        r->sent_ns = clock_mono_ns();
        l->provider->ops->send(l->provider, r);
    }
    l->pumping = false;
}

/* Gives back what will not leave in time, so that others may have it. */
static void drop_late(struct line *l, bool all)
{
    struct request *r = l->first;
    l->first = l->last = NULL;
    l->waiting = 0;
    while (r) {
        struct request *next = r->next;
        r->next = NULL;
        if (all || request_is_late(r)) {
            give_back(l->owner, r, all ? "the sender is leaving" : "no connection was free in time");
        } else {
            if (l->last)
                l->last->next = r;
            else
                l->first = r;
            l->last = r;
            l->waiting++;
        }
        r = next;
    }
}

static void on_late_check(void *arg)
{
    struct grants *g = arg;
    size_t waiting = 0;
    for (size_t i = 0; i < g->lines_count; i++) {
        drop_late(g->lines[i], false);
        waiting += g->lines[i]->waiting;
    }
    if (waiting)
        loop_timer_start(g->late_check, LATE_CHECK_MS);
}

/* ---- grants ---- */

static bool number_is_good(struct msg_str n)
{
    if (n.len < 2 || n.len >= PROVIDER_NUMBER_MAX || n.data[0] != '+')
        return false;
    for (size_t i = 1; i < n.len; i++)
        if (n.data[i] < '0' || n.data[i] > '9')
            return false;
    return true;
}

/* The request, its jobs and its texts in one piece. */
static struct request *make_request(const struct wire_grant *grant)
{
    size_t jobs_bytes = grant->count * sizeof(struct request_job);
    struct request *r = xmalloc(sizeof *r + jobs_bytes + grant->text.len + 1 + grant->from.len + 1);
    memset(r, 0, sizeof *r);
    r->jobs = (struct request_job *)(r + 1);
    char *text = (char *)r->jobs + jobs_bytes;
    char *from = text + grant->text.len + 1;
    memcpy(text, grant->text.data, grant->text.len);
    text[grant->text.len] = '\0';
    if (grant->from.len)
        memcpy(from, grant->from.data, grant->from.len);
    from[grant->from.len] = '\0';
    r->text = text;
    r->text_len = grant->text.len;
    r->from = grant->from.len ? from : NULL;
    r->from_len = grant->from.len;
    r->expires_in_s = grant->expires_in_s;
    r->start_by_ms = grant->stamp + grant->start_by_ms;
    if (grant->start_by_ms > START_BY_MAX_MS || grant->stamp > clock_boot_ms())
        r->start_by_ms = 0;
    return r;
}

static void fill_jobs(struct grants *g, struct request *r, const struct wire_grant *grant)
{
    struct verdict bad = {WIRE_REFUSED, WIRE_PER_NUMBER, 0, -1, -1, -1, "", "not a phone number"};
    for (size_t i = 0; i < grant->count; i++) {
        const struct wire_grant_job *from = &grant->jobs[i];
        struct request_job *job = &r->jobs[r->count];
        job->job = from->job;
        job->attempt = from->attempt;
        if (!number_is_good(from->number)) {
            add_outcome(g, r, job, &bad);
            continue;
        }
        memcpy(job->number, from->number.data, from->number.len);
        job->number[from->number.len] = '\0';
        wire_idx(&from->job, from->generation, job->idx);
        r->count++;
    }
}

static struct line *find_line(const struct grants *g, struct msg_str name)
{
    for (size_t i = 0; i < g->lines_count; i++)
        if (msg_str_is(name, g->lines[i]->provider->name))
            return g->lines[i];
    return NULL;
}

static void take_grant(struct grants *g, const struct wire_grant *grant)
{
    struct line *l = find_line(g, grant->provider);
    struct request *r = make_request(grant);
    r->owner = l;
    r->done = on_done;
    fill_jobs(g, r, grant);
    g->jobs_average = (g->jobs_average * (AVERAGE_WEIGHT - 1)) / AVERAGE_WEIGHT + grant->count;
    if (!l || g->leaving || r->count == 0) {
        give_back(g, r, g->leaving ? "the sender is leaving" : "this sender does not know the provider");
        return;
    }
    if (l->last)
        l->last->next = r;
    else
        l->first = r;
    l->last = r;
    l->waiting++;
    pump(l);
}

static void on_grants(struct grants *g, struct msg_fields *f)
{
    static struct wire_grant_job jobs[WIRE_GRANT_JOBS_MAX];
    g->seen = msg_get_uint(f);
    struct msg_fields list = msg_get_array(f);
    while (!list.failed && list.left) {
        struct wire_grant grant;
        if (wire_get_grant(&list, &grant, jobs))
            break;
        take_grant(g, &grant);
    }
    if (list.failed || !msg_end(f)) {
        /* Its leases run out and are asked again; nothing was sent for them here. */
        g->malformed++;
        log_error("malformed grants", log_int("number", (int64_t)g->seen));
    }
    if (!loop_timer_pending(g->late_check))
        on_late_check(g);
    if (g->leaving)
        drain_check(g);
}

static void on_results_ack(struct grants *g, struct msg_fields *f)
{
    uint64_t seq = msg_get_uint(f);
    if (!msg_end(f))
        return;
    outcomes_acked(g->outcomes, seq);
    tell_if_free_again(g);
    drain_check(g);
}

static void on_probe_answer(void *arg, bool works, const char *detail)
{
    struct line *l = arg;
    struct grants *g = l->owner;
    l->probing = false;
    msg_begin(&g->out, WIRE_PROBE_RESULT, 3);
    msg_put_cstr(&g->out, l->provider->name);
    msg_put_bool(&g->out, works);
    msg_put_cstr(&g->out, detail);
    link_client_send(g->link, &g->out);
    log_info("line probed", log_str("provider", l->provider->name), log_str("works", works ? "yes" : "no"),
             log_str("detail", detail));
}

static void on_probe(struct grants *g, struct msg_fields *f)
{
    struct line *l = find_line(g, msg_get_str(f));
    if (!msg_end(f) || !l || l->probing || g->leaving)
        return;
    l->probing = true;
    l->provider->ops->probe(l->provider, on_probe_answer, l);
}

/* ---- statistics ---- */

static void put_value(struct msg_out *m, const char *name, const char *label, uint64_t value)
{
    msg_put_array(m, 3);
    msg_put_cstr(m, name);
    msg_put_cstr(m, label);
    msg_put_int(m, (int64_t)value);
}

enum { STATS_PER_LINE = 6 };

static void put_line_stats(struct msg_out *m, const struct line *l)
{
    struct provider_stats s = {0};
    const char *name = l->provider->name;
    l->provider->ops->stats(l->provider, &s);
    put_value(m, "sender_requests_total", name, s.requests);
    put_value(m, "sender_connections_total", name, s.connections);
    put_value(m, "sender_failovers_total", name, s.failovers);
    put_value(m, "sender_in_flight", name, l->in_flight);
    put_value(m, "sender_waiting", name, l->waiting);
    put_value(m, "sender_answer_us", name, l->answer_us);
}

static void send_stats(struct grants *g)
{
    msg_begin(&g->out, WIRE_STATS, 2);
    msg_put_array(&g->out, g->lines_count * STATS_PER_LINE + WIRE_OUTCOMES + WIRE_CLASSES - 1 + 2);
    for (size_t i = 0; i < g->lines_count; i++)
        put_line_stats(&g->out, g->lines[i]);
    for (int o = 0; o < WIRE_OUTCOMES; o++)
        put_value(&g->out, "sender_outcomes_total", wire_outcome_names[o], g->told[o]);
    for (int c = 1; c < WIRE_CLASSES; c++)
        put_value(&g->out, "sender_refused_total", wire_class_names[c], g->refused[c]);
    put_value(&g->out, "sender_unacknowledged", "", outcomes_count(g->outcomes));
    put_value(&g->out, "sender_malformed_total", "", g->malformed);
    msg_put_cstr(&g->out, g->leaving ? "leaving" : "sending");
    link_client_send(g->link, &g->out);
}

static void on_tick(void *arg)
{
    struct grants *g = arg;
    outcomes_push(g->outcomes);
    if (link_client_is_up(g->link)) {
        g->alone_since_ms = 0;
        send_credit(g);
        send_stats(g);
    } else if (!g->alone_since_ms) {
        g->alone_since_ms = clock_mono_ms();
    }
    drain_check(g);
    loop_timer_start(g->tick, TICK_MS);
}

/* ---- the link ---- */

static const struct {
    int type;
    void (*handle)(struct grants *g, struct msg_fields *f);
} handlers[] = {
    {WIRE_GRANTS, on_grants},
    {WIRE_RESULTS_ACK, on_results_ack},
    {WIRE_PROBE, on_probe},
};

static void on_message(void *arg, int type, struct msg_fields *fields)
{
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        if (handlers[i].type == type) {
            handlers[i].handle(arg, fields);
            return;
        }
}

static void on_hello(void *arg, struct msg_out *extra)
{
    struct grants *g = arg;
    g->seen = 0; /* the dispatcher numbers its grants from the hello it answers */
    struct wire_credit credit = credit_now(g);
    msg_begin(extra, WIRE_CREDIT, 1);
    wire_put_credit(extra, &credit);
}

static void on_up(void *arg, const void *extra, size_t len)
{
    struct grants *g = arg;
    (void)extra;
    (void)len;
    g->alone_since_ms = 0;
    log_info("connected to the dispatcher", log_int("unacknowledged", (int64_t)outcomes_count(g->outcomes)));
    outcomes_resend(g->outcomes);
    send_credit(g);
    if (g->events->up)
        g->events->up(g->events_arg);
}

static void on_down(void *arg)
{
    struct grants *g = arg;
    log_warn("the dispatcher is away; outcomes are kept",
             log_int("unacknowledged", (int64_t)outcomes_count(g->outcomes)));
    if (g->events->down)
        g->events->down(g->events_arg);
}

static const struct link_client_ops link_ops = {
    .hello = on_hello,
    .up = on_up,
    .down = on_down,
    .message = on_message,
};

/* ---- life ---- */

struct grants *grants_new(const char *endpoint, const char *name, const struct grants_events *events,
                          void *arg)
{
    struct grants *g = xcalloc(1, sizeof *g);
    g->events = events;
    g->events_arg = arg;
    msg_out_init(&g->out, 0);
    g->outcomes = outcomes_new(send_results, g);
    g->tick = loop_timer_new(on_tick, g);
    g->late_check = loop_timer_new(on_late_check, g);
    g->link = link_client_new(endpoint, "sender", name, &link_ops, g);
    loop_timer_start(g->tick, TICK_MS);
    return g;
}

void grants_add_line(struct grants *g, struct provider *provider)
{
    struct line *l = xcalloc(1, sizeof *l);
    l->owner = g;
    l->provider = provider;
    l->slots = provider->ops->slots(provider);
    g->lines = xreallocarray(g->lines, g->lines_count + 1, sizeof(struct line *));
    g->lines[g->lines_count++] = l;
}

void grants_drain(struct grants *g, void (*done)(void *arg), void *arg)
{
    g->leaving = true;
    g->drained = done;
    g->drained_arg = arg;
    for (size_t i = 0; i < g->lines_count; i++)
        drop_late(g->lines[i], true);
    send_credit(g);
    drain_check(g);
}

void grants_free(struct grants **p)
{
    struct grants *g = *p;
    if (!g)
        return;
    *p = NULL;
    link_client_free(&g->link);
    for (size_t i = 0; i < g->lines_count; i++) {
        g->lines[i]->provider->ops->free(g->lines[i]->provider);
        for (struct request *r = g->lines[i]->first, *next; r; r = next) {
            next = r->next;
            free(r);
        }
        free(g->lines[i]);
    }
    free(g->lines);
    outcomes_free(&g->outcomes);
    loop_timer_free(&g->tick);
    loop_timer_free(&g->late_check);
    msg_out_free(&g->out);
    free(g);
}
