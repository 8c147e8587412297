#include "core/title.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"

static struct {
    char *start;
    size_t size;
    char **arguments; /* kept reachable */
} area;

char **title_setup(int argc, char **argv)
{
    char *start = argv[0];
    char *end = argv[0];
    for (int i = 0; i < argc; i++)
        if (argv[i] == end)
            end += strlen(argv[i]) + 1;
    size_t count = 0;
    for (; environ[count]; count++)
        if (environ[count] == end)
            end += strlen(environ[count]) + 1;

    char **copy = xcalloc((size_t)argc + 1, sizeof *copy);
    for (int i = 0; i < argc; i++)
        copy[i] = xstrdup(argv[i]);
    char **env = xcalloc(count + 1, sizeof *env);
    for (size_t i = 0; i < count; i++)
        env[i] = xstrdup(environ[i]);
    environ = env;
    area.start = start;
    area.size = (size_t)(end - start);
    area.arguments = copy;
    return copy;
}

void title_set(const char *format, ...)
{
    if (area.size < 2)
        return;
    va_list args;
    va_start(args, format);
    memset(area.start, 0, area.size);
    vsnprintf(area.start, area.size, format, args);
    va_end(args);
}
