#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/str.h"
#include "dispatcher/intake_private.h"

enum { STATS_MAX = 256 };

bool intake_is_subscribed(const struct session *s)
{
    return s && strcmp(s->state, "subscribed") == 0;
}

const struct session *intake_session_of(const struct intake *in, const struct bridge *bridge)
{
    const struct session *any = NULL;
    for (const struct session *s = in->sessions; s; s = s->next) {
        if (s->bridge != bridge)
            continue;
        any = s;
        if (intake_is_subscribed(s))
            return s;
    }
    return any;
}

/* ---- events ---- */

/* Acknowledgements are cumulative, so a batch behind a missing one may not be taken. Asked who it is, the
 * listener says hello again and sends what was not acknowledged. Batches that were taken already go again to
 * the store, which knows their events. */
static bool in_sequence(struct session *s, uint64_t seq)
{
    if (s->taken && seq != s->taken + 1 && !s->broken) {
        s->broken = true;
        log_error("a batch of events is missing; asking for all again", log_str("bridge", s->bridge->name),
                  log_int("expected", (int64_t)s->taken + 1), log_int("seq", (int64_t)seq));
        msg_begin(&s->intake->out, LINK_WHO, 0);
        link_server_send(s->intake->links, s->peer, &s->intake->out);
    }
    s->taken = seq;
    return !s->broken;
}

static void on_events(struct session *s, struct msg_fields *f)
{
    struct intake *in = s->intake;
    uint64_t seq = msg_get_uint(f);
    int64_t mark_ms = msg_get_int(f);
    struct msg_fields list = msg_get_array(f);
    if (in->draining)
        return;
    if (!msg_end(f)) {
        log_error("malformed batch of events", log_str("bridge", s->bridge->name));
        return;
    }
    if (!in_sequence(s, seq))
        return;
    struct batch *b = batch_new(in, s, s->bridge, seq, mark_ms, s->bridge->name);
    size_t malformed = 0;
    while (list.left) {
        struct msg_str packed = msg_get_bin(&list);
        struct event e;
        s->bridge->received++;
        if (!packed.data || event_unpack(&in->event_in, packed.data, packed.len, &e)) {
            malformed++;
            continue;
        }
        s->bridge->recovered += e.recovered;
        int64_t now_ms = store_now_ms(in->store);
        journal_add(in->journal, &e, now_ms);
        size_t first = b->intake.count;
        members_see(in->members, &e);
        batch_add_event(b, &e, in->rules, store_identity(in->store), now_ms);
        batch_keep_event(b, first, packed);
        members_see_off(in->members, &e);
    }
    s->bridge->malformed += malformed;
    if (malformed && !s->complained) {
        log_error("malformed events are skipped and counted", log_str("bridge", s->bridge->name),
                  log_str("host", s->peer->host));
        s->complained = true;
    }
    batch_close(b);
    intake_commit(s, b);
}

static void free_stats(struct session *s)
{
    for (size_t i = 0; i < s->stats_count; i++) {
        free(s->stats[i].name);
        free(s->stats[i].label);
    }
    free(s->stats);
    s->stats = NULL;
    s->stats_count = 0;
}

/* What changed while a listener could not hear it is not known. */
static void note_breaks(struct session *s)
{
    for (size_t i = 0; i < s->stats_count; i++) {
        if (strcmp(s->stats[i].name, "breaks_total") != 0 || s->stats[i].value == s->breaks)
            continue;
        s->breaks = s->stats[i].value;
        members_forget(s->intake->members, s->bridge->name);
    }
}

static void on_stats(struct session *s, struct msg_fields *f)
{
    struct msg_fields list = msg_get_array(f);
    struct msg_str state = msg_get_str(f);
    if (!msg_end(f) || list.left > STATS_MAX)
        return;
    snprintf(s->state, sizeof s->state, "%.*s",
             (int)(state.len < INTAKE_STATE_MAX ? state.len : INTAKE_STATE_MAX - 1),
             state.data ? state.data : "");
    free_stats(s);
    s->stats = xcalloc(list.left, sizeof *s->stats);
    while (list.left) {
        struct msg_fields one = msg_get_array(&list);
        struct stat_value *v = &s->stats[s->stats_count];
        v->name = msg_str_dup(msg_get_str(&one));
        v->label = msg_str_dup(msg_get_str(&one));
        v->value = msg_get_int(&one);
        if (msg_end(&one) && v->name) {
            s->stats_count++;
            continue;
        }
        free(v->name);
        free(v->label);
    }
    note_breaks(s);
}

