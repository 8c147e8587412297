/*
 * Text for a terminal: how wide it is, what must not reach the terminal, colour when it is wanted.
 */
#ifndef MASTER_TEXT_H
#define MASTER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum text_colour { TEXT_PLAIN, TEXT_RED, TEXT_GREEN, TEXT_YELLOW, TEXT_BOLD, TEXT_DIM };
enum text_lines { TEXT_ONE_LINE, TEXT_LINES };

/* A copy of UTF-8 S with control characters (a terminal would obey them) and malformed bytes as "?"; line
 * feeds stay with TEXT_LINES and become blanks otherwise. The caller frees. */
char *text_clean(const char *s, enum text_lines lines);
/* Columns that clean S takes on a terminal. Needs a UTF-8 LC_CTYPE. */
size_t text_width(const char *s);
/* How many bytes of S fit into WIDTH columns. */
size_t text_fit(const char *s, size_t width);

/* Colour is used if OUT is a terminal and NO_COLOR is not set (no-color.org). */
bool text_wants_colour(FILE *out);
/* "\033[31m" and "\033[0m", or "" when IS_WANTED is false or the colour is plain. */
const char *text_colour_on(enum text_colour colour, bool is_wanted);
const char *text_colour_off(enum text_colour colour, bool is_wanted);

/* Columns of the terminal behind OUT; 0 if it is none. */
size_t text_terminal_width(FILE *out);

/* 1234567 -> "1 234 567" */
const char *text_number(double n, char *out, size_t size);

#endif
