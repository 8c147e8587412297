/*
 * `bridgebell run`: the master itself, in the foreground.
 *
 * The order matters: the lock first, so that a second master disturbs nothing; then what only root may bind;
 * then the drop to the user; then the secrets, so that what starts can also reload.
 */
#ifndef MASTER_RUN_H
#define MASTER_RUN_H

/* Runs with the configuration FILE until it is stopped. Returns the exit code. */
int run_master(const char *file);

#endif
