#include "listener/listener.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "listener/catchup.h"
#include "listener/connection.h"
#include "listener/failures.h"
#include "listener/intake.h"
#include "listener/lookup.h"
#include "listener/mark.h"
#include "listener/outbox.h"
#include "listener/session.h"
#include "listener/settings.h"
#include "listener/spill.h"
#include "listener/uplink.h"

enum {
    TICK_MS = 250,
    STATS_MS = 1000,
    MARK_MS = 3000,
    ADOPT_MS = 5000,
    DRAIN_CHECK_MS = 20,
    STALL_MS = 1000, /* a loop that stood still for longer read bytes of unknown age */
    READY_MS = 3000, /* longest wait for the Bridge and the dispatcher before reporting ready all the same */
    STATS_MAX = 200,
    TOLD_STATE_BYTES = 256,
};

static struct {
    struct settings *settings;
    struct session *session;
    struct connection *connection;
    struct spill *spill;
    struct outbox *outbox;
    struct intake *intake;
    struct uplink *uplink;
    struct pace pace;
    struct catchup *catchup;
    struct lookup *lookup;
    struct mark mark;
    struct loop_timer *tick, *drain;
    uint64_t started_ms;
    uint64_t stats_ms, mark_ms, adopt_ms; /* when each was last done */
    /* Boot clock: the last look at the clock, and the latest moment at which the Bridge was certainly heard.
     */
    uint64_t tick_boot_ms, heard_boot_ms;
    uint64_t seen_ms; /* connection_heard_ms as of then */
    bool welcomed;    /* the dispatcher's mark is known */
    bool ready;       /* said to the master */
    bool leaving, left, stopped;
    uint64_t given_up;
    uint64_t breaks;  /* moments at which events may have been missed that no list shows */
    int64_t again_ms; /* what was given up while catching up: the next run begins there; MARK_NONE: nothing */
} l;

/* A Bridge or a dispatcher that is away is a state to report, not a reason to fail; but while a reload
 * replaces a listener, the old one should go on until the new one hears everything. */
static void report_ready(bool at_last)
{
    bool works = connection_live(l.connection) && l.welcomed && intake_interest_number(l.intake);
    if (l.ready || !(works || at_last))
        return;
    l.ready = true;
    role_ready();
}

/* ---- the mark ---- */

/* Bytes that were read now came at some moment since the loop last ran. After the process (or the whole
 * machine) stood still they may be old, and the connection dead since: what they prove is no more than that
 * it lived before. */
static void note_heard(void)
{
    uint64_t heard_ms = connection_heard_ms(l.connection), now_ms = clock_boot_ms();
    if (heard_ms && heard_ms != l.seen_ms)
        l.heard_boot_ms = now_ms - l.tick_boot_ms <= STALL_MS ? now_ms : l.tick_boot_ms;
    l.seen_ms = heard_ms;
}

static int64_t mark_now_or_none(void)
{
    if (!connection_live(l.connection) || !l.welcomed || !l.heard_boot_ms)
        return MARK_NONE;
    return mark_now(&l.mark, l.heard_boot_ms);
}

static void flush(void)
{
    uint64_t now_ms = clock_mono_ms();
    bool due = now_ms - l.mark_ms >= MARK_MS;
    int64_t mark_ms = mark_now_or_none();
    outbox_flush(l.outbox, mark_ms, due);
    if (due && mark_ms != MARK_NONE)
        l.mark_ms = now_ms;
}

/* Recovered events wait while earlier ones are not taken, so that catching up cannot fill the memory. */
static bool has_room(void)
{
    return outbox_bytes(l.outbox) < l.settings->outbox_bytes / 2;
}

/* What was missed is fetched as soon as these are there: a subscription (so that nothing more is missed), the
 * dispatcher's mark, a gap, and room for what comes. */
static void fill_gap(void)
{
    if (!l.welcomed || !connection_live(l.connection) || !l.mark.gap || l.leaving ||
        catchup_running(l.catchup) || !has_room())
        return;
    if (l.mark.gap_start_ms == MARK_NONE) {
        log_info("first start: events count from now on");
        mark_close_gap(&l.mark);
        flush();
        return;
    }
    catchup_start(l.catchup, l.mark.gap_start_ms, mark_bridge_time(&l.mark, clock_boot_ms()));
}

static void on_caught_up(void *arg)
{
    (void)arg;
    intake_recovered(l.intake);
    mark_close_gap(&l.mark);
    if (l.again_ms != MARK_NONE)
        mark_open_gap(&l.mark, l.again_ms);
    l.again_ms = MARK_NONE;
    flush();
}

static void on_row(void *arg, const struct event_type *type, const cJSON *row)
{
    (void)arg;
    intake_row(l.intake, type, row);
}

