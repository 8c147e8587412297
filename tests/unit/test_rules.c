/* links: dispatcher_parts expr proto core m */
/* Rules: loading and its faults, matching, the index against trying every rule, interest against matching. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "dispatcher/rules_parts.h"

static const struct hash_id store_id = {{1, 2, 3}};

/* ---- making slices ---- */

static void add_text(struct slice_block *b, const char *name, const char *text, unsigned line)
{
    slice_add_setting(b, name, SLICE_TEXT, line)->text = xstrdup(text);
}

static void add_list(struct slice_block *b, const char *name, const char *words, unsigned line)
{
    struct slice_setting *s = slice_add_setting(b, name, SLICE_LIST, line);
    char *copy = xstrdup(words), *rest = copy, *word;
    while ((word = strsep(&rest, " "))) {
        s->list = xreallocarray(s->list, s->count + 1, sizeof *s->list);
        s->list[s->count++] = xstrdup(word);
    }
    free(copy);
}

static struct slice *base_slice(void)
{
    struct slice *s = slice_new();
    struct slice_block *p = slice_add_block(s, "provider", "first", "a.conf", 1);
    add_text(p, "from", "Sender", 2);
    slice_add_block(s, "provider", "second", "a.conf", 3);
    add_list(slice_add_block(s, "recipients", "oncall", "a.conf", 4), "to", "+48500500500 +48500500501", 5);
    add_list(slice_add_block(s, "recipients", "all", "a.conf", 6), "to", "oncall +48500500502 oncall", 7);
    return s;
}

static struct slice_block *add_rule(struct slice *s, const char *name, const char *when, const char *to,
                                    const char *message)
{
    struct slice_block *b = slice_add_block(s, "rule", name, "a.conf", 10);
    add_text(b, "when", when, 11);
    add_list(b, "to", to, 12);
    add_text(b, "message", message, 13);
    return b;
}

static struct rules *load(struct slice *s)
{
    struct faults faults = {0};
    struct rules *r = rules_new(s, &faults);
    for (size_t i = 0; i < faults.count; i++)
        print_message("%s:%u: %s\n", faults.list[i].file, faults.list[i].line, faults.list[i].text);
    assert_int_equal(faults.count, 0);
    assert_non_null(r);
    return r;
}

/* ---- making events ---- */

struct packed {
    struct buf buf;
    struct msg_in in;
    struct event e;
};

static void make_event(struct packed *p, const char *frame)
{
    const char *why = NULL;
    memset(p, 0, sizeof *p);
    buf_init(&p->buf, 0);
    msg_in_init(&p->in);
    if (event_normalise("main", frame, strlen(frame), 1700000001000, 5, &p->buf, &why))
        fail_msg("%s: %s", frame, why);
    assert_int_equal(event_unpack(&p->in, p->buf.data, p->buf.len, &p->e), 0);
}

static void free_event(struct packed *p)
{
    buf_free(&p->buf);
    msg_in_free(&p->in);
}

static void free_jobs(struct rules_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++)
        store_job_free(&jobs->list[i]);
    free(jobs->list);
    memset(jobs, 0, sizeof *jobs);
}

#define MESSAGE_IN(thread)                                                                                   \
    "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1700000000000,"                     \
    "\"data\":{\"id\":\"m1\",\"threadId\":\"" thread "\",\"contextId\":\"c1\",\"author\":\"ann\"}}"

/* ---- matching ---- */

