/* links: dispatcher_parts expr proto core m */
/* The members cache: what events and look-ups teach, what overtakes what, and its bounds. */
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
#include "dispatcher/members.h"

struct world {
    struct members *members;
    struct buf packed;
    struct msg_in in;
    struct msg_out out;
};

static void begin(struct world *w, size_t containers)
{
    w->members = members_new(containers);
    buf_init(&w->packed, 0);
    msg_in_init(&w->in);
    msg_out_init(&w->out, 0);
}

static void end(struct world *w)
{
    members_free(&w->members);
    buf_free(&w->packed);
    msg_in_free(&w->in);
    msg_out_free(&w->out);
}

static void pass(struct world *w, const char *frame)
{
    struct event e;
    const char *why = NULL;
    buf_reset(&w->packed);
    if (event_normalise("main", frame, strlen(frame), 1, 1, &w->packed, &why))
        fail_msg("%s: %s", frame, why);
    assert_int_equal(event_unpack(&w->in, w->packed.data, w->packed.len, &e), 0);
    members_see(w->members, &e);
    members_see_off(w->members, &e);
}

static void container(struct world *w, const char *type, const char *id, int version, const char *users,
                      const char *managers)
{
    char *frame = xasprintf("{\"channel\":\"thread\",\"type\":\"%s\",\"timestamp\":1,\"data\":{\"id\":\"%s\","
                            "\"contextId\":\"c\",\"users\":%s,\"managers\":%s,\"version\":%d}}",
                            type, id, users, managers, version);
    pass(w, frame);
    free(frame);
}

static void message(struct world *w, const char *id)
{
    char *frame = xasprintf("{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1,\"data\":{"
                            "\"id\":\"m\",\"contextId\":\"c\",\"threadId\":\"%s\"}}",
                            id);
    pass(w, frame);
    free(frame);
}

static void deletion(struct world *w, const char *id)
{
    char *frame = xasprintf("{\"channel\":\"thread\",\"type\":\"threadDeleted\",\"timestamp\":1,\"data\":{"
                            "\"threadId\":\"%s\"}}",
                            id);
    pass(w, frame);
    free(frame);
}

/* USERS are separated by blanks. Goes through the wire's form. */
static void answer(struct world *w, const char *bridge, const char *id, enum wire_members_outcome outcome,
                   int64_t version, const char *users)
{
    struct wire_members a = {
        .number = 1, .container = msg_str_of(id), .outcome = outcome, .version = version};
    char *copy = xstrdup(users), *rest = copy, *word;
    size_t count = 0;
    for (const char *p = users; *p; p++)
        count += *p == ' ';
    wire_put_members(&w->out, &a, *users ? count + 1 : 0);
    while (*users && (word = strsep(&rest, " ")))
        msg_put_cstr(&w->out, word);
    free(copy);
    struct msg_fields f;
    assert_int_equal(msg_parse(&w->in, w->out.buf.data, w->out.buf.len, &f), WIRE_MEMBERS);
    assert_int_equal(wire_get_members(&f, &a), 0);
    members_learn(w->members, bridge, &a);
}

static const char *who(struct world *w, const char *bridge, const char *id)
{
    static char said[512];
    struct members_list found;
    size_t n = 0;
    said[0] = '\0';
    switch (members_find(w->members, msg_str_of(bridge), msg_str_of(id), &found)) {
    case MEMBERS_TO_ASK:
        return "?";
    case MEMBERS_NONE:
        return "none";
    default:
        break;
    }
    for (size_t i = 0; i < found.count; i++) {
        n += (size_t)snprintf(said + n, sizeof said - n, "%s ", found.users[i]);
        if (i) /* one behind the other */
            assert_ptr_equal(found.users[i], found.users[i - 1] + strlen(found.users[i - 1]) + 1);
    }
    return said;
}

