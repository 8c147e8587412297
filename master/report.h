/* The status as JSON: the master's part, and the dispatcher's merged into it. docs/wire.md lists the members.
 */
#ifndef MASTER_REPORT_H
#define MASTER_REPORT_H

#include <cjson/cJSON.h>

/* FILE is the configuration file, RUNTIME_DIR the directory; both copied. */
void report_setup(const char *file, const char *runtime_dir);
void report_free(void);
/* Takes DISPATCHER over: its answer, good or not; NULL if it was not asked. The caller owns the result. */
cJSON *report_status(cJSON *dispatcher);

#endif
