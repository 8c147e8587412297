#include "dispatcher/expr/value.h"

#include <string.h>

#define TIMESTAMP_MIN_S (-62135596800LL) /* 0001-01-01T00:00:00Z */
#define TIMESTAMP_MAX_S 253402300799LL   /* 9999-12-31T23:59:59Z */
#define BYTES_PER_STEP 64u

static const char *const type_names[EXPR_TYPES] = {
    [EXPR_NULL] = "null_type",
    [EXPR_BOOL] = "bool",
    [EXPR_INT] = "int",
    [EXPR_UINT] = "uint",
    [EXPR_DOUBLE] = "double",
    [EXPR_STRING] = "string",
    [EXPR_BYTES] = "bytes",
    [EXPR_LIST] = "list",
    [EXPR_MAP] = "map",
    [EXPR_TIMESTAMP] = "google.protobuf.Timestamp",
    [EXPR_DURATION] = "google.protobuf.Duration",
    [EXPR_TYPE] = "type",
    [EXPR_ERROR] = "error",
};

const char *expr_type_name(enum expr_type type)
{
    return (unsigned)type < EXPR_TYPES ? type_names[type] : "unknown";
}

struct expr_value expr_null(void)
{
    return (struct expr_value){.type = EXPR_NULL};
}

struct expr_value expr_bool(bool boolean)
{
    return (struct expr_value){.type = EXPR_BOOL, .as.boolean = boolean};
}

struct expr_value expr_int(int64_t integer)
{
    return (struct expr_value){.type = EXPR_INT, .as.integer = integer};
}

struct expr_value expr_uint(uint64_t uinteger)
{
    return (struct expr_value){.type = EXPR_UINT, .as.uinteger = uinteger};
}

struct expr_value expr_double(double real)
{
    return (struct expr_value){.type = EXPR_DOUBLE, .as.real = real};
}

/* Lengths beyond 32 bits cannot come from a bounded event; they are cut rather than wrapped. */
static uint32_t length_of(size_t length)
{
    return length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
}

struct expr_value expr_string(const char *string, size_t length)
{
    return (struct expr_value){.type = EXPR_STRING, .length = length_of(length), .as.string = string};
}

struct expr_value expr_string_z(const char *string)
{
    return expr_string(string, strlen(string));
}

struct expr_value expr_bytes(const char *bytes, size_t length)
{
    return (struct expr_value){.type = EXPR_BYTES, .length = length_of(length), .as.string = bytes};
}

struct expr_value expr_list(const struct expr_value *items, size_t length)
{
    return (struct expr_value){.type = EXPR_LIST, .length = length_of(length), .as.items = items};
}

struct expr_value expr_map(const struct expr_value *items, size_t length)
{
    return (struct expr_value){.type = EXPR_MAP, .length = length_of(length), .as.items = items};
}

struct expr_value expr_timestamp(int64_t seconds, uint32_t nanoseconds)
{
    if (seconds < TIMESTAMP_MIN_S || seconds > TIMESTAMP_MAX_S || nanoseconds > 999999999u)
        return expr_failure("timestamp out of range: only the years 1 to 9999 are");
    return (struct expr_value){.type = EXPR_TIMESTAMP, .length = nanoseconds, .as.integer = seconds};
}

struct expr_value expr_timestamp_ms(int64_t milliseconds)
{
    int64_t seconds = milliseconds / 1000;
    int64_t rest = milliseconds % 1000;
    if (rest < 0) {
        rest += 1000;
        seconds -= 1;
    }
    return expr_timestamp(seconds, (uint32_t)rest * 1000000u);
}

struct expr_value expr_duration_ns(int64_t nanoseconds)
{
    return (struct expr_value){.type = EXPR_DURATION, .as.integer = nanoseconds};
}

struct expr_value expr_failure(const char *message)
{
    return (struct expr_value){
        .type = EXPR_ERROR, .length = length_of(strlen(message)), .as.string = message};
}

static struct expr_value from_packed_uint(uint64_t number)
{
    return number <= INT64_MAX ? expr_int((int64_t)number) : expr_uint(number);
}

