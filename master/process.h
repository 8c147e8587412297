/*
 * One child process: its start with the lifeline, what it says, its end.
 *
 * This module owns every pid the master has started and is the only one to wait for them. A process is gone
 * when it has been waited for and its lifeline was read to the end, so that its last words always come before
 * the news of its death. What should live when, and again, is decided in slot.h.
 */
#ifndef MASTER_PROCESS_H
#define MASTER_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "proto/slice.h"

enum process_kind { PROCESS_DISPATCHER, PROCESS_SENDER, PROCESS_LISTENER, PROCESS_KINDS };
extern const char *const process_kind_names[PROCESS_KINDS + 1];

struct process_order {
    enum process_kind kind;
    const char *instance;      /* "main", "1" */
    const struct slice *slice; /* sent at once; not kept */
    bool validate_only;
    int door_fd;        /* -1: none */
    char **environment; /* NULL: the master's own */
};

struct process;

/* Each may be NULL. GONE is the last call; the process is freed when it returns. */
struct process_events {
    void (*ready)(void *arg);
    /* FAULTS may be empty (after a clean validation); it belongs to the caller. */
    void (*faults)(void *arg, const struct faults *faults);
    void (*fatal)(void *arg, const char *text);
    void (*state)(void *arg, const char *text);
    void (*reply)(void *arg, uint64_t id, const char *text, size_t len);
    /* STATUS as from waitpid(2). */
    void (*gone)(void *arg, int status);
};

/* Finds the executables of all roles beside the running one, else in ../libexec/bridgebell. 0, or -1 with a
 * sentence in WHY (freed by the caller). Once, at start. */
int process_find_executables(char **why);
/* The path found for KIND; valid after process_find_executables. */
const char *process_executable(enum process_kind kind);

/* NULL with errno if the process cannot be made, EMSGSIZE if its slice is larger than a message may be. */
struct process *process_start(const struct process_order *order, const struct process_events *events,
                              void *arg);
pid_t process_pid(const struct process *p);
void process_quit(struct process *p, int64_t limit_ms);
void process_stop(struct process *p);
void process_reopen_log(struct process *p);
void process_control(struct process *p, uint64_t id, const char *request);
void process_kill(struct process *p);
/* No event reaches its owner any more; it is still waited for. */
void process_forget(struct process *p);

/* Waits for whatever has ended; to be called on SIGCHLD. */
void process_reap(void);
/* Processes not yet gone. */
size_t process_count(void);

/* "exit code 1", "signal 11 (Segmentation fault), core dumped" */
const char *process_describe_end(int status, char *out, size_t size);

#endif
