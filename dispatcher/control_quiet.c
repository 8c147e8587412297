#include "dispatcher/control_quiet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/phone.h"
#include "core/str.h"
#include "dispatcher/control_parts.h"
#include "dispatcher/control_send.h"
#include "dispatcher/rules_table.h"
#include "proto/role.h"

enum { NUMBER_MAX = 32 }; /* masked */
static const char silence_prefix[] = SILENCE_FACT;
static const char opt_out_prefix[] = OPT_OUT_FACT;
static const char opt_in_prefix[] = OPT_IN_FACT;

/* ---- writing facts for one request ---- */

struct writing {
    struct control *control;
    uint64_t id;
    cJSON *request; /* a copy */
    char who[CONTROL_WHO_MAX];
    struct store_fact *facts;
    size_t count, left, written;
    size_t changed;           /* numbers */
    enum store_status status; /* the worst */
    /* After each commit, in memory; then the answer, which ends with writing_free. */
    void (*apply)(struct writing *w, const struct store_fact *fact);
    void (*finish)(struct writing *w);
};

static struct writing *writing_new(struct control *c, uint64_t id, const cJSON *request, size_t most)
{
    struct writing *w = xcalloc(1, sizeof *w);
    w->control = c;
    w->id = id;
    w->request = cJSON_Duplicate(request, true);
    w->facts = xcalloc(most ? most : 1, sizeof *w->facts);
    control_who(request, w->who);
    return w;
}

static void writing_free(struct writing *w)
{
    for (size_t i = 0; i < w->count; i++) {
        free((char *)w->facts[i].name);
        free((char *)w->facts[i].value);
    }
    free(w->facts);
    cJSON_Delete(w->request);
    free(w);
}

/* VALUE is taken over; NULL removes. */
static void writing_add(struct writing *w, const char *prefix, const char *name, char *value)
{
    struct store_fact *f = &w->facts[w->count++];
    f->name = xasprintf("%s%s", prefix, name);
    f->value = value;
}

static void on_written(struct store_unit *unit, enum store_status status)
{
    struct writing *w = unit->arg;
    if (status == STORE_OK) {
        w->written++;
        w->apply(w, (const struct store_fact *)unit);
    } else if (w->status == STORE_OK) {
        w->status = status;
    }
    if (--w->left)
        return;
    if (w->status == STORE_OK) {
        w->finish(w);
        return;
    }
    control_refuse_store(w->id, w->status);
    writing_free(w);
}

static void writing_start(struct writing *w, void (*apply)(struct writing *w, const struct store_fact *fact),
                          void (*finish)(struct writing *w))
{
    w->apply = apply;
    w->finish = finish;
    w->left = w->count;
    if (!w->count) {
        finish(w);
        return;
    }
    size_t count = w->count; /* they may be complete, and W gone, only after the last was submitted */
    for (size_t i = 0; i < count; i++) {
        w->facts[i].unit = (struct store_unit){.kind = STORE_FACT, .done = on_written, .arg = w};
        store_submit(w->control->store, &w->facts[i].unit);
    }
}

/* cJSON's memory as ours. */
static char *print_object(cJSON *o)
{
    char *printed = cJSON_PrintUnformatted(o), *text = xstrdup(printed ? printed : "{}");
    cJSON_free(printed);
    cJSON_Delete(o);
    return text;
}

/* ---- silence-add ---- */

/* What is wrong with the times of REQUEST; NULL: nothing. */
static const char *read_times(const cJSON *request, int64_t now_ms, int64_t *from_ms, int64_t *until_ms)
{
    int64_t for_ms = control_number(request, "for_ms", 0);
    *from_ms = control_number(request, "from_ms", now_ms);
    if (*from_ms < now_ms)
        *from_ms = now_ms;
    *until_ms = control_number(request, "until_ms", 0);
    if (!*until_ms && !for_ms)
        return "until when?";
    if (*until_ms && for_ms)
        return "either for how long, or until when";
    if (for_ms < 0 || (*until_ms && *until_ms <= now_ms))
        return "the end has passed already";
    if (for_ms)
        *until_ms = *from_ms + for_ms;
    if (*until_ms <= *from_ms)
        return "the end is before the beginning";
    return *until_ms - now_ms > CONTROL_SILENCE_MAX_MS ? "the end is more than 366 days away" : NULL;
}

