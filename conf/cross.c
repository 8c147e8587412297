#include "conf/cross.h"

#include <stdlib.h>
#include <string.h>

#include "conf/scan.h"
#include "conf/secrets.h"
#include "core/alloc.h"
#include "core/buf.h"
#include "core/phone.h"
#include "core/str.h"

enum { GROUP_DEPTH_MAX = 32 };

/* Blocks sorted by kind, title and place, for searching. */
struct cross {
    const struct conf *c;
    struct faults *faults;
    const struct conf_block **sorted;
    unsigned char *group_state; /* of c->blocks: 0 not looked at, 1 on the path, 2 done */
    const struct conf_block *path[GROUP_DEPTH_MAX];
    size_t depth;
};

#define FAULT(x, at, ...)                                                                                    \
    faults_add((x)->faults, (at)->file ? (at)->file->name : NULL, (at)->line, __VA_ARGS__)

static int compare_names(const struct conf_block *x, const struct conf_block *y)
{
    if (x->def != y->def)
        return x->def < y->def ? -1 : 1;
    return strcmp(x->title, y->title);
}

static int compare_places(const void *a, const void *b)
{
    const struct conf_block *x = *(const struct conf_block *const *)a;
    const struct conf_block *y = *(const struct conf_block *const *)b;
    int order = compare_names(x, y);
    return order ? order : (x > y) - (x < y);
}

static void sort_blocks(struct cross *x)
{
    x->sorted = xreallocarray(NULL, x->c->count, sizeof *x->sorted);
    for (size_t i = 0; i < x->c->count; i++)
        x->sorted[i] = &x->c->blocks[i];
    qsort(x->sorted, x->c->count, sizeof *x->sorted, compare_places);
}

/* The first block of this kind and title, or NULL. */
static const struct conf_block *find(const struct cross *x, const struct block_def *def, const char *title)
{
    size_t low = 0, high = x->c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct conf_block *b = x->sorted[middle];
        int order = b->def != def ? (b->def < def ? -1 : 1) : strcmp(b->title, title);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < x->c->count && x->sorted[low]->def == def && strcmp(x->sorted[low]->title, title) == 0)
        return x->sorted[low];
    return NULL;
}

/* ", did you mean `x`?" for the nearest title, or nothing. The caller frees. */
static char *suggestion(const struct cross *x, const struct block_def *def, const char *title)
{
    size_t n = 0;
    const char **words = xreallocarray(NULL, x->c->count + 1, sizeof *words);
    for (const struct conf_block *b = model_next(x->c, def, NULL); b; b = model_next(x->c, def, b))
        words[n++] = b->title;
    words[n] = NULL;
    const char *nearest = str_nearest(title, words);
    free(words);
    return nearest ? xasprintf(", did you mean `%s`?", nearest) : xstrdup("");
}

static void check_titles(struct cross *x)
{
    for (size_t i = 1; i < x->c->count; i++) {
        const struct conf_block *first = x->sorted[i - 1], *second = x->sorted[i];
        if (compare_names(first, second) != 0 || !second->file || second->bad_title || first->bad_title)
            continue;
        FAULT(x, second, "block `%s%s%s` is repeated: it stands at %s:%u already", second->def->name,
              *second->title ? " " : "", second->title, first->file->name, first->line);
    }
}

static bool is_named(const struct conf_block *b, const struct directive *d)
{
    return d && (b->named >> (d - b->def->directives) & 1);
}

/* ---- required settings ---- */

static bool needs(const struct cross *x, const struct conf_block *b, const struct directive *d)
{
    if (d->flags & CONF_REQUIRED)
        return true;
    if (d->kind != CONF_SECRET)
        return false;
    return secrets_needed(x->c, b);
}

static void check_required(struct cross *x, const struct conf_block *b)
{
    for (size_t i = 0; i < b->def->count; i++) {
        const struct directive *d = &b->def->directives[i], *partner = directives_partner(b->def, d);
        if (d->kind == CONF_SECRET && is_named(b, d) && is_named(b, partner)) {
            const struct conf_value *v = model_given(b, partner);
            faults_add(x->faults, b->file->name, v ? v->line : b->line,
                       "`%s` and `%s` stand in the same block: expected one of them", d->name, partner->name);
        }
        if (!needs(x, b, d) || is_named(b, d) || is_named(b, partner))
            continue;
        if (partner && !secrets_directory())
            FAULT(x, b, "block `%s %s` needs `%s` or `%s`", b->def->name, b->title, d->name, partner->name);
        else if (!partner)
            FAULT(x, b, "block `%s %s` needs `%s`", b->def->name, b->title, d->name);
    }
}

/* ---- pairs ---- */

static const struct {
    const char *block, *low, *high;
} pairs[] = {
    {"bridge", "reconnect_min", "reconnect_max"},
    {"provider", "retry_min", "retry_max"},
};

static void check_pairs(struct cross *x, const struct conf_block *b)
{
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (strcmp(b->def->name, pairs[i].block) != 0)
            continue;
        const struct conf_value *low = model_given(b, directives_find(b->def, pairs[i].low));
        const struct conf_value *high = model_given(b, directives_find(b->def, pairs[i].high));
        const struct conf_value *at = high ? high : low;
        if (at && model_number(x->c, b, pairs[i].low) > model_number(x->c, b, pairs[i].high))
            FAULT(x, at, "`%s` is longer than `%s` (%s and %s)", pairs[i].low, pairs[i].high,
                  model_text(x->c, b, pairs[i].low), model_text(x->c, b, pairs[i].high));
    }
}

