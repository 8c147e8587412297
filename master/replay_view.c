#include "master/replay_view.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "master/json.h"
#include "master/progress.h"
#include "master/recalled.h"
#include "master/table.h"
#include "master/text.h"

enum { INDENT = 2, REASONS_MAX = 160 };

struct replay_view {
    FILE *out;
    bool summary, colour;
    size_t width;
    size_t lines; /* of messages, so far */
};

struct replay_view *replay_view_new(FILE *out, bool summary)
{
    struct replay_view *v = xcalloc(1, sizeof *v);
    v->out = out;
    v->summary = summary;
    v->colour = text_wants_colour(out);
    v->width = text_terminal_width(out);
    return v;
}

void replay_view_free(struct replay_view **v)
{
    free(*v);
    *v = NULL;
}

/* ---- messages, one by one ---- */

static const struct {
    const char *what, *mark;
    enum text_colour colour;
} kinds[] = {
    {"sent", "sent", TEXT_GREEN},
    {"merged", "merged", TEXT_DIM},
    {"suppressed", "suppressed", TEXT_DIM},
    {"cancelled", "cancelled", TEXT_DIM},
    {"added", "+", TEXT_GREEN},
    {"vanished", "-", TEXT_RED},
    {"changed", "~", TEXT_YELLOW},
};

static void print_clean(struct replay_view *v, const char *text)
{
    char *clean = text_clean(text, TEXT_ONE_LINE);
    fputs(clean, v->out);
    free(clean);
}

static void print_cost(struct replay_view *v, const cJSON *m)
{
    const cJSON *price = json_member(m, "price");
    double parts = json_number(m, "parts");
    if (parts > 0)
        fprintf(v->out, "  %.0f part%s", parts, parts > 1 ? "s" : "");
    if (price)
        fprintf(v->out, "  %.2f", price->valuedouble);
}

static void print_text(struct replay_view *v, const char *label, const cJSON *m)
{
    const char *text = json_text(m, "text");
    if (!json_member(m, "text") || (!text[0] && !label[0]))
        return;
    fprintf(v->out, "%*s%s", INDENT + 2, "", label);
    print_clean(v, text);
    fputc('\n', v->out);
}

static void print_message(struct replay_view *v, const cJSON *m, size_t kind)
{
    const char *form = json_text(m, "form");
    const cJSON *was = json_member(m, "was");
    fprintf(v->out, "%s  %s%-10s%s  %13s  ", json_text(m, "time"),
            text_colour_on(kinds[kind].colour, v->colour), kinds[kind].mark,
            text_colour_off(kinds[kind].colour, v->colour), json_text(m, "to"));
    print_clean(v, json_text(m, "rule"));
    if (strcmp(form, "single") != 0)
        fprintf(v->out, "  %s of %.0f", form, json_number(m, "count"));
    print_cost(v, m);
    if (json_text(m, "words")[0]) {
        fputs("  ", v->out);
        print_clean(v, json_text(m, "words"));
    }
    if (was) {
        fputs("  (was", v->out);
        print_cost(v, was);
        fputc(')', v->out);
    }
    fputc('\n', v->out);
    print_text(v, was ? "now  " : "", m);
    print_text(v, "was  ", was);
}

/* ---- sums ---- */

static void cell_money(struct table *t, double n)
{
    char text[48];
    snprintf(text, sizeof text, "%.2f", n);
    table_cell(t, text);
}

/* "throttle 12, quiet 3" */
static void cell_reasons(struct table *t, const cJSON *sum)
{
    char text[REASONS_MAX] = "";
    size_t len = 0;
    const cJSON *why;
    cJSON_ArrayForEach(why, json_member(sum, "not_sent")) if (len < sizeof text) len += (size_t)snprintf(
        text + len, sizeof text - len, "%s%s %.0f", len ? ", " : "", why->string, why->valuedouble);
    table_cell(t, text);
}

static void add_sum(struct table *t, const char *name, const cJSON *sum, double matched)
{
    table_cell(t, name);
    table_cell_number(t, matched);
    table_cell_number(t, json_number(sum, "messages"));
    table_cell_number(t, json_number(sum, "parts"));
    cell_money(t, json_number(sum, "price"));
    table_cell_number(t, json_number(sum, "not_sent_total"));
    cell_reasons(t, sum);
}

