#include "dispatcher/silences.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/str.h"
#include "dispatcher/expr/analysis.h"
#include "dispatcher/facts.h"

enum {
    SWEEP_MS = 30000,
    SWEEPS_A_LOOK = 120, /* at old facts */
    CARET_MAX = 512,
    ID_DIGITS_MAX = 15,
};
static const char silence_prefix[] = SILENCE_FACT;
static const char opt_out_prefix[] = OPT_OUT_FACT;
static const char opt_in_prefix[] = OPT_IN_FACT;

struct silence {
    char *id, *when, *comment, *by;
    int64_t from_ms, until_ms;
    struct expr *expr;
    uint64_t matched, failed;
};

struct silences {
    struct store *store; /* NULL: none */
    struct loop_timer *timer;
    unsigned sweeps;
    struct silence *list; /* by id */
    size_t count, never;  /* NEVER: recalled, and ended before they began */
    int64_t last_id;
    struct facts *opt_outs; /* number -> "", or since when: "1764230400000" */
    struct facts *opt_ins;  /* of the past alone: number -> "FROM UNTIL" of the time before */
};

/* ---- one silence ---- */

static const struct expr_env *silence_env(void)
{
    static const char *names[SILENCE_SLOTS];
    static const struct expr_kind kinds[SILENCE_SLOTS] = {
        EXPR_EVENT_KINDS,
        [SILENCE_SLOT_RULE] = {.types = EXPR_TEXT},
        [SILENCE_SLOT_PRIORITY] = {.types = EXPR_TEXT},
    };
    static struct expr_env env = {.variables = names, .variable_count = SILENCE_SLOTS, .kinds = kinds};
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        names[i] = expr_event_env()->variables[i];
    names[SILENCE_SLOT_RULE] = "rule";
    names[SILENCE_SLOT_PRIORITY] = "priority";
    return &env;
}

static void silence_free(struct silence *one)
{
    free(one->id);
    free(one->when);
    free(one->comment);
    free(one->by);
    expr_free(&one->expr);
}

static struct expr *compile(const char *when, char *why, size_t size)
{
    struct expr_error error;
    struct expr *expr = expr_compile_for(when, strlen(when), silence_env(), &expr_condition, &error);
    if (!expr) {
        char caret[CARET_MAX];
        size_t len = expr_error_caret(when, strlen(when), &error, caret, sizeof caret);
        while (len && caret[len - 1] == '\n')
            caret[--len] = '\0';
        snprintf(why, size, "line %u, column %u: %s\n%s", error.line, error.column, error.message, caret);
    }
    return expr;
}

static const char *text_of(const cJSON *o, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static int64_t number_of(const cJSON *o, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(n) && n->valuedouble > 0 && n->valuedouble < 1e15 ? (int64_t)n->valuedouble : 0;
}

static bool is_fair(const char *text, size_t most)
{
    return !text || (strlen(text) <= most && str_utf8_valid(text, strlen(text)));
}

/* What is wrong with the object, but for the expression; NULL: nothing. */
static const char *fault_of(const cJSON *o)
{
    const char *when = text_of(o, "when");
    if (!cJSON_IsObject(o))
        return "it is no JSON object";
    if (!when || !when[0])
        return "it has no expression";
    if (!is_fair(when, SILENCES_WHEN_MAX))
        return "its expression is longer than 8192 bytes, or no UTF-8";
    if (!is_fair(text_of(o, "comment"), SILENCES_COMMENT_MAX))
        return "its comment is longer than 1000 bytes, or no UTF-8";
    return number_of(o, "until_ms") <= number_of(o, "from_ms") ? "it ends before it begins" : NULL;
}

/* Fills OUT but for its id. */
static int read_silence(const char *text, struct silence *out, char *why, size_t size)
{
    *out = (struct silence){0};
    cJSON *o = cJSON_Parse(text);
    const char *fault = fault_of(o);
    if (fault)
        snprintf(why, size, "%s", fault);
    else
        out->expr = compile(text_of(o, "when"), why, size);
    if (out->expr) {
        const char *comment = text_of(o, "comment"), *by = text_of(o, "by");
        out->when = xstrdup(text_of(o, "when"));
        out->comment = xstrdup(comment ? comment : "");
        out->by = xstrdup(by ? by : "");
        out->from_ms = number_of(o, "from_ms");
        out->until_ms = number_of(o, "until_ms");
    }
    cJSON_Delete(o);
    return out->expr ? 0 : -1;
}

/* 0: it is none of ours. */
static int64_t id_number(const char *id)
{
    size_t digits = strspn(id, "0123456789");
    return digits && digits <= ID_DIGITS_MAX && !id[digits] ? strtoll(id, NULL, 10) : 0;
}

/* ---- the list ---- */

static struct silence *find(const struct silences *s, const char *id)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->list[i].id, id) == 0)
            return &s->list[i];
    return NULL;
}

