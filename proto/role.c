#include "proto/role.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/title.h"
#include "proto/zsock.h"

enum { FRAME_HEAD = 4 };

/* ---- frames ---- */

struct lifeline {
    struct bufferevent *bev;
    lifeline_fn *message;
    lifeline_closed_fn *closed;
    void *arg;
    struct msg_in in;
    bool freed, busy, over;
};

static void lifeline_destroy(struct lifeline *l)
{
    bufferevent_free(l->bev);
    msg_in_free(&l->in);
    free(l);
}

static void lifeline_end(struct lifeline *l)
{
    if (l->over)
        return;
    l->over = true;
    bufferevent_disable(l->bev, EV_READ | EV_WRITE);
    l->closed(l->arg);
}

/* Takes one frame off the input. 1: done, 0: not there yet, -1: garbage. */
static int lifeline_take(struct lifeline *l)
{
    struct evbuffer *in = bufferevent_get_input(l->bev);
    unsigned char head[FRAME_HEAD];
    if (evbuffer_copyout(in, head, sizeof head) < (ev_ssize_t)sizeof head)
        return 0;
    size_t len = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (len == 0 || len > MSG_BYTES_MAX)
        return -1;
    if (evbuffer_get_length(in) < FRAME_HEAD + len)
        return 0;
    evbuffer_drain(in, FRAME_HEAD);
    const void *data = evbuffer_pullup(in, (ev_ssize_t)len);
    struct msg_fields fields;
    int type = msg_parse(&l->in, data, len, &fields);
    if (type < 0)
        return -1;
    l->message(l->arg, type, &fields);
    if (!l->freed)
        evbuffer_drain(in, len);
    return 1;
}

static void on_lifeline_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    struct lifeline *l = arg;
    int rc = 1;
    l->busy = true;
    while (rc > 0 && !l->freed && !l->over)
        rc = lifeline_take(l);
    if (rc < 0 && !l->freed)
        lifeline_end(l);
    l->busy = false;
    if (l->freed)
        lifeline_destroy(l);
}

static void on_lifeline_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    struct lifeline *l = arg;
    if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
        return;
    l->busy = true;
    lifeline_end(l);
    l->busy = false;
    if (l->freed)
        lifeline_destroy(l);
}

struct lifeline *lifeline_new(int fd, lifeline_fn *message, lifeline_closed_fn *closed, void *arg)
{
    struct lifeline *l = xcalloc(1, sizeof *l);
    evutil_make_socket_nonblocking(fd);
    l->bev = bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!l->bev)
        panic("no bufferevent for the lifeline");
    l->message = message;
    l->closed = closed;
    l->arg = arg;
    msg_in_init(&l->in);
    bufferevent_setcb(l->bev, on_lifeline_read, NULL, on_lifeline_event, l);
    bufferevent_enable(l->bev, EV_READ | EV_WRITE);
    return l;
}

void lifeline_send(struct lifeline *l, const struct msg_out *m)
{
    if (l->over || m->buf.failed)
        return;
    size_t len = m->buf.len;
    unsigned char head[FRAME_HEAD] = {(unsigned char)len, (unsigned char)(len >> 8),
                                      (unsigned char)(len >> 16), (unsigned char)(len >> 24)};
    bufferevent_write(l->bev, head, sizeof head);
    bufferevent_write(l->bev, m->buf.data, len);
}

static size_t lifeline_pending(const struct lifeline *l)
{
    return evbuffer_get_length(bufferevent_get_output(l->bev));
}

void lifeline_free(struct lifeline **p)
{
    struct lifeline *l = *p;
    if (!l)
        return;
    *p = NULL;
    l->freed = true;
    l->over = true;
    if (!l->busy)
        lifeline_destroy(l);
}

/* ---- the child ---- */

static struct {
    const struct role *role;
    struct lifeline *line;
    struct slice *slice;
    struct msg_out out;
    char process[64];
    bool started, leaving;
    int exit_code;
    struct loop_timer *limit;
    struct event *on_term;
} child;

