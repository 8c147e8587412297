#include "conf/judge.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf/environment.h"
#include "conf/units.h"
#include "core/alloc.h"
#include "core/buf.h"
#include "core/phone.h"
#include "core/str.h"

enum { WORD_SHOWN = 60, NAME_MAX_BYTES = 64, PATH_MAX_BYTES = 4096 };

struct judge {
    const struct directive *d;
    const struct conf_file *file;
    unsigned line;
    enum scan_quoting quoting;
    bool hidden; /* the value is not to be shown */
    struct faults *faults;
};

/* "`name`: `value`: expected ..."; a phone number is masked. */
static bool wrong(struct judge *j, const char *text, const char *expected)
{
    const char *file = j->file ? j->file->name : NULL;
    char masked[WORD_SHOWN + 1];
    size_t len = strnlen(text, WORD_SHOWN);
    while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    char *word = xstrndup(text, len);
    if (j->d->kind == CONF_RECIPIENTS && phone_looks(word, strlen(word)))
        str_mask_number(word, masked, sizeof masked);
    else
        snprintf(masked, sizeof masked, "%s", word);
    free(word);
    if (j->hidden)
        faults_add(j->faults, file, j->line, "`%s`: expected %s", j->d->name, expected);
    else
        faults_add(j->faults, file, j->line, "`%s`: `%s`: expected %s", j->d->name, masked, expected);
    return false;
}

/* ---- texts ---- */

static bool within_bytes(const struct judge *j, size_t len)
{
    return (!j->d->max && !j->d->min) || ((int64_t)len >= j->d->min && (int64_t)len <= j->d->max);
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

static bool read_text(struct judge *j, const char *text, struct conf_value *v)
{
    char expected[80];
    (void)v;
    if (!has_control(text) && within_bytes(j, strlen(text)))
        return true;
    snprintf(expected, sizeof expected, "one line of %" PRId64 " to %" PRId64 " bytes", j->d->min, j->d->max);
    return wrong(j, text, expected);
}

static bool read_template(struct judge *j, const char *text, struct conf_value *v)
{
    char expected[80];
    (void)v;
    j->hidden = true;
    if (within_bytes(j, strlen(text)))
        return true;
    snprintf(expected, sizeof expected, "a text of %" PRId64 " to %" PRId64 " bytes", j->d->min, j->d->max);
    return wrong(j, text, expected);
}

static bool is_name(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return len > 0 && len <= NAME_MAX_BYTES && !text[len];
}

static bool read_name(struct judge *j, const char *text, struct conf_value *v)
{
    (void)v;
    return is_name(text) || wrong(j, text, "a name of letters, digits, dots, dashes and underscores");
}

/* CONTRACT.md section 3, `from`: 8 to 16 digits, or up to 11 characters with a letter among them. */
static bool read_sender_name(struct judge *j, const char *text, struct conf_value *v)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] = "0123456789_.-@ %!+&";
    size_t len = strlen(text);
    (void)v;
    if (strspn(text, "0123456789") == len && len >= 8 && len <= 16)
        return true;
    size_t good = 0;
    while (text[good] && (strchr(letters, text[good]) || strchr(others, text[good])))
        good++;
    if (good == len && len <= 11 && strpbrk(text, letters))
        return true;
    return wrong(j, text,
                 "a sender name: up to 11 letters and digits with a letter among them, or 8 to 16 digits");
}

/* ---- paths and addresses ---- */

/* Relative paths stand beside the file that names them. */
static char *resolve(const struct judge *j, const char *path)
{
    if (path[0] == '/' || !j->file || !j->file->dir)
        return xstrdup(path);
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    return xasprintf("%s/%s", strcmp(j->file->dir, "/") == 0 ? "" : j->file->dir, path);
}

static bool is_path(const char *text)
{
    return *text && !has_control(text) && strlen(text) < PATH_MAX_BYTES;
}

static bool read_path(struct judge *j, const char *text, struct conf_value *v)
{
    if (!is_path(text))
        return wrong(j, text, "a path");
    v->text = resolve(j, text);
    return true;
}