static void a_match_gives_a_job_for_each_recipient_once(void **state)
{
    (void)state;
    struct slice *s = base_slice();
    add_rule(s, "one", "channel == 'thread' && data.threadId == 't1'", "all oncall +48500500502",
             "  New in {{ data.threadId }} by {{ author }}\n");
    struct rules *r = load(s);
    struct packed p;
    struct rules_jobs jobs = {0};
    make_event(&p, MESSAGE_IN("t1"));
    rules_match(r, &p.e, &store_id, 1000, &jobs);
    assert_int_equal(jobs.count, 3);
    for (size_t i = 0; i < jobs.count; i++) {
        struct store_job *j = &jobs.list[i];
        assert_string_equal(j->text, "New in t1 by ann");
        assert_string_equal(j->provider, "first");
        assert_string_equal(j->from, "Sender");
        assert_string_equal(j->item, "m1");
        assert_string_equal(j->container, "t1");
        assert_int_equal(j->state, JOB_QUEUED);
        assert_int_equal(j->event_ms, 1700000000000);
        assert_int_equal(j->expires_ms, 1000 + 24 * 3600000);
        assert_false(j->keep_on_delete);
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(j->id.bytes, jobs.list[k].id.bytes, HASH_ID_BYTES);
            assert_string_not_equal(j->number, jobs.list[k].number);
        }
    }
    free_event(&p);
    make_event(&p, MESSAGE_IN("t2"));
    size_t before = jobs.count;
    rules_match(r, &p.e, &store_id, 1000, &jobs);
    assert_int_equal(jobs.count, before);
    free_event(&p);
    free_jobs(&jobs);
    rules_free(&r);
    slice_free(&s);
}

static void identity_depends_on_store_event_rule_and_number_only(void **state)
{
    (void)state;
    struct slice *s = base_slice();
    add_rule(s, "a", "type == 'threadNewMessage'", "+48500500500", "{{ bridge }}");
    add_rule(s, "b", "type == 'threadNewMessage'", "+48500500500", "{{ bridge }}");
    struct rules *r = load(s);
    struct packed p;
    struct rules_jobs first = {0}, again = {0}, elsewhere = {0};
    make_event(&p, MESSAGE_IN("t1"));
    rules_match(r, &p.e, &store_id, 1, &first);
    rules_match(r, &p.e, &store_id, 99999, &again);
    rules_match(r, &p.e, &(struct hash_id){{9}}, 1, &elsewhere);
    assert_int_equal(first.count, 2);
    assert_memory_equal(first.list[0].id.bytes, again.list[0].id.bytes, HASH_ID_BYTES);
    assert_memory_not_equal(first.list[0].id.bytes, first.list[1].id.bytes, HASH_ID_BYTES);
    assert_memory_not_equal(first.list[0].id.bytes, elsewhere.list[0].id.bytes, HASH_ID_BYTES);
    free_event(&p);
    free_jobs(&first);
    free_jobs(&again);
    free_jobs(&elsewhere);
    rules_free(&r);
    slice_free(&s);
}

static void a_failing_condition_is_false_and_counted(void **state)
{
    (void)state;
    struct slice *s = base_slice();
    add_rule(s, "fails", "data.nothing.deep < 5", "oncall", "x {{ data.never }}");
    add_rule(s, "empty", "channel == 'thread'", "+48500500500", " {{ '' }} ");
    add_rule(s, "holes", "channel == 'thread'", "+48500500500", "{{ data.gone }} {{ 1 / 0 }}");
    slice_add_setting(add_rule(s, "off", "true", "oncall", "x"), "enabled", SLICE_NUMBER, 14)->number = 0;
    struct rules *r = load(s);
    struct packed p;
    struct rules_jobs jobs = {0};
    make_event(&p, MESSAGE_IN("t1"));
    rules_match(r, &p.e, &store_id, 1, &jobs);
    assert_int_equal(jobs.count, 2);
    assert_int_equal(jobs.list[0].state, JOB_SUPPRESSED);
    assert_string_equal(jobs.list[1].text, "? ?");
    cJSON *status = cJSON_CreateObject();
    rules_status(r, status);
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(status, "rules"), 0);
    assert_int_equal(cJSON_GetObjectItem(first, "errors")->valueint, 1);
    assert_non_null(cJSON_GetObjectItem(first, "last_error"));
    assert_int_equal(cJSON_GetObjectItem(first, "insertions_failed")->valueint, 0);
    assert_null(cJSON_GetObjectItem(first, "last_insertion_error"));
    const cJSON *holes = cJSON_GetArrayItem(cJSON_GetObjectItem(status, "rules"), 2);
    assert_int_equal(cJSON_GetObjectItem(holes, "insertions_failed")->valueint, 1);
    assert_string_equal(cJSON_GetObjectItem(holes, "last_insertion_error")->valuestring,
                        "no such key: 'gone'");
    cJSON_Delete(status);
    free_event(&p);
    free_jobs(&jobs);
    rules_free(&r);
    slice_free(&s);
}

