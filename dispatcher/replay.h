/*
 * Sums and differences of replays: what each rule would have sent, at what price, and what it would not; and
 * which messages one configuration sends that another does not.
 */
#ifndef DISPATCHER_REPLAY_H
#define DISPATCHER_REPLAY_H

#include "dispatcher/tool_parts.h"

struct replay_sum {
    char *rule;
    int64_t messages, parts, price_micro;
    int64_t shadow, shadow_parts, shadow_price_micro; /* of rules in shadow: what would have rung */
    int64_t why[WHY_COUNT];                           /* not sent, by reason; merged ones too */
    int64_t no_members; /* so often a rule rang members who are not known here */
    int64_t cancelled;
    int64_t added, vanished, changed;
};

/* A message that would be sent, kept for comparison within one step. */
struct replay_message {
    char *rule, *number, *text, *from;
    enum engine_form form;
    int64_t at_ms, count, price_micro;
    int32_t parts;
    struct hash_id event;
    bool has_event, taken;
};

/* One configuration's outcomes. */
struct replay_side {
    struct replay_sum *rules; /* in the order of appearance; open addressing by name beside */
    size_t count, size;
    size_t *places;
    size_t places_size;
    struct replay_message *messages;
    size_t messages_count, messages_size;
};

/* Counts an outcome; keeps it for comparison if KEEP and it is sent. */
void replay_side_add(struct replay_side *s, const struct engine_outcome *o, bool keep);
void replay_side_free(struct replay_side *s);

/* Per rule, from old to new. */
struct replay_diff {
    struct replay_side sums; /* its added, vanished and changed */
};
/* Pairs what both sides kept since the last call, prints each difference by PRINT, and forgets them. */
void replay_compare(struct replay_side *was, struct replay_side *is, struct tool_shown shown,
                    struct replay_diff *diff, void (*print)(cJSON *json));
cJSON *replay_diff_json(const struct replay_diff *diff);
void replay_diff_free(struct replay_diff *diff);

/* Every rule of RULES that matched or has sums, in the order of the file. */
cJSON *replay_rules(struct rules *rules, struct replay_side *s);
cJSON *replay_total(const struct replay_side *s);

#endif
