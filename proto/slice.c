#include "proto/slice.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

enum {
    SLICE_BLOCKS_MAX = 1000000,
    SLICE_DEFAULTS_MAX = 1000,
    SLICE_SETTINGS_MAX = 1000,
    SLICE_LIST_MAX = 1000000
};

struct slice *slice_new(void)
{
    return xcalloc(1, sizeof(struct slice));
}

static void setting_clear(struct slice_setting *v)
{
    if (v->is_secret && v->text)
        xfree_secret(v->text, strlen(v->text));
    else
        free(v->text);
    for (size_t i = 0; i < v->count; i++)
        free(v->list[i]);
    free(v->list);
    free(v->lines);
    free(v->name);
}

static void block_clear(struct slice_block *b)
{
    for (size_t i = 0; i < b->count; i++)
        setting_clear(&b->settings[i]);
    free(b->settings);
    free(b->type);
    free(b->title);
    free(b->file);
}

void slice_free(struct slice **s)
{
    if (!*s)
        return;
    for (size_t i = 0; i < (*s)->count; i++)
        block_clear(&(*s)->blocks[i]);
    free((*s)->blocks);
    for (size_t i = 0; i < (*s)->defaults_count; i++) {
        block_clear((*s)->defaults[i]);
        free((*s)->defaults[i]);
    }
    free((*s)->defaults);
    free(*s);
    *s = NULL;
}

/* Room for one more element: sizes are powers of two, so a power of two is full. */
static void *grow(void *list, size_t count, size_t size)
{
    if (count == 0)
        return xreallocarray(list, 4, size);
    if (count >= 4 && (count & (count - 1)) == 0)
        return xreallocarray(list, count * 2, size);
    return list;
}

static void block_init(struct slice_block *b, const char *type, const char *title, const char *file,
                       unsigned line)
{
    memset(b, 0, sizeof *b);
    b->type = xstrdup(type);
    b->title = xstrdup(title ? title : "");
    b->file = xstrdup(file ? file : "");
    b->line = line;
}

static const struct slice_block *defaults_of(const struct slice *s, const char *type)
{
    for (size_t i = 0; i < s->defaults_count; i++)
        if (strcmp(s->defaults[i]->type, type) == 0)
            return s->defaults[i];
    return NULL;
}

struct slice_block *slice_add_defaults(struct slice *s, const char *type)
{
    s->defaults = grow(s->defaults, s->defaults_count, sizeof *s->defaults);
    struct slice_block *b = xmalloc(sizeof *b);
    block_init(b, type, "", "", 0);
    s->defaults[s->defaults_count++] = b;
    return b;
}

struct slice_block *slice_add_block(struct slice *s, const char *type, const char *title, const char *file,
                                    unsigned line)
{
    s->blocks = grow(s->blocks, s->count, sizeof *s->blocks);
    struct slice_block *b = &s->blocks[s->count++];
    block_init(b, type, title, file, line);
    b->defaults = defaults_of(s, type);
    return b;
}

struct slice_setting *slice_add_setting(struct slice_block *b, const char *name, enum slice_kind kind,
                                        unsigned line)
{
    b->settings = grow(b->settings, b->count, sizeof *b->settings);
    struct slice_setting *v = &b->settings[b->count++];
    memset(v, 0, sizeof *v);
    v->name = xstrdup(name);
    v->kind = kind;
    v->line = line;
    return v;
}

const struct slice_block *slice_find(const struct slice *s, const char *type, const char *title)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->blocks[i].type, type) == 0 && (!title || strcmp(s->blocks[i].title, title) == 0))
            return &s->blocks[i];
    return NULL;
}

const struct slice_block *slice_next(const struct slice *s, const char *type, const struct slice_block *after)
{
    for (size_t i = after ? (size_t)(after - s->blocks) + 1 : 0; i < s->count; i++)
        if (strcmp(s->blocks[i].type, type) == 0)
            return &s->blocks[i];
    return NULL;
}

size_t slice_count(const struct slice *s, const char *type)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        n += strcmp(s->blocks[i].type, type) == 0;
    return n;
}

const struct slice_setting *slice_get(const struct slice_block *b, const char *name)
{
    for (size_t i = 0; b && i < b->count; i++)
        if (b->settings[i].name[0] == name[0] && strcmp(b->settings[i].name, name) == 0)
            return b->settings[i].kind == SLICE_UNSET ? NULL : &b->settings[i];
    return b && b->defaults ? slice_get(b->defaults, name) : NULL;
}

unsigned slice_line(const struct slice_setting *v, size_t index)
{
    return v->lines && index < v->count ? v->lines[index] : v->line;
}

const char *slice_text(const struct slice_block *b, const char *name, const char *otherwise)
{
    const struct slice_setting *v = slice_get(b, name);
    return v && v->text ? v->text : otherwise;
}

int64_t slice_number(const struct slice_block *b, const char *name, int64_t otherwise)
{
    const struct slice_setting *v = slice_get(b, name);
    return v ? v->number : otherwise;
}

bool slice_flag(const struct slice_block *b, const char *name, bool otherwise)
{
    return slice_number(b, name, otherwise) != 0;
}

/* ---- msgpack: [[defaults…], [blocks…]], each block [type, title, file, line, [[name, kind, text, number,
 * per_ms, line, secret, [list], [lines]]…]] ---- */

