/*
 * What depends on the language of a message: which plural form a number takes, and how dates are written.
 *
 * A language is a tag such as "pl", "pt-PT" or "de_AT.UTF-8", of which the first part (and the region for
 * Portuguese) counts; NULL and what is unknown stand for English.
 */
#ifndef BRIDGEBELL_DISPATCHER_TEXT_LANGUAGE_H
#define BRIDGEBELL_DISPATCHER_TEXT_LANGUAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dispatcher/expr/time.h"

/* Whether the text looks like one: two or three letters, then nothing, or more behind a dash or an
 * underscore. */
bool language_is_tag(const char *text, size_t len);
/* How many forms whole numbers take in a language, 1 to 6. */
size_t language_plural_forms(const char *language);
/* The form for `number`, from 0, in CLDR's order: zero, one, two, few, many, other, as far as there are such.
 */
size_t language_plural(const char *language, uint64_t number);

#define LANGUAGE_DATE_FACTOR 32u /* bytes that one byte of a format may become */

/*
 * Writes a date by a format of %Y %m %d %e %j %H %M %S %a %A %b %B and %%; the rest is copied. `out` has room
 * for LANGUAGE_DATE_FACTOR bytes for each of the format's. Returns the length; on an unknown letter -1, and
 * `*bad` is its offset.
 */
long language_date(const char *language, const struct time_fields *fields, const char *format, size_t len,
                   char *out, size_t *bad);

#endif
