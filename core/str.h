/*
 * Small things about words: masking, nearest word, UTF-8, durations for people.
 */
#ifndef CORE_STR_H
#define CORE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "+48500500501" -> "+********501": all but the last three characters (and a leading plus) become stars.
 * Numbers of three characters or fewer become stars altogether. Writes at most SIZE bytes with the NUL. */
const char *str_mask_number(const char *number, char *out, size_t size);

/* The word of WORDS (NULL-terminated) nearest to WORD by edit distance, or NULL if none is near enough to
 * be a likely slip (distance at most a third of the length, at least 1, at most 3). */
const char *str_nearest(const char *word, const char *const *words);

/* True if the LEN bytes are well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
bool str_utf8_valid(const char *s, size_t len);

/* "90ms" "4.2s" "3m12s" "2h05m" "3d04h": a duration for a person to read. */
const char *str_duration(int64_t ms, char *out, size_t size);

/* Lower-case hexadecimal of LEN bytes; OUT holds 2*LEN+1. */
void str_hex(const void *data, size_t len, char *out);
/* The reverse; exactly LEN bytes from 2*LEN digits. -1 if the text is anything else. */
int str_unhex(const char *text, void *out, size_t len);

#endif
