/* links: conf proto core */
#include "conf/model.h"
#include "conf_fixture.h"

/* One text with every way to write a value. */
static const char good[] =
    "runtime_dir = \"/run/x\" installation = here // comment\n"
    "bridge main {\n"
    "    url = \"https://bridge.example.com:8443/api/\"  /* another\n"
    "    comment */ ws_url = 'wss://bridge.example.com'\n"
    "    api_key_id = \"${BELL_ID}\"\n"
    "    api_key_secret = \"x${BELL_SECRET:-no}y\"\n"
    "    channels = { thread, # why\n"
    "                 kvdb,\n"
    "               thread, }\n"
    "    reconnect_min = 1s reconnect_max = 2m catch_up = off spill = 0\n"
    "}\n"
    "bridge second { url = http://127.0.0.1:3000 api_key_id = b api_key_secret = c }\n"
    "provider sms {\n"
    "    type = smsapi token = \"t$x\\\\\\${y}\" requests_per_second = 6000/min attempts_per_number = off\n"
    "}\n"
    "provider say { type = log requests_per_second = 7 ca_file = \"./ca.pem\" max_parts = 3 from = 2way }\n"
    "recipients a { to = { \"+48500500500\", \"+48500500501\", \"+48500500500\" } }\n"
    "recipients b { to = { a, \"+48500500502\" } }\n"
    "rule 'one: $$all}?' {\n"
    "    when = \"type == 'threadNewMessage'\n"
    "            && channel == \\\"thread\\\" \\\n"
    "&& true\"\n"
    "    to = b\n"
    "    message = 'it\\'s'\n"
    "}\n";

static int64_t number_of(const struct conf *c, const char *block, const char *title, const char *name)
{
    return model_number(c, model_find(c, directives_block(block), title), name);
}

static struct conf *load_good(void)
{
    return load(good);
}

static void texts_and_numbers(void **state)
{
    struct conf *c = load_good();
    (void)state;
    assert_string_equal(conf_text(c, CONF_TOP, NULL, "runtime_dir"), "/run/x");
    assert_string_equal(conf_text(c, CONF_TOP, NULL, "installation"), "here");
    assert_null(conf_text(c, CONF_TOP, NULL, "user"));
    assert_string_equal(conf_text(c, "bridge", "main", "api_key_id"), "the id");
    assert_string_equal(conf_text(c, "bridge", "main", "api_key_secret"), "xnoy");
    assert_string_equal(conf_text(c, "bridge", "second", "url"), "http://127.0.0.1:3000");
    assert_int_equal(number_of(c, "bridge", "main", "reconnect_max"), 120000);
    assert_int_equal(number_of(c, "bridge", "main", "catch_up"), 0);
    assert_int_equal(number_of(c, "bridge", "second", "catch_up"), 1);
    assert_int_equal(number_of(c, "bridge", "main", "spill"), 0);
    assert_int_equal(number_of(c, "bridge", "second", "spill"), 256 << 20);
    assert_int_equal(number_of(c, "provider", "sms", "attempts_per_number"), -1);
    assert_string_equal(conf_text(c, "provider", "sms", "token"), "t$x\\${y}");
    assert_string_equal(conf_text(c, "provider", "say", "ca_file"), "./ca.pem");
    assert_string_equal(conf_text(c, "rule", NULL, "when"),
                        "type == 'threadNewMessage'\n            && channel == \"thread\" && true");
    assert_string_equal(conf_text(c, "rule", NULL, "message"), "it's");
    assert_null(conf_text(c, "bridge", "third", "url"));
    conf_free(&c);
    assert_null(c);
}

static void titles_in_order(void **state)
{
    struct conf *c = load_good();
    (void)state;
    assert_int_equal(conf_count(c, "bridge"), 2);
    assert_string_equal(conf_title(c, "bridge", 0), "main");
    assert_string_equal(conf_title(c, "bridge", 1), "second");
    assert_null(conf_title(c, "bridge", 2));
    assert_string_equal(conf_title(c, "rule", 0), "one: $$all}?");
    assert_int_equal(conf_count(c, "log"), 1);
    conf_free(&c);
}

