/* links: conf proto core */
#include "conf_fixture.h"

/* The whole file of the source tree. The caller frees. */
static char *source_file(const char *name)
{
    struct buf text;
    char *path = xasprintf("%s/%s", TEST_SOURCE_DIR, name), block[4096];
    FILE *in = fopen(path, "r");
    size_t n;
    if (!in)
        fail_msg("%s is missing", path);
    buf_init(&text, 0);
    while ((n = fread(block, 1, sizeof block, in)) > 0)
        buf_add(&text, block, n);
    fclose(in);
    free(path);
    char *copy = xstrdup(buf_cstr(&text));
    buf_free(&text);
    return copy;
}

static struct conf *load_sample(const char *name)
{
    struct faults f = {NULL, 0};
    char *path = xasprintf("%s/conf/samples/%s", TEST_SOURCE_DIR, name);
    struct conf *c = must_load(conf_load(path, &f), &f);
    free(path);
    return c;
}

static void generated_documents_are_current(void **state)
{
    static const struct {
        const char *file;
        int (*print)(FILE *);
    } documents[] = {
        {"docs/configuration.md", conf_reference},
        {"docs/man/bridgebell.conf.5", conf_manual},
        {"conf/samples/full.conf", conf_sample},
    };
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        char *made = printed(documents[i].print), *stored = source_file(documents[i].file);
        if (strcmp(made, stored) != 0)
            fail_msg("%s is not what the directive table makes: make it again with `bridgebell reference`, "
                     "--man or --sample",
                     documents[i].file);
        free(made);
        free(stored);
    }
}

static void the_original_script(void **state)
{
    struct conf *c = load_sample("sms-notifications.conf");
    struct slice *s = conf_slice_dispatcher(c);
    (void)state;
    const struct slice_block *rule = slice_find(s, "rule", "lorem");
    assert_non_null(rule);
    assert_non_null(strstr(slice_text(rule, "when", ""), "channel == 'thread'"));
    assert_non_null(strstr(slice_text(rule, "when", ""), "data.threadId == '6757b81daafe67cb6e19180e'"));
    assert_string_equal(slice_text(rule, "message", ""), "New message in thread {{ data.threadId }}");
    assert_string_equal(slice_get(rule, "to")->list[0], "oncall");
    const struct slice_setting *channels = slice_get(slice_find(s, "bridge", NULL), "channels");
    assert_int_equal(channels->count, 1);
    assert_string_equal(channels->list[0], "thread");
    slice_free(&s);
    conf_free(&c);
}

static void the_least(void **state)
{
    struct conf *c = load_sample("minimal.conf");
    (void)state;
    assert_true(conf_has_dispatcher(c));
    assert_int_equal(conf_count(c, "rule"), 1);
    conf_free(&c);
}

/* With every comment sign before a setting taken away, full.conf is still good and says nothing but defaults.
 */
static void the_full_sample(void **state)
{
    char *text = source_file("conf/samples/full.conf"), *include = strstr(text, "#include");
    struct faults f = {NULL, 0};
    (void)state;
    assert_non_null(include);
    memset(include, ' ', strcspn(include, "\n"));
    include = strstr(text, "api_key_secret_file");
    memset(include, ' ', strcspn(include, "\n"));
    include = strstr(text, "token_file");
    memset(include, ' ', strcspn(include, "\n"));
    for (char *p = text; *p; p++)
        if (p[0] == '#' && p[1] != ' ')
            *p = ' ';
    setenv("BRIDGE_SECRET", "x", 1);
    setenv("SMSAPI_TOKEN", "x", 1);
    struct conf *c = must_load(conf_load_text("full.conf", text, strlen(text), &f), &f);
    for (size_t b = 0; b < conf_blocks_count; b++) {
        const struct block_def *def = &conf_blocks[b];
        for (size_t i = 0; i < def->count; i++) {
            const struct directive *d = &def->directives[i];
            const char *value = conf_text(c, def->name, NULL, d->name);
            char *plain = d->initial ? xstrdup(d->initial + (d->initial[0] == '"')) : NULL;
            if (plain && plain[0] != '{') {
                plain[strcspn(plain, "\"")] = '\0';
                assert_string_equal(value, plain);
            }
            free(plain);
        }
    }
    conf_free(&c);
    free(text);
}

/* What every row of the table must have. */
static void the_table(void **state)
{
    (void)state;
    for (size_t b = 0; b < conf_blocks_count; b++) {
        assert_in_range(conf_blocks[b].count, 1, 60);
        for (size_t i = 0; i < conf_blocks[b].count; i++) {
            const struct directive *d = &conf_blocks[b].directives[i];
            assert_ptr_equal(directives_find(&conf_blocks[b], d->name), d);
            assert_non_null(d->help);
            assert_non_null(directives_kind(d));
            assert_true(d->roles != 0);
            assert_false((d->flags & CONF_REQUIRED) && d->initial);
            assert_true((d->flags & CONF_RESERVED) || d->initial || d->example);
            /* A secret has a file, and goes to one role alone; a file of a secret to none. */
            if (d->kind == CONF_SECRET || d->kind == CONF_SECRET_FILE)
                assert_non_null(directives_partner(&conf_blocks[b], d));
            if (d->kind == CONF_SECRET)
                assert_true(d->roles == CONF_LISTENER || d->roles == CONF_SENDER);
            if (d->kind == CONF_SECRET_FILE)
                assert_int_equal(d->roles, CONF_MASTER);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_documents_are_current),
        cmocka_unit_test(the_original_script),
        cmocka_unit_test(the_least),
        cmocka_unit_test(the_full_sample),
        cmocka_unit_test(the_table),
    };
    unsetenv("CREDENTIALS_DIRECTORY");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
