/*
 * What rules cost: configurations of 1, 10, 100, 1000 and 10000 rules in several styles are loaded as the
 * programs load them, and events are matched against them. Prints for each the time to read the
 * configuration, to compile the rules with their index and interest, and per event, with the rules that were
 * tried and matched.
 *
 *     bench_rules [--json]
 *     bench_rules --configuration RULES     prints the first style's configuration
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "conf/conf.h"
#include "core/alloc.h"
#include "core/buf.h"
#include "core/clock.h"
#include "dispatcher/rules_parts.h"

enum { EVENTS = 64, ROUND_NS = 20000000, ROUNDS = 5 };

/* ---- the configurations ---- */

typedef void when_writer(struct buf *out, unsigned i);

static void by_thread(struct buf *out, unsigned i)
{
    buf_addf(out,
             "channel == 'thread' && type == 'threadNewMessage' && data.contextId == 'context-%u' && "
             "data.threadId == 'thread-%u'",
             i % 10, i);
}

static void by_lists(struct buf *out, unsigned i)
{
    buf_addf(out,
             "type in ['threadNewMessage', 'threadUpdatedMessage'] && "
             "(data.threadId in ['thread-%u', 'room-%u'] || data.threadId == 'hall-%u') && author != 'robot'",
             i, i, i);
}

static void by_either(struct buf *out, unsigned i)
{
    buf_addf(out,
             "(type == 'threadNewMessage' && data.threadId == 'thread-%u') || "
             "(type == 'storeFileCreated' && data.storeId == 'store-%u')",
             i, i);
}

static void by_branches(struct buf *out, unsigned i)
{
    buf_addf(out,
             "!recovered && (channel == 'thread' ? data.threadId == 'thread-%u' : has(data.users) && "
             "'user-%u' in data.users) && time.getHours('Europe/Warsaw') >= 0",
             i, i);
}

static const struct style {
    const char *name;
    when_writer *when;
} styles[] = {
    {"four equalities", by_thread},
    {"lists, || of one path", by_lists},
    {"|| of two paths", by_either},
    {"?:, ! and members", by_branches},
};

static void write_configuration(struct buf *out, const struct style *style, unsigned count)
{
    buf_adds(out,
             "bridge \"main\" { url = \"http://127.0.0.1:1/api\"  api_key_id = "
             "\"00112233445566778899aabbccddeeff\"  api_key_secret = \"x\"  channels = { thread, store } }\n"
             "provider \"log\" { type = log }\n");
    for (unsigned i = 0; i < count; i++) {
        buf_addf(out, "rule \"rule-%u\" {\n    when = \"", i);
        style->when(out, i);
        buf_addf(out,
                 "\"\n    to = { \"+48500%06u\" }\n"
                 "    message = \"New in {{ data.threadId }} by {{ author ?? 'someone' }}\"\n}\n",
                 i);
    }
}

/* ---- the events ---- */

struct sample {
    struct buf buf;
    struct msg_in in;
    struct event event;
};

/* Of threads from all over the rules; every second of a thread that no rule names. */
static void make_events(struct sample *samples, unsigned count)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        struct sample *s = &samples[i];
        unsigned thread = count > EVENTS ? i * (count / EVENTS) : i % count;
        const char *why = NULL;
        char *frame =
            xasprintf("{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1700000000000,"
                      "\"data\":{\"id\":\"message-%u\",\"threadId\":\"%s-%u\",\"contextId\":\"context-%u\","
                      "\"author\":\"ann\",\"version\":1,\"meta\":{\"publicMeta\":\"bWV0YQ==\"}}}",
                      i, i % 2 ? "other" : "thread", thread, thread % 10);
        buf_init(&s->buf, 0);
        msg_in_init(&s->in);
        if (event_normalise("main", frame, strlen(frame), 1700000001000, 5, &s->buf, &why) ||
            event_unpack(&s->in, s->buf.data, s->buf.len, &s->event))
            exit(1);
        free(frame);
    }
}

static void free_events(struct sample *samples)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        buf_free(&samples[i].buf);
        msg_in_free(&samples[i].in);
    }
}

/* ---- measuring ---- */

struct figures {
    double read_ms, compile_ms, event_ns, tried, matched;
};

struct trial {
    const struct rules *rules;
    struct expr_activation activation;
    struct expr_value values[EXPR_EVENT_SLOTS];
    uint64_t tried, matched;
};

