/*
 * Inbox entries: what a visitor submits arrives as a thread message and store files (PROTOCOL.md section 7),
 * and becomes one event inbox / inboxEntry.
 *
 * The parts are joined by ids, never by nearness in time: a message of author `<anonymous>` with key id
 * `<inbox-INBOX>` is the entry, a file with key id `<inboxmsg-INBOX-THREAD-MESSAGE>` names its message. Files
 * come first; a copy is held until the message comes or FOLD_HOLD_MS have passed, and the mark does not pass
 * it meanwhile. Nothing else is ever delayed: a message makes its entry at once, and whether a part also
 * counts as a thread or store event is the interest's business (listener/intake.h). The entry's key is the
 * message's id alone, so which files were seen in time does not matter to identity.
 */
#ifndef LISTENER_FOLD_H
#define LISTENER_FOLD_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FOLD_HOLD_MS = 5000,
    FOLD_HELD_MAX = 1000, /* files held at once; beyond it the oldest is let go */
    FOLD_ID_MAX = 64,
};

enum fold_part {
    FOLD_NONE, /* no part of an inbox entry */
    FOLD_MESSAGE,
    FOLD_FILE,
};
struct fold_ids {
    char inbox[FOLD_ID_MAX];
    char message[FOLD_ID_MAX];
};
/* What a frame is, by type, author and key id. Fills IDS. */
enum fold_part fold_classify(const cJSON *frame, struct fold_ids *ids);

struct fold;
struct fold *fold_new(void);
void fold_free(struct fold **f);
/* Holds a copy of a file's frame. RECOVERED ones are held until fold_flush. */
void fold_file(struct fold *f, const cJSON *frame, const struct fold_ids *ids, bool recovered,
               uint64_t now_ms);
/* The entry for a message's frame, with the files that are held for it; the caller frees it. */
cJSON *fold_message(struct fold *f, const cJSON *frame, const struct fold_ids *ids);
/* Lets go what waited too long. */
void fold_tick(struct fold *f, uint64_t now_ms);
/* Lets go of everything recovered (catch-up is over). */
void fold_flush(struct fold *f);
/* Timestamp of the oldest live file that is held, or -1. */
int64_t fold_oldest_ms(const struct fold *f);
size_t fold_held(const struct fold *f);
/* Files that were let go without a message, since the start. */
uint64_t fold_strays(const struct fold *f);

#endif
