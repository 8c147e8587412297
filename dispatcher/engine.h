/*
 * The engine: the dispatcher's whole decision on a clock of its own, for replay, tests and explanations.
 *
 * Owns the rules of one configuration and a store of its own, which is a file without a name that goes with
 * the process. Rules, noise control and digests are the code that the running dispatcher has; only time, and
 * the sending, are imagined: what is let through counts as sent when it is due. Nothing leaves the process.
 */
#ifndef DISPATCHER_ENGINE_H
#define DISPATCHER_ENGINE_H

#include "dispatcher/rules.h"
#include "dispatcher/store.h"

struct engine;

enum engine_fate {
    ENGINE_SENT,
    ENGINE_MERGED,     /* into a digest */
    ENGINE_SUPPRESSED, /* why, words */
    ENGINE_CANCELLED,  /* what it tells of was deleted before */
    ENGINE_FATES
};
extern const char *const engine_fate_names[ENGINE_FATES + 1];

enum engine_form {
    ENGINE_SINGLE,  /* one event */
    ENGINE_DIGEST,  /* what a rule collects on purpose */
    ENGINE_SUMMARY, /* what was held back: quiet hours, old events, a storm, a budget */
    ENGINE_FORMS
};
extern const char *const engine_form_names[ENGINE_FORMS + 1];

/* What became of one job. Valid during the call. */
struct engine_outcome {
    enum engine_fate fate;
    enum engine_form form;
    const struct event *event;   /* NULL for what came due by itself */
    const struct store_job *job; /* number, text, parts, price; its noise has the gates */
    int64_t at_ms;               /* when it is sent, or was decided */
    enum store_why why;          /* not sent: why not; sent: WHY_SHADOW of a shadow rule that would have */
    bool no_members;             /* WHY_UNKNOWN only because nobody can be asked for members here */
    const char *words;           /* of it, for people: "throttle: 5/15min to one person" */
    int64_t count;               /* of a digest: events in it; else 1 */
};
typedef void engine_fn(void *arg, const struct engine_outcome *outcome);

struct engine_counts {
    uint64_t events;
    uint64_t matched;    /* by at least one rule, those that came before not again */
    uint64_t known;      /* that rules want and that came before */
    uint64_t deletions;  /* that cancelled something */
    uint64_t no_members; /* times that a rule rang members of whom nobody can be asked here */
};

/* NULL with faults. FN is told every outcome in the order of the clock. SLICE must outlive the engine. */
struct engine *engine_new(const struct slice *slice, engine_fn *fn, void *arg, struct faults *faults);
void engine_free(struct engine **e);
/* Whatever is due up to NOW_MS, then one event that arrives at NOW_MS; a NOW_MS before that of an earlier
 * call counts as that. 0, or -1: the store failed (engine_trouble), and nothing more can be done. */
int engine_feed(struct engine *e, const struct event *event, int64_t now_ms);
/* Moves the clock and closes digests that come due, each at its time. */
int engine_advance(struct engine *e, int64_t until_ms);
/* When the next digest is due; -1: none is open. */
int64_t engine_next_due_ms(struct engine *e);
int64_t engine_now_ms(const struct engine *e);
/* As engine_feed, but nothing is kept. */
int engine_try(struct engine *e, const struct event *event, int64_t now_ms);
const struct engine_counts *engine_counts(const struct engine *e);
struct rules *engine_rules(struct engine *e);
/* None at first; whoever has some fills them in. */
struct silences *engine_silences(struct engine *e);
/* What went wrong with its store; NULL: nothing. */
const char *engine_trouble(const struct engine *e);

#endif
