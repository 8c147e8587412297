#include "master/table.h"

#include <stdint.h>
#include <stdlib.h>

#include "core/alloc.h"

enum { GAP = 2 };

struct cell {
    char *text;
    enum text_colour colour;
};

struct table {
    const char *heads[TABLE_COLUMNS_MAX];
    bool right[TABLE_COLUMNS_MAX];
    size_t columns;
    struct cell *cells;
    size_t count;
};

struct table *table_new(const char *const *heads, size_t count)
{
    struct table *t = xcalloc(1, sizeof *t);
    if (count == 0 || count > TABLE_COLUMNS_MAX)
        panic("a table of %zu columns", count);
    t->columns = count;
    for (size_t i = 0; i < t->columns; i++) {
        t->right[i] = heads[i][0] == '>';
        t->heads[i] = heads[i] + t->right[i];
    }
    return t;
}

void table_free(struct table **t)
{
    if (!*t)
        return;
    for (size_t i = 0; i < (*t)->count; i++)
        free((*t)->cells[i].text);
    free((*t)->cells);
    free(*t);
    *t = NULL;
}

void table_cell_coloured(struct table *t, const char *text, enum text_colour colour)
{
    t->cells = xreallocarray(t->cells, t->count + 1, sizeof *t->cells);
    t->cells[t->count++] = (struct cell){text_clean(text ? text : "", TEXT_ONE_LINE), colour};
}

void table_cell(struct table *t, const char *text)
{
    table_cell_coloured(t, text, TEXT_PLAIN);
}

void table_cell_number(struct table *t, double n)
{
    char text[48];
    table_cell(t, text_number(n, text, sizeof text));
}

size_t table_rows(const struct table *t)
{
    return t->columns ? t->count / t->columns : 0;
}

static void measure(const struct table *t, size_t widths[TABLE_COLUMNS_MAX])
{
    for (size_t i = 0; i < t->columns; i++)
        widths[i] = text_width(t->heads[i]);
    for (size_t i = 0, column = 0; i < t->count; i++) {
        size_t width = text_width(t->cells[i].text);
        if (width > widths[column])
            widths[column] = width;
        column = column + 1 < t->columns ? column + 1 : 0;
    }
}

static void print_blanks(FILE *out, size_t count)
{
    fprintf(out, "%*s", (int)count, "");
}

/* Columns that are left for the last cell; as many as it likes if there is no limit. */
static size_t room_for_last(const struct table *t, const size_t *widths, size_t indent, size_t width)
{
    size_t used = indent;
    for (size_t i = 0; i + 1 < t->columns; i++)
        used += widths[i] + GAP;
    if (width == 0)
        return SIZE_MAX;
    return width > used ? width - used : 0;
}

static void print_last(FILE *out, const char *text, size_t room)
{
    if (text_width(text) <= room)
        fputs(text, out);
    else if (room > 1)
        fprintf(out, "%.*s…", (int)text_fit(text, room - 1), text);
}

/* Cells of a row behind which nothing more is to be seen. */
static size_t cells_shown(const struct table *t, const struct cell *cells)
{
    size_t shown = t->columns;
    while (shown > 0 && !cells[shown - 1].text[0])
        shown--;
    return shown;
}

static void print_line(const struct table *t, FILE *out, const struct cell *cells, const size_t *widths,
                       size_t indent, size_t room, bool colour)
{
    size_t shown = cells_shown(t, cells);
    print_blanks(out, indent);
    for (size_t i = 0; i < shown; i++) {
        bool is_last = i + 1 == t->columns;
        size_t pad = widths[i] - text_width(cells[i].text);
        if (t->right[i])
            print_blanks(out, pad);
        fputs(text_colour_on(cells[i].colour, colour), out);
        if (is_last && !t->right[i])
            print_last(out, cells[i].text, room);
        else
            fputs(cells[i].text, out);
        fputs(text_colour_off(cells[i].colour, colour), out);
        if (i + 1 < shown)
            print_blanks(out, (t->right[i] ? 0 : pad) + GAP);
    }
    fputc('\n', out);
}

void table_print(const struct table *t, FILE *out, size_t indent, size_t width, bool colour)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    struct cell heads[TABLE_COLUMNS_MAX];
    measure(t, widths);
    for (size_t i = 0; i < t->columns; i++)
        heads[i] = (struct cell){(char *)t->heads[i], TEXT_DIM};
    size_t room = room_for_last(t, widths, indent, width);
    print_line(t, out, heads, widths, indent, room, colour);
    for (size_t row = 0; row < table_rows(t); row++)
        print_line(t, out, t->cells + row * t->columns, widths, indent, room, colour);
}
