#include "master/childenv.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

static const char *const of_the_master[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                            "CREDENTIALS_DIRECTORY", "LISTEN_FDS"};

static bool is_named(const char *variable, const char *name)
{
    size_t len = strlen(name);
    return strncmp(variable, name, len) == 0 && variable[len] == '=';
}

static bool is_of_the_master(const char *variable)
{
    for (size_t i = 0; i < sizeof of_the_master / sizeof of_the_master[0]; i++)
        if (is_named(variable, of_the_master[i]))
            return true;
    return false;
}

static bool holds_secret(const char *variable, const char *const *secrets, size_t count)
{
    const char *value = strchr(variable, '=');
    if (!value || !*++value)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(value, secrets[i]) == 0 || strstr(value, secrets[i]) ||
            (strlen(value) >= CHILDENV_PART_MIN && strstr(secrets[i], value)))
            return true;
    return false;
}

char **childenv_make(char *const *from, const char *const *secrets, size_t count)
{
    size_t total = 0, kept = 0;
    while (from[total])
        total++;
    char **made = xcalloc(total + 1, sizeof *made);
    for (size_t i = 0; i < total; i++)
        if (!is_of_the_master(from[i]) && !holds_secret(from[i], secrets, count))
            made[kept++] = xstrdup(from[i]);
    return made;
}

void childenv_free(char ***environment)
{
    if (!*environment)
        return;
    for (size_t i = 0; (*environment)[i]; i++)
        free((*environment)[i]);
    free(*environment);
    *environment = NULL;
}
