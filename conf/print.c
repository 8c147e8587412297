#include <string.h>

#include "conf/conf.h"
#include "conf/model.h"

/* TEXT in double quotes, so that reading it gives TEXT again. */
static void print_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '\r' || *text == '\t') {
            fputs(*text == '\r' ? "\\r" : "\\t", out);
            continue;
        }
        if (*text == '"' || *text == '\\' || (*text == '$' && text[1] == '{'))
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* Words, numbers and the like stand without quotes; what people write in quotes stands in quotes. */
static bool is_bare(const struct directive *d, const char *text)
{
    switch (d->kind) {
    case CONF_WORD:
    case CONF_WORDS:
    case CONF_SWITCH:
    case CONF_NUMBER:
    case CONF_DURATION:
    case CONF_SIZE:
        return true;
    case CONF_RATE:
    case CONF_LISTEN:
        return !strpbrk(text, "/:");
    case CONF_RECIPIENTS:
        /* A name; numbers and expressions are quoted. */
        return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] ==
               '\0';
    default:
        return false;
    }
}

static void print_text(FILE *out, const struct directive *d, const char *text)
{
    if (is_bare(d, text))
        fputs(text, out);
    else
        print_quoted(out, text);
}

static void print_value(FILE *out, const struct conf_value *v)
{
    const struct directive *d = v->directive;
    if (d->kind == CONF_SECRET) {
        fputs("\"<secret>\"", out);
        return;
    }
    if (v->text) {
        print_text(out, d, v->text);
        return;
    }
    fputs("{ ", out);
    for (size_t i = 0; i < v->count; i++) {
        fputs(i ? ", " : "", out);
        print_text(out, d, v->list[i]);
    }
    fputs(" }", out);
}

static void print_setting(FILE *out, const struct conf *c, const struct conf_block *b,
                          const struct directive *d)
{
    const struct conf_value *v = model_value(c, b, d);
    const char *indent = b->def == &conf_blocks[0] ? "" : "    ";
    if (d->flags & CONF_RESERVED)
        return;
    if (!v || v->is_read) {
        fprintf(out, "%s# %s = %s\n", indent, d->name, v ? "\"<secret>\", from a file" : "(not set)");
        return;
    }
    fprintf(out, "%s%s = ", indent, d->name);
    print_value(out, v);
    fputs(v->line ? "\n" : " # default\n", out);
}

static void print_block(FILE *out, const struct conf *c, const struct conf_block *b)
{
    bool top = b->def == &conf_blocks[0];
    if (!top) {
        fprintf(out, "\n%s ", b->def->name);
        if (b->def->title != CONF_UNTITLED) {
            print_quoted(out, b->title);
            fputc(' ', out);
        }
        if (b->file)
            fprintf(out, "{ # %s:%u\n", b->file->name, b->line);
        else
            fputs("{ # default\n", out);
    }
    for (size_t i = 0; i < b->def->count; i++)
        print_setting(out, c, b, &b->def->directives[i]);
    if (!top)
        fputs("}\n", out);
}

int conf_print(const struct conf *c, FILE *out)
{
    for (size_t i = 0; i < c->count; i++)
        print_block(out, c, &c->blocks[i]);
    return fflush(out) == 0 && !ferror(out) ? 0 : -1;
}
