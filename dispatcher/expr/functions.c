/*
 * The built-in functions: CEL's standard definitions, one row of the table at the end for each.
 */
#include "dispatcher/expr/program.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/regex.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/expr/time.h"
#include "dispatcher/expr/zone.h"

#define INT_LIMIT 9223372036854775808.0   /* 2^63 */
#define UINT_LIMIT 18446744073709551616.0 /* 2^64 */
#define NUMBER_TEXT_LIMIT 400u
#define MATCH_COST 200u
#define ZONE_COST 500u
#define BYTES_PER_STEP 64u
#define NS_PER_MS 1000000
#define NS_PER_S 1000000000LL

static bool same_text(struct expr_value text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.as.string, word, text.length) == 0;
}

static struct expr_value out_of_range(const char *type)
{
    static const struct {
        const char *type;
        const char *message;
    } messages[] = {
        {"int", "range error: the number does not fit into an int"},
        {"uint", "range error: the number does not fit into a uint"},
    };
    return expr_failure(messages[strcmp(type, "uint") == 0].message);
}

/* ---- Conversions ----------------------------------------------------------------------------- */

/* Copies a short text NUL-terminated; false if it is no number for its length or a NUL inside. */
static bool number_text(struct expr_value text, char *out)
{
    if (text.length == 0 || text.length > NUMBER_TEXT_LIMIT ||
        memchr(text.as.string, '\0', text.length) != NULL)
        return false;
    memcpy(out, text.as.string, text.length);
    out[text.length] = '\0';
    return true;
}

