#include "dispatcher/intake.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "core/str.h"
#include "dispatcher/batch.h"
#include "dispatcher/listener_metrics.h"
#include "dispatcher/parents.h"

enum {
    TRY_AGAIN_MS = 500,
    STATS_MAX = 256,
    STATE_MAX = 256,
    /* Decisions and jobs that are with the store at once: as much as one transaction takes, and as much again
     * that waits for the next. More would only stand before the outcomes and leases that keep senders busy.
     */
    WITH_STORE_MAX = 2000,
    WITH_STORE_HUNGRY = 200, /* while senders stand idle */
    /* So long a batch waits until busy senders have room for its jobs: what goes into the store as leased
     * costs it half of what is queued and claimed later. */
    HOLD_MS = 250,
    HOLD_FAST_MS = 1000, /* while they work off hundreds in that time */
    HOLD_LOOK_MS = 1,
    CONTAINERS_MAX = 10000, /* whose members are known at a time */
    WAITING_MAX = 1000000,  /* what waits for members, in memory: see parents.h */
    REFRESH_MS = 2000,      /* between two looks at the directory's file */
};

/* One listener, from its hello until it is gone. */
struct session {
    struct intake *intake;
    struct session *next;
    struct link_peer *peer;
    struct bridge *bridge;
    char state[STATE_MAX];
    uint64_t confirmed;      /* number of the interest in force there */
    uint64_t taken;          /* last sequence number that came */
    uint64_t acked;          /* last sequence number acknowledged */
    int64_t done_mark_ms;    /* of the batches committed without a gap; goes into the next unit */
    int64_t written_mark_ms; /* what the store was given last */
    struct batch *first, **last;
    struct stat_value *stats;
    size_t stats_count;
    int64_t breaks;  /* moments at which it may have missed events, as it told last */
    bool complained; /* about malformed events */
    bool broken;     /* a batch is missing: nothing is taken until the listener has said hello again */
};

struct bridge {
    char *name;
    uint64_t received, recovered, matched, jobs, duplicates, malformed, cancelled;
};

struct intake {
    struct link_server *links;
    struct store *store;
    struct rules *rules;
    struct queue *queue;
    struct members *members;
    struct parents *parents;
    struct loop_timer *refresh;
    struct digests *digests; /* NULL: nobody closes them */
    struct journal *journal; /* NULL: none is kept */
    struct bridge *bridges;
    size_t bridges_count;
    struct session *sessions;
    struct batch *orphans; /* with the store, their session gone */
    struct loop_timer *again;
    struct loop_timer *hold; /* while a batch waits for room with the senders */
    uint64_t held_since_ms;  /* 0: none does */
    bool hold_in_vain;       /* until senders have room, nothing waits for it again */
    uint64_t interest_number;
    size_t with_store;
    size_t weight; /* of what is with the store */
    bool draining, parents_idle;
    void (*drained)(void *arg);
    void *drained_arg;
    struct msg_out out;
    struct msg_in event_in;
    char trouble[400]; /* what intake_trouble said last */
};

/* ---- acknowledging ---- */

static void acknowledge(struct session *s, uint64_t seq)
{
    struct intake *in = s->intake;
    s->acked = seq;
    msg_begin(&in->out, WIRE_EVENTS_ACK, 1);
    msg_put_uint(&in->out, seq);
    link_server_send(in->links, s->peer, &in->out);
}

/* Takes finished batches off the front; what is behind an unfinished one waits, so that an acknowledgement
 * covers everything before it. */
static void settle_session(struct session *s)
{
    uint64_t seq = 0;
    while (s->first && s->first->state == BATCH_DONE) {
        struct batch *b = s->first;
        s->first = b->next;
        if (!s->first)
            s->last = &s->first;
        seq = b->seq;
        if (b->mark_ms > s->done_mark_ms)
            s->done_mark_ms = b->mark_ms;
        batch_free(&b);
    }
    if (seq)
        acknowledge(s, seq);
}

/* ---- the store ---- */

