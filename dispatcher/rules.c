#include "dispatcher/rules.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/metrics.h"
#include "core/str.h"
#include "dispatcher/rules_fault.h"
#include "dispatcher/rules_parts.h"

enum {
    ARENA_MAX = 4 * 1024 * 1024, /* memory that the expressions of one event, or one message, may use */
    PARTS_MAX = 10,              /* CONTRACT.md section 8 */
    SERIES_MAX = 200,            /* rules with metrics of their own and in status */
};

/* ---- loading ---- */

static const struct slice_setting *text_of(const struct slice_block *b, const char *name,
                                           struct faults *faults)
{
    const struct slice_setting *s = slice_get(b, name);
    if (s && s->text)
        return s;
    faults_add(faults, b->file, b->line, "rule \"%s\" needs \"%s\"", b->title, name);
    return NULL;
}

static void load_when(struct rule *rule, struct faults *faults)
{
    const struct slice_setting *s = text_of(rule->block, "when", faults);
    struct expr_error error;
    if (!s)
        return;
    rule->when = expr_compile_for(s->text, strlen(s->text), expr_event_env(), &expr_condition, &error);
    if (rule->when)
        rule->needs = expr_analyse(rule->when);
    else
        rules_fault(faults, rule->block, "when", s->text, s->line, &error);
}

static void load_messages(struct rule *rule, struct faults *faults)
{
    const struct slice_block *b = rule->block;
    if (text_of(b, "message", faults))
        message_load(&rule->message, MESSAGE_OF_EVENT, b, "message", "messages", faults);
    message_load(&rule->digest_message, MESSAGE_OF_SEVERAL, b, "digest_message", "digest_messages", faults);
    message_load(&rule->storm_message, MESSAGE_OF_SEVERAL, b, "storm_message", "storm_messages", faults);
    rule->fit.transliterate = slice_flag(b, "transliterate", false);
    rule->fit.max_parts = (size_t)slice_number(b, "max_parts", PARTS_MAX);
}

static void load_recipients(struct rules *r, struct rule *rule, struct faults *faults)
{
    const struct slice_block *b = rule->block;
    const struct slice_setting *to = slice_get(b, "to");
    if (!to || to->count == 0)
        faults_add(faults, b->file, b->line, "rule \"%s\" needs \"to\", a list of recipients", b->title);
    else
        rule->to = recipients_audience(r->recipients, b, to, faults);
}

static const char *nearest_provider(const struct slice *slice, const char *word)
{
    size_t count = slice_count(slice, "provider"), n = 0;
    const char **known = xcalloc(count + 1, sizeof *known);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "provider", b));)
        known[n++] = b->title;
    const char *near = str_nearest(word, known);
    free(known);
    return near;
}

static void load_provider(struct rule *rule, const struct slice *slice, struct faults *faults)
{
    const struct slice_block *b = rule->block;
    const struct slice_setting *s = slice_get(b, "provider");
    const struct slice_block *provider = slice_find(slice, "provider", s ? s->text : NULL);
    if (!provider && s) {
        const char *near = nearest_provider(slice, s->text);
        faults_add(faults, b->file, s->line, "no provider \"%s\"%s%s%s", s->text,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    } else if (!provider) {
        faults_add(faults, b->file, b->line, "rule \"%s\" has no provider to send with", b->title);
    }
    if (!provider)
        return;
    int64_t provider_parts = slice_number(provider, "max_parts", 0);
    if (provider_parts > 0 && (size_t)provider_parts < rule->fit.max_parts)
        rule->fit.max_parts = (size_t)provider_parts;
    rule->provider = provider->title;
    rule->from = slice_text(b, "from", slice_text(provider, "from", NULL));
}

static enum job_priority priority_of(const struct slice_block *b)
{
    const char *word = slice_text(b, "priority", "normal");
    if (strcmp(word, "critical") == 0)
        return PRIORITY_CRITICAL;
    return strcmp(word, "bulk") == 0 ? PRIORITY_BULK : PRIORITY_NORMAL;
}

static void load_rule(struct rules *r, struct rule *rule, const struct slice *slice, struct faults *faults)
{
    const struct slice_block *b = rule->block;
    rule->name = b->title;
    rule->priority = priority_of(b);
    rule->expires_ms = slice_number(b, "expires", 24 * INT64_C(3600000));
    rule->enabled = slice_flag(b, "enabled", true);
    rule->cancel_on_delete = slice_flag(b, "cancel_on_delete", true);
    load_when(rule, faults);
    load_messages(rule, faults);
    load_recipients(r, rule, faults);
    load_provider(rule, slice, faults);
    rule->noise = noise_rule_new(r->noise, b, rule->priority, faults);
    rules_table_add(r->names, rule->name, strlen(rule->name));
    r->cancels = r->cancels || (rule->enabled && rule->cancel_on_delete);
}

static const char *language_of(const struct slice *slice)
{
    const struct slice_block *top = slice_find(slice, "bridgebell", NULL);
    return top ? slice_text(top, "language", "en") : "en";
}

/* A budget of money without a price of anything would never be spent. */
static void check_money(const struct rules *r, const struct slice *slice, struct faults *faults)
{
    if (!r->prices || prices_count(r->prices) > 0)
        return;
    noise_check_money(slice_find(slice, "limits", NULL), faults);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "recipients", b));)
        noise_check_money(b, faults);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "rule", b));)
        noise_check_money(b, faults);
}

