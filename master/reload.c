#include "master/reload.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/notify.h"
#include "master/control.h"
#include "master/door.h"
#include "master/forward.h"
#include "master/json.h"
#include "master/logs.h"
#include "master/session.h"
#include "master/supervise.h"
#include "master/validate.h"
#include "proto/role.h"

enum {
    SUBSCRIBE_LIMIT_MS = 10000, /* longest overlap of old and new listeners */
    CONFIRM_LIMIT_MS = 10000,
    AGAIN_MS = 20,
};

enum phase {
    RELOAD_NONE,
    RELOAD_CHECKING,
    RELOAD_OLD_DISPATCHER, /* waits for it to leave */
    RELOAD_NEW_DISPATCHER,
    RELOAD_SENDERS,
    RELOAD_LISTENERS,
    RELOAD_CONFIRMING, /* waits until every listener knows what the new rules can use */
    RELOAD_BACK,       /* waits for the new dispatcher to leave, so that the old one can come back */
};

struct clients {
    uint64_t *ids;
    size_t count;
};

static struct {
    const char *file;
    enum phase phase;
    uint64_t began_ms;
    struct conf *conf; /* until its crew owns it */
    int door_fd;       /* the same; -1: none */
    struct crew *old, *next;
    struct validation *validation;
    struct loop_timer *again_timer;
    uint64_t subscribe_until_ms, confirm_until_ms;
    struct faults faults;
    char *error;
    struct clients waiting, later;
    bool again;
    cJSON *last;
} reload = {.door_fd = -1};

static void begin(void);

/* ---- who waits for the answer ---- */

static void add_client(struct clients *list, uint64_t id)
{
    if (!id)
        return;
    list->ids = xreallocarray(list->ids, list->count + 1, sizeof *list->ids);
    list->ids[list->count++] = id;
}

static void answer_all(void)
{
    for (size_t i = 0; i < reload.waiting.count; i++)
        control_answer(reload.waiting.ids[i], cJSON_Duplicate(reload.last, true));
    reload.waiting.count = 0;
}

/* ---- the result ---- */

static cJSON *faults_json(const struct faults *faults)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < faults->count; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "file", faults->list[i].file);
        cJSON_AddNumberToObject(one, "line", faults->list[i].line);
        cJSON_AddStringToObject(one, "text", faults->list[i].text);
        cJSON_AddItemToArray(list, one);
    }
    return list;
}

static void record(bool is_good)
{
    char now[25];
    clock_format(clock_wall_ms(), now);
    cJSON_Delete(reload.last);
    reload.last = cJSON_CreateObject();
    cJSON_AddBoolToObject(reload.last, "ok", is_good);
    cJSON_AddStringToObject(reload.last, "at", now);
    cJSON_AddNumberToObject(reload.last, "took_ms", (double)(clock_mono_ms() - reload.began_ms));
    if (is_good)
        return;
    cJSON_AddStringToObject(reload.last, "error", reload.error);
    cJSON_AddStringToObject(reload.last, "hint", "the old configuration stays in force");
    if (reload.faults.count)
        cJSON_AddItemToObject(reload.last, "faults", faults_json(&reload.faults));
}

static void log_result(bool is_good)
{
    int64_t took_ms = (int64_t)(clock_mono_ms() - reload.began_ms);
    if (is_good) {
        log_info("reloaded", log_str("file", reload.file), log_int("took_ms", took_ms));
        return;
    }
    for (size_t i = 0; i < reload.faults.count; i++)
        log_error("fault in the new configuration", log_str("file", reload.faults.list[i].file),
                  log_int("line", reload.faults.list[i].line), log_str("fault", reload.faults.list[i].text));
    log_error("not reloaded; the old configuration stays in force", log_str("file", reload.file),
              log_str("reason", reload.error), log_int("took_ms", took_ms));
}

void reload_resume(void)
{
    if (reload.again && reload.phase == RELOAD_NONE && !supervise_activity())
        begin();
}

static void resume(void *arg)
{
    (void)arg;
    reload_resume();
}

static void finish(bool is_good)
{
    record(is_good);
    log_result(is_good);
    reload.phase = RELOAD_NONE;
    reload.old = reload.next = NULL;
    faults_free(&reload.faults);
    free(reload.error);
    reload.error = NULL;
    supervise_begin(NULL);
    notify_send("READY=1");
    answer_all();
    loop_defer(resume, NULL);
}

static void drop_unused(void)
{
    validation_cancel(&reload.validation);
    conf_free(&reload.conf);
    door_close(&reload.door_fd);
}

/* Nothing has been touched yet. */
static void refuse(const char *error)
{
    drop_unused();
    reload.error = xstrdup(error);
    finish(false);
}

/* ---- taking over ---- */

