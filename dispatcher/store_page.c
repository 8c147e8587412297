#include "dispatcher/store_page.h"

#include <string.h>

enum { LEAF_TABLE = 0x0d, LEAF_INDEX = 0x0a, FILE_HEADER = 100, LEAF_HEADER = 8 };

struct span {
    const unsigned char *at, *end;
};

/* False if the number does not fit into the span. */
static bool take_varint(struct span *s, uint64_t *out)
{
    uint64_t value = 0;
    for (int i = 0; i < 9 && s->at < s->end; i++) {
        unsigned char byte = *s->at++;
        if (i == 8) {
            *out = value << 8 | byte;
            return true;
        }
        value = value << 7 | (byte & 0x7f);
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

static int64_t big_endian(const unsigned char *data, size_t len)
{
    uint64_t value = data[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | data[i];
    return (int64_t)value;
}

/* Sizes of the integer types 1 to 6. */
static const unsigned char integer_sizes[] = {0, 1, 2, 3, 4, 6, 8};

/* Takes the value of serial type TYPE from the body. */
static bool take_value(struct span *body, uint64_t type, struct page_value *out)
{
    memset(out, 0, sizeof *out);
    size_t left = (size_t)(body->end - body->at), len = 0;
    if (type >= 12) {
        out->kind = type % 2 ? PAGE_TEXT : PAGE_BLOB;
        if ((type - 12) / 2 > left)
            return false;
        len = (size_t)((type - 12) / 2);
    } else if (type >= 1 && type <= 6) {
        out->kind = PAGE_INTEGER;
        len = integer_sizes[type];
    } else if (type == 7) {
        out->kind = PAGE_REAL;
        len = 8;
    } else if (type == 8 || type == 9) {
        out->kind = PAGE_INTEGER;
        out->number = type == 9;
    } else if (type != 0) {
        return false;
    }
    if (len > left)
        return false;
    if (out->kind == PAGE_INTEGER && len)
        out->number = big_endian(body->at, len);
    out->data = body->at;
    out->len = len;
    body->at += len;
    return true;
}

static bool read_record(struct span payload, struct page_row *row)
{
    struct span head = payload;
    uint64_t head_len, type;
    if (!take_varint(&head, &head_len) || head_len > (size_t)(payload.end - payload.at))
        return false;
    head.end = payload.at + head_len;
    struct span body = {head.end, payload.end};
    row->count = 0;
    while (head.at < head.end) {
        if (row->count == PAGE_COLUMNS_MAX || !take_varint(&head, &type) ||
            !take_value(&body, type, &row->values[row->count]))
            return false;
        row->count++;
    }
    return body.at == body.end;
}

/* Reads the cell; one that goes on in overflow pages is left out. */
static bool read_cell(struct span cell, bool is_table, size_t page_size, struct page_row *row)
{
    uint64_t len, rowid = 0;
    if (!take_varint(&cell, &len) || (is_table && !take_varint(&cell, &rowid)))
        return false;
    size_t local_max = is_table ? page_size - 35 : (page_size - 12) * 64 / 255 - 23;
    if (len > local_max || len > (size_t)(cell.end - cell.at))
        return false;
    row->has_rowid = is_table;
    row->rowid = (int64_t)rowid;
    cell.end = cell.at + len;
    return read_record(cell, row);
}

void page_rows(const unsigned char *page, size_t size, bool first,
               void (*fn)(void *arg, const struct page_row *row), void *arg)
{
    size_t base = first ? FILE_HEADER : 0;
    if (page[base] != LEAF_TABLE && page[base] != LEAF_INDEX)
        return;
    size_t cells = (size_t)page[base + 3] << 8 | page[base + 4];
    for (size_t i = 0; i < cells; i++) {
        size_t pointer = base + LEAF_HEADER + 2 * i;
        if (pointer + 2 > size)
            return;
        size_t at = (size_t)page[pointer] << 8 | page[pointer + 1];
        struct page_row row;
        if (at > 0 && at < size &&
            read_cell((struct span){page + at, page + size}, page[base] == LEAF_TABLE, size, &row))
            fn(arg, &row);
    }
}
