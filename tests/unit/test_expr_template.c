/* links: expr core */
/*
 * Templates and the cleaning of what they insert.
 */
#include "tests/unit/expr_cases.h"

#include <stdlib.h>

#include "dispatcher/expr/clean.h"
#include "dispatcher/expr/template.h"

#define FFFD "\xef\xbf\xbd"

/* ---- Cleaning -------------------------------------------------------------------------------- */

static void clean(const char *text, size_t length, size_t characters, char *out, size_t size, bool *cut)
{
    const char *result = NULL;
    size_t result_length = 0;
    struct expr_arena *arena = expr_arena_new(16u << 20);
    /* a copy without a NUL after it, so that a read beyond the end is seen */
    char *copy = malloc(length == 0 ? 1 : length);
    assert_non_null(copy);
    memcpy(copy, text, length);
    assert_true(expr_clean(copy, length, characters, arena, &result, &result_length, cut));
    assert_true(result_length < size);
    memcpy(out, result, result_length);
    out[result_length] = '\0';
    free(copy);
    expr_arena_free(&arena);
}

static void test_clean(void **state)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"", ""},
        {"plain text, ąę", "plain text, ąę"},
        {"a\nb", "a b"},
        {"a\r\nb", "a b"},
        {"a\n\n\nb", "a b"},
        {"a\tb\vc\fd", "a b c d"},
        {"a\xc2\x85"
         "b\xe2\x80\xa8"
         "c\xe2\x80\xa9"
         "d",
         "a b c d"},
        {"a\x01\x1b[31mb\x7f", "a[31mb"},
        {"a\xc2\x9b"
         "b",
         "ab"},
        {"a\xe2\x80\xaeTXT.exe\xe2\x80\xac"
         "b",
         "aTXT.exeb"},
        {"\xe2\x81\xa6x\xe2\x81\xa9\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "x"},
        {"z\xe2\x80\x8bw\xe2\x80\x8c\xe2\x80\x8d\xef\xbb\xbf\xe2\x81\xa0\xc2\xad", "zw"},
        {"\xf3\xa0\x81\xa1tag\xf3\xa0\x81\xbf", "tag"},
        {"\xe3\x85\xa4\xef\xbe\xa0\xe1\x85\x9f", ""},
        {"a\xff"
         "b",
         "a" FFFD "b"},
        {"\xe2\x82", FFFD},
        {"\xed\xa0\x80", FFFD FFFD FFFD},
        {"\xc0\xaf", FFFD FFFD},
        {"\xf0\x9f\x98\x80!", "\xf0\x9f\x98\x80!"},
        {"  two  spaces ", "  two  spaces "},
        /* links */
        {"http://x", "hxxp://x"},
        {"HTTPS://Evil.example/a?b=c.d", "HxxPS://Evil[.]example/a?b=c.d"},
        {"see https://evil.com.", "see hxxps://evil[.]com."},
        {"(https://evil.com)", "(hxxps://evil[.]com)"},
        {"ftp://files.example/x", "fxp://files[.]example/x"},
        {"git+ssh://host/x", "git+ssh[:]//host/x"},
        {"a://b", "a[:]//b"},
        {"http:evil", "hxxp:evil"},
        {"www.evil.example", "www[.]evil[.]example"},
        {"WWW.evil", "WWW[.]evil"},
        {"xhttp://a", "xhxxp://a"},
        {"evil.com", "evil[.]com"},
        {"Evil.COM/path.html", "Evil[.]COM/path.html"},
        {"bit.ly/abc", "bit[.]ly/abc"},
        {"evil.unknownword/abc", "evil[.]unknownword/abc"},
        {"evil.unknownword:8080", "evil[.]unknownword:8080"},
        {"evil.unknownword?x", "evil[.]unknownword?x"},
        {"bob@example.pl", "bob@example[.]pl"},
        {"bob@example.unknownword", "bob@example[.]unknownword"},
        {"sub.evil.co.uk", "sub[.]evil[.]co[.]uk"},
        {"evil\xe3\x80\x82"
         "com",
         "evil[.]com"},
        {"evil\xef\xbc\x8e"
         "com",
         "evil[.]com"},
        {"пример.рф", "пример[.]рф"},
        {"xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd[.]xn--p1ai"},
        {"ht\xe2\x80\x8btp://evil.com", "hxxp://evil[.]com"},
        {"evil.\xc2\xad"
         "com",
         "evil[.]com"},
        {"10.0.0.1/admin", "10[.]0[.]0[.]1/admin"},
        /* phones link an address without scheme and path, whatever is not a word beside it */
        {"10.0.0.1", "10[.]0[.]0[.]1"},
        {"255.255.255.255.", "255[.]255[.]255[.]255."},
        {"1.2.3.4.5", "1[.]2[.]3[.]4[.]5"},
        {"a.1.2.3.4", "a[.]1[.]2[.]3[.]4"},
        {"v-1.2.3.4-beta", "v-1[.]2[.]3[.]4-beta"},
        {"\u2764"
         "1.2.3.4",
         "\u2764"
         "1[.]2[.]3[.]4"},
        {"1\u30022\u30023\u30024", "1[.]2[.]3[.]4"},
        {"http://10.0.0.1", "hxxp://10[.]0[.]0[.]1"},
        {"tel:+48500500500", "tel[:]+48500500500"},
        {"SMS:123", "SMS[:]123"},
        {"mailto:a@b.com", "mailto[:]a@b[.]com"},
        {"javascript:alert(1)", "javascript[:]alert(1)"},
        {"evil.com.zzz", "evil[.]com[.]zzz"},
        {"evil.com-", "evil[.]com-"},
        {"evil.com_", "evil[.]com_"},
        {"evil.com\xf0\x9f\x98\x80", "evil[.]com\xf0\x9f\x98\x80"},
        {"evil.com\xc4\x85", "evil[.]com\xc4\x85"},
        {"\xf0\x9f\x98\x80"
         "evil.com",
         "\xf0\x9f\x98\x80"
         "evil[.]com"},
        {"[evil.com]", "[evil[.]com]"},
        {"a,evil.com;b", "a,evil[.]com;b"},
        {"//evil.host/x", "//evil[.]host/x"},
        {"hxxp://evil.com", "hxxp[:]//evil[.]com"},
        {"http:\\\\evil.unknown", "hxxp:\\\\evil[.]unknown"},
        {"HTTP://EVIL.COM", "HxxP://EVIL[.]COM"},
        {"http://user:pass@evil.com:8080/x", "hxxp://user:pass@evil[.]com:8080/x"},
        {"http://[::1]:80/x", "hxxp://[::1]:80/x"},
        {"http://2130706433/", "hxxp://2130706433/"},
        {"http://evil%2ecom", "hxxp://evil%2ecom"},
        {"[a](http://evil.com)<b href='https://x.y'>", "[a](hxxp://evil[.]com)<b href='hxxps://x[.]y'>"},
        {"{\"u\":\"http://evil.com\"}", "{\"u\":\"hxxp://evil[.]com\"}"},
        {"vbscript:x", "vbscript[:]x"},
        {"TEL:*#06#", "TEL[:]*#06#"},
        {"evil.community", "evil[.]community"},
        {"evil.photography!", "evil[.]photography!"},
        {"xn--80ak6aa92e.com", "xn--80ak6aa92e[.]com"},
        /* what looks like a point, or becomes one or a letter in another form of the text */
        {"evil\u2024com", "evil[.]com"},
        {"evil\ufe52com", "evil[.]com"},
        {"evil.c\u043em", "evil[.]c\u043em"},
        {"evil.\u212ar", "evil[.]\u212ar"},
        {"evil.p\u212a", "evil[.]p\u212a"},
        {"evil.\u2122", "evil[.]\u2122"},
        {"evil.c\xc2\xba", "evil[.]c\xc2\xba"},
        {"\uff48ttp://x", "\uff48ttp[:]//x"},
        {"\uff45vil\uff0ec\uff4fm", "\uff45vil[.]c\uff4fm"},
        {"evil.\xf0\x9d\x90\x9com", "evil[.]\xf0\x9d\x90\x9com"},
        {"ht\u200dtp\u2060:\u200b//evil\u00ad.\u202ecom", "hxxp://evil[.]com"},
        {"evil.co\u0301m", "evil[.]co\u0301m"},
        /* marks: some on a letter, none on what the operator wrote before */
        {"e\u0301\u0301\u0301\u0301\u0301\u0301\u0301x", "e\u0301\u0301\u0301\u0301x"},
        {"\u0338\u20ddx", "x"},
        {"\u202e\u0338x", "x"},
        {"a\u00a0b\u2003c\u3000d\u2800e", "a b c d e"},
        {"100%s%n", "100%s%n"},
        {"{{ unsafe(link) }}", "{{ unsafe(link) }}"},
        {"i\u2764.ws", "i\u2764[.]ws"},
        {"\U0001F4A9.la/x", "\U0001F4A9[.]la/x"},
        {"\u2764www.evil", "\u2764www[.]evil"},
        {"a.m.www.evil", "a[.]m[.]www[.]evil"},
        {"evil.www", "evil.www"},
        {"\u201eevil.com\u201d", "\u201eevil[.]com\u201d"},
        /* and what is none */
        {"\u201eKoniec.\u201d", "\u201eKoniec.\u201d"},
        {"Koniec.\u2014Nowy", "Koniec.\u2014Nowy"},
        {"is it report.pdf?", "is it report.pdf?"},
        {"20.5m\xc2\xb2", "20.5m\xc2\xb2"},
        {"begin.middle.ending", "begin.middle.ending"},
        {"data.threadId", "data.threadId"},
        {"v1.2.3", "v1.2.3"},
        {"v1.2.3.4", "v1.2.3.4"},
        {"1.2.3", "1.2.3"},
        {"1.2.3.256", "1.2.3.256"},
        {"1.2.3.4x", "1.2.3.4x"},
        {"1.234.567.890", "1.234.567.890"},
        {"27.11.2026.10", "27.11.2026.10"},
        {"3.14", "3.14"},
        {"report.pdf", "report.pdf"},
        {"end. Begin", "end. Begin"},
        {"wait...what", "wait...what"},
        {"12:30", "12:30"},
        {"note: read", "note: read"},
        {"a/b", "a/b"},
        {"66f76cdc06848d6a6494f783", "66f76cdc06848d6a6494f783"},
        {"tel: 500", "tel: 500"},
        {".hidden", ".hidden"},
        {"a.b", "a.b"},
        {"dir/report.pdf", "dir/report.pdf"},
    };
    char out[512];
    bool cut = false;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        clean(cases[i].text, strlen(cases[i].text), 160, out, sizeof out, &cut);
        if (strcmp(out, cases[i].want) != 0)
            fail_msg("'%s': '%s' instead of '%s'", cases[i].text, out, cases[i].want);
        assert_false(cut);
    }
    clean("a\0b", 3, 160, out, sizeof out, NULL);
    assert_string_equal(out, "ab");
}

