/*
 * A look at the text of one configuration file before libConfuse parses it.
 *
 * The scan finds where every word stands, and what the parser would hide: unknown words, a repeated setting,
 * a block that is not closed, characters that are dropped from unquoted values, escapes that lose their
 * backslash, the first line of a value of several lines. It leaves a text of the same length and lines for
 * the parser, in which comments, titles, `include` and all that is at fault are blank; so the parser meets
 * known words only, titles are not searched for (in libConfuse that is quadratic, and merges blocks of equal
 * title), and comments may stand inside lists. The n-th value that the parser reads is values[n].
 */
#ifndef CONF_SCAN_H
#define CONF_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/directives.h"
#include "proto/slice.h"

/* Marks an environment variable in a value: "\1{NAME}" where the text has "${NAME}" in double quotes. */
#define SCAN_ENVIRONMENT '\1'

/* Faults beyond so many are not collected. */
enum { SCAN_FAULTS_MAX = 500 };

enum scan_quoting { SCAN_BARE, SCAN_DOUBLE, SCAN_SINGLE };

struct scan_value {
    unsigned line; /* where it begins */
    enum scan_quoting quoting;
    bool bad;       /* has a fault already */
    size_t setting; /* index of its setting */
    char *text;     /* filled in by the parser; wiped on free */
};

struct scan_setting {
    const struct directive *directive;
    size_t block; /* index of its block */
    unsigned line;
    size_t first, count; /* its values */
    bool braces;
};

/* blocks[0] is what stands outside of any block. */
struct scan_block {
    const struct block_def *def;
    char *title; /* "" if it has none */
    bool bad_title;
    unsigned line;
    uint64_t named; /* bit i: directive i stands in it, or a word so much like it that it must be meant */
};

struct scan_include {
    char *path;
    unsigned line;
};

struct scan {
    char *text; /* for the parser; wiped on free */
    size_t len;
    struct scan_block *blocks;
    size_t block_count, block_size;
    struct scan_setting *settings;
    size_t setting_count, setting_size;
    struct scan_value *values;
    size_t value_count, value_size;
    struct scan_include *includes;
    size_t include_count, include_size;
};

/* Scans LEN bytes that FILE holds. 0; or -1 after an error that leaves the rest of the file without meaning.
 * All faults go to FAULTS in either case. To be freed in either case. */
int scan_text(struct scan *s, const char *file, const char *text, size_t len, struct faults *faults);
void scan_free(struct scan *s);

#endif
