#include "dispatcher/expr/analysis.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/expr/arena.h"
#include "dispatcher/expr/program.h"

#define ANALYSIS_LIMIT (64u << 20)
#define ANALYSIS_FIRST_BYTES 1024u
#define SIDES_LIMIT 1024u   /* sides of a clause */
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
    bool textual;
    bool member;
    bool exact;
};

struct drafts {
    struct draft *items;
    size_t count;
    size_t capacity;
};

struct clause {
    struct drafts *sides;
    size_t count;
    struct clause *next;
};

/* What a tree requires before it comes to the truth value that is wanted of it. */
struct finding {
    struct drafts drafts;
    struct clause *clauses; /* the last first */
    bool complete;          /* the drafts say all there is to say */
    bool never;
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
    if (a->slot != b->slot || a->field_count != b->field_count || a->member != b->member)
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

/* The word of a literal, a string's viewing the program. */
static bool set_value(struct analyst *a, struct draft *draft, struct expr_value value)
{
    char scratch[EXPR_WORD_SIZE];
    struct expr_literal *word = &draft->values[draft->value_count];
    if (!expr_word(value, scratch, word))
        return false;
    if (value.type != EXPR_STRING) {
        word->string = expr_arena_copy(a->arena, scratch, word->length);
        draft->textual = false;
    }
    draft->value_count++;
    return word->string != NULL;
}

static bool set_values(struct analyst *a, struct draft *draft, const struct expr_value *values, size_t count)
{
    if (count == 0 || count > VALUES_LIMIT)
        return false;
    draft->values = expr_arena_alloc(a->arena, count * sizeof draft->values[0]);
    draft->value_count = 0;
    draft->textual = true;
    draft->exact = true;
    if (draft->values == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!set_value(a, draft, values[i]))
            return false;
    drop_duplicates(draft);
    return true;
}

/* The values of a literal, or of a list of literals. */
static bool set_literals(struct analyst *a, struct draft *draft, const struct node *node, bool list)
{
    if (node->op != OP_CONST)
        return false;
    if (!list)
        return set_values(a, draft, &node->value, 1);
    return node->value.type == EXPR_LIST && !node->value.packed &&
           set_values(a, draft, node->value.as.items, node->value.length);
}

/* ---- Conditions ------------------------------------------------------------------------------ */

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
    bool turned = node->a->op == OP_CONST;
    return read_path(turned ? node->b : node->a, draft) &&
           set_literals(a, draft, turned ? node->a : node->b, false);
}

/* path in ['a', 'b'] and 'a' in path. */
static bool read_membership(struct analyst *a, const struct node *node, struct draft *draft)
{
    draft->member = node->a->op == OP_CONST;
    return draft->member ? read_path(node->b, draft) && set_literals(a, draft, node->a, false)
                         : read_path(node->a, draft) && set_literals(a, draft, node->b, true);
}

/* path.exists(x, x == 'a') and path.exists(x, x in ['a', 'b']). */
static bool read_exists(struct analyst *a, const struct node *node, struct draft *draft)
{
    const struct node *test = node->b;
    if (test->op != OP_EQUAL && test->op != OP_IN)
        return false;
    bool turned = test->op == OP_EQUAL && test->a->op == OP_CONST;
    const struct node *element = turned ? test->b : test->a;
    if (element->op != OP_LOCAL || element->slot != node->slot)
        return false;
    draft->member = true;
    return read_path(node->a, draft) && set_literals(a, draft, turned ? test->a : test->b, test->op == OP_IN);
}

/* A path that is itself the bool that is wanted. */
static bool read_flag(struct analyst *a, const struct node *node, bool truth, struct draft *draft)
{
    struct expr_value value = expr_bool(truth);
    return read_path(node, draft) && set_values(a, draft, &value, 1);
}

static bool read_condition(struct analyst *a, const struct node *node, bool truth, struct draft *draft)
{
    switch (node->op) {
    case OP_EQUAL:
        return truth && read_equality(a, node, draft);
    case OP_DIFFERENT:
        return !truth && read_equality(a, node, draft);
    case OP_IN:
        return truth && read_membership(a, node, draft);
    case OP_EXISTS:
        return truth && read_exists(a, node, draft);
    default:
        return read_flag(a, node, truth, draft);
    }
}

/* ---- Alternatives ---------------------------------------------------------------------------- */

