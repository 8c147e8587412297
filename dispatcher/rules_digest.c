/*
 * The words of digests and summaries.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/rules_parts.h"

/* ---- words ---- */

#define LATEST_EN "Latest: {{ unsafe(texts[0]) }}"
#define LATEST_PL "Ostatnia: {{ unsafe(texts[0]) }}"
#define MESSAGES_EN "{{ count }} {{ plural(count, 'message', 'messages') }}"
#define MESSAGES_PL "{{ count }} {{ plural(count, 'wiadomość', 'wiadomości', 'wiadomości') }}"
#define DAY_EN "'%d.%m. %H:%M'"
#define DAY_PL "'%d.%m, %H:%M'"

static const char *const own_languages[] = {"en", "pl"};
enum { OWN_LANGUAGES = sizeof own_languages / sizeof own_languages[0] };

/* By the setting of the block `summaries`; the texts in the order of the languages. */
static const struct {
    enum store_why why;
    const char *setting, *own[OWN_LANGUAGES];
} kinds[] = {
    {WHY_DIGEST,
     "digest",
     {"{{ rule }}: " MESSAGES_EN " since {{ date(since, '%H:%M') }}. " LATEST_EN,
      "{{ rule }}: " MESSAGES_PL " od {{ date(since, '%H:%M') }}. " LATEST_PL}},
    {WHY_QUIET,
     "quiet_hours",
     {MESSAGES_EN " in quiet hours since {{ date(since, " DAY_EN ") }}. " LATEST_EN,
      MESSAGES_PL " w godzinach ciszy od {{ date(since, " DAY_PL ") }}. " LATEST_PL}},
    {WHY_STALE,
     "max_age",
     {"{{ rule }}: {{ count }} older {{ plural(count, 'message', 'messages') }}, {{ date(since, " DAY_EN
      ") }} to {{ date(until, " DAY_EN ") }}. " LATEST_EN,
      "{{ rule }}: {{ count }} {{ plural(count, 'starsza wiadomość', 'starsze wiadomości', "
      "'starszych wiadomości') }}, {{ date(since, " DAY_PL ") }} do {{ date(until, " DAY_PL
      ") }}. " LATEST_PL}},
    {WHY_STORM,
     "storm",
     {"{{ rule }}: and {{ count }} more. " LATEST_EN, "{{ rule }}: i jeszcze {{ count }}. " LATEST_PL}},
    {WHY_BUDGET,
     "budget",
     {"{{ rule }}: " MESSAGES_EN ", collected to save the budget. " LATEST_EN,
      "{{ rule }}: " MESSAGES_PL " w jednej, aby oszczędzić budżet. " LATEST_PL}},
};

void rules_load_summaries(struct rules *r, struct faults *faults)
{
    const struct slice_block *b = slice_find(r->slice, "summaries", NULL);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (b)
            message_load(&r->summaries[kinds[i].why], MESSAGE_OF_SEVERAL, b, NULL, kinds[i].setting, faults);
        for (size_t l = 0; l < OWN_LANGUAGES; l++)
            message_add(&r->own[kinds[i].why], own_languages[l], kinds[i].own[l]);
    }
}

/* A text and the language that its plural forms and dates are in. */
struct words {
    const struct expr_template *text;
    const char *lang;
    bool of_rule;
};

static bool translate(const struct message *m, const char *lang, struct words *out)
{
    const struct expr_template *t = m ? message_translated(m, lang) : NULL;
    if (t)
        *out = (struct words){t, lang, false};
    return t != NULL;
}

static const struct message *message_of(const struct rule *rule, enum store_why why)
{
    return rule && why == WHY_DIGEST  ? &rule->digest_message
           : rule && why == WHY_STORM ? &rule->storm_message
                                      : NULL;
}

/* The rule's words; where it has none in the person's language, and no plain ones, those for all rules. What
 * nobody says in the person's language is said in the installation's, else in English. */
