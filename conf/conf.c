#include "conf/conf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/cross.h"
#include "conf/judge.h"
#include "conf/model.h"
#include "conf/parse.h"
#include "conf/scan.h"
#include "core/alloc.h"

enum { DEPTH_MAX = 8, FILES_MAX = 1000, FILE_BYTES_MAX = 64 * 1024 * 1024 };

struct loader {
    struct conf *c;
    struct faults *faults;
    bool broken; /* a file could not be read as a whole, so what is missing may stand there */
    const struct conf_file *including[DEPTH_MAX];
    size_t depth;
};

/* ---- taking in one scanned file ---- */

static void take_setting(struct loader *l, const struct scan *s, const struct scan_setting *setting,
                         const struct conf_file *file, struct conf_block *to)
{
    struct conf_value value;
    const struct conf_value *first = model_given(to, setting->directive);
    if (l->faults->count >= SCAN_FAULTS_MAX)
        return;
    if (first)
        faults_add(l->faults, file->name, setting->line, "`%s` is repeated: it stands at %s:%u already",
                   setting->directive->name, first->file->name, first->line);
    if (judge_setting(s, setting, file, &value, l->faults) < 0)
        return;
    if (first)
        model_clear_value(&value);
    else
        model_add_value(to, &value);
}

static void take_scan(struct loader *l, const struct scan *s, const struct conf_file *file)
{
    size_t base = l->c->count;
    l->c->blocks[0].named |= s->blocks[0].named;
    for (size_t i = 1; i < s->block_count; i++) {
        struct conf_block *b =
            model_add_block(l->c, s->blocks[i].def, s->blocks[i].title, file, s->blocks[i].line);
        b->bad_title = s->blocks[i].bad_title;
        b->named = s->blocks[i].named;
    }
    for (size_t i = 0; i < s->setting_count; i++) {
        size_t block = s->settings[i].block;
        take_setting(l, s, &s->settings[i], file, &l->c->blocks[block ? base + block - 1 : 0]);
    }
}

/* ---- files ---- */

static struct conf_file *add_file(struct loader *l, const char *name)
{
    struct conf *c = l->c;
    struct conf_file *file = xcalloc(1, sizeof *file);
    file->name = xstrdup(name);
    c->files = xreallocarray(c->files, c->file_count + 1, sizeof *c->files);
    c->files[c->file_count++] = file;
    return file;
}

static char *directory_of(const char *path)
{
    char *copy = xstrdup(path);
    char *dir = realpath(dirname(copy), NULL);
    free(copy);
    return dir;
}