static void require(struct analyst *a, const struct node *node, bool truth, struct finding *f);

/* One way for a tree to come to the wanted truth value: `node` does, and `condition`, if there is one, comes
 * to `holds`. */
struct way {
    const struct node *node;
    const struct node *condition;
    bool holds;
};

/* The draft about the same path. */
static const struct draft *find_path(const struct drafts *drafts, const struct draft *path)
{
    for (size_t i = 0; i < drafts->count; i++)
        if (same_path(&drafts->items[i], path))
            return &drafts->items[i];
    return NULL;
}

/* One path through all ways: the union of what each allows; false if some way leaves it open. */
static bool unite(struct analyst *a, const struct finding *ways, size_t count, struct draft *sum)
{
    size_t total = 0;
    const struct draft path = *sum;
    for (size_t i = 0; i < count; i++) {
        const struct draft *side = find_path(&ways[i].drafts, &path);
        if (side == NULL)
            return false;
        total += side->value_count;
    }
    if (total > VALUES_LIMIT)
        return false;
    sum->values = expr_arena_alloc(a->arena, total * sizeof *sum->values);
    sum->value_count = 0;
    for (size_t i = 0; sum->values != NULL && i < count; i++) {
        const struct draft *side = find_path(&ways[i].drafts, &path);
        memcpy(sum->values + sum->value_count, side->values, side->value_count * sizeof *sum->values);
        sum->value_count += side->value_count;
        sum->textual = sum->textual && side->textual;
    }
    drop_duplicates(sum);
    return sum->values != NULL;
}

/* The sides of the clause that a way contributes: its own requirements, or the sides of a clause of its own.
 */
static size_t sides_of(struct finding *way, struct drafts **sides)
{
    bool own = way->drafts.count > 0 || way->clauses == NULL;
    *sides = own ? &way->drafts : way->clauses->sides;
    return own ? way->drafts.count > 0 : way->clauses->count;
}

static void add_clause(struct analyst *a, struct finding *ways, size_t count, struct finding *f)
{
    size_t total = 0;
    struct drafts *sides;
    for (size_t i = 0; i < count; i++) {
        size_t more = sides_of(&ways[i], &sides);
        total += more;
        if (more == 0 || total > SIDES_LIMIT)
            return;
    }
    struct clause *clause = expr_arena_alloc(a->arena, sizeof *clause);
    struct drafts *all = expr_arena_alloc(a->arena, total * sizeof *all);
    if (clause == NULL || all == NULL)
        return;
    *clause = (struct clause){.sides = all, .next = f->clauses};
    for (size_t i = 0; i < count; i++)
        for (size_t n = sides_of(&ways[i], &sides), k = 0; k < n; k++)
            all[clause->count++] = sides[k];
    f->clauses = clause;
}

/* All that the only way requires. */
static void adopt(struct analyst *a, const struct finding *way, struct finding *f)
{
    f->complete = f->complete && way->complete;
    for (size_t i = 0; i < way->drafts.count; i++)
        if (!add_draft(a, &f->drafts, &way->drafts.items[i]))
            f->complete = false;
    for (struct clause *clause = way->clauses, *next; clause != NULL; clause = next) {
        next = clause->next;
        clause->next = f->clauses;
        f->clauses = clause;
    }
}

/*
 * What all ways have in common: a path that each of them constrains; and that one of them holds. The union
 * over one path is all there is to say only if every way is about this path and completely so.
 */
static void combine(struct analyst *a, struct finding *ways, size_t count, struct finding *f)
{
    bool whole = true;
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        whole = whole && ways[i].complete && ways[i].drafts.count == 1;
    for (size_t i = 0; i < ways[0].drafts.count; i++) {
        struct draft sum = ways[0].drafts.items[i];
        if (!unite(a, ways, count, &sum))
            continue;
        sum.exact = whole;
        found += add_draft(a, &f->drafts, &sum);
    }
    if (whole && found == 1)
        return;
    f->complete = false;
    add_clause(a, ways, count, f);
}

