/* links: conf proto core */
#include "conf_fixture.h"

static const char with_files[] = "bridge main { url = \"http://b\" api_key_id = a\n"
                                 "  api_key_secret_file = \"bridge.secret\" }\n"
                                 "provider sms { type = smsapi\n"
                                 "  token_file = \"./sub/../smsapi.token\" }\n";

static const char without[] = "bridge main { url = \"http://b\" api_key_id = a }\n"
                              "provider sms { type = smsapi }\n"
                              "provider say { type = log }\n";

static int setup(void **state)
{
    conf_fixture_make(state, "bridgebell.conf", "sub");
    const struct conf_fixture *x = *state;
    place_write(&x->place, "bridgebell.conf", with_files, 0644);
    unsetenv("CREDENTIALS_DIRECTORY");
    return 0;
}

static int teardown(void **state)
{
    unsetenv("CREDENTIALS_DIRECTORY");
    return conf_fixture_free(state);
}

/* The configuration with its secrets, as `bridgebell check` reads both. */
static struct conf *check(const char *path, struct faults *f)
{
    struct conf *c = conf_load(path, f);
    if (c && conf_read_secrets(c, f))
        conf_free(&c);
    return c;
}

/* check finds these and no other faults; %s in EXPECTED is the directory. */
static void assert_check(const struct conf_fixture *x, const char *expected)
{
    struct faults f = {NULL, 0};
    struct conf *c = check(x->conf, &f);
    char *text = faults_text(&f), *dir;
    struct buf got;
    buf_init(&got, 0);
    for (char *p = text; *p;) {
        dir = strstr(p, x->place.dir);
        buf_add(&got, p, dir ? (size_t)(dir - p) : strlen(p));
        buf_adds(&got, dir ? "DIR" : "");
        p = dir ? dir + strlen(x->place.dir) : p + strlen(p);
    }
    assert_string_equal(buf_cstr(&got), expected);
    buf_free(&got);
    free(text);
    conf_free(&c);
    faults_free(&f);
}

static void from_files(void **state)
{
    const struct conf_fixture *x = *state;
    struct faults f = {NULL, 0};
    place_write(&x->place, "bridge.secret", "s3cret\n", 0600);
    place_write(&x->place, "smsapi.token", "t0ken\r\n\n", 0400);
    struct conf *c = must_load(conf_load(x->conf, &f), &f);
    assert_null(conf_text(c, "bridge", "main", "api_key_secret"));
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(conf_read_secrets(c, &f), 0);
        assert_string_equal(conf_text(c, "bridge", "main", "api_key_secret"), "s3cret");
        assert_string_equal(conf_text(c, "provider", "sms", "token"), "t0ken");
    }
    struct slice *s = conf_slice_sender(c);
    const struct slice_setting *token = slice_get(slice_find(s, "provider", "sms"), "token");
    assert_string_equal(token->text, "t0ken");
    assert_true(token->is_secret);
    assert_int_equal(token->line, 4);
    slice_free(&s);
    conf_free(&c);
}

static void not_shown_when_printed(void **state)
{
    const struct conf_fixture *x = *state;
    struct faults f = {NULL, 0};
    char *text = NULL;
    size_t len = 0;
    place_write(&x->place, "bridge.secret", "s3cret\n", 0600);
    place_write(&x->place, "smsapi.token", "t0ken\n", 0600);
    struct conf *c = must_load(check(x->conf, &f), &f);
    FILE *out = open_memstream(&text, &len);
    assert_int_equal(conf_print(c, out), 0);
    fclose(out);
    assert_null(strstr(text, "s3cret"));
    assert_null(strstr(text, "t0ken"));
    assert_non_null(strstr(text, "# api_key_secret = \"<secret>\", from a file"));
    assert_non_null(strstr(text, "api_key_secret_file = \"bridge.secret\""));
    struct conf *again = must_load(conf_load_text("again", text, len, &f), &f);
    conf_free(&again);
    free(text);
    conf_free(&c);
}