static bool may_go_on(void *arg)
{
    (void)arg;
    return has_room();
}

static bool wants_channel(void *arg, const char *channel)
{
    (void)arg;
    return intake_wants_creations(l.intake, channel);
}

static void on_page(void *arg)
{
    (void)arg;
    flush();
}

/* ---- the Bridge ---- */

static void on_event(void *arg, const char *data, size_t len)
{
    (void)arg;
    intake_frame(l.intake, data, len);
}

static void on_pass(void *arg)
{
    (void)arg;
    note_heard();
    intake_pass(l.intake, &l.mark);
    flush();
}

static void send_stats(void);

/* What was learnt before of containers may be out of date; told before any event that comes now. */
static void note_break(void)
{
    l.breaks++;
    lookup_again(l.lookup);
    if (uplink_is_up(l.uplink))
        send_stats();
}

static void on_live(void *arg)
{
    (void)arg;
    failure_over();
    note_break();
    int64_t bridge_ms;
    uint64_t boot_ms;
    if (!l.mark.has_base && session_clock(l.session, &bridge_ms, &boot_ms))
        mark_date(&l.mark, bridge_ms, boot_ms);
    l.heard_boot_ms = clock_boot_ms();
    /* Before the first welcome no mark is given out; what is lost from here on counts all the same. */
    if (l.mark.last_ms == MARK_NONE)
        l.mark.last_ms = mark_bridge_time(&l.mark, clock_boot_ms());
    report_ready(false);
    fill_gap();
}

static void on_lost(void *arg)
{
    (void)arg;
    catchup_stop(l.catchup);
    mark_open_gap(&l.mark, MARK_NONE);
}

/* The dispatcher, and with it readiness, is told of a change at once. */
static void tell_soon(void)
{
    l.stats_ms = 0;
    loop_timer_start(l.tick, 0);
}

static void on_state(void *arg, const char *text)
{
    (void)arg;
    tell_soon();
    if (!l.leaving)
        role_state(text);
}

static void on_stopped(void *arg, const struct failure *failure, const char *detail)
{
    (void)arg;
    if (l.stopped)
        return;
    l.stopped = true;
    char *text = xasprintf("%s%s%s%s%s", failure->text, detail[0] ? " (" : "", detail, detail[0] ? ")" : "",
                           failure->advice ? ": " : "");
    char *whole =
        xasprintf("bridge \"%s\": %s%s", l.settings->bridge, text, failure->advice ? failure->advice : "");
    role_fatal(whole);
    free(text);
    free(whole);
}

/* Credentials that are refused while events still come (PROTOCOL.md section 5): they go on coming until the
 * connection ends, and the operator may mend it before. */
static void on_session_stopped(void *arg, const struct failure *failure, const char *detail)
{
    if (connection_live(l.connection)) {
        log_error("events still come, but the next connection will fail", log_str("failure", failure->name),
                  log_str("advice", failure->advice));
        return;
    }
    on_stopped(arg, failure, detail);
}

static void on_token(void *arg)
{
    (void)arg;
    int64_t bridge_ms;
    uint64_t boot_ms;
    if (session_clock(l.session, &bridge_ms, &boot_ms))
        mark_date(&l.mark, bridge_ms, boot_ms);
    connection_token(l.connection);
    catchup_token(l.catchup);
    lookup_token(l.lookup);
}

/* ---- the dispatcher ---- */

static int send_to_dispatcher(void *arg, const struct msg_out *m)
{
    (void)arg;
    return l.uplink ? uplink_send(l.uplink, m) : -1;
}

static void on_given_up(void *arg, uint64_t count, int64_t oldest_ms)
{
    (void)arg;
    if (l.given_up == 0 || !l.mark.gap)
        log_error(
            "no room for more events: the oldest are given up, and caught up later if the Bridge lists them",
            log_int("events", (int64_t)count));
    l.given_up += count;
    /* A run that is under way may have passed the place already. */
    if (catchup_running(l.catchup) && (l.again_ms == MARK_NONE || oldest_ms - 1 < l.again_ms))
        l.again_ms = oldest_ms - 1;
    mark_open_gap(&l.mark, oldest_ms - 1);
    outbox_forget_marks(l.outbox);
    l.breaks++;
    lookup_again(l.lookup);
}

static void on_up(void *arg, int64_t mark_ms)
{
    (void)arg;
    if (!l.welcomed) {
        l.welcomed = true;
        if (mark_ms != MARK_NONE)
            mark_open_gap(&l.mark, mark_ms);
    }
    outbox_up(l.outbox);
    fill_gap();
    tell_soon();
}

static void on_down(void *arg)
{
    (void)arg;
    outbox_down(l.outbox);
    lookup_clear(l.lookup);
}

