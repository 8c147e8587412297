/*
 * The runtime directory and the pid file in it, which is also the lock: one master at a time.
 */
#ifndef MASTER_RUNDIR_H
#define MASTER_RUNDIR_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes the directory (0750) if it is not there and gives it to UID and GID (-1: nobody else); refuses one
 * that others may write to. 0, or -1 with a sentence in WHY (freed by the caller). */
int rundir_prepare(const char *runtime_dir, uid_t uid, gid_t gid, char **why);

/* Takes the lock on RUNTIME_DIR/bridgebell.pid. AFTER_CRASH tells of a file that an earlier master left
 * behind. 0, or -1 with a sentence in WHY: another master lives (with its pid), or the file cannot be made.
 */
int rundir_lock(const char *runtime_dir, uid_t uid, gid_t gid, bool *after_crash, char **why);
/* Writes this process's pid. 0 or -1 with errno. */
int rundir_write_pid(void);
/* Removes the file and gives the lock up. */
void rundir_unlock(void);

/* The pid in RUNTIME_DIR/bridgebell.pid if its master lives, 0 if it does not, -1 if that cannot be told. */
pid_t rundir_master(const char *runtime_dir);

#endif
