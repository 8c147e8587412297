/* links: text expr core */
/*
 * What application users write, inserted into messages: up to three values, separated by a byte 0, behind a
 * first byte that chooses the template and how long an insertion may be.
 *
 * Whatever they hold, the message is valid UTF-8 without control or bidirectional characters, no longer than
 * allowed, and no word of it is a link, however the values meet each other and the text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "dispatcher/expr/links.h"
#include "dispatcher/expr/template.h"
#include "dispatcher/expr/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY (4u << 20)
#define VALUES 3u

static const char *const names[VALUES] = {"a", "b", "c"};

static const char *const templates[] = {
    "{{ a }}",
    "{{ a }}{{ b }}{{ c }}",
    "see {{ a }}.{{ b }}/{{ c }}",
    "www.{{ a }} {{ b }}@{{ c }}",
    "({{ [a, {'k': b}] }}) {{ c }}!",
    "http{{ a }}//{{ b }}:{{ c }}",
    "tel{{ a }}{{ b }}?",
    "{{ a }}\n{{ b }}:{{ c }}",
};
#define TEMPLATES (sizeof templates / sizeof templates[0])

static void demand(bool truth)
{
    if (!truth)
        abort();
}

static size_t split(const uint8_t *data, size_t size, struct expr_value *values)
{
    size_t count = 0;
    for (; count < VALUES; count++) {
        const uint8_t *end = size == 0 ? NULL : memchr(data, 0, size);
        size_t length = end == NULL || count + 1 == VALUES ? size : (size_t)(end - data);
        values[count] = expr_string((const char *)data, length);
        data += length + (length < size);
        size -= length + (length < size);
    }
    return count;
}

static void check_words(const char *text, size_t length)
{
    uint8_t *foreign = malloc(length + 1);
    demand(foreign != NULL);
    memset(foreign, 1, length + 1);
    for (size_t at = 0, start = 0; at <= length; at++) {
        if (at < length && text[at] != ' ' && text[at] != '\n')
            continue;
        demand(links_find(text + start, at - start, foreign, NULL) == 0);
        start = at + 1;
    }
    free(foreign);
}

static void check_characters(const char *text, size_t length, size_t most)
{
    size_t used = 0;
    demand(str_utf8_valid(text, length) && text_count(text, length) <= most);
    for (size_t at = 0; at < length; at += used) {
        uint32_t code = text_decode(text + at, length - at, &used);
        demand(code >= ' ' || code == '\n');
        demand(code < 0x7F || code > 0x9F);
        demand(code != 0x61C && (code < 0x200B || code > 0x200F) && (code < 0x2028 || code > 0x202E));
        demand((code < 0x2060 || code > 0x206F) && code != 0xFEFF);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out[16384];
    struct expr_value values[VALUES];
    struct expr_env env = {.variables = names, .variable_count = VALUES};
    struct expr_activation activation = {.values = values, .value_count = VALUES};
    if (size == 0)
        return 0;
    const char *source = templates[data[0] % TEMPLATES];
    size_t characters = 1 + data[0] / TEMPLATES * 6;
    split(data + 1, size - 1, values);
    struct expr_template *tmpl = expr_template_compile(source, strlen(source), &env, NULL);
    struct expr_arena *arena = expr_arena_new(MEMORY);
    demand(tmpl != NULL);
    struct expr_template_result result =
        expr_template_render(tmpl, &activation, arena, characters, out, sizeof out);
    demand(!result.truncated && out[result.length] == '\0' && strlen(out) == result.length);
    /* brackets around the points that a seam made links of */
    check_characters(out, result.length, (VALUES * characters + strlen(source)) * 3);
    check_words(out, result.length);
    expr_arena_free(&arena);
    expr_template_free(&tmpl);
    return 0;
}
