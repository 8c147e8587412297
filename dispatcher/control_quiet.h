/*
 * The commands on silences and opt-outs. Those that change something answer after the commit.
 */
#ifndef DISPATCHER_CONTROL_QUIET_H
#define DISPATCHER_CONTROL_QUIET_H

#include "dispatcher/control.h"

enum {
    CONTROL_NUMBERS_MAX = 1000,   /* of one optout-add or optout-remove */
    CONTROL_OPT_OUTS_MAX = 10000, /* of one answer to optout-list */
};
/* The latest end of a silence from now. */
#define CONTROL_SILENCE_MAX_MS (INT64_C(366) * 24 * 3600 * 1000)

/* "when", "for_ms" or "until_ms", optionally "from_ms" and "comment". Answers with "id", "from_ms",
 * "until_ms".
 */
void control_silence_add(struct control *c, uint64_t id, const cJSON *request);
/* Optionally "all": those that have ended and are still known too. */
void control_silence_list(struct control *c, uint64_t id, const cJSON *request);
/* "id". */
void control_silence_expire(struct control *c, uint64_t id, const cJSON *request);
/* "number", or "numbers" in a list, optionally "comment". Answers with "changed" and "opt_outs"; adding also
 * cancels what rules have queued for these numbers, and answers with "cancelled". */
void control_opt_out_add(struct control *c, uint64_t id, const cJSON *request);
void control_opt_out_remove(struct control *c, uint64_t id, const cJSON *request);
/* In order of the numbers, "limit" of them from "offset" on; "total" tells how many there are. */
void control_opt_out_list(struct control *c, uint64_t id, const cJSON *request);

#endif
