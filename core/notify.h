/* What systemd wants to hear of a Type=notify service, over the datagram socket in $NOTIFY_SOCKET
 * (sd_notify(3) describes the protocol). Without that variable every call does nothing. */
#ifndef CORE_NOTIFY_H
#define CORE_NOTIFY_H

#include <stdint.h>

enum { NOTIFY_WAIT_MS = 1000 };

/* Sends STATE, for example "READY=1" or "STATUS=…". systemd acts on each of them and is told once: while its
 * queue is full this waits, NOTIFY_WAIT_MS at most. */
void notify_send(const char *state);
/* Sends "WATCHDOG=1", without waiting: the next one is as good. */
void notify_alive(void);
/* Interval at which systemd expects "WATCHDOG=1", in milliseconds; 0 if it expects none. */
int64_t notify_watchdog_ms(void);

#endif
