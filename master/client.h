/*
 * The command line's side of the command sockets: finds them, asks, waits for the answer.
 */
#ifndef MASTER_CLIENT_H
#define MASTER_CLIENT_H

#include <cjson/cJSON.h>

#include "master/command.h"
#include "master/control.h"

enum { CLIENT_LIMIT_MS = 10000, CLIENT_RELOAD_LIMIT_MS = 200000 };

/* True if this user may use DOOR. */
bool client_may_use(const struct arguments *arguments, enum control_door door);

/* True if a master answers in the runtime directory. */
bool client_is_running(const struct arguments *arguments);

struct client_line; /* a connection */
/* Connects to DOOR. NULL after saying on stderr what is wrong and what to do. */
struct client_line *client_open(const struct arguments *arguments, enum control_door door);
/* Asks and waits for the answer. NULL after saying what is wrong. REQUEST is taken over, the caller frees the
 * answer. */
cJSON *client_ask(struct client_line *line, cJSON *request, int64_t limit_ms);
/* Waits until the master closes the connection. 0, or -1 if it does not within the limit. */
int client_wait_closed(struct client_line *line, int64_t limit_ms);
void client_close(struct client_line **line);

/* One request, one answer, of a good kind: NULL after saying what is wrong, also for {"ok":false}. */
cJSON *client_call(const struct arguments *arguments, enum control_door door, cJSON *request,
                   int64_t limit_ms);
/* True if ANSWER is good; else says its error, hint and faults on stderr. */
bool client_is_good(const cJSON *answer);
cJSON *client_request(const char *command);

#endif
