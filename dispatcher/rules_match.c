/*
 * From an event to jobs: which rules match, who is meant, what each gets to read, and what stands between
 * that and the queue.
 */
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/rules_parts.h"

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
    message_render(t, m->values, rule->name, lang, to->zone, &rule->fit, m->rules->scratch, last->text);
    rules_note_text(rule, last->text);
    *last = (struct rendered){t, to->lang, to->zone, last->text};
    return last->text;
}

static void note_failure(struct rule *rule, const char *words, size_t len)
{
    rule->failed++;
    rules_keep_words(&rule->failure, words, len);
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
                              m->rules->scratch)
             : NULL;
}

static const char opted_out[] = "the person has opted out";

/* An operator's or a person's wish not to be rung; true if the job is suppressed by it. */
static bool is_unwanted(const struct match *m, const char *silence, struct store_job *j)
{
    const struct silences *s = m->rules->silences;
    if (silence)
        suppress(j, WHY_SILENCE, xasprintf(RULES_SILENCE_WORD "%s", silence));
    else if (s && silences_opted_out(s, j->number, m->now_ms))
        suppress(j, WHY_OPT_OUT, xstrdup(opted_out));
    return j->noise != NULL;
}

/* The noise that it had was decided before, and its reason is one of waiting. */
void rules_recheck(const struct rules *r, struct store_job *j, int64_t now_ms)
{
    if (j->state != JOB_QUEUED || !r->silences || !silences_opted_out(r->silences, j->number, now_ms))
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
                                          .arena = m->rules->scratch};
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
    for (size_t i = 0; i < who->count; i++) {
        expr_arena_reset(m->rules->scratch);
        make_job(m, rule, &who->list[i], render(m, rule, &who->list[i], &last), silence);
    }
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
