#include "core/http/multi.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/loop.h"

/* One descriptor of libcurl's. */
struct watch {
    struct multi *multi;
    struct event *event; /* NULL: not registered */
    curl_socket_t fd;
    short what;  /* EV_READ | EV_WRITE as registered */
    bool wanted; /* libcurl asks for it now */
    bool ours;   /* opened and closed through our callbacks, so that it may stay registered */
};

struct multi {
    CURLM *handle;
    struct loop_timer *timer;
    struct event *finished; /* activated when transfers ended inside multi_add */
    struct watch **watches; /* by descriptor */
    size_t size;
    multi_done_fn *done;
    void *arg;
    int running; /* transfers not reported yet, by our own count */
};

static struct watch *watch_of(struct multi *m, curl_socket_t fd)
{
    size_t index = (size_t)fd;
    if (index >= m->size) {
        size_t size = index + 16;
        m->watches = xreallocarray(m->watches, size, sizeof *m->watches);
        memset(m->watches + m->size, 0, (size - m->size) * sizeof *m->watches);
        m->size = size;
    }
    if (!m->watches[index]) {
        m->watches[index] = xcalloc(1, sizeof **m->watches);
        m->watches[index]->multi = m;
        m->watches[index]->fd = fd;
    }
    return m->watches[index];
}

static void watch_stop(struct watch *w)
{
    if (w->event)
        event_free(w->event);
    w->event = NULL;
    w->what = 0;
    w->wanted = false;
}

static void report(struct multi *m)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(m->handle, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        /* The message's memory may go with the next call into libcurl. */
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        m->running--;
        m->done(m->arg, easy, result);
    }
}

static void on_socket_event(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    struct multi *m = w->multi;
    if (!w->wanted) {
        /* An idle connection was closed by the other side; libcurl notices when it next takes it up. */
        watch_stop(w);
        return;
    }
    int flags = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    curl_multi_socket_action(m->handle, fd, flags, &running);
    report(m);
}

static void watch_set(struct watch *w, short what)
{
    w->wanted = true;
    if (w->event && w->what == what)
        return;
    if (w->event)
        event_free(w->event);
    w->what = what;
    w->event = event_new(loop_base(), w->fd, (short)(what | EV_PERSIST), on_socket_event, w);
    event_add(w->event, NULL);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    (void)socket_arg;
    struct watch *w = watch_of(arg, fd);
    if (what == CURL_POLL_REMOVE) {
        w->wanted = false;
        if (!w->ours || w->what != EV_READ)
            watch_stop(w);
        return 0;
    }
    watch_set(w, (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0)));
    return 0;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    struct watch *w = watch_of(arg, fd);
    watch_stop(w);
    w->ours = true;
    return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
    struct watch *w = watch_of(arg, fd);
    watch_stop(w);
    w->ours = false;
    return close(fd);
}

static void on_timer(void *arg)
{
    struct multi *m = arg;
    int running;
    curl_multi_socket_action(m->handle, CURL_SOCKET_TIMEOUT, 0, &running);
    report(m);
}

static int on_timeout(CURLM *handle, long timeout_ms, void *arg)
{
    (void)handle;
    struct multi *m = arg;
    if (timeout_ms < 0)
        loop_timer_stop(m->timer);
    else
        loop_timer_start(m->timer, timeout_ms);
    return 0;
}

static void on_finished(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    report(arg);
}

struct multi *multi_new(unsigned connections, multi_done_fn *done, void *arg)
{
    static bool initialised;
    if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT))
        panic("libcurl does not start");
    initialised = true;
    struct multi *m = xcalloc(1, sizeof *m);
    m->handle = curl_multi_init();
    if (!m->handle)
        panic("no libcurl multi handle");
    m->done = done;
    m->arg = arg;
    m->timer = loop_timer_new(on_timer, m);
    m->finished = event_new(loop_base(), -1, EV_PERSIST, on_finished, m);
    curl_multi_setopt(m->handle, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(m->handle, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->handle, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(m->handle, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->handle, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(m->handle, CURLMOPT_MAXCONNECTS, (long)connections);
    return m;
}

void multi_free(struct multi **p)
{
    struct multi *m = *p;
    if (!m)
        return;
    *p = NULL;
    curl_multi_cleanup(m->handle);
    for (size_t i = 0; i < m->size; i++)
        if (m->watches[i]) {
            watch_stop(m->watches[i]);
            free(m->watches[i]);
        }
    free(m->watches);
    event_free(m->finished);
    loop_timer_free(&m->timer);
    free(m);
}

void multi_prepare(struct multi *m, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, m);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, m);
}

int multi_add(struct multi *m, CURL *easy)
{
    if (curl_multi_add_handle(m->handle, easy))
        return -1;
    m->running++;
    int running;
    curl_multi_socket_action(m->handle, CURL_SOCKET_TIMEOUT, 0, &running);
    /* A transfer that failed at once is reported from the loop, not to a caller in the middle of its work. */
    if (running < m->running)
        event_active(m->finished, EV_TIMEOUT, 0);
    return 0;
}

void multi_remove(struct multi *m, CURL *easy, bool reported)
{
    if (!reported)
        m->running--;
    curl_multi_remove_handle(m->handle, easy);
}
