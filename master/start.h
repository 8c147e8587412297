/*
 * The start: every role checks its slice, then dispatcher, senders and listeners begin, each kind when the
 * one before it is ready.
 *
 * A fault in the configuration, or a dispatcher or sender that does not become ready, fails the start. A
 * listener that cannot work (its Bridge refuses the key) does not: the others have their work.
 */
#ifndef MASTER_START_H
#define MASTER_START_H

#include "master/crew.h"

/* CREW is in force already. READY is called once everything is up; a failed start ends in shutdown_begin. */
void start_begin(struct crew *crew, void (*ready)(void));

#endif
