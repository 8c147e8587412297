/* An explanation for people. */
#ifndef MASTER_EXPLAIN_VIEW_H
#define MASTER_EXPLAIN_VIEW_H

#include <cjson/cJSON.h>
#include <stdio.h>

/* JOB and EXPLANATION may each be NULL. */
void explain_view(FILE *out, const cJSON *job, const cJSON *explanation);

#endif
