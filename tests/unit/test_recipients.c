/* links: dispatcher_parts expr proto core m */
/* Recipients: numbers as people write them, groups, expressions, the directory's people, and who is missing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/alloc.h"
#include "core/phone.h"
#include "dispatcher/recipients.h"
#include "dispatcher/rules.h"

/* ---- numbers ---- */

static void numbers_are_read_as_people_write_them(void **state)
{
    (void)state;
    static const struct {
        const char *text, *country, *number; /* NULL: refused */
    } cases[] = {
        {"+48500500500", NULL, "+48500500500"},
        {"+48 500-500.500", NULL, "+48500500500"},
        {"(+48) 500/500/500", NULL, "+48500500500"},
        {"0048 500 500 500", NULL, "+48500500500"},
        {"500 500 500", "+48", "+48500500500"},
        {"(500) 500 500", "+48", "+48500500500"},
        {"+49 151 23456789", "+48", "+4915123456789"},
        {"500500500", NULL, NULL},
        {"0500500500", "+48", NULL},
        {"48 50 50 50 5", "+48", "+48485050505"},
        {"48500500500", "+48", NULL}, /* whose number would +4848500500500 be? */
        {"48500500500", "+49", "+4948500500500"},
        {"+48 (0) 500 500 500", NULL, NULL},
        {"+4850050", NULL, NULL},
        {"+4850050050050050", NULL, NULL},
        {"+123456789012345678901234567890", NULL, NULL},
        {"+048500500500", NULL, NULL},
        {"+48+500500500", NULL, NULL},
        {"+48500500500x", NULL, NULL},
        {"", "+48", NULL},
        {"+", "+48", NULL},
        {"00", "+48", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char number[PHONE_SIZE] = "";
        const char *why = phone_normalise(cases[i].text, strlen(cases[i].text), cases[i].country, number);
        if (!why != (cases[i].number != NULL) || (!why && strcmp(number, cases[i].number) != 0))
            fail_msg("%s: %s %s", cases[i].text, number, why ? why : "");
        assert_true(why || phone_is(number));
    }
    assert_true(phone_looks("500 500", 7));
    assert_false(phone_looks("oncall", 6));
    assert_false(phone_looks("+ ()", 4));
    assert_false(phone_looks("'500'", 5));
}

/* ---- a world of blocks, a directory and one event ---- */

static const char people[] = "user_id,number,language,zone,tags\n"
                             "alice,+48500500001,pl,Europe/Warsaw,oncall\n"
                             "bob,+48500500002,,,oncall night\n"
                             "nora,,,,oncall\n"
                             "+48700700700,+48500500004,,,\n"
                             "boss,+48500500500,de,,\n";

struct world {
    char path[64];
    struct slice *slice;
    struct slice_block *rule;
    struct directory *directory;
    struct recipients *recipients;
    struct faults faults;
    struct members *members;
    struct expr_arena *arena;
    struct buf packed;
    struct msg_in in;
    struct event event;
    struct expr_value values[EXPR_EVENT_SLOTS];
    struct recipient_list out;
};

static void add_text(struct slice_block *b, const char *name, const char *text)
{
    slice_add_setting(b, name, SLICE_TEXT, b->line + 1)->text = xstrdup(text);
}

/* WORDS are separated by '|'. */
static void add_list(struct slice_block *b, const char *name, const char *words)
{
    struct slice_setting *s = slice_add_setting(b, name, SLICE_LIST, b->line + 2);
    char *copy = xstrdup(words), *rest = copy, *word;
    s->lines = xcalloc(64, sizeof *s->lines);
    while ((word = strsep(&rest, "|"))) {
        s->list = xreallocarray(s->list, s->count + 1, sizeof *s->list);
        s->lines[s->count] = b->line + 10 + (unsigned)s->count;
        s->list[s->count++] = xstrdup(word);
    }
    free(copy);
}

static void set_event(struct world *w, const char *frame)
{
    const char *why = NULL;
    buf_reset(&w->packed);
    if (event_normalise("main", frame, strlen(frame), 1, 1, &w->packed, &why))
        fail_msg("%s: %s", frame, why);
    assert_int_equal(event_unpack(&w->in, w->packed.data, w->packed.len, &w->event), 0);
    rules_values(&w->event, w->values);
}

#define MESSAGE(author, meta)                                                                                \
    "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1700000000000,\"data\":{"           \
    "\"id\":\"m1\",\"threadId\":\"t1\",\"contextId\":\"c1\",\"author\":\"" author "\",\"publicMeta\":" meta  \
    "}}"
#define THREAD(type, version, users, managers)                                                               \
    "{\"channel\":\"thread\",\"type\":\"" type "\",\"timestamp\":1700000000000,\"data\":{\"id\":\"t1\","     \
    "\"contextId\":\"c1\",\"users\":" users ",\"managers\":" managers ",\"version\":" version "}}"

static void begin(struct world *w, const char *allowed)
{
    memset(w, 0, sizeof *w);
    strcpy(w->path, "/tmp/bridgebell-people-XXXXXX");
    int fd = mkstemp(w->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, people, sizeof people - 1), sizeof people - 1);
    close(fd);
    w->slice = slice_new();
    struct slice_block *b = slice_add_block(w->slice, "bridgebell", "", "a.conf", 0);
    add_text(b, "zone", "Europe/London");
    b = slice_add_block(w->slice, "numbers", "", "a.conf", 20);
    add_text(b, "default_country", "+48");
    if (allowed)
        add_list(b, "allowed", allowed);
    add_text(slice_add_block(w->slice, "directory", "", "a.conf", 30), "file", w->path);
    b = slice_add_block(w->slice, "recipients", "oncall", "a.conf", 40);
    add_list(b, "to", "+48500500500|500 500 501");
    b = slice_add_block(w->slice, "recipients", "polish", "a.conf", 50);
    add_list(b, "to", "oncall|member('bob')|+48500500502");
    add_text(b, "language", "pl");
    add_text(b, "zone", "Asia/Tokyo");
    w->rule = slice_add_block(w->slice, "rule", "lorem", "a.conf", 60);
    w->members = members_new(10);
    w->arena = expr_arena_new(4 * 1024 * 1024);
    buf_init(&w->packed, 0);
    msg_in_init(&w->in);
    set_event(w, MESSAGE("alice", "null"));
}

