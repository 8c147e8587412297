/*
 * From root to the configured user, for good.
 */
#ifndef MASTER_PRIVILEGES_H
#define MASTER_PRIVILEGES_H

#include <sys/types.h>

/* Ids of USER; both -1 if there is nothing to change: USER is NULL, or this process is not root. 0, or -1
 * with a sentence in WHY (freed by the caller): no such user, or a process that is not root and not USER
 * either. */
int privileges_find(const char *user, uid_t *uid, gid_t *gid, char **why);
/* Becomes USER with its groups; UID and GID as found. 0, or -1 with a sentence in WHY. */
int privileges_drop(const char *user, uid_t uid, gid_t gid, char **why);

#endif
