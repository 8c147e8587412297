#include "core/hash.h"

#include <sodium.h>
#include <string.h>

#include "core/alloc.h"

void hash_id(const struct hash_part *parts, size_t count, struct hash_id *out)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, HASH_ID_BYTES);
    for (size_t i = 0; i < count; i++) {
        unsigned char length[8];
        for (size_t b = 0; b < sizeof length; b++)
            length[b] = (unsigned char)((uint64_t)parts[i].len >> (8 * b));
        crypto_generichash_update(&state, length, sizeof length);
        crypto_generichash_update(&state, parts[i].data, parts[i].len);
    }
    crypto_generichash_final(&state, out->bytes, HASH_ID_BYTES);
}

static uint64_t siphash(const void *data, size_t len, const unsigned char *key)
{
    unsigned char bytes[crypto_shorthash_BYTES];
    crypto_shorthash(bytes, data, len, key);
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

uint64_t hash_table_key(const void *data, size_t len)
{
    static unsigned char key[crypto_shorthash_KEYBYTES];
    static int ready;
    if (!ready) {
        if (sodium_init() < 0)
            panic("libsodium does not start");
        randombytes_buf(key, sizeof key);
        ready = 1;
    }
    return siphash(data, len, key);
}

uint64_t hash_checksum(const void *data, size_t len)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "bridgebell-rows";
    return siphash(data, len, key);
}