static void end(struct world *w)
{
    recipient_list_free(&w->out);
    recipients_free(&w->recipients);
    directory_free(&w->directory);
    members_free(&w->members);
    expr_arena_free(&w->arena);
    slice_free(&w->slice);
    faults_free(&w->faults);
    buf_free(&w->packed);
    msg_in_free(&w->in);
    unlink(w->path);
}

static const struct audience *audience(struct world *w, const char *to)
{
    recipients_free(&w->recipients);
    directory_free(&w->directory);
    w->directory = directory_new(w->slice, &w->faults);
    w->recipients = recipients_new(w->slice, w->directory, &w->faults);
    if (w->rule->count) {
        struct slice_setting *s = &w->rule->settings[0];
        for (size_t i = 0; i < s->count; i++)
            free(s->list[i]);
        free(s->list);
        free(s->lines);
        free(s->name);
        w->rule->count = 0;
    }
    add_list(w->rule, "to", to);
    return recipients_audience(w->recipients, w->rule, slice_get(w->rule, "to"), &w->faults);
}

/* "number/user/lang/zone/group … -key:why … !failure" in order; "…" where people must be looked up. */
static const char *resolve(struct world *w, const struct audience *a)
{
    static char said[4096];
    size_t n = 0;
    expr_arena_reset(w->arena);
    audience_resolve(a, &w->event, w->values, w->members, w->arena, &w->out);
    said[0] = '\0';
    if (w->out.waits)
        return "…";
    for (size_t i = 0; i < w->out.count && n < sizeof said - 300; i++) {
        const struct recipient *p = &w->out.list[i];
        n += (size_t)snprintf(said + n, sizeof said - n, "%s%s/%s/%s/%d ", p->number + 9,
                              p->user ? p->user : "", p->lang, p->zone, p->group);
    }
    for (size_t i = 0; i < w->out.missing_count && n < sizeof said - 300; i++)
        n += (size_t)snprintf(said + n, sizeof said - n, "-%s:%s ", w->out.missing[i].who,
                              w->out.missing[i].why == WHY_NUMBER ? "number" : "unknown");
    if (w->out.failure)
        snprintf(said + n, sizeof said - n, "!");
    return said;
}

