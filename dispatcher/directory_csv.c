/*
 * The directory as CSV (RFC 4180, by libcsv): a head line that names the columns, then a row for each person.
 * The text goes to the parser line by line, so that every row knows where it began.
 */
#include <csv.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/str.h"
#include "dispatcher/directory_parts.h"

enum { NO_COLUMN = -1, PIECE = 16 * 1024 };

struct directory_csv {
    struct directory_reader *reader;
    struct csv_parser parser;
    bool open;  /* a row has begun and not ended */
    bool ended; /* nothing more can be read */
    bool has_head;
    size_t line, row_line;
    struct buf texts; /* of the row's fields, one behind the other */
    struct {
        size_t start, len;
    } fields[COLUMNS];
    size_t fields_count;                   /* of the row, those too many counted too */
    int column_at[COLUMNS], columns_count; /* place in the row -> column */
    bool has_column[COLUMNS];
};

static void fault_end(struct directory_csv *c, const char *what)
{
    directory_fault(c->reader, c->row_line, "%s", what);
    c->ended = true;
}

/* ---- the head ---- */

static const char *field_text(struct directory_csv *c, size_t i)
{
    return c->texts.data + c->fields[i].start;
}

static int column_named(const char *name)
{
    for (int i = 0; i < COLUMNS; i++)
        if (strcasecmp(name, directory_columns[i]) == 0)
            return i;
    return NO_COLUMN;
}

static void read_head_field(struct directory_csv *c, size_t i)
{
    const char *name = field_text(c, i);
    int column = column_named(name);
    const char *near = str_nearest(name, directory_columns);
    c->column_at[i] = column;
    if (column == NO_COLUMN)
        directory_fault(c->reader, c->row_line,
                        "unknown column \"%.40s\": expected user_id, number, language, zone or tags%s%s%s",
                        str_utf8_valid(name, strlen(name)) ? name : "…", near ? "; did you mean \"" : "",
                        near ? near : "", near ? "\"?" : "");
    else if (c->has_column[column])
        directory_fault(c->reader, c->row_line, "the column %s stands twice", directory_columns[column]);
    else
        c->has_column[column] = true;
}

/* What programs write that call it CSV all the same. */
static bool is_otherwise_separated(struct directory_csv *c)
{
    const char *name = field_text(c, 0);
    return c->fields_count == 1 && (strchr(name, ';') || strchr(name, '\t'));
}

static void read_head(struct directory_csv *c)
{
    size_t bad = c->reader->bad;
    c->has_head = true;
    if (is_otherwise_separated(c)) {
        fault_end(c, "expected commas between the columns, not semicolons or tabs");
        return;
    }
    if (c->fields_count > COLUMNS) {
        fault_end(c, "more columns than user_id, number, language, zone and tags");
        return;
    }
    c->columns_count = (int)c->fields_count;
    for (size_t i = 0; i < c->fields_count; i++)
        read_head_field(c, i);
    if (c->reader->bad == bad && (!c->has_column[COLUMN_USER] || !c->has_column[COLUMN_NUMBER]))
        directory_fault(c->reader, c->row_line, "the head line must name user_id and number");
    c->ended = c->reader->bad > bad;
}

/* ---- rows ---- */

static void read_row(struct directory_csv *c)
{
    struct directory_field fields[COLUMNS] = {0};
    if (c->fields_count != (size_t)c->columns_count) {
        directory_fault(c->reader, c->row_line, "%zu fields where the head line names %d", c->fields_count,
                        c->columns_count);
        return;
    }
    for (size_t i = 0; i < c->fields_count; i++)
        fields[c->column_at[i]] = (struct directory_field){field_text(c, i), c->fields[i].len};
    directory_read_row(c->reader, fields, c->row_line);
}

static void on_field(void *data, size_t len, void *arg)
{
    struct directory_csv *c = arg;
    if (c->fields_count < COLUMNS) {
        c->fields[c->fields_count].start = c->texts.len;
        c->fields[c->fields_count].len = len;
        buf_add(&c->texts, data ? data : "", len);
        buf_addc(&c->texts, '\0');
    }
    c->fields_count++;
}

static void on_row(int end, void *arg)
{
    struct directory_csv *c = arg;
    (void)end;
    if (!c->ended && c->has_head)
        read_row(c);
    else if (!c->ended)
        read_head(c);
    buf_reset(&c->texts);
    c->fields_count = 0;
    c->open = false;
}

/* ---- text ---- */

static void open_parser(struct directory_csv *c)
{
    if (csv_init(&c->parser, CSV_STRICT | CSV_STRICT_FINI))
        panic("csv_init");
    buf_reset(&c->texts);
    c->fields_count = 0;
    c->open = false;
}

static bool is_blank(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r\n", data[i]) || !data[i])
            return false;
    return true;
}

/* What cannot be a row is passed over up to its line's end. */
static void fault_syntax(struct directory_csv *c)
{
    directory_fault(c->reader, c->line,
                    "a quote where none can be: a field with quotes is quoted whole, and its quotes doubled");
    csv_free(&c->parser);
    open_parser(c);
    c->ended = c->ended || !c->has_head;
}

/* At most one line, or a piece of it. False behind a fault that spoils the rest of the line. */
static bool feed_piece(struct directory_csv *c, const char *data, size_t len)
{
    if (!c->open)
        c->row_line = c->line;
    c->open = c->open || !is_blank(data, len);
    if (csv_parse(&c->parser, data, len, on_field, on_row, c) != len) {
        fault_syntax(c);
        return false;
    }
    if (c->parser.entry_pos > DIRECTORY_FIELD_MAX + PIECE)
        fault_end(c, "a field is much longer than 1 KiB: is a quote not closed?");
    return true;
}

static void feed_line(struct directory_csv *c, const char *data, size_t len)
{
    for (size_t at = 0; at < len && !c->ended;) {
        size_t piece = len - at < PIECE ? len - at : PIECE;
        if (!feed_piece(c, data + at, piece))
            return;
        at += piece;
    }
}

void directory_read_csv(struct directory_reader *r, const char *data, size_t len)
{
    static const char mark[] = "\xef\xbb\xbf";
    struct directory_csv c = {.reader = r};
    size_t at = len >= 3 && memcmp(data, mark, 3) == 0 ? 3 : 0;
    buf_init(&c.texts, 0);
    open_parser(&c);
    while (at < len && !c.ended) {
        const char *end = memchr(data + at, '\n', len - at);
        size_t next = end ? (size_t)(end - data) + 1 : len;
        c.line++;
        feed_line(&c, data + at, next - at);
        at = next;
    }
    if (!c.ended && csv_fini(&c.parser, on_field, on_row, &c))
        directory_fault(r, c.row_line, "a quote is not closed");
    if (!c.has_head && r->bad == 0)
        directory_fault(r, 1,
                        "empty: expected a head line with user_id and number, then a row for each person");
    csv_free(&c.parser);
    buf_free(&c.texts);
}
