/*
 * The words of digests and summaries.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/rules_parts.h"

/* ---- own words ---- */

void rules_own_messages(struct rules *r)
{
    static const struct {
        enum store_why why;
        const char *text;
    } own[] = {
        {WHY_DIGEST, "{{ rule }}: {{ count }} messages since {{ date(since, '%H:%M') }}. "
                     "Latest: {{ unsafe(texts[0]) }}"},
        {WHY_QUIET, "{{ count }} messages in quiet hours since {{ date(since, '%d.%m. %H:%M') }}. "
                    "Latest: {{ unsafe(texts[0]) }}"},
        {WHY_STALE, "{{ rule }}: {{ count }} older messages, {{ date(since, '%d.%m. %H:%M') }} to "
                    "{{ date(until, '%d.%m. %H:%M') }}. Latest: {{ unsafe(texts[0]) }}"},
        {WHY_STORM, "{{ rule }}: and {{ count }} more. Latest: {{ unsafe(texts[0]) }}"},
        {WHY_BUDGET, "{{ rule }}: {{ count }} messages, collected to save the budget. "
                     "Latest: {{ unsafe(texts[0]) }}"},
    };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        message_load_text(&r->own[own[i].why], own[i].text);
}

/* ---- closing ---- */

/* The person a digest is for, as its first event saw it. */
static void read_context(const struct rules *r, const char *text, const char *number, cJSON **parsed,
                         struct recipient *out)
{
    *parsed = text ? cJSON_Parse(text) : NULL;
    const char *lang = cJSON_GetStringValue(cJSON_GetObjectItem(*parsed, "lang"));
    const char *zone = cJSON_GetStringValue(cJSON_GetObjectItem(*parsed, "zone"));
    const char *group = cJSON_GetStringValue(cJSON_GetObjectItem(*parsed, "group"));
    *out = (struct recipient){.number = number,
                              .lang = lang ? lang : "en",
                              .zone = zone ? zone : "UTC",
                              .group = noise_group(r->noise, group)};
}

static const struct message *message_of(const struct rules *r, const struct rule *rule, enum store_why why)
{
    if (rule && why == WHY_DIGEST && message_given(&rule->digest_message))
        return &rule->digest_message;
    if (rule && why == WHY_STORM && message_given(&rule->storm_message))
        return &rule->storm_message;
    return message_given(&r->own[why]) ? &r->own[why] : &r->own[WHY_DIGEST];
}

static void digest_values(struct rules *r, const struct store_digest *d, struct expr_value *values)
{
    struct expr_value *texts = expr_arena_alloc(r->arena, STORE_DIGEST_TEXTS * sizeof *texts);
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        values[i] = expr_failure("a digest stands for several events");
    message_values(values, "", NULL);
    for (size_t i = 0; texts && i < d->texts_count; i++)
        texts[i] = expr_string_z(d->texts[i]);
    values[MESSAGE_SLOT_COUNT] = expr_int(d->count);
    values[MESSAGE_SLOT_SINCE] = expr_timestamp_ms(d->since_ms);
    values[MESSAGE_SLOT_UNTIL] = expr_timestamp_ms(d->until_ms);
    values[MESSAGE_SLOT_TEXTS] = expr_list(texts, texts ? d->texts_count : 0);
}

/* One event alone rings with its own words, unless the rule has words for digests. */
static void render(struct rules *r, const struct rule *rule, const struct store_digest *d,
                   const struct recipient *to, struct message_text *out)
{
    static const struct sms_options any = {.max_parts = 10};
    const struct message *m = message_of(r, rule, d->why);
    bool own_words = m != &r->own[d->why] && m != &r->own[WHY_DIGEST];
    if (d->count == 1 && d->texts_count == 1 && !own_words) {
        snprintf(out->text, sizeof out->text, "%s", d->texts[0]);
        out->length = strlen(out->text);
        out->size = sms_measure(out->text, out->length);
        return;
    }
    struct expr_value values[MESSAGE_SLOTS];
    digest_values(r, d, values);
    const struct expr_template *t = message_pick(m, to->lang);
    const char *lang = message_lang(m, t, to->lang, own_words ? r->language : "en");
    message_render(t, values, d->job.rule, lang, to->zone, rule ? &rule->fit : &any, r->arena, out);
}

void rules_close_digest(struct rules *r, struct store_digest *d, int64_t now_ms, int64_t *quiet_until_ms,
                        struct store_job *job)
{
    static struct message_text text;
    const struct rule *rule = rules_find(r, d->job.rule);
    const struct noise_rule *policy = rule ? rule->noise : NULL;
    struct recipient to;
    cJSON *context;
    memset(&text, 0, sizeof text);
    read_context(r, d->context, d->job.number, &context, &to);
    *quiet_until_ms = noise_quiet_until_ms(r->noise, policy, &to, now_ms);
    if (!*quiet_until_ms) {
        expr_arena_reset(r->arena);
        render(r, rule, d, &to, &text);
        free(job->text);
        job->text = xstrdup(text.text);
        job->parts = (int32_t)text.size.parts;
        job->price_micro = prices_of(r->prices, job->number, text.size.parts);
        job->expires_ms = rule && rule->expires_ms ? now_ms + rule->expires_ms : 0;
        const struct noise_message message = {.rule = job->rule,
                                              .to = &to,
                                              .text = job->text,
                                              .price_micro = job->price_micro,
                                              .event_ms = job->event_ms,
                                              .now_ms = now_ms,
                                              .arena = r->arena};
        job->noise = noise_of_digest(r->noise, policy, d->shadow, &message);
        job->state = JOB_QUEUED;
        if (r->silences && silences_opted_out(r->silences, job->number, now_ms)) {
            job->noise->why = WHY_OPT_OUT;
            job->state = JOB_SUPPRESSED;
        }
    }
    cJSON_Delete(context);
}
