#include "proto/event.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"

/* ---- the table: PROTOCOL.md section 7 ----
 * A container's own events name it both as item and as container, so that `container == '…'` covers all that
 * concerns a thread. */

#define CONTAINER_CREATED(channel_, type_)                                                                   \
    {                                                                                                        \
        channel_, type_, EVENT_CREATED, true, "id", "id", "contextId", "creator",                            \
        {                                                                                                    \
            "id"                                                                                             \
        }                                                                                                    \
    }
#define CONTAINER_UPDATED(channel_, type_)                                                                   \
    {                                                                                                        \
        channel_, type_, EVENT_UPDATED, true, "id", "id", "contextId", "lastModifier",                       \
        {                                                                                                    \
            "id", "version"                                                                                  \
        }                                                                                                    \
    }
#define CONTAINER_DELETED(channel_, type_, id_)                                                              \
    {                                                                                                        \
        channel_, type_, EVENT_DELETED, true, id_, id_, NULL, NULL,                                          \
        {                                                                                                    \
            id_                                                                                              \
        }                                                                                                    \
    }

const struct event_type event_types[] = {
    CONTAINER_CREATED("thread", "threadCreated"),
    CONTAINER_UPDATED("thread", "threadUpdated"),
    CONTAINER_DELETED("thread", "threadDeleted", "threadId"),
    {"thread", "threadStats", EVENT_STATS, false, NULL, "threadId", NULL, NULL, {"threadId", "@timestamp"}},
    {"thread", "threadNewMessage", EVENT_CREATED, false, "id", "threadId", "contextId", "author", {"id"}},
    {"thread",
     "threadUpdatedMessage",
     EVENT_UPDATED,
     false,
     "id",
     "threadId",
     "contextId",
     "author",
     {"id", "@timestamp"}},
    {"thread",
     "threadDeletedMessage",
     EVENT_DELETED,
     false,
     "messageId",
     "threadId",
     NULL,
     NULL,
     {"messageId"}},
    CONTAINER_CREATED("store", "storeCreated"),
    CONTAINER_UPDATED("store", "storeUpdated"),
    CONTAINER_DELETED("store", "storeDeleted", "storeId"),
    {"store", "storeStatsChanged", EVENT_STATS, false, NULL, "id", "contextId", NULL, {"id", "@timestamp"}},
    {"store", "storeFileCreated", EVENT_CREATED, false, "id", "storeId", "contextId", "creator", {"id"}},
    {"store",
     "storeFileUpdated",
     EVENT_UPDATED,
     false,
     "id",
     "storeId",
     "contextId",
     "lastModifier",
     {"id", "version"}},
    {"store", "storeFileDeleted", EVENT_DELETED, false, "id", "storeId", "contextId", NULL, {"id"}},
    CONTAINER_CREATED("kvdb", "kvdbCreated"),
    CONTAINER_UPDATED("kvdb", "kvdbUpdated"),
    CONTAINER_DELETED("kvdb", "kvdbDeleted", "kvdbId"),
    {"kvdb", "kvdbStats", EVENT_STATS, false, NULL, "kvdbId", NULL, NULL, {"kvdbId", "@timestamp"}},
    {"kvdb",
     "kvdbNewEntry",
     EVENT_CREATED,
     false,
     "kvdbEntryKey",
     "kvdbId",
     "contextId",
     "author",
     {"kvdbId", "kvdbEntryKey", "createDate"}},
    {"kvdb",
     "kvdbUpdatedEntry",
     EVENT_UPDATED,
     false,
     "kvdbEntryKey",
     "kvdbId",
     "contextId",
     "lastModifier",
     {"kvdbId", "kvdbEntryKey", "createDate", "version"}},
    {"kvdb",
     "kvdbDeletedEntry",
     EVENT_DELETED,
     false,
     "entryKey",
     "kvdbId",
     NULL,
     NULL,
     {"kvdbId", "entryKey", "@timestamp"}},
    CONTAINER_CREATED("inbox", "inboxCreated"),
    CONTAINER_UPDATED("inbox", "inboxUpdated"),
    CONTAINER_DELETED("inbox", "inboxDeleted", "inboxId"),
    /* Folded by the listener from a message and its files; `data` is made there. */
    {"inbox", "inboxEntry", EVENT_CREATED, false, "id", "inboxId", "contextId", "author", {"id"}},
    CONTAINER_CREATED("stream", "streamRoomCreated"),
    CONTAINER_UPDATED("stream", "streamRoomUpdated"),
    CONTAINER_DELETED("stream", "streamRoomDeleted", "streamRoomId"),
};
const size_t event_types_count = sizeof event_types / sizeof event_types[0];

