/*
 * Tables for people: columns aligned by what the text takes on the screen, not by bytes.
 */
#ifndef MASTER_TABLE_H
#define MASTER_TABLE_H

#include "master/text.h"

enum { TABLE_COLUMNS_MAX = 12 };

struct table;

/* HEADS are the column heads, COUNT of them; a head that begins with '>' makes its column flush right. */
struct table *table_new(const char *const *heads, size_t count);
void table_free(struct table **t);
/* The next cell, row by row; TEXT is cleaned and copied, NULL is empty. */
void table_cell(struct table *t, const char *text);
void table_cell_coloured(struct table *t, const char *text, enum text_colour colour);
void table_cell_number(struct table *t, double n);
/* Rows so far. */
size_t table_rows(const struct table *t);
/* Prints with INDENT blanks before each line. The last column is cut off at WIDTH columns (0: never). */
void table_print(const struct table *t, FILE *out, size_t indent, size_t width, bool colour);

#endif
