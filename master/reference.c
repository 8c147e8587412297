/* `bridgebell reference`: the documents that are made from the table of directives. */
#include <stdio.h>

#include "conf/conf.h"
#include "master/commands.h"

const struct option_row reference_options[] = {
    OPTIONS_COMMON,
    {"man", 0, NULL, "the man page bridgebell.conf(5) instead"},
    {0},
};

int reference_command(const struct arguments *arguments)
{
    int rc = options_has(arguments, "man") ? conf_manual(stdout) : conf_reference(stdout);
    return rc ? command_fail("the reference cannot be written") : COMMAND_FINE;
}
