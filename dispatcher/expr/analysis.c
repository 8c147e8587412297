#include "dispatcher/expr/analysis.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/program.h"

#define ANALYSIS_LIMIT (64u << 20)
#define ANALYSIS_FIRST_BYTES 1024u
#define FIELDS_LIMIT 16u    /* selections in a path */
#define VALUES_LIMIT 65536u /* strings of one requirement */

/* A requirement while it is being made. */
struct draft {
    size_t slot;
    const char *variable;
    const char *fields[FIELDS_LIMIT];
    size_t field_lengths[FIELDS_LIMIT];
    size_t field_count;
    struct expr_literal *values;
    size_t value_count;
    bool exact;
};

struct drafts {
    struct draft *items;
    size_t count;
    size_t capacity;
};

struct analyst {
    struct expr_arena *arena;
};

/* ---- Paths ----------------------------------------------------------------------------------- */

/* A key that may stand in a dotted path without being taken for two. */
static bool plain_key(struct expr_value key)
{
    if (key.type != EXPR_STRING || key.length == 0 || memchr(key.as.string, '\0', key.length) != NULL)
        return false;
    return memchr(key.as.string, '.', key.length) == NULL;
}

/* Whether the node is a variable or a chain of selections from one; fills slot and fields, the first first.
 */
static bool read_path(const struct node *node, struct draft *draft)
{
    draft->field_count = 0;
    for (; node->op == OP_SELECT || node->op == OP_INDEX; node = node->a) {
        size_t i = draft->field_count;
        if (i == FIELDS_LIMIT)
            return false;
        if (node->op == OP_SELECT) {
            draft->fields[i] = node->name;
            draft->field_lengths[i] = node->name_length;
        } else {
            if (node->b->op != OP_CONST || !plain_key(node->b->value))
                return false;
            draft->fields[i] = node->b->value.as.string;
            draft->field_lengths[i] = node->b->value.length;
        }
        if (memchr(draft->fields[i], '.', draft->field_lengths[i]) != NULL)
            return false;
        draft->field_count++;
    }
    if (node->op != OP_VARIABLE)
        return false;
    draft->slot = node->slot;
    draft->variable = node->name;
    for (size_t i = 0, j = draft->field_count; i + 1 < j; i++) {
        j--;
        const char *field = draft->fields[i];
        size_t length = draft->field_lengths[i];
        draft->fields[i] = draft->fields[j];
        draft->field_lengths[i] = draft->field_lengths[j];
        draft->fields[j] = field;
        draft->field_lengths[j] = length;
    }
    return true;
}

static bool same_path(const struct draft *a, const struct draft *b)
{
    if (a->slot != b->slot || a->field_count != b->field_count)
        return false;
    for (size_t i = 0; i < a->field_count; i++)
        if (a->field_lengths[i] != b->field_lengths[i] ||
            memcmp(a->fields[i], b->fields[i], a->field_lengths[i]) != 0)
            return false;
    return true;
}

/* ---- Values ---------------------------------------------------------------------------------- */

