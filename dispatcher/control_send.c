#include "dispatcher/control_send.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/phone.h"
#include "core/str.h"
#include "dispatcher/control_parts.h"
#include "proto/role.h"

enum { FROM_MAX = 16, EXPIRES_MS = 24 * 3600 * 1000 };
static const char rule_name[] = CONTROL_SEND_RULE;

struct sending {
    struct store_intake intake;
    struct store_decision decision;
    struct store_job jobs[CONTROL_SEND_TO_MAX];
    struct store_job *pointers[CONTROL_SEND_TO_MAX];
    struct queue_ticket *ticket;
    struct control *control;
    uint64_t id;
};

static void sending_free(struct sending *s)
{
    for (size_t i = 0; i < s->decision.jobs_count; i++)
        store_job_free(&s->jobs[i]);
    free(s);
}

static void add_job(struct sending *s, const cJSON *to, const char *text, const char *from,
                    const struct slice_block *provider)
{
    char number[PHONE_SIZE];
    control_phone(s->control, to, number);
    for (size_t i = 0; i < s->decision.jobs_count; i++)
        if (strcmp(s->jobs[i].number, number) == 0)
            return;
    struct store *store = s->control->store;
    struct store_job *j = &s->jobs[s->decision.jobs_count];
    s->pointers[s->decision.jobs_count++] = j;
    const struct hash_id *identity = store_identity(store);
    const struct hash_part parts[] = {
        {identity->bytes, sizeof identity->bytes},
        {s->decision.key.bytes, sizeof s->decision.key.bytes},
        {rule_name, sizeof rule_name - 1},
        {number, strlen(number)},
    };
    hash_id(parts, sizeof parts / sizeof parts[0], &j->id);
    j->event = s->decision.key;
    j->bridge = xstrdup("");
    j->rule = xstrdup(rule_name);
    j->provider = xstrdup(provider->title);
    j->number = xstrdup(number);
    j->from = from ? xstrdup(from) : NULL;
    j->text = xstrdup(text);
    j->priority = PRIORITY_NORMAL;
    j->keep_on_delete = true;
    j->created_ms = j->event_ms = j->due_ms = s->decision.event_ms;
    j->expires_ms = j->created_ms + EXPIRES_MS;
    j->state = JOB_QUEUED;
    j->generation = 1;
    j->points_micro = -1;
    rules_by_hand(s->control->rules, j, s->decision.event_ms);
}

static void reply_sent(struct sending *s)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "ok", true);
    cJSON *ids = cJSON_CreateArray();
    for (size_t i = 0; i < s->decision.jobs_count; i++) {
        char hex[2 * HASH_ID_BYTES + 1];
        str_hex(s->jobs[i].id.bytes, sizeof s->jobs[i].id.bytes, hex);
        if (i == 0)
            cJSON_AddStringToObject(o, "id", hex);
        cJSON_AddItemToArray(ids, cJSON_CreateString(hex));
    }
    cJSON_AddItemToObject(o, "ids", ids);
    role_reply(s->id, o);
}

static void on_inserted(struct store_unit *unit, enum store_status status)
{
    struct sending *s = unit->arg;
    queue_settle(s->control->queue, s->ticket, status == STORE_OK);
    for (size_t i = 0; status == STORE_OK && i < s->decision.jobs_count; i++)
        rules_note(s->control->rules, &s->jobs[i], s->decision.event_ms);
    if (status == STORE_OK)
        reply_sent(s);
    else
        control_refuse(s->id, status == STORE_FULL ? "the store is full" : "the store failed",
                       "nothing will be sent");
    sending_free(s);
}

/* Why the request is no message, with *HINT; NULL if it is one. */
static const char *fault_of(const struct control *c, const cJSON *to, const char *text, const char *from,
                            const char **hint)
{
    if (!text || !text[0])
        return "the message is empty";
    if (strlen(text) > WIRE_TEXT_MAX || !str_utf8_valid(text, strlen(text)))
        return "the message is too long";
    if (from && (!from[0] || strlen(from) > FROM_MAX))
        return "the sender name is longer than 16 characters";
    int count = cJSON_IsArray(to) ? cJSON_GetArraySize(to) : 1;
    if (!to || count < 1 || count > CONTROL_SEND_TO_MAX)
        return "to whom?";
    for (int i = 0; i < count; i++) {
        char number[PHONE_SIZE];
        if (!control_phone(c, cJSON_IsArray(to) ? cJSON_GetArrayItem(to, i) : to, number))
            continue;
        *hint = "numbers are written with country code, as in +48500500500";
        return "not a phone number";
    }
    return NULL;
}

void control_send(struct control *c, uint64_t id, const cJSON *request)
{
    const cJSON *to = cJSON_GetObjectItemCaseSensitive(request, "to");
    const char *text = control_text(request, "message"), *from = control_text(request, "from");
    const struct slice_block *provider = slice_find(c->slice, "provider", control_text(request, "provider"));
    const char *hint = provider ? NULL : "\"bridgebell status\" lists them";
    const char *fault = provider ? fault_of(c, to, text, from, &hint) : "no such provider";
    if (fault) {
        control_refuse(id, fault, hint);
        return;
    }
    struct sending *s = xcalloc(1, sizeof *s);
    s->control = c;
    s->id = id;
    randombytes_buf(s->decision.key.bytes, sizeof s->decision.key.bytes);
    s->decision.event_ms = store_now_ms(c->store);
    s->decision.remember = true;
    s->decision.type = rule_name;
    s->decision.jobs = s->jobs;
    const char *sender_name = from ? from : slice_text(provider, "from", NULL);
    int count = cJSON_IsArray(to) ? cJSON_GetArraySize(to) : 1;
    for (int i = 0; i < count; i++)
        add_job(s, cJSON_IsArray(to) ? cJSON_GetArrayItem(to, i) : to, text, sender_name, provider);
    s->intake.bridge = "";
    s->intake.mark_ms = -1;
    s->intake.decisions = &s->decision;
    s->intake.count = 1;
    s->intake.unit = (struct store_unit){.kind = STORE_INTAKE, .done = on_inserted, .arg = s};
    s->ticket = queue_offer(c->queue, s->pointers, s->decision.jobs_count);
    store_submit(c->store, &s->intake.unit);
}
