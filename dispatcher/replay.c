#include "dispatcher/replay.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/rules_parts.h"

/* ---- sums ---- */

static size_t place_of(const struct replay_side *s, const char *rule)
{
    size_t at = (size_t)hash_table_key(rule, strlen(rule)) & (s->places_size - 1);
    while (s->places[at] && strcmp(s->rules[s->places[at] - 1].rule, rule) != 0)
        at = (at + 1) & (s->places_size - 1);
    return at;
}

static void grow(struct replay_side *s)
{
    size_t wanted = s->places_size ? 2 * s->places_size : 64;
    free(s->places);
    s->places_size = wanted;
    s->places = xcalloc(wanted, sizeof *s->places);
    for (size_t i = 0; i < s->count; i++)
        s->places[place_of(s, s->rules[i].rule)] = i + 1;
}

static struct replay_sum *sum_of(struct replay_side *s, const char *rule)
{
    if (2 * (s->count + 1) > s->places_size)
        grow(s);
    size_t at = place_of(s, rule);
    if (s->places[at])
        return &s->rules[s->places[at] - 1];
    if (s->count == s->size) {
        s->size = s->size ? 2 * s->size : 16;
        s->rules = xreallocarray(s->rules, s->size, sizeof *s->rules);
    }
    memset(&s->rules[s->count], 0, sizeof *s->rules);
    s->rules[s->count].rule = xstrdup(rule);
    s->places[at] = ++s->count;
    return &s->rules[s->count - 1];
}

static int64_t known(int64_t value)
{
    return value > 0 ? value : 0;
}

static void count_outcome(struct replay_sum *sum, const struct engine_outcome *o)
{
    const struct store_job *j = o->job;
    if (o->fate == ENGINE_SENT) {
        sum->messages++;
        sum->parts += known(j->parts);
        sum->price_micro += known(j->price_micro);
    } else if (o->fate == ENGINE_CANCELLED) {
        sum->cancelled++;
    } else if (o->no_members) {
        sum->no_members++;
    } else {
        sum->why[o->why]++;
    }
    if (o->fate == ENGINE_SUPPRESSED && o->why == WHY_SHADOW) {
        sum->shadow++;
        sum->shadow_parts += known(j->parts);
        sum->shadow_price_micro += known(j->price_micro);
    }
}

/* ---- messages ---- */

static void keep_message(struct replay_side *s, const struct engine_outcome *o)
{
    const struct store_job *j = o->job;
    if (s->messages_count == s->messages_size) {
        s->messages_size = s->messages_size ? 2 * s->messages_size : 16;
        s->messages = xreallocarray(s->messages, s->messages_size, sizeof *s->messages);
    }
    s->messages[s->messages_count++] = (struct replay_message){
        .rule = xstrdup(j->rule),
        .number = xstrdup(j->number),
        .text = xstrdup(j->text),
        .from = xstrdup(j->from ? j->from : ""),
        .form = o->form,
        .at_ms = o->at_ms,
        .count = o->count,
        .price_micro = j->price_micro,
        .parts = j->parts,
        .event = o->event ? o->event->key : (struct hash_id){{0}},
        .has_event = o->event != NULL,
    };
}

static void forget_messages(struct replay_side *s)
{
    for (size_t i = 0; i < s->messages_count; i++) {
        free(s->messages[i].rule);
        free(s->messages[i].number);
        free(s->messages[i].text);
        free(s->messages[i].from);
    }
    s->messages_count = 0;
}

void replay_side_add(struct replay_side *s, const struct engine_outcome *o, bool keep)
{
    count_outcome(sum_of(s, o->job->rule), o);
    if (keep && o->fate == ENGINE_SENT)
        keep_message(s, o);
}

void replay_side_free(struct replay_side *s)
{
    forget_messages(s);
    free(s->messages);
    for (size_t i = 0; i < s->count; i++)
        free(s->rules[i].rule);
    free(s->rules);
    free(s->places);
    *s = (struct replay_side){0};
}

/* ---- differences ---- */

static cJSON *message_json(const struct replay_message *m, const char *what, struct tool_shown shown)
{
    char event[2 * HASH_ID_BYTES + 1];
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "what", what);
    tool_add_time(o, "time", m->at_ms);
    cJSON_AddStringToObject(o, "rule", m->rule);
    tool_add_number(o, "to", m->number, shown);
    cJSON_AddStringToObject(o, "form", engine_form_names[m->form]);
    if (m->form != ENGINE_SINGLE)
        cJSON_AddNumberToObject(o, "count", (double)m->count);
    if (m->parts >= 0)
        cJSON_AddNumberToObject(o, "parts", m->parts);
    if (m->price_micro >= 0)
        cJSON_AddNumberToObject(o, "price", tool_money(m->price_micro));
    if (m->has_event) {
        str_hex(m->event.bytes, sizeof m->event.bytes, event);
        cJSON_AddStringToObject(o, "event", event);
    }
    if (shown.texts)
        cJSON_AddStringToObject(o, "text", m->text);
    return o;
}

static bool is_pair(const struct replay_message *a, const struct replay_message *b)
{
    return !a->taken && !b->taken && a->form == b->form && a->at_ms == b->at_ms &&
           strcmp(a->rule, b->rule) == 0 && strcmp(a->number, b->number) == 0;
}

static bool is_same(const struct replay_message *a, const struct replay_message *b)
{
    return strcmp(a->text, b->text) == 0 && strcmp(a->from, b->from) == 0 && a->parts == b->parts &&
           a->price_micro == b->price_micro;
}

