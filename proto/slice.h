/*
 * Configuration slices: what the master hands each process, already parsed, checked and with defaults filled
 * in.
 *
 * A slice is a list of blocks ("bridge" "main"), each a list of settings. Values carry the file and the line
 * they came from, so that a role that finds fault with one (an expression that does not compile) can say
 * where. conf/ makes slices, roles read them; this module is the shared shape and its msgpack form. A setting
 * absent from the file has its default and line 0.
 */
#ifndef PROTO_SLICE_H
#define PROTO_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/msg.h"

enum slice_kind {
    SLICE_UNSET, /* no value and no default */
    SLICE_TEXT,
    SLICE_NUMBER, /* whole numbers, durations in ms, sizes in bytes, switches as 0 or 1 */
    SLICE_RATE,   /* number per per_ms; number -1 means "off" */
    SLICE_LIST,   /* of texts */
};

struct slice_setting {
    char *name;
    enum slice_kind kind;
    char *text;
    int64_t number;
    int64_t per_ms;
    char **list;
    unsigned *lines; /* of each text of the list; NULL: all as `line` */
    size_t count;
    unsigned line;  /* where the value starts; 0 for a default */
    bool is_secret; /* wiped on free */
};

struct slice_block {
    char *type;
    char *title; /* "" when the block has none */
    char *file;
    unsigned line;
    struct slice_setting *settings;
    size_t count;
    const struct slice_block *defaults; /* of its type: what it does not say itself; NULL: none */
};

struct slice {
    struct slice_block *blocks;
    size_t count;
    struct slice_block **defaults; /* one for a type that has them */
    size_t defaults_count;
};

/* Type of a block without settings that no file has: it tells a role that it is to work, or that the program
 * starts. A file beside the configuration that had no fault before is no reason not to, then; where it is
 * missing an operator asks what is wrong. */
#define SLICE_STARTING "starting"

struct slice *slice_new(void);
void slice_free(struct slice **s);
/* Appends; pointers to blocks and settings stay valid until the next append to the same list. */
struct slice_block *slice_add_block(struct slice *s, const char *type, const char *title, const char *file,
                                    unsigned line);
/* The block that holds what blocks of TYPE have when they do not say it: so ten thousand rules need not carry
 * every default each. Before the first block of that type. Settings are added to it as to any other. */
struct slice_block *slice_add_defaults(struct slice *s, const char *type);
struct slice_setting *slice_add_setting(struct slice_block *b, const char *name, enum slice_kind kind,
                                        unsigned line);

/* ---- reading ---- */
/* First block of TYPE (and TITLE unless NULL), or NULL. */
const struct slice_block *slice_find(const struct slice *s, const char *type, const char *title);
/* The block of the same type behind AFTER (NULL: the first). */
const struct slice_block *slice_next(const struct slice *s, const char *type,
                                     const struct slice_block *after);
size_t slice_count(const struct slice *s, const char *type);
/* The block's own setting or the default of its type; NULL if there is neither, or it is unset. */
const struct slice_setting *slice_get(const struct slice_block *b, const char *name);
/* Where text INDEX of a list starts. */
unsigned slice_line(const struct slice_setting *v, size_t index);
/* With a default for unset ones. */
const char *slice_text(const struct slice_block *b, const char *name, const char *otherwise);
int64_t slice_number(const struct slice_block *b, const char *name, int64_t otherwise);
bool slice_flag(const struct slice_block *b, const char *name, bool otherwise);

/* ---- the msgpack form: one element of a message ---- */
void slice_pack(struct msg_out *m, const struct slice *s);
/* NULL if malformed. */
struct slice *slice_unpack(struct msg_fields *f);

/* ---- faults found in a slice ---- */
struct fault {
    char *file;
    unsigned line;
    char *text; /* may hold several lines: the word, what was expected, a caret */
};
struct faults {
    struct fault *list;
    size_t count;
};
void faults_add(struct faults *f, const char *file, unsigned line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void faults_free(struct faults *f);

#endif
