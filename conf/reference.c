#include <string.h>

#include "conf/conf.h"
#include "conf/judge.h"

static const char head[] =
    "# Configuration\n"
    "\n"
    "This page is made from the directive table (`conf/directives.c`); the manual page `bridgebell.conf(5)` "
    "says the "
    "same.\n"
    "Samples: [minimal.conf](../conf/samples/minimal.conf), "
    "[sms-notifications.conf](../conf/samples/sms-notifications.conf) (the original script, line by line),\n"
    "[full.conf](../conf/samples/full.conf) (everything, with its defaults).\n"
    "\n"
    "`bridgebell check` tells all that is wrong with a file, with line and nearest known word; `bridgebell "
    "check "
    "--print`\n"
    "shows the configuration in effect, with all defaults and without secrets.\n"
    "\n"
    "## How a file is written\n"
    "\n"
    "    # a comment; // and /* … */ are comments, too\n"
    "    runtime_dir = \"/run/bridgebell\"         # a setting outside of any block\n"
    "    rule \"lorem\" {                          # a block with a name\n"
    "        when    = \"channel == 'thread'\n"
    "                   && type == 'threadNewMessage'\"\n"
    "        to      = { oncall, \"+48500500500\" }\n"
    "        message = \"New message in thread {{ data.threadId }}\"\n"
    "    }\n"
    "    log { format = json  level = info }\n"
    "\n"
    "- Words, numbers, durations and sizes may stand without quotes. Everything else stands in quotes, phone "
    "numbers "
    "above all.\n"
    "- In double quotes `\\\\ \\\" \\' \\$ \\n \\r \\t` and a backslash at the end of a line are escapes, "
    "and `${NAME}` "
    "is a variable.\n"
    "  In single quotes only `\\\\` and `\\'` are escapes: regular expressions are written there.\n"
    "- A quoted value may go over several lines.\n"
    "- A setting stands once in its block, and a block of a kind and name once in all files together.\n"
    "- Relative paths start at the directory of the file that they stand in.\n"
    "\n"
    "### Units\n"
    "\n"
    "| kind | written |\n"
    "|---|---|\n"
    "| duration | `250ms` `5s` `3m` `2h` `7d` |\n"
    "| size | `512B` `64KiB` `64MiB` `1GiB` `1TiB` |\n"
    "| rate | a count and a time of at most 366 days: `\"100/s\"` `\"10/60s\"` `\"60/h\"` `\"5/15min\"` |\n"
    "| switch | `on` `off` (or `yes` `no` `true` `false`) |\n"
    "| list | `{ a, b }`; one entry may stand without braces |\n"
    "| phone number | in quotes, with a plus and 8 to 15 digits: `\"+48500500500\"` |\n"
    "\n"
    "### Secrets\n"
    "\n"
    "A secret `x` comes from one of these places, and is never shown:\n"
    "\n"
    "1. `x_file = \"/path\"`: a file that only its owner may read (mode 600), with one line. A name without "
    "a slash is "
    "looked\n"
    "   for in `$CREDENTIALS_DIRECTORY` first (systemd's `LoadCredential=`), then beside the configuration "
    "file.\n"
    "2. The credential `<block>-<name>-<setting>`, for example `bridge-main-api_key_secret`, when the file "
    "says "
    "nothing.\n"
    "3. `x = \"${NAME}\"`: the environment.\n"
    "4. `x = \"…\"`: the configuration file itself; keep it readable for its owner only.\n"
    "\n"
    "### Environment\n"
    "\n"
    "`\"${NAME}\"` and `\"${NAME:-default}\"` are replaced in secrets, addresses and paths (marked *env* "
    "below), in "
    "double\n"
    "quotes only. A variable that is not set and has no default is an error. Elsewhere they are refused, "
    "above all in\n"
    "`when` and `message`.\n"
    "\n"
    "### include\n"
    "\n"
    "    include \"conf.d\"\n"
    "\n"
    "outside of any block reads the file, or every `*.conf` of the directory in order of their names, as if "
    "it stood "
    "behind\n"
    "this one. Included files may include others, 8 deep.\n"
    "\n"
    "### Which processes run\n"
    "\n"
    "A listener for each `bridge`; a dispatcher if there is a `bridge`, a `rule` or a `dispatcher` block; "
    "senders with "
    "it, or\n"
    "if there is a `sender` block. The untitled blocks need not be there: their defaults hold.\n"
    "\n"
    "### Reload\n"
    "\n"
    "On HUP or `bridgebell reload` the file is read again; if anything is wrong with it all stays as it was. "
    "Settings "
    "marked\n"
    "*restart* cannot change that way.\n";

/* TEXT for a cell of a table. */
static void cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_words(FILE *out, const struct directive *d)
{
    if (d->kind == CONF_URL || !d->words)
        return;
    fputs(": ", out);
    for (size_t i = 0; d->words[i]; i++)
        fprintf(out, "%s`%s`", i ? ", " : "", d->words[i]);
}

static void print_row(FILE *out, const struct directive *d)
{
    char bounds[80];
    fprintf(out, "| `%s` | %s", d->name, directives_kind(d));
    print_words(out, d);
    if (*judge_bounds(d, bounds, sizeof bounds))
        fprintf(out, ", %s", bounds);
    fputs(" | ", out);
    if (d->initial)
        fprintf(out, "`%s`", d->initial);
    else
        fputs(d->flags & CONF_REQUIRED ? "**required**" : "", out);
    fputs(" | ", out);
    cell(out, d->help);
    if (d->example && (!d->initial || strcmp(d->example, d->initial) != 0))
        fprintf(out, " Example: `%s`.", d->example);
    if (d->flags & CONF_ENVIRONMENT)
        fputs(" *env*", out);
    if (d->flags & CONF_FIXED)
        fputs(" *restart*", out);
    fputs(" |\n", out);
}

static void print_section(FILE *out, const struct block_def *b)
{
    if (b == &conf_blocks[0])
        fputs("\n## Outside of any block\n\n", out);
    else
        fprintf(out, "\n## %s%s\n\n%s\n\n", b->name, b->title == CONF_UNTITLED ? "" : " \"name\"", b->help);
    fputs("| setting | kind | default | |\n|---|---|---|---|\n", out);
    if (b == &conf_blocks[0])
        fputs("| `include \"path\"` | statement | | Reads another file, or the `*.conf` files of a "
              "directory. |\n",
              out);
    for (size_t i = 0; i < b->count; i++)
        if (!(b->directives[i].flags & CONF_RESERVED))
            print_row(out, &b->directives[i]);
}

int conf_reference(FILE *out)
{
    fputs(head, out);
    for (size_t b = 0; b < conf_blocks_count; b++)
        print_section(out, &conf_blocks[b]);
    return fflush(out) == 0 && !ferror(out) ? 0 : -1;
}
