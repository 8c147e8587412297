#include "master/crew.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "master/childenv.h"
#include "proto/role.h"

/* ---- slices ---- */

/* The token session's place is no directive: it alternates from reload to reload. */
static void add_session_slot(struct slice *slice, char session_slot)
{
    for (size_t i = 0; i < slice->count; i++)
        if (strcmp(slice->blocks[i].type, "bridge") == 0)
            slice_add_setting(&slice->blocks[i], "slot", SLICE_TEXT, 0)->text = xasprintf("%c", session_slot);
}

void crew_mark_starting(struct slice *slice)
{
    slice_add_block(slice, SLICE_STARTING, "", "", 0);
}

struct slice *crew_slice(const struct conf *conf, enum process_kind kind, const char *name, char session_slot)
{
    struct slice *slice;
    switch (kind) {
    case PROCESS_DISPATCHER:
        slice = conf_slice_dispatcher(conf);
        break;
    case PROCESS_SENDER:
        slice = conf_slice_sender(conf);
        break;
    default:
        slice = conf_slice_listener(conf, name);
    }
    if (!slice)
        panic("no slice for %s \"%s\"", process_kind_names[kind], name);
    add_session_slot(slice, session_slot);
    return slice;
}

char **crew_environment(const struct conf *conf)
{
    static const struct {
        const char *block, *name;
    } kinds[] = {{"bridge", "api_key_secret"}, {"provider", "token"}};
    size_t count = 0;
    const char **secrets =
        xcalloc(conf_count(conf, "bridge") + conf_count(conf, "provider") + 1, sizeof *secrets);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (size_t i = 0; i < conf_count(conf, kinds[k].block); i++) {
            const char *text =
                conf_text(conf, kinds[k].block, conf_title(conf, kinds[k].block, i), kinds[k].name);
            if (text && *text)
                secrets[count++] = text;
        }
    char **made = childenv_make(environ, secrets, count);
    free(secrets);
    return made;
}

/* ---- what the slots ask for ---- */

static struct slice *on_slice(void *arg, const struct slot *slot)
{
    struct crew *crew = arg;
    struct slice *slice = crew_slice(crew->conf, slot->kind, slot->name, crew->session_slot);
    crew_mark_starting(slice);
    return slice;
}

static char **on_environment(void *arg)
{
    return ((struct crew *)arg)->environment;
}

static int on_door(void *arg)
{
    return ((struct crew *)arg)->door_fd;
}

static void on_reply(void *arg, struct slot *slot, uint64_t id, const char *text, size_t len)
{
    struct crew *crew = arg;
    crew->ops->reply(crew, slot, id, text, len);
}

static void on_changed(void *arg, struct slot *slot)
{
    struct crew *crew = arg;
    crew->ops->changed(crew, slot);
}

static const struct slot_ops slot_ops = {on_slice, on_environment, on_door, on_reply, on_changed};

/* ---- making ---- */

static struct slot *add_slot(struct crew *crew, enum process_kind kind, const char *name)
{
    crew->slots = xreallocarray(crew->slots, crew->count + 1, sizeof *crew->slots);
    return crew->slots[crew->count++] = slot_new(kind, name, &slot_ops, crew);
}

static struct slot *add_sender(struct crew *crew)
{
    char name[16];
    snprintf(name, sizeof name, "%u", ++crew->last_sender);
    return add_slot(crew, PROCESS_SENDER, name);
}

struct crew *crew_new(struct conf *conf, int door_fd, char session_slot, const struct crew_ops *ops)
{
    struct crew *crew = xcalloc(1, sizeof *crew);
    crew->ops = ops;
    crew->conf = conf;
    crew->door_fd = door_fd;
    crew->session_slot = session_slot;
    crew->environment = crew_environment(conf);
    crew->loaded_ms = clock_wall_ms();
    if (conf_has_dispatcher(conf))
        add_slot(crew, PROCESS_DISPATCHER, "");
    for (unsigned i = conf_sender_processes(conf); i > 0; i--)
        add_sender(crew);
    for (size_t i = 0; i < conf_count(conf, "bridge"); i++)
        add_slot(crew, PROCESS_LISTENER, conf_title(conf, "bridge", i));
    return crew;
}