static void words_for(const struct rules *r, const struct rule *rule, enum store_why why, const char *lang,
                      struct words *out)
{
    const struct message *of_rule = message_of(rule, why);
    const char *const languages[] = {lang, r->language, "en"};
    for (size_t i = 0; i < sizeof languages / sizeof languages[0]; i++) {
        if (translate(of_rule, languages[i], out) || (of_rule && of_rule->plain)) {
            if (!out->text)
                *out = (struct words){of_rule->plain, r->language, true};
            out->of_rule = true;
            return;
        }
        if (translate(&r->summaries[why], languages[i], out) || translate(&r->own[why], languages[i], out))
            return;
    }
    /* No digest is opened for a reason that has no words, but damage on disk may make it one. */
    translate(&r->own[WHY_DIGEST], "en", out);
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
    struct words words = {.text = NULL};
    words_for(r, rule, d->why, to->lang, &words);
    if (d->count == 1 && d->texts_count == 1 && !words.of_rule) {
        snprintf(out->text, sizeof out->text, "%s", d->texts[0]);
        out->length = strlen(out->text);
        out->size = sms_measure(out->text, out->length);
        return;
    }
    struct expr_value values[MESSAGE_SLOTS];
    digest_values(r, d, values);
    message_render(words.text, values, d->job.rule, words.lang, to->zone, rule ? &rule->fit : &any, r->arena,
                   out);
}

static void set_text(char **to, const char *text)
{
    char *copy = text ? xstrdup(text) : NULL;
    free(*to);
    *to = copy;
}

/* As the rule says it now. The provider of one that is gone may be gone, too. */
static void set_provider(const struct rules *r, const struct rule *rule, struct store_job *job)
{
    const struct slice_block *first = slice_find(r->slice, "provider", NULL);
    if (rule) {
        set_text(&job->provider, rule->provider);
        set_text(&job->from, rule->from);
    } else if (first && !slice_find(r->slice, "provider", job->provider)) {
        set_text(&job->provider, first->title);
        set_text(&job->from, slice_text(first, "from", NULL));
    }
}

/* The message that the digest becomes, with what limits say of it. */
static void write_message(struct rules *r, struct rule *rule, const struct store_digest *d,
                          const struct recipient *to, int64_t now_ms, struct store_job *job)
{
    static struct message_text text;
    memset(&text, 0, sizeof text);
    expr_arena_reset(r->arena);
    render(r, rule, d, to, &text);
    if (rule)
        rules_note_text(rule, &text);
    set_provider(r, rule, job);
    set_text(&job->text, text.text);
    job->parts = (int32_t)text.size.parts;
    job->price_micro = prices_of(r->prices, job->number, text.size.parts);
    job->expires_ms = rule && rule->expires_ms ? now_ms + rule->expires_ms : 0;
    const struct noise_message message = {.rule = job->rule,
                                          .to = to,
                                          .text = job->text,
                                          .price_micro = job->price_micro,
                                          .event_ms = job->event_ms,
                                          .now_ms = now_ms,
                                          .arena = r->arena};
    job->noise = noise_of_digest(r->noise, rule ? rule->noise : NULL, d->shadow, &message);
    job->state = JOB_QUEUED;
    if (r->silences && silences_opted_out(r->silences, job->number, now_ms)) {
        job->noise->why = WHY_OPT_OUT;
        job->state = JOB_SUPPRESSED;
    }
}

void rules_close_digest(struct rules *r, struct store_digest *d, int64_t now_ms, int64_t *quiet_until_ms,
                        struct store_job *job)
{
    struct rule *rule = rules_find(r, d->job.rule);
    struct recipient to;
    cJSON *context;
    read_context(r, d->context, d->job.number, &context, &to);
    *quiet_until_ms = noise_quiet_until_ms(r->noise, rule ? rule->noise : NULL, &to, now_ms);
    /* Whose quiet hours they were nobody can say any more. */
    if (!rule && d->why == WHY_QUIET && job->due_ms > now_ms && job->due_ms > *quiet_until_ms)
        *quiet_until_ms = job->due_ms;
    if (!*quiet_until_ms)
        write_message(r, rule, d, &to, now_ms, job);
    cJSON_Delete(context);
}