static void deletions_are_told_and_their_own_jobs_stay(void **state)
{
    (void)state;
    struct slice *s = base_slice();
    add_rule(s, "all", "channel in ['thread', 'kvdb']", "+48500500500", "x");
    struct rules *r = load(s);
    struct packed p;
    struct rules_jobs jobs = {0};
    make_event(&p, "{\"channel\":\"thread\",\"type\":\"threadDeletedMessage\",\"timestamp\":1,"
                   "\"data\":{\"messageId\":\"m1\",\"threadId\":\"t1\"}}");
    assert_string_equal(rules_deleted_item(r, &p.e), "m1");
    rules_match(r, &p.e, &store_id, 1, &jobs);
    assert_int_equal(jobs.count, 1);
    assert_true(jobs.list[0].keep_on_delete);
    free_event(&p);
    make_event(&p, MESSAGE_IN("t1"));
    assert_null(rules_deleted_item(r, &p.e));
    free_event(&p);
    /* A key of a kvdb may be used again after its deletion: nothing is cancelled by it. */
    make_event(&p, "{\"channel\":\"kvdb\",\"type\":\"kvdbDeletedEntry\",\"timestamp\":1,"
                   "\"data\":{\"kvdbId\":\"k1\",\"entryKey\":\"settings\"}}");
    assert_null(rules_deleted_item(r, &p.e));
    free_event(&p);
    free_jobs(&jobs);
    rules_free(&r);
    slice_free(&s);
}

/* ---- faults ---- */

static void faults_name_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *when, *to, *message, *provider;
        unsigned line;
        const char *says;
    } cases[] = {
        {"channel == 'thread' &&\n  data.x = 1", "oncall", "x", NULL, 12, "^"},
        {"chanel == 'thread'", "oncall", "x", NULL, 11, "channel"},
        {"true", "oncal", "x", NULL, 12, "oncall"},
        {"true", "+48", "x", NULL, 12, "8 to 15 digits"},
        {"true", "oncall", "a {{ data. }}", NULL, 13, "^"},
        {"true", "oncall", "x", "frst", 14, "first"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice *s = base_slice();
        struct slice_block *b = add_rule(s, "bad", cases[i].when, cases[i].to, cases[i].message);
        if (cases[i].provider)
            add_text(b, "provider", cases[i].provider, 14);
        struct faults faults = {0};
        assert_null(rules_new(s, &faults));
        assert_int_equal(faults.count, 1);
        assert_string_equal(faults.list[0].file, "a.conf");
        assert_int_equal(faults.list[0].line, cases[i].line);
        if (!strstr(faults.list[0].text, cases[i].says))
            fail_msg("%s", faults.list[0].text);
        faults_free(&faults);
        slice_free(&s);
    }
}

static void recipients_that_contain_themselves_are_a_fault(void **state)
{
    (void)state;
    struct slice *s = base_slice();
    add_list(slice_add_block(s, "recipients", "x", "b.conf", 1), "to", "y", 2);
    add_list(slice_add_block(s, "recipients", "y", "b.conf", 3), "to", "+48500500500 x", 4);
    struct faults faults = {0};
    assert_null(rules_new(s, &faults));
    assert_int_equal(faults.count, 1);
    assert_int_equal(faults.list[0].line, 4);
    faults_free(&faults);
    slice_free(&s);
}

/* ---- the index and the interest against trying everything ---- */

static uint32_t pick(uint32_t n)
{
    static uint64_t x = 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 33) % n;
}

static const char *const types[][2] = {
    {"thread", "threadNewMessage"},
    {"thread", "threadDeletedMessage"},
    {"thread", "threadCreated"},
    {"store", "storeFileCreated"},
    {"store", "storeFileDeleted"},
    {"store", "storeDeleted"},
    {"kvdb", "kvdbNewEntry"},
    {"inbox", "inboxEntry"},
    {"odd", "oddThing"},
};
enum { TYPES = sizeof types / sizeof types[0], IDS = 6 };

