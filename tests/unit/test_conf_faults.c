/* links: conf proto core */
#include "conf_fixture.h"

/* A text and all the faults it must have, in order: no more, no less. */
struct bad {
    const char *text;
    const char *faults;
};

static const struct bad unknown_words[] = {
    {WHOLE "log { levle = info }", "3: unknown word `levle` in block `log`: did you mean `level`?\n"},
    {WHOLE "\nbrigde x {\n url = y\n deep { a = b }\n}\nmetrics {}\nsendr { processes = 1 }",
     "4: unknown word `brigde`: did you mean `bridge`?\n9: unknown word `sendr`: did you mean `sender`?\n"},
    {WHOLE "log { colour = red }",
     "3: unknown word `colour` in block `log`: expected one of format, level, file\n"},
    {WHOLE "runtime_dri = \"/run/x\"", "3: unknown word `runtime_dri`: did you mean `runtime_dir`?\n"},
    {WHOLE "xyz = { a, b } log { a = 1 b { c { } } }",
     "3: unknown word `xyz`: expected one of runtime_dir, user, installation, language, zone, bridge, "
     "provider, recipients, directory, numbers, prices, limits, summaries, rule, dispatcher, sender, "
     "metrics, log\n"
     "3: unknown word `a` in block `log`: expected one of format, level, file\n"
     "3: unknown word `b` in block `log`: expected one of format, level, file\n"},
    /* A misspelt required word is not missed as well. */
    {PROVIDER "bridge b { ulr = \"http://x\" api_key_idd = a api_key_secre = b }",
     "2: unknown word `ulr` in block `bridge`: did you mean `url`?\n"
     "2: unknown word `api_key_idd` in block `bridge`: did you mean `api_key_id`?\n"
     "2: unknown word `api_key_secre` in block `bridge`: did you mean `api_key_secret`?\n"},
    {WHOLE "lgo { level = info }", "3: unknown word `lgo`: did you mean `log`?\n"},
    {WHOLE "log = debug", "3: `log` is a block: expected `log { … }`\n"},
    {WHOLE "rule r { when { } }", "3: `when` is a setting: expected `when = …`\n"
                                  "3: block `rule r` needs `when`\n3: block `rule r` needs `to`\n"
                                  "3: block `rule r` needs `message`\n"},
};

static const struct bad hidden_by_the_parser[] = {
    /* A repeated setting: the last would win. */
    {WHOLE "log {\n level = info\n level = debug }", "5: `level` is repeated: it stands in line 4 already\n"},
    {WHOLE "user = a\nlog { level = info }\nuser = b",
     "5: `user` is repeated: it stands in line 3 already\n"},
    {WHOLE "rule r { when = a when = b to = \"+48500500500\" message = m to = \"+48500500501\" }",
     "3: `when` is repeated: it stands in line 3 already\n3: `to` is repeated: it stands in line 3 "
     "already\n"},
    /* Two blocks of one title: they would be merged. */
    {BRIDGE BRIDGE PROVIDER, "2: block `bridge main` is repeated: it stands at test.conf:1 already\n"},
    {WHOLE "log { level = info }\nlog { format = json }",
     "4: block `log` is repeated: it stands at test.conf:3 already\n"},
    /* An unclosed block at the end of the file. */
    {WHOLE "log {\n level = info\n", "3: block `log` is not closed: its `}` is missing\n"},
    {WHOLE "log {\n level = info\n\nmetrics { listen = off }\n",
     "3: block `log` is not closed: its `}` is missing\n"
     "6: `metrics` cannot stand inside `log`: is a `}` missing before it?\n"},
    {WHOLE "log { level = info }\n}\n", "4: `}` closes nothing: no block is open here\n"},
    /* A plus without quotes: it would be dropped. */
    {WHOLE "recipients r { to = { +48500500500,\n +48500500501 } }",
     "3: `+********500`: a phone number must be in quotes, or its plus is lost\n"
     "4: `+********501`: a phone number must be in quotes, or its plus is lost\n"},
    {WHOLE "recipients r { to = 48500500500 }",
     "3: `to`: `********500`: a phone number needs a plus and the country code, as in \"+48500500500\" (or "
     "`default_country` in the block `numbers`)\n"},
    {BRIDGE "provider p { type = log from = +x }",
     "2: `from`: `+x`: a value with such characters must be in quotes\n"},
    {PROVIDER "bridge b { url = \"http://x\" api_key_id = a api_key_secret = s solutions = * }",
     "2: `solutions`: `*`: a value with such characters must be in quotes\n"},
    /* Escapes: `\d` would become `d`. */
    {WHOLE "rule r { when = \"item matches\n '\\d+\\.x'\" to = \"+48500500500\" message = m }",
     "4: `\\d` is no escape in double quotes: write the value in single quotes, or `\\\\d`\n"
     "4: `\\.` is no escape in double quotes: write the value in single quotes, or `\\\\.`\n"},
    {WHOLE "rule r { when = \"a\\b\" to = \"+48500500500\" message = \"\\x41\\101\" }",
     "3: `\\b` is no escape in double quotes: write the value in single quotes, or `\\\\b`\n"
     "3: `\\x` is no escape in double quotes: write the value in single quotes, or `\\\\x`\n"
     "3: `\\1` is no escape in double quotes: write the value in single quotes, or `\\\\1`\n"},
    /* The line of a value is its first line. */
    {WHOLE "installation = \"a\n\n\nb\"",
     "3: `installation`: `a\n\n\nb`: expected a name of letters, digits, dots, dashes and underscores\n"},
    {WHOLE "rule r {\n when = \"a\n b\"\n to = { \"+48500500500\",\n\n nobody }\n message = \"m\n m\" }",
     "8: `to`: `nobody`: expected a phone number in quotes, the name of a recipients block or an "
     "expression\n"},
    /* C comments would count a line too many. */
    {WHOLE "/* a\n b */ log {\n level = 1\n}", "5: `level`: `1`: expected debug, info, warn or error\n"},
    {WHOLE "log { level += info }", "3: `+=` after `level`: expected `=` and the whole list\n"},
    {WHOLE "rule r { when = \"a\" to = {} message = m }", "3: `to`: expected at least one entry\n"},
    {WHOLE "log { level = { info } }", "3: `level`: expected one value, not a list\n"},
};