static void refuse_silence(uint64_t id, const char *why)
{
    cJSON *o = cJSON_CreateObject(), *fault = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "ok", false);
    cJSON_AddStringToObject(fault, "text", why);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(o, "faults"), fault);
    cJSON_AddStringToObject(o, "error", "this makes no silence");
    cJSON_AddStringToObject(
        o, "hint", "an expression sees the names of an event, rule and priority; quote it for the shell");
    role_reply(id, o);
}

static void apply_silence(struct writing *w, const struct store_fact *fact)
{
    char why[SILENCES_WHY_SIZE];
    const char *id = fact->name + sizeof silence_prefix - 1;
    if (silences_put(w->control->silences, id, fact->value, why, sizeof why))
        log_error("a silence cannot be used", log_str("id", id), log_str("reason", why));
}

/* It holds all the same: the rule may come with the next reload. */
static void add_doubt(const struct control *c, const char *when, cJSON *answer)
{
    char words[SILENCES_WHY_SIZE];
    const char **names = rules_names(c->rules);
    const char *doubt = silences_doubt(when, names, words, sizeof words);
    if (doubt)
        cJSON_AddStringToObject(answer, "warning", doubt);
    free(names);
}

static void finish_silence(struct writing *w)
{
    const char *id = w->facts[0].name + sizeof silence_prefix - 1;
    cJSON *o = control_good(), *fact = cJSON_Parse(w->facts[0].value);
    int64_t until_ms = control_number(fact, "until_ms", 0);
    cJSON_AddStringToObject(o, "id", id);
    cJSON_AddNumberToObject(o, "from_ms", (double)control_number(fact, "from_ms", 0));
    cJSON_AddNumberToObject(o, "until_ms", (double)until_ms);
    add_doubt(w->control, control_text(fact, "when"), o);
    log_info("a silence was added", log_str("id", id), log_str("by", w->who),
             log_str("when", control_text(fact, "when")),
             log_int("seconds", (until_ms - store_now_ms(w->control->store)) / 1000),
             log_str("comment", control_text(fact, "comment")));
    cJSON_Delete(fact);
    role_reply(w->id, o);
    writing_free(w);
}

static char *silence_text(const cJSON *request, int64_t from_ms, int64_t until_ms, int64_t now_ms)
{
    char by[CONTROL_WHO_MAX];
    const char *when = control_text(request, "when"), *comment = control_text(request, "comment");
    cJSON *o = cJSON_CreateObject();
    control_who(request, by);
    cJSON_AddStringToObject(o, "when", when ? when : "");
    cJSON_AddNumberToObject(o, "from_ms", (double)from_ms);
    cJSON_AddNumberToObject(o, "until_ms", (double)until_ms);
    cJSON_AddNumberToObject(o, "created_ms", (double)now_ms);
    cJSON_AddStringToObject(o, "by", by);
    cJSON_AddStringToObject(o, "comment", comment ? comment : "");
    return print_object(o);
}

void control_silence_add(struct control *c, uint64_t id, const cJSON *request)
{
    int64_t from_ms, until_ms, now_ms = store_now_ms(c->store);
    char why[SILENCES_WHY_SIZE], name[24];
    const char *fault = read_times(request, now_ms, &from_ms, &until_ms);
    if (fault) {
        control_refuse(id, fault, "a silence ends by itself: give for_ms or until_ms, 366 days at most");
        return;
    }
    char *text = silence_text(request, from_ms, until_ms, now_ms);
    if (silences_check(c->silences, text, why, sizeof why)) {
        refuse_silence(id, why);
        free(text);
        return;
    }
    struct writing *w = writing_new(c, id, request, 1);
    snprintf(name, sizeof name, "%lld", (long long)silences_new_id(c->silences));
    writing_add(w, silence_prefix, name, text);
    writing_start(w, apply_silence, finish_silence);
}

/* ---- silence-list ---- */

static const char *state_of(int64_t from_ms, int64_t until_ms, int64_t now_ms)
{
    if (until_ms <= now_ms)
        return "ended";
    return from_ms > now_ms ? "to come" : "holds";
}

