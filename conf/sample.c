#include <string.h>

#include "conf/conf.h"

static const char head[] = "# Every setting of Bridgebell, made from the directive table. `#name = value` is "
                           "a setting that is commented out:\n"
                           "# the value is its default, or an example where the text above says that there "
                           "is none. bridgebell.conf(5) and\n"
                           "# docs/configuration.md tell more.\n"
                           "\n"
                           "# Reads another file, or every *.conf of a directory. None by default.\n"
                           "#include \"conf.d\"\n";

/* TEXT in lines of comment. */
static void print_comment(FILE *out, const char *indent, const char *text)
{
    enum { WIDTH = 105 };
    while (*text) {
        size_t len = strlen(text);
        if (len > WIDTH)
            for (len = WIDTH; len > 1 && text[len] != ' '; len--)
                continue;
        fprintf(out, "%s# %.*s\n", indent, (int)len, text);
        text += len + (text[len] == ' ');
    }
}

static void print_setting(FILE *out, const char *indent, const struct directive *d)
{
    char comment[400];
    bool active = (d->flags & CONF_REQUIRED) || d->kind == CONF_SECRET_FILE;
    if (d->flags & CONF_RESERVED)
        return;
    snprintf(comment, sizeof comment, "%s%s", d->help, active || d->initial ? "" : " None by default.");
    print_comment(out, indent, comment);
    fprintf(out, "%s%s%s = %s\n", indent, active ? "" : "#", d->name, d->initial ? d->initial : d->example);
}

static void print_block(FILE *out, const struct block_def *b)
{
    bool top = b == &conf_blocks[0];
    if (!top) {
        fputc('\n', out);
        print_comment(out, "", b->help);
        if (b->example)
            fprintf(out, "%s \"%s\" {\n", b->name, b->example);
        else
            fprintf(out, "%s {\n", b->name);
    }
    for (size_t i = 0; i < b->count; i++) {
        if ((i || top) && !(b->directives[i].flags & CONF_RESERVED))
            fputc('\n', out);
        print_setting(out, top ? "" : "    ", &b->directives[i]);
    }
    if (!top)
        fputs("}\n", out);
}

int conf_sample(FILE *out)
{
    fputs(head, out);
    for (size_t i = 0; i < conf_blocks_count; i++)
        print_block(out, &conf_blocks[i]);
    return fflush(out) == 0 && !ferror(out) ? 0 : -1;
}