static void test_cut(void **state)
{
    static const struct {
        const char *text;
        size_t characters;
        const char *want;
        bool cut;
    } cases[] = {
        {"abcdef", 6, "abcdef", false},
        {"abcdef", 5, "abcde", true},
        {"abcdef", 0, "", true},
        {"", 0, "", false},
        {"zażółć", 4, "zażó", true},
        {"\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 1, "\xf0\x9f\x98\x80", true},
        {"ab cd", 3, "ab ", true},
        {"ab cd", 2, "ab", true},
        {"ab ", 2, "ab", true},
        {"ab\xe2\x80\x8b\xe2\x80\x8b", 2, "ab", false},
        /* a cut must not make a link of what was none, nor leave one whole */
        {"x.community", 5, "x.c", true},
        {"x.community", 6, "x.comm", true},
        {"see x.community", 9, "see x.c", true},
        {"evil.com", 8, "evil.c", true},
        {"http://evil.com", 9, "hxxp://ev", true},
    };
    char out[512];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool cut = false;
        clean(cases[i].text, strlen(cases[i].text), cases[i].characters, out, sizeof out, &cut);
        if (strcmp(out, cases[i].want) != 0)
            fail_msg("'%s' to %zu: '%s'", cases[i].text, cases[i].characters, out);
        assert_int_equal(cut, cases[i].cut);
    }
}

