/*
 * The expression language of rules, templates and recipients: a documented subset of CEL
 * (docs/expressions.md).
 *
 * This module owns compiled expressions, the values they work on and the memory in which they are evaluated.
 * It knows neither events nor rules: the names an expression may use come from a struct expr_env, their
 * values from a struct expr_activation. It depends on libc, PCRE2, utf8proc, libpsl and the object type of
 * msgpack-c, and on nothing else of the project.
 *
 * Evaluation is pure: no clock and no global state is read, nothing outside the arena is written. It is
 * bounded in steps (see expr_activation), in memory (the arena's limit) and in stack (EXPR_DEPTH_LIMIT). A
 * failing evaluation yields a value of type EXPR_ERROR; nothing that comes from outside, source text
 * included, can do worse.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_EXPR_H
#define BRIDGEBELL_DISPATCHER_EXPR_EXPR_H

#include <msgpack/object.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPR_SOURCE_LIMIT 65536u /* bytes of source text of one expression */
#define EXPR_DEPTH_LIMIT                                                                                     \
    250u /* levels of nesting of an expression, and of a value that is compared or written */
#define EXPR_LOCALS_LIMIT 16u    /* macros inside macros */
#define EXPR_STEP_LIMIT 100000u  /* steps of one evaluation unless the activation says otherwise */
#define EXPR_ARGUMENTS_LIMIT 64u /* arguments of one call */

/* ---- Values ---------------------------------------------------------------------------------- */

enum expr_type {
    EXPR_NULL,
    EXPR_BOOL,
    EXPR_INT,
    EXPR_UINT,
    EXPR_DOUBLE,
    EXPR_STRING,
    EXPR_BYTES,
    EXPR_LIST,
    EXPR_MAP,
    EXPR_TIMESTAMP,
    EXPR_DURATION,
    EXPR_TYPE,
    EXPR_ERROR,
    EXPR_TYPES /* the number of types */
};

/* A set of types: a bit for each. */
typedef uint32_t expr_types;
#define EXPR_SET(type) ((expr_types)1 << (type))
#define EXPR_ANY (EXPR_SET(EXPR_ERROR) - 1)

/* What is known of a value before there is one. In each set 0 is as EXPR_ANY: nothing is known. */
struct expr_kind {
    expr_types types;
    expr_types elements; /* of a list's elements and a map's keys */
    expr_types values;   /* of a map's values */
};

/*
 * A value of 16 bytes, passed by value. It owns nothing: strings and elements live in the arena, in the
 * compiled expression, in the msgpack object it views or with the caller, whichever made it.
 */
struct expr_value {
    uint8_t type; /* enum expr_type */
    bool packed; /* a list or map that views a msgpack object: read it by expr_list_at and expr_map_at only */
    uint32_t length; /* STRING, BYTES, ERROR: bytes; LIST: elements; MAP: entries; TIMESTAMP: nanoseconds
                        0..999999999 */
    union {
        bool boolean;
        int64_t integer;   /* INT; DURATION in nanoseconds; TIMESTAMP in seconds since 1970 */
        uint64_t uinteger; /* UINT */
        double real;       /* DOUBLE */
        const char
            *string; /* STRING, BYTES and the message of an ERROR: `length` bytes, not NUL-terminated */
        enum expr_type named;             /* TYPE: the type it stands for */
        const struct expr_value *items;   /* LIST: `length` values; MAP: `length` pairs of key and value */
        const msgpack_object *objects;    /* LIST, packed */
        const msgpack_object_kv *entries; /* MAP, packed */
    } as;
};