static const struct bad syntax[] = {
    {WHOLE "log { level = info;\n format = json; }",
     "3: `level`: `info;`: a value with such characters must be in quotes\n"
     "4: `format`: `json;`: a value with such characters must be in quotes\n"},
    {WHOLE "log { file = \"a\"; }", "3: `;`: unexpected here\n"},
    {WHOLE "log { level info }", "3: `level`: expected `=` and a value\n"},
    {WHOLE "log { level =\n format = json }", "4: `level` has no value: after it stands another setting\n"},
    {WHOLE "log { level = }", "3: `}`: expected a value\n"},
    {WHOLE "log { level =", "3: the file ends where a value is expected\n"},
    {WHOLE "log { level", "3: the file ends where `=` and a value, or `{` and a block is expected\n"},
    {WHOLE "user = \"a\n\n", "3: `\"`: the quotes that open here are not closed\n"},
    {WHOLE "user = 'a\n\n", "3: `'`: the quotes that open here are not closed\n"},
    {WHOLE "\n/* user = 'a\n\n", "4: `/*`: the comment that begins here is not closed\n"},
    {WHOLE "recipients r { to = { a b } }", "3: `b`: expected `,` or `}`\n"},
    {WHOLE "recipients r { to = { , } }", "3: `,`: expected a value or `}`\n"},
    {WHOLE "include(\"x\")", "3: `(`: expected `=` and a value, or `{` and a block\n"},
    {WHOLE "\"user\" = x", "3: `\"user\"`: expected the name of a setting or of a block\n"},
    {WHOLE "user = a = b", "3: `user` has no value: after it stands another setting\n"},
    {WHOLE "a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {",
     "3: unknown word `a`: expected one of runtime_dir, user, installation, language, zone, bridge, "
     "provider, recipients, directory, numbers, prices, limits, summaries, rule, dispatcher, sender, "
     "metrics, log\n"
     "3: `{`: expected blocks less deep inside each other\n"},
    {WHOLE "user = \"a\001\"", "3: a control character, byte 0x01: expected text\n"},
    {WHOLE "user = \"a\xff\"\n", "3: this line is not UTF-8\n"},
    {WHOLE "rule \"r\" x", "3: `rule`: expected `=` and a value, or `{` and a block\n"},
};

