#include "proto/msg.h"

#include <string.h>

#include "core/alloc.h"

bool msg_str_is(struct msg_str s, const char *word)
{
    return s.data && strlen(word) == s.len && memcmp(s.data, word, s.len) == 0;
}

char *msg_str_dup(struct msg_str s)
{
    return s.data ? xstrndup(s.data, s.len) : NULL;
}

struct msg_str msg_str_of(const char *s)
{
    return (struct msg_str){s, s ? strlen(s) : 0};
}

/* ---- writing ---- */

static int write_to_buf(void *data, const char *bytes, size_t len)
{
    return buf_add(data, bytes, len);
}

void msg_out_init(struct msg_out *m, size_t limit_bytes)
{
    buf_init(&m->buf, limit_bytes ? limit_bytes : MSG_BYTES_MAX);
    msgpack_packer_init(&m->packer, &m->buf, write_to_buf);
}

void msg_out_free(struct msg_out *m)
{
    buf_free(&m->buf);
}

void msg_begin(struct msg_out *m, unsigned type, uint32_t fields)
{
    buf_reset(&m->buf);
    msgpack_pack_array(&m->packer, (size_t)fields + 1);
    msgpack_pack_uint32(&m->packer, type);
}

void msg_put_uint(struct msg_out *m, uint64_t v)
{
    msgpack_pack_uint64(&m->packer, v);
}

void msg_put_int(struct msg_out *m, int64_t v)
{
    msgpack_pack_int64(&m->packer, v);
}

void msg_put_bool(struct msg_out *m, bool v)
{
    if (v)
        msgpack_pack_true(&m->packer);
    else
        msgpack_pack_false(&m->packer);
}

void msg_put_str(struct msg_out *m, struct msg_str s)
{
    if (!s.data) {
        msgpack_pack_nil(&m->packer);
        return;
    }
    msgpack_pack_str(&m->packer, s.len);
    msgpack_pack_str_body(&m->packer, s.data, s.len);
}

void msg_put_cstr(struct msg_out *m, const char *s)
{
    msg_put_str(m, msg_str_of(s));
}

void msg_put_bin(struct msg_out *m, const void *data, size_t len)
{
    msgpack_pack_bin(&m->packer, len);
    msgpack_pack_bin_body(&m->packer, data, len);
}

void msg_put_id(struct msg_out *m, const struct hash_id *id)
{
    msg_put_bin(m, id->bytes, sizeof id->bytes);
}

void msg_put_array(struct msg_out *m, size_t count)
{
    msgpack_pack_array(&m->packer, count);
}

/* ---- checking before anything is allocated ----
 *
 * msgpack-c reserves memory for as many elements as an array or map header claims, before it has seen them.
 * So the structure is walked first: a container may not claim more elements than there are bytes left. */

struct walk {
    const unsigned char *at, *end;
};

