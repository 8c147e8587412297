/*
 * Running a test of rules: dispatcher/ruletest.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"
#include "dispatcher/journal_line.h"
#include "dispatcher/ruletest.h"

enum { TEXT_SHOWN = 400, QUIET_SHOWN = 10, ARENA_BYTES = 4 * 1024 * 1024, SUFFIX_MAX = 24 };

/* One outcome since the last expectation. */
struct came {
    enum engine_fate fate;
    enum engine_form form;
    enum store_why why;
    char *to, *rule, *text, *from, *words;
    int64_t count, parts;
    bool claimed;
};

struct run {
    const struct ruletest *test;
    struct engine *engine;
    bool numbers;
    const char *bridge;
    struct came *list;
    size_t count, size;
    struct expr_arena *arena; /* of regular expressions */
    cJSON *failures;
    const char *trouble;
};

/* ---- outcomes ---- */

static void on_outcome(void *arg, const struct engine_outcome *o)
{
    struct run *r = arg;
    if (r->count == r->size) {
        r->size = r->size ? 2 * r->size : 16;
        r->list = xreallocarray(r->list, r->size, sizeof *r->list);
    }
    r->list[r->count++] = (struct came){
        .fate = o->fate,
        .form = o->form,
        .why = o->why,
        .to = xstrdup(o->job->number),
        .rule = xstrdup(o->job->rule),
        .text = xstrdup(o->job->text),
        .from = xstrdup(o->job->from ? o->job->from : ""),
        .words = xstrdup(o->words),
        .count = o->count,
        .parts = o->job->parts,
    };
}

static void forget(struct run *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->list[i].to);
        free(r->list[i].rule);
        free(r->list[i].text);
        free(r->list[i].from);
        free(r->list[i].words);
    }
    r->count = 0;
}

/* ---- events ---- */

/* Copies after the first are events of their own: what identifies them gets another end. */
static void make_unique(cJSON *json, int64_t copy)
{
    char suffix[SUFFIX_MAX];
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "type"));
    const struct event_type *row = event_type_find(type, strlen(type));
    cJSON *data = cJSON_GetObjectItemCaseSensitive(json, "data");
    cJSON *id = row && row->unique[0] ? cJSON_GetObjectItemCaseSensitive(data, row->unique[0]) : NULL;
    if (!copy || !cJSON_IsString(id))
        return;
    snprintf(suffix, sizeof suffix, "-%" PRId64, copy + 1);
    char *text = xasprintf("%s%s", id->valuestring, suffix);
    cJSON_SetValuestring(id, text);
    free(text);
}

static int feed_json(struct run *r, const cJSON *json, int64_t now_ms)
{
    struct buf packed;
    struct msg_in in;
    struct event e;
    const char *why = "";
    char *raw = cJSON_PrintUnformatted(json);
    buf_init(&packed, 0);
    msg_in_init(&in);
    int rc = journal_line_parse(raw, strlen(raw), r->bridge, &packed, &why);
    if (rc == 0)
        rc = event_unpack(&in, packed.data, packed.len, &e);
    if (rc)
        r->trouble = why;
    else if ((rc = engine_feed(r->engine, &e, now_ms)) != 0)
        r->trouble = engine_trouble(r->engine);
    cJSON_free(raw);
    msg_in_free(&in);
    buf_free(&packed);
    return rc;
}

static int feed(struct run *r, const struct test_event *t, int64_t copy)
{
    int64_t now_ms = engine_now_ms(r->engine);
    cJSON *json = cJSON_Duplicate(t->json, true);
    make_unique(json, copy);
    if (!t->has_time)
        cJSON_AddNumberToObject(json, "timestamp", (double)(now_ms - t->age_ms));
    cJSON_AddNumberToObject(json, "received", (double)now_ms);
    int rc = feed_json(r, json, now_ms);
    cJSON_Delete(json);
    return rc;
}

static int advance(struct run *r, int64_t until_ms)
{
    if (engine_advance(r->engine, until_ms) == 0)
        return 0;
    r->trouble = engine_trouble(r->engine);
    return -1;
}

static int feed_step(struct run *r, const struct test_step *step)
{
    for (size_t i = 0; i < step->events_count; i++) {
        const struct test_event *t = &step->events[i];
        for (int64_t copy = 0; copy < t->times; copy++) {
            if (copy && advance(r, engine_now_ms(r->engine) + t->every_ms))
                return -1;
            if (feed(r, t, copy))
                return -1;
        }
    }
    return 0;
}

