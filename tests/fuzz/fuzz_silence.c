/* links: dispatcher_parts proto expr core */
/* The facts of silences, which come back from the disk, and what they do to an event. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/silences.h"

enum { ARENA_BYTES = 1024 * 1024 };
#define NOW_MS INT64_C(1795777200000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void match(struct silences *s)
{
    struct expr_value values[EXPR_EVENT_SLOTS];
    struct expr_arena *arena = expr_arena_new(ARENA_BYTES);
    for (size_t i = 0; i < EXPR_EVENT_SLOTS; i++)
        values[i] = expr_string_z("thread");
    const char *id = silences_match(s, values, "lorem", "normal", NOW_MS, arena);
    if (id && strcmp(id, "7") != 0)
        abort();
    if (id)
        silences_count(s, id);
    uint64_t failed;
    if (silences_matched(s, "7", &failed) != (id != NULL))
        abort();
    expr_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[SILENCES_WHY_SIZE] = "";
    char *text = xstrndup((const char *)data, size);
    struct silences *s = silences_new(NULL);
    int checked = silences_check(s, text, why, sizeof why);
    if (silences_put(s, "7", text, why, sizeof why) != checked || (checked && !why[0]))
        abort();
    match(s);
    cJSON *fact = checked ? NULL : cJSON_Parse(text);
    const char *when = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(fact, "when"));
    static const char *const rules[] = {"lorem", NULL};
    if (when && silences_doubt(when, rules, why, sizeof why) && !why[0])
        abort();
    cJSON_Delete(fact);
    cJSON *status = cJSON_CreateObject();
    silences_status(s, NOW_MS, status);
    cJSON_Delete(status);
    silences_free(&s);
    free(text);
    return 0;
}
