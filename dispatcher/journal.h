/*
 * The journal: events as they reached the dispatcher, for replay and explanation.
 *
 * Files of JSON lines in a directory of their own (0700; files 0600), rotated by size, the oldest removed
 * when all together exceed the limit. The first line of each file says what it holds:
 * {"bridgebell_journal":1,"mode":"wanted","started_ms":…}. Writing never blocks the loop for long and is not
 * flushed to disk: a journal helps people and is no part of any promise. What could not be written is
 * counted.
 * It stops while the disk has little space, before the store has to.
 */
#ifndef DISPATCHER_JOURNAL_H
#define DISPATCHER_JOURNAL_H

#include <cjson/cJSON.h>

#include "core/buf.h"
#include "proto/event.h"
#include "proto/slice.h"

struct journal;

/* NULL if the configuration says `journal = off`. A directory that cannot be made or written is a fault. */
struct journal *journal_new(const struct slice *slice, struct faults *faults);
void journal_free(struct journal **j);
/* Whether listeners are to send everything for its sake. */
bool journal_wants_all(const struct journal *j);
/* Appends one event (not yet decided; also one that turns out to be known), which is about to be decided at
 * NOW_MS, store time. J may be NULL. */
void journal_add(struct journal *j, const struct event *event, int64_t now_ms);
/* Writes what is buffered; at the end of a loop pass or before reading. */
void journal_flush(struct journal *j);
void journal_status(const struct journal *j, cJSON *status);
void journal_metrics(const struct journal *j, struct buf *out);

#endif