/* What a leading byte means: how many bytes of length follow it, and what the length counts. */
enum walk_kind { WALK_BAD, WALK_FIXED, WALK_BYTES, WALK_ARRAY, WALK_MAP };
struct walk_row {
    unsigned char first, last;
    enum walk_kind kind;
    unsigned char length_bytes; /* of a big-endian length; 0: the low bits of the leading byte */
    unsigned char mask;         /* low bits that hold the length */
    unsigned char fixed;        /* bytes that follow, for WALK_FIXED; extra bytes for WALK_BYTES (ext type) */
};
/* The formats of the MessagePack specification, in its order. */
static const struct walk_row walk_rows[] = {
    {0x00, 0x7f, WALK_FIXED, 0, 0, 0},    {0x80, 0x8f, WALK_MAP, 0, 0x0f, 0},
    {0x90, 0x9f, WALK_ARRAY, 0, 0x0f, 0}, {0xa0, 0xbf, WALK_BYTES, 0, 0x1f, 0},
    {0xc0, 0xc0, WALK_FIXED, 0, 0, 0},    {0xc2, 0xc3, WALK_FIXED, 0, 0, 0},
    {0xc4, 0xc4, WALK_BYTES, 1, 0, 0},    {0xc5, 0xc5, WALK_BYTES, 2, 0, 0},
    {0xc6, 0xc6, WALK_BYTES, 4, 0, 0},    {0xca, 0xca, WALK_FIXED, 0, 0, 4},
    {0xcb, 0xcb, WALK_FIXED, 0, 0, 8},    {0xcc, 0xcc, WALK_FIXED, 0, 0, 1},
    {0xcd, 0xcd, WALK_FIXED, 0, 0, 2},    {0xce, 0xce, WALK_FIXED, 0, 0, 4},
    {0xcf, 0xcf, WALK_FIXED, 0, 0, 8},    {0xd0, 0xd0, WALK_FIXED, 0, 0, 1},
    {0xd1, 0xd1, WALK_FIXED, 0, 0, 2},    {0xd2, 0xd2, WALK_FIXED, 0, 0, 4},
    {0xd3, 0xd3, WALK_FIXED, 0, 0, 8},    {0xd9, 0xd9, WALK_BYTES, 1, 0, 0},
    {0xda, 0xda, WALK_BYTES, 2, 0, 0},    {0xdb, 0xdb, WALK_BYTES, 4, 0, 0},
    {0xdc, 0xdc, WALK_ARRAY, 2, 0, 0},    {0xdd, 0xdd, WALK_ARRAY, 4, 0, 0},
    {0xde, 0xde, WALK_MAP, 2, 0, 0},      {0xdf, 0xdf, WALK_MAP, 4, 0, 0},
    {0xe0, 0xff, WALK_FIXED, 0, 0, 0},
};

static const struct walk_row *walk_row_of(unsigned char lead)
{
    static const struct walk_row *by_lead[256];
    static bool ready;
    if (!ready) {
        for (size_t r = 0; r < sizeof walk_rows / sizeof walk_rows[0]; r++)
            for (unsigned b = walk_rows[r].first; b <= walk_rows[r].last; b++)
                by_lead[b] = &walk_rows[r];
        ready = true;
    }
    return by_lead[lead];
}

static bool walk_skip(struct walk *w, uint64_t bytes)
{
    if ((uint64_t)(w->end - w->at) < bytes)
        return false;
    w->at += bytes;
    return true;
}

/* Reads one header; sets COUNT to the number of objects that it holds. */
static bool walk_header(struct walk *w, uint64_t *count)
{
    if (w->at == w->end)
        return false;
    unsigned char lead = *w->at++;
    const struct walk_row *row = walk_row_of(lead);
    *count = 0;
    if (!row)
        return false;
    if (row->kind == WALK_FIXED)
        return walk_skip(w, row->fixed);
    uint64_t length = lead & row->mask;
    if (row->length_bytes) {
        const unsigned char *digits = w->at;
        if (!walk_skip(w, row->length_bytes))
            return false;
        length = 0;
        for (unsigned i = 0; i < row->length_bytes; i++)
            length = length << 8 | digits[i];
    }
    if (row->kind == WALK_BYTES)
        return walk_skip(w, length);
    *count = row->kind == WALK_MAP ? 2 * length : length;
    return *count <= (uint64_t)(w->end - w->at);
}

bool msg_well_formed(const void *data, size_t len)
{
    if (len == 0 || len > MSG_BYTES_MAX)
        return false;
    struct walk w = {data, (const unsigned char *)data + len};
    uint64_t left[MSG_DEPTH_MAX + 1];
    unsigned depth = 0;
    left[0] = 1;
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0)
                return w.at == w.end;
            depth--;
        }
        left[depth]--;
        uint64_t count;
        if (!walk_header(&w, &count))
            return false;
        if (count) {
            if (depth == MSG_DEPTH_MAX)
                return false;
            left[++depth] = count;
        }
    }
}

/* ---- reading ---- */