/* Makers of values; strings are viewed, not copied, and must outlive the value. */
struct expr_value expr_null(void);
struct expr_value expr_bool(bool boolean);
struct expr_value expr_int(int64_t integer);
struct expr_value expr_uint(uint64_t uinteger);
struct expr_value expr_double(double real);
struct expr_value expr_string(const char *string, size_t length);
struct expr_value expr_string_z(const char *string); /* NUL-terminated */
struct expr_value expr_bytes(const char *bytes, size_t length);
/* A list of `length` values at `items`, viewed. */
struct expr_value expr_list(const struct expr_value *items, size_t length);
/* A map of `length` pairs (key, value, key, value, ...) at `items`, viewed; the keys must differ. */
struct expr_value expr_map(const struct expr_value *items, size_t length);
/* Seconds since 1970 and nanoseconds 0..999999999; outside the years 1..9999 an EXPR_ERROR ("range"). */
struct expr_value expr_timestamp(int64_t seconds, uint32_t nanoseconds);
/* The same from milliseconds since 1970, as the Bridge writes its times. */
struct expr_value expr_timestamp_ms(int64_t milliseconds);
struct expr_value expr_duration_ns(int64_t nanoseconds);
/* A failure with a message of static life time. */
struct expr_value expr_failure(const char *message);

/*
 * Views a msgpack object without copying it; it must outlive the value. Integers become EXPR_INT (EXPR_UINT
 * above INT64_MAX), floats EXPR_DOUBLE, str EXPR_STRING (its bytes unchecked), bin EXPR_BYTES, nil EXPR_NULL;
 * an extension type becomes EXPR_ERROR. NULL is EXPR_NULL.
 */
struct expr_value expr_value_from_msgpack(const msgpack_object *object);

/* The element at `index` < length of an EXPR_LIST. */
struct expr_value expr_list_at(struct expr_value list, size_t index);
/* The key and value of the entry at `index` < length of an EXPR_MAP, in the order of the source. */
void expr_map_at(struct expr_value map, size_t index, struct expr_value *key, struct expr_value *value);
/* What `in` looks at: the element of an EXPR_LIST or the key of an EXPR_MAP at `index` < length. */
struct expr_value expr_member_at(struct expr_value value, size_t index);
/* Finds a string key in an EXPR_MAP; false when it is not there. */
bool expr_map_find(struct expr_value map, const char *key, size_t length, struct expr_value *value);
/* The name of a type as CEL writes it: "int", "null_type", "google.protobuf.Timestamp"; "error" for
 * EXPR_ERROR. */
const char *expr_type_name(enum expr_type type);

/* ---- Memory ---------------------------------------------------------------------------------- */

/*
 * Memory for what evaluations make. Nothing in it is freed one by one: reset it between events. Memory is
 * kept over a reset, so that a steady stream of events allocates nothing. Not to be used by two threads at
 * once.
 */
struct expr_arena;

/* An arena that holds at most `limit_bytes`; a request beyond that makes the evaluation fail ("out of
 * memory"). */
