#include "dispatcher/outcome.h"

#include <stdio.h>
#include <string.h>

enum {
    NUMBER_LIMIT_MS = 60000, /* code 52: at least so long (CONTRACT.md section 4) */
    NUMBER_LIMIT_SPREAD_MS = 10000,
    UNLISTED_ATTEMPTS = 3, /* for a code that no table knows */
};

/* What becomes of the job. */
enum action {
    ACT_SENT,       /* accepted */
    ACT_KNOWN,      /* accepted before, if an earlier attempt may have been; otherwise a collision */
    ACT_REFUSED,    /* refused for good */
    ACT_RETRY,      /* refused for now: counted, back-off */
    ACT_RETRY_FREE, /* refused because of the line: not counted, due when the line works */
    ACT_LATER,      /* refused because of the number's own limit: not counted */
    ACT_ASK,        /* unknown: same idx, counted, back-off */
    ACT_ASK_FREE,   /* unknown because of the line: same idx, not counted */
    ACT_RETURN,     /* did not happen */
};

struct row {
    enum action action;
    enum outcome_line line;
};

/* clang-format off */
static const struct row rows[WIRE_OUTCOMES][WIRE_CLASSES] = {
    [WIRE_UNSENT] = {
        [WIRE_CLASS_NONE]        = {ACT_RETURN, OUTCOME_KEEP},
        [WIRE_PERMANENT_MESSAGE] = {ACT_RETURN, OUTCOME_KEEP},
        [WIRE_PERMANENT_ACCOUNT] = {ACT_RETURN, OUTCOME_STOP},
        [WIRE_PER_NUMBER]        = {ACT_RETURN, OUTCOME_KEEP},
        [WIRE_TRANSIENT]         = {ACT_RETURN, OUTCOME_UNREACHABLE},
        [WIRE_THROTTLED]         = {ACT_RETURN, OUTCOME_THROTTLE},
        [WIRE_DUPLICATE_IDX]     = {ACT_RETURN, OUTCOME_KEEP},
        [WIRE_CONFIG]            = {ACT_RETURN, OUTCOME_STOP},
    },
    [WIRE_ACCEPTED] = {
        [WIRE_CLASS_NONE]        = {ACT_SENT, OUTCOME_WORKS},
        [WIRE_PERMANENT_MESSAGE] = {ACT_SENT, OUTCOME_WORKS},
        [WIRE_PERMANENT_ACCOUNT] = {ACT_SENT, OUTCOME_WORKS},
        [WIRE_PER_NUMBER]        = {ACT_SENT, OUTCOME_WORKS},
        [WIRE_TRANSIENT]         = {ACT_SENT, OUTCOME_WORKS},
        [WIRE_THROTTLED]         = {ACT_SENT, OUTCOME_WORKS},
        [WIRE_DUPLICATE_IDX]     = {ACT_SENT, OUTCOME_WORKS},
        [WIRE_CONFIG]            = {ACT_SENT, OUTCOME_WORKS},
    },
    [WIRE_DUPLICATE] = {
        [WIRE_CLASS_NONE]        = {ACT_KNOWN, OUTCOME_WORKS},
        [WIRE_PERMANENT_MESSAGE] = {ACT_KNOWN, OUTCOME_WORKS},
        [WIRE_PERMANENT_ACCOUNT] = {ACT_KNOWN, OUTCOME_WORKS},
        [WIRE_PER_NUMBER]        = {ACT_KNOWN, OUTCOME_WORKS},
        [WIRE_TRANSIENT]         = {ACT_KNOWN, OUTCOME_WORKS},
        [WIRE_THROTTLED]         = {ACT_KNOWN, OUTCOME_WORKS},
        [WIRE_DUPLICATE_IDX]     = {ACT_KNOWN, OUTCOME_WORKS},
        [WIRE_CONFIG]            = {ACT_KNOWN, OUTCOME_WORKS},
    },
    [WIRE_REFUSED] = {
        [WIRE_CLASS_NONE]        = {ACT_RETRY, OUTCOME_KEEP},
        [WIRE_PERMANENT_MESSAGE] = {ACT_REFUSED, OUTCOME_WORKS},
        [WIRE_PERMANENT_ACCOUNT] = {ACT_RETRY_FREE, OUTCOME_STOP},
        [WIRE_PER_NUMBER]        = {ACT_REFUSED, OUTCOME_WORKS},
        [WIRE_TRANSIENT]         = {ACT_RETRY, OUTCOME_KEEP},
        [WIRE_THROTTLED]         = {ACT_RETRY_FREE, OUTCOME_THROTTLE},
        [WIRE_DUPLICATE_IDX]     = {ACT_KNOWN, OUTCOME_WORKS},
        [WIRE_CONFIG]            = {ACT_RETRY_FREE, OUTCOME_STOP},
    },
    [WIRE_UNKNOWN] = {
        [WIRE_CLASS_NONE]        = {ACT_ASK, OUTCOME_KEEP},
        [WIRE_PERMANENT_MESSAGE] = {ACT_ASK, OUTCOME_KEEP},
        [WIRE_PERMANENT_ACCOUNT] = {ACT_ASK_FREE, OUTCOME_STOP},
        [WIRE_PER_NUMBER]        = {ACT_ASK, OUTCOME_KEEP},
        [WIRE_TRANSIENT]         = {ACT_ASK, OUTCOME_KEEP},
        [WIRE_THROTTLED]         = {ACT_ASK_FREE, OUTCOME_THROTTLE},
        [WIRE_DUPLICATE_IDX]     = {ACT_ASK, OUTCOME_KEEP},
        [WIRE_CONFIG]            = {ACT_ASK_FREE, OUTCOME_STOP},
    },
};
/* clang-format on */

