#include "master/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/alloc.h"

int privileges_find(const char *user, uid_t *uid, gid_t *gid, char **why)
{
    *uid = (uid_t)-1;
    *gid = (gid_t)-1;
    if (!user)
        return 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry) {
        *why = xasprintf("user \"%s\" does not exist on this machine", user);
        return -1;
    }
    if (geteuid() == entry->pw_uid)
        return 0;
    if (geteuid() != 0) {
        *why = xasprintf("only root can become user \"%s\": start as root or as \"%s\"", user, user);
        return -1;
    }
    *uid = entry->pw_uid;
    *gid = entry->pw_gid;
    return 0;
}

int privileges_drop(const char *user, uid_t uid, gid_t gid, char **why)
{
    if (uid == (uid_t)-1)
        return 0;
    if (initgroups(user, gid) || setgid(gid) || setuid(uid)) {
        *why = xasprintf("cannot become user \"%s\": %s", user, strerror(errno));
        return -1;
    }
    if (setuid(0) == 0)
        panic("root was given up and could be taken back");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
        *why = xasprintf("new privileges cannot be ruled out: %s", strerror(errno));
        return -1;
    }
    return 0;
}
