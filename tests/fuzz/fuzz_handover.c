/* links: proto core m */
/* Configurations handed to a tool: any bytes; what is read comes back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct handovers h, again;
    int fd = memfd_create("handover", MFD_CLOEXEC);
    if (fd < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    if (handover_read(fd, &h) == 0) {
        int other = handover_write(&h);
        if (other < 0 || handover_read(other, &again) || again.count != h.count)
            abort();
        close(other);
        handover_free(&again);
        handover_free(&h);
    }
    close(fd);
    return 0;
}
