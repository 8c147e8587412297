#include "tests/sim/sms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS 1000000000u
enum { ATTEMPTS_KEPT_MAX = 4096, DOUBLES_LISTED = 1000 };

int64_t sms_now_ms(const struct sms *s)
{
    return (s->held_ms != 0 ? s->held_ms : sim_wall_ms()) + s->clock_ahead_ms;
}

uint64_t sms_limits_ns(const struct sms *s)
{
    return (s->held_ns != 0 ? s->held_ns : sim_mono_ns()) + (uint64_t)s->clock_ahead_ms * 1000000u;
}

/* ---- how many in any second ---- */

struct window {
    uint64_t *at; /* a ring */
    size_t cap;
    size_t first;
    size_t count;
};

static struct window *window_use(struct window **w)
{
    if (*w == NULL) {
        *w = sim_alloc(sizeof(**w));
        (*w)->cap = 1024;
        (*w)->at = sim_alloc((*w)->cap * sizeof(uint64_t));
    }
    return *w;
}

uint64_t sms_window_count(struct window **slot, uint64_t now_ns)
{
    struct window *w = window_use(slot);
    while (w->count != 0 && now_ns - w->at[w->first] >= SECOND_NS) {
        w->first = (w->first + 1) & (w->cap - 1);
        w->count--;
    }
    return w->count;
}

uint64_t sms_window_add(struct window **slot, uint64_t at_ns, uint64_t now_ns)
{
    struct window *w = window_use(slot);
    sms_window_count(slot, now_ns);
    if (w->count == w->cap) {
        uint64_t *wider = sim_alloc(2 * w->cap * sizeof(uint64_t));
        for (size_t i = 0; i < w->count; i++) {
            wider[i] = w->at[(w->first + i) & (w->cap - 1)];
        }
        free(w->at);
        w->at = wider;
        w->cap *= 2;
        w->first = 0;
    }
    w->at[(w->first + w->count) & (w->cap - 1)] = at_ns;
    w->count++;
    return w->count;
}

static void window_free(void *value)
{
    struct window *w = value;
    if (w != NULL) {
        free(w->at);
        free(w);
    }
}

struct window **sms_window_of(struct sms *s, const char *address)
{
    struct window **slot = sim_map_get(&s->windows, address);
    if (slot == NULL) {
        slot = sim_alloc(sizeof(*slot));
        sim_map_put(&s->windows, address, slot);
    }
    return slot;
}

static void window_slot_free(void *value)
{
    struct window **slot = value;
    window_free(*slot);
    free(slot);
}

/* ---- attempts to a number ---- */

struct attempts {
    int64_t *at_ms; /* those within the time that counts, oldest first */
    size_t count;
    size_t cap;
};

static void attempts_free(void *value)
{
    struct attempts *a = value;
    free(a->at_ms);
    free(a);
}

static void attempts_drop_old(struct attempts *a, int64_t before_ms)
{
    size_t old = 0;
    while (old < a->count && a->at_ms[old] <= before_ms) {
        old++;
    }
    /* Beyond the bound the oldest is given up: the limit is long passed then. */
    old = a->count - old >= ATTEMPTS_KEPT_MAX ? old + 1 : old;
    a->count -= old;
    memmove(a->at_ms, a->at_ms + old, a->count * sizeof(*a->at_ms));
}

bool sms_attempt(struct sms *s, const char *number)
{
    struct attempts *a = sim_map_get(&s->attempts, number);
    int64_t now = sms_now_ms(s);
    if (a == NULL) {
        a = sim_alloc(sizeof(*a));
        sim_map_put(&s->attempts, number, a);
    }
    if (a->count != 0) {
        attempts_drop_old(a, now - s->opt.attempts_window_s * 1000);
    }
    if (a->count == a->cap) {
        a->cap = a->cap != 0 ? 2 * a->cap : 2;
        a->at_ms = sim_grow(a->at_ms, a->cap, sizeof(*a->at_ms));
    }
    a->at_ms[a->count++] = now;
    s->attempts_most = a->count > s->attempts_most ? a->count : s->attempts_most;
    return s->opt.attempts_max == 0 || a->count <= (size_t)s->opt.attempts_max;
}

