/*
 * The values of a scanned file, read by libConfuse.
 */
#ifndef CONF_PARSE_H
#define CONF_PARSE_H

#include "conf/scan.h"

/* Fills in the text of every value of S, which scan_text has passed. 0; or -1 with a fault if libConfuse
 * refuses the text. Not for several threads: libConfuse keeps its state in globals. */
int parse_values(struct scan *s, const char *file, struct faults *faults);

#endif
