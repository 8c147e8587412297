#include "dispatcher/rules.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/metrics.h"
#include "core/str.h"
#include "dispatcher/rules_fault.h"
#include "dispatcher/rules_parts.h"

enum {
    ARENA_MAX = 4 * 1024 * 1024, /* memory that the expressions of one event may use */
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
    rule->when = expr_compile(s->text, strlen(s->text), expr_event_env(), &error);
    if (rule->when)
        rule->needs = expr_analyse(rule->when);
    else
        rules_fault(faults, rule->block, "when", s->text, s->line, &error);
}

static void load_messages(struct rule *rule, struct faults *faults)
{
    const struct slice_block *b = rule->block;
    if (text_of(b, "message", faults))
        message_load(&rule->message, b, "message", "messages", faults);
    message_load(&rule->digest_message, b, "digest_message", "digest_messages", faults);
    message_load(&rule->storm_message, b, "storm_message", NULL, faults);
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
    rules_own_messages(r);
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
    }
    free(r->list);
    recipients_free(&r->recipients);
    recipient_list_free(&r->who);
    for (size_t i = 0; i < WHY_COUNT; i++)
        message_free(&r->own[i]);
    noise_free(&r->noise);
    prices_free(&r->prices);
    rules_table_free(&r->names);
    directory_free(&r->directory);
    expr_arena_free(&r->arena);
    free(r);
}

void rules_use_members(struct rules *r, struct members *members)
{
    r->members = members;
}

void rules_refresh(struct rules *r)
{
    if (directory_refresh(r->directory))
        recipients_people_changed(r->recipients);
}

/* ---- matching ---- */

static struct expr_value value_of(struct msg_str s)
{
    return s.data ? expr_string(s.data, s.len) : expr_null();
}

void rules_values(const struct event *e, struct expr_value values[EXPR_EVENT_SLOTS])
{
    values[EXPR_SLOT_CHANNEL] = value_of(e->channel);
    values[EXPR_SLOT_TYPE] = value_of(e->type);
    values[EXPR_SLOT_DATA] = expr_value_from_msgpack(e->data);
    values[EXPR_SLOT_TIME] = expr_timestamp_ms(e->timestamp_ms);
    values[EXPR_SLOT_BRIDGE] = value_of(e->bridge);
    values[EXPR_SLOT_CONTEXT] = value_of(e->context);
    values[EXPR_SLOT_CONTAINER] = value_of(e->container);
    values[EXPR_SLOT_ITEM] = value_of(e->item);
    values[EXPR_SLOT_AUTHOR] = value_of(e->author);
    values[EXPR_SLOT_RECOVERED] = expr_bool(e->recovered);
}

/* One event on its way through the rules. */
struct match {
    struct rules *rules;
    const struct event *event;
    const struct event_type *type; /* NULL: unknown */
    const struct hash_id *store_id;
    int64_t now_ms;
    struct expr_value values[MESSAGE_SLOTS]; /* the event's, then those of a message */
    struct expr_activation activation;
    struct rules_jobs *out;
};

/* What was rendered last, and for whom. */
struct rendered {
    const struct expr_template *of;
    const char *lang, *zone;
    struct message_text *text;
};

static struct store_job *new_job(struct rules_jobs *jobs)
{
    if (jobs->count == jobs->size) {
        jobs->size = jobs->size ? jobs->size * 2 : 8;
        jobs->list = xreallocarray(jobs->list, jobs->size, sizeof *jobs->list);
    }
    struct store_job *j = &jobs->list[jobs->count++];
    memset(j, 0, sizeof *j);
    return j;
}

static void job_id(const struct match *m, const struct rule *rule, const char *number, struct hash_id *out)
{
    const struct hash_part parts[] = {
        {m->store_id->bytes, sizeof m->store_id->bytes},
        {m->event->key.bytes, sizeof m->event->key.bytes},
        {rule->name, strlen(rule->name)},
        {number, strlen(number)},
    };
    hash_id(parts, sizeof parts / sizeof parts[0], out);
}