void crew_free(struct crew **p)
{
    struct crew *crew = *p;
    if (!crew)
        return;
    *p = NULL;
    for (size_t i = 0; i < crew->count; i++)
        slot_free(&crew->slots[i]);
    free(crew->slots);
    if (crew->door_fd >= 0)
        close(crew->door_fd);
    childenv_free(&crew->environment);
    conf_free(&crew->conf);
    free(crew);
}

/* ---- all of a kind ---- */

/* The next slot of KIND at or after *AT, which moves on; NULL at the end. */
static struct slot *next_of(const struct crew *crew, enum process_kind kind, size_t *at)
{
    while (*at < crew->count) {
        struct slot *slot = crew->slots[(*at)++];
        if (kind == PROCESS_KINDS || slot->kind == kind)
            return slot;
    }
    return NULL;
}

void crew_start(struct crew *crew, enum process_kind kind, bool on_trial)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        slot_start(slot, on_trial);
}

void crew_trust(struct crew *crew, enum process_kind kind)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        slot_trust(slot);
}

void crew_quit(struct crew *crew, enum process_kind kind, int64_t limit_ms)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        slot_quit(slot, limit_ms);
}

void crew_stop(struct crew *crew, enum process_kind kind)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        slot_stop(slot);
}

void crew_kill(struct crew *crew, enum process_kind kind)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        slot_kill(slot);
}

void crew_restore(struct crew *crew, enum process_kind kind)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        if (!slot->wanted && !slot->is_dismissed)
            slot_start(slot, false);
}

bool crew_is_settled(const struct crew *crew, enum process_kind kind)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        if (slot->state == SLOT_STARTING || (slot->on_trial && slot->state == SLOT_WAITING))
            return false;
    return true;
}

bool crew_is_empty(const struct crew *crew, enum process_kind kind)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        if (!slot_is_empty(slot))
            return false;
    return true;
}

struct slot *crew_find(const struct crew *crew, enum process_kind kind, const char *name)
{
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, kind, &at));)
        if (strcmp(slot->name, name) == 0)
            return slot;
    return NULL;
}

struct slot *crew_dispatcher(const struct crew *crew)
{
    return crew_find(crew, PROCESS_DISPATCHER, "");
}

void crew_reopen_logs(struct crew *crew)
{
    for (size_t i = 0; i < crew->count; i++)
        if (crew->slots[i]->process)
            process_reopen_log(crew->slots[i]->process);
}

/* ---- the number of senders ---- */

unsigned crew_senders(const struct crew *crew)
{
    unsigned wanted = 0;
    struct slot *slot;
    for (size_t at = 0; (slot = next_of(crew, PROCESS_SENDER, &at));)
        wanted += slot->wanted;
    return wanted;
}

static struct slot *last_sender(const struct crew *crew)
{
    for (size_t i = crew->count; i-- > 0;)
        if (crew->slots[i]->kind == PROCESS_SENDER && crew->slots[i]->wanted)
            return crew->slots[i];
    return NULL;
}

void crew_scale(struct crew *crew, unsigned count)
{
    if (count > CREW_SENDERS_MAX)
        count = CREW_SENDERS_MAX;
    for (unsigned n = crew_senders(crew); n > count; n--) {
        struct slot *slot = last_sender(crew);
        slot->is_dismissed = true;
        slot_quit(slot, ROLE_DRAIN_MS);
    }
    for (unsigned n = crew_senders(crew); n < count; n++)
        slot_start(add_sender(crew), false);
}

void crew_sweep(struct crew *crew)
{
    size_t kept = 0;
    for (size_t i = 0; i < crew->count; i++) {
        struct slot *slot = crew->slots[i];
        if (slot->is_dismissed && slot_is_empty(slot))
            slot_free(&slot);
        else
            crew->slots[kept++] = slot;
    }
    crew->count = kept;
}
