/*
 * What a provider is to the sender: something that takes a request (one text, one or more recipients) and
 * says once what became of each recipient.
 *
 * A provider never decides whether something is sent again; it only tells what the outcome proves. Where it
 * does not know, it says WIRE_UNKNOWN. It runs in the loop and never blocks.
 */
#ifndef SENDER_PROVIDER_H
#define SENDER_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/slice.h"
#include "proto/wire.h"

enum {
    PROVIDER_NUMBER_MAX = 20, /* bytes of a number, plus and NUL included; E.164 has at most 15 digits */
    PROVIDER_ID_MAX = 64,     /* bytes of a provider's id, NUL included */
    PROVIDER_WORDS_MAX = 201, /* bytes of the provider's words, NUL included */
};

struct request_job {
    struct hash_id job;
    uint32_t attempt;
    char number[PROVIDER_NUMBER_MAX]; /* with a leading plus */
    char idx[WIRE_IDX_MAX];
};

/* What became of one job of a request. WIRE_UNSENT comes with WIRE_TRANSIENT if the provider cannot be
 * reached, with WIRE_CLASS_NONE if it says nothing of the line. */
struct verdict {
    enum wire_outcome outcome;
    enum wire_class class;
    int32_t code;           /* the provider's, 0: none */
    int32_t parts;          /* -1: not said */
    int64_t points_micro;   /* -1: not said */
    int64_t retry_after_ms; /* -1: not said */
    char id[PROVIDER_ID_MAX];
    char words[PROVIDER_WORDS_MAX]; /* "": nothing to say; neither text nor number */
};

struct request;
/* Called once for each request, from inside send or later. VERDICTS holds one for each job, in order, and is
 * valid during the call only. The request may be freed in it. */
typedef void request_done_fn(struct request *r, const struct verdict *verdicts);

/* One request to a provider. Made and freed by sender/grants.c; everything in one piece of memory. */
struct request {
    struct request *next;  /* the owner's list */
    request_done_fn *done; /* set before send */
    void *owner;           /* the owner's */
    void *transfer;        /* the provider's, between send and done */
    uint64_t start_by_ms;  /* clock_boot_ms; not to be written later than that */
    uint64_t sent_ns;      /* clock_mono_ns at send */
    const char *text;      /* NUL-terminated */
    const char *from;      /* sender name, NULL: the account's */
    size_t text_len, from_len;
    int64_t expires_in_s; /* -1: never */
    int32_t http_status;  /* for the result: 0: no answer */
    uint32_t connect_us, answer_us;
    size_t count;
    struct request_job *jobs; /* COUNT */
};

/* True if the request came too late: it goes back as WIRE_UNSENT, nothing written. */
bool request_is_late(const struct request *r);

/* Counters of one provider, for WIRE_STATS. */
struct provider_stats {
    uint64_t requests;    /* written to the provider, or possibly so */
    uint64_t connections; /* opened */
    uint64_t late;        /* given back because their time had passed */
    uint64_t failovers;   /* changes to the other host */
};

struct provider;
struct provider_ops {
    const char *type; /* "smsapi" */
    /* Adds what is wrong with the block; no side effects. */
    void (*validate)(const struct slice_block *block, struct faults *faults);
    /* NULL with faults added if it cannot work. The block stays alive as long as the provider. */
    struct provider *(*make)(const struct slice_block *block, struct faults *faults);
    /* Requests that may run at once. */
    size_t (*slots)(const struct provider *p);
    /* Takes the request until done is called. */
    void (*send)(struct provider *p, struct request *r);
    /* Asks whether the line works; ANSWER is called once, from inside or later. One at a time. */
    void (*probe)(struct provider *p, void (*answer)(void *arg, bool works, const char *detail), void *arg);
    void (*stats)(const struct provider *p, struct provider_stats *out);
    /* Requests in flight are forgotten without done. */
    void (*free)(struct provider *p);
};
/* Every provider begins with this. */
struct provider {
    const struct provider_ops *ops;
    const char *name; /* the block's title */
};

extern const struct provider_ops smsapi_ops, log_ops;
/* The one whose type is TYPE, or NULL. */
const struct provider_ops *provider_find(const char *type);

#endif
