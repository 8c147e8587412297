#include "master/process.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/loop.h"
#include "proto/role.h"

enum {
    FAULTS_MAX = 10000,
    LAST_WORDS_MS = 1000, /* longest wait for the end of a dead child's lifeline */
    SPEECHLESS_MS = 5000, /* a child without a lifeline is killed after this */
    HIGH_FD = 64,         /* above every descriptor a child is given */
};

const char *const process_kind_names[PROCESS_KINDS + 1] = {"dispatcher", "sender", "listener", NULL};

struct process {
    struct process *next;
    enum process_kind kind;
    char *instance;
    pid_t pid;
    struct lifeline *line; /* NULL once closed */
    struct process_events events;
    void *arg;
    bool reaped, over;
    int status;
    struct loop_timer *timer;
};

static struct {
    struct process *list;
    size_t count;
    char *paths[PROCESS_KINDS];
    struct msg_out out;
    bool out_ready;
} processes;

/* ---- where the executables are ---- */

static bool find_in(const char *directory, const char *below)
{
    for (int kind = 0; kind < PROCESS_KINDS; kind++) {
        free(processes.paths[kind]);
        processes.paths[kind] = xasprintf("%s%s/bridgebell-%s", directory, below, process_kind_names[kind]);
        if (access(processes.paths[kind], X_OK))
            return false;
    }
    return true;
}

int process_find_executables(char **why)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0) {
        *why = xasprintf("/proc is needed and cannot be read: %s", strerror(errno));
        return -1;
    }
    self[len] = '\0';
    char *directory = dirname(self);
    if (find_in(directory, "") || find_in(directory, "/../libexec/bridgebell"))
        return 0;
    *why =
        xasprintf("bridgebell-dispatcher, bridgebell-sender and bridgebell-listener are neither in %s nor in "
                  "%s/../libexec/bridgebell",
                  directory, directory);
    return -1;
}

const char *process_executable(enum process_kind kind)
{
    return processes.paths[kind];
}

/* ---- the end ---- */

static void process_free(void *arg)
{
    struct process *p = arg;
    lifeline_free(&p->line);
    loop_timer_free(&p->timer);
    free(p->instance);
    free(p);
}

static void finish_if_over(struct process *p)
{
    if (!p->reaped || p->line || p->over)
        return;
    p->over = true;
    loop_timer_stop(p->timer);
    for (struct process **at = &processes.list; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    processes.count--;
    if (p->events.gone)
        p->events.gone(p->arg, p->status);
    loop_defer(process_free, p);
}

static void on_timer(void *arg)
{
    struct process *p = arg;
    if (!p->reaped) {
        log_warn("a child without its lifeline is killed", log_int("pid", p->pid));
        process_kill(p);
        return;
    }
    lifeline_free(&p->line);
    finish_if_over(p);
}

static void on_closed(void *arg)
{
    struct process *p = arg;
    lifeline_free(&p->line);
    if (p->reaped)
        finish_if_over(p);
    else
        loop_timer_start(p->timer, SPEECHLESS_MS);
}

static struct process *find_pid(pid_t pid)
{
    for (struct process *p = processes.list; p; p = p->next)
        if (p->pid == pid && !p->reaped)
            return p;
    return NULL;
}

void process_reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct process *p = find_pid(pid);
        if (!p)
            continue;
        p->reaped = true;
        p->status = status;
        if (p->line)
            loop_timer_start(p->timer, LAST_WORDS_MS);
        finish_if_over(p);
    }
}

const char *process_describe_end(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "signal %d (%s)%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
                 WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(out, size, "exit code %d", WEXITSTATUS(status));
    return out;
}

/* ---- what it says ---- */

static void take_faults(struct process *p, struct msg_fields *f)
{
    struct faults faults = {0};
    struct msg_fields list = msg_get_array(f);
    while (list.left && faults.count < FAULTS_MAX && !list.failed) {
        struct msg_fields one = msg_get_array(&list);
        char *file = msg_str_dup(msg_get_str(&one));
        unsigned line = (unsigned)msg_get_uint(&one);
        char *text = msg_str_dup(msg_get_str(&one));
        if (!msg_end(&one))
            list.failed = true;
        else
            faults_add(&faults, file, line, "%s", text ? text : "");
        free(file);
        free(text);
    }
    if (list.failed)
        faults_add(&faults, "", 0, "the %s gave an answer that is not well-formed",
                   process_kind_names[p->kind]);
    if (p->events.faults)
        p->events.faults(p->arg, &faults);
    faults_free(&faults);
}

static void take_text(struct process *p, struct msg_fields *f, void (*event)(void *arg, const char *text))
{
    char *text = msg_str_dup(msg_get_str(f));
    if (event && text)
        event(p->arg, text);
    free(text);
}

static void take_ready(struct process *p, struct msg_fields *f)
{
    (void)f;
    if (p->events.ready)
        p->events.ready(p->arg);
}

static void take_fatal(struct process *p, struct msg_fields *f)
{
    take_text(p, f, p->events.fatal);
}

static void take_state(struct process *p, struct msg_fields *f)
{
    take_text(p, f, p->events.state);
}

