#include "conf/scan.h"

#include <stdlib.h>
#include <string.h>

#include "conf/scan_parts.h"
#include "core/alloc.h"
#include "core/buf.h"
#include "core/str.h"

enum { DEPTH_MAX = 16, TITLE_NAME_MAX = 64, TITLE_TEXT_MAX = 100 };

static void *more(void *list, size_t count, size_t *size, size_t element)
{
    if (count < *size)
        return list;
    *size = *size ? *size * 2 : 16;
    return xreallocarray(list, *size, element);
}

/* ---- statements; each function returns false after an error that ends the scan ---- */

static bool syntax(struct scanner *sc, const struct token *t, const char *expected)
{
    if (t->type == T_BROKEN)
        return false;
    if (t->type == T_END)
        SCAN_FAULT(sc, t->line, "the file ends where %s is expected", expected);
    else
        SCAN_FAULT(sc, t->line, "`%s`: expected %s", scan_shown(sc, t).text, expected);
    return false;
}

static char *token_text(const struct scanner *sc, const struct token *t)
{
    size_t quotes = t->type == T_STRING ? 1 : 0;
    return xstrndup(sc->s->text + t->start + quotes, t->end - t->start - 2 * quotes);
}

static void add_value(struct scanner *sc, const struct token *t)
{
    struct scan *s = sc->s;
    s->values = more(s->values, s->value_count, &s->value_size, sizeof *s->values);
    s->values[s->value_count++] = (struct scan_value){
        .line = t->line, .quoting = t->quoting, .bad = t->bad, .setting = s->setting_count};
}

/* What is read from here on is no longer the value. */
static void leave_value(struct scanner *sc)
{
    sc->in_value = false;
    sc->directive = NULL;
}

/* `{ a, b, c }`; a comma may follow the last. */
static bool list(struct scanner *sc)
{
    scan_next(sc);
    while (sc->t.type != T_CLOSE) {
        if (sc->t.type != T_WORD && sc->t.type != T_STRING)
            return syntax(sc, &sc->t, "a value or `}`");
        add_value(sc, &sc->t);
        scan_next(sc);
        if (sc->t.type == T_COMMA)
            scan_next(sc);
        else if (sc->t.type != T_CLOSE)
            return syntax(sc, &sc->t, "`,` or `}`");
    }
    leave_value(sc);
    scan_next(sc);
    return true;
}

/* What follows `=`. */
static bool values(struct scanner *sc, const char *name, bool *braces)
{
    struct token t = sc->t;
    *braces = t.type == T_OPEN;
    if (*braces)
        return list(sc);
    if (t.type != T_WORD && t.type != T_STRING)
        return syntax(sc, &t, "a value");
    add_value(sc, &t);
    leave_value(sc);
    scan_next(sc);
    if (sc->t.type == T_EQUALS) {
        SCAN_FAULT(sc, sc->t.line, "`%s` has no value: after it stands another setting", name);
        return false;
    }
    return true;
}

/* All words known in IN, for a word that is like none of them. */
static void add_known_words(struct buf *out, const struct block_def *in)
{
    for (size_t i = 0; i < in->count; i++)
        if (!(in->directives[i].flags & CONF_RESERVED))
            buf_addf(out, "%s%s", i ? ", " : "", in->directives[i].name);
    for (size_t i = 1; in == &conf_blocks[0] && i < conf_blocks_count; i++)
        buf_addf(out, ", %s", conf_blocks[i].name);
}

static void fault_unknown(struct scanner *sc, const struct token *t, const struct block_def *in,
                          const char *name)
{
    const char *nearest = directives_nearest(in, name);
    struct buf where;
    if (in == &conf_blocks[0] && directives_block(name)) {
        SCAN_FAULT(sc, t->line, "`%s` is a block: expected `%s { … }`", name, name);
        return;
    }
    buf_init(&where, 0);
    if (in != &conf_blocks[0])
        buf_addf(&where, " in block `%s`", in->name);
    if (nearest) {
        buf_addf(&where, ": did you mean `%s`?", nearest);
    } else {
        buf_adds(&where, ": expected one of ");
        add_known_words(&where, in);
    }
    SCAN_FAULT(sc, t->line, "unknown word `%s`%s", scan_shown(sc, t).text, buf_cstr(&where));
    buf_free(&where);
}