static int by_id(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;
    int64_t left = strtoll(control_text(*x, "id"), NULL, 10),
            right = strtoll(control_text(*y, "id"), NULL, 10);
    return left < right ? -1 : left > right;
}

static cJSON *one_silence(struct control *c, const char *id, const char *text, int64_t now_ms)
{
    cJSON *o = cJSON_Parse(text);
    if (!cJSON_IsObject(o)) {
        cJSON_Delete(o);
        return NULL;
    }
    int64_t until_ms = control_number(o, "until_ms", 0);
    cJSON_DeleteItemFromObjectCaseSensitive(o, "id");
    cJSON_AddStringToObject(o, "id", id);
    cJSON_AddStringToObject(o, "state", state_of(control_number(o, "from_ms", 0), until_ms, now_ms));
    cJSON_AddNumberToObject(o, "left_ms", (double)(until_ms > now_ms ? until_ms - now_ms : 0));
    uint64_t failed, matched = silences_matched(c->silences, id, &failed);
    cJSON_AddNumberToObject(o, "matched", (double)matched);
    cJSON_AddNumberToObject(o, "failed", (double)failed);
    return o;
}

void control_silence_list(struct control *c, uint64_t id, const cJSON *request)
{
    bool all = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "all"));
    int64_t now_ms = store_now_ms(c->store);
    cJSON **list = NULL;
    size_t cursor = 0, count = 0;
    const char *name, *text;
    while ((name = store_fact_next(c->store, silence_prefix, &cursor, &text))) {
        cJSON *o = one_silence(c, name + sizeof silence_prefix - 1, text, now_ms);
        if (o && !all && control_number(o, "until_ms", 0) <= now_ms) {
            cJSON_Delete(o);
            continue;
        }
        list = xreallocarray(list, count + 1, sizeof *list);
        if (o)
            list[count++] = o;
    }
    if (count)
        qsort(list, count, sizeof(cJSON *), by_id);
    cJSON *o = control_good(), *silences = cJSON_AddArrayToObject(o, "silences");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(silences, list[i]);
    free(list);
    role_reply(id, o);
}

/* ---- silence-expire ---- */

static void apply_expiry(struct writing *w, const struct store_fact *fact)
{
    silences_remove(w->control->silences, fact->name + sizeof silence_prefix - 1);
}

static void finish_expiry(struct writing *w)
{
    log_info("a silence was ended by hand", log_str("id", control_text(w->request, "id")),
             log_str("by", w->who));
    role_reply(w->id, control_good());
    writing_free(w);
}

void control_silence_expire(struct control *c, uint64_t id, const cJSON *request)
{
    const char *silence = control_text(request, "id");
    char *name = xasprintf("%s%s", silence_prefix, silence ? silence : "");
    cJSON *o = cJSON_Parse(silence ? store_fact(c->store, name) : NULL);
    int64_t now_ms = store_now_ms(c->store);
    free(name);
    if (!cJSON_IsObject(o) || control_number(o, "until_ms", 0) <= now_ms) {
        control_refuse(id, o ? "this silence has ended already" : "no such silence",
                       "\"bridgebell silence ls\" shows those that hold");
        cJSON_Delete(o);
        return;
    }
    struct writing *w = writing_new(c, id, request, 1);
    cJSON_DeleteItemFromObjectCaseSensitive(o, "until_ms");
    cJSON_AddNumberToObject(o, "until_ms", (double)now_ms);
    cJSON_AddStringToObject(o, "ended_by", w->who);
    writing_add(w, silence_prefix, silence, print_object(o));
    writing_start(w, apply_expiry, finish_expiry);
}

/* ---- opt-outs ---- */

static const cJSON *numbers_of(const cJSON *request, size_t *count)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(request, "numbers");
    const cJSON *one = cJSON_GetObjectItemCaseSensitive(request, "number");
    *count = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : one != NULL;
    return cJSON_IsArray(list) ? list->child : one;
}