static void events_of_containers_teach(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 10);
    assert_string_equal(who(&w, "main", "t1"), "?");
    container(&w, "threadCreated", "t1", 1, "[\"a\",\"b\",\"a\"]", "[\"b\",\"c\"]");
    assert_string_equal(who(&w, "main", "t1"), "a b c ");
    assert_string_equal(who(&w, "other", "t1"), "?");
    container(&w, "threadUpdated", "t1", 3, "[\"x\"]", "[]");
    assert_string_equal(who(&w, "main", "t1"), "x ");
    /* One that was overtaken. */
    container(&w, "threadUpdated", "t1", 2, "[\"y\"]", "[]");
    assert_string_equal(who(&w, "main", "t1"), "x ");
    container(&w, "threadUpdated", "t1", 4, "[]", "[]");
    assert_string_equal(who(&w, "main", "t1"), "");
    deletion(&w, "t1");
    assert_string_equal(who(&w, "main", "t1"), "none");
    container(&w, "threadUpdated", "t1", 9, "[\"z\"]", "[]");
    answer(&w, "main", "t1", WIRE_MEMBERS_FOUND, 9, "z");
    message(&w, "t1");
    assert_string_equal(who(&w, "main", "t1"), "none");
    members_forget(w.members, "main");
    assert_string_equal(who(&w, "main", "t1"), "none");
    end(&w);
}

static void odd_containers_teach_nothing(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 10);
    container(&w, "threadCreated", "t1", 1, "\"a\"", "[]");
    container(&w, "threadCreated", "t2", 1, "null", "{}");
    container(&w, "threadCreated", "t3", 1, "[1,null,[\"a\"],\"ok\"]", "[{}]");
    assert_string_equal(who(&w, "main", "t1"), "?");
    assert_string_equal(who(&w, "main", "t2"), "?");
    assert_string_equal(who(&w, "main", "t3"), "ok ");
    pass(&w, "{\"channel\":\"thread\",\"type\":\"threadCreated\",\"timestamp\":1,\"data\":[1]}");
    pass(&w, "{\"channel\":\"x\",\"type\":\"y\",\"timestamp\":1,\"data\":{}}");
    end(&w);
}

static void look_ups_teach(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 10);
    answer(&w, "main", "t1", WIRE_MEMBERS_BUSY, -1, "");
    assert_string_equal(who(&w, "main", "t1"), "?");
    answer(&w, "main", "t1", WIRE_MEMBERS_FOUND, 2, "a b a");
    assert_string_equal(who(&w, "main", "t1"), "a b ");
    /* An answer that an update overtook. */
    container(&w, "threadUpdated", "t1", 3, "[\"new\"]", "[]");
    answer(&w, "main", "t1", WIRE_MEMBERS_FOUND, 2, "a b");
    assert_string_equal(who(&w, "main", "t1"), "new ");
    answer(&w, "main", "t2", WIRE_MEMBERS_NONE, -1, "");
    assert_string_equal(who(&w, "main", "t2"), "none");
    /* Something happens in it: it is there after all. */
    message(&w, "t2");
    assert_string_equal(who(&w, "main", "t2"), "?");
    answer(&w, "other", "t1", WIRE_MEMBERS_FOUND, 1, "o");
    members_forget(w.members, "main");
    assert_string_equal(who(&w, "main", "t1"), "?");
    assert_string_equal(who(&w, "other", "t1"), "o ");
    /* What was void may come again with any version. */
    answer(&w, "main", "t1", WIRE_MEMBERS_FOUND, 1, "back");
    assert_string_equal(who(&w, "main", "t1"), "back ");
    end(&w);
}

static void the_least_used_go_first(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 3);
    answer(&w, "main", "t1", WIRE_MEMBERS_FOUND, 1, "a");
    answer(&w, "main", "t2", WIRE_MEMBERS_FOUND, 1, "b");
    answer(&w, "main", "t3", WIRE_MEMBERS_FOUND, 1, "c");
    assert_string_equal(who(&w, "main", "t1"), "a ");
    answer(&w, "main", "t4", WIRE_MEMBERS_FOUND, 1, "d");
    assert_string_equal(who(&w, "main", "t2"), "?");
    assert_string_equal(who(&w, "main", "t1"), "a ");
    assert_string_equal(who(&w, "main", "t3"), "c ");
    assert_string_equal(who(&w, "main", "t4"), "d ");
    end(&w);
}

