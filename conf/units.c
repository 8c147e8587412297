#include "conf/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit times[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000},
                                    {"m", 60000},    {"s", 1000},    {"ms", 1}};
static const struct unit sizes[] = {
    {"TiB", INT64_C(1) << 40}, {"GiB", INT64_C(1) << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}};

enum { TIMES = sizeof times / sizeof times[0], SIZES = sizeof sizes / sizeof sizes[0] };

/* Reads the digits at *P; *P is then behind them. */
static int digits(const char **p, int64_t *number)
{
    const char *s = *p;
    int64_t n = 0;
    if (*s < '0' || *s > '9')
        return -1;
    for (; *s >= '0' && *s <= '9'; s++) {
        int64_t digit = *s - '0';
        if (n > (INT64_MAX - digit) / 10)
            return -1;
        n = n * 10 + digit;
    }
    *number = n;
    *p = s;
    return 0;
}

static const struct unit *unit_named(const struct unit *units, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(units[i].name, name) == 0)
            return &units[i];
    return NULL;
}

static int with_unit(const char *text, const struct unit *units, size_t count, int64_t *out)
{
    int64_t n;
    if (digits(&text, &n) < 0)
        return -1;
    if (n == 0 && *text == '\0') {
        *out = 0;
        return 0;
    }
    const struct unit *unit = unit_named(units, count, text);
    if (!unit || n > INT64_MAX / unit->factor)
        return -1;
    *out = n * unit->factor;
    return 0;
}

int units_number(const char *text, int64_t *number)
{
    return digits(&text, number) < 0 || *text ? -1 : 0;
}

int units_duration(const char *text, int64_t *ms)
{
    return with_unit(text, times, TIMES, ms);
}

int units_size(const char *text, int64_t *bytes)
{
    return with_unit(text, sizes, SIZES, bytes);
}

int units_rate(const char *text, int64_t *count, int64_t *per_ms)
{
    int64_t n, length = 1;
    if (digits(&text, &n) < 0 || n == 0 || *text != '/')
        return -1;
    text++;
    if (*text >= '0' && *text <= '9' && digits(&text, &length) < 0)
        return -1;
    const struct unit *unit = unit_named(times, TIMES, text);
    if (!unit || length == 0 || length > UNITS_RATE_MS_MAX / unit->factor)
        return -1;
    *count = n;
    *per_ms = length * unit->factor;
    return 0;
}

int units_money(const char *text, int64_t *micro)
{
    enum { DECIMALS = 6 };
    int64_t n, rest = 0;
    if (digits(&text, &n) < 0 || n > INT64_MAX / 1000000 - 1)
        return -1;
    if (*text == '.') {
        const char *from = ++text;
        if (digits(&text, &rest) < 0 || text - from > DECIMALS)
            return -1;
        for (long i = text - from; i < DECIMALS; i++)
            rest *= 10;
    }
    *micro = n * 1000000 + rest;
    return *text ? -1 : 0;
}

int units_switch(const char *text, int64_t *on)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i], text) == 0) {
            *on = i % 2;
            return 0;
        }
    }
    return -1;
}

static const char *format(int64_t n, const struct unit *units, size_t count, char *out, size_t size)
{
    for (size_t i = 0; n && i < count; i++) {
        if (n % units[i].factor == 0 && strcmp(units[i].name, "min") != 0) {
            snprintf(out, size, "%" PRId64 "%s", n / units[i].factor, units[i].name);
            return out;
        }
    }
    snprintf(out, size, "%" PRId64, n);
    return out;
}

const char *units_format_duration(int64_t ms, char *out, size_t size)
{
    return format(ms, times, TIMES, out, size);
}

const char *units_format_size(int64_t bytes, char *out, size_t size)
{
    return format(bytes, sizes, SIZES, out, size);
}
