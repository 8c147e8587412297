#include "master/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"

enum {
    BACKLOG = 64,
    IDLE_S = 60,
    WRITE_S = 10,
    DISCARDS_MAX = 256,
    ANSWERS_KEPT_MAX = 256 * 1024, /* bytes that a client has not taken yet; then its next line waits */
};

const char *const control_door_files[CONTROL_DOORS] = {"status.sock", "control.sock"};
static const mode_t door_modes[CONTROL_DOORS] = {0660, 0600};

struct client {
    struct client *next;
    uint64_t id;
    enum control_door door;
    struct bufferevent *bev;
    struct ucred peer;
    bool is_busy;    /* a request is with the master; the next line waits */
    bool is_leaving; /* closed as soon as its output is written */
};

static struct {
    int fds[CONTROL_DOORS];
    char *paths[CONTROL_DOORS];
    struct evconnlistener *listeners[CONTROL_DOORS];
    struct client *clients;
    size_t counts[CONTROL_DOORS];
    uint64_t last_id;
    void (*request)(const struct control_request *request);
} control = {.fds = {-1, -1}};

/* ---- binding ---- */

static int connect_test(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    bool is_served = rc == 0 || errno == EAGAIN;
    close(fd);
    return is_served;
}

static int make_address(const char *path, struct sockaddr_un *address, char **why)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) {
        *why = xasprintf(
            "%s is too long for a unix socket (at most %zu characters): choose a shorter runtime_dir", path,
            sizeof address->sun_path - 1);
        return -1;
    }
    memcpy(address->sun_path, path, strlen(path) + 1);
    return 0;
}

static int bind_at(const struct sockaddr_un *address, mode_t mode)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    /* Nobody may slip in between bind and chmod. */
    mode_t former = umask(0777);
    int rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
    umask(former);
    if (rc == 0)
        rc = listen(fd, BACKLOG);
    if (rc == 0)
        rc = chmod(address->sun_path, mode);
    if (rc == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int bind_door(enum control_door door, uid_t uid, gid_t gid, char **why)
{
    const char *path = control.paths[door];
    struct sockaddr_un address;
    if (make_address(path, &address, why))
        return -1;
    if (access(path, F_OK) == 0) {
        if (connect_test(&address) == 1) {
            *why = xasprintf("%s is served by another process", path);
            return -1;
        }
        unlink(path);
    }
    control.fds[door] = bind_at(&address, door_modes[door]);
    if (control.fds[door] < 0 || (uid != (uid_t)-1 && chown(path, uid, gid))) {
        *why = xasprintf("%s cannot be made: %s", path, strerror(errno));
        return -1;
    }
    return 0;
}

int control_bind(const char *runtime_dir, uid_t uid, gid_t gid, char **why)
{
    for (int door = 0; door < CONTROL_DOORS; door++) {
        control.paths[door] = xasprintf("%s/%s", runtime_dir, control_door_files[door]);
        if (bind_door((enum control_door)door, uid, gid, why)) {
            free(control.paths[door]);
            control.paths[door] = NULL; /* not ours to remove */
            return -1;
        }
    }
    return 0;
}

/* ---- clients ---- */

static void client_free(void *arg)
{
    struct client *c = arg;
    bufferevent_free(c->bev);
    free(c);
}

static void client_close(struct client *c)
{
    for (struct client **at = &control.clients; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    control.counts[c->door]--;
    bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    bufferevent_setcb(c->bev, NULL, NULL, NULL, NULL);
    loop_defer(client_free, c);
}

static void send_line(struct client *c, cJSON *answer)
{
    char *text = cJSON_PrintUnformatted(answer);
    cJSON_Delete(answer);
    const char *line = text ? text : "{\"ok\":false,\"error\":\"out of memory\"}";
    bufferevent_write(c->bev, line, strlen(line));
    bufferevent_write(c->bev, "\n", 1);
    cJSON_free(text);
}

static void refuse_and_leave(struct client *c, const char *error)
{
    log_warn("a client of a command socket is closed", log_str("socket", control_door_files[c->door]),
             log_int("uid", (int64_t)c->peer.uid), log_int("pid", c->peer.pid), log_str("reason", error));
    c->is_leaving = true;
    bufferevent_disable(c->bev, EV_READ);
    send_line(c, control_refusal(error, NULL));
}

static void handle_line(struct client *c, const char *line, size_t len)
{
    cJSON *body = cJSON_ParseWithLength(line, len);
    const cJSON *command = cJSON_GetObjectItemCaseSensitive(body, "command");
    if (!cJSON_IsObject(body) || !cJSON_IsString(command)) {
        refuse_and_leave(c, "a request is one line with a JSON object that has a \"command\"");
    } else {
        c->is_busy = true;
        bufferevent_disable(c->bev, EV_READ);
        struct control_request request = {c->id, c->door, c->peer.uid, c->peer.pid, command->valuestring,
                                          body};
        control.request(&request);
    }
    cJSON_Delete(body);
}

/* One who does not read his answers gets no more of them. */
static bool is_full(const struct client *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev)) >= ANSWERS_KEPT_MAX;
}