static const struct bad titles[] = {
    {WHOLE "log x { }", "3: `x`: block `log` has no name\n"},
    {PROVIDER "bridge { url = \"http://x\" api_key_id = a api_key_secret = s }",
     "2: `bridge` needs a name: expected `bridge \"name\" { … }`\n"},
    {WHOLE "recipients \"on call\" { to = \"+48500500500\" }",
     "3: `\"on call\"`: expected a name of 1 to 64 letters, digits, dots, dashes and underscores\n"},
    {WHOLE "rule \"a\\\\b\" { when = a to = \"+48500500500\" message = m }",
     "3: `\"a\\\\b\"`: expected a name of 1 to 100 bytes in one line, without quotes and backslashes\n"},
    {WHOLE "rule \"${HOME}\" { when = a to = \"+48500500500\" message = m }",
     "3: `\"\001{HOME}\"`: expected a name of 1 to 100 bytes in one line, without quotes and backslashes\n"},
    {WHOLE "rule '' { when = a to = \"+48500500500\" message = m }",
     "3: `''`: expected a name of 1 to 100 bytes in one line, without quotes and backslashes\n"},
};

#define RULE(settings) WHOLE "rule r { when = a to = \"+48500500500\" message = m " settings " }"
#define PROVIDER_WITH(settings) BRIDGE "provider p { type = log " settings " }"
#define BRIDGE_WITH(settings) "bridge b { api_key_id = a api_key_secret = s " settings " }"

static const struct bad values[] = {
    {RULE("expires = \"5 sec\""), "3: `expires`: `5 sec`: expected a duration such as 250ms, 5s, 2h, 7d\n"},
    {RULE("expires = 31d"), "3: `expires`: `31d`: expected from 1s to 30d\n"},
    {RULE("expires = 0"), "3: `expires`: `0`: expected from 1s to 30d\n"},
    {RULE("caps = 60"), "3: `caps`: `60`: expected a rate such as 10/60s, 60/h, 1/min, or off\n"},
    {RULE("caps = 1000001/s"), "3: `caps`: `1000001/s`: expected a count of 1 to 1000000\n"},
    {RULE("priority = crtical"),
     "3: `priority`: `crtical`: expected critical, normal or bulk; did you mean `critical`?\n"},
    {RULE("enabled = maybe"), "3: `enabled`: `maybe`: expected on or off\n"},
    {RULE("from = \"Zażółć\""),
     "3: `from`: `Zażółć`: expected a sender name: up to 11 letters and digits with a letter "
     "among them, or 8 to 16 digits\n"},
    {RULE("from = \"TwelveLetter\""),
     "3: `from`: `TwelveLetter`: expected a sender name: up to 11 letters and digits "
     "with a letter among them, or 8 to 16 digits\n"},
    {RULE("provider = q"), "3: `provider`: `q`: expected the name of a provider block, did you mean `p`?\n"},
    {PROVIDER_WITH("batch = 0"), "2: `batch`: `0`: expected from 1 to 100\n"},
    {PROVIDER_WITH("batch = many"), "2: `batch`: `many`: expected a whole number\n"},
    {PROVIDER_WITH("requests_per_second = off"),
     "2: `requests_per_second`: `off`: expected a number per second, or a rate such as 100/s, 6000/min\n"},
    {PROVIDER_WITH("requests_per_second = 0"),
     "2: `requests_per_second`: `0`: expected a count of 1 to 1000000\n"},
    {PROVIDER_WITH("url = \"api.smsapi.com\""),
     "2: `url`: `api.smsapi.com`: expected an address https://host… or http://host…\n"},
    {PROVIDER_WITH("url = \"ftp://x\""),
     "2: `url`: `ftp://x`: expected an address https://host… or http://host…\n"},
    {PROVIDER_WITH("url = \"https://\""),
     "2: `url`: `https://`: expected an address https://host… or http://host…\n"},
    {PROVIDER_WITH("url = \"http://x:0/\""),
     "2: `url`: `http://x:0/`: expected an address https://host… or http://host…\n"},
    {PROVIDER_WITH("url = \"http://user:hidden@x/\""),
     "2: `url`: expected an address without user and password\n"},
    {PROVIDER_WITH("retry_min = 1h"), "2: `retry_min` is longer than `retry_max` (1h and 15m)\n"},
    {PROVIDER_WITH("retry_min = 1h retry_max = 1s"),
     "2: `retry_min` is longer than `retry_max` (1h and 1s)\n"},
    {BRIDGE "provider p { type = webhook }", "2: `type`: `webhook`: expected smsapi or log\n"},
    {BRIDGE_WITH("url = \"http://b\" spill = 64MB"),
     "1: `spill`: `64MB`: expected a size such as 64KiB, 64MiB, 1GiB\n"},
    {BRIDGE_WITH("url = \"http://b\" frame_limit = 1KiB"),
     "1: `frame_limit`: `1KiB`: expected from 4KiB to 256MiB\n"},
    {BRIDGE_WITH("url = \"http://b\" ws_url = \"http://b\""),
     "1: `ws_url`: `http://b`: expected an address wss://host… or ws://host…\n"},
    {BRIDGE_WITH("url = \"http://b\" channels = { thread, strem }"),
     "1: `channels`: `strem`: expected thread, store, stream, inbox or kvdb; did you mean `stream`?\n"},
    {BRIDGE_WITH("url = \"http://b\" catch_up_max_events = 0"),
     "1: `catch_up_max_events`: `0`: expected from 1 to 100000000\n"},
    {WHOLE "dispatcher { store = \"postgresql://x\" }",
     "3: `store`: `postgresql://x`: expected a store such as sqlite:/var/lib/bridgebell/queue.db\n"},
    {WHOLE "dispatcher { listen = \"tcp://0.0.0.0:5560\" }",
     "3: `listen` cannot be used: senders on other hosts need keys, which this version does not have\n"},
    {WHOLE "sender { processes = 65 dispatchers = { \"tcp://x:1\" } }",
     "3: `dispatchers` cannot be used: dispatchers on other hosts need keys, which this version does not "
     "have\n"
     "3: `processes`: `65`: expected from 0 to 64\n"},
    {WHOLE "metrics { listen = 9464 }",
     "3: `listen`: `9464`: expected an address such as 127.0.0.1:9464, or off\n"},
    {WHOLE "metrics { listen = \"0.0.0.0:9464\" }",
     "3: `listen`: `0.0.0.0:9464`: expected an address on loopback: "
     "other hosts may not ask without a token\n"},
    {WHOLE "metrics { listen = \"127.0.0.1:70000\" }",
     "3: `listen`: `127.0.0.1:70000`: expected an address such as 127.0.0.1:9464, or off\n"},
    /* Secrets, message texts and whole numbers are not shown. */
    {PROVIDER "bridge b { url = \"http://x\" api_key_id = a api_key_secret = very+hidden }",
     "2: `api_key_secret`: `…`: a value with such characters must be in quotes\n"},
    {WHOLE "rule r { when = a to = \"+48500500500\" message = secret+text }",
     "3: `message`: `…`: a value with such characters must be in quotes\n"},
    {WHOLE "rule r { when = a to = \"+48500500500\" messages = { pl: secret } }",
     "3: `…`: expected `,` or `}`\n"},
    {RULE("") "rule s { when = a to = \"48500500500\" message = m }",
     "3: `to`: `********500`: a phone number needs a plus and the country code, as in \"+48500500500\" (or "
     "`default_country` in the block `numbers`)\n"},
    {RULE("") "rule s { when = a to = \"+48 (0)500 500 500\" message = m }",
     "3: `to`: `+**************500`: leave out the (0): it is not dialled behind the country code\n"},
    {RULE("") "rule s { when = a to = \"+4850050\" message = m }",
     "3: `to`: `+****050`: a phone number has 8 to 15 digits with the country code\n"},
};