static void dos_lines_and_marks(void **state)
{
    struct conf *c = load("\xef\xbb\xbf" WHOLE
                          "rule r {\r\n when = \"a\r\nb\"\r\n to = \"+48500500500\" message = m }\r\n");
    (void)state;
    assert_string_equal(conf_text(c, "rule", "r", "when"), "a\nb");
    conf_free(&c);
}

/* ---- which processes run ---- */

static void roles_by_blocks(void **state)
{
    static const struct {
        const char *text;
        bool dispatcher;
        unsigned senders;
    } cases[] = {
        {"sender { }", false, 2},
        {"sender { processes = 5 }", false, 5},
        {"dispatcher { }", true, 2},
        {BRIDGE, true, 2},
        {WHOLE "sender { processes = 0 }", true, 0},
        {PROVIDER "rule r { when = a to = \"+48500500500\" message = m }", true, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct conf *c = load(cases[i].text);
        assert_int_equal(conf_has_dispatcher(c), cases[i].dispatcher);
        assert_int_equal(conf_sender_processes(c), cases[i].senders);
        conf_free(&c);
    }
}

/* ---- slices ---- */

static bool has(const struct slice *s, const char *type, const char *title, const char *name)
{
    return slice_get(slice_find(s, type, title), name) != NULL;
}

static void listener_slice(void **state)
{
    struct conf *c = load_good();
    struct slice *s = conf_slice_listener(c, "main");
    (void)state;
    assert_int_equal(s->count, 3);
    assert_int_equal(slice_count(s, "bridge"), 1);
    const struct slice_block *b = slice_find(s, "bridge", "main");
    assert_string_equal(b->file, "test.conf");
    assert_int_equal(b->line, 2);
    assert_string_equal(slice_text(b, "api_key_secret", ""), "xnoy");
    assert_true(slice_get(b, "api_key_secret")->is_secret);
    assert_false(slice_get(b, "api_key_id")->is_secret);
    assert_null(slice_get(b, "api_key_secret_file"));
    assert_null(slice_get(b, "ca_file"));
    const struct slice_setting *channels = slice_get(b, "channels");
    assert_int_equal(channels->kind, SLICE_LIST);
    assert_int_equal(channels->count, 2);
    assert_string_equal(channels->list[0], "thread");
    assert_string_equal(channels->list[1], "kvdb");
    assert_int_equal(channels->line, 7);
    assert_int_equal(slice_get(b, "solutions")->count, 1);
    assert_int_equal(slice_get(b, "solutions")->line, 0);
    assert_int_equal(slice_number(b, "silence_limit", 0), 25000);
    assert_int_equal(slice_get(b, "silence_limit")->kind, SLICE_NUMBER);
    assert_false(slice_flag(b, "catch_up", true));
    assert_string_equal(slice_text(slice_find(s, "bridgebell", ""), "runtime_dir", ""), "/run/x");
    assert_string_equal(slice_text(slice_find(s, "log", ""), "level", ""), "info");
    assert_null(conf_slice_listener(c, "third"));
    slice_free(&s);
    conf_free(&c);
}

static void dispatcher_slice(void **state)
{
    struct conf *c = load_good();
    struct slice *s = conf_slice_dispatcher(c);
    (void)state;
    assert_int_equal(slice_count(s, "bridge"), 2);
    assert_int_equal(slice_find(s, "bridge", "main")->count, 1);
    assert_true(has(s, "bridge", "second", "channels"));
    assert_false(has(s, "provider", "sms", "token"));
    assert_false(has(s, "provider", "sms", "token_file"));
    const struct slice_setting *rate = slice_get(slice_find(s, "provider", "sms"), "requests_per_second");
    assert_int_equal(rate->kind, SLICE_RATE);
    assert_int_equal(rate->number, 6000);
    assert_int_equal(rate->per_ms, 60000);
    rate = slice_get(slice_find(s, "provider", "say"), "requests_per_second");
    assert_int_equal(rate->number, 7);
    assert_int_equal(rate->per_ms, 1000);
    rate = slice_get(slice_find(s, "provider", "sms"), "attempts_per_number");
    assert_int_equal(rate->kind, SLICE_RATE);
    assert_int_equal(rate->number, -1);
    assert_int_equal(slice_get(slice_find(s, "recipients", "a"), "to")->count, 2);
    const struct slice_block *rule = slice_find(s, "rule", NULL);
    assert_int_equal(slice_get(rule, "when")->line, 20);
    assert_int_equal(slice_get(rule, "caps")->per_ms, 3600000);
    assert_int_equal(slice_number(rule, "expires", 0), 86400000);
    assert_int_equal(slice_number(slice_find(s, "sender", ""), "processes", 0), 2);
    assert_string_equal(slice_text(slice_find(s, "metrics", ""), "listen", ""), "127.0.0.1:9464");
    assert_string_equal(slice_text(slice_find(s, "dispatcher", ""), "store", ""),
                        "sqlite:/var/lib/bridgebell/queue.db");
    slice_free(&s);
    conf_free(&c);
}

static void sender_slice(void **state)
{
    struct conf *c = load_good();
    struct slice *s = conf_slice_sender(c);
    (void)state;
    assert_int_equal(slice_count(s, "bridge") + slice_count(s, "rule") + slice_count(s, "recipients"), 0);
    assert_int_equal(slice_count(s, "dispatcher") + slice_count(s, "metrics"), 0);
    assert_true(slice_get(slice_find(s, "provider", "sms"), "token")->is_secret);
    assert_int_equal(slice_number(slice_find(s, "provider", "sms"), "max_parts", 0), 0);
    assert_int_equal(slice_number(slice_find(s, "provider", "say"), "max_parts", 0), 3);
    slice_free(&s);
    conf_free(&c);
}

/* No secret stands in the slice of a role that has no use for it. */
static void secrets_stay_where_they_belong(void **state)
{
    struct conf *c = load_good();
    struct slice *slices[] = {conf_slice_listener(c, "main"), conf_slice_dispatcher(c), conf_slice_sender(c)};
    static const int secrets[] = {1, 0, 1};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        int count = 0;
        for (size_t b = 0; b < slices[i]->count; b++)
            for (size_t v = 0; v < slices[i]->blocks[b].count; v++)
                count += slices[i]->blocks[b].settings[v].is_secret;
        assert_int_equal(count, secrets[i]);
        slice_free(&slices[i]);
    }
    conf_free(&c);
}