/* Of somebody without a number; the user id tells them apart. */
static void missing_id(const struct match *m, const struct rule *rule, const struct recipient_missing *who,
                       struct hash_id *out)
{
    const struct hash_part parts[] = {
        {m->store_id->bytes, sizeof m->store_id->bytes},
        {m->event->key.bytes, sizeof m->event->key.bytes},
        {rule->name, strlen(rule->name)},
        {"(missing)", strlen("(missing)")},
        {who->key, who->key_len},
    };
    hash_id(parts, sizeof parts / sizeof parts[0], out);
}

bool rules_item_identifies(const struct event_type *type)
{
    return type && (type->is_container || strcmp(type->channel, "kvdb") != 0);
}

const char *rules_deleted_item(const struct rules *r, const struct event *e)
{
    static char item[256];
    const struct event_type *type = event_type_find(e->type.data, e->type.len);
    if (!r->cancels || !type || type->sort != EVENT_DELETED || !rules_item_identifies(type) ||
        !e->item.data || e->item.len >= sizeof item)
        return NULL;
    memcpy(item, e->item.data, e->item.len);
    item[e->item.len] = '\0';
    return item;
}

static void fill_job(const struct match *m, const struct rule *rule, const char *number, const char *text,
                     struct store_job *j)
{
    const struct event *e = m->event;
    job_id(m, rule, number, &j->id);
    j->event = e->key;
    j->bridge = msg_str_dup(e->bridge);
    j->rule = xstrdup(rule->name);
    j->provider = xstrdup(rule->provider);
    j->number = xstrdup(number);
    j->from = rule->from ? xstrdup(rule->from) : NULL;
    j->text = xstrdup(text);
    j->item = rules_item_identifies(m->type) ? msg_str_dup(e->item) : NULL;
    j->container = msg_str_dup(e->container);
    j->priority = rule->priority;
    j->keep_on_delete = !rule->cancel_on_delete || (m->type && m->type->sort == EVENT_DELETED);
    j->event_ms = e->timestamp_ms;
    j->created_ms = m->now_ms;
    j->due_ms = m->now_ms;
    j->expires_ms = rule->expires_ms ? m->now_ms + rule->expires_ms : 0;
    j->state = JOB_QUEUED;
    j->generation = 1;
    j->points_micro = -1;
    j->parts = -1;
    j->price_micro = -1;
    j->received_ns = e->received_mono_ns;
}

/* The text for a person; of the last rendering if it would be the same. */
static const struct message_text *render(struct match *m, struct rule *rule, const struct recipient *to,
                                         struct rendered *last)
{
    const struct expr_template *t = message_pick(&rule->message, to->lang);
    bool same = last->of == t && (!rule->message.personal ||
                                  (strcmp(last->lang, to->lang) == 0 && strcmp(last->zone, to->zone) == 0));
    if (same)
        return last->text;
    const char *lang = message_lang(&rule->message, t, to->lang, m->rules->language);
    message_render(t, m->values, rule->name, lang, to->zone, &rule->fit, m->rules->arena, last->text);
    rule->unrendered += last->text->failures > 0;
    *last = (struct rendered){t, to->lang, to->zone, last->text};
    return last->text;
}

static void note_failure(struct rule *rule, const char *words, size_t len)
{
    rule->failed++;
    if (rule->failure && strlen(rule->failure) == len && memcmp(rule->failure, words, len) == 0)
        return;
    free(rule->failure);
    rule->failure = xstrndup(words, len);
}

static void suppress(struct store_job *j, enum store_why why, char *reason)
{
    j->state = JOB_SUPPRESSED;
    j->reason = reason;
    j->noise = noise_refused(why);
}