static void refused_files(void **state)
{
    const struct conf_fixture *x = *state;
    assert_check(x, "2: `api_key_secret_file`: `DIR/bridge.secret`: No such file or directory\n"
                    "4: `token_file`: `DIR/sub/../smsapi.token`: No such file or directory\n");
    place_write(&x->place, "bridge.secret", "s3cret\n", 0604);
    place_write(&x->place, "smsapi.token", "t0ken\n", 0640);
    assert_check(
        x, "2: `api_key_secret_file`: `DIR/bridge.secret`: others than its owner may read or change it: "
           "chmod 600 it\n"
           "4: `token_file`: `DIR/sub/../smsapi.token`: others than its owner may read or change it: "
           "chmod 600 it\n");
    place_write(&x->place, "bridge.secret", "two\nlines\n", 0600);
    place_write(&x->place, "smsapi.token", "\n", 0600);
    assert_check(x, "2: `api_key_secret_file`: `DIR/bridge.secret`: it does not hold one line of text\n"
                    "4: `token_file`: `DIR/sub/../smsapi.token`: it does not hold one line of text\n");
}

static void refused_kinds_of_files(void **state)
{
    const struct conf_fixture *x = *state;
    char *secret = place_path(&x->place, "bridge.secret"), large[5000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    place_write(&x->place, "smsapi.token", large, 0600);
    /* Nobody writes to it: opening it must not wait. */
    assert_int_equal(mkfifo(secret, 0600), 0);
    assert_check(x, "2: `api_key_secret_file`: `DIR/bridge.secret`: it is not a regular file\n"
                    "4: `token_file`: `DIR/sub/../smsapi.token`: it is too large for a secret\n");
    assert_int_equal(unlink(secret), 0);
    assert_int_equal(mkdir(secret, 0700), 0);
    place_write(&x->place, "smsapi.token", "t\n", 0600);
    assert_check(x, "2: `api_key_secret_file`: `DIR/bridge.secret`: it is not a regular file\n");
    free(secret);
}

static void named_credentials(void **state)
{
    const struct conf_fixture *x = *state;
    struct faults f = {NULL, 0};
    char *sub = place_path(&x->place, "sub");
    setenv("CREDENTIALS_DIRECTORY", sub, 1);
    /* A credential carries rights for the group, by its access list. */
    place_write(&x->place, "sub/bridge.secret", "from the manager\n", 0440);
    place_write(&x->place, "bridge.secret", "beside the file\n", 0600);
    place_write(&x->place, "smsapi.token", "t0ken\n", 0600);
    struct conf *c = must_load(check(x->conf, &f), &f);
    assert_string_equal(conf_text(c, "bridge", "main", "api_key_secret"), "from the manager");
    assert_string_equal(conf_text(c, "provider", "sms", "token"), "t0ken");
    conf_free(&c);
    free(sub);
}

static void credentials_by_their_names(void **state)
{
    const struct conf_fixture *x = *state;
    struct faults f = {NULL, 0};
    char *sub = place_path(&x->place, "sub");
    place_write(&x->place, "bridgebell.conf", without, 0644);
    assert_check(x, "1: block `bridge main` needs `api_key_secret` or `api_key_secret_file`\n"
                    "2: block `provider sms` needs `token` or `token_file`\n");
    setenv("CREDENTIALS_DIRECTORY", sub, 1);
    assert_check(
        x, "1: block `bridge main` needs `api_key_secret`, `api_key_secret_file` or the credential "
           "`bridge-main-api_key_secret`\n"
           "2: block `provider sms` needs `token`, `token_file` or the credential `provider-sms-token`\n");
    place_write(&x->place, "sub/bridge-main-api_key_secret", "one", 0440);
    place_write(&x->place, "sub/provider-sms-token", "two", 0440);
    struct conf *c = must_load(check(x->conf, &f), &f);
    assert_string_equal(conf_text(c, "bridge", "main", "api_key_secret"), "one");
    assert_string_equal(conf_text(c, "provider", "sms", "token"), "two");
    assert_null(conf_text(c, "provider", "say", "token"));
    conf_free(&c);
    free(sub);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(from_files),        TEST(not_shown_when_printed),
        TEST(refused_files),     TEST(refused_kinds_of_files),
        TEST(named_credentials), TEST(credentials_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
