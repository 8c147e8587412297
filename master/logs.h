/* The master's own log, by the configuration's log block. */
#ifndef MASTER_LOGS_H
#define MASTER_LOGS_H

#include "conf/conf.h"

/* A file that cannot be opened is logged and leaves the log where it was; -1 then. */
int logs_configure(const struct conf *conf);

#endif
