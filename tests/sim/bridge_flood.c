/*
 * Floods. Frames are written into one big buffer once; then only the digits that must differ (seconds,
 * counter and times) are set anew before each round, and the bytes go straight to the sockets, past
 * bufferevent. All sockets get the same events: the slowest sets the pace, as nothing is kept for it.
 *
 * Invariant: a round ends at a frame's end, so other frames (pongs, answers) may go out between rounds, and
 * only then.
 */
#include "tests/sim/bridge.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    ROUND_BYTES = 256 * 1024,
    TIMES_MAX = 5,
    TIMES_DIGITS = 13,
    MATCHES_MAX = 8 * 1000 * 1000,
    TLS_WAITING_MAX = 1024 * 1024
};

struct peer {
    struct peer *next;
    struct flood *flood;
    struct socket *socket;
    struct event *writable;
    size_t sent; /* of the present round */
    bool done;
};

struct match {
    uint32_t second;
    uint32_t number;
    uint64_t ns;
};

struct flood {
    struct bridge *bridge;
    struct sim_conn *waiter;
    struct event *timer;
    struct peer *peers;
    char thread[40];
    char other[40];
    char run[9]; /* the middle of every id */
    char *meta;
    char *solution;
    uint64_t count;
    uint64_t made;
    uint64_t match_every;
    uint64_t matched;
    double rate;
    bool stats;
    bool keep;
    bool lossy;
    bool ended;
    struct sim_buf round; /* the prepared units */
    size_t unit_bytes;
    size_t units_max;
    size_t round_bytes; /* of the present round */
    size_t id_at;
    size_t thread_at[2];
    size_t times_at[TIMES_MAX];
    size_t times_count;
    bool *unit_matches; /* what each unit's thread says now */
    struct match *matches;
    size_t match_cap;
    uint64_t patience_ns; /* how long nobody may be subscribed before it ends */
    uint64_t alone_ns;    /* since when nobody is; 0: somebody is */
    uint64_t started_ns;
    uint64_t ended_ns;
    uint64_t frames;
};

static void flood_step(struct flood *f);

/* ---- preparing ---- */

static void add_frame(struct flood *f, const struct sim_buf *text)
{
    uint8_t header[10];
    sim_buf_add(&f->round, header, sim_ws_header(header, 1, true, text->len));
    sim_buf_add(&f->round, text->data, text->len);
}

static size_t message_text(const struct flood *f, struct sim_buf *text, size_t pad)
{
    struct container *k = state_container(f->bridge, KIND_THREAD, f->thread);
    text->len = 0;
    sim_buf_printf(
        text,
        "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"%08x%s%08x\",\"contextId\":"
        "\"%s\",\"threadId\":\"%s\",\"createDate\":1795414399402,\"author\":\"alice\",\"keyId\":\"key-1\","
        "\"publicMeta\":",
        0u, f->run, 0u, k->context->id, f->other);
    if (f->meta != NULL) {
        sim_buf_puts(text, f->meta);
    } else {
        sim_buf_puts(text, "{\"text\":\"");
        for (size_t i = 0; i < pad; i++) {
            sim_buf_puts(text, "x");
        }
        sim_buf_puts(text, "\"}");
    }
    sim_buf_puts(text, "},\"timestamp\":1795414399402}");
    return text->len;
}

static size_t find_in_unit(const struct flood *f, const char *what, size_t from)
{
    const char *at = memmem(f->round.data + from, f->round.len - from, what, strlen(what));
    return at != NULL ? (size_t)(at - f->round.data) : 0;
}

/* Notes where in a unit the digits stand that change. */
static void find_places(struct flood *f)
{
    f->id_at = find_in_unit(f, "{\"id\":\"", 0) + 7;
    f->thread_at[0] = find_in_unit(f, "\"threadId\":\"", 0) + 12;
    f->thread_at[1] = f->stats ? find_in_unit(f, "\"threadId\":\"", f->thread_at[0]) + 12 : 0;
    size_t at = 0;
    while ((at = find_in_unit(f, "1795414399402", at)) != 0 && f->times_count < TIMES_MAX) {
        f->times_at[f->times_count++] = at;
        at += TIMES_DIGITS;
    }
}

static void prepare(struct flood *f, size_t size_bytes)
{
    struct sim_buf text = {0};
    size_t bare = message_text(f, &text, 0);
    message_text(f, &text, size_bytes > bare ? size_bytes - bare : 0);
    add_frame(f, &text);
    if (f->stats) {
        text.len = 0;
        sim_buf_printf(
            &text,
            "{\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{\"threadId\":\"%s\",\"lastMsgDate\":"
            "1795414399402,\"messages\":1000},\"timestamp\":1795414399402}",
            f->other);
        add_frame(f, &text);
    }
    sim_buf_free(&text);
    find_places(f);
    f->unit_bytes = f->round.len;
    f->units_max = ROUND_BYTES / f->unit_bytes + 1;
    sim_buf_reserve(&f->round, f->units_max * f->unit_bytes);
    for (size_t i = 1; i < f->units_max; i++) {
        memcpy(f->round.data + i * f->unit_bytes, f->round.data, f->unit_bytes);
    }
    f->unit_matches = sim_alloc(f->units_max * sizeof(bool));
}

