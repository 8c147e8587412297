/*
 * The operator's HTTP door as the master has it: a listening TCP socket that outlives the dispatchers that
 * serve it.
 */
#ifndef MASTER_DOOR_H
#define MASTER_DOOR_H

#include <stdint.h>

/* Binds and listens on LISTEN ("127.0.0.1:9464", "[::1]:9464"); "off" or NULL gives FD -1. While the address
 * is in use it is tried again for PATIENCE_MS, because children of a master that was killed may still hold
 * it. 0, or -1 with a sentence in WHY (freed by the caller). */
int door_open(const char *listen, int64_t patience_ms, int *fd, char **why);
/* Closes and sets to -1. */
void door_close(int *fd);

#endif
