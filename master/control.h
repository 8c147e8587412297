/*
 * The two command sockets: status.sock, which the group may use, and control.sock for the owner and root.
 * File permissions are the rights.
 *
 * A client sends JSON objects, one a line, and gets one line for each, in order; none is taken from one
 * who leaves many answers unread. Requests are bounded in size, clients in number, both in patience; a
 * client that sends garbage is told so and closed, and nobody else notices. Who asks is known from the socket
 * (SO_PEERCRED), not from what it says.
 */
#ifndef MASTER_CONTROL_H
#define MASTER_CONTROL_H

#include <cjson/cJSON.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    CONTROL_REQUEST_MAX = 64 * 1024,
    CONTROL_CLIENTS_MAX = 32, /* of each socket */
};

enum control_door { CONTROL_STATUS, CONTROL_FULL, CONTROL_DOORS };
extern const char *const control_door_files[CONTROL_DOORS]; /* "status.sock", "control.sock" */

struct control_request {
    uint64_t client; /* for control_answer; never 0 */
    enum control_door door;
    uid_t uid;
    pid_t pid;
    const char *command;
    cJSON *body; /* the whole object; belongs to the sockets */
};

/* Binds both in RUNTIME_DIR, owned by UID and GID (-1: unchanged). A socket that nobody serves any more is
 * replaced. 0, or -1 with a sentence in WHY (freed by the caller). */
int control_bind(const char *runtime_dir, uid_t uid, gid_t gid, char **why);
/* Begins to accept; every request is to be answered once by control_answer, now or later. */
void control_serve(void (*request)(const struct control_request *request));
/* Takes ANSWER over. A client that has gone is nobody's concern. */
void control_answer(uint64_t client, cJSON *answer);
/* {"ok":false,"error":…,"hint":…}; HINT may be NULL. */
cJSON *control_refusal(const char *error, const char *hint);
/* Closes everything and removes the sockets. */
void control_close(void);

#endif