/* True if the setting NAME may be kept: known, and the first of its name in this block. */
static bool accept_setting(struct scanner *sc, const struct token *t, const struct block_def *in,
                           size_t block, const char *name, bool append)
{
    if (!in || t->bad)
        return false;
    const struct directive *d = directives_find(in, name);
    if (!d) {
        const char *nearest = directives_nearest(in, name);
        const struct directive *meant = nearest ? directives_find(in, nearest) : NULL;
        if (meant)
            sc->s->blocks[block].named |= UINT64_C(1) << (meant - in->directives);
        fault_unknown(sc, t, in, name);
        return false;
    }
    sc->s->blocks[block].named |= UINT64_C(1) << (d - in->directives);
    if (d->flags & CONF_RESERVED) {
        SCAN_FAULT(sc, t->line, "`%s` cannot be used: %s", name, d->help);
        return false;
    }
    unsigned *seen = in == &conf_blocks[0] ? sc->seen_top : sc->seen_block;
    unsigned *first = &seen[d - in->directives];
    if (*first) {
        SCAN_FAULT(sc, t->line, "`%s` is repeated: it stands in line %u already", name, *first);
        return false;
    }
    *first = t->line;
    if (append)
        SCAN_FAULT(sc, t->line, "`+=` after `%s`: expected `=` and the whole list", name);
    return !append;
}

static bool assignment(struct scanner *sc, const struct token *name_token, const char *name,
                       const struct block_def *in, size_t block)
{
    struct scan *s = sc->s;
    bool keep = accept_setting(sc, name_token, in, block, name, sc->t.type == T_APPEND);
    bool braces = false;
    size_t first = s->value_count;
    sc->directive = in ? directives_find(in, name) : NULL;
    sc->in_value = true;
    scan_next(sc);
    bool good = values(sc, name, &braces);
    leave_value(sc);
    if (!good)
        return false;
    if (!keep) {
        s->value_count = first;
        scan_blank(sc, name_token->start, sc->last_end);
        return true;
    }
    s->settings = more(s->settings, s->setting_count, &s->setting_size, sizeof *s->settings);
    s->settings[s->setting_count++] = (struct scan_setting){.directive = directives_find(in, name),
                                                            .block = block,
                                                            .line = name_token->line,
                                                            .first = first,
                                                            .count = s->value_count - first,
                                                            .braces = braces};
    return true;
}

static bool is_title(const char *title, enum conf_title kind)
{
    size_t len = strlen(title);
    if (len == 0 || len > (kind == CONF_TITLE_NAME ? TITLE_NAME_MAX : TITLE_TEXT_MAX))
        return false;
    for (const char *c = title; *c; c++) {
        if (strchr("\n\t\"\\", *c) || (*c == '$' && c[1] == '{'))
            return false;
        if (kind == CONF_TITLE_NAME && (!scan_is_word_character(*c) || strchr(":/@%", *c)))
            return false;
    }
    return true;
}

static bool check_title(struct scanner *sc, const struct block_def *def, const struct token *name,
                        const struct token *t, const char *title)
{
    if (t && t->bad)
        return false;
    if (def->title == CONF_UNTITLED) {
        if (t)
            SCAN_FAULT(sc, t->line, "`%s`: block `%s` has no name", title, def->name);
        return !t;
    }
    if (!t) {
        SCAN_FAULT(sc, name->line, "`%s` needs a name: expected `%s \"name\" { … }`", def->name, def->name);
        return false;
    }
    if ((t->type == T_STRING && !t->plain) || !is_title(title, def->title)) {
        SCAN_FAULT(sc, t->line, "`%s`: expected a name %s", scan_shown(sc, t).text,
                   def->title == CONF_TITLE_NAME
                       ? "of 1 to 64 letters, digits, dots, dashes and underscores"
                       : "of 1 to 100 bytes in one line, without quotes and backslashes");
        return false;
    }
    return true;
}