struct expr_value expr_value_from_msgpack(const msgpack_object *object)
{
    if (object == NULL)
        return expr_null();
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return expr_null();
    case MSGPACK_OBJECT_BOOLEAN:
        return expr_bool(object->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return from_packed_uint(object->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return expr_int(object->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return expr_double(object->via.f64);
    case MSGPACK_OBJECT_STR:
        return expr_string(object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return expr_bytes(object->via.bin.ptr, object->via.bin.size);
    case MSGPACK_OBJECT_ARRAY:
        return (struct expr_value){.type = EXPR_LIST,
                                   .packed = true,
                                   .length = object->via.array.size,
                                   .as.objects = object->via.array.ptr};
    case MSGPACK_OBJECT_MAP:
        return (struct expr_value){.type = EXPR_MAP,
                                   .packed = true,
                                   .length = object->via.map.size,
                                   .as.entries = object->via.map.ptr};
    default:
        return expr_failure("a msgpack extension type has no value here");
    }
}

struct expr_value expr_list_at(struct expr_value list, size_t index)
{
    return list.packed ? expr_value_from_msgpack(&list.as.objects[index]) : list.as.items[index];
}

void expr_map_at(struct expr_value map, size_t index, struct expr_value *key, struct expr_value *value)
{
    if (map.packed) {
        *key = expr_value_from_msgpack(&map.as.entries[index].key);
        *value = expr_value_from_msgpack(&map.as.entries[index].val);
    } else {
        *key = map.as.items[2 * index];
        *value = map.as.items[2 * index + 1];
    }
}

static bool same_bytes(const char *left, size_t left_length, const char *right, size_t right_length)
{
    return left_length == right_length && (left_length == 0 || memcmp(left, right, left_length) == 0);
}

struct expr_value expr_member_at(struct expr_value value, size_t index)
{
    struct expr_value member, unused;
    if (value.type == EXPR_LIST)
        return expr_list_at(value, index);
    expr_map_at(value, index, &member, &unused);
    return member;
}

bool expr_map_find(struct expr_value map, const char *key, size_t length, struct expr_value *value)
{
    if (map.packed) {
        for (const msgpack_object_kv *entry = map.as.entries, *end = entry + map.length; entry < end;
             entry++) {
            if (entry->key.type == MSGPACK_OBJECT_STR &&
                same_bytes(entry->key.via.str.ptr, entry->key.via.str.size, key, length)) {
                *value = expr_value_from_msgpack(&entry->val);
                return true;
            }
        }
        return false;
    }
    for (size_t i = 0; i < map.length; i++) {
        const struct expr_value *entry = &map.as.items[2 * i];
        if (entry[0].type == EXPR_STRING && same_bytes(entry[0].as.string, entry[0].length, key, length)) {
            *value = entry[1];
            return true;
        }
    }
    return false;
}

bool expr_steps_take(uint32_t *steps, size_t cost)
{
    if (cost > *steps) {
        *steps = 0;
        return false;
    }
    *steps -= (uint32_t)cost;
    return true;
}

bool expr_value_is_key(struct expr_value value)
{
    return value.type == EXPR_BOOL || value.type == EXPR_INT || value.type == EXPR_UINT ||
           value.type == EXPR_STRING;
}

static bool is_number(struct expr_value value)
{
    return value.type == EXPR_INT || value.type == EXPR_UINT || value.type == EXPR_DOUBLE;
}

static double as_double(struct expr_value number)
{
    if (number.type == EXPR_INT)
        return (double)number.as.integer;
    return number.type == EXPR_UINT ? (double)number.as.uinteger : number.as.real;
}

/* 1 and the order, or 0 for NaN. A double meets an integer as a double, as the conformance cases of CEL
 * demand. */
static int order_numbers(struct expr_value left, struct expr_value right, int *order)
{
    if (left.type == EXPR_DOUBLE || right.type == EXPR_DOUBLE) {
        double a = as_double(left);
        double b = as_double(right);
        *order = (a > b) - (a < b);
        return a < b || a > b || a == b;
    }
    bool left_negative = left.type == EXPR_INT && left.as.integer < 0;
    bool right_negative = right.type == EXPR_INT && right.as.integer < 0;
    if (left_negative && right_negative)
        *order = (left.as.integer > right.as.integer) - (left.as.integer < right.as.integer);
    else if (left_negative || right_negative)
        *order = left_negative ? -1 : 1;
    else /* both are at least zero, and then int and uint have the same bits */
        *order = (left.as.uinteger > right.as.uinteger) - (left.as.uinteger < right.as.uinteger);
    return 1;
}

static int order_bytes(struct expr_value left, struct expr_value right)
{
    size_t common = left.length < right.length ? left.length : right.length;
    int order = common == 0 ? 0 : memcmp(left.as.string, right.as.string, common);
    if (order != 0)
        return order < 0 ? -1 : 1;
    return (left.length > right.length) - (left.length < right.length);
}

static int order_times(struct expr_value left, struct expr_value right)
{
    if (left.as.integer != right.as.integer)
        return left.as.integer < right.as.integer ? -1 : 1;
    return (left.length > right.length) - (left.length < right.length);
}

int expr_value_order(struct expr_value left, struct expr_value right, int *order)
{
    if (is_number(left) && is_number(right))
        return order_numbers(left, right, order);
    if (left.type != right.type)
        return -1;
    switch (left.type) {
    case EXPR_BOOL:
        *order = (int)left.as.boolean - (int)right.as.boolean;
        return 1;
    case EXPR_STRING:
    case EXPR_BYTES: /* the order of UTF-8 bytes is the order of code points */
        *order = order_bytes(left, right);
        return 1;
    case EXPR_TIMESTAMP:
    case EXPR_DURATION:
        *order = order_times(left, right);
        return 1;
    default:
        return -1;
    }
}

static int equal_at(struct expr_value left, struct expr_value right, unsigned depth, uint32_t *steps);

static int equal_lists(struct expr_value left, struct expr_value right, unsigned depth, uint32_t *steps)
{
    if (left.length != right.length)
        return 0;
    for (size_t i = 0; i < left.length; i++) {
        int equal = equal_at(expr_list_at(left, i), expr_list_at(right, i), depth + 1, steps);
        if (equal != 1)
            return equal;
    }
    return 1;
}

static int equal_maps(struct expr_value left, struct expr_value right, unsigned depth, uint32_t *steps)
{
    if (left.length != right.length)
        return 0;
    for (size_t i = 0; i < left.length; i++) {
        struct expr_value key;
        struct expr_value value;
        struct expr_value other;
        expr_map_at(left, i, &key, &value);
        int equal = expr_map_lookup(right, key, &other, steps);
        if (equal == 1)
            equal = equal_at(value, other, depth + 1, steps);
        if (equal != 1)
            return equal;
    }
    return 1;
}

static int equal_at(struct expr_value left, struct expr_value right, unsigned depth, uint32_t *steps)
{
    int order = 0;
    if (is_number(left) && is_number(right))
        return order_numbers(left, right, &order) == 1 && order == 0;
    if (left.type != right.type)
        return 0;
    if (depth > EXPR_DEPTH_LIMIT || !expr_steps_take(steps, 1))
        return -1;
    switch (left.type) {
    case EXPR_NULL:
        return 1;
    case EXPR_BOOL:
        return left.as.boolean == right.as.boolean;
    case EXPR_STRING:
    case EXPR_BYTES:
        if (!expr_steps_take(steps, left.length / BYTES_PER_STEP))
            return -1;
        return same_bytes(left.as.string, left.length, right.as.string, right.length);
    case EXPR_LIST:
        return equal_lists(left, right, depth, steps);
    case EXPR_MAP:
        return equal_maps(left, right, depth, steps);
    case EXPR_TIMESTAMP:
    case EXPR_DURATION:
        return order_times(left, right) == 0;
    case EXPR_TYPE:
        return left.as.named == right.as.named;
    default:
        return 0;
    }
}

int expr_value_compare_equal(struct expr_value left, struct expr_value right, uint32_t *steps)
{
    if (left.type == EXPR_STRING && right.type == EXPR_STRING) {
        if (left.length > BYTES_PER_STEP && !expr_steps_take(steps, left.length / BYTES_PER_STEP))
            return -1;
        return same_bytes(left.as.string, left.length, right.as.string, right.length);
    }
    return equal_at(left, right, 0, steps);
}

int expr_map_lookup(struct expr_value map, struct expr_value key, struct expr_value *value, uint32_t *steps)
{
    if (!expr_steps_take(steps, 1 + map.length / 8))
        return -1;
    if (key.type == EXPR_STRING)
        return expr_map_find(map, key.as.string, key.length, value);
    if (!is_number(key) && key.type != EXPR_BOOL)
        return 0;
    for (size_t i = 0; i < map.length; i++) {
        struct expr_value candidate;
        expr_map_at(map, i, &candidate, value);
        uint32_t scalar = 2; /* steps: keys that are no strings are compared at once */
        if (expr_value_is_key(candidate) && equal_at(candidate, key, 0, &scalar) == 1)
            return 1;
    }
    return 0;
}
