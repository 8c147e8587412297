/*
 * Recipients: from what a configuration says in `to` to people with telephone numbers.
 *
 * `to` names numbers, recipients blocks and expressions. An expression gives a text or a list of texts, each
 * a number or a person's user id at the Bridge: a person of the directory first, then a number if it begins
 * with a plus. What member(id), members(), others() and tagged('tag') give are persons and never numbers.
 * This module owns the blocks, each expanded once, and every number as one text, so that rules may share
 * them. Immutable once rules are loaded.
 */
#ifndef DISPATCHER_RECIPIENTS_H
#define DISPATCHER_RECIPIENTS_H

#include "dispatcher/directory.h"
#include "dispatcher/expr/expr.h"
#include "dispatcher/members.h"
#include "dispatcher/store.h"
#include "proto/slice.h"

struct recipients;
struct audience;

enum { RECIPIENTS_NO_GROUP = -1 };

struct recipient {
    const char *number;      /* E.164 with the plus */
    const char *user;        /* user id at the Bridge; NULL: not known */
    const char *lang, *zone; /* the directory's, else the block's, else the installation's; never NULL */
    int group; /* index of the recipients block that names the number, in the order of the file, or
                  RECIPIENTS_NO_GROUP */
};

/* Somebody that cannot be rung, and why. */
struct recipient_missing {
    const char *who; /* user id or what else was asked for, for people: cleaned, cut to 128 bytes, and masked
                        where it may be a number */
    enum store_why why; /* WHY_UNKNOWN or WHY_NUMBER */
    const char *words;  /* fixed: "not in the directory", "the number has no allowed prefix", … */
    const char *key;    /* what WHO was made from, for identities only: never to be shown */
    size_t key_len;
};

/* A set of the entries of a list. */
struct recipient_set {
    uint32_t *slots; /* index + 1, or 0; open addressing */
    size_t size;
};

/* What an audience comes to for one event. Texts live in the recipients, the directory (until it is reloaded)
 * and the arena. Each number once, in the order of `to`. */
struct recipient_list {
    const struct recipient *list;
    size_t count;
    struct recipient_missing *missing;
    size_t missing_count;
    bool waits;          /* the members of the event's container must be looked up first; the rest is void */
    const char *failure; /* words of an expression that failed; NULL: none did. The others count */
    /* memory; LIST is OWN, or the audience's */
    struct recipient *own;
    size_t own_size, missing_size;
    struct recipient_set numbers, keys;
};
void recipient_list_free(struct recipient_list *l);

/* Reads the blocks recipients and numbers, and `language` and `zone` of the top-level one. Faults: a name
 * that is not there, a block that names itself in the end, a number that is none or has no allowed prefix.
 * Never NULL. DIRECTORY may be NULL; it must outlive R. */
struct recipients *recipients_new(const struct slice *slice, struct directory *directory,
                                  struct faults *faults);
void recipients_free(struct recipients **r);

/* To be called when directory_refresh says that the people are others: what the directory knows of fixed
 * numbers is looked up anew. Lists that were resolved before are void. */
void recipients_people_changed(struct recipients *r);

/* The audience that a setting names. Faults are reported for BLOCK at SETTING, those of expressions with a
 * caret. Never NULL; belongs to R and is the same for every list of one name. */
const struct audience *recipients_audience(struct recipients *r, const struct slice_block *block,
                                           const struct slice_setting *setting, struct faults *faults);
/* How many numbers are fixed; whether it also has expressions; whether these ask for members. */
size_t audience_fixed(const struct audience *a);
bool audience_has_expressions(const struct audience *a);
bool audience_wants_members(const struct audience *a);

/* Who is meant for an event. VALUES are the event's (rules_values). MEMBERS may be NULL: then nobody's
 * members are known and nothing waits: who is asked for is missing. OUT is cleared first. Pure but for the
 * arena. */
void audience_resolve(const struct audience *a, const struct event *event,
                      const struct expr_value values[EXPR_EVENT_SLOTS], struct members *members,
                      struct expr_arena *arena, struct recipient_list *out);

#endif
