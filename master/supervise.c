#include "master/supervise.h"

#include <stdlib.h>

#include "core/alloc.h"
#include "core/loop.h"

static struct {
    struct crew **crews;
    size_t count;
    struct crew *in_force, *next;
    const struct activity *activity;
    bool is_poked;
    void (*reply)(uint64_t id, const char *text, size_t len);
    void (*dispatcher)(void);
} supervise;

static void sweep(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < supervise.count; i++) {
        struct crew *crew = supervise.crews[i];
        crew_sweep(crew);
        if (crew != supervise.in_force && crew != supervise.next && crew_is_empty(crew, PROCESS_KINDS))
            crew_free(&crew);
        else
            supervise.crews[kept++] = crew;
    }
    supervise.count = kept;
}

static void look(void *arg)
{
    (void)arg;
    supervise.is_poked = false;
    if (supervise.dispatcher)
        supervise.dispatcher();
    if (supervise.activity)
        supervise.activity->step();
    sweep();
}

void supervise_poke(void)
{
    if (supervise.is_poked)
        return;
    supervise.is_poked = true;
    loop_defer(look, NULL);
}

static void on_changed(struct crew *crew, struct slot *slot)
{
    (void)crew;
    (void)slot;
    supervise_poke();
}

static void on_reply(struct crew *crew, struct slot *slot, uint64_t id, const char *text, size_t len)
{
    (void)crew;
    (void)slot;
    if (supervise.reply)
        supervise.reply(id, text, len);
}

static const struct crew_ops crew_ops = {on_changed, on_reply};

void supervise_begin(const struct activity *activity)
{
    const struct activity *former = supervise.activity;
    supervise.activity = NULL;
    if (former && activity && former->abort)
        former->abort();
    supervise.activity = activity;
    supervise_poke();
}

const struct activity *supervise_activity(void)
{
    return supervise.activity;
}

struct crew *supervise_add(struct conf *conf, int door_fd, char session_slot)
{
    supervise.crews = xreallocarray(supervise.crews, supervise.count + 1, sizeof *supervise.crews);
    return supervise.crews[supervise.count++] = crew_new(conf, door_fd, session_slot, &crew_ops);
}

struct crew *supervise_crew(void)
{
    return supervise.in_force;
}

void supervise_install(struct crew *crew)
{
    supervise.in_force = crew;
    if (supervise.next == crew)
        supervise.next = NULL;
    supervise_poke();
}

void supervise_set_next(struct crew *crew)
{
    supervise.next = crew;
    supervise_poke();
}

struct crew *supervise_at(size_t index)
{
    return index < supervise.count ? supervise.crews[index] : NULL;
}

static struct slot *working_dispatcher(const struct crew *crew)
{
    struct slot *slot = crew ? crew_dispatcher(crew) : NULL;
    return slot && slot->state == SLOT_RUNNING ? slot : NULL;
}

struct slot *supervise_dispatcher(void)
{
    struct slot *slot = working_dispatcher(supervise.next);
    return slot ? slot : working_dispatcher(supervise.in_force);
}

void supervise_on_reply(void (*fn)(uint64_t id, const char *text, size_t len))
{
    supervise.reply = fn;
}

void supervise_on_dispatcher(void (*fn)(void))
{
    supervise.dispatcher = fn;
}

void supervise_free(void)
{
    for (size_t i = 0; i < supervise.count; i++)
        crew_free(&supervise.crews[i]);
    free(supervise.crews);
    supervise.crews = NULL;
    supervise.count = 0;
    supervise.in_force = supervise.next = NULL;
}
