#include "dispatcher/recipients.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/rules_table.h"

enum { DIGITS_MIN = 8, DIGITS_MAX = 15, NEST_MAX = 64 };

enum group_state { GROUP_NEW, GROUP_OPEN, GROUP_DONE };
struct group {
    const struct slice_block *block;
    struct numbers numbers;
    enum group_state state;
};

struct recipients {
    struct rules_table *names; /* number: index in groups */
    struct group *groups;
    struct rules_table *texts; /* every telephone number once */
    struct numbers **lists;    /* made for rules that name more than one group */
    size_t lists_count;
};

bool recipients_is_number(const char *word)
{
    size_t digits = word[0] == '+' ? strspn(word + 1, "0123456789") : 0;
    return digits >= DIGITS_MIN && digits <= DIGITS_MAX && !word[digits + 1] && word[1] != '0';
}

static void add_number(struct numbers *n, const char *number)
{
    /* Texts are shared, so equal numbers are equal pointers. */
    for (size_t i = 0; i < n->count; i++)
        if (n->list[i] == number)
            return;
    if ((n->count & (n->count - 1)) == 0)
        n->list = xreallocarray(n->list, n->count ? n->count * 2 : 1, sizeof *n->list);
    n->list[n->count++] = number;
}

static void fault_word(struct recipients *r, const struct slice_block *block,
                       const struct slice_setting *setting, const char *word, struct faults *faults)
{
    size_t count = rules_table_count(r->names);
    const char **known = xcalloc(count + 1, sizeof *known);
    for (size_t i = 0; i < count; i++)
        known[i] = rules_table_word(r->names, (int64_t)i);
    const char *near = str_nearest(word, known);
    char shown[64];
    if (word[0] == '+')
        faults_add(faults, block->file, setting->line,
                   "\"%s\" is not a number: expected a plus and %d to %d digits with the country code",
                   str_mask_number(word, shown, sizeof shown), DIGITS_MIN, DIGITS_MAX);
    else if (near)
        faults_add(faults, block->file, setting->line, "no recipients block \"%s\"; did you mean \"%s\"?",
                   word, near);
    else
        faults_add(faults, block->file, setting->line,
                   "no recipients block \"%s\", and not a number such as \"+48500500500\"", word);
    free(known);
}

static void expand_list(struct recipients *r, const struct slice_block *block,
                        const struct slice_setting *setting, struct numbers *out, unsigned depth,
                        struct faults *faults);

/* ASKED, a setting of BY, names the group. */
static const struct numbers *expand_group(struct recipients *r, struct group *g, const struct slice_block *by,
                                          const struct slice_setting *asked, unsigned depth,
                                          struct faults *faults)
{
    if (g->state == GROUP_DONE)
        return &g->numbers;
    if (g->state == GROUP_OPEN || depth > NEST_MAX) {
        faults_add(faults, by->file, asked->line, "recipients \"%s\" contain themselves", g->block->title);
        return &g->numbers;
    }
    g->state = GROUP_OPEN;
    const struct slice_setting *to = slice_get(g->block, "to");
    if (to)
        expand_list(r, g->block, to, &g->numbers, depth + 1, faults);
    g->state = GROUP_DONE;
    return &g->numbers;
}

static void expand_list(struct recipients *r, const struct slice_block *block,
                        const struct slice_setting *setting, struct numbers *out, unsigned depth,
                        struct faults *faults)
{
    for (size_t i = 0; i < setting->count; i++) {
        const char *word = setting->list[i];
        if (recipients_is_number(word)) {
            int64_t number = rules_table_add(r->texts, word, strlen(word));
            add_number(out, rules_table_word(r->texts, number));
            continue;
        }
        int64_t group = rules_table_find(r->names, word, strlen(word));
        if (group < 0) {
            fault_word(r, block, setting, word, faults);
            continue;
        }
        const struct numbers *inner = expand_group(r, &r->groups[group], block, setting, depth, faults);
        for (size_t n = 0; n < inner->count; n++)
            add_number(out, inner->list[n]);
    }
}

struct recipients *recipients_new(const struct slice *slice, struct faults *faults)
{
    struct recipients *r = xcalloc(1, sizeof *r);
    r->names = rules_table_new();
    r->texts = rules_table_new();
    r->groups = xcalloc(slice_count(slice, "recipients") + 1, sizeof *r->groups);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "recipients", b));) {
        int64_t index = rules_table_add(r->names, b->title, strlen(b->title));
        if (r->groups[index].block)
            faults_add(faults, b->file, b->line, "a second recipients block \"%s\"", b->title);
        r->groups[index].block = b;
    }
    for (size_t i = 0; i < rules_table_count(r->names); i++) {
        struct group *g = &r->groups[i];
        const struct slice_setting *to = slice_get(g->block, "to");
        if (to)
            expand_group(r, g, g->block, to, 0, faults);
        if (!to || to->count == 0)
            faults_add(faults, g->block->file, g->block->line, "recipients \"%s\" need a list \"to\"",
                       g->block->title);
    }
    return r;
}

void recipients_free(struct recipients **p)
{
    struct recipients *r = *p;
    if (!r)
        return;
    *p = NULL;
    for (size_t i = 0; i < rules_table_count(r->names); i++)
        free(r->groups[i].numbers.list);
    for (size_t i = 0; i < r->lists_count; i++) {
        free(r->lists[i]->list);
        free(r->lists[i]);
    }
    free(r->lists);
    free(r->groups);
    rules_table_free(&r->names);
    rules_table_free(&r->texts);
    free(r);
}

const struct numbers *recipients_expand(struct recipients *r, const struct slice_block *block,
                                        const struct slice_setting *setting, struct faults *faults)
{
    if (setting->count == 1) {
        const char *word = setting->list[0];
        int64_t group = rules_table_find(r->names, word, strlen(word));
        if (group >= 0)
            return &r->groups[group].numbers;
    }
    struct numbers *n = xcalloc(1, sizeof *n);
    if ((r->lists_count & (r->lists_count - 1)) == 0)
        r->lists = xreallocarray(r->lists, r->lists_count ? r->lists_count * 2 : 1, sizeof(struct numbers *));
    r->lists[r->lists_count++] = n;
    expand_list(r, block, setting, n, 0, faults);
    return n;
}