/* ---- expectations ---- */

static bool has_texts(struct run *r, const struct expectation *e, const struct came *c)
{
    const char *message;
    if (e->text && strcmp(e->text, c->text) != 0)
        return false;
    for (size_t i = 0; i < e->contains_count; i++)
        if (!strstr(c->text, e->contains[i]))
            return false;
    if (!e->regex)
        return true;
    expr_arena_reset(r->arena);
    return expr_regex_match(e->regex, c->text, strlen(c->text), r->arena, &message) == 1;
}

static bool is_of_kind(const struct expectation *e, const struct came *c)
{
    static const enum engine_fate fates[] = {[EXPECT_MESSAGE] = ENGINE_SENT,
                                             [EXPECT_SUPPRESSED] = ENGINE_SUPPRESSED,
                                             [EXPECT_MERGED] = ENGINE_MERGED};
    return c->fate == fates[e->kind] && (!e->why || strcmp(e->why, store_why_names[c->why]) == 0) &&
           (e->form < 0 || e->form == (int)c->form);
}

static bool fits(struct run *r, const struct expectation *e, const struct came *c)
{
    /* Of suppressed ones `count` says how many there are. */
    bool counted = e->kind != EXPECT_MESSAGE || e->count < 0 || e->count == c->count;
    return !c->claimed && is_of_kind(e, c) && (!e->to || strcmp(e->to, c->to) == 0) &&
           (!e->rule || strcmp(e->rule, c->rule) == 0) && (!e->from || strcmp(e->from, c->from) == 0) &&
           counted && (e->parts < 0 || e->parts == c->parts) && has_texts(r, e, c);
}

static int64_t claim(struct run *r, const struct expectation *e, int64_t most)
{
    int64_t claimed = 0;
    for (size_t i = 0; i < r->count && claimed < most; i++)
        if (fits(r, e, &r->list[i])) {
            r->list[i].claimed = true;
            claimed++;
        }
    return claimed;
}

/* ---- what failed ---- */

static void add_line(cJSON *lines, const char *mark, const struct buf *text)
{
    cJSON *o = cJSON_CreateObject();
    char *copy = xstrndup(text->data ? text->data : "", text->len);
    cJSON_AddStringToObject(o, "mark", mark);
    cJSON_AddStringToObject(o, "text", copy);
    cJSON_AddItemToArray(lines, o);
    free(copy);
}

static void add_number(const struct run *r, const char *number, struct buf *out)
{
    char masked[32];
    if (number && !number[0])
        buf_adds(out, "to somebody without a number");
    else if (number)
        buf_addf(out, "to %s", r->numbers ? number : str_mask_number(number, masked, sizeof masked));
}

static void add_quoted(const char *before, const char *text, struct buf *out)
{
    buf_addf(out, "  %s\"%.*s%s\"", before, TEXT_SHOWN, text, strlen(text) > TEXT_SHOWN ? "…" : "");
}

static void describe_expected(const struct run *r, const struct expectation *e, struct buf *out)
{
    static const char *const kinds[] = {
        [EXPECT_MESSAGE] = "message", [EXPECT_SUPPRESSED] = "suppressed", [EXPECT_MERGED] = "merged"};
    buf_addf(out, "%s ", e->form >= 0 ? engine_form_names[e->form] : kinds[e->kind]);
    add_number(r, e->to, out);
    if (e->rule)
        buf_addf(out, "  rule %s", e->rule);
    if (e->why)
        buf_addf(out, "  why %s", e->why);
    if (e->from)
        buf_addf(out, "  from %s", e->from);
    if (e->count >= 0)
        buf_addf(out, "  count %" PRId64, e->count);
    if (e->parts >= 0)
        buf_addf(out, "  parts %" PRId64, e->parts);
    if (e->text)
        add_quoted("", e->text, out);
    for (size_t i = 0; i < e->contains_count; i++)
        add_quoted("contains ", e->contains[i], out);
    if (e->pattern)
        add_quoted("matches ", e->pattern, out);
}

