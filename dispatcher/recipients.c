#include "dispatcher/recipients.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/calendar.h"
#include "dispatcher/recipients_parts.h"
#include "dispatcher/text/language.h"

enum { NEST_MAX = 64, CARET_MAX = 512 };

/* A text of a setting that is being read. */
struct place {
    const struct slice_block *block;
    const struct slice_setting *setting;
    size_t index;
};

static unsigned line_of(const struct place *at)
{
    unsigned line = slice_line(at->setting, at->index);
    return line ? line : at->block->line;
}

static const char *word_of(const struct place *at)
{
    return at->setting->list[at->index];
}

/* ---- audiences ---- */

static bool same_item(const struct audience_item *a, const struct audience_item *b)
{
    /* Texts are shared, so equal numbers are equal pointers. */
    return a->expr == b->expr && a->person.number == b->person.number;
}

static void add_item(struct audience *a, struct audience_item item)
{
    for (size_t i = 0; i < a->count; i++)
        if (same_item(&a->items[i], &item))
            return;
    if ((a->count & (a->count - 1)) == 0)
        a->items = xreallocarray(a->items, a->count ? a->count * 2 : 1, sizeof *a->items);
    a->items[a->count++] = item;
}

/* A block's own language and zone hold for those that it names and whose own block says nothing. */
static void add_group(struct audience *a, const struct audience *inner, const struct slice_block *outer)
{
    for (size_t i = 0; i < inner->count; i++) {
        struct audience_item item = inner->items[i];
        if (!item.person.lang)
            item.person.lang = slice_text(outer, "language", NULL);
        if (!item.person.zone)
            item.person.zone = slice_text(outer, "zone", NULL);
        add_item(a, item);
    }
}

static void count_item(struct audience *a, const struct audience_item *item)
{
    if (!item->expr)
        return;
    a->expressions++;
    a->wants_members = a->wants_members || expr_uses_function(item->expr, "members") ||
                       expr_uses_function(item->expr, "others");
}

static struct recipient with_directory(const struct recipients *r, const struct recipient *said)
{
    struct recipient out = *said;
    const struct person *p = said->number ? directory_find_number(r->directory, said->number) : NULL;
    out.user = p ? p->user : NULL;
    if (p && p->lang)
        out.lang = p->lang;
    if (p && p->zone)
        out.zone = p->zone;
    out.lang = out.lang ? out.lang : r->lang;
    out.zone = out.zone ? out.zone : r->zone;
    return out;
}

static void look_up_people(const struct recipients *r, struct audience *a)
{
    for (size_t i = 0; i < a->count; i++)
        a->people[i] = with_directory(r, &a->items[i].person);
}

static void finish(const struct recipients *r, struct audience *a)
{
    a->recipients = r;
    for (size_t i = 0; i < a->count; i++)
        count_item(a, &a->items[i]);
    a->people = xcalloc(a->count + 1, sizeof *a->people);
    look_up_people(r, a);
}

void recipients_people_changed(struct recipients *r)
{
    for (size_t i = 0; i < rules_table_count(r->names); i++)
        look_up_people(r, &r->groups[i].audience);
    for (size_t i = 0; i < r->lists_count; i++)
        look_up_people(r, r->lists[i]);
}

static void audience_clear(struct audience *a)
{
    free(a->items);
    free(a->people);
}

/* ---- reading one text ---- */

static void fault_name(struct recipients *r, const struct place *at, struct faults *faults)
{
    size_t count = rules_table_count(r->names);
    const char **known = xcalloc(count + 1, sizeof *known);
    for (size_t i = 0; i < count; i++)
        known[i] = rules_table_word(r->names, (int64_t)i);
    const char *near = str_nearest(word_of(at), known);
    if (near)
        faults_add(faults, at->block->file, line_of(at), "no recipients block \"%s\"; did you mean \"%s\"?",
                   word_of(at), near);
    else
        faults_add(faults, at->block->file, line_of(at),
                   "no recipients block \"%s\", no expression, and not a number such as \"+48500500500\"",
                   word_of(at));
    free(known);
}

/* The file's line and column of an error in an expression, with the line itself and a caret. */
static void fault_expression(const struct place *at, const struct expr_error *error, struct faults *faults)
{
    char caret[CARET_MAX];
    const char *text = word_of(at);
    expr_error_caret(text, strlen(text), error, caret, sizeof caret);
    size_t len = strlen(caret);
    while (len && caret[len - 1] == '\n')
        caret[--len] = '\0';
    faults_add(faults, at->block->file, line_of(at) + error->line - 1, "%s \"%s\", %s, column %u: %s\n%s",
               at->block->type, at->block->title, at->setting->name, error->column, error->message, caret);
}