static void go_back(const struct slot *slot)
{
    char *error =
        xasprintf("the new %s%s%s cannot work: %s", process_kind_names[slot->kind], slot->name[0] ? " " : "",
                  slot->name, slot->reason ? slot->reason : "no reason given");
    for (size_t i = 0; i < slot->faults.count; i++)
        faults_add(&reload.faults, slot->faults.list[i].file, slot->faults.list[i].line, "%s",
                   slot->faults.list[i].text);
    reload.error = error;
    reload.phase = RELOAD_BACK;
    log_warn("going back to the old configuration", log_str("reason", error));
    crew_stop(reload.next, PROCESS_KINDS);
    supervise_poke();
}

/* A Bridge that is unusable under the old configuration too is no reason to refuse a new one. */
static bool was_no_better(const struct slot *slot)
{
    if (slot->kind != PROCESS_LISTENER || slot->faults.count)
        return false;
    const struct slot *old = crew_find(reload.old, slot->kind, slot->name);
    return old && old->state != SLOT_RUNNING;
}

/* True if the new crew's KIND works; goes back if it cannot. */
static bool is_up(enum process_kind kind)
{
    if (!crew_is_settled(reload.next, kind))
        return false;
    for (size_t i = 0; i < reload.next->count; i++) {
        const struct slot *slot = reload.next->slots[i];
        if (slot->kind == kind && slot->state == SLOT_FAILED && !was_no_better(slot)) {
            go_back(slot);
            return false;
        }
    }
    crew_trust(reload.next, kind);
    return true;
}

static void enter(enum phase phase, enum process_kind kind)
{
    reload.phase = phase;
    crew_start(reload.next, kind, true);
    supervise_poke();
}

static void step_old_dispatcher(void)
{
    if (crew_is_empty(reload.old, PROCESS_DISPATCHER))
        enter(RELOAD_NEW_DISPATCHER, PROCESS_DISPATCHER);
}

static void step_new_dispatcher(void)
{
    if (is_up(PROCESS_DISPATCHER))
        enter(RELOAD_SENDERS, PROCESS_SENDER);
}

static void step_senders(void)
{
    if (!is_up(PROCESS_SENDER))
        return;
    crew_quit(reload.old, PROCESS_SENDER, ROLE_DRAIN_MS);
    reload.subscribe_until_ms = clock_mono_ms() + SUBSCRIBE_LIMIT_MS;
    enter(RELOAD_LISTENERS, PROCESS_LISTENER);
}

static void on_status(uint64_t client, cJSON *status)
{
    (void)client;
    bool is_confirmed = json_flag(json_member(status, "events"), "interest_confirmed");
    cJSON_Delete(status);
    if (reload.phase != RELOAD_CONFIRMING)
        return;
    bool is_late = clock_mono_ms() > reload.confirm_until_ms;
    if (is_late && !is_confirmed)
        log_warn("not every listener has confirmed what the new rules need; it may drop what they match",
                 log_int("limit_ms", CONFIRM_LIMIT_MS));
    if (is_confirmed || is_late)
        finish(true);
    else
        loop_timer_start(reload.again_timer, AGAIN_MS);
}

static void ask_for_confirmation(void)
{
    if (conf_count(supervise_crew()->conf, "bridge") == 0) {
        finish(true);
        return;
    }
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "command", "status");
    forward_request(0, request, false, on_status);
    cJSON_Delete(request);
}

static bool is_subscribed(const struct slot *slot)
{
    return slot->state == SLOT_RUNNING && slot->detail && strcmp(slot->detail, "subscribed") == 0;
}

/* True once every bridge that was listened to is listened to by its new listener too, so that no event falls
 * between them; goes back if a new one finds that it never will be. A Bridge that is away is not waited for
 * longer than SUBSCRIBE_LIMIT_MS. */
static bool is_overlapping(void)
{
    bool is_late = clock_mono_ms() >= reload.subscribe_until_ms;
    for (size_t i = 0; i < reload.next->count; i++) {
        const struct slot *slot = reload.next->slots[i];
        const struct slot *old =
            slot->kind == PROCESS_LISTENER ? crew_find(reload.old, slot->kind, slot->name) : NULL;
        if (!old || !is_subscribed(old) || is_subscribed(slot))
            continue;
        if (slot->state == SLOT_HALTED)
            go_back(slot);
        if (slot->state == SLOT_HALTED || !is_late) {
            loop_timer_start(reload.again_timer, AGAIN_MS);
            return false;
        }
        log_warn("the new listener is not subscribed in time; the old one leaves all the same",
                 log_str("bridge", slot->name), log_int("limit_ms", SUBSCRIBE_LIMIT_MS));
    }
    return true;
}

static void step_listeners(void)
{
    if (!is_up(PROCESS_LISTENER) || !is_overlapping())
        return;
    crew_quit(reload.old, PROCESS_LISTENER, ROLE_DRAIN_MS);
    supervise_install(reload.next);
    session_save(reload.next->session_slot);
    logs_configure(reload.next->conf);
    reload.phase = RELOAD_CONFIRMING;
    reload.confirm_until_ms = clock_mono_ms() + CONFIRM_LIMIT_MS;
    ask_for_confirmation();
}

static void on_again(void *arg)
{
    (void)arg;
    if (reload.phase == RELOAD_CONFIRMING)
        ask_for_confirmation();
    else
        supervise_poke();
}

