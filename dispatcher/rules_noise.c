/*
 * What status, metrics and the log say of noise control.
 */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/metrics.h"
#include "core/str.h"
#include "dispatcher/rules_parts.h"

enum { TELL_EVERY_MS = 60000, NOISE_ROWS_MAX = 1000 };

void rules_silences(struct rules *r, struct silences *silences)
{
    r->silences = silences;
}

static struct budget_warning *warning_of(struct rules *r, const char *name)
{
    for (size_t i = 0; i < r->warnings_count; i++)
        if (strcmp(r->warnings[i].name, name) == 0)
            return &r->warnings[i];
    /* One of many persons' budgets may go unshown; the log has it. */
    if (r->warnings_count == RULES_WARNINGS_MAX)
        return NULL;
    return &r->warnings[r->warnings_count++];
}

/* Kept as it grows; after a restart it is told again by the next message that counts. */
static void keep_warning(struct rules *r, const struct store_gate *g)
{
    struct budget_warning *w = warning_of(r, g->name);
    if (!w)
        return;
    *w = (struct budget_warning){.used = g->used, .limit = g->limit, .ends_ms = g->ends_ms};
    snprintf(w->name, sizeof w->name, "%s", g->name);
}

/* Those of live rules: what a shadow would have spent is no alarm. */
static void tell_budgets(struct rules *r, const struct store_job *job)
{
    for (size_t i = 0; !job->noise->shadow && i < job->noise->count; i++) {
        const struct store_gate *g = &job->noise->gates[i];
        if (g->kind != GATE_BUDGET || (double)g->used * 100 < (double)g->limit * g->warn_percent)
            continue;
        keep_warning(r, g);
        if (g->warned)
            log_warn("a budget is nearly spent", log_str("budget", g->name), log_int("used", g->used),
                     log_int("limit", g->limit));
    }
}

/* What an operator should hear of without asking: limits that hold back what he may have wanted. */
static bool is_worth_telling(enum store_why why)
{
    return why == WHY_CAPS || why == WHY_BUDGET || why == WHY_STORM || why == WHY_THROTTLE ||
           why == WHY_UNKNOWN || why == WHY_NUMBER;
}

void rules_by_hand(const struct rules *r, struct store_job *j, int64_t now_ms)
{
    j->parts = (int32_t)sms_measure(j->text, strlen(j->text)).parts;
    j->price_micro = prices_of(r->prices, j->number, (size_t)j->parts);
    const struct noise_message message = {.rule = j->rule,
                                          .text = j->text,
                                          .price_micro = j->price_micro,
                                          .event_ms = now_ms,
                                          .now_ms = now_ms};
    j->noise = noise_by_hand(r->noise, &message);
}

void rules_note(struct rules *r, const struct store_job *job, int64_t now_ms)
{
    const struct store_noise *n = job->noise;
    struct rule *rule = rules_find(r, job->rule);
    if (n)
        tell_budgets(r, job);
    if (!n || !rule)
        return;
    if (n->why == WHY_SILENCE && r->silences)
        silences_count(r->silences, job->reason + strlen(RULES_SILENCE_WORD));
    if (!is_worth_telling(n->why))
        return;
    struct rule_told *told = &rule->told[n->why];
    told->count++;
    if (told->at_ms && now_ms - told->at_ms < TELL_EVERY_MS)
        return;
    char number[32];
    log_warn("messages are held back", log_str("rule", rule->name), log_str("why", store_why_names[n->why]),
             log_str("limit", n->refused_by < n->count ? n->gates[n->refused_by].name : NULL),
             log_str("to", job->number[0] ? str_mask_number(job->number, number, sizeof number) : NULL),
             log_int("messages", (int64_t)told->count));
    told->count = 0;
    told->at_ms = now_ms;
}

/* ---- status ---- */

static void drop_ended(struct rules *r, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->warnings_count; i++)
        if (r->warnings[i].ends_ms > now_ms)
            r->warnings[kept++] = r->warnings[i];
    r->warnings_count = kept;
}

/* A status stays small: of very many rules it tells how many rows and messages it leaves out. */
static void add_tallies(struct store *store, cJSON *status)
{
    size_t count;
    int64_t messages = 0;
    const struct store_tally *t = store_tallies(store, &count);
    size_t shown = count < NOISE_ROWS_MAX ? count : NOISE_ROWS_MAX;
    cJSON *list = cJSON_AddArrayToObject(status, "noise");
    for (size_t i = 0; i < shown; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "rule", t[i].rule);
        cJSON_AddStringToObject(o, "why", store_why_names[t[i].why]);
        cJSON_AddNumberToObject(o, "messages", (double)t[i].jobs);
        cJSON_AddNumberToObject(o, "parts", (double)t[i].parts);
        cJSON_AddNumberToObject(o, "price", (double)t[i].price_micro / 1e6);
        cJSON_AddItemToArray(list, o);
    }
    for (size_t i = shown; i < count; i++)
        messages += t[i].jobs;
    cJSON *left = cJSON_AddObjectToObject(status, "noise_left_out");
    cJSON_AddNumberToObject(left, "rows", (double)(count - shown));
    cJSON_AddNumberToObject(left, "messages", (double)messages);
}

void rules_noise_status(struct rules *r, struct store *store, cJSON *status)
{
    add_tallies(store, status);
    cJSON_AddStringToObject(status, "currency", prices_currency(r->prices));
    drop_ended(r, store_now_ms(store));
    cJSON *list = cJSON_AddArrayToObject(status, "budget_warnings");
    for (size_t i = 0; i < r->warnings_count; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "budget", r->warnings[i].name);
        cJSON_AddNumberToObject(o, "used", (double)r->warnings[i].used);
        cJSON_AddNumberToObject(o, "limit", (double)r->warnings[i].limit);
        cJSON_AddItemToArray(list, o);
    }
}

void rules_noise_metrics(struct store *store, struct buf *out)
{
    static const struct metric_def defs[] = {
        {"messages_decided_total", METRIC_COUNTER,
         "Messages by what became of them before the queue: rings, or why they were held back.", "why"},
        {"messages_decided_parts_total", METRIC_COUNTER, "Their parts, as reckoned.", "why"},
        {"messages_decided_price_micro_total", METRIC_COUNTER,
         "Their price, as reckoned, in millionths of the currency.", "why"},
    };
    int64_t sums[sizeof defs / sizeof defs[0]][WHY_COUNT] = {{0}};
    size_t count;
    const struct store_tally *t = store_tallies(store, &count);
    for (size_t i = 0; i < count; i++) {
        sums[0][t[i].why] += t[i].jobs;
        sums[1][t[i].why] += t[i].parts;
        sums[2][t[i].why] += t[i].price_micro;
    }
    for (size_t d = 0; d < sizeof defs / sizeof defs[0]; d++) {
        metrics_print_head(out, &defs[d]);
        for (size_t why = 0; why < WHY_COUNT; why++)
            metrics_print_value(out, &defs[d], store_why_names[why], NULL, sums[d][why]);
    }
}
