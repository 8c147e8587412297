#include "master/print.h"

void print_fault(FILE *out, const char *file, unsigned line, const char *text)
{
    if (file[0] && line)
        fprintf(out, "%s:%u: %s\n", file, line, text);
    else if (file[0])
        fprintf(out, "%s: %s\n", file, text);
    else
        fprintf(out, "%s\n", text);
}

void print_faults(FILE *out, const struct faults *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        print_fault(out, faults->list[i].file, faults->list[i].line, faults->list[i].text);
}
