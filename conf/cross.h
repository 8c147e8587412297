/*
 * What must hold between settings: names that refer to blocks, pairs, what a role cannot do without.
 */
#ifndef CONF_CROSS_H
#define CONF_CROSS_H

#include "conf/model.h"

void cross_check(const struct conf *c, struct faults *faults);

#endif