static void read_number(struct recipients *r, const struct place *at, struct recipient *person,
                        struct faults *faults)
{
    char number[PHONE_SIZE], shown[64];
    const char *word = word_of(at);
    const char *why = phone_normalise(word, strlen(word), r->country, number);
    if (!why && r->allowed && !phone_has_prefix(number, r->allowed->list, r->allowed->count))
        why = "none of the prefixes that `allowed` in the block `numbers` has";
    if (why)
        faults_add(faults, at->block->file, line_of(at), "\"%s\": %s",
                   str_mask_number(word, shown, sizeof shown), why);
    else
        person->number = rules_table_word(r->texts, rules_table_add(r->texts, number, strlen(number)));
}

/* What can be nothing but the name of a block. */
static bool is_plain_word(const char *word)
{
    return !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")];
}

static const struct expr *read_expression(struct recipients *r, const struct place *at, struct faults *faults)
{
    static const struct expr_purpose people = {
        .wanted = {.types = EXPR_TEXT | EXPR_SET(EXPR_LIST), .elements = EXPR_TEXT | EXPR_SET(EXPR_LIST)},
        .demand = "recipients must be a string or a list of strings",
    };
    struct expr_error error;
    const char *word = word_of(at);
    struct expr *expr = expr_compile(word, strlen(word), audience_env(), &error);
    if (!expr && is_plain_word(word)) {
        fault_name(r, at, faults);
        return NULL;
    }
    if (expr && !expr_check(expr, audience_env(), &people, &error))
        expr_free(&expr);
    if (!expr) {
        fault_expression(at, &error, faults);
        return NULL;
    }
    if ((r->exprs_count & (r->exprs_count - 1)) == 0)
        r->exprs = xreallocarray(r->exprs, r->exprs_count ? r->exprs_count * 2 : 1, sizeof(struct expr *));
    r->exprs[r->exprs_count++] = expr;
    return expr;
}

/* ---- expanding ---- */

static void expand_list(struct recipients *r, const struct slice_block *block,
                        const struct slice_setting *setting, struct audience *out, unsigned depth,
                        struct faults *faults);

/* The place AT names the group. */
static const struct audience *expand_group(struct recipients *r, struct group *g, const struct place *at,
                                           unsigned depth, struct faults *faults)
{
    if (g->state == GROUP_DONE)
        return &g->audience;
    if (g->state == GROUP_OPEN || depth > NEST_MAX) {
        faults_add(faults, at->block->file, line_of(at), "recipients \"%s\" contain themselves",
                   g->block->title);
        return &g->audience;
    }
    g->state = GROUP_OPEN;
    const struct slice_setting *to = slice_get(g->block, "to");
    if (to)
        expand_list(r, g->block, to, &g->audience, depth + 1, faults);
    g->state = GROUP_DONE;
    return &g->audience;
}

static int group_of(const struct recipients *r, const struct slice_block *block)
{
    if (strcmp(block->type, "recipients") != 0)
        return RECIPIENTS_NO_GROUP;
    return (int)rules_table_find(r->names, block->title, strlen(block->title));
}

static void read_word(struct recipients *r, const struct place *at, struct audience *out,
                      struct faults *faults)
{
    struct audience_item item = {.person = {
                                     .lang = slice_text(at->block, "language", NULL),
                                     .zone = slice_text(at->block, "zone", NULL),
                                     .group = group_of(r, at->block),
                                 }};
    if (phone_looks(word_of(at), strlen(word_of(at))))
        read_number(r, at, &item.person, faults);
    else
        item.expr = read_expression(r, at, faults);
    if (item.expr || item.person.number)
        add_item(out, item);
}

static void expand_list(struct recipients *r, const struct slice_block *block,
                        const struct slice_setting *setting, struct audience *out, unsigned depth,
                        struct faults *faults)
{
    for (size_t i = 0; i < setting->count; i++) {
        struct place at = {block, setting, i};
        int64_t group = rules_table_find(r->names, setting->list[i], strlen(setting->list[i]));
        if (group < 0)
            read_word(r, &at, out, faults);
        else
            add_group(out, expand_group(r, &r->groups[group], &at, depth, faults), block);
    }
}

/* ---- loading ---- */

static const struct slice_setting *prefixes_of(const struct slice_block *numbers, struct faults *faults)
{
    const struct slice_setting *s = slice_get(numbers, "allowed");
    for (size_t i = 0; s && i < s->count; i++) {
        const char *p = s->list[i];
        size_t digits = p[0] == '+' ? strspn(p + 1, "0123456789") : 0;
        if (digits == 0 || digits > PHONE_DIGITS_MAX || p[digits + 1] || p[1] == '0')
            faults_add(faults, numbers->file, slice_line(s, i),
                       "`allowed`: \"%s\": expected a prefix such as \"+48\"", p);
    }
    return s && s->count ? s : NULL;
}

