/*
 * Interest: which of a Bridge's frames the dispatcher can use, decided by search alone.
 *
 * Owns the compiled form of a wire_interest. A frame that begins exactly as the Bridge writes it,
 * {"channel":"X","type":"Y","data":, is looked up by channel and type; conditions are then tested by
 * searching the text for "member":"value" and looking the value up among the literals. Any occurrence counts,
 * wherever it stands, so the search may want too much but never too little: a frame without a backslash holds
 * each string as it is. Frames with a backslash, or of another shape, go to the parser and
 * interest_wants_json.
 *
 * What is prepared for a channel and type is made when the first such frame comes.
 */
#ifndef LISTENER_INTEREST_H
#define LISTENER_INTEREST_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire.h"

enum interest_verdict {
    INTEREST_DROP,  /* certainly of no use */
    INTEREST_TAKE,  /* wanted, as far as the search can tell */
    INTEREST_PARSE, /* cannot be told by search */
};

struct interest;
/* Takes WIRE over (it is emptied). IMPLIED are channels that are subscribed for the sake of folding only
 * (listener/fold.h): nothing of them is wanted for itself. With FOLDS, what may belong to an inbox entry is
 * taken if inbox entries are wanted. Never NULL. */
struct interest *interest_new(struct wire_interest *wire, const char *const *implied, size_t implied_count,
                              bool folds);
/* What holds before the first welcome: everything. */
struct interest *interest_everything(const char *const *implied, size_t implied_count, bool folds);
void interest_free(struct interest **i);
uint64_t interest_number(const struct interest *i);
bool interest_folds(const struct interest *i);

enum interest_verdict interest_judge(struct interest *i, const char *frame, size_t len);
/* The same, exactly, for a frame that was parsed: true if the frame itself is wanted. What folding may need
 * is not considered. */
bool interest_wants_json(struct interest *i, const cJSON *frame);
/* True if some frame of this channel and type may be wanted, or folded. */
bool interest_may_want(struct interest *i, const char *channel, const char *type);

/* Frames dropped by interest_judge, by type, for statistics. Calls FN for every type with a count since the
 * interest was made. */
void interest_each_dropped(const struct interest *i,
                           void (*fn)(void *arg, const char *type, uint64_t dropped), void *arg);

#endif
