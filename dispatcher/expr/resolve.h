/*
 * What names mean: variables, macro variables, types and functions; what literal patterns and time zones come
 * to; and what to say of a name that is not known.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_RESOLVE_H
#define BRIDGEBELL_DISPATCHER_EXPR_RESOLVE_H

#include "dispatcher/expr/node.h"

/* true, false, null, in; and the words CEL keeps for its hosts, which may be fields but not names. */
bool resolve_is_keyword(const struct parser *p, const struct token *token);
bool resolve_is_reserved(const struct parser *p, const struct token *token);

/* The macro variable of that name, the innermost first; NULL (and no failure) if there is none. */
parsed resolve_local(struct parser *p, const struct token *token);
/*
 * A name that is no call: of the chain a.b.c the longest start that is a variable or a type is taken, the
 * rest are selections. Moves the parser behind what it took.
 */
parsed resolve_name(struct parser *p, const struct token *first);
/*
 * Whether the name is a function's at all. Asked before the arguments are parsed, which may be unknown
 * because of it: "exist(x, ...)" binds no x.
 */
bool resolve_callable(struct parser *p, const struct token *name, bool method);
/* A call whose arguments are parsed; the receiver of a method is the first child. */
parsed resolve_call(struct parser *p, const struct token *name, bool method, const struct children *children);

#endif