static const char *country_of(const struct slice_block *numbers, struct faults *faults)
{
    const struct slice_setting *s = slice_get(numbers, "default_country");
    if (!s || !s->text)
        return NULL;
    size_t digits = s->text[0] == '+' ? strspn(s->text + 1, "0123456789") : 0;
    if (digits >= 1 && digits <= 4 && !s->text[digits + 1] && s->text[1] != '0')
        return s->text;
    faults_add(faults, numbers->file, s->line,
               "`default_country`: \"%s\": expected a country code such as \"+48\"", s->text);
    return NULL;
}

static void check_language(const struct slice_block *b, struct faults *faults)
{
    const struct slice_setting *s = slice_get(b, "language");
    if (s && s->text && !language_is_tag(s->text, strlen(s->text)))
        faults_add(faults, b->file, s->line, "`language`: `%s`: expected a language such as pl or en-GB",
                   s->text);
}

static void read_general(struct recipients *r, const struct slice *slice, struct faults *faults)
{
    const struct slice_block *top = slice_find(slice, "bridgebell", NULL);
    const struct slice_block *numbers = slice_find(slice, "numbers", NULL);
    r->lang = slice_text(top, "language", "en");
    r->zone = slice_text(top, "zone", "UTC");
    r->country = country_of(numbers, faults);
    r->allowed = prefixes_of(numbers, faults);
    if (!top)
        return;
    check_language(top, faults);
    calendar_check_zone(top, "zone", faults);
}

static void read_blocks(struct recipients *r, const struct slice *slice, struct faults *faults)
{
    r->groups = xcalloc(slice_count(slice, "recipients") + 1, sizeof *r->groups);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "recipients", b));) {
        int64_t index = rules_table_add(r->names, b->title, strlen(b->title));
        if (r->groups[index].block)
            faults_add(faults, b->file, b->line, "a second recipients block \"%s\"", b->title);
        r->groups[index].block = b;
        check_language(b, faults);
        calendar_check_zone(b, "zone", faults);
    }
}

struct recipients *recipients_new(const struct slice *slice, struct directory *directory,
                                  struct faults *faults)
{
    struct recipients *r = xcalloc(1, sizeof *r);
    r->directory = directory;
    r->names = rules_table_new();
    r->texts = rules_table_new();
    read_general(r, slice, faults);
    read_blocks(r, slice, faults);
    for (size_t i = 0; i < rules_table_count(r->names); i++) {
        struct group *g = &r->groups[i];
        const struct slice_setting *to = slice_get(g->block, "to");
        if (to && to->count)
            expand_group(r, g, &(struct place){g->block, to, 0}, 0, faults);
        else
            faults_add(faults, g->block->file, g->block->line, "recipients \"%s\" need a list \"to\"",
                       g->block->title);
    }
    for (size_t i = 0; i < rules_table_count(r->names); i++)
        finish(r, &r->groups[i].audience);
    return r;
}

void recipients_free(struct recipients **p)
{
    struct recipients *r = *p;
    if (!r)
        return;
    *p = NULL;
    for (size_t i = 0; i < rules_table_count(r->names); i++)
        audience_clear(&r->groups[i].audience);
    for (size_t i = 0; i < r->lists_count; i++) {
        audience_clear(r->lists[i]);
        free(r->lists[i]);
    }
    for (size_t i = 0; i < r->exprs_count; i++)
        expr_free(&r->exprs[i]);
    free(r->exprs);
    free(r->lists);
    free(r->groups);
    rules_table_free(&r->names);
    rules_table_free(&r->texts);
    free(r);
}

const struct audience *recipients_audience(struct recipients *r, const struct slice_block *block,
                                           const struct slice_setting *setting, struct faults *faults)
{
    if (setting->count == 1) {
        const char *word = setting->list[0];
        int64_t group = rules_table_find(r->names, word, strlen(word));
        if (group >= 0)
            return &r->groups[group].audience;
    }
    struct audience *a = xcalloc(1, sizeof *a);
    if ((r->lists_count & (r->lists_count - 1)) == 0)
        r->lists =
            xreallocarray(r->lists, r->lists_count ? r->lists_count * 2 : 1, sizeof(struct audience *));
    r->lists[r->lists_count++] = a;
    expand_list(r, block, setting, a, 0, faults);
    finish(r, a);
    return a;
}
