#include "dispatcher/control_explain.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "dispatcher/batch.h"
#include "dispatcher/control_parts.h"
#include "dispatcher/explain.h"
#include "dispatcher/journal_line.h"
#include "proto/role.h"

struct explaining {
    struct control *control;
    uint64_t id;
    struct tool_shown shown;
    struct buf packed;
    struct msg_in in;
    struct event event;
    char *bridge;
    cJSON *explanation;
    struct batch *batch;
    bool look_up; /* members that are not known */
};

static void forget(struct explaining *x)
{
    batch_free(&x->batch);
    cJSON_Delete(x->explanation);
    msg_in_free(&x->in);
    buf_free(&x->packed);
    free(x->bridge);
    free(x);
}

static void reply(struct explaining *x)
{
    cJSON *o = control_good();
    tool_add_time(x->explanation, "at", store_now_ms(x->control->store));
    cJSON_AddStringToObject(x->explanation, "state", "live");
    cJSON_AddItemToObject(o, "explanation", x->explanation);
    x->explanation = NULL;
    role_reply(x->id, o);
    forget(x);
}

/* Some of the people are members of a container that nobody has looked up yet. */
static void note_waiting(struct explaining *x)
{
    bool asked = x->look_up && intake_look_up(x->control->intake, &x->event);
    cJSON_AddBoolToObject(x->explanation, "waits", true);
    cJSON_AddBoolToObject(x->explanation, "looked_up", asked);
}

static void on_tried(struct store_unit *unit, enum store_status status)
{
    struct explaining *x = unit->arg;
    if (status != STORE_OK) {
        control_refuse_store(x->id, status);
        forget(x);
        return;
    }
    const struct store_decision *d = &x->batch->intake.decisions[0];
    for (size_t i = 0; i < d->jobs_count; i++)
        explain_add_job(x->explanation, x->control->rules, &d->jobs[i], x->shown);
    if (d->packed)
        note_waiting(x);
    reply(x);
}

/* A bridge for notifications that do not name theirs. */
static const char *bridge_of(const struct control *c, const cJSON *request)
{
    const char *given = control_text(request, "bridge");
    const struct slice_block *b = slice_find(c->slice, "bridge", NULL);
    return given ? given : b ? b->title : "main";
}

static int read_event(struct explaining *x, const cJSON *request, const char **why)
{
    const char *text = control_text(request, "event");
    const char *bridge = control_text(request, "bridge");
    *why = "the configuration has no such bridge";
    if (bridge && !slice_find(x->control->slice, "bridge", bridge))
        return -1;
    *why = "which event?";
    if (!text || journal_line_parse(text, strlen(text), bridge_of(x->control, request), &x->packed, why))
        return -1;
    if (event_unpack(&x->in, x->packed.data, x->packed.len, &x->event) == 0)
        return 0;
    *why = "malformed";
    return -1;
}

static void decide(struct explaining *x)
{
    struct control *c = x->control;
    struct rule_counts *counts = explain_keep_counts(c->rules);
    x->explanation = explain_rules(c->rules, &x->event);
    x->bridge = msg_str_dup(x->event.bridge);
    x->batch = batch_new(NULL, NULL, NULL, 0, -1, x->bridge);
    batch_add_event(x->batch, &x->event, c->rules, store_identity(c->store), store_now_ms(c->store));
    explain_add_failures(x->explanation, c->rules, counts);
    explain_restore_counts(c->rules, &counts);
    if (!x->batch->intake.count) {
        reply(x);
        return;
    }
    batch_keep_event(x->batch, 0, (struct msg_str){x->packed.data, x->packed.len});
    x->batch->intake.decisions[0].try_only = true;
    x->batch->intake.unit.done = on_tried;
    x->batch->intake.unit.arg = x;
    store_submit(c->store, &x->batch->intake.unit);
}

void control_explain(struct control *c, uint64_t id, const cJSON *request)
{
    const char *why;
    struct explaining *x = xcalloc(1, sizeof *x);
    bool masked = control_is_masked(request);
    x->control = c;
    x->id = id;
    x->look_up = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "look_up"));
    x->shown.texts = !masked;
    x->shown.numbers = !masked && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "numbers"));
    buf_init(&x->packed, 0);
    msg_in_init(&x->in);
    if (read_event(x, request, &why) == 0) {
        decide(x);
        return;
    }
    control_refuse(id, why, "give a notification as the Bridge sends it, or a line of the journal");
    forget(x);
}
