/*
 * SMS parts: what a text costs, and the cheapest faithful form of it (docs/expressions.md, "What a message
 * costs").
 *
 * An SMS is written in the GSM 03.38 default alphabet with its extension table (7 bits, 160 septets in one
 * part, 153 in each of several) or, when a single character is in neither, in 16-bit units (70, or 67). A
 * character of the extension table is two septets, one beyond the BMP two units, and neither is split between
 * parts: parts are filled one by one. Pieces of invalid UTF-8 count as one U+FFFD each.
 *
 * Nothing here allocates, keeps state or reads the locale; the time is linear in the text.
 */
#ifndef BRIDGEBELL_DISPATCHER_TEXT_SMS_H
#define BRIDGEBELL_DISPATCHER_TEXT_SMS_H

#include <stdbool.h>
#include <stddef.h>

enum sms_encoding { SMS_GSM7, SMS_UCS2 };

struct sms_size {
    enum sms_encoding encoding;
    size_t units; /* septets or 16-bit units of the whole text */
    size_t parts; /* at least 1, also for an empty text */
    size_t room;  /* units left in the last part, as the text is split now */
};

/* Measures `len` bytes of UTF-8. */
struct sms_size sms_measure(const char *text, size_t len);
/* "GSM-7" or "UCS-2". */
const char *sms_encoding_name(enum sms_encoding encoding);

struct sms_options {
    bool transliterate; /* characters outside of the GSM alphabet may become plain ones where that saves a
                           part */
    size_t max_parts;   /* 0: as many as it takes */
};

struct sms_fitted {
    size_t length;        /* bytes written, without the NUL */
    struct sms_size size; /* what sms_measure says of them */
    bool transliterated;  /* characters were replaced by plain ones */
    bool trimmed;         /* the end was cut off, and dots put in its place if there was room */
};

/* Bytes that hold whatever sms_fit makes of `len` bytes, with the NUL. */
#define SMS_FITTED_SIZE(len) (3 * (len) + 8)

/*
 * Writes the cheapest faithful form of `len` bytes into `out` of `size` > 0 bytes, NUL-terminated valid
 * UTF-8.
 *
 * Letters with combining marks are composed (NFC), which changes nothing for the reader. The text is
 * transliterated only if the options allow it, it then is all GSM, and it either has fewer parts than it
 * would have otherwise or is trimmed otherwise. What exceeds max_parts is cut at a blank (within a word only
 * if it is very long), never inside what is seen as one character, and ends in "…" or "...", whichever does
 * not change the encoding; of the two forms the one that keeps more is taken. The result never has more parts
 * than the text. No link is changed, cut in half or made of what was none: such a text is not transliterated,
 * or cut before the word. `out` shorter than SMS_FITTED_SIZE(len) may trim the text further.
 */
void sms_fit(const char *text, size_t len, const struct sms_options *options, char *out, size_t size,
             struct sms_fitted *fitted);

#endif
