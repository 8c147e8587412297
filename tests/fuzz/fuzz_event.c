/* links: proto core m */
/* A Bridge's notification: any bytes; what is taken must come back whole from its packed form. */
#include <stdint.h>
#include <stdlib.h>

#include "proto/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out;
    struct msg_in in;
    struct event e;
    const char *why = NULL;
    buf_init(&out, 0);
    msg_in_init(&in);
    if (event_normalise("main", (const char *)data, size, 1, 1, &out, &why) == 0) {
        if (event_unpack(&in, out.data, out.len, &e))
            abort();
    } else if (!why) {
        abort();
    }
    msg_in_free(&in);
    buf_free(&out);
    return 0;
}