static bool is_room(const struct silences *s, char *why, size_t size)
{
    if (s->count < SILENCES_MAX)
        return true;
    snprintf(why, size, "there are %d silences already", SILENCES_MAX);
    return false;
}

int silences_check(const struct silences *s, const char *text, char *why, size_t size)
{
    struct silence one;
    if (!is_room(s, why, size) || read_silence(text, &one, why, size))
        return -1;
    silence_free(&one);
    return 0;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = id_number(((const struct silence *)a)->id), y = id_number(((const struct silence *)b)->id);
    return x < y ? -1 : x > y;
}

/* In the place of the one that has its id. */
static void keep(struct silences *s, const struct silence *one)
{
    struct silence *old = find(s, one->id);
    if (old) {
        silence_free(old);
        *old = *one;
    } else {
        s->list = xreallocarray(s->list, s->count + 1, sizeof *s->list);
        s->list[s->count++] = *one;
        qsort(s->list, s->count, sizeof *s->list, by_id);
    }
    if (id_number(one->id) > s->last_id)
        s->last_id = id_number(one->id);
}

int silences_put(struct silences *s, const char *id, const char *text, char *why, size_t size)
{
    struct silence one;
    if ((!find(s, id) && !is_room(s, why, size)) || read_silence(text, &one, why, size))
        return -1;
    one.id = xstrdup(id);
    keep(s, &one);
    return 0;
}

static void remove_at(struct silences *s, size_t at)
{
    silence_free(&s->list[at]);
    s->count--;
    memmove(&s->list[at], &s->list[at + 1], (s->count - at) * sizeof *s->list);
}

void silences_remove(struct silences *s, const char *id)
{
    const struct silence *one = find(s, id);
    if (one)
        remove_at(s, (size_t)(one - s->list));
}

int64_t silences_new_id(struct silences *s)
{
    return ++s->last_id;
}

void silences_count(struct silences *s, const char *id)
{
    struct silence *one = find(s, id);
    if (one)
        one->matched++;
}

uint64_t silences_matched(const struct silences *s, const char *id, uint64_t *failed)
{
    const struct silence *one = find(s, id);
    *failed = one ? one->failed : 0;
    return one ? one->matched : 0;
}

/* ---- doubts ---- */

static bool is_one_of(const struct expr_literal *word, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == word->length && memcmp(*words, word->string, word->length) == 0)
            return true;
    return false;
}

static const char *doubt(const struct expr_requirement *need, const char *what, const char *const *words,
                         char *out, size_t size)
{
    for (size_t i = 0; i < need->value_count; i++)
        if (is_one_of(&need->values[i], words))
            return NULL;
    char *word = xstrndup(need->values[0].string, need->values[0].length);
    const char *near = str_nearest(word, words);
    snprintf(out, size, "there is no %s \"%.100s\"%s%.100s%s", what, word, near ? "; did you mean \"" : "",
             near ? near : "", near ? "\"?" : "");
    free(word);
    return out;
}

const char *silences_doubt(const char *when, const char *const *rules, char *out, size_t size)
{
    static const char *const priorities[] = {"critical", "normal", "bulk", NULL};
    struct expr_error error;
    struct expr *expr = expr_compile_for(when, strlen(when), silence_env(), &expr_condition, &error);
    struct expr_requirements *needs = expr ? expr_analyse(expr) : NULL;
    const char *found = NULL;
    for (size_t i = 0; needs && i < needs->count && !found; i++) {
        const struct expr_requirement *need = &needs->items[i];
        if (need->field_count || need->member || !need->textual)
            continue;
        if (need->slot == SILENCE_SLOT_RULE)
            found = doubt(need, "rule", rules, out, size);
        else if (need->slot == SILENCE_SLOT_PRIORITY)
            found = doubt(need, "priority", priorities, out, size);
    }
    expr_requirements_free(&needs);
    expr_free(&expr);
    return found;
}

