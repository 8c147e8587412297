#include "dispatcher/explain.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/str.h"
#include "dispatcher/expr/trace.h"
#include "dispatcher/rules_parts.h"

/* ---- the event ---- */

static void add_view(cJSON *o, const char *name, struct msg_str s)
{
    char *text = msg_str_dup(s);
    if (text)
        cJSON_AddStringToObject(o, name, text);
    free(text);
}

static void add_id(cJSON *o, const char *name, const struct hash_id *id)
{
    char hex[2 * HASH_ID_BYTES + 1];
    str_hex(id->bytes, sizeof id->bytes, hex);
    cJSON_AddStringToObject(o, name, hex);
}

static cJSON *event_json(const struct event *e)
{
    cJSON *o = cJSON_CreateObject();
    add_id(o, "key", &e->key);
    add_view(o, "bridge", e->bridge);
    add_view(o, "channel", e->channel);
    add_view(o, "type", e->type);
    add_view(o, "context", e->context);
    add_view(o, "container", e->container);
    add_view(o, "item", e->item);
    add_view(o, "author", e->author);
    tool_add_time(o, "time", e->timestamp_ms);
    if (e->received_ms > 0)
        tool_add_time(o, "received", e->received_ms);
    cJSON_AddBoolToObject(o, "recovered", e->recovered);
    return o;
}

/* ---- rules ---- */

struct trying {
    struct rules *rules;
    struct expr_value values[MESSAGE_SLOTS];
    struct expr_activation activation;
    struct rule **found;
    size_t count;
};

static void add_part(void *arg, const struct trace_part *p)
{
    static const char *const kinds[] = {[TRACE_ALL] = "all", [TRACE_ANY] = "any", [TRACE_LEAF] = "one"};
    static const char *const verdicts[] = {
        [EXPR_FALSE] = "false", [EXPR_TRUE] = "true", [EXPR_FAILED] = "error"};
    cJSON *o = cJSON_CreateObject();
    char *text = xstrndup(p->text, p->length);
    cJSON_AddStringToObject(o, "text", text);
    free(text);
    cJSON_AddStringToObject(o, "kind", kinds[p->kind]);
    cJSON_AddNumberToObject(o, "level", p->level);
    cJSON_AddStringToObject(o, "is", verdicts[p->verdict]);
    if (p->values[0])
        cJSON_AddStringToObject(o, "values", p->values);
    if (p->failure) {
        cJSON_AddStringToObject(o, "error", p->failure);
        cJSON_AddNumberToObject(o, "error_at", (double)p->failure_at);
    }
    cJSON_AddItemToArray(arg, o);
}

static cJSON *try_rule(struct trying *t, struct rule *rule)
{
    struct expr_value failure = expr_null();
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "rule", rule->name);
    cJSON_AddStringToObject(o, "when", expr_source(rule->when));
    enum expr_verdict verdict = expr_test(rule->when, &t->activation, t->rules->arena, &failure);
    cJSON_AddBoolToObject(o, "matched", verdict == EXPR_TRUE);
    if (verdict == EXPR_FAILED) {
        char *words = xstrndup(failure.as.string, failure.length);
        cJSON_AddStringToObject(o, "error", words);
        free(words);
    }
    expr_trace(rule->when, expr_event_env(), &t->activation, t->rules->arena, add_part,
               cJSON_AddArrayToObject(o, "parts"));
    cJSON_AddArrayToObject(o, "jobs");
    return o;
}

static void note_rule(void *arg, struct rule *rule)
{
    struct trying *t = arg;
    t->found[t->count++] = rule;
}

static int in_order(const void *a, const void *b)
{
    const struct rule *x = *(struct rule *const *)a, *y = *(struct rule *const *)b;
    return (x > y) - (x < y);
}

