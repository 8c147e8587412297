#include "master/explain_view.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "master/json.h"
#include "master/recalled.h"
#include "master/table.h"
#include "master/text.h"

enum { INDENT = 2 };

struct page {
    FILE *out;
    bool colour;
    size_t width;
    const char *currency;
};

static void print(const struct page *p, enum text_colour colour, const char *text)
{
    char *clean = text_clean(text, TEXT_ONE_LINE);
    fprintf(p->out, "%s%s%s", text_colour_on(colour, p->colour), clean, text_colour_off(colour, p->colour));
    free(clean);
}

static void blanks(const struct page *p, size_t count)
{
    fprintf(p->out, "%*s", (int)count, "");
}

/* ---- members, one a line ---- */

/* Numbers are counts, but for prices. */
static const char *value_of(const char *name, const cJSON *v, char *out, size_t size)
{
    if (cJSON_IsString(v))
        return v->valuestring;
    if (!cJSON_IsNumber(v))
        return cJSON_IsTrue(v) ? "yes" : "no";
    if (strcmp(name, "price") != 0)
        return text_number(v->valuedouble, out, size);
    snprintf(out, size, "%.2f", v->valuedouble);
    return out;
}

static void print_members(const struct page *p, const cJSON *o, const char *const *names)
{
    for (; *names; names++) {
        const cJSON *v = json_member(o, *names);
        char number[48];
        if (!v || (cJSON_IsString(v) && !v->valuestring[0]))
            continue;
        fprintf(p->out, "  %-10s ", *names);
        print(p, TEXT_PLAIN, value_of(*names, v, number, sizeof number));
        fputc('\n', p->out);
    }
}

static void print_job_row(const struct page *p, const cJSON *job)
{
    static const char *const names[] = {"id",      "state",  "rule",  "to",      "provider", "from",
                                        "attempt", "reason", "code",  "created", "due",      "finished",
                                        "event",   "parts",  "price", "text",    NULL};
    print(p, TEXT_BOLD, "JOB");
    fputc('\n', p->out);
    print_members(p, job, names);
    fputc('\n', p->out);
}

static void print_event(const struct page *p, const cJSON *event)
{
    static const char *const names[] = {"key",  "bridge", "channel", "type",     "context", "container",
                                        "item", "author", "time",    "received", NULL};
    print(p, TEXT_BOLD, "EVENT");
    fputc('\n', p->out);
    print_members(p, event, names);
    if (json_flag(event, "recovered"))
        fputs("  recovered  yes: catch-up fetched it\n", p->out);
}

/* ---- a rule's condition ---- */

static enum text_colour colour_of(const char *verdict)
{
    return strcmp(verdict, "true") == 0 ? TEXT_GREEN : strcmp(verdict, "false") == 0 ? TEXT_RED : TEXT_YELLOW;
}

/* The condition's words with what failed underlined by a caret. */
static void print_caret(const struct page *p, const cJSON *part, size_t indent)
{
    const char *text = json_text(part, "text");
    size_t at = (size_t)json_number(part, "error_at"), len = strlen(text);
    char *before = xstrndup(text, at < len ? at : len);
    char *clean = text_clean(before, TEXT_ONE_LINE);
    blanks(p, indent + text_width(clean));
    print(p, TEXT_YELLOW, "^ ");
    print(p, TEXT_YELLOW, json_text(part, "error"));
    fputc('\n', p->out);
    free(clean);
    free(before);
}

static void print_part(const struct page *p, const cJSON *part)
{
    const char *is = json_text(part, "is"), *values = json_text(part, "values"),
               *kind = json_text(part, "kind");
    size_t indent = 2 * INDENT + 2 * (size_t)json_number(part, "level");
    blanks(p, indent);
    fprintf(p->out, "%s%-5s%s  ", text_colour_on(colour_of(is), p->colour), is,
            text_colour_off(colour_of(is), p->colour));
    print(p, TEXT_PLAIN, json_text(part, "text"));
    fputc('\n', p->out);
    if (strcmp(is, "error") == 0)
        print_caret(p, part, indent + 7);
    else if (values[0] && strcmp(is, "false") == 0 && strcmp(kind, "one") == 0) {
        blanks(p, indent + 7);
        print(p, TEXT_DIM, values);
        fputc('\n', p->out);
    }
}

/* ---- a rule's jobs ---- */

static void print_limit(struct table *t, const cJSON *limit)
{
    char state[96], per[32];
    double used = json_number(limit, "used"), most = json_number(limit, "limit");
    const char *kind = json_text(limit, "kind");
    table_cell(t, json_text(limit, "name"));
    if (strcmp(kind, "window") == 0)
        snprintf(state, sizeof state, "once in %s",
                 str_duration((int64_t)json_number(limit, "per_ms"), per, sizeof per));
    else if (json_flag(limit, "money"))
        snprintf(state, sizeof state, "%.2f of %.2f used", used / 1e6, most / 1e6);
    else
        snprintf(state, sizeof state, "%.0f of %.0f used", used, most);
    table_cell(t, state);
    table_cell_coloured(t, json_flag(limit, "refused") ? "refused" : "", TEXT_RED);
}

static void print_limits(const struct page *p, const cJSON *job)
{
    static const char *const heads[] = {"limit", "state", ""};
    struct table *t = table_new(heads, sizeof heads / sizeof heads[0]);
    const cJSON *limit;
    cJSON_ArrayForEach(limit, json_member(job, "limits")) print_limit(t, limit);
    if (table_rows(t))
        table_print(t, p->out, 4 * INDENT, p->width, p->colour);
    table_free(&t);
}

