/*
 * A compiled expression from the inside: a tree of nodes in the program's own arena, every name resolved,
 * every literal list folded, every literal pattern and time zone prepared. The parser builds it, the
 * evaluator walks it, the analysis reads it. Nothing changes it after expr_compile returned.
 */
#ifndef BRIDGEBELL_DISPATCHER_EXPR_PROGRAM_H
#define BRIDGEBELL_DISPATCHER_EXPR_PROGRAM_H

#include "dispatcher/expr/expr.h"
#include "dispatcher/expr/overload.h"

struct expr_regex;
struct expr_zone;
struct machine;
struct node;

enum node_op {
    OP_CONST,    /* value */
    OP_VARIABLE, /* slot; value: what it stands for when it is unbound, an EXPR_ERROR unless its name is a
                    type's */
    OP_LOCAL,    /* slot: the variable of a macro */
    OP_UNKNOWN,  /* value: the failure of an unknown name */
    OP_SELECT,   /* a.name; value: the failure for a missing key */
    OP_HAS,      /* has(a.name) */
    OP_INDEX,    /* a[b] */
    OP_LIST,     /* children */
    OP_MAP,      /* children: key, value, key, value, ... */
    OP_NOT,
    OP_NEGATE,
    OP_AND, /* children, two or more */
    OP_OR,  /* children, two or more */
    OP_CONDITIONAL,
    OP_EQUAL,
    OP_DIFFERENT,
    OP_LESS,
    OP_LESS_EQUAL,
    OP_GREATER,
    OP_GREATER_EQUAL,
    OP_IN,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_MODULO,
    OP_CALL, /* builtin, children: the receiver first */
    OP_HOST, /* function, children */
    OP_ALL,  /* a: range, slot: local, b: predicate */
    OP_EXISTS,
    OP_EXISTS_ONE,
    OP_FILTER,
    OP_TRANSFORM, /* map(): b: predicate or NULL, c: transform */
    OP_UNSAFE,    /* unsafe(a), at the root of a template's insertion only */
    OP_COUNT
};

/* What a built-in function computes; `args` are `node->count` values, none an error. */
typedef struct expr_value builtin_call(struct machine *m, const struct node *node,
                                       const struct expr_value *args);

#define BUILTIN_OVERLOADS 2u

struct builtin {
    const char *name;
    unsigned min_args; /* counted with the receiver */
    unsigned max_args;
    unsigned styles; /* BUILTIN_* */
    builtin_call *call;
    struct overload overloads[BUILTIN_OVERLOADS]; /* of values; what it computes of others is a failure */
};

enum { BUILTIN_GLOBAL = 1, BUILTIN_METHOD = 2, BUILTIN_FOLDS = 4 /* may be computed at compile time */ };

struct node {
    uint16_t op;     /* enum node_op */
    uint16_t height; /* levels below and with this node; bounds the evaluator's stack */
    uint32_t count;  /* children */
    uint32_t offset; /* in the source */
    uint32_t slot;
    struct expr_value value;
    const struct node *a;
    const struct node *b;
    const struct node *c;
    const struct node **children;
    const char *name; /* SELECT, HAS: the field; VARIABLE; HOST: the function; NUL-terminated */
    uint32_t name_length;
    union {
        const struct builtin *builtin;
        const struct expr_function *function;
    } call;
    const struct expr_regex *regex; /* CALL matches with a literal pattern */
    const struct expr_zone *zone;   /* CALL get…() with a literal time zone */
};

/* What must be freed beside the arena. */
struct program_regex {
    struct program_regex *next;
    struct expr_regex *regex;
};

struct expr {
    const struct node *root;
    char *source;
    size_t source_length;
    struct expr_arena *arena;
    struct program_regex *regexes;
    const struct node **variables; /* the nodes that read a variable, for expr_uses_slot */
    size_t variable_count;
    const struct node **hosts; /* the nodes that call the host */
    size_t host_count;
};

/* The state of one evaluation. */
struct machine {
    const struct expr_value *values;
    size_t value_count;
    struct expr_arena *arena;
    void *context;
    uint32_t steps;
    bool exhausted;
    struct expr_value locals[EXPR_LOCALS_LIMIT];
};

enum { COMPILE_ALLOW_UNSAFE = 1 };

/* expr_compile with flags, for templates. */
struct expr *expr_compile_flags(const char *source, size_t len, const struct expr_env *env, unsigned flags,
                                struct expr_error *error);
/* Fills line and column from the offset. */
void expr_error_locate(struct expr_error *error, const char *source, size_t len);
/* Evaluates a tree. */
struct expr_value machine_eval(struct machine *m, const struct node *node);
/* Takes `cost` steps; false when there are none left, and the evaluation is lost. */
bool machine_charge(struct machine *m, size_t cost);
/* The failure for an operation that the types do not have. */
struct expr_value machine_no_overload(struct machine *m, const char *operation, const struct expr_value *args,
                                      size_t count);
/* The built-in functions, by name; NULL when there is none. */
const struct builtin *builtin_find(const char *name, size_t length);
/* The names of all built-in functions, NULL-terminated, for suggestions. */
const char *const *builtin_names(void);

#endif
