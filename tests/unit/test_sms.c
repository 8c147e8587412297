/* links: text expr core */
/*
 * SMS parts and the form of a text that costs least, against a counter of the test's own.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <string.h>

#include "core/str.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/text/gsm.h"
#include "dispatcher/text/sms.h"

/* ---- An independent counter ------------------------------------------------------------------ */

/* The alphabet as the standard prints it, row by row; and the extension. */
static const char alphabet[] =
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMN"
    "OPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
static const char extension[] = "\f^{}\\[~]|€";

/* Whether a character is one of a text. */
static bool holds(const char *text, uint32_t code)
{
    size_t used = 0;
    for (size_t i = 0; i < strlen(text); i += used)
        if (text_decode(text + i, strlen(text) - i, &used) == code)
            return true;
    return false;
}

struct count {
    bool unicode;
    size_t units;
    size_t parts;
};

/* Writes the text as the bytes of a message (septets one in a byte) and cuts those into parts. */
static struct count count_by_hand(const char *text, size_t len)
{
    static unsigned char octets[65536];
    struct count result = {false, 0, 1};
    size_t used = 0;
    for (size_t i = 0; i < len; i += used) {
        uint32_t code = text_decode(text + i, len - i, &used);
        if (!holds(alphabet, code) && !holds(extension, code))
            result.unicode = true;
    }
    size_t n = 0;
    for (size_t i = 0; i < len; i += used) {
        uint32_t code = text_decode(text + i, len - i, &used);
        bool pair = result.unicode ? code != TEXT_INVALID && code > 0xFFFF : holds(extension, code);
        octets[n++] = pair ? 1 : 0; /* 1: the first half of what must stay together */
        if (pair)
            octets[n++] = 2;
    }
    size_t single = result.unicode ? 70 : 160;
    size_t joined = result.unicode ? 67 : 153;
    result.units = n;
    if (n <= single)
        return result;
    result.parts = 0;
    for (size_t at = 0; at < n; result.parts++) {
        size_t end = at + joined < n ? at + joined : n;
        at = end < n && octets[end] == 2 ? end - 1 : end;
    }
    return result;
}

static void expect_measure(const char *text, size_t len)
{
    struct count want = count_by_hand(text, len);
    struct sms_size got = sms_measure(text, len);
    if ((got.encoding == SMS_UCS2) != want.unicode || got.units != want.units || got.parts != want.parts)
        fail_msg("%s %zu/%zu, by hand %zu/%zu: %.*s", sms_encoding_name(got.encoding), got.units, got.parts,
                 want.units, want.parts, (int)len, text);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static void test_alphabet(void **state)
{
    size_t known = 0;
    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        unsigned want = code >= 0x3000 ? 0 : holds(alphabet, code) ? 1 : holds(extension, code) ? 2 : 0;
        known += want > 0;
        if (gsm_weight(code) != want)
            fail_msg("U+%04X: %u instead of %u", code, gsm_weight(code), want);
    }
    assert_int_equal(known, 127 + 10);
}

/* A text of `before` letters a, then `unit`, then `after` letters. */
static const char *around(size_t before, const char *unit, size_t after)
{
    static char text[4096];
    memset(text, 'a', before);
    strcpy(text + before, unit);
    memset(text + before + strlen(unit), 'a', after);
    text[before + strlen(unit) + after] = '\0';
    return text;
}

static void test_measure(void **state)
{
    static const struct {
        size_t before;
        const char *unit;
        size_t after;
        enum sms_encoding encoding;
        size_t units;
        size_t parts;
        size_t room;
    } cases[] = {
        {0, "", 0, SMS_GSM7, 0, 1, 160},
        {160, "", 0, SMS_GSM7, 160, 1, 0},
        {161, "", 0, SMS_GSM7, 161, 2, 145},
        {306, "", 0, SMS_GSM7, 306, 2, 0},
        {307, "", 0, SMS_GSM7, 307, 3, 152},
        {159, "€", 0, SMS_GSM7, 161, 2, 145},
        {158, "€", 0, SMS_GSM7, 160, 1, 0},
        {152, "€", 152, SMS_GSM7, 306, 3, 152}, /* a pair that would be split: one part more */
        {151, "€", 153, SMS_GSM7, 306, 2, 0},
        {69, "ą", 0, SMS_UCS2, 70, 1, 0},
        {70, "ą", 0, SMS_UCS2, 71, 2, 63},
        {133, "ą", 0, SMS_UCS2, 134, 2, 0},
        {68, "\U0001F600", 0, SMS_UCS2, 70, 1, 0},
        {66, "\U0001F600", 66, SMS_UCS2, 134, 3, 66},
        {65, "\U0001F600", 67, SMS_UCS2, 134, 2, 0},
        {3, "`", 0, SMS_UCS2, 4, 1, 66},
        {3, "\t", 0, SMS_UCS2, 4, 1, 66},
        {3, "\xff", 0, SMS_UCS2, 4, 1, 66},
        {3, "\r\n\f", 0, SMS_GSM7, 7, 1, 153},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = around(cases[i].before, cases[i].unit, cases[i].after);
        struct sms_size size = sms_measure(text, strlen(text));
        if (size.encoding != cases[i].encoding || size.units != cases[i].units ||
            size.parts != cases[i].parts || size.room != cases[i].room)
            fail_msg("case %zu: %s %zu units, %zu parts, room %zu", i, sms_encoding_name(size.encoding),
                     size.units, size.parts, size.room);
        expect_measure(text, strlen(text));
    }
}

