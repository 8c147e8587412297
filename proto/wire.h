/*
 * The messages between listener, dispatcher and sender (docs/wire.md is the same list for readers).
 *
 * Acknowledgement: a listener keeps every event until WIRE_EVENTS_ACK covers its batch; a sender keeps every
 * outcome until WIRE_RESULTS_ACK covers it. Sequence numbers start at 1 with each incarnation of the client
 * and are cumulative; after a welcome everything unacknowledged is sent again with its old numbers.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "proto/event.h"
#include "proto/link.h"

enum wire_message {
    /* listener -> dispatcher */
    WIRE_EVENTS = 16, /* seq uint, mark_ms int (-1: none), events array of bin */
    WIRE_INTEREST_OK, /* number uint: this interest is in force */
    WIRE_STATS, /* values array of [name str, label str, value int]; state str; also sender -> dispatcher */
    /* dispatcher -> listener */
    WIRE_EVENTS_ACK, /* seq uint: all up to it are committed */
    WIRE_INTEREST,   /* number uint, interest (see wire_interest) */
    WIRE_RESYNC,     /* since_ms int: catch up from there; reserved for `bridgebell resync` */
    /* dispatcher -> sender */
    WIRE_GRANTS,      /* number uint, array of grant */
    WIRE_RESULTS_ACK, /* seq uint: all up to it are committed */
    WIRE_PROBE,       /* provider str: ask whether the line works (GET /ping, /profile) */
    /* sender -> dispatcher */
    WIRE_RESULTS,      /* seq uint, credit, array of result */
    WIRE_CREDIT,       /* credit */
    WIRE_PROBE_RESULT, /* provider str, ok bool, detail str */
    /* dispatcher -> listener */
    WIRE_MEMBERS_ASK, /* members_ask (see wire_members_ask): who is in a container? */
    /* listener -> dispatcher */
    WIRE_MEMBERS, /* members (see wire_members) */
};

/* ---- members: who is in a container ----
 * Asked for by number; of two questions for one container under way only the later one is answered. */
struct wire_members_ask {
    uint64_t number;
    struct msg_str channel, container;
    struct msg_str context; /* absent: not known, all contexts are searched */
};
enum wire_members_outcome {
    WIRE_MEMBERS_FOUND,
    WIRE_MEMBERS_NONE, /* there is no such container, or the key may not see it */
    WIRE_MEMBERS_BUSY, /* not now: too many questions, or the Bridge refuses again and again */
    WIRE_MEMBERS_OUTCOMES
};
enum {
    WIRE_MEMBERS_MAX = 32768,    /* users and managers together (PROTOCOL.md section 7) */
    WIRE_MEMBERS_ID_BYTES = 512, /* of a user id: 128 characters */
};
struct wire_members {
    uint64_t number;
    struct msg_str container;
    enum wire_members_outcome outcome;
    int64_t version;         /* of the container; -1 unless found */
    struct msg_fields users; /* reading: so many texts; ids may stand in it twice */
};
void wire_put_members_ask(struct msg_out *m, const struct wire_members_ask *a);
/* Each 0, or -1 if malformed; views point into the message. Nothing may be left over behind them. */
int wire_get_members_ask(struct msg_fields *f, struct wire_members_ask *a);
/* Writes what is in front of the users, of which COUNT texts are then put. */
void wire_put_members(struct msg_out *m, const struct wire_members *a, size_t count);
int wire_get_members(struct msg_fields *f, struct wire_members *a);

/* ---- hello of a sender: extra = one WIRE_CREDIT message ---- */

/* ---- welcome of a listener: extra = [mark_ms int (-1: none yet, start from now), installation str] ---- */

/* ---- interest ----
 * What a dispatcher can use of a bridge's events. A frame is wanted if an entry's channel and type fit (empty
 * list: any) and, for each of its conditions, the named member of `data` has one of the values. Sound, not
 * exact: it may want too much, never too little. No entries: nothing is wanted. */
struct wire_condition {
    char *
        path; /* "data.threadId"; or "container", "item", "context", "author" which the type table resolves */
    char **values;
    size_t count;
};
struct wire_interest_entry {
    char **channels;
    size_t channels_count;
    char **types;
    size_t types_count;
    struct wire_condition *conditions;
    size_t conditions_count;
};
struct wire_interest {
    uint64_t number;
    bool everything; /* no filter at all */
    struct wire_interest_entry *entries;
    size_t count;
};
void wire_put_interest(struct msg_out *m, const struct wire_interest *i);
int wire_get_interest(struct msg_fields *f, struct wire_interest *i); /* 0 or -1; free either way */
void wire_interest_free(struct wire_interest *i);

