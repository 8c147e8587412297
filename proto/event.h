/*
 * Normalised events: what a Bridge's notification becomes before anything looks at it.
 *
 * Owns the one table that says, for each type of notification, which members of `data` name the context, the
 * container, the item and the author, and what makes such an event unique (PROTOCOL.md section 7). From that
 * table comes the event's key: a hash of the recipe's version, the bridge's name, the type and the unique
 * parts. The key decides whether an event is known already, so changing the recipe repeats messages:
 * EVENT_RECIPE must then change too, on purpose.
 *
 * Recipe 1: creations - the item's id alone (kvdb entries: kvdb, key and createDate); updates - id and
 * version; message updates, statistics and kvdb entry deletions - id and the frame's timestamp; other
 * deletions - the id; unknown types - a hash of the whole frame. A creation read from a list (recovered) has
 * the key of the live one.
 */
#ifndef PROTO_EVENT_H
#define PROTO_EVENT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "proto/msg.h"

enum {
    EVENT_RECIPE = 1,
    EVENT_FRAME_MAX = 16 * 1024 * 1024, /* PROTOCOL.md section 7 asks for 8 MiB or more */
    EVENT_DEPTH_MAX = 30,               /* levels of JSON that are carried; deeper parts become null */
};

/* How a type relates to its item; decides the key and what cancel-on-delete looks for. */
enum event_sort { EVENT_CREATED, EVENT_UPDATED, EVENT_DELETED, EVENT_STATS };

/* One row of the table. Members are names in `data`; NULL where the type has none. */
struct event_type {
    const char *channel;
    const char *type;
    enum event_sort sort;
    bool is_container; /* the item is a thread, store, inbox, stream room or kvdb itself */
    const char *item, *container, *context, *author;
    const char *unique[4]; /* members of data; "@timestamp" is the frame's */
};
/* The row for a type, or NULL if it is unknown. */
const struct event_type *event_type_find(const char *type, size_t len);
extern const struct event_type event_types[];
extern const size_t event_types_count;

/* Views into the packed form or into the JSON tree; absent ones have data NULL. */
struct event {
    struct hash_id key;
    struct msg_str bridge, channel, type;
    struct msg_str context, container, item, author;
    int64_t timestamp_ms;      /* the Bridge's time */
    int64_t received_ms;       /* ours, wall clock; for people only */
    uint64_t received_mono_ns; /* for latency on one host; 0 if recovered */
    bool recovered;
    const msgpack_object *data; /* set by event_unpack */
};

/* Parses one notification (LEN bytes of JSON text) and appends its packed form to OUT.
 * 0; -1 with *WHY (a fixed phrase) if it is not a notification: not JSON, not UTF-8, too large, one of the
 * four members missing or of another type. NUL characters in strings become U+FFFD. Never fails because of
 * what is inside `data`. */
int event_normalise(const char *bridge, const char *frame, size_t len, int64_t received_ms,
                    uint64_t received_mono_ns, struct buf *out, const char **why);
/* The same for a frame already parsed. RAW is the text, for the key of unknown types. */
int event_from_json(const char *bridge, const cJSON *frame, const char *raw, size_t len, int64_t received_ms,
                    uint64_t received_mono_ns, bool recovered, struct buf *out, const char **why);
/* Views of a packed event; M holds the decoded tree. 0 or -1 if malformed. */
int event_unpack(struct msg_in *m, const void *data, size_t len, struct event *e);
/* Packs header E with DATA (a JSON value, may be NULL) into OUT. */
void event_pack(const struct event *e, const cJSON *data, struct buf *out);

/* Packed data as JSON; NULL where it holds what JSON cannot say. The caller frees. */
cJSON *event_msgpack_to_json(const msgpack_object *object);
/* Parses bounded, valid-UTF-8 JSON text. What cJSON cannot carry is replaced, never refused: \u0000 and half
 * a surrogate pair become \ufffd, and containers nested too deep become empty. NULL if the text is not JSON.
 */
cJSON *event_parse_json(const char *text, size_t len);

#endif
