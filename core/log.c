#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/str.h"

enum { LINE_MAX_BYTES = 4096, VALUE_MAX_BYTES = 1024 };

static struct {
    enum log_format format;
    enum log_level level;
    int fd;
    char *path;
    char process[64];
    uint64_t lost;
} logger = {.format = LOG_LOGFMT, .level = LOG_INFO, .fd = STDERR_FILENO, .process = "bridgebell"};

static const char *const level_names[LOG_LEVELS] = {"debug", "info", "warn", "error"};

int log_level_parse(const char *word)
{
    for (int i = 0; i < LOG_LEVELS; i++)
        if (strcmp(word, level_names[i]) == 0)
            return i;
    return -1;
}

void log_process(const char *process)
{
    snprintf(logger.process, sizeof logger.process, "%s", process);
}

void log_configure(enum log_format format, enum log_level level)
{
    logger.format = format;
    logger.level = level;
}

bool log_wants(enum log_level level)
{
    return level >= logger.level;
}

uint64_t log_lost(void)
{
    return logger.lost;
}

int log_open(const char *path)
{
    int fd = STDERR_FILENO;
    if (path) {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
        if (fd < 0)
            return -1;
    }
    if (logger.fd != STDERR_FILENO)
        close(logger.fd);
    logger.fd = fd;
    char *copy = path ? xstrdup(path) : NULL;
    free(logger.path);
    logger.path = copy;
    return 0;
}

int log_reopen(void)
{
    if (!logger.path)
        return 0;
    char *path = xstrdup(logger.path);
    int rc = log_open(path);
    free(path);
    return rc;
}

struct line {
    char data[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *l, char c)
{
    /* Two bytes stay free for what closes the line. */
    if (l->len < sizeof l->data - 2)
        l->data[l->len++] = c;
}

static void puts_plain(struct line *l, const char *s)
{
    while (*s)
        put(l, *s++);
}

static void put_escaped(struct line *l, const char *s)
{
    size_t n = 0;
    for (; *s && n < VALUE_MAX_BYTES; s++, n++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            put(l, '\\');
            put(l, *s);
        } else if (c == '\n') {
            puts_plain(l, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            char hex[8];
            snprintf(hex, sizeof hex, "\\u%04x", c);
            puts_plain(l, hex);
        } else {
            put(l, *s);
        }
    }
}

static bool is_plain(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= 0x20 || c == 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return true;
}

static void put_text(struct line *l, const char *key, const char *text)
{
    bool json = logger.format == LOG_JSON;
    if (l->len > 1)
        put(l, json ? ',' : ' ');
    if (json)
        put(l, '"');
    puts_plain(l, key);
    puts_plain(l, json ? "\":" : "=");
    bool quoted = json || !is_plain(text);
    if (quoted)
        put(l, '"');
    put_escaped(l, text);
    if (quoted)
        put(l, '"');
}

static void put_int(struct line *l, const char *key, int64_t value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    if (logger.format != LOG_JSON) {
        put_text(l, key, digits);
        return;
    }
    put(l, ',');
    put(l, '"');
    puts_plain(l, key);
    puts_plain(l, "\":");
    puts_plain(l, digits);
}

static void put_field(struct line *l, const struct log_field *f)
{
    char scratch[64];
    switch (f->kind) {
    case LOG_KIND_STR:
        if (f->text)
            put_text(l, f->key, f->text);
        break;
    case LOG_KIND_NUMBER:
        put_text(l, f->key, str_mask_number(f->text, scratch, sizeof scratch));
        break;
    case LOG_KIND_ERRNO:
        put_text(l, f->key, strerror((int)f->number));
        break;
    case LOG_KIND_INT:
        put_int(l, f->key, f->number);
        break;
    case LOG_KIND_END:
        break;
    }
}

void log_write(enum log_level level, const char *message, ...)
{
    if (!log_wants(level))
        return;
    int saved = errno;
    struct line l;
    l.len = 0;
    if (logger.format == LOG_JSON)
        put(&l, '{');
    char now[25];
    clock_format(clock_wall_ms(), now);
    put_text(&l, "ts", now);
    put_text(&l, "level", level_names[level]);
    put_text(&l, "process", logger.process);
    put_text(&l, "msg", message);
    va_list args;
    va_start(args, message);
    for (;;) {
        struct log_field f = va_arg(args, struct log_field);
        if (f.kind == LOG_KIND_END)
            break;
        put_field(&l, &f);
    }
    va_end(args);
    if (logger.format == LOG_JSON)
        l.data[l.len++] = '}';
    l.data[l.len++] = '\n';
    if (write(logger.fd, l.data, l.len) != (ssize_t)l.len)
        logger.lost++;
    errno = saved;
}
