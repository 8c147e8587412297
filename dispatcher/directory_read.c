/* One row of a directory's file, whatever the file: what its fields must be. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/phone.h"
#include "core/str.h"
#include "dispatcher/directory_parts.h"
#include "dispatcher/expr/zone.h"
#include "dispatcher/text/language.h"

enum { ZONE_MEMORY = 1024 * 1024, LANGUAGE_MAX = 16, SHOWN = 80 };

const char *const directory_columns[COLUMNS + 1] = {"user_id", "number", "language", "zone", "tags", NULL};

/* A row's fields as texts. */
struct row {
    struct directory_reader *reader;
    size_t place;
    bool bad;
    char text[COLUMNS][DIRECTORY_FIELD_MAX + 1];
    char number[PHONE_SIZE];
    const char *tags[DIRECTORY_TAGS_MAX + 1];
};

void directory_reader_open(struct directory_reader *r)
{
    r->people = people_new();
    r->zones = rules_table_new();
    r->arena = expr_arena_new(ZONE_MEMORY);
}

void directory_reader_close(struct directory_reader *r)
{
    if (r->bad > DIRECTORY_FAULTS_MAX)
        faults_add(r->faults, r->path, 0, "and %zu more", r->bad - DIRECTORY_FAULTS_MAX);
    rules_table_free(&r->zones);
    expr_arena_free(&r->arena);
    people_free(&r->people);
}

void directory_fault(struct directory_reader *r, size_t place, const char *format, ...)
{
    char text[512];
    va_list args;
    if (r->bad++ >= DIRECTORY_FAULTS_MAX)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (strcmp(r->row_word, "line") == 0)
        faults_add(r->faults, r->path, (unsigned)place, "%s", text);
    else
        faults_add(r->faults, r->path, 0, "%s %zu: %s", r->row_word, place, text);
}

/* ---- fields ---- */

static bool wrong(struct row *row, enum directory_column column, const char *why)
{
    char shown[SHOWN];
    const char *text = row->text[column];
    if (phone_looks(text, strlen(text)) || (column == COLUMN_NUMBER && strpbrk(text, "0123456789")))
        str_mask_number(text, shown, sizeof shown);
    else
        snprintf(shown, sizeof shown, "%.40s%s", text, strlen(text) > 40 ? "…" : "");
    directory_fault(row->reader, row->place, "%s \"%s\": %s", directory_columns[column],
                    str_utf8_valid(shown, strlen(shown)) ? shown : "…", why);
    row->bad = true;
    return false;
}

static bool has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return true;
    return false;
}

/* Blanks at the ends are not meant. */
static bool copy_field(struct row *row, enum directory_column column, struct directory_field f)
{
    char *out = row->text[column];
    while (f.len && f.text[0] == ' ')
        f.text++, f.len--;
    while (f.len && f.text[f.len - 1] == ' ')
        f.len--;
    out[0] = '\0';
    if (f.len > DIRECTORY_FIELD_MAX)
        return wrong(row, column, "longer than 1 KiB");
    if (has_control(f.text, f.len))
        return wrong(row, column, "has a line break or another control character");
    if (!str_utf8_valid(f.text, f.len))
        return wrong(row, column, "is not UTF-8");
    if (f.len)
        memcpy(out, f.text, f.len);
    out[f.len] = '\0';
    return true;
}

static bool read_number(struct row *row)
{
    const struct directory_reader *r = row->reader;
    const char *text = row->text[COLUMN_NUMBER];
    const char *why = text[0] ? phone_normalise(text, strlen(text), r->country, row->number) : NULL;
    if (why)
        return wrong(row, COLUMN_NUMBER, why);
    if (text[0] && r->allowed && !phone_has_prefix(row->number, r->allowed->list, r->allowed->count))
        return wrong(row, COLUMN_NUMBER, "none of the prefixes that `allowed` in the block `numbers` has");
    return true;
}

static bool read_language(struct row *row)
{
    const char *text = row->text[COLUMN_LANGUAGE];
    size_t len = strlen(text);
    return len == 0 || (len <= LANGUAGE_MAX && language_is_tag(text, len)) ||
           wrong(row, COLUMN_LANGUAGE, "expected a language such as pl or en-GB");
}

static bool read_zone(struct row *row)
{
    struct directory_reader *r = row->reader;
    const char *text = row->text[COLUMN_ZONE];
    size_t len = strlen(text);
    if (len == 0 || rules_table_find(r->zones, text, len) >= 0)
        return true;
    expr_arena_reset(r->arena);
    if (!expr_zone_load(text, len, r->arena))
        return wrong(row, COLUMN_ZONE, "no such time zone is installed; expected one such as Europe/Warsaw");
    rules_table_add(r->zones, text, len);
    return true;
}

static bool read_tags(struct row *row)
{
    static const char between[] = " ;";
    size_t count = 0;
    char *rest = NULL, *text = row->text[COLUMN_TAGS];
    for (char *tag = strtok_r(text, between, &rest); tag; tag = strtok_r(NULL, between, &rest)) {
        if (count == DIRECTORY_TAGS_MAX)
            return wrong(row, COLUMN_TAGS, "more than 64 tags");
        row->tags[count++] = tag;
    }
    row->tags[count] = NULL;
    return true;
}

static const char *or_nothing(const char *text)
{
    return text[0] ? text : NULL;
}

void directory_read_row(struct directory_reader *r, const struct directory_field fields[COLUMNS],
                        size_t place)
{
    static struct row row;
    row.reader = r;
    row.place = place;
    row.bad = false;
    for (size_t i = 0; i < COLUMNS; i++)
        copy_field(&row, (enum directory_column)i, fields[i]);
    if (row.bad)
        return;
    if (!row.text[COLUMN_USER][0])
        wrong(&row, COLUMN_USER, "the user id is missing");
    if (!read_number(&row) || !read_language(&row) || !read_zone(&row) || !read_tags(&row) || row.bad)
        return;
    const struct person p = {
        .user = row.text[COLUMN_USER],
        .number = row.text[COLUMN_NUMBER][0] ? row.number : NULL,
        .lang = or_nothing(row.text[COLUMN_LANGUAGE]),
        .zone = or_nothing(row.text[COLUMN_ZONE]),
        .tags = row.tags,
    };
    if (people_count(r->people) >= DIRECTORY_ROWS_MAX)
        wrong(&row, COLUMN_USER, "more than 1 000 000 people");
    else if (!people_add(r->people, &p))
        wrong(&row, COLUMN_USER, "stands in an earlier row already");
}