/* Whether the text holds the name as a whole word, as a phone would see it. */
static bool holds_name(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = strstr(text, name); at != NULL; at = strstr(at + 1, name)) {
        unsigned char after = (unsigned char)at[length];
        bool letter = (after >= 'a' && after <= 'z') || (after >= '0' && after <= '9');
        bool label = (after == '.' || after == '-') && (unsigned char)at[length + 1] > ' ';
        if (!letter && !label)
            return true;
    }
    return false;
}

/* What no cleaned text may hold, whatever went in. */
static void expect_harmless(const char *text, size_t characters)
{
    size_t length = strlen(text);
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        assert_true((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    assert_true(count <= characters);
    assert_null(strstr(text, "http:"));
    assert_null(strstr(text, "https:"));
    assert_null(strstr(text, "\xe2\x80\xae"));
    if (holds_name(text, "evil.com") || holds_name(text, "evil.co"))
        fail_msg("a link is left: %s", text);
}

static void test_random_clean(void **state)
{
    static const char *const pieces[] = {"http",
                                         "https",
                                         ":",
                                         "/",
                                         "//",
                                         "www",
                                         ".",
                                         "evil.com",
                                         "evil",
                                         "com",
                                         " ",
                                         "\xe2\x80\xae",
                                         "\n",
                                         "\x1b",
                                         "\xff",
                                         "\xe2\x80",
                                         "ą",
                                         "@",
                                         "\xef\xbc\x8e",
                                         "x",
                                         "?",
                                         "\xe2\x80\x8b",
                                         "1",
                                         "\xf0\x9f\x98\x80",
                                         "evil.co",
                                         "munity",
                                         "-",
                                         "[",
                                         "tel:"};
    uint64_t seed = 11;
    char text[1024];
    char out[8192];
    (void)state;
    for (int i = 0; i < 30000; i++) {
        size_t length = 0;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        for (unsigned j = 0; j < (seed >> 50) % 14; j++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            const char *piece = pieces[(seed >> 33) % (sizeof pieces / sizeof pieces[0])];
            length += (size_t)snprintf(text + length, sizeof text - length, "%s", piece);
        }
        size_t characters = (seed >> 20) % 40;
        clean(text, length, characters, out, sizeof out, NULL);
        expect_harmless(out, characters);
    }
}

/* ---- Templates ------------------------------------------------------------------------------- */

static const char *const names[] = {"name",   "link", "empty",   "none", "long_text", "number",
                                    "broken", "http", "slashes", "evil", "dotcom",    "com",
                                    "at",     "id",   "phone",   "deep"};
#define NAMES (sizeof names / sizeof names[0])

/* A list in a list, and so on, deeper than any value is written. */
static struct expr_value make_deep(void)
{
    static struct expr_value lists[2 * EXPR_DEPTH_LIMIT];
    lists[0] = expr_string_z("http://evil.com");
    for (size_t i = 1; i < sizeof lists / sizeof lists[0]; i++)
        lists[i] = expr_list(&lists[i - 1], 1);
    return lists[sizeof lists / sizeof lists[0] - 1];
}

static struct expr_template_result render(const char *source, size_t characters, char *buffer, size_t size)
{
    static char long_text[1000];
    struct expr_env env = {.variables = names, .variable_count = NAMES};
    memset(long_text, 'x', sizeof long_text);
    struct expr_value values[NAMES] = {expr_string_z("Ada"),
                                       expr_string_z("http://evil.com/\n\xe2\x80\xae"),
                                       expr_string_z(""),
                                       expr_null(),
                                       expr_string(long_text, sizeof long_text),
                                       expr_int(5),
                                       expr_string("a\xff\0b", 4),
                                       expr_string_z("http:"),
                                       expr_string_z("//evil.com"),
                                       expr_string_z("evil"),
                                       expr_string_z(".com"),
                                       expr_string_z("com"),
                                       expr_string_z("@evil.com"),
                                       expr_string_z("66f7"),
                                       expr_string_z("l:+48500"),
                                       make_deep()};
    struct expr_activation activation = {.values = values, .value_count = NAMES};
    struct expr_error error;
    struct expr_arena *arena = expr_arena_new(1u << 20);
    struct expr_template *tmpl = expr_template_compile(source, strlen(source), &env, &error);
    if (tmpl == NULL)
        fail_msg("%s: %s", source, error.message);
    struct expr_template_result result =
        expr_template_render(tmpl, &activation, arena, characters, buffer, size);
    assert_int_equal(strlen(buffer), result.length);
    expr_template_free(&tmpl);
    assert_null(tmpl);
    expr_arena_free(&arena);
    return result;
}

static void test_render(void **state)
{
    static const struct {
        const char *source;
        const char *want;
        unsigned failures;
        unsigned fallbacks;
        unsigned shortened;
    } cases[] = {
        {"", "", 0, 0, 0},
        {"plain } text { here }}", "plain } text { here }}", 0, 0, 0},
        {"Hello {{ name }}!", "Hello Ada!", 0, 0, 0},
        {"{{name}}{{ name }}{{\nname\n}}", "AdaAdaAda", 0, 0, 0},
        {"{{ link }}", "hxxp://evil[.]com/ ", 0, 0, 0},
        {"{{ unsafe(link) }}", "http://evil.com/\n\xe2\x80\xae", 0, 0, 0},
        {"{{ unsafe ( 'http://a.b' ) }}", "http://a.b", 0, 0, 0},
        {"{{ unsafe(broken) }}", "a" FFFD "b", 0, 0, 0},
        {"{{ broken }}", "a" FFFD "b", 0, 0, 0},
        {"{{ number + 1 }}", "6", 0, 0, 0},
        {"{{ none }}", "", 0, 0, 0},
        {"{{ none ?? 'nobody' }}", "nobody", 0, 1, 0},
        {"{{ name ?? 'nobody' }}", "Ada", 0, 0, 0},
        {"{{ empty ?? 'nobody' }}", "", 0, 0, 0},
        {"{{ 1 / 0 }}", "?", 1, 0, 0},
        {"{{ 1 / 0 ?? 'zero' }}", "zero", 0, 1, 0},
        {"{{ 1 / 0 ?? 'https://status.example.com/x' }}", "https://status.example.com/x", 0, 1, 0},
        {"{{ 1 / 0 ?? link }}", "hxxp://evil[.]com/ ", 0, 1, 0},
        {"{{ 1 / 0 ?? none ?? name }}", "Ada", 0, 1, 0},
        {"{{ 1 / 0 ?? none }}", "", 0, 1, 0},
        {"{{ 1 / 0 ?? 2 / 0 }}", "?", 1, 0, 0},
        {"{{ number > 3 ? 'many' : 'few' }}", "many", 0, 0, 0},
        {"{{ '?\?' }}{{ \"a ?? b\" }}{{ r'\\' ?? 'x' }}", "?\?a ?? b\\", 0, 0, 0},
        {"{{ '}}' }}{{ '{{' }}", "}}{{", 0, 0, 0},
        {"{{ {'a': {'b': 1}}.a.b }}", "1", 0, 0, 0},
        {"{{ {'a': {'b': 1}} }}", "{\"a\":{\"b\":1}}", 0, 0, 0},
        {"{{ '''it's }} ''' }}|", "it's }} |", 0, 0, 0},
        {"{{ [1, 2] }}", "[1,2]", 0, 0, 0},
        {"{{ name // it's a name }}\n }}", "Ada", 0, 0, 0},
        {"{{ long_text }}",
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
         0, 0, 1},
    };
    char buffer[4096];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr_template_result result = render(cases[i].source, 0, buffer, sizeof buffer);
        if (strcmp(buffer, cases[i].want) != 0)
            fail_msg("%s: '%s' instead of '%s'", cases[i].source, buffer, cases[i].want);
        assert_int_equal(result.failures, cases[i].failures);
        assert_int_equal(result.fallbacks, cases[i].fallbacks);
        assert_int_equal(result.shortened, cases[i].shortened);
        assert_false(result.truncated);
        assert_int_equal(result.failure[0] != '\0', cases[i].failures > 0);
    }
    struct expr_template_result result = render("{{ long_text }}", 10, buffer, sizeof buffer);
    assert_int_equal(result.length, 10);
    result = render("{{ 1 / 0 }}{{ name + 1 }}", 10, buffer, sizeof buffer);
    assert_string_equal(result.failure, "divide by zero");
}

/* What is harmless alone and not beside its neighbour; what the operator wrote stays a link. */
static void test_seams(void **state)
{
    static const struct {
        const char *source;
        const char *want;
    } cases[] = {
        {"{{ http }}{{ slashes }}", "hxxp://evil[.]com"},
        {"{{ 'ht' }}{{ 'tp:' }}{{ '//' }}{{ evil }}", "hxxp://evil"},
        {"ht{{ 'tp://x' }}", "http[:]//x"},
        {"http{{ '://' }}x", "http[:]//x"},
        {"h{{ 'ttp:x' }}", "hxxp:x"},
        {"http:{{ slashes }}", "hxxp://evil[.]com"},
        {"{{ unsafe('http:') }}{{ slashes }}", "hxxp://evil[.]com"},
        {"{{ evil }}{{ dotcom }}", "evil[.]com"},
        {"{{ evil }}.{{ com }}", "evil[.]com"},
        {"{{ evil }}.{{ evil }}/x", "evil[.]evil/x"},
        {"see www.{{ evil }} now", "see www[.]evil now"},
        {"see {{ evil }}{{ dotcom }} and {{ evil }}{{ dotcom }}!", "see evil[.]com and evil[.]com!"},
        {"te{{ phone }}", "tel[:]+48500"},
        {"tel:{{ id }}", "tel[:]66f7"},
        {"{{ name }}{{ at }}", "Ada@evil[.]com"},
        {"https://intra.example.com{{ at }}/x", "hxxps://intra.example.com@evil[.]com/x"},
        {"https://intra.example.com{{ dotcom }}", "hxxps://intra[.]example[.]com[.]com"},
        {"https://{{ evil }}/x", "hxxps://evil/x"},
        {"https://{{ number }}:8080/x", "hxxps://5:8080/x"},
        {"https:\\\\{{ evil }}", "hxxps:\\\\evil"},
        {"10.0.0.{{ number }}", "10[.]0[.]0[.]5"},
        {"{{ number }}.0.0.1", "5[.]0[.]0[.]1"},
        {"ssh://{{ evil }}", "ssh[:]//evil"},
        /* his own */
        {"https://intra.example.com/{{ id }}", "https://intra.example.com/66f7"},
        {"(https://intra.example.com/t/{{ id }}?by={{ name }}#x)",
         "(https://intra.example.com/t/66f7?by=Ada#x)"},
        {"https://{{ evil }}.example.com:8080/{{ id }}", "https://evil.example.com:8080/66f7"},
        {"https://{{ name }}@intra.example.com/", "https://Ada@intra.example.com/"},
        {"ssh://intra/{{ id }}", "ssh://intra/66f7"},
        {"www.example.com/{{ id }}", "www.example.com/66f7"},
        {"10.0.0.1/{{ id }}", "10.0.0.1/66f7"},
        {"tel:+48500500500 {{ id }}", "tel:+48500500500 66f7"},
        {"{{ unsafe('https://x.example.com/') }}{{ id }}", "https://x.example.com/66f7"},
        {"{{ 1 / 0 ?? 'https://x.example.com/' }}{{ id }}", "https://x.example.com/66f7"},
        /* no word in common */
        {"{{ evil }}\n{{ dotcom }}", "evil\n.com"},
        {"{{ http }} {{ slashes }}", "hxxp: //evil[.]com"},
        {"{{ name }}, {{ name }}. {{ evil }}?", "Ada, Ada. evil?"},
        {"{{ 'report.pdf' }}, {{ name }}", "report.pdf, Ada"},
        /* lists are written to a depth, and cleaned like all */
        {"{{ deep }}", "?"},
        {"{{ [link, {'a': http}] }}", "[\"hxxp://evil[.]com/\\n\",{\"a\":\"hxxp:\"}]"},
    };
    char buffer[4096];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        render(cases[i].source, 0, buffer, sizeof buffer);
        if (strcmp(buffer, cases[i].want) != 0)
            fail_msg("%s: '%s' instead of '%s'", cases[i].source, buffer, cases[i].want);
    }
    /* no end of the buffer makes a link, nor is more written than it holds */
    for (size_t size = 1; size < 64; size++) {
        buffer[size] = 'Z';
        render("go {{ 'evil.communications' }} {{ evil }}{{ dotcom }} {{ evil }}{{ dotcom }}", 0, buffer,
               size);
        assert_int_equal(buffer[size], 'Z');
        expect_harmless(buffer, size);
    }
}

