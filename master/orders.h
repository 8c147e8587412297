/*
 * What an operator can order of the master itself, by a signal or by a command alike.
 */
#ifndef MASTER_ORDERS_H
#define MASTER_ORDERS_H

/* Every process opens its log file again, the master too. */
void orders_reopen_logs(void);
/* COUNT senders from now until a reload. NULL, or why not (a fixed phrase). */
const char *orders_scale(long count);
/* BY more (less if negative); within 0 and CREW_SENDERS_MAX. */
const char *orders_scale_by(int by);
/* Senders wanted now. */
unsigned orders_senders(void);

#endif
