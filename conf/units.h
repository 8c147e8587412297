/*
 * The units of configuration values: durations, sizes, rates, numbers and switches as people write them.
 * Each reader takes the whole text or nothing: 0, or -1 if it is anything else or too large.
 */
#ifndef CONF_UNITS_H
#define CONF_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* Decimal digits only. */
int units_number(const char *text, int64_t *number);
/* 250ms 5s 3m (or 3min) 2h 7d; plain 0 needs no unit. */
int units_duration(const char *text, int64_t *ms);
/* 512B 64KiB 64MiB 1GiB 1TiB; plain 0 needs no unit. */
int units_size(const char *text, int64_t *bytes);
/* 100/s 10/60s 60/h 5/15min: COUNT per PER_MS. Neither is 0; a time is no longer than 366 days. */
#define UNITS_RATE_MS_MAX INT64_C(31622400000)
int units_rate(const char *text, int64_t *count, int64_t *per_ms);
/* 20 20.5 0.000001: in millionths; more decimals are refused. */
int units_money(const char *text, int64_t *micro);
/* on yes true, off no false. */
int units_switch(const char *text, int64_t *on);

/* The reverse, in the largest unit that leaves no rest; for bounds in messages and documents. */
const char *units_format_duration(int64_t ms, char *out, size_t size);
const char *units_format_size(int64_t bytes, char *out, size_t size);

#endif