static void take_reply(struct process *p, struct msg_fields *f)
{
    uint64_t id = msg_get_uint(f);
    struct msg_str text = msg_get_str(f);
    if (p->events.reply && text.data && msg_end(f))
        p->events.reply(p->arg, id, text.data, text.len);
}

static const struct {
    int type;
    void (*take)(struct process *p, struct msg_fields *f);
} messages[] = {
    {ROLE_READY, take_ready}, {ROLE_FAULTS, take_faults}, {ROLE_FATAL, take_fatal},
    {ROLE_REPLY, take_reply}, {ROLE_STATE, take_state},
};

static void on_message(void *arg, int type, struct msg_fields *fields)
{
    struct process *p = arg;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
        if (messages[i].type == type) {
            messages[i].take(p, fields);
            return;
        }
    log_error("a child sent a message of unknown type", log_int("pid", p->pid), log_int("type", type));
}

/* ---- what it is told ---- */

static struct msg_out *begin(unsigned type, uint32_t fields)
{
    if (!processes.out_ready) {
        msg_out_init(&processes.out, MSG_BYTES_MAX);
        processes.out_ready = true;
    }
    msg_begin(&processes.out, type, fields);
    return &processes.out;
}

static void tell(struct process *p, const struct msg_out *m)
{
    if (p->line)
        lifeline_send(p->line, m);
}

void process_quit(struct process *p, int64_t limit_ms)
{
    struct msg_out *m = begin(ROLE_QUIT, 1);
    msg_put_uint(m, (uint64_t)limit_ms);
    tell(p, m);
}

void process_stop(struct process *p)
{
    tell(p, begin(ROLE_STOP, 0));
}

void process_reopen_log(struct process *p)
{
    tell(p, begin(ROLE_REOPEN, 0));
}

void process_control(struct process *p, uint64_t id, const char *request)
{
    struct msg_out *m = begin(ROLE_CONTROL, 2);
    msg_put_uint(m, id);
    msg_put_cstr(m, request);
    tell(p, m);
}

void process_kill(struct process *p)
{
    /* The pid is ours until it has been waited for, so no stranger can be hit. */
    if (!p->reaped)
        kill(p->pid, SIGKILL);
}

void process_forget(struct process *p)
{
    memset(&p->events, 0, sizeof p->events);
}

pid_t process_pid(const struct process *p)
{
    return p->pid;
}

size_t process_count(void)
{
    return processes.count;
}

/* ---- the start ---- */

/* Between fork and exec: system calls only. */
_Noreturn static void become(const struct process_order *order, const char *path, int lifeline_fd,
                             int door_fd)
{
    char *argv[] = {(char *)path, NULL};
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd >= 0)
        dup2(null_fd, STDIN_FILENO);
    dup2(lifeline_fd, ROLE_LIFELINE_FD);
    if (door_fd >= 0)
        dup2(door_fd, ROLE_DOOR_FD);
    else
        close(ROLE_DOOR_FD);
    close_range(ROLE_DOOR_FD + 1, ~0U, 0);
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(path, argv, order->environment ? order->environment : environ);
    static const char text[] = "bridgebell: a role's executable cannot be started\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    _exit(127);
}

/* Moves FD above the descriptors that a child is given, so that dup2 in the child never overwrites one that
 * is still needed. */
static int lift(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    int error = errno;
    close(fd);
    errno = error;
    return high;
}

static pid_t spawn(const struct process_order *order, int *lifeline_fd)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return -1;
    pair[1] = lift(pair[1]);
    int door_fd = order->door_fd >= 0 ? fcntl(order->door_fd, F_DUPFD_CLOEXEC, HIGH_FD) : -1;
    pid_t pid = -1;
    if (pair[1] >= 0 && (order->door_fd < 0 || door_fd >= 0))
        pid = fork();
    if (pid == 0)
        become(order, processes.paths[order->kind], pair[1], door_fd);
    int error = errno;
    if (pair[1] >= 0)
        close(pair[1]);
    if (door_fd >= 0)
        close(door_fd);
    if (pid < 0)
        close(pair[0]);
    *lifeline_fd = pair[0];
    errno = error;
    return pid;
}

struct process *process_start(const struct process_order *order, const struct process_events *events,
                              void *arg)
{
    struct msg_out *slice = begin(ROLE_SLICE, 4);
    msg_put_cstr(slice, order->instance);
    msg_put_bool(slice, order->validate_only);
    msg_put_bool(slice, order->door_fd >= 0);
    slice_pack(slice, order->slice);
    if (slice->buf.failed) {
        errno = EMSGSIZE;
        return NULL;
    }
    int fd;
    pid_t pid = spawn(order, &fd);
    if (pid < 0)
        return NULL;
    struct process *p = xcalloc(1, sizeof *p);
    p->kind = order->kind;
    p->instance = xstrdup(order->instance);
    p->pid = pid;
    p->events = *events;
    p->arg = arg;
    p->timer = loop_timer_new(on_timer, p);
    p->line = lifeline_new(fd, on_message, on_closed, p);
    p->next = processes.list;
    processes.list = p;
    processes.count++;
    tell(p, slice);
    return p;
}
