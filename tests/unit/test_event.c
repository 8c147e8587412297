/* links: proto core m */
/* Normalising and identity, on every captured notification and on what users may write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/str.h"
#include "proto/event.h"

enum { FRAMES_MAX = 1000 };

struct normal {
    struct buf buf;
    struct msg_in in;
    struct event e;
};

static int normalise(struct normal *n, const char *frame, size_t len)
{
    const char *why = NULL;
    buf_init(&n->buf, 0);
    msg_in_init(&n->in);
    if (event_normalise("main", frame, len, 1, 2, &n->buf, &why))
        return -1;
    assert_int_equal(event_unpack(&n->in, n->buf.data, n->buf.len, &n->e), 0);
    return 0;
}

static void done(struct normal *n)
{
    buf_free(&n->buf);
    msg_in_free(&n->in);
}

static const msgpack_object *member(const msgpack_object *map, const char *name)
{
    for (uint32_t i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object *key = &map->via.map.ptr[i].key;
        if (key->via.str.size == strlen(name) && memcmp(key->via.str.ptr, name, key->via.str.size) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

static void captured_frames_all_have_distinct_keys(void **state)
{
    (void)state;
    static struct hash_id keys[FRAMES_MAX];
    static char *lines[FRAMES_MAX];
    size_t count = 0, size = 0;
    char *line = NULL;
    FILE *f = fopen(TEST_SOURCE_DIR "/tests/data/notifications.jsonl", "r");
    assert_non_null(f);
    ssize_t len;
    while ((len = getline(&line, &size, f)) > 0) {
        if (line[len - 1] == '\n')
            line[--len] = '\0';
        struct normal n;
        assert_int_equal(normalise(&n, line, (size_t)len), 0);
        assert_non_null(event_type_find(n.e.type.data, n.e.type.len));
        assert_non_null(n.e.container.data);
        for (size_t i = 0; i < count; i++)
            if (memcmp(&keys[i], &n.e.key, sizeof keys[i]) == 0)
                fail_msg("one key for two events:\n%s\n%s", lines[i], line);
        keys[count] = n.e.key;
        lines[count++] = xstrdup(line);
        done(&n);
    }
    assert_int_equal(count, 172);
    while (count)
        free(lines[--count]);
    free(line);
    fclose(f);
}

static const char *key_of(const char *frame, char out[33])
{
    struct normal n;
    assert_int_equal(normalise(&n, frame, strlen(frame)), 0);
    str_hex(n.e.key.bytes, sizeof n.e.key.bytes, out);
    done(&n);
    return out;
}

/* The recipe on disk: these keys may change only together with EVENT_RECIPE. */
static void recipe_is_frozen(void **state)
{
    (void)state;
    static const struct {
        const char *frame, *key;
    } rows[] = {
        {"{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"m1\"},\"timestamp\":1}",
         "2bc39e066054a22b241fab16d7548246"},
        {"{\"channel\":\"kvdb\",\"type\":\"kvdbUpdatedEntry\",\"data\":{\"kvdbId\":\"k\",\"kvdbEntryKey\":"
         "\"e\","
         "\"createDate\":7,\"version\":3},\"timestamp\":1}",
         "7e78013803771de0911a020ad23ad283"},
        {"{\"channel\":\"new\",\"type\":\"brandNew\",\"data\":[1],\"timestamp\":1}",
         "60e656ab86a25128f4b082ea580a139e"},
    };
    char key[33];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(key_of(rows[i].frame, key), rows[i].key);
}

static void same_item_same_key_whatever_else(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{\"channel\":\"thread\",\"type\":\"threadCreated\",\"data\":{\"id\":\"t\",\"version\":1},"
        "\"timestamp\":1}",
        "{\"channel\":\"thread\",\"type\":\"threadCreated\",\"data\":{\"version\":9,\"id\":\"t\"},"
        "\"timestamp\":2}",
    };
    char a[33], b[33];
    assert_string_equal(key_of(same[0], a), key_of(same[1], b));

    /* As catch-up makes it of a list's row. */
    cJSON *row = cJSON_Parse("{\"channel\":\"thread\",\"type\":\"threadCreated\",\"timestamp\":5,"
                             "\"data\":{\"id\":\"t\",\"version\":4,\"createDate\":5,\"contextId\":\"c\"}}");
    const char *why = NULL;
    struct buf buf;
    buf_init(&buf, 0);
    assert_int_equal(event_from_json("main", row, "", 0, 1, 0, true, &buf, &why), 0);
    struct msg_in in;
    msg_in_init(&in);
    struct event e;
    assert_int_equal(event_unpack(&in, buf.data, buf.len, &e), 0);
    str_hex(e.key.bytes, sizeof e.key.bytes, b);
    assert_string_equal(a, b);
    assert_true(e.recovered);
    msg_in_free(&in);
    buf_free(&buf);
    cJSON_Delete(row);
}

