/*
 * Source text into tokens: the lexis of CEL (langdef, "Syntax"). Literals are decoded here; numbers keep
 * their magnitude, because whether a minus belongs to them is the parser's to say.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_LEXER_H
#define BRIDGEBELL_DISPATCHER_EXPR_LEXER_H

#include "dispatcher/expr/expr.h"

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,     /* an identifier, also true, false, null, in and the reserved words */
    TOKEN_ESCAPED,  /* `a-b`: a field's name between backticks; value holds the name */
    TOKEN_LITERAL,  /* value: uint, double, string or bytes */
    TOKEN_INTEGER,  /* value: the magnitude as a uint */
    TOKEN_OPERATOR, /* see `symbol` */
};

/* Two-character operators are written as the first character plus 256 times the second. */
#define OPERATOR_2(first, second) ((unsigned)(first) + 256u * (unsigned)(second))

struct token {
    enum token_kind kind;
    unsigned symbol;
    uint32_t offset;
    uint32_t length;
    struct expr_value value;
};

/*
 * Splits `len` bytes into tokens, the last of which is TOKEN_END. Decoded literals live in `arena`. The array
 * is malloced. NULL on failure, with offset and message in `error`.
 */
struct token *lexer_run(const char *source, size_t len, struct expr_arena *arena, struct expr_error *error);
/* Whether a token is the given operator. */
bool lexer_is_symbol(const struct token *token, unsigned symbol);
/* Whether a token is the given name. */
bool lexer_is(const char *source, const struct token *token, const char *name);

#endif