static const char *ring(struct world *w, const char *to)
{
    const struct audience *a = audience(w, to);
    for (size_t i = 0; i < w->faults.count; i++)
        print_message("%s:%u: %s\n", w->faults.list[i].file, w->faults.list[i].line, w->faults.list[i].text);
    assert_int_equal(w->faults.count, 0);
    return resolve(w, a);
}

/* ---- fixed numbers and groups ---- */

static void groups_bring_language_and_zone(void **state)
{
    (void)state;
    struct world w;
    begin(&w, NULL);
    /* The directory knows the boss by number; others get what the nearest block says, then the whole file. */
    assert_string_equal(ring(&w, "oncall"), "500boss/de/Europe/London/0 501/en/Europe/London/0 ");
    assert_string_equal(ring(&w, "polish"), "500boss/de/Asia/Tokyo/0 501/pl/Asia/Tokyo/0 "
                                            "002bob/pl/Asia/Tokyo/1 502/pl/Asia/Tokyo/1 ");
    assert_string_equal(ring(&w, "+48500500502|oncall|+48 500 500 501"),
                        "502/en/Europe/London/-1 500boss/de/Europe/London/0 501/en/Europe/London/0 ");
    const struct audience *a = audience(&w, "polish");
    assert_int_equal(audience_fixed(a), 3);
    assert_true(audience_has_expressions(a));
    assert_false(audience_wants_members(a));
    a = audience(&w, "oncall");
    assert_false(audience_has_expressions(a));
    assert_true(audience_wants_members(audience(&w, "oncall|author|others()")));
    end(&w);
}

/* ---- expressions ---- */

static void expressions_give_people_and_numbers(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "+48");
    assert_string_equal(ring(&w, "author"), "001alice/pl/Europe/Warsaw/-1 ");
    assert_string_equal(ring(&w, "member(author)|'alice'|['bob', ['alice', ['bob']]]"),
                        "001alice/pl/Europe/Warsaw/-1 002bob/en/Europe/London/-1 ");
    assert_string_equal(ring(&w, "tagged('oncall')"), "001alice/pl/Europe/Warsaw/-1 "
                                                      "002bob/en/Europe/London/-1 -nora:number ");
    assert_string_equal(ring(&w, "tagged('day')"), "-day:unknown ");
    assert_string_equal(ring(&w, "'erin'|member('erin')|'boss'"),
                        "500boss/de/Europe/London/-1 -erin:unknown ");
    /* An expression's number that is there already is the same person. */
    assert_string_equal(ring(&w, "oncall|'boss'"), "500boss/de/Europe/London/0 501/en/Europe/London/0 ");
    set_event(&w, MESSAGE("<anonymous>", "{\"phone\":\"+48 600-600-600\",\"who\":\"bob\"}"));
    assert_string_equal(ring(&w, "data.publicMeta.phone"), "600/en/Europe/London/-1 ");
    set_event(&w, MESSAGE("<anonymous>", "{\"phone\":\"+48 500 500 001\"}"));
    assert_string_equal(ring(&w, "data.publicMeta.phone"), "001alice/pl/Europe/Warsaw/-1 ");
    set_event(&w, MESSAGE("<anonymous>", "{\"phone\":\"+48 600-600-600\",\"who\":\"bob\"}"));
    assert_string_equal(ring(&w, "has(data.publicMeta.x) ? [data.publicMeta.x] : [data.publicMeta.who]"),
                        "002bob/en/Europe/London/-1 ");
    assert_string_equal(ring(&w, "member(author)"), "-<anonymous>:unknown ");
    assert_string_equal(ring(&w, "[]"), "");
    end(&w);
}

