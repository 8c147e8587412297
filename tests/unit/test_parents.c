/* links: dispatcher_parts expr proto core m */
/* Parents on their way: asked for, expanded once, few in memory at a time, and begun anew by the next
 * process. */
#include "store_fixture.h"

#include <sqlite3.h>

#include "dispatcher/parents.h"

enum { EVENTS = 130, CONTAINERS = 13, IN_MEMORY = 20 };

struct world {
    struct fixture store;
    struct slice *slice;
    struct rules *rules;
    struct members *members;
    struct parents *parents;
    size_t asked, inserted;
    bool away; /* no listener is there */
    bool busy; /* it answers "not now" */
    char asks[EVENTS * 20][8];
    bool idle;
};

static bool on_ask(void *arg, const char *bridge, const struct wire_members_ask *ask)
{
    struct world *w = arg;
    assert_string_equal(bridge, "main");
    assert_true(msg_str_is(ask->channel, "thread"));
    assert_true(msg_str_is(ask->context, "c1"));
    if (w->away)
        return false;
    assert_true(w->asked < EVENTS * 20);
    snprintf(w->asks[w->asked++], sizeof w->asks[0], "%.*s", (int)ask->container.len, ask->container.data);
    return true;
}

static void on_inserted(void *arg, const struct store_job *jobs, size_t count)
{
    struct world *w = arg;
    for (size_t i = 0; i < count; i++) {
        assert_true(jobs[i].row > 0);
        assert_int_equal(jobs[i].state, JOB_QUEUED);
    }
    w->inserted += count;
}

static void on_idle(void *arg)
{
    ((struct world *)arg)->idle = true;
}

static void add_list(struct slice_block *b, const char *name, const char *word)
{
    struct slice_setting *s = slice_add_setting(b, name, SLICE_LIST, 12);
    s->list = xcalloc(1, sizeof *s->list);
    s->list[s->count++] = xstrdup(word);
}

static void load_rules(struct world *w)
{
    struct faults faults = {0};
    w->slice = slice_new();
    slice_add_block(w->slice, "provider", "first", "a.conf", 1);
    struct slice_block *b = slice_add_block(w->slice, "numbers", "", "a.conf", 5);
    add_list(b, "allowed", "+48");
    b = slice_add_block(w->slice, "rule", "people", "a.conf", 10);
    slice_add_setting(b, "when", SLICE_TEXT, 11)->text = xstrdup("type == 'threadNewMessage'");
    slice_add_setting(b, "message", SLICE_TEXT, 13)->text = xstrdup("{{ item }}");
    /* Whatever the members are, a number of the operator's own: the directory is not what is tested. */
    add_list(b, "to", "members().map(m, string('+4850050050' + m))");
    w->rules = rules_new(w->slice, &faults);
    if (faults.count)
        fail_msg("%s", faults.list[0].text);
}

static const struct parents_ops ops = {on_ask, on_inserted};

static void start(struct world *w)
{
    w->members = members_new(1000);
    rules_use_members(w->rules, w->members);
    w->parents = parents_new(w->store.store, w->rules, w->members, IN_MEMORY, &ops, w);
}

/* As if the process ended: what is with the store is completed first. */
static void finish(struct world *w)
{
    w->idle = false;
    parents_stop(w->parents, on_idle, w);
    store_finish(w->store.store);
    assert_true(w->idle);
    parents_free(&w->parents);
    members_free(&w->members);
    store_close(&w->store.store);
}

static void begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    fixture_init(&w->store);
    fixture_open(&w->store);
    load_rules(w);
    start(w);
}

static void end(struct world *w)
{
    finish(w);
    rules_free(&w->rules);
    slice_free(&w->slice);
    fixture_end(&w->store);
}

/* Event N, of container N % CONTAINERS, goes through the rules and is committed. TELL: parents hears of it.
 */
static void commit(struct world *w, int n, bool tell)
{
    struct buf packed;
    struct msg_in in;
    struct event e;
    struct rules_jobs jobs = {0};
    const char *why;
    char *frame = xasprintf("{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1,\"data\":{"
                            "\"id\":\"m%d\",\"threadId\":\"t%d\",\"contextId\":\"c1\",\"author\":\"a\"}}",
                            n, n % CONTAINERS);
    buf_init(&packed, 0);
    msg_in_init(&in);
    assert_int_equal(event_normalise("main", frame, strlen(frame), 1, 1, &packed, &why), 0);
    assert_int_equal(event_unpack(&in, packed.data, packed.len, &e), 0);
    rules_match(w->rules, &e, store_identity(w->store.store), store_now_ms(w->store.store), &jobs);
    assert_int_equal(jobs.count, 1);
    struct store_decision d = {.key = e.key,
                               .type = "threadNewMessage",
                               .packed = packed.data,
                               .packed_len = packed.len,
                               .jobs = jobs.list,
                               .jobs_count = 1};
    struct store_intake unit = {
        .unit = {.kind = STORE_INTAKE}, .bridge = "main", .mark_ms = -1, .decisions = &d, .count = 1};
    assert_int_equal(fixture_run(&w->store, &unit.unit), STORE_OK);
    if (tell && jobs.list[0].state == JOB_HELD)
        parents_add(w->parents, jobs.list[0].row, packed.data, packed.len);
    store_job_free(&jobs.list[0]);
    free(jobs.list);
    free(frame);
    buf_free(&packed);
    msg_in_free(&in);
}

