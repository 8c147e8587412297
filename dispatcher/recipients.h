/*
 * Recipients: from the names and numbers that a configuration gives to telephone numbers.
 *
 * Owns the `recipients` blocks, each expanded once, and every number as one text, so that rules may share
 * them. Immutable once rules are loaded.
 */
#ifndef DISPATCHER_RECIPIENTS_H
#define DISPATCHER_RECIPIENTS_H

#include "proto/slice.h"

struct recipients;

/* Numbers without repetition, in the order of the file. */
struct numbers {
    const char **list;
    size_t count;
};

/* Faults: a name that is not there, a block that names itself in the end, a number that is none. Never NULL.
 */
struct recipients *recipients_new(const struct slice *slice, struct faults *faults);
void recipients_free(struct recipients **r);
/* The numbers of a list of names and numbers. Faults are reported for BLOCK at SETTING. The result belongs to
 * R and is the same for every list of one name. */
const struct numbers *recipients_expand(struct recipients *r, const struct slice_block *block,
                                        const struct slice_setting *setting, struct faults *faults);
/* E.164 with a leading plus: 8 to 15 digits (CONTRACT.md section 2, `to`). */
bool recipients_is_number(const char *word);

#endif