/* A bare name is looked for among the credentials first, so it stays as it is. */
static bool read_secret_file(struct judge *j, const char *text, struct conf_value *v)
{
    if (!strchr(text, '/') && is_path(text))
        return true;
    return read_path(j, text, v);
}

static bool read_store(struct judge *j, const char *text, struct conf_value *v)
{
    static const char scheme[] = "sqlite:";
    if (strncmp(text, scheme, strlen(scheme)) != 0 || !is_path(text + strlen(scheme)))
        return wrong(j, text, "a store such as sqlite:/var/lib/bridgebell/queue.db");
    char *path = resolve(j, text + strlen(scheme));
    v->text = xasprintf("%s%s", scheme, path);
    free(path);
    return true;
}

static bool is_port(const char *text)
{
    int64_t port;
    return strlen(text) <= 5 && units_number(text, &port) == 0 && port >= 1 && port <= 65535;
}

/* HOST, HOST:PORT, [V6] or [V6]:PORT. */
static bool is_authority(const char *text, size_t len)
{
    char copy[300];
    if (len == 0 || len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    char *behind = copy[0] == '[' ? strchr(copy, ']') : strchr(copy, ':');
    if (copy[0] == '[') {
        struct in6_addr address;
        if (!behind)
            return false;
        *behind++ = '\0';
        if (inet_pton(AF_INET6, copy + 1, &address) != 1)
            return false;
    } else if (behind == copy) {
        return false;
    }
    return !behind || !*behind || (*behind == ':' && is_port(behind + 1));
}

/* What stands behind one of the schemes and "://", or NULL. */
static const char *behind_scheme(const char *text, const char *const *schemes)
{
    for (; *schemes; schemes++) {
        size_t len = strlen(*schemes);
        if (strncmp(text, *schemes, len) == 0 && strncmp(text + len, "://", 3) == 0)
            return text + len + 3;
    }
    return NULL;
}

static bool read_url(struct judge *j, const char *text, struct conf_value *v)
{
    const char *rest = behind_scheme(text, j->d->words);
    size_t len = rest ? strcspn(rest, "/?#") : 0;
    char expected[80];
    (void)v;
    if (rest && memchr(rest, '@', len)) {
        j->hidden = true;
        return wrong(j, text, "an address without user and password");
    }
    bool good = rest && is_authority(rest, len) && strlen(text) < PATH_MAX_BYTES && !strpbrk(rest, "?#\\\"");
    for (const char *c = text; good && *c; c++)
        good = *c > ' ' && *c < 0x7f;
    if (good)
        return true;
    snprintf(expected, sizeof expected, "an address %s://host… or %s://host…", j->d->words[0],
             j->d->words[1]);
    return wrong(j, text, expected);
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool read_listen(struct judge *j, const char *text, struct conf_value *v)
{
    const char *colon = strrchr(text, ':');
    (void)v;
    if (strcmp(text, "off") == 0)
        return true;
    if (!colon || !is_port(colon + 1))
        return wrong(j, text, "an address such as 127.0.0.1:9464, or off");
    char *host = xstrndup(text, (size_t)(colon - text));
    bool loopback = is_loopback(host);
    free(host);
    return loopback || wrong(j, text, "an address on loopback: other hosts may not ask without a token");
}

/* ---- words and lists ---- */

static bool read_word(struct judge *j, const char *text, struct conf_value *v)
{
    char expected[200] = "";
    (void)v;
    for (size_t i = 0; j->d->words[i]; i++)
        if (strcmp(j->d->words[i], text) == 0)
            return true;
    for (size_t i = 0; j->d->words[i]; i++) {
        size_t len = strlen(expected);
        const char *glue = i == 0 ? "" : j->d->words[i + 1] ? ", " : " or ";
        snprintf(expected + len, sizeof expected - len, "%s%s", glue, j->d->words[i]);
    }
    const char *nearest = str_nearest(text, j->d->words);
    size_t len = strlen(expected);
    if (nearest)
        snprintf(expected + len, sizeof expected - len, "; did you mean `%s`?", nearest);
    return wrong(j, text, expected);
}

/* What a text names is decided where all names are known: in cross.c, and for expressions by the dispatcher.
 */
static bool read_recipient(struct judge *j, const char *text, struct conf_value *v)
{
    enum { RECIPIENT_BYTES = 10 * 1024 };
    (void)v;
    size_t len = strnlen(text, RECIPIENT_BYTES + 1);
    if (text[strspn(text, " \t\r\n")] && len <= RECIPIENT_BYTES)
        return true;
    return wrong(
        j, text,
        "a phone number in quotes, the name of a recipients block, or an expression of at most 10 KiB");
}

/* ---- numbers ---- */

const char *judge_bounds(const struct directive *d, char *out, size_t size)
{
    char low[32], high[32];
    out[0] = '\0';
    if (!d->min && !d->max)
        return out;
    if (d->kind == CONF_DURATION)
        snprintf(out, size, "%s to %s", units_format_duration(d->min, low, sizeof low),
                 units_format_duration(d->max, high, sizeof high));
    else if (d->kind == CONF_SIZE)
        snprintf(out, size, "%s to %s", units_format_size(d->min, low, sizeof low),
                 units_format_size(d->max, high, sizeof high));
    else if (d->kind == CONF_NUMBER || d->kind == CONF_RATE)
        snprintf(out, size, "%" PRId64 " to %" PRId64, d->min, d->max);
    return out;
}

static bool within(struct judge *j, const char *text, int64_t number)
{
    char bounds[80], expected[100];
    if (!*judge_bounds(j->d, bounds, sizeof bounds) || (number >= j->d->min && number <= j->d->max))
        return true;
    snprintf(expected, sizeof expected, "%s %s", j->d->kind == CONF_RATE ? "a count of" : "from", bounds);
    return wrong(j, text, expected);
}

static bool read_switch(struct judge *j, const char *text, struct conf_value *v)
{
    return units_switch(text, &v->number) == 0 || wrong(j, text, "on or off");
}

static bool read_number(struct judge *j, const char *text, struct conf_value *v)
{
    if (units_number(text, &v->number) < 0)
        return wrong(j, text, "a whole number");
    return within(j, text, v->number);
}

static bool read_duration(struct judge *j, const char *text, struct conf_value *v)
{
    if (units_duration(text, &v->number) < 0)
        return wrong(j, text, "a duration such as 250ms, 5s, 2h, 7d");
    return within(j, text, v->number);
}

static bool read_size(struct judge *j, const char *text, struct conf_value *v)
{
    if (units_size(text, &v->number) < 0)
        return wrong(j, text, "a size such as 64KiB, 64MiB, 1GiB");
    return within(j, text, v->number);
}

static bool read_rate(struct judge *j, const char *text, struct conf_value *v)
{
    if ((j->d->flags & CONF_OFF) && strcmp(text, "off") == 0) {
        v->number = -1;
        v->per_ms = 0;
        return true;
    }
    if ((j->d->flags & CONF_PLAIN) && units_number(text, &v->number) == 0)
        v->per_ms = 1000;
    else if (units_rate(text, &v->number, &v->per_ms) < 0)
        return wrong(j, text,
                     j->d->flags & CONF_OFF     ? "a rate such as 10/60s, 60/h, 1/min, or off"
                     : j->d->flags & CONF_PLAIN ? "a number per second, or a rate such as 100/s, 6000/min"
                                                : "a rate such as 100/s, 10/60s, 60/h");
    return within(j, text, v->number);
}

static bool read_rates(struct judge *j, const char *text, struct conf_value *v)
{
    static const char expected[] = "rates such as 1/min, 5/15min, 12/h, or off";
    enum { RATES_MAX = 8 };
    struct buf all;
    size_t count = 0;
    bool good = true;
    if (strcmp(text, "off") == 0)
        return true;
    buf_init(&all, 0);
    for (const char *p = text; good && *p; count++) {
        size_t len = strcspn(p, ", ");
        char *one = xstrndup(p, len);
        int64_t number = 0, per_ms = 0;
        good = count < RATES_MAX && units_rate(one, &number, &per_ms) == 0 && number <= j->d->max;
        buf_addf(&all, "%s%" PRId64 "/%" PRId64 "ms", count ? " " : "", number, per_ms);
        free(one);
        p += len;
        p += strspn(p, ", ");
    }
    good = good && count > 0;
    if (good)
        v->text = xstrdup(buf_cstr(&all));
    buf_free(&all);
    return good || wrong(j, text, expected);
}

static bool read_money(struct judge *j, const char *text, struct conf_value *v)
{
    return units_money(text, &v->number) == 0 || wrong(j, text, "an amount such as 20 or 20.50");
}

/* Each reads a text into V, or says what is wrong with it and returns false. */
static bool (*const readers[CONF_KINDS])(struct judge *, const char *, struct conf_value *) = {
    [CONF_TEXT] = read_text,         [CONF_TEMPLATE] = read_template,
    [CONF_NAME] = read_name,         [CONF_SENDER_NAME] = read_sender_name,
    [CONF_PATH] = read_path,         [CONF_STORE] = read_store,
    [CONF_SECRET] = read_text,       [CONF_SECRET_FILE] = read_secret_file,
    [CONF_URL] = read_url,           [CONF_LISTEN] = read_listen,
    [CONF_WORD] = read_word,         [CONF_WORDS] = read_word,
    [CONF_TEXTS] = read_text,        [CONF_RECIPIENTS] = read_recipient,
    [CONF_SWITCH] = read_switch,     [CONF_NUMBER] = read_number,
    [CONF_DURATION] = read_duration, [CONF_SIZE] = read_size,
    [CONF_RATE] = read_rate,         [CONF_RATES] = read_rates,
    [CONF_MONEY] = read_money,       [CONF_TEMPLATES] = read_template,
};

static bool is_list(const struct directive *d)
{
    return d->kind == CONF_WORDS || d->kind == CONF_TEXTS || d->kind == CONF_TEMPLATES ||
           d->kind == CONF_RECIPIENTS;
}

/* ---- environment ---- */

/* TEXT with its variables replaced; NULL with a fault. The caller frees. */
static char *expand(struct judge *j, const char *text)
{
    const char *file = j->file ? j->file->name : NULL;
    char *missing = NULL;
    if (j->quoting != SCAN_DOUBLE || !strchr(text, SCAN_ENVIRONMENT))
        return xstrdup(text);
    if (!(j->d->flags & CONF_ENVIRONMENT)) {
        faults_add(j->faults, file, j->line,
                   "`%s`: `${…}` is for secrets, addresses and paths only; write `\\${` for the characters",
                   j->d->name);
        return NULL;
    }
    /* Whatever the environment holds may be a secret. */
    j->hidden = true;
    char *result = environment_expand(text, &missing);
    if (!result)
        faults_add(j->faults, file, j->line, "`%s`: `%s`: expected a variable that is set in the environment",
                   j->d->name, missing);
    else if (strchr(result, '\n') || !str_utf8_valid(result, strlen(result)))
        wrong(j, result, "variables that hold one line of UTF-8");
    free(missing);
    return result;
}

/* ---- one setting ---- */

/* One value: expanded, read, and its text kept in *KEPT. */
static bool judge_one(struct judge *j, const char *raw, struct conf_value *v, char **kept)
{
    size_t before = j->faults->count;
    char *text = expand(j, raw);
    bool good = text && j->faults->count == before && readers[j->d->kind](j, text, v);
    /* A reader that changes the text leaves its own. */
    char *own = v->text;
    v->text = NULL;
    if (good)
        *kept = own ? own : text;
    if (text && (!good || own))
        xfree_secret(text, strlen(text));
    return good;
}

static int compare_entries(const void *a, const void *b)
{
    const char *const *x = *(const char *const *const *)a, *const *y = *(const char *const *const *)b;
    int order = strcmp(*x, *y);
    return order ? order : (x > y) - (x < y);
}

/* Leaves the first of equal entries, in the old order. */
static void drop_duplicates(struct conf_value *v)
{
    char ***sorted = xreallocarray(NULL, v->count + 1, sizeof *sorted);
    for (size_t i = 0; i < v->count; i++)
        sorted[i] = &v->list[i];
    qsort(sorted, v->count, sizeof *sorted, compare_entries);
    for (size_t i = v->count; i-- > 1;) {
        if (strcmp(*sorted[i], *sorted[i - 1]) == 0) {
            free(*sorted[i]);
            *sorted[i] = NULL;
        }
    }
    free(sorted);
    size_t kept = 0;
    for (size_t i = 0; i < v->count; i++) {
        if (!v->list[i])
            continue;
        v->lines[kept] = v->lines[i];
        v->list[kept++] = v->list[i];
    }
    v->count = kept;
}

static int judge_list(struct judge *j, const struct scan_value *values, size_t count, struct conf_value *out)
{
    bool good = true;
    out->list = xcalloc(count, sizeof *out->list);
    out->lines = xcalloc(count, sizeof *out->lines);
    for (size_t i = 0; i < count; i++) {
        j->line = values[i].line;
        j->quoting = values[i].quoting;
        out->lines[out->count] = j->line;
        if (values[i].bad || !judge_one(j, values[i].text, out, &out->list[out->count]))
            good = false;
        else
            out->count++;
    }
    if (good)
        drop_duplicates(out);
    return good ? 0 : -1;
}

int judge_setting(const struct scan *s, const struct scan_setting *setting, const struct conf_file *file,
                  struct conf_value *out, struct faults *faults)
{
    const struct directive *d = setting->directive;
    const struct scan_value *values = &s->values[setting->first];
    struct judge j = {.d = d, .file = file, .line = setting->line, .faults = faults};
    j.hidden = d->kind == CONF_SECRET;
    *out = (struct conf_value){.directive = d, .file = file, .line = setting->line};
    if (is_list(d) && setting->count == 0) {
        faults_add(faults, file->name, setting->line, "`%s`: expected at least one entry", d->name);
        return -1;
    }
    if (!is_list(d) && setting->braces) {
        faults_add(faults, file->name, setting->line, "`%s`: expected one value, not a list", d->name);
        return -1;
    }
    out->line = j.line = values[0].line;
    j.quoting = values[0].quoting;
    int rc = -1;
    if (is_list(d))
        rc = judge_list(&j, values, setting->count, out);
    else if (!values[0].bad && judge_one(&j, values[0].text, out, &out->text))
        rc = 0;
    if (rc < 0)
        model_clear_value(out);
    return rc;
}

/* The words of a default: quotes, braces and commas are not part of them. */
static struct scan_value *default_words(const char *initial, size_t *count)
{
    struct scan_value *words = NULL;
    static const char between[] = "{}, \"";
    *count = 0;
    for (const char *p = initial + strspn(initial, between); *p; p += strspn(p, between)) {
        size_t len = strcspn(p, between);
        words = xreallocarray(words, *count + 1, sizeof *words);
        words[(*count)++] = (struct scan_value){.text = xstrndup(p, len)};
        p += len;
    }
    return words;
}

void judge_default(const struct directive *d, struct conf_value *out)
{
    struct faults faults = {NULL, 0};
    struct judge j = {.d = d, .faults = &faults};
    size_t count;
    memset(out, 0, sizeof *out);
    if (!d->initial)
        return;
    struct scan_value *words = default_words(d->initial, &count);
    int rc = 0;
    if (is_list(d))
        rc = judge_list(&j, words, count, out);
    else
        rc = judge_one(&j, words[0].text, out, &out->text) ? 0 : -1;
    if (rc < 0)
        panic("the default of %s is not valid: %s", d->name, faults.count ? faults.list[0].text : "");
    for (size_t i = 0; i < count; i++)
        free(words[i].text);
    free(words);
    /* A default has no place in a file. */
    for (size_t i = 0; i < out->count; i++)
        out->lines[i] = 0;
    out->line = 0;
    out->directive = d;
}