static void step_back(void)
{
    if (!crew_is_empty(reload.next, PROCESS_DISPATCHER))
        return;
    supervise_set_next(NULL);
    crew_restore(reload.old, PROCESS_KINDS);
    finish(false);
}

static void step(void)
{
    static void (*const steps[])(void) = {
        [RELOAD_OLD_DISPATCHER] = step_old_dispatcher,
        [RELOAD_NEW_DISPATCHER] = step_new_dispatcher,
        [RELOAD_SENDERS] = step_senders,
        [RELOAD_LISTENERS] = step_listeners,
        [RELOAD_BACK] = step_back,
    };
    if (steps[reload.phase])
        steps[reload.phase]();
}

static void give_up(void)
{
    if (reload.phase == RELOAD_NONE)
        return;
    bool is_done = reload.phase == RELOAD_CONFIRMING; /* the new crew works, only the last look is missing */
    drop_unused();
    free(reload.error);
    reload.error = xstrdup("bridgebell is stopping");
    reload.phase = RELOAD_NONE;
    record(is_done);
    answer_all();
}

static const struct activity reloading = {"reloading", step, give_up};

static void take_over(void)
{
    char letter = reload.old->session_slot == 'a' ? 'b' : 'a';
    reload.next = supervise_add(reload.conf, reload.door_fd, letter);
    reload.conf = NULL;
    reload.door_fd = -1;
    supervise_set_next(reload.next);
    reload.phase = RELOAD_OLD_DISPATCHER;
    crew_quit(reload.old, PROCESS_DISPATCHER, ROLE_DRAIN_MS);
    supervise_poke();
}

static void on_checked(void *arg, const struct faults *faults)
{
    (void)arg;
    reload.validation = NULL;
    for (size_t i = 0; i < faults->count; i++)
        faults_add(&reload.faults, faults->list[i].file, faults->list[i].line, "%s", faults->list[i].text);
    if (faults->count)
        refuse("the new configuration has faults");
    else
        take_over();
}

/* ---- the beginning ---- */

/* An unchanged address keeps its socket, and with it the connections that wait there. */
static int prepare_door(void)
{
    const char *now = conf_text(reload.old->conf, "metrics", NULL, "listen");
    const char *then = conf_text(reload.conf, "metrics", NULL, "listen");
    if (now && then && strcmp(now, then) == 0) {
        reload.door_fd = reload.old->door_fd < 0 ? -1 : fcntl(reload.old->door_fd, F_DUPFD_CLOEXEC, 0);
        return 0;
    }
    char *why = NULL;
    if (door_open(then, 0, &reload.door_fd, &why) == 0)
        return 0;
    faults_add(&reload.faults, reload.file, 0, "metrics: %s", why);
    free(why);
    return -1;
}

static void on_draft_checked(void *arg, const struct faults *faults)
{
    (void)arg;
    reload.validation = NULL;
    validation_merge_draft(&reload.faults, faults);
    refuse("the new configuration has faults");
}

/* What is whole of a faulty file is looked at all the same, so that all faults are told at once. */
static bool ask_about_draft(void)
{
    reload.conf = conf_draft(reload.file);
    if (reload.conf)
        validation_draft_secrets(reload.conf, &reload.faults);
    if (reload.conf)
        reload.validation = validation_start_rules(reload.conf, on_draft_checked, NULL);
    return reload.validation != NULL;
}

static int load(void)
{
    reload.conf = conf_load(reload.file, &reload.faults);
    if (!reload.conf)
        return -1;
    int rc = conf_check_reload(reload.old->conf, reload.conf, &reload.faults);
    rc |= conf_read_secrets(reload.conf, &reload.faults);
    return rc ? -1 : prepare_door();
}

static void begin(void)
{
    char text[64];
    reload.began_ms = clock_mono_ms();
    reload.again = false;
    reload.old = supervise_crew();
    while (reload.later.count)
        add_client(&reload.waiting, reload.later.ids[--reload.later.count]);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)(clock_mono_ns() / 1000));
    notify_send(text);
    log_info("reloading", log_str("file", reload.file));
    reload.phase = RELOAD_CHECKING;
    supervise_begin(&reloading);
    if (load()) {
        if (reload.conf || !ask_about_draft())
            refuse("the new configuration has faults");
        return;
    }
    reload.validation = validation_start(reload.conf, on_checked, NULL);
}

void reload_setup(const char *file)
{
    reload.file = file;
    reload.again_timer = loop_timer_new(on_again, NULL);
}

void reload_request(uint64_t client)
{
    add_client(&reload.later, client);
    reload.again = true;
    reload_resume();
}

cJSON *reload_last(void)
{
    return reload.last;
}

void reload_free(void)
{
    drop_unused();
    loop_timer_free(&reload.again_timer);
    faults_free(&reload.faults);
    free(reload.error);
    free(reload.waiting.ids);
    free(reload.later.ids);
    cJSON_Delete(reload.last);
}