static void updates_differ_by_version_and_time(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"{\"channel\":\"thread\",\"type\":\"threadUpdated\",\"data\":{\"id\":\"t\",\"version\":1},"
         "\"timestamp\":1}",
         "{\"channel\":\"thread\",\"type\":\"threadUpdated\",\"data\":{\"id\":\"t\",\"version\":2},"
         "\"timestamp\":1}"},
        {"{\"channel\":\"thread\",\"type\":\"threadUpdatedMessage\",\"data\":{\"id\":\"t\"},\"timestamp\":1}",
         "{\"channel\":\"thread\",\"type\":\"threadUpdatedMessage\",\"data\":{\"id\":\"t\"},\"timestamp\":"
         "2}"},
        {"{\"channel\":\"kvdb\",\"type\":\"kvdbNewEntry\",\"data\":{\"kvdbId\":\"a\",\"kvdbEntryKey\":\"bc\","
         "\"createDate\":1},\"timestamp\":1}",
         "{\"channel\":\"kvdb\",\"type\":\"kvdbNewEntry\",\"data\":{\"kvdbId\":\"ab\",\"kvdbEntryKey\":\"c\","
         "\"createDate\":1},\"timestamp\":1}"},
    };
    char a[33], b[33];
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_string_not_equal(key_of(pairs[i][0], a), key_of(pairs[i][1], b));
}

static void user_content_never_fails(void **state)
{
    (void)state;
    static const char *const metas[] = {
        "null",
        "1",
        "\"x\"",
        "[]",
        "{\"\":1}",
        "\"a\\u0000b\"",
        "\"\\ud83d\"",
        "\"\\udc00 \\ud83d\\u0041\"",
        "\"\\\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "9007199254740992",
        "1.5",
        "-0.0",
        "true",
        "\"\xf0\x9f\x90\x88\"",
    };
    for (size_t i = 0; i < sizeof metas / sizeof metas[0]; i++) {
        char *frame =
            xasprintf("{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"m\","
                      "\"publicMeta\":%s},\"timestamp\":5}",
                      metas[i]);
        struct normal n;
        if (normalise(&n, frame, strlen(frame)))
            fail_msg("refused: %s", frame);
        assert_non_null(member(n.e.data, "publicMeta"));
        done(&n);
        free(frame);
    }
}

static void nul_becomes_replacement_and_the_rest_stays(void **state)
{
    (void)state;
    const char *frame =
        "{\"channel\":\"c\",\"type\":\"t\",\"data\":{\"m\":\"a\\u0000b\\\\u0000\"},\"timestamp\":5}";
    struct normal n;
    assert_int_equal(normalise(&n, frame, strlen(frame)), 0);
    const msgpack_object *m = member(n.e.data, "m");
    const char *expected = "a\xef\xbf\xbd"
                           "b\\u0000";
    assert_int_equal(m->via.str.size, strlen(expected));
    assert_memory_equal(m->via.str.ptr, expected, strlen(expected));
    done(&n);
}

static void deep_nesting_is_cut_not_refused(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth < 3000; depth = depth < 60 ? depth + 1 : depth * 2) {
        struct buf b;
        buf_init(&b, 0);
        buf_adds(
            &b,
            "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"m\",\"publicMeta\":");
        for (unsigned i = 0; i < depth; i++)
            buf_adds(&b, i % 2 ? "[\"]\\\"\"," : "{\"}\":");
        buf_adds(&b, "1");
        for (unsigned i = depth; i-- > 0;)
            buf_adds(&b, i % 2 ? "]" : "}");
        buf_adds(&b, "},\"timestamp\":5}");
        struct normal n;
        if (normalise(&n, b.data, b.len))
            fail_msg("refused at depth %u: %s", depth, buf_cstr(&b));
        assert_true(msg_str_is(n.e.item, "m"));
        done(&n);
        buf_free(&b);
    }
}

static void what_is_no_notification_is_refused(void **state)
{
    (void)state;
    static const char *const frames[] = {
        "",
        "{",
        "1",
        "null",
        "[]",
        "{}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"OK\"}",
        "{\"channel\":\"thread\",\"type\":\"x\",\"data\":{}}",
        "{\"channel\":\"thread\",\"type\":1,\"data\":{},\"timestamp\":1}",
        "{\"channel\":\"thread\",\"type\":\"x\",\"timestamp\":1}",
        "{\"channel\":\"thread\",\"type\":\"x\",\"data\":{},\"timestamp\":\"1\"}",
        "{\"channel\":\"thread\",\"type\":\"x\",\"data\":{},\"timestamp\":1e300}",
        "{\"channel\":\"thread\",\"type\":\"x\",\"data\":{},\"timestamp\":1} x",
        "{\"channel\":\"\xff\",\"type\":\"x\",\"data\":{},\"timestamp\":1}",
    };
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        struct normal n;
        if (normalise(&n, frames[i], strlen(frames[i])) == 0)
            fail_msg("taken: %s", frames[i]);
        done(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_frames_all_have_distinct_keys),
        cmocka_unit_test(recipe_is_frozen),
        cmocka_unit_test(same_item_same_key_whatever_else),
        cmocka_unit_test(updates_differ_by_version_and_time),
        cmocka_unit_test(user_content_never_fails),
        cmocka_unit_test(nul_becomes_replacement_and_the_rest_stays),
        cmocka_unit_test(deep_nesting_is_cut_not_refused),
        cmocka_unit_test(what_is_no_notification_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
