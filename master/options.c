#include "master/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"

enum { LETTERS_MAX = 3 * OPTIONS_MAX + 2, FIRST_LONG = 256 };

struct parser {
    struct option longs[OPTIONS_MAX + 1];
    char letters[LETTERS_MAX];
};

static void build(const struct option_row *rows, struct parser *p)
{
    size_t at = 0;
    memset(p, 0, sizeof *p);
    p->letters[at++] = ':'; /* a missing value is told apart from an unknown option */
    for (int i = 0; rows[i].name; i++) {
        p->longs[i].name = rows[i].name;
        p->longs[i].has_arg = rows[i].value ? required_argument : no_argument;
        p->longs[i].val = FIRST_LONG + i;
        if (rows[i].letter)
            p->letters[at++] = rows[i].letter;
        if (rows[i].letter && rows[i].value)
            p->letters[at++] = ':';
    }
}

static const struct option_row *row_of(const struct option_row *rows, int found)
{
    if (found >= FIRST_LONG)
        return &rows[found - FIRST_LONG];
    for (; rows->name; rows++)
        if (rows->letter == found)
            return rows;
    return NULL;
}

static char *describe_unknown(const struct option_row *rows, const char *word)
{
    const char *names[OPTIONS_MAX + 1] = {NULL};
    char name[64];
    for (size_t i = 0; rows[i].name; i++)
        names[i] = rows[i].name;
    size_t dashes = strspn(word, "-");
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + dashes, "="), word + dashes);
    const char *nearest = dashes == 2 ? str_nearest(name, names) : NULL;
    if (nearest)
        return xasprintf("unknown option \"--%s\"; did you mean \"--%s\"?", name, nearest);
    return xasprintf("unknown option \"%.*s\"", 60, word);
}

/* What getopt_long did not like. */
static char *describe(const struct option_row *rows, char **argv, int found)
{
    const struct option_row *row = optopt ? row_of(rows, optopt) : NULL;
    if (found == ':' && row)
        return xasprintf("option \"--%s\" needs a value: --%s %s", row->name, row->name, row->value);
    if (found == '?' && row && optopt >= FIRST_LONG)
        return xasprintf("option \"--%s\" takes no value", row->name);
    if (optopt && optopt < FIRST_LONG)
        return xasprintf("unknown option \"-%c\"", optopt);
    return describe_unknown(rows, argv[optind - 1]);
}

static bool is_minus_number(const char *word)
{
    return word[0] == '-' && word[1] && strspn(word + 1, "0123456789") == strlen(word + 1);
}

/* Moves "-1" and its like behind the rest, out of getopt's sight. */
static int take_numbers(int argc, char **argv, struct arguments *out)
{
    int kept = 1;
    for (int i = 1; i < argc; i++) {
        if (is_minus_number(argv[i]))
            out->words[out->words_count++] = argv[i];
        else
            argv[kept++] = argv[i];
    }
    for (size_t i = 0; i < out->words_count; i++)
        argv[(size_t)kept + i] = out->words[i];
    return kept;
}

int options_parse(const struct option_row *rows, int argc, char **argv, bool numbers_are_words,
                  struct arguments *out, char **why)
{
    struct parser p;
    int found;
    memset(out, 0, sizeof *out);
    out->words = xcalloc((size_t)argc + 1, sizeof *out->words);
    build(rows, &p);
    if (numbers_are_words)
        argc = take_numbers(argc, argv, out);
    opterr = 0;
    optind = 0; /* begins anew, also after an earlier parse */
    while ((found = getopt_long(argc, argv, p.letters, p.longs, NULL)) != -1) {
        const struct option_row *row = found == '?' || found == ':' ? NULL : row_of(rows, found);
        if (!row) {
            *why = describe(rows, argv, found);
            return -1;
        }
        if (out->values_count == OPTIONS_REPEAT_MAX) {
            *why = xasprintf("more than %d options", OPTIONS_REPEAT_MAX);
            return -1;
        }
        out->values[out->values_count++] = (struct option_value){row, row->value ? optarg : ""};
    }
    while (optind < argc)
        out->words[out->words_count++] = argv[optind++];
    return 0;
}

void options_free(struct arguments *arguments)
{
    free(arguments->words);
    memset(arguments, 0, sizeof *arguments);
}

const char *options_get_nth(const struct arguments *arguments, const char *name, size_t index)
{
    for (size_t i = 0; i < arguments->values_count; i++)
        if (strcmp(arguments->values[i].row->name, name) == 0 && index-- == 0)
            return arguments->values[i].text;
    return NULL;
}

const char *options_get(const struct arguments *arguments, const char *name)
{
    for (size_t i = arguments->values_count; i-- > 0;)
        if (strcmp(arguments->values[i].row->name, name) == 0)
            return arguments->values[i].text;
    return NULL;
}

bool options_has(const struct arguments *arguments, const char *name)
{
    return options_get(arguments, name) != NULL;
}

void options_print(FILE *out, const struct option_row *rows)
{
    for (; rows->name; rows++) {
        char left[64];
        if (!rows->help)
            continue;
        snprintf(left, sizeof left, "%s%c%s --%s%s%s", rows->letter ? "-" : "",
                 rows->letter ? rows->letter : ' ', rows->letter ? "," : "  ", rows->name,
                 rows->value ? " " : "", rows->value ? rows->value : "");
        fprintf(out, "  %-24s %s\n", left, rows->help);
    }
}