static void add_counts(cJSON *o, const struct rules *r, size_t tried)
{
    size_t disabled = 0;
    for (size_t i = 0; i < r->count; i++)
        disabled += !r->list[i].enabled;
    cJSON *counts = cJSON_AddObjectToObject(o, "rules");
    cJSON_AddNumberToObject(counts, "total", (double)r->count);
    cJSON_AddNumberToObject(counts, "disabled", (double)disabled);
    cJSON_AddNumberToObject(counts, "skipped", (double)(r->count - disabled - tried));
    cJSON_AddNumberToObject(counts, "tried", (double)tried);
}

cJSON *explain_rules(struct rules *r, const struct event *e)
{
    struct trying t = {.rules = r, .found = xcalloc(r->count + 1, sizeof *t.found)};
    cJSON *o = cJSON_CreateObject();
    rules_values(e, t.values);
    message_values(t.values, "", NULL);
    t.activation = (struct expr_activation){.values = t.values, .value_count = EXPR_EVENT_SLOTS};
    expr_arena_reset(r->arena);
    rules_index_find(r->index, t.values, note_rule, &t);
    if (t.count)
        qsort(t.found, t.count, sizeof(struct rule *), in_order);
    cJSON_AddItemToObject(o, "event", event_json(e));
    add_counts(o, r, t.count);
    cJSON *tried = cJSON_AddArrayToObject(o, "tried");
    for (size_t i = 0; i < t.count; i++) {
        cJSON_AddItemToArray(tried, try_rule(&t, t.found[i]));
        expr_arena_reset(r->arena);
    }
    free(t.found);
    return o;
}

/* ---- jobs ---- */

static cJSON *jobs_of(cJSON *explanation, const char *rule)
{
    cJSON *o;
    cJSON_ArrayForEach(o, cJSON_GetObjectItem(explanation, "tried"))
    {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(o, "rule"));
        if (name && strcmp(name, rule) == 0)
            return cJSON_GetObjectItem(o, "jobs");
    }
    return NULL;
}

static cJSON *gate_json(const struct store_gate *g, bool refused)
{
    static const char *const kinds[] = {
        [GATE_WINDOW] = "window", [GATE_RATE] = "rate", [GATE_BUDGET] = "budget"};
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", g->name);
    cJSON_AddStringToObject(o, "kind", kinds[g->kind]);
    cJSON_AddStringToObject(o, "why", store_why_names[g->why]);
    if (g->kind != GATE_WINDOW) {
        cJSON_AddNumberToObject(o, "used", (double)g->used);
        cJSON_AddNumberToObject(o, "limit", (double)g->limit);
    }
    if (g->kind != GATE_BUDGET)
        cJSON_AddNumberToObject(o, "per_ms", (double)g->per_ms);
    if (g->kind == GATE_BUDGET && g->amount != 1)
        cJSON_AddBoolToObject(o, "money", true);
    if (refused)
        cJSON_AddBoolToObject(o, "refused", true);
    return o;
}

/* Windows come first, then the rest; none behind the first that refuses, and none at all of what was
 * suppressed or collected before. */
static bool was_asked(const struct store_noise *n, size_t i)
{
    bool window = n->gates[i].kind == GATE_WINDOW;
    if (n->refused_by >= n->count)
        return n->why == WHY_NOTHING || n->why == WHY_SHADOW || (window && n->why == n->merge.why);
    bool by_window = n->gates[n->refused_by].kind == GATE_WINDOW;
    return window ? !by_window || i <= n->refused_by : !by_window && i <= n->refused_by;
}

static void add_noise(cJSON *o, const struct store_noise *n)
{
    static const struct hash_id none;
    cJSON *limits = cJSON_AddArrayToObject(o, "limits");
    for (size_t i = 0; n && i < n->count; i++)
        if (was_asked(n, i))
            cJSON_AddItemToArray(limits, gate_json(&n->gates[i], n->refused_by == i));
    if (!n)
        return;
    cJSON_AddBoolToObject(o, "shadow", n->shadow);
    if (n->why != WHY_NOTHING)
        cJSON_AddStringToObject(o, "why", store_why_names[n->why]);
    if (memcmp(&n->digest, &none, sizeof none) == 0)
        return;
    add_id(o, "digest", &n->digest);
    cJSON_AddBoolToObject(o, "digest_opened", n->opened);
    tool_add_time(o, "digest_due", n->digest_due_ms);
}

