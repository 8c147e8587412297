#include "dispatcher/text/language.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/text/calendar_names.h"

/* ---- Tags ------------------------------------------------------------------------------------ */

#define PART_SIZE 9u

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Copies the letters at the cursor in small; returns where they end. */
static const char *read_part(const char *tag, char part[PART_SIZE])
{
    size_t length = 0;
    for (; is_letter(*tag); tag++)
        if (length + 1 < PART_SIZE)
            part[length++] = (char)(*tag | 0x20);
    part[length] = '\0';
    return tag;
}

struct tag {
    char language[PART_SIZE];
    char region[PART_SIZE];
};

static struct tag read_tag(const char *text)
{
    struct tag tag = {"", ""};
    const char *at = read_part(text == NULL ? "" : text, tag.language);
    if (*at == '-' || *at == '_')
        read_part(at + 1, tag.region);
    return tag;
}

bool language_is_tag(const char *text, size_t len)
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t letters = 0;
    while (letters < len && is_letter(text[letters]))
        letters++;
    if (letters < 2 || letters > 3 || (letters < len && text[letters] != '-' && text[letters] != '_'))
        return false;
    for (size_t i = letters; i < len; i++)
        if (!text[i] || !strchr(set, text[i]))
            return false;
    return len == letters || len > letters + 1;
}

/* ---- Plural forms ---------------------------------------------------------------------------- */

static bool within(uint64_t number, uint64_t first, uint64_t last)
{
    return number >= first && number <= last;
}

static size_t one_form(uint64_t n)
{
    (void)n;
    return 0;
}

/* English and most others. */
static size_t one_other(uint64_t n)
{
    return n != 1;
}

/* French: none is singular too. */
static size_t upto_one_other(uint64_t n)
{
    return n > 1;
}

/* Icelandic: 1, 21, 31. */
static size_t ending_one_other(uint64_t n)
{
    return !(n % 10 == 1 && n % 100 != 11);
}

static bool is_few(uint64_t n)
{
    return within(n % 10, 2, 4) && !within(n % 100, 12, 14);
}

static size_t polish(uint64_t n)
{
    return n == 1 ? 0 : is_few(n) ? 1 : 2;
}

static size_t east_slavic(uint64_t n)
{
    return n % 10 == 1 && n % 100 != 11 ? 0 : is_few(n) ? 1 : 2;
}

static size_t czech(uint64_t n)
{
    return n == 1 ? 0 : within(n, 2, 4) ? 1 : 2;
}

static size_t slovenian(uint64_t n)
{
    return n % 100 == 1 ? 0 : n % 100 == 2 ? 1 : within(n % 100, 3, 4) ? 2 : 3;
}

static size_t lithuanian(uint64_t n)
{
    if (within(n % 100, 11, 19) || n % 10 == 0)
        return 2;
    return n % 10 == 1 ? 0 : 1;
}

/* Zero, one, other: 10, 20, 11 to 19 are in the first. */
static size_t latvian(uint64_t n)
{
    if (n % 10 == 0 || within(n % 100, 11, 19))
        return 0;
    return n % 10 == 1 ? 1 : 2;
}

static size_t romanian(uint64_t n)
{
    if (n == 1)
        return 0;
    return n == 0 || within(n % 100, 1, 19) ? 1 : 2;
}

static size_t irish(uint64_t n)
{
    if (within(n, 1, 2))
        return (size_t)n - 1;
    return within(n, 3, 6) ? 2 : within(n, 7, 10) ? 3 : 4;
}

static size_t gaelic(uint64_t n)
{
    if (n == 1 || n == 11)
        return 0;
    if (n == 2 || n == 12)
        return 1;
    return within(n, 3, 19) ? 2 : 3;
}

/* Zero, one, two, few, many, other. */
static size_t welsh(uint64_t n)
{
    if (n <= 3)
        return (size_t)n;
    return n == 6 ? 4 : 5;
}

static size_t arabic(uint64_t n)
{
    if (n <= 2)
        return (size_t)n;
    return within(n % 100, 3, 10) ? 3 : n % 100 > 10 ? 4 : 5;
}

static size_t hebrew(uint64_t n)
{
    return n == 1 ? 0 : n == 2 ? 1 : 2;
}

static size_t maltese(uint64_t n)
{
    if (within(n, 1, 2))
        return (size_t)n - 1;
    if (n == 0 || within(n % 100, 3, 10))
        return 2;
    return within(n % 100, 11, 19) ? 3 : 4;
}

