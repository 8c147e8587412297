#include "dispatcher/text/plain.h"

#include <string.h>
#include <utf8proc.h>

#include "dispatcher/expr/text.h"
#include "dispatcher/text/gsm.h"

/* ---- Characters ------------------------------------------------------------------------------ */

static uint32_t lower(uint32_t code)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

static bool is_capital(uint32_t code)
{
    return code != 0 && lower(code) != code;
}

static bool is_letter(uint32_t code)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_greek(uint32_t code)
{
    return (code >= 0x370 && code <= 0x3FF) || (code >= 0x1F00 && code <= 0x1FFF);
}

/* The small letter without its marks. */
static uint32_t base_of(uint32_t code)
{
    utf8proc_int32_t codes[PLAIN_CODES];
    int last = 0;
    utf8proc_ssize_t count = utf8proc_decompose_char((utf8proc_int32_t)code, codes, PLAIN_CODES,
                                                     UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &last);
    return count > 0 ? lower((uint32_t)codes[0]) : code;
}

/* ---- What a text is written in --------------------------------------------------------------- */

/* Letters that only some languages have. */
static const struct {
    uint32_t code;
    enum plain_cyrillic cyrillic;
} telling[] = {
    {0x0456, PLAIN_UKRAINIAN},  /* і, in Belarusian too */
    {0x0457, PLAIN_UKRAINIAN},  /* ї */
    {0x0454, PLAIN_UKRAINIAN},  /* є */
    {0x0491, PLAIN_UKRAINIAN},  /* ґ */
    {0x045E, PLAIN_BELARUSIAN}, /* ў */
    {0x044B, PLAIN_RUSSIAN},    /* ы, in Belarusian too */
    {0x044D, PLAIN_RUSSIAN},    /* э, in Belarusian too */
    {0x0451, PLAIN_RUSSIAN},    /* ё, in Belarusian too */
    {0x0452, PLAIN_SERBIAN},    /* ђ */
    {0x0453, PLAIN_SERBIAN},    /* ѓ */
    {0x0455, PLAIN_SERBIAN},    /* ѕ */
    {0x0458, PLAIN_SERBIAN},    /* ј */
    {0x0459, PLAIN_SERBIAN},    /* љ */
    {0x045A, PLAIN_SERBIAN},    /* њ */
    {0x045B, PLAIN_SERBIAN},    /* ћ */
    {0x045C, PLAIN_SERBIAN},    /* ќ */
    {0x045F, PLAIN_SERBIAN},    /* џ */
};

#define HARD_SIGN 0x044Au

/* Russian has the hard sign only before these, Bulgarian as a vowel of its own. */
static bool softens(uint32_t code)
{
    return code == 0x0435 || code == 0x0451 || code == 0x044E || code == 0x044F; /* е ё ю я */
}

static enum plain_cyrillic judge(const bool seen[], bool hard_vowel)
{
    if (seen[PLAIN_BELARUSIAN] || (seen[PLAIN_UKRAINIAN] && seen[PLAIN_RUSSIAN]))
        return PLAIN_BELARUSIAN;
    if (seen[PLAIN_UKRAINIAN])
        return PLAIN_UKRAINIAN;
    if (seen[PLAIN_SERBIAN])
        return PLAIN_SERBIAN;
    return hard_vowel && !seen[PLAIN_RUSSIAN] ? PLAIN_BULGARIAN : PLAIN_RUSSIAN;
}