static void add_text(cJSON *o, const struct store_job *j, struct tool_shown shown)
{
    struct sms_size size = sms_measure(j->text, strlen(j->text));
    if (!j->text[0])
        return;
    if (shown.texts)
        cJSON_AddStringToObject(o, "text", j->text);
    cJSON_AddStringToObject(o, "encoding", sms_encoding_name(size.encoding));
    cJSON_AddNumberToObject(o, "units", (double)size.units);
    cJSON_AddNumberToObject(o, "parts", j->parts >= 0 ? j->parts : (double)size.parts);
    if (j->price_micro >= 0)
        cJSON_AddNumberToObject(o, "price", tool_money(j->price_micro));
    if (j->from)
        cJSON_AddStringToObject(o, "from", j->from);
}

static const char *outcome_of(const struct store_job *j)
{
    static const char *const words[JOB_STATES] = {
        [JOB_QUEUED] = "sent",           [JOB_LEASED] = "sent",   [JOB_HELD] = "waits for its members",
        [JOB_SUPPRESSED] = "suppressed", [JOB_MERGED] = "merged", [JOB_CANCELLED] = "cancelled",
    };
    return words[j->state] ? words[j->state] : job_state_names[j->state];
}

void explain_add_job(cJSON *explanation, const struct rules *r, const struct store_job *j,
                     struct tool_shown shown)
{
    cJSON *jobs = jobs_of(explanation, j->rule);
    if (!jobs)
        return;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "outcome", outcome_of(j));
    if (j->number[0])
        tool_add_number(o, "to", j->number, shown);
    else
        cJSON_AddBoolToObject(o, "missing", true);
    if (j->reason)
        cJSON_AddStringToObject(o, "reason", j->reason);
    add_id(o, "id", &j->id);
    add_text(o, j, shown);
    add_noise(o, j->noise);
    cJSON_AddItemToArray(jobs, o);
    if (!cJSON_HasObjectItem(explanation, "currency"))
        cJSON_AddStringToObject(explanation, "currency", prices_currency(r->prices));
}

/* ---- counters ---- */

struct rule_counts {
    uint64_t matched, jobs, failed, unrendered;
};

struct rule_counts *explain_keep_counts(const struct rules *r)
{
    struct rule_counts *counts = xcalloc(r->count + 1, sizeof *counts);
    for (size_t i = 0; i < r->count; i++) {
        const struct rule *rule = &r->list[i];
        counts[i] = (struct rule_counts){rule->matched, rule->jobs, rule->failed, rule->unrendered};
    }
    return counts;
}

void explain_add_failures(cJSON *explanation, const struct rules *r, const struct rule_counts *counts)
{
    cJSON *o;
    cJSON_ArrayForEach(o, cJSON_GetObjectItem(explanation, "tried"))
    {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(o, "rule"));
        int64_t i = name ? rules_table_find(r->names, name, strlen(name)) : RULES_TABLE_NONE;
        if (i == RULES_TABLE_NONE || !cJSON_IsTrue(cJSON_GetObjectItem(o, "matched")))
            continue;
        const struct rule *rule = &r->list[i];
        if (rule->failed > counts[i].failed && rule->failure)
            cJSON_AddStringToObject(o, "failed", rule->failure);
        if (rule->unrendered > counts[i].unrendered) {
            cJSON_AddBoolToObject(o, "unrendered", true);
            cJSON_AddStringToObject(o, "unrendered_why", rule->insertion_failure);
        }
    }
}

void explain_restore_counts(struct rules *r, struct rule_counts **counts)
{
    for (size_t i = 0; i < r->count; i++) {
        r->list[i].matched = (*counts)[i].matched;
        r->list[i].jobs = (*counts)[i].jobs;
        r->list[i].failed = (*counts)[i].failed;
        r->list[i].unrendered = (*counts)[i].unrendered;
    }
    free(*counts);
    *counts = NULL;
}
