#include "tests/sim/bridge.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void control_error(struct sim_conn *c, const char *format, ...)
{
    char text[300];
    struct sim_buf b = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sim_buf_puts(&b, "{\"ok\":false,\"error\":");
    sim_buf_json_string(&b, text);
    sim_buf_puts(&b, "}");
    sim_conn_answer_json(c, 400, b.data);
    sim_buf_free(&b);
}

static void answer_ok(struct sim_conn *c, const char *members)
{
    struct sim_buf b = {0};
    sim_buf_printf(&b, "{\"ok\":true%s}", members);
    sim_conn_answer_json(c, 200, b.data);
    sim_buf_free(&b);
}

static void answer_count(struct sim_conn *c, int count)
{
    char text[40];
    snprintf(text, sizeof(text), ",\"count\":%d", count);
    answer_ok(c, text);
}

static void answer_text(struct sim_conn *c, const struct sim_buf *b)
{
    sim_conn_answer(c, &(struct sim_answer){.status = 200,
                                            .content_type = "text/plain",
                                            .body = b->data != NULL ? b->data : "",
                                            .body_length = b->len});
}

/* ---- reading ---- */

static void sessions_json(const struct bridge *b, struct sim_buf *out)
{
    sim_buf_puts(out, "[");
    for (const struct token_session *s = b->sessions; s != NULL; s = s->next) {
        sim_buf_puts(out, "{\"name\":");
        sim_buf_json_string(out, s->name != NULL ? s->name : "");
        sim_buf_printf(out, ",\"created\":%lld,\"socket\":%llu,\"access_expiry\":%lld,\"scope\":",
                       (long long)s->created, (unsigned long long)s->socket, (long long)s->access_expiry);
        strings_json(out, &s->scope);
        sim_buf_puts(out, s->next != NULL ? "}," : "}");
    }
    sim_buf_puts(out, "]");
}

static void event_ids_json(struct bridge *b, struct sim_buf *out)
{
    uint64_t n = b->event_count > 1000 ? b->event_count - 1000 : 0;
    const char *comma = "";
    sim_buf_puts(out, "[");
    for (; b->event_cap != 0 && n < b->event_count; n++) {
        sim_buf_puts(out, comma);
        sim_buf_json_string(out, b->events[n % b->event_cap].id);
        comma = ",";
    }
    sim_buf_puts(out, "]");
}

static void get_state(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    (void)r;
    struct sim_buf out = {0};
    sim_buf_printf(&out,
                   "{\"connections\":{\"open\":%d,\"accepted\":%llu,\"sockets\":%d,\"sockets_accepted\":%llu,"
                   "\"dropped_by_ping\":%llu}",
                   sim_server_open_count(b->server), (unsigned long long)sim_server_accepted(b->server),
                   b->socket_count, (unsigned long long)b->sockets_accepted,
                   (unsigned long long)b->dropped_by_ping);
    sim_buf_printf(
        &out, ",\"refreshes\":%llu,\"rate_limited\":%llu,\"events\":%llu,\"deliveries\":%llu,\"now_ms\":%lld",
        (unsigned long long)b->refreshes, (unsigned long long)b->rate_limited,
        (unsigned long long)b->event_count, (unsigned long long)b->deliveries, (long long)bridge_now_ms(b));
    sim_buf_puts(&out, ",\"logins\":");
    sim_count_json(&out, &b->logins);
    sim_buf_puts(&out, ",\"calls\":");
    sim_count_json(&out, &b->calls);
    sim_buf_puts(&out, ",\"refusals\":");
    sim_count_json(&out, &b->refusals);
    sim_buf_puts(&out, ",\"emitted\":");
    sim_count_json(&out, &b->emitted);
    sim_buf_puts(&out, ",\"token_sessions\":");
    sessions_json(b, &out);
    sim_buf_puts(&out, ",\"sockets\":");
    sockets_json(b, &out);
    sim_buf_puts(&out, ",\"flood\":");
    flood_json(b, &out);
    sim_buf_puts(&out, ",\"settings\":");
    bridge_settings_json(b, &out);
    sim_buf_puts(&out, ",\"event_ids\":");
    event_ids_json(b, &out);
    sim_buf_puts(&out, "}");
    sim_conn_answer_json(c, 200, out.data);
    sim_buf_free(&out);
}

