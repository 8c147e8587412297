/*
 * The names that templates of messages may use beyond those of the event, and their functions:
 *
 *     plural(n, forms...)  the form of a word that fits a number in the message's language
 *
 *     date(t), date(t, f)  a time in the recipient's zone
 *
 *     short(s, n)          a string of at most n characters
 *
 * docs/expressions.md ("Templates") describes them for operators. The functions are pure but for a look at
 * the system's zone files.
 */
#ifndef BRIDGEBELL_DISPATCHER_TEXT_MESSAGE_ENV_H
#define BRIDGEBELL_DISPATCHER_TEXT_MESSAGE_ENV_H

#include "dispatcher/expr/expr.h"

struct expr_zone;

/* Slots of an activation: those of the event first. */
enum message_slot {
    MESSAGE_SLOT_RULE = EXPR_EVENT_SLOTS, /* string: the rule's name */
    MESSAGE_SLOT_LANG,                    /* string: the recipient's language, "" if none */
    MESSAGE_SLOT_ZONE,                    /* string: the recipient's time zone, "UTC" if none */
    MESSAGE_SLOT_COUNT,                   /* int: how many messages a digest or summary stands for */
    MESSAGE_SLOT_SINCE,                   /* timestamp: its first event */
    MESSAGE_SLOT_UNTIL,                   /* timestamp: its last */
    MESSAGE_SLOT_TEXTS,                   /* list of strings: the messages it stands for */
    MESSAGE_SLOTS
};

/*
 * Who a message is rendered for. It goes into expr_activation.context; the context of a richer env has it as
 * its first member. The texts must outlive the rendering. The zone is looked up once, in the arena: set
 * `loaded` to NULL after a reset of the arena and whenever `zone` changes.
 */
struct message_context {
    /* Of the text being rendered: "pl", "pt-BR", "de_AT.UTF-8"; NULL or unknown: as English. */
    const char *lang;
    const char *zone; /* "Europe/Warsaw", "+02:00"; NULL or "": UTC */
    const struct expr_zone *loaded;
};

/* The names of the event and those above; checked. */
const struct expr_env *message_env(void);

/*
 * Fills the slots behind the event's: rule, lang and zone from the arguments (viewed; a context may be NULL),
 * the others as absent, so that reading them fails.
 */
void message_values(struct expr_value values[MESSAGE_SLOTS], const char *rule,
                    const struct message_context *context);

#endif
