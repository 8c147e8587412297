/*
 * What a configuration is in memory. For the files of conf/ only.
 */
#ifndef CONF_MODEL_H
#define CONF_MODEL_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf/conf.h"

struct conf_file {
    char *name; /* for faults */
    char *dir;  /* relative paths start here; NULL if the text is not in a file */
    dev_t dev;
    ino_t ino;
};

/* A setting that a file has, or a default (file NULL, line 0). Lists use list and lines, others text, and
 * number where the kind has one. */
struct conf_value {
    const struct directive *directive;
    const struct conf_file *file;
    unsigned line;
    char *text;
    int64_t number;
    int64_t per_ms; /* of a rate */
    char **list;
    unsigned *lines;
    size_t count;
    bool is_read; /* a secret that came from a file or a credential */
};

struct conf_block {
    const struct block_def *def;
    char *title;
    const struct conf_file *file; /* NULL for an untitled block that no file has */
    unsigned line;
    bool bad_title;
    uint64_t named;            /* as in struct scan_block */
    struct conf_value *values; /* those that a file has */
    size_t count;
};

struct conf {
    struct conf_file **files;
    size_t file_count;
    struct conf_block *blocks; /* the first is CONF_TOP */
    size_t count, size;
    struct conf_value **defaults; /* of conf_blocks[b].directives[i]; directive is NULL where there is none */
};

/* The value that a file gives; NULL if none does. */
const struct conf_value *model_given(const struct conf_block *b, const struct directive *d);
/* The value given, else the default; NULL if there is neither. */
const struct conf_value *model_value(const struct conf *c, const struct conf_block *b,
                                     const struct directive *d);
/* The default of a directive; NULL if it has none. */
const struct conf_value *model_default(const struct conf *c, const struct block_def *def,
                                       const struct directive *d);
/* The block of kind DEF behind AFTER (NULL: the first), or NULL. */
const struct conf_block *model_next(const struct conf *c, const struct block_def *def,
                                    const struct conf_block *after);
/* The one or first block of a kind; NULL if there is none. */
const struct conf_block *model_find(const struct conf *c, const struct block_def *def, const char *title);
/* Value of the directive NAME as text or number, given or default. */
const char *model_text(const struct conf *c, const struct conf_block *b, const char *name);
int64_t model_number(const struct conf *c, const struct conf_block *b, const char *name);
/* Appends; the pointer lives until the next one. */
struct conf_block *model_add_block(struct conf *c, const struct block_def *def, const char *title,
                                   const struct conf_file *file, unsigned line);
struct conf_value *model_add_value(struct conf_block *b, const struct conf_value *value);
void model_clear_value(struct conf_value *v);
/* Takes block number INDEX out; pointers to blocks are void. */
void model_drop_block(struct conf *c, size_t index);

#endif
