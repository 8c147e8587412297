/*
 * Messages as phones that ring, for the demo: the one place where texts are shown.
 */
#include "tests/sim/sms.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BOX_COLUMNS = 64 };

struct style {
    const char *top_left, *top_right, *bottom_left, *bottom_right, *across, *down;
    const char *bold, *dim, *plain;
};

static struct style pick_style(void)
{
    const char *no_color = getenv("NO_COLOR");
    bool color = isatty(STDOUT_FILENO) && (no_color == NULL || *no_color == '\0');
    bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    struct style s = utf8 ? (struct style){"╭", "╮", "╰", "╯", "─", "│", "", "", ""}
                          : (struct style){"+", "+", "+", "+", "-", "|", "", "", ""};
    if (color) {
        s.bold = "\033[1;32m";
        s.dim = "\033[2m";
        s.plain = "\033[0m";
    }
    return s;
}

/* Columns of the character at p; *bytes: its length. Control characters are shown as a blank. */
static int columns_of(const char *p, size_t *bytes)
{
    unsigned char c = (unsigned char)*p;
    *bytes = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    for (size_t i = 1; i < *bytes; i++) {
        if (((unsigned char)p[i] & 0xc0) != 0x80) {
            *bytes = i;
            return 1;
        }
    }
    if (*bytes == 4 && (c != 0xf0 || (unsigned char)p[1] >= 0x9f)) {
        return 2; /* emoji */
    }
    if (*bytes == 2 && (c == 0xcc || (c == 0xcd && (unsigned char)p[1] < 0xb0))) {
        return 0; /* combining marks */
    }
    if (*bytes == 3) {
        unsigned char d = (unsigned char)p[1];
        bool wide = (c == 0xe1 && d < 0x86) || (c >= 0xe3 && c <= 0xed) ||
                    (c == 0xe2 && d >= 0xba && d < 0xbe) || (c == 0xef && d >= 0xbc && d < 0xbe);
        bool joiner =
            (c == 0xe2 && d == 0x80 && (unsigned char)p[2] >= 0x8b && (unsigned char)p[2] <= 0x8f) ||
            (c == 0xef && d == 0xb8);
        return joiner ? 0 : wide ? 2 : 1;
    }
    return 1;
}

static void rule(const struct style *s, struct sim_buf *b, int columns)
{
    for (int i = 0; i < columns; i++) {
        sim_buf_puts(b, s->across);
    }
}

static void line(const struct style *s, struct sim_buf *out, const struct sim_buf *text, int columns)
{
    sim_buf_printf(out, "%s %s", s->down, text->data != NULL ? text->data : "");
    for (int i = columns; i < BOX_COLUMNS - 4; i++) {
        sim_buf_puts(out, " ");
    }
    sim_buf_printf(out, " %s\n", s->down);
}

/* Breaks a text at blanks where it can. */
static void wrapped(const struct style *s, struct sim_buf *out, const char *text)
{
    struct sim_buf row = {0};
    int columns = 0;
    size_t blank_len = 0; /* the row up to its last blank */
    int blank_columns = 0;
    while (*text != '\0') {
        size_t bytes;
        int width = columns_of(text, &bytes);
        if (*text == '\n' || columns + width > BOX_COLUMNS - 4) {
            struct sim_buf rest = {0};
            int rest_columns = 0;
            if (*text != '\n' && blank_len != 0) {
                sim_buf_puts(&rest, row.data + blank_len + 1);
                rest_columns = columns - blank_columns - 1;
                row.data[blank_len] = '\0';
                columns = blank_columns;
            }
            line(s, out, &row, columns);
            sim_buf_free(&row);
            row = rest;
            columns = rest_columns;
            blank_len = 0;
            if (*text == '\n') {
                text++;
                continue;
            }
        }
        if (*text == ' ') {
            blank_len = row.len;
            blank_columns = columns;
        }
        bool control = (unsigned char)*text < 0x20;
        sim_buf_add(&row, control ? " " : text, bytes);
        columns += width;
        text += bytes;
    }
    if (row.len != 0) {
        line(s, out, &row, columns);
    }
    sim_buf_free(&row);
}

static int digits_in_groups(const char *number, struct sim_buf *out)
{
    size_t length = strlen(number);
    size_t head = length == 11 ? 2 : length % 3;
    int columns = 1;
    sim_buf_puts(out, "+");
    for (size_t i = 0; i < length; i++) {
        if (i != 0 && i >= head && (i - head) % 3 == 0) {
            sim_buf_puts(out, " ");
            columns++;
        }
        sim_buf_add(out, number + i, 1);
        columns++;
    }
    return columns;
}

void sms_print(const struct sms *s, const struct sms_message *m)
{
    (void)s;
    struct style style = pick_style();
    struct sim_buf out = {0};
    struct sim_buf number = {0};
    struct tm tm;
    char when[16];
    time_t second = (time_t)(m->time_ms / 1000);
    int columns = digits_in_groups(m->number, &number);
    localtime_r(&second, &tm);
    strftime(when, sizeof(when), "%H:%M:%S", &tm);
    sim_buf_printf(&out, "%s%s %sring, ring%s  %s%s%s ", style.top_left, style.across, style.bold,
                   style.plain, style.bold, number.data, style.plain);
    rule(&style, &out, BOX_COLUMNS - columns - 28);
    sim_buf_printf(&out, " %s %s%s\n", when, style.across, style.top_right);
    if (m->from != NULL && m->from[0] != '\0') {
        struct sim_buf from = {0};
        sim_buf_printf(&from, "%sfrom %s%s", style.dim, m->from, style.plain);
        line(&style, &out, &from, (int)strlen(m->from) + 5);
        sim_buf_free(&from);
    }
    wrapped(&style, &out, m->text);
    sim_buf_puts(&out, style.bottom_left);
    rule(&style, &out, BOX_COLUMNS - 2);
    sim_buf_printf(&out, "%s\n", style.bottom_right);
    fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    sim_buf_free(&out);
    sim_buf_free(&number);
}
