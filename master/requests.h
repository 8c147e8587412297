/* What may be asked over the command sockets: one table with the rights in it. */
#ifndef MASTER_REQUESTS_H
#define MASTER_REQUESTS_H

#include "master/control.h"

/* For control_serve. */
void requests_handle(const struct control_request *request);

#endif
