#include "tests/sim/sim_util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *sim_alloc(size_t size_bytes)
{
    return must(calloc(1, size_bytes != 0 ? size_bytes : 1));
}

void *sim_grow(void *old, size_t count, size_t size_bytes)
{
    return must(reallocarray(old, count != 0 ? count : 1, size_bytes));
}

char *sim_strdup(const char *text)
{
    return must(strdup(text));
}

char *sim_strndup(const char *text, size_t length)
{
    char *copy = sim_alloc(length + 1);
    memcpy(copy, text, length);
    return copy;
}

void sim_set(char **slot, const char *text)
{
    char *copy = text != NULL ? sim_strdup(text) : NULL;
    free(*slot);
    *slot = copy;
}

void sim_buf_reserve(struct sim_buf *b, size_t more_bytes)
{
    if (b->cap - b->len > more_bytes && b->data != NULL) {
        return;
    }
    size_t cap = b->cap != 0 ? b->cap : 256;
    while (cap - b->len <= more_bytes) {
        cap *= 2;
    }
    b->data = sim_grow(b->data, cap, 1);
    b->cap = cap;
}

void sim_buf_add(struct sim_buf *b, const void *data, size_t length)
{
    sim_buf_reserve(b, length);
    if (length != 0) {
        memcpy(b->data + b->len, data, length);
    }
    b->len += length;
    b->data[b->len] = '\0';
}

void sim_buf_puts(struct sim_buf *b, const char *text)
{
    sim_buf_add(b, text, strlen(text));
}

void sim_buf_printf(struct sim_buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need < 0) {
        abort();
    }
    sim_buf_reserve(b, (size_t)need);
    va_start(args, format);
    vsnprintf(b->data + b->len, (size_t)need + 1, format, args);
    va_end(args);
    b->len += (size_t)need;
}

static const char *json_escape(unsigned char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

void sim_buf_json(struct sim_buf *b, const char *text, size_t length)
{
    sim_buf_add(b, "\"", 1);
    size_t start = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *escape = json_escape(c);
        if (escape == NULL && c >= 0x20) {
            continue;
        }
        sim_buf_add(b, text + start, i - start);
        start = i + 1;
        if (escape != NULL) {
            sim_buf_puts(b, escape);
        } else {
            sim_buf_printf(b, "\\u%04x", c);
        }
    }
    sim_buf_add(b, text + start, length - start);
    sim_buf_add(b, "\"", 1);
}

void sim_buf_json_string(struct sim_buf *b, const char *text)
{
    sim_buf_json(b, text, strlen(text));
}

void sim_buf_free(struct sim_buf *b)
{
    free(b->data);
    *b = (struct sim_buf){0};
}

int64_t sim_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint64_t sim_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void sim_random(void *out, size_t length)
{
    unsigned char *p = out;
    while (length != 0) {
        ssize_t got = getrandom(p, length < 256 ? length : 256, 0);
        if (got <= 0) {
            abort();
        }
        p += got;
        length -= (size_t)got;
    }
}

void sim_hex(char *out, const void *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = bytes;
    for (size_t i = 0; i < length; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * length] = '\0';
}

uint64_t sim_hash(const void *data, size_t length)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325u ^ (length * 0x9e3779b97f4a7c15u);
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        p += 8;
        length -= 8;
    }
    for (size_t i = 0; i < length; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    h ^= h >> 29;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 32);
}

double sim_chance(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1.0p-53;
}

static struct sim_map_node **map_find(const struct sim_map *m, const char *key, size_t length, uint64_t hash)
{
    struct sim_map_node **at = &m->buckets[hash & (m->bucket_count - 1)];
    while (*at != NULL) {
        struct sim_map_node *n = *at;
        if (n->hash == hash && n->key_length == length && memcmp(n->key, key, length) == 0) {
            break;
        }
        at = &n->next;
    }
    return at;
}

static void map_resize(struct sim_map *m, size_t bucket_count)
{
    struct sim_map_node **buckets = sim_alloc(bucket_count * sizeof(*buckets));
    for (size_t i = 0; i < m->bucket_count; i++) {
        struct sim_map_node *next;
        for (struct sim_map_node *n = m->buckets[i]; n != NULL; n = next) {
            next = n->next;
            struct sim_map_node **to = &buckets[n->hash & (bucket_count - 1)];
            n->next = *to;
            *to = n;
        }
    }
    free(m->buckets);
    m->buckets = buckets;
    m->bucket_count = bucket_count;
}

void *sim_map_get_n(const struct sim_map *m, const char *key, size_t length)
{
    if (m->count == 0) {
        return NULL;
    }
    struct sim_map_node *n = *map_find(m, key, length, sim_hash(key, length));
    return n != NULL ? n->value : NULL;
}

void *sim_map_get(const struct sim_map *m, const char *key)
{
    return sim_map_get_n(m, key, strlen(key));
}

