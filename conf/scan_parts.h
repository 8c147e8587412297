/*
 * What the two halves of the scan share; nobody else includes this.
 *
 * scan.c        statements: settings, blocks, includes
 * scan_token.c  tokens, and what may be shown of them
 */
#ifndef CONF_SCAN_PARTS_H
#define CONF_SCAN_PARTS_H

#include "conf/scan.h"

enum { SCAN_WORD_SHOWN = 60 };

enum token_type { T_END, T_WORD, T_STRING, T_EQUALS, T_APPEND, T_OPEN, T_CLOSE, T_COMMA, T_PAREN, T_BROKEN };

struct token {
    enum token_type type;
    enum scan_quoting quoting;
    bool bad;          /* a fault was reported for it */
    bool plain;        /* a string without escapes and variables */
    size_t start, end; /* in the text, quotes included */
    unsigned line;
};

struct scanner {
    struct scan *s;
    const char *file;
    struct faults *faults;
    size_t at;
    unsigned line;
    struct token t;                    /* the current token */
    size_t last_end;                   /* where the token before it ended */
    const struct directive *directive; /* whose value is being read; NULL if unknown */
    bool in_value;
    unsigned seen_top[64], seen_block[64]; /* line of each directive's first appearance */
};

#define SCAN_FAULT(sc, line, ...) faults_add((sc)->faults, (sc)->file, line, __VA_ARGS__)

/* Reads the next token into SC->t; T_BROKEN behind a fault that ends the scan. */
void scan_next(struct scanner *sc);
/* True for the characters that words without quotes are made of. */
bool scan_is_word_character(char c);
/* Makes a piece of the text blank for the parser, but of as many lines. */
void scan_blank(struct scanner *sc, size_t start, size_t end);

struct shown {
    char text[SCAN_WORD_SHOWN + 1];
};
/* The token as a fault may show it: no secrets, no message text, phone numbers masked. */
struct shown scan_shown(const struct scanner *sc, const struct token *t);

#endif
