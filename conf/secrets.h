/*
 * Secrets: given in the configuration (also by ${NAME}), in a file of their own, or as a credential of the
 * service manager (systemd's LoadCredential, $CREDENTIALS_DIRECTORY).
 */
#ifndef CONF_SECRETS_H
#define CONF_SECRETS_H

#include "conf/model.h"

/* $CREDENTIALS_DIRECTORY, or NULL. */
const char *secrets_directory(void);
/* True if block B cannot work without the secrets of its kind. */
bool secrets_needed(const struct conf *c, const struct conf_block *b);

#endif