static void on_members(struct session *s, struct msg_fields *f)
{
    struct wire_members found;
    if (wire_get_members(f, &found) == 0)
        parents_answer(s->intake->parents, s->bridge->name, &found);
    else
        log_error("malformed members", log_str("bridge", s->bridge->name));
}

static void on_interest_ok(struct session *s, struct msg_fields *f)
{
    s->confirmed = msg_get_uint(f);
}

static void on_message(void *arg, struct link_peer *peer, int type, struct msg_fields *fields)
{
    static const struct {
        int type;
        void (*handle)(struct session *s, struct msg_fields *f);
    } handlers[] = {
        {WIRE_EVENTS, on_events},
        {WIRE_STATS, on_stats},
        {WIRE_INTEREST_OK, on_interest_ok},
        {WIRE_MEMBERS, on_members},
    };
    (void)arg;
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        if (handlers[i].type == type) {
            handlers[i].handle(peer->data, fields);
            return;
        }
    log_warn("a listener sent a message of unknown type", log_int("type", type));
}

/* ---- coming and going ---- */

static void send_interest(void *arg)
{
    struct intake *in = arg;
    for (struct session *s = in->sessions; s; s = s->next) {
        if (s->confirmed)
            continue;
        struct wire_interest interest = {0};
        rules_interest(in->rules, s->bridge->name, &interest);
        interest.everything = interest.everything || journal_wants_all(in->journal);
        interest.number = in->interest_number;
        msg_begin(&in->out, WIRE_INTEREST, 2);
        msg_put_uint(&in->out, interest.number);
        wire_put_interest(&in->out, &interest);
        link_server_send(in->links, s->peer, &in->out);
        wire_interest_free(&interest);
        /* Behind the interest, so that no change of what is found now is dropped there. */
        parents_listener(in->parents, s->bridge->name);
    }
}

static const char *on_hello(void *arg, struct link_peer *peer, const void *extra, size_t len,
                            struct msg_out *welcome)
{
    struct intake *in = arg;
    (void)extra;
    (void)len;
    struct bridge *bridge = intake_bridge(in, peer->name);
    if (strcmp(peer->role, "listener") != 0)
        return "only listeners connect here";
    if (!bridge)
        return "the dispatcher's configuration has no bridge of this name";
    struct session *s = xcalloc(1, sizeof *s);
    s->intake = in;
    s->peer = peer;
    s->bridge = bridge;
    s->last = &s->first;
    s->done_mark_ms = s->written_mark_ms = -1;
    snprintf(s->state, sizeof s->state, "connected");
    s->next = in->sessions;
    in->sessions = s;
    peer->data = s;
    members_forget(in->members, bridge->name);
    char installation[2 * HASH_ID_BYTES + 1];
    str_hex(store_identity(in->store)->bytes, HASH_ID_BYTES, installation);
    msg_put_array(welcome, 2);
    msg_put_int(welcome, store_mark_ms(in->store, bridge->name));
    msg_put_cstr(welcome, installation);
    log_info("listener connected", log_str("bridge", bridge->name), log_str("host", peer->host));
    /* The welcome leaves when this returns; the interest goes behind it. */
    loop_defer(send_interest, in);
    return NULL;
}

static void on_gone(void *arg, struct link_peer *peer)
{
    struct intake *in = arg;
    struct session *s = peer->data;
    log_info("listener gone", log_str("bridge", s->bridge->name), log_str("host", peer->host));
    for (struct session **p = &in->sessions; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    intake_drop_batches(s);
    free_stats(s);
    free(s);
    peer->data = NULL;
}

const struct link_server_ops intake_link_ops = {on_hello, on_gone, on_message};