static void random_atom(struct buf *b)
{
    static const char *const paths[] = {
        "channel",   "type", "data.threadId", "data.contextId", "data.id",      "data['threadId']",
        "container", "item", "author",        "context",        "data.deep.id", "bridge"};
    const char *path = paths[pick(sizeof paths / sizeof paths[0])];
    bool is_type = strcmp(path, "type") == 0, is_channel = strcmp(path, "channel") == 0;
    char values[3][32];
    for (int i = 0; i < 3; i++) {
        if (is_type || is_channel)
            snprintf(values[i], sizeof values[i], "%s", types[pick(TYPES)][is_type]);
        else if (strcmp(path, "bridge") == 0)
            snprintf(values[i], sizeof values[i], "%s", pick(4) ? "main" : "other");
        else
            snprintf(values[i], sizeof values[i], "i%u", pick(IDS));
    }
    switch (pick(11)) {
    case 10:
        buf_addf(
            b,
            "((type == 'threadNewMessage' && data.threadId == 'i%u') || (channel == 'store' && %s == '%s'))",
            pick(IDS), path, values[0]);
        break;
    case 7:
        buf_addf(b, "'%s' in data.users", values[0]);
        break;
    case 8:
        buf_addf(b, "data.users.exists(u, u in ['%s', '%s'])", values[0], values[1]);
        break;
    case 9:
        buf_addf(b, "(data.n == %u || (%s == '%s' && !recovered))", pick(12), path, values[0]);
        break;
    case 0:
        buf_addf(b, "%s in ['%s', '%s', '%s']", path, values[0], values[1], values[2]);
        break;
    case 1:
        buf_addf(b, "(%s == '%s' || '%s' == %s)", path, values[0], values[1], path);
        break;
    case 2:
        buf_addf(b, "%s != '%s'", path, values[0]);
        break;
    case 3:
        buf_addf(b, "data.n < %u", pick(10));
        break;
    default:
        buf_addf(b, "%s == '%s'", path, values[0]);
    }
}

static void random_when(struct buf *b)
{
    buf_reset(b);
    uint32_t atoms = 1 + pick(4);
    for (uint32_t i = 0; i < atoms; i++) {
        if (i)
            buf_adds(b, pick(6) ? " && " : " || ");
        random_atom(b);
    }
}

