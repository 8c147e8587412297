/* `bridgebell reference`: the documents that are made from the table of directives. */
#include <stdio.h>

#include "conf/conf.h"
#include "master/commands.h"

const struct option_row reference_options[] = {
    OPTIONS_COMMON,
    {"man", 0, NULL, "the man page bridgebell.conf(5) instead"},
    {"sample", 0, NULL, "a configuration with every setting instead"},
    {0},
};

int reference_command(const struct arguments *arguments)
{
    bool man = options_has(arguments, "man"), sample = options_has(arguments, "sample");
    if (man && sample)
        return command_misuse("--man and --sample are two documents");
    int rc = man ? conf_manual(stdout) : sample ? conf_sample(stdout) : conf_reference(stdout);
    return rc ? command_fail("the reference cannot be written") : COMMAND_FINE;
}