/* Adds the block and returns its index. */
static size_t add_block(struct scanner *sc, const struct block_def *def, const struct token *name,
                        const struct token *title)
{
    struct scan *s = sc->s;
    s->blocks = more(s->blocks, s->block_count, &s->block_size, sizeof *s->blocks);
    struct scan_block *b = &s->blocks[s->block_count];
    *b = (struct scan_block){
        .def = def, .title = title ? token_text(sc, title) : xstrdup(""), .line = name->line};
    b->bad_title = !check_title(sc, def, name, title, b->title);
    memset(sc->seen_block, 0, sizeof sc->seen_block);
    return s->block_count++;
}

/* The kind of block that NAME opens inside IN; NULL, with a fault, if it may not stand there. */
static const struct block_def *accept_block(struct scanner *sc, const struct token *t,
                                            const struct block_def *in, const char *name)
{
    const struct block_def *def = directives_block(name);
    if (!in || t->bad)
        return NULL;
    if (directives_find(in, name))
        SCAN_FAULT(sc, t->line, "`%s` is a setting: expected `%s = …`", name, name);
    else if (in != &conf_blocks[0] && def)
        SCAN_FAULT(sc, t->line, "`%s` cannot stand inside `%s`: is a `}` missing before it?", name, in->name);
    else if (!def)
        fault_unknown(sc, t, in, name);
    return in == &conf_blocks[0] ? def : NULL;
}

static bool statement(struct scanner *sc, const struct block_def *in, size_t block, unsigned depth);

/* From `{` to `}`. */
static bool body(struct scanner *sc, const struct token *opener, const char *name, const struct block_def *in,
                 size_t block, unsigned depth)
{
    if (depth > DEPTH_MAX)
        return syntax(sc, &sc->t, "blocks less deep inside each other");
    scan_next(sc);
    while (sc->t.type != T_CLOSE) {
        if (sc->t.type == T_END) {
            SCAN_FAULT(sc, opener->line, "block `%s` is not closed: its `}` is missing", name);
            return false;
        }
        if (!statement(sc, in, block, depth))
            return false;
    }
    scan_next(sc);
    return true;
}

/* sc->t is the `{`; TITLE is NULL if none was given. */
static bool block_statement(struct scanner *sc, const struct token *name_token, const char *name,
                            const struct token *title, const struct block_def *in, unsigned depth)
{
    const struct block_def *def = accept_block(sc, name_token, in, name);
    size_t index = def ? add_block(sc, def, name_token, title) : 0;
    if (title)
        scan_blank(sc, title->start, title->end);
    if (!body(sc, name_token, name, def, index, depth + 1))
        return false;
    if (!def)
        scan_blank(sc, name_token->start, sc->last_end);
    return true;
}

/* sc->t is the path. */
static bool include_statement(struct scanner *sc, const struct token *name)
{
    struct scan *s = sc->s;
    struct token t = sc->t;
    if (t.bad)
        return false;
    if (t.type == T_STRING && (!t.plain || t.end - t.start <= 2)) {
        SCAN_FAULT(sc, t.line, "`include`: expected a path without escapes and variables");
        return false;
    }
    s->includes = more(s->includes, s->include_count, &s->include_size, sizeof *s->includes);
    s->includes[s->include_count++] = (struct scan_include){token_text(sc, &t), name->line};
    scan_next(sc);
    scan_blank(sc, name->start, sc->last_end);
    return true;
}

/* After a word that was followed by another: a title, a path to include, or a forgotten equals sign. */
static bool second_word(struct scanner *sc, const struct token *name_token, const char *name,
                        const struct block_def *in, unsigned depth)
{
    struct token title = sc->t;
    bool top = in == &conf_blocks[0];
    if (top && strcmp(name, "include") == 0)
        return include_statement(sc, name_token);
    scan_next(sc);
    if (sc->t.type == T_OPEN)
        return block_statement(sc, name_token, name, &title, in, depth);
    if (in && directives_find(in, name))
        SCAN_FAULT(sc, name_token->line, "`%s`: expected `=` and a value", name);
    else
        SCAN_FAULT(sc, name_token->line, "`%s`: expected `=` and a value, or `{` and a block", name);
    return false;
}