static uint64_t seed = 7;

static size_t any(size_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(seed >> 33) % below;
}

static const char *const pieces[] = {"a",
                                     "word",
                                     " ",
                                     " ",
                                     "\n",
                                     "€",
                                     "[x]",
                                     "{",
                                     "ä",
                                     "ß",
                                     "ą",
                                     "łódź",
                                     "\U0001F600",
                                     "中",
                                     "щ",
                                     "Ї",
                                     "ό",
                                     "Ω",
                                     "e\xcc\x81",
                                     "x\xcc\x82",
                                     "\xcc\x81",
                                     "\xff",
                                     "…",
                                     "„",
                                     "\xc2\xa0",
                                     "`",
                                     "\t",
                                     "12",
                                     "½",
                                     "ﬁ",
                                     "a\xcc\xa3\xcc\x82",
                                     "\U0001F469\u200d\U0001F467",
                                     "\U0001F1F5\U0001F1F1",
                                     "\u0958",
                                     ".",
                                     ",",
                                     "ő"};

/* A random text, of plain letters mostly for some seeds so that parts are filled to the brim. */
static size_t make_text(char *out, size_t size)
{
    size_t kinds = any(4) == 0 ? sizeof pieces / sizeof pieces[0] : 3 + any(10);
    size_t count = any(3) == 0 ? any(700) : any(90);
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        const char *piece = pieces[any(kinds)];
        if (length + strlen(piece) >= size)
            break;
        memcpy(out + length, piece, strlen(piece));
        length += strlen(piece);
    }
    out[length] = '\0';
    return length;
}

static void test_random_measure(void **state)
{
    char text[4096];
    (void)state;
    for (int i = 0; i < 5000; i++)
        expect_measure(text, make_text(text, sizeof text));
}

/* ---- Fitting --------------------------------------------------------------------------------- */

static const char *fit(const char *text, bool transliterate, size_t max_parts, struct sms_fitted *fitted)
{
    static char out[SMS_FITTED_SIZE(4096)];
    struct sms_options options = {transliterate, max_parts};
    sms_fit(text, strlen(text), &options, out, SMS_FITTED_SIZE(strlen(text)), fitted);
    assert_int_equal(strlen(out), fitted->length);
    return out;
}

#define X60 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X150 X60 X60 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define W10 "wwww wwww "
#define W50 W10 W10 W10 W10 W10
#define W150 W50 W50 W50