void msg_in_init(struct msg_in *m)
{
    memset(m, 0, sizeof *m);
    if (!msgpack_zone_init(&m->zone, MSGPACK_ZONE_CHUNK_SIZE))
        panic("out of memory (message zone)");
}

void msg_in_free(struct msg_in *m)
{
    msgpack_zone_destroy(&m->zone);
}

int msg_parse_object(struct msg_in *m, const void *data, size_t len)
{
    if (!msg_well_formed(data, len))
        return -1;
    msgpack_zone_clear(&m->zone);
    size_t offset = 0;
    msgpack_unpack_return rc = msgpack_unpack(data, len, &offset, &m->zone, &m->root);
    return rc == MSGPACK_UNPACK_SUCCESS && offset == len ? 0 : -1;
}

int msg_parse(struct msg_in *m, const void *data, size_t len, struct msg_fields *fields)
{
    memset(fields, 0, sizeof *fields);
    if (msg_parse_object(m, data, len) || m->root.type != MSGPACK_OBJECT_ARRAY || m->root.via.array.size == 0)
        return -1;
    const msgpack_object *type = m->root.via.array.ptr;
    if (type->type != MSGPACK_OBJECT_POSITIVE_INTEGER || type->via.u64 > 0xffff)
        return -1;
    fields->next = type + 1;
    fields->left = m->root.via.array.size - 1;
    return (int)type->via.u64;
}

const msgpack_object *msg_get_object(struct msg_fields *f)
{
    if (f->left == 0) {
        f->failed = true;
        return NULL;
    }
    f->left--;
    return f->next++;
}

uint64_t msg_get_uint(struct msg_fields *f)
{
    const msgpack_object *o = msg_get_object(f);
    if (o && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        return o->via.u64;
    f->failed = true;
    return 0;
}

int64_t msg_get_int(struct msg_fields *f)
{
    const msgpack_object *o = msg_get_object(f);
    if (o && o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return o->via.i64;
    if (o && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX)
        return (int64_t)o->via.u64;
    f->failed = true;
    return 0;
}

bool msg_get_bool(struct msg_fields *f)
{
    const msgpack_object *o = msg_get_object(f);
    if (o && o->type == MSGPACK_OBJECT_BOOLEAN)
        return o->via.boolean;
    f->failed = true;
    return false;
}

struct msg_str msg_get_str(struct msg_fields *f)
{
    const msgpack_object *o = msg_get_object(f);
    if (o && o->type == MSGPACK_OBJECT_STR)
        return (struct msg_str){o->via.str.ptr ? o->via.str.ptr : "", o->via.str.size};
    if (!o || o->type != MSGPACK_OBJECT_NIL)
        f->failed = true;
    return (struct msg_str){NULL, 0};
}

struct msg_str msg_get_bin(struct msg_fields *f)
{
    const msgpack_object *o = msg_get_object(f);
    if (o && o->type == MSGPACK_OBJECT_BIN)
        return (struct msg_str){o->via.bin.ptr ? o->via.bin.ptr : "", o->via.bin.size};
    f->failed = true;
    return (struct msg_str){NULL, 0};
}

void msg_get_id(struct msg_fields *f, struct hash_id *id)
{
    struct msg_str bytes = msg_get_bin(f);
    memset(id, 0, sizeof *id);
    if (bytes.len == sizeof id->bytes)
        memcpy(id->bytes, bytes.data, sizeof id->bytes);
    else
        f->failed = true;
}

struct msg_fields msg_get_array(struct msg_fields *f)
{
    const msgpack_object *o = msg_get_object(f);
    if (o && o->type == MSGPACK_OBJECT_ARRAY)
        return (struct msg_fields){o->via.array.ptr, o->via.array.size, false};
    f->failed = true;
    return (struct msg_fields){NULL, 0, true};
}

bool msg_end(const struct msg_fields *f)
{
    return !f->failed && f->left == 0;
}