static void what_events_bring_is_not_trusted(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "+48|+49");
    set_event(&w, MESSAGE("+48666666666", "{\"a\":\"+39600600600\",\"b\":\"+4850\",\"c\":\"500500999\"}"));
    assert_string_equal(ring(&w, "data.publicMeta.a"), "-+********600:number ");
    assert_string_equal(ring(&w, "data.publicMeta.b"), "-+*850:number ");
    /* Without a plus it is a user id, and is never completed. */
    assert_string_equal(ring(&w, "data.publicMeta.c"), "-******999:unknown ");
    /* An id that looks like a number rings where the operator names it as a number, not as a person. */
    assert_string_equal(ring(&w, "author"), "666/en/Europe/London/-1 ");
    assert_string_equal(ring(&w, "member(author)"), "-+********666:unknown ");
    assert_string_equal(ring(&w, "[author].map(a, member(a))"), "-+********666:unknown ");
    /* A person of the directory with such an id is that person. */
    set_event(&w, MESSAGE("+48700700700", "null"));
    assert_string_equal(ring(&w, "author"), "004+48700700700/en/Europe/London/-1 ");
    end(&w);
    begin(&w, NULL);
    set_event(&w, MESSAGE("ann", "{\"phone\":\"+48600600600\"}"));
    assert_string_equal(ring(&w, "data.publicMeta.phone"), "-+********600:number ");
    set_event(&w, MESSAGE("a\\u0007b\\u202ec", "null"));
    assert_string_equal(ring(&w, "author"), "-a?b?c:unknown ");
    end(&w);
}

static void failures_are_told_and_take_nothing_else_away(void **state)
{
    (void)state;
    struct world w;
    begin(&w, NULL);
    assert_string_equal(ring(&w, "data.x.y|'alice'|dyn(5)|dyn(null)|['bob', 2]"),
                        "001alice/pl/Europe/Warsaw/-1 002bob/en/Europe/London/-1 !");
    assert_string_equal(ring(&w, "[[[[[[[[[['bob']]]]]]]]]]"), "!");
    assert_string_equal(ring(&w, "member(dyn(1))"), "!");
    end(&w);
}

static void many_people_are_bounded(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "+48");
    struct buf frame;
    buf_init(&frame, 0);
    buf_adds(&frame,
             "{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1,\"data\":{\"id\":\"m\","
             "\"threadId\":\"t1\",\"contextId\":\"c\",\"author\":\"a\",\"publicMeta\":[\"alice\"");
    for (int i = 0; i < 70000; i++)
        buf_addf(&frame, ",\"+486%08d\"", i);
    buf_adds(&frame, "]}}");
    set_event(&w, buf_cstr(&frame));
    const struct audience *a = audience(&w, "data.publicMeta");
    resolve(&w, a);
    assert_string_equal(w.out.failure, "the recipients are too many");
    assert_int_equal(w.out.count, 65536);
    assert_string_equal(w.out.list[65535].number, "+48600065534");
    /* The memory is used again. */
    assert_string_equal(resolve(&w, audience(&w, "'bob'")), "002bob/en/Europe/London/-1 ");
    buf_free(&frame);
    end(&w);
}

/* ---- members ---- */