static void test_plain(void **state)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"Zażółć gęślą jaźń, ŁÓDŹ", "Zazolc gesla jazn, LODZ"},
        {"Příliš žluťoučký kůň, Ďábel", "Prilis zlutoucky kun, Dabel"},
        {"Kŕdeľ ďatľov učí koňa žrať kôru", "Krdel datlov uci kona zrat koru"},
        {"Árvíztűrő tükörfúrógép, Őszi Ű", "Arviztürö tükörfurogép, Öszi Ü"},
        {"Știință și țară, în România", "Stiinta si tara, in Romania"},
        {"İstanbul ığdır şöğüt Ç ç", "Istanbul igdir sögüt Ç c"},
        {"Ąžuolas ėjo, ūkas; ķīniešu ģimene ļoti", "Azuolas ejo, ukas; kiniesu gimene loti"},
        {"Þingvellir ðyrnir ÞAÐ ÁÍ", "Thingvellir dyrnir THAD AI"},
        {"Đorđe žđćčš", "Dorde zdccs"},
        {"Trường đại học Việt Nam ợ Ữ", "Truong dai hoc Viet Nam o U"},
        {"Œuvre naïve: fête, où, déjà — «été»…", "Oeuvre naive: fete, où, déjà - \"été\"..."},
        {"Größe, Äpfel, Übung ẞ", "Größe, Äpfel, Übung SS"},
        {"¡Niño! ¿Qué? ŀ ª", "¡Niño! ¿Qué? l. a"},
        {"„A” ‚b’ ‹c› – — − ‑ …", "\"A\" ,b' 'c' - - - - ..."},
        {"a\xc2\xa0"
         "b\xe2\x80\x89"
         "c\xe3\x80\x80"
         "d\xe2\x80\xaf!",
         "a b c d !"},
        {"1½ ½ x² 20 °C ±5 ≤ ≥ ≠ → ×", "1 1/2 1/2 x2 20 degC +-5 <= >= != -> x"},
        {"5 zł, 10 €, 7 ₴, 8 ₽, £3, ¥4", "5 zl, 10 €, 7 UAH, 8 RUB, £3, ¥4"},
        {"ﬁn ＡＢＣ １２ № ™ © \xf0\x9d\x90\x80", "fin ABC 12 No TM (C) A"},
        {"`a´ \t|", "'a'  |"},
        {"Київ, Згурський, Юлія, її м’яч, Щука ЩУКА, Ґ Є",
         "Kyiv, Zghurskyi, Yuliia, yii m'yach, Shchuka SHCHUKA, G Ye"},
        {"Съешь ещё этих, Юг, ХАРЬКОВ, Хор", "Sesh eshchyo etikh, Yug, KHARKOV, Khor"},
        {"Сёння ў Мінску гарадок", "Syonnya u Minsku haradok"},
        {"България, гълъб, щастие, Хасково", "Balgariya, galab, shtastie, Haskovo"},
        {"Ђурђевак, љубав, Џон, чекић, Његош", "Djurdjevak, ljubav, Dzon, cekic, Njegos"},
        {"Γειά σου Ευρώπη, ευχαριστώ αυτό, Άγγελος Δ", "Geia sou Evropi, efcharisto afto, Angelos D"},
        {"ΚΑΛΗΜΕΡΑ Θέλω", "KALIMERA Thelo"},
        {"Δ = 5, ą", "Δ = 5, a"},
        {"\xef\xbf\xbd\xff", "??"},
        {"a\xe2\x80\x8b\xef\xbb\xbf\xc2\xad"
         "b",
         "ab"},
        {"x\xcc\x82 e\xcc\x81", "x é"},
    };
    char text[1024];
    char want[1024];
    struct sms_fitted fitted;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text, "%s " X60 "xxxxxxxxxx", cases[i].text);
        snprintf(want, sizeof want, "%s " X60 "xxxxxxxxxx", cases[i].want);
        const char *got = fit(text, true, 0, &fitted);
        if (strcmp(got, want) != 0)
            fail_msg("'%s': '%s' instead of '%s'", text, got, want);
        assert_true(fitted.transliterated && !fitted.trimmed);
        assert_int_equal(fitted.size.parts, 1);
        assert_int_equal(fitted.size.encoding, SMS_GSM7);
    }
}

/* The letters of European languages and Vietnamese: each has a plain form. */
static void test_plain_letters(void **state)
{
    static const char letters[] = "ĀāĂăĄąĆćĈĉĊċČčĎďĐđĒēĔĕĖėĘęĚěĜĝĞğĠġĢģĤĥĦħĨĩĪīĬĭĮįİıĲĳĴĵĶķĸĹĺĻļĽľĿŀŁłŃńŅņŇňŉ"
                                  "ŊŋŌōŎŏŐőŒœŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŦŧŨũ"
                                  "ŪūŬŭŮůŰűŲųŴŵŶŷŸŹźŻżŽžÀÁÂÃÈÊËÌÍÎÏÐÒÓÔÕÙÚÛÝÞáâãçêëíîïðóôõúûýþÿȘșȚțơưẀẁẂẃẄẅạả"
                                  "ấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữự"
                                  "ỳỵỷỹ";
    size_t used = 0;
    struct sms_fitted fitted;
    char text[128];
    (void)state;
    for (size_t i = 0; i < strlen(letters); i += used) {
        text_decode(letters + i, strlen(letters) - i, &used);
        snprintf(text, sizeof text, "%.*s" X60 "xxxxxxxxxxx", (int)used, letters + i);
        const char *got = fit(text, true, 0, &fitted);
        if (fitted.size.encoding != SMS_GSM7 || got[0] == 'x' || got[0] == '?')
            fail_msg("%.*s has no plain form: %s", (int)used, letters + i, got);
    }
}

