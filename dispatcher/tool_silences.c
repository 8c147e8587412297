/*
 * The silences and opt-outs that a store remembers, for decisions about the past.
 */
#include <string.h>

#include "core/clock.h"
#include "dispatcher/silences.h"
#include "dispatcher/tool_parts.h"

struct recalling {
    struct silences *silences;
    size_t unusable;
};

static void take_fact(void *arg, const char *name, const char *value)
{
    struct recalling *r = arg;
    r->unusable += !silences_recall(r->silences, name, value);
}

static int read_all(struct store_look *look, struct tool_recalled *out, struct engine *e)
{
    static const char *const prefixes[] = {SILENCE_FACT, OPT_OUT_FACT, OPT_IN_FACT};
    struct recalling r = {.silences = engine_silences(e)};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (store_look_facts(look, prefixes[i], take_fact, &r, out->why))
            return -1;
    out->unusable = r.unusable;
    return 0;
}

void tool_recall(const struct slice *slice, struct engine *e, struct tool_recalled *out)
{
    struct store_look *look = NULL;
    memset(out, 0, sizeof *out);
    out->wanted = slice != NULL;
    if (!slice || store_look_open(slice, &look, out->why) != STORE_LOOK_FINE)
        return;
    out->used = read_all(look, out, e) == 0;
    store_look_close(&look);
}

void tool_add_recalled(cJSON *o, const struct tool_recalled *r, struct engine *e, int64_t from_ms,
                       int64_t to_ms)
{
    size_t silences, opt_outs;
    cJSON *store = cJSON_AddObjectToObject(o, "store");
    cJSON_AddBoolToObject(store, "wanted", r->wanted);
    cJSON_AddBoolToObject(store, "used", r->used);
    if (!r->used) {
        if (r->wanted)
            cJSON_AddStringToObject(store, "why", r->why);
        return;
    }
    silences_held(engine_silences(e), from_ms, to_ms, &silences, &opt_outs);
    cJSON_AddNumberToObject(store, "silences", (double)silences);
    cJSON_AddNumberToObject(store, "opt_outs", (double)opt_outs);
    cJSON_AddNumberToObject(store, "unusable", (double)r->unusable);
    int64_t since_ms = silences_known_since(engine_silences(e), clock_wall_ms());
    if (from_ms < since_ms)
        tool_add_time(store, "known_since", since_ms);
}