static void random_frame(struct buf *b)
{
    const char *const *t = types[pick(TYPES)];
    buf_reset(b);
    buf_addf(b, "{\"channel\":\"%s\",\"type\":\"%s\",\"timestamp\":%u,\"data\":{\"id\":\"i%u\"", t[0], t[1],
             pick(1000000), pick(IDS));
    static const char *const members[] = {"threadId", "storeId", "kvdbId",    "inboxId",     "contextId",
                                          "author",   "creator", "messageId", "kvdbEntryKey"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (pick(3))
            buf_addf(b, ",\"%s\":\"i%u\"", members[i], pick(IDS));
    buf_addf(b, ",\"users\":[\"i%u\",\"i%u\",3]", pick(IDS), pick(IDS));
    buf_addf(b, ",\"n\":%u,\"deep\":{\"id\":\"i%u\"}}}", pick(12), pick(IDS));
}

static bool has_word(char **list, size_t count, struct msg_str word)
{
    for (size_t i = 0; i < count; i++)
        if (msg_str_is(word, list[i]))
            return true;
    return false;
}

/* The value that a listener finds at a condition's path. */
static struct msg_str told_value(const struct event *e, const char *path)
{
    if (strcmp(path, "container") == 0)
        return e->container;
    if (strcmp(path, "item") == 0)
        return e->item;
    if (strcmp(path, "context") == 0)
        return e->context;
    if (strcmp(path, "author") == 0)
        return e->author;
    struct expr_value value, data = expr_value_from_msgpack(e->data);
    if (strncmp(path, "data.", 5) != 0 || data.type != EXPR_MAP ||
        !expr_map_find(data, path + 5, strlen(path + 5), &value) || value.type != EXPR_STRING)
        return (struct msg_str){NULL, 0};
    return (struct msg_str){value.as.string, value.length};
}

static bool wants(const struct wire_interest *in, const struct event *e)
{
    if (in->everything)
        return true;
    for (size_t i = 0; i < in->count; i++) {
        const struct wire_interest_entry *x = &in->entries[i];
        bool fits = (!x->channels_count || has_word(x->channels, x->channels_count, e->channel)) &&
                    (!x->types_count || has_word(x->types, x->types_count, e->type));
        for (size_t c = 0; fits && c < x->conditions_count; c++) {
            struct msg_str value = told_value(e, x->conditions[c].path);
            fits = value.data && has_word(x->conditions[c].values, x->conditions[c].count, value);
        }
        if (fits)
            return true;
    }
    return false;
}

static size_t brute_force(struct rules *r, const struct event *e)
{
    struct expr_value values[EXPR_EVENT_SLOTS];
    struct expr_activation activation = {.values = values, .value_count = EXPR_EVENT_SLOTS};
    size_t count = 0;
    rules_values(e, values);
    expr_arena_reset(r->arena);
    for (size_t i = 0; i < r->count; i++)
        count += expr_test(r->list[i].when, &activation, r->arena, NULL) == EXPR_TRUE;
    return count;
}

static size_t deletions_seen, matches_seen, refused_seen;

/* A deletion is wanted if a job of the same item or container may stand. */
static void check_deletions(struct rules *r, const struct wire_interest *in, const struct rules_jobs *jobs,
                            const struct event *deletion)
{
    const char *deleted = rules_deleted_item(r, deletion);
    for (size_t i = 0; deleted && i < jobs->count; i++) {
        const struct store_job *j = &jobs->list[i];
        bool same_channel = j->keep_on_delete == false;
        bool item = j->item && strcmp(j->item, deleted) == 0 && j->container &&
                    msg_str_is(deletion->container, j->container);
        if (!same_channel || !item)
            continue;
        deletions_seen++;
        if (!wants(in, deletion))
            fail_msg("rule %s: the deletion %.*s of %s is not wanted", j->rule, (int)deletion->type.len,
                     deletion->type.data, deleted);
    }
}

static void one_round(struct rules *r, const struct wire_interest *in)
{
    enum { EVENTS = 60 };
    static struct packed events[EVENTS];
    struct buf frame = {0};
    for (int i = 0; i < EVENTS; i++) {
        random_frame(&frame);
        make_event(&events[i], buf_cstr(&frame));
    }
    for (int i = 0; i < EVENTS; i++) {
        struct rules_jobs jobs = {0};
        size_t expected = brute_force(r, &events[i].e);
        rules_match(r, &events[i].e, &store_id, 1, &jobs);
        assert_int_equal(jobs.count, expected);
        if (expected && !wants(in, &events[i].e))
            fail_msg("a rule matches what is not wanted");
        matches_seen += expected;
        refused_seen += !wants(in, &events[i].e);
        /* Deletions only concern jobs of their own channel: ids are unique on a Bridge. */
        for (int k = 0; k < EVENTS; k++)
            if (memcmp(events[k].e.channel.data, events[i].e.channel.data, events[i].e.channel.len) == 0)
                check_deletions(r, in, &jobs, &events[k].e);
        free_jobs(&jobs);
    }
    for (int i = 0; i < EVENTS; i++)
        free_event(&events[i]);
    buf_free(&frame);
}

static void index_and_interest_agree_with_trying_every_rule(void **state)
{
    (void)state;
    struct buf when = {0};
    for (int round = 0; round < 150; round++) {
        struct slice *s = base_slice();
        uint32_t count = 1 + pick(round % 3 ? 12 : 3);
        for (uint32_t i = 0; i < count; i++) {
            char name[16];
            snprintf(name, sizeof name, "r%u", i);
            random_when(&when);
            add_rule(s, name, buf_cstr(&when), "+48500500500", "x");
        }
        struct rules *r = load(s);
        struct wire_interest in;
        rules_interest(r, "main", &in);
        one_round(r, &in);
        wire_interest_free(&in);
        rules_free(&r);
        slice_free(&s);
    }
    buf_free(&when);
    /* The comparison is empty unless all of it happens. */
    assert_true(matches_seen > 1000);
    assert_true(refused_seen > 500);
    assert_true(deletions_seen > 20);
}

/* ---- interest by example ---- */

static void interest_is_merged_by_shape(void **state)
{
    (void)state;
    struct slice *s = base_slice();
    for (int i = 0; i < 100; i++) {
        char name[16], when[128];
        snprintf(name, sizeof name, "r%d", i);
        snprintf(when, sizeof when,
                 "channel == 'thread' && type == 'threadNewMessage' && data.contextId == 'c' && "
                 "data.threadId == 't%d'",
                 i);
        struct slice_block *b = add_rule(s, name, when, "oncall", "x");
        slice_add_setting(b, "cancel_on_delete", SLICE_NUMBER, 14)->number = 0;
    }
    struct rules *r = load(s);
    struct wire_interest in;
    rules_interest(r, "main", &in);
    assert_false(in.everything);
    assert_int_equal(in.count, 1);
    assert_int_equal(in.entries[0].conditions_count, 2);
    assert_string_equal(in.entries[0].conditions[0].path, "data.threadId");
    assert_int_equal(in.entries[0].conditions[0].count, 100);
    assert_string_equal(in.entries[0].conditions[1].path, "data.contextId");
    assert_int_equal(in.entries[0].conditions[1].count, 1);
    wire_interest_free(&in);
    rules_free(&r);
    slice_free(&s);
}

static void interest_takes_each_side_of_an_or_by_itself(void **state)
{
    (void)state;
    struct slice *s = base_slice();
    struct slice_block *b = add_rule(s, "r",
                                     "(type == 'threadNewMessage' && data.threadId == 't1') || "
                                     "(type == 'storeFileCreated' && data.storeId == 's1')",
                                     "oncall", "x");
    slice_add_setting(b, "cancel_on_delete", SLICE_NUMBER, 14)->number = 0;
    struct rules *r = load(s);
    struct wire_interest in;
    rules_interest(r, "main", &in);
    assert_false(in.everything);
    assert_int_equal(in.count, 2);
    for (size_t i = 0; i < in.count; i++) {
        const struct wire_interest_entry *e = &in.entries[i];
        assert_int_equal(e->types_count, 1);
        assert_int_equal(e->conditions_count, 1);
        bool thread = strcmp(e->types[0], "threadNewMessage") == 0;
        assert_string_equal(e->conditions[0].path, thread ? "data.threadId" : "data.storeId");
        assert_string_equal(e->conditions[0].values[0], thread ? "t1" : "s1");
    }
    wire_interest_free(&in);
    rules_free(&r);
    slice_free(&s);
}

static void interest_of_other_bridges_and_of_nothing(void **state)
{
    (void)state;
    struct slice *s = base_slice();
    struct wire_interest in;
    struct rules *r = load(s);
    rules_interest(r, "main", &in);
    assert_false(in.everything);
    assert_int_equal(in.count, 0);
    rules_free(&r);
    add_rule(s, "a", "bridge == 'east' && channel == 'store'", "oncall", "x");
    r = load(s);
    rules_interest(r, "main", &in);
    assert_int_equal(in.count, 0);
    rules_interest(r, "east", &in);
    assert_true(in.count > 0);
    wire_interest_free(&in);
    rules_free(&r);
    add_rule(s, "b", "data.n > 5", "oncall", "x");
    r = load(s);
    rules_interest(r, "main", &in);
    assert_true(in.everything);
    wire_interest_free(&in);
    rules_free(&r);
    slice_free(&s);
}

/* ---- many ---- */

/* The cost of an event must not grow with the rules; times are compared with each other only. */
static uint64_t best_match_ns(struct rules *r, const struct event *e)
{
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < 20; round++) {
        uint64_t start = clock_mono_ns();
        for (int i = 0; i < 200; i++) {
            struct rules_jobs jobs = {0};
            rules_match(r, e, &store_id, 1, &jobs);
            free_jobs(&jobs);
        }
        uint64_t took = clock_mono_ns() - start;
        best = took < best ? took : best;
    }
    return best;
}

