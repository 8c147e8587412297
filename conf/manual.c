#include <string.h>

#include "conf/conf.h"
#include "conf/judge.h"

static const char head[] =
    ".Dd November 23, 2026\n"
    ".Dt BRIDGEBELL.CONF 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm bridgebell.conf\n"
    ".Nd configuration of bridgebell\n"
    ".Sh DESCRIPTION\n"
    "The file consists of settings,\n"
    ".Ql name = value ,\n"
    "and of blocks,\n"
    ".Ql kind \\(dqname\\(dq { ... } ,\n"
    "that hold settings.\n"
    "A setting stands once in its block, a block of a kind and name once in all files together.\n"
    "Comments begin with\n"
    ".Ql #\n"
    "or\n"
    ".Ql // ,\n"
    "or stand between\n"
    ".Ql /*\n"
    "and\n"
    ".Ql */ .\n"
    ".Pp\n"
    "Words, numbers, durations and sizes may stand without quotes; everything else, phone numbers above all, "
    "stands\n"
    "in quotes.\n"
    "In double quotes\n"
    ".Ql \\e\\e \\e\\(dq \\e\\(aq \\e$ \\en \\er \\et\n"
    "and a backslash at the end of a line are escapes; in single quotes only\n"
    ".Ql \\e\\e\n"
    "and\n"
    ".Ql \\e\\(aq\n"
    "are, so regular expressions are written there.\n"
    "A quoted value may go over several lines.\n"
    "Relative paths start at the directory of the file that they stand in.\n"
    ".Pp\n"
    "Durations are written\n"
    ".Ql 250ms 5s 3m 2h 7d ,\n"
    "sizes\n"
    ".Ql 64KiB 64MiB 1GiB ,\n"
    "rates\n"
    ".Ql \\(dq100/s\\(dq \\(dq10/60s\\(dq \\(dq60/h\\(dq ,\n"
    "switches\n"
    ".Cm on\n"
    "and\n"
    ".Cm off ,\n"
    "lists\n"
    ".Ql { a, b } ,\n"
    "phone numbers\n"
    ".Ql \\(dq+48500500500\\(dq .\n"
    ".Pp\n"
    ".Ic include \\(dqpath\\(dq\n"
    "outside of any block reads that file, or every\n"
    ".Pa *.conf\n"
    "of that directory in order of their names, as if it stood behind this one.\n"
    ".Ss Secrets\n"
    "A secret\n"
    ".Va x\n"
    "comes from the file that\n"
    ".Va x_file\n"
    "names and only its owner may read (mode 600); from the credential\n"
    ".Ar block Ns - Ns Ar name Ns - Ns Ar setting\n"
    "in\n"
    ".Ev CREDENTIALS_DIRECTORY\n"
    "when the configuration says nothing, as in\n"
    ".Pa bridge-main-api_key_secret ;\n"
    "or from the value of\n"
    ".Va x ,\n"
    "best as\n"
    ".Ql \\(dq${NAME}\\(dq .\n"
    "A file name without a slash is looked for in\n"
    ".Ev CREDENTIALS_DIRECTORY\n"
    "first, then beside the configuration file.\n"
    ".Ss Environment\n"
    ".Ql ${NAME}\n"
    "and\n"
    ".Ql ${NAME:-default}\n"
    "are replaced, in double quotes, in secrets, addresses and paths; elsewhere they are refused.\n"
    ".Ss Reload\n"
    "Settings marked\n"
    ".Dq restart\n"
    "cannot change while bridgebell runs.\n";

static const char tail[] = ".Sh EXAMPLES\n"
                           ".Bd -literal\n"
                           "bridge \"main\" {\n"
                           "    url                 = \"https://bridge.example.com/api\"\n"
                           "    api_key_id          = \"66f76cdc06848d6a6494f783\"\n"
                           "    api_key_secret_file = \"/etc/bridgebell/bridge.secret\"\n"
                           "}\n"
                           "provider \"smsapi\" {\n"
                           "    type       = smsapi\n"
                           "    token_file = \"/etc/bridgebell/smsapi.token\"\n"
                           "}\n"
                           "rule \"lorem\" {\n"
                           "    when    = \"type == 'threadNewMessage'\"\n"
                           "    to      = { \"+48500500500\" }\n"
                           "    message = \"New message in thread {{ data.threadId }}\"\n"
                           "}\n"
                           ".Ed\n"
                           ".Sh SEE ALSO\n"
                           ".Xr bridgebell 1\n";

/* TEXT as running text: a macro's dot or quote at the start of a line and backslashes lose their meaning,
 * each sentence begins a line. */
static void running(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    while (*text) {
        size_t plain = strcspn(text, "\\`.\xe2");
        fwrite(text, 1, plain, out);
        text += plain;
        if (*text == '\\') {
            fputs("\\e", out);
        } else if (strncmp(text, ". ", 2) == 0) {
            fputs(".\n", out);
            text++;
        } else if (strncmp(text, "…", strlen("…")) == 0) {
            fputs("...", out);
            text += strlen("…") - 1;
        } else if (*text && *text != '`') {
            fputc(*text, out);
        }
        text += *text != '\0';
    }
}

static void quoted(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"')
            fputs("\\(dq", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
}

static void print_item(FILE *out, const struct directive *d)
{
    char bounds[80];
    fprintf(out, ".It Va %s\n", d->name);
    running(out, directives_kind(d));
    for (size_t i = 0; d->kind != CONF_URL && d->words && d->words[i]; i++)
        fprintf(out, "%s%s", i ? ", " : ": ", d->words[i]);
    if (*judge_bounds(d, bounds, sizeof bounds))
        fprintf(out, ", %s", bounds);
    fputs(d->flags & CONF_REQUIRED ? "; required" : "", out);
    fputs(d->flags & CONF_FIXED ? "; restart" : "", out);
    fputs(d->flags & CONF_ENVIRONMENT ? "; environment" : "", out);
    fputs(".\n", out);
    running(out, d->help);
    fputc('\n', out);
    if (d->initial || d->example) {
        fputs(d->initial ? "Default:\n.Ql " : "Example:\n.Ql ", out);
        quoted(out, d->initial ? d->initial : d->example);
        fputs(" .\n", out);
    }
}

static void print_section(FILE *out, const struct block_def *b)
{
    if (b == &conf_blocks[0])
        fputs(".Sh SETTINGS OUTSIDE OF ANY BLOCK\n", out);
    else
        fprintf(out, ".Sh BLOCK %s\n%s\n", b->name, b->help);
    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < b->count; i++)
        if (!(b->directives[i].flags & CONF_RESERVED))
            print_item(out, &b->directives[i]);
    fputs(".El\n", out);
}

int conf_manual(FILE *out)
{
    fputs(head, out);
    for (size_t b = 0; b < conf_blocks_count; b++)
        print_section(out, &conf_blocks[b]);
    fputs(tail, out);
    return fflush(out) == 0 && !ferror(out) ? 0 : -1;
}