static void try_rule(void *arg, struct rule *rule)
{
    struct trial *t = arg;
    t->tried++;
    t->matched += expr_test(rule->when, &t->activation, t->rules->arena, NULL) == EXPR_TRUE;
}

static void match(struct trial *t, const struct event *event)
{
    rules_values(event, t->values);
    t->activation = (struct expr_activation){.values = t->values, .value_count = EXPR_EVENT_SLOTS};
    expr_arena_reset(t->rules->arena);
    rules_index_find(t->rules->index, t->values, try_rule, t);
}

/* The best of some rounds: what else runs on the machine is not the rules' cost. */
static void measure_events(const struct rules *rules, unsigned count, struct figures *f)
{
    struct sample *samples = xcalloc(EVENTS, sizeof *samples);
    struct trial t = {.rules = rules};
    uint64_t events = 0;
    make_events(samples, count);
    f->event_ns = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_mono_ns(), now = start, n = 0;
        for (; now - start < ROUND_NS; now = clock_mono_ns(), n += EVENTS)
            for (unsigned i = 0; i < EVENTS; i++)
                match(&t, &samples[i].event);
        double ns = (double)(now - start) / (double)n;
        f->event_ns = ns < f->event_ns ? ns : f->event_ns;
        events += n;
    }
    f->tried = (double)t.tried / (double)events;
    f->matched = (double)t.matched / (double)events;
    free_events(samples);
    free(samples);
}

static void fail(const struct faults *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        fprintf(stderr, "%s:%u: %s\n", faults->list[i].file, faults->list[i].line, faults->list[i].text);
    exit(1);
}

static void measure(const struct style *style, unsigned count, struct figures *f)
{
    struct buf text;
    struct faults faults = {0};
    buf_init(&text, 0);
    write_configuration(&text, style, count);
    uint64_t start = clock_mono_ns();
    struct conf *conf = conf_load_text("bench", text.data, text.len, &faults);
    uint64_t read = clock_mono_ns();
    if (!conf)
        fail(&faults);
    struct slice *slice = conf_slice_dispatcher(conf);
    uint64_t cut = clock_mono_ns();
    struct rules *rules = rules_new(slice, &faults);
    if (!rules)
        fail(&faults);
    struct wire_interest interest;
    rules_interest(rules, "main", &interest);
    uint64_t compiled = clock_mono_ns();
    f->read_ms = (double)(read - start) / 1e6;
    f->compile_ms = (double)(compiled - cut) / 1e6;
    measure_events(rules, count, f);
    wire_interest_free(&interest);
    rules_free(&rules);
    slice_free(&slice);
    conf_free(&conf);
    buf_free(&text);
}

static void print(const struct style *style, unsigned count, const struct figures *f, bool json, bool last)
{
    if (json)
        printf("{\"style\": \"%s\", \"rules\": %u, \"read_ms\": %.2f, \"compile_ms\": %.2f, "
               "\"event_ns\": %.0f, \"tried\": %.3f, \"matched\": %.3f}%s\n",
               style->name, count, f->read_ms, f->compile_ms, f->event_ns, f->tried, f->matched,
               last ? "" : ",");
    else
        printf("%-24s %6u %10.1f %12.1f %10.0f %8.2f %8.2f\n", style->name, count, f->read_ms, f->compile_ms,
               f->event_ns, f->tried, f->matched);
}

int main(int argc, char **argv)
{
    static const unsigned counts[] = {1, 10, 100, 1000, 10000};
    enum { STYLES = sizeof styles / sizeof *styles, COUNTS = sizeof counts / sizeof *counts };
    if (argc > 2 && strcmp(argv[1], "--configuration") == 0) {
        struct buf text;
        buf_init(&text, 0);
        write_configuration(&text, &styles[0], (unsigned)strtoul(argv[2], NULL, 10));
        fwrite(text.data, 1, text.len, stdout);
        buf_free(&text);
        return fflush(stdout) != 0;
    }
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    if (sodium_init() < 0)
        return 1;
    puts(json ? "[" : "style                     rules    read ms   compile ms   ns/event    tried  matched");
    for (unsigned i = 0; i < STYLES * COUNTS; i++) {
        struct figures f = {0};
        measure(&styles[i / COUNTS], counts[i % COUNTS], &f);
        print(&styles[i / COUNTS], counts[i % COUNTS], &f, json, i + 1 == STYLES * COUNTS);
    }
    if (json)
        puts("]");
    return 0;
}
