#include "conf/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/str.h"

enum { SECRET_MAX = 4096 };

const char *secrets_directory(void)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    return dir && *dir == '/' ? dir : NULL;
}

bool secrets_needed(const struct conf *c, const struct conf_block *b)
{
    if (strcmp(b->def->name, "bridge") == 0)
        return true;
    const char *type = strcmp(b->def->name, "provider") == 0 ? model_text(c, b, "type") : NULL;
    return type && strcmp(type, "smsapi") == 0;
}

struct source {
    char *path;
    bool is_credential; /* the directory's own rights protect it; its files may carry rights for the group */
};

/* Opens what may hold a secret. -1 with *WHY. */
static int open_source(const struct source *src, const char **why)
{
    struct stat st;
    int fd = open(src->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        *why = strerror(errno);
        return -1;
    }
    *why = NULL;
    if (fstat(fd, &st) < 0)
        *why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        *why = "it is not a regular file";
    else if (!src->is_credential && (st.st_mode & 077))
        *why = "others than its owner may read or change it: chmod 600 it";
    else if (st.st_size > SECRET_MAX)
        *why = "it is too large for a secret";
    if (!*why)
        return fd;
    close(fd);
    return -1;
}

/* True if the LEN bytes are one line of text; the line's end is cut off. */
static bool one_line(char *text, size_t *len)
{
    while (*len && (text[*len - 1] == '\n' || text[*len - 1] == '\r'))
        (*len)--;
    text[*len] = '\0';
    for (size_t i = 0; i < *len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    return *len && str_utf8_valid(text, *len);
}

/* The secret, or NULL with *WHY. The caller frees. */
static char *read_source(const struct source *src, const char **why)
{
    char text[SECRET_MAX + 2];
    size_t len = 0;
    char *secret = NULL;
    int fd = open_source(src, why);
    if (fd < 0)
        return NULL;
    while (len < sizeof text - 1) {
        ssize_t n = read(fd, text + len, sizeof text - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            *why = strerror(errno);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    if (!*why && (len > SECRET_MAX || !one_line(text, &len)))
        *why = "it does not hold one line of text";
    if (!*why)
        secret = xstrndup(text, len);
    explicit_bzero(text, sizeof text);
    return secret;
}

/* Where the file of V is: a bare name is a credential if there is one of that name. */
static struct source named_source(const struct conf_value *v)
{
    const char *dir = secrets_directory();
    struct source src = {NULL, false};
    if (strchr(v->text, '/')) {
        src.path = xstrdup(v->text);
        return src;
    }
    if (dir) {
        src.path = xasprintf("%s/%s", dir, v->text);
        src.is_credential = true;
        if (access(src.path, F_OK) == 0 || !v->file->dir)
            return src;
        free(src.path);
    }
    src.is_credential = false;
    src.path = v->file->dir ? xasprintf("%s/%s", v->file->dir, v->text) : xstrdup(v->text);
    return src;
}

/* The credential `bridge-main-api_key_secret`; its path is NULL if there is none. */
static struct source credential(const struct conf_block *b, const struct directive *d)
{
    const char *dir = secrets_directory();
    struct source src = {NULL, true};
    if (!dir)
        return src;
    src.path = xasprintf("%s/%s-%s-%s", dir, b->def->name, b->title, d->name);
    if (access(src.path, F_OK) < 0) {
        free(src.path);
        src.path = NULL;
    }
    return src;
}

static void keep(struct conf_block *b, const struct directive *d, const struct conf_file *file, unsigned line,
                 char *secret)
{
    struct conf_value value = {.directive = d, .file = file, .line = line, .text = secret, .is_read = true};
    for (size_t i = 0; i < b->count; i++) {
        if (b->values[i].directive == d) {
            model_clear_value(&b->values[i]);
            b->values[i] = value;
            return;
        }
    }
    model_add_value(b, &value);
}

static void read_one(const struct conf *c, struct conf_block *b, const struct directive *d,
                     const struct directive *partner, struct faults *faults)
{
    const struct conf_value *given = model_given(b, d), *named = model_given(b, partner);
    if (given && !given->is_read)
        return;
    const struct conf_file *file = named ? named->file : b->file;
    unsigned line = named ? named->line : b->line;
    const char *why = NULL;
    struct source src = named ? named_source(named) : credential(b, d);
    char *secret = src.path ? read_source(&src, &why) : NULL;
    if (secret)
        keep(b, d, file, line, secret);
    else if (src.path)
        faults_add(faults, file->name, line, "`%s`: `%s`: %s", named ? partner->name : d->name, src.path,
                   why);
    /* Without such a directory conf_load has said so. */
    else if (secrets_directory() && secrets_needed(c, b))
        faults_add(faults, file->name, line, "block `%s %s` needs `%s`, `%s` or the credential `%s-%s-%s`",
                   b->def->name, b->title, d->name, partner->name, b->def->name, b->title, d->name);
    free(src.path);
}

int conf_read_secrets(struct conf *c, struct faults *faults)
{
    size_t before = faults->count;
    for (size_t i = 0; i < c->count; i++) {
        struct conf_block *b = &c->blocks[i];
        for (size_t j = 0; b->file && j < b->def->count; j++)
            if (b->def->directives[j].kind == CONF_SECRET)
                read_one(c, b, &b->def->directives[j], directives_partner(b->def, &b->def->directives[j]),
                         faults);
    }
    return faults->count == before ? 0 : -1;
}