/* ---- a round ---- */

static void put_hex8(char *out, uint32_t number)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 7; i >= 0; i--) {
        out[i] = digits[number & 15u];
        number >>= 4;
    }
}

static void set_thread(struct flood *f, char *unit, bool match)
{
    const char *id = match ? f->thread : f->other;
    size_t length = strlen(id);
    memcpy(unit + f->thread_at[0], id, length);
    if (f->stats) {
        memcpy(unit + f->thread_at[1], id, length);
    }
}

static void keep_message(struct flood *f, const char *unit, int64_t now_ms)
{
    struct container *k = state_container(f->bridge, KIND_THREAD, f->thread);
    if (k == NULL) {
        return;
    }
    char id[25];
    memcpy(id, unit + f->id_at, 24);
    id[24] = '\0';
    struct item *i = state_add_item(k, id);
    i->version = 1;
    i->created = i->modified = now_ms;
    sim_set(&i->author, "alice");
    sim_set(&i->modifier, "alice");
    sim_set(&i->key_id, "key-1");
    sim_set(&i->public_meta, f->meta != NULL ? f->meta : "{\"text\":\"\"}");
    k->counter++;
    k->last_date = now_ms;
}

static void record_match(struct flood *f, uint32_t second, uint64_t ns)
{
    if (f->matched < MATCHES_MAX) {
        if (f->matched >= f->match_cap) {
            f->match_cap = f->match_cap != 0 ? 2 * f->match_cap : 4096;
            f->matches = sim_grow(f->matches, f->match_cap, sizeof(*f->matches));
        }
        f->matches[f->matched] = (struct match){second, (uint32_t)f->made, ns};
    }
    f->matched++;
}

static void fill_round(struct flood *f, size_t units)
{
    char times[24];
    char second_digits[8];
    int64_t now_ms = bridge_now_ms(f->bridge);
    uint64_t now_ns = sim_mono_ns();
    uint32_t second = (uint32_t)(now_ms / 1000);
    snprintf(times, sizeof(times), "%013lld", (long long)now_ms);
    put_hex8(second_digits, second);
    for (size_t i = 0; i < units; i++) {
        char *unit = f->round.data + i * f->unit_bytes;
        bool match = f->match_every != 0 && f->made % f->match_every == 0;
        if (match != f->unit_matches[i]) {
            set_thread(f, unit, match);
            f->unit_matches[i] = match;
        }
        memcpy(unit + f->id_at, second_digits, 8);
        put_hex8(unit + f->id_at + 16, (uint32_t)f->made);
        for (size_t t = 0; t < f->times_count; t++) {
            memcpy(unit + f->times_at[t], times, TIMES_DIGITS);
        }
        if (match) {
            record_match(f, second, now_ns);
            if (f->keep) {
                keep_message(f, unit, now_ms);
            }
        }
        f->made++;
    }
    f->frames += units * (f->stats ? 2 : 1);
    f->round_bytes = units * f->unit_bytes;
}

/* ---- peers ---- */

static void peer_free(struct peer *p)
{
    struct peer **at = &p->flood->peers;
    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    p->socket->flood = NULL;
    event_free(p->writable);
    free(p);
}

static bool peer_tls(const struct peer *p)
{
    return sim_conn_is_tls(sim_ws_conn(p->socket->ws));
}

static struct bufferevent *peer_bev(const struct peer *p)
{
    return sim_conn_bev(sim_ws_conn(p->socket->ws));
}

static void on_peer_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct peer *p = arg;
    flood_step(p->flood);
}

static void wait_writable(struct peer *p)
{
    struct timeval soon = {.tv_usec = 1000};
    event_add(p->writable, peer_tls(p) ? &soon : NULL);
}

/* What bufferevent holds goes first, but only between rounds. */
static bool flush_others(struct peer *p)
{
    struct evbuffer *out = bufferevent_get_output(peer_bev(p));
    int written = 1;
    /* bufferevent keeps others from taking out of its buffer, but while it is told not to write nobody would.
     */
    evbuffer_unfreeze(out, 1);
    while (written > 0 && evbuffer_get_length(out) != 0) {
        written = evbuffer_write(out, bufferevent_getfd(peer_bev(p)));
    }
    evbuffer_freeze(out, 1);
    return evbuffer_get_length(out) == 0;
}

