#include "dispatcher/facts.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/rules_table.h"

enum { GONE_MIN = 64 }; /* names that were removed are forgotten when they are so many, and the most */

struct facts {
    struct rules_table *names;
    char **values; /* by number; NULL: removed */
    size_t size, count;
};

struct facts *facts_new(void)
{
    struct facts *f = xcalloc(1, sizeof *f);
    f->names = rules_table_new();
    return f;
}

void facts_free(struct facts **p)
{
    struct facts *f = *p;
    if (!f)
        return;
    *p = NULL;
    for (size_t i = 0; i < rules_table_count(f->names); i++)
        free(f->values[i]);
    free(f->values);
    rules_table_free(&f->names);
    free(f);
}

/* The number of a name, with a place for its value. */
static size_t place_of(struct facts *f, const char *name)
{
    size_t places = rules_table_count(f->names);
    size_t number = (size_t)rules_table_add(f->names, name, strlen(name));
    if (number >= f->size) {
        f->size = f->size ? f->size * 2 : 16;
        f->values = xreallocarray(f->values, f->size, sizeof *f->values);
    }
    if (number == places)
        f->values[number] = NULL;
    return number;
}

static void forget_removed(struct facts *f)
{
    size_t places = rules_table_count(f->names), gone = places - f->count;
    if (gone < GONE_MIN || gone < f->count)
        return;
    struct rules_table *names = rules_table_new();
    for (size_t i = 0; i < places; i++)
        if (f->values[i]) {
            const char *name = rules_table_word(f->names, (int64_t)i);
            f->values[rules_table_add(names, name, strlen(name))] = f->values[i];
        }
    rules_table_free(&f->names);
    f->names = names;
}

void facts_set(struct facts *f, const char *name, const char *value)
{
    if (!value && !facts_get(f, name))
        return;
    size_t number = place_of(f, name);
    f->count = f->count - (f->values[number] != NULL) + (value != NULL);
    char *copy = value ? xstrdup(value) : NULL; /* it may be the old one */
    free(f->values[number]);
    f->values[number] = copy;
    if (!value)
        forget_removed(f);
}

const char *facts_get(const struct facts *f, const char *name)
{
    int64_t number = rules_table_find(f->names, name, strlen(name));
    return number == RULES_TABLE_NONE ? NULL : f->values[number];
}

size_t facts_count(const struct facts *f)
{
    return f->count;
}

const char *facts_next(const struct facts *f, const char *prefix, size_t *cursor, const char **value)
{
    size_t places = rules_table_count(f->names), len = strlen(prefix);
    while (*cursor < places) {
        size_t at = (*cursor)++;
        const char *name = rules_table_word(f->names, (int64_t)at);
        if (f->values[at] && strncmp(name, prefix, len) == 0) {
            if (value)
                *value = f->values[at];
            return name;
        }
    }
    return NULL;
}