/* Takes pairs; of several candidates the one that is the same. */
static struct replay_message *find_pair(struct replay_side *was, const struct replay_message *m, bool same)
{
    for (size_t i = 0; i < was->messages_count; i++)
        if (is_pair(&was->messages[i], m) && (!same || is_same(&was->messages[i], m)))
            return &was->messages[i];
    return NULL;
}

static void take_pairs(struct replay_side *was, struct replay_side *is, bool same, struct tool_shown shown,
                       struct replay_diff *diff, void (*print)(cJSON *json))
{
    for (size_t i = 0; i < is->messages_count; i++) {
        struct replay_message *m = &is->messages[i], *old = m->taken ? NULL : find_pair(was, m, same);
        if (!old)
            continue;
        old->taken = m->taken = true;
        if (same)
            continue;
        sum_of(&diff->sums, m->rule)->changed++;
        cJSON *o = message_json(m, "changed", shown);
        cJSON_AddItemToObject(o, "was", message_json(old, "sent", shown));
        print(o);
    }
}

void replay_compare(struct replay_side *was, struct replay_side *is, struct tool_shown shown,
                    struct replay_diff *diff, void (*print)(cJSON *json))
{
    take_pairs(was, is, true, shown, diff, print);
    take_pairs(was, is, false, shown, diff, print);
    for (size_t i = 0; i < was->messages_count; i++)
        if (!was->messages[i].taken) {
            sum_of(&diff->sums, was->messages[i].rule)->vanished++;
            print(message_json(&was->messages[i], "vanished", shown));
        }
    for (size_t i = 0; i < is->messages_count; i++)
        if (!is->messages[i].taken) {
            sum_of(&diff->sums, is->messages[i].rule)->added++;
            print(message_json(&is->messages[i], "added", shown));
        }
    forget_messages(was);
    forget_messages(is);
}

void replay_diff_free(struct replay_diff *diff)
{
    replay_side_free(&diff->sums);
}

static cJSON *diff_sum(const struct replay_sum *sum)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "added", (double)sum->added);
    cJSON_AddNumberToObject(o, "vanished", (double)sum->vanished);
    cJSON_AddNumberToObject(o, "changed", (double)sum->changed);
    return o;
}

cJSON *replay_diff_json(const struct replay_diff *diff)
{
    struct replay_sum total = {0};
    cJSON *o = cJSON_CreateObject();
    cJSON *rules = cJSON_AddArrayToObject(o, "rules");
    for (size_t i = 0; i < diff->sums.count; i++) {
        const struct replay_sum *sum = &diff->sums.rules[i];
        cJSON *one = diff_sum(sum);
        cJSON_AddStringToObject(one, "rule", sum->rule);
        cJSON_AddItemToArray(rules, one);
        total.added += sum->added;
        total.vanished += sum->vanished;
        total.changed += sum->changed;
    }
    cJSON_AddItemToObject(o, "total", diff_sum(&total));
    return o;
}

/* ---- telling ---- */

static cJSON *sum_json(const struct replay_sum *sum)
{
    int64_t held = 0;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "messages", (double)sum->messages);
    cJSON_AddNumberToObject(o, "parts", (double)sum->parts);
    cJSON_AddNumberToObject(o, "price", tool_money(sum->price_micro));
    cJSON *why = cJSON_AddObjectToObject(o, "not_sent");
    for (int i = 0; i < WHY_COUNT; i++) {
        held += sum->why[i];
        if (sum->why[i])
            cJSON_AddNumberToObject(why, store_why_names[i], (double)sum->why[i]);
    }
    if (sum->no_members)
        cJSON_AddNumberToObject(why, "members not known", (double)sum->no_members);
    if (sum->cancelled)
        cJSON_AddNumberToObject(why, "deleted", (double)sum->cancelled);
    cJSON_AddNumberToObject(o, "not_sent_total", (double)(held + sum->no_members + sum->cancelled));
    if (sum->shadow) {
        cJSON *shadow = cJSON_AddObjectToObject(o, "shadow");
        cJSON_AddNumberToObject(shadow, "messages", (double)sum->shadow);
        cJSON_AddNumberToObject(shadow, "parts", (double)sum->shadow_parts);
        cJSON_AddNumberToObject(shadow, "price", tool_money(sum->shadow_price_micro));
    }
    return o;
}

cJSON *replay_rules(struct rules *rules, struct replay_side *s)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->list[i];
        if (!rule->matched && !rule->failed)
            continue;
        cJSON *o = sum_json(sum_of(s, rule->name));
        cJSON_AddStringToObject(o, "rule", rule->name);
        cJSON_AddNumberToObject(o, "matched", (double)rule->matched);
        cJSON_AddNumberToObject(o, "errors", (double)rule->failed);
        if (rule->failure)
            cJSON_AddStringToObject(o, "last_error", rule->failure);
        cJSON_AddNumberToObject(o, "insertions_failed", (double)rule->unrendered);
        if (rule->insertion_failure)
            cJSON_AddStringToObject(o, "last_insertion_error", rule->insertion_failure);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

cJSON *replay_total(const struct replay_side *s)
{
    struct replay_sum total = {0};
    for (size_t i = 0; i < s->count; i++) {
        const struct replay_sum *sum = &s->rules[i];
        total.messages += sum->messages;
        total.parts += sum->parts;
        total.price_micro += sum->price_micro;
        total.shadow += sum->shadow;
        total.shadow_parts += sum->shadow_parts;
        total.shadow_price_micro += sum->shadow_price_micro;
        total.cancelled += sum->cancelled;
        total.no_members += sum->no_members;
        for (int w = 0; w < WHY_COUNT; w++)
            total.why[w] += sum->why[w];
    }
    return sum_json(&total);
}
