#include "conf/environment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "conf/scan.h"
#include "core/alloc.h"
#include "core/buf.h"

static const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

/* The value of the variable between P (behind the brace) and END: its own, else the default. */
static bool add_variable(struct buf *out, const char *p, const char *end, char **missing)
{
    size_t len = strspn(p, name_characters);
    bool has_default = len + 2 <= (size_t)(end - p) && strncmp(p + len, ":-", 2) == 0;
    bool good = len > 0 && (p + len == end || has_default) && !(*p >= '0' && *p <= '9');
    char *name = xstrndup(p, good ? len : (size_t)(end - p));
    const char *value = good ? getenv(name) : NULL;
    int rc = 0;
    if (value && *value)
        rc = buf_adds(out, value);
    else if (good && has_default)
        rc = buf_add(out, p + len + 2, (size_t)(end - p) - len - 2);
    else if (!value)
        rc = -1;
    if (rc < 0)
        *missing = name;
    else
        free(name);
    return rc == 0;
}

char *environment_expand(const char *text, char **missing)
{
    struct buf out;
    char *result = NULL;
    buf_init(&out, 0);
    while (*text) {
        const char *end = *text == SCAN_ENVIRONMENT ? strchr(text, '}') : NULL;
        if (!end) {
            buf_addc(&out, *text++);
            continue;
        }
        if (!add_variable(&out, text + 2, end, missing))
            break;
        text = end + 1;
    }
    if (!*text)
        result = xstrdup(buf_cstr(&out));
    if (out.data)
        explicit_bzero(out.data, out.len);
    buf_free(&out);
    return result;
}
