/* Reading members of JSON objects that may lack them. */
#ifndef MASTER_JSON_H
#define MASTER_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>

/* Never NULL: "" if OBJECT has no text of that name. */
const char *json_text(const cJSON *object, const char *name);
/* 0 if it has no such number, or one beyond 1e15. */
double json_number(const cJSON *object, const char *name);
bool json_flag(const cJSON *object, const char *name);
/* NULL if it has no such member; OBJECT may be NULL. */
cJSON *json_member(const cJSON *object, const char *name);

#endif
