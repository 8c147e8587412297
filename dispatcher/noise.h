/*
 * Noise control: what the configuration says about when a message may ring, turned into the gates, digests
 * and reasons that the store then decides by.
 *
 * Owns the policy of the installation (block `limits`), of each recipients block and of each rule. Pure: it
 * asks no counter and remembers nothing. Keys of counters and digests are hashes of what they count, with the
 * store's help unique to one installation; those of shadow rules differ from those of live ones.
 *
 * The order in which a message is asked (docs/noise.md): silence, opt-out, dropped in quiet hours; duplicate;
 * held in quiet hours, too old, digest; throttle of the rule, of the person; storm; caps; budgets.
 */
#ifndef DISPATCHER_NOISE_H
#define DISPATCHER_NOISE_H

#include "dispatcher/expr/expr.h"
#include "dispatcher/quiet.h"
#include "dispatcher/recipients.h"
#include "dispatcher/store.h"

struct noise;
struct noise_rule;

/* Reads `limits`, the recipients blocks and the zone of the installation. Never NULL. */
struct noise *noise_new(const struct slice *slice, struct faults *faults);
void noise_free(struct noise **n);
/* Each budget of money in the block (NULL: none) is a fault: for where there are no prices. */
void noise_check_money(const struct slice_block *b, struct faults *faults);
/* Reads a rule's own. Never NULL; belongs to N. */
const struct noise_rule *noise_rule_new(struct noise *n, const struct slice_block *rule,
                                        enum job_priority priority, struct faults *faults);

/* A message that is about to be queued. */
struct noise_message {
    const char *rule;
    const struct recipient *to;
    const char *text;
    int64_t price_micro; /* -1: unknown */
    int64_t event_ms, now_ms;
    const struct expr_activation *activation; /* of the event, for keys that are expressions */
    struct expr_arena *arena;
};

/* What M must pass. With `why` set in the result it is suppressed at once (quiet hours that drop). FAILURE
 * (may be NULL) gets the EXPR_ERROR of a key that failed, which then counts as empty; in the place of
 * `dedupe_key` the text counts. The caller owns it. */
struct store_noise *noise_of(const struct noise *n, const struct noise_rule *r, const struct noise_message *m,
                             struct expr_value *failure);
/* The same for the message of a digest: rates and budgets only. R is NULL where the rule is gone; SHADOW is
 * what it was when the digest was opened. */
struct store_noise *noise_of_digest(const struct noise *n, const struct noise_rule *r, bool shadow,
                                    const struct noise_message *m);
/* For a message of the operator's own: the budgets of the installation count it and refuse nothing. */
struct store_noise *noise_by_hand(const struct noise *n, const struct noise_message *m);
/* The index of the recipients block TITLE, RECIPIENTS_NO_GROUP if there is none. */
int noise_group(const struct noise *n, const char *title);
/* Suppressed for a reason that is known beforehand. */
struct store_noise *noise_refused(enum store_why why);

/* When a digest that is due must wait for the end of quiet hours: until then, else 0. */
int64_t noise_quiet_until_ms(const struct noise *n, const struct noise_rule *r, const struct recipient *to,
                             int64_t now_ms);

#endif