struct expr_arena *expr_arena_new(size_t limit_bytes);
/* Forgets all values made in the arena. */
void expr_arena_reset(struct expr_arena *arena);
/* Frees the arena and clears the pointer; NULL is fine. */
void expr_arena_free(struct expr_arena **arena);
/* `size` bytes aligned for any type, for functions of the host; NULL beyond the limit. */
void *expr_arena_alloc(struct expr_arena *arena, size_t size);
/* A failure whose message is formatted into the arena (or cut to a static one when the arena is full). */
struct expr_value expr_failure_f(struct expr_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- Names ----------------------------------------------------------------------------------- */

/*
 * A function of the host, called as name(args). `args` holds `count` values, between min_args and max_args,
 * none of them an error. It returns a value whose memory is `arena`'s or outlives the evaluation;
 * expr_failure* on failure. `context` is the activation's.
 *
 * `check`, which may be NULL, sees each argument that is a literal string when the expression is compiled: an
 * error that it returns refuses the expression there; anything else lets it pass.
 */
struct expr_function {
    const char *name;
    unsigned min_args;
    unsigned max_args;
    struct expr_value (*call)(void *context, const struct expr_value *args, size_t count,
                              struct expr_arena *arena);
    struct expr_value (*check)(size_t argument, struct expr_value literal, struct expr_arena *arena);
    expr_types takes[2]; /* types that the first argument, and the others, may have; 0: any */
    struct expr_kind gives;
};

/*
 * The names an expression may use besides the language's own. Slot i of an activation is variables[i]. Names
 * may be dotted ("a.b.c"): the longest that fits a chain of selections is taken, as CEL demands. The env and
 * all it points to must outlive compilation, and its functions the compiled expressions.
 */
struct expr_env {
    const char *const *variables;
    size_t variable_count;
    const struct expr_kind *kinds; /* what is known of each variable; NULL: nothing of any */
    const struct expr_function *functions;
    size_t function_count;
    bool unchecked; /* an unknown name is no compile error but fails when (and only when) it is evaluated */
};

/* The names of an event, in slots of this order: the env of rules, and the start of richer ones. */
enum expr_event_slot {
    EXPR_SLOT_CHANNEL,
    EXPR_SLOT_TYPE,
    EXPR_SLOT_DATA,
    EXPR_SLOT_TIME,
    EXPR_SLOT_BRIDGE,
    EXPR_SLOT_CONTEXT,
    EXPR_SLOT_CONTAINER,
    EXPR_SLOT_ITEM,
    EXPR_SLOT_AUTHOR,
    EXPR_SLOT_RECOVERED,
    EXPR_EVENT_SLOTS
};
/* What is known of them, as initialisers by slot. An event need not have the ids and the author. */
#define EXPR_TEXT EXPR_SET(EXPR_STRING)
#define EXPR_TEXT_OR_NULL (EXPR_SET(EXPR_STRING) | EXPR_SET(EXPR_NULL))
#define EXPR_EVENT_KINDS                                                                                     \
    [EXPR_SLOT_CHANNEL] = {.types = EXPR_TEXT}, [EXPR_SLOT_TYPE] = {.types = EXPR_TEXT},                     \
    [EXPR_SLOT_DATA] = {.types = EXPR_SET(EXPR_MAP), .elements = EXPR_TEXT},                                 \
    [EXPR_SLOT_TIME] = {.types = EXPR_SET(EXPR_TIMESTAMP)}, [EXPR_SLOT_BRIDGE] = {.types = EXPR_TEXT},       \
    [EXPR_SLOT_CONTEXT] = {.types = EXPR_TEXT_OR_NULL},                                                      \
    [EXPR_SLOT_CONTAINER] = {.types = EXPR_TEXT_OR_NULL}, [EXPR_SLOT_ITEM] = {.types = EXPR_TEXT_OR_NULL},   \
    [EXPR_SLOT_AUTHOR] = {.types = EXPR_TEXT_OR_NULL},                                                       \
    [EXPR_SLOT_RECOVERED] = {.types = EXPR_SET(EXPR_BOOL)}
/* channel, type, data, time, bridge, context, container, item, author, recovered; no functions; checked. */
const struct expr_env *expr_event_env(void);

/* ---- Compiling ------------------------------------------------------------------------------- */

/* A compiled expression: immutable, may be shared by threads. */
struct expr;

/* Where and why a source was refused; line and column count from 1, the column in code points. */
struct expr_error {
    size_t offset; /* bytes from the start of the source */
    unsigned line;
    unsigned column;
    char message[256];
};

/*
 * Compiles `len` bytes of source (UTF-8, at most EXPR_SOURCE_LIMIT) with the names of `env` (NULL: none).
 * Returns NULL and fills `error` (which may be NULL) when the source is not an expression, uses an unknown
 * name (the nearest known one is suggested), nests deeper than EXPR_DEPTH_LIMIT, or holds a literal regular
 * expression that RE2 would refuse or a literal time zone that is not installed. The source is copied. Free
 * with expr_free.
 */
struct expr *expr_compile(const char *source, size_t len, const struct expr_env *env,
                          struct expr_error *error);
/* What an expression is for: what its value must be, and how to say so, "a condition must be a bool". */
struct expr_purpose {
    struct expr_kind wanted;
    const char *demand;
};
extern const struct expr_purpose expr_condition;
/*
 * Looks for what fails whatever the values are, by the kinds of `env`, which the expression was compiled
 * with: an operator or a function whose operands can only be of types it is not made for, a comparison by ==
 * or `in` of what is never equal, a value of types that `purpose` (NULL: any will do) has no use for. What an
 * operand of && and || cannot be is refused although the others may decide, unless one of them is a literal
 * that always does. Returns false and fills `error` (which may be NULL) for the first in the order of the
 * source.
 */
bool expr_check(const struct expr *expr, const struct expr_env *env, const struct expr_purpose *purpose,
                struct expr_error *error);
/* expr_compile and expr_check in one. */
struct expr *expr_compile_for(const char *source, size_t len, const struct expr_env *env,
                              const struct expr_purpose *purpose, struct expr_error *error);
/* Frees the expression and clears the pointer; NULL is fine. */
void expr_free(struct expr **expr);
/* The source as it was given, NUL-terminated. */
const char *expr_source(const struct expr *expr);
/* Whether the expression reads the variable in `slot`. */
bool expr_uses_slot(const struct expr *expr, size_t slot);
/* Whether the expression calls the host's function `name`. */
bool expr_uses_function(const struct expr *expr, const char *name);
/*
 * Writes the line of `source` that `error` points into, and below it a caret under the column, each ending
 * with a line break; NUL-terminated, at most `size` bytes, long lines cut around the column. Returns the
 * length written.
 */
size_t expr_error_caret(const char *source, size_t len, const struct expr_error *error, char *out,
                        size_t size);

/* ---- Evaluating ------------------------------------------------------------------------------ */

struct expr_activation {
    /* One value for each variable of the env the expression was compiled with. A slot that holds an
     * EXPR_ERROR fails with that error when it is read. NULL: no variable has a value, reading one fails; a
     * name which is a type's too
     * (`type`) then stands for the type. */
    const struct expr_value *values;
    size_t value_count;
    void *context;       /* handed to functions of the host */
    uint32_t step_limit; /* 0: EXPR_STEP_LIMIT */
};

/*
 * Evaluates the expression. The result lives as long as the expression, the activation's values and the
 * arena's content. Never NULL pointers: all three arguments are needed.
 */
struct expr_value expr_eval(const struct expr *expr, const struct expr_activation *activation,
                            struct expr_arena *arena);

/* The same, reduced to what a rule asks: true, false, or why not (a failure, or a value that is no bool). */
enum expr_verdict { EXPR_FALSE, EXPR_TRUE, EXPR_FAILED };
/* `failure` (may be NULL) gets the EXPR_ERROR when the verdict is EXPR_FAILED. */
enum expr_verdict expr_test(const struct expr *expr, const struct expr_activation *activation,
                            struct expr_arena *arena, struct expr_value *failure);

/* ---- Writing values -------------------------------------------------------------------------- */

/*
 * Writes a value as JSON into the arena: doubles always with a point or an exponent ("NaN", "Infinity",
 * "-Infinity" as strings), bytes as base64, timestamps as RFC 3339, durations as "3.5s", types by name, keys
 * of maps as strings. Invalid UTF-8 becomes U+FFFD. Returns 0, or -1 for an EXPR_ERROR, beyond the arena's
 * limit or nested too deeply.
 */
int expr_value_to_json(struct expr_value value, struct expr_arena *arena, const char **out, size_t *len);

/*
 * Writes a value as plain text for {{ }}: strings as they are, null as nothing, numbers, bools, timestamps
 * and durations as string() writes them, bytes that are valid UTF-8 as text (base64 otherwise), types by
 * name, lists and maps as JSON. Returns as expr_value_to_json does. The text may view the value's own memory.
 */
int expr_value_to_text(struct expr_value value, struct expr_arena *arena, const char **out, size_t *len);

#endif
