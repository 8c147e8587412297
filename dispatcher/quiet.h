/*
 * Quiet hours: when people are not to be rung, by rule or by recipients block.
 *
 * Owns the compiled form of `quiet_hours`, `quiet_zone`, `quiet_action` and `quiet_pass` of one block.
 * Immutable but for a cache, so for the loop's thread alone.
 *
 * An entry of `quiet_hours` is one of
 *
 *     22:00-07:00             every day; an end before the start is on the next day
 *     mon-fri 22:00-07:00     on these days; what lasts past midnight belongs to the day it starts on
 *     sat,sun 10:00-14:00     days and spans of days, with commas; fri-mon goes over the week's end
 *     sat-sun                 whole days
 *     fri 18:00-mon 07:00     from one day to another
 *
 * with hours from 00:00 to 23:59, and 24:00 as an end. Entries that overlap or touch are one quiet time.
 *
 * Where clocks are changed, a quiet time begins and ends at the first moment whose local time is at or past
 * what the entry says. Its end that does not exist (02:30 when clocks go from 02:00 to 03:00) is the moment
 * of the change; a quiet time that lies wholly in what is left out does not take place. An end that exists
 * twice (02:30 when clocks go from 03:00 back to 02:00) is the earlier one; it does not become quiet a second
 * time.
 */
#ifndef DISPATCHER_QUIET_H
#define DISPATCHER_QUIET_H

#include <stdbool.h>
#include <stdint.h>

#include "dispatcher/store.h"
#include "proto/slice.h"

struct quiet;

enum quiet_action {
    QUIET_HOLD, /* one summary when the quiet time ends */
    QUIET_DROP, /* suppressed */
    QUIET_PASS, /* rings all the same */
};

/* No quiet time is said to end later than this from now, whatever the entries say. */
#define QUIET_LONGEST_MS (INT64_C(8) * 24 * 3600 * 1000)

/* Of a `rule` or `recipients` block. NULL without a fault if the block has no quiet_hours; NULL with one
 * fault for every faulty entry and word. */
struct quiet *quiet_new(const struct slice_block *block, struct faults *faults);
void quiet_free(struct quiet **q);

/* 0 if it is not quiet at NOW_MS (also if Q is NULL), else when the quiet time that holds ends, at most
 * QUIET_LONGEST_MS from now. By the block's own zone and, if it has none, PERSON_ZONE; NULL or a zone that
 * does not exist is UTC. Cheap: the answer for a zone is kept until it changes. */
int64_t quiet_until_ms(const struct quiet *q, const char *person_zone, int64_t now_ms);

enum quiet_action quiet_action(const struct quiet *q);
/* Whether a message of this priority rings in quiet time all the same: by quiet_pass, or because the action
 * is QUIET_PASS. */
bool quiet_passes(const struct quiet *q, enum job_priority priority);

#endif
