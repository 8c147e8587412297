#include "master/recalled.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "master/json.h"
#include "master/text.h"

static void add_count(struct buf *out, const cJSON *store, const char *name, const char *word)
{
    char number[48];
    double n = json_number(store, name);
    buf_addf(out, "%s %s%s", text_number(n, number, sizeof number), word, n == 1 ? "" : "s");
}

static void add_used(struct buf *out, const cJSON *store)
{
    if (json_number(store, "silences") <= 0 && json_number(store, "opt_outs") <= 0) {
        buf_adds(out, "no silence of the store held then, and nobody had opted out");
    } else {
        buf_adds(out, "with ");
        add_count(out, store, "silences", "silence");
        buf_adds(out, " and ");
        add_count(out, store, "opt_outs", "opt-out");
        buf_adds(out, " of the store, each while it held");
    }
    if (json_number(store, "unusable") > 0) {
        char number[48];
        buf_addf(out, "; %s more cannot be read",
                 text_number(json_number(store, "unusable"), number, sizeof number));
    }
    if (json_text(store, "known_since")[0])
        buf_addf(out, "; silences that ended before %s may be forgotten", json_text(store, "known_since"));
}

char *recalled_words(const cJSON *store, bool *lacks)
{
    struct buf out;
    buf_init(&out, 0);
    *lacks = json_flag(store, "wanted") && (!json_flag(store, "used") || json_number(store, "unusable") > 0 ||
                                            json_text(store, "known_since")[0]);
    if (!json_flag(store, "wanted"))
        buf_adds(&out, "silences and opt-outs of the store are left out");
    else if (!json_flag(store, "used"))
        buf_addf(&out, "silences and opt-outs are not known: %s", json_text(store, "why"));
    else
        add_used(&out, store);
    char *words = xstrdup(buf_cstr(&out));
    buf_free(&out);
    return words;
}
