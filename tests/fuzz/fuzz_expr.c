/* links: expr core */
/*
 * Expressions and templates: any source, against one fixed event.
 *
 * The source is compiled and evaluated, checked and unchecked, and compiled and rendered as a template.
 * Beside doing no harm, a compiled expression must evaluate to the same twice, write as JSON unless it
 * failed, and never contradict its own requirements or the types that were found for it; a rendered template
 * must be valid UTF-8 without control characters unless it asked for them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "dispatcher/expr/check.h"
#include "dispatcher/expr/expr.h"
#include "dispatcher/expr/regex.h"
#include "dispatcher/expr/template.h"
#include "tests/unit/expr_requirements.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 20000u
#define MEMORY (2u << 20)

static struct expr_value event[EXPR_EVENT_SLOTS];

static void make_event(void)
{
    static struct expr_value list[4];
    static struct expr_value meta[4];
    static struct expr_value data[12];
    list[0] = expr_string_z("ada");
    list[1] = expr_int(7);
    list[2] = expr_double(-2.5);
    list[3] = expr_bytes("\xff\x00", 2);
    meta[0] = expr_string_z("title");
    meta[1] = expr_string("http://evil.com/\xe2\x80\xae\xff\n", 21);
    meta[2] = expr_int(3);
    meta[3] = expr_bool(true);
    data[0] = expr_string_z("threadId");
    data[1] = expr_string_z("6757b81daafe67cb6e19180e");
    data[2] = expr_string_z("n");
    data[3] = expr_int(INT64_MIN);
    data[4] = expr_string_z("list");
    data[5] = expr_list(list, 4);
    data[6] = expr_string_z("meta");
    data[7] = expr_map(meta, 2);
    data[8] = expr_string_z("u");
    data[9] = expr_uint(UINT64_MAX);
    data[10] = expr_string_z("none");
    data[11] = expr_null();
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        event[i] = expr_string_z("a");
    event[EXPR_SLOT_CHANNEL] = expr_string_z("thread");
    event[EXPR_SLOT_TYPE] = expr_string_z("threadNewMessage");
    event[EXPR_SLOT_DATA] = expr_map(data, 6);
    event[EXPR_SLOT_TIME] = expr_timestamp(1234567890, 123456789);
    event[EXPR_SLOT_AUTHOR] = expr_failure("no author");
    event[EXPR_SLOT_RECOVERED] = expr_bool(false);
}

static void demand(bool truth)
{
    if (!truth)
        abort();
}

static void check_requirements(const struct expr *expr, struct expr_value result)
{
    struct expr_requirements *requirements = expr_analyse(expr);
    bool truth = result.type == EXPR_BOOL && result.as.boolean;
    demand(!(truth && requirements->never));
    demand(!truth || requirements_hold(requirements, event, EXPR_EVENT_SLOTS));
    if (requirements->complete && result.type != EXPR_ERROR && !requirements->never)
        demand(truth == requirements_hold(requirements, event, EXPR_EVENT_SLOTS));
    expr_requirements_free(&requirements);
}

static bool holds_one_of(const char *source, size_t size, const char *const *words)
{
    for (; *words != NULL; words++)
        if (memmem(source, size, *words, strlen(*words)) != NULL)
            return true;
    return false;
}

/* What is refused fails, unless something around it may forgive that, or it only never is. */
static void check_refusal(const char *source, size_t size, const struct expr_error *error,
                          struct expr_value result)
{
    static const char *const forgiving[] = {"&&", "||", "?", "all", "exists", "filter", "map", NULL};
    static const char *const never[] = {"never equal", "finds nothing", NULL};
    demand(error->offset <= size && error->message[0] != '\0' && error->line > 0 && error->column > 0);
    if (!holds_one_of(source, size, forgiving) &&
        !holds_one_of(error->message, strlen(error->message), never))
        demand(result.type == EXPR_ERROR);
}

static void check_types(const struct expr *expr, const char *source, size_t size, const struct expr_env *env,
                        struct expr_value result)
{
    struct check_kind kind;
    struct expr_error error;
    if (!check_infer(expr, env, &kind, &error)) {
        check_refusal(source, size, &error, result);
        demand(!expr_check(expr, env, &expr_condition, NULL));
        return;
    }
    demand(check_fits(&kind, result));
    demand(result.type != EXPR_BOOL || expr_check(expr, env, &expr_condition, NULL));
}

static void try_expression(const char *source, size_t size, bool unchecked)
{
    struct expr_env env = *expr_event_env();
    struct expr_activation activation = {
        .values = event, .value_count = EXPR_EVENT_SLOTS, .step_limit = STEPS};
    struct expr_error error;
    env.unchecked = unchecked;
    struct expr *expr = expr_compile(source, size, &env, &error);
    if (expr == NULL) {
        char caret[256];
        demand(error.offset <= size && error.message[0] != '\0' && error.line > 0 && error.column > 0);
        expr_error_caret(source, size, &error, caret, sizeof caret);
        return;
    }
    struct expr_arena *arena = expr_arena_new(MEMORY);
    const char *out[2];
    size_t length[2];
    struct expr_value first = expr_eval(expr, &activation, arena);
    int written = expr_value_to_json(first, arena, &out[0], &length[0]);
    check_requirements(expr, first);
    check_types(expr, source, size, &env, first);
    if (written == 0) {
        demand(str_utf8_valid(out[0], length[0]));
        char *kept = malloc(length[0] + 1);
        demand(kept != NULL);
        memcpy(kept, out[0], length[0]);
        expr_arena_reset(arena);
        demand(expr_value_to_json(expr_eval(expr, &activation, arena), arena, &out[1], &length[1]) == 0);
        demand(length[0] == length[1] && memcmp(kept, out[1], length[1]) == 0);
        free(kept);
    }
    expr_arena_free(&arena);
    expr_free(&expr);
}

static void try_template(const char *source, size_t size)
{
    char text[512];
    struct expr_activation activation = {
        .values = event, .value_count = EXPR_EVENT_SLOTS, .step_limit = STEPS};
    struct expr_template *tmpl = expr_template_compile(source, size, expr_event_env(), NULL);
    if (tmpl == NULL)
        return;
    struct expr_arena *arena = expr_arena_new(MEMORY);
    struct expr_template_result result =
        expr_template_render(tmpl, &activation, arena, 40, text, sizeof text);
    demand(result.length < sizeof text && text[result.length] == '\0');
    if (str_utf8_valid(source, size))
        demand(str_utf8_valid(text, result.length));
    expr_arena_free(&arena);
    expr_template_free(&tmpl);
}

static void try_pattern(const char *source, size_t size)
{
    const char *message = NULL;
    size_t offset = 0;
    struct expr_regex *regex = expr_regex_compile(source, size, NULL, &message, &offset);
    if (regex == NULL) {
        demand(message != NULL && offset <= size);
        return;
    }
    struct expr_arena *arena = expr_arena_new(MEMORY);
    expr_regex_match(regex, "aaaaaaaaaaaaaaaaaab, AB12 \xc5\xbc\n", 29, arena, &message);
    expr_arena_free(&arena);
    expr_regex_free(&regex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *source = (const char *)data;
    make_event();
    if (size > EXPR_SOURCE_LIMIT + 1)
        return 0;
    try_expression(source, size, false);
    try_expression(source, size, true);
    try_template(source, size);
    if (size <= 256)
        try_pattern(source, size);
    return 0;
}