static void count_tried(void *arg, struct rule *rule)
{
    (void)rule;
    ++*(size_t *)arg;
}

/* Of many rules of one form the index must leave the few that the event may match. "%d" is the rule's own. */
static void few_rules_are_tried(void **state)
{
    static const char *const forms[] = {
        "data.threadId == 't%d'",
        "'t%d' == data['threadId'] && author != 'x'",
        "((channel == 'thread') && (type == 'threadNewMessage' && (data.threadId == 't%d')))",
        "data.threadId in ['t%d', 'u%d'] && (type == 'threadNewMessage' || type == 'threadDeletedMessage')",
        "has(data.threadId) && data.threadId == 't%d'",
        "!recovered && bridge == 'main' && container == 't%d'",
        "data.threadId == 't%d' || data.threadId == 'u%d'",
        "(type == 'threadNewMessage' && data.threadId == 't%d') || (type == 'x' && data.storeId == 's%d')",
        "data.threadId == 't%d' || data.storeId == 's%d'",
        "channel == 'thread' ? data.threadId == 't%d' : data.storeId == 's%d'",
        "recovered ? false : data.threadId == 't%d'",
        "!(data.threadId != 't%d')",
        "!(channel != 'thread' || data.threadId != 't%d')",
        "'u%d' in data.users && type.startsWith('thread')",
        "data.users.exists(u, u == 'u%d') || data.n == 100%d",
        "data.n == %d && channel == 'thread'",
        "data.n in [%d, 100%d]",
        "(data.threadId == 't%d' || item == 'i%d') && (author == 'ann' || context == 'c1')",
    };
    (void)state;
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        struct slice *s = base_slice();
        for (int i = 0; i < 200; i++) {
            char name[16], when[256];
            snprintf(name, sizeof name, "r%d", i);
            snprintf(when, sizeof when, forms[f], i, i);
            add_rule(s, name, when, "+48500500500", "x");
        }
        struct rules *r = load(s);
        struct packed p;
        struct expr_value values[EXPR_EVENT_SLOTS];
        make_event(&p,
                   "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1,\"data\":{\"id\":"
                   "\"m1\",\"threadId\":\"t7\",\"contextId\":\"c1\",\"author\":\"ann\",\"n\":7,\"users\":"
                   "[\"u7\",\"u7\",\"other\"]}}");
        rules_values(&p.e, values);
        size_t tried = 0;
        rules_index_find(r->index, values, count_tried, &tried);
        if (tried != 1)
            fail_msg("%s: %zu rules tried", forms[f], tried);
        free_event(&p);
        rules_free(&r);
        slice_free(&s);
    }
}

