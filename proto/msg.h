/*
 * Messages between our processes: one msgpack array, [type, field, field, …].
 *
 * Writing appends fields in order; reading takes the same fields in the same order and ends with msg_end,
 * which fails if a field was missing, of another type, out of bounds, or left over. A reader that failed
 * keeps returning zeros, so that only the end needs a check. What is not well-formed, too deep or larger than
 * its own length allows is refused before anything is allocated for it.
 */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/hash.h"

enum {
    MSG_DEPTH_MAX = 31,               /* msgpack-c's unpacker has a stack of 32 */
    MSG_BYTES_MAX = 64 * 1024 * 1024, /* one message */
};

/* A view of bytes that somebody else owns; data is NULL when absent. Not NUL-terminated. */
struct msg_str {
    const char *data;
    size_t len;
};
bool msg_str_is(struct msg_str s, const char *word);
char *msg_str_dup(struct msg_str s);      /* NUL-terminated copy; NULL when absent */
struct msg_str msg_str_of(const char *s); /* NULL gives the absent view */

/* ---- writing ---- */
struct msg_out {
    struct buf buf;
    msgpack_packer packer;
};
void msg_out_init(struct msg_out *m, size_t limit_bytes);
void msg_out_free(struct msg_out *m);
/* Empties, then opens an array of 1 + FIELDS elements and writes TYPE. */
void msg_begin(struct msg_out *m, unsigned type, uint32_t fields);
void msg_put_uint(struct msg_out *m, uint64_t v);
void msg_put_int(struct msg_out *m, int64_t v);
void msg_put_bool(struct msg_out *m, bool v);
void msg_put_str(struct msg_out *m, struct msg_str s); /* absent is written as nil */
void msg_put_cstr(struct msg_out *m, const char *s);   /* NULL is written as nil */
void msg_put_bin(struct msg_out *m, const void *data, size_t len);
void msg_put_id(struct msg_out *m, const struct hash_id *id);
void msg_put_array(struct msg_out *m, size_t count); /* the next COUNT puts are its elements */

/* ---- reading ---- */
/* Decoded message; views point into the bytes that were given to msg_parse, which must stay. */
struct msg_in {
    msgpack_zone zone;
    msgpack_object root;
};
void msg_in_init(struct msg_in *m);
void msg_in_free(struct msg_in *m);

/* Cursor over the elements of an array. */
struct msg_fields {
    const msgpack_object *next;
    uint32_t left;
    bool failed;
};
/* Decodes; returns the type and sets FIELDS behind it, or -1 if the bytes are not one whole message. The
 * earlier content of M goes. */
int msg_parse(struct msg_in *m, const void *data, size_t len, struct msg_fields *fields);
/* Decodes any single msgpack object (not a typed message). 0 or -1. */
int msg_parse_object(struct msg_in *m, const void *data, size_t len);
/* True if the bytes are exactly one msgpack object within the bounds above. Allocates nothing. */
bool msg_well_formed(const void *data, size_t len);

uint64_t msg_get_uint(struct msg_fields *f);
int64_t msg_get_int(struct msg_fields *f);
bool msg_get_bool(struct msg_fields *f);
struct msg_str msg_get_str(struct msg_fields *f); /* nil gives the absent view */
struct msg_str msg_get_bin(struct msg_fields *f);
void msg_get_id(struct msg_fields *f, struct hash_id *id);  /* exactly 16 bytes */
struct msg_fields msg_get_array(struct msg_fields *f);      /* its LEFT is the count */
const msgpack_object *msg_get_object(struct msg_fields *f); /* any; NULL at the end */
/* True if every get so far succeeded and nothing is left. */
bool msg_end(const struct msg_fields *f);

#endif
