#include "master/status_view.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/str.h"
#include "master/alarms.h"
#include "master/json.h"
#include "master/table.h"

enum { INDENT = 2, NOISE_ROWS_MAX = 40 };

struct page {
    FILE *out;
    const struct status_view *view;
    size_t alarms;
};

#define TABLE(...)                                                                                           \
    table_new((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void print_coloured(const struct page *p, enum text_colour colour, const char *text)
{
    char *clean = text_clean(text, TEXT_ONE_LINE);
    fprintf(p->out, "%s%s%s", text_colour_on(colour, p->view->colour), clean,
            text_colour_off(colour, p->view->colour));
    free(clean);
}

static void print_title(const struct page *p, const char *title)
{
    fputc('\n', p->out);
    print_coloured(p, TEXT_BOLD, title);
    fputc('\n', p->out);
}

/* Prints and frees; a section without rows is left out. */
static void print_section(const struct page *p, const char *title, struct table *t)
{
    if (table_rows(t)) {
        print_title(p, title);
        table_print(t, p->out, INDENT, p->view->width, p->view->colour);
    }
    table_free(&t);
}

static void cell_duration(struct table *t, double ms)
{
    char text[32];
    table_cell(t, str_duration((int64_t)ms, text, sizeof text));
}

/* ---- head and alarms ---- */

static void print_head(const struct page *p, const cJSON *status)
{
    const cJSON *config = json_member(status, "config");
    char up[32], line[512];
    snprintf(line, sizeof line, "bridgebell %s", json_text(status, "version"));
    print_coloured(p, TEXT_BOLD, line);
    snprintf(line, sizeof line, "  up %s  %s, loaded %s",
             str_duration((int64_t)json_number(status, "uptime_ms"), up, sizeof up),
             json_text(config, "file"), json_text(config, "loaded_at"));
    print_coloured(p, TEXT_PLAIN, line);
    fputc('\n', p->out);
}

static void print_alarm(void *arg, const char *what, const char *do_next)
{
    struct page *p = arg;
    if (p->alarms++ == 0)
        print_title(p, "ALARMS");
    fprintf(p->out, "%*s", INDENT, "");
    print_coloured(p, TEXT_RED, what);
    fputc('\n', p->out);
    if (do_next[0]) {
        fprintf(p->out, "%*s", INDENT + 4, "");
        print_coloured(p, TEXT_YELLOW, do_next);
        fputc('\n', p->out);
    }
}

/* ---- processes and bridges ---- */

static enum text_colour process_colour(const char *state)
{
    if (strcmp(state, "running") == 0)
        return TEXT_GREEN;
    return strcmp(state, "halted") == 0 || strcmp(state, "waiting") == 0 || strcmp(state, "failed") == 0
               ? TEXT_RED
               : TEXT_YELLOW;
}

static void print_processes(const struct page *p, const cJSON *status)
{
    struct table *t = TABLE("role", "name", ">pid", "state", ">for", ">restarts", "");
    const cJSON *one;
    cJSON_ArrayForEach(one, json_member(status, "processes"))
    {
        const char *state = json_text(one, "state"), *reason = json_text(one, "reason");
        char pid[32] = "";
        if (json_number(one, "pid") > 0)
            snprintf(pid, sizeof pid, "%.0f", json_number(one, "pid"));
        table_cell(t, json_text(one, "role"));
        table_cell(t, json_text(one, "name"));
        table_cell(t, pid);
        table_cell_coloured(t, state, process_colour(state));
        cell_duration(t, json_number(one, "since_ms"));
        table_cell_number(t, json_number(one, "restarts"));
        table_cell(t, reason[0] ? reason : json_text(one, "detail"));
    }
    print_section(p, "PROCESSES", t);
}

static void print_bridges(const struct page *p, const cJSON *status)
{
    struct table *t = TABLE("name", "state", ">seen", ">unwanted", ">events", ">recovered", ">matched",
                            ">duplicates", "complete up to");
    const cJSON *one;
    cJSON_ArrayForEach(one, json_member(status, "bridges"))
    {
        char mark[25] = "";
        if (json_number(one, "mark_ms") > 0)
            clock_format((int64_t)json_number(one, "mark_ms"), mark);
        table_cell(t, json_text(one, "name"));
        table_cell_coloured(t, json_text(one, "state"), json_flag(one, "connected") ? TEXT_GREEN : TEXT_RED);
        table_cell_number(t, json_number(one, "seen"));
        table_cell_number(t, json_number(one, "unwanted"));
        table_cell_number(t, json_number(one, "events"));
        table_cell_number(t, json_number(one, "recovered"));
        table_cell_number(t, json_number(one, "matched"));
        table_cell_number(t, json_number(one, "duplicates"));
        table_cell(t, mark);
    }
    print_section(p, "BRIDGES", t);
}

/* ---- queue, senders, lines ---- */

static enum text_colour job_colour(const char *state)
{
    return strcmp(state, "dead") == 0 || strcmp(state, "uncertain") == 0 || strcmp(state, "damaged") == 0
               ? TEXT_RED
               : TEXT_PLAIN;
}

static bool is_always_shown(const char *state)
{
    return strcmp(state, "queued") == 0 || strcmp(state, "leased") == 0 || strcmp(state, "sent") == 0;
}

static void print_queue(const struct page *p, const cJSON *status)
{
    struct table *t = TABLE("state", ">jobs", "");
    const cJSON *queue = json_member(status, "queue"), *one;
    char age[32], note[64] = "";
    double oldest_ms = json_number(queue, "oldest_due_ms");
    if (oldest_ms > 0)
        snprintf(note, sizeof note, "the oldest is due since %s",
                 str_duration((int64_t)oldest_ms, age, sizeof age));
    cJSON_ArrayForEach(one, queue)
    {
        if (!one->string || strcmp(one->string, "oldest_due_ms") == 0 ||
            (json_number(queue, one->string) <= 0 && !is_always_shown(one->string)))
            continue;
        table_cell_coloured(t, one->string, job_colour(one->string));
        table_cell_number(t, json_number(queue, one->string));
        table_cell(t, strcmp(one->string, "queued") == 0 ? note : "");
    }
    print_section(p, "QUEUE", t);
}

static void print_senders(const struct page *p, const cJSON *status)
{
    struct table *t = TABLE("name", "host", ">in flight", ">room for");
    const cJSON *one;
    cJSON_ArrayForEach(one, json_member(status, "senders"))
    {
        table_cell(t, json_text(one, "name"));
        table_cell(t, json_text(one, "host"));
        table_cell_number(t, json_number(one, "in_flight"));
        table_cell_number(t, json_number(one, "credit"));
    }
    print_section(p, "SENDERS", t);
}

static void print_lines(const struct page *p, const cJSON *status)
{
    struct table *t = TABLE("provider", "state", ">limit", ">in flight", ">ready", ">numbers at limit", "");
    const cJSON *one;
    cJSON_ArrayForEach(one, json_member(status, "lines"))
    {
        const char *state = json_text(one, "state");
        char rate[64] = "off", per[32];
        double per_ms = json_number(one, "rate_per_ms");
        if (json_number(one, "rate") >= 0 && per_ms == 1000)
            snprintf(rate, sizeof rate, "%.0f/s", json_number(one, "rate"));
        else if (json_number(one, "rate") >= 0)
            snprintf(rate, sizeof rate, "%.0f/%s", json_number(one, "rate"),
                     str_duration((int64_t)per_ms, per, sizeof per));
        table_cell(t, json_text(one, "provider"));
        table_cell_coloured(t, state, strcmp(state, "open") == 0 ? TEXT_GREEN : TEXT_RED);
        table_cell(t, rate);
        table_cell_number(t, json_number(one, "in_flight"));
        table_cell_number(t, json_number(one, "ready"));
        table_cell_number(t, json_number(one, "numbers_waiting"));
        table_cell(t, json_text(one, "reason"));
    }
    print_section(p, "LINES", t);
}

static void print_priorities(const struct page *p, const cJSON *status)
{
    struct table *t = TABLE("provider", "priority", ">weight", ">requests", ">ready", "");
    const cJSON *line, *one;
    cJSON_ArrayForEach(line, json_member(status, "lines"))
    {
        cJSON_ArrayForEach(one, json_member(line, "priorities"))
        {
            table_cell(t, json_text(line, "provider"));
            table_cell(t, one->string);
            table_cell_number(t, json_number(one, "weight"));
            table_cell_number(t, json_number(one, "requests"));
            table_cell_number(t, json_number(one, "ready"));
            table_cell(t, cJSON_IsTrue(json_member(one, "waiting")) ? "more wait" : "");
        }
    }
    print_section(p, "PRIORITIES", t);
}

/* ---- what is kept from ringing ---- */

static void print_silences(const struct page *p, const cJSON *status)
{
    struct table *t = TABLE(">id", ">left", ">matched", "comment", "when");
    const cJSON *one;
    cJSON_ArrayForEach(one, json_member(status, "silences"))
    {
        table_cell(t, json_text(one, "id"));
        cell_duration(t, json_number(one, "left_ms"));
        table_cell_number(t, json_number(one, "matched"));
        table_cell(t, json_text(one, "comment"));
        table_cell(t, json_text(one, "when"));
    }
    print_section(p, "SILENCES", t);
}

/* By rule: what rings, and what was held back for which reason. */
static void print_noise(const struct page *p, const cJSON *status)
{
    char head[64];
    snprintf(head, sizeof head, ">price %s", json_text(status, "currency"));
    struct table *t = TABLE("rule", "what became of them", ">messages", ">parts", head);
    const cJSON *list = json_member(status, "noise"), *one;
    int left_out = (int)json_number(json_member(status, "noise_left_out"), "rows");
    int left = cJSON_GetArraySize(list) + left_out;
    cJSON_ArrayForEach(one, list)
    {
        char price[32];
        if (table_rows(t) == NOISE_ROWS_MAX)
            break;
        left--;
        snprintf(price, sizeof price, "%.2f", json_number(one, "price"));
        table_cell(t, json_text(one, "rule"));
        table_cell(t, json_text(one, "why"));
        table_cell_number(t, json_number(one, "messages"));
        table_cell_number(t, json_number(one, "parts"));
        table_cell(t, price);
    }
    print_section(p, "MESSAGES", t);
    if (left > 0)
        fprintf(p->out, "%*sand %d more; --json has %s\n", INDENT, "", left,
                left_out ? "some of them, /metrics the sums" : "all");
}

/* ---- totals ---- */

static void row_rate(struct table *t, const char *what, double total, double per_second)
{
    char text[32] = "";
    if (per_second >= 0)
        snprintf(text, sizeof text, "%.1f/s", per_second);
    table_cell(t, what);
    table_cell_number(t, total);
    table_cell(t, text);
}

static void print_rates(const struct page *p, const cJSON *status)
{
    const cJSON *events = json_member(status, "events"), *sending = json_member(status, "sending");
    struct table *t = TABLE("since its start", ">total", ">now");
    if (events) {
        row_rate(t, "events in", json_number(events, "received"), p->view->events_per_second);
        row_rate(t, "events matched", json_number(events, "matched"), -1);
        row_rate(t, "duplicates", json_number(events, "duplicates"), -1);
    }
    if (sending) {
        row_rate(t, "messages sent", json_number(sending, "sent"), json_number(sending, "per_second"));
        row_rate(t, "messages failed", json_number(sending, "failed"),
                 json_number(sending, "failed_per_second"));
        row_rate(t, "attempts repeated", json_number(sending, "retries"), -1);
    }
    print_section(p, "RATES", t);
}

void status_view_print(const cJSON *status, const struct status_view *view, FILE *out)
{
    struct page p = {out, view, 0};
    print_head(&p, status);
    alarms_each(status, print_alarm, &p);
    print_processes(&p, status);
    print_bridges(&p, status);
    print_queue(&p, status);
    print_senders(&p, status);
    print_lines(&p, status);
    print_priorities(&p, status);
    print_silences(&p, status);
    print_noise(&p, status);
    print_rates(&p, status);
}
