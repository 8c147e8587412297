#include "master/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/conf.h"
#include "core/alloc.h"
#include "core/buf.h"
#include "core/clock.h"
#include "master/json.h"
#include "master/print.h"
#include "master/rundir.h"
#include "master/text.h"

enum { ANSWER_MAX = 64 * 1024 * 1024, CHUNK = 16384, FILE_LINE_MAX = 4096 };

struct client_line {
    int fd;
    struct buf in;
};

/* ---- where ---- */

/* The value in a line `runtime_dir = "value"`, copied; NULL if LINE is something else or needs the parser. */
static char *value_in(const char *line)
{
    line += strspn(line, " \t");
    if (strncmp(line, "runtime_dir", 11) != 0)
        return NULL;
    line += 11;
    line += strspn(line, " \t");
    if (*line++ != '=')
        return NULL;
    line += strspn(line, " \t");
    if (*line != '"')
        return NULL;
    size_t len = strcspn(++line, "\"\\$");
    return line[len] == '"' && line[0] == '/' ? xstrndup(line, len) : NULL;
}

/* Reads no further than it must: a file of ten thousand rules, or one with a fault in it, still tells where
 * its master is. */
static char *glance(const char *file)
{
    char line[FILE_LINE_MAX];
    char *found = NULL;
    FILE *in = fopen(file, "re");
    if (!in)
        return NULL;
    while (!found && fgets(line, sizeof line, in))
        found = value_in(line);
    fclose(in);
    return found;
}

static char *parsed(const char *file)
{
    struct faults faults = {0};
    struct conf *conf = conf_load(file, &faults);
    const char *text = conf ? conf_text(conf, CONF_TOP, NULL, "runtime_dir") : NULL;
    char *found = text ? xstrdup(text) : NULL;
    conf_free(&conf);
    faults_free(&faults);
    return found;
}

/* What ARGUMENTS mean: --runtime-dir, else what the configuration file says, also when it has faults
 * elsewhere, else the default. The caller frees. */
static char *runtime_dir_of(const struct arguments *arguments)
{
    const char *given = options_get(arguments, "runtime-dir");
    if (given)
        return xstrdup(given);
    const char *file = command_config(arguments);
    char *found = glance(file);
    if (!found)
        found = parsed(file);
    return found ? found : xstrdup("/run/bridgebell");
}

/* ---- connecting ---- */

