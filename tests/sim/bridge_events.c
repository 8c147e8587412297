#include "tests/sim/bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const channel_names[CHANNEL_COUNT] = {"thread", "store", "stream", "inbox", "kvdb"};

static const struct {
    enum channel channel;
    const char *prefix; /* of container events: threadCreated */
    const char *id_name;
} kinds[KIND_COUNT] = {
    [KIND_THREAD] = {CHANNEL_THREAD, "thread", "threadId"},
    [KIND_STORE] = {CHANNEL_STORE, "store", "storeId"},
    [KIND_INBOX] = {CHANNEL_INBOX, "inbox", "inboxId"},
    [KIND_STREAM] = {CHANNEL_STREAM, "streamRoom", "streamRoomId"},
    [KIND_KVDB] = {CHANNEL_KVDB, "kvdb", "kvdbId"},
};

bool events_wanted(const struct socket *s, enum channel channel, const char *solution)
{
    const struct subscription *u = &s->subscriptions[channel];
    return u->on && (strings_have(&u->solutions, "*") || strings_have(&u->solutions, solution));
}

void events_record(struct bridge *b, const char *type, const char *id, int64_t timestamp)
{
    sim_count(&b->emitted, type);
    if (b->set.event_log_max <= 0) {
        b->event_count++;
        return;
    }
    if (b->event_cap == 0) {
        b->event_cap = (size_t)b->set.event_log_max;
        b->events = sim_alloc(b->event_cap * sizeof(*b->events));
    }
    struct event_record *r = &b->events[b->event_count % b->event_cap];
    r->number = ++b->event_count;
    r->timestamp = timestamp;
    r->sent_ns = sim_mono_ns();
    snprintf(r->type, sizeof(r->type), "%s", type);
    snprintf(r->id, sizeof(r->id), "%s", id);
}

void events_emit(struct bridge *b, enum channel channel, const char *type, const char *solution,
                 const char *data, const char *id)
{
    struct sim_buf frame = {0};
    int64_t now = bridge_now_ms(b);
    sim_buf_printf(&frame, "{\"channel\":\"%s\",\"type\":\"%s\",\"data\":%s,\"timestamp\":%lld}",
                   channel_names[channel], type, data, (long long)now);
    events_record(b, type, id, now);
    for (struct socket *s = b->sockets; s != NULL; s = s->next) {
        if (events_wanted(s, channel, solution) && b->set.mute == 0) {
            sim_ws_send_text(s->ws, frame.data, frame.len);
            s->deliveries++;
            b->deliveries++;
        }
    }
    sim_buf_free(&frame);
}

int events_emit_raw(struct bridge *b, int channel, const char *text, size_t length)
{
    int count = 0;
    for (struct socket *s = b->sockets; s != NULL; s = s->next) {
        bool wanted = false;
        for (int i = 0; i < CHANNEL_COUNT; i++) {
            wanted = wanted || ((channel < 0 || channel == i) && s->subscriptions[i].on);
        }
        if (wanted && b->set.mute == 0) {
            sim_ws_send_text(s->ws, text, length);
            s->deliveries++;
            b->deliveries++;
            count++;
        }
    }
    return count;
}

/* ---- what follows from a change ---- */

void events_container(struct bridge *b, struct container *k, const char *what)
{
    char type[40];
    struct sim_buf data = {0};
    snprintf(type, sizeof(type), "%s%s", kinds[k->kind].prefix, what);
    state_container_json(&data, k);
    events_emit(b, kinds[k->kind].channel, type, k->context->solution, data.data, k->id);
    sim_buf_free(&data);
}

void events_container_deleted(struct bridge *b, struct container *k)
{
    char type[40];
    char data[120];
    snprintf(type, sizeof(type), "%sDeleted", kinds[k->kind].prefix);
    snprintf(data, sizeof(data), "{\"%s\":\"%s\"}", kinds[k->kind].id_name, k->id);
    events_emit(b, kinds[k->kind].channel, type, k->context->solution, data, k->id);
}

