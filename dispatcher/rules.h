/*
 * The rules: which event rings whom with which words.
 *
 * Owns the compiled rules, recipients and directory of one configuration, the index that finds the few rules
 * an event can match, and the interest derived from them. What they say does not change after rules_new; who
 * is in the directory and which silences hold does. Matching is pure: nothing is sent or stored here. The
 * slice must outlive the rules.
 */
#ifndef DISPATCHER_RULES_H
#define DISPATCHER_RULES_H

#include <cjson/cJSON.h>

#include "dispatcher/expr/expr.h"
#include "dispatcher/members.h"
#include "dispatcher/store.h"
#include "proto/wire.h"

struct rules;
struct silences;

/* Compiles all; every fault is added with file and line, with a caret under the column of an expression's
 * error. NULL if there are any. */
struct rules *rules_new(const struct slice *slice, struct faults *faults);
void rules_free(struct rules **r);
/* Silences and opt-outs that hold from now on; NULL: none. They must outlive R. */
void rules_silences(struct rules *r, struct silences *silences);

/* The names of all rules, NULL-terminated, in the order of the file; the caller frees the array. */
const char **rules_names(const struct rules *r);

/* Where members of containers are looked up; without it (or NULL) nobody knows any. */
void rules_use_members(struct rules *r, struct members *members);
/* From now on a copy of the directory is kept (directory.h); for the process that has the store. */
void rules_keep_people(struct rules *r);
/* Looks whether the directory's file changed; to be called every few seconds. */
void rules_refresh(struct rules *r);

/* Runs the rules on one event and appends a job (JOB_QUEUED, or an end state with its reason) to the list for
 * each rule and recipient; a recipient named twice by a rule counts once. Job ids are hashed with STORE_ID.
 * NOW_MS is the store's time. Where people must be looked up first, the rule gives one job instead: the
 * parent, JOB_HELD without number and text. */
struct rules_jobs {
    struct store_job *list;
    size_t count, size;
};
void rules_match(struct rules *r, const struct event *event, const struct hash_id *store_id, int64_t now_ms,
                 struct rules_jobs *out);

/* A job that waited before it goes to the store: if its person has opted out meanwhile it is suppressed. */
void rules_recheck(const struct rules *r, struct store_job *job, int64_t now_ms);

/* What a parent (a job JOB_HELD without a number, whose people had to be looked up) leads to: its rule again,
 * on the event that was kept. */
struct rules_expanded {
    bool waits; /* its people are not known, after all; the rest is void */
    bool ends;  /* nobody is rung, for WHY and REASON */
    enum store_why why;
    char *reason; /* NULL, or the caller's to free */
    struct rules_jobs jobs;
};
void rules_expand(struct rules *r, const struct store_job *parent, const struct event *event,
                  const struct hash_id *store_id, int64_t now_ms, struct rules_expanded *out);

/* The message of a digest that is frozen: text, parts, price and gates go into its job. *QUIET_UNTIL_MS is 0,
 * or the end of quiet hours in which its person is, and then nothing was made. */
void rules_close_digest(struct rules *r, struct store_digest *digest, int64_t now_ms, int64_t *quiet_until_ms,
                        struct store_job *job);

/* A message of the operator's own, with number and text: parts, price, and the budgets that count it. */
void rules_by_hand(const struct rules *r, struct store_job *job, int64_t now_ms);

/* A job with noise was inserted or closed: counts it and names in the log, now and then, what bites. */
void rules_note(struct rules *r, const struct store_job *job, int64_t now_ms);

/* The values that an expression sees of an event; they view the event. */
void rules_values(const struct event *event, struct expr_value values[EXPR_EVENT_SLOTS]);

/* The id of what a deletion deletes, if jobs may have to be cancelled for it; NULL otherwise. Valid until the
 * next call. */
const char *rules_deleted_item(const struct rules *r, const struct event *event);

/* What these rules can use of BRIDGE's events. NUMBER is set by the caller. */
void rules_interest(const struct rules *r, const char *bridge, struct wire_interest *out);

/* Adds "rules": [{name, enabled, recipients, matched, jobs, errors, last_error, …}] and "rules_total" to
 * STATUS; appends metrics. Above 200 rules the list holds at most 200 that matched or failed, and there are
 * no series per rule. */
void rules_status(struct rules *r, cJSON *status);
void rules_metrics(struct rules *r, struct buf *out);
/* The same of what noise control held back, by rule and reason: "noise", "currency", "budget_warnings". */
void rules_noise_status(struct rules *r, struct store *store, cJSON *status);
void rules_noise_metrics(struct store *store, struct buf *out);

#endif