/* ---- printing ---- */

static char *print(const struct conf *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_int_equal(conf_print(c, out), 0);
    fclose(out);
    return text;
}

static void assert_same_setting(const struct slice_setting *a, const struct slice_setting *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->per_ms, b->per_ms);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->is_secret, b->is_secret);
    for (size_t i = 0; i < a->count; i++)
        assert_string_equal(a->list[i], b->list[i]);
    if (!a->is_secret && a->kind == SLICE_TEXT)
        assert_string_equal(a->text, b->text);
}

/* What A says itself, B has as well, be it as a default. */
static void assert_has_all(const struct slice_block *a, const struct slice_block *b)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct slice_setting *other = slice_get(b, a->settings[i].name);
        assert_non_null(other);
        assert_same_setting(&a->settings[i], other);
    }
}

/* Equal but for places and the secrets themselves. */
static void assert_same_slices(struct slice *a, struct slice *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_string_equal(a->blocks[i].type, b->blocks[i].type);
        assert_string_equal(a->blocks[i].title, b->blocks[i].title);
        assert_has_all(&a->blocks[i], &b->blocks[i]);
        assert_has_all(&b->blocks[i], &a->blocks[i]);
    }
    slice_free(&a);
    slice_free(&b);
}

static void printing_reads_back(void **state)
{
    struct conf *c = load_good();
    char *text = print(c);
    struct conf *again = load(text);
    (void)state;
    assert_null(strstr(text, "xnoy"));
    assert_non_null(strstr(text, "    api_key_secret = \"<secret>\"\n"));
    assert_non_null(strstr(text, "    silence_limit = 25s # default\n"));
    assert_non_null(strstr(text, "    reconnect_max = 2m\n"));
    assert_non_null(strstr(text, "    caps = \"60/h\" # default\n"));
    assert_non_null(strstr(text, "# user = (not set)\n"));
    assert_non_null(strstr(text, "\nlog { # default\n"));
    assert_same_slices(conf_slice_listener(c, "main"), conf_slice_listener(again, "main"));
    assert_same_slices(conf_slice_listener(c, "second"), conf_slice_listener(again, "second"));
    assert_same_slices(conf_slice_dispatcher(c), conf_slice_dispatcher(again));
    assert_same_slices(conf_slice_sender(c), conf_slice_sender(again));
    free(text);
    conf_free(&again);
    conf_free(&c);
}