static void answer(struct world *w, const char *container)
{
    struct wire_members found = {.container = msg_str_of(container),
                                 .outcome = w->busy ? WIRE_MEMBERS_BUSY : WIRE_MEMBERS_FOUND,
                                 .version = 1};
    struct msg_out out;
    struct msg_in in;
    struct msg_fields f;
    msg_out_init(&out, 0);
    msg_in_init(&in);
    wire_put_members(&out, &found, 2);
    msg_put_cstr(&out, "1");
    msg_put_cstr(&out, "2");
    assert_int_equal(msg_parse(&in, out.buf.data, out.buf.len, &f), WIRE_MEMBERS);
    assert_int_equal(wire_get_members(&f, &found), 0);
    parents_answer(w->parents, "main", &found);
    msg_out_free(&out);
    msg_in_free(&in);
}

/* Answers what is asked until so many children are there. */
static void serve(struct world *w, size_t children)
{
    size_t answered = 0;
    while (w->inserted < children) {
        event_base_loop(loop_base(), EVLOOP_ONCE);
        while (answered < w->asked)
            answer(w, w->asks[answered++]);
    }
}

static int number_of(struct world *w, const char *name)
{
    cJSON *status = cJSON_CreateObject();
    parents_status(w->parents, status);
    int value = cJSON_GetObjectItem(cJSON_GetObjectItem(status, "waiting"), name)->valueint;
    cJSON_Delete(status);
    return value;
}

static void each_container_is_asked_for_once(void **state)
{
    (void)state;
    static struct world w;
    begin(&w);
    for (int i = 0; i < IN_MEMORY; i++)
        commit(&w, i, true);
    serve(&w, 2 * IN_MEMORY);
    assert_int_equal(w.asked, CONTAINERS);
    assert_int_equal(w.inserted, 2 * IN_MEMORY);
    assert_int_equal(number_of(&w, "events"), 0);
    assert_int_equal(number_of(&w, "containers"), 0);
    assert_int_equal(number_of(&w, "expanded"), IN_MEMORY);
    end(&w);
}

static void more_than_fit_into_memory_are_done_all_the_same(void **state)
{
    (void)state;
    static struct world w;
    begin(&w);
    for (int i = 0; i < EVENTS; i++)
        commit(&w, i, true);
    assert_true(number_of(&w, "events") <= IN_MEMORY + 100);
    serve(&w, 2 * EVENTS);
    assert_int_equal(w.inserted, 2 * EVENTS);
    assert_int_equal(number_of(&w, "expanded"), EVENTS);
    end(&w);
}

/* When all rows were purged their numbers begin anew. */
static void rows_that_begin_anew_are_found(void **state)
{
    (void)state;
    static struct world w;
    sqlite3 *sql;
    begin(&w);
    for (int i = 0; i < 2 * IN_MEMORY; i++)
        commit(&w, i, true);
    serve(&w, 4 * IN_MEMORY);
    assert_int_equal(sqlite3_open(w.store.path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, "DELETE FROM jobs", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
    members_forget(w.members, "main");
    for (int i = 2 * IN_MEMORY; i < EVENTS; i++)
        commit(&w, i, true);
    serve(&w, 2 * EVENTS);
    assert_int_equal(number_of(&w, "expanded"), EVENTS);
    end(&w);
}

static void the_next_process_goes_on(void **state)
{
    (void)state;
    static struct world w;
    begin(&w);
    w.away = true;
    for (int i = 0; i < EVENTS; i++)
        commit(&w, i, i % 2);
    finish(&w);
    w.away = false;
    fixture_open(&w.store);
    start(&w);
    serve(&w, 70);
    finish(&w);
    size_t first = w.inserted;
    fixture_open(&w.store);
    start(&w);
    serve(&w, 2 * EVENTS);
    assert_true(first < 2 * EVENTS);
    /* One that was committed but not told of would be inserted again and have no row. */
    assert_int_equal(w.inserted, 2 * EVENTS);
    end(&w);
}

static void not_now_is_asked_again_later(void **state)
{
    (void)state;
    static struct world w;
    begin(&w);
    w.busy = true;
    commit(&w, 1, true);
    while (w.asked == 0)
        event_base_loop(loop_base(), EVLOOP_ONCE);
    assert_int_equal(w.asked, 1);
    answer(&w, "t1");
    w.busy = false;
    parents_listener(w.parents, "other");
    event_base_loop(loop_base(), EVLOOP_NONBLOCK);
    assert_int_equal(w.asked, 1);
    parents_listener(w.parents, "main");
    serve(&w, 2);
    assert_int_equal(w.asked, 2);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_container_is_asked_for_once),
        cmocka_unit_test(more_than_fit_into_memory_are_done_all_the_same),
        cmocka_unit_test(rows_that_begin_anew_are_found),
        cmocka_unit_test(the_next_process_goes_on),
        cmocka_unit_test(not_now_is_asked_again_later),
    };
    log_configure(LOG_LOGFMT, LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