static void get_events(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    struct sim_buf out = {0};
    char *since = sim_request_query(r, "since");
    char *limit = sim_request_query(r, "limit");
    sim_buf_puts(&out, "{\"events\":");
    events_list_json(b, since != NULL ? strtoull(since, NULL, 10) : 0,
                     limit != NULL ? strtoull(limit, NULL, 10) : 100000, &out);
    sim_buf_printf(&out, ",\"count\":%llu}", (unsigned long long)b->event_count);
    sim_conn_answer_json(c, 200, out.data);
    sim_buf_free(&out);
    free(since);
    free(limit);
}

static void get_sent_times(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    (void)r;
    struct sim_buf out = {0};
    events_sent_times(b, &out);
    flood_sent_times(b, &out);
    answer_text(c, &out);
    sim_buf_free(&out);
}

static void get_flood(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    (void)r;
    struct sim_buf out = {0};
    flood_json(b, &out);
    sim_conn_answer_json(c, 200, out.data);
    sim_buf_free(&out);
}

static void get_bulk(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    (void)r;
    struct sim_buf out = {0};
    make_bulk_json(b, &out);
    sim_conn_answer_json(c, 200, out.data);
    sim_buf_free(&out);
}

/* ---- making ---- */

typedef const char *(*maker)(struct bridge *b, const cJSON *o, const char *text, struct sim_buf *out);

static void post_make(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o, maker make)
{
    struct sim_buf out = {0};
    const char *wrong = make(b, o, r->body, &out);
    if (wrong != NULL) {
        control_error(c, "%s", wrong);
    } else {
        answer_ok(c, out.data != NULL ? out.data : "");
    }
    sim_buf_free(&out);
}

static void post_create(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    post_make(b, c, r, o, make_create);
}

static void post_update(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    post_make(b, c, r, o, make_update);
}

static void post_delete(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    post_make(b, c, r, o, make_delete);
}

static void post_inbox_entry(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    post_make(b, c, r, o, make_inbox_entry);
}

static void post_bulk(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    const char *wrong = make_bulk(b, c, o, r->body);
    if (wrong != NULL) {
        control_error(c, "%s", wrong);
    }
}

static void post_flood(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    flood_start(b, c, o);
}

static void post_flood_stop(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    (void)o;
    flood_stop(b);
    make_bulk_stop(b);
    answer_ok(c, "");
}

/* ---- raw frames ---- */

static int channel_of_query(const struct sim_request *r)
{
    char *name = sim_request_query(r, "channel");
    int found = -1;
    for (int i = 0; name != NULL && i < CHANNEL_COUNT; i++) {
        found = strcmp(channel_names[i], name) == 0 ? i : found;
    }
    free(name);
    return found;
}

/* The body is the frame, byte for byte. */
static void post_emit(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)o;
    events_record(b, "(raw)", "", bridge_now_ms(b));
    answer_count(c, events_emit_raw(b, channel_of_query(r), r->body, r->body_length));
}

/* The channel a captured frame names, so that each socket gets what it subscribed to. */
static int channel_of_frame(const char *line, size_t length)
{
    cJSON *frame = cJSON_ParseWithLength(line, length);
    const char *name = json_text(frame, "channel", "");
    int found = -1;
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        found = strcmp(channel_names[i], name) == 0 ? i : found;
    }
    cJSON_Delete(frame);
    return found;
}

static void post_replay(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)o;
    int count = 0;
    for (const char *line = r->body; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (length != 0) {
            events_record(b, "(raw)", "", bridge_now_ms(b));
            events_emit_raw(b, channel_of_frame(line, length), line, length);
            count++;
        }
        line += length + (line[length] == '\n' ? 1 : 0);
    }
    answer_count(c, count);
}

/* ---- faults ---- */

static void settings_changed(struct bridge *b)
{
    sockets_apply_settings(b);
    sockets_ping_start(b);
    sim_server_set_idle(b->server, b->set.http_idle_ms);
    sim_server_set_clock(b->server, b->set.clock_offset_ms);
}

static void post_config(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    const char *unknown = bridge_settings_apply(b, o);
    settings_changed(b);
    if (unknown != NULL) {
        control_error(c, "unknown setting: %s", unknown);
    } else {
        answer_ok(c, "");
    }
}

static void post_reset(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    (void)o;
    b->set = b->set_at_start;
    sim_set(&b->fault_method, NULL);
    sim_set(&b->http_body, NULL);
    sim_set(&b->upgrade_location, NULL);
    sim_map_clear(&b->credits, free);
    settings_changed(b);
    sim_server_resume(b->server);
    answer_ok(c, "");
}

static enum sim_ending ending_of(const cJSON *o)
{
    return strcmp(json_text(o, "how", "fin"), "rst") == 0 ? SIM_END_RST : SIM_END_FIN;
}