static bool only_digits(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static struct expr_value text_to_int(struct expr_value text)
{
    char number[NUMBER_TEXT_LIMIT + 1];
    if (!number_text(text, number) || !only_digits(number + (number[0] == '-' || number[0] == '+')))
        return expr_failure("int() cannot read this string as a number");
    errno = 0;
    long long result = strtoll(number, NULL, 10);
    return errno == ERANGE ? out_of_range("int") : expr_int(result);
}

static struct expr_value text_to_uint(struct expr_value text)
{
    char number[NUMBER_TEXT_LIMIT + 1];
    if (!number_text(text, number) || !only_digits(number))
        return expr_failure("uint() cannot read this string as a number");
    errno = 0;
    unsigned long long result = strtoull(number, NULL, 10);
    return errno == ERANGE ? out_of_range("uint") : expr_uint(result);
}

static struct expr_value double_to_int(double real)
{
    /* The conformance cases refuse -2^63 too: as a double it may stand for a number below. */
    return real > -INT_LIMIT && real < INT_LIMIT ? expr_int((int64_t)real) : out_of_range("int");
}

static struct expr_value double_to_uint(double real)
{
    return real >= 0 && real < UINT_LIMIT ? expr_uint((uint64_t)real) : out_of_range("uint");
}

static struct expr_value call_int(struct machine *m, const struct node *node, const struct expr_value *args)
{
    (void)node;
    switch (args[0].type) {
    case EXPR_INT:
        return args[0];
    case EXPR_UINT:
        return args[0].as.uinteger <= INT64_MAX ? expr_int((int64_t)args[0].as.uinteger)
                                                : out_of_range("int");
    case EXPR_DOUBLE:
        return double_to_int(args[0].as.real);
    case EXPR_STRING:
        return text_to_int(args[0]);
    case EXPR_TIMESTAMP:
        return expr_int(args[0].as.integer);
    default:
        return machine_no_overload(m, "int", args, 1);
    }
}

static struct expr_value call_uint(struct machine *m, const struct node *node, const struct expr_value *args)
{
    (void)node;
    switch (args[0].type) {
    case EXPR_UINT:
        return args[0];
    case EXPR_INT:
        return args[0].as.integer >= 0 ? expr_uint((uint64_t)args[0].as.integer) : out_of_range("uint");
    case EXPR_DOUBLE:
        return double_to_uint(args[0].as.real);
    case EXPR_STRING:
        return text_to_uint(args[0]);
    default:
        return machine_no_overload(m, "uint", args, 1);
    }
}

/* "inf", "Infinity" and "NaN" in any case, with a sign; NULL-safe for what is none. */
static bool special_double(const char *text, double *real)
{
    const char *word = text + (text[0] == '-' || text[0] == '+');
    if (strcasecmp(word, "inf") == 0 || strcasecmp(word, "infinity") == 0)
        *real = text[0] == '-' ? -INFINITY : INFINITY;
    else if (strcasecmp(word, "nan") == 0)
        *real = NAN;
    else
        return false;
    return true;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit somewhere before the exponent. */
static bool decimal_form(const char *text)
{
    const char *p = text + (text[0] == '-' || text[0] == '+');
    size_t whole = strspn(p, "0123456789");
    p += whole;
    size_t fraction = 0;
    if (*p == '.') {
        fraction = strspn(p + 1, "0123456789");
        p += fraction + 1;
    }
    if (whole + fraction == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        return only_digits(p);
    }
    return *p == '\0';
}

static struct expr_value text_to_real(struct expr_value text)
{
    char number[NUMBER_TEXT_LIMIT + 1];
    double real = 0;
    if (!number_text(text, number))
        return expr_failure("double() cannot read this string as a number");
    if (special_double(number, &real))
        return expr_double(real);
    if (!decimal_form(number))
        return expr_failure("double() cannot read this string as a number");
    real = text_to_double(number);
    return isinf(real) ? expr_failure("range error: the number does not fit into a double")
                       : expr_double(real);
}

static struct expr_value call_double(struct machine *m, const struct node *node,
                                     const struct expr_value *args)
{
    (void)node;
    switch (args[0].type) {
    case EXPR_DOUBLE:
        return args[0];
    case EXPR_INT:
        return expr_double((double)args[0].as.integer);
    case EXPR_UINT:
        return expr_double((double)args[0].as.uinteger);
    case EXPR_STRING:
        return text_to_real(args[0]);
    default:
        return machine_no_overload(m, "double", args, 1);
    }
}

static struct expr_value call_bool(struct machine *m, const struct node *node, const struct expr_value *args)
{
    static const char *const words[2][6] = {{"0", "f", "F", "false", "FALSE", "False"},
                                            {"1", "t", "T", "true", "TRUE", "True"}};
    (void)node;
    if (args[0].type == EXPR_BOOL)
        return args[0];
    if (args[0].type != EXPR_STRING)
        return machine_no_overload(m, "bool", args, 1);
    for (int truth = 0; truth < 2; truth++)
        for (size_t i = 0; i < 6; i++)
            if (same_text(args[0], words[truth][i]))
                return expr_bool(truth == 1);
    return expr_failure("bool() reads 'true' and 'false' only");
}

static struct expr_value copy_text(struct machine *m, const char *text, size_t length)
{
    const char *copy = expr_arena_copy(m->arena, text, length);
    return copy == NULL ? expr_arena_full() : expr_string(copy, length);
}

static struct expr_value scalar_to_text(struct machine *m, struct expr_value value)
{
    char text[TIME_TEXT_SIZE + TEXT_NUMBER_SIZE];
    switch (value.type) {
    case EXPR_INT:
        return copy_text(m, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)value.as.integer));
    case EXPR_UINT:
        return copy_text(m, text,
                         (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value.as.uinteger));
    case EXPR_DOUBLE:
        return copy_text(m, text, text_from_double(value.as.real, false, text));
    case EXPR_TIMESTAMP:
        return copy_text(m, text, time_write_timestamp(value, text));
    case EXPR_DURATION:
        return copy_text(m, text, time_write_duration(value, text));
    default:
        return machine_no_overload(m, "string", &value, 1);
    }
}

static struct expr_value call_string(struct machine *m, const struct node *node,
                                     const struct expr_value *args)
{
    (void)node;
    switch (args[0].type) {
    case EXPR_STRING:
        return args[0];
    case EXPR_BOOL:
        return expr_string_z(args[0].as.boolean ? "true" : "false");
    case EXPR_BYTES:
        if (!machine_charge(m, args[0].length / BYTES_PER_STEP) ||
            text_valid_prefix(args[0].as.string, args[0].length) != args[0].length)
            return expr_failure("string() of bytes that are invalid UTF-8");
        return expr_string(args[0].as.string, args[0].length);
    default:
        return scalar_to_text(m, args[0]);
    }
}

static struct expr_value call_bytes(struct machine *m, const struct node *node, const struct expr_value *args)
{
    (void)node;
    if (args[0].type == EXPR_BYTES)
        return args[0];
    if (args[0].type != EXPR_STRING)
        return machine_no_overload(m, "bytes", args, 1);
    return expr_bytes(args[0].as.string, args[0].length);
}

