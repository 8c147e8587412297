/*
 * Values as JSON and as text.
 */
#include "dispatcher/expr/expr.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/expr/time.h"

/* A buffer that grows within the arena. */
struct writer {
    struct expr_arena *arena;
    char *out;
    size_t length;
    size_t capacity;
    bool failed;
};

static void put(struct writer *w, const char *text, size_t len)
{
    if (w->failed)
        return;
    if (len > w->capacity - w->length) {
        size_t capacity = w->capacity * 2 + len + 64;
        char *out = expr_arena_alloc(w->arena, capacity);
        if (out == NULL) {
            w->failed = true;
            return;
        }
        if (w->length > 0)
            memcpy(out, w->out, w->length);
        w->out = out;
        w->capacity = capacity;
    }
    if (len > 0)
        memcpy(w->out + w->length, text, len);
    w->length += len;
}

static void put_z(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_escape(struct writer *w, uint32_t code)
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    char text[8];
    const char *found = code == 0 ? NULL : memchr(from, (int)code, sizeof from - 1);
    if (found != NULL)
        snprintf(text, sizeof text, "\\%c", to[found - from]);
    else
        snprintf(text, sizeof text, "\\u%04x", (unsigned)code & 0xFFFFu);
    put_z(w, text);
}

static void put_json_string(struct writer *w, const char *text, size_t len)
{
    size_t used = 0;
    size_t plain = 0; /* the start of what can be copied as it is */
    put(w, "\"", 1);
    for (size_t i = 0; i < len && !w->failed; i += used) {
        uint32_t code = text_decode(text + i, len - i, &used);
        bool special =
            code < 0x20 || code == '"' || code == '\\' || code == 0x7F || code == 0x2028 || code == 0x2029;
        if (!special && code != TEXT_INVALID)
            continue;
        put(w, text + plain, i - plain);
        plain = i + used;
        if (special)
            put_escape(w, code);
        else
            put_z(w, "\xEF\xBF\xBD");
    }
    put(w, text + plain, len - plain);
    put(w, "\"", 1);
}

static void put_base64(struct writer *w, const char *text, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t group = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0);
        char quad[4] = {digits[group >> 18], digits[group >> 12 & 63],
                        left > 1 ? digits[group >> 6 & 63] : '=', left > 2 ? digits[group & 63] : '='};
        put(w, quad, 4);
    }
}

/* A number, bool, time or type without quotes; false for what is none. */
static bool put_scalar(struct writer *w, struct expr_value value, bool point)
{
    char text[TIME_TEXT_SIZE + TEXT_NUMBER_SIZE];
    size_t n = 0;
    switch (value.type) {
    case EXPR_BOOL:
        put_z(w, value.as.boolean ? "true" : "false");
        return true;
    case EXPR_INT:
        n = (size_t)snprintf(text, sizeof text, "%lld", (long long)value.as.integer);
        break;
    case EXPR_UINT:
        n = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value.as.uinteger);
        break;
    case EXPR_DOUBLE:
        n = text_from_double(value.as.real, point, text);
        break;
    case EXPR_TIMESTAMP:
        n = time_write_timestamp(value, text);
        break;
    case EXPR_DURATION:
        n = time_write_duration(value, text);
        break;
    case EXPR_TYPE:
        put_z(w, expr_type_name(value.as.named));
        return true;
    default:
        return false;
    }
    put(w, text, n);
    return true;
}

static void put_json(struct writer *w, struct expr_value value, unsigned depth);

static void put_json_list(struct writer *w, struct expr_value list, unsigned depth)
{
    put(w, "[", 1);
    for (size_t i = 0; i < list.length && !w->failed; i++) {
        if (i > 0)
            put(w, ",", 1);
        put_json(w, expr_list_at(list, i), depth + 1);
    }
    put(w, "]", 1);
}

static void put_json_map(struct writer *w, struct expr_value map, unsigned depth)
{
    put(w, "{", 1);
    for (size_t i = 0; i < map.length && !w->failed; i++) {
        struct expr_value key;
        struct expr_value value;
        expr_map_at(map, i, &key, &value);
        if (i > 0)
            put(w, ",", 1);
        if (key.type == EXPR_STRING || key.type == EXPR_BYTES) {
            put_json_string(w, key.as.string, key.length);
        } else {
            put(w, "\"", 1);
            if (!put_scalar(w, key, true))
                put_z(w, "null");
            put(w, "\"", 1);
        }
        put(w, ":", 1);
        put_json(w, value, depth + 1);
    }
    put(w, "}", 1);
}

static void put_json_quoted(struct writer *w, struct expr_value value)
{
    put(w, "\"", 1);
    if (value.type == EXPR_BYTES)
        put_base64(w, value.as.string, value.length);
    else
        put_scalar(w, value, true);
    put(w, "\"", 1);
}

static void put_json(struct writer *w, struct expr_value value, unsigned depth)
{
    if (depth > EXPR_DEPTH_LIMIT)
        w->failed = true;
    if (w->failed)
        return;
    switch (value.type) {
    case EXPR_NULL:
        put_z(w, "null");
        break;
    case EXPR_STRING:
        put_json_string(w, value.as.string, value.length);
        break;
    case EXPR_LIST:
        put_json_list(w, value, depth);
        break;
    case EXPR_MAP:
        put_json_map(w, value, depth);
        break;
    case EXPR_BOOL:
    case EXPR_INT:
    case EXPR_UINT:
        put_scalar(w, value, true);
        break;
    case EXPR_DOUBLE:
        if (isfinite(value.as.real))
            put_scalar(w, value, true);
        else
            put_json_quoted(w, value);
        break;
    case EXPR_ERROR:
        w->failed = true;
        break;
    default:
        put_json_quoted(w, value);
    }
}

static int written(const struct writer *w, const char **out, size_t *len)
{
    *out = w->failed || w->out == NULL ? "" : w->out;
    *len = w->failed ? 0 : w->length;
    return w->failed ? -1 : 0;
}

int expr_value_to_json(struct expr_value value, struct expr_arena *arena, const char **out, size_t *len)
{
    struct writer w = {.arena = arena};
    put_json(&w, value, 0);
    return written(&w, out, len);
}

int expr_value_to_text(struct expr_value value, struct expr_arena *arena, const char **out, size_t *len)
{
    struct writer w = {.arena = arena};
    bool text =
        value.type == EXPR_STRING ||
        (value.type == EXPR_BYTES && text_valid_prefix(value.as.string, value.length) == value.length);
    if (text) {
        *out = value.length == 0 ? "" : value.as.string;
        *len = value.length;
        return 0;
    }
    if (value.type == EXPR_BYTES)
        put_base64(&w, value.as.string, value.length);
    else if (value.type != EXPR_NULL && !put_scalar(&w, value, false))
        put_json(&w, value, 0);
    return written(&w, out, len);
}
