#include "tests/sim/bridge.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SETTING(member, value)                                                                               \
    {                                                                                                        \
#member, offsetof(struct bridge_settings, member), value                                             \
    }

static const struct setting {
    const char *name;
    size_t offset;
    int64_t otherwise;
} settings[] = {
    SETTING(ping_interval_ms, 10000),
    SETTING(access_token_ms, 900000),
    SETTING(refresh_token_ms, 604800000),
    SETTING(session_max, 16),
    SETTING(http_idle_ms, 5000),
    SETTING(clock_offset_ms, 0),
    SETTING(streams, 1),
    SETTING(workers, 1),
    SETTING(ws_message_max_bytes, 104857600),
    SETTING(rate_limit, 0),
    SETTING(rate_initial, 1000),
    SETTING(rate_max, 1200),
    SETTING(rate_per_s, 100),
    SETTING(rate_per_call, 10),
    {"fragment_bytes", offsetof(struct bridge_settings, shape.fragment_bytes), 0},
    {"interleave_pings", offsetof(struct bridge_settings, shape.interleave_pings), 0},
    SETTING(event_log_max, 100000),
    SETTING(answer_delay_ms, 0),
    SETTING(answer_jitter_ms, 0),
    SETTING(answer_garbage_count, 0),
    SETTING(answer_none_count, 0),
    SETTING(limit_answer_count, 0),
    SETTING(subscribe_429_count, 0),
    SETTING(http_status, 0),
    SETTING(http_status_count, -1),
    SETTING(upgrade_status, 0),
    SETTING(upgrade_status_count, -1),
    SETTING(upgrade_hang_count, 0),
    SETTING(mute, 0),
    SETTING(no_pings, 0),
    SETTING(stop_reading, 0),
    SETTING(drop_answers_count, 0),
};

static int64_t *setting_at(struct bridge *b, const struct setting *s)
{
    return (int64_t *)(void *)((char *)&b->set + s->offset);
}

void bridge_settings_default(struct bridge *b)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        *setting_at(b, &settings[i]) = settings[i].otherwise;
    }
}

static const struct setting *find(const char *name)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

static char **text_setting(struct bridge *b, const char *name)
{
    if (strcmp(name, "http_body") == 0) {
        return &b->http_body;
    }
    if (strcmp(name, "upgrade_location") == 0) {
        return &b->upgrade_location;
    }
    if (strcmp(name, "fault_method") == 0) {
        return &b->fault_method;
    }
    return NULL;
}

static bool apply_one(struct bridge *b, const cJSON *m)
{
    const struct setting *s = find(m->string);
    char **text = text_setting(b, m->string);
    if (s != NULL && (cJSON_IsNumber(m) || cJSON_IsBool(m))) {
        *setting_at(b, s) = cJSON_IsNumber(m) ? (int64_t)m->valuedouble : cJSON_IsTrue(m);
        return true;
    }
    if (text != NULL && (cJSON_IsString(m) || cJSON_IsNull(m))) {
        sim_set(text, m->valuestring);
        return true;
    }
    if (strcmp(m->string, "fault_answer") == 0) {
        free(b->fault_answer);
        b->fault_answer = cJSON_IsNull(m) ? NULL : cJSON_PrintUnformatted(m);
        b->fault_method_count = -1;
        return true;
    }
    if (strcmp(m->string, "fault_method_count") == 0 && cJSON_IsNumber(m)) {
        b->fault_method_count = (int64_t)m->valuedouble;
        return true;
    }
    return false;
}

const char *bridge_settings_apply(struct bridge *b, const cJSON *object)
{
    const cJSON *m;
    /* A fault that is named without a count does not end by itself, whatever count an earlier one had. */
    if (cJSON_HasObjectItem(object, "upgrade_status")) {
        b->set.upgrade_status_count = -1;
    }
    if (cJSON_HasObjectItem(object, "http_status")) {
        b->set.http_status_count = -1;
    }
    cJSON_ArrayForEach(m, object)
    {
        if (!apply_one(b, m)) {
            return m->string;
        }
    }
    return NULL;
}

void bridge_settings_json(const struct bridge *b, struct sim_buf *out)
{
    sim_buf_puts(out, "{");
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        int64_t value;
        memcpy(&value, (const char *)&b->set + settings[i].offset, sizeof(value));
        sim_buf_printf(out, "%s\"%s\":%lld", i != 0 ? "," : "", settings[i].name, (long long)value);
    }
    sim_buf_puts(out, "}");
}

bool bridge_fault(int64_t *count)
{
    if (*count == 0) {
        return false;
    }
    if (*count > 0) {
        (*count)--;
    }
    return true;
}

int64_t bridge_now_ms(const struct bridge *b)
{
    return sim_wall_ms() + b->set.clock_offset_ms;
}

void strings_add(struct strings *s, const char *text)
{
    s->at = sim_grow(s->at, s->count + 1, sizeof(*s->at));
    s->at[s->count++] = sim_strdup(text);
}

bool strings_have(const struct strings *s, const char *text)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->at[i], text) == 0) {
            return true;
        }
    }
    return false;
}

void strings_copy(struct strings *to, const struct strings *from)
{
    strings_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        strings_add(to, from->at[i]);
    }
}

void strings_clear(struct strings *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->at[i]);
    }
    free(s->at);
    *s = (struct strings){0};
}

void strings_json(struct sim_buf *b, const struct strings *s)
{
    sim_buf_puts(b, "[");
    for (size_t i = 0; i < s->count; i++) {
        if (i != 0) {
            sim_buf_puts(b, ",");
        }
        sim_buf_json_string(b, s->at[i]);
    }
    sim_buf_puts(b, "]");
}

const char *json_text(const cJSON *o, const char *name, const char *otherwise)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsString(m) ? m->valuestring : otherwise;
}

double json_number(const cJSON *o, const char *name, double otherwise)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(m) ? m->valuedouble : otherwise;
}

bool json_flag(const cJSON *o, const char *name, bool otherwise)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    if (cJSON_IsNumber(m)) {
        return m->valuedouble != 0;
    }
    return cJSON_IsBool(m) ? cJSON_IsTrue(m) != 0 : otherwise;
}
