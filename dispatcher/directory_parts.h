/* What the parts of the directory share: see dispatcher/directory.h. */
#ifndef DISPATCHER_DIRECTORY_PARTS_H
#define DISPATCHER_DIRECTORY_PARTS_H

#include "dispatcher/directory.h"
#include "dispatcher/expr/expr.h"
#include "dispatcher/rules_table.h"

/* ---- people.c: everybody in one file ---- */
struct people;
struct people *people_new(void);
void people_free(struct people **p);
/* Copies PERSON. False if the user id is there already. */
bool people_add(struct people *p, const struct person *person);
size_t people_count(const struct people *p);
/* In the order in which they were added. */
void people_each(const struct people *p, void (*fn)(void *arg, const struct person *p), void *arg);
const struct person *people_find(const struct people *p, const char *user, size_t len);
const struct person *people_find_number(const struct people *p, const char *number);
void people_tagged(const struct people *p, const char *tag, size_t len,
                   void (*fn)(void *arg, const struct person *p), void *arg);

/* ---- directory_read.c: rows of any file ---- */
enum directory_column { COLUMN_USER, COLUMN_NUMBER, COLUMN_LANGUAGE, COLUMN_ZONE, COLUMN_TAGS, COLUMNS };
extern const char *const directory_columns[COLUMNS + 1];

struct directory_field {
    const char *text; /* not NUL-terminated; NULL: nothing */
    size_t len;
};

/* One reading of one file. */
struct directory_reader {
    const char *path;
    const char *country;                 /* may be NULL */
    const struct slice_setting *allowed; /* may be NULL */
    const char *row_word;                /* "line", or "row" where the number below is not a line */
    struct people *people;
    struct faults *faults;
    size_t bad;                /* rows and other faults, those told and those not */
    bool passing;              /* a fault that may go by itself, without a change of the file */
    struct rules_table *zones; /* that are known to be there */
    struct expr_arena *arena;
};
void directory_reader_open(struct directory_reader *r);
void directory_reader_close(struct directory_reader *r); /* adds "and 12 more" to the faults */
/* Checks and adds one person; a fault otherwise. PLACE is the line or row. */
void directory_read_row(struct directory_reader *r, const struct directory_field fields[COLUMNS],
                        size_t place);
void directory_fault(struct directory_reader *r, size_t place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- directory.c ---- */
/* The whole file; of one that is larger than MOST, more than it may have. -1 with errno. */
int directory_read_text(int fd, size_t most, struct buf *out);

/* ---- directory_kept.c: the copy of what was read well last ---- */
enum { DIRECTORY_KEPT_MAX = 2 * DIRECTORY_BYTES_MAX };
/* Beside the store; NULL if there is none. The caller frees. */
char *directory_kept_path(const struct slice *slice);
/* SOURCE is the file that the people are from. If it cannot be written, that is logged. */
void directory_kept_write(const char *path, const char *source, const struct people *people);
/* True with the people in R and, in *AT_MS, the wall clock's time of their writing; false if there is no good
 * copy of SOURCE. */
bool directory_kept_read(const char *path, const char *source, struct directory_reader *r, int64_t *at_ms);

/* ---- directory_csv.c ---- */
/* A whole file's text; faults say what is wrong. */
void directory_read_csv(struct directory_reader *r, const char *data, size_t len);

/* ---- directory_sqlite.c ---- */
void directory_read_sqlite(struct directory_reader *r);

#endif