void sim_map_put_n(struct sim_map *m, const char *key, size_t length, void *value)
{
    if (m->count >= m->bucket_count) {
        map_resize(m, m->bucket_count != 0 ? 2 * m->bucket_count : 16);
    }
    uint64_t hash = sim_hash(key, length);
    struct sim_map_node **at = map_find(m, key, length, hash);
    if (*at != NULL) {
        (*at)->value = value;
        return;
    }
    struct sim_map_node *n = sim_alloc(sizeof(*n) + length + 1);
    n->hash = hash;
    n->value = value;
    n->key_length = length;
    memcpy(n->key, key, length);
    *at = n;
    m->count++;
}

void sim_map_put(struct sim_map *m, const char *key, void *value)
{
    sim_map_put_n(m, key, strlen(key), value);
}

void *sim_map_take(struct sim_map *m, const char *key)
{
    if (m->count == 0) {
        return NULL;
    }
    size_t length = strlen(key);
    struct sim_map_node **at = map_find(m, key, length, sim_hash(key, length));
    struct sim_map_node *n = *at;
    if (n == NULL) {
        return NULL;
    }
    void *value = n->value;
    *at = n->next;
    free(n);
    m->count--;
    return value;
}

void sim_map_clear(struct sim_map *m, void (*on_value)(void *value))
{
    for (size_t i = 0; i < m->bucket_count; i++) {
        struct sim_map_node *next;
        for (struct sim_map_node *n = m->buckets[i]; n != NULL; n = next) {
            next = n->next;
            if (on_value != NULL) {
                on_value(n->value);
            }
            free(n);
        }
    }
    free(m->buckets);
    *m = (struct sim_map){0};
}

struct sim_map_node *sim_map_next(const struct sim_map *m, const struct sim_map_node *node)
{
    size_t i = 0;
    if (node != NULL) {
        if (node->next != NULL) {
            return node->next;
        }
        i = (node->hash & (m->bucket_count - 1)) + 1;
    }
    for (; i < m->bucket_count; i++) {
        if (m->buckets[i] != NULL) {
            return m->buckets[i];
        }
    }
    return NULL;
}

void sim_count(struct sim_map *counters, const char *name)
{
    intptr_t n = (intptr_t)sim_map_get(counters, name);
    sim_map_put(counters, name, (void *)(n + 1));
}

void sim_count_json(struct sim_buf *b, const struct sim_map *counters)
{
    const char *comma = "";
    sim_buf_puts(b, "{");
    for (struct sim_map_node *n = sim_map_next(counters, NULL); n != NULL; n = sim_map_next(counters, n)) {
        sim_buf_puts(b, comma);
        sim_buf_json(b, n->key, n->key_length);
        sim_buf_printf(b, ":%lld", (long long)(intptr_t)n->value);
        comma = ",";
    }
    sim_buf_puts(b, "}");
}

static const char *skip_string(const char *p)
{
    for (p++; *p != '"' && *p != '\0'; p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
        }
    }
    return *p == '"' ? p + 1 : p;
}

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

static const char *skip_value(const char *p)
{
    int depth = 0;
    do {
        p = skip_space(p);
        if (*p == '"') {
            p = skip_string(p);
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            depth--;
            p++;
        } else if (*p == ',' || *p == ':') {
            p++;
        } else {
            p += strcspn(p, "\"{}[],: \t\r\n");
        }
    } while (depth > 0 && *p != '\0');
    return p;
}

static char *compact(const char *from, const char *to)
{
    struct sim_buf b = {0};
    sim_buf_reserve(&b, (size_t)(to - from));
    while (from < to) {
        if (*from == '"') {
            const char *end = skip_string(from);
            sim_buf_add(&b, from, (size_t)(end - from));
            from = end;
        } else {
            if (strchr(" \t\r\n", *from) == NULL) {
                sim_buf_add(&b, from, 1);
            }
            from++;
        }
    }
    return b.data;
}

char *sim_json_raw(const char *text, const char *name)
{
    const char *p = skip_space(text);
    if (*p != '{') {
        return NULL;
    }
    size_t name_length = strlen(name);
    for (p = skip_space(p + 1); *p == '"';) {
        const char *key = p + 1;
        p = skip_string(p);
        bool wanted = (size_t)(p - key) == name_length + 1 && memcmp(key, name, name_length) == 0;
        p = skip_space(p);
        if (*p != ':') {
            return NULL;
        }
        const char *value = skip_space(p + 1);
        p = skip_value(value);
        if (wanted) {
            return compact(value, p);
        }
        p = skip_space(p);
        if (*p == ',') {
            p = skip_space(p + 1);
        }
    }
    return NULL;
}

char *sim_read_file(const char *path, size_t *length)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return NULL;
    }
    struct sim_buf b = {0};
    sim_buf_reserve(&b, 1);
    char chunk[65536];
    size_t got;
    while ((got = fread(chunk, 1, sizeof(chunk), f)) != 0) {
        sim_buf_add(&b, chunk, got);
    }
    bool failed = ferror(f) != 0;
    fclose(f);
    if (failed) {
        sim_buf_free(&b);
        return NULL;
    }
    b.data[b.len] = '\0';
    if (length != NULL) {
        *length = b.len;
    }
    return b.data;
}
