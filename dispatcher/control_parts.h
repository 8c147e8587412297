/*
 * What the files of the command table share: reading requests and giving answers. Private to
 * dispatcher/control*.c.
 */
#ifndef DISPATCHER_CONTROL_PARTS_H
#define DISPATCHER_CONTROL_PARTS_H

#include "core/phone.h"
#include "dispatcher/control.h"

/* {"ok":true}; the caller adds to it and gives it to role_reply. */
cJSON *control_good(void);
void control_refuse(uint64_t id, const char *error, const char *hint);
/* For a unit that failed. */
void control_refuse_store(uint64_t id, enum store_status status);

/* NULL if the request has no such text. */
const char *control_text(const cJSON *request, const char *name);
int64_t control_number(const cJSON *request, const char *name, int64_t otherwise);
/* Whether numbers are to be shown with all but their last digits hidden. */
bool control_is_masked(const cJSON *request);
/* A phone number of a request, completed as those of the configuration are: NULL with E.164 in OUT; otherwise
 * why it is none. */
const char *control_phone(const struct control *c, const cJSON *item, char out[PHONE_SIZE]);
/* "uid 0", for records. */
enum { CONTROL_WHO_MAX = 48 };
void control_who(const cJSON *request, char out[CONTROL_WHO_MAX]);

#endif
