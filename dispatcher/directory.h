/*
 * The directory: who is who. People by their user id at the Bridge, with number, language, zone and tags,
 * from a CSV file or an SQLite file (table `people`), read again when it changes.
 *
 * A file that cannot be read, or a row that is wrong, never takes away what was known: the old people stay
 * until a whole file reads well, and the fault is logged and shown. So that this holds for the next process,
 * too, a copy of what was read well last is kept beside the store ("queue.db-people", mode 0600). Rows are
 * bounded in number and length.
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
    const char *user;        /* user id at the Bridge */
    const char *number;      /* E.164 with the plus; NULL: none is known */
    const char *lang, *zone; /* NULL: not said */
    const char *const *tags; /* NULL-terminated */
};

/* Bounds; what is beyond them is a fault. */
enum {
    DIRECTORY_BYTES_MAX = 64 * 1024 * 1024, /* of a CSV file */
    DIRECTORY_ROWS_MAX = 1000000,
    DIRECTORY_FIELD_MAX = 1024, /* bytes of one field */
    DIRECTORY_TAGS_MAX = 64,    /* of one person */
    DIRECTORY_FAULTS_MAX = 24,  /* told one by one; the rest is counted */
};

/* Reads the file that the block `directory` names; NULL without a fault if there is no such block or file.
 * Its faults name the file and the line (SQLite: the row). The block `numbers` says what completes numbers
 * without a country code, and which prefixes they may have. Where SLICE has SLICE_STARTING a copy of this
 * file is taken instead of one with faults, which are logged then. Without a fault afterwards the directory
 * is never NULL if it is configured. SLICE must outlive it. */
struct directory *directory_new(const struct slice *slice, struct faults *faults);
/* From now on the copy is written; for the one process that has the store. */
void directory_keep(struct directory *d);
/* Removes the copy, where no directory is configured any more. */
void directory_forget(const struct slice *slice);
void directory_free(struct directory **d);

/* NULL if unknown, or without a directory (D NULL, here and below). Valid until directory_refresh says that
 * it changed. */
const struct person *directory_find(const struct directory *d, const char *user, size_t len);
/* The first person in the file with this number (E.164), or NULL. */
const struct person *directory_find_number(const struct directory *d, const char *number);
/* The people that have TAG: calls FN for each. */
void directory_tagged(const struct directory *d, const char *tag, size_t len,
                      void (*fn)(void *arg, const struct person *p), void *arg);

/* Looks whether the file changed and, if so, reads it once it has stood still from one call to the next, so
 * that a file being written is not read half. True if the people are others now: what was found before is
 * gone. Cheap when nothing changed; to be called every few seconds. Reading a million people holds up the
 * loop for about a second. */
bool directory_refresh(struct directory *d);

/* Adds "directory": {file, people, read_ms, trouble} to STATUS; appends metrics. D may be NULL. */
void directory_status(const struct directory *d, cJSON *status);
void directory_metrics(const struct directory *d, struct buf *out);

#endif