static struct expr_value call_dyn(struct machine *m, const struct node *node, const struct expr_value *args)
{
    (void)m;
    (void)node;
    return args[0];
}

static struct expr_value call_type(struct machine *m, const struct node *node, const struct expr_value *args)
{
    (void)m;
    (void)node;
    return (struct expr_value){.type = EXPR_TYPE, .as.named = (enum expr_type)args[0].type};
}

static struct expr_value call_timestamp(struct machine *m, const struct node *node,
                                        const struct expr_value *args)
{
    (void)node;
    switch (args[0].type) {
    case EXPR_TIMESTAMP:
        return args[0];
    case EXPR_INT:
        return expr_timestamp(args[0].as.integer, 0);
    case EXPR_STRING:
        return time_parse_timestamp(args[0].as.string, args[0].length);
    default:
        return machine_no_overload(m, "timestamp", args, 1);
    }
}

static struct expr_value call_duration(struct machine *m, const struct node *node,
                                       const struct expr_value *args)
{
    (void)node;
    if (args[0].type == EXPR_DURATION)
        return args[0];
    if (args[0].type != EXPR_STRING)
        return machine_no_overload(m, "duration", args, 1);
    if (!machine_charge(m, args[0].length / BYTES_PER_STEP))
        return expr_null();
    return time_parse_duration(args[0].as.string, args[0].length);
}

/* ---- Strings --------------------------------------------------------------------------------- */

static struct expr_value call_size(struct machine *m, const struct node *node, const struct expr_value *args)
{
    (void)node;
    switch (args[0].type) {
    case EXPR_STRING:
        if (!machine_charge(m, args[0].length / BYTES_PER_STEP))
            return expr_null();
        return expr_int((int64_t)text_count(args[0].as.string, args[0].length));
    case EXPR_BYTES:
    case EXPR_LIST:
    case EXPR_MAP:
        return expr_int(args[0].length);
    default:
        return machine_no_overload(m, "size", args, 1);
    }
}

static bool two_strings(const struct expr_value *args)
{
    return args[0].type == EXPR_STRING && args[1].type == EXPR_STRING;
}

static struct expr_value call_starts_with(struct machine *m, const struct node *node,
                                          const struct expr_value *args)
{
    (void)node;
    if (!two_strings(args))
        return machine_no_overload(m, "startsWith", args, 2);
    size_t length = args[1].length;
    if (!machine_charge(m, length / BYTES_PER_STEP))
        return expr_null();
    return expr_bool(length <= args[0].length &&
                     (length == 0 || memcmp(args[0].as.string, args[1].as.string, length) == 0));
}

static struct expr_value call_ends_with(struct machine *m, const struct node *node,
                                        const struct expr_value *args)
{
    (void)node;
    if (!two_strings(args))
        return machine_no_overload(m, "endsWith", args, 2);
    size_t length = args[1].length;
    return expr_bool(
        length <= args[0].length &&
        (length == 0 || memcmp(args[0].as.string + args[0].length - length, args[1].as.string, length) == 0));
}

static struct expr_value call_contains(struct machine *m, const struct node *node,
                                       const struct expr_value *args)
{
    (void)node;
    if (!two_strings(args))
        return machine_no_overload(m, "contains", args, 2);
    if (!machine_charge(m, args[0].length / BYTES_PER_STEP))
        return expr_null();
    return expr_bool(args[1].length == 0 ||
                     memmem(args[0].as.string, args[0].length, args[1].as.string, args[1].length) != NULL);
}

static struct expr_value call_matches(struct machine *m, const struct node *node,
                                      const struct expr_value *args)
{
    const char *message = NULL;
    size_t offset = 0;
    const struct expr_regex *regex = node->regex;
    if (!two_strings(args))
        return machine_no_overload(m, "matches", args, 2);
    if (!machine_charge(m, MATCH_COST + args[0].length / BYTES_PER_STEP))
        return expr_null();
    struct arena_mark mark = expr_arena_mark(m->arena);
    if (regex == NULL)
        regex = expr_regex_compile(args[1].as.string, args[1].length, m->arena, &message, &offset);
    if (regex == NULL) {
        expr_arena_rewind(m->arena, mark);
        return expr_failure_f(m->arena, "matches(): %s", message);
    }
    int result = expr_regex_match(regex, args[0].as.string, args[0].length, m->arena, &message);
    expr_arena_rewind(m->arena, mark);
    return result < 0 ? expr_failure(message) : expr_bool(result == 1);
}

