#include "tests/sim/sms.h"

#include <stdlib.h>
#include <string.h>

/* What a fault does to a request, and whether the message is accepted before it strikes. */
static const struct {
    const char *what;
    bool accept;
    enum sms_ending ending;
    enum sms_body body;
} kinds[] = {
    {"delay", true, SMS_ANSWER, SMS_BODY},
    {"hang", true, SMS_HANG, SMS_BODY},
    {"hang_before", false, SMS_HANG, SMS_BODY},
    {"close", true, SMS_CLOSE, SMS_BODY},
    {"close_before", false, SMS_CLOSE, SMS_BODY},
    {"rst", true, SMS_RST, SMS_BODY},
    {"rst_before", false, SMS_RST, SMS_BODY},
    {"status", false, SMS_ANSWER, SMS_BODY_HTML},
    {"status_after", true, SMS_ANSWER, SMS_BODY_HTML},
    {"truncated", true, SMS_TRUNCATE, SMS_BODY},
    {"cut_json", true, SMS_ANSWER, SMS_BODY_CUT},
    {"non_json", true, SMS_ANSWER, SMS_BODY_HTML},
    {"empty", true, SMS_ANSWER, SMS_BODY_EMPTY},
    {"error", false, SMS_ANSWER, SMS_BODY},
    {"error_after", true, SMS_ANSWER, SMS_BODY},
    {"partial", true, SMS_ANSWER, SMS_BODY},
    {"duplicate", true, SMS_TWICE, SMS_BODY},
    {"slow", true, SMS_ANSWER, SMS_BODY},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct sms_rule {
    size_t kind;
    double probability;
    int64_t count; /* -1: endless */
    int64_t skip;
    int64_t ms;
    int64_t jitter_ms;
    bool before;
    int status;
    int retry_after_s;
    int code;
    int64_t keep;
    bool accept_listed;
    char *match;
};

static double number(const cJSON *o, const char *name, double otherwise)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(m) ? m->valuedouble : otherwise;
}

static const char *text(const cJSON *o, const char *name)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsString(m) ? m->valuestring : NULL;
}

static const char *read_rule(struct sms_rule *rule, const cJSON *o)
{
    const char *what = text(o, "what");
    while (rule->kind < KINDS && (what == NULL || strcmp(kinds[rule->kind].what, what) != 0)) {
        rule->kind++;
    }
    if (rule->kind == KINDS) {
        return "unknown fault";
    }
    rule->probability = number(o, "probability", 1);
    rule->count = (int64_t)number(o, "count", -1);
    rule->skip = (int64_t)number(o, "skip", 0);
    rule->ms = (int64_t)number(o, "ms", 0);
    rule->jitter_ms = (int64_t)number(o, "jitter_ms", 0);
    rule->before = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "before")) != 0;
    rule->status = (int)number(o, "status", 500);
    rule->retry_after_s = (int)number(o, "retry_after", -1);
    rule->code = (int)number(o, "code", 201);
    rule->keep = (int64_t)number(o, "keep", 1);
    rule->accept_listed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "accept_listed")) != 0;
    sim_set(&rule->match, text(o, "match"));
    return NULL;
}

void sms_faults_clear(struct sms *s)
{
    for (size_t i = 0; i < s->rule_count; i++) {
        free(s->rules[i].match);
    }
    free(s->rules);
    s->rules = NULL;
    s->rule_count = 0;
    s->close_on_connect = 0;
}

const char *sms_faults_set(struct sms *s, const cJSON *order)
{
    sms_faults_clear(s);
    s->chance = (uint64_t)number(order, "seed", 1);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(order, "faults");
    const cJSON *o;
    cJSON_ArrayForEach(o, list)
    {
        const char *what = text(o, "what");
        if (what != NULL && strcmp(what, "close_on_connect") == 0) {
            s->close_on_connect = (int64_t)number(o, "count", -1);
            continue;
        }
        s->rules = sim_grow(s->rules, s->rule_count + 1, sizeof(*s->rules));
        struct sms_rule *rule = &s->rules[s->rule_count++];
        *rule = (struct sms_rule){0};
        const char *wrong = read_rule(rule, o);
        if (wrong != NULL) {
            sms_faults_clear(s);
            return wrong;
        }
    }
    return NULL;
}

static bool strikes(struct sms *s, struct sms_rule *rule, const struct sim_request *r)
{
    if (rule->count == 0) {
        return false;
    }
    if (rule->match != NULL && memmem(r->body, r->body_length, rule->match, strlen(rule->match)) == NULL) {
        return false;
    }
    if (rule->skip > 0) {
        rule->skip--;
        return false;
    }
    if (rule->probability < 1 && sim_chance(&s->chance) >= rule->probability) {
        return false;
    }
    if (rule->count > 0) {
        rule->count--;
    }
    s->faults_used++;
    return true;
}

static void apply(struct sms *s, const struct sms_rule *rule, struct sms_plan *plan)
{
    const char *what = kinds[rule->kind].what;
    plan->accept = kinds[rule->kind].accept;
    plan->ending = kinds[rule->kind].ending;
    plan->body = kinds[rule->kind].body;
    if (strncmp(what, "status", 6) == 0) {
        plan->http_status = rule->status;
        plan->retry_after_s = rule->retry_after_s;
    } else if (strncmp(what, "error", 5) == 0) {
        plan->error_code = rule->code;
    } else if (strcmp(what, "partial") == 0) {
        plan->list_keep = rule->keep;
        plan->accept_keep = rule->accept_listed ? rule->keep : -1;
    } else if (strcmp(what, "slow") == 0) {
        plan->drip_ms = rule->ms;
    } else {
        int64_t ms = rule->ms + (int64_t)(sim_chance(&s->chance) * (double)rule->jitter_ms);
        plan->before_ms += rule->before ? ms : 0;
        plan->after_ms += rule->before ? 0 : ms;
    }
}

/* Delays add up; of the others the first that strikes decides. */
void sms_faults_plan(struct sms *s, const struct sim_request *r, struct sms_plan *plan)
{
    for (size_t i = 0; i < s->rule_count; i++) {
        struct sms_rule *rule = &s->rules[i];
        if (strikes(s, rule, r)) {
            apply(s, rule, plan);
            if (strcmp(kinds[rule->kind].what, "delay") != 0) {
                return;
            }
        }
    }
}
