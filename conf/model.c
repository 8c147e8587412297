#include "conf/model.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

const struct conf_value *model_given(const struct conf_block *b, const struct directive *d)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->values[i].directive == d)
            return &b->values[i];
    return NULL;
}

const struct conf_value *model_value(const struct conf *c, const struct conf_block *b,
                                     const struct directive *d)
{
    const struct conf_value *given = model_given(b, d);
    return given ? given : model_default(c, b->def, d);
}

const struct conf_value *model_default(const struct conf *c, const struct block_def *def,
                                       const struct directive *d)
{
    const struct conf_value *initial = &c->defaults[def - conf_blocks][d - def->directives];
    return initial->directive ? initial : NULL;
}

const struct conf_block *model_next(const struct conf *c, const struct block_def *def,
                                    const struct conf_block *after)
{
    for (size_t i = after ? (size_t)(after - c->blocks) + 1 : 0; i < c->count; i++)
        if (c->blocks[i].def == def)
            return &c->blocks[i];
    return NULL;
}

const struct conf_block *model_find(const struct conf *c, const struct block_def *def, const char *title)
{
    const struct conf_block *b = model_next(c, def, NULL);
    while (b && title && strcmp(b->title, title) != 0)
        b = model_next(c, def, b);
    return b;
}

const char *model_text(const struct conf *c, const struct conf_block *b, const char *name)
{
    const struct directive *d = directives_find(b->def, name);
    const struct conf_value *v = d ? model_value(c, b, d) : NULL;
    return v ? v->text : NULL;
}

int64_t model_number(const struct conf *c, const struct conf_block *b, const char *name)
{
    const struct directive *d = directives_find(b->def, name);
    const struct conf_value *v = d ? model_value(c, b, d) : NULL;
    return v ? v->number : 0;
}

struct conf_block *model_add_block(struct conf *c, const struct block_def *def, const char *title,
                                   const struct conf_file *file, unsigned line)
{
    if (c->count == c->size) {
        c->size = c->size ? c->size * 2 : 16;
        c->blocks = xreallocarray(c->blocks, c->size, sizeof *c->blocks);
    }
    struct conf_block *b = &c->blocks[c->count++];
    *b = (struct conf_block){.def = def, .title = xstrdup(title), .file = file, .line = line};
    return b;
}

struct conf_value *model_add_value(struct conf_block *b, const struct conf_value *value)
{
    b->values = xreallocarray(b->values, b->count + 1, sizeof *b->values);
    b->values[b->count] = *value;
    return &b->values[b->count++];
}

void model_clear_value(struct conf_value *v)
{
    if (v->text)
        xfree_secret(v->text, strlen(v->text));
    for (size_t i = 0; i < v->count; i++)
        free(v->list[i]);
    free(v->list);
    free(v->lines);
}

static void free_defaults(struct conf *c)
{
    for (size_t b = 0; c->defaults && b < conf_blocks_count; b++) {
        for (size_t i = 0; i < conf_blocks[b].count; i++)
            model_clear_value(&c->defaults[b][i]);
        free(c->defaults[b]);
    }
    free(c->defaults);
}

static void clear_block(struct conf_block *b)
{
    for (size_t i = 0; i < b->count; i++)
        model_clear_value(&b->values[i]);
    free(b->values);
    free(b->title);
}

void model_drop_block(struct conf *c, size_t index)
{
    clear_block(&c->blocks[index]);
    c->count--;
    memmove(&c->blocks[index], &c->blocks[index + 1], (c->count - index) * sizeof *c->blocks);
}

void conf_free(struct conf **conf)
{
    struct conf *c = *conf;
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        clear_block(&c->blocks[i]);
    for (size_t i = 0; i < c->file_count; i++) {
        free(c->files[i]->name);
        free(c->files[i]->dir);
        free(c->files[i]);
    }
    free_defaults(c);
    free(c->files);
    free(c->blocks);
    free(c);
    *conf = NULL;
}