/* ---- opt-outs ---- */

/* "FROM UNTIL"; what is not said is for ever. */
static bool holds_at(const char *times, int64_t now_ms)
{
    char *end;
    int64_t from_ms = strtoll(times, &end, 10);
    int64_t until_ms = *end ? strtoll(end, NULL, 10) : INT64_MAX;
    return from_ms <= now_ms && now_ms < until_ms;
}

bool silences_opted_out(const struct silences *s, const char *number, int64_t now_ms)
{
    const char *out = facts_get(s->opt_outs, number), *in = facts_get(s->opt_ins, number);
    return (out && holds_at(out, now_ms)) || (in && holds_at(in, now_ms));
}

void opt_out_put(struct silences *s, const char *number)
{
    facts_set(s->opt_outs, number, "");
}

void opt_out_remove(struct silences *s, const char *number)
{
    facts_set(s->opt_outs, number, NULL);
}

size_t opt_out_count(const struct silences *s)
{
    return facts_count(s->opt_outs);
}

/* ---- matching ---- */

const char *silences_match(struct silences *s, const struct expr_value values[EXPR_EVENT_SLOTS],
                           const char *rule, const char *priority, int64_t now_ms, struct expr_arena *arena)
{
    if (s->count == 0)
        return NULL;
    struct expr_value all[SILENCE_SLOTS];
    memcpy(all, values, EXPR_EVENT_SLOTS * sizeof *values);
    all[SILENCE_SLOT_RULE] = expr_string_z(rule);
    all[SILENCE_SLOT_PRIORITY] = expr_string_z(priority);
    const struct expr_activation activation = {.values = all, .value_count = SILENCE_SLOTS};
    for (size_t i = 0; i < s->count; i++) {
        struct silence *one = &s->list[i];
        if (now_ms < one->from_ms || now_ms >= one->until_ms)
            continue;
        enum expr_verdict verdict = expr_test(one->expr, &activation, arena, NULL);
        one->failed += verdict == EXPR_FAILED;
        if (verdict == EXPR_TRUE)
            return one->id;
    }
    return NULL;
}

/* ---- forgetting ---- */

struct forgetting {
    struct store_fact fact;
    char *name;
};

/* What could not be removed is tried again with the next sweep. */
static void on_forgotten(struct store_unit *unit, enum store_status status)
{
    struct forgetting *f = unit->arg;
    (void)status;
    free(f->name);
    free(f);
}

static void forget_fact(struct silences *s, const char *name)
{
    struct forgetting *f = xcalloc(1, sizeof *f);
    f->name = xstrdup(name);
    f->fact =
        (struct store_fact){.unit = {.kind = STORE_FACT, .done = on_forgotten, .arg = f}, .name = f->name};
    store_submit(s->store, &f->fact.unit);
}

/* When what a fact tells of ended or will end; 0 for a text that says nothing of it. */
static int64_t end_of(const char *text)
{
    cJSON *o = cJSON_Parse(text);
    int64_t until_ms = number_of(o, "until_ms");
    cJSON_Delete(o);
    return until_ms;
}

static void forget_opt_ins(struct silences *s, int64_t now_ms)
{
    size_t cursor = 0;
    const char *name, *text;
    while ((name = store_fact_next(s->store, opt_in_prefix, &cursor, &text)))
        if (end_of(text) < now_ms - SILENCES_KEPT_MS)
            forget_fact(s, name);
}

struct ended {
    const char *name;
    int64_t until_ms;
};

static int latest_first(const void *a, const void *b)
{
    int64_t x = ((const struct ended *)a)->until_ms, y = ((const struct ended *)b)->until_ms;
    return x > y ? -1 : x < y;
}

/* Those that have ended, the latest first. Names are the store's. */
static struct ended *ended_facts(const struct silences *s, int64_t now_ms, size_t *count)
{
    struct ended *list = NULL;
    size_t cursor = 0, size = 0;
    const char *name, *text;
    *count = 0;
    while ((name = store_fact_next(s->store, silence_prefix, &cursor, &text))) {
        int64_t until_ms = end_of(text);
        if (until_ms > now_ms)
            continue;
        if (*count == size) {
            size = size ? 2 * size : 64;
            list = xreallocarray(list, size, sizeof *list);
        }
        list[(*count)++] = (struct ended){name, until_ms};
    }
    if (*count)
        qsort(list, *count, sizeof *list, latest_first);
    return list;
}