/* Codes that mean something else than their class says (CONTRACT.md section 4). */
static const struct {
    enum wire_outcome outcome;
    int32_t code;
    struct row row;
} exceptions[] = {
    /* too many attempts to one number: the number waits, the line does not */
    {WIRE_REFUSED, 52, {ACT_LATER, OUTCOME_WORKS}},
    /* too many recipients in one request: the single ones that follow cannot meet it */
    {WIRE_UNKNOWN, 19, {ACT_ASK_FREE, OUTCOME_SMALLER}},
};

static struct row find_row(const struct outcome_facts *f)
{
    for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
        if (exceptions[i].outcome == f->outcome && exceptions[i].code == f->code)
            return exceptions[i].row;
    return rows[f->outcome][f->class];
}

int64_t outcome_backoff_ms(uint32_t failures, int64_t min_ms, int64_t max_ms, double dice)
{
    int64_t delay = min_ms > 0 ? min_ms : 1;
    for (uint32_t i = 1; i < failures && delay < max_ms; i++)
        delay *= 2;
    if (delay > max_ms)
        delay = max_ms;
    return (int64_t)((double)delay * (0.8 + 0.4 * dice));
}

/* "gave up after 3 attempts: internal error (code 201)" */
static void explain(struct outcome_decision *out, const struct outcome_facts *f, const char *prefix)
{
    const char *words = f->words && f->words[0] ? f->words : wire_class_names[f->class];
    if (f->class == WIRE_CLASS_NONE && (!f->words || !f->words[0]))
        words = wire_outcome_names[f->outcome];
    const char *gap = prefix[0] ? ": " : "";
    if (f->code)
        snprintf(out->reason, sizeof out->reason, "%s%s%.200s (code %d)", prefix, gap, words, (int)f->code);
    else
        snprintf(out->reason, sizeof out->reason, "%s%s%.200s", prefix, gap, words);
}

static void end(struct outcome_decision *out, const struct outcome_facts *f, enum job_state state,
                const char *prefix)
{
    out->step = STEP_END;
    out->state = state;
    explain(out, f, prefix);
}

/* Back into the queue, unless the job's time is over. */
static void again(struct outcome_decision *out, const struct outcome_facts *f, enum store_step step,
                  int64_t due_in_ms)
{
    if (f->expired) {
        end(out, f, out->pinned ? JOB_UNCERTAIN : JOB_EXPIRED,
            out->pinned ? "expired while unknown" : "its time ran out");
        return;
    }
    out->step = step;
    out->state = JOB_QUEUED;
    out->due_in_ms = due_in_ms;
    explain(out, f, "");
}

