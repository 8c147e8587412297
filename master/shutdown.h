/*
 * The end of everything, gently or at once.
 *
 * Gracefully: the listeners leave first, then the senders with what they have in flight, then the dispatcher,
 * which by then has committed every outcome; all within ROLE_DRAIN_MS together. Fast: all are told to stop,
 * and killed after SLOT_STOP_MS. Asking for the same again takes the next harder way.
 */
#ifndef MASTER_SHUTDOWN_H
#define MASTER_SHUTDOWN_H

#include <stdbool.h>

enum shutdown_way { SHUTDOWN_GRACEFUL, SHUTDOWN_FAST, SHUTDOWN_KILL };

/* Takes the place of any other activity. The loop is stopped when the last process has gone; the first
 * EXIT_CODE counts. */
void shutdown_begin(enum shutdown_way way, int exit_code);
bool shutdown_is_under_way(void);
int shutdown_exit_code(void);
void shutdown_free(void);

#endif