struct plain_script plain_script_of(const char *text, size_t len)
{
    struct plain_script script = {false, PLAIN_RUSSIAN};
    bool seen[PLAIN_SERBIAN + 1] = {false};
    bool hard_vowel = false;
    uint32_t before = 0;
    size_t used = 0;
    for (size_t at = 0; at < len; at += used) {
        uint32_t code = text_decode(text + at, len - at, &used);
        if (code < 0x300 || code == TEXT_INVALID)
            continue;
        script.greek = script.greek || (is_greek(code) && gsm_weight(code) == 0);
        code = lower(code);
        for (size_t i = 0; i < sizeof telling / sizeof telling[0]; i++)
            if (telling[i].code == code)
                seen[telling[i].cyrillic] = true;
        hard_vowel = hard_vowel || (before == HARD_SIGN && !softens(code));
        before = code;
    }
    script.cyrillic = judge(seen, hard_vowel);
    return script;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

#define CYRILLIC_FIRST 0x0430u
#define CYRILLIC_LAST 0x045Fu

/* а to џ, as in Russian where it has the letter. */
static const char *const cyrillic[] = {
    "a", "b",  "v",  "g",  "d", "e",  "zh", "z",  "i",  "y",    "k",  "l", "m",  "n", "o",  "p",
    "r", "s",  "t",  "u",  "f", "kh", "ts", "ch", "sh", "shch", "",   "y", "",   "e", "yu", "ya",
    "e", "yo", "dj", "gj", "e", "dz", "i",  "i",  "j",  "lj",   "nj", "c", "kj", "i", "u",  "dz",
};

/* Where a language reads a letter otherwise; `initial` at the start of a word, NULL: alike. */
static const struct {
    uint32_t code;
    enum plain_cyrillic language;
    const char *text;
    const char *initial;
} variants[] = {
    {0x0433, PLAIN_UKRAINIAN, "h", NULL},   /* г */
    {0x0454, PLAIN_UKRAINIAN, "ie", "ye"},  /* є */
    {0x0438, PLAIN_UKRAINIAN, "y", NULL},   /* и */
    {0x0457, PLAIN_UKRAINIAN, "i", "yi"},   /* ї */
    {0x0439, PLAIN_UKRAINIAN, "i", "y"},    /* й */
    {0x044E, PLAIN_UKRAINIAN, "iu", "yu"},  /* ю */
    {0x044F, PLAIN_UKRAINIAN, "ia", "ya"},  /* я */
    {0x0433, PLAIN_BELARUSIAN, "h", NULL},  /* г */
    {0x0445, PLAIN_BULGARIAN, "h", NULL},   /* х */
    {0x0449, PLAIN_BULGARIAN, "sht", NULL}, /* щ */
    {0x044A, PLAIN_BULGARIAN, "a", NULL},   /* ъ */
    {0x044C, PLAIN_BULGARIAN, "y", NULL},   /* ь */
    {0x0436, PLAIN_SERBIAN, "z", NULL},     /* ж */
    {0x0445, PLAIN_SERBIAN, "h", NULL},     /* х */
    {0x0446, PLAIN_SERBIAN, "c", NULL},     /* ц */
    {0x0447, PLAIN_SERBIAN, "c", NULL},     /* ч */
    {0x0448, PLAIN_SERBIAN, "s", NULL},     /* ш */
};

#define GREEK_FIRST 0x03B1u
#define GREEK_LAST 0x03C9u

/* α to ω. */
static const char *const greek[] = {
    "a", "v", "g", "d", "e", "z", "i", "th", "i", "k",  "l",  "m", "n",
    "x", "o", "p", "r", "s", "s", "t", "y",  "f", "ch", "ps", "o",
};

/* Letters that are not made of another one and a mark, and signs; small letters only, ascending. */
static const struct {
    uint32_t code;
    const char *text;
} others[] = {
    {0x0009, " "},   {0x000B, "\n"},   {0x0060, "'"},   {0x0085, "\n"},  {0x00A2, "c"},   {0x00A6, "|"},
    {0x00A9, "(C)"}, {0x00AB, "\""},   {0x00AE, "(R)"}, {0x00B0, "deg"}, {0x00B1, "+-"},  {0x00B4, "'"},
    {0x00B5, "u"},   {0x00B7, "."},    {0x00BB, "\""},  {0x00D7, "x"},   {0x00F0, "d"},   {0x00F7, "/"},
    {0x00FE, "th"},  {0x0111, "d"},    {0x0127, "h"},   {0x0131, "i"},   {0x0138, "k"},   {0x0142, "l"},
    {0x014B, "ng"},  {0x0151, "ö"},    {0x0153, "oe"},  {0x0167, "t"},   {0x0171, "ü"},   {0x017F, "s"},
    {0x0180, "b"},   {0x0192, "f"},    {0x0199, "k"},   {0x01B6, "z"},   {0x01DD, "e"},   {0x01E5, "g"},
    {0x0237, "j"},   {0x0253, "b"},    {0x0254, "o"},   {0x0256, "d"},   {0x0257, "d"},   {0x0259, "e"},
    {0x025B, "e"},   {0x0268, "i"},    {0x0289, "u"},   {0x02B9, "'"},   {0x02BB, "'"},   {0x02BC, "'"},
    {0x02BD, "'"},   {0x02C6, "^"},    {0x02C8, "'"},   {0x02CA, "'"},   {0x02CB, "'"},   {0x02DC, "~"},
    {0x0491, "g"},   {0x0493, "gh"},   {0x049B, "q"},   {0x04A3, "ng"},  {0x04AF, "u"},   {0x04B1, "u"},
    {0x04BB, "h"},   {0x04D9, "a"},    {0x04E9, "o"},   {0x1E9E, "SS"},  {0x2010, "-"},   {0x2011, "-"},
    {0x2012, "-"},   {0x2013, "-"},    {0x2014, "-"},   {0x2015, "-"},   {0x2018, "'"},   {0x2019, "'"},
    {0x201A, ","},   {0x201B, "'"},    {0x201C, "\""},  {0x201D, "\""},  {0x201E, "\""},  {0x201F, "\""},
    {0x2020, "+"},   {0x2021, "++"},   {0x2022, "*"},   {0x2023, "*"},   {0x2026, "..."}, {0x2028, "\n"},
    {0x2029, "\n"},  {0x2030, "o/oo"}, {0x2032, "'"},   {0x2033, "\""},  {0x2034, "'''"}, {0x2035, "'"},
    {0x2036, "\""},  {0x2039, "'"},    {0x203A, "'"},   {0x2043, "-"},   {0x2044, "/"},   {0x20A6, "NGN"},
    {0x20A9, "KRW"}, {0x20AA, "ILS"},  {0x20AB, "VND"}, {0x20AE, "MNT"}, {0x20B1, "PHP"}, {0x20B4, "UAH"},
    {0x20B8, "KZT"}, {0x20B9, "INR"},  {0x20BA, "TRY"}, {0x20BC, "AZN"}, {0x20BD, "RUB"}, {0x20BE, "GEL"},
    {0x20BF, "BTC"}, {0x2116, "No"},   {0x2190, "<-"},  {0x2192, "->"},  {0x2194, "<->"}, {0x21D0, "<="},
    {0x21D2, "=>"},  {0x2206, "Δ"},    {0x220F, "Π"},   {0x2211, "Σ"},   {0x2212, "-"},   {0x2215, "/"},
    {0x2217, "*"},   {0x2219, "."},    {0x223C, "~"},   {0x2248, "~"},   {0x2260, "!="},  {0x2264, "<="},
    {0x2265, ">="},  {0x22C5, "."},    {0x25AA, "*"},   {0x25CF, "*"},   {0x275B, "'"},   {0x275C, "'"},
    {0x275D, "\""},  {0x275E, "\""},   {0xFFFD, "?"},
};

static const char *other_form(uint32_t code)
{
    for (size_t first = 0, end = sizeof others / sizeof others[0]; first < end;) {
        size_t middle = first + (end - first) / 2;
        if (others[middle].code == code)
            return others[middle].text;
        if (others[middle].code < code)
            first = middle + 1;
        else
            end = middle;
    }
    return NULL;
}

static const char *cyrillic_form(enum plain_cyrillic language, uint32_t code, uint32_t before)
{
    if (code < CYRILLIC_FIRST || code > CYRILLIC_LAST)
        return NULL;
    /* Ukrainian keeps з г apart from ж. */
    if (language == PLAIN_UKRAINIAN && code == 0x0433 && lower(before) == 0x0437)
        return "gh";
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        if (variants[i].code == code && variants[i].language == language)
            return variants[i].initial != NULL && !is_letter(before) ? variants[i].initial : variants[i].text;
    return cyrillic[code - CYRILLIC_FIRST];
}

static bool is_one_of(uint32_t code, const char *letters)
{
    char text[8];
    size_t length = code == 0 ? 0 : text_encode(code, text);
    text[length] = '\0';
    return length > 0 && strstr(letters, text) != NULL;
}

/* The second letter of a pair is read with the first: ου, αυ, ευ, γγ, γχ, γξ. */
static const char *greek_form(uint32_t code, uint32_t before, uint32_t after)
{
    uint32_t base = base_of(code);
    bool trema = is_one_of(code, "ϋΰΫ");
    if (base < GREEK_FIRST || base > GREEK_LAST)
        return NULL;
    if (base == 0x03B3 && is_one_of(base_of(after), "γξχ"))
        return "n";
    if (base == 0x03C5 && !trema && is_one_of(base_of(before), "ο"))
        return "u";
    if (base == 0x03C5 && !trema && is_one_of(base_of(before), "αεη"))
        return after == 0 || !is_greek(after) || is_one_of(base_of(after), "θκξπσςτφχψ") ? "f" : "v";
    return greek[base - GREEK_FIRST];
}

/* ---- Forms ----------------------------------------------------------------------------------- */

struct form {
    uint32_t *out;
    size_t count;
};

static void add_text(struct form *form, const char *text)
{
    size_t len = strlen(text);
    size_t used = 0;
    for (size_t at = 0; at < len && form->count < PLAIN_CODES; at += used)
        form->out[form->count++] = text_decode(text + at, len - at, &used);
}

/* The form of a small letter for a capital: "Shch", or "SHCH" among capitals. */
static void capitalise(struct form *form, uint32_t before, uint32_t after)
{
    bool all = is_capital(after) || (is_capital(before) && !is_letter(after));
    for (size_t i = 0; i < form->count && (i == 0 || all); i++)
        form->out[i] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)form->out[i]);
}

