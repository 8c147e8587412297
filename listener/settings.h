/* What one listener is told to do: its slice, checked and in the form the other parts want it. */
#ifndef LISTENER_SETTINGS_H
#define LISTENER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/slice.h"

enum { SETTINGS_CHANNELS_MAX = 16, SETTINGS_SOLUTIONS_MAX = 256 };

struct settings {
    char *bridge; /* the block's title */
    char *url;    /* management API, http or https */
    char *ws_url; /* ws or wss */
    char *key_id;
    char *secret;
    char *ca_file;  /* NULL: the system's certificates */
    char *endpoint; /* of the dispatcher */
    char *session;  /* name of the token session: stable for installation, host, bridge and slot */
    /* Channels to subscribe to: first those of the configuration, then those that folding needs besides. */
    const char *channels[SETTINGS_CHANNELS_MAX];
    size_t channels_count, named_count;
    char *solutions[SETTINGS_SOLUTIONS_MAX];
    size_t solutions_count;
    bool folds; /* channel inbox is asked for */
    int64_t connect_timeout_ms, request_timeout_ms;
    int64_t reconnect_min_ms, reconnect_max_ms, silence_limit_ms;
    size_t frame_limit, outbox_bytes;
    int64_t spill_bytes; /* 0: no file */
    char *spill_dir;
    bool catch_up;
    int64_t catch_up_max_age_ms, catch_up_max_events, catch_up_overlap_ms;
};

/* Adds what is wrong with the slice. */
void settings_validate(const struct slice *slice, const char *instance, struct faults *faults);
/* From a slice that settings_validate passed. Never NULL. */
struct settings *settings_new(const struct slice *slice, const char *instance);
void settings_free(struct settings **s);

#endif
