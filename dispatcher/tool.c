#include "dispatcher/tool.h"

#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "core/log.h"
#include "dispatcher/expr/expr.h"
#include "dispatcher/expr/text.h"
#include "dispatcher/rules.h"
#include "dispatcher/text/message_env.h"
#include "dispatcher/tool_parts.h"
#include "proto/event.h"

enum { ARENA_BYTES = 64 * 1024 * 1024 };

/* ---- the event ---- */

struct tool_event {
    struct buf packed;
    struct msg_in in;
    struct expr_value values[EXPR_EVENT_SLOTS];
};

static int load_event(struct tool_event *t, const char *path, const char *bridge)
{
    struct buf text;
    struct event e;
    const char *why = NULL;
    buf_init(&text, EVENT_FRAME_MAX);
    int rc = tool_read(path, &text, &why);
    if (rc == 0)
        rc = event_normalise(bridge, text.data ? text.data : "", text.len, 0, 0, &t->packed, &why);
    buf_free(&text);
    if (rc == 0 && event_unpack(&t->in, t->packed.data, t->packed.len, &e) == 0) {
        rules_values(&e, t->values);
        return 0;
    }
    fprintf(
        stderr,
        "event %s: %s\nhint: give one notification as the Bridge sends it, for example\n"
        "  {\"channel\":\"thread\",\"type\":\"threadNewMessage\",\"data\":{\"id\":\"…\"},\"timestamp\":0}\n",
        path, why);
    return -1;
}

/* ---- eval ---- */

/* What events hold may not move a terminal's cursor: such characters are escapes in JSON and "?" in words. */
static void print_shown(FILE *out, const char *text, size_t len, bool json)
{
    size_t used;
    for (size_t i = 0; i < len; i += used) {
        uint32_t code = text_decode(text + i, len - i, &used);
        if (!text_hides(code))
            fwrite(text + i, 1, used, out);
        else if (json)
            fprintf(out, "\\u%04x", (unsigned)code);
        else
            fputc('?', out);
    }
}

static void print_compile_error(const char *source, const struct expr_error *error)
{
    char caret[1024];
    size_t len = expr_error_caret(source, strlen(source), error, caret, sizeof caret);
    fprintf(stderr, "error: line %u, column %u: %s\n%.*s\n", error->line, error->column, error->message,
            (int)len, caret);
}

/* A failure, with a caret if it comes from what a configuration would refuse. */
static void print_failure(const char *source, struct expr_value failure)
{
    struct expr_error error;
    struct expr *expr = expr_compile(source, strlen(source), expr_event_env(), &error);
    size_t length = expr ? 0 : strlen(error.message);
    if (expr || length != failure.length || memcmp(error.message, failure.as.string, length) != 0) {
        fputs("error: ", stderr);
        print_shown(stderr, failure.as.string, failure.length, false);
        fputc('\n', stderr);
    }
    if (!expr)
        print_compile_error(source, &error);
    expr_free(&expr);
}

static int print_value(const char *source, struct expr_value value, struct expr_arena *arena)
{
    const char *text = NULL;
    size_t len = 0;
    if (value.type == EXPR_ERROR) {
        print_failure(source, value);
        return TOOL_FAILED;
    }
    if (expr_value_to_json(value, arena, &text, &len)) {
        fprintf(stderr, "error: the value cannot be written as JSON\n");
        return TOOL_FAILED;
    }
    print_shown(stdout, text, len, true);
    putchar('\n');
    return fflush(stdout) == 0 ? TOOL_FINE : TOOL_FAILED;
}

/* Whether a template of a message could hold it. */
static bool is_for_messages(const char *source)
{
    struct expr_error error;
    struct expr *for_event = expr_compile(source, strlen(source), expr_event_env(), &error);
    struct expr *for_message = expr_compile(source, strlen(source), message_env(), &error);
    bool is = !for_event && for_message;
    expr_free(&for_event);
    expr_free(&for_message);
    return is;
}

static void print_hints(const char *source, bool lacks_event)
{
    if (lacks_event)
        fputs("hint: the expression speaks of an event: give one with --event FILE\n", stderr);
    if (is_for_messages(source))
        fputs("hint: this can stand in a message only: \"bridgebell explain\" shows what a message becomes\n",
              stderr);
}

static int evaluate(const char *source, const struct tool_event *event)
{
    struct expr_env env = *expr_event_env();
    struct expr_error error;
    /* As in CEL, a name that nobody declares fails when it is looked at, not before: `true || x` is true. */
    env.unchecked = true;
    struct expr *expr = expr_compile(source, strlen(source), &env, &error);
    if (!expr) {
        print_compile_error(source, &error);
        print_hints(source, false);
        return TOOL_FAILED;
    }
    bool lacks_event = false;
    for (size_t slot = 0; !event && slot < EXPR_EVENT_SLOTS; slot++)
        lacks_event = lacks_event || (slot != EXPR_SLOT_TYPE && expr_uses_slot(expr, slot));
    struct expr_arena *arena = expr_arena_new(ARENA_BYTES);
    const struct expr_activation activation = {.values = event ? event->values : NULL,
                                               .value_count = event ? EXPR_EVENT_SLOTS : 0};
    int rc = print_value(source, expr_eval(expr, &activation, arena), arena);
    if (rc)
        print_hints(source, lacks_event);
    expr_arena_free(&arena);
    expr_free(&expr);
    return rc;
}

static int usage(void)
{
    fputs("usage: bridgebell eval EXPRESSION [--event FILE|-] [--bridge NAME]\n", stderr);
    return TOOL_USAGE;
}

struct eval_words {
    const char *source, *event_path, *bridge;
};

/* Not getopt: an expression may well begin with a minus. */
static int read_eval_words(int argc, char **argv, struct eval_words *w)
{
    const struct {
        const char *word;
        const char **value;
    } options[] = {{"--event", &w->event_path}, {"--bridge", &w->bridge}};
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        const char **value = NULL;
        for (size_t o = 0; !only_words && o < sizeof options / sizeof options[0]; o++)
            if (strcmp(argv[i], options[o].word) == 0)
                value = options[o].value;
        if (value && i + 1 < argc)
            *value = argv[++i];
        else if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!value && !w->source)
            w->source = argv[i];
        else
            return -1;
    }
    return w->source ? 0 : -1;
}

static int tool_eval(int argc, char **argv)
{
    struct eval_words words = {.bridge = "main"};
    if (read_eval_words(argc, argv, &words))
        return usage();
    struct tool_event event;
    memset(&event, 0, sizeof event);
    buf_init(&event.packed, 0);
    msg_in_init(&event.in);
    int rc = TOOL_USAGE;
    if (!words.event_path || load_event(&event, words.event_path, words.bridge) == 0)
        rc = evaluate(words.source, words.event_path ? &event : NULL);
    msg_in_free(&event.in);
    buf_free(&event.packed);
    return rc;
}

int tool_main(int argc, char **argv)
{
    static const struct {
        const char *word;
        int (*run)(int argc, char **argv);
    } tools[] = {{"eval", tool_eval},       {"replay", tool_replay}, {"event", tool_event},
                 {"explain", tool_explain}, {"job", tool_job},       {"test", tool_test}};
    log_process("bridgebell");
    log_configure(LOG_LOGFMT, LOG_ERROR);
    for (size_t i = 0; argc > 0 && i < sizeof tools / sizeof tools[0]; i++)
        if (strcmp(argv[0], tools[i].word) == 0)
            return tools[i].run(argc, argv);
    return usage();
}