static void submit(struct intake *in, struct batch *b);

static size_t weight_of(const struct batch *b)
{
    return b->intake.count + b->jobs_count;
}

static bool is_held(struct intake *in, const struct batch *b)
{
    if (!b->jobs_count)
        return false;
    uint64_t now_ms = clock_mono_ms();
    bool fast = false;
    bool busy = queue_is_busy(in->queue, b->jobs[0], b->jobs_count, &fast);
    if (busy && in->held_since_ms && now_ms - in->held_since_ms >= (fast ? HOLD_FAST_MS : HOLD_MS))
        in->hold_in_vain = true;
    if (!busy)
        in->hold_in_vain = false;
    if (!busy || in->hold_in_vain) {
        in->held_since_ms = 0;
        return false;
    }
    if (!in->held_since_ms)
        in->held_since_ms = now_ms;
    if (!loop_timer_pending(in->hold))
        loop_timer_start(in->hold, HOLD_LOOK_MS);
    return true;
}

static bool has_room(struct intake *in, const struct batch *b)
{
    size_t most = queue_is_hungry(in->queue) ? WITH_STORE_HUNGRY : WITH_STORE_MAX;
    return (in->with_store == 0 || in->weight + weight_of(b) <= most) && !is_held(in, b);
}

/* Submits what waits, of each session in its order, as far as there is room. */
static void submit_waiting(struct intake *in)
{
    if (in->draining)
        return;
    for (struct session *s = in->sessions; s; s = s->next)
        for (struct batch *b = s->first, *next; b; b = next) {
            next = b->next;
            if (b->state != BATCH_WAITING)
                continue;
            if (!has_room(in, b))
                break;
            submit(in, b);
        }
}

static void look_again(void *arg)
{
    struct intake *in = arg;
    if (!loop_timer_pending(in->again))
        submit_waiting(in);
}

static void check_drained(struct intake *in)
{
    if (in->draining && in->parents_idle && in->with_store == 0 && in->drained) {
        loop_defer(in->drained, in->drained_arg);
        in->drained = NULL;
    }
}

static void forget_orphan(struct intake *in, struct batch *b)
{
    for (struct batch **p = &in->orphans; *p; p = &(*p)->next)
        if (*p == b) {
            *p = b->next;
            break;
        }
    batch_free(&b);
}

/* Tells of what noise control made of the jobs. */
static void note_job(struct intake *in, const struct store_job *j, int64_t now_ms)
{
    if (!j->noise)
        return;
    rules_note(in->rules, j, now_ms);
    if (in->digests)
        digests_note(in->digests, j);
}

static void note_jobs(struct intake *in, const struct store_decision *d)
{
    int64_t now_ms = store_now_ms(in->store);
    for (size_t i = 0; i < d->jobs_count; i++)
        note_job(in, &d->jobs[i], now_ms);
}

static void note_parent(void *arg, const struct store_decision *d, int64_t row)
{
    struct intake *in = arg;
    parents_add(in->parents, row, d->packed, d->packed_len);
}

static void count_result(struct intake *in, struct bridge *bridge, const struct batch *b)
{
    bridge->cancelled += b->intake.cancelled;
    for (size_t i = 0; i < b->intake.count; i++) {
        const struct store_decision *d = &b->intake.decisions[i];
        if (d->known == STORE_KNOWN)
            bridge->duplicates++;
        else if (d->jobs_count) {
            bridge->matched++;
            bridge->jobs += d->jobs_count;
            note_jobs(in, d);
        }
    }
}

static void on_stored(struct store_unit *unit, enum store_status status)
{
    struct batch *b = unit->arg;
    struct intake *in = b->owner;
    struct session *s = b->session;
    in->with_store--;
    in->weight -= weight_of(b);
    if (b->ticket)
        queue_settle(in->queue, b->ticket, status == STORE_OK);
    b->ticket = NULL;
    if (status == STORE_OK) {
        count_result(in, b->bridge, b);
        batch_each_parent(b, note_parent, in);
        b->state = BATCH_DONE;
    } else {
        batch_reset(b);
        b->state = BATCH_WAITING;
        if (!loop_timer_pending(in->again))
            loop_timer_start(in->again, TRY_AGAIN_MS);
    }
    if (!s)
        forget_orphan(in, b);
    else if (status == STORE_OK)
        settle_session(s);
    if (!loop_timer_pending(in->again))
        submit_waiting(in);
    check_drained(in);
}

