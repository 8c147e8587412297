/*
 * Silences and opt-outs: what an operator, or a person, wants not to hear.
 *
 * A silence is an expression on the event with an end and a comment; while it holds, what rules make of the
 * events that it matches is suppressed and counted. An opt-out is a number that no rule may ring. Both are
 * facts in the store ("silence:ID" with a JSON object, "optout:NUMBER"), so they survive restarts; this
 * module owns the compiled form in memory. Who has opted in again leaves a fact "optin:NUMBER" with the time
 * between, the last if there are several.
 */
#ifndef DISPATCHER_SILENCES_H
#define DISPATCHER_SILENCES_H

#include <cjson/cJSON.h>

#include "core/buf.h"
#include "dispatcher/expr/expr.h"
#include "dispatcher/store.h"

struct silences;

enum {
    SILENCES_MAX = 200,        /* that hold or are to come */
    SILENCES_ENDED_MAX = 1000, /* that have ended and are still facts */
    SILENCES_WHEN_MAX = 8192,
    SILENCES_COMMENT_MAX = 1000,
    SILENCES_WHY_SIZE = 1024,
};
/* A silence that has ended stays a fact for so long, to be looked at and for replays of its time, but of
 * these no more than SILENCES_ENDED_MAX, the latest to end; and so does the time in which somebody had opted
 * out. */
#define SILENCES_KEPT_MS (INT64_C(366) * 24 * 3600 * 1000)

#define SILENCE_FACT "silence:"
#define OPT_OUT_FACT "optout:"
#define OPT_IN_FACT "optin:"

/* Reads the facts of STORE (NULL: none, for tools; silences_put and opt_out_put, or silences_recall, then
 * fill it). Forgets silences as they end, and old facts. Freed before the store. */
struct silences *silences_new(struct store *store);
void silences_free(struct silences **s);

/* A silence's expression sees the names of an event and `rule` (the rule's name) and `priority`. */
enum silence_slot { SILENCE_SLOT_RULE = EXPR_EVENT_SLOTS, SILENCE_SLOT_PRIORITY, SILENCE_SLOTS };

/* The id of a silence that holds at NOW_MS (store time) for a rule and an event, or NULL. VALUES are the
 * event's. An expression that fails does not silence. Cheap when there are no silences. */
const char *silences_match(struct silences *s, const struct expr_value values[EXPR_EVENT_SLOTS],
                           const char *rule, const char *priority, int64_t now_ms, struct expr_arena *arena);
/* Whether a number (E.164 with the plus) has opted out, at NOW_MS. */
bool silences_opted_out(const struct silences *s, const char *number, int64_t now_ms);

/* TEXT is a fact's value: {"when", "from_ms", "until_ms", "created_ms", "by", "comment"}. 0 if it makes a
 * silence, or -1 with words in WHY (SILENCES_WHY_SIZE): it does not compile (with a caret), too many, … */
int silences_check(const struct silences *s, const char *text, char *why, size_t size);
/* In memory only; one that has the id is replaced. As silences_check. */
int silences_put(struct silences *s, const char *id, const char *text, char *why, size_t size);
void silences_remove(struct silences *s, const char *id);
/* What is strange in an expression that compiles: it asks for a rule that is none of RULES (NULL-terminated),
 * or for a priority that there is not. Words in OUT, or NULL. */
const char *silences_doubt(const char *when, const char *const *rules, char *out, size_t size);
/* The next id: small numbers that grow. */
int64_t silences_new_id(struct silences *s);
/* Counts a message that was suppressed because of silence ID, once that is committed. */
void silences_count(struct silences *s, const char *id);
/* How many messages the silence has kept from ringing since the start, and how often its expression failed;
 * 0 if it is not in memory. */
uint64_t silences_matched(const struct silences *s, const char *id, uint64_t *failed);
void opt_out_put(struct silences *s, const char *number);
void opt_out_remove(struct silences *s, const char *number);

size_t opt_out_count(const struct silences *s);

/* ---- the past, for tools ---- */
/* Takes over a fact, as it stands in a store, of what holds, has held or will hold: each counts for the times
 * at which it does. False if it cannot be used; S must have no store. */
bool silences_recall(struct silences *s, const char *name, const char *value);
/* Of what was recalled: how many silences held, and numbers had opted out, at some time from FROM_MS to
 * TO_MS. */
void silences_held(const struct silences *s, int64_t from_ms, int64_t to_ms, size_t *silences,
                   size_t *opt_outs);
/* Since when silences are known that have ended: older ones may have been forgotten, as of NOW_MS. */
int64_t silences_known_since(const struct silences *s, int64_t now_ms);

/* Adds "silences": [{id, when, from_ms, until_ms, left_ms, comment, by, matched, failed}], those that hold
 * and those to come, and "opt_outs" (a count) to STATUS; appends metrics. */
void silences_status(const struct silences *s, int64_t now_ms, cJSON *status);
void silences_metrics(const struct silences *s, int64_t now_ms, struct buf *out);

#endif
