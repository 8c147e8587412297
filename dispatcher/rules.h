/*
 * The rules: which event rings whom with which words.
 *
 * Owns the compiled rules, recipients and directory of one configuration, the index that finds the few rules
 * an event can match, and the interest derived from them. Immutable after rules_new but for its counters.
 * Matching is pure: same event, same decisions; nothing is sent or stored here. The slice must outlive the
 * rules.
 */
#ifndef DISPATCHER_RULES_H
#define DISPATCHER_RULES_H

#include <cjson/cJSON.h>

#include "dispatcher/expr/expr.h"
#include "dispatcher/members.h"
#include "dispatcher/store.h"
#include "proto/wire.h"

struct rules;

/* Compiles all; every fault is added with file and line, with a caret under the column of an expression's
 * error. NULL if there are any. */
struct rules *rules_new(const struct slice *slice, struct faults *faults);
void rules_free(struct rules **r);

/* Where members of containers are looked up; without it (or NULL) nobody knows any. */
void rules_use_members(struct rules *r, struct members *members);
/* Looks whether the directory's file changed; to be called every few seconds. */
void rules_refresh(struct rules *r);

/* Runs the rules on one event and appends a job (JOB_QUEUED, or an end state with its reason) to the list for
 * each rule and recipient; a recipient named twice by a rule counts once. Job ids are hashed with STORE_ID.
 * NOW_MS is the store's time. */
struct rules_jobs {
    struct store_job *list;
    size_t count, size;
};
void rules_match(struct rules *r, const struct event *event, const struct hash_id *store_id, int64_t now_ms,
                 struct rules_jobs *out);

/* The values that an expression sees of an event; they view the event. */
void rules_values(const struct event *event, struct expr_value values[EXPR_EVENT_SLOTS]);

/* The id of what a deletion deletes, if jobs may have to be cancelled for it; NULL otherwise. Valid until the
 * next call. */
const char *rules_deleted_item(const struct rules *r, const struct event *event);

/* What these rules can use of BRIDGE's events. NUMBER is set by the caller. */
void rules_interest(const struct rules *r, const char *bridge, struct wire_interest *out);

size_t rules_count(const struct rules *r);

/* Adds "rules": [{name, enabled, recipients, matched, jobs, errors, last_error, …}] and "rules_total" to
 * STATUS; appends metrics. Above 200 rules the list holds at most 200 that matched or failed, and there are
 * no series per rule. */
void rules_status(struct rules *r, cJSON *status);
void rules_metrics(struct rules *r, struct buf *out);

#endif