/* ---- the idx register ---- */

bool sms_idx_used(struct sms *s, const char *idx)
{
    int64_t *taken = sim_map_get(&s->idx_register, idx);
    return taken != NULL && sms_now_ms(s) - *taken < s->opt.idx_window_s * 1000;
}

void sms_idx_take(struct sms *s, const char *idx)
{
    int64_t *taken = sim_map_get(&s->idx_register, idx);
    if (taken == NULL) {
        taken = sim_alloc(sizeof(*taken));
        sim_map_put(&s->idx_register, idx, taken);
    }
    *taken = sms_now_ms(s);
}

/* ---- accepted messages ---- */

static void list_double(struct sms *s, const char *how, const struct sms_recipient *to)
{
    if (s->doubles_idx + s->doubles_text > DOUBLES_LISTED) {
        return;
    }
    if (s->double_list.len != 0) {
        sim_buf_puts(&s->double_list, ",");
    }
    sim_buf_printf(&s->double_list, "{\"same\":\"%s\",\"idx\":", how);
    sim_buf_json_string(&s->double_list, to->idx != NULL ? to->idx : "");
    sim_buf_printf(&s->double_list, ",\"number\":\"%s\"}", to->number);
}

static void count_doubles(struct sms *s, const struct sms_recipient *to)
{
    struct sim_buf key = {0};
    if (to->idx != NULL) {
        if (sim_map_get(&s->idx_accepted, to->idx) != NULL) {
            s->doubles_idx++;
            list_double(s, "idx", to);
        }
        sim_count(&s->idx_accepted, to->idx);
    }
    sim_buf_printf(&key, "%s\n%s", to->number, to->text);
    if (sim_map_get_n(&s->text_accepted, key.data, key.len) != NULL) {
        s->doubles_text++;
        list_double(s, "text", to);
    }
    sim_count(&s->text_accepted, key.data);
    sim_buf_free(&key);
}

static struct sms_message *new_message(struct sms *s)
{
    if (s->message_count == s->message_cap) {
        s->message_cap = s->message_cap != 0 ? 2 * s->message_cap : 1024;
        s->messages = sim_grow(s->messages, s->message_cap, sizeof(*s->messages));
    }
    struct sms_message *m = &s->messages[s->message_count++];
    *m = (struct sms_message){0};
    return m;
}

struct sms_message *sms_accept(struct sms *s, const struct sms_recipient *to, const char *from,
                               int64_t due_ms)
{
    struct sms_message *m = new_message(s);
    if (s->id_run[0] == 0) {
        sim_random(s->id_run, sizeof(s->id_run));
        s->id_run[0] |= 1;
    }
    snprintf(m->id, sizeof(m->id), "%08x%016llx", s->id_run[0],
             s->accepted * 0x9e3779b97f4a7c15ull + s->id_run[1]);
    m->n = ++s->accepted;
    m->request = s->requests;
    m->ns = sim_mono_ns();
    m->time_ms = sms_now_ms(s);
    m->due_ms = due_ms;
    sim_set(&m->idx, to->idx);
    sim_set(&m->number, to->number);
    sim_set(&m->text, to->text);
    sim_set(&m->from, from);
    m->parts = to->parts;
    uint64_t now = sms_window_add(&s->all_messages, m->ns, m->ns);
    s->window_messages_max = now > s->window_messages_max ? now : s->window_messages_max;
    count_doubles(s, to);
    return m;
}

static void message_free(struct sms_message *m)
{
    free(m->idx);
    free(m->number);
    free(m->text);
    free(m->from);
    free(m->notify_url);
}

