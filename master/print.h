/* Faults as people read them: "file:line: text", one after another. */
#ifndef MASTER_PRINT_H
#define MASTER_PRINT_H

#include <stdio.h>

#include "proto/slice.h"

void print_fault(FILE *out, const char *file, unsigned line, const char *text);
void print_faults(FILE *out, const struct faults *faults);

#endif
