/*
 * Telephone numbers as people write them, and as E.164 has them: a plus, the country code, 8 to 15 digits in
 * all (CONTRACT.md section 2, `to`).
 */
#ifndef CORE_PHONE_H
#define CORE_PHONE_H

#include <stdbool.h>
#include <stddef.h>

enum { PHONE_DIGITS_MIN = 8, PHONE_DIGITS_MAX = 15, PHONE_SIZE = PHONE_DIGITS_MAX + 2 };

/* True for exactly "+" and 8 to 15 digits of which the first is not 0. */
bool phone_is(const char *text);

/* True if the LEN bytes can only be meant as a number: digits, a plus, blanks and the marks ( ) - . / with a
 * digit among them. */
bool phone_looks(const char *text, size_t len);

/* Brings a number to E.164: blanks and marks go, "00" becomes the plus, and one without either is completed
 * by COUNTRY ("+48"; NULL: it is not), unless it begins with 0 or, as far as one can see, with the code. NULL
 * with the number in OUT; otherwise why not, in fixed words that go on behind "…: ". */
const char *phone_normalise(const char *text, size_t len, const char *country, char out[PHONE_SIZE]);

/* True if NUMBER (E.164) begins with one of the COUNT prefixes. */
bool phone_has_prefix(const char *number, char *const *prefixes, size_t count);

#endif
