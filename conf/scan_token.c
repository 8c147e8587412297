#include <string.h>

#include "conf/scan_parts.h"
#include "core/str.h"

void scan_blank(struct scanner *sc, size_t start, size_t end)
{
    for (size_t i = start; i < end; i++)
        if (sc->s->text[i] != '\n')
            sc->s->text[i] = ' ';
}

/* ---- words for faults ---- */

static bool is_number_like(const char *s, size_t len)
{
    size_t digits = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] >= '0' && s[i] <= '9')
            digits++;
        else if (!strchr("+-. ()", s[i]))
            return false;
    }
    return digits >= 7;
}

static bool is_private(enum conf_kind kind)
{
    return kind == CONF_SECRET || kind == CONF_TEMPLATE || kind == CONF_TEMPLATES;
}

struct shown scan_shown(const struct scanner *sc, const struct token *t)
{
    struct shown out;
    const char *s = sc->s->text + t->start;
    size_t len = t->end - t->start;
    if (sc->in_value && (!sc->directive || is_private(sc->directive->kind))) {
        strcpy(out.text, "…");
        return out;
    }
    if (len > SCAN_WORD_SHOWN)
        len = SCAN_WORD_SHOWN;
    while (len && ((unsigned char)s[len] & 0xc0) == 0x80)
        len--;
    memcpy(out.text, s, len);
    out.text[len] = '\0';
    if (is_number_like(s, len)) {
        struct shown copy = out;
        str_mask_number(copy.text, out.text, sizeof out.text);
    }
    return out;
}

/* ---- tokens ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static char peek(const struct scanner *sc, size_t ahead)
{
    return sc->at + ahead < sc->s->len ? sc->s->text[sc->at + ahead] : '\0';
}

static void advance(struct scanner *sc, size_t n)
{
    for (; n && sc->at < sc->s->len; n--)
        if (sc->s->text[sc->at++] == '\n')
            sc->line++;
}

static bool skip_comment(struct scanner *sc)
{
    size_t start = sc->at;
    if (peek(sc, 0) == '#' || (peek(sc, 0) == '/' && peek(sc, 1) == '/')) {
        while (sc->at < sc->s->len && peek(sc, 0) != '\n')
            advance(sc, 1);
    } else if (peek(sc, 0) == '/' && peek(sc, 1) == '*') {
        unsigned line = sc->line;
        advance(sc, 2);
        while (sc->at < sc->s->len && !(peek(sc, 0) == '*' && peek(sc, 1) == '/'))
            advance(sc, 1);
        if (sc->at >= sc->s->len)
            SCAN_FAULT(sc, line, "`/*`: the comment that begins here is not closed");
        advance(sc, 2);
    } else {
        return false;
    }
    scan_blank(sc, start, sc->at);
    return true;
}

static void skip_space(struct scanner *sc)
{
    for (;;) {
        if (sc->at < sc->s->len && is_space(peek(sc, 0)))
            advance(sc, 1);
        else if (!skip_comment(sc))
            return;
    }
}

static bool ends_word(const struct scanner *sc)
{
    char c = peek(sc, 0);
    return sc->at >= sc->s->len || is_space(c) || strchr("#\"'={}(),", c) || (c == '+' && peek(sc, 1) == '=');
}

bool scan_is_word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_.:/@%-", c));
}

static void fault_word(struct scanner *sc, const struct token *t)
{
    const char *s = sc->s->text + t->start;
    struct shown word = scan_shown(sc, t);
    if (*s == '+' && is_number_like(s, t->end - t->start))
        SCAN_FAULT(sc, t->line, "`%s`: a phone number must be in quotes, or its plus is lost", word.text);
    else if (memchr(s, '$', t->end - t->start))
        SCAN_FAULT(sc, t->line, "`%s`: `${…}` works in double quotes only", word.text);
    else if (sc->in_value && sc->directive)
        SCAN_FAULT(sc, t->line, "`%s`: `%s`: a value with such characters must be in quotes",
                   sc->directive->name, word.text);
    else if (sc->in_value)
        SCAN_FAULT(sc, t->line, "a value with such characters must be in quotes");
    else
        SCAN_FAULT(sc, t->line, "`%s`: unexpected here", word.text);
}

/* A word without quotes. Characters that the parser would drop or take for something else are a fault. */
static void lex_word(struct scanner *sc, struct token *t)
{
    bool bad = false;
    t->type = T_WORD;
    while (!ends_word(sc)) {
        bool variable = peek(sc, 0) == '$' && peek(sc, 1) == '{';
        bad = bad || !scan_is_word_character(peek(sc, 0));
        advance(sc, 1);
        while (variable && sc->at < sc->s->len && !is_space(peek(sc, 0)) && peek(sc, 0) != '}')
            advance(sc, 1);
        if (variable && peek(sc, 0) == '}')
            advance(sc, 1);
    }
    t->end = sc->at;
    if (!bad)
        return;
    t->bad = true;
    fault_word(sc, t);
    memset(sc->s->text + t->start, 'x', t->end - t->start);
}