static void users_are_bounded_in_all(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 10000);
    char id[WIRE_MEMBERS_ID_BYTES + 1];
    memset(id, 'x', sizeof id);
    id[sizeof id - 1] = '\0';
    for (int c = 0; c < 8; c++) { /* 16 MiB each */
        char name[8];
        snprintf(name, sizeof name, "t%d", c);
        struct wire_members a = {.container = msg_str_of(name), .outcome = WIRE_MEMBERS_FOUND, .version = 1};
        wire_put_members(&w.out, &a, WIRE_MEMBERS_MAX);
        for (int i = 0; i < WIRE_MEMBERS_MAX; i++) {
            snprintf(id, 9, "%08d", i);
            id[8] = 'x';
            msg_put_cstr(&w.out, id);
        }
        struct msg_fields f;
        assert_int_equal(msg_parse(&w.in, w.out.buf.data, w.out.buf.len, &f), WIRE_MEMBERS);
        assert_int_equal(wire_get_members(&f, &a), 0);
        members_learn(w.members, "main", &a);
    }
    cJSON *status = cJSON_CreateObject();
    members_status(w.members, status);
    const cJSON *m = cJSON_GetObjectItem(status, "members");
    assert_true(cJSON_GetObjectItem(m, "bytes")->valuedouble <= 64 * 1024 * 1024);
    assert_int_equal(cJSON_GetObjectItem(m, "containers")->valueint, 3);
    assert_int_equal(cJSON_GetObjectItem(m, "evicted")->valueint, 5);
    cJSON_Delete(status);
    struct members_list found;
    assert_int_equal(members_find(w.members, msg_str_of("main"), msg_str_of("t7"), &found), MEMBERS_KNOWN);
    assert_int_equal(found.count, WIRE_MEMBERS_MAX);
    end(&w);
}

/* Also those of containers, of which nothing else may be known. */
static void names_are_bounded_in_all(void **state)
{
    (void)state;
    enum { NAME_BYTES = 1024 * 1024, NAMES = 100 };
    struct world w;
    begin(&w, 10000);
    char *name = xmalloc(NAME_BYTES + 1);
    memset(name, 'x', NAME_BYTES);
    name[NAME_BYTES] = '\0';
    for (int c = 0; c < NAMES; c++) {
        snprintf(name, 9, "%08d", c);
        name[8] = 'x';
        answer(&w, "main", name, WIRE_MEMBERS_NONE, -1, "");
    }
    cJSON *status = cJSON_CreateObject();
    members_status(w.members, status);
    const cJSON *m = cJSON_GetObjectItem(status, "members");
    assert_true(cJSON_GetObjectItem(m, "bytes")->valuedouble <= 64 * 1024 * 1024);
    assert_in_range(cJSON_GetObjectItem(m, "containers")->valueint, 60, 64);
    cJSON_Delete(status);
    free(name);
    end(&w);
}

static void malformed_answers_are_refused(void **state)
{
    (void)state;
    struct world w;
    struct wire_members a = {.container = msg_str_of("t"), .outcome = WIRE_MEMBERS_FOUND, .version = 1};
    struct msg_fields f;
    begin(&w, 3);
    wire_put_members(&w.out, &a, 1);
    msg_put_uint(&w.out, 1);
    assert_int_equal(msg_parse(&w.in, w.out.buf.data, w.out.buf.len, &f), WIRE_MEMBERS);
    assert_int_equal(wire_get_members(&f, &a), -1);
    a = (struct wire_members){.container = msg_str_of("t"), .outcome = WIRE_MEMBERS_OUTCOMES};
    wire_put_members(&w.out, &a, 0);
    assert_int_equal(msg_parse(&w.in, w.out.buf.data, w.out.buf.len, &f), WIRE_MEMBERS);
    assert_int_equal(wire_get_members(&f, &a), -1);
    a = (struct wire_members){.container = msg_str_of("t"), .outcome = WIRE_MEMBERS_FOUND};
    wire_put_members(&w.out, &a, WIRE_MEMBERS_MAX + 1);
    for (int i = 0; i <= WIRE_MEMBERS_MAX; i++)
        msg_put_cstr(&w.out, "a");
    assert_int_equal(msg_parse(&w.in, w.out.buf.data, w.out.buf.len, &f), WIRE_MEMBERS);
    assert_int_equal(wire_get_members(&f, &a), -1);
    struct wire_members_ask ask = {.number = 7, .channel = msg_str_of("thread"), .container = msg_str_of("")};
    wire_put_members_ask(&w.out, &ask);
    assert_int_equal(msg_parse(&w.in, w.out.buf.data, w.out.buf.len, &f), WIRE_MEMBERS_ASK);
    assert_int_equal(wire_get_members_ask(&f, &ask), -1);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_of_containers_teach),
        cmocka_unit_test(odd_containers_teach_nothing),
        cmocka_unit_test(look_ups_teach),
        cmocka_unit_test(the_least_used_go_first),
        cmocka_unit_test(users_are_bounded_in_all),
        cmocka_unit_test(names_are_bounded_in_all),
        cmocka_unit_test(malformed_answers_are_refused),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
