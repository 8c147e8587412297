/* SHA-1, for the one place where the WebSocket handshake wants it (RFC 6455 section 4.2.2); not for security.
 */
#ifndef LISTENER_SHA1_H
#define LISTENER_SHA1_H

#include <stddef.h>

enum { SHA1_BYTES = 20 };
void sha1(const void *data, size_t len, unsigned char out[SHA1_BYTES]);

#endif
