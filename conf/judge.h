/*
 * The directive table's judgement of single values: kind, bounds, words, environment variables.
 */
#ifndef CONF_JUDGE_H
#define CONF_JUDGE_H

#include "conf/model.h"
#include "conf/scan.h"

/* Judges the values of one setting of S, which the parser has filled in. 0 with OUT to be kept by the caller;
 * -1 with a fault. */
int judge_setting(const struct scan *s, const struct scan_setting *setting, const struct conf_file *file,
                  struct conf_value *out, struct faults *faults);
/* D's default; OUT->directive stays NULL if it has none. */
void judge_default(const struct directive *d, struct conf_value *out);

/* D's bounds for people, "1 to 100"; empty if it has none. */
const char *judge_bounds(const struct directive *d, char *out, size_t size);

#endif
