/* links: dispatcher_parts expr proto core m */
/* Noise control as rules make it: what is the same, and what a shadow leaves alone. */
#include "tests/unit/store_fixture.h"

#include "core/str.h"
#include "dispatcher/rules.h"
#include "dispatcher/silences.h"

enum { NOW_MS = 1000 };

static const struct hash_id store_id = {{1, 2, 3}};
static struct fixture f;
static struct rules *rules;

static struct slice_setting *add(struct slice_block *b, const char *name, const char *text)
{
    struct slice_setting *s = slice_add_setting(b, name, SLICE_TEXT, 1);
    s->text = xstrdup(text);
    return s;
}

static struct slice_block *add_rule(const char *name)
{
    struct slice_block *b = slice_add_block(f.slice, "rule", name, "test.conf", 1);
    struct slice_setting *to = slice_add_setting(b, "to", SLICE_LIST, 1);
    add(b, "when", "type == 'threadNewMessage'");
    add(b, "message", "{{ item }}");
    to->list = xcalloc(1, sizeof *to->list);
    to->list[to->count++] = xstrdup("+48500500500");
    return b;
}

static void load(void)
{
    struct faults faults = {0};
    rules = rules_new(f.slice, &faults);
    if (!rules)
        fail_msg("%s", faults.list[0].text);
}

