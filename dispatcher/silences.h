/*
 * Silences and opt-outs: what an operator, or a person, wants not to hear.
 *
 * A silence is an expression on the event with an end and a comment; while it holds, what rules make of the
 * events that it matches is suppressed and counted. An opt-out is a number that no rule may ring. Both are
 * facts in the store ("silence:ID" with a JSON object, "optout:NUMBER"), so they survive restarts; this module
 * owns the compiled form in memory.
 */
#ifndef DISPATCHER_SILENCES_H
#define DISPATCHER_SILENCES_H

#include <cjson/cJSON.h>

#include "dispatcher/expr/expr.h"
#include "dispatcher/store.h"

struct silences;

/* Reads the facts of STORE (NULL: none, for tools; silences_put and opt_out_put then fill it). */
struct silences *silences_new(struct store *store);
void silences_free(struct silences **s);

/* A silence's expression sees the names of an event and `rule` (the rule's name) and `priority`. */
enum silence_slot { SILENCE_SLOT_RULE = EXPR_EVENT_SLOTS, SILENCE_SLOT_PRIORITY, SILENCE_SLOTS };

/* The id of a silence that holds at NOW_MS (store time) for a rule and an event, or NULL. VALUES are the
 * event's. An expression that fails does not silence. Cheap when there are no silences. */
const char *silences_match(struct silences *s, const struct expr_value values[EXPR_EVENT_SLOTS],
                           const char *rule, const char *priority, int64_t now_ms, struct expr_arena *arena);
/* Whether a number (E.164 with the plus) has opted out. */
bool silences_opted_out(const struct silences *s, const char *number);

/* In memory only; TEXT is the fact's value. 0, or -1 with words in WHY: the expression does not compile, … */
int silences_put(struct silences *s, const char *id, const char *text, char *why, size_t size);
void silences_remove(struct silences *s, const char *id);
void opt_out_put(struct silences *s, const char *number);
void opt_out_remove(struct silences *s, const char *number);

/* Adds "silences": [{id, when, until_ms, comment, by, matched}] and "opt_outs" (a count) to STATUS. */
void silences_status(const struct silences *s, int64_t now_ms, cJSON *status);

#endif