static struct rules *load_many(struct slice *s, int count)
{
    for (int i = 0; i < count; i++) {
        char name[32], when[200];
        snprintf(name, sizeof name, "rule%d", i);
        snprintf(
            when, sizeof when,
            "channel == 'thread' && type == 'threadNewMessage' && data.contextId == 'c1' && data.threadId == "
            "'t%d'",
            i);
        add_rule(s, name, when, "oncall", "New message in thread {{ data.threadId }}");
    }
    return load(s);
}

static void ten_thousand_rules_cost_about_as_much_as_ten(void **state)
{
    (void)state;
    struct slice *few = base_slice(), *many = base_slice();
    struct rules *ten = load_many(few, 10);
    uint64_t start = clock_mono_ms();
    struct rules *all = load_many(many, 10000);
    print_message("10000 rules loaded in %d ms\n", (int)(clock_mono_ms() - start));
    struct packed p;
    make_event(&p, MESSAGE_IN("t7"));
    uint64_t cheap = best_match_ns(ten, &p.e), dear = best_match_ns(all, &p.e);
    print_message("ns an event: %d with 10 rules, %d with 10000\n", (int)(cheap / 200), (int)(dear / 200));
    assert_true(dear < 20 * cheap + 1000000);
    free_event(&p);
    rules_free(&ten);
    rules_free(&all);
    slice_free(&few);
    slice_free(&many);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_match_gives_a_job_for_each_recipient_once),
        cmocka_unit_test(identity_depends_on_store_event_rule_and_number_only),
        cmocka_unit_test(a_failing_condition_is_false_and_counted),
        cmocka_unit_test(deletions_are_told_and_their_own_jobs_stay),
        cmocka_unit_test(faults_name_the_place),
        cmocka_unit_test(recipients_that_contain_themselves_are_a_fault),
        cmocka_unit_test(index_and_interest_agree_with_trying_every_rule),
        cmocka_unit_test(interest_is_merged_by_shape),
        cmocka_unit_test(interest_takes_each_side_of_an_or_by_itself),
        cmocka_unit_test(interest_of_other_bridges_and_of_nothing),
        cmocka_unit_test(few_rules_are_tried),
        cmocka_unit_test(ten_thousand_rules_cost_about_as_much_as_ten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