static void post_drop(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    answer_count(c, sockets_drop(b, (uint64_t)json_number(o, "socket", 0), ending_of(o)));
}

static void post_close(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    answer_count(c, sockets_close(b, (uint64_t)json_number(o, "socket", 0), (int)json_number(o, "code", 1001),
                                  json_text(o, "reason", "")));
}

/* Ends every connection of the public port but the one that asks, and those of tests. */
static void drop_everything(struct bridge *b, const struct sim_conn *asker, enum sim_ending how)
{
    sockets_drop(b, 0, how);
    struct sim_conn *next;
    for (struct sim_conn *k = sim_server_next(b->server, NULL); k != NULL; k = next) {
        next = sim_server_next(b->server, k);
        if (k != asker) {
            sim_conn_close(k, how);
        }
    }
}

static void post_refuse(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    sim_server_refuse(b->server, (int64_t)json_number(o, "ms", -1));
    answer_ok(c, "");
}

static void post_resume(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    (void)o;
    sim_server_resume(b->server);
    answer_ok(c, "");
}

static void post_restart(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    int64_t down_ms = (int64_t)json_number(o, "ms", 0);
    if (down_ms != 0) {
        sim_server_refuse(b->server, down_ms);
    }
    drop_everything(b, c, ending_of(o));
    if (json_flag(o, "lose_sessions", false)) {
        tokens_evict(b, NULL);
    }
    answer_ok(c, "");
}

static void post_expire(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    answer_count(c, tokens_expire(b, json_text(o, "session", NULL), json_flag(o, "access", true),
                                  json_flag(o, "refresh", false)));
}

static void post_evict(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    answer_count(c, tokens_evict(b, json_text(o, "session", NULL)));
}

static void post_ping(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o)
{
    (void)r;
    (void)o;
    event_active(b->ping_timer, EV_TIMEOUT, 0);
    answer_ok(c, "");
}

/* ---- by path ---- */

static const struct {
    const char *path;
    void (*run)(struct bridge *b, struct sim_conn *c, struct sim_request *r);
} gets[] = {
    {"/_sim/state", get_state}, {"/_sim/events", get_events}, {"/_sim/sent_times", get_sent_times},
    {"/_sim/flood", get_flood}, {"/_sim/bulk", get_bulk},
};

static const struct {
    const char *path;
    bool raw; /* the body is no JSON */
    void (*run)(struct bridge *b, struct sim_conn *c, struct sim_request *r, const cJSON *o);
} posts[] = {
    {"/_sim/create", false, post_create},   {"/_sim/update", false, post_update},
    {"/_sim/delete", false, post_delete},   {"/_sim/inbox_entry", false, post_inbox_entry},
    {"/_sim/bulk", false, post_bulk},       {"/_sim/flood", false, post_flood},
    {"/_sim/stop", false, post_flood_stop}, {"/_sim/emit", true, post_emit},
    {"/_sim/replay", true, post_replay},    {"/_sim/config", false, post_config},
    {"/_sim/reset", false, post_reset},     {"/_sim/drop", false, post_drop},
    {"/_sim/close", false, post_close},     {"/_sim/refuse", false, post_refuse},
    {"/_sim/resume", false, post_resume},   {"/_sim/restart", false, post_restart},
    {"/_sim/expire", false, post_expire},   {"/_sim/evict", false, post_evict},
    {"/_sim/ping", false, post_ping},
};

static bool run_get(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    for (size_t i = 0; i < sizeof(gets) / sizeof(gets[0]); i++) {
        if (sim_request_is(r, "GET", gets[i].path)) {
            gets[i].run(b, c, r);
            return true;
        }
    }
    return false;
}

void control_request(struct bridge *b, struct sim_conn *c, struct sim_request *r)
{
    if (run_get(b, c, r)) {
        return;
    }
    for (size_t i = 0; i < sizeof(posts) / sizeof(posts[0]); i++) {
        if (!sim_request_is(r, "POST", posts[i].path)) {
            continue;
        }
        cJSON *o = posts[i].raw ? NULL : cJSON_Parse(r->body_length != 0 ? r->body : "{}");
        if (!posts[i].raw && !cJSON_IsObject(o)) {
            control_error(c, "the body is not a JSON object");
        } else {
            posts[i].run(b, c, r, o);
        }
        cJSON_Delete(o);
        return;
    }
    control_error(c, "no such control: %s %s", r->method, r->target);
}

void control_conn_closed(struct bridge *b, struct sim_conn *c)
{
    make_bulk_forget(b, c);
    flood_forget(b, c);
}
