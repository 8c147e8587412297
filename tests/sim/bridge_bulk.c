#include "tests/sim/bridge.h"

#include <stdlib.h>
#include <string.h>

enum { BULK_PER_PASS = 500, BULK_WINDOW_MAX = 64 };

/* Messages made through the ordinary path: each is kept and gives its notifications. */
struct bulk {
    struct bridge *bridge;
    struct sim_conn *waiter; /* to be answered at the end, or NULL */
    struct event *timer;
    char thread[40];
    char other[40];
    char *meta;
    double share;
    double rate;
    int64_t count;
    int64_t done;
    int64_t matched;
    int64_t window; /* how many are mixed up with one another; 1: in order */
    bool stats;
    uint64_t started_ns;
    uint64_t ended_ns;
};

static void emit_window(struct bulk *k, struct container **homes, struct item **items, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = k->window > 1 ? (int64_t)(sim_chance(&k->bridge->chance) * (double)(i + 1)) : i;
        struct item *item = items[i];
        struct container *home = homes[i];
        items[i] = items[j];
        homes[i] = homes[j];
        items[j] = item;
        homes[j] = home;
    }
    for (int64_t i = 0; i < n; i++) {
        events_item(k->bridge, homes[i], items[i], "Created");
        if (k->stats) {
            events_stats(k->bridge, homes[i]);
        }
    }
}

static bool bulk_some(struct bulk *k, int64_t due)
{
    struct container *homes[BULK_WINDOW_MAX];
    struct item *items[BULK_WINDOW_MAX];
    while (k->done < due) {
        int64_t n = 0;
        for (; n < k->window && k->done < k->count; n++, k->done++) {
            bool match = sim_chance(&k->bridge->chance) < k->share;
            homes[n] = state_container(k->bridge, KIND_THREAD, match ? k->thread : k->other);
            if (homes[n] == NULL) {
                return false;
            }
            items[n] = make_message(k->bridge, homes[n], k->meta);
            k->matched += match ? 1 : 0;
        }
        emit_window(k, homes, items, n);
    }
    return true;
}

static void bulk_end(struct bulk *k)
{
    k->ended_ns = sim_mono_ns();
    event_del(k->timer);
    if (k->waiter != NULL) {
        struct sim_buf out = {0};
        struct sim_conn *waiter = k->waiter;
        k->waiter = NULL;
        make_bulk_json(k->bridge, &out);
        sim_conn_answer_json(waiter, 200, out.data);
        sim_buf_free(&out);
    }
}

static void on_bulk(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct bulk *k = arg;
    int64_t due = k->done + BULK_PER_PASS;
    if (k->rate > 0) {
        int64_t by_rate = (int64_t)((double)(sim_mono_ns() - k->started_ns) / 1e9 * k->rate) + 1;
        due = by_rate < due ? by_rate : due;
    }
    due = due < k->count ? due : k->count;
    if (!bulk_some(k, due) || k->done >= k->count) {
        bulk_end(k);
        return;
    }
    struct timeval next = {.tv_usec = k->rate > 0 ? 1000 : 0};
    evtimer_add(k->timer, &next);
}

static void find_threads(struct bulk *k, const cJSON *o)
{
    struct bridge *b = k->bridge;
    const struct container_list *threads = &b->containers[KIND_THREAD];
    const char *thread = json_text(o, "thread_id", threads->count != 0 ? threads->at[0]->id : "");
    const char *other = json_text(o, "other_thread_id", NULL);
    memccpy(k->thread, thread, 0, sizeof(k->thread) - 1);
    if (other == NULL && k->share < 1 && state_container(b, KIND_THREAD, thread) != NULL) {
        struct sim_buf out = {0};
        cJSON *made = cJSON_CreateObject();
        cJSON_AddStringToObject(made, "kind", "thread");
        cJSON_AddTrueToObject(made, "silent");
        cJSON_AddStringToObject(made, "contextId", state_container(b, KIND_THREAD, thread)->context->id);
        make_create(b, made, "{}", &out);
        cJSON_Delete(made);
        sim_buf_free(&out);
        for (size_t i = 0; i < threads->count; i++) {
            other = strcmp(threads->at[i]->id, thread) != 0 ? threads->at[i]->id : other;
        }
    }
    memccpy(k->other, other != NULL ? other : "", 0, sizeof(k->other) - 1);
}

const char *make_bulk(struct bridge *b, struct sim_conn *c, const cJSON *o, const char *text)
{
    if (b->bulk != NULL && b->bulk->ended_ns == 0) {
        return "a bulk is under way";
    }
    make_bulk_stop(b);
    struct bulk *k = sim_alloc(sizeof(*k));
    b->bulk = k;
    k->bridge = b;
    k->count = (int64_t)json_number(o, "count", 1);
    k->rate = json_number(o, "rate", 0);
    k->share = json_number(o, "share", 1);
    k->window = (int64_t)json_number(o, "shuffle", 1);
    k->window = k->window < 1 ? 1 : k->window > BULK_WINDOW_MAX ? BULK_WINDOW_MAX : k->window;
    k->stats = json_flag(o, "stats", true);
    k->meta = sim_json_raw(text, "publicMeta");
    k->meta = k->meta != NULL ? k->meta : sim_strdup("null");
    k->timer = evtimer_new(b->base, on_bulk, k);
    find_threads(k, o);
    if (state_container(b, KIND_THREAD, k->thread) == NULL) {
        make_bulk_stop(b);
        return "no such thread";
    }
    k->started_ns = sim_mono_ns();
    if (json_flag(o, "wait", true)) {
        k->waiter = c;
    }
    struct timeval now = {0};
    evtimer_add(k->timer, &now);
    if (k->waiter == NULL) {
        sim_conn_answer_json(c, 200, "{\"ok\":true}");
    }
    return NULL;
}

void make_bulk_json(struct bridge *b, struct sim_buf *out)
{
    const struct bulk *k = b->bulk;
    if (k == NULL) {
        sim_buf_puts(out, "{\"ok\":true,\"running\":false,\"done\":0}");
        return;
    }
    uint64_t end = k->ended_ns != 0 ? k->ended_ns : sim_mono_ns();
    sim_buf_printf(out, "{\"ok\":true,\"running\":%s,\"done\":%lld,\"matched\":%lld,\"duration_ns\":%llu}",
                   k->ended_ns == 0 ? "true" : "false", (long long)k->done, (long long)k->matched,
                   (unsigned long long)(end - k->started_ns));
}

void make_bulk_forget(struct bridge *b, const struct sim_conn *c)
{
    if (b->bulk != NULL && b->bulk->waiter == c) {
        b->bulk->waiter = NULL;
    }
}

void make_bulk_stop(struct bridge *b)
{
    if (b->bulk == NULL) {
        return;
    }
    if (b->bulk->waiter != NULL) {
        bulk_end(b->bulk);
    }
    event_free(b->bulk->timer);
    free(b->bulk->meta);
    free(b->bulk);
    b->bulk = NULL;
}
