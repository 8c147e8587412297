/*
 * Reading rows out of single database pages without SQLite: a page that cannot be reached any more, or whose
 * neighbours are gone, still tells what it holds. The layout is that of the SQLite file format, sections
 * "B-tree Pages" and "Record Format". Everything in a page is hostile: it may be damaged.
 */
#ifndef DISPATCHER_STORE_PAGE_H
#define DISPATCHER_STORE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE_COLUMNS_MAX = 40 };

enum page_value_kind { PAGE_NULL, PAGE_INTEGER, PAGE_TEXT, PAGE_BLOB, PAGE_REAL };

struct page_value {
    enum page_value_kind kind;
    int64_t number;
    const unsigned char *data; /* in the page */
    size_t len;
};

struct page_row {
    bool has_rowid; /* of a table; else of an index or a table without row numbers */
    int64_t rowid;
    struct page_value values[PAGE_COLUMNS_MAX];
    size_t count;
};

/* Calls FN for each row of the leaf page of SIZE bytes that can be read whole. FIRST: page 1 of the file. */
void page_rows(const unsigned char *page, size_t size, bool first,
               void (*fn)(void *arg, const struct page_row *row), void *arg);

#endif