/* `\X` in double quotes: libConfuse knows more escapes, and makes `X` of the rest. */
static void lex_escape(struct scanner *sc, struct token *t)
{
    char c = peek(sc, 1);
    t->plain = false;
    if (!c || !strchr("\\\"'$nrt\n", c)) {
        t->bad = true;
        if (c > ' ' && c < 0x7f)
            SCAN_FAULT(sc, sc->line,
                       "`\\%c` is no escape in double quotes: write the value in single quotes, or `\\\\%c`",
                       c, c);
        else
            SCAN_FAULT(sc, sc->line, "`\\`: write the value in single quotes, or `\\\\`");
        memset(sc->s->text + sc->at, 'x', c && (unsigned char)c < 0x80 ? 2 : 1);
    }
    advance(sc, sc->at + 1 < sc->s->len ? 2 : 1);
}

/* `${NAME}`: hidden from the parser, which would put nothing where the variable is missing. */
static void lex_variable(struct scanner *sc, struct token *t)
{
    size_t n = 2;
    t->plain = false;
    while (peek(sc, n) && !strchr("}\"\n", peek(sc, n)))
        n++;
    if (peek(sc, n) != '}') {
        t->bad = true;
        SCAN_FAULT(sc, sc->line,
                   "`${`: the name of a variable and `}` must follow; write `\\${` for the characters");
        sc->s->text[sc->at] = 'x';
        advance(sc, 1);
        return;
    }
    sc->s->text[sc->at] = SCAN_ENVIRONMENT;
    advance(sc, n + 1);
}

static void lex_string(struct scanner *sc, struct token *t)
{
    char quote = peek(sc, 0);
    t->type = T_STRING;
    t->quoting = quote == '"' ? SCAN_DOUBLE : SCAN_SINGLE;
    t->plain = true;
    advance(sc, 1);
    while (sc->at < sc->s->len && peek(sc, 0) != quote) {
        if (quote == '"' && peek(sc, 0) == '\\')
            lex_escape(sc, t);
        else if (quote == '"' && peek(sc, 0) == '$' && peek(sc, 1) == '{')
            lex_variable(sc, t);
        else if (peek(sc, 0) == '\\')
            advance(sc, 2);
        else
            advance(sc, 1);
    }
    if (sc->at >= sc->s->len) {
        t->type = T_BROKEN;
        SCAN_FAULT(sc, t->line, "`%c`: the quotes that open here are not closed", quote);
    }
    advance(sc, 1);
    t->end = sc->at;
}

void scan_next(struct scanner *sc)
{
    static const char signs[] = "={},()";
    static const enum token_type types[] = {T_EQUALS, T_OPEN, T_CLOSE, T_COMMA, T_PAREN, T_PAREN};
    sc->last_end = sc->t.end;
    skip_space(sc);
    struct token *t = &sc->t;
    *t = (struct token){.start = sc->at, .end = sc->at, .line = sc->line};
    char c = peek(sc, 0);
    if (sc->at >= sc->s->len) {
        t->type = T_END;
    } else if (c == '"' || c == '\'') {
        lex_string(sc, t);
    } else if (c == '+' && peek(sc, 1) == '=') {
        t->type = T_APPEND;
        advance(sc, 2);
    } else if (strchr(signs, c)) {
        t->type = types[strchr(signs, c) - signs];
        advance(sc, 1);
    } else {
        lex_word(sc, t);
    }
    t->end = sc->at;
    if (sc->faults->count > SCAN_FAULTS_MAX)
        t->type = T_BROKEN;
}