void sms_forget(struct sms *s)
{
    for (size_t i = 0; i < s->message_count; i++) {
        message_free(&s->messages[i]);
    }
    free(s->messages);
    s->messages = NULL;
    s->message_count = s->message_cap = 0;
    sim_map_clear(&s->idx_register, free);
    sim_map_clear(&s->idx_accepted, NULL);
    sim_map_clear(&s->text_accepted, NULL);
    sim_map_clear(&s->attempts, attempts_free);
    sim_map_clear(&s->windows, window_slot_free);
    sim_map_clear(&s->refused, NULL);
    sim_map_clear(&s->paths, NULL);
    window_free(s->all_requests);
    window_free(s->all_messages);
    s->all_requests = s->all_messages = NULL;
    s->requests = s->accepted = s->tests = s->doubles_idx = s->doubles_text = 0;
    s->window_max = s->window_messages_max = s->attempts_most = s->faults_used = 0;
    s->spent = 0;
    s->in_flight_max = s->in_flight;
    sim_buf_free(&s->double_list);
    sim_buf_free(&s->fast_keys);
    free(s->fast_ns);
    free(s->fast_idx.at);
    free(s->fast_text.at);
    s->fast_ns = NULL;
    s->fast_count = s->fast_cap = 0;
    s->fast_idx = s->fast_text = (struct sms_hash_set){0};
}

/* ---- reading it ---- */

static void message_json(const struct sms_message *m, struct sim_buf *out)
{
    sim_buf_printf(
        out, "{\"n\":%llu,\"request\":%llu,\"time_ms\":%lld,\"ns\":%llu,\"id\":\"%s\",\"number\":\"%s\"",
        (unsigned long long)m->n, (unsigned long long)m->request, (long long)m->time_ms,
        (unsigned long long)m->ns, m->id, m->number);
    sim_buf_puts(out, ",\"idx\":");
    if (m->idx != NULL) {
        sim_buf_json_string(out, m->idx);
    } else {
        sim_buf_puts(out, "null");
    }
    sim_buf_puts(out, ",\"from\":");
    sim_buf_json_string(out, m->from != NULL ? m->from : "");
    sim_buf_puts(out, ",\"text\":");
    sim_buf_json_string(out, m->text);
    sim_buf_printf(out, ",\"parts\":%d,\"due_ms\":%lld,\"cancelled\":%s}", m->parts, (long long)m->due_ms,
                   m->cancelled ? "true" : "false");
}

void sms_messages_json(const struct sms *s, uint64_t since, uint64_t limit, struct sim_buf *out)
{
    const char *comma = "";
    sim_buf_puts(out, "{\"messages\":[");
    for (size_t i = since; i < s->message_count && limit > 0; i++, limit--) {
        sim_buf_puts(out, comma);
        message_json(&s->messages[i], out);
        comma = ",";
    }
    sim_buf_printf(out, "],\"count\":%zu}", s->message_count);
}

const char *sms_event_id(const char *text, size_t length)
{
    size_t run = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        run = hex ? run + 1 : 0;
        /* Digits of an escape of the form's encoding do not count. */
        i += c == '%' ? 2 : 0;
        if (run == 24) {
            return text + i - 23;
        }
    }
    return NULL;
}

static void fast_times(const struct sms *s, struct sim_buf *out)
{
    const char *key = s->fast_keys.data;
    for (size_t i = 0; i < s->fast_count; i++) {
        sim_buf_printf(out, "%s %llu\n", key, (unsigned long long)s->fast_ns[i]);
        key += strlen(key) + 1;
    }
}

void sms_accept_times(const struct sms *s, struct sim_buf *out)
{
    for (size_t i = 0; i < s->message_count; i++) {
        const struct sms_message *m = &s->messages[i];
        const char *id = sms_event_id(m->text, strlen(m->text));
        if (id != NULL) {
            sim_buf_printf(out, "%.24s %llu\n", id, (unsigned long long)m->ns);
        } else {
            sim_buf_printf(out, "%s %llu\n", m->idx != NULL ? m->idx : m->id, (unsigned long long)m->ns);
        }
    }
    fast_times(s, out);
}
