/*
 * Explanations: the whole decision on one event as JSON, for `bridgebell explain`.
 *
 * What the rules say comes from the rules alone; what noise control says comes with the jobs, once a store
 * has decided them without keeping anything (struct store_decision, try_only).
 */
#ifndef DISPATCHER_EXPLAIN_H
#define DISPATCHER_EXPLAIN_H

#include "dispatcher/tool_parts.h"

/* {"event":{…},"rules":{"total","disabled","skipped","tried"},"tried":[{"rule","matched","when","parts":[…]}]}:
 * each rule that the index cannot exclude, with every part of its condition. Counters of the rules do not
 * move. */
cJSON *explain_rules(struct rules *r, const struct event *e);
/* Adds a job to its rule in EXPLANATION: what became of it, limits, text, parts, price. J as after the store
 * decided it. */
void explain_add_job(cJSON *explanation, const struct rules *r, const struct store_job *j,
                     struct tool_shown shown);
/* Rules of R that are tried on E do not count it; call before and after. */
struct rule_counts;
struct rule_counts *explain_keep_counts(const struct rules *r);
/* Between the two, after the event was decided: what failed of a rule that matches, as "failed" (the words of
 * the last such expression: recipients, keys) and "unrendered" (true: a part of its text; "unrendered_why"
 * has the words). */
void explain_add_failures(cJSON *explanation, const struct rules *r, const struct rule_counts *counts);
void explain_restore_counts(struct rules *r, struct rule_counts **counts);

#endif