static int set_up(void **state)
{
    (void)state;
    fixture_init(&f);
    slice_add_block(f.slice, "provider", "smsapi", "test.conf", 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rules_free(&rules);
    fixture_end(&f);
    return 0;
}

/* What the one rule makes of a message ITEM. The caller frees it. */
static struct store_job job_for(const char *item)
{
    struct buf packed;
    struct msg_in in;
    struct event e;
    struct rules_jobs jobs = {0};
    const char *why;
    char *frame = xasprintf("{\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"timestamp\":1,\"data\":{"
                            "\"id\":\"%s\",\"threadId\":\"t1\",\"contextId\":\"c1\",\"author\":\"a\"}}",
                            item);
    buf_init(&packed, 0);
    msg_in_init(&in);
    assert_int_equal(event_normalise("main", frame, strlen(frame), 1, 1, &packed, &why), 0);
    assert_int_equal(event_unpack(&in, packed.data, packed.len, &e), 0);
    rules_match(rules, &e, &store_id, NOW_MS, &jobs);
    assert_int_equal(jobs.count, 1);
    struct store_job job = jobs.list[0];
    free(jobs.list);
    free(frame);
    buf_free(&packed);
    msg_in_free(&in);
    return job;
}

/* ---- dedupe ---- */

static bool are_same(const char *key)
{
    struct slice_block *b = add_rule("r");
    slice_add_setting(b, "dedupe", SLICE_NUMBER, 1)->number = 60000;
    if (key)
        add(b, "dedupe_key", key);
    load();
    struct store_job one = job_for("one"), other = job_for("other");
    assert_int_equal(one.noise->gates[0].kind, GATE_WINDOW);
    bool same = memcmp(&one.noise->gates[0].key, &other.noise->gates[0].key, HASH_ID_BYTES) == 0;
    store_job_free(&one);
    store_job_free(&other);
    return same;
}

static void other_texts_are_not_the_same(void **state)
{
    (void)state;
    assert_false(are_same(NULL));
}

static void the_key_says_what_is_the_same(void **state)
{
    (void)state;
    assert_true(are_same("container"));
}

/* Else all events without that field were one, and rang once. */
static void where_the_key_fails_the_text_says_it(void **state)
{
    (void)state;
    assert_false(are_same("data.no.such.field"));
}

/* ---- opt-outs ---- */

/* One that opted out while the job waited for the store is not rung, however often it is tried. */
static void whoever_opts_out_meanwhile_is_not_rung(void **state)
{
    (void)state;
    struct silences *s = silences_new(NULL);
    add_rule("r");
    load();
    rules_silences(rules, s);
    struct store_job job = job_for("one"), other = job_for("other");
    rules_recheck(rules, &other, 0);
    assert_int_equal(other.state, JOB_QUEUED);
    assert_int_equal(other.noise->why, WHY_NOTHING);
    opt_out_put(s, "+48500500500");
    for (int tries = 0; tries < 2; tries++) {
        job.state = JOB_QUEUED;
        rules_recheck(rules, &job, 0);
        assert_int_equal(job.state, JOB_SUPPRESSED);
        assert_int_equal(job.noise->why, WHY_OPT_OUT);
    }
    store_job_free(&job);
    store_job_free(&other);
    silences_free(&s);
}

/* ---- budgets ---- */

/* They come into the log and into JSON. */
static void names_of_budgets_are_cut_between_letters(void **state)
{
    (void)state;
    struct slice_block *b = add_rule("xąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąąą");
    slice_add_setting(b, "sms_per_day", SLICE_NUMBER, 1)->number = 100;
    load();
    struct store_job job = job_for("one");
    assert_int_equal(job.noise->count, 1);
    const char *name = job.noise->gates[0].name;
    assert_true(str_utf8_valid(name, strlen(name)));
    assert_non_null(strstr(name, "rule xąąąą"));
    store_job_free(&job);
}

/* ---- shadows ---- */

static bool warns(bool shadow)
{
    struct store_job j = {.rule = (char *)"r", .number = (char *)"+48500500500"};
    j.noise = store_noise_new(1);
    j.noise->shadow = shadow;
    j.noise->gates[0] = (struct store_gate){.kind = GATE_BUDGET,
                                            .limit = 100,
                                            .used = 90,
                                            .warn_percent = 75,
                                            .ends_ms = INT64_MAX,
                                            .warned = true,
                                            .name = "messages a day"};
    rules_note(rules, &j, NOW_MS);
    free(j.noise);
    cJSON *status = cJSON_CreateObject();
    rules_noise_status(rules, f.store, status);
    int warnings = cJSON_GetArraySize(cJSON_GetObjectItem(status, "budget_warnings"));
    cJSON_Delete(status);
    return warnings > 0;
}

static void a_shadow_spends_no_budget_that_warns(void **state)
{
    (void)state;
    add_rule("r");
    load();
    fixture_open(&f);
    assert_false(warns(true));
    assert_true(warns(false));
}

static struct hash_id key_of_digest(const char *rule, bool shadow)
{
    int64_t quiet_ms;
    struct store_digest d = {.job = fixture_job(&f, 1), .why = WHY_DIGEST, .shadow = shadow, .count = 1};
    d.texts[d.texts_count++] = (char *)"text";
    free(d.job.rule);
    d.job.rule = xstrdup(rule);
    struct store_job job = d.job;
    rules_close_digest(rules, &d, NOW_MS, &quiet_ms, &job);
    assert_int_equal(job.noise->count, 1);
    assert_int_equal(job.noise->shadow, shadow);
    struct hash_id key = job.noise->gates[0].key;
    store_job_free(&job);
    return key;
}

/* A digest that was opened by a shadow uses up nothing of what live messages have, whatever its rule is now.
 */
static void a_digest_stays_the_shadow_that_it_was(void **state)
{
    (void)state;
    struct slice_block *limits = slice_add_block(f.slice, "limits", "", "test.conf", 1);
    slice_add_setting(limits, "sms_per_day", SLICE_NUMBER, 1)->number = 100;
    add_rule("live");
    add(add_rule("shadow"), "mode", "shadow");
    load();
    struct hash_id live = key_of_digest("live", false), shadow = key_of_digest("shadow", true);
    assert_memory_not_equal(&live, &shadow, sizeof live);
    static const char *const names[] = {"live", "shadow", "gone"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct hash_id was_live = key_of_digest(names[i], false), was_shadow = key_of_digest(names[i], true);
        assert_memory_equal(&was_live, &live, sizeof live);
        assert_memory_equal(&was_shadow, &shadow, sizeof shadow);
    }
}

/* ---- the words of digests and summaries ---- */

static void add_texts(struct slice_block *b, const char *name, const char *one, const char *other)
{
    struct slice_setting *s = slice_add_setting(b, name, SLICE_LIST, 1);
    s->list = xcalloc(2, sizeof *s->list);
    s->list[s->count++] = xstrdup(one);
    if (other)
        s->list[s->count++] = xstrdup(other);
}

/* What COUNT events of RULE come to for somebody of that language; static. */
static const char *summary(enum store_why why, const char *rule, const char *lang, int64_t count)
{
    static char text[400];
    struct store_digest d = {
        .job = fixture_job(&f, 1), .why = why, .count = count, .since_ms = 43200000, .until_ms = 46800000};
    struct store_job job = d.job;
    int64_t quiet_ms;
    d.context = xasprintf("{\"lang\":\"%s\",\"zone\":\"UTC\"}", lang);
    d.texts[d.texts_count++] = xstrdup("x");
    free(job.rule);
    job.rule = xstrdup(rule);
    d.job.rule = job.rule;
    rules_close_digest(rules, &d, NOW_MS, &quiet_ms, &job);
    assert_int_equal(quiet_ms, 0);
    snprintf(text, sizeof text, "%s", job.text);
    free(d.context);
    free(d.texts[0]);
    store_job_free(&job);
    return text;
}

static void summaries_are_in_the_language_of_the_person(void **state)
{
    (void)state;
    add_rule("r");
    load();
    static const struct {
        enum store_why why;
        int64_t count;
        const char *en, *pl;
    } cases[] = {
        {WHY_DIGEST, 2, "r: 2 messages since 12:00. Latest: x", "r: 2 wiadomości od 12:00. Ostatnia: x"},
        {WHY_QUIET, 5, "5 messages in quiet hours since 01.01. 12:00. Latest: x",
         "5 wiadomości w godzinach ciszy od 01.01, 12:00. Ostatnia: x"},
        {WHY_STALE, 3, "r: 3 older messages, 01.01. 12:00 to 01.01. 13:00. Latest: x",
         "r: 3 starsze wiadomości, 01.01, 12:00 do 01.01, 13:00. Ostatnia: x"},
        {WHY_STALE, 12, "r: 12 older messages, 01.01. 12:00 to 01.01. 13:00. Latest: x",
         "r: 12 starszych wiadomości, 01.01, 12:00 do 01.01, 13:00. Ostatnia: x"},
        {WHY_STORM, 7, "r: and 7 more. Latest: x", "r: i jeszcze 7. Ostatnia: x"},
        {WHY_BUDGET, 22, "r: 22 messages, collected to save the budget. Latest: x",
         "r: 22 wiadomości w jednej, aby oszczędzić budżet. Ostatnia: x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(summary(cases[i].why, "r", "en-GB", cases[i].count), cases[i].en);
        assert_string_equal(summary(cases[i].why, "r", "pl", cases[i].count), cases[i].pl);
        /* Nobody has German words. */
        assert_string_equal(summary(cases[i].why, "r", "de", cases[i].count), cases[i].en);
        /* One alone has its own. */
        assert_string_equal(summary(cases[i].why, "r", "pl", 1), "x");
    }
    /* No digest is opened for this; a byte that changed on disk may say so. */
    assert_string_equal(summary(WHY_THROTTLE, "r", "pl", 2), "r: 2 messages since 12:00. Latest: x");
}

static void what_nobody_says_in_a_language_is_said_in_that_of_the_installation(void **state)
{
    (void)state;
    add(slice_add_block(f.slice, "bridgebell", "", "test.conf", 1), "language", "pl");
    add_rule("r");
    load();
    assert_string_equal(summary(WHY_STORM, "r", "de", 7), "r: i jeszcze 7. Ostatnia: x");
    assert_string_equal(summary(WHY_STORM, "gone", "en", 7), "gone: and 7 more. Latest: x");
}

static void the_words_of_summaries_can_be_given(void **state)
{
    (void)state;
    struct slice_block *b = slice_add_block(f.slice, "summaries", "", "test.conf", 1);
    add_texts(b, "storm", "de: und {{ count }} weitere", "en: {{ count }} more");
    add_texts(b, "quiet_hours", "de: {{ count }} {{ plural(count, 'Nachricht', 'Nachrichten') }}", NULL);
    add_rule("r");
    add(add_rule("own"), "storm_message", "own {{ count }}");
    add_texts(add_rule("only polish"), "storm_messages", "pl: {{ count }} {{ rule }}", NULL);
    load();
    assert_string_equal(summary(WHY_STORM, "r", "de-AT", 7), "und 7 weitere");
    assert_string_equal(summary(WHY_STORM, "r", "en", 7), "7 more");
    assert_string_equal(summary(WHY_STORM, "r", "pl", 7), "r: i jeszcze 7. Ostatnia: x");
    assert_string_equal(summary(WHY_STORM, "r", "fr", 7), "7 more");
    assert_string_equal(summary(WHY_QUIET, "r", "de", 7), "7 Nachrichten");
    assert_string_equal(summary(WHY_STORM, "own", "de", 7), "own 7");
    assert_string_equal(summary(WHY_STORM, "own", "de", 1), "own 1");
    assert_string_equal(summary(WHY_QUIET, "own", "de", 7), "7 Nachrichten");
    assert_string_equal(summary(WHY_STORM, "only polish", "pl", 7), "7 only polish");
    assert_string_equal(summary(WHY_STORM, "only polish", "de", 7), "und 7 weitere");
    assert_string_equal(summary(WHY_STORM, "only polish", "fr", 7), "7 more");
}

static void names_that_are_never_known_are_refused(void **state)
{
    (void)state;
    struct faults faults = {0};
    struct slice_block *b = slice_add_block(f.slice, "summaries", "", "test.conf", 1);
    add_texts(b, "storm", "de: {{ data.x }}", "en: {{ cuont }}");
    b = add_rule("r");
    add(b, "digest_message", "{{ count }} by {{ author ?? 'somebody' }}");
    add_texts(b, "storm_messages", "pl: {{ texts[0] }} {{ rule }} {{ lang }} {{ zone }}", "de: {{ item }}");
    b = slice_add_block(f.slice, "rule", "s", "test.conf", 9);
    struct slice_setting *to = slice_add_setting(b, "to", SLICE_LIST, 9);
    to->list = xcalloc(1, sizeof *to->list);
    to->list[to->count++] = xstrdup("+48500500500");
    add(b, "when", "true");
    add(b, "message", "{{ count }} {{ author }} {{ rule }}");
    assert_null(rules_new(f.slice, &faults));
    static const char *const expected[] = {
        "`storm`: `data` is not known here: this stands for several",
        "summaries, storm, column 4: unknown name 'cuont'", "`digest_message`: `author` is not known here",
        "`storm_messages`: `item` is not known here", "`message`: `count` is not known here: only digests"};
    assert_int_equal(faults.count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < faults.count; i++)
        assert_non_null(strstr(faults.list[i].text, expected[i]));
    faults_free(&faults);
}

/* ---- digests and other settings than they were opened by ---- */

static void the_provider_is_the_one_of_now(void **state)
{
    (void)state;
    struct slice_block *other = slice_add_block(f.slice, "provider", "other", "test.conf", 1);
    add(other, "from", "Other");
    add(add_rule("r"), "provider", "other");
    load();
    for (int gone = 0; gone < 2; gone++) {
        struct store_digest d = {.job = fixture_job(&f, 1), .why = WHY_DIGEST, .count = 2};
        struct store_job job = d.job;
        int64_t quiet_ms;
        free(job.rule);
        free(job.provider);
        d.job.rule = job.rule = xstrdup(gone ? "gone" : "r");
        d.job.provider = job.provider = xstrdup("renamed");
        rules_close_digest(rules, &d, NOW_MS, &quiet_ms, &job);
        assert_string_equal(job.provider, gone ? "smsapi" : "other");
        if (gone)
            assert_null(job.from);
        else
            assert_string_equal(job.from, "Other");
        store_job_free(&job);
    }
}

/* A rule that is taken out at night does not ring at night. */
static void what_quiet_hours_of_a_rule_that_is_gone_hold_waits_for_their_end(void **state)
{
    (void)state;
    add_rule("r");
    load();
    struct store_digest d = {.job = fixture_job(&f, 1), .why = WHY_QUIET, .count = 2};
    struct store_job job = d.job;
    int64_t quiet_ms;
    d.job.due_ms = job.due_ms = NOW_MS + 5000;
    free(job.rule);
    d.job.rule = job.rule = xstrdup("gone");
    rules_close_digest(rules, &d, NOW_MS, &quiet_ms, &job);
    assert_int_equal(quiet_ms, NOW_MS + 5000);
    rules_close_digest(rules, &d, NOW_MS + 5000, &quiet_ms, &job);
    assert_int_equal(quiet_ms, 0);
    store_job_free(&job);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(other_texts_are_not_the_same),
        TEST(the_key_says_what_is_the_same),
        TEST(where_the_key_fails_the_text_says_it),
        TEST(whoever_opts_out_meanwhile_is_not_rung),
        TEST(a_shadow_spends_no_budget_that_warns),
        TEST(a_digest_stays_the_shadow_that_it_was),
        TEST(summaries_are_in_the_language_of_the_person),
        TEST(what_nobody_says_in_a_language_is_said_in_that_of_the_installation),
        TEST(the_words_of_summaries_can_be_given),
        TEST(names_that_are_never_known_are_refused),
        TEST(the_provider_is_the_one_of_now),
        TEST(what_quiet_hours_of_a_rule_that_is_gone_hold_waits_for_their_end),
        TEST(names_of_budgets_are_cut_between_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
