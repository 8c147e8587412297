/* What the parts of the recipients share: see dispatcher/recipients.h. */
#ifndef DISPATCHER_RECIPIENTS_PARTS_H
#define DISPATCHER_RECIPIENTS_PARTS_H

#include "core/phone.h"
#include "dispatcher/recipients.h"
#include "dispatcher/rules_table.h"

/* One thing that `to` names: a fixed number, or an expression whose people get what PERSON says of them. */
struct audience_item {
    const struct expr *expr; /* NULL: a fixed number */
    struct recipient person; /* as the blocks say; language and zone NULL: they do not */
};

struct audience {
    const struct recipients *recipients;
    struct audience_item *items;
    size_t count;
    struct recipient *people; /* as the directory knows them, by item; those of expressions are not used */
    size_t expressions;
    bool wants_members;
};

enum group_state { GROUP_NEW, GROUP_OPEN, GROUP_DONE };
struct group {
    const struct slice_block *block;
    struct audience audience;
    enum group_state state;
};

struct recipients {
    struct directory *directory;         /* may be NULL */
    const char *country;                 /* completes numbers; NULL: nothing does */
    const struct slice_setting *allowed; /* prefixes; NULL: none are named */
    const char *lang, *zone;             /* of the installation */
    struct rules_table *names;           /* number: index in groups */
    struct group *groups;
    struct rules_table *texts; /* every telephone number once */
    struct audience **lists;   /* made for settings that name more than one group */
    size_t lists_count;
    struct expr **exprs;
    size_t exprs_count;
};

/* ---- audience.c ---- */
/* The names of an event with the functions of recipients. */
const struct expr_env *audience_env(void);

#endif
