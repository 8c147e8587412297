/*
 * What in a status needs a person: each alarm says what is wrong and what to do next.
 */
#ifndef MASTER_ALARMS_H
#define MASTER_ALARMS_H

#include <cjson/cJSON.h>

/* Calls FN for each alarm of STATUS, the most urgent first; both texts live until it returns. DO_NEXT may be
 * "". */
void alarms_each(const cJSON *status, void (*fn)(void *arg, const char *what, const char *do_next),
                 void *arg);

#endif