/* ---- references ---- */

static bool is_number(const char *word)
{
    return phone_looks(word, strlen(word));
}

static void check_number(struct cross *x, const struct conf_value *v, size_t i)
{
    const struct conf_block *numbers = find(x, directives_block("numbers"), "");
    const char *word = v->list[i];
    char number[PHONE_SIZE], shown[64];
    const char *why =
        phone_normalise(word, strlen(word), model_text(x->c, numbers, "default_country"), number);
    if (why)
        faults_add(x->faults, v->file->name, v->lines[i], "`to`: `%s`: %s",
                   str_mask_number(word, shown, sizeof shown), why);
}

/* True for what cannot be a slip of a block's name: the dispatcher compiles it and says what is wrong. */
static bool may_be_expression(const char *word)
{
    static const char *const names[] = {"channel",   "type", "data",   "time",      "bridge", "context",
                                        "container", "item", "author", "recovered", NULL};
    size_t len = strcspn(word, ".");
    if (word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
        return true;
    for (size_t i = 0; names[i]; i++)
        if (strlen(names[i]) == len && strncmp(word, names[i], len) == 0)
            return true;
    return false;
}

static void check_recipients_exist(struct cross *x, const struct conf_block *b)
{
    const struct block_def *groups = directives_block("recipients");
    const struct directive *to = directives_find(b->def, "to");
    const struct conf_value *v = to ? model_given(b, to) : NULL;
    for (size_t i = 0; v && i < v->count && x->faults->count < SCAN_FAULTS_MAX; i++) {
        if (find(x, groups, v->list[i]))
            continue;
        if (is_number(v->list[i]))
            check_number(x, v, i);
        if (is_number(v->list[i]) || may_be_expression(v->list[i]))
            continue;
        char *hint = suggestion(x, groups, v->list[i]);
        faults_add(x->faults, v->file->name, v->lines[i],
                   "`to`: `%s`: expected a phone number in quotes, the name of a recipients block or an "
                   "expression%s",
                   v->list[i], hint);
        free(hint);
    }
}

static void check_provider_exists(struct cross *x, const struct conf_block *b)
{
    const struct block_def *providers = directives_block("provider");
    const struct directive *d = directives_find(b->def, "provider");
    const struct conf_value *v = d ? model_given(b, d) : NULL;
    if (!v || find(x, providers, v->text) || x->faults->count >= SCAN_FAULTS_MAX)
        return;
    char *hint = suggestion(x, providers, v->text);
    FAULT(x, v, "`provider`: `%s`: expected the name of a provider block%s", v->text, hint);
    free(hint);
}

/* ---- groups in circles ---- */

static void fault_circle(struct cross *x, const struct conf_block *b)
{
    struct buf way;
    size_t i = 0;
    buf_init(&way, 0);
    while (x->path[i] != b)
        i++;
    const struct conf_block *first = x->path[i];
    for (; i < x->depth; i++)
        buf_addf(&way, "%s → ", x->path[i]->title);
    buf_adds(&way, b->title);
    FAULT(x, first, "recipients `%s` contain themselves: %s", b->title, buf_cstr(&way));
    buf_free(&way);
}

static void walk_group(struct cross *x, const struct conf_block *b)
{
    const struct conf_value *v = model_given(b, directives_find(b->def, "to"));
    unsigned char *state = &x->group_state[b - x->c->blocks];
    if (*state == 1)
        fault_circle(x, b);
    if (*state)
        return;
    if (x->depth == GROUP_DEPTH_MAX) {
        FAULT(x, x->path[0], "recipients `%s` hold groups more than %d deep", x->path[0]->title,
              GROUP_DEPTH_MAX);
        return;
    }
    *state = 1;
    x->path[x->depth++] = b;
    for (size_t i = 0; v && i < v->count && x->faults->count < SCAN_FAULTS_MAX; i++) {
        const struct conf_block *inner = find(x, b->def, v->list[i]);
        if (inner)
            walk_group(x, inner);
    }
    x->depth--;
    *state = 2;
}

/* ---- the whole ---- */

static void check_roles(struct cross *x)
{
    const struct conf *c = x->c;
    const struct conf_block *rule = model_next(c, directives_block("rule"), NULL);
    const struct conf_block *sender = model_next(c, directives_block("sender"), NULL);
    if (rule && !model_next(c, directives_block("provider"), NULL))
        FAULT(x, rule, "block `rule %s`: there is no provider block, so nothing could be sent", rule->title);
    if (!conf_has_dispatcher(c) && !sender->file)
        faults_add(x->faults, c->files[0]->name, 0,
                   "nothing to do: expected a bridge, rule, dispatcher or sender block");
}

void cross_check(const struct conf *c, struct faults *faults)
{
    struct cross x = {.c = c, .faults = faults};
    x.group_state = xcalloc(c->count, 1);
    sort_blocks(&x);
    check_titles(&x);
    for (size_t i = 0; i < c->count && faults->count < SCAN_FAULTS_MAX; i++) {
        const struct conf_block *b = &c->blocks[i];
        if (b->file)
            check_required(&x, b);
        check_pairs(&x, b);
        check_recipients_exist(&x, b);
        check_provider_exists(&x, b);
        if (strcmp(b->def->name, "recipients") == 0)
            walk_group(&x, b);
    }
    check_roles(&x);
    free(x.sorted);
    free(x.group_state);
}