/* ---- credit ----
 * What a sender can take. FREE is absolute, as of having seen grant message SEEN; the dispatcher reckons
 * FREE minus what it granted since. STAMP is the sender's boot-time clock when it spoke; a grant gives it
 * back together with the time that passed at the dispatcher, so that a start-by time needs no common clock.
 */
struct wire_credit {
    uint64_t free;  /* requests, not jobs */
    uint64_t seen;  /* number of the last WIRE_GRANTS received from this dispatcher incarnation */
    uint64_t stamp; /* ms, sender's CLOCK_BOOTTIME */
};
void wire_put_credit(struct msg_out *m, const struct wire_credit *c);
void wire_get_credit(struct msg_fields *f, struct wire_credit *c);

/* ---- grants: one grant is one request to a provider ---- */
enum { WIRE_GRANT_JOBS_MAX = 100, WIRE_TEXT_MAX = 4096, WIRE_IDX_MAX = 48 };

struct wire_grant_job {
    struct hash_id job;
    uint32_t attempt;      /* numbered from 1 within the job */
    uint32_t generation;   /* idx = 32 hex digits of the job, dash, generation */
    struct msg_str number; /* with country code, leading plus */
};
struct wire_grant {
    struct msg_str provider;
    uint64_t stamp;       /* the credit's stamp, given back */
    uint64_t start_by_ms; /* from STAMP on the sender's boot-time clock: later than that, do not send */
    int64_t expires_in_s; /* for the provider's expiration_date; -1: none */
    struct msg_str from;  /* sender name; absent: the account's */
    struct msg_str text;
    const struct wire_grant_job *jobs;
    size_t count; /* 1 … WIRE_GRANT_JOBS_MAX, no number twice */
};
void wire_put_grant(struct msg_out *m, const struct wire_grant *g);
/* JOBS has room for WIRE_GRANT_JOBS_MAX. Views point into the message. 0 or -1. */
int wire_get_grant(struct msg_fields *f, struct wire_grant *g, struct wire_grant_job *jobs);
/* "0123…-1"; OUT holds WIRE_IDX_MAX bytes. */
void wire_idx(const struct hash_id *job, uint32_t generation, char *out);

/* ---- results ---- */
enum wire_outcome {
    WIRE_UNSENT,   /* certainly nothing was written (came too late, name resolution, connect or TLS failed) */
    WIRE_ACCEPTED, /* the provider took it */
    WIRE_DUPLICATE, /* the provider knows this idx already (SMSAPI 53) */
    WIRE_REFUSED,   /* a definite refusal: nothing was accepted; CLASS says what to do */
    WIRE_UNKNOWN,   /* may or may not have been accepted */
    WIRE_OUTCOMES
};
extern const char *const wire_outcome_names[WIRE_OUTCOMES + 1];

/* The classes of errors.csv, CONTRACT.md section 4. Also given with WIRE_UNKNOWN and WIRE_UNSENT as a hint.
 */
enum wire_class {
    WIRE_CLASS_NONE,
    WIRE_PERMANENT_MESSAGE,
    WIRE_PERMANENT_ACCOUNT,
    WIRE_PER_NUMBER,
    WIRE_TRANSIENT,
    WIRE_THROTTLED,
    WIRE_DUPLICATE_IDX,
    WIRE_CONFIG,
    WIRE_CLASSES
};
extern const char *const wire_class_names[WIRE_CLASSES + 1];

struct wire_result {
    struct hash_id job;
    uint32_t attempt;
    enum wire_outcome outcome;
    enum wire_class class;
    int32_t code;                   /* the provider's, 0: none */
    int32_t http_status;            /* 0: no answer */
    int64_t retry_after_ms;         /* -1: not said */
    int64_t points_micro;           /* price in millionths of a point; -1: not said */
    int32_t parts;                  /* -1: not said */
    uint32_t connect_us, answer_us; /* for the result line */
    struct msg_str provider_id;
    struct msg_str words; /* the provider's words or a fixed phrase; at most 200 bytes; no text, no number */
};
void wire_put_result(struct msg_out *m, const struct wire_result *r);
void wire_get_result(struct msg_fields *f, struct wire_result *r);

#endif