/* The whole file; NULL with *WHY. The caller frees. */
static char *read_file(struct conf_file *file, size_t *len, const char **why)
{
    struct stat st;
    char *text = NULL;
    int fd = open(file->name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    *why = NULL;
    if (fd < 0 || fstat(fd, &st) < 0)
        *why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        *why = "expected a regular file";
    else if (st.st_size > FILE_BYTES_MAX)
        *why = "the file is too large";
    if (!*why) {
        file->dev = st.st_dev;
        file->ino = st.st_ino;
        file->dir = directory_of(file->name);
        text = xmalloc((size_t)st.st_size + 1);
        *len = 0;
        ssize_t n;
        while ((n = read(fd, text + *len, (size_t)st.st_size - *len)) > 0 || (n < 0 && errno == EINTR))
            *len += n > 0 ? (size_t)n : 0;
        if (n < 0)
            *why = strerror(errno);
    }
    if (fd >= 0)
        close(fd);
    if (!*why)
        return text;
    xfree_secret(text, *len);
    return NULL;
}

static void load_text(struct loader *l, const struct conf_file *file, const char *text, size_t len);

/* AT and LINE say who includes it; AT is NULL for the first file. */
static void load_file(struct loader *l, const char *name, const struct conf_file *at, unsigned line)
{
    const char *why;
    size_t len = 0;
    struct conf_file *file = add_file(l, name);
    char *text = read_file(file, &len, &why);
    for (size_t i = 0; text && i < l->depth; i++)
        if (l->including[i]->dev == file->dev && l->including[i]->ino == file->ino)
            why = "the file includes itself";
    if (text && (l->depth == DEPTH_MAX || l->c->file_count > FILES_MAX))
        why = l->depth == DEPTH_MAX ? "files include each other too deeply" : "too many files are included";
    if (why) {
        l->broken = true;
        faults_add(l->faults, at ? at->name : name, line, at ? "`include`: `%s`: %s" : "`%s`: %s", name, why);
    } else {
        load_text(l, file, text, len);
    }
    if (text)
        xfree_secret(text, len);
}

static int is_conf_name(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_directory(struct loader *l, const char *dir, const struct conf_file *at, unsigned line)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, is_conf_name, compare_entries);
    if (count < 0) {
        l->broken = true;
        faults_add(l->faults, at->name, line, "`include`: `%s`: %s", dir, strerror(errno));
        return;
    }
    for (int i = 0; i < count; i++) {
        char *path = xasprintf("%s/%s", dir, entries[i]->d_name);
        if (l->c->file_count <= FILES_MAX)
            load_file(l, path, at, line);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

static void load_include(struct loader *l, const struct scan_include *include, const struct conf_file *at)
{
    struct stat st;
    if (!at->dir) {
        faults_add(l->faults, at->name, include->line, "`include`: only a file can include others");
        return;
    }
    char *path =
        include->path[0] == '/' ? xstrdup(include->path) : xasprintf("%s/%s", at->dir, include->path);
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        load_directory(l, path, at, include->line);
    else
        load_file(l, path, at, include->line);
    free(path);
}

static void load_text(struct loader *l, const struct conf_file *file, const char *text, size_t len)
{
    struct scan s;
    if (scan_text(&s, file->name, text, len, l->faults) < 0 || parse_values(&s, file->name, l->faults) < 0) {
        l->broken = true;
    } else {
        take_scan(l, &s, file);
        l->including[l->depth++] = file;
        for (size_t i = 0; i < s.include_count; i++)
            load_include(l, &s.includes[i], file);
        l->depth--;
    }
    scan_free(&s);
}

/* ---- the whole ---- */

static struct conf *new_conf(void)
{
    struct conf *c = xcalloc(1, sizeof *c);
    c->defaults = xcalloc(conf_blocks_count, sizeof *c->defaults);
    for (size_t b = 0; b < conf_blocks_count; b++) {
        c->defaults[b] = xcalloc(conf_blocks[b].count, sizeof **c->defaults);
        for (size_t i = 0; i < conf_blocks[b].count; i++)
            judge_default(&conf_blocks[b].directives[i], &c->defaults[b][i]);
    }
    model_add_block(c, &conf_blocks[0], "", NULL, 0);
    return c;
}

/* Untitled blocks exist whether a file has them or not. */
static void add_missing_blocks(struct conf *c)
{
    for (size_t b = 1; b < conf_blocks_count; b++)
        if (conf_blocks[b].title == CONF_UNTITLED && !model_next(c, &conf_blocks[b], NULL))
            model_add_block(c, &conf_blocks[b], "", NULL, 0);
}

struct placed_fault {
    struct fault fault;
    size_t file, position;
};

static int compare_faults(const void *a, const void *b)
{
    const struct placed_fault *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    if (x->fault.line != y->fault.line)
        return x->fault.line < y->fault.line ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

/* Orders the faults behind the first BEFORE by file, as read, and line. */
static void sort_faults(const struct conf *c, struct faults *faults, size_t before)
{
    size_t count = faults->count - before;
    struct placed_fault *placed = xcalloc(count + 1, sizeof *placed);
    for (size_t i = 0; i < count; i++) {
        placed[i] = (struct placed_fault){faults->list[before + i], 0, i};
        while (placed[i].file < c->file_count &&
               strcmp(c->files[placed[i].file]->name, placed[i].fault.file) != 0)
            placed[i].file++;
    }
    qsort(placed, count, sizeof *placed, compare_faults);
    for (size_t i = 0; i < count; i++)
        faults->list[before + i] = placed[i].fault;
    free(placed);
}

/* What remains to be done when all files are read. */
static struct conf *finish(struct loader *l, size_t before)
{
    add_missing_blocks(l->c);
    if (!l->broken && l->faults->count < SCAN_FAULTS_MAX)
        cross_check(l->c, l->faults);
    if (l->faults->count > before) {
        sort_faults(l->c, l->faults, before);
        conf_free(&l->c);
    }
    return l->c;
}

struct conf *conf_load(const char *path, struct faults *faults)
{
    size_t before = faults->count;
    struct loader l = {.c = new_conf(), .faults = faults};
    load_file(&l, path, NULL, 0);
    return finish(&l, before);
}

static bool is_whole(const struct conf_block *b)
{
    for (size_t i = 0; i < b->def->count; i++)
        if (b->def->directives[i].flags & CONF_REQUIRED && !model_given(b, &b->def->directives[i]))
            return false;
    return true;
}

struct conf *conf_draft(const char *path)
{
    struct faults known = {0};
    struct loader l = {.c = new_conf(), .faults = &known};
    load_file(&l, path, NULL, 0);
    add_missing_blocks(l.c);
    faults_free(&known);
    if (l.broken)
        conf_free(&l.c);
    for (size_t i = l.c ? l.c->count : 0; i-- > 1;)
        if (!is_whole(&l.c->blocks[i]))
            model_drop_block(l.c, i);
    return l.c;
}

struct conf *conf_load_text(const char *name, const char *text, size_t len, struct faults *faults)
{
    size_t before = faults->count;
    struct loader l = {.c = new_conf(), .faults = faults};
    load_text(&l, add_file(&l, name), text, len);
    return finish(&l, before);
}

/* ---- reading ---- */

static const struct block_def *def_named(const char *block)
{
    return strcmp(block, CONF_TOP) == 0 ? &conf_blocks[0] : directives_block(block);
}

size_t conf_count(const struct conf *c, const char *block)
{
    const struct block_def *def = def_named(block);
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++)
        n += c->blocks[i].def == def;
    return n;
}

const char *conf_title(const struct conf *c, const char *block, size_t index)
{
    const struct block_def *def = def_named(block);
    const struct conf_block *b = model_next(c, def, NULL);
    while (b && index--)
        b = model_next(c, def, b);
    return b ? b->title : NULL;
}

const char *conf_text(const struct conf *c, const char *block, const char *title, const char *name)
{
    const struct conf_block *b = model_find(c, def_named(block), title);
    return b ? model_text(c, b, name) : NULL;
}

bool conf_has_dispatcher(const struct conf *c)
{
    const struct conf_block *dispatcher = model_next(c, directives_block("dispatcher"), NULL);
    return dispatcher->file || model_next(c, directives_block("bridge"), NULL) ||
           model_next(c, directives_block("rule"), NULL);
}

unsigned conf_sender_processes(const struct conf *c)
{
    const struct conf_block *sender = model_next(c, directives_block("sender"), NULL);
    if (!sender->file && !conf_has_dispatcher(c))
        return 0;
    return (unsigned)model_number(c, sender, "processes");
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

int conf_check_reload(const struct conf *running, const struct conf *c, struct faults *faults)
{
    size_t before = faults->count;
    for (size_t i = 0; i < conf_blocks_count; i++) {
        const struct block_def *def = &conf_blocks[i];
        const struct conf_block *old = model_next(running, def, NULL), *new = model_next(c, def, NULL);
        /* Only settings of untitled blocks are fixed. */
        for (size_t j = 0; def->title == CONF_UNTITLED && j < def->count; j++) {
            const struct directive *d = &def->directives[j];
            if (!(d->flags & CONF_FIXED) ||
                same_text(model_text(running, old, d->name), model_text(c, new, d->name)))
                continue;
            const struct conf_value *v = model_given(new, d);
            faults_add(faults, v ? v->file->name : c->files[0]->name, v ? v->line : 0,
                       "`%s` cannot change while running: restart for it, or put it back", d->name);
        }
    }
    return faults->count == before ? 0 : -1;
}
