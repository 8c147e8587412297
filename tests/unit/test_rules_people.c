/* links: dispatcher_parts expr proto core m */
/* Rules that ring people: the parent that waits, what it leads to, who is missing, and the interest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/alloc.h"
#include "dispatcher/rules.h"

static const struct hash_id store_id = {{1, 2, 3}};

struct world {
    char path[64];
    struct slice *slice;
    struct rules *rules;
    struct members *members;
    struct buf packed;
    struct msg_in in;
    struct event event;
    struct rules_jobs jobs;
};

static void add_text(struct slice_block *b, const char *name, const char *text)
{
    slice_add_setting(b, name, SLICE_TEXT, b->line + 1)->text = xstrdup(text);
}

static void add_rule(struct world *w, const char *name, const char *when, const char *to)
{
    struct slice_block *b = slice_add_block(w->slice, "rule", name, "a.conf", 10);
    struct slice_setting *s = slice_add_setting(b, "to", SLICE_LIST, 12);
    add_text(b, "when", when);
    add_text(b, "message", "{{ item }}");
    s = (struct slice_setting *)slice_get(b, "to");
    s->list = xcalloc(1, sizeof *s->list);
    s->list[s->count++] = xstrdup(to);
}

static void set_event(struct world *w, const char *frame)
{
    const char *why = NULL;
    buf_reset(&w->packed);
    if (event_normalise("main", frame, strlen(frame), 1, 77, &w->packed, &why))
        fail_msg("%s: %s", frame, why);
    assert_int_equal(event_unpack(&w->in, w->packed.data, w->packed.len, &w->event), 0);
}

#define MESSAGE                                                                                              \
    "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1700000000000,\"data\":{"           \
    "\"id\":\"m1\",\"threadId\":\"t1\",\"contextId\":\"c1\",\"author\":\"alice\"}}"

static void begin_with(struct world *w, const char *people)
{
    memset(w, 0, sizeof *w);
    strcpy(w->path, "/tmp/bridgebell-people-XXXXXX");
    int fd = mkstemp(w->path);
    assert_int_equal(write(fd, people, strlen(people)), strlen(people));
    close(fd);
    w->slice = slice_new();
    slice_add_block(w->slice, "provider", "first", "a.conf", 1);
    add_text(slice_add_block(w->slice, "directory", "", "a.conf", 3), "file", w->path);
    w->members = members_new(10);
    buf_init(&w->packed, 0);
    msg_in_init(&w->in);
    set_event(w, MESSAGE);
}

static void begin(struct world *w)
{
    begin_with(w, "user_id,number\nalice,+48500500001\nbob,+48500500002\n");
}

static void load(struct world *w)
{
    struct faults faults = {0};
    w->rules = rules_new(w->slice, &faults);
    if (faults.count)
        fail_msg("%s", faults.list[0].text);
    rules_use_members(w->rules, w->members);
}

static void clear_jobs(struct rules_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++)
        store_job_free(&jobs->list[i]);
    free(jobs->list);
    memset(jobs, 0, sizeof *jobs);
}

static void end(struct world *w)
{
    clear_jobs(&w->jobs);
    rules_free(&w->rules);
    members_free(&w->members);
    slice_free(&w->slice);
    buf_free(&w->packed);
    msg_in_free(&w->in);
    unlink(w->path);
}

static void match(struct world *w)
{
    clear_jobs(&w->jobs);
    rules_match(w->rules, &w->event, &store_id, 1000, &w->jobs);
}

/* The container has these members; NULL: it does not exist. */
static void know(struct world *w, const char *const *users, size_t count)
{
    struct msg_out out;
    struct msg_in in;
    struct msg_fields f;
    struct wire_members a = {.container = msg_str_of("t1"),
                             .outcome = users ? WIRE_MEMBERS_FOUND : WIRE_MEMBERS_NONE,
                             .version = 1};
    msg_out_init(&out, 0);
    msg_in_init(&in);
    wire_put_members(&out, &a, count);
    for (size_t i = 0; i < count; i++)
        msg_put_cstr(&out, users[i]);
    assert_int_equal(msg_parse(&in, out.buf.data, out.buf.len, &f), WIRE_MEMBERS);
    assert_int_equal(wire_get_members(&f, &a), 0);
    members_learn(w->members, "main", &a);
    msg_out_free(&out);
    msg_in_free(&in);
}

