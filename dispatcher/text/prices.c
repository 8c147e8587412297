#include "dispatcher/text/prices.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

enum { PREFIX_DIGITS_MAX = 15, CURRENCY_MAX = 16, DECIMALS = 6, WHOLE_DIGITS_MAX = 6 };
#define ENTRY_FORM "expected a prefix and the price of a part, such as \"+48: 0.09\" or \"*: 0.50\""

struct entry {
    char prefix[PREFIX_DIGITS_MAX + 1]; /* digits; "" for "*" */
    int64_t micro;                      /* of one part */
    size_t place;                       /* in the list, to tell the second of two */
};

struct prices {
    struct entry *entries; /* by prefix */
    size_t count;
    char currency[CURRENCY_MAX + 1];
};

/* ---- Reading --------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* "*" or "+" and digits; what is wrong with it, or NULL. */
static const char *read_prefix(const char **text, char out[PREFIX_DIGITS_MAX + 1])
{
    const char *at = *text;
    out[0] = '\0';
    if (*at == '*') {
        *text = at + 1;
        return NULL;
    }
    size_t digits = *at == '+' ? strspn(at + 1, "0123456789") : 0;
    if (digits == 0)
        return ENTRY_FORM;
    if (digits > PREFIX_DIGITS_MAX || at[1] == '0')
        return "a prefix is a plus and 1 to 15 digits, the first no 0";
    memcpy(out, at + 1, digits);
    out[digits] = '\0';
    *text = at + 1 + digits;
    return NULL;
}

/* "0.09" into millionths, to the end of the text; what is wrong with it, or NULL. */
static const char *read_amount(const char *text, int64_t *micro)
{
    size_t whole = strspn(text, "0123456789");
    const char *point = text + whole;
    size_t decimals = *point == '.' ? strspn(point + 1, "0123456789") : 0;
    const char *end = *point == '.' ? point + 1 + decimals : point;
    if (*point == ',')
        return "decimals of a price follow a point, not a comma";
    if (whole == 0 || (*point == '.' && decimals == 0) || *skip_blanks(end) != '\0')
        return ENTRY_FORM;
    if (whole > WHOLE_DIGITS_MAX || decimals > DECIMALS)
        return "a price has at most 6 digits and 6 decimals";
    *micro = 0;
    for (size_t i = 0; i < whole; i++)
        *micro = *micro * 10 + (text[i] - '0');
    for (size_t i = 0; i < DECIMALS; i++)
        *micro = *micro * 10 + (i < decimals ? point[1 + i] - '0' : 0);
    return NULL;
}

static const char *read_entry(const char *text, struct entry *entry)
{
    const char *at = skip_blanks(text);
    const char *why = read_prefix(&at, entry->prefix);
    if (why != NULL)
        return why;
    at = skip_blanks(at);
    return *at == ':' ? read_amount(skip_blanks(at + 1), &entry->micro) : ENTRY_FORM;
}

static int by_prefix(const void *left, const void *right)
{
    const struct entry *a = left;
    const struct entry *b = right;
    int order = strcmp(a->prefix, b->prefix);
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

static void find_duplicates(const struct prices *p, const struct slice_block *block,
                            const struct slice_setting *table, struct faults *faults)
{
    for (size_t i = 1; i < p->count; i++) {
        const char *prefix = p->entries[i].prefix;
        if (strcmp(p->entries[i - 1].prefix, prefix) == 0)
            faults_add(faults, block->file, slice_line(table, p->entries[i].place),
                       "`table`: \"%s\" is the second price of %s%s", table->list[p->entries[i].place],
                       prefix[0] != '\0' ? "+" : "*", prefix);
    }
}

static void read_table(struct prices *p, const struct slice_block *block, const struct slice_setting *table,
                       struct faults *faults)
{
    p->entries = xcalloc(table->count + 1, sizeof *p->entries);
    for (size_t i = 0; i < table->count; i++) {
        struct entry *entry = &p->entries[p->count];
        const char *why = read_entry(table->list[i], entry);
        entry->place = i;
        if (why != NULL)
            faults_add(faults, block->file, slice_line(table, i), "`table`: \"%s\": %s", table->list[i], why);
        else
            p->count++;
    }
    qsort(p->entries, p->count, sizeof *p->entries, by_prefix);
    find_duplicates(p, block, table, faults);
}

static void read_currency(struct prices *p, const struct slice_block *block, struct faults *faults)
{
    const struct slice_setting *setting = slice_get(block, "currency");
    if (setting == NULL)
        return;
    if (strlen(setting->text) > CURRENCY_MAX)
        faults_add(faults, block->file, setting->line, "`currency`: \"%s\" is longer than %d bytes",
                   setting->text, CURRENCY_MAX);
    else
        strcpy(p->currency, setting->text);
}

struct prices *prices_new(const struct slice *slice, struct faults *faults)
{
    size_t faults_before = faults->count;
    struct prices *p = xcalloc(1, sizeof *p);
    const struct slice_block *block = slice_find(slice, "prices", NULL);
    const struct slice_setting *table = block == NULL ? NULL : slice_get(block, "table");
    if (block != NULL)
        read_currency(p, block, faults);
    if (table != NULL)
        read_table(p, block, table, faults);
    if (faults->count > faults_before)
        prices_free(&p);
    return p;
}

void prices_free(struct prices **prices)
{
    if (*prices == NULL)
        return;
    free((*prices)->entries);
    free(*prices);
    *prices = NULL;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

size_t prices_count(const struct prices *prices)
{
    return prices->count;
}

const char *prices_currency(const struct prices *prices)
{
    return prices->currency;
}

static int prefix_order(const void *key, const void *element)
{
    return strcmp(key, ((const struct entry *)element)->prefix);
}

int64_t prices_of(const struct prices *prices, const char *number, size_t parts)
{
    char prefix[PREFIX_DIGITS_MAX + 1];
    number += number[0] == '+';
    if (prices->count == 0)
        return PRICES_UNKNOWN;
    for (size_t length = strnlen(number, PREFIX_DIGITS_MAX) + 1; length-- > 0;) {
        memcpy(prefix, number, length);
        prefix[length] = '\0';
        const struct entry *entry =
            bsearch(prefix, prices->entries, prices->count, sizeof *prices->entries, prefix_order);
        if (entry != NULL)
            return entry->micro * (int64_t)(parts < PRICES_PARTS_MAX ? parts : PRICES_PARTS_MAX);
    }
    return PRICES_UNKNOWN;
}