/* Answers and returns false if there is anything wrong with the numbers. */
static bool check_numbers(const struct control *c, uint64_t id, const cJSON *request)
{
    size_t count;
    char number[PHONE_SIZE], error[256], masked[NUMBER_MAX];
    const cJSON *at = numbers_of(request, &count);
    const char *comment = control_text(request, "comment");
    if (!count || count > CONTROL_NUMBERS_MAX) {
        control_refuse(id, count ? "more than 1000 numbers" : "which numbers?", NULL);
        return false;
    }
    if (comment && (strlen(comment) > SILENCES_COMMENT_MAX || !str_utf8_valid(comment, strlen(comment)))) {
        control_refuse(id, "the comment is longer than 1000 bytes, or no UTF-8", NULL);
        return false;
    }
    for (size_t i = 0; i < count; i++, at = at->next) {
        const char *word = cJSON_GetStringValue(at), *why = control_phone(c, at, number);
        if (why) {
            snprintf(error, sizeof error, "not a phone number, \"%s\": %s",
                     str_mask_number(word ? word : "", masked, sizeof masked), why);
            control_refuse(id, error, "numbers are written with country code, as in +48500500500");
            return false;
        }
    }
    return true;
}

static void apply_opt_out(struct writing *w, const struct store_fact *fact)
{
    const char *number = fact->name + sizeof opt_out_prefix - 1;
    if (strncmp(fact->name, opt_out_prefix, sizeof opt_out_prefix - 1) != 0)
        return;
    if (fact->value)
        opt_out_put(w->control->silences, number);
    else
        opt_out_remove(w->control->silences, number);
}

static void answer_opt_out(const struct writing *w, size_t cancelled)
{
    bool removes = strcmp(control_text(w->request, "command"), "optout-remove") == 0;
    cJSON *o = control_good();
    cJSON_AddNumberToObject(o, "changed", (double)w->changed);
    cJSON_AddNumberToObject(o, "opt_outs", (double)opt_out_count(w->control->silences));
    cJSON_AddNumberToObject(o, "cancelled", (double)cancelled);
    const char *first = w->count ? w->facts[0].name + sizeof opt_out_prefix - 1 : NULL;
    if (first)
        log_info(removes ? "numbers have opted in again" : "numbers have opted out", log_str("by", w->who),
                 log_int("numbers", (int64_t)w->changed), log_number("first", first),
                 log_int("cancelled", (int64_t)cancelled),
                 log_str("comment", control_text(w->request, "comment")));
    role_reply(w->id, o);
}

static void finish_opt_in(struct writing *w)
{
    answer_opt_out(w, 0);
    writing_free(w);
}

/* What rules have queued before, for numbers that have just opted out. */
struct sweeping {
    struct store_by_hand hand;
    struct rules_table *numbers;
    struct writing *writing;
    size_t cancelled;
};

static void on_swept(struct store_unit *unit, enum store_status status)
{
    struct sweeping *s = unit->arg;
    struct writing *w = s->writing;
    s->cancelled += s->hand.changed;
    if (status == STORE_OK && s->hand.changed == STORE_LIST_MAX) {
        store_submit(w->control->store, &s->hand.unit);
        return;
    }
    if (status == STORE_OK)
        answer_opt_out(w, s->cancelled);
    else
        control_refuse_store(w->id, status);
    rules_table_free(&s->numbers);
    writing_free(w);
    free(s);
}

static void finish_opt_out(struct writing *w)
{
    struct sweeping *s = xcalloc(1, sizeof *s);
    s->writing = w;
    s->numbers = rules_table_new();
    for (size_t i = 0; i < w->count; i++) {
        const char *number = w->facts[i].name + sizeof opt_out_prefix - 1;
        rules_table_add(s->numbers, number, strlen(number));
    }
    s->hand.hand = HAND_CANCEL;
    s->hand.who = "because the person has opted out";
    s->hand.filter = (struct store_filter){
        .states = 1u << JOB_QUEUED | 1u << JOB_LEASED, .not_rule = CONTROL_SEND_RULE, .numbers = s->numbers};
    s->hand.unit = (struct store_unit){.kind = STORE_CANCEL, .done = on_swept, .arg = s};
    store_submit(w->control->store, &s->hand.unit);
}

