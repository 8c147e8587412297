/* What the tests of conf/ share: loading texts, faults as one string, directories that go away. */
#ifndef TESTS_CONF_FIXTURE_H
#define TESTS_CONF_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "core/alloc.h"
#include "core/buf.h"

#define BRIDGE "bridge main { url = \"https://b/api\" api_key_id = a api_key_secret = s }\n"
#define PROVIDER "provider p { type = log }\n"
#define WHOLE BRIDGE PROVIDER

/* "LINE: TEXT" for each fault, one a line. The caller frees. */
static inline char *faults_text(const struct faults *f)
{
    struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < f->count; i++)
        buf_addf(&out, "%u: %s\n", f->list[i].line, f->list[i].text);
    char *text = xstrdup(buf_cstr(&out));
    buf_free(&out);
    return text;
}

/* Fails with the faults if there are any. */
static inline struct conf *must_load(struct conf *c, struct faults *f)
{
    if (!c) {
        char *text = faults_text(f);
        print_error("%s", text);
        free(text);
    }
    assert_non_null(c);
    assert_int_equal(f->count, 0);
    faults_free(f);
    return c;
}

static inline struct conf *load(const char *text)
{
    struct faults f = {NULL, 0};
    return must_load(conf_load_text("test.conf", text, strlen(text), &f), &f);
}

/* A new directory with files, taken away at the end. */
struct place {
    char dir[64];
};

static inline void place_make(struct place *p)
{
    strcpy(p->dir, "/tmp/bridgebell-conf-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
}

static inline char *place_path(const struct place *p, const char *name)
{
    return xasprintf("%s/%s", p->dir, name);
}

static inline void place_write(const struct place *p, const char *name, const char *text, mode_t mode)
{
    char *path = place_path(p, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(chmod(path, mode), 0);
    free(path);
}

static inline void place_remove(const struct place *p)
{
    char *command = xasprintf("rm -r %s", p->dir);
    assert_int_equal(system(command), 0);
    free(command);
}

/* What PRINT writes. The caller frees. */
static inline char *printed(int (*print)(FILE *))
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_int_equal(print(out), 0);
    fclose(out);
    return text;
}

/* A configuration in a directory that has a directory SUB beside it. */
struct conf_fixture {
    struct place place;
    char *conf;
};

static inline void conf_fixture_make(void **state, const char *file, const char *sub)
{
    struct conf_fixture *x = xcalloc(1, sizeof *x);
    place_make(&x->place);
    char *beside = place_path(&x->place, sub);
    assert_int_equal(mkdir(beside, 0755), 0);
    free(beside);
    x->conf = place_path(&x->place, file);
    *state = x;
}

static inline int conf_fixture_free(void **state)
{
    struct conf_fixture *x = *state;
    place_remove(&x->place);
    free(x->conf);
    free(x);
    return 0;
}

#endif
