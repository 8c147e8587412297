#include <string.h>

#include "conf/conf.h"
#include "conf/model.h"
#include "core/alloc.h"

static enum slice_kind kind_of(const struct directive *d)
{
    switch (d->kind) {
    case CONF_NUMBER:
    case CONF_MONEY:
    case CONF_DURATION:
    case CONF_SIZE:
    case CONF_SWITCH:
        return SLICE_NUMBER;
    case CONF_RATE:
        return SLICE_RATE;
    case CONF_WORDS:
    case CONF_TEXTS:
    case CONF_TEMPLATES:
    case CONF_RECIPIENTS:
        return SLICE_LIST;
    default:
        return SLICE_TEXT;
    }
}

static void add_setting(struct slice_block *to, const struct conf_value *v)
{
    enum slice_kind kind = kind_of(v->directive);
    struct slice_setting *s = slice_add_setting(to, v->directive->name, kind, v->line);
    s->number = v->number;
    s->per_ms = v->per_ms;
    s->is_secret = v->directive->kind == CONF_SECRET;
    if (kind == SLICE_TEXT)
        s->text = xstrdup(v->text);
    if (kind != SLICE_LIST)
        return;
    s->list = xcalloc(v->count, sizeof *s->list);
    s->lines = xcalloc(v->count, sizeof *s->lines);
    for (; s->count < v->count; s->count++) {
        s->list[s->count] = xstrdup(v->list[s->count]);
        s->lines[s->count] = v->lines[s->count];
    }
}

static bool role_gets(const struct block_def *def, unsigned role)
{
    for (size_t i = 0; i < def->count; i++)
        if (def->directives[i].roles & role)
            return true;
    return false;
}

/* The block of what stands outside all blocks is where its first setting is. */
static const char *file_of(const struct conf_block *b)
{
    const struct conf_file *file = b->file;
    for (size_t i = 0; i < b->count && !file; i++)
        file = b->values[i].file;
    return file ? file->name : "";
}

static void add_block(struct slice *s, const struct conf_block *b, unsigned role)
{
    struct slice_block *to = slice_add_block(s, b->def->name, b->title, file_of(b), b->line);
    for (size_t i = 0; i < b->count; i++)
        if (b->values[i].directive->roles & role)
            add_setting(to, &b->values[i]);
}

static void add_defaults(struct slice *s, const struct conf *c, const struct block_def *def, unsigned role)
{
    struct slice_block *to = slice_add_defaults(s, def->name);
    for (size_t i = 0; i < def->count; i++) {
        const struct conf_value *v = model_default(c, def, &def->directives[i]);
        if (v && def->directives[i].roles & role)
            add_setting(to, v);
    }
}

/* Everything that ROLE gets, but of bridges only the one called BRIDGE, unless that is NULL. */
static struct slice *cut(const struct conf *c, unsigned role, const char *bridge)
{
    struct slice *s = slice_new();
    for (size_t i = 0; i < conf_blocks_count; i++)
        if (role_gets(&conf_blocks[i], role))
            add_defaults(s, c, &conf_blocks[i], role);
    for (size_t i = 0; i < c->count; i++) {
        const struct conf_block *b = &c->blocks[i];
        bool other = bridge && strcmp(b->def->name, "bridge") == 0 && strcmp(b->title, bridge) != 0;
        if (!other && role_gets(b->def, role))
            add_block(s, b, role);
    }
    return s;
}

struct slice *conf_slice_listener(const struct conf *c, const char *title)
{
    if (!model_find(c, directives_block("bridge"), title))
        return NULL;
    return cut(c, CONF_LISTENER, title);
}

struct slice *conf_slice_dispatcher(const struct conf *c)
{
    return cut(c, CONF_DISPATCHER, NULL);
}

struct slice *conf_slice_sender(const struct conf *c)
{
    return cut(c, CONF_SENDER, NULL);
}