static void test_fit(void **state)
{
    static const struct {
        const char *text;
        bool transliterate;
        size_t max_parts;
        const char *want;
        size_t parts;
        bool transliterated;
        bool trimmed;
    } cases[] = {
        {"", true, 1, "", 1, false, false},
        /* only where it saves a part, and only if it may */
        {"łódź", true, 0, "łódź", 1, false, false},
        {"łódź " X60 "xxxxxx", true, 0, "lodz " X60 "xxxxxx", 1, true, false},
        {"łódź " X60 "xxxxxx", false, 0, "łódź " X60 "xxxxxx", 2, false, false},
        {"łódź " X60 "xxxxxx", true, 1, "lodz " X60 "xxxxxx", 1, true, false},
        {"“quoted” " X60 "x", true, 0, "“quoted” " X60 "x", 1, false, false},
        {"“quoted” " X60 "xx", true, 0, "\"quoted\" " X60 "xx", 1, true, false},
        /* what has no plain form makes the rest useless */
        {"łódź \U0001F600 " X60 "xxxxxx", true, 0, "łódź \U0001F600 " X60 "xxxxxx", 2, false, false},
        {"東京 ą " X60 X60, true, 0, "東京 ą " X60 X60, 2, false, false},
        /* composed before it is counted */
        {"e\xcc\x81 a\xcc\x88 A\xcc\x8a \xe2\x84\xa6 " X60 X60, false, 0, "é ä Å Ω " X60 X60, 1, false,
         false},
        {"z\xcc\x87", false, 0, "ż", 1, false, false},
        {"a\xcc\x82\xcc\xa3", false, 0, "ậ", 1, false, false},
        {"\u0958", false, 0, "\u0958", 1, false, false},
        /* trimmed behind a word */
        {W150 W10 "w", false, 1, W150 "wwww...", 1, false, true},
        {W150 "wwww, wwww wwww", false, 1, W150 "wwww...", 1, false, true},
        {W150 W150 W10, false, 2, W150 W50 W50 W10 W10 W10 W10 "wwww wwww...", 2, false, true},
        {X150 "xxxxx xxxxx", false, 1, X150 "xxxxx...", 1, false, true},
        {X150 "xxxxxxxxxxxxxxx", false, 1, X150 "xxxxxxx...", 1, false, true},
        {"ą " W50 W10 W10 "w", false, 1, "ą " W50 W10 "wwww…", 1, false, true},
        {"ą " W50 W10 W10 "w", true, 1, "a " W50 W10 W10 "w", 1, true, false},
        {"ą " W150 W10, true, 1, "a " W150 "wwww...", 1, true, true},
        /* an emoji at the end does not make the rest expensive when it is cut off anyway */
        {W50 W50 W10 "\U0001F600 end", false, 1, W50 W50 "wwww wwww...", 1, false, true},
        {W50 W10 "\U0001F600 " W50, false, 1, W50 W10 "\U0001F600 wwww…", 1, false, true},
        /* nothing that is seen as one is split */
        {X60 "xxxxxxxx\U0001F469\u200d\U0001F467ą", false, 1, X60 "xxxxxxxx...", 1, false, true},
        {"ą" X60 "xxxxxxx\U0001F600\U0001F600", false, 1, "ą" X60 "xxxxxxx…", 1, false, true},
        {"ą" X60 "xxxxxxx\U0001F1F5\U0001F1F1ą", false, 1, "ą" X60 "xxxxxxx…", 1, false, true},
        {"ą" X60 "xxxxxxxq\xcc\x82\xcc\x83z", false, 1, "ą" X60 "xxxxxxx…", 1, false, true},
    };
    struct sms_fitted fitted;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = fit(cases[i].text, cases[i].transliterate, cases[i].max_parts, &fitted);
        if (strcmp(got, cases[i].want) != 0 || fitted.size.parts != cases[i].parts ||
            fitted.transliterated != cases[i].transliterated || fitted.trimmed != cases[i].trimmed)
            fail_msg("case %zu: %zu parts, %d %d: '%s' instead of '%s'", i, fitted.size.parts,
                     fitted.transliterated, fitted.trimmed, got, cases[i].want);
    }
}

#define Z10 "жжжжжжжжжж"
#define Z30 Z10 Z10 Z10