struct rules *rules_new(const struct slice *slice, struct faults *faults)
{
    size_t faults_before = faults->count;
    struct rules *r = xcalloc(1, sizeof *r);
    r->directory = directory_new(slice, faults);
    r->recipients = recipients_new(slice, r->directory, faults);
    r->noise = noise_new(slice, faults);
    r->prices = prices_new(slice, faults);
    check_money(r, slice, faults);
    r->language = language_of(slice);
    r->names = rules_table_new();
    r->slice = slice;
    rules_load_summaries(r, faults);
    r->list = xcalloc(slice_count(slice, "rule") + 1, sizeof *r->list);
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "rule", b));) {
        struct rule *rule = &r->list[r->count++];
        rule->block = b;
        load_rule(r, rule, slice, faults);
    }
    if (faults->count > faults_before) {
        rules_free(&r);
        return NULL;
    }
    r->arena = expr_arena_new(ARENA_MAX);
    r->scratch = expr_arena_new(ARENA_MAX);
    r->index = rules_index_new(r);
    return r;
}

void rules_free(struct rules **p)
{
    struct rules *r = *p;
    if (!r)
        return;
    *p = NULL;
    rules_index_free(&r->index);
    for (size_t i = 0; i < r->count; i++) {
        expr_requirements_free(&r->list[i].needs);
        expr_free(&r->list[i].when);
        message_free(&r->list[i].message);
        message_free(&r->list[i].digest_message);
        message_free(&r->list[i].storm_message);
        free(r->list[i].failure);
        free(r->list[i].insertion_failure);
    }
    free(r->list);
    recipients_free(&r->recipients);
    recipient_list_free(&r->who);
    for (size_t i = 0; i < WHY_COUNT; i++) {
        message_free(&r->summaries[i]);
        message_free(&r->own[i]);
    }
    noise_free(&r->noise);
    prices_free(&r->prices);
    rules_table_free(&r->names);
    directory_free(&r->directory);
    expr_arena_free(&r->arena);
    expr_arena_free(&r->scratch);
    free(r);
}

const char **rules_names(const struct rules *r)
{
    const char **names = xcalloc(r->count + 1, sizeof *names);
    for (size_t i = 0; i < r->count; i++)
        names[i] = r->list[i].name;
    return names;
}

void rules_use_members(struct rules *r, struct members *members)
{
    r->members = members;
}

void rules_keep_people(struct rules *r)
{
    if (r->directory)
        directory_keep(r->directory);
    else
        directory_forget(r->slice);
}

void rules_refresh(struct rules *r)
{
    if (directory_refresh(r->directory))
        recipients_people_changed(r->recipients);
}

void rules_keep_words(char **slot, const char *words, size_t len)
{
    if (*slot && strlen(*slot) == len && memcmp(*slot, words, len) == 0)
        return;
    free(*slot);
    *slot = xstrndup(words, len);
}