static uint32_t attempts_allowed(const struct outcome_facts *f)
{
    bool unlisted = f->class == WIRE_CLASS_NONE && f->code != 0;
    return unlisted && f->max_attempts > UNLISTED_ATTEMPTS ? UNLISTED_ATTEMPTS : f->max_attempts;
}

static void again_counted(struct outcome_decision *out, const struct outcome_facts *f)
{
    out->failures = f->failures + 1;
    if (out->failures >= attempts_allowed(f)) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "gave up after %u attempts", (unsigned)out->failures);
        end(out, f, out->pinned ? JOB_UNCERTAIN : JOB_DEAD, prefix);
        return;
    }
    int64_t delay = outcome_backoff_ms(out->failures, f->retry_min_ms, f->retry_max_ms, f->dice);
    if (f->retry_after_ms > delay)
        delay = f->retry_after_ms < f->retry_max_ms ? f->retry_after_ms : f->retry_max_ms;
    again(out, f, STEP_RETRY, delay);
}

/* A definite refusal frees the idx, unless an earlier attempt may have been accepted under it. */
static void free_idx(struct outcome_decision *out)
{
    if (!out->pinned)
        out->generation++;
}

static void act_sent(struct outcome_decision *out, const struct outcome_facts *f)
{
    (void)f;
    out->step = STEP_ACCEPTED;
    out->state = JOB_SENT;
}

static void act_known(struct outcome_decision *out, const struct outcome_facts *f)
{
    if (out->pinned) {
        act_sent(out, f);
        out->inferred = true;
        return;
    }
    out->collision = true;
    end(out, f, JOB_UNCERTAIN, "idx collision: the provider knows the idx of a first attempt");
}

static void act_refused(struct outcome_decision *out, const struct outcome_facts *f)
{
    if (out->pinned)
        end(out, f, JOB_UNCERTAIN, "refused after an attempt of unknown outcome");
    else
        end(out, f, JOB_DEAD, "");
}

static void act_retry(struct outcome_decision *out, const struct outcome_facts *f)
{
    free_idx(out);
    again_counted(out, f);
}

static void act_retry_free(struct outcome_decision *out, const struct outcome_facts *f)
{
    free_idx(out);
    again(out, f, STEP_RETRY, 0);
}

static void act_later(struct outcome_decision *out, const struct outcome_facts *f)
{
    free_idx(out);
    out->number_blocked_ms = NUMBER_LIMIT_MS;
    again(out, f, STEP_RETRY, NUMBER_LIMIT_MS + (int64_t)(f->dice * NUMBER_LIMIT_SPREAD_MS));
}

static void act_ask(struct outcome_decision *out, const struct outcome_facts *f)
{
    out->pinned = true;
    again_counted(out, f);
}

static void act_ask_free(struct outcome_decision *out, const struct outcome_facts *f)
{
    out->pinned = true;
    again(out, f, STEP_RETRY, outcome_backoff_ms(1, f->retry_min_ms, f->retry_max_ms, f->dice));
}

static void act_return(struct outcome_decision *out, const struct outcome_facts *f)
{
    again(out, f, STEP_RETURN, 0);
}

static void (*const acts[])(struct outcome_decision *out, const struct outcome_facts *f) = {
    [ACT_SENT] = act_sent,   [ACT_KNOWN] = act_known,           [ACT_REFUSED] = act_refused,
    [ACT_RETRY] = act_retry, [ACT_RETRY_FREE] = act_retry_free, [ACT_LATER] = act_later,
    [ACT_ASK] = act_ask,     [ACT_ASK_FREE] = act_ask_free,     [ACT_RETURN] = act_return,
};

void outcome_decide(const struct outcome_facts *facts, struct outcome_decision *out)
{
    memset(out, 0, sizeof *out);
    struct row row = find_row(facts);
    out->generation = facts->generation;
    out->failures = facts->failures;
    out->pinned = facts->pinned;
    out->line = row.line;
    acts[row.action](out, facts);
}
