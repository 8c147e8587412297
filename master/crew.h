/*
 * A crew: one configuration and all the processes that work by it.
 *
 * A crew owns its configuration with the secrets, its door (the listening socket of the operator's HTTP door)
 * and its slots. A reload builds a second crew and lets it take over, kind by kind; the old one is freed when
 * its last process has gone.
 */
#ifndef MASTER_CREW_H
#define MASTER_CREW_H

#include "conf/conf.h"
#include "master/slot.h"

enum { CREW_SENDERS_MAX = 64 };

struct crew;

struct crew_ops {
    void (*changed)(struct crew *crew, struct slot *slot);
    void (*reply)(struct crew *crew, struct slot *slot, uint64_t id, const char *text, size_t len);
};

struct crew {
    const struct crew_ops *ops;
    struct conf *conf;
    int door_fd;       /* -1: none */
    char session_slot; /* 'a' or 'b': which of the two token sessions its listeners use */
    char **environment;
    struct slot **slots; /* dispatcher, senders, listeners */
    size_t count;
    unsigned last_sender; /* highest number given to a sender */
    int64_t loaded_ms;    /* wall clock */
};

/* Takes CONF and DOOR_FD over. Nothing is started. */
struct crew *crew_new(struct conf *conf, int door_fd, char session_slot, const struct crew_ops *ops);
/* Kills what still lives. */
void crew_free(struct crew **crew);

/* KIND may be PROCESS_KINDS, all of them, wherever one is asked for. */
void crew_start(struct crew *crew, enum process_kind kind, bool on_trial);
void crew_trust(struct crew *crew, enum process_kind kind);
void crew_quit(struct crew *crew, enum process_kind kind, int64_t limit_ms);
void crew_stop(struct crew *crew, enum process_kind kind);
void crew_kill(struct crew *crew, enum process_kind kind);
/* Wants again what was told to go. */
void crew_restore(struct crew *crew, enum process_kind kind);
/* No slot is starting, or about to on trial. */
bool crew_is_settled(const struct crew *crew, enum process_kind kind);
/* No slot has a process or waits for one. */
bool crew_is_empty(const struct crew *crew, enum process_kind kind);
/* NULL if there is none. */
struct slot *crew_find(const struct crew *crew, enum process_kind kind, const char *name);
struct slot *crew_dispatcher(const struct crew *crew);

/* Senders wanted. */
unsigned crew_senders(const struct crew *crew);
/* Starts or sends away senders until there are COUNT (at most CREW_SENDERS_MAX), the highest numbers first.
 */
void crew_scale(struct crew *crew, unsigned count);
/* Frees slots that were scaled away and are empty. Not from within a slot's call. */
void crew_sweep(struct crew *crew);
void crew_reopen_logs(struct crew *crew);

/* The slice for a slot of KIND and NAME; the caller frees. */
struct slice *crew_slice(const struct conf *conf, enum process_kind kind, const char *name,
                         char session_slot);
/* For a process that is to work, now or as soon as this slice is found good: SLICE_STARTING. */
void crew_mark_starting(struct slice *slice);
/* environ without what holds a secret of CONF; see childenv.h. The caller frees. */
char **crew_environment(const struct conf *conf);

#endif