static void members_come_from_the_cache(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "+48");
    assert_string_equal(ring(&w, "members()"), "…");
    assert_string_equal(ring(&w, "oncall|others()"), "…");
    set_event(&w,
              THREAD("threadCreated", "1", "[\"alice\",\"bob\",\"+48666666666\"]", "[\"alice\",\"dave\"]"));
    members_see(w.members, &w.event);
    assert_string_equal(ring(&w, "members()"), "001alice/pl/Europe/Warsaw/-1 002bob/en/Europe/London/-1 "
                                               "-+********666:unknown -dave:unknown ");
    set_event(&w, MESSAGE("alice", "null"));
    assert_string_equal(ring(&w, "others()"),
                        "002bob/en/Europe/London/-1 -+********666:unknown -dave:unknown ");
    assert_string_equal(ring(&w, "members().filter(m, m == 'bob')"), "002bob/en/Europe/London/-1 ");
    assert_string_equal(ring(&w, "size(members()) > 3 ? ['bob'] : []"), "002bob/en/Europe/London/-1 ");
    /* Nobody looks up: nothing waits, and it is told. */
    const struct audience *a = audience(&w, "members()|'bob'");
    audience_resolve(a, &w.event, w.values, NULL, w.arena, &w.out);
    assert_false(w.out.waits);
    assert_int_equal(w.out.count, 1);
    assert_int_equal(w.out.missing_count, 1);
    assert_string_equal(w.out.missing[0].who, "t1");
    end(&w);
}

static void an_event_without_a_container_has_no_members(void **state)
{
    (void)state;
    struct world w;
    begin(&w, NULL);
    set_event(&w, "{\"channel\":\"odd\",\"type\":\"oddThing\",\"timestamp\":1,\"data\":{}}");
    assert_string_equal(ring(&w, "members()"), "!");
    end(&w);
}

/* ---- faults ---- */

static void faults_name_file_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *to;
        unsigned line;
        const char *says;
    } cases[] = {
        {"oncall|oncal", 71, "did you mean \"oncall\""},
        {"nobody-here", 70, "no recipients block \"nobody-here\""},
        {"oncall|member(autor)", 71, "member(autor)\n       ^"},
        {"members(1)", 70, "^"},
        {"'alice", 70, "^"},
        {"oncall|'a' +\n  b", 72, "^"},
        {"+49500500500", 70, "`allowed`"},
        {"+4850", 70, "8 to 15 digits"},
        {"0500500500", 70, "leading 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        begin(&w, "+48");
        audience(&w, cases[i].to);
        if (w.faults.count != 1 || w.faults.list[0].line != cases[i].line ||
            !strstr(w.faults.list[0].text, cases[i].says))
            fail_msg("%s: %zu faults, line %u: %s", cases[i].to, w.faults.count,
                     w.faults.count ? w.faults.list[0].line : 0, w.faults.count ? w.faults.list[0].text : "");
        assert_string_equal(w.faults.list[0].file, "a.conf");
        assert_null(strstr(w.faults.list[0].text, "49500500"));
        end(&w);
    }
}

static void what_concerns_all_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *type, *name, *value, *says;
    } cases[] = {
        {"bridgebell", "zone", "Europe/Cracow", "no such time zone"},
        {"recipients", "zone", "Mars/Base", "no such time zone"},
        {"numbers", "default_country", "48", "expected a country code"},
        {"numbers", "default_country", "+048", "expected a country code"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice *s = slice_new();
        struct faults faults = {0};
        struct slice_block *b = slice_add_block(s, cases[i].type, "x", "a.conf", 1);
        add_text(b, cases[i].name, cases[i].value);
        add_list(b, "to", "+48500500500");
        struct recipients *r = recipients_new(s, NULL, &faults);
        if (faults.count != 1 || !strstr(faults.list[0].text, cases[i].says))
            fail_msg("%s: %zu", cases[i].value, faults.count);
        assert_int_equal(faults.list[0].line, 2);
        recipients_free(&r);
        faults_free(&faults);
        slice_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_as_people_write_them),
        cmocka_unit_test(groups_bring_language_and_zone),
        cmocka_unit_test(expressions_give_people_and_numbers),
        cmocka_unit_test(what_events_bring_is_not_trusted),
        cmocka_unit_test(failures_are_told_and_take_nothing_else_away),
        cmocka_unit_test(many_people_are_bounded),
        cmocka_unit_test(members_come_from_the_cache),
        cmocka_unit_test(an_event_without_a_container_has_no_members),
        cmocka_unit_test(faults_name_file_line_and_column),
        cmocka_unit_test(what_concerns_all_is_checked),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