static bool peer_send_tls(struct peer *p)
{
    struct evbuffer *out = bufferevent_get_output(peer_bev(p));
    if (evbuffer_get_length(out) > TLS_WAITING_MAX) {
        return false;
    }
    evbuffer_add(out, p->flood->round.data, p->flood->round_bytes);
    return true;
}

static bool peer_send_plain(struct peer *p)
{
    struct flood *f = p->flood;
    if (p->sent == 0 && !flush_others(p)) {
        return false;
    }
    while (p->sent < f->round_bytes) {
        ssize_t n = send(bufferevent_getfd(peer_bev(p)), f->round.data + p->sent, f->round_bytes - p->sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        p->sent += (size_t)n;
    }
    return true;
}

/* True if the peer has the whole round. A broken connection is noticed by its reader. */
static bool peer_send(struct peer *p)
{
    if (p->done) {
        return true;
    }
    p->done = peer_tls(p) ? peer_send_tls(p) : peer_send_plain(p);
    if (!p->done) {
        wait_writable(p);
    }
    return p->done;
}

static void peer_add(struct flood *f, struct socket *s)
{
    struct peer *p = sim_alloc(sizeof(*p));
    p->flood = f;
    p->socket = s;
    p->next = f->peers;
    f->peers = p;
    s->flood = p;
    if (peer_tls(p)) {
        p->writable = evtimer_new(f->bridge->base, on_peer_writable, p);
    } else {
        bufferevent_disable(peer_bev(p), EV_WRITE);
        p->writable =
            event_new(f->bridge->base, bufferevent_getfd(peer_bev(p)), EV_WRITE, on_peer_writable, p);
    }
    p->done = true;
}

static void peers_refresh(struct flood *f)
{
    for (struct socket *s = f->bridge->sockets; s != NULL; s = s->next) {
        if (s->flood == NULL && events_wanted(s, CHANNEL_THREAD, f->solution)) {
            peer_add(f, s);
        }
    }
}

static void peers_release(struct flood *f)
{
    while (f->peers != NULL) {
        struct bufferevent *bev = peer_bev(f->peers);
        bool tls = peer_tls(f->peers);
        peer_free(f->peers);
        if (!tls) {
            bufferevent_enable(bev, EV_WRITE);
        }
    }
}

void flood_socket_ended(struct bridge *b, struct socket *s)
{
    if (s->flood != NULL) {
        peer_free(s->flood);
        /* The others may have been waiting for this one alone. */
        struct timeval now = {0};
        evtimer_add(b->flood->timer, &now);
    }
}

/* ---- the course of a flood ---- */

static void flood_end(struct flood *f)
{
    f->ended = true;
    f->ended_ns = sim_mono_ns();
    event_del(f->timer);
    peers_release(f);
    if (f->waiter != NULL) {
        struct sim_conn *waiter = f->waiter;
        struct sim_buf out = {0};
        f->waiter = NULL;
        flood_json(f->bridge, &out);
        sim_conn_answer_json(waiter, 200, out.data);
        sim_buf_free(&out);
    }
}

static uint64_t units_due(const struct flood *f)
{
    uint64_t due = f->count;
    if (f->rate > 0) {
        due = (uint64_t)((double)(sim_mono_ns() - f->started_ns) / 1e9 * f->rate) + 1;
        due = due < f->count ? due : f->count;
    }
    due -= f->made < due ? f->made : due;
    return due < f->units_max ? due : f->units_max;
}

static bool round_done(struct flood *f)
{
    bool done = true;
    for (struct peer *p = f->peers; p != NULL; p = p->next) {
        done = peer_send(p) && done;
    }
    return done;
}

static void again(struct flood *f, int64_t after_us)
{
    struct timeval when = {.tv_usec = (suseconds_t)after_us};
    evtimer_add(f->timer, &when);
}

static void wait_for_peers(struct flood *f)
{
    uint64_t now_ns = sim_mono_ns();
    f->alone_ns = f->alone_ns != 0 ? f->alone_ns : now_ns;
    if (now_ns - f->alone_ns > f->patience_ns) {
        flood_end(f);
    } else {
        again(f, 1000);
    }
}

/* Goes on where it can: finishes the round, or starts the next one. */
static void flood_step(struct flood *f)
{
    if (f->ended || !round_done(f)) {
        return;
    }
    if (f->made >= f->count) {
        flood_end(f);
        return;
    }
    peers_refresh(f);
    if (f->peers == NULL && !f->lossy) {
        wait_for_peers(f);
        return;
    }
    f->alone_ns = 0;
    uint64_t units = units_due(f);
    if (units == 0) {
        again(f, 500);
        return;
    }
    fill_round(f, (size_t)units);
    for (struct peer *p = f->peers; p != NULL; p = p->next) {
        p->sent = 0;
        p->done = false;
        p->socket->deliveries += units * (f->stats ? 2 : 1);
    }
    if (round_done(f)) {
        again(f, 0);
    }
}

static void on_flood_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flood_step(arg);
}

