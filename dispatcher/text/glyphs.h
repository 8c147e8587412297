/*
 * Text as it is seen: letters composed with their marks (NFC), and where one visible character ends.
 *
 * The tables of Unicode are utf8proc's. A letter is composed with at most GLYPH_MARKS marks; what is heaped
 * upon it beyond that stays as it is.
 */
#ifndef BRIDGEBELL_DISPATCHER_TEXT_GLYPHS_H
#define BRIDGEBELL_DISPATCHER_TEXT_GLYPHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GLYPH_MARKS = 15, GLYPH_CODES = 64 };

/* A letter and the marks on it. */
struct glyph {
    size_t start; /* bytes from the start of the text */
    size_t end;
    bool joined;                 /* seen as one with the glyph before it: no place to cut */
    uint32_t codes[GLYPH_CODES]; /* composed; invalid UTF-8 is U+FFFD */
    size_t count;                /* at least 1 */
};

/* Reads a text glyph by glyph; set text, length and zero. */
struct glyphs {
    const char *text;
    size_t length;
    size_t at;
    uint32_t last; /* the code point before */
    int32_t state; /* utf8proc's */
};

/* The next glyph; false at the end. */
bool glyphs_next(struct glyphs *glyphs, struct glyph *glyph);

#endif
