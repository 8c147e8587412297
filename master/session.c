#include "master/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"

static char *path;

char session_choose(const char *runtime_dir, bool after_crash)
{
    char letter = 'a';
    session_free();
    path = xasprintf("%s/session", runtime_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return letter;
    if (read(fd, &letter, 1) != 1 || letter != 'b')
        letter = 'a';
    close(fd);
    if (after_crash)
        letter = letter == 'a' ? 'b' : 'a';
    return letter;
}

void session_save(char letter)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, &letter, 1) != 1)
        log_warn("the session's letter cannot be kept", log_str("file", path), log_errno(errno));
    if (fd >= 0)
        close(fd);
}

void session_free(void)
{
    free(path);
    path = NULL;
}