static const char *take_order(struct flood *f, const cJSON *o)
{
    const struct container_list *threads = &f->bridge->containers[KIND_THREAD];
    const char *thread = json_text(o, "thread_id", threads->count != 0 ? threads->at[0]->id : "");
    struct container *k = state_container(f->bridge, KIND_THREAD, thread);
    const char *kind = json_text(o, "frame_kind", "message");
    if (k == NULL) {
        return "no such thread";
    }
    if (strcmp(kind, "message") != 0 && strcmp(kind, "message+stats") != 0) {
        return "frame_kind is message or message+stats";
    }
    unsigned char random[20];
    sim_random(random, sizeof(random));
    snprintf(f->thread, sizeof(f->thread), "%s", thread);
    sim_hex(f->other, random, 19);
    f->other[strlen(f->thread)] = '\0';
    sim_hex(f->run, random + 8, 4);
    f->solution = sim_strdup(k->context->solution);
    f->count = (uint64_t)json_number(o, "count", 1);
    f->match_every = (uint64_t)json_number(o, "match_every", 1);
    f->rate = json_number(o, "rate", 0);
    f->stats = strcmp(kind, "message") != 0;
    f->keep = json_flag(o, "keep", false);
    f->lossy = json_flag(o, "lossy", false);
    f->patience_ns = (uint64_t)(json_number(o, "patience_ms", 30000) * 1e6);
    const cJSON *meta = cJSON_GetObjectItemCaseSensitive(o, "publicMeta");
    f->meta = meta != NULL ? cJSON_PrintUnformatted(meta) : NULL;
    prepare(f, (size_t)json_number(o, "size_bytes", 342));
    return NULL;
}

void flood_start(struct bridge *b, struct sim_conn *c, const cJSON *order)
{
    if (b->flood != NULL && !b->flood->ended) {
        control_error(c, "a flood is under way");
        return;
    }
    flood_free(b);
    struct flood *f = sim_alloc(sizeof(*f));
    b->flood = f;
    f->bridge = b;
    f->timer = evtimer_new(b->base, on_flood_timer, f);
    const char *wrong = take_order(f, order);
    if (wrong != NULL) {
        flood_free(b);
        control_error(c, "%s", wrong);
        return;
    }
    f->started_ns = sim_mono_ns();
    if (json_flag(order, "wait", false)) {
        f->waiter = c;
    } else {
        sim_conn_answer_json(c, 200, "{\"ok\":true}");
    }
    again(f, 0);
}

void flood_json(struct bridge *b, struct sim_buf *out)
{
    const struct flood *f = b->flood;
    if (f == NULL) {
        sim_buf_puts(out, "{\"running\":false,\"sent\":0,\"matched\":0,\"frames\":0,\"duration_ns\":0}");
        return;
    }
    uint64_t duration_ns = (f->ended ? f->ended_ns : sim_mono_ns()) - f->started_ns;
    sim_buf_printf(
        out,
        "{\"running\":%s,\"count\":%llu,\"sent\":%llu,\"matched\":%llu,\"frames\":%llu,\"frame_bytes\":%zu,"
        "\"duration_ns\":%llu,\"frames_per_s\":%.0f}",
        f->ended ? "false" : "true", (unsigned long long)f->count, (unsigned long long)f->made,
        (unsigned long long)f->matched, (unsigned long long)f->frames, f->unit_bytes,
        (unsigned long long)duration_ns, (double)f->frames * 1e9 / (double)(duration_ns + 1));
}

void flood_sent_times(struct bridge *b, struct sim_buf *out)
{
    const struct flood *f = b->flood;
    for (uint64_t i = 0; f != NULL && i < f->matched && i < MATCHES_MAX; i++) {
        const struct match *m = &f->matches[i];
        sim_buf_printf(out, "%08x%s%08x %llu\n", m->second, f->run, m->number, (unsigned long long)m->ns);
    }
}

void flood_stop(struct bridge *b)
{
    if (b->flood != NULL && !b->flood->ended) {
        /* The rest of a round must still go out: a frame must not end half-way. */
        b->flood->count = b->flood->made;
    }
}

void flood_forget(struct bridge *b, const struct sim_conn *c)
{
    if (b->flood != NULL && b->flood->waiter == c) {
        b->flood->waiter = NULL;
    }
}

void flood_free(struct bridge *b)
{
    struct flood *f = b->flood;
    if (f == NULL) {
        return;
    }
    peers_release(f);
    event_free(f->timer);
    sim_buf_free(&f->round);
    cJSON_free(f->meta);
    free(f->solution);
    free(f->unit_matches);
    free(f->matches);
    free(f);
    b->flood = NULL;
}
