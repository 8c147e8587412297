#include "dispatcher/rules_fault.h"

#include <string.h>

enum { CARET_MAX = 512 };

void rules_fault(struct faults *faults, const struct slice_block *b, const char *name, const char *text,
                 unsigned line, const struct expr_error *error)
{
    char caret[CARET_MAX];
    expr_error_caret(text, strlen(text), error, caret, sizeof caret);
    size_t len = strlen(caret);
    while (len && caret[len - 1] == '\n')
        caret[--len] = '\0';
    const char *quote = b->title[0] ? "\"" : "";
    faults_add(faults, b->file, line ? line + error->line - 1 : b->line, "%s%s%s%s%s, %s, column %u: %s\n%s",
               b->type, b->title[0] ? " " : "", quote, b->title, quote, name, error->column, error->message,
               caret);
}