static void print_sums(struct replay_view *v, const cJSON *s)
{
    char price[80];
    snprintf(price, sizeof price, ">%s", json_text(s, "currency"));
    const char *heads[] = {"rule", ">matched", ">messages", ">parts", price, ">not sent", "why"};
    struct table *t = table_new(heads, sizeof heads / sizeof heads[0]);
    const cJSON *rule;
    cJSON_ArrayForEach(rule, json_member(s, "rules"))
        add_sum(t, json_text(rule, "rule"), rule, json_number(rule, "matched"));
    add_sum(t, "in all", json_member(s, "total"), json_number(s, "matched"));
    table_print(t, v->out, INDENT, v->width, v->colour);
    table_free(&t);
}

static const cJSON *rule_of(const cJSON *list, const char *name)
{
    const cJSON *rule;
    cJSON_ArrayForEach(rule, list) if (strcmp(json_text(rule, "rule"), name) == 0) return rule;
    return NULL;
}

static void add_change(struct table *t, const char *name, const cJSON *was, const cJSON *is,
                       const cJSON *diff)
{
    table_cell(t, name);
    table_cell_number(t, json_number(diff, "added"));
    table_cell_number(t, json_number(diff, "vanished"));
    table_cell_number(t, json_number(diff, "changed"));
    table_cell_number(t, json_number(was, "messages"));
    table_cell_number(t, json_number(is, "messages"));
    table_cell_number(t, json_number(was, "parts"));
    table_cell_number(t, json_number(is, "parts"));
    cell_money(t, json_number(was, "price"));
    cell_money(t, json_number(is, "price"));
}

static void print_changes(struct replay_view *v, const cJSON *s)
{
    char price[80];
    snprintf(price, sizeof price, ">%s was", json_text(s, "currency"));
    const char *heads[] = {"rule",      ">added",     ">vanished", ">changed", ">messages was",
                           ">would be", ">parts was", ">would be", price,      ">would be"};
    struct table *t = table_new(heads, sizeof heads / sizeof heads[0]);
    const cJSON *was = json_member(s, "was"), *rule, *diff = json_member(s, "diff");
    cJSON_ArrayForEach(rule, json_member(was, "rules"))
    {
        const char *name = json_text(rule, "rule");
        add_change(t, name, rule, rule_of(json_member(s, "rules"), name),
                   rule_of(json_member(diff, "rules"), name));
    }
    cJSON_ArrayForEach(rule, json_member(s, "rules"))
    {
        const char *name = json_text(rule, "rule");
        if (!rule_of(json_member(was, "rules"), name))
            add_change(t, name, NULL, rule, rule_of(json_member(diff, "rules"), name));
    }
    add_change(t, "in all", json_member(was, "total"), json_member(s, "total"), json_member(diff, "total"));
    table_print(t, v->out, INDENT, 0, v->colour);
    table_free(&t);
}

/* ---- what must be known of the result ---- */

static void note(struct replay_view *v, enum text_colour colour, const char *text)
{
    fprintf(v->out, "%s", text_colour_on(colour, v->colour));
    print_clean(v, text);
    fprintf(v->out, "%s\n", text_colour_off(colour, v->colour));
}

static bool holds(const cJSON *read, const char *mode)
{
    const cJSON *one;
    cJSON_ArrayForEach(one,
                       json_member(read, "journal")) if (cJSON_IsString(one) &&
                                                         strcmp(one->valuestring, mode) == 0) return true;
    return false;
}

static void print_head(struct replay_view *v, const cJSON *s)
{
    char events[48], files[48];
    const cJSON *read = json_member(s, "read");
    fprintf(v->out, "%s events of %s file%s", text_number(json_number(read, "events"), events, sizeof events),
            text_number(json_number(read, "files"), files, sizeof files),
            json_number(read, "files") == 1 ? "" : "s");
    if (json_text(s, "from")[0])
        fprintf(v->out, ", %s to %s", json_text(s, "from"), json_text(s, "to"));
    if (holds(read, "all"))
        fputs("; the journal held all events", v->out);
    fputc('\n', v->out);
}

static void note_store(struct replay_view *v, const cJSON *store)
{
    bool lacks;
    if (!store)
        return;
    char *words = recalled_words(store, &lacks);
    note(v, lacks ? TEXT_YELLOW : TEXT_PLAIN, words);
    free(words);
}

