/*
 * Message templates: text with insertions, "New message in {{ data.threadId }} by {{ author ?? 'someone' }}".
 *
 * An insertion is an expression; `expr ?? fallback` takes the fallback (an expression too, usually a literal)
 * when the first fails or is null. What is inserted is hostile until proven otherwise and is cleaned by the
 * rules of dispatcher/expr/clean.h, unless the whole expression is wrapped as unsafe(expr). A fallback that
 * is a literal is the operator's own text and is not cleaned. An insertion that fails and has no fallback
 * becomes "?" and is counted. The text outside of insertions is copied as it is; a literal "{{" is written {{
 * '{{' }}.
 *
 * Where an insertion touches its neighbours, the word that they make together is looked at once more: a link
 * whose end of the host or whose scheme others wrote is spoilt ("evil" and ".com"), one that leads where the
 * operator says stays ("https://intra.example.com/" and an id).
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_TEMPLATE_H
#define BRIDGEBELL_DISPATCHER_EXPR_TEMPLATE_H

#include "dispatcher/expr/expr.h"

#define EXPR_TEMPLATE_LIMIT 65536u     /* bytes of source of a template */
#define EXPR_TEMPLATE_INSERTIONS 64u   /* insertions of one template */
#define EXPR_INSERTION_CHARACTERS 160u /* characters that one insertion may bring, unless told otherwise */

/* A compiled template: immutable, may be shared by threads. */
struct expr_template;

/* Compiles `len` bytes; NULL and `error` (offsets into the template) when an insertion does not compile or
 * end. */
struct expr_template *expr_template_compile(const char *source, size_t len, const struct expr_env *env,
                                            struct expr_error *error);
/* Frees the template and clears the pointer; NULL is fine. */
void expr_template_free(struct expr_template **tmpl);
/* Whether any insertion reads the variable in `slot`; whether any calls the host's function `name`. */
bool expr_template_uses_slot(const struct expr_template *tmpl, size_t slot);
bool expr_template_uses_function(const struct expr_template *tmpl, const char *name);

struct expr_template_result {
    size_t length;      /* bytes written, without the NUL */
    bool truncated;     /* the buffer was too small: the text ends at a code point boundary */
    unsigned failures;  /* insertions that became "?" */
    unsigned fallbacks; /* insertions that took their fallback */
    unsigned shortened; /* insertions that were cut to the limit */
    char failure[128];  /* the message of the first failure, NUL-terminated, "" if none */
};

/*
 * Renders into `buffer` of `size` > 0 bytes, always NUL-terminated and valid UTF-8 if the template's own text
 * is. `characters` bounds each cleaned insertion in code points (0: EXPR_INSERTION_CHARACTERS). Failures are
 * reported in the result only; a text always comes out. The arena is not reset.
 */
struct expr_template_result expr_template_render(const struct expr_template *tmpl,
                                                 const struct expr_activation *activation,
                                                 struct expr_arena *arena, size_t characters, char *buffer,
                                                 size_t size);

#endif