/* The last id stays for good, so that none is given twice. */
static void forget_silences(struct silences *s, int64_t now_ms)
{
    size_t count;
    struct ended *list = ended_facts(s, now_ms, &count);
    for (size_t i = 0; i < count; i++) {
        bool old = i >= SILENCES_ENDED_MAX || list[i].until_ms < now_ms - SILENCES_KEPT_MS;
        if (old && id_number(list[i].name + sizeof silence_prefix - 1) < s->last_id)
            forget_fact(s, list[i].name);
    }
    free(list);
}

static void forget_old(struct silences *s)
{
    int64_t now_ms = store_now_ms(s->store);
    forget_silences(s, now_ms);
    forget_opt_ins(s, now_ms);
}

static void sweep(void *arg)
{
    struct silences *s = arg;
    int64_t now_ms = store_now_ms(s->store);
    for (size_t i = s->count; i-- > 0;)
        if (s->list[i].until_ms <= now_ms) {
            log_info("a silence has ended", log_str("id", s->list[i].id),
                     log_int("matched", (int64_t)s->list[i].matched));
            remove_at(s, i);
        }
    if (++s->sweeps % SWEEPS_A_LOOK == 0)
        forget_old(s);
    loop_timer_start(s->timer, SWEEP_MS);
}

/* ---- life ---- */

static void load_silences(struct silences *s)
{
    int64_t now_ms = store_now_ms(s->store);
    size_t cursor = 0;
    const char *name, *text;
    char why[SILENCES_WHY_SIZE];
    while ((name = store_fact_next(s->store, silence_prefix, &cursor, &text))) {
        const char *id = name + sizeof silence_prefix - 1;
        if (id_number(id) > s->last_id)
            s->last_id = id_number(id);
        if (end_of(text) > now_ms && silences_put(s, id, text, why, sizeof why))
            log_error("a silence cannot be used", log_str("id", id), log_str("reason", why));
    }
}

static void load_opt_outs(struct silences *s)
{
    size_t cursor = 0;
    const char *name;
    while ((name = store_fact_next(s->store, opt_out_prefix, &cursor, NULL)))
        opt_out_put(s, name + sizeof opt_out_prefix - 1);
}

struct silences *silences_new(struct store *store)
{
    struct silences *s = xcalloc(1, sizeof *s);
    s->opt_outs = facts_new();
    s->opt_ins = facts_new();
    s->store = store;
    if (!store)
        return s;
    load_silences(s);
    load_opt_outs(s);
    forget_old(s);
    s->timer = loop_timer_new(sweep, s);
    loop_timer_start(s->timer, SWEEP_MS);
    return s;
}

void silences_free(struct silences **p)
{
    struct silences *s = *p;
    if (!s)
        return;
    *p = NULL;
    loop_timer_free(&s->timer);
    for (size_t i = 0; i < s->count; i++)
        silence_free(&s->list[i]);
    free(s->list);
    facts_free(&s->opt_outs);
    facts_free(&s->opt_ins);
    free(s);
}

/* ---- the past ---- */

/* One that was ended before it began has never held. */
static bool recall_silence(struct silences *s, const char *id, const char *value)
{
    char why[SILENCES_WHY_SIZE];
    struct silence one;
    cJSON *o = cJSON_Parse(value);
    bool never = number_of(o, "until_ms") && number_of(o, "until_ms") <= number_of(o, "from_ms");
    cJSON_Delete(o);
    s->never += never;
    if (never)
        return true;
    if (read_silence(value, &one, why, sizeof why))
        return false;
    one.id = xstrdup(id);
    keep(s, &one);
    return true;
}

static bool recall_times(struct facts *into, const char *number, const char *value)
{
    char times[64];
    cJSON *o = cJSON_Parse(value);
    int64_t until_ms = number_of(o, "until_ms");
    int len = snprintf(times, sizeof times, "%" PRId64, number_of(o, "at_ms"));
    if (until_ms)
        snprintf(times + len, sizeof times - (size_t)len, " %" PRId64, until_ms);
    bool good = cJSON_IsObject(o);
    cJSON_Delete(o);
    if (good)
        facts_set(into, number, times);
    return good;
}

