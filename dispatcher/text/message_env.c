#include "dispatcher/text/message_env.h"

#include <stdint.h>
#include <string.h>

#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/time.h"
#include "dispatcher/expr/zone.h"
#include "dispatcher/text/glyphs.h"
#include "dispatcher/text/language.h"

#define FORMAT_LIMIT 200u /* bytes of a date's format */
#define FORMS_LIMIT 6u
#define SHORT_LIMIT 1000 /* characters; its cost is not counted in steps */

static const char *language_of(const struct message_context *context)
{
    return context == NULL || context->lang == NULL ? "" : context->lang;
}

static const char *zone_of(const struct message_context *context)
{
    return context == NULL || context->zone == NULL || context->zone[0] == '\0' ? "UTC" : context->zone;
}

/* ---- plural() -------------------------------------------------------------------------------- */

/* The absolute value of a whole number; false if it is none. */
static bool count_of(struct expr_value value, uint64_t *count)
{
    if (value.type == EXPR_UINT)
        *count = value.as.uinteger;
    else if (value.type == EXPR_INT)
        *count = value.as.integer < 0 ? -(uint64_t)value.as.integer : (uint64_t)value.as.integer;
    else
        return false;
    return true;
}

/* With another number of forms than the language has (a text that was written for another language), the
 * first is for exactly one and the last for all else. */
static struct expr_value call_plural(void *context, const struct expr_value *args, size_t count,
                                     struct expr_arena *arena)
{
    const char *language = language_of(context);
    const struct expr_value *forms = args + 1;
    uint64_t number = 0;
    (void)arena;
    count--;
    if (!count_of(args[0], &number))
        return expr_failure("plural() wants a whole number (int or uint) first");
    if (count == language_plural_forms(language))
        return forms[language_plural(language, number)];
    return number == 1 ? forms[0] : forms[count - 1];
}

/* ---- date() ---------------------------------------------------------------------------------- */

static const char too_long_a_format[] = "date() wants a format of at most 200 bytes, such as '%d.%m. %H:%M'";

static const struct expr_zone *load_zone(struct message_context *context, struct expr_arena *arena)
{
    const char *name = zone_of(context);
    if (context != NULL && context->loaded != NULL)
        return context->loaded;
    const struct expr_zone *zone = expr_zone_load(name, strlen(name), arena);
    if (context != NULL)
        context->loaded = zone;
    return zone;
}

static struct expr_value write_date(const char *language, const struct time_fields *fields,
                                    struct expr_value format, struct expr_arena *arena)
{
    size_t bad = 0;
    char *out = expr_arena_alloc(arena, (format.length + 1) * LANGUAGE_DATE_FACTOR);
    if (out == NULL)
        return expr_arena_full();
    long length = language_date(language, fields, format.as.string, format.length, out, &bad);
    if (length >= 0)
        return expr_string(out, (size_t)length);
    if (bad >= format.length || (unsigned char)format.as.string[bad] >= 0x80)
        return expr_failure("a % in the format of date() is not followed by a letter it knows");
    return expr_failure_f(arena,
                          "date() does not know %%%c: %%Y %%m %%d %%e %%j %%H %%M %%S %%a %%A %%b %%B %%%%",
                          format.as.string[bad]);
}

static struct expr_value call_date(void *context, const struct expr_value *args, size_t count,
                                   struct expr_arena *arena)
{
    struct expr_value format = count > 1 ? args[1] : expr_string_z("%Y-%m-%d %H:%M");
    if (args[0].type != EXPR_TIMESTAMP)
        return expr_failure("date() wants a timestamp first");
    if (format.type != EXPR_STRING || format.length > FORMAT_LIMIT)
        return expr_failure(too_long_a_format);
    const struct expr_zone *zone = load_zone(context, arena);
    if (zone == NULL)
        return expr_failure_f(arena, "there is no time zone '%s'", zone_of(context));
    int64_t seconds = args[0].as.integer;
    struct time_fields fields = time_split(seconds + expr_zone_offset(zone, seconds));
    return write_date(language_of(context), &fields, format, arena);
}

/* A format that no date could be written by is refused with the rule. */
static struct expr_value check_date(size_t argument, struct expr_value literal, struct expr_arena *arena)
{
    if (argument != 1)
        return expr_null();
    if (literal.length > FORMAT_LIMIT)
        return expr_failure(too_long_a_format);
    const struct time_fields fields = time_split(0);
    return write_date(NULL, &fields, literal, arena);
}

/* ---- short() --------------------------------------------------------------------------------- */

static const char dots[] = "...";
#define DOTS (sizeof dots - 1)