/* ---- Times ----------------------------------------------------------------------------------- */

static const struct expr_zone *zone_of(struct machine *m, const struct node *node, struct expr_value name)
{
    if (node->zone != NULL)
        return node->zone;
    return machine_charge(m, ZONE_COST) ? expr_zone_load(name.as.string, name.length, m->arena) : NULL;
}

/* The fields of a timestamp in UTC or in the zone that the second argument names. */
static bool fields_of(struct machine *m, const struct node *node, const struct expr_value *args,
                      struct time_fields *fields, struct expr_value *failure)
{
    int32_t offset = 0;
    if (args[0].type != EXPR_TIMESTAMP || (node->count == 2 && args[1].type != EXPR_STRING)) {
        *failure = machine_no_overload(m, node->call.builtin->name, args, node->count);
        return false;
    }
    if (node->count == 2) {
        const struct expr_zone *zone = zone_of(m, node, args[1]);
        if (zone == NULL) {
            *failure = expr_failure_f(
                m->arena, "unknown time zone '%.*s'",
                (int)text_valid_prefix(args[1].as.string, args[1].length > 64 ? 64 : args[1].length),
                args[1].as.string);
            return false;
        }
        offset = expr_zone_offset(zone, args[0].as.integer);
    }
    *fields = time_split(args[0].as.integer + offset);
    return true;
}

#define FIELD_OF_TIMESTAMP(function, expression)                                                             \
    static struct expr_value function(struct machine *m, const struct node *node,                            \
                                      const struct expr_value *args)                                         \
    {                                                                                                        \
        struct time_fields f;                                                                                \
        struct expr_value failure;                                                                           \
        return fields_of(m, node, args, &f, &failure) ? expr_int(expression) : failure;                      \
    }

FIELD_OF_TIMESTAMP(call_full_year, f.year)
FIELD_OF_TIMESTAMP(call_month, f.month - 1)
FIELD_OF_TIMESTAMP(call_date, f.day)
FIELD_OF_TIMESTAMP(call_day_of_month, f.day - 1)
FIELD_OF_TIMESTAMP(call_day_of_week, f.weekday)
FIELD_OF_TIMESTAMP(call_day_of_year, f.yearday)

/* Timestamps have the field, durations count the whole unit. */
#define FIELD_OR_COUNT(function, expression, nanoseconds)                                                    \
    static struct expr_value function(struct machine *m, const struct node *node,                            \
                                      const struct expr_value *args)                                         \
    {                                                                                                        \
        struct time_fields f;                                                                                \
        struct expr_value failure;                                                                           \
        if (args[0].type == EXPR_DURATION && node->count == 1)                                               \
            return expr_int(args[0].as.integer / (nanoseconds));                                             \
        return fields_of(m, node, args, &f, &failure) ? expr_int(expression) : failure;                      \
    }

FIELD_OR_COUNT(call_hours, f.hour, 3600 * NS_PER_S)
FIELD_OR_COUNT(call_minutes, f.minute, 60 * NS_PER_S)
FIELD_OR_COUNT(call_seconds, f.second, NS_PER_S)

/* Of both kinds the milliseconds within the second: CEL defines it so for durations too. */
static struct expr_value call_milliseconds(struct machine *m, const struct node *node,
                                           const struct expr_value *args)
{
    struct time_fields f;
    struct expr_value failure;
    if (args[0].type == EXPR_DURATION && node->count == 1)
        return expr_int(args[0].as.integer % NS_PER_S / NS_PER_MS);
    return fields_of(m, node, args, &f, &failure) ? expr_int(args[0].length / NS_PER_MS) : failure;
}

/* ---- The table ------------------------------------------------------------------------------- */

#define SIZED (SET_STRING | SET_BYTES | SET_CONTAINERS)
#define TIMES (SET_TIMESTAMP | SET_DURATION)
#define WRITTEN (SET_STRING | SET_NUMBERS | SET_BOOL | SET_BYTES | TIMES)
/* clang-format off */
#define OF(types, gives)  {{types, 0, gives}}
#define OF_TEXTS          {{SET_STRING, SET_STRING, SET_BOOL}}
#define FIELD(types)      {{types, 0, SET_INT}, {SET_TIMESTAMP, SET_STRING, SET_INT}}
/* clang-format on */

