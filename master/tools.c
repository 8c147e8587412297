#include "master/tools.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "master/childenv.h"
#include "master/crew.h"
#include "master/print.h"
#include "master/process.h"

enum { LINE_MAX_BYTES = 64 * 1024 * 1024 };

/* That of tools, which get no secret from ours either. */
static char **environment;

/* Takes out what CONF holds, beside what other configurations do. */
static void clean_environment(const struct conf *conf)
{
    char **own = environ, **before = environment;
    if (before)
        environ = before;
    environment = crew_environment(conf);
    environ = own;
    childenv_free(&before);
}

static int load(struct handovers *slices, const char *file, struct faults *faults)
{
    if (handover_find(slices, file))
        return 0;
    log_process("bridgebell");
    log_configure(LOG_LOGFMT, LOG_ERROR);
    struct conf *conf = conf_load(file, faults);
    if (!conf)
        return -1;
    clean_environment(conf);
    handover_add(slices, file, conf_slice_dispatcher(conf));
    conf_free(&conf);
    return 0;
}

int tools_load(struct handovers *slices, const char *file)
{
    struct faults faults = {0};
    int rc = load(slices, file, &faults);
    if (rc) {
        fflush(stdout);
        print_faults(stderr, &faults);
        command_fail("%zu fault%s in %s", faults.count, faults.count == 1 ? "" : "s", file);
    }
    faults_free(&faults);
    return rc;
}

int tools_load_if_good(struct handovers *slices, const char *file)
{
    struct faults faults = {0};
    int rc = load(slices, file, &faults);
    faults_free(&faults);
    return rc;
}

/* ---- words ---- */

void tool_word(struct tool_words *w, const char *word)
{
    if (w->count + 1 >= w->size) {
        w->size = w->size ? 2 * w->size : 16;
        w->list = xreallocarray(w->list, w->size, sizeof *w->list);
    }
    w->list[w->count++] = word;
    w->list[w->count] = NULL;
}

void tool_option(struct tool_words *w, const char *option, const char *value)
{
    if (!value)
        return;
    tool_word(w, option);
    tool_word(w, value);
}

void tool_words_free(struct tool_words *w)
{
    free(w->list);
    *w = (struct tool_words){0};
}

/* ---- running ---- */

/* A descriptor of TEXT to read from; -1 with errno. */
static int input_of(const char *text)
{
    int fd = memfd_create("bridgebell-input", MFD_CLOEXEC);
    size_t len = strlen(text);
    while (fd >= 0 && len) {
        ssize_t n = write(fd, text, len);
        if (n < 0) {
            int error = errno;
            close(fd);
            errno = error;
            return -1;
        }
        text += n;
        len -= (size_t)n;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

static _Noreturn void become(const char *path, const char *tool, const struct tool_words *words, int slices)
{
    char number[16];
    size_t n = 0;
    char **argv = xcalloc(words->count + 6, sizeof *argv);
    snprintf(number, sizeof number, "%d", slices);
    argv[n++] = xstrdup(path);
    argv[n++] = xstrdup("tool");
    argv[n++] = xstrdup(tool);
    argv[n++] = xstrdup("--slices");
    argv[n++] = number;
    for (size_t i = 0; i < words->count; i++)
        argv[n++] = xstrdup(words->list[i]);
    execve(path, argv, environment ? environment : environ);
    command_fail("%s cannot be run: %s", path, strerror(errno));
    _exit(COMMAND_FAILED);
}

static int read_lines(FILE *in, tool_line_fn *fn, void *arg)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int rc = 0;
    while (rc == 0 && (len = getline(&line, &size, in)) > 0) {
        cJSON *json = len <= LINE_MAX_BYTES ? cJSON_ParseWithLength(line, (size_t)len) : NULL;
        if (json)
            fn(arg, json);
        else
            rc = -1;
        cJSON_Delete(json);
    }
    free(line);
    return rc == 0 && ferror(in) ? -1 : rc;
}

static int wait_for(pid_t pid)
{
    char text[96];
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return command_fail("the tool was lost: %s", strerror(errno));
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    /* Whoever read the output has seen enough. */
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE)
        return COMMAND_FAILED;
    return command_fail("the tool ended by %s", process_describe_end(status, text, sizeof text));
}

static void dress(int input, const int out[2])
{
    if (input >= 0)
        dup2(input, STDIN_FILENO);
    if (out[1] >= 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
    }
}

static int run(const char *tool, const struct tool_words *words, int slices, int input, tool_line_fn *fn,
               void *arg)
{
    int out[2] = {-1, -1};
    if (fn && pipe(out))
        return command_fail("no pipe: %s", strerror(errno));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dress(input, out);
        become(process_executable(PROCESS_DISPATCHER), tool, words, slices);
    }
    if (!fn)
        return pid < 0 ? command_fail("no process: %s", strerror(errno)) : wait_for(pid);
    close(out[1]);
    FILE *in = fdopen(out[0], "r");
    bool bad = pid > 0 && (!in || read_lines(in, fn, arg));
    if (in)
        fclose(in);
    else
        close(out[0]);
    int code = pid < 0 ? command_fail("no process: %s", strerror(errno)) : wait_for(pid);
    return bad ? command_fail("the tool's answer cannot be read") : code;
}

int tools_run(const char *tool, const struct tool_words *words, const struct handovers *slices,
              const char *input, tool_line_fn *fn, void *arg)
{
    char *why = NULL;
    if (process_find_executables(&why)) {
        command_fail("%s", why);
        free(why);
        return COMMAND_FAILED;
    }
    int fd = handover_write(slices), in = input ? input_of(input) : -1;
    int code = fd < 0 || (input && in < 0)
                   ? command_fail("the configuration cannot be handed over: %s", strerror(errno))
                   : run(tool, words, fd, in, fn, arg);
    if (fd >= 0)
        close(fd);
    if (in >= 0)
        close(in);
    return code;
}