static void describe_came(const struct run *r, const struct came *c, struct buf *out)
{
    buf_addf(out, "%s ", c->fate == ENGINE_SENT ? engine_form_names[c->form] : engine_fate_names[c->fate]);
    add_number(r, c->to, out);
    buf_addf(out, "  rule %s", c->rule);
    if (c->fate != ENGINE_SENT)
        buf_addf(out, "  %s", c->words);
    else if (c->form != ENGINE_SINGLE)
        buf_addf(out, "  count %" PRId64, c->count);
    if (c->parts > 1)
        buf_addf(out, "  parts %" PRId64, c->parts);
    if (c->fate == ENGINE_SENT)
        add_quoted("", c->text, out);
}

static void add_missing(const struct run *r, const struct expectation *e, int64_t wanted, int64_t found,
                        cJSON *lines)
{
    struct buf text;
    buf_init(&text, 0);
    describe_expected(r, e, &text);
    if (wanted > 1)
        buf_addf(&text, "  (%" PRId64 " times, came %" PRId64 ")", wanted, found);
    add_line(lines, "-", &text);
    buf_free(&text);
}

static void add_came(const struct run *r, const struct came *c, const char *mark, cJSON *lines)
{
    struct buf text;
    buf_init(&text, 0);
    describe_came(r, c, &text);
    add_line(lines, mark, &text);
    buf_free(&text);
}

/* Messages that nobody expected; and, where something is missing, what did not ring. */
static void add_rest(const struct run *r, cJSON *lines)
{
    bool missing = lines->child != NULL;
    size_t shown = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->list[i].fate == ENGINE_SENT && !r->list[i].claimed)
            add_came(r, &r->list[i], "+", lines);
    for (size_t i = 0; missing && i < r->count && shown < QUIET_SHOWN; i++)
        if (r->list[i].fate != ENGINE_SENT && !r->list[i].claimed) {
            add_came(r, &r->list[i], " ", lines);
            shown++;
        }
}

static void add_failure(struct run *r, unsigned step, cJSON *lines)
{
    if (!lines->child) {
        cJSON_Delete(lines);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "step", step);
    cJSON_AddItemToObject(o, "lines", lines);
    cJSON_AddItemToArray(r->failures, o);
}

static void check_one(struct run *r, const struct expectation *e, cJSON *lines)
{
    bool quiet = e->kind != EXPECT_MESSAGE;
    if (!quiet) {
        int64_t found = claim(r, e, e->times);
        if (found < e->times)
            add_missing(r, e, e->times, found, lines);
        return;
    }
    int64_t found = claim(r, e, INT64_MAX);
    if (e->count >= 0 ? found != e->count : found == 0)
        add_missing(r, e, e->count, found, lines);
}

static void check(struct run *r, const struct test_step *step)
{
    cJSON *lines = cJSON_CreateArray();
    for (size_t i = 0; i < step->expected_count; i++)
        check_one(r, &step->expected[i], lines);
    add_rest(r, lines);
    add_failure(r, step->number, lines);
    forget(r);
}

/* ---- a test ---- */

static int run_steps(struct run *r)
{
    const struct ruletest *t = r->test;
    if (advance(r, t->start_ms))
        return -1;
    for (size_t i = 0; i < t->steps_count; i++) {
        const struct test_step *step = &t->steps[i];
        int64_t until_ms = step->at_ms >= 0 ? step->at_ms : engine_now_ms(r->engine);
        if (advance(r, until_ms + step->after_ms) || feed_step(r, step))
            return -1;
        if (step->expects)
            check(r, step);
    }
    cJSON *lines = cJSON_CreateArray();
    add_rest(r, lines);
    add_failure(r, 0, lines);
    return 0;
}

cJSON *ruletest_run(const struct ruletest *test, const struct slice *slice, bool numbers,
                    struct faults *faults)
{
    const struct slice_block *bridge = slice_find(slice, "bridge", NULL);
    struct run r = {.test = test, .numbers = numbers, .bridge = bridge ? bridge->title : "main"};
    r.engine = engine_new(slice, on_outcome, &r, faults);
    if (!r.engine)
        return NULL;
    r.arena = expr_arena_new(ARENA_BYTES);
    r.failures = cJSON_CreateArray();
    if (run_steps(&r)) {
        faults_add(faults, "", 0, "test \"%s\" cannot go on: %s", test->name, r.trouble ? r.trouble : "?");
        cJSON_Delete(r.failures);
        r.failures = NULL;
    }
    forget(&r);
    free(r.list);
    expr_arena_free(&r.arena);
    engine_free(&r.engine);
    return r.failures;
}