static int compare_literals(const void *left, const void *right)
{
    const struct expr_literal *a = left;
    const struct expr_literal *b = right;
    size_t common = a->length < b->length ? a->length : b->length;
    int order = common == 0 ? 0 : memcmp(a->string, b->string, common);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

static void drop_duplicates(struct draft *draft)
{
    size_t kept = 1;
    if (draft->value_count < 2)
        return;
    qsort(draft->values, draft->value_count, sizeof draft->values[0], compare_literals);
    for (size_t i = 1; i < draft->value_count; i++)
        if (compare_literals(&draft->values[i], &draft->values[kept - 1]) != 0)
            draft->values[kept++] = draft->values[i];
    draft->value_count = kept;
}

static bool set_values(struct analyst *a, struct draft *draft, const struct expr_value *values, size_t count)
{
    if (count == 0 || count > VALUES_LIMIT)
        return false;
    draft->values = expr_arena_alloc(a->arena, count * sizeof draft->values[0]);
    if (draft->values == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (values[i].type != EXPR_STRING)
            return false;
        draft->values[i] = (struct expr_literal){values[i].as.string, values[i].length};
    }
    draft->value_count = count;
    draft->exact = true;
    drop_duplicates(draft);
    return true;
}

/* ---- Conjuncts ------------------------------------------------------------------------------- */

static bool add_draft(struct analyst *a, struct drafts *drafts, const struct draft *draft)
{
    if (drafts->count == drafts->capacity) {
        size_t capacity = drafts->capacity == 0 ? 4 : drafts->capacity * 2;
        struct draft *items = expr_arena_alloc(a->arena, capacity * sizeof *items);
        if (items == NULL)
            return false;
        if (drafts->count > 0)
            memcpy(items, drafts->items, drafts->count * sizeof *items);
        drafts->items = items;
        drafts->capacity = capacity;
    }
    drafts->items[drafts->count++] = *draft;
    return true;
}

/* path == 'literal' and 'literal' == path. */
static bool read_equality(struct analyst *a, const struct node *node, struct draft *draft)
{
    const struct node *path = node->a->op == OP_CONST ? node->b : node->a;
    const struct node *literal = node->a->op == OP_CONST ? node->a : node->b;
    return literal->op == OP_CONST && read_path(path, draft) && set_values(a, draft, &literal->value, 1);
}

/* path in ['a', 'b']. */
static bool read_membership(struct analyst *a, const struct node *node, struct draft *draft)
{
    const struct node *list = node->b;
    if (list->op != OP_CONST || list->value.type != EXPR_LIST || list->value.packed)
        return false;
    return read_path(node->a, draft) && set_values(a, draft, list->value.as.items, list->value.length);
}

/* What a tree requires; `complete` stays true while the drafts say all there is to say. */
static void require(struct analyst *a, const struct node *node, struct drafts *drafts, bool *complete,
                    bool *never);

/* The draft of `other` that is about the same path. */
static const struct draft *find_path(const struct drafts *drafts, const struct draft *path)
{
    for (size_t i = 0; i < drafts->count; i++)
        if (same_path(&drafts->items[i], path))
            return &drafts->items[i];
    return NULL;
}

static bool add_values(struct analyst *a, struct draft *sum, const struct draft *more)
{
    size_t count = sum->value_count + more->value_count;
    struct expr_literal *values = expr_arena_alloc(a->arena, count * sizeof *values);
    if (values == NULL || count > VALUES_LIMIT)
        return false;
    memcpy(values, sum->values, sum->value_count * sizeof *values);
    memcpy(values + sum->value_count, more->values, more->value_count * sizeof *values);
    sum->values = values;
    sum->value_count = count;
    sum->exact = sum->exact && more->exact;
    return true;
}

/* One path through all sides of an ||: the union of what each side allows; false if some side leaves it open.
 */
static bool unite(struct analyst *a, const struct drafts *sides, size_t count, struct draft *sum)
{
    for (size_t i = 0; i < count; i++) {
        const struct draft *side = find_path(&sides[i], sum);
        if (side == NULL || (side != sum && !add_values(a, sum, side)))
            return false;
    }
    drop_duplicates(sum);
    return true;
}

/*
 * Sides that are never true are left out. The union is all there is to say only if every side is about one
 * path and completely so.
 */
static void require_or(struct analyst *a, const struct node *node, struct drafts *drafts, bool *complete,
                       bool *never)
{
    struct drafts *sides = expr_arena_alloc(a->arena, node->count * sizeof *sides);
    size_t count = 0;
    bool whole = true;
    if (sides == NULL) {
        *complete = false;
        return;
    }
    for (uint32_t i = 0; i < node->count; i++) {
        bool side_complete = true;
        bool side_never = false;
        sides[count] = (struct drafts){0};
        require(a, node->children[i], &sides[count], &side_complete, &side_never);
        if (side_never)
            continue;
        whole = whole && side_complete && sides[count].count == 1;
        count++;
    }
    if (count == 0) {
        *never = true;
        return;
    }
    size_t found = 0;
    for (size_t i = 0; i < sides[0].count; i++) {
        struct draft sum = sides[0].items[i];
        if (!unite(a, sides + 1, count - 1, &sum))
            continue;
        sum.exact = whole;
        found += add_draft(a, drafts, &sum);
    }
    *complete = *complete && whole && found == 1;
}

static void require(struct analyst *a, const struct node *node, struct drafts *drafts, bool *complete,
                    bool *never)
{
    struct draft draft = {0};
    bool known = false;
    switch (node->op) {
    case OP_AND:
        for (uint32_t i = 0; i < node->count; i++)
            require(a, node->children[i], drafts, complete, never);
        return;
    case OP_OR:
        require_or(a, node, drafts, complete, never);
        return;
    case OP_CONST:
        if (node->value.type == EXPR_BOOL && node->value.as.boolean)
            return;
        *never = true;
        return;
    case OP_EQUAL:
        known = read_equality(a, node, &draft);
        break;
    case OP_IN:
        known = read_membership(a, node, &draft);
        break;
    default:
        break;
    }
    if (!known || !add_draft(a, drafts, &draft))
        *complete = false;
}

/* ---- The result ------------------------------------------------------------------------------ */

/* All in one block behind the struct's own arena: the requirements do not point into the expression. */
struct owned {
    struct expr_requirements public;
    struct expr_arena *arena;
};

static char *copy_z(struct expr_arena *arena, const char *text, size_t length)
{
    char *copy = expr_arena_alloc(arena, length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

static bool keep_path(struct expr_arena *arena, const struct draft *draft, struct expr_requirement *out)
{
    size_t size = strlen(draft->variable) + 1;
    const char **fields = expr_arena_alloc(arena, (draft->field_count + 1) * sizeof *fields);
    for (size_t i = 0; i < draft->field_count; i++)
        size += draft->field_lengths[i] + 1;
    char *path = expr_arena_alloc(arena, size);
    if (fields == NULL || path == NULL)
        return false;
    char *end = stpcpy(path, draft->variable);
    for (size_t i = 0; i < draft->field_count; i++) {
        fields[i] = copy_z(arena, draft->fields[i], draft->field_lengths[i]);
        if (fields[i] == NULL)
            return false;
        *end++ = '.';
        end = stpcpy(end, fields[i]);
    }
    out->path = path;
    out->fields = fields;
    out->field_count = draft->field_count;
    return true;
}

static bool keep(struct expr_arena *arena, const struct draft *draft, struct expr_requirement *out)
{
    struct expr_literal *values = expr_arena_alloc(arena, draft->value_count * sizeof *values);
    if (values == NULL || !keep_path(arena, draft, out))
        return false;
    for (size_t i = 0; i < draft->value_count; i++) {
        const char *copy = copy_z(arena, draft->values[i].string, draft->values[i].length);
        if (copy == NULL)
            return false;
        values[i] = (struct expr_literal){copy, draft->values[i].length};
    }
    out->slot = draft->slot;
    out->values = values;
    out->value_count = draft->value_count;
    out->exact = draft->exact;
    return true;
}

struct expr_requirements *expr_analyse(const struct expr *expr)
{
    struct owned *owned = xcalloc(1, sizeof *owned);
    struct analyst analyst = {.arena = expr_arena_sized(ANALYSIS_LIMIT, ANALYSIS_FIRST_BYTES)};
    struct drafts drafts = {0};
    bool complete = true;
    owned->arena = expr_arena_sized(ANALYSIS_LIMIT, ANALYSIS_FIRST_BYTES);
    require(&analyst, expr->root, &drafts, &complete, &owned->public.never);
    struct expr_requirement *items = expr_arena_alloc(owned->arena, (drafts.count + 1) * sizeof *items);
    size_t kept = 0;
    for (size_t i = 0; items != NULL && i < drafts.count; i++)
        kept += keep(owned->arena, &drafts.items[i], &items[kept]);
    owned->public.items = items;
    owned->public.count = kept;
    owned->public.complete = complete && kept == drafts.count;
    expr_arena_free(&analyst.arena);
    return &owned->public;
}

void expr_requirements_free(struct expr_requirements **requirements)
{
    if (*requirements == NULL)
        return;
    struct owned *owned = (struct owned *)*requirements;
    expr_arena_free(&owned->arena);
    free(owned);
    *requirements = NULL;
}

bool expr_requirement_value(const struct expr_requirement *requirement, const struct expr_value *values,
                            size_t value_count, struct expr_value *value)
{
    if (requirement->slot >= value_count)
        return false;
    *value = values[requirement->slot];
    for (size_t i = 0; i < requirement->field_count; i++) {
        struct expr_value inner;
        if (value->type != EXPR_MAP ||
            !expr_map_find(*value, requirement->fields[i], strlen(requirement->fields[i]), &inner))
            return false;
        *value = inner;
    }
    return value->type != EXPR_ERROR;
}