struct plural {
    const char *languages; /* each followed by a blank */
    size_t forms;
    size_t (*form)(uint64_t number);
};

/* All others are as the last row. */
static const struct plural plurals[] = {
    {"id ja ko lo ms my th vi yue zh ", 1, one_form},
    {"am as bn fa ff fr gu hi hy kab kn pa pt si zu ", 2, upto_one_other},
    {"is mk ", 2, ending_one_other},
    {"pl ", 3, polish},
    {"be bs hr ru sh sr uk ", 3, east_slavic},
    {"cs sk ", 3, czech},
    {"lt ", 3, lithuanian},
    {"lv prg ", 3, latvian},
    {"mo ro ", 3, romanian},
    {"he iw ", 3, hebrew},
    {"dsb hsb sl ", 4, slovenian},
    {"gd ", 4, gaelic},
    {"ga ", 5, irish},
    {"mt ", 5, maltese},
    {"cy ", 6, welsh},
    {"ar ", 6, arabic},
    {"", 2, one_other},
};

static const struct plural *find_plural(const char *language)
{
    const struct plural *p = plurals;
    struct tag tag = read_tag(language);
    char word[PART_SIZE + 1];
    snprintf(word, sizeof word, "%s ", tag.language);
    bool portugal = strcmp(tag.language, "pt") == 0 && strcmp(tag.region, "pt") == 0;
    for (; p->form != one_other; p++) {
        const char *at = strstr(p->languages, word);
        if (at != NULL && (at == p->languages || at[-1] == ' ') && word[0] != ' ' && !portugal)
            break;
    }
    return p;
}

size_t language_plural_forms(const char *language)
{
    return find_plural(language)->forms;
}

size_t language_plural(const char *language, uint64_t number)
{
    return find_plural(language)->form(number);
}

/* ---- Dates ----------------------------------------------------------------------------------- */

static const struct calendar_names *find_names(const char *language)
{
    struct tag tag = read_tag(language);
    /* Two tags for Norwegian as it is mostly written. */
    const char *word =
        strcmp(tag.language, "no") == 0 || strcmp(tag.language, "nn") == 0 ? "nb" : tag.language;
    for (const struct calendar_names *names = calendar_names; names->language[0] != '\0'; names++)
        if (strcmp(names->language, word) == 0)
            return names;
    return calendar_names;
}

static int write_text(char *out, const char *text)
{
    return snprintf(out, LANGUAGE_DATE_FACTOR, "%s", text);
}

static int write_number(char *out, const char *format, int number)
{
    return snprintf(out, LANGUAGE_DATE_FACTOR, format, number);
}

/* One letter of a format; the length, or -1 if it is unknown. */
static int write_field(const struct calendar_names *names, const struct time_fields *f, char letter,
                       char *out)
{
    switch (letter) {
    case 'Y':
        return snprintf(out, LANGUAGE_DATE_FACTOR, "%04" PRId64, f->year);
    case 'm':
        return write_number(out, "%02d", f->month);
    case 'd':
        return write_number(out, "%02d", f->day);
    case 'e':
        return write_number(out, "%d", f->day);
    case 'j':
        return write_number(out, "%03d", f->yearday + 1);
    case 'H':
        return write_number(out, "%02d", f->hour);
    case 'M':
        return write_number(out, "%02d", f->minute);
    case 'S':
        return write_number(out, "%02d", f->second);
    case 'a':
        return write_text(out, names->short_days[f->weekday]);
    case 'A':
        return write_text(out, names->days[f->weekday]);
    case 'b':
        return write_text(out, names->short_months[f->month - 1]);
    case 'B':
        return write_text(out, names->months[f->month - 1]);
    case '%':
        return write_text(out, "%");
    default:
        return -1;
    }
}

long language_date(const char *language, const struct time_fields *fields, const char *format, size_t len,
                   char *out, size_t *bad)
{
    const struct calendar_names *names = find_names(language);
    size_t written = 0;
    for (size_t i = 0; i < len; i++) {
        if (format[i] != '%') {
            out[written++] = format[i];
            continue;
        }
        i++;
        int count = i < len ? write_field(names, fields, format[i], out + written) : -1;
        if (count < 0) {
            *bad = i;
            return -1;
        }
        written += (size_t)count;
    }
    return (long)written;
}