static const struct builtin builtins[] = {
    {"bool", 1, 1, BUILTIN_GLOBAL, call_bool, OF(SET_STRING | SET_BOOL, SET_BOOL)},
    {"bytes", 1, 1, BUILTIN_GLOBAL, call_bytes, OF(SET_STRING | SET_BYTES, SET_BYTES)},
    {"contains", 2, 2, BUILTIN_METHOD, call_contains, OF_TEXTS},
    {"double", 1, 1, BUILTIN_GLOBAL, call_double, OF(SET_STRING | SET_NUMBERS, SET_DOUBLE)},
    {"duration", 1, 1, BUILTIN_GLOBAL | BUILTIN_FOLDS, call_duration,
     OF(SET_STRING | SET_DURATION, SET_DURATION)},
    {"dyn", 1, 1, BUILTIN_GLOBAL, call_dyn, OF(EXPR_ANY, EXPR_ANY)},
    {"endsWith", 2, 2, BUILTIN_METHOD, call_ends_with, OF_TEXTS},
    {"getDate", 1, 2, BUILTIN_METHOD, call_date, FIELD(SET_TIMESTAMP)},
    {"getDayOfMonth", 1, 2, BUILTIN_METHOD, call_day_of_month, FIELD(SET_TIMESTAMP)},
    {"getDayOfWeek", 1, 2, BUILTIN_METHOD, call_day_of_week, FIELD(SET_TIMESTAMP)},
    {"getDayOfYear", 1, 2, BUILTIN_METHOD, call_day_of_year, FIELD(SET_TIMESTAMP)},
    {"getFullYear", 1, 2, BUILTIN_METHOD, call_full_year, FIELD(SET_TIMESTAMP)},
    {"getHours", 1, 2, BUILTIN_METHOD, call_hours, FIELD(TIMES)},
    {"getMilliseconds", 1, 2, BUILTIN_METHOD, call_milliseconds, FIELD(TIMES)},
    {"getMinutes", 1, 2, BUILTIN_METHOD, call_minutes, FIELD(TIMES)},
    {"getMonth", 1, 2, BUILTIN_METHOD, call_month, FIELD(SET_TIMESTAMP)},
    {"getSeconds", 1, 2, BUILTIN_METHOD, call_seconds, FIELD(TIMES)},
    {"int", 1, 1, BUILTIN_GLOBAL, call_int, OF(SET_STRING | SET_NUMBERS | SET_TIMESTAMP, SET_INT)},
    {"matches", 2, 2, BUILTIN_GLOBAL | BUILTIN_METHOD, call_matches, OF_TEXTS},
    {"size", 1, 1, BUILTIN_GLOBAL | BUILTIN_METHOD, call_size, OF(SIZED, SET_INT)},
    {"startsWith", 2, 2, BUILTIN_METHOD, call_starts_with, OF_TEXTS},
    {"string", 1, 1, BUILTIN_GLOBAL, call_string, OF(WRITTEN, SET_STRING)},
    {"timestamp", 1, 1, BUILTIN_GLOBAL | BUILTIN_FOLDS, call_timestamp,
     OF(SET_STRING | SET_INT | SET_TIMESTAMP, SET_TIMESTAMP)},
    {"type", 1, 1, BUILTIN_GLOBAL, call_type, OF(EXPR_ANY, SET_TYPE)},
    {"uint", 1, 1, BUILTIN_GLOBAL, call_uint, OF(SET_STRING | SET_NUMBERS, SET_UINT)},
};

#define BUILTINS (sizeof builtins / sizeof builtins[0])

const struct builtin *builtin_find(const char *name, size_t length)
{
    for (size_t i = 0; i < BUILTINS; i++)
        if (length > 0 && builtins[i].name[0] == name[0] && strlen(builtins[i].name) == length &&
            memcmp(builtins[i].name, name, length) == 0)
            return &builtins[i];
    return NULL;
}

const char *const *builtin_names(void)
{
    static const char *const names[] = {"bool",          "bytes",
                                        "contains",      "double",
                                        "duration",      "dyn",
                                        "endsWith",      "getDate",
                                        "getDayOfMonth", "getDayOfWeek",
                                        "getDayOfYear",  "getFullYear",
                                        "getHours",      "getMilliseconds",
                                        "getMinutes",    "getMonth",
                                        "getSeconds",    "int",
                                        "matches",       "size",
                                        "startsWith",    "string",
                                        "timestamp",     "type",
                                        "uint",          "has",
                                        "all",           "exists",
                                        "exists_one",    "filter",
                                        "map",           NULL};
    return names;
}
