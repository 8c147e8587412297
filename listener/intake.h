/*
 * From frames to packed events: interest first, then parsing, folding, normalising.
 *
 * Owns the interest in force, the folding of inbox entries and the counts of what became of each frame.
 * Nothing here waits: what is wanted goes to the outbox.
 */
#ifndef LISTENER_INTAKE_H
#define LISTENER_INTAKE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "listener/fold.h"
#include "listener/interest.h"
#include "listener/mark.h"
#include "listener/outbox.h"
#include "listener/settings.h"

struct intake_counts {
    uint64_t frames;    /* notifications, and whatever else came that was no answer */
    uint64_t wanted;    /* packed for the dispatcher */
    uint64_t dropped;   /* of no interest */
    uint64_t malformed; /* not a notification */
    uint64_t folded;    /* inbox entries made */
    uint64_t strayed;   /* files of inbox entries whose message did not come */
    uint64_t recovered; /* by catch-up */
};

struct intake;
struct intake *intake_new(const struct settings *settings, struct outbox *outbox);
void intake_free(struct intake **i);
/* One message from the socket. */
void intake_frame(struct intake *i, const char *data, size_t len);
/* End of a pass: brings MARK up to date with the newest timestamp and with what folding holds back. */
void intake_pass(struct intake *i, struct mark *mark);
/* A row of a list; TYPE is its creation's. False if it is no such row. */
bool intake_row(struct intake *i, const struct event_type *type, const cJSON *row);
/* True if creations of CHANNEL may be wanted, of containers or items, for themselves or for folding. */
bool intake_wants_creations(struct intake *i, const char *channel);
/* Catch-up is over: no more rows. */
void intake_recovered(struct intake *i);
/* WIRE is taken over. */
void intake_set_interest(struct intake *i, struct wire_interest *wire);
uint64_t intake_interest_number(const struct intake *i);
const struct intake_counts *intake_counts(const struct intake *i);
/* What was dropped, by type. */
void intake_each_dropped(struct intake *i, void (*fn)(void *arg, const char *type, uint64_t dropped),
                         void *arg);

#endif
