#include "proto/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/str.h"

enum { INTEREST_LIST_MAX = 1000000 };

const char *const wire_outcome_names[WIRE_OUTCOMES + 1] = {"unsent",  "accepted", "duplicate",
                                                           "refused", "unknown",  NULL};
const char *const wire_class_names[WIRE_CLASSES + 1] = {
    "none",      "permanent_message", "permanent_account", "per_number",
    "transient", "throttled",         "duplicate_idx",     "config",
    NULL};

/* ---- interest ---- */

static void put_words(struct msg_out *m, char *const *words, size_t count)
{
    msg_put_array(m, count);
    for (size_t i = 0; i < count; i++)
        msg_put_cstr(m, words[i]);
}

void wire_put_interest(struct msg_out *m, const struct wire_interest *interest)
{
    msg_put_array(m, 2);
    msg_put_bool(m, interest->everything);
    msg_put_array(m, interest->count);
    for (size_t i = 0; i < interest->count; i++) {
        const struct wire_interest_entry *e = &interest->entries[i];
        msg_put_array(m, 3);
        put_words(m, e->channels, e->channels_count);
        put_words(m, e->types, e->types_count);
        msg_put_array(m, e->conditions_count);
        for (size_t c = 0; c < e->conditions_count; c++) {
            msg_put_array(m, 2);
            msg_put_cstr(m, e->conditions[c].path);
            put_words(m, e->conditions[c].values, e->conditions[c].count);
        }
    }
}

static bool get_words(struct msg_fields *from, char ***words, size_t *count)
{
    struct msg_fields f = msg_get_array(from);
    if (f.failed || f.left > INTEREST_LIST_MAX)
        return false;
    *words = f.left ? xcalloc(f.left, sizeof **words) : NULL;
    while (f.left) {
        char *word = msg_str_dup(msg_get_str(&f));
        if (!word)
            return false;
        (*words)[(*count)++] = word;
    }
    return msg_end(&f);
}

static bool get_entry(struct msg_fields *from, struct wire_interest_entry *e)
{
    struct msg_fields f = msg_get_array(from);
    if (!get_words(&f, &e->channels, &e->channels_count) || !get_words(&f, &e->types, &e->types_count))
        return false;
    struct msg_fields conditions = msg_get_array(&f);
    if (conditions.failed || conditions.left > INTEREST_LIST_MAX)
        return false;
    e->conditions = conditions.left ? xcalloc(conditions.left, sizeof *e->conditions) : NULL;
    while (conditions.left) {
        struct wire_condition *c = &e->conditions[e->conditions_count++];
        struct msg_fields one = msg_get_array(&conditions);
        c->path = msg_str_dup(msg_get_str(&one));
        if (!c->path || !get_words(&one, &c->values, &c->count) || !msg_end(&one))
            return false;
    }
    return msg_end(&f);
}

int wire_get_interest(struct msg_fields *from, struct wire_interest *interest)
{
    memset(interest, 0, sizeof *interest);
    struct msg_fields f = msg_get_array(from);
    interest->everything = msg_get_bool(&f);
    struct msg_fields entries = msg_get_array(&f);
    bool good = !entries.failed && entries.left <= INTEREST_LIST_MAX;
    if (good && entries.left)
        interest->entries = xcalloc(entries.left, sizeof *interest->entries);
    while (good && entries.left)
        good = get_entry(&entries, &interest->entries[interest->count++]);
    if (good && msg_end(&f))
        return 0;
    from->failed = true;
    return -1;
}

static void free_words(char **words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(words[i]);
    free(words);
}

void wire_interest_free(struct wire_interest *interest)
{
    for (size_t i = 0; i < interest->count; i++) {
        struct wire_interest_entry *e = &interest->entries[i];
        free_words(e->channels, e->channels_count);
        free_words(e->types, e->types_count);
        for (size_t c = 0; c < e->conditions_count; c++) {
            free(e->conditions[c].path);
            free_words(e->conditions[c].values, e->conditions[c].count);
        }
        free(e->conditions);
    }
    free(interest->entries);
    memset(interest, 0, sizeof *interest);
}

/* ---- credit ---- */

void wire_put_credit(struct msg_out *m, const struct wire_credit *c)
{
    msg_put_array(m, 3);
    msg_put_uint(m, c->free);
    msg_put_uint(m, c->seen);
    msg_put_uint(m, c->stamp);
}

void wire_get_credit(struct msg_fields *from, struct wire_credit *c)
{
    struct msg_fields f = msg_get_array(from);
    c->free = msg_get_uint(&f);
    c->seen = msg_get_uint(&f);
    c->stamp = msg_get_uint(&f);
    if (!msg_end(&f))
        from->failed = true;
}

/* ---- grants ---- */

void wire_put_grant(struct msg_out *m, const struct wire_grant *g)
{
    msg_put_array(m, 7);
    msg_put_str(m, g->provider);
    msg_put_uint(m, g->stamp);
    msg_put_uint(m, g->start_by_ms);
    msg_put_int(m, g->expires_in_s);
    msg_put_str(m, g->from);
    msg_put_str(m, g->text);
    msg_put_array(m, g->count);
    for (size_t i = 0; i < g->count; i++) {
        msg_put_array(m, 4);
        msg_put_id(m, &g->jobs[i].job);
        msg_put_uint(m, g->jobs[i].attempt);
        msg_put_uint(m, g->jobs[i].generation);
        msg_put_str(m, g->jobs[i].number);
    }
}

