/*
 * Where in a JSON text something stands, for faults in files that people write: cJSON does not remember.
 */
#ifndef DISPATCHER_JSON_PLACE_H
#define DISPATCHER_JSON_PLACE_H

#include <cjson/cJSON.h>
#include <stddef.h>

struct json_place {
    unsigned line, column; /* from 1; columns count code points */
};

/* The place of the byte at OFFSET. */
struct json_place json_place_of(const char *text, size_t len, size_t offset);
/* Where NODE of the tree ROOT, which was parsed from TEXT, stands: at its name, if it is a member. 1:1 if it
 * is not there. */
struct json_place json_place_find(const char *text, size_t len, const cJSON *root, const cJSON *node);

#endif