static void print_message(const struct page *p, const cJSON *job)
{
    const cJSON *text = json_member(job, "text");
    double parts = json_number(job, "parts");
    if (parts > 0) {
        blanks(p, 4 * INDENT);
        fprintf(p->out, "%.0f part%s, %s, %.0f unit%s", parts, parts > 1 ? "s" : "",
                json_text(job, "encoding"), json_number(job, "units"),
                json_number(job, "units") == 1 ? "" : "s");
        if (json_member(job, "price"))
            fprintf(p->out, ", %.2f %s", json_number(job, "price"), p->currency);
        fputc('\n', p->out);
    }
    if (text) {
        blanks(p, 4 * INDENT);
        print(p, TEXT_PLAIN, json_text(job, "text"));
        fputc('\n', p->out);
    }
}

static void print_job(const struct page *p, const cJSON *job)
{
    const char *outcome = json_text(job, "outcome");
    if (strcmp(outcome, "waits for its members") == 0) {
        blanks(p, 2 * INDENT);
        fputs("-> the members of its container  ", p->out);
        print(p, TEXT_YELLOW, "are not known: the Bridge has not told them yet");
        fputc('\n', p->out);
        return;
    }
    enum text_colour colour = strcmp(outcome, "sent") == 0 ? TEXT_GREEN : TEXT_YELLOW;
    blanks(p, 2 * INDENT);
    fprintf(p->out, "-> %s  ",
            json_flag(job, "missing") ? "somebody without a number" : json_text(job, "to"));
    print(p, colour, strcmp(outcome, "sent") == 0 ? "would be sent" : outcome);
    const char *reason = json_text(job, "reason")[0] ? json_text(job, "reason") : json_text(job, "why");
    if (reason[0]) {
        fputs(": ", p->out);
        print(p, colour, reason);
    }
    fputc('\n', p->out);
    print_message(p, job);
    if (json_text(job, "digest")[0]) {
        blanks(p, 4 * INDENT);
        fprintf(p->out, "%s digest %.10s, which closes at %s\n",
                json_flag(job, "digest_opened") ? "opens" : "joins", json_text(job, "digest"),
                json_text(job, "digest_due"));
    }
    print_limits(p, job);
}

/* What failed behind the condition: of recipients, of keys, of the text. */
static void print_failures(const struct page *p, const cJSON *rule)
{
    if (json_text(rule, "failed")[0]) {
        blanks(p, 2 * INDENT);
        fputs("an expression for recipients or a key failed: ", p->out);
        print(p, TEXT_YELLOW, json_text(rule, "failed"));
        fputc('\n', p->out);
    }
    if (json_flag(rule, "unrendered")) {
        blanks(p, 2 * INDENT);
        fputs("a part of the text failed and became ?: ", p->out);
        print(p, TEXT_YELLOW, json_text(rule, "unrendered_why"));
        fputc('\n', p->out);
    }
    if (json_flag(rule, "matched") && !cJSON_GetArraySize(json_member(rule, "jobs"))) {
        blanks(p, 2 * INDENT);
        print(p, TEXT_YELLOW, "rings nobody");
        fputc('\n', p->out);
    }
}

static void print_rule(const struct page *p, const cJSON *rule)
{
    const cJSON *item;
    bool matched = json_flag(rule, "matched");
    fputc('\n', p->out);
    print(p, TEXT_BOLD, json_text(rule, "rule"));
    fputs("  ", p->out);
    print(p, matched ? TEXT_GREEN : TEXT_DIM, matched ? "matches" : "does not match");
    if (json_text(rule, "error")[0]) {
        fputs(": ", p->out);
        print(p, TEXT_YELLOW, json_text(rule, "error"));
    }
    fputc('\n', p->out);
    cJSON_ArrayForEach(item, json_member(rule, "parts")) print_part(p, item);
    cJSON_ArrayForEach(item, json_member(rule, "jobs")) print_job(p, item);
    print_failures(p, rule);
}

/* On what state. */
static void print_state(const struct page *p, const cJSON *x)
{
    bool lacks;
    if (strcmp(json_text(x, "state"), "live") == 0) {
        fprintf(p->out, "  decided on the state of the running dispatcher, as at %s\n", json_text(x, "at"));
        return;
    }
    char *words = recalled_words(json_member(x, "store"), &lacks);
    fprintf(p->out, "  decided offline, with empty counters, as at %s\n  ", json_text(x, "at"));
    print(p, lacks ? TEXT_YELLOW : TEXT_PLAIN, words);
    fputc('\n', p->out);
    free(words);
}

static void print_explanation(const struct page *p, const cJSON *x)
{
    const cJSON *counts = json_member(x, "rules"), *rule;
    char skipped[48];
    print_event(p, json_member(x, "event"));
    fputc('\n', p->out);
    print(p, TEXT_BOLD, "RULES");
    fprintf(p->out, "  %.0f tried, %s skipped by the index, %.0f disabled\n", json_number(counts, "tried"),
            text_number(json_number(counts, "skipped"), skipped, sizeof skipped),
            json_number(counts, "disabled"));
    print_state(p, x);
    cJSON_ArrayForEach(rule, json_member(x, "tried")) print_rule(p, rule);
}

void explain_view(FILE *out, const cJSON *job, const cJSON *explanation)
{
    struct page p = {.out = out,
                     .colour = text_wants_colour(out),
                     .width = text_terminal_width(out),
                     .currency = json_text(explanation, "currency")};
    if (job)
        print_job_row(&p, job);
    if (explanation)
        print_explanation(&p, explanation);
    else
        fputs("its event is not in the journal\n", out);
}
