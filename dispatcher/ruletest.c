#include "dispatcher/ruletest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/str.h"
#include "dispatcher/expr/time.h"
#include "dispatcher/journal_line.h"
#include "dispatcher/json_place.h"
#include "proto/handover.h"

enum { DEPTH_MAX = 64 };
#define DEFAULT_START_MS INT64_C(1767614400000) /* 2026-01-05T12:00:00Z, a Monday */

/* One file while it is read. */
struct reading {
    struct ruletests *tests;
    struct faults *faults;
    size_t len;
};

/* ---- faults ---- */

static void fault(struct reading *r, const cJSON *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fault(struct reading *r, const cJSON *node, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct json_place place = json_place_find(r->tests->text, r->len, r->tests->json, node);
    faults_add(r->faults, r->tests->file, place.line, "column %u: %s", place.column, text);
}

/* Members of OBJECT that are not among NAMES. */
static void check_names(struct reading *r, const cJSON *object, const char *const *names)
{
    for (const cJSON *child = object->child; child; child = child->next) {
        size_t i = 0;
        while (names[i] && strcmp(names[i], child->string) != 0)
            i++;
        if (names[i])
            continue;
        const char *near = str_nearest(child->string, names);
        if (near)
            fault(r, child, "unknown member \"%.60s\"; did you mean \"%s\"?", child->string, near);
        else
            fault(r, child, "unknown member \"%.60s\"", child->string);
    }
}

/* NULL of what is no list: then there is nothing to go through. */
static const cJSON *list_of(const cJSON *v)
{
    return cJSON_IsArray(v) ? v : NULL;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* ---- values ---- */

/* NULL if it is not there, or (with a fault) no text. */
static const char *text_of(struct reading *r, const cJSON *object, const char *name)
{
    const cJSON *v = member(object, name);
    if (v && !cJSON_IsString(v))
        fault(r, v, "\"%s\" is a text", name);
    return cJSON_GetStringValue(v);
}

static int64_t number_of(struct reading *r, const cJSON *object, const char *name, int64_t otherwise,
                         int64_t most)
{
    const cJSON *v = member(object, name);
    if (!v)
        return otherwise;
    double n = cJSON_IsNumber(v) ? v->valuedouble : -1;
    if (n >= 0 && n <= (double)most && n == (double)(int64_t)n)
        return (int64_t)n;
    fault(r, v, "\"%s\" is a whole number of 0 to %lld", name, (long long)most);
    return otherwise;
}

/* Milliseconds of "10m", "1h30m"; the durations of expressions. */
static int64_t duration_of(struct reading *r, const cJSON *object, const char *name, int64_t otherwise)
{
    const cJSON *v = member(object, name);
    const char *text = cJSON_GetStringValue(v);
    if (!v)
        return otherwise;
    struct expr_value d = text ? time_parse_duration(text, strlen(text)) : expr_null();
    if (d.type == EXPR_DURATION && d.as.integer >= 0)
        return d.as.integer / 1000000;
    /* Days are what time_parse_duration lacks. */
    char *end = NULL;
    long days = text ? strtol(text, &end, 10) : -1;
    if (text && end > text && strcmp(end, "d") == 0 && days >= 0 && days < 100000)
        return days * INT64_C(86400000);
    fault(r, v, "\"%s\" is a duration such as \"90s\", \"10m\", \"1h30m\" or \"2d\"", name);
    return otherwise;
}

static int64_t time_of(struct reading *r, const cJSON *object, const char *name, int64_t otherwise)
{
    const cJSON *v = member(object, name);
    const char *text = cJSON_GetStringValue(v);
    if (!v)
        return otherwise;
    struct expr_value t = text ? time_parse_timestamp(text, strlen(text)) : expr_null();
    if (t.type == EXPR_TIMESTAMP && t.as.integer >= 0)
        return t.as.integer * 1000 + t.length / 1000000;
    fault(r, v, "\"%s\" is a time such as \"2026-03-28T21:50:00Z\" or \"2026-03-28T21:50:00+01:00\"", name);
    return otherwise;
}

/* The index of a text among WORDS; -1 if it is not there, or (with a fault) none of them. */
static int word_of(struct reading *r, const cJSON *object, const char *name, const char *const *words)
{
    const char *text = text_of(r, object, name);
    for (int i = 0; text && words[i]; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    if (!text)
        return -1;
    const char *near = str_nearest(text, words);
    fault(r, member(object, name), "\"%s\" cannot be \"%.40s\"%s%s%s", name, text,
          near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return -1;
}

/* ---- events ---- */

/* Line number LINE of a file, parsed; NULL with a fault. */
static cJSON *line_of_file(struct reading *r, const cJSON *node, const char *path, int64_t line)
{
    char *text = NULL;
    size_t size = 0;
    ssize_t len = -1;
    FILE *f = fopen(path, "re");
    if (!f) {
        fault(r, node, "%s cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    for (int64_t i = 0; i < line && (len = getline(&text, &size, f)) >= 0; i++)
        continue;
    fclose(f);
    cJSON *json = len >= 0 ? event_parse_json(text, (size_t)len) : NULL;
    if (!json)
        fault(r, node, len < 0 ? "%s has no line %lld" : "%s, line %lld is no JSON", path, (long long)line);
    free(text);
    return json;
}

static cJSON *captured(struct reading *r, const cJSON *node)
{
    static const char *const names[] = {"file", "line", NULL};
    check_names(r, node, names);
    const char *file = text_of(r, node, "file");
    int64_t line = number_of(r, node, "line", 1, INT32_MAX);
    if (!file)
        return NULL;
    char *path = handover_beside(r->tests->file, file);
    cJSON *json = line_of_file(r, node, path, line > 0 ? line : 1);
    free(path);
    if (json)
        cJSON_DeleteItemFromObjectCaseSensitive(json, "timestamp");
    return json;
}

static bool is_notification(const cJSON *json)
{
    return cJSON_IsString(member(json, "channel")) && cJSON_IsString(member(json, "type")) &&
           member(json, "data");
}

static void add_event(struct reading *r, struct test_step *step, const cJSON *object, const cJSON *node)
{
    cJSON *json = NULL;
    if (!cJSON_IsObject(node))
        fault(r, node, "an event is an object: a notification, or {\"file\": …, \"line\": …}");
    else
        json = member(node, "file") ? captured(r, node) : cJSON_Duplicate(node, true);
    if (!json)
        return;
    if (!is_notification(json)) {
        fault(r, node, "an event needs \"channel\", \"type\" (texts) and \"data\"");
        cJSON_Delete(json);
        return;
    }
    /* The key of a journal's line would make all copies one event. */
    cJSON_DeleteItemFromObjectCaseSensitive(json, "key");
    cJSON_DeleteItemFromObjectCaseSensitive(json, "received");
    step->events = xreallocarray(step->events, step->events_count + 1, sizeof *step->events);
    step->events[step->events_count++] = (struct test_event){
        .json = json,
        .has_time = cJSON_IsNumber(member(json, "timestamp")),
        .age_ms = duration_of(r, object, "age", 0),
        .times = number_of(r, object, "times", 1, RULETEST_TIMES_MAX),
        .every_ms = duration_of(r, object, "every", 0),
    };
}

static void read_events(struct reading *r, struct test_step *step, const cJSON *object)
{
    const cJSON *one = member(object, "event"), *many = member(object, "events"), *node;
    if (one)
        add_event(r, step, object, one);
    if (many && !cJSON_IsArray(many))
        fault(r, many, "\"events\" is a list");
    cJSON_ArrayForEach(node, list_of(many)) add_event(r, step, object, node);
    if (!one && !many)
        for (const cJSON *c = object->child; c; c = c->next)
            if (strcmp(c->string, "times") == 0 || strcmp(c->string, "every") == 0 ||
                strcmp(c->string, "age") == 0)
                fault(r, c, "\"%s\" goes with an event", c->string);
}

/* ---- expectations ---- */

static void read_contains(struct reading *r, const cJSON *object, struct expectation *e)
{
    const cJSON *v = member(object, "contains"), *one;
    if (cJSON_IsString(v))
        e->contains[e->contains_count++] = v->valuestring;
    else if (v && !cJSON_IsArray(v))
        fault(r, v, "\"contains\" is a text or a list of texts");
    cJSON_ArrayForEach(one, list_of(v))
    {
        if (!cJSON_IsString(one) || e->contains_count == sizeof e->contains / sizeof e->contains[0])
            fault(r, one, "\"contains\" is a list of at most 16 texts");
        else
            e->contains[e->contains_count++] = one->valuestring;
    }
}

static void read_pattern(struct reading *r, const cJSON *object, struct expectation *e)
{
    const char *message = NULL;
    size_t offset = 0;
    e->pattern = text_of(r, object, "matches");
    if (!e->pattern)
        return;
    e->regex = expr_regex_compile(e->pattern, strlen(e->pattern), NULL, &message, &offset);
    if (!e->regex)
        fault(r, member(object, "matches"), "\"matches\": %s, at character %zu", message, offset + 1);
}

/* "suppressed" or "merged": true, or a reason. */
static void read_why(struct reading *r, const cJSON *object, const char *name, enum expect_kind kind,
                     struct expectation *e)
{
    const cJSON *v = member(object, name);
    if (!v)
        return;
    e->kind = kind;
    if (cJSON_IsString(v)) {
        int i = word_of(r, object, name, store_why_names);
        e->why = i < 0 ? NULL : store_why_names[i];
    } else if (!cJSON_IsTrue(v)) {
        fault(r, v, "\"%s\" is true, or a reason such as \"throttle\"", name);
    }
}

static unsigned weight_of(const struct expectation *e)
{
    unsigned weight = 2 * (unsigned)e->contains_count;
    weight += e->text ? 4 : 0;
    weight += e->pattern ? 2 : 0;
    const bool said[] = {e->to != NULL, e->rule != NULL, e->from != NULL,
                         e->form >= 0,  e->count >= 0,   e->parts >= 0};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        weight += said[i];
    return weight;
}

static void add_expected(struct reading *r, struct test_step *step, const cJSON *object)
{
    static const char *const names[] = {"to",    "rule",  "text",  "contains",   "matches", "from",    "kind",
                                        "count", "parts", "times", "suppressed", "merged",  "nothing", NULL};
    if (!cJSON_IsObject(object)) {
        fault(r, object, "an expectation is an object");
        return;
    }
    check_names(r, object, names);
    struct expectation e = {.kind = EXPECT_MESSAGE};
    read_why(r, object, "suppressed", EXPECT_SUPPRESSED, &e);
    read_why(r, object, "merged", EXPECT_MERGED, &e);
    e.to = text_of(r, object, "to");
    e.rule = text_of(r, object, "rule");
    e.text = text_of(r, object, "text");
    e.from = text_of(r, object, "from");
    e.form = word_of(r, object, "kind", engine_form_names);
    e.count = number_of(r, object, "count", -1, INT32_MAX);
    e.parts = number_of(r, object, "parts", -1, INT32_MAX);
    e.times = number_of(r, object, "times", 1, RULETEST_TIMES_MAX);
    read_contains(r, object, &e);
    read_pattern(r, object, &e);
    e.weight = weight_of(&e);
    step->expected = xreallocarray(step->expected, step->expected_count + 1, sizeof *step->expected);
    step->expected[step->expected_count++] = e;
}

static int heavier_first(const void *a, const void *b)
{
    const struct expectation *x = a, *y = b;
    return (x->weight < y->weight) - (x->weight > y->weight);
}

static void read_expected(struct reading *r, struct test_step *step, const cJSON *object)
{
    const cJSON *v = member(object, "expect"), *one;
    const cJSON *nothing = cJSON_IsObject(v) ? member(v, "nothing") : NULL;
    step->expects = v != NULL;
    if (!v)
        return;
    if (nothing && (!cJSON_IsTrue(nothing) || v->child->next))
        fault(r, nothing, "\"nothing\" is true and stands alone");
    else if (cJSON_IsObject(v) && !nothing)
        add_expected(r, step, v);
    else if (!nothing && !cJSON_IsArray(v))
        fault(r, v, "\"expect\" is an expectation, a list of them, or {\"nothing\": true}");
    cJSON_ArrayForEach(one, list_of(v)) add_expected(r, step, one);
    if (step->expected_count)
        qsort(step->expected, step->expected_count, sizeof *step->expected, heavier_first);
}

/* ---- tests ---- */

static void read_step(struct reading *r, struct ruletest *test, const cJSON *object)
{
    static const char *const names[] = {"after", "at",  "event",  "events",  "times",
                                        "every", "age", "expect", "comment", NULL};
    struct test_step *step = &test->steps[test->steps_count++];
    *step = (struct test_step){.number = (unsigned)test->steps_count, .at_ms = -1};
    if (!cJSON_IsObject(object)) {
        fault(r, object, "a step is an object");
        return;
    }
    check_names(r, object, names);
    step->after_ms = duration_of(r, object, "after", 0);
    step->at_ms = time_of(r, object, "at", -1);
    read_events(r, step, object);
    read_expected(r, step, object);
}

static void read_test(struct reading *r, const cJSON *object)
{
    static const char *const names[] = {"name", "config", "start", "steps", "comment", NULL};
    struct ruletest *test = &r->tests->list[r->tests->count++];
    memset(test, 0, sizeof *test);
    if (!cJSON_IsObject(object)) {
        fault(r, object, "a test is an object with \"name\" and \"steps\"");
        test->name = xstrdup("?");
        return;
    }
    check_names(r, object, names);
    const char *name = text_of(r, object, "name"), *config = text_of(r, object, "config");
    const cJSON *steps = member(object, "steps"), *step;
    if (!name)
        fault(r, object, "a test needs a \"name\"");
    test->name = xstrdup(name ? name : "?");
    test->config = config ? handover_beside(r->tests->file, config) : NULL;
    test->start_ms = time_of(r, object, "start", DEFAULT_START_MS);
    if (!cJSON_IsArray(steps) || !steps->child)
        fault(r, steps ? steps : object, "a test needs \"steps\", a list");
    test->steps = xcalloc((size_t)cJSON_GetArraySize(steps) + 1, sizeof *test->steps);
    cJSON_ArrayForEach(step, list_of(steps)) read_step(r, test, step);
}

static char *read_file(const char *file, size_t *len, struct faults *faults)
{
    enum { CHUNK = 65536 };
    FILE *f = fopen(file, "re");
    struct buf in;
    size_t n = 1;
    buf_init(&in, RULETEST_FILE_MAX);
    while (f && n > 0) {
        char *to = buf_reserve(&in, CHUNK);
        n = to ? fread(to, 1, CHUNK, f) : 0;
        in.len += n;
    }
    bool bad = !f || ferror(f);
    if (bad)
        faults_add(faults, file, 0, "cannot be read: %s", strerror(errno));
    else if (in.failed)
        faults_add(faults, file, 0, "is larger than 16 MiB");
    if (f)
        fclose(f);
    *len = in.len;
    char *text = bad || in.failed ? NULL : xstrndup(buf_cstr(&in), in.len);
    buf_free(&in);
    return text;
}

static bool is_too_deep(const char *text)
{
    unsigned depth = 0;
    for (bool quoted = false; *text; text++) {
        if (quoted && *text == '\\' && text[1])
            text++;
        else if (*text == '"')
            quoted = !quoted;
        else if (!quoted && (*text == '{' || *text == '['))
            depth++;
        else if (!quoted && (*text == '}' || *text == ']') && depth)
            depth--;
        if (depth > DEPTH_MAX)
            return true;
    }
    return false;
}

static cJSON *parse(struct reading *r)
{
    const char *text = r->tests->text, *end = text;
    if (!str_utf8_valid(text, r->len) || strlen(text) != r->len || is_too_deep(text)) {
        faults_add(r->faults, r->tests->file, 0, "is not UTF-8, holds a NUL, or is nested too deeply");
        return NULL;
    }
    cJSON *json = cJSON_ParseWithOpts(text, &end, 1);
    if (json)
        return json;
    struct json_place place = json_place_of(text, r->len, (size_t)(end - text));
    faults_add(r->faults, r->tests->file, place.line, "column %u: this is not JSON%s", place.column,
               *end ? ": a comma, a quote or a bracket is missing or too many here, or shortly before"
                    : "; the file ends too early");
    return NULL;
}

void ruletests_read(struct ruletests *t, const char *file, struct faults *faults)
{
    struct reading r = {.tests = t, .faults = faults};
    const cJSON *one;
    memset(t, 0, sizeof *t);
    t->file = xstrdup(file);
    t->text = read_file(file, &r.len, faults);
    t->json = t->text ? parse(&r) : NULL;
    if (!t->json)
        return;
    bool many = cJSON_IsArray(t->json);
    t->list = xcalloc(many ? (size_t)cJSON_GetArraySize(t->json) : 1, sizeof *t->list);
    if (!many)
        read_test(&r, t->json);
    cJSON_ArrayForEach(one, list_of(t->json)) read_test(&r, one);
}

static void free_step(struct test_step *s)
{
    for (size_t i = 0; i < s->events_count; i++)
        cJSON_Delete(s->events[i].json);
    for (size_t i = 0; i < s->expected_count; i++)
        expr_regex_free(&s->expected[i].regex);
    free(s->events);
    free(s->expected);
}

void ruletests_free(struct ruletests *t)
{
    for (size_t i = 0; i < t->count; i++) {
        for (size_t s = 0; s < t->list[i].steps_count; s++)
            free_step(&t->list[i].steps[s]);
        free(t->list[i].steps);
        free(t->list[i].name);
        free(t->list[i].config);
    }
    free(t->list);
    cJSON_Delete(t->json);
    free(t->text);
    free(t->file);
    memset(t, 0, sizeof *t);
}