static void pack_setting(struct msg_out *m, const struct slice_setting *v)
{
    msg_put_array(m, 9);
    msg_put_cstr(m, v->name);
    msg_put_uint(m, v->kind);
    msg_put_cstr(m, v->text);
    msg_put_int(m, v->number);
    msg_put_int(m, v->per_ms);
    msg_put_uint(m, v->line);
    msg_put_bool(m, v->is_secret);
    msg_put_array(m, v->count);
    for (size_t i = 0; i < v->count; i++)
        msg_put_cstr(m, v->list[i]);
    msg_put_array(m, v->lines ? v->count : 0);
    for (size_t i = 0; v->lines && i < v->count; i++)
        msg_put_uint(m, v->lines[i]);
}

static void pack_block(struct msg_out *m, const struct slice_block *b)
{
    msg_put_array(m, 5);
    msg_put_cstr(m, b->type);
    msg_put_cstr(m, b->title);
    msg_put_cstr(m, b->file);
    msg_put_uint(m, b->line);
    msg_put_array(m, b->count);
    for (size_t i = 0; i < b->count; i++)
        pack_setting(m, &b->settings[i]);
}

void slice_pack(struct msg_out *m, const struct slice *s)
{
    msg_put_array(m, 2);
    msg_put_array(m, s->defaults_count);
    for (size_t i = 0; i < s->defaults_count; i++)
        pack_block(m, s->defaults[i]);
    msg_put_array(m, s->count);
    for (size_t i = 0; i < s->count; i++)
        pack_block(m, &s->blocks[i]);
}

static char *get_word(struct msg_fields *f)
{
    struct msg_str s = msg_get_str(f);
    if (!s.data) {
        f->failed = true;
        return xstrdup("");
    }
    return msg_str_dup(s);
}

/* As many as there are texts, or none. */
static bool unpack_lines(struct msg_fields *f, struct slice_setting *v)
{
    struct msg_fields lines = msg_get_array(f);
    if (lines.failed || (lines.left && lines.left != v->count))
        return false;
    v->lines = lines.left ? xcalloc(lines.left, sizeof *v->lines) : NULL;
    for (size_t i = 0; lines.left; i++)
        v->lines[i] = (unsigned)msg_get_uint(&lines);
    return msg_end(&lines);
}

static bool unpack_setting(struct msg_fields *list, struct slice_block *b)
{
    struct msg_fields f = msg_get_array(list);
    char *name = get_word(&f);
    uint64_t kind = msg_get_uint(&f);
    struct slice_setting *v =
        slice_add_setting(b, name, kind <= SLICE_LIST ? (enum slice_kind)kind : SLICE_UNSET, 0);
    free(name);
    v->text = msg_str_dup(msg_get_str(&f));
    v->number = msg_get_int(&f);
    v->per_ms = msg_get_int(&f);
    v->line = (unsigned)msg_get_uint(&f);
    v->is_secret = msg_get_bool(&f);
    struct msg_fields items = msg_get_array(&f);
    if (kind > SLICE_LIST || items.failed || items.left > SLICE_LIST_MAX)
        return false;
    v->list = items.left ? xcalloc(items.left, sizeof *v->list) : NULL;
    while (items.left)
        v->list[v->count++] = get_word(&items);
    return msg_end(&items) && unpack_lines(&f, v) && msg_end(&f);
}

static struct slice_block *add_one(struct slice *s, bool defaults, const char *type, const char *title,
                                   const char *file, unsigned line)
{
    return defaults ? slice_add_defaults(s, type) : slice_add_block(s, type, title, file, line);
}

static bool unpack_block(struct msg_fields *list, struct slice *s, bool defaults)
{
    struct msg_fields f = msg_get_array(list);
    char *type = get_word(&f);
    char *title = get_word(&f);
    char *file = get_word(&f);
    struct slice_block *b = add_one(s, defaults, type, title, file, (unsigned)msg_get_uint(&f));
    free(type);
    free(title);
    free(file);
    struct msg_fields settings = msg_get_array(&f);
    if (settings.failed || settings.left > SLICE_SETTINGS_MAX)
        return false;
    while (settings.left)
        if (!unpack_setting(&settings, b))
            return false;
    return msg_end(&f);
}

static bool unpack_blocks(struct msg_fields *f, struct slice *s, bool defaults)
{
    struct msg_fields blocks = msg_get_array(f);
    bool good = !blocks.failed && blocks.left <= (defaults ? SLICE_DEFAULTS_MAX : SLICE_BLOCKS_MAX);
    while (good && blocks.left)
        good = unpack_block(&blocks, s, defaults);
    return good;
}

struct slice *slice_unpack(struct msg_fields *f)
{
    struct msg_fields both = msg_get_array(f);
    struct slice *s = slice_new();
    if (!unpack_blocks(&both, s, true) || !unpack_blocks(&both, s, false) || !msg_end(&both)) {
        f->failed = true;
        slice_free(&s);
    }
    return s;
}

/* ---- faults ---- */

void faults_add(struct faults *f, const char *file, unsigned line, const char *format, ...)
{
    f->list = grow(f->list, f->count, sizeof *f->list);
    struct fault *fault = &f->list[f->count++];
    fault->file = xstrdup(file ? file : "");
    fault->line = line;
    va_list args;
    va_start(args, format);
    if (vasprintf(&fault->text, format, args) < 0)
        panic("out of memory (fault)");
    va_end(args);
}

void faults_free(struct faults *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->list[i].file);
        free(f->list[i].text);
    }
    free(f->list);
    memset(f, 0, sizeof *f);
}
