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

enum { LINE_MAX_BYTES = 4096, VALUE_MAX_BYTES = 1024, KEY_MAX_BYTES = 48 };

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

/* What closes a value and the line, for which there is always room. */
enum { CLOSING_BYTES = sizeof "\"}\n" - 1 };

static bool fits(const struct line *l, size_t len)
{
    return l->len + len + CLOSING_BYTES <= sizeof l->data;
}

static void put(struct line *l, const char *s, size_t len)
{
    memcpy(l->data + l->len, s, len);
    l->len += len;
}

/* Bytes of the letter at S, as far as they are there. */
static size_t letter(const char *s)
{
    size_t len = 1;
    while (len < 4 && ((unsigned char)s[len] & 0xc0) == 0x80)
        len++;
    return len;
}

/* Whole letters and escapes only, so that a value that is cut reads all the same. */
static void put_escaped(struct line *l, const char *s)
{
    size_t taken = 0;
    while (*s) {
        char escape[8];
        const char *text = s;
        size_t len = letter(s), out = len;
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\' || c == '\n') {
            text = escape;
            out = (size_t)snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c);
        } else if (c < 0x20 || c == 0x7f) {
            text = escape;
            out = (size_t)snprintf(escape, sizeof escape, "\\u%04x", c);
        }
        taken += len;
        if (taken > VALUE_MAX_BYTES || !fits(l, out))
            return;
        put(l, text, out);
        s += len;
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

/* ` key=` or `,"key":`, and with LEN bytes behind it; false if the line is full. */
static bool put_key(struct line *l, const char *key, size_t len)
{
    bool json = logger.format == LOG_JSON, first = l->len <= 1;
    size_t key_len = strnlen(key, KEY_MAX_BYTES);
    if (!fits(l, key_len + sizeof ",\"\":" - 1 + len))
        return false;
    if (!first)
        put(l, json ? "," : " ", 1);
    if (json)
        put(l, "\"", 1);
    put(l, key, key_len);
    put(l, json ? "\":" : "=", json ? 2 : 1);
    return true;
}

static void put_text(struct line *l, const char *key, const char *text)
{
    bool quoted = logger.format == LOG_JSON || !is_plain(text);
    if (!put_key(l, key, 1))
        return;
    if (quoted)
        put(l, "\"", 1);
    put_escaped(l, text);
    if (quoted)
        put(l, "\"", 1);
}

static void put_int(struct line *l, const char *key, int64_t value)
{
    char digits[32];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRId64, value);
    if (put_key(l, key, len))
        put(l, digits, len);
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
        put(&l, "{", 1);
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
        put(&l, "}", 1);
    put(&l, "\n", 1);
    if (write(logger.fd, l.data, l.len) != (ssize_t)l.len)
        logger.lost++;
    errno = saved;
}