static void set_price(const struct match *m, struct store_job *j, const struct message_text *text)
{
    j->parts = (int32_t)text->size.parts;
    j->price_micro = prices_of(m->rules->prices, j->number, text->size.parts);
}

/* The silence that an operator has put over this rule and event, or NULL. */
static const char *silence_of(struct match *m, const struct rule *rule)
{
    static const char *const priorities[] = {"critical", "normal", "bulk"};
    struct silences *s = m->rules->silences;
    return s ? silences_match(s, m->values, rule->name, priorities[rule->priority], m->now_ms,
                              m->rules->arena)
             : NULL;
}

static const char opted_out[] = "the person has opted out";

/* An operator's or a person's wish not to be rung; true if the job is suppressed by it. */
static bool is_unwanted(const struct match *m, const char *silence, struct store_job *j)
{
    const struct silences *s = m->rules->silences;
    if (silence)
        suppress(j, WHY_SILENCE, xasprintf(RULES_SILENCE_WORD "%s", silence));
    else if (s && silences_opted_out(s, j->number))
        suppress(j, WHY_OPT_OUT, xstrdup(opted_out));
    return j->noise != NULL;
}

/* The noise that it had was decided before, and its reason is one of waiting. */
void rules_recheck(const struct rules *r, struct store_job *j)
{
    if (j->state != JOB_QUEUED || !r->silences || !silences_opted_out(r->silences, j->number))
        return;
    if (j->noise)
        free(j->noise->context);
    free(j->noise);
    free(j->reason);
    suppress(j, WHY_OPT_OUT, xstrdup(opted_out));
}

static void add_noise(struct match *m, struct rule *rule, const struct recipient *to, struct store_job *j)
{
    struct expr_value failure = expr_null();
    const struct noise_message message = {.rule = rule->name,
                                          .to = to,
                                          .text = j->text,
                                          .price_micro = j->price_micro,
                                          .event_ms = j->event_ms,
                                          .now_ms = m->now_ms,
                                          .activation = &m->activation,
                                          .arena = m->rules->arena};
    j->noise = noise_of(m->rules->noise, rule->noise, &message, &failure);
    if (failure.type == EXPR_ERROR)
        note_failure(rule, failure.as.string, failure.length);
    if (j->noise->why == WHY_NOTHING)
        return;
    j->state = JOB_SUPPRESSED;
    j->reason = xstrdup(store_why_names[j->noise->why]);
}

static void make_job(struct match *m, struct rule *rule, const struct recipient *to,
                     const struct message_text *text, const char *silence)
{
    struct store_job *j = new_job(m->out);
    fill_job(m, rule, to->number, text->text, j);
    set_price(m, j, text);
    rule->jobs++;
    if (!text->length)
        suppress(j, WHY_EMPTY, xstrdup("the message is empty"));
    else if (!is_unwanted(m, silence, j))
        add_noise(m, rule, to, j);
}

/* Somebody who cannot be rung: a row without a number that says why. */
static void make_missing(struct match *m, struct rule *rule, const struct recipient_missing *who)
{
    struct store_job *j = new_job(m->out);
    fill_job(m, rule, "", "", j);
    missing_id(m, rule, who, &j->id);
    suppress(j, who->why, xasprintf("%s: %s", who->words, who->who));
    rule->jobs++;
}

/* It waits in the place of the jobs that it will lead to. */
static void make_parent(struct match *m, struct rule *rule)
{
    struct store_job *j = new_job(m->out);
    fill_job(m, rule, "", "", j);
    job_id(m, rule, "(members)", &j->id);
    j->state = JOB_HELD;
    j->reason = xstrdup("waits for the members of its container");
}

/* The people of a rule for this event. */
static const struct recipient_list *who_of(struct match *m, struct rule *rule)
{
    struct recipient_list *who = &m->rules->who;
    audience_resolve(rule->to, m->event, m->values, m->rules->members, m->rules->arena, who);
    if (who->failure)
        note_failure(rule, who->failure, strlen(who->failure));
    return who;
}

