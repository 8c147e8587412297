#include "dispatcher/journal_line.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/str.h"

enum { PRINT_DEPTH_MAX = EVENT_DEPTH_MAX + 4 };

static const char received_head[] = "{\"received\":";
static const char decided_head[] = ",\"decided\":";

/* ---- printing ---- */

/* Bytes that stand for themselves inside a JSON string. */
static size_t plain_length(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && (unsigned char)s[n] >= 0x20 && s[n] != '"' && s[n] != '\\' &&
           (unsigned char)s[n] < 0x80)
        n++;
    return n;
}

/* Length of the well-formed UTF-8 sequence at S; 0 if it is none. */
static size_t sequence_length(const char *s, size_t len)
{
    for (size_t n = 2; n <= 4 && n <= len; n++)
        if (str_utf8_valid(s, n))
            return n;
    return 0;
}

static void print_special(const char **at, const char *end, struct buf *out)
{
    unsigned char c = (unsigned char)**at;
    if (c >= 0x80) {
        size_t n = sequence_length(*at, (size_t)(end - *at));
        if (n)
            buf_add(out, *at, n);
        else
            buf_adds(out, "\xef\xbf\xbd");
        *at += n ? n : 1;
        return;
    }
    if (c == '"' || c == '\\') {
        buf_addc(out, '\\');
        buf_addc(out, (char)c);
    } else if (c == '\n') {
        buf_adds(out, "\\n");
    } else {
        buf_addf(out, "\\u%04x", c);
    }
    ++*at;
}

static void print_escaped(const char *s, size_t len, struct buf *out)
{
    const char *end = s + len;
    while (s < end) {
        size_t n = plain_length(s, (size_t)(end - s));
        buf_add(out, s, n);
        s += n;
        if (s < end)
            print_special(&s, end, out);
    }
}

/* A string and the COLON behind it, if it is a name. Nearly all are plain and go in one piece. */
static void print_string(const char *s, size_t len, bool colon, struct buf *out)
{
    size_t plain = plain_length(s, len);
    char *to = buf_reserve(out, plain + 3);
    if (!to)
        return;
    *to = '"';
    memcpy(to + 1, s, plain);
    out->len += plain + 1;
    print_escaped(s + plain, len - plain, out);
    buf_add(out, "\":", colon ? 2 : 1);
}

static void print_integer(int64_t v, struct buf *out)
{
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (v < 0)
        digits[--at] = '-';
    buf_add(out, digits + at, sizeof digits - at);
}

static void print_double(double v, struct buf *out)
{
    if (isfinite(v))
        buf_addf(out, "%.17g", v);
    else
        buf_adds(out, "null");
}

static void print_value(const msgpack_object *o, unsigned depth, struct buf *out);

static void print_array(const msgpack_object_array *a, unsigned depth, struct buf *out)
{
    buf_addc(out, '[');
    for (uint32_t i = 0; i < a->size; i++) {
        if (i)
            buf_addc(out, ',');
        print_value(&a->ptr[i], depth, out);
    }
    buf_addc(out, ']');
}

static void print_map(const msgpack_object_map *m, unsigned depth, struct buf *out)
{
    buf_addc(out, '{');
    for (uint32_t i = 0; i < m->size; i++) {
        const msgpack_object *key = &m->ptr[i].key;
        if (i)
            buf_addc(out, ',');
        if (key->type == MSGPACK_OBJECT_STR)
            print_string(key->via.str.ptr, key->via.str.size, true, out);
        else
            buf_adds(out, "\"\":");
        print_value(&m->ptr[i].val, depth, out);
    }
    buf_addc(out, '}');
}

static void print_value(const msgpack_object *o, unsigned depth, struct buf *out)
{
    switch (depth > PRINT_DEPTH_MAX ? MSGPACK_OBJECT_NIL : o->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        buf_adds(out, o->via.boolean ? "true" : "false");
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        if (o->via.u64 > INT64_MAX)
            buf_addf(out, "%" PRIu64, o->via.u64);
        else
            print_integer((int64_t)o->via.u64, out);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        print_integer(o->via.i64, out);
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        print_double(o->via.f64, out);
        break;
    case MSGPACK_OBJECT_STR:
        print_string(o->via.str.ptr, o->via.str.size, false, out);
        break;
    case MSGPACK_OBJECT_BIN:
        print_string(o->via.bin.ptr, o->via.bin.size, false, out);
        break;
    case MSGPACK_OBJECT_ARRAY:
        print_array(&o->via.array, depth + 1, out);
        break;
    case MSGPACK_OBJECT_MAP:
        print_map(&o->via.map, depth + 1, out);
        break;
    case MSGPACK_OBJECT_NIL:
    case MSGPACK_OBJECT_EXT:
    default:
        buf_adds(out, "null");
        break;
    }
}

static void print_text_member(const char *name, struct msg_str value, struct buf *out)
{
    if (!value.data)
        return;
    buf_addc(out, ',');
    print_string(name, strlen(name), true, out);
    print_string(value.data, value.len, false, out);
}