/* Where a start of at most so many characters ends; `all` if that is the whole text. */
static size_t cut_place(struct expr_value text, uint64_t characters, bool *all)
{
    struct glyphs glyphs = {.text = text.as.string, .length = text.length};
    struct glyph glyph;
    uint64_t count = 0;
    size_t place = 0;
    *all = false;
    while (glyphs_next(&glyphs, &glyph)) {
        if (!glyph.joined)
            place = glyph.start;
        count += glyph.count;
        if (count > characters)
            return place;
    }
    *all = true;
    return text.length;
}

static struct expr_value call_short(void *context, const struct expr_value *args, size_t count,
                                    struct expr_arena *arena)
{
    bool all = true;
    (void)context;
    (void)count;
    if (args[0].type != EXPR_STRING || args[1].type != EXPR_INT || args[1].as.integer < 0 ||
        args[1].as.integer > SHORT_LIMIT)
        return expr_failure("short() wants a string and how many characters it may have, 0 to 1000");
    uint64_t most = (uint64_t)args[1].as.integer;
    size_t end = cut_place(args[0], most, &all);
    if (all || most <= DOTS)
        return expr_string(args[0].as.string, end);
    end = cut_place(args[0], most - DOTS, &all);
    char *out = expr_arena_alloc(arena, end + DOTS);
    if (out == NULL)
        return expr_arena_full();
    memcpy(out, args[0].as.string, end);
    memcpy(out + end, dots, DOTS);
    return expr_string(out, end + DOTS);
}

/* ---- The env --------------------------------------------------------------------------------- */

static const struct expr_function functions[] = {
    {"plural", 2, 1 + FORMS_LIMIT, call_plural, NULL, {EXPR_SET(EXPR_INT) | EXPR_SET(EXPR_UINT)}, {0}},
    {"date", 1, 2, call_date, check_date, {EXPR_SET(EXPR_TIMESTAMP), EXPR_TEXT}, {.types = EXPR_TEXT}},
    {"short", 2, 2, call_short, NULL, {EXPR_TEXT, EXPR_SET(EXPR_INT)}, {.types = EXPR_TEXT}},
};

static const char *const variables[MESSAGE_SLOTS] = {
    [EXPR_SLOT_CHANNEL] = "channel",     [EXPR_SLOT_TYPE] = "type",      [EXPR_SLOT_DATA] = "data",
    [EXPR_SLOT_TIME] = "time",           [EXPR_SLOT_BRIDGE] = "bridge",  [EXPR_SLOT_CONTEXT] = "context",
    [EXPR_SLOT_CONTAINER] = "container", [EXPR_SLOT_ITEM] = "item",      [EXPR_SLOT_AUTHOR] = "author",
    [EXPR_SLOT_RECOVERED] = "recovered", [MESSAGE_SLOT_RULE] = "rule",   [MESSAGE_SLOT_LANG] = "lang",
    [MESSAGE_SLOT_ZONE] = "zone",        [MESSAGE_SLOT_COUNT] = "count", [MESSAGE_SLOT_SINCE] = "since",
    [MESSAGE_SLOT_UNTIL] = "until",      [MESSAGE_SLOT_TEXTS] = "texts",
};

static const struct expr_kind kinds[MESSAGE_SLOTS] = {
    EXPR_EVENT_KINDS,
    [MESSAGE_SLOT_RULE] = {.types = EXPR_TEXT},
    [MESSAGE_SLOT_LANG] = {.types = EXPR_TEXT},
    [MESSAGE_SLOT_ZONE] = {.types = EXPR_TEXT},
    [MESSAGE_SLOT_COUNT] = {.types = EXPR_SET(EXPR_INT)},
    [MESSAGE_SLOT_SINCE] = {.types = EXPR_SET(EXPR_TIMESTAMP)},
    [MESSAGE_SLOT_UNTIL] = {.types = EXPR_SET(EXPR_TIMESTAMP)},
    [MESSAGE_SLOT_TEXTS] = {.types = EXPR_SET(EXPR_LIST), .elements = EXPR_TEXT},
};

const struct expr_env *message_env(void)
{
    static const struct expr_env env = {.variables = variables,
                                        .variable_count = MESSAGE_SLOTS,
                                        .kinds = kinds,
                                        .functions = functions,
                                        .function_count = sizeof functions / sizeof functions[0]};
    return &env;
}

void message_values(struct expr_value values[MESSAGE_SLOTS], const char *rule,
                    const struct message_context *context)
{
    values[MESSAGE_SLOT_RULE] = expr_string_z(rule == NULL ? "" : rule);
    values[MESSAGE_SLOT_LANG] = expr_string_z(language_of(context));
    values[MESSAGE_SLOT_ZONE] = expr_string_z(zone_of(context));
    for (size_t slot = MESSAGE_SLOT_COUNT; slot < MESSAGE_SLOTS; slot++)
        values[slot] = expr_failure("only digests and summaries have this");
}