/* While a bridge has no mark at all, the first events that are kept bring one: from a little before them.
 * Else whoever is killed before the listener's own mark is on disk would start for the first time once more,
 * and not miss what came meanwhile. Only for a batch with nothing before it: the mark of a later one could
 * pass events that are not on disk. */
static int64_t first_mark_ms(const struct intake *in, const struct batch *b)
{
    enum { SAFETY_MS = 1000 };
    int64_t earliest_ms = INT64_MAX;
    if (store_mark_ms(in->store, b->bridge->name) >= 0)
        return -1;
    for (size_t i = 0; i < b->intake.count; i++)
        if (b->intake.decisions[i].event_ms < earliest_ms)
            earliest_ms = b->intake.decisions[i].event_ms;
    return earliest_ms > SAFETY_MS && earliest_ms < INT64_MAX ? earliest_ms - SAFETY_MS : -1;
}

static void submit(struct intake *in, struct batch *b)
{
    struct session *s = b->session;
    /* A mark may be written only when everything before it is; that is so for what settle_session passed, and
     * for a batch with nothing before it, whose events are in the same transaction. */
    int64_t mark = s->first == b ? b->mark_ms : s->done_mark_ms;
    if (mark < 0 && s->first == b)
        mark = first_mark_ms(in, b);
    b->intake.mark_ms = mark > s->written_mark_ms ? mark : -1;
    if (b->intake.count == 0 && b->intake.mark_ms < 0) {
        b->state = BATCH_DONE;
        settle_session(s);
        return;
    }
    if (b->intake.mark_ms >= 0)
        s->written_mark_ms = b->intake.mark_ms;
    b->state = BATCH_STORED;
    b->intake.unit.done = on_stored;
    b->intake.unit.arg = b;
    /* It may have waited for long, and what was swept then were jobs in the store. */
    int64_t now_ms = store_now_ms(in->store);
    for (size_t i = 0; i < b->jobs_count; i++)
        rules_recheck(in->rules, b->jobs[i], now_ms);
    if (b->jobs_count)
        b->ticket = queue_offer(in->queue, b->jobs, b->jobs_count);
    in->with_store++;
    in->weight += weight_of(b);
    store_submit(in->store, &b->intake.unit);
}

