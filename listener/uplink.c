#include "listener/uplink.h"

#include <stdlib.h>

#include "core/alloc.h"
#include "core/log.h"

struct uplink {
    struct link_client *link;
    const struct uplink_ops *ops;
    void *arg;
    struct msg_in in;
    struct msg_out out;
};

static void on_up(void *arg, const void *extra, size_t len)
{
    struct uplink *u = arg;
    int64_t mark_ms = -1;
    if (msg_parse_object(&u->in, extra, len) == 0 && u->in.root.type == MSGPACK_OBJECT_ARRAY) {
        struct msg_fields f = {u->in.root.via.array.ptr, u->in.root.via.array.size, false};
        mark_ms = msg_get_int(&f);
        if (f.failed)
            mark_ms = -1;
    }
    log_info("connected to the dispatcher", log_int("mark_ms", mark_ms));
    u->ops->up(u->arg, mark_ms);
}

static void on_down(void *arg)
{
    struct uplink *u = arg;
    log_warn("the dispatcher is away; events are kept");
    u->ops->down(u->arg);
}

static void on_acked(struct uplink *u, struct msg_fields *f)
{
    uint64_t seq = msg_get_uint(f);
    if (msg_end(f))
        u->ops->acked(u->arg, seq);
}

static void on_interest(struct uplink *u, struct msg_fields *f)
{
    struct wire_interest interest;
    uint64_t number = msg_get_uint(f);
    if (wire_get_interest(f, &interest) || !msg_end(f)) {
        log_error("the dispatcher sent a malformed interest; the former one stays");
        wire_interest_free(&interest);
        return;
    }
    interest.number = number;
    log_info("interest in force", log_int("number", (int64_t)number),
             log_int("entries", (int64_t)interest.count), log_int("everything", interest.everything));
    u->ops->interest(u->arg, &interest);
    wire_interest_free(&interest);
    msg_begin(&u->out, WIRE_INTEREST_OK, 1);
    msg_put_uint(&u->out, number);
    uplink_send(u, &u->out);
}

static void on_resync(struct uplink *u, struct msg_fields *f)
{
    int64_t since_ms = msg_get_int(f);
    if (msg_end(f))
        u->ops->resync(u->arg, since_ms);
}

static void on_members_ask(struct uplink *u, struct msg_fields *f)
{
    struct wire_members_ask ask;
    if (wire_get_members_ask(f, &ask) == 0)
        u->ops->members(u->arg, &ask);
    else
        log_error("the dispatcher sent a malformed question for members");
}

static void on_message(void *arg, int type, struct msg_fields *f)
{
    static const struct {
        int type;
        void (*handle)(struct uplink *u, struct msg_fields *f);
    } handlers[] = {{WIRE_EVENTS_ACK, on_acked},
                    {WIRE_INTEREST, on_interest},
                    {WIRE_RESYNC, on_resync},
                    {WIRE_MEMBERS_ASK, on_members_ask}};
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        if (handlers[i].type == type) {
            handlers[i].handle(arg, f);
            return;
        }
    log_warn("the dispatcher sent a message of unknown type", log_int("type", type));
}

struct uplink *uplink_new(const char *endpoint, const char *bridge, const struct uplink_ops *ops, void *arg)
{
    static const struct link_client_ops link_ops = {NULL, on_up, on_down, on_message};
    struct uplink *u = xcalloc(1, sizeof *u);
    u->ops = ops;
    u->arg = arg;
    msg_in_init(&u->in);
    msg_out_init(&u->out, 0);
    u->link = link_client_new(endpoint, "listener", bridge, &link_ops, u);
    return u;
}

void uplink_free(struct uplink **p)
{
    struct uplink *u = *p;
    if (!u)
        return;
    *p = NULL;
    link_client_free(&u->link);
    msg_in_free(&u->in);
    msg_out_free(&u->out);
    free(u);
}

bool uplink_is_up(const struct uplink *u)
{
    return link_client_is_up(u->link);
}

int uplink_send(struct uplink *u, const struct msg_out *m)
{
    return link_client_send(u->link, m);
}

int uplink_members(struct uplink *u, const struct wire_members *found, const char *const *users, size_t count)
{
    wire_put_members(&u->out, found, count);
    for (size_t i = 0; i < count; i++)
        msg_put_cstr(&u->out, users[i]);
    return uplink_send(u, &u->out);
}

void uplink_stats_begin(struct uplink *u, size_t values)
{
    msg_begin(&u->out, WIRE_STATS, 2);
    msg_put_array(&u->out, values);
}

void uplink_stats_put(struct uplink *u, const char *name, const char *label, int64_t value)
{
    msg_put_array(&u->out, 3);
    msg_put_cstr(&u->out, name);
    msg_put_cstr(&u->out, label);
    msg_put_int(&u->out, value);
}

void uplink_stats_end(struct uplink *u, const char *state)
{
    msg_put_cstr(&u->out, state);
    uplink_send(u, &u->out);
}
