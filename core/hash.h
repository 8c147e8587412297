/*
 * Hashes, all from libsodium: identity (BLAKE2b, 16 bytes), row checksums and hash tables (SipHash-2-4).
 */
#ifndef CORE_HASH_H
#define CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { HASH_ID_BYTES = 16 };

/* An identity is the hash of a list of parts; parts are length-prefixed, so ("ab","c") and ("a","bc") differ.
 */
struct hash_id {
    unsigned char bytes[HASH_ID_BYTES];
};

struct hash_part {
    const void *data;
    size_t len;
};

void hash_id(const struct hash_part *parts, size_t count, struct hash_id *out);

/* For tables in memory: keyed with a random key made at start, so that hostile words cannot be chosen to
 * collide. Differs from process to process. */
uint64_t hash_table_key(const void *data, size_t len);

/* For checksums on disk: a fixed key, the same everywhere. */
uint64_t hash_checksum(const void *data, size_t len);

#endif