static bool named_statement(struct scanner *sc, const struct token *name_token, const char *name,
                            const struct block_def *in, size_t block, unsigned depth)
{
    if (strcmp(name, "include") == 0 && in == &conf_blocks[0] && sc->t.type == T_EQUALS)
        scan_next(sc);
    switch (sc->t.type) {
    case T_EQUALS:
    case T_APPEND:
        return assignment(sc, name_token, name, in, block);
    case T_OPEN:
        return block_statement(sc, name_token, name, NULL, in, depth);
    case T_WORD:
    case T_STRING:
        return second_word(sc, name_token, name, in, depth);
    default:
        return syntax(sc, &sc->t, "`=` and a value, or `{` and a block");
    }
}

static bool statement(struct scanner *sc, const struct block_def *in, size_t block, unsigned depth)
{
    struct token name_token = sc->t;
    if (name_token.type == T_CLOSE) {
        SCAN_FAULT(sc, name_token.line, "`}` closes nothing: no block is open here");
        return false;
    }
    if (name_token.type != T_WORD)
        return syntax(sc, &name_token, "the name of a setting or of a block");
    char *name = token_text(sc, &name_token);
    scan_next(sc);
    bool stray = name_token.bad && sc->t.type != T_EQUALS && sc->t.type != T_APPEND && sc->t.type != T_OPEN;
    if (stray)
        scan_blank(sc, name_token.start, name_token.end);
    bool good = stray || named_statement(sc, &name_token, name, in, block, depth);
    free(name);
    return good;
}

/* ---- the whole text ---- */

/* Copies without the carriage returns of DOS line ends and without a byte order mark. */
static void copy_text(struct scan *s, const char *text, size_t len)
{
    size_t i = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    s->text = xmalloc(len + 1);
    for (; i < len; i++)
        if (!(text[i] == '\r' && i + 1 < len && text[i + 1] == '\n'))
            s->text[s->len++] = text[i];
    s->text[s->len] = '\0';
}

/* Control characters and anything but UTF-8 have no place in the file; the markers rely on it. */
static bool check_bytes(struct scanner *sc)
{
    const char *s = sc->s->text;
    unsigned line = 1;
    size_t start = 0;
    for (size_t i = 0; i <= sc->s->len; i++) {
        if (i < sc->s->len && s[i] != '\n') {
            if (((unsigned char)s[i] >= ' ' && s[i] != 0x7f) || s[i] == '\t')
                continue;
            SCAN_FAULT(sc, line, "a control character, byte 0x%02x: expected text", (unsigned char)s[i]);
            return false;
        }
        if (!str_utf8_valid(s + start, i - start)) {
            SCAN_FAULT(sc, line, "this line is not UTF-8");
            return false;
        }
        start = i + 1;
        line++;
    }
    return true;
}

int scan_text(struct scan *s, const char *file, const char *text, size_t len, struct faults *faults)
{
    struct scanner sc = {.s = s, .file = file, .faults = faults, .line = 1};
    struct token top = {.line = 0};
    memset(s, 0, sizeof *s);
    copy_text(s, text, len);
    add_block(&sc, &conf_blocks[0], &top, NULL);
    if (!check_bytes(&sc))
        return -1;
    scan_next(&sc);
    while (sc.t.type != T_END)
        if (!statement(&sc, &conf_blocks[0], 0, 0))
            return -1;
    return 0;
}

void scan_free(struct scan *s)
{
    for (size_t i = 0; i < s->value_count; i++)
        if (s->values[i].text)
            xfree_secret(s->values[i].text, strlen(s->values[i].text));
    for (size_t i = 0; i < s->block_count; i++)
        free(s->blocks[i].title);
    for (size_t i = 0; i < s->include_count; i++)
        free(s->includes[i].path);
    xfree_secret(s->text, s->len);
    free(s->values);
    free(s->settings);
    free(s->blocks);
    free(s->includes);
    memset(s, 0, sizeof *s);
}
