/*
 * One line per event, logfmt or JSON, with stable names.
 *
 *     log_info("subscribed", log_str("bridge", name), log_int("channels", n));
 *     ts=2026-11-23T09:38:00.123Z level=info process=listener:main msg=subscribed bridge=main channels=2
 *
 * The message is a fixed phrase; what varies goes into fields. Secrets and message text are never logged;
 * numbers go through log_number, which masks them. A line is written by one write(2), so that processes may
 * share a file; a line that cannot be written is counted, never waited for.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVELS };
enum log_format { LOG_LOGFMT, LOG_JSON };

enum log_kind { LOG_KIND_END, LOG_KIND_STR, LOG_KIND_INT, LOG_KIND_NUMBER, LOG_KIND_ERRNO };

struct log_field {
    const char *key;
    const char *text;
    int64_t number;
    enum log_kind kind;
};

/* TEXT may be NULL: the field is then left out. */
static inline struct log_field log_str(const char *key, const char *text)
{
    return (struct log_field){key, text, 0, LOG_KIND_STR};
}
static inline struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){key, NULL, value, LOG_KIND_INT};
}
/* A phone number; shown masked. */
static inline struct log_field log_number(const char *key, const char *number)
{
    return (struct log_field){key, number, 0, LOG_KIND_NUMBER};
}
/* `error="No space left on device"` for an errno value. */
static inline struct log_field log_errno(int error)
{
    return (struct log_field){"error", NULL, error, LOG_KIND_ERRNO};
}

#define LOG_END ((struct log_field){NULL, NULL, 0, LOG_KIND_END})
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__, LOG_END)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__, LOG_END)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__, LOG_END)

/* Variadic arguments are struct log_field, ended by LOG_END; use the macros. */
void log_write(enum log_level level, const char *message, ...);

/* PROCESS names the writer in every line ("sender:2"); copied. Before log_open lines go to stderr. */
void log_process(const char *process);
void log_configure(enum log_format format, enum log_level level);
/* Appends to PATH from now on (created 0640); NULL means stderr. 0, or -1 with errno and nothing changed. */
int log_open(const char *path);
/* Opens the same path again, after the file was moved away (USR1). */
int log_reopen(void);
bool log_wants(enum log_level level);
/* Lines that could not be written since the start. */
uint64_t log_lost(void);

/* From "debug", "info", "warn" or "error"; -1 if it is none of them. */
int log_level_parse(const char *word);

#endif