static void explain(const struct arguments *arguments, const char *runtime_dir, const char *path, int error)
{
    if (error == EACCES || error == EPERM) {
        command_fail("you may not use %s: run this as root or as the user that bridgebell runs as", path);
        return;
    }
    pid_t pid = rundir_master(runtime_dir);
    if (pid > 0) {
        command_fail(
            "bridgebell runs as process %d but does not answer on %s: %s; it may just be starting or "
            "stopping, see its log",
            (int)pid, path, strerror(error));
        return;
    }
    command_fail(
        "bridgebell is not running (nobody answers in %s)\n"
        "Start it with \"bridgebell run -c %s\" or \"systemctl start bridgebell\"; if it runs with another\n"
        "configuration, name that by -c FILE, or its runtime_dir by --runtime-dir DIR.",
        runtime_dir, command_config(arguments));
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

bool client_may_use(const struct arguments *arguments, enum control_door door)
{
    char *runtime_dir = runtime_dir_of(arguments);
    char *path = xasprintf("%s/%s", runtime_dir, control_door_files[door]);
    bool may = access(path, W_OK) == 0;
    free(path);
    free(runtime_dir);
    return may;
}

bool client_is_running(const struct arguments *arguments)
{
    char *runtime_dir = runtime_dir_of(arguments);
    char *path = xasprintf("%s/%s", runtime_dir, control_door_files[CONTROL_STATUS]);
    int fd = connect_to(path);
    /* One that may not be asked runs all the same; asking it says so. */
    bool runs = fd >= 0 || errno == EACCES || errno == EPERM;
    if (fd >= 0)
        close(fd);
    free(path);
    free(runtime_dir);
    return runs;
}

struct client_line *client_open(const struct arguments *arguments, enum control_door door)
{
    char *runtime_dir = runtime_dir_of(arguments);
    char *path = xasprintf("%s/%s", runtime_dir, control_door_files[door]);
    struct client_line *line = NULL;
    int fd = connect_to(path);
    if (fd >= 0) {
        line = xcalloc(1, sizeof *line);
        line->fd = fd;
        buf_init(&line->in, ANSWER_MAX);
    } else {
        explain(arguments, runtime_dir, path, errno);
    }
    free(path);
    free(runtime_dir);
    return line;
}

void client_close(struct client_line **line)
{
    if (!*line)
        return;
    close((*line)->fd);
    buf_free(&(*line)->in);
    free(*line);
    *line = NULL;
}

/* ---- asking ---- */

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Reads a piece. Bytes, 0 at the end, -1 on an error or (ETIMEDOUT) after END_MS. */
static ssize_t read_some(struct client_line *line, uint64_t end_ms)
{
    uint64_t now_ms = clock_mono_ms();
    struct pollfd p = {.fd = line->fd, .events = POLLIN};
    int rc = poll(&p, 1, now_ms < end_ms ? (int)(end_ms - now_ms) : 0);
    if (rc <= 0) {
        errno = rc == 0 ? ETIMEDOUT : errno;
        return rc < 0 && errno == EINTR ? read_some(line, end_ms) : -1;
    }
    char *to = buf_reserve(&line->in, CHUNK);
    if (!to) {
        errno = EMSGSIZE;
        return -1;
    }
    ssize_t n = read(line->fd, to, CHUNK);
    if (n > 0)
        line->in.len += (size_t)n;
    return n;
}

static cJSON *take_line(struct client_line *line, size_t len)
{
    cJSON *answer = cJSON_ParseWithLength(line->in.data, len);
    buf_consume(&line->in, len + 1);
    if (!answer)
        command_fail(
            "the answer is not well-formed; is this bridgebell of the same release as the running one?");
    return answer;
}

static cJSON *read_answer(struct client_line *line, int64_t limit_ms)
{
    uint64_t end_ms = clock_mono_ms() + (uint64_t)limit_ms;
    for (;;) {
        const char *at = line->in.len ? memchr(line->in.data, '\n', line->in.len) : NULL;
        if (at)
            return take_line(line, (size_t)(at - line->in.data));
        ssize_t n = read_some(line, end_ms);
        if (n > 0)
            continue;
        if (n < 0 && errno == ETIMEDOUT)
            command_fail("bridgebell does not answer within %lld s; its log may say why",
                         (long long)(limit_ms / 1000));
        else
            command_fail("bridgebell closed the connection%s%s; it may be stopping", n < 0 ? ": " : "",
                         n < 0 ? strerror(errno) : "");
        return NULL;
    }
}

cJSON *client_ask(struct client_line *line, cJSON *request, int64_t limit_ms)
{
    char *text = cJSON_PrintUnformatted(request);
    cJSON_Delete(request);
    int rc = write_all(line->fd, text, strlen(text));
    if (rc == 0)
        rc = write_all(line->fd, "\n", 1);
    cJSON_free(text);
    /* A master that refuses a request may have said why before it closed. */
    if (rc && errno != EPIPE) {
        command_fail("the request cannot be sent: %s", strerror(errno));
        return NULL;
    }
    return read_answer(line, limit_ms);
}

int client_wait_closed(struct client_line *line, int64_t limit_ms)
{
    uint64_t end_ms = clock_mono_ms() + (uint64_t)limit_ms;
    ssize_t n;
    while ((n = read_some(line, end_ms)) > 0)
        buf_reset(&line->in);
    return n < 0 && errno == ETIMEDOUT ? -1 : 0;
}

/* ---- answers ---- */

bool client_is_good(const cJSON *answer)
{
    if (cJSON_IsTrue(json_member(answer, "ok")))
        return true;
    const cJSON *fault;
    cJSON_ArrayForEach(fault, json_member(answer, "faults"))
    {
        const cJSON *number = json_member(fault, "line");
        char *text = text_clean(json_text(fault, "text"), TEXT_LINES);
        print_fault(stderr, json_text(fault, "file"), number ? (unsigned)number->valuedouble : 0, text);
        free(text);
    }
    char *error = text_clean(json_text(answer, "error"), TEXT_ONE_LINE);
    char *hint = text_clean(json_text(answer, "hint"), TEXT_ONE_LINE);
    command_fail("%s%s%s", error[0] ? error : "refused without a reason", hint[0] ? "; " : "", hint);
    free(error);
    free(hint);
    return false;
}

cJSON *client_call(const struct arguments *arguments, enum control_door door, cJSON *request,
                   int64_t limit_ms)
{
    struct client_line *line = client_open(arguments, door);
    if (!line) {
        cJSON_Delete(request);
        return NULL;
    }
    cJSON *answer = client_ask(line, request, limit_ms);
    client_close(&line);
    if (answer && !client_is_good(answer)) {
        cJSON_Delete(answer);
        answer = NULL;
    }
    return answer;
}

cJSON *client_request(const char *command)
{
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "command", command);
    return request;
}