static const struct bad between_settings[] = {
    {"", "0: nothing to do: expected a bridge, rule, dispatcher or sender block\n"},
    {"log { level = info }", "0: nothing to do: expected a bridge, rule, dispatcher or sender block\n"},
    {"rule r { when = a to = \"+48500500500\" message = m }",
     "1: block `rule r`: there is no provider block, so nothing could be sent\n"},
    {"bridge b { }", "1: block `bridge b` needs `url`\n1: block `bridge b` needs `api_key_id`\n"
                     "1: block `bridge b` needs `api_key_secret` or `api_key_secret_file`\n"},
    {BRIDGE "provider p { type = smsapi }", "2: block `provider p` needs `token` or `token_file`\n"},
    {BRIDGE "provider p { type = smsapi token = a\n token_file = \"/x\" }",
     "3: `token` and `token_file` stand in the same block: expected one of them\n"},
    {BRIDGE "provider p { }", "2: block `provider p` needs `type`\n"},
    {WHOLE "recipients oncall { to = \"+48500500500\" }\nrule r { when = a message = m to = { oncal } }",
     "4: `to`: `oncal`: expected a phone number in quotes, the name of a recipients block or an expression, "
     "did you mean "
     "`oncall`?\n"},
    {WHOLE "recipients a { to = a }", "3: recipients `a` contain themselves: a → a\n"},
    {WHOLE
     "recipients a { to = { \"+48500500500\", b } }\nrecipients b { to = c }\nrecipients c { to = { b, a } }",
     "3: recipients `a` contain themselves: a → b → c → a\n4: recipients `b` contain themselves: b → c → "
     "b\n"},
    {WHOLE "recipients a { to = b }\nrecipients b { to = c }\nrecipients c { to = b }",
     "4: recipients `b` contain themselves: b → c → b\n"},
    {WHOLE "include \"x\"", "3: `include`: only a file can include others\n"},
};

