#include "master/forward.h"

#include <stdlib.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/loop.h"
#include "master/control.h"
#include "master/supervise.h"

struct pending {
    struct pending *next;
    uint64_t id;
    uint64_t client;
    uint64_t deadline_ms;
    uint64_t generation; /* of the dispatcher that has it; 0: not sent yet */
    bool is_change;
    char *text;
    forward_done_fn *done;
};

static struct {
    struct pending *list;
    size_t count;
    uint64_t last_id;
    struct loop_timer *timer;
} forward;

static void complete(struct pending *p, cJSON *answer)
{
    for (struct pending **at = &forward.list; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    forward.count--;
    p->done(p->client, answer);
    free(p->text);
    free(p);
}

static void send_to(struct pending *p, const struct slot *dispatcher)
{
    p->generation = dispatcher->generation;
    process_control(dispatcher->process, p->id, p->text);
}

/* The dispatcher may be another one now, or none. */
static void on_dispatcher(void)
{
    const struct slot *dispatcher = supervise_dispatcher();
    for (struct pending *p = forward.list, *next; p; p = next) {
        next = p->next;
        bool is_lost = p->generation && (!dispatcher || dispatcher->generation != p->generation);
        if (is_lost && p->is_change) {
            complete(p, control_refusal("the dispatcher left before it answered",
                                        "it may have done what was asked; look before you ask again"));
            continue;
        }
        if (is_lost)
            p->generation = 0;
        if (dispatcher && !p->generation)
            send_to(p, dispatcher);
    }
}

static void on_reply(uint64_t id, const char *text, size_t len)
{
    struct pending *p = forward.list;
    while (p && p->id != id)
        p = p->next;
    if (!p)
        return;
    cJSON *answer = cJSON_ParseWithLength(text, len);
    if (!cJSON_IsObject(answer)) {
        cJSON_Delete(answer);
        answer = control_refusal("the dispatcher gave an answer that is not well-formed", NULL);
    }
    complete(p, answer);
}

static cJSON *overdue(const struct pending *p)
{
    if (!p->generation)
        return control_refusal("the dispatcher is not running",
                               "\"bridgebell status\" shows why and when it is started again");
    if (p->is_change)
        return control_refusal("the dispatcher does not answer yet",
                               "it may still do what was asked; look before you ask again");
    return control_refusal("the dispatcher does not answer",
                           "see the log; \"bridgebell status\" shows its state");
}

static void on_timer(void *arg)
{
    (void)arg;
    uint64_t now_ms = clock_mono_ms();
    for (struct pending *p = forward.list, *next; p; p = next) {
        next = p->next;
        if (now_ms < p->deadline_ms)
            continue;
        complete(p, overdue(p));
    }
    if (forward.list)
        loop_timer_start(forward.timer, 50);
}

void forward_setup(void)
{
    forward.timer = loop_timer_new(on_timer, NULL);
    supervise_on_reply(on_reply);
    supervise_on_dispatcher(on_dispatcher);
}

void forward_request(uint64_t client, const cJSON *body, bool is_change, forward_done_fn *done)
{
    if (forward.count >= FORWARD_PENDING_MAX) {
        done(client, control_refusal("too many requests wait for the dispatcher", "try again"));
        return;
    }
    struct pending *p = xcalloc(1, sizeof *p);
    p->id = ++forward.last_id;
    p->client = client;
    p->deadline_ms = clock_mono_ms() + FORWARD_LIMIT_MS;
    p->is_change = is_change;
    p->done = done;
    char *text = cJSON_PrintUnformatted(body);
    p->text = xstrdup(text ? text : "{}");
    cJSON_free(text);
    p->next = forward.list;
    forward.list = p;
    forward.count++;
    const struct slot *dispatcher = supervise_dispatcher();
    if (dispatcher)
        send_to(p, dispatcher);
    if (!loop_timer_pending(forward.timer))
        loop_timer_start(forward.timer, 50);
}

void forward_free(void)
{
    while (forward.list) {
        struct pending *p = forward.list;
        forward.list = p->next;
        free(p->text);
        free(p);
    }
    forward.count = 0;
    loop_timer_free(&forward.timer);
}
