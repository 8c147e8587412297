/* What the parts of the rules share: see dispatcher/rules.h. */
#ifndef DISPATCHER_RULES_PARTS_H
#define DISPATCHER_RULES_PARTS_H

#include "dispatcher/expr/analysis.h"
#include "dispatcher/message.h"
#include "dispatcher/noise.h"
#include "dispatcher/recipients.h"
#include "dispatcher/rules.h"
#include "dispatcher/rules_table.h"
#include "dispatcher/silences.h"
#include "dispatcher/text/prices.h"

struct rule {
    const struct slice_block *block;
    const char *name, *provider, *from; /* FROM may be NULL: the account's */
    struct expr *when;
    struct expr_requirements *needs;
    struct message message, digest_message, storm_message;
    const struct noise_rule *noise;
    struct sms_options fit;
    const struct audience *to;
    enum job_priority priority;
    int64_t expires_ms; /* 0: never */
    bool enabled;
    bool cancel_on_delete;
    uint64_t round; /* the index's: the last event that met this rule */
    /* since the start */
    uint64_t matched, jobs, failed, unrendered;
    struct rule_told {
        uint64_t count; /* not yet told of */
        int64_t at_ms;  /* 0: never told */
    } told[WHY_COUNT];
    char *failure;           /* words of the last failure of `when` or `to`; NULL: none */
    char *insertion_failure; /* the same of an insertion in a text */
};

struct rules_index;

/* Budgets that are nearly spent, until their period ends. */
enum { RULES_WARNINGS_MAX = 32 };
struct budget_warning {
    char name[96];
    int64_t used, limit, ends_ms;
};

struct rules {
    struct rule *list; /* in the order of the file */
    size_t count;
    struct directory *directory; /* NULL: none is configured */
    struct recipients *recipients;
    struct members *members;   /* NULL: nobody looks them up */
    struct recipient_list who; /* of one rule and event */
    struct rules_index *index;
    struct rules_table *names; /* number: index in list */
    struct noise *noise;
    struct prices *prices;
    const char *language;      /* of messages that have no other */
    struct silences *silences; /* not owned; NULL: there are none */
    const struct slice *slice;
    struct message summaries[WHY_COUNT]; /* the operator's words for digests and summaries of all rules */
    struct message own[WHY_COUNT];       /* the program's */
    struct budget_warning warnings[RULES_WARNINGS_MAX];
    size_t warnings_count;
    struct expr_arena *arena;   /* of one event */
    struct expr_arena *scratch; /* of one message, however many people an event has */
    bool cancels;               /* some enabled rule wants its jobs cancelled with the item */
};

/* ---- rules.c ---- */
/* NULL if there is none of that name. */
struct rule *rules_find(struct rules *r, const char *name);
/* Replaces the words in *SLOT, which it owns. */
void rules_keep_words(char **slot, const char *words, size_t len);
/* Counts a text of RULE's that an insertion failed in. */
void rules_note_text(struct rule *rule, const struct message_text *text);

/* ---- rules_match.c ---- */
/* False where an item's name says nothing certain of its jobs: entries of a kvdb are named by their users,
 * and a name may come again after its deletion. TYPE may be NULL (unknown). */
bool rules_item_identifies(const struct event_type *type);

/* ---- rules_digest.c ---- */
/* The words that digests and summaries have where a rule says nothing. */
void rules_load_summaries(struct rules *r, struct faults *faults);

/* ---- rules_index.c ---- */
/* Finds the rules that an event can match: each has a key, a path and the values it may have there, chosen so
 * that few rules share it; or a key for each side of an ||; or none, and is tried for every event. */
struct rules_index *rules_index_new(const struct rules *r);
void rules_index_free(struct rules_index **x);
typedef void rules_index_fn(void *arg, struct rule *rule);
/* Calls FN, once each and in no order, for every enabled rule that may be true for an event with these
 * values. */
void rules_index_find(struct rules_index *x, const struct expr_value *values, rules_index_fn *fn, void *arg);
/* How telling a path is by its kind; the higher the better: ids before types before channels. */
int rules_path_rank(const struct expr_requirement *need);

/* The reason of what a silence suppressed: this and the silence's id. */
#define RULES_SILENCE_WORD "silence "

#endif
