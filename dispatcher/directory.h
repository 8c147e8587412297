/*
 * The directory: who is who. People by their user id at the Bridge, with number, language, zone and tags, from
 * a CSV file or an SQLite file (table `people`), read again when it changes.
 *
 * A file that cannot be read, or a row that is wrong, never takes away what was known: the old people stay
 * until a whole file reads well, and the fault is logged and shown. Rows are bounded in number and length.
 */
#ifndef DISPATCHER_DIRECTORY_H
#define DISPATCHER_DIRECTORY_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"
#include "proto/slice.h"

struct directory;

struct person {
    const char *user;   /* user id at the Bridge */
    const char *number; /* E.164 with the plus; NULL: none is known */
    const char *lang, *zone; /* NULL: not said */
    const char *const *tags; /* NULL-terminated */
};

/* Reads the file that the block `directory` names; NULL without a fault if there is no such block or file. Its
 * faults name the file and the line (or the row). DEFAULT_COUNTRY ("+48", may be NULL) completes numbers
 * without one. Without a fault afterwards the directory is never NULL if it is configured. */
struct directory *directory_new(const struct slice *slice, struct faults *faults);
void directory_free(struct directory **d);

/* NULL if unknown. Valid until directory_refresh says that it changed. */
const struct person *directory_find(const struct directory *d, const char *user, size_t len);
/* The people that have TAG: calls FN for each. */
void directory_tagged(const struct directory *d, const char *tag, size_t len,
                      void (*fn)(void *arg, const struct person *p), void *arg);

/* Looks whether the file changed and, if so, reads it. True if the people are others now. Cheap when nothing
 * changed; to be called every few seconds. */
bool directory_refresh(struct directory *d);

/* Adds "directory": {file, people, read_ms, trouble} to STATUS; appends metrics. D may be NULL. */
void directory_status(const struct directory *d, cJSON *status);
void directory_metrics(const struct directory *d, struct buf *out);

#endif