static void print_header(const struct event *e, int64_t decided_ms, struct buf *out)
{
    char key[2 * HASH_ID_BYTES + 1];
    str_hex(e->key.bytes, sizeof e->key.bytes, key);
    buf_adds(out, received_head);
    print_integer(e->received_ms, out);
    if (decided_ms > 0) {
        buf_adds(out, decided_head);
        print_integer(decided_ms, out);
    }
    buf_adds(out, ",\"timestamp\":");
    print_integer(e->timestamp_ms, out);
    buf_adds(out, e->recovered ? ",\"recovered\":true" : ",\"recovered\":false");
    buf_adds(out, ",\"key\":\"");
    buf_add(out, key, sizeof key - 1);
    buf_addc(out, '"');
    print_text_member("bridge", e->bridge, out);
    print_text_member("channel", e->channel, out);
    print_text_member("type", e->type, out);
    print_text_member("context", e->context, out);
    print_text_member("container", e->container, out);
    print_text_member("item", e->item, out);
    print_text_member("author", e->author, out);
}

int journal_line_print(const struct event *e, int64_t decided_ms, struct buf *out)
{
    size_t before = out->len;
    bool failed_before = out->failed;
    out->failed = false;
    print_header(e, decided_ms, out);
    buf_adds(out, ",\"data\":");
    if (e->data)
        print_value(e->data, 0, out);
    else
        buf_adds(out, "null");
    buf_adds(out, "}\n");
    bool failed = out->failed;
    out->failed = failed_before;
    if (failed)
        out->len = before;
    return failed ? -1 : 0;
}

/* ---- parsing ---- */

/* The number behind HEAD at *AT, which is moved behind it; -1 if there is none. */
static int64_t number_behind(const char *head, const char *text, size_t len, size_t *at)
{
    size_t size = strlen(head), i = *at + size;
    int64_t value = 0;
    if (len < i + 1 || memcmp(text + *at, head, size) != 0)
        return -1;
    for (; i < len && text[i] >= '0' && text[i] <= '9' && value < INT64_MAX / 100; i++)
        value = value * 10 + (text[i] - '0');
    *at = i;
    return i < len && text[i] == ',' ? value : -1;
}

int64_t journal_line_time(const char *text, size_t len)
{
    size_t at = 0;
    int64_t received_ms = number_behind(received_head, text, len, &at);
    int64_t decided_ms = received_ms < 0 ? -1 : number_behind(decided_head, text, len, &at);
    return decided_ms < 0 ? received_ms : decided_ms;
}

static struct msg_str text_of(const cJSON *json, const char *name)
{
    return msg_str_of(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name)));
}

/* A whole number of milliseconds that is sane. */
static bool time_of(const cJSON *json, const char *name, int64_t *out)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!cJSON_IsNumber(v) || !(v->valuedouble > -9e15 && v->valuedouble < 9e15))
        return false;
    *out = (int64_t)v->valuedouble;
    return true;
}

static int parse_ours(const cJSON *json, const cJSON *key, struct buf *out, const char **why)
{
    struct event e = {
        .bridge = text_of(json, "bridge"),
        .channel = text_of(json, "channel"),
        .type = text_of(json, "type"),
        .context = text_of(json, "context"),
        .container = text_of(json, "container"),
        .item = text_of(json, "item"),
        .author = text_of(json, "author"),
        .recovered = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "recovered")),
    };
    if (!e.bridge.data || !e.channel.data || !e.type.data || !time_of(json, "timestamp", &e.timestamp_ms) ||
        !time_of(json, "received", &e.received_ms) || !cJSON_IsString(key) ||
        str_unhex(key->valuestring, e.key.bytes, sizeof e.key.bytes)) {
        *why = "a line of the journal lacks a member, or one is of another type";
        return -1;
    }
    event_pack(&e, cJSON_GetObjectItemCaseSensitive(json, "data"), out);
    return 0;
}

static int line_from_json(const cJSON *json, const char *raw, size_t len, const char *bridge, struct buf *out,
                          const char **why)
{
    int64_t at_ms = 0;
    const cJSON *key = cJSON_GetObjectItemCaseSensitive(json, "key");
    const char *own = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "bridge"));
    if (key)
        return parse_ours(json, key, out, why);
    if (!time_of(json, "received", &at_ms))
        time_of(json, "timestamp", &at_ms);
    bool recovered = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "recovered"));
    return event_from_json(own ? own : bridge, json, raw, len, at_ms, 0, recovered, out, why);
}

int journal_line_parse(const char *text, size_t len, const char *bridge, struct buf *out, const char **why)
{
    if (len > EVENT_FRAME_MAX) {
        *why = "the line is too long";
        return -1;
    }
    cJSON *json = event_parse_json(text, len);
    size_t before = out->len;
    int rc = -1;
    if (json)
        rc = line_from_json(json, text, len, bridge, out, why);
    else
        *why = "not JSON, or not UTF-8";
    cJSON_Delete(json);
    if (rc == 0 && out->failed) {
        *why = "the event is too large";
        rc = -1;
    }
    if (rc)
        out->len = before;
    return rc;
}
