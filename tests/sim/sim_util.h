/*
 * What both simulators share below the network: memory that does not fail, growing buffers, JSON text,
 * clocks, random bytes and a string-keyed table. Nothing here knows of a Bridge or of SMS.
 */
#ifndef BRIDGEBELL_TESTS_SIM_UTIL_H
#define BRIDGEBELL_TESTS_SIM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory; aborts when there is none. The caller frees. */
void *sim_alloc(size_t size_bytes);
/* As realloc, for count elements of size bytes each; aborts on overflow or when there is no memory. */
void *sim_grow(void *old, size_t count, size_t size_bytes);
char *sim_strdup(const char *text);
char *sim_strndup(const char *text, size_t length);
/* Replaces *slot by a copy of text (NULL gives NULL) and frees what was there. */
void sim_set(char **slot, const char *text);

/* A growing byte buffer. Start from {0}; data always ends in a NUL that len does not count. */
struct sim_buf {
    char *data;
    size_t len;
    size_t cap;
};
void sim_buf_reserve(struct sim_buf *b, size_t more_bytes);
void sim_buf_add(struct sim_buf *b, const void *data, size_t length);
void sim_buf_puts(struct sim_buf *b, const char *text);
void sim_buf_printf(struct sim_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds text as a JSON string with its quotes, escaped as JSON.stringify does it. */
void sim_buf_json(struct sim_buf *b, const char *text, size_t length);
void sim_buf_json_string(struct sim_buf *b, const char *text);
void sim_buf_free(struct sim_buf *b);

/* Milliseconds since 1970, and nanoseconds of the monotonic clock. */
int64_t sim_wall_ms(void);
uint64_t sim_mono_ns(void);

void sim_random(void *out, size_t length);
/* Writes 2 * length lower-case digits and a NUL. */
void sim_hex(char *out, const void *bytes, size_t length);
uint64_t sim_hash(const void *data, size_t length);
/* A small seeded generator, so that faults can be repeated: the next number in [0, 1). */
double sim_chance(uint64_t *state);

/* Strings to pointers. The table copies keys and owns no values. Start from {0}. */
struct sim_map_node {
    struct sim_map_node *next;
    uint64_t hash;
    void *value;
    size_t key_length;
    char key[];
};
struct sim_map {
    struct sim_map_node **buckets;
    size_t bucket_count;
    size_t count;
};
void *sim_map_get(const struct sim_map *m, const char *key);
void *sim_map_get_n(const struct sim_map *m, const char *key, size_t length);
void sim_map_put(struct sim_map *m, const char *key, void *value);
void sim_map_put_n(struct sim_map *m, const char *key, size_t length, void *value);
/* Removes the key and returns its value, or NULL. */
void *sim_map_take(struct sim_map *m, const char *key);
/* Forgets every key; on_value, if given, is called for each value. */
void sim_map_clear(struct sim_map *m, void (*on_value)(void *value));
/* Walks the table: start with node NULL, ends with NULL. The table must not change meanwhile. */
struct sim_map_node *sim_map_next(const struct sim_map *m, const struct sim_map_node *node);

/* A table of counters by name. */
void sim_count(struct sim_map *counters, const char *name);
/* Adds {"name":n,...}. */
void sim_count_json(struct sim_buf *b, const struct sim_map *counters);

/*
 * The text of member `name` of the JSON object in text, without white space outside strings and otherwise as
 * written (so that numbers and \u0000 stay what they are). NULL if there is no such member. The caller frees.
 * The text must have been parsed successfully before.
 */
char *sim_json_raw(const char *text, const char *name);

/* Reads a whole file; NULL on failure. The caller frees. */
char *sim_read_file(const char *path, size_t *length);

#endif