static char *opt_out_text(const struct writing *w, int64_t now_ms)
{
    cJSON *o = cJSON_CreateObject();
    const char *comment = control_text(w->request, "comment");
    cJSON_AddStringToObject(o, "by", w->who);
    cJSON_AddNumberToObject(o, "at_ms", (double)now_ms);
    cJSON_AddStringToObject(o, "comment", comment ? comment : "");
    return print_object(o);
}

/* The time between goes on a fact of its own, for replays. */
static void add_opt_in(struct writing *w, const char *number, int64_t now_ms)
{
    char *name = xasprintf("%s%s", opt_out_prefix, number);
    cJSON *was = cJSON_Parse(store_fact(w->control->store, name)), *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "at_ms", (double)control_number(was, "at_ms", 0));
    cJSON_AddNumberToObject(o, "until_ms", (double)now_ms);
    cJSON_AddStringToObject(o, "by", w->who);
    writing_add(w, opt_out_prefix, number, NULL);
    writing_add(w, opt_in_prefix, number, print_object(o));
    cJSON_Delete(was);
    free(name);
}

static void add_change(struct writing *w, const char *number, bool removes)
{
    int64_t now_ms = store_now_ms(w->control->store);
    w->changed++;
    if (removes)
        add_opt_in(w, number, now_ms);
    else
        writing_add(w, opt_out_prefix, number, opt_out_text(w, now_ms));
}

/* Those that change something. */
static void change_opt_outs(struct control *c, uint64_t id, const cJSON *request, bool removes)
{
    if (!check_numbers(c, id, request))
        return;
    size_t count;
    char number[PHONE_SIZE];
    const cJSON *at = numbers_of(request, &count);
    struct writing *w = writing_new(c, id, request, 2 * count);
    for (; at && count; at = at->next, count--) {
        control_phone(c, at, number);
        if (silences_opted_out(c->silences, number, store_now_ms(c->store)) == removes)
            add_change(w, number, removes);
    }
    writing_start(w, apply_opt_out, removes ? finish_opt_in : finish_opt_out);
}

void control_opt_out_add(struct control *c, uint64_t id, const cJSON *request)
{
    change_opt_outs(c, id, request, false);
}

void control_opt_out_remove(struct control *c, uint64_t id, const cJSON *request)
{
    change_opt_outs(c, id, request, true);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All names in order; they point into the store's. */
static const char **names_in_order(struct store *store, size_t *count)
{
    const char **names = NULL, *name;
    size_t cursor = 0, size = 0;
    *count = 0;
    while ((name = store_fact_next(store, opt_out_prefix, &cursor, NULL))) {
        if (*count == size) {
            size = size ? size * 2 : 64;
            names = xreallocarray(names, size, sizeof *names);
        }
        names[(*count)++] = name;
    }
    if (*count)
        qsort(names, *count, sizeof *names, by_text);
    return names;
}

static cJSON *one_opt_out(struct control *c, const char *name, bool masked)
{
    char hidden[NUMBER_MAX];
    const char *number = name + sizeof opt_out_prefix - 1;
    cJSON *o = cJSON_Parse(store_fact(c->store, name));
    if (!cJSON_IsObject(o)) {
        cJSON_Delete(o);
        o = cJSON_CreateObject();
    }
    cJSON_AddStringToObject(o, "number", masked ? str_mask_number(number, hidden, sizeof hidden) : number);
    return o;
}

void control_opt_out_list(struct control *c, uint64_t id, const cJSON *request)
{
    bool masked = control_is_masked(request);
    int64_t limit = control_number(request, "limit", CONTROL_OPT_OUTS_MAX);
    int64_t offset = control_number(request, "offset", 0);
    size_t count, most = (size_t)(limit < 1 || limit > CONTROL_OPT_OUTS_MAX ? CONTROL_OPT_OUTS_MAX : limit);
    const char **names = names_in_order(c->store, &count);
    size_t first = offset < 0 ? 0 : (size_t)offset < count ? (size_t)offset : count;
    size_t end = count - first > most ? first + most : count;
    cJSON *o = control_good(), *list = cJSON_AddArrayToObject(o, "opt_outs");
    for (size_t i = first; i < end; i++)
        cJSON_AddItemToArray(list, one_opt_out(c, names[i], masked));
    cJSON_AddNumberToObject(o, "total", (double)count);
    free(names);
    role_reply(id, o);
}