void rules_note_text(struct rule *rule, const struct message_text *text)
{
    if (!text->failures)
        return;
    rule->unrendered++;
    rules_keep_words(&rule->insertion_failure, text->failure, strlen(text->failure));
}

struct rule *rules_find(struct rules *r, const char *name)
{
    int64_t i = rules_table_find(r->names, name, strlen(name));
    return i < 0 ? NULL : &r->list[i];
}

/* ---- telling ---- */

static cJSON *rule_status(const struct rule *rule)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", rule->name);
    cJSON_AddBoolToObject(o, "enabled", rule->enabled);
    cJSON_AddNumberToObject(o, "recipients", (double)audience_fixed(rule->to));
    cJSON_AddBoolToObject(o, "expressions", audience_has_expressions(rule->to));
    cJSON_AddNumberToObject(o, "matched", (double)rule->matched);
    cJSON_AddNumberToObject(o, "jobs", (double)rule->jobs);
    cJSON_AddNumberToObject(o, "errors", (double)rule->failed);
    cJSON_AddNumberToObject(o, "insertions_failed", (double)rule->unrendered);
    if (rule->failure)
        cJSON_AddStringToObject(o, "last_error", rule->failure);
    if (rule->insertion_failure)
        cJSON_AddStringToObject(o, "last_insertion_error", rule->insertion_failure);
    return o;
}

void rules_status(struct rules *r, cJSON *status)
{
    directory_status(r->directory, status);
    cJSON *list = cJSON_AddArrayToObject(status, "rules");
    size_t shown = 0;
    for (size_t i = 0; i < r->count && shown < SERIES_MAX; i++) {
        const struct rule *rule = &r->list[i];
        if (r->count > SERIES_MAX && !rule->matched && !rule->failed)
            continue;
        cJSON_AddItemToArray(list, rule_status(rule));
        shown++;
    }
    cJSON_AddNumberToObject(status, "rules_total", (double)r->count);
}

static uint64_t matched_of(const struct rule *rule)
{
    return rule->matched;
}
static uint64_t jobs_of(const struct rule *rule)
{
    return rule->jobs;
}
static uint64_t failed_of(const struct rule *rule)
{
    return rule->failed;
}
static uint64_t unrendered_of(const struct rule *rule)
{
    return rule->unrendered;
}

/* Above SERIES_MAX rules the sums only. */
static const struct {
    struct metric_def one, sum;
    uint64_t (*value)(const struct rule *rule);
} series[] = {
    {{"rule_matched_total", METRIC_COUNTER, "Events that a rule matched.", "rule"},
     {"rules_matched_total", METRIC_COUNTER, "Events that rules matched.", NULL},
     matched_of},
    {{"rule_jobs_total", METRIC_COUNTER, "Jobs that a rule made.", "rule"},
     {"rules_jobs_total", METRIC_COUNTER, "Jobs that rules made.", NULL},
     jobs_of},
    {{"rule_errors_total", METRIC_COUNTER, "Events on which a rule's condition failed.", "rule"},
     {"rules_errors_total", METRIC_COUNTER, "Events on which a condition failed.", NULL},
     failed_of},
    {{"rule_insertions_failed_total", METRIC_COUNTER, "Messages of a rule with an insertion that failed.",
      "rule"},
     {"rules_insertions_failed_total", METRIC_COUNTER, "Messages with an insertion that failed.", NULL},
     unrendered_of},
};

void rules_metrics(struct rules *r, struct buf *out)
{
    directory_metrics(r->directory, out);
    for (size_t s = 0; s < sizeof series / sizeof series[0]; s++) {
        uint64_t sum = 0;
        bool each = r->count <= SERIES_MAX;
        if (each)
            metrics_print_head(out, &series[s].one);
        for (size_t i = 0; i < r->count; i++) {
            uint64_t value = series[s].value(&r->list[i]);
            sum += value;
            if (each)
                metrics_print_value(out, &series[s].one, r->list[i].name, NULL, (int64_t)value);
        }
        metrics_print_head(out, &series[s].sum);
        metrics_print_value(out, &series[s].sum, "", NULL, (int64_t)sum);
    }
}