/* A message still comes out when there is no memory for what it would insert. */
static void test_no_memory(void **state)
{
    struct expr_arena *arena = expr_arena_new(4096);
    struct expr_activation activation = {0};
    struct expr_template *tmpl = expr_template_compile("a {{ 1 ?? 'x' }} b", 18, NULL, NULL);
    char *buffer = malloc(65536);
    (void)state;
    assert_non_null(tmpl);
    assert_non_null(buffer);
    struct expr_template_result result = expr_template_render(tmpl, &activation, arena, 0, buffer, 65536);
    assert_string_equal(buffer, "a ? b");
    assert_int_equal(result.failures, 1);
    assert_memory_equal(result.failure, "out of memory", 13);
    free(buffer);
    expr_template_free(&tmpl);
    expr_arena_free(&arena);
}

/* Every size of buffer: as much as fits, ended between code points. */
static void test_buffer(void **state)
{
    char buffer[64];
    (void)state;
    for (size_t size = 1; size <= sizeof buffer; size++) {
        memset(buffer, 'Z', sizeof buffer);
        struct expr_template_result result = render("zażółć {{ name }} \xf0\x9f\x98\x80", 0, buffer, size);
        assert_true(result.length < size);
        assert_int_equal(result.truncated, size < 20);
        assert_true(size == sizeof buffer || buffer[size] == 'Z');
        assert_memory_equal(buffer, "zażółć Ada \xf0\x9f\x98\x80", result.length);
        assert_true(result.length == 0 ||
                    ((unsigned char)"zażółć Ada \xf0\x9f\x98\x80"[result.length] & 0xC0) != 0x80);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *source;
        unsigned line;
        unsigned column;
        const char *message;
    } cases[] = {
        {"Hello {{ name", 1, 7, "}} is missing"},
        {"Hello {{ 'name }}", 1, 7, "}} is missing"},
        {"a\n {{ nam }}", 2, 5, "did you mean 'name'"},
        {"{{ }}", 1, 3, "an expression"},
        {"{{ name ?? }}", 1, 11, "an expression"},
        {"{{ name name }}", 1, 9, "an operator expected"},
        {"{{ 'a' + unsafe(name) }}", 1, 3, "unsafe(...) must be around the whole"},
        {"{{ unsafe(unsafe(name)) }}", 1, 3, "unsafe(...) must be around the whole"},
        {"{{ [1].map(x, unsafe(x)) }}", 1, 3, "unsafe(...) must be around the whole"},
        {"{{ unsafe(name).size() }}", 1, 3, "unsafe(...) must be around the whole"},
        {"{{ unsafe() }}", 1, 11, "a value expected"},
        {"{{ a ?? b ?? c ?? d ?? e }}", 1, 4, "unknown name"},
        {"{{ 1 ?? 2 ?? 3 ?? 4 ?? 5 }}", 1, 23, "more than three ??"},
    };
    struct expr_env env = {.variables = names, .variable_count = NAMES};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr_error error;
        assert_null(expr_template_compile(cases[i].source, strlen(cases[i].source), &env, &error));
        if (strstr(error.message, cases[i].message) == NULL || error.line != cases[i].line ||
            error.column != cases[i].column)
            fail_msg("%s: %u:%u %s", cases[i].source, error.line, error.column, error.message);
        assert_null(expr_template_compile(cases[i].source, strlen(cases[i].source), &env, NULL));
    }
    char *many = calloc(1, 16 * (EXPR_TEMPLATE_INSERTIONS + 1));
    for (size_t i = 0; i <= EXPR_TEMPLATE_INSERTIONS; i++)
        strcat(many, "{{ name }}");
    struct expr_error error;
    assert_null(expr_template_compile(many, strlen(many), &env, &error));
    assert_non_null(strstr(error.message, "at most 64"));
    free(many);
    assert_null(expr_compile("unsafe(name)", 12, &env, &error));
    assert_non_null(strstr(error.message, "unknown function"));
}

static void test_uses(void **state)
{
    struct expr_env env = {.variables = names, .variable_count = NAMES};
    struct expr_template *tmpl = expr_template_compile("{{ name }} {{ 1 ?? link }}", 26, &env, NULL);
    (void)state;
    assert_non_null(tmpl);
    assert_true(expr_template_uses_slot(tmpl, 0));
    assert_true(expr_template_uses_slot(tmpl, 1));
    assert_false(expr_template_uses_slot(tmpl, 2));
    assert_false(expr_template_uses_function(tmpl, "members"));
    expr_template_free(&tmpl);
    expr_template_free(&tmpl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),  cmocka_unit_test(test_cut),    cmocka_unit_test(test_random_clean),
        cmocka_unit_test(test_render), cmocka_unit_test(test_buffer), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_uses),   cmocka_unit_test(test_seams),  cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
