/*
 * Plain forms: what a character that the GSM alphabet lacks may be replaced by.
 *
 * Marks are taken off letters, typographic quotes, dashes and spaces become those of a typewriter, Greek goes
 * to Latin by ISO 843 (ELOT 743), Cyrillic by the usual English transcription of the language that the text's
 * letters give away. What the alphabet has (ä ö ü ß å ø é à ...) stays. Emoji, ideographs and other scripts
 * have no plain form.
 */
#ifndef BRIDGEBELL_DISPATCHER_TEXT_PLAIN_H
#define BRIDGEBELL_DISPATCHER_TEXT_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLAIN_CODES = 32 };

enum plain_cyrillic {
    PLAIN_RUSSIAN, /* and what is not told from it */
    PLAIN_UKRAINIAN,
    PLAIN_BELARUSIAN,
    PLAIN_BULGARIAN,
    PLAIN_SERBIAN, /* and Macedonian */
};

/* What a text is written in, as far as it decides how a letter is read. */
struct plain_script {
    bool greek; /* Greek letters beyond the capitals that GSM has: then those are replaced as well */
    enum plain_cyrillic cyrillic;
};

/* Tells what `len` bytes of UTF-8 are written in. */
struct plain_script plain_script_of(const char *text, size_t len);

/*
 * Writes the plain form of a character, GSM only, and its length to `count` (0: it is left out). `before` and
 * `after` are the characters beside it, 0 at the ends. False if there is none. What GSM has is its own plain
 * form.
 */
bool plain_form(const struct plain_script *script, uint32_t code, uint32_t before, uint32_t after,
                uint32_t out[PLAIN_CODES], size_t *count);

#endif
