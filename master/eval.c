#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "master/commands.h"
#include "master/process.h"

/* Rules are the dispatcher's: its executable does the work, in tool mode. */
int eval_command(int argc, char **argv)
{
    char *why = NULL;
    if (process_find_executables(&why)) {
        command_fail("%s", why);
        free(why);
        return COMMAND_FAILED;
    }
    const char *path = process_executable(PROCESS_DISPATCHER);
    char **words = xcalloc((size_t)argc + 3, sizeof *words);
    words[0] = xstrdup(path);
    words[1] = xstrdup("tool");
    memcpy(words + 2, argv, (size_t)argc * sizeof *words);
    execv(path, words);
    return command_fail("%s cannot be run: %s", path, strerror(errno));
}