static void make_jobs(struct match *m, struct rule *rule, const struct recipient_list *who)
{
    static struct message_text text;
    struct rendered last = {.text = &text};
    const char *silence = who->count ? silence_of(m, rule) : NULL;
    for (size_t i = 0; i < who->count; i++)
        make_job(m, rule, &who->list[i], render(m, rule, &who->list[i], &last), silence);
    for (size_t i = 0; i < who->missing_count; i++)
        make_missing(m, rule, &who->missing[i]);
}

static bool holds(struct match *m, struct rule *rule)
{
    struct expr_value failure = expr_null();
    switch (expr_test(rule->when, &m->activation, m->rules->arena, &failure)) {
    case EXPR_TRUE:
        return true;
    case EXPR_FAILED:
        note_failure(rule, failure.as.string, failure.length);
        return false;
    default:
        return false;
    }
}

static void try_rule(void *arg, struct rule *rule)
{
    struct match *m = arg;
    if (!holds(m, rule))
        return;
    rule->matched++;
    const struct recipient_list *who = who_of(m, rule);
    if (who->waits)
        make_parent(m, rule);
    else
        make_jobs(m, rule, who);
}

static void begin_match(struct match *m, struct rules *r, const struct event *event,
                        const struct hash_id *store_id, int64_t now_ms, struct rules_jobs *out)
{
    *m = (struct match){
        .rules = r,
        .event = event,
        .type = event_type_find(event->type.data, event->type.len),
        .store_id = store_id,
        .now_ms = now_ms,
        .out = out,
    };
    rules_values(event, m->values);
    message_values(m->values, "", NULL);
    m->activation = (struct expr_activation){.values = m->values, .value_count = EXPR_EVENT_SLOTS};
    expr_arena_reset(r->arena);
}

void rules_match(struct rules *r, const struct event *event, const struct hash_id *store_id, int64_t now_ms,
                 struct rules_jobs *out)
{
    struct match m;
    begin_match(&m, r, event, store_id, now_ms, out);
    rules_index_find(r->index, m.values, try_rule, &m);
}

/* ---- parents ---- */

static void end_parent(struct rules_expanded *out, enum store_why why, char *reason)
{
    out->ends = true;
    out->why = why;
    out->reason = reason;
}

/* One person or container alone that is missing is told by the parent itself. */
static void expand_nobody(const struct recipient_list *who, struct rules_expanded *out)
{
    const struct recipient_missing *one = who->missing;
    if (who->missing_count)
        end_parent(out, one->why, xasprintf("%s: %s", one->words, one->who));
    else if (who->failure)
        end_parent(out, WHY_UNKNOWN, xasprintf("the expression in `to` failed: %s", who->failure));
    else
        end_parent(out, WHY_UNKNOWN, xstrdup("nobody is left to be rung"));
}

void rules_expand(struct rules *r, const struct store_job *parent, const struct event *event,
                  const struct hash_id *store_id, int64_t now_ms, struct rules_expanded *out)
{
    struct match m;
    struct rule *rule = rules_find(r, parent->rule);
    memset(out, 0, sizeof *out);
    begin_match(&m, r, event, store_id, now_ms, &out->jobs);
    if (!rule || !rule->enabled || !holds(&m, rule)) {
        end_parent(out, WHY_UNKNOWN, xstrdup("the rule is gone, or does not match any more"));
        return;
    }
    const struct recipient_list *who = who_of(&m, rule);
    out->waits = who->waits;
    if (who->waits)
        return;
    if (who->count == 0 && who->missing_count <= 1)
        expand_nobody(who, out);
    else
        make_jobs(&m, rule, who);
    for (size_t i = 0; i < out->jobs.count; i++) {
        out->jobs.list[i].expires_ms = parent->expires_ms;
        out->jobs.list[i].received_ns = 0;
    }
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
