/*
 * The environment of the children: the master's own without what is not theirs.
 *
 * Left out are variables that hold a secret of the configuration, or a part of one, whether the configuration
 * took it from there or not, and those by which the service manager speaks to the master alone.
 */
#ifndef MASTER_CHILDENV_H
#define MASTER_CHILDENV_H

#include <stddef.h>

enum {
    CHILDENV_PART_MIN = 6, /* a value this long that stands within a secret counts as a part of it */
};

/* A NULL-terminated copy of FROM without what holds one of the COUNT SECRETS. */
char **childenv_make(char *const *from, const char *const *secrets, size_t count);
void childenv_free(char ***environment);

#endif