static void a_rule_for_members_waits_as_one_job(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    add_rule(&w, "people", "type == 'threadNewMessage'", "others()");
    add_rule(&w, "more", "type == 'threadNewMessage'", "members()");
    load(&w);
    match(&w);
    assert_int_equal(w.jobs.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct store_job *j = &w.jobs.list[i];
        assert_int_equal(j->state, JOB_HELD);
        assert_string_equal(j->number, "");
        assert_string_equal(j->text, "");
        assert_string_equal(j->item, "m1");
        assert_string_equal(j->container, "t1");
        assert_int_equal(j->expires_ms, 1000 + 24 * 3600000);
        assert_null(j->noise);
    }
    assert_memory_not_equal(&w.jobs.list[0].id, &w.jobs.list[1].id, sizeof(struct hash_id));
    struct hash_id before = w.jobs.list[0].id;
    match(&w);
    assert_memory_equal(&w.jobs.list[0].id, &before, sizeof before);
    end(&w);
}

static void expand(struct world *w, const char *rule, struct rules_expanded *out)
{
    char *name = xstrdup(rule);
    struct store_job parent = {.rule = name, .expires_ms = 4711, .state = JOB_HELD};
    rules_expand(w->rules, &parent, &w->event, &store_id, 2000, out);
    free(name);
}

static void free_expanded(struct rules_expanded *out)
{
    clear_jobs(&out->jobs);
    free(out->reason);
    memset(out, 0, sizeof *out);
}

