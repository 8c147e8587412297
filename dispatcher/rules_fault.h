/*
 * Errors of expressions as faults of the configuration.
 */
#ifndef DISPATCHER_RULES_FAULT_H
#define DISPATCHER_RULES_FAULT_H

#include "dispatcher/expr/expr.h"
#include "proto/slice.h"

/* ERROR in TEXT, which the setting NAME of B has from LINE on: the file's line and the column, with the line
 * itself and a caret. */
void rules_fault(struct faults *faults, const struct slice_block *b, const char *name, const char *text,
                 unsigned line, const struct expr_error *error);

#endif