bool role_leaving(void)
{
    return child.leaving;
}

static void send_text(unsigned type, const char *text)
{
    msg_begin(&child.out, type, 1);
    msg_put_cstr(&child.out, text);
    lifeline_send(child.line, &child.out);
}

void role_ready(void)
{
    msg_begin(&child.out, ROLE_READY, 0);
    lifeline_send(child.line, &child.out);
}

void role_state(const char *text)
{
    title_set("bridgebell: %s (%s)", child.process, text);
    send_text(ROLE_STATE, text);
}

void role_reply(uint64_t id, cJSON *answer)
{
    char *text = cJSON_PrintUnformatted(answer);
    cJSON_Delete(answer);
    msg_begin(&child.out, ROLE_REPLY, 2);
    msg_put_uint(&child.out, id);
    msg_put_cstr(&child.out, text ? text : "{}");
    lifeline_send(child.line, &child.out);
    cJSON_free(text);
}

/* What was said last should still reach the master: leave once it is written, or after a second. */
static void leave_when_written(void *arg)
{
    static int tries;
    (void)arg;
    if (lifeline_pending(child.line) == 0 || ++tries > 100) {
        loop_stop();
        return;
    }
    static struct loop_timer *again;
    if (!again)
        again = loop_timer_new(leave_when_written, NULL);
    loop_timer_start(again, 10);
}

void role_leave(void)
{
    child.leaving = true;
    loop_defer(leave_when_written, NULL);
}

void role_fatal(const char *text)
{
    log_error("cannot go on until the operator changes something", log_str("reason", text));
    send_text(ROLE_FATAL, text);
    child.exit_code = ROLE_EXIT_CONFIG;
    role_leave();
}

static void limit_over(void *arg)
{
    (void)arg;
    log_warn("graceful stop took too long; leaving now");
    loop_stop();
}

static void begin_quit(int64_t limit_ms)
{
    if (child.leaving)
        return;
    child.leaving = true;
    if (!child.started) {
        loop_stop();
        return;
    }
    log_info("leaving gracefully", log_int("limit_ms", limit_ms));
    role_state("leaving");
    child.limit = loop_timer_new(limit_over, NULL);
    loop_timer_start(child.limit, limit_ms);
    child.role->quit(limit_ms);
}

static void send_faults(const struct faults *faults)
{
    msg_begin(&child.out, ROLE_FAULTS, 1);
    msg_put_array(&child.out, faults->count);
    for (size_t i = 0; i < faults->count; i++) {
        msg_put_array(&child.out, 3);
        msg_put_cstr(&child.out, faults->list[i].file);
        msg_put_uint(&child.out, faults->list[i].line);
        msg_put_cstr(&child.out, faults->list[i].text);
    }
    lifeline_send(child.line, &child.out);
}

static void configure_log(const struct slice *slice, struct faults *faults)
{
    const struct slice_block *log = slice_find(slice, "log", NULL);
    int level = log_level_parse(slice_text(log, "level", "info"));
    bool json = strcmp(slice_text(log, "format", "logfmt"), "json") == 0;
    log_configure(json ? LOG_JSON : LOG_LOGFMT, level < 0 ? LOG_INFO : (enum log_level)level);
    const char *file = slice_text(log, "file", NULL);
    if (file && log_open(file))
        faults_add(faults, log->file, slice_get(log, "file")->line,
                   "log file \"%s\" cannot be opened for appending", file);
}

static void begin_work(const char *instance, bool validate_only, bool has_door)
{
    struct faults faults = {0};
    if (instance[0])
        snprintf(child.process, sizeof child.process, "%s:%s", child.role->name, instance);
    log_process(child.process);
    title_set("bridgebell: %s", child.process);
    if (!validate_only)
        configure_log(child.slice, &faults);
    child.role->validate(child.slice, instance, &faults);
    if (!validate_only && faults.count == 0) {
        child.started = true;
        if (child.role->start(child.slice, instance, has_door, &faults) && faults.count == 0)
            faults_add(&faults, "", 0, "the %s cannot start; its log says why", child.role->name);
    }
    if (validate_only || faults.count) {
        send_faults(&faults);
        child.exit_code = faults.count ? ROLE_EXIT_CONFIG : 0;
        role_leave();
    }
    faults_free(&faults);
}