static bool get_grant_job(struct msg_fields *from, struct wire_grant_job *job)
{
    struct msg_fields f = msg_get_array(from);
    msg_get_id(&f, &job->job);
    job->attempt = (uint32_t)msg_get_uint(&f);
    job->generation = (uint32_t)msg_get_uint(&f);
    job->number = msg_get_str(&f);
    return msg_end(&f) && job->number.data;
}

int wire_get_grant(struct msg_fields *from, struct wire_grant *g, struct wire_grant_job *jobs)
{
    struct msg_fields f = msg_get_array(from);
    memset(g, 0, sizeof *g);
    g->provider = msg_get_str(&f);
    g->stamp = msg_get_uint(&f);
    g->start_by_ms = msg_get_uint(&f);
    g->expires_in_s = msg_get_int(&f);
    g->from = msg_get_str(&f);
    g->text = msg_get_str(&f);
    struct msg_fields list = msg_get_array(&f);
    bool good = msg_end(&f) && g->provider.data && g->text.data && g->text.len <= WIRE_TEXT_MAX &&
                list.left && list.left <= WIRE_GRANT_JOBS_MAX;
    while (good && list.left)
        good = get_grant_job(&list, &jobs[g->count++]);
    g->jobs = jobs;
    if (good)
        return 0;
    from->failed = true;
    return -1;
}

void wire_idx(const struct hash_id *job, uint32_t generation, char *out)
{
    str_hex(job->bytes, sizeof job->bytes, out);
    snprintf(out + 2 * sizeof job->bytes, WIRE_IDX_MAX - 2 * sizeof job->bytes, "-%u", generation);
}

/* ---- results ---- */

void wire_put_result(struct msg_out *m, const struct wire_result *r)
{
    msg_put_array(m, 13);
    msg_put_id(m, &r->job);
    msg_put_uint(m, r->attempt);
    msg_put_uint(m, r->outcome);
    msg_put_uint(m, r->class);
    msg_put_int(m, r->code);
    msg_put_int(m, r->http_status);
    msg_put_int(m, r->retry_after_ms);
    msg_put_int(m, r->points_micro);
    msg_put_int(m, r->parts);
    msg_put_uint(m, r->connect_us);
    msg_put_uint(m, r->answer_us);
    msg_put_str(m, r->provider_id);
    msg_put_str(m, r->words);
}

void wire_get_result(struct msg_fields *from, struct wire_result *r)
{
    struct msg_fields f = msg_get_array(from);
    memset(r, 0, sizeof *r);
    msg_get_id(&f, &r->job);
    r->attempt = (uint32_t)msg_get_uint(&f);
    uint64_t outcome = msg_get_uint(&f);
    uint64_t class = msg_get_uint(&f);
    r->code = (int32_t)msg_get_int(&f);
    r->http_status = (int32_t)msg_get_int(&f);
    r->retry_after_ms = msg_get_int(&f);
    r->points_micro = msg_get_int(&f);
    r->parts = (int32_t)msg_get_int(&f);
    r->connect_us = (uint32_t)msg_get_uint(&f);
    r->answer_us = (uint32_t)msg_get_uint(&f);
    r->provider_id = msg_get_str(&f);
    r->words = msg_get_str(&f);
    if (!msg_end(&f) || outcome >= WIRE_OUTCOMES || class >= WIRE_CLASSES) {
        from->failed = true;
        return;
    }
    r->outcome = (enum wire_outcome)outcome;
    r->class = (enum wire_class) class;
}

/* ---- members ---- */

void wire_put_members_ask(struct msg_out *m, const struct wire_members_ask *a)
{
    msg_begin(m, WIRE_MEMBERS_ASK, 4);
    msg_put_uint(m, a->number);
    msg_put_str(m, a->channel);
    msg_put_str(m, a->container);
    msg_put_str(m, a->context);
}

int wire_get_members_ask(struct msg_fields *f, struct wire_members_ask *a)
{
    a->number = msg_get_uint(f);
    a->channel = msg_get_str(f);
    a->container = msg_get_str(f);
    a->context = msg_get_str(f);
    return msg_end(f) && a->channel.data && a->container.len ? 0 : -1;
}

void wire_put_members(struct msg_out *m, const struct wire_members *a, size_t count)
{
    msg_begin(m, WIRE_MEMBERS, 5);
    msg_put_uint(m, a->number);
    msg_put_str(m, a->container);
    msg_put_uint(m, a->outcome);
    msg_put_int(m, a->version);
    msg_put_array(m, count);
}

/* Each is looked at, so that who reads them need not. */
static bool good_users(struct msg_fields users)
{
    if (users.failed || users.left > WIRE_MEMBERS_MAX)
        return false;
    while (users.left) {
        struct msg_str user = msg_get_str(&users);
        if (!user.data || user.len > WIRE_MEMBERS_ID_BYTES)
            return false;
    }
    return true;
}

int wire_get_members(struct msg_fields *f, struct wire_members *a)
{
    a->number = msg_get_uint(f);
    a->container = msg_get_str(f);
    uint64_t outcome = msg_get_uint(f);
    a->version = msg_get_int(f);
    a->users = msg_get_array(f);
    if (!msg_end(f) || !a->container.len || outcome >= WIRE_MEMBERS_OUTCOMES || !good_users(a->users))
        return -1;
    a->outcome = (enum wire_members_outcome)outcome;
    return 0;
}
