#include "dispatcher/tool_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/str.h"

/* ---- words ---- */

static const char **option_value(const struct tool_option *options, const char *word)
{
    for (; options->name; options++)
        if (strcmp(options->name, word) == 0)
            return options->value;
    return NULL;
}

int tool_options(int argc, char **argv, const struct tool_option *options, char ***words, size_t *count)
{
    bool only_words = false;
    *words = xcalloc((size_t)argc + 1, sizeof **words);
    *count = 0;
    for (int i = 1; i < argc; i++) {
        const char **value = only_words ? NULL : option_value(options, argv[i]);
        if (value && i + 1 < argc) {
            *value = argv[++i];
        } else if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && (value || strncmp(argv[i], "--", 2) == 0)) {
            fprintf(stderr, "%s: option \"%s\" is unknown or lacks its value\n", argv[0], argv[i]);
            free(*words);
            return -1;
        } else {
            (*words)[(*count)++] = argv[i];
        }
    }
    return 0;
}

int64_t tool_number(const char *text, int64_t otherwise)
{
    char *end;
    if (!text)
        return otherwise;
    errno = 0;
    int64_t value = strtoll(text, &end, 10);
    if (errno || *end || end == text) {
        fprintf(stderr, "\"%s\" is no number\n", text);
        exit(TOOL_USAGE);
    }
    return value;
}

int tool_slices(const char *fd, struct handovers *out)
{
    int number = fd ? (int)tool_number(fd, -1) : -1;
    int rc = number < 0 ? -1 : handover_read(number, out);
    if (number > STDERR_FILENO)
        close(number);
    if (rc)
        fputs("no configuration was handed over; run it through \"bridgebell\"\n", stderr);
    return rc;
}

int tool_read(const char *path, struct buf *out, const char **why)
{
    errno = 0;
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    char piece[16384];
    for (size_t n; f && !out->failed && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_add(out, piece, n);
    bool bad = !f || ferror(f);
    *why = bad ? strerror(errno) : out->failed ? "it is too long for an event" : NULL;
    if (f && f != stdin)
        fclose(f);
    return *why ? -1 : 0;
}

/* ---- answers ---- */

void tool_print(cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (!text)
        panic("out of memory");
    puts(text);
    cJSON_free(text);
}

int tool_end(int code)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? code : TOOL_FAILED;
}

int tool_fail(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    va_start(args, format);
    fputs("bridgebell: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return TOOL_FAILED;
}

int tool_faults(struct faults *faults)
{
    fflush(stdout);
    for (size_t i = 0; i < faults->count; i++) {
        const struct fault *f = &faults->list[i];
        if (f->file[0] && f->line)
            fprintf(stderr, "%s:%u: %s\n", f->file, f->line, f->text);
        else
            fprintf(stderr, "%s%s%s\n", f->file, f->file[0] ? ": " : "", f->text);
    }
    faults_free(faults);
    return TOOL_FAILED;
}

/* ---- what the engine tells ---- */

void tool_add_time(cJSON *o, const char *name, int64_t ms)
{
    char text[25];
    clock_format(ms, text);
    cJSON_AddStringToObject(o, name, text);
}

void tool_add_number(cJSON *o, const char *name, const char *number, struct tool_shown shown)
{
    char masked[32];
    cJSON_AddStringToObject(o, name, shown.numbers ? number : str_mask_number(number, masked, sizeof masked));
}

double tool_money(int64_t micro)
{
    return (double)micro / 1e6;
}

cJSON *tool_outcome(const struct engine_outcome *o, struct tool_shown shown)
{
    const struct store_job *j = o->job;
    char event[2 * HASH_ID_BYTES + 1];
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, "what", engine_fate_names[o->fate]);
    tool_add_time(out, "time", o->at_ms);
    cJSON_AddStringToObject(out, "rule", j->rule);
    tool_add_number(out, "to", j->number, shown);
    cJSON_AddStringToObject(out, "form", engine_form_names[o->form]);
    if (o->form != ENGINE_SINGLE)
        cJSON_AddNumberToObject(out, "count", (double)o->count);
    if (j->parts >= 0)
        cJSON_AddNumberToObject(out, "parts", j->parts);
    if (j->price_micro >= 0)
        cJSON_AddNumberToObject(out, "price", tool_money(j->price_micro));
    if (o->why != WHY_NOTHING)
        cJSON_AddStringToObject(out, "why", o->no_members ? "members not known" : store_why_names[o->why]);
    if (o->words && o->words[0])
        cJSON_AddStringToObject(out, "words", o->words);
    if (o->event) {
        str_hex(o->event->key.bytes, sizeof o->event->key.bytes, event);
        cJSON_AddStringToObject(out, "event", event);
    }
    if (shown.texts)
        cJSON_AddStringToObject(out, "text", j->text);
    return out;
}

const char *tool_currency(const struct slice *slice)
{
    const struct slice_block *b = slice_find(slice, "prices", NULL);
    return b ? slice_text(b, "currency", "PLN") : "PLN";
}
