#include "dispatcher/message.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/rules_fault.h"
#include "dispatcher/text/language.h"

/* ---- loading ---- */

/* Names that are never known, so that every message would lack what they stand for. */
static const struct {
    size_t first, behind;
    const char *why;
} unknown[] = {
    [MESSAGE_OF_EVENT] = {MESSAGE_SLOT_COUNT, MESSAGE_SLOT_TEXTS + 1, "only digests and summaries have it"},
    [MESSAGE_OF_SEVERAL] = {0, EXPR_EVENT_SLOTS,
                            "this stands for several events; it sees count, since, until, texts, rule, lang "
                            "and zone"},
};

static void check_names(const struct expr_template *t, enum message_of of, const struct slice_block *b,
                        const char *name, unsigned line, struct faults *faults)
{
    for (size_t i = unknown[of].first; i < unknown[of].behind; i++)
        if (expr_template_uses_slot(t, i))
            faults_add(faults, b->file, line, "`%s`: `%s` is not known here: %s", name,
                       message_env()->variables[i], unknown[of].why);
}

static struct expr_template *compile(const struct slice_block *b, enum message_of of, const char *name,
                                     const char *text, size_t skipped, unsigned line, struct faults *faults)
{
    struct expr_error error;
    const char *body = text + skipped;
    struct expr_template *t = expr_template_compile(body, strlen(body), message_env(), &error);
    if (t)
        check_names(t, of, b, name, line, faults);
    else
        rules_fault(faults, b, name, body, line, &error);
    return t;
}

static bool is_personal(const struct expr_template *t)
{
    return expr_template_uses_function(t, "date") || expr_template_uses_function(t, "plural") ||
           expr_template_uses_slot(t, MESSAGE_SLOT_LANG) || expr_template_uses_slot(t, MESSAGE_SLOT_ZONE);
}

/* "pl: text": the length of the language, 0 if there is none. */
static size_t lang_length(const char *entry)
{
    size_t len = strcspn(entry, ":");
    return len < MESSAGE_LANG_SIZE && entry[len] == ':' && language_is_tag(entry, len) ? len : 0;
}

static void load_translation(struct message *m, enum message_of of, const struct slice_block *b,
                             const struct slice_setting *s, size_t index, struct faults *faults)
{
    const char *entry = s->list[index];
    unsigned line = slice_line(s, index);
    size_t len = lang_length(entry);
    if (!len) {
        faults_add(faults, b->file, line,
                   "`%s`: `%.20s`: expected a language such as pl or en-GB in front, as in \"pl: …\"",
                   s->name, entry);
        return;
    }
    struct message_translation *t = &m->others[m->count];
    memcpy(t->lang, entry, len);
    for (size_t i = 0; i < m->count; i++)
        if (strcasecmp(m->others[i].lang, t->lang) == 0)
            faults_add(faults, b->file, line, "`%s`: `%s` is there twice", s->name, t->lang);
    size_t skipped = len + 1;
    skipped += strspn(entry + skipped, " \t\r\n");
    t->text = compile(b, of, s->name, entry, skipped, line, faults);
    m->personal = true;
    m->count += t->text != NULL;
}

void message_load(struct message *m, enum message_of of, const struct slice_block *b, const char *name,
                  const char *translations, struct faults *faults)
{
    const struct slice_setting *s = name ? slice_get(b, name) : NULL;
    if (s && s->text)
        m->plain = compile(b, of, name, s->text, 0, s->line, faults);
    m->personal = m->plain && is_personal(m->plain);
    const struct slice_setting *list = slice_get(b, translations);
    if (!list)
        return;
    m->others = xcalloc(list->count + 1, sizeof *m->others);
    for (size_t i = 0; i < list->count; i++)
        load_translation(m, of, b, list, i, faults);
}

void message_add(struct message *m, const char *lang, const char *text)
{
    struct expr_error error;
    m->others = xreallocarray(m->others, m->count + 1, sizeof *m->others);
    struct message_translation *t = &m->others[m->count++];
    snprintf(t->lang, sizeof t->lang, "%s", lang);
    t->text = expr_template_compile(text, strlen(text), message_env(), &error);
    if (!t->text)
        panic("own message: %s", error.message);
    m->personal = true;
}

void message_free(struct message *m)
{
    expr_template_free(&m->plain);
    for (size_t i = 0; i < m->count; i++)
        expr_template_free(&m->others[i].text);
    free(m->others);
    memset(m, 0, sizeof *m);
}

/* ---- rendering ---- */

const struct expr_template *message_translated(const struct message *m, const char *lang)
{
    size_t main_len = strcspn(lang, "-_");
    for (size_t i = 0; i < m->count; i++)
        if (strcasecmp(m->others[i].lang, lang) == 0)
            return m->others[i].text;
    for (size_t i = 0; i < m->count; i++)
        if (strncasecmp(m->others[i].lang, lang, main_len) == 0 && !m->others[i].lang[main_len])
            return m->others[i].text;
    return NULL;
}

const struct expr_template *message_pick(const struct message *m, const char *lang)
{
    const struct expr_template *t = message_translated(m, lang);
    return t ? t : m->plain;
}

const char *message_lang(const struct message *m, const struct expr_template *t, const char *lang,
                         const char *plain_lang)
{
    return t == m->plain ? plain_lang : lang;
}

static bool is_blank(char c)
{
    return isspace((unsigned char)c);
}

/* Fitting may write more bytes than it was given, though no more characters than fit into ten parts. */
static void bound(struct message_text *out)
{
    if (out->length > WIRE_TEXT_MAX)
        out->length = text_valid_prefix(out->text, WIRE_TEXT_MAX);
    out->text[out->length] = '\0';
}

void message_render(const struct expr_template *t, struct expr_value values[MESSAGE_SLOTS], const char *rule,
                    const char *lang, const char *zone, const struct sms_options *fit,
                    struct expr_arena *arena, struct message_text *out)
{
    static char raw[WIRE_TEXT_MAX + 1];
    struct message_context context = {.lang = lang, .zone = zone};
    const struct expr_activation activation = {
        .values = values, .value_count = MESSAGE_SLOTS, .context = &context};
    values[MESSAGE_SLOT_RULE] = expr_string_z(rule);
    values[MESSAGE_SLOT_LANG] = expr_string_z(lang);
    values[MESSAGE_SLOT_ZONE] = expr_string_z(zone);
    struct expr_template_result result = expr_template_render(t, &activation, arena, 0, raw, sizeof raw);
    const char *start = raw;
    size_t len = result.length;
    while (len && is_blank(start[len - 1]))
        len--;
    while (len && is_blank(*start)) {
        start++;
        len--;
    }
    struct sms_fitted fitted;
    sms_fit(start, len, fit, out->text, sizeof out->text, &fitted);
    out->length = fitted.length;
    out->size = fitted.size;
    out->transliterated = fitted.transliterated;
    out->trimmed = fitted.trimmed;
    out->failures = result.failures;
    snprintf(out->failure, sizeof out->failure, "%s", result.failure);
    bound(out);
}