static const char *item_type(enum bridge_kind kind, const char *what)
{
    static const struct {
        enum bridge_kind kind;
        const char *what;
        const char *type;
    } types[] = {
        {KIND_THREAD, "Created", "threadNewMessage"},     {KIND_THREAD, "Updated", "threadUpdatedMessage"},
        {KIND_THREAD, "Deleted", "threadDeletedMessage"}, {KIND_STORE, "Created", "storeFileCreated"},
        {KIND_STORE, "Updated", "storeFileUpdated"},      {KIND_STORE, "Deleted", "storeFileDeleted"},
        {KIND_KVDB, "Created", "kvdbNewEntry"},           {KIND_KVDB, "Updated", "kvdbUpdatedEntry"},
        {KIND_KVDB, "Deleted", "kvdbDeletedEntry"},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].kind == kind && strcmp(types[i].what, what) == 0) {
            return types[i].type;
        }
    }
    abort();
}

void events_item(struct bridge *b, struct container *k, struct item *i, const char *what)
{
    struct sim_buf data = {0};
    state_item_json(&data, k, i);
    events_emit(b, kinds[k->kind].channel, item_type(k->kind, what), k->context->solution, data.data, i->id);
    sim_buf_free(&data);
}

void events_item_deleted(struct bridge *b, struct container *k, const char *id)
{
    struct sim_buf data = {0};
    if (k->kind == KIND_THREAD) {
        sim_buf_printf(&data, "{\"messageId\":\"%s\",\"threadId\":\"%s\"}", id, k->id);
    } else if (k->kind == KIND_STORE) {
        sim_buf_printf(&data, "{\"id\":\"%s\",\"contextId\":\"%s\",\"storeId\":\"%s\"}", id, k->context->id,
                       k->id);
    } else {
        sim_buf_puts(&data, "{\"entryKey\":");
        sim_buf_json_string(&data, id);
        sim_buf_printf(&data, ",\"kvdbId\":\"%s\"}", k->id);
    }
    events_emit(b, kinds[k->kind].channel, item_type(k->kind, "Deleted"), k->context->solution, data.data,
                id);
    sim_buf_free(&data);
}

void events_stats(struct bridge *b, struct container *k)
{
    char data[240];
    const char *type = "threadStats";
    if (k->kind == KIND_STORE) {
        type = "storeStatsChanged";
        snprintf(data, sizeof(data),
                 "{\"id\":\"%s\",\"contextId\":\"%s\",\"lastFileDate\":%lld,\"files\":%lld}", k->id,
                 k->context->id, (long long)k->last_date, (long long)k->counter);
    } else {
        type = k->kind == KIND_KVDB ? "kvdbStats" : type;
        snprintf(data, sizeof(data), "{\"%s\":\"%s\",\"%s\":%lld,\"%s\":%lld}", kinds[k->kind].id_name, k->id,
                 k->kind == KIND_KVDB ? "lastEntryDate" : "lastMsgDate", (long long)k->last_date,
                 k->kind == KIND_KVDB ? "entries" : "messages", (long long)k->counter);
    }
    events_emit(b, kinds[k->kind].channel, type, k->context->solution, data, k->id);
}

/* ---- the record ---- */

static uint64_t first_kept(const struct bridge *b)
{
    return b->event_count > b->event_cap ? b->event_count - b->event_cap : 0;
}

void events_list_json(struct bridge *b, uint64_t since, uint64_t limit, struct sim_buf *out)
{
    uint64_t n = since > first_kept(b) ? since : first_kept(b);
    const char *comma = "";
    sim_buf_puts(out, "[");
    for (; b->event_cap != 0 && n < b->event_count && limit > 0; n++, limit--) {
        const struct event_record *r = &b->events[n % b->event_cap];
        sim_buf_printf(out, "%s{\"n\":%llu,\"type\":\"%s\",\"id\":", comma, (unsigned long long)r->number,
                       r->type);
        sim_buf_json_string(out, r->id);
        sim_buf_printf(out, ",\"timestamp\":%lld}", (long long)r->timestamp);
        comma = ",";
    }
    sim_buf_puts(out, "]");
}

void events_sent_times(struct bridge *b, struct sim_buf *out)
{
    for (uint64_t n = first_kept(b); b->event_cap != 0 && n < b->event_count; n++) {
        const struct event_record *r = &b->events[n % b->event_cap];
        if (strcmp(r->type, "threadNewMessage") == 0) {
            sim_buf_printf(out, "%s %llu\n", r->id, (unsigned long long)r->sent_ns);
        }
    }
}