/* ---- reload ---- */

static void fixed_settings(void **state)
{
    struct conf *running = load(WHOLE "runtime_dir = \"/run/a\" sender { processes = 1 }");
    struct conf *same =
        load(WHOLE "sender { processes = 4 }\n\nruntime_dir = '/run/a' log { level = debug }");
    struct conf *other = load(WHOLE "runtime_dir = \"/run/b\"\nuser = x\nmetrics { listen = off }\n");
    struct faults f = {NULL, 0};
    (void)state;
    assert_int_equal(conf_check_reload(running, same, &f), 0);
    assert_int_equal(conf_check_reload(running, other, &f), -1);
    char *text = faults_text(&f);
    assert_string_equal(text, "3: `runtime_dir` cannot change while running: restart for it, or put it back\n"
                              "4: `user` cannot change while running: restart for it, or put it back\n");
    free(text);
    faults_free(&f);
    conf_free(&running);
    conf_free(&same);
    conf_free(&other);
}

/* ---- size ---- */

static void many_rules(void **state)
{
    enum { RULES = 10000 };
    struct buf text;
    struct faults f = {NULL, 0};
    (void)state;
    buf_init(&text, 0);
    buf_adds(&text, WHOLE);
    for (int i = 0; i < RULES; i++)
        buf_addf(&text, "rule r%d { when = \"data.threadId == '%d'\" to = \"+48500%06d\" message = m }\n", i,
                 i, i);
    struct conf *c = must_load(conf_load_text("test.conf", text.data, text.len, &f), &f);
    assert_int_equal(conf_count(c, "rule"), RULES);
    struct slice *s = conf_slice_dispatcher(c);
    assert_string_equal(slice_text(slice_find(s, "rule", "r9999"), "when", ""), "data.threadId == '9999'");
    assert_int_equal(slice_find(s, "rule", "r9999")->line, RULES + 2);
    slice_free(&s);
    conf_free(&c);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_and_numbers),   cmocka_unit_test(titles_in_order),
        cmocka_unit_test(dos_lines_and_marks), cmocka_unit_test(roles_by_blocks),
        cmocka_unit_test(listener_slice),      cmocka_unit_test(dispatcher_slice),
        cmocka_unit_test(sender_slice),        cmocka_unit_test(secrets_stay_where_they_belong),
        cmocka_unit_test(printing_reads_back), cmocka_unit_test(fixed_settings),
        cmocka_unit_test(many_rules),
    };
    setenv("BELL_ID", "the id", 1);
    unsetenv("BELL_SECRET");
    unsetenv("CREDENTIALS_DIRECTORY");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