static void on_acked(void *arg, uint64_t seq)
{
    (void)arg;
    outbox_acked(l.outbox, seq);
    catchup_resume(l.catchup);
}

/* The dispatcher hears of our state before it hears that the interest is in force: with that a reload is
 * done. */
static void on_interest(void *arg, struct wire_interest *interest)
{
    (void)arg;
    intake_set_interest(l.intake, interest);
    report_ready(false);
    send_stats();
}

static void on_resync(void *arg, int64_t since_ms)
{
    (void)arg;
    log_info("catching up by order", log_int("since_ms", since_ms));
    mark_open_gap(&l.mark, since_ms);
    catchup_stop(l.catchup);
    fill_gap();
}

static void on_members(void *arg, const struct wire_members_ask *ask)
{
    (void)arg;
    lookup_ask(l.lookup, ask);
}

static void on_found(void *arg, const struct wire_members *found, const char *const *users, size_t count)
{
    (void)arg;
    uplink_members(l.uplink, found, users, count);
}

/* ---- statistics ---- */

struct stats {
    struct {
        const char *name, *label;
        int64_t value;
    } list[STATS_MAX];
    size_t count;
};

static void stat_add(struct stats *s, const char *name, const char *label, uint64_t value)
{
    if (s->count == STATS_MAX)
        return;
    s->list[s->count].name = name;
    s->list[s->count].label = label;
    s->list[s->count++].value = (int64_t)value;
}

static void stat_dropped(void *arg, const char *type, uint64_t dropped)
{
    /* Only types that we know: what a Bridge invents does not become a label. */
    if (event_type_find(type, strlen(type)))
        stat_add(arg, "dropped_total", type, dropped);
}

/* "logging in: the Bridge's name cannot be resolved; check url and the name service" */
static const char *told_state(void)
{
    static char text[TOLD_STATE_BYTES];
    const struct failure *f = failure_standing();
    const char *state = connection_state(l.connection);
    if (connection_live(l.connection) || !f)
        return state;
    snprintf(text, sizeof text, "%s: %s%s%s", state, f->text, f->advice ? "; " : "",
             f->advice ? f->advice : "");
    return text;
}

static void send_stats(void)
{
    struct stats s = {.count = 0};
    const struct intake_counts *in = intake_counts(l.intake);
    const struct connection_counts *c = connection_counts(l.connection);
    const struct session_counts *t = session_counts(l.session);
    const struct catchup_counts *up = catchup_counts(l.catchup);
    const struct lookup_counts *look = lookup_counts(l.lookup);
    stat_add(&s, "connected", "", connection_live(l.connection));
    stat_add(&s, "frames_total", "", in->frames);
    stat_add(&s, "bytes_total", "", c->bytes);
    stat_add(&s, "events_total", "wanted", in->wanted);
    stat_add(&s, "events_total", "dropped", in->dropped);
    stat_add(&s, "events_total", "malformed", in->malformed);
    stat_add(&s, "events_total", "folded", in->folded);
    stat_add(&s, "events_total", "strayed", in->strayed);
    stat_add(&s, "events_total", "recovered", in->recovered);
    stat_add(&s, "events_total", "given_up", l.given_up);
    stat_add(&s, "events_total", "too_large", c->skipped);
    stat_add(&s, "wanted_total", "", in->wanted);
    stat_add(&s, "dropped_by_interest_total", "", in->dropped);
    stat_add(&s, "connects_total", "", c->connects);
    stat_add(&s, "losses_total", "", c->losses);
    stat_add(&s, "failures_total", "", c->failures + t->failures);
    stat_add(&s, "rate_limited_total", "", c->limited + up->limited + look->limited);
    stat_add(&s, "pings_total", "", c->pings);
    stat_add(&s, "logins_total", "", t->logins);
    stat_add(&s, "refreshes_total", "", t->refreshes);
    stat_add(&s, "outbox_bytes", "", outbox_bytes(l.outbox));
    stat_add(&s, "outbox_events", "", outbox_events(l.outbox));
    stat_add(&s, "spill_bytes", "", l.spill ? (uint64_t)spill_bytes(l.spill) : 0);
    stat_add(&s, "gap", "", l.mark.gap);
    stat_add(&s, "catching_up", "", catchup_running(l.catchup));
    stat_add(&s, "catch_up_calls_total", "", up->calls);
    stat_add(&s, "catch_up_runs_total", "", up->runs);
    stat_add(&s, "catch_up_incomplete_total", "", up->incomplete);
    stat_add(&s, "breaks_total", "", l.breaks);
    stat_add(&s, "lookups_total", "found", look->found);
    stat_add(&s, "lookups_total", "none", look->none);
    stat_add(&s, "lookups_total", "refused", look->refused);
    stat_add(&s, "lookup_calls_total", "", look->calls);
    stat_add(&s, "lookups_waiting", "", look->waiting + look->running);
    intake_each_dropped(l.intake, stat_dropped, &s);
    uplink_stats_begin(l.uplink, s.count);
    for (size_t i = 0; i < s.count; i++)
        uplink_stats_put(l.uplink, s.list[i].name, s.list[i].label, s.list[i].value);
    uplink_stats_end(l.uplink, told_state());
}