/* After a failed commit the same units go in again, in their order, from the first that is not done. */
static void try_again(void *arg)
{
    struct intake *in = arg;
    for (struct session *s = in->sessions; s; s = s->next)
        s->written_mark_ms = -1;
    submit_waiting(in);
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

/* True if a batch of the session waits for its turn. */
static bool waits(const struct session *s)
{
    for (const struct batch *b = s->first; b; b = b->next)
        if (b->state == BATCH_WAITING)
            return true;
    return false;
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
        journal_add(in->journal, &e);
        size_t first = b->intake.count;
        members_see(in->members, &e);
        batch_add_event(b, &e, in->rules, store_identity(in->store), store_now_ms(in->store));
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
    bool behind = waits(s);
    *s->last = b;
    s->last = &b->next;
    /* Behind a batch that waits for the store nothing is submitted, so that the order stays. */
    if (!behind && has_room(in, b))
        submit(in, b);
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
    snprintf(s->state, sizeof s->state, "%.*s", (int)(state.len < STATE_MAX ? state.len : STATE_MAX - 1),
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

static struct bridge *find_bridge(struct intake *in, const char *name)
{
    for (size_t i = 0; i < in->bridges_count; i++)
        if (strcmp(in->bridges[i].name, name) == 0)
            return &in->bridges[i];
    return NULL;
}

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
    struct bridge *bridge = find_bridge(in, peer->name);
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

static void drop_batches(struct session *s)
{
    for (struct batch *b = s->first, *next; b; b = next) {
        next = b->next;
        b->session = NULL;
        if (b->state == BATCH_STORED) {
            b->next = s->intake->orphans;
            s->intake->orphans = b;
        } else {
            batch_free(&b);
        }
    }
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
    drop_batches(s);
    free_stats(s);
    free(s);
    peer->data = NULL;
}

/* ---- members ---- */

static const struct session *session_of(const struct intake *in, const struct bridge *bridge)
{
    const struct session *any = NULL;
    for (const struct session *s = in->sessions; s; s = s->next) {
        if (s->bridge != bridge)
            continue;
        any = s;
        if (strcmp(s->state, "subscribed") == 0)
            return s;
    }
    return any;
}

/* To the listener that hears the Bridge, if there is one. */
static bool ask_members(void *arg, const char *bridge, const struct wire_members_ask *ask)
{
    struct intake *in = arg;
    struct bridge *b = find_bridge(in, bridge);
    const struct session *s = b ? session_of(in, b) : NULL;
    if (!s)
        return false;
    wire_put_members_ask(&in->out, ask);
    return link_server_send(in->links, s->peer, &in->out) == 0;
}

bool intake_look_up(struct intake *in, const struct event *e)
{
    return parents_wonder(in->parents, e);
}

static void on_inserted(void *arg, const struct store_job *jobs, size_t count)
{
    struct intake *in = arg;
    int64_t now_ms = store_now_ms(in->store);
    bool queued = false;
    for (size_t i = 0; i < count; i++) {
        note_job(in, &jobs[i], now_ms);
        queued = queued || jobs[i].state == JOB_QUEUED;
    }
    if (queued)
        queue_kick(in->queue);
}

static void on_refresh(void *arg)
{
    struct intake *in = arg;
    rules_refresh(in->rules);
    loop_timer_start(in->refresh, REFRESH_MS);
}

static void read_bridges(struct intake *in, const struct slice *slice)
{
    in->bridges_count = slice_count(slice, "bridge");
    in->bridges = xcalloc(in->bridges_count, sizeof *in->bridges);
    size_t n = 0;
    for (const struct slice_block *b = NULL; (b = slice_next(slice, "bridge", b));)
        in->bridges[n++].name = xstrdup(b->title);
}

struct intake *intake_new(const char *endpoint, const struct slice *slice, struct store *store,
                          struct rules *rules, struct queue *queue, struct digests *digests)
{
    static const struct link_server_ops ops = {on_hello, on_gone, on_message};
    static const struct parents_ops parents_ops = {ask_members, on_inserted};
    struct intake *in = xcalloc(1, sizeof *in);
    in->store = store;
    in->rules = rules;
    in->queue = queue;
    in->digests = digests;
    in->interest_number = (uint64_t)clock_wall_ms();
    read_bridges(in, slice);
    msg_out_init(&in->out, 0);
    msg_in_init(&in->event_in);
    in->again = loop_timer_new(try_again, in);
    in->hold = loop_timer_new(look_again, in);
    in->members = members_new(CONTAINERS_MAX);
    rules_use_members(rules, in->members);
    in->parents = parents_new(store, rules, in->members, WAITING_MAX, &parents_ops, in);
    in->refresh = loop_timer_new(on_refresh, in);
    loop_timer_start(in->refresh, REFRESH_MS);
    in->links = link_server_new(endpoint, &ops, in);
    if (!in->links)
        intake_free(&in);
    return in;
}

void intake_free(struct intake **p)
{
    struct intake *in = *p;
    if (!in)
        return;
    *p = NULL;
    link_server_free(&in->links);
    /* What is still with the store completes there without us (store_close runs its completions first when it
     * is called before this); after a drain there is none. */
    while (in->orphans)
        forget_orphan(in, in->orphans);
    loop_timer_free(&in->again);
    loop_timer_free(&in->hold);
    loop_timer_free(&in->refresh);
    parents_free(&in->parents);
    rules_use_members(in->rules, NULL);
    members_free(&in->members);
    msg_out_free(&in->out);
    msg_in_free(&in->event_in);
    for (size_t i = 0; i < in->bridges_count; i++)
        free(in->bridges[i].name);
    free(in->bridges);
    free(in);
}

void intake_set_journal(struct intake *in, struct journal *journal)
{
    in->journal = journal;
}

static void on_parents_idle(void *arg)
{
    struct intake *in = arg;
    in->parents_idle = true;
    check_drained(in);
}

void intake_drain(struct intake *in, void (*done)(void *arg), void *arg)
{
    in->draining = true;
    in->drained = done;
    in->drained_arg = arg;
    parents_stop(in->parents, on_parents_idle, in);
    check_drained(in);
}

size_t intake_resync(struct intake *in, const char *bridge, int64_t since_ms)
{
    size_t asked = 0;
    for (struct session *s = in->sessions; s; s = s->next) {
        if (bridge && strcmp(bridge, s->bridge->name) != 0)
            continue;
        msg_begin(&in->out, WIRE_RESYNC, 1);
        msg_put_int(&in->out, since_ms);
        asked += link_server_send(in->links, s->peer, &in->out) == 0;
    }
    return asked;
}

bool intake_interest_confirmed(const struct intake *in)
{
    for (const struct session *s = in->sessions; s; s = s->next)
        if (s->confirmed != in->interest_number)
            return false;
    return true;
}

/* ---- seeing it ---- */

static cJSON *listener_status(const struct session *s)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "host", s->peer->host);
    cJSON_AddStringToObject(o, "state", s->state);
    cJSON_AddBoolToObject(o, "interest_confirmed", s->confirmed == s->intake->interest_number);
    cJSON *stats = cJSON_AddObjectToObject(o, "stats");
    for (size_t i = 0; i < s->stats_count; i++) {
        const struct stat_value *v = &s->stats[i];
        if (!v->label || !v->label[0])
            cJSON_AddNumberToObject(stats, v->name, (double)v->value);
    }
    return o;
}

/* One listener for each bridge: while an old and a new one overlap, two samples of one name would spoil the
 * whole page. */
static struct listener_values values_of(const struct intake *in, const struct bridge *bridge)
{
    const struct session *s = session_of(in, bridge);
    return (struct listener_values){bridge->name, s ? s->stats : NULL, s ? s->stats_count : 0};
}

static cJSON *bridge_status(struct intake *in, const struct bridge *b)
{
    const struct session *best = session_of(in, b);
    struct listener_values values = values_of(in, b);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", b->name);
    cJSON_AddBoolToObject(o, "connected", best && strcmp(best->state, "subscribed") == 0);
    cJSON_AddStringToObject(o, "state", best ? best->state : "no listener");
    cJSON_AddNumberToObject(o, "mark_ms", (double)store_mark_ms(in->store, b->name));
    cJSON_AddNumberToObject(o, "events", (double)b->received);
    cJSON_AddNumberToObject(o, "recovered", (double)b->recovered);
    cJSON_AddNumberToObject(o, "matched", (double)b->matched);
    cJSON_AddNumberToObject(o, "duplicates", (double)b->duplicates);
    cJSON_AddNumberToObject(o, "malformed", (double)b->malformed);
    cJSON_AddNumberToObject(o, "seen", (double)listener_value(&values, "frames_total"));
    cJSON_AddNumberToObject(o, "unwanted", (double)listener_value(&values, "dropped_by_interest_total"));
    cJSON_AddItemToObject(o, "dropped", listener_dropped(&values));
    cJSON *listeners = cJSON_AddArrayToObject(o, "listeners");
    for (const struct session *s = in->sessions; s; s = s->next)
        if (s->bridge == b)
            cJSON_AddItemToArray(listeners, listener_status(s));
    return o;
}

void intake_status(struct intake *in, cJSON *status)
{
    members_status(in->members, status);
    parents_status(in->parents, status);
    struct bridge sum = {0};
    cJSON *bridges = cJSON_AddArrayToObject(status, "bridges");
    for (size_t i = 0; i < in->bridges_count; i++) {
        const struct bridge *b = &in->bridges[i];
        cJSON_AddItemToArray(bridges, bridge_status(in, b));
        sum.received += b->received;
        sum.recovered += b->recovered;
        sum.matched += b->matched;
        sum.jobs += b->jobs;
        sum.duplicates += b->duplicates;
        sum.malformed += b->malformed;
        sum.cancelled += b->cancelled;
    }
    cJSON *events = cJSON_AddObjectToObject(status, "events");
    cJSON_AddNumberToObject(events, "received", (double)sum.received);
    cJSON_AddNumberToObject(events, "recovered", (double)sum.recovered);
    cJSON_AddNumberToObject(events, "matched", (double)sum.matched);
    cJSON_AddNumberToObject(events, "jobs", (double)sum.jobs);
    cJSON_AddNumberToObject(events, "duplicates", (double)sum.duplicates);
    cJSON_AddNumberToObject(events, "malformed", (double)sum.malformed);
    cJSON_AddNumberToObject(events, "cancelled_by_deletion", (double)sum.cancelled);
    cJSON_AddBoolToObject(events, "interest_confirmed", intake_interest_confirmed(in));
}

static uint64_t *counter_at(struct bridge *b, size_t offset)
{
    return (uint64_t *)(void *)((char *)b + offset);
}

static void print_listener_stats(struct intake *in, struct buf *out)
{
    struct listener_values *all = xcalloc(in->bridges_count + 1, sizeof *all);
    for (size_t i = 0; i < in->bridges_count; i++)
        all[i] = values_of(in, &in->bridges[i]);
    listener_metrics(out, all, in->bridges_count);
    free(all);
}

void intake_metrics(struct intake *in, struct buf *out)
{
    static const struct {
        struct metric_def def;
        size_t offset;
    } rows[] = {
        {{"events_received_total", METRIC_COUNTER, "Events that reached the dispatcher.", "bridge"},
         offsetof(struct bridge, received)},
        {{"events_recovered_total", METRIC_COUNTER, "Events of them that catch-up fetched.", "bridge"},
         offsetof(struct bridge, recovered)},
        {{"events_matched_total", METRIC_COUNTER, "New events that at least one rule matched.", "bridge"},
         offsetof(struct bridge, matched)},
        {{"jobs_created_total", METRIC_COUNTER, "Jobs that events caused.", "bridge"},
         offsetof(struct bridge, jobs)},
        {{"events_duplicate_total", METRIC_COUNTER, "Events that were known already.", "bridge"},
         offsetof(struct bridge, duplicates)},
        {{"events_malformed_total", METRIC_COUNTER, "Events that could not be read.", "bridge"},
         offsetof(struct bridge, malformed)},
        {{"jobs_cancelled_by_deletion_total", METRIC_COUNTER,
          "Jobs cancelled because their item was deleted.", "bridge"},
         offsetof(struct bridge, cancelled)},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        metrics_print_head(out, &rows[r].def);
        for (size_t i = 0; i < in->bridges_count; i++)
            metrics_print_value(out, &rows[r].def, in->bridges[i].name, NULL,
                                (int64_t)*counter_at(&in->bridges[i], rows[r].offset));
    }
    members_metrics(in->members, out);
    parents_metrics(in->parents, out);
    print_listener_stats(in, out);
}

const char *intake_trouble(struct intake *in)
{
    for (size_t i = 0; i < in->bridges_count; i++) {
        const struct session *s = session_of(in, &in->bridges[i]);
        if (s && strcmp(s->state, "subscribed") == 0)
            continue;
        snprintf(in->trouble, sizeof in->trouble, "bridge \"%s\" %s%s", in->bridges[i].name,
                 s ? "is not subscribed: " : "has no listener; \"bridgebell status\" says why",
                 s ? s->state : "");
        return in->trouble;
    }
    return NULL;
}
