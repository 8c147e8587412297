/*
 * The configuration's directives: one table, a row each. Parsing, checking, `bridgebell check --print`,
 * docs/configuration.md and the man page bridgebell.conf(5) are all made from it; a new directive is a new
 * row.
 */
#ifndef CONF_DIRECTIVES_H
#define CONF_DIRECTIVES_H

#include <stddef.h>
#include <stdint.h>

enum conf_kind {
    CONF_TEXT,        /* any UTF-8 without control characters; min and max bound its bytes */
    CONF_TEMPLATE,    /* text of several lines: an expression or a message */
    CONF_NAME,        /* letters, digits, dot, dash, underscore */
    CONF_SENDER_NAME, /* what a provider shows as the sender (CONTRACT.md section 3, `from`) */
    CONF_PATH,        /* a file or directory; relative ones stand beside the configuration file */
    CONF_STORE,       /* sqlite:PATH */
    CONF_SECRET,
    CONF_SECRET_FILE, /* the file that holds the secret of the same name without "_file" */
    CONF_URL,         /* absolute, of one of the schemes in `words` */
    CONF_LISTEN,      /* address:port on loopback, or off */
    CONF_WORD,        /* one of `words` */
    CONF_WORDS,       /* a list of `words` */
    CONF_TEXTS,       /* a list of texts */
    CONF_TEMPLATES,   /* a list of CONF_TEMPLATE */
    CONF_RECIPIENTS,  /* a list of phone numbers, names of recipients blocks and expressions */
    CONF_SWITCH,
    CONF_NUMBER,
    CONF_DURATION, /* min and max in milliseconds */
    CONF_SIZE,     /* min and max in bytes */
    CONF_RATE,     /* min and max are the bounds of the count */
    CONF_RATES, /* several rates, which all hold; the slice has them as "COUNT/MILLISECONDSms …", or "off" */
    CONF_MONEY, /* an amount with at most six decimals; the slice has millionths */
    CONF_KINDS
};

enum conf_flag {
    CONF_REQUIRED = 1,
    CONF_FIXED = 2,       /* cannot change on reload */
    CONF_ENVIRONMENT = 4, /* ${NAME} is replaced */
    CONF_OFF = 8,         /* a rate that may be off */
    CONF_PLAIN = 16,      /* a rate that may be a plain number, per second */
    CONF_RESERVED = 32,   /* known, but refused with the reason in `help` */
};

/* Who gets a directive's value. */
enum conf_role {
    CONF_MASTER = 1,
    CONF_LISTENER = 2,
    CONF_DISPATCHER = 4,
    CONF_SENDER = 8,
    CONF_EVERYONE = 15,
};

struct directive {
    const char *name;
    enum conf_kind kind;
    unsigned flags;
    unsigned roles;
    int64_t min, max;    /* 0, 0: no bounds but the kind's own */
    const char *initial; /* the default, as it would be written; NULL: none */
    const char *const *words;
    const char *help;
    const char *example; /* a value as it would be written */
};

enum conf_title {
    CONF_UNTITLED,
    CONF_TITLE_NAME, /* letters, digits, dot, dash, underscore */
    CONF_TITLE_TEXT, /* any text without control characters and quotes */
};

/* A kind of block with its directives. Untitled blocks stand at most once and exist, with all defaults, when
 * the file does not have them. */
struct block_def {
    const char *name;
    enum conf_title title;
    const struct directive *directives;
    size_t count;
    const char *help;
    const char *example; /* a title; NULL if it has none */
};

/* All blocks; the first is CONF_TOP, what stands outside of any block. */
extern const struct block_def conf_blocks[];
extern const size_t conf_blocks_count;

/* Type of the slice block that carries the settings outside of any block. */
#define CONF_TOP "bridgebell"

/* NULL if unknown. */
const struct block_def *directives_block(const char *name);
const struct directive *directives_find(const struct block_def *block, const char *name);
/* The nearest known word to NAME in BLOCK (words of settings, at top level also those of blocks), or NULL. */
const char *directives_nearest(const struct block_def *block, const char *name);
/* "duration", "list of words"...: the kind, for people. */
const char *directives_kind(const struct directive *d);
/* The directive that names a file instead of D's secret, or the reverse; NULL if D is neither. */
const struct directive *directives_partner(const struct block_def *block, const struct directive *d);

#endif
