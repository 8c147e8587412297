#include "master/door.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"

enum { BACKLOG = 128, TRY_AGAIN_MS = 50 };

/* "host:port" and "[host]:port"; PORT points into TEXT, which is changed. NULL if it is neither. */
static char *split(char *text, char **port)
{
    char *colon = strrchr(text, ':');
    if (!colon)
        return NULL;
    *colon = '\0';
    *port = colon + 1;
    size_t len = strlen(text);
    if (text[0] != '[')
        return text;
    if (text[len - 1] != ']')
        return NULL;
    text[len - 1] = '\0';
    return text + 1;
}

static struct addrinfo *resolve(const char *listen_text)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char *text = xstrdup(listen_text), *port = NULL;
    const char *host = split(text, &port);
    if (!host || getaddrinfo(host[0] ? host : NULL, port, &hints, &found))
        found = NULL;
    free(text);
    return found;
}

static int bind_once(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int bind_patiently(const struct addrinfo *address, const char *text, int64_t patience_ms)
{
    uint64_t end_ms = clock_mono_ms() + (uint64_t)patience_ms;
    bool is_said = false;
    int fd;
    while ((fd = bind_once(address)) < 0 && errno == EADDRINUSE && clock_mono_ms() < end_ms) {
        if (!is_said)
            log_warn("the door's address is in use; waiting for children of an earlier master to leave",
                     log_str("listen", text), log_int("limit_ms", patience_ms));
        is_said = true;
        nanosleep(&(struct timespec){.tv_nsec = TRY_AGAIN_MS * 1000000L}, NULL);
    }
    return fd;
}

int door_open(const char *listen_text, int64_t patience_ms, int *fd, char **why)
{
    *fd = -1;
    if (!listen_text || strcmp(listen_text, "off") == 0)
        return 0;
    struct addrinfo *address = resolve(listen_text);
    if (!address) {
        *why = xasprintf("\"%s\" is not an address and a port", listen_text);
        return -1;
    }
    *fd = bind_patiently(address, listen_text, patience_ms);
    if (*fd < 0)
        *why = xasprintf("%s cannot be listened on: %s", listen_text, strerror(errno));
    freeaddrinfo(address);
    return *fd < 0 ? -1 : 0;
}

void door_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