static const struct bad environment[] = {
    {RULE("") "rule s { when = \"a\n${HOME}\" to = \"+48500500500\" message = \"${HOME:-x}\" }",
     "3: `when`: `${…}` is for secrets, addresses and paths only; write `\\${` for the characters\n"
     "4: `message`: `${…}` is for secrets, addresses and paths only; write `\\${` for the characters\n"},
    {WHOLE "user = \"${HOME}\"",
     "3: `user`: `${…}` is for secrets, addresses and paths only; write `\\${` for the characters\n"},
    {WHOLE "runtime_dir = \"${BELL_NOT_SET}\"",
     "3: `runtime_dir`: `BELL_NOT_SET`: expected a variable that is set in the environment\n"},
    {WHOLE "runtime_dir = \"${}\"",
     "3: `runtime_dir`: ``: expected a variable that is set in the environment\n"},
    {WHOLE "runtime_dir = \"${1A}\"",
     "3: `runtime_dir`: `1A`: expected a variable that is set in the environment\n"},
    {WHOLE "runtime_dir = \"${A-b}\"",
     "3: `runtime_dir`: `A-b`: expected a variable that is set in the environment\n"},
    {WHOLE "runtime_dir = \"${HOME\"",
     "3: `${`: the name of a variable and `}` must follow; write `\\${` for the "
     "characters\n"},
    {WHOLE "runtime_dir = ${HOME}", "3: `${HOME}`: `${…}` works in double quotes only\n"},
    {WHOLE "runtime_dir = \"${BELL_EMPTY}\"", "3: `runtime_dir`: expected a path\n"},
    {WHOLE "runtime_dir = \"${BELL_LINES}\"",
     "3: `runtime_dir`: expected variables that hold one line of UTF-8\n"},
    /* What the environment holds is not shown. */
    {PROVIDER_WITH("url = \"${BELL_HIDDEN}\""),
     "2: `url`: expected an address https://host… or http://host…\n"},
};

static void check(const struct bad *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct faults f = {NULL, 0};
        struct conf *c = conf_load_text("test.conf", cases[i].text, strlen(cases[i].text), &f);
        char *got = faults_text(&f);
        if (strcmp(got, cases[i].faults) != 0)
            print_error("text:\n%s\n\nfaults:\n%s\nbut expected:\n%s\n", cases[i].text, got, cases[i].faults);
        assert_string_equal(got, cases[i].faults);
        assert_null(c);
        for (size_t j = 0; j < f.count; j++)
            assert_string_equal(f.list[j].file, "test.conf");
        free(got);
        faults_free(&f);
    }
}

#define TABLE(name)                                                                                          \
    static void check_##name(void **state)                                                                   \
    {                                                                                                        \
        (void)state;                                                                                         \
        check(name, sizeof name / sizeof name[0]);                                                           \
    }

TABLE(unknown_words)
TABLE(hidden_by_the_parser)
TABLE(syntax)
TABLE(titles)
TABLE(values)
TABLE(between_settings)
TABLE(environment)

/* A hopeless file neither takes long nor gives more faults than anybody reads. */
static void faults_are_bounded(void **state)
{
    struct buf text;
    struct faults f = {NULL, 0};
    (void)state;
    buf_init(&text, 0);
    for (int i = 0; i < 20000; i++)
        buf_addf(&text, "rule r { wehn = a; to = { nobody%d } x = 1 }\n", i);
    assert_null(conf_load_text("test.conf", text.data, text.len, &f));
    assert_in_range(f.count, 100, 1000);
    faults_free(&f);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_unknown_words), cmocka_unit_test(check_hidden_by_the_parser),
        cmocka_unit_test(check_syntax),        cmocka_unit_test(check_titles),
        cmocka_unit_test(check_values),        cmocka_unit_test(check_between_settings),
        cmocka_unit_test(check_environment),   cmocka_unit_test(faults_are_bounded),
    };
    setenv("HOME", "/home/x", 1);
    setenv("BELL_EMPTY", "", 1);
    setenv("BELL_LINES", "a\nb", 1);
    setenv("BELL_HIDDEN", "hidden", 1);
    unsetenv("BELL_NOT_SET");
    unsetenv("CREDENTIALS_DIRECTORY");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