/* Links stay what they are, and nothing becomes one. */
static void test_links(void **state)
{
    static const struct {
        const char *text;
        bool transliterate;
        size_t max_parts;
        const char *want;
        bool transliterated;
    } cases[] = {
        {"łódź https://a.example/x " W50 "w", true, 0, "lodz https://a.example/x " W50 "w", true},
        {"łódź https://a.example/ścieżka " W50 "w", true, 0, "łódź https://a.example/ścieżka " W50 "w",
         false},
        {"https://пример.рф/ " W50 W10, true, 0, "https://пример.рф/ " W50 W10, false},
        {"łódź evil[.]com hxxp://x " W50 "w", true, 0, "lodz evil[.]com hxxp://x " W50 "w", true},
        /* points, slashes and letters that are none yet */
        {"ą evil·com " W50 W10 "w", true, 0, "ą evil·com " W50 W10 "w", false},
        {"ą http\uff1a//x " W50 W10 "w", true, 0, "ą http\uff1a//x " W50 W10 "w", false},
        {"ја хттп:x " W50 W10 "w", true, 0, "ја хттп:x " W50 W10 "w", false},
        {"ą evil.unknown\uff0fx " W50 W10 "w", true, 0, "ą evil.unknown\uff0fx " W50 W10 "w", false},
        {"ą \uff57\uff57\uff57.evil " W50 W10 "w", true, 0, "ą \uff57\uff57\uff57.evil " W50 W10 "w", false},
        {"ą evil\u20d0.com " W50 W10 "w", true, 0, "ą evil\u20d0.com " W50 W10 "w", false},
        /* cut before a link, not within */
        {W50 W50 W10 "https://a.example/" X60, false, 1, W50 W50 "wwww wwww...", false},
        {X150 "evil.community" X60, false, 1, X150 "evil...", false},
        {X60 X60 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example" X60, false, 1, X150 ".exampl...", false},
        {"https://a.example/" X150, false, 1, "https...", false},
        /* of one that is all there is nothing is left, but the telephone rings */
        {Z30 "." Z30 Z30, false, 1, "...", false},
    };
    struct sms_fitted fitted;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = fit(cases[i].text, cases[i].transliterate, cases[i].max_parts, &fitted);
        if (strcmp(got, cases[i].want) != 0 || fitted.transliterated != cases[i].transliterated)
            fail_msg("case %zu: %d '%s' instead of '%s'", i, fitted.transliterated, got, cases[i].want);
    }
}

/* What holds of every text and every way to fit it. */
static void test_random_fit(void **state)
{
    char text[4096];
    char out[SMS_FITTED_SIZE(sizeof text)];
    (void)state;
    for (int i = 0; i < 10000; i++) {
        size_t length = make_text(text, sizeof text);
        struct sms_options options = {any(2), any(5)};
        size_t size = any(8) == 0 ? 1 + any(300) : SMS_FITTED_SIZE(length);
        struct sms_fitted fitted;
        sms_fit(text, length, &options, out, size, &fitted);
        struct sms_size before = sms_measure(text, length);
        struct sms_size after = sms_measure(out, fitted.length);
        assert_true(fitted.length < size && strlen(out) == fitted.length);
        assert_true(str_utf8_valid(out, fitted.length));
        assert_true(after.encoding == fitted.size.encoding && after.units == fitted.size.units);
        assert_true(after.parts == fitted.size.parts && after.room == fitted.size.room);
        assert_true(after.parts <= before.parts);
        assert_true(options.max_parts == 0 || after.parts <= options.max_parts);
        assert_true(options.transliterate || !fitted.transliterated);
        assert_true(size < SMS_FITTED_SIZE(length) || !fitted.trimmed || options.max_parts > 0);
        assert_true(size < SMS_FITTED_SIZE(length) || before.units == 0 || fitted.length > 0);
        expect_measure(out, fitted.length);
    }
}

/* Every size of buffer: the text ends between characters. */
static void test_buffer(void **state)
{
    static const char text[] = "zażółć e\xcc\x81 \U0001F600!";
    struct sms_options options = {false, 0};
    char out[64];
    (void)state;
    for (size_t size = 1; size <= sizeof out; size++) {
        struct sms_fitted fitted;
        memset(out, 'Z', sizeof out);
        sms_fit(text, strlen(text), &options, out, size, &fitted);
        assert_true(fitted.length < size && str_utf8_valid(out, fitted.length));
        assert_int_equal(fitted.trimmed, size < strlen("zażółć é \U0001F600!") + 1);
        assert_true(size == sizeof out || out[size] == 'Z');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alphabet),       cmocka_unit_test(test_measure),
        cmocka_unit_test(test_random_measure), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_plain_letters),  cmocka_unit_test(test_fit),
        cmocka_unit_test(test_links),          cmocka_unit_test(test_random_fit),
        cmocka_unit_test(test_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
