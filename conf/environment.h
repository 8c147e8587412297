/*
 * ${NAME} and ${NAME:-default} in values.
 */
#ifndef CONF_ENVIRONMENT_H
#define CONF_ENVIRONMENT_H

/* TEXT with each variable that SCAN_ENVIRONMENT marks replaced. NULL if one is not set and has no default, or
 * is no name; *MISSING is then its name. The caller frees both. */
char *environment_expand(const char *text, char **missing);

#endif
