/*
 * The quick way: of a request only `to`, `idx` and what the text carries as event id are looked at, nothing
 * is checked, nothing but a key and a time is kept. Doubles are found by 64-bit hashes.
 */
#include "tests/sim/sms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct piece {
    const char *at;
    size_t length;
};

static bool set_add(struct sms_hash_set *s, uint64_t hash)
{
    hash = hash != 0 ? hash : 1;
    if (2 * (s->count + 1) > s->cap) {
        struct sms_hash_set wider = {.cap = s->cap != 0 ? 2 * s->cap : 65536};
        wider.at = sim_alloc(wider.cap * sizeof(uint64_t));
        for (size_t i = 0; i < s->cap; i++) {
            if (s->at[i] != 0) {
                set_add(&wider, s->at[i]);
            }
        }
        free(s->at);
        *s = wider;
    }
    size_t i = hash & (s->cap - 1);
    while (s->at[i] != 0) {
        if (s->at[i] == hash) {
            return false;
        }
        i = (i + 1) & (s->cap - 1);
    }
    s->at[i] = hash;
    s->count++;
    return true;
}

/* The raw value of a form's or of a JSON object's member; length 0 if absent. */
static struct piece find(const struct sim_request *r, const char *name, bool json)
{
    char key[24];
    int n = snprintf(key, sizeof(key), json ? "\"%s\":" : "%s=", name);
    const char *end = r->body + r->body_length;
    for (const char *p = r->body; p < end; p++) {
        p = memmem(p, (size_t)(end - p), key, (size_t)n);
        if (p == NULL) {
            break;
        }
        if (json || p == r->body || p[-1] == '&') {
            const char *value = p + n;
            size_t left = (size_t)(end - value);
            while (json && left != 0 && *value == ' ') {
                value++;
                left--;
            }
            if (json && left != 0 && *value == '"') {
                value++;
                left--;
            }
            const char *stop = memchr(value, json ? '"' : '&', left);
            return (struct piece){value, stop != NULL ? (size_t)(stop - value) : left};
        }
    }
    return (struct piece){"", 0};
}

/* The next of several values; separators may be percent-encoded. */
static struct piece take(struct piece *list, char plain, const char *encoded)
{
    size_t i = 0;
    size_t skip = 0;
    for (; i < list->length && skip == 0; i++) {
        if (list->at[i] == plain) {
            skip = 1;
        } else if (i + 2 < list->length && strncmp(list->at + i, encoded, 3) == 0) {
            skip = 3;
        }
        if (skip != 0) {
            break;
        }
    }
    struct piece one = {list->at, i};
    list->at += i + skip;
    list->length -= i + skip;
    return one;
}

static void remember(struct sms *s, struct piece idx, struct piece text, struct piece number, uint64_t now_ns)
{
    const char *event = sms_event_id(text.at, text.length);
    if (s->fast_count == s->fast_cap) {
        s->fast_cap = s->fast_cap != 0 ? 2 * s->fast_cap : 65536;
        s->fast_ns = sim_grow(s->fast_ns, s->fast_cap, sizeof(uint64_t));
    }
    s->fast_ns[s->fast_count++] = now_ns;
    sim_buf_add(&s->fast_keys, event != NULL ? event : idx.at, event != NULL ? 24 : idx.length);
    sim_buf_add(&s->fast_keys, "", 1);
    s->accepted++;
    if (idx.length != 0 && !set_add(&s->fast_idx, sim_hash(idx.at, idx.length))) {
        s->doubles_idx++;
    }
    if (!set_add(&s->fast_text, sim_hash(text.at, text.length) * 31 + sim_hash(number.at, number.length))) {
        s->doubles_text++;
    }
}

static void add_entry(struct sms *s, struct sim_buf *b, struct piece idx, struct piece number,
                      const char *comma)
{
    sim_buf_puts(b, comma);
    sim_buf_puts(b, "{\"id\":\"");
    char id[32];
    snprintf(id, sizeof(id), "%024llx", (unsigned long long)s->accepted);
    sim_buf_add(b, id, 24);
    sim_buf_puts(b, "\",\"points\":0.16,\"number\":\"");
    size_t skip = number.length > 3 && strncmp(number.at, "%2B", 3) == 0 ? 3
                  : number.length != 0 && *number.at == '+'              ? 1
                                                                         : 0;
    sim_buf_add(b, number.at + skip, number.length - skip);
    sim_buf_puts(b, "\",\"date_sent\":1795414399,\"submitted_number\":\"");
    sim_buf_add(b, number.at + skip, number.length - skip);
    sim_buf_puts(b, "\",\"status\":\"QUEUE\",\"error\":null,\"idx\":\"");
    sim_buf_add(b, idx.at, idx.length);
    sim_buf_puts(b, "\",\"parts\":1}");
}

void sms_fast(struct sms *s, struct sim_conn *c, const struct sim_request *r)
{
    static struct sim_buf body;
    static struct sim_buf answer;
    bool json = r->body_length != 0 && r->body[0] == '{';
    struct piece to = find(r, "to", json);
    struct piece idx = find(r, "idx", json);
    struct piece text = find(r, "message", json);
    uint64_t now_ns = sim_mono_ns();
    const char *comma = "";
    int count = 0;
    body.len = 0;
    while (to.length != 0) {
        struct piece number = take(&to, ',', "%2C");
        struct piece one_idx = take(&idx, '|', "%7C");
        remember(s, one_idx, text, number, now_ns);
        add_entry(s, &body, one_idx, number, comma);
        comma = ",";
        count++;
    }
    char head[120];
    int n = snprintf(head, sizeof(head), "{\"count\":%d,\"list\":[", count);
    answer.len = 0;
    sim_buf_printf(
        &answer,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: %s\r\nContent-Length: %zu\r\n\r\n",
        r->keep_alive ? "keep-alive" : "close", (size_t)n + body.len + 2);
    sim_buf_add(&answer, head, (size_t)n);
    sim_buf_add(&answer, body.data, body.len);
    sim_buf_add(&answer, "]}", 2);
    sim_conn_raw(c, answer.data, answer.len, true);
}
