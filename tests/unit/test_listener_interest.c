/* links: listener_parts proto http core */
/* Interest by search against an exact evaluation of the same words: never too little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "listener/interest.h"
#include "listener/needle.h"
#include "proto/event.h"

/* ---- a small random source with a fixed seed ---- */

static uint32_t seed = 12345;

static uint32_t any(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* ---- interests ---- */

static const char *const ids[] = {
    "6757b81daafe67cb6e19180e", "a",          "", "with \"quote\"", "żółw", "a/b", "line\nbreak",
    "6757b81daafe67cb6e19180f", "back\\slash"};
enum { IDS = sizeof ids / sizeof ids[0] };
static const char *const paths[] = {"container",      "item",          "context",
                                    "author",         "data.threadId", "data.id",
                                    "data.contextId", "data.nothing",  "data.publicMeta.kind",
                                    "data.a.b.c",     "time",          "data.keyId"};
static const char *const channels[] = {"thread", "store", "kvdb", "inbox", "new"};
static const char *const types[] = {"threadNewMessage", "threadStats",  "threadDeleted",
                                    "storeFileCreated", "kvdbNewEntry", "storeStatsChanged",
                                    "unknownType",      "inboxCreated"};

#define ANY(list) list[any(sizeof list / sizeof list[0])]

static char **some_words(const char *const *from, uint32_t count, uint32_t most, size_t *n)
{
    *n = any(most + 1);
    char **list = xcalloc(*n, sizeof *list);
    for (size_t i = 0; i < *n; i++)
        list[i] = xstrdup(from[any(count)]);
    return list;
}

static void random_entry(struct wire_interest_entry *e)
{
    e->channels = some_words(channels, 5, 2, &e->channels_count);
    e->types = some_words(types, 8, 2, &e->types_count);
    e->conditions_count = any(4);
    e->conditions = xcalloc(e->conditions_count, sizeof *e->conditions);
    for (size_t c = 0; c < e->conditions_count; c++) {
        e->conditions[c].path = xstrdup(ANY(paths));
        e->conditions[c].values = some_words(ids, IDS, 3, &e->conditions[c].count);
    }
}

static void random_interest(struct wire_interest *w)
{
    memset(w, 0, sizeof *w);
    w->everything = any(40) == 0;
    w->count = any(6);
    w->entries = xcalloc(w->count, sizeof *w->entries);
    for (size_t i = 0; i < w->count; i++)
        random_entry(&w->entries[i]);
}

/* ---- frames ---- */

static cJSON *random_text(void)
{
    return any(6) == 0 ? cJSON_CreateNumber(any(3)) : cJSON_CreateString(ANY(ids));
}

static cJSON *random_frame(void)
{
    static const char *const members[] = {"id",      "threadId", "contextId", "author",
                                          "storeId", "kvdbId",   "creator",   "kvdbEntryKey",
                                          "inboxId", "keyId",    "createDate"};
    cJSON *frame = cJSON_CreateObject();
    cJSON_AddStringToObject(frame, "channel", ANY(channels));
    cJSON_AddStringToObject(frame, "type", ANY(types));
    cJSON *data = cJSON_AddObjectToObject(frame, "data");
    for (uint32_t i = any(9); i > 0; i--)
        cJSON_AddItemToObject(data, ANY(members), random_text());
    if (any(2)) {
        cJSON *meta = cJSON_AddObjectToObject(data, "publicMeta");
        cJSON_AddItemToObject(meta, ANY(members), random_text());
        cJSON_AddItemToObject(meta, "kind", random_text());
    }
    if (any(3) == 0)
        cJSON_AddItemToObject(cJSON_AddObjectToObject(cJSON_AddObjectToObject(data, "a"), "b"), "c",
                              random_text());
    cJSON_AddNumberToObject(frame, "timestamp", 1795414399402.0);
    return frame;
}

/* Printed as the Bridge does, with blanks, or with a letter of the first member name escaped. */
static char *print_frame(const cJSON *frame)
{
    char *text = any(4) ? cJSON_PrintUnformatted(frame) : cJSON_Print(frame);
    char *at = any(4) == 0 ? strstr(text, "\"id\"") : NULL;
    if (!at)
        return text;
    char *escaped = xasprintf("%.*s\"\\u0069d\"%s", (int)(at - text), text, at + 4);
    cJSON_free(text);
    return escaped;
}

/* ---- the exact evaluation, by way of the normaliser ---- */

static bool text_is_one_of(struct msg_str text, const struct wire_condition *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (text.data && strlen(c->values[i]) == text.len && memcmp(c->values[i], text.data, text.len) == 0)
            return true;
    return false;
}

static struct msg_str at_path(const cJSON *data, const char *path)
{
    char *copy = xstrdup(path), *rest = copy, *name;
    const cJSON *at = data;
    while (at && (name = strsep(&rest, ".")))
        at = cJSON_GetObjectItemCaseSensitive(at, name);
    free(copy);
    return cJSON_IsString(at) ? msg_str_of(at->valuestring) : msg_str_of(NULL);
}

static bool condition_holds(const struct wire_condition *c, const struct event *e, const cJSON *data)
{
    const struct {
        const char *path;
        struct msg_str text;
    } heads[] = {
        {"container", e->container}, {"item", e->item}, {"context", e->context}, {"author", e->author}};
    for (size_t i = 0; i < 4; i++)
        if (strcmp(c->path, heads[i].path) == 0)
            return text_is_one_of(heads[i].text, c);
    if (strncmp(c->path, "data.", 5) == 0)
        return text_is_one_of(at_path(data, c->path + 5), c);
    return true;
}

static bool fits(char *const *words, size_t count, struct msg_str word)
{
    for (size_t i = 0; i < count; i++)
        if (msg_str_is(word, words[i]))
            return true;
    return count == 0;
}

static bool wanted_exactly(const struct wire_interest *w, const struct event *e, const cJSON *data)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct wire_interest_entry *n = &w->entries[i];
        bool all =
            fits(n->channels, n->channels_count, e->channel) && fits(n->types, n->types_count, e->type);
        for (size_t c = 0; c < n->conditions_count; c++)
            all = all && condition_holds(&n->conditions[c], e, data);
        if (all)
            return true;
    }
    return w->everything;
}