/* What stands behind the prefix, or NULL. */
static const char *behind(const char *name, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(name, prefix, len) == 0 ? name + len : NULL;
}

bool silences_recall(struct silences *s, const char *name, const char *value)
{
    const char *id = behind(name, silence_prefix), *out = behind(name, opt_out_prefix),
               *in = behind(name, opt_in_prefix);
    if (id)
        return recall_silence(s, id, value);
    return out ? recall_times(s->opt_outs, out, value) : in && recall_times(s->opt_ins, in, value);
}

static bool overlaps(const char *times, int64_t from_ms, int64_t to_ms)
{
    char *end;
    int64_t since_ms = strtoll(times, &end, 10);
    int64_t until_ms = *end ? strtoll(end, NULL, 10) : INT64_MAX;
    return since_ms <= to_ms && from_ms < until_ms;
}

static size_t opt_outs_held(const struct silences *s, int64_t from_ms, int64_t to_ms)
{
    size_t cursor = 0, count = 0;
    const char *number, *times;
    while ((number = facts_next(s->opt_outs, "", &cursor, &times)))
        count += overlaps(times, from_ms, to_ms);
    cursor = 0;
    while ((number = facts_next(s->opt_ins, "", &cursor, &times))) {
        const char *again = facts_get(s->opt_outs, number);
        count += overlaps(times, from_ms, to_ms) && !(again && overlaps(again, from_ms, to_ms));
    }
    return count;
}

void silences_held(const struct silences *s, int64_t from_ms, int64_t to_ms, size_t *silences,
                   size_t *opt_outs)
{
    *silences = 0;
    for (size_t i = 0; i < s->count; i++)
        *silences += s->list[i].from_ms <= to_ms && from_ms < s->list[i].until_ms;
    *opt_outs = opt_outs_held(s, from_ms, to_ms);
}

int64_t silences_known_since(const struct silences *s, int64_t now_ms)
{
    size_t ended = s->never;
    int64_t first_ms = INT64_MAX;
    for (size_t i = 0; i < s->count; i++)
        if (s->list[i].until_ms <= now_ms) {
            ended++;
            if (s->list[i].until_ms < first_ms)
                first_ms = s->list[i].until_ms;
        }
    int64_t since_ms = now_ms - SILENCES_KEPT_MS;
    return ended >= SILENCES_ENDED_MAX && first_ms > since_ms ? first_ms : since_ms;
}

/* ---- telling ---- */

void silences_status(const struct silences *s, int64_t now_ms, cJSON *status)
{
    cJSON *list = cJSON_AddArrayToObject(status, "silences");
    for (size_t i = 0; i < s->count; i++) {
        const struct silence *one = &s->list[i];
        if (now_ms >= one->until_ms)
            continue;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "id", one->id);
        cJSON_AddStringToObject(o, "when", one->when);
        cJSON_AddNumberToObject(o, "from_ms", (double)one->from_ms);
        cJSON_AddNumberToObject(o, "until_ms", (double)one->until_ms);
        cJSON_AddNumberToObject(o, "left_ms", (double)(one->until_ms - now_ms));
        cJSON_AddStringToObject(o, "comment", one->comment);
        cJSON_AddStringToObject(o, "by", one->by);
        cJSON_AddNumberToObject(o, "matched", (double)one->matched);
        cJSON_AddNumberToObject(o, "failed", (double)one->failed);
        cJSON_AddItemToArray(list, o);
    }
    cJSON_AddNumberToObject(status, "opt_outs", (double)facts_count(s->opt_outs));
}

void silences_metrics(const struct silences *s, int64_t now_ms, struct buf *out)
{
    static const struct metric_def holding = {"silences", METRIC_GAUGE, "Silences that hold.", NULL};
    static const struct metric_def numbers = {"opt_outs", METRIC_GAUGE, "Numbers that have opted out.", NULL};
    int64_t held = 0;
    for (size_t i = 0; i < s->count; i++)
        held += s->list[i].from_ms <= now_ms && now_ms < s->list[i].until_ms;
    metrics_print_head(out, &holding);
    metrics_print_value(out, &holding, NULL, NULL, held);
    metrics_print_head(out, &numbers);
    metrics_print_value(out, &numbers, NULL, NULL, (int64_t)facts_count(s->opt_outs));
}