/* What has no part in a plain text: marks, and what is not seen. */
static bool is_left_out(uint32_t code)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
           category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CC;
}

static bool add_simple(struct form *form, uint32_t code)
{
    const char *text = other_form(code);
    if (gsm_weight(code) > 0 && form->count < PLAIN_CODES)
        form->out[form->count++] = code;
    else if (text != NULL)
        add_text(form, text);
    else if (utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_ZS)
        add_text(form, " ");
    else
        return is_left_out(code);
    return form->count < PLAIN_CODES;
}

/* By taking the character apart: a letter and its marks, a ligature, a fraction. */
static bool add_parts(struct form *form, uint32_t code, uint32_t before)
{
    utf8proc_int32_t parts[PLAIN_CODES];
    int last = 0;
    utf8proc_ssize_t count =
        utf8proc_decompose_char((utf8proc_int32_t)code, parts, PLAIN_CODES,
                                UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &last);
    if (count <= 0 || count > PLAIN_CODES || (count == 1 && (uint32_t)parts[0] == code))
        return false;
    /* One and a half is no eleven halves. */
    if (count > 2 && parts[1] == 0x2044 && before >= '0' && before <= '9')
        add_text(form, " ");
    for (utf8proc_ssize_t i = 0; i < count; i++)
        if (!add_simple(form, (uint32_t)parts[i]))
            return false;
    return true;
}

bool plain_form(const struct plain_script *script, uint32_t code, uint32_t before, uint32_t after,
                uint32_t out[PLAIN_CODES], size_t *count)
{
    struct form form = {out, 0};
    uint32_t small = lower(code);
    bool replaced = script->greek && is_greek(code);
    bool good = true;
    const char *text = NULL;
    if (gsm_weight(code) == 0 || replaced) {
        text = cyrillic_form(script->cyrillic, small, before);
        text = text == NULL && is_greek(code) ? greek_form(code, before, after) : text;
        text = text == NULL ? other_form(code) : text;
        text = text == NULL && small != code ? other_form(small) : text;
    }
    if (text != NULL) {
        add_text(&form, text);
        if (small != code && form.count > 0)
            capitalise(&form, before, after);
    } else {
        good = add_simple(&form, code) || (form.count == 0 && add_parts(&form, code, before));
    }
    *count = form.count;
    return good;
}