/* ---- comparing ---- */

static struct wire_interest copy_of(const struct wire_interest *w)
{
    struct msg_out out;
    struct msg_in in;
    struct msg_fields f;
    struct wire_interest copy;
    msg_out_init(&out, 0);
    msg_in_init(&in);
    msg_begin(&out, WIRE_INTEREST, 1);
    wire_put_interest(&out, w);
    assert_int_equal(msg_parse(&in, out.buf.data, out.buf.len, &f), WIRE_INTEREST);
    assert_int_equal(wire_get_interest(&f, &copy), 0);
    msg_in_free(&in);
    msg_out_free(&out);
    return copy;
}

static unsigned verdicts[3], wrongly_taken;

static void compare(struct interest *i, const struct wire_interest *w, const char *text)
{
    struct buf packed;
    struct msg_in m;
    struct event e;
    const char *why;
    buf_init(&packed, 0);
    msg_in_init(&m);
    assert_int_equal(event_normalise("b", text, strlen(text), 0, 0, &packed, &why), 0);
    assert_int_equal(event_unpack(&m, packed.data, packed.len, &e), 0);
    cJSON *frame = event_parse_json(text, strlen(text));
    bool wanted = wanted_exactly(w, &e, cJSON_GetObjectItemCaseSensitive(frame, "data"));
    enum interest_verdict v = interest_judge(i, text, strlen(text));
    verdicts[v]++;
    if (wanted && v == INTEREST_DROP)
        fail_msg("dropped although wanted: %s", text);
    wrongly_taken += !wanted && v == INTEREST_TAKE;
    if (interest_wants_json(i, frame) != wanted)
        fail_msg("the parsed frame is judged wrongly (wanted: %d): %s", wanted, text);
    cJSON_Delete(frame);
    msg_in_free(&m);
    buf_free(&packed);
}

static void never_too_little(void **state)
{
    (void)state;
    for (int round = 0; round < 400; round++) {
        struct wire_interest w;
        random_interest(&w);
        struct wire_interest copy = copy_of(&w);
        struct interest *i = interest_new(&copy, NULL, 0, false);
        for (int n = 0; n < 100; n++) {
            cJSON *frame = random_frame();
            char *text = print_frame(frame);
            compare(i, &w, text);
            cJSON_free(text);
            cJSON_Delete(frame);
        }
        interest_free(&i);
        wire_interest_free(&w);
    }
    /* All three ways were gone, and the search alone is right about nearly all. */
    assert_true(verdicts[INTEREST_DROP] > 1000 && verdicts[INTEREST_TAKE] > 1000 &&
                verdicts[INTEREST_PARSE] > 1000);
    assert_true(wrongly_taken < verdicts[INTEREST_TAKE] / 10);
}

/* ---- particular shapes ---- */

static struct interest *of_one(const char *type, const char *path, const char *value)
{
    struct wire_interest w = {.count = 1, .entries = xcalloc(1, sizeof(struct wire_interest_entry))};
    struct wire_interest_entry *e = w.entries;
    e->types = xcalloc(1, sizeof *e->types);
    e->types[e->types_count++] = xstrdup(type);
    if (path) {
        e->conditions = xcalloc(1, sizeof *e->conditions);
        e->conditions_count = 1;
        e->conditions->path = xstrdup(path);
        e->conditions->values = xcalloc(1, sizeof(char *));
        e->conditions->values[e->conditions->count++] = xstrdup(value);
    }
    static const char *const implied[] = {"store"};
    return interest_new(&w, implied, 1, true);
}

