/*
 * The message of a rule in the languages that it has, and what a person gets of it: rendered, fitted into
 * parts, priced.
 *
 * `message` is for everybody whose language is not among `messages`; so are digest_message and storm_message,
 * where they are given.
 * A text is rendered once for all recipients of an event that see the same.
 */
#ifndef DISPATCHER_MESSAGE_H
#define DISPATCHER_MESSAGE_H

#include "dispatcher/expr/template.h"
#include "dispatcher/text/message_env.h"
#include "dispatcher/text/sms.h"
#include "proto/slice.h"
#include "proto/wire.h"

enum { MESSAGE_LANG_SIZE = 17 };

struct message {
    struct expr_template *plain; /* NULL: none is configured */
    struct message_translation {
        char lang[MESSAGE_LANG_SIZE];
        struct expr_template *text;
    } * others;
    size_t count;
    bool personal; /* its text depends on the recipient's language or zone */
};

/* What a message is of: an event, or a digest or summary of several. Each sees names that the other does not.
 */
enum message_of { MESSAGE_OF_EVENT, MESSAGE_OF_SEVERAL };

/* Reads the settings NAME (a text, may be NULL) and TRANSLATIONS (a list of "LANG: text") of B. Errors of
 * expressions are faults with line and caret. */
void message_load(struct message *m, enum message_of of, const struct slice_block *b, const char *name,
                  const char *translations, struct faults *faults);
/* Adds a text of the program's own in a language. */
void message_add(struct message *m, const char *lang, const char *text);
void message_free(struct message *m);
/* The translation for a language: that of "pt-BR", else of "pt", else NULL. */
const struct expr_template *message_translated(const struct message *m, const char *lang);
/* The template for a language: the translation, else the plain one. */
const struct expr_template *message_pick(const struct message *m, const char *lang);
/* The language that a template of M is written in: LANG if it is a translation, else PLAIN_LANG. */
const char *message_lang(const struct message *m, const struct expr_template *t, const char *lang,
                         const char *plain_lang);

struct message_text {
    char text[SMS_FITTED_SIZE(WIRE_TEXT_MAX)];
    size_t length;
    struct sms_size size;
    bool transliterated, trimmed;
    unsigned failures; /* insertions that failed */
    char failure[128]; /* words of the first of them, "" if none */
};

/* Renders T with VALUES (of MESSAGE_SLOTS, the event's filled in; rule, lang and zone are set here) and fits
 * it. Blanks at the ends are cut off. At most WIRE_TEXT_MAX bytes. */
void message_render(const struct expr_template *t, struct expr_value values[MESSAGE_SLOTS], const char *rule,
                    const char *lang, const char *zone, const struct sms_options *fit,
                    struct expr_arena *arena, struct message_text *out);

#endif
