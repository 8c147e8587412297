/* What systemd wants to hear of a Type=notify service, over the datagram socket in $NOTIFY_SOCKET
 * (sd_notify(3) describes the protocol). Without that variable every call does nothing. */
#ifndef CORE_NOTIFY_H
#define CORE_NOTIFY_H

#include <stdint.h>

/* Sends STATE, for example "READY=1" or "STATUS=…". */
void notify_send(const char *state);
/* Interval at which systemd expects "WATCHDOG=1", in milliseconds; 0 if it expects none. */
int64_t notify_watchdog_ms(void);

#endif