static void shapes(void **state)
{
    (void)state;
    static const struct {
        const char *frame;
        enum interest_verdict verdict;
    } cases[] = {
        {"{\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{\"threadId\":\"T\"},\"timestamp\":1}",
         INTEREST_TAKE},
        {"{\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{\"threadId\":\"U\"},\"timestamp\":1}",
         INTEREST_DROP},
        {"{\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{\"threadId\" : \"T\"},\"timestamp\":1}",
         INTEREST_TAKE},
        {"{\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{\"x\":\"threadId\",\"threadId\":\"T\"}}",
         INTEREST_TAKE},
        {"{\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{\"threadId\":\"Tx\"},\"timestamp\":1}",
         INTEREST_DROP},
        {"{\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{\"threadId\":\"\\u0054\"}}",
         INTEREST_PARSE},
        {"{\"channel\":\"thread\",\"type\":\"threadUpdated\",\"data\":{\"id\":\"T\"}}", INTEREST_DROP},
        {"{\"channel\":\"thread\",\"type\":\"thread\\u0053tats\",\"data\":{}}", INTEREST_PARSE},
        {" {\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{}}", INTEREST_PARSE},
        {"{\"type\":\"threadStats\",\"channel\":\"thread\",\"data\":{}}", INTEREST_PARSE},
        {"{\"channel\":\"thread\",\"type\":\"threadStats\",\"data\":{\"threadId\":\"T", INTEREST_DROP},
        {"{\"channel\":\"thread\",\"type\":\"threadStats\"", INTEREST_PARSE},
        {"{\"channel\":\"", INTEREST_PARSE},
        {"", INTEREST_PARSE},
    };
    struct interest *i = of_one("threadStats", "container", "T");
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++)
        if (interest_judge(i, cases[n].frame, strlen(cases[n].frame)) != cases[n].verdict)
            fail_msg("judged wrongly: %s", cases[n].frame);
    interest_free(&i);
}

static void parts_of_inbox_entries_are_taken_for_folding_only(void **state)
{
    (void)state;
    static const char part[] = "{\"channel\":\"store\",\"type\":\"storeFileCreated\",\"data\":{\"keyId\":"
                               "\"<inboxmsg-a-b-c>\"},\"timestamp\":1}";
    static const char other[] = "{\"channel\":\"store\",\"type\":\"storeFileCreated\",\"data\":{\"keyId\":"
                                "\"key\"},\"timestamp\":1}";
    struct interest *i = of_one("inboxEntry", NULL, NULL);
    assert_true(interest_folds(i));
    assert_int_equal(interest_judge(i, part, strlen(part)), INTEREST_PARSE);
    assert_int_equal(interest_judge(i, other, strlen(other)), INTEREST_DROP);
    cJSON *frame = cJSON_Parse(part);
    assert_false(interest_wants_json(i, frame));
    cJSON_Delete(frame);
    interest_free(&i);
    i = of_one("threadStats", NULL, NULL);
    assert_false(interest_folds(i));
    interest_free(&i);
}

static void count_one(void *arg, const char *type, uint64_t dropped)
{
    assert_string_equal(type, "threadUpdated");
    *(uint64_t *)arg += dropped;
}

static void drops_are_counted_by_type(void **state)
{
    (void)state;
    static const char frame[] = "{\"channel\":\"thread\",\"type\":\"threadUpdated\",\"data\":{}}";
    struct interest *i = of_one("threadStats", NULL, NULL);
    for (int n = 0; n < 7; n++)
        assert_int_equal(interest_judge(i, frame, strlen(frame)), INTEREST_DROP);
    uint64_t dropped = 0;
    interest_each_dropped(i, count_one, &dropped);
    assert_int_equal(dropped, 7);
    interest_free(&i);
}

static void needles(void **state)
{
    (void)state;
    for (int n = 0; n < 20000; n++) {
        char text[40], word[8];
        size_t len = any(sizeof text), word_len = 2 + any(6);
        for (size_t i = 0; i < len; i++)
            text[i] = (char)('a' + any(3));
        for (size_t i = 0; i < word_len; i++)
            word[i] = (char)('a' + any(3));
        struct needle needle;
        needle_init(&needle, word, word_len);
        assert_ptr_equal(needle_find(&needle, text, text + len), memmem(text, len, word, word_len));
        needle_free(&needle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_too_little),
        cmocka_unit_test(shapes),
        cmocka_unit_test(parts_of_inbox_entries_are_taken_for_folding_only),
        cmocka_unit_test(drops_are_counted_by_type),
        cmocka_unit_test(needles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