/* Ways that lead nowhere are left out. */
static void require_one(struct analyst *a, const struct way *ways, size_t count, bool truth,
                        struct finding *f)
{
    struct finding *findings = expr_arena_alloc(a->arena, count * sizeof *findings);
    size_t open = 0;
    if (findings == NULL) {
        f->complete = false;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct finding *way = &findings[open];
        *way = (struct finding){.complete = true};
        if (ways[i].condition != NULL)
            require(a, ways[i].condition, ways[i].holds, way);
        require(a, ways[i].node, truth, way);
        open += !way->never;
    }
    if (open == 0)
        f->never = true;
    else if (open == 1)
        adopt(a, findings, f);
    else
        combine(a, findings, open, f);
}

/* && that shall be false or || that shall be true: one child decides. */
static void require_child(struct analyst *a, const struct node *node, bool truth, struct finding *f)
{
    struct way *ways = expr_arena_alloc(a->arena, node->count * sizeof *ways);
    if (ways == NULL) {
        f->complete = false;
        return;
    }
    for (uint32_t i = 0; i < node->count; i++)
        ways[i] = (struct way){.node = node->children[i]};
    require_one(a, ways, node->count, truth, f);
}

static void require_logic(struct analyst *a, const struct node *node, bool truth, struct finding *f)
{
    if ((node->op == OP_OR) == truth) {
        require_child(a, node, truth, f);
        return;
    }
    for (uint32_t i = 0; i < node->count; i++)
        require(a, node->children[i], truth, f);
}

static void require(struct analyst *a, const struct node *node, bool truth, struct finding *f)
{
    struct draft draft = {0};
    switch (node->op) {
    case OP_AND:
    case OP_OR:
        require_logic(a, node, truth, f);
        return;
    case OP_NOT:
        require(a, node->a, !truth, f);
        return;
    case OP_CONDITIONAL: {
        const struct way ways[] = {{node->b, node->a, true}, {node->c, node->a, false}};
        require_one(a, ways, 2, truth, f);
        return;
    }
    case OP_CONST:
        f->never = f->never || node->value.type != EXPR_BOOL || node->value.as.boolean != truth;
        return;
    default:
        if (!read_condition(a, node, truth, &draft) || !add_draft(a, &f->drafts, &draft))
            f->complete = false;
    }
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
    out->textual = draft->textual;
    out->member = draft->member;
    out->exact = draft->exact;
    return true;
}

static const struct expr_requirement *keep_all(struct expr_arena *arena, const struct drafts *drafts,
                                               size_t *count)
{
    struct expr_requirement *items = expr_arena_alloc(arena, (drafts->count + 1) * sizeof *items);
    *count = 0;
    for (size_t i = 0; items != NULL && i < drafts->count; i++)
        *count += keep(arena, &drafts->items[i], &items[*count]);
    return items;
}

static bool keep_clause(struct expr_arena *arena, const struct clause *clause, struct expr_clause *out)
{
    struct expr_side *sides = expr_arena_alloc(arena, clause->count * sizeof *sides);
    for (size_t i = 0; sides != NULL && i < clause->count; i++) {
        sides[i].items = keep_all(arena, &clause->sides[i], &sides[i].count);
        if (sides[i].count == 0)
            return false;
    }
    *out = (struct expr_clause){sides, clause->count};
    return sides != NULL;
}

static void keep_clauses(struct owned *owned, const struct finding *f)
{
    size_t count = 0;
    for (const struct clause *clause = f->clauses; clause != NULL; clause = clause->next)
        count++;
    struct expr_clause *clauses = expr_arena_alloc(owned->arena, (count + 1) * sizeof *clauses);
    owned->public.clauses = clauses;
    for (const struct clause *clause = f->clauses; clauses != NULL && clause != NULL; clause = clause->next)
        owned->public.clause_count += keep_clause(owned->arena, clause, &clauses[owned->public.clause_count]);
}

struct expr_requirements *expr_analyse(const struct expr *expr)
{
    struct owned *owned = xcalloc(1, sizeof *owned);
    struct analyst analyst = {.arena = expr_arena_sized(ANALYSIS_LIMIT, ANALYSIS_FIRST_BYTES)};
    struct finding finding = {.complete = true};
    owned->arena = expr_arena_sized(ANALYSIS_LIMIT, ANALYSIS_FIRST_BYTES);
    require(&analyst, expr->root, true, &finding);
    owned->public.items = keep_all(owned->arena, &finding.drafts, &owned->public.count);
    owned->public.complete = finding.complete && owned->public.count == finding.drafts.count;
    owned->public.never = finding.never;
    keep_clauses(owned, &finding);
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