/* Takes the next line off the input, if none is being worked on. */
static void read_line(struct client *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t len;
    if (c->is_busy || c->is_leaving || is_full(c))
        return;
    char *line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);
    if (line)
        handle_line(c, line, len);
    else if (evbuffer_get_length(in) >= CONTROL_REQUEST_MAX)
        refuse_and_leave(c, "a request of more than 64 KiB");
    free(line);
}

static struct client *find_client(uint64_t id)
{
    for (struct client *c = control.clients; c; c = c->next)
        if (c->id == id)
            return c;
    return NULL;
}

static void on_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    read_line(arg);
}

/* Lines that came with the last request are looked at in a pass of their own, so that a long row of them
 * neither recurses nor holds up others. */
static void read_more(void *arg)
{
    uint64_t *id = arg;
    struct client *c = find_client(*id);
    free(id);
    if (c)
        read_line(c);
}

/* A socket that is closed with bytes unread resets the connection, and the answer may be lost with it. */
static void discard_input(evutil_socket_t fd)
{
    char scratch[4096];
    for (int i = 0; i < DISCARDS_MAX && recv(fd, scratch, sizeof scratch, MSG_DONTWAIT) > 0; i++)
        ;
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct client *c = arg;
    if (c->is_leaving) {
        discard_input(bufferevent_getfd(bev));
        client_close(c);
    } else if (!c->is_busy) {
        bufferevent_enable(bev, EV_READ);
        read_line(c);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    (void)what;
    client_close(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int size,
                      void *arg)
{
    (void)listener;
    (void)address;
    (void)size;
    enum control_door door = (enum control_door)(size_t)arg;
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (control.counts[door] >= CONTROL_CLIENTS_MAX || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)) {
        close(fd);
        return;
    }
    struct client *c = xcalloc(1, sizeof *c);
    c->bev = bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!c->bev)
        panic("no bufferevent for a command client");
    c->id = ++control.last_id;
    c->door = door;
    c->peer = peer;
    c->next = control.clients;
    control.clients = c;
    control.counts[door]++;
    struct timeval idle = {.tv_sec = IDLE_S}, writing = {.tv_sec = WRITE_S};
    bufferevent_set_timeouts(c->bev, &idle, &writing);
    bufferevent_setwatermark(c->bev, EV_READ, 0, CONTROL_REQUEST_MAX);
    bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- the interface ---- */

void control_serve(void (*request)(const struct control_request *request))
{
    control.request = request;
    for (int door = 0; door < CONTROL_DOORS; door++) {
        control.listeners[door] =
            evconnlistener_new(loop_base(), on_accept, (void *)(size_t)door,
                               LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, control.fds[door]);
        if (!control.listeners[door])
            panic("libevent takes no listening socket");
    }
}

void control_answer(uint64_t id, cJSON *answer)
{
    struct client *c = find_client(id);
    if (!c || !c->is_busy) {
        cJSON_Delete(answer);
        return;
    }
    c->is_busy = false;
    send_line(c, answer);
    if (is_full(c))
        return; /* until it is written */
    bufferevent_enable(c->bev, EV_READ);
    uint64_t *copy = xmalloc(sizeof *copy);
    *copy = id;
    loop_defer(read_more, copy);
}

cJSON *control_refusal(const char *error, const char *hint)
{
    cJSON *answer = cJSON_CreateObject();
    cJSON_AddBoolToObject(answer, "ok", false);
    cJSON_AddStringToObject(answer, "error", error);
    if (hint)
        cJSON_AddStringToObject(answer, "hint", hint);
    return answer;
}

void control_close(void)
{
    while (control.clients) {
        struct client *c = control.clients;
        control.clients = c->next;
        /* An answer that was just given should still be read: the socket takes what fits. */
        evbuffer_write(bufferevent_get_output(c->bev), bufferevent_getfd(c->bev));
        client_free(c);
    }
    for (int door = 0; door < CONTROL_DOORS; door++) {
        if (control.listeners[door])
            evconnlistener_free(control.listeners[door]);
        else if (control.fds[door] >= 0)
            close(control.fds[door]);
        if (control.paths[door])
            unlink(control.paths[door]);
        free(control.paths[door]);
        control.listeners[door] = NULL;
        control.paths[door] = NULL;
        control.fds[door] = -1;
    }
}
