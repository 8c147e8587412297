/*
 * A line: the way to one provider, and whether anything may leave on it.
 *
 * Owns a provider's settings as the scheduler needs them, the time slots of each sending host, and the state:
 * open; paused until a time (throttled, unreachable); stopped until a probe succeeds or the operator says so
 * (the account or the configuration is refused); and, apart from these, held by the operator. After a stop or
 * a pause the line first tries one single request. The state survives restarts as the fact "line:<name>",
 * which the scheduler writes whenever `changed` is set. Times are on the boot-time clock.
 */
#ifndef DISPATCHER_LINE_H
#define DISPATCHER_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dispatcher/limiter.h"
#include "proto/slice.h"

enum {
    LINE_START_BY_MS =
        98, /* a grant is good for so long; 2 ms less than reckoned in the pace, for rounding */
    LINE_SPREAD_MS = 100,
    LINE_LEASE_MARGIN_MS = 5000,
    LINE_PAUSE_MIN_MS = 1000,
    LINE_PAUSE_MAX_MS = 60000,
    LINE_RETRY_AFTER_MAX_MS = 3600000,
    LINE_PROBE_MIN_MS = 5000,
    LINE_PROBE_RESTORED_MS = 1000, /* soon after a restart, however often there are such */
    LINE_PROBE_MAX_MS = 300000,
    LINE_PROBE_ANSWER_MS = 60000, /* a probe without an answer for so long is given up */
    LINE_UNREACHABLE_ROW = 3,     /* failed connections in a row that pause the line */
    LINE_HOSTS_MAX = 256,
    LINE_REASON_MAX = 256,
};

enum line_state { LINE_OPEN, LINE_PAUSED, LINE_STOPPED, LINE_STATES };
extern const char *const line_state_names[LINE_STATES + 1];

struct line_host {
    char *host;
    struct limiter limiter;
};

struct line {
    char *name;
    int64_t rate, rate_per_ms; /* rate -1: no limit */
    size_t batch;
    uint32_t max_attempts;
    int64_t retry_min_ms, retry_max_ms;
    int64_t lease_ms; /* connect and request time-outs of all hosts, and a margin */

    enum line_state state;
    bool held;    /* by the operator */
    bool trial;   /* one request at a time until one is judged on its own merits */
    bool changed; /* the fact is to be written */
    char held_by[LINE_REASON_MAX];
    char reason[LINE_REASON_MAX];
    int32_t code;
    uint64_t until_ms;  /* of a pause */
    uint64_t opened_ms; /* results of requests granted before belong to the time before the stop or pause */
    int64_t pause_ms;
    unsigned unreachable;
    bool probing;
    uint64_t probe_ms; /* next probe, or when the one under way is given up */
    int64_t probe_delay_ms;

    struct line_host *hosts;
    size_t hosts_count;
};

void line_init(struct line *l, const struct slice_block *provider, uint64_t now_ms);
void line_clear(struct line *l);

/* True if jobs may leave. */
bool line_is_open(const struct line *l);
/* The slots of HOST; made at the first call. NULL when there are too many hosts. */
struct limiter *line_limiter(struct line *l, const char *host, uint64_t now_us);

/* What results say. GRANTED_MS is when the request was granted. */
void line_stop(struct line *l, const char *reason, int32_t code, uint64_t now_ms);
void line_throttle(struct line *l, int64_t retry_after_ms, uint64_t granted_ms, const char *reason,
                   uint64_t now_ms);
void line_unreachable(struct line *l, uint64_t granted_ms, const char *reason, uint64_t now_ms);
void line_works(struct line *l, uint64_t granted_ms);
/* The provider takes fewer jobs in a request than SENT. */
void line_smaller(struct line *l, size_t sent);

/* True if a probe is to be sent now; counts it as sent. */
bool line_probe_due(struct line *l, uint64_t now_ms);
void line_probe_result(struct line *l, bool ok, const char *detail, uint64_t now_ms);

/* The operator. */
void line_hold(struct line *l, const char *who);
void line_release(struct line *l, const char *who, uint64_t now_ms);

/* Ends a pause whose time is over. Returns when something is to be done next; UINT64_MAX: nothing. */
uint64_t line_tick(struct line *l, uint64_t now_ms);

/* The fact's JSON, to be freed; NULL if the line is open, which needs none. STORE_MS is the store's time. */
char *line_fact(const struct line *l, uint64_t now_ms, int64_t store_ms);
/* Takes the state of a fact over; what cannot be read leaves the line open. */
void line_restore(struct line *l, const char *fact, uint64_t now_ms, int64_t store_ms);

#endif