const struct event_type *event_type_find(const char *type, size_t len)
{
    for (size_t i = 0; i < event_types_count; i++)
        if (strlen(event_types[i].type) == len && memcmp(event_types[i].type, type, len) == 0)
            return &event_types[i];
    return NULL;
}

/* ---- making text safe for the parser ----
 *
 * cJSON ends strings at NUL, fails on half a surrogate pair and recurses into nesting. All three are legal in
 * what an application user may write, so they are replaced in place: \u0000 and lone surrogates by \ufffd,
 * and what is inside a container at the deepest level by blanks. */

static int escape_value(const char *s, const char *end)
{
    /* S points at the backslash of a possible \uXXXX. */
    if (end - s < 6 || s[1] != 'u')
        return -1;
    int value = 0;
    for (int i = 2; i < 6; i++) {
        char c = s[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Mends the escape at S; returns how many bytes it takes. */
static size_t mend_escape(char *s, const char *end)
{
    int value = escape_value(s, end);
    if (value < 0)
        return end - s < 2 ? 1 : 2;
    bool high = value >= 0xd800 && value <= 0xdbff;
    if (high) {
        int low = escape_value(s + 6 <= end ? s + 6 : end, end);
        if (end - s >= 12 && s[6] == '\\' && low >= 0xdc00 && low <= 0xdfff)
            return 12;
    }
    if (value == 0 || high || (value >= 0xdc00 && value <= 0xdfff))
        memcpy(s + 2, "fffd", 4);
    return 6;
}

static void mend(char *text, size_t len, unsigned depth_max)
{
    char *end = text + len;
    unsigned depth = 0;
    bool in_string = false;
    for (char *s = text; s < end;) {
        bool blank = depth > depth_max;
        if (in_string && *s == '\\') {
            size_t n = mend_escape(s, end);
            if (blank)
                memset(s, ' ', n);
            s += n;
            continue;
        }
        char c = *s;
        if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '[' || c == '{'))
            depth++;
        else if (!in_string && (c == ']' || c == '}') && depth)
            depth--;
        /* Depth is looked at after a closing bracket was counted, so that the outermost one stays. */
        bool opens = !in_string && (c == '[' || c == '{');
        if (opens ? blank : depth > depth_max)
            *s = ' ';
        else if (blank && c == '"')
            *s = ' ';
        s++;
    }
}

static cJSON *parse_mended(const char *text, size_t len, unsigned depth_max)
{
    if (len > EVENT_FRAME_MAX || !str_utf8_valid(text, len) || memchr(text, '\0', len))
        return NULL;
    char *copy = xstrndup(text, len);
    mend(copy, len, depth_max);
    const char *rest = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(copy, len + 1, &rest, 0);
    if (json) {
        while (*rest == ' ' || *rest == '\n' || *rest == '\r' || *rest == '\t')
            rest++;
        if (*rest) {
            cJSON_Delete(json);
            json = NULL;
        }
    }
    free(copy);
    return json;
}

cJSON *event_parse_json(const char *text, size_t len)
{
    /* A list's rows stand four levels deep in its answer. */
    return parse_mended(text, len, EVENT_DEPTH_MAX + 4);
}

/* ---- JSON and msgpack ---- */

static void pack_text(msgpack_packer *packer, const char *s)
{
    size_t len = strlen(s);
    msgpack_pack_str(packer, len);
    msgpack_pack_str_body(packer, s, len);
}

static void pack_number(msgpack_packer *packer, double v)
{
    const double limit = 9007199254740992.0; /* 2^53 */
    if (v >= -limit && v <= limit && floor(v) >= v && ceil(v) <= v)
        msgpack_pack_int64(packer, (int64_t)v);
    else
        msgpack_pack_double(packer, v);
}

static size_t child_count(const cJSON *json)
{
    size_t n = 0;
    for (const cJSON *c = json->child; c; c = c->next)
        n++;
    return n;
}

static void pack_json(msgpack_packer *packer, const cJSON *json, unsigned depth_left)
{
    if (!json || cJSON_IsNull(json) || (depth_left == 0 && (cJSON_IsObject(json) || cJSON_IsArray(json)))) {
        msgpack_pack_nil(packer);
    } else if (cJSON_IsString(json)) {
        pack_text(packer, json->valuestring);
    } else if (cJSON_IsNumber(json)) {
        pack_number(packer, json->valuedouble);
    } else if (cJSON_IsBool(json)) {
        if (cJSON_IsTrue(json))
            msgpack_pack_true(packer);
        else
            msgpack_pack_false(packer);
    } else if (cJSON_IsArray(json)) {
        msgpack_pack_array(packer, child_count(json));
        for (const cJSON *c = json->child; c; c = c->next)
            pack_json(packer, c, depth_left - 1);
    } else {
        msgpack_pack_map(packer, child_count(json));
        for (const cJSON *c = json->child; c; c = c->next) {
            pack_text(packer, c->string ? c->string : "");
            pack_json(packer, c, depth_left - 1);
        }
    }
}

static char *key_text(const msgpack_object *key)
{
    if (key->type == MSGPACK_OBJECT_STR)
        return xstrndup(key->via.str.ptr, key->via.str.size);
    return xstrdup("");
}

static cJSON *text_json(const char *data, size_t len)
{
    char *text = xstrndup(data, len);
    cJSON *json = cJSON_CreateString(text);
    free(text);
    return json;
}

cJSON *event_msgpack_to_json(const msgpack_object *o)
{
    cJSON *json;
    switch (o->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return cJSON_CreateBool(o->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return cJSON_CreateNumber((double)o->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return cJSON_CreateNumber((double)o->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return cJSON_CreateNumber(o->via.f64);
    case MSGPACK_OBJECT_STR:
        return text_json(o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return text_json(o->via.bin.ptr, o->via.bin.size);
    case MSGPACK_OBJECT_ARRAY:
        json = cJSON_CreateArray();
        for (uint32_t i = 0; i < o->via.array.size; i++)
            cJSON_AddItemToArray(json, event_msgpack_to_json(&o->via.array.ptr[i]));
        return json;
    case MSGPACK_OBJECT_MAP:
        json = cJSON_CreateObject();
        for (uint32_t i = 0; i < o->via.map.size; i++) {
            char *key = key_text(&o->via.map.ptr[i].key);
            cJSON_AddItemToObject(json, key, event_msgpack_to_json(&o->via.map.ptr[i].val));
            free(key);
        }
        return json;
    case MSGPACK_OBJECT_NIL:
    case MSGPACK_OBJECT_EXT:
    default:
        return cJSON_CreateNull();
    }
}

/* ---- packing ---- */

static int write_to_buf(void *data, const char *bytes, size_t len)
{
    return buf_add(data, bytes, len);
}

static void pack_view(msgpack_packer *packer, struct msg_str s)
{
    if (!s.data) {
        msgpack_pack_nil(packer);
        return;
    }
    msgpack_pack_str(packer, s.len);
    msgpack_pack_str_body(packer, s.data, s.len);
}

void event_pack(const struct event *e, const cJSON *data, struct buf *out)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, write_to_buf);
    msgpack_pack_array(&packer, 13);
    msgpack_pack_bin(&packer, sizeof e->key.bytes);
    msgpack_pack_bin_body(&packer, e->key.bytes, sizeof e->key.bytes);
    const struct msg_str views[] = {e->bridge,    e->channel, e->type,  e->context,
                                    e->container, e->item,    e->author};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        pack_view(&packer, views[i]);
    msgpack_pack_int64(&packer, e->timestamp_ms);
    msgpack_pack_int64(&packer, e->received_ms);
    msgpack_pack_uint64(&packer, e->received_mono_ns);
    if (e->recovered)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
    pack_json(&packer, data, EVENT_DEPTH_MAX - 1);
}

int event_unpack(struct msg_in *m, const void *data, size_t len, struct event *e)
{
    memset(e, 0, sizeof *e);
    if (msg_parse_object(m, data, len) || m->root.type != MSGPACK_OBJECT_ARRAY)
        return -1;
    struct msg_fields f = {m->root.via.array.ptr, m->root.via.array.size, false};
    msg_get_id(&f, &e->key);
    struct msg_str *views[] = {&e->bridge,    &e->channel, &e->type,  &e->context,
                               &e->container, &e->item,    &e->author};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        *views[i] = msg_get_str(&f);
    e->timestamp_ms = msg_get_int(&f);
    e->received_ms = msg_get_int(&f);
    e->received_mono_ns = msg_get_uint(&f);
    e->recovered = msg_get_bool(&f);
    e->data = msg_get_object(&f);
    return msg_end(&f) && e->bridge.data && e->channel.data && e->type.data ? 0 : -1;
}

/* ---- identity ---- */

enum { PARTS_MAX = 8, NUMBER_TEXT = 32 };

static const char *member_text(const cJSON *data, const char *name)
{
    const cJSON *v = name ? cJSON_GetObjectItemCaseSensitive(data, name) : NULL;
    return cJSON_IsString(v) ? v->valuestring : NULL;
}

/* Text of one unique part; NULL if the member is missing or of a type that identifies nothing. */
static const char *unique_text(const cJSON *data, const char *name, int64_t timestamp_ms,
                               char scratch[NUMBER_TEXT])
{
    if (strcmp(name, "@timestamp") == 0) {
        snprintf(scratch, NUMBER_TEXT, "%" PRId64, timestamp_ms);
        return scratch;
    }
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(data, name);
    if (!v)
        return NULL;
    if (cJSON_IsString(v))
        return v->valuestring;
    if (!cJSON_IsNumber(v))
        return NULL;
    snprintf(scratch, NUMBER_TEXT, "%.0f", v->valuedouble);
    return scratch;
}

static struct hash_part part_of(const char *s, size_t len)
{
    return (struct hash_part){s, len};
}

/* The key by the recipe; falls back to the whole frame where a unique member is missing. */
static void make_key(const struct event_type *row, const char *bridge, const char *type, const cJSON *data,
                     int64_t timestamp_ms, const char *raw, size_t raw_len, struct hash_id *key)
{
    char recipe[NUMBER_TEXT];
    char scratch[4][NUMBER_TEXT];
    struct hash_part parts[PARTS_MAX];
    size_t n = 0;
    snprintf(recipe, sizeof recipe, "event-%d", EVENT_RECIPE);
    parts[n++] = part_of(recipe, strlen(recipe));
    parts[n++] = part_of(bridge, strlen(bridge));
    parts[n++] = part_of(type, strlen(type));
    size_t fixed = n;
    for (size_t i = 0; row && i < 4 && row->unique[i]; i++) {
        const char *text = unique_text(data, row->unique[i], timestamp_ms, scratch[i]);
        if (!text) {
            n = fixed;
            break;
        }
        parts[n++] = part_of(text, strlen(text));
    }
    if (n == fixed)
        parts[n++] = part_of(raw, raw_len);
    hash_id(parts, n, key);
}

/* ---- normalising ---- */

static void fill_from_row(struct event *e, const struct event_type *row, const cJSON *data)
{
    if (!row)
        return;
    e->context = msg_str_of(member_text(data, row->context));
    e->container = msg_str_of(member_text(data, row->container));
    e->item = msg_str_of(member_text(data, row->item));
    e->author = msg_str_of(member_text(data, row->author));
}

int event_from_json(const char *bridge, const cJSON *frame, const char *raw, size_t len, int64_t received_ms,
                    uint64_t received_mono_ns, bool recovered, struct buf *out, const char **why)
{
    const cJSON *channel = cJSON_GetObjectItemCaseSensitive(frame, "channel");
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(frame, "type");
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(frame, "data");
    const cJSON *timestamp = cJSON_GetObjectItemCaseSensitive(frame, "timestamp");
    if (!cJSON_IsString(channel) || !cJSON_IsString(type) || !data || !cJSON_IsNumber(timestamp) ||
        !(timestamp->valuedouble > -9e15 && timestamp->valuedouble < 9e15)) {
        *why = "not a notification: channel, type, data or timestamp is missing or of another type";
        return -1;
    }
    const struct event_type *row = event_type_find(type->valuestring, strlen(type->valuestring));
    struct event e = {
        .bridge = msg_str_of(bridge),
        .channel = msg_str_of(channel->valuestring),
        .type = msg_str_of(type->valuestring),
        .timestamp_ms = (int64_t)timestamp->valuedouble,
        .received_ms = received_ms,
        .received_mono_ns = received_mono_ns,
        .recovered = recovered,
    };
    fill_from_row(&e, row, data);
    make_key(row, bridge, type->valuestring, data, e.timestamp_ms, raw, len, &e.key);
    event_pack(&e, data, out);
    if (out->failed) {
        *why = "the event is larger than the buffer for it";
        return -1;
    }
    return 0;
}

int event_normalise(const char *bridge, const char *frame, size_t len, int64_t received_ms,
                    uint64_t received_mono_ns, struct buf *out, const char **why)
{
    if (len > EVENT_FRAME_MAX) {
        *why = "the frame is too large";
        return -1;
    }
    cJSON *json = parse_mended(frame, len, EVENT_DEPTH_MAX);
    if (!json) {
        *why = "not JSON in UTF-8";
        return -1;
    }
    int rc = event_from_json(bridge, json, frame, len, received_ms, received_mono_ns, false, out, why);
    cJSON_Delete(json);
    return rc;
}
