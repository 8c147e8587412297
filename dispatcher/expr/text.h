/*
 * Text: UTF-8 by code points, and numbers to and from text independent of the locale.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_TEXT_H
#define BRIDGEBELL_DISPATCHER_EXPR_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_NUMBER_SIZE 40u
#define TEXT_INVALID 0xFFFFFFFFu

/* Writes a code point (at most 0x10FFFF, no surrogate) as 1 to 4 bytes. */
size_t text_encode(uint32_t code, char *out);
/*
 * Reads the code point at `text`, `len` > 0 bytes, and its length into `used`. Bytes that are no UTF-8 give
 * TEXT_INVALID and the number of bytes that one U+FFFD stands for (the longest start of a sequence, at least
 * one).
 */
uint32_t text_decode(const char *text, size_t len, size_t *used);
/* What a terminal would obey or not show: control characters, line separators, those that turn the direction
 * of the text, and TEXT_INVALID. */
bool text_hides(uint32_t code);
/* The number of code points; each piece of invalid UTF-8 counts as one. */
size_t text_count(const char *text, size_t len);
/* The length of the longest start of the text that is valid UTF-8. */
size_t text_valid_prefix(const char *text, size_t len);
/* strtod without the locale: `text` is a NUL-terminated decimal number. */
double text_to_double(const char *text);
/*
 * The shortest text that reads back as the same double: "1", "0.1", "1e+21", "NaN", "Infinity"; the length.
 * With `point` an integral number gets ".0". `out` has TEXT_NUMBER_SIZE bytes.
 */
size_t text_from_double(double number, bool point, char *out);

#endif