static void on_slice(struct msg_fields *f)
{
    char *instance = msg_str_dup(msg_get_str(f));
    bool validate_only = msg_get_bool(f);
    bool has_door = msg_get_bool(f);
    struct slice *slice = slice_unpack(f);
    if (child.slice || !slice || !msg_end(f))
        panic("the master sent a malformed slice");
    child.slice = slice;
    begin_work(instance ? instance : "", validate_only, has_door);
    free(instance);
}

static void on_quit(struct msg_fields *f)
{
    begin_quit((int64_t)msg_get_uint(f));
}

static void on_stop(struct msg_fields *f)
{
    (void)f;
    log_info("stopping");
    child.leaving = true;
    loop_stop();
}

static void on_reopen(struct msg_fields *f)
{
    (void)f;
    if (log_reopen())
        log_error("the log file cannot be opened again");
}

static void on_control(struct msg_fields *f)
{
    uint64_t id = msg_get_uint(f);
    struct msg_str text = msg_get_str(f);
    cJSON *request = text.data ? cJSON_ParseWithLength(text.data, text.len) : NULL;
    if (request && child.started && child.role->control) {
        child.role->control(id, request);
    } else {
        cJSON *answer = cJSON_CreateObject();
        cJSON_AddBoolToObject(answer, "ok", false);
        cJSON_AddStringToObject(answer, "error", "this process takes no such request");
        role_reply(id, answer);
    }
    cJSON_Delete(request);
}

static const struct {
    int type;
    void (*handle)(struct msg_fields *f);
} handlers[] = {
    {ROLE_SLICE, on_slice},   {ROLE_QUIT, on_quit},       {ROLE_STOP, on_stop},
    {ROLE_REOPEN, on_reopen}, {ROLE_CONTROL, on_control},
};

static void on_message(void *arg, int type, struct msg_fields *fields)
{
    (void)arg;
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        if (handlers[i].type == type) {
            handlers[i].handle(fields);
            return;
        }
    panic("the master sent a message of unknown type %d", type);
}

static void on_master_gone(void *arg)
{
    (void)arg;
    if (!child.leaving)
        log_warn("the master is gone; leaving");
    begin_quit(ROLE_DRAIN_MS);
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    begin_quit(ROLE_DRAIN_MS);
}

static void setup_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group; only the master acts on it */
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    child.on_term = evsignal_new(loop_base(), SIGTERM, on_term, NULL);
    if (!child.on_term || event_add(child.on_term, NULL))
        panic("libevent takes no signal");
}

static void cleanup(void)
{
    if (child.started && child.role->cleanup)
        child.role->cleanup();
    lifeline_free(&child.line);
    zsock_shutdown();
    slice_free(&child.slice);
    loop_timer_free(&child.limit);
    event_free(child.on_term);
    loop_free();
    msg_out_free(&child.out);
}

int role_main(const struct role *role, int argc, char **argv)
{
    title_setup(argc, argv);
    alloc_setup();
    if (sodium_init() < 0)
        panic("libsodium does not start");
    child.role = role;
    snprintf(child.process, sizeof child.process, "%s", role->name);
    log_process(child.process);
    if (fcntl(ROLE_LIFELINE_FD, F_GETFD) < 0) {
        fprintf(stderr, "bridgebell-%s is started by the master: run \"bridgebell run\"\n", role->name);
        return 2;
    }
    fcntl(ROLE_LIFELINE_FD, F_SETFD, FD_CLOEXEC);
    setup_signals();
    msg_out_init(&child.out, 0);
    child.line = lifeline_new(ROLE_LIFELINE_FD, on_message, on_master_gone, NULL);
    loop_run();
    cleanup();
    return child.exit_code;
}
