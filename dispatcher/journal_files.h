/*
 * The journal's files: their names, which sort by time, and their first lines.
 */
#ifndef DISPATCHER_JOURNAL_FILES_H
#define DISPATCHER_JOURNAL_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "proto/slice.h"

enum { JOURNAL_NAME_MAX = 64, JOURNAL_MODE_MAX = 16 };

struct journal_file {
    char *path;
    int64_t started_ms; /* from its name */
    int64_t bytes;
};
struct journal_files {
    struct journal_file *list; /* in order of time */
    size_t count;
};

/* Files of a journal in DIR; others are left alone. 0, or -1 with errno. */
int journal_files_list(const char *dir, struct journal_files *out);
void journal_files_free(struct journal_files *f);
/* "events-20261127T055915.123Z.jsonl" */
void journal_file_name(int64_t started_ms, char out[JOURNAL_NAME_MAX]);
/* The mode that a file's first LINE names; "" if it is no first line of a journal. */
void journal_file_mode(const char *line, size_t len, char mode[JOURNAL_MODE_MAX]);
/* The directory that the slice's dispatcher block means; the caller frees. */
char *journal_directory(const struct slice *slice);
/* "wanted", "all" or "off". */
const char *journal_mode(const struct slice *slice);

#endif