/* ONE is said of one, MANY of several. */
static void note_count(struct replay_view *v, double count, const char *one, const char *many,
                       const char *more)
{
    char line[512], number[48];
    if (count <= 0)
        return;
    snprintf(line, sizeof line, "%s %s%s%s", text_number(count, number, sizeof number),
             count == 1 ? one : many, more[0] ? ": " : "", more);
    note(v, TEXT_YELLOW, line);
}

static void note_begin(struct replay_view *v, const char *begins)
{
    char line[128];
    if (!begins[0])
        return;
    snprintf(line, sizeof line, "the journal begins at %s: it does not hold what came before", begins);
    note(v, TEXT_YELLOW, line);
}

static void print_failures(struct replay_view *v, const cJSON *rule, const char *count, const char *words,
                           const char *last)
{
    char line[512], number[48];
    if (json_number(rule, count) <= 0)
        return;
    snprintf(line, sizeof line, "rule \"%s\": %s (%s time%s), the last time: %s", json_text(rule, "rule"),
             words, text_number(json_number(rule, count), number, sizeof number),
             json_number(rule, count) == 1 ? "" : "s", json_text(rule, last));
    note(v, TEXT_YELLOW, line);
}

static void print_rule_errors(struct replay_view *v, const cJSON *s)
{
    const cJSON *rule;
    cJSON_ArrayForEach(rule, json_member(s, "rules"))
    {
        print_failures(v, rule, "errors", "its condition, recipients or keys failed", "last_error");
        print_failures(v, rule, "insertions_failed", "texts have a ? where an insertion failed",
                       "last_insertion_error");
    }
}

static void print_notes(struct replay_view *v, const cJSON *s)
{
    const cJSON *read = json_member(s, "read");
    if (holds(read, "wanted"))
        note(v, TEXT_YELLOW,
             "the journal holds what the rules of its time could want (journal = wanted): new rules may want "
             "events that are not there");
    note_begin(v, json_text(read, "begins"));
    note_count(v, json_number(read, "damaged"), "damaged line was skipped",
               "damaged lines were skipped, the first", json_text(read, "first_damage"));
    note_count(v, json_number(read, "torn"), "torn last line was skipped", "torn last lines were skipped",
               "");
    note_count(v, json_number(read, "out_of_order"), "event stood behind a later one and counts as of that",
               "events stood behind later ones and count as of those", "");
    note_count(v, json_number(s, "known"), "event was the same as an earlier one and rings once",
               "events were the same as earlier ones and ring once", "");
    note_count(v, json_number(s, "other_bridges"),
               "event is of a bridge that the configuration does not have",
               "events are of bridges that the configuration does not have, the first",
               json_text(s, "other_bridge"));
    note_count(
        v, json_number(s, "members_unknown"),
        "time a rule rang the members of a container that these events do not tell; here no Bridge can be "
        "asked, so their messages are missing from the sums",
        "times a rule rang the members of a container that these events do not tell; here no Bridge can "
        "be asked, so their messages are missing from the sums",
        "");
    print_rule_errors(v, s);
}

static void print_summary(struct replay_view *v, const cJSON *s)
{
    const cJSON *shadow = json_member(json_member(s, "total"), "shadow");
    if (v->lines)
        fputc('\n', v->out);
    print_head(v, s);
    note_store(v, json_member(s, "store"));
    if (json_number(s, "matched") <= 0 && !json_member(s, "diff"))
        fputs("nothing matched\n", v->out);
    else if (json_member(s, "diff"))
        print_changes(v, s);
    else
        print_sums(v, s);
    if (shadow)
        fprintf(v->out, "in shadow: %.0f messages, %.0f parts, %.2f %s would have been sent\n",
                json_number(shadow, "messages"), json_number(shadow, "parts"), json_number(shadow, "price"),
                json_text(s, "currency"));
    print_notes(v, s);
}

void replay_view_line(void *view, const cJSON *line)
{
    struct replay_view *v = view;
    const char *what = json_text(line, "what");
    if (strcmp(what, "progress") == 0) {
        progress_draw(json_number(line, "done"), json_number(line, "of"), json_number(line, "events"),
                      "events");
        return;
    }
    if (strcmp(what, "summary") == 0) {
        progress_clear();
        print_summary(v, line);
        return;
    }
    for (size_t i = 0; !v->summary && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].what, what) == 0) {
            progress_clear();
            print_message(v, line, i);
            v->lines++;
        }
}