static void a_parent_leads_to_what_the_rule_gives_when_members_are_known(void **state)
{
    (void)state;
    static const char *const users[] = {"alice", "bob", "dave"};
    struct world w;
    struct rules_expanded out;
    begin(&w);
    add_rule(&w, "people", "type == 'threadNewMessage'", "others()");
    load(&w);
    expand(&w, "people", &out);
    assert_true(out.waits);
    assert_int_equal(out.jobs.count, 0);
    know(&w, users, 3);
    expand(&w, "people", &out);
    assert_false(out.waits);
    assert_false(out.ends);
    assert_int_equal(out.jobs.count, 2);
    assert_string_equal(out.jobs.list[0].number, "+48500500002");
    assert_string_equal(out.jobs.list[0].text, "m1");
    assert_int_equal(out.jobs.list[0].state, JOB_QUEUED);
    assert_int_equal(out.jobs.list[0].expires_ms, 4711);
    assert_int_equal(out.jobs.list[0].received_ns, 0);
    assert_int_equal(out.jobs.list[1].state, JOB_SUPPRESSED);
    assert_int_equal(out.jobs.list[1].noise->why, WHY_UNKNOWN);
    assert_string_equal(out.jobs.list[1].reason, "not in the directory: dave");
    assert_string_equal(out.jobs.list[1].number, "");
    /* The same as if they had been known at once. */
    match(&w);
    assert_int_equal(w.jobs.count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_memory_equal(&w.jobs.list[i].id, &out.jobs.list[i].id, sizeof(struct hash_id));
    assert_memory_not_equal(&w.jobs.list[0].id, &w.jobs.list[1].id, sizeof(struct hash_id));
    free_expanded(&out);
    end(&w);
}

static void a_parent_without_anybody_ends(void **state)
{
    (void)state;
    static const char *const author[] = {"alice"};
    static const char *const stranger[] = {"alice", "dave"};
    struct world w;
    struct rules_expanded out;
    begin(&w);
    add_rule(&w, "people", "type == 'threadNewMessage'", "others()");
    add_rule(&w, "other", "type == 'threadStats'", "others()");
    load(&w);
    know(&w, NULL, 0);
    expand(&w, "people", &out);
    assert_true(out.ends);
    assert_int_equal(out.why, WHY_UNKNOWN);
    assert_string_equal(out.reason, "no such container, or not to be seen: t1");
    assert_int_equal(out.jobs.count, 0);
    free_expanded(&out);
    know(&w, author, 1);
    expand(&w, "people", &out);
    assert_true(out.ends);
    assert_string_equal(out.reason, "nobody is left to be rung");
    free_expanded(&out);
    know(&w, stranger, 2);
    expand(&w, "people", &out);
    assert_true(out.ends);
    assert_string_equal(out.reason, "not in the directory: dave");
    free_expanded(&out);
    static const char *const gone[] = {"was removed", "other"};
    for (size_t i = 0; i < 2; i++) {
        expand(&w, gone[i], &out);
        assert_true(out.ends);
        assert_int_equal(out.why, WHY_UNKNOWN);
        assert_non_null(strstr(out.reason, "the rule is gone"));
        free_expanded(&out);
    }
    end(&w);
}

static void without_a_listener_to_ask_nobody_waits(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    add_rule(&w, "people", "type == 'threadNewMessage'", "members()");
    load(&w);
    rules_use_members(w.rules, NULL);
    match(&w);
    assert_int_equal(w.jobs.count, 1);
    assert_int_equal(w.jobs.list[0].state, JOB_SUPPRESSED);
    assert_string_equal(w.jobs.list[0].reason, "its members cannot be looked up: t1");
    end(&w);
}

static bool wants(const struct wire_interest *in, const char *channel, const char *type)
{
    for (size_t i = 0; i < in->count; i++) {
        const struct wire_interest_entry *e = &in->entries[i];
        if (e->channels_count == 1 && e->types_count == 1 && e->conditions_count == 0 &&
            strcmp(e->channels[0], channel) == 0 && strcmp(e->types[0], type) == 0)
            return true;
    }
    return in->everything;
}

static void the_interest_keeps_members_current(void **state)
{
    (void)state;
    struct world w;
    struct wire_interest in;
    begin(&w);
    add_rule(&w, "people", "channel == 'store' && type == 'storeFileCreated' && data.storeId == 's1'",
             "others()");
    add_rule(&w, "alone", "channel == 'thread' && type == 'threadNewMessage'", "author");
    load(&w);
    rules_interest(w.rules, "main", &in);
    assert_true(wants(&in, "store", "storeCreated"));
    assert_true(wants(&in, "store", "storeUpdated"));
    assert_true(wants(&in, "store", "storeDeleted"));
    assert_false(wants(&in, "thread", "threadCreated"));
    assert_false(wants(&in, "thread", "threadUpdated"));
    assert_false(wants(&in, "kvdb", "kvdbUpdated"));
    wire_interest_free(&in);
    end(&w);
}

/* What one message needs is gone before the next: thousands of people are no reason for a "?". */
static void a_crowd_gets_whole_messages(void **state)
{
    enum { PEOPLE = 3000 };
    struct world w;
    struct buf people, frame;
    (void)state;
    buf_init(&people, 0);
    buf_init(&frame, 0);
    buf_adds(&people, "user_id,number,zone,tags\n");
    for (int i = 0; i < PEOPLE; i++)
        buf_addf(&people, "p%d,+4850050%04d,%s,all\n", i, i, i % 2 ? "Europe/Warsaw" : "America/Havana");
    buf_adds(&frame, "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1700000000000,"
                     "\"data\":{\"id\":\"m1\",\"threadId\":\"t1\",\"publicMeta\":\"");
    for (int i = 0; i < 2000; i++)
        buf_adds(&frame, "\\u0105 ");
    buf_adds(&frame, "\"}}");
    begin_with(&w, buf_cstr(&people));
    set_event(&w, buf_cstr(&frame));
    add_rule(&w, "r", "true", "tagged('all')");
    struct slice_block *b = (struct slice_block *)slice_find(w.slice, "rule", "r");
    struct slice_setting *message = (struct slice_setting *)slice_get(b, "message");
    free(message->text);
    message->text = xstrdup("{{ date(time) }} {{ data.publicMeta }}");
    load(&w);
    match(&w);
    assert_int_equal(w.jobs.count, PEOPLE);
    for (size_t i = 0; i < w.jobs.count; i++)
        assert_null(strchr(w.jobs.list[i].text, '?'));
    end(&w);
    buf_free(&people);
    buf_free(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_for_members_waits_as_one_job),
        cmocka_unit_test(a_parent_leads_to_what_the_rule_gives_when_members_are_known),
        cmocka_unit_test(a_parent_without_anybody_ends),
        cmocka_unit_test(without_a_listener_to_ask_nobody_waits),
        cmocka_unit_test(the_interest_keeps_members_current),
        cmocka_unit_test(a_crowd_gets_whole_messages),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