static void on_tick(void *arg)
{
    (void)arg;
    uint64_t now_ms = clock_mono_ms();
    loop_timer_start(l.tick, TICK_MS);
    report_ready(now_ms - l.started_ms >= READY_MS);
    note_heard();
    l.tick_boot_ms = clock_boot_ms();
    intake_pass(l.intake, &l.mark);
    flush();
    fill_gap();
    if (now_ms - l.stats_ms >= STATS_MS) {
        l.stats_ms = now_ms;
        if (uplink_is_up(l.uplink))
            send_stats();
    }
    if (l.spill && now_ms - l.adopt_ms >= ADOPT_MS) {
        l.adopt_ms = now_ms;
        spill_adopt(l.spill);
    }
}

/* ---- the role ---- */

static void validate(const struct slice *slice, const char *instance, struct faults *faults)
{
    settings_validate(slice, instance, faults);
}

/* Leaves once everything is with the dispatcher; what it does not take in time goes to the spill file
 * (cleanup). */
static void check_drained(void *arg)
{
    (void)arg;
    flush();
    if (l.left && (outbox_empty(l.outbox) || !uplink_is_up(l.uplink)))
        role_leave();
    else
        loop_timer_start(l.drain, DRAIN_CHECK_MS);
}

static void on_left(void *arg)
{
    (void)arg;
    l.left = true;
}

static const struct session_ops session_ops = {on_token, on_session_stopped};
static const struct connection_ops connection_ops = {on_event, on_pass,    on_live, on_lost,
                                                     on_state, on_stopped, on_left};
static const struct outbox_ops outbox_ops = {send_to_dispatcher, on_given_up};
static const struct uplink_ops uplink_ops = {on_up, on_down, on_acked, on_interest, on_resync, on_members};
static const struct lookup_ops lookup_ops = {on_found};
static const struct catchup_ops catchup_ops = {on_row, on_page, may_go_on, wants_channel, on_caught_up};

static int start(const struct slice *slice, const char *instance, bool has_door, struct faults *faults)
{
    (void)has_door;
    (void)faults;
    l.settings = settings_new(slice, instance);
    mark_init(&l.mark);
    l.again_ms = MARK_NONE;
    /* Until the dispatcher has said its mark, nobody knows what is missing. */
    mark_open_gap(&l.mark, MARK_NONE);
    if (l.settings->spill_bytes > 0)
        l.spill = spill_open(l.settings->spill_dir, l.settings->bridge, l.settings->spill_bytes);
    l.outbox = outbox_new(l.settings->outbox_bytes, l.spill, &outbox_ops, NULL);
    l.intake = intake_new(l.settings, l.outbox);
    l.session = session_new(l.settings, &session_ops, NULL);
    l.connection = connection_new(l.settings, l.session, &connection_ops, NULL);
    pace_init(&l.pace, clock_mono_ms());
    l.catchup = catchup_new(l.settings, l.session, &l.pace, &catchup_ops, NULL);
    l.lookup = lookup_new(l.settings, l.session, &l.pace, &lookup_ops, NULL);
    l.uplink = uplink_new(l.settings->endpoint, l.settings->bridge, &uplink_ops, NULL);
    l.tick = loop_timer_new(on_tick, NULL);
    l.drain = loop_timer_new(check_drained, NULL);
    loop_timer_start(l.tick, TICK_MS);
    l.started_ms = clock_mono_ms();
    l.tick_boot_ms = clock_boot_ms();
    connection_start(l.connection);
    return 0;
}

static void quit(int64_t limit_ms)
{
    (void)limit_ms;
    l.leaving = true;
    catchup_stop(l.catchup);
    connection_leave(l.connection);
    loop_timer_start(l.drain, DRAIN_CHECK_MS);
}

static void cleanup(void)
{
    outbox_park(l.outbox);
    catchup_free(&l.catchup);
    lookup_free(&l.lookup);
    connection_free(&l.connection);
    session_free(&l.session);
    intake_free(&l.intake);
    outbox_free(&l.outbox);
    uplink_free(&l.uplink);
    spill_close(&l.spill);
    loop_timer_free(&l.tick);
    loop_timer_free(&l.drain);
    settings_free(&l.settings);
}

const struct role listener_role = {
    .name = "listener",
    .validate = validate,
    .start = start,
    .quit = quit,
    .cleanup = cleanup,
};
